//! What people and other programs see of a vaultvisor: the document of `vaultvisor status --json`.
//!
//! A daemon makes it from its memory. Without one it is made from the durable state, which every decision is
//! written to, so that it can be had at any time; what only a daemon knows, such as whether an endpoint is
//! connected, is `null` then.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    artifact::Store,
    chain::{ChainStatus, ChainView},
    config::{Settings, Vault},
    daemon::home::{Home, vault_folder},
    decide::state::{Concern, Name, State, Wait},
    error_chain::Chained,
    journal::{NetworkJournal, NetworkRecord, NetworkRecords, Recorded, VaultJournal},
    release::{Checksum, GenesisHash, Version},
};

/// The whole document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Of the program that wrote this.
    pub version: String,
    /// Of the daemon; `null` without one.
    pub pid: Option<u32>,
    /// When the daemon started.
    pub started_at: Option<Time>,
    /// What is wrong with more than one vault: the newest configuration is not in force, say, or not all of it.
    #[serde(default)]
    pub problem: Option<String>,
    /// Each vault of the configuration.
    pub vaults: Vec<VaultStatus>,
}

/// RFC 3339 in UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub u64);

/// The end of 9999: the format has no later time, and a damaged file may name one.
const LAST_UNIX_SECS: u64 = 253_402_300_799;

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = UNIX_EPOCH + std::time::Duration::from_secs(self.0.min(LAST_UNIX_SECS));
        write!(f, "{}", humantime::format_rfc3339_seconds(time))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = humantime::parse_rfc3339(&text).map_err(de::Error::custom)?;
        let since = time.duration_since(UNIX_EPOCH).map_err(de::Error::custom)?;
        Ok(Self(since.as_secs()))
    }
}

/// One vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VaultStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its network.
    pub network: String,
    /// The decision.
    pub state: Name,
    /// Why it is that.
    pub why: String,
    /// Since when.
    pub since: Option<Time>,
    /// The process.
    pub running: Option<RunningStatus>,
    /// What the chain says should run.
    pub target: Option<TargetStatus>,
    /// What an operator chose in its place.
    #[serde(default, rename = "override")]
    pub chosen: Option<ChosenStatus>,
    /// What a runtime upgrade will bring.
    pub pending: Option<PendingStatus>,
    /// What failed here.
    pub rejected: Vec<RejectedStatus>,
    /// The chain.
    pub chain: Option<ChainSeen>,
    /// The newest switch.
    pub last_switch: Option<SwitchStatus>,
    /// The newest thing that went wrong and still stands.
    pub problem: Option<String>,
    /// Set while a release runs that was gone back to and was never seen healthy under the present runtime: which, and
    /// what to do.
    #[serde(default)]
    pub unseen_runtime: Option<String>,
    /// An operator's hold.
    pub hold: Option<HoldStatus>,
}

/// The process of a vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunningStatus {
    /// The release it is of.
    pub version: Version,
    /// Its binary.
    pub checksum: Checksum,
    /// Its process id.
    pub pid: u32,
    /// How often it was started again after it ended by itself.
    pub restarts: u32,
    /// Whether it was started by an earlier vaultvisor.
    pub adopted: bool,
}

/// A chain's statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TargetStatus {
    /// The release.
    pub version: Version,
    /// Its binary.
    pub checksum: Checksum,
    /// The statement's number.
    pub sequence: Option<u64>,
}

/// An operator's choice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChosenStatus {
    /// The release.
    pub version: Version,
    /// Its binary.
    pub checksum: Checksum,
}

/// A release that waits for a runtime upgrade.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PendingStatus {
    /// The release.
    pub version: Version,
    /// Its binary.
    pub checksum: Checksum,
    /// The runtime version that it waits for.
    pub spec_version: Option<u32>,
    /// Whether its binary is in the store.
    pub fetched: bool,
}

/// A release that failed here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RejectedStatus {
    /// Its binary.
    pub checksum: Checksum,
    /// The release.
    pub version: Version,
    /// Why.
    pub reason: String,
    /// How often.
    pub attempts: u32,
    /// When it is tried again.
    pub retry_at: Time,
}

/// What is known of a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChainSeen {
    /// Who said so.
    pub source: String,
    /// Whether a source is connected; `null` when a daemon runs and was not asked.
    pub connected: Option<bool>,
    /// The chain.
    pub genesis: GenesisHash,
    /// A finalized block: the newest one, or without a daemon as new as the durable record is.
    pub finalized: u64,
    /// When that was seen.
    pub finalized_at: Time,
    /// The runtime version there.
    pub spec_version: u32,
    /// Since when there is no newer finalized block, once that is longer than it should be.
    #[serde(default)]
    pub stale_since: Option<Time>,
    /// Each source by itself; empty without a daemon.
    #[serde(default)]
    pub endpoints: Vec<EndpointSeen>,
}

/// What is known of one source of a chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EndpointSeen {
    /// Its address.
    pub address: String,
    /// Whether it is connected; where one source is enough, only one is at a time.
    pub connected: bool,
    /// The newest finalized block that it told of.
    pub finalized: Option<u64>,
    /// What was wrong with it when it was last tried, or contradicts what is known.
    pub problem: Option<String>,
    /// Since when it is connected or not, or has this problem.
    pub since: Time,
}

