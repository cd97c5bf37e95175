//! What is known about one vault and survives a restart: the state that `decide` maps to the next one.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::{
    data::{Arguments, ArgumentsOf, Migrations, Snapshot, Staging, Standing},
    name::Name,
    phase::{Answer, Fetch, Left, Old, Phase, Probation, Reason, Running},
    time::{BootId, Moment, Wait},
};
use crate::release::{Checksum, GenesisHash, Release, StatedUri, Version};

/// A release as a process that can be run: what a switch goes from and to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its tag, for people.
    pub version: Version,
    /// Its binary in the store.
    pub checksum: Checksum,
    /// Where the chain said that the binary is, for records that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<StatedUri>,
    /// Its programs that change arguments and data, where it is known as a release of the chain.
    #[serde(default, skip_serializing_if = "Migrations::is_empty")]
    pub migrations: Migrations,
}

impl Build {
    /// A release as it is for a platform; `None` when it has no binary for that.
    pub fn of(release: &Release, target: &str) -> Option<Self> {
        let checksum = release.binary_for(target)?;
        let (version, uri) = (release.version.clone(), release.uri.clone());
        Some(Self { version, checksum, uri, migrations: Migrations::among(&release.artifacts) })
    }

    /// All of its files.
    pub fn files(&self) -> impl Iterator<Item = Checksum> {
        std::iter::once(self.checksum).chain(self.migrations.files())
    }
}

impl From<&Release> for Build {
    fn from(release: &Release) -> Self {
        let Release { version, binary_checksum, uri, artifacts, .. } = release;
        let migrations = Migrations::among(artifacts);
        Self { version: version.clone(), checksum: *binary_checksum, uri: uri.clone(), migrations }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.checksum)
    }
}

/// A release that proved itself here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// It.
    #[serde(flatten)]
    pub build: Build,
    /// The newest runtime version that it ran under; `None` when no chain was known then.
    pub spec_version: Option<u32>,
}

/// A release that a runtime upgrade will bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// It.
    #[serde(flatten)]
    pub build: Build,
    /// The runtime version that it waits for; `None` when the chain does not say.
    pub spec_version: Option<u32>,
    /// Whether it has no binary for this machine; `build` names the main one then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_for_others: bool,
}

/// The newest process that was ever started here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// From what.
    #[serde(flatten)]
    pub build: Build,
    /// Its process id: an exit record of it is no news.
    pub pid: u32,
}

/// A release that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// What failed.
    pub build: Build,
    /// The chain's newest statement then; a newer one that names this file earns an immediate retry.
    pub sequence: Option<u64>,
    /// Why, for people.
    pub reason: String,
    /// How often it failed.
    pub attempts: u32,
    /// When it may be tried again.
    pub wait: Wait,
}

/// The newest chain statement that was acted on; an older one is old news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The chain.
    pub genesis: GenesisHash,
    /// The finalized block in which it was seen first.
    pub finalized: u64,
    /// The runtime version of that block.
    pub spec_version: u32,
}

/// The runtime of the newest finalized block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeSeen {
    /// Its version.
    pub spec_version: u32,
    /// When a release that has lived since it was first seen has proved that it runs under it.
    pub proves: Wait,
}

/// A runtime upgrade that is under way (rule 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The runtime version that it leads to, which tells it from the next one.
    pub to: u32,
    /// For how long it excuses exits.
    pub excuses: Wait,
}

/// How often the machine went down while a release was on probation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialReboots {
    /// The release's file.
    pub checksum: Checksum,
    /// How often.
    pub count: u32,
}

/// An operator's "change nothing for now".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Since when, in seconds since 1970; for people only.
    pub since_unix_secs: u64,
}

/// What a problem is about; a newer one of the same kind takes its place, and its end clears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// The chain, an endpoint or the record.
    Chain,
    /// A download or what was downloaded.
    Fetch,
    /// The same, of a release that waits for a runtime upgrade.
    Pending,
    /// What a release needs besides its files.
    Staging,
    /// A release that never ran under the present runtime.
    Runtime,
    /// A process: it would not start, crashed or failed its probation.
    Process,
}

/// Something that went wrong and still stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about.
    pub concern: Concern,
    /// What happened, what was expected, what to do.
    pub text: String,
    /// The processes that it is a matter of, where it is one of processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<u32>,
}

impl Problem {
    /// Whether another one says the same again: of the same processes, or in the same words.
    pub(super) fn is_about_the_same_as(&self, other: &Self) -> bool {
        self.concern == other.concern
            && self.processes == other.processes
            && (!self.processes.is_empty() || self.text == other.text)
    }
}

