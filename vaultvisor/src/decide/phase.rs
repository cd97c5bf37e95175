//! Where one vault's process and its files stand.

use serde::{Deserialize, Serialize};

use super::{
    event::Ending,
    state::Build,
    time::{Moment, Wait},
};
use crate::release::Checksum;

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
    /// Whether an earlier vaultvisor started it.
    pub adopted: bool,
    /// Whether an earlier vaultvisor may have told it to end: then its end is nobody's failure.
    pub told_to_end: bool,
}

/// A new release that must prove itself before the old one is given up (rule 4). What to go back to until then is
/// the last known good release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probation {
    /// What it has still to live through.
    pub left: Left,
    /// What its health URL answered last.
    pub answer: Answer,
    /// Whether it has lived long enough, and only the answer is waited for.
    pub extended: bool,
    /// Whether that never came, and the release runs on because nothing may take its place: what is new no longer waits
    /// for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
}

/// What is left of a probation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// It runs out then.
    Until(Wait),
    /// It stands still during a runtime upgrade, with so much left (rule 2).
    Paused {
        /// Milliseconds.
        left_ms: u64,
    },
}

/// What a health URL answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing yet.
    #[default]
    None,
    /// 2xx.
    Well,
    /// Something else, or it could not be asked.
    Ill(String),
}

/// The old process in a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Old {
    /// Is not known to have ended.
    Runs,
    /// Its main process has ended, what it started may still run.
    Died(Ending),
    /// Nothing of it is left.
    Ended(Ending),
}

/// Why a running process is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Another release is chosen.
    Release,
    /// It failed its probation although it lives.
    Failed,
    /// An operator wants the same one started again.
    Restart,
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
    /// The old process is being stopped and the new one started. Written before the first signal; migrations of
    /// arguments and data will run in it, between the old process's end and the new one's execution.
    Switching {
        /// What ran when the switch began.
        from: Running,
        /// Its trial, if it was on one.
        probation: Option<Probation>,
        /// How many starts of it in a row did not last.
        attempt: u32,
        /// What shall run.
        to: Build,
        /// Why.
        reason: Reason,
        /// Where the old process stands.
        old: Old,
        /// What is left of the old process although its time to end is over.
        stuck: Option<String>,
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
    /// The main process has ended by itself; what it started is being ended, and nothing is started before.
    Ending {
        /// What ran.
        process: Running,
        /// Whether it was on probation.
        on_probation: bool,
        /// How many starts in a row did not last.
        attempt: u32,
        /// How it ended.
        ending: Ending,
        /// Whether its end is a failure; it is not in a runtime upgrade, or when it was told to end.
        counts: bool,
        /// What is left of it although its time to end is over.
        stuck: Option<String>,
    },
    /// The new release failed and has ended; the old one is being started again.
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
        /// What is left of it although its time to end is over.
        stuck: Option<String>,
    },
    /// Nothing runs: the release that the data was migrated for has failed on it, and nothing else may be started on it.
    Barred {
        /// What failed.
        failed: Build,
        /// The whole of it with the ways out, for people.
        reason: String,
    },
    /// Vaultvisor ends, and it is not proved that nothing runs: if something does and is this vault's own, it is being
    /// stopped.
    Clearing {
        /// Who holds the lock, what could not be proved, or what was given up.
        reason: String,
    },
    /// Stopped on purpose.
    Stopped {
        /// What did not end in its time, if anything, and was left to its keeper.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<String>,
    },
    /// It cannot be proved that nothing of the old vault runs, so nothing is started.
    Blocked {
        /// Whether another vaultvisor or vault holds the lock; else something was left behind.
        lock_is_held: bool,
        /// Who holds the lock, or what could not be proved.
        reason: String,
        /// When the lock is tried again.
        wait: Wait,
        /// What will be started once it is free; `None` before any release is known.
        build: Option<Build>,
    },
}

/// Where a wanted file stands.
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

impl Fetch {
    /// The file that it is about.
    pub fn checksum(&self) -> Option<Checksum> {
        match self {
            Self::Idle => None,
            Self::Fetching { checksum, .. }
            | Self::Failed { checksum, .. }
            | Self::Ready { checksum, .. } => Some(*checksum),
        }
    }

    pub(super) fn is_ready(&self, wanted: Checksum) -> bool {
        matches!(self, Self::Ready { checksum, .. } if *checksum == wanted)
    }

    pub(super) fn attempt(&self) -> u32 {
        match self {
            Self::Idle => 0,
            Self::Fetching { attempt, .. } | Self::Failed { attempt, .. } | Self::Ready { attempt, .. } => {
                *attempt
            }
        }
    }
}