/// A switch that ended with a running process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SwitchStatus {
    /// What ran before.
    pub from: Version,
    /// What runs since.
    pub to: Version,
    /// From the end of the old process to the execution of the new one.
    pub downtime_ms: f64,
    /// When.
    pub at: Time,
}

/// An operator's "change nothing for now".
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HoldStatus {
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Since when.
    pub since: Time,
}

impl Status {
    /// What a daemon says of itself.
    pub(crate) fn of_daemon(
        pid: u32,
        started_at: Time,
        problem: Option<String>,
        vaults: Vec<VaultStatus>,
    ) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { version, pid: Some(pid), started_at: Some(started_at), problem, vaults }
    }

    /// Reads the durable state of a home. What cannot be read of it is told in its place.
    pub fn read(settings: &Settings) -> Self {
        let holder = Home::holder(&settings.home);
        let loaded = NetworkJournal::new(&settings.home).load();
        let (networks, mut problem) = match loaded {
            Ok(networks) => (networks, None),
            Err(error) => (NetworkRecords::default(), Some(Chained(&error).to_string())),
        };
        let connected = holder.is_none().then_some(false);
        let vaults = settings.vaults.values().map(|vault| {
            let journal = VaultJournal::new(&vault_folder(&settings.home, &vault.name));
            let genesis = settings.networks.get(&vault.network).and_then(|network| network.genesis);
            let record = networks.of(&vault.network, genesis).unwrap_or_else(|error| {
                problem.get_or_insert_with(|| Chained(error).to_string());
                None
            });
            let chain = record.map(|record| ChainSeen::of_record(record, connected));
            match journal.load() {
                Ok(recorded) => {
                    let recorded = recorded.unwrap_or_default();
                    VaultStatus::new(&settings.home, vault, &recorded, chain)
                }
                Err(error) => VaultStatus::unusable(vault, chain, &Chained(&error).to_string()),
            }
        });
        let vaults = vaults.collect();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: holder.map(|holder| holder.pid),
            started_at: holder.map(|holder| Time(holder.started_unix_secs)),
            problem,
            vaults,
        }
    }
}

impl ChainSeen {
    /// From the durable record.
    pub(crate) fn of_record(record: &NetworkRecord, connected: Option<bool>) -> Self {
        Self {
            source: record.source.clone(),
            connected,
            genesis: record.genesis,
            finalized: record.finalized.number,
            finalized_at: Time(record.seen_unix_secs),
            spec_version: record.spec_version,
            stale_since: None,
            endpoints: Vec::new(),
        }
    }

    /// With what a daemon knows of the sources.
    pub(crate) fn with(self, status: &ChainStatus) -> Self {
        let time = |at: SystemTime| Time(at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        let endpoints = status.endpoints.iter().map(|endpoint| EndpointSeen {
            address: endpoint.address.clone(),
            connected: endpoint.connected,
            finalized: endpoint.finalized,
            problem: endpoint.problem.clone(),
            since: time(endpoint.since),
        });
        Self { stale_since: status.stale_since.map(time), endpoints: endpoints.collect(), ..self }
    }

    /// From what a daemon has just read.
    pub(crate) fn of_view(view: &ChainView, seen_at: Time, status: &ChainStatus) -> Self {
        let seen = Self {
            source: view.source.clone(),
            connected: Some(status.connected),
            genesis: view.genesis,
            finalized: view.finalized.number,
            finalized_at: seen_at,
            spec_version: view.spec_version,
            stale_since: None,
            endpoints: Vec::new(),
        };
        seen.with(status)
    }
}

/// A wait of the state as wall-clock time. Both clocks are read now, so a jump of the wall clock shows.
fn at(wait: Wait, now: crate::decide::Now) -> Time {
    Time(wait.bounded(now.moment).over_at_unix_secs(now))
}

impl VaultStatus {
    /// As its daemon sees it. What stands in the way of the daemon itself comes before what `decide` found.
    pub(crate) fn live(
        home: &Path,
        vault: &Vault,
        recorded: &Recorded,
        chain: Option<ChainSeen>,
        trouble: Option<String>,
    ) -> Self {
        let status = Self::new(home, vault, recorded, chain);
        Self { problem: trouble.or(status.problem), ..status }
    }

    /// A vault whose state cannot be used; what runs of it is not known.
    pub(crate) fn unusable(vault: &Vault, chain: Option<ChainSeen>, reason: &str) -> Self {
        let status = Self::new(Path::new(""), vault, &Recorded::default(), chain);
        Self {
            state: Name::Blocked,
            why: format!("not supervised: {reason}"),
            problem: Some(reason.to_owned()),
            ..status
        }
    }