/// The newest switch that ended with a running process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSwitch {
    /// What ran before.
    pub from: Build,
    /// What runs since.
    pub to: Build,
    /// From the end of the old process to the execution of the new one, in microseconds.
    pub downtime_us: u64,
    /// When, in seconds since 1970 on the wall clock; for people only.
    pub at_unix_secs: u64,
}

/// One vault's whole durable state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Where its process stands.
    pub process: Phase,
    /// Where the file of the chosen release stands.
    pub fetch: Fetch,
    /// Where the file of the pending release stands.
    pub pending_fetch: Fetch,
    /// What the chain says should run.
    pub target: Option<Release>,
    /// The same as it is for this machine; `None` when it has no binary for it.
    pub stated: Option<Build>,
    /// What a runtime upgrade will bring.
    pub pending: Option<Pending>,
    /// Where the target was seen.
    pub seen: Option<Seen>,
    /// The runtime that the chain has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeSeen>,
    /// The runtime upgrade that is under way, also when it has been for too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<Upgrade>,
    /// Whether it excuses exits: an exit of the vault is no crash then.
    pub upgrade_window: bool,
    /// What an operator chose in the target's place, until the chain's next statement.
    pub override_build: Option<Build>,
    /// Set while an operator wants nothing changed.
    pub hold: Option<Hold>,
    /// The release that last proved itself here.
    pub last_known_good: Option<Good>,
    /// Those before it that are kept as well, newest last; as many as the policy says.
    pub previous: Vec<Build>,
    /// The newest process.
    pub last_run: Option<LastRun>,
    /// Files that are in the store by name, but were found damaged or gone when they were to be used.
    pub unproved: Vec<Checksum>,
    /// What failed here, newest last; bounded by [`super::policy::MAX_REJECTIONS`].
    pub rejected: Vec<Rejection>,
    /// Reboots during the probation that is not over yet.
    pub trial_reboots: Option<TrialReboots>,
    /// What each release is started with.
    pub arguments: Vec<ArgumentsOf>,
    /// The configuration's arguments as they were last used; `None` before any were.
    pub config_args: Option<Vec<String>>,
    /// Where stands what the chosen release needs besides its files.
    pub staging: Staging,
    /// Copies of the data, oldest first.
    pub snapshots: Vec<Snapshot>,
    /// The newest switch.
    pub last_switch: Option<LastSwitch>,
    /// What is wrong now, at most one of each concern, newest last.
    pub problems: Vec<Problem>,
    /// The boot that the moments of this state are of.
    pub boot: Option<BootId>,
    /// Whether this vaultvisor has heard of the chain; what was stored is acted on only then.
    pub chain_heard: bool,
    /// While nothing runs after a start of vaultvisor: until when the chain is waited for before the last
    /// known good release is started without it.
    pub startup_wait: Option<Wait>,
    /// Set when vaultvisor is told to end; no process is started any more.
    pub shutting_down: bool,
    /// Until when the vault is waited for then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown_wait: Option<Wait>,
}

impl State {
    /// The same vault, of whose chain nothing was ever seen, and of which nothing runs: what proved itself here stays,
    /// and so do the operator's hold and what failed here.
    pub fn without_chain(self) -> Self {
        let rejected = self.rejected.into_iter().map(|rejection| Rejection { sequence: None, ..rejection });
        Self {
            hold: self.hold,
            last_known_good: self.last_known_good.map(|good| Good { spec_version: None, ..good }),
            previous: self.previous,
            last_run: self.last_run,
            unproved: self.unproved,
            rejected: rejected.collect(),
            // What its releases are started with, and what may be started on its data, is no matter of the chain.
            arguments: self.arguments,
            config_args: self.config_args,
            snapshots: self.snapshots,
            last_switch: self.last_switch,
            boot: self.boot,
            ..Self::default()
        }
    }

    /// The process that is believed to live, if one is.
    pub fn running(&self) -> Option<&Running> {
        match &self.process {
            Phase::Running { process, .. } | Phase::Stopping { process, .. } => Some(process),
            Phase::Switching { from, old: Old::Runs, .. } => Some(from),
            _ => None,
        }
    }

    /// The process whose health URL is to be asked now, where there is one.
    pub fn probed(&self) -> Option<u32> {
        match &self.process {
            Phase::Running { process, probation: Some(_), .. } if !self.shutting_down => Some(process.pid),
            _ => None,
        }
    }

    /// Whether it was stopped on purpose, and nothing is waited for any more.
    pub fn is_stopped(&self) -> bool {
        matches!(self.process, Phase::Stopped { .. })
    }

