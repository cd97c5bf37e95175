//! What people and other programs see of a vaultvisor: the document of `vaultvisor status --json`.
//!
//! It is made from the durable state alone, so it can be had with and without a running daemon. What only a
//! daemon knows, such as whether an endpoint is connected, is `null` here.

use std::{collections::BTreeMap, path::Path, time::UNIX_EPOCH};

use serde::Serialize;

use crate::{
    artifact::Store,
    config::{Settings, Vault},
    daemon::home::{Home, vault_folder},
    decide::{
        Moment, State,
        state::{Phase, Wait},
    },
    journal::{NetworkJournal, NetworkRecord, ReadError, Recorded, VaultJournal},
    release::{Checksum, GenesisHash, Version},
};

/// The whole document.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Of the program that wrote this.
    pub version: &'static str,
    /// Of the daemon; `null` without one.
    pub pid: Option<u32>,
    /// When the daemon started.
    pub started_at: Option<Time>,
    /// Each vault of the configuration.
    pub vaults: Vec<VaultStatus>,
}

/// RFC 3339 in UTC, to the second.
#[derive(Debug, Clone, Copy)]
pub struct Time(pub u64);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = UNIX_EPOCH + std::time::Duration::from_secs(self.0);
        write!(f, "{}", humantime::format_rfc3339_seconds(time))
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One vault.
#[derive(Debug, Serialize)]
pub struct VaultStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its network.
    pub network: String,
    /// The decision.
    pub state: crate::decide::state::Name,
    /// Why it is that.
    pub why: String,
    /// Since when.
    pub since: Option<Time>,
    /// The process.
    pub running: Option<RunningStatus>,
    /// What the chain says should run.
    pub target: Option<TargetStatus>,
    /// What a runtime upgrade will bring.
    pub pending: Option<PendingStatus>,
    /// What failed here.
    pub rejected: Vec<RejectedStatus>,
    /// The chain.
    pub chain: Option<ChainStatus>,
    /// The newest switch.
    pub last_switch: Option<SwitchStatus>,
    /// The newest thing that went wrong and still stands.
    pub problem: Option<String>,
    /// An operator's hold.
    pub hold: Option<String>,
}

/// The process of a vault.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
pub struct TargetStatus {
    /// The release.
    pub version: Version,
    /// Its binary.
    pub checksum: Checksum,
    /// The statement's number.
    pub sequence: Option<u64>,
}

/// A release that waits for a runtime upgrade.
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
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
#[derive(Debug, Serialize)]
pub struct ChainStatus {
    /// Who said so.
    pub source: String,
    /// Whether a source is connected; only a running daemon knows, and then it is not known here.
    pub connected: Option<bool>,
    /// The chain.
    pub genesis: GenesisHash,
    /// A finalized block, as new as the durable record is.
    pub finalized: u64,
    /// When that was seen.
    pub finalized_at: Time,
    /// The runtime version there.
    pub spec_version: u32,
}

/// A switch that ended with a running process.
#[derive(Debug, Serialize)]
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

impl Status {
    /// Reads the durable state of a home.
    pub fn read(settings: &Settings) -> Result<Self, ReadError> {
        let holder = Home::holder(&settings.home);
        let networks = NetworkJournal::new(&settings.home).load()?;
        let mut vaults = Vec::new();
        for vault in settings.vaults.values() {
            let journal = VaultJournal::new(&vault_folder(&settings.home, &vault.name));
            vaults.push(VaultStatus::new(settings, vault, journal.load()?, &networks, holder.is_some()));
        }
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            pid: holder.map(|holder| holder.pid),
            started_at: holder.map(|holder| Time(holder.started_unix_secs)),
            vaults,
        })
    }
}

/// A wait of the state file as wall-clock time. Both clocks are read now, so a jump of the wall clock shows.
fn at(wait: Wait, now: crate::decide::Now) -> Time {
    let Moment(until) = wait.bounded(now.moment).until;
    Time(now.unix_secs + until.saturating_sub(now.moment.0) / 1000)
}

