//! What is known about one vault and survives a restart: the state that `decide` maps to the next one.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::release::{Checksum, GenesisHash, Release, Version};

/// A point on the clock of this boot (`CLOCK_BOOTTIME`), in milliseconds.
///
/// It never jumps with the wall clock and goes on through suspend, so a wait is as long as it was meant to
/// be; it is comparable across restarts of vaultvisor but not across boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment that much later.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A wait that may outlive the process: until when, and how long it was when it began.
///
/// After a restart it is never longer than its own length, whatever the clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// When it is over.
    pub until: Moment,
    /// Its whole length in milliseconds.
    pub length_ms: u64,
}

impl Wait {
    /// A wait that begins now.
    pub fn start(now: Moment, length: Duration) -> Self {
        let until = now.after(length);
        Self { until, length_ms: until.0 - now.0 }
    }

    /// Whether it is over.
    pub fn is_over(self, now: Moment) -> bool {
        now >= self.until
    }

    /// The same wait, cut to its own length from now.
    pub fn bounded(self, now: Moment) -> Self {
        let latest = Moment(now.0.saturating_add(self.length_ms));
        Self { until: self.until.min(latest), ..self }
    }
}

/// A release as a process that can be run: what a switch goes from and to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its tag, for people.
    pub version: Version,
    /// Its binary in the store.
    pub checksum: Checksum,
}

impl From<&Release> for Build {
    fn from(release: &Release) -> Self {
        Self { version: release.version.clone(), checksum: release.binary_checksum }
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.checksum)
    }
}

/// A vault process that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// What it was executed from.
    pub build: Build,
    /// Its process id.
    pub pid: u32,
    /// When it was executed.
    pub since: Moment,
    /// How often this build was started again after it ended by itself.
    pub restarts: u32,
}

/// A new release that must stay alive before the old one is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probation {
    /// When it has lived long enough. What to go back to until then is the last known good release.
    pub wait: Wait,
}

/// Where one vault's process stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// No process, and nothing to start yet.
    #[default]
    Waiting,
    /// No process; the start waits for its backoff.
    Starting {
        /// What will be started.
        build: Build,
        /// When.
        wait: Wait,
        /// How many starts in a row did not last.
        attempt: u32,
    },
    /// A process is being started where none ran.
    Launching {
        /// What.
        build: Build,
        /// How many starts in a row did not last.
        attempt: u32,
    },
    /// The old process is being stopped and the new one started. Written before the first signal.
    Switching {
        /// What ran when the switch began.
        from: Running,
        /// Its trial, if it was on one.
        probation: Option<Probation>,
        /// What shall run.
        to: Build,
        /// Whether the old process is known to have ended.
        from_ended: bool,
    },
    /// A process runs.
    Running {
        /// It.
        process: Running,
        /// Its trial, if it is on one.
        probation: Option<Probation>,
        /// How many starts in a row did not last; forgotten after a healthy stretch.
        attempt: u32,
    },
    /// The new release failed; the old one is being started again.
    RollingBack {
        /// What failed.
        failed: Build,
        /// What is started again.
        to: Build,
    },
    /// The process is being stopped for good.
    Stopping {
        /// What runs until it has stopped.
        process: Running,
    },
    /// Stopped on purpose.
    Stopped,
    /// It cannot be proved that nothing of the old vault runs, so nothing is started.
    Blocked {
        /// Whether another vaultvisor or vault holds the lock; else something was left behind.
        lock_is_held: bool,
        /// Who holds the lock, or what could not be proved.
        reason: String,
        /// When the lock is tried again.
        wait: Wait,
        /// What will be started once it is free.
        build: Build,
    },
}

/// Where the wanted file stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "fetch", rename_all = "snake_case")]
pub enum Fetch {
    /// Nothing is wanted, or what is wanted runs.
    #[default]
    Idle,
    /// A download is under way.
    Fetching {
        /// Of this file.
        checksum: Checksum,
        /// How many tries failed before this one.
        attempt: u32,
    },
    /// The last try failed.
    Failed {
        /// The file.
        checksum: Checksum,
        /// How many tries failed.
        attempt: u32,
        /// When it is tried again.
        wait: Wait,
    },
    /// The file is in the store, proved.
    Ready {
        /// Its checksum.
        checksum: Checksum,
        /// How often in a row it was there and could not be used.
        attempt: u32,
    },
}