    /// As its state says. What that believes to run may have ended since, above all while no daemon looks, and its
    /// process id may be another program's by now.
    fn new(home: &Path, vault: &Vault, recorded: &Recorded, chain: Option<ChainSeen>) -> Self {
        let since = Some(recorded.since_unix_secs).filter(|secs| *secs > 0).map(Time);
        let state = &recorded.state;
        let now = crate::daemon::now();
        let since_text = since.map(|since| since.to_string());
        Self {
            name: vault.name.clone(),
            network: vault.network.clone(),
            state: state.name(),
            why: state.why(since_text.as_deref(), &|wait| at(wait, now).to_string()),
            since,
            running: running(state).filter(|running| executes(&Store::at(home), running)),
            target: state.target.as_ref().map(|target| TargetStatus {
                version: target.version.clone(),
                checksum: target.binary_checksum,
                sequence: target.sequence,
            }),
            chosen: state
                .override_build
                .as_ref()
                .map(|build| ChosenStatus { version: build.version.clone(), checksum: build.checksum }),
            pending: state.pending.as_ref().map(|pending| PendingStatus {
                version: pending.build.version.clone(),
                checksum: pending.build.checksum,
                spec_version: pending.spec_version,
                fetched: Store::at(home).contains(pending.build.checksum),
            }),
            rejected: rejected(state, now),
            chain,
            last_switch: state.last_switch.as_ref().map(|switch| SwitchStatus {
                from: switch.from.version.clone(),
                to: switch.to.version.clone(),
                downtime_ms: switch.downtime_us as f64 / 1000.0,
                at: Time(switch.at_unix_secs),
            }),
            problem: state.problems.last().map(|problem| problem.text.clone()),
            unseen_runtime: state
                .problems
                .iter()
                .find(|problem| problem.concern == Concern::Runtime)
                .map(|problem| problem.text.clone()),
            hold: state
                .hold
                .as_ref()
                .map(|hold| HoldStatus { reason: hold.reason.clone(), since: Time(hold.since_unix_secs) }),
        }
    }
}

fn running(state: &State) -> Option<RunningStatus> {
    state.running().map(|running| RunningStatus {
        version: running.build.version.clone(),
        checksum: running.build.checksum,
        pid: running.pid,
        restarts: running.restarts,
        adopted: running.adopted,
    })
}

fn rejected(state: &State, now: crate::decide::Now) -> Vec<RejectedStatus> {
    let rejected = state.rejected.iter().map(|rejection| RejectedStatus {
        checksum: rejection.build.checksum,
        version: rejection.build.version.clone(),
        reason: rejection.reason.clone(),
        attempts: rejection.attempts,
        retry_at: at(rejection.wait, now),
    });
    rejected.collect()
}

/// Whether a process executes the binary that it is said to. One of another user's cannot be looked at, and is
/// believed.
fn executes(store: &Store, running: &RunningStatus) -> bool {
    match std::fs::read_link(format!("/proc/{}/exe", running.pid)) {
        Ok(executable) => {
            // A binary that was removed meanwhile has " (deleted)" behind its name.
            let binary = store.binary(running.checksum);
            let binary = binary.canonicalize().unwrap_or(binary);
            executable.as_os_str().as_encoded_bytes().starts_with(binary.as_os_str().as_encoded_bytes())
        }
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, parse};

    #[test]
    fn a_home_with_damaged_files_has_a_status_that_names_them() {
        let home = tempfile::tempdir().expect("home");
        let text = format!(
            r#"{{"home": {:?}, "networks": {{"dev": {{"endpoints": ["ws://x"], "release_urls": ["https://x/"]}}}},
                "vaults": {{"a": {{"network": "dev", "args": []}}, "b": {{"network": "dev", "args": []}}}}}}"#,
            home.path()
        );
        let json = serde_json::from_str(&text).expect("JSON");
        let settings = parse(&json, &Overrides::default()).expect("valid");
        for (folder, file) in [("networks", "0xab.json"), ("vaults/a", "state.json")] {
            std::fs::create_dir_all(home.path().join(folder)).expect("folder");
            std::fs::write(home.path().join(folder).join(file), "{").expect("damage");
        }
        let status = Status::read(&settings);
        assert!(status.problem.expect("said").contains("0xab.json"));
        assert_eq!((status.vaults[0].state, status.vaults[1].state), (Name::Blocked, Name::Waiting));
        assert!(status.vaults[0].problem.as_ref().expect("said").contains("state.json"));
        assert_eq!(status.vaults[1].problem, None);
    }

    #[test]
    fn a_time_comes_back_from_its_text() {
        for secs in [0, 1_700_000_000] {
            let text = serde_json::to_string(&Time(secs)).expect("text");
            assert_eq!(serde_json::from_str::<Time>(&text).expect("time"), Time(secs));
        }
        assert!(serde_json::from_str::<Time>(r#""yesterday""#).is_err());
    }

    #[test]
    fn a_time_that_a_damaged_file_names_is_shown_as_the_last_there_is() {
        for secs in [LAST_UNIX_SECS, LAST_UNIX_SECS + 1, u64::MAX] {
            assert_eq!(Time(secs).to_string(), "9999-12-31T23:59:59Z");
            assert_eq!(serde_json::to_string(&Time(secs)).expect("text"), r#""9999-12-31T23:59:59Z""#);
        }
    }
}