impl VaultStatus {
    fn new(
        settings: &Settings,
        vault: &Vault,
        recorded: Option<Recorded>,
        networks: &BTreeMap<String, NetworkRecord>,
        daemon_runs: bool,
    ) -> Self {
        let since =
            recorded.as_ref().map(|recorded| recorded.since_unix_secs).filter(|secs| *secs > 0).map(Time);
        let state = recorded.map(|recorded| recorded.state).unwrap_or_default();
        let now = crate::daemon::now();
        let record = networks.get(&vault.network);
        let running = state.running().filter(|running| Path::new(&format!("/proc/{}", running.pid)).exists());
        Self {
            name: vault.name.clone(),
            network: vault.network.clone(),
            state: state.name(),
            why: why(&state, since, now),
            since,
            running: running.map(|running| RunningStatus {
                version: running.build.version.clone(),
                checksum: running.build.checksum,
                pid: running.pid,
                restarts: running.restarts,
                adopted: false,
            }),
            target: state.target.as_ref().map(|target| TargetStatus {
                version: target.version.clone(),
                checksum: target.binary_checksum,
                sequence: target.sequence,
            }),
            pending: record.and_then(|record| record.pending.as_ref()).map(|pending| PendingStatus {
                version: pending.version.clone(),
                checksum: pending.binary_checksum,
                spec_version: pending.spec_version,
                fetched: Store::at(&settings.home).contains(pending.binary_checksum),
            }),
            rejected: state
                .rejected
                .iter()
                .map(|rejection| RejectedStatus {
                    checksum: rejection.build.checksum,
                    version: rejection.build.version.clone(),
                    reason: rejection.reason.clone(),
                    attempts: rejection.attempts,
                    retry_at: at(rejection.wait, now),
                })
                .collect(),
            chain: record.map(|record| ChainStatus {
                source: record.source.clone(),
                connected: (!daemon_runs).then_some(false),
                genesis: record.genesis,
                finalized: record.finalized.number,
                finalized_at: Time(record.seen_unix_secs),
                spec_version: record.spec_version,
            }),
            last_switch: state.last_switch.as_ref().map(|switch| SwitchStatus {
                from: switch.from.version.clone(),
                to: switch.to.version.clone(),
                downtime_ms: switch.downtime_us as f64 / 1000.0,
                at: Time(switch.at_unix_secs),
            }),
            problem: state.problems.last().map(|problem| problem.text.clone()),
            hold: None,
        }
    }
}

/// One sentence on what a vault does or waits for, and until when.
fn why(state: &State, since: Option<Time>, now: crate::decide::Now) -> String {
    match &state.process {
        Phase::Waiting => match (&state.target, state.startup_wait) {
            (_, Some(wait)) => format!("waiting for the chain until {}", at(wait, now)),
            (None, None) => "the chain has not stated a release yet".to_owned(),
            (Some(target), None) => format!("fetching {} ({})", target.version, target.binary_checksum),
        },
        Phase::Starting { build, wait, attempt } => {
            format!(
                "starting {} again at {}, after {attempt} starts that did not last",
                build.version,
                at(*wait, now)
            )
        }
        Phase::Launching { build, .. } => format!("starting {}", build.version),
        Phase::Switching { from, to, .. } => {
            format!("switching from {} to {}", from.build.version, to.version)
        }
        Phase::Running { probation: Some(probation), process, .. } => {
            format!("{} is on probation until {}", process.build.version, at(probation.wait, now))
        }
        Phase::Running { .. } => {
            since.map_or_else(|| "healthy".to_owned(), |since| format!("healthy since {since}"))
        }
        Phase::RollingBack { failed, to } => format!("going back from {} to {}", failed.version, to.version),
        Phase::Stopping { process } => format!("stopping {}", process.build.version),
        Phase::Stopped => "vaultvisor was told to end".to_owned(),
        Phase::Blocked { reason, wait, .. } => format!("{reason}; tried again at {}", at(*wait, now)),
    }
}