    /// What did not end when vaultvisor ended.
    pub fn left_behind(&self) -> Option<&str> {
        match &self.process {
            Phase::Stopped { left } => left.as_deref(),
            _ => None,
        }
    }

    /// Whether one process is being replaced by another.
    pub fn is_switching(&self) -> bool {
        matches!(self.process, Phase::Switching { .. })
    }

    /// Whether a switch gives up nothing any more, because what it replaces has ended by itself. It need not wait
    /// for its durable record then: *always one*.
    pub fn gives_up_nothing(&self) -> bool {
        matches!(self.process, Phase::Switching { old: Old::Ended(_), .. })
    }

    /// Why nothing can be started, and whether another vaultvisor or vault holds the lock.
    pub fn blocked(&self) -> Option<(bool, &str)> {
        match &self.process {
            Phase::Blocked { lock_is_held, reason, .. } => Some((*lock_is_held, reason)),
            _ => None,
        }
    }

    /// What is left of a process although its time to end is over.
    pub fn stuck(&self) -> Option<&str> {
        match &self.process {
            Phase::Switching { stuck, .. } | Phase::Ending { stuck, .. } | Phase::Stopping { stuck, .. } => {
                stuck.as_deref()
            }
            _ => None,
        }
    }

    pub(super) fn rejection_of(&self, checksum: Checksum) -> Option<&Rejection> {
        self.rejected.iter().find(|rejection| rejection.build.checksum == checksum)
    }

    pub(super) fn has_problem(&self, concern: Concern) -> bool {
        self.problems.iter().any(|problem| problem.concern == concern)
    }

    /// Whether it proved itself here.
    pub(super) fn is_proved(&self, checksum: Checksum) -> bool {
        self.last_known_good.as_ref().is_some_and(|good| good.build.checksum == checksum)
    }

    /// What should run by the word of the operator, else of the chain.
    pub fn chosen(&self) -> Option<Build> {
        self.override_build.clone().or_else(|| self.stated.clone())
    }

    /// The checksum that runs, or is being started.
    pub(super) fn current_checksum(&self) -> Option<Checksum> {
        match &self.process {
            Phase::Running { process, .. } | Phase::Ending { process, .. } => Some(process.build.checksum),
            Phase::Launching { build, .. } => Some(build.checksum),
            Phase::Switching { to, .. } => Some(to.checksum),
            _ => None,
        }
    }

    /// Whether a file is known to be in the store.
    pub fn is_stored(&self, checksum: Checksum) -> bool {
        !self.unproved.contains(&checksum)
            && (self.fetch.is_ready(checksum)
                || self.pending_fetch.is_ready(checksum)
                || self.is_proved(checksum)
                || self.current_checksum() == Some(checksum)
                || self.last_run.as_ref().is_some_and(|run| run.build.checksum == checksum)
                || self.previous.iter().any(|build| build.checksum == checksum))
    }

    /// Every binary that this vault runs, wants or may go back to: what the store must keep for it.
    pub fn needed(&self) -> Vec<Checksum> {
        let mut needed = Vec::new();
        let mut need = |checksum| {
            if !needed.contains(&checksum) {
                needed.push(checksum);
            }
        };
        match &self.process {
            Phase::Waiting
            | Phase::Clearing { .. }
            | Phase::Stopped { .. }
            | Phase::Blocked { build: None, .. } => {}
            Phase::Barred { failed, .. } => need(failed.checksum),
            Phase::Starting { build, .. }
            | Phase::Launching { build, .. }
            | Phase::Blocked { build: Some(build), .. } => need(build.checksum),
            Phase::Switching { from, to, .. } => {
                need(to.checksum);
                need(from.build.checksum);
            }
            Phase::Running { process, .. }
            | Phase::Ending { process, .. }
            | Phase::Stopping { process, .. } => need(process.build.checksum),
            Phase::RollingBack { failed: _, to } => need(to.checksum),
        }
        self.override_build.iter().flat_map(Build::files).for_each(&mut need);
        self.stated.iter().flat_map(Build::files).for_each(&mut need);
        let pending = self.pending.iter().filter(|pending| !pending.is_for_others);
        pending.flat_map(|pending| pending.build.files()).for_each(&mut need);
        let in_use = self.snapshots.iter().filter(|snapshot| snapshot.standing != Standing::Plain);
        in_use.flat_map(|snapshot| [snapshot.from.checksum, snapshot.to.checksum]).for_each(&mut need);
        self.last_known_good.iter().for_each(|good| need(good.build.checksum));
        self.last_run.iter().for_each(|run| need(run.build.checksum));
        self.previous.iter().for_each(|build| need(build.checksum));
        needed
    }
}