/// A release that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// What failed.
    pub build: Build,
    /// The statement under which it failed last; a newer one earns an immediate retry.
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

/// What a problem is about; a newer one of the same kind takes its place, and its end clears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// The chain, an endpoint or the record.
    Chain,
    /// A download or what was downloaded.
    Fetch,
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
    /// Where the wanted file stands.
    pub fetch: Fetch,
    /// What the chain says should run.
    pub target: Option<Release>,
    /// Where that was seen.
    pub seen: Option<Seen>,
    /// The release that last proved itself here.
    pub last_known_good: Option<Build>,
    /// A file that is in the store by name, but was found damaged or gone when it was to be used.
    pub unproved: Option<Checksum>,
    /// What failed here, newest last; bounded by [`super::policy::MAX_REJECTIONS`].
    pub rejected: Vec<Rejection>,
    /// The newest switch.
    pub last_switch: Option<LastSwitch>,
    /// What is wrong now, at most one of each concern, newest last.
    pub problems: Vec<Problem>,
    /// While nothing runs after a start of vaultvisor: until when the chain is waited for before the last
    /// known good release is started without it.
    pub startup_wait: Option<Wait>,
    /// Set when vaultvisor is told to end; no process is started any more.
    pub shutting_down: bool,
}

/// The names of the states that people and other programs see (`state` in `status --json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// No release is known.
    Waiting,
    /// Nothing runs; the release is being fetched.
    Fetching,
    /// Nothing runs; the release is in the store.
    Ready,
    /// The old process is being replaced.
    Switching,
    /// A new release is on trial.
    Probation,
    /// A vault runs.
    Running,
    /// The old release is being started again.
    RollingBack,
    /// A start waits for its backoff.
    Starting,
    /// It cannot be proved that nothing runs.
    Blocked,
    /// Stopped on purpose.
    Stopped,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Ready => "ready",
            Self::Switching => "switching",
            Self::Probation => "probation",
            Self::Running => "running",
            Self::RollingBack => "rolling_back",
            Self::Starting => "starting",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
        })
    }
}

impl State {
    /// The state's name.
    pub fn name(&self) -> Name {
        match (&self.process, &self.fetch) {
            (Phase::Waiting, Fetch::Fetching { .. } | Fetch::Failed { .. }) => Name::Fetching,
            (Phase::Waiting, Fetch::Ready { .. }) => Name::Ready,
            (Phase::Waiting, Fetch::Idle) => Name::Waiting,
            (Phase::Starting { .. } | Phase::Launching { .. }, _) => Name::Starting,
            (Phase::Switching { .. }, _) => Name::Switching,
            (Phase::Running { probation: Some(_), .. }, _) => Name::Probation,
            (Phase::Running { .. }, _) => Name::Running,
            (Phase::RollingBack { .. }, _) => Name::RollingBack,
            (Phase::Stopping { .. } | Phase::Stopped, _) => Name::Stopped,
            (Phase::Blocked { .. }, _) => Name::Blocked,
        }
    }

    /// The process that runs, if one does.
    pub fn running(&self) -> Option<&Running> {
        match &self.process {
            Phase::Running { process, .. } => Some(process),
            _ => None,
        }
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
            Phase::Waiting | Phase::Stopped => {}
            Phase::Starting { build, .. } | Phase::Launching { build, .. } | Phase::Blocked { build, .. } => {
                need(build.checksum)
            }
            Phase::Switching { from, to, .. } => {
                need(to.checksum);
                need(from.build.checksum);
            }
            Phase::Running { process, .. } | Phase::Stopping { process } => need(process.build.checksum),
            Phase::RollingBack { failed: _, to } => need(to.checksum),
        }
        self.target.iter().for_each(|target| need(target.binary_checksum));
        self.last_known_good.iter().for_each(|good| need(good.checksum));
        needed
    }
}
