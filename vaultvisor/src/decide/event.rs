//! What can happen to a vault: the only inputs of `decide` beside the state and the time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    data::{Arguments, DataLeft},
    state::Build,
    time::{BootId, Moment},
};
use crate::{chain::ChainView, migrate::snapshot::SnapshotRecord, release::Checksum};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It is gone, and nobody was there to see how.
    Unknown,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("an unseen end"),
        }
    }
}

/// What a vaultvisor that has just started finds of its vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Nothing of it runs, provably.
    Nothing,
    /// It runs.
    Runs {
        /// From what.
        build: Build,
        /// Its process id.
        pid: u32,
        /// When it was executed, by its own start time.
        since: Moment,
        /// Whether its keeper was asked to stop it, and is doing so.
        told_to_end: bool,
    },
    /// Nothing of it runs, and this is how its newest process ended, in this boot.
    Ended {
        /// What was run; `None` when there was no room to record it.
        build: Option<Build>,
        /// Its process id.
        pid: u32,
        /// How it ended.
        ending: Ending,
        /// Whether its keeper was asked to stop it: then its end is nobody's failure.
        told_to_end: bool,
    },
    /// Something may run, and it is not known to be this vault's.
    NotProvable {
        /// Whether another vaultvisor or vault holds the lock; else something was left behind.
        lock_is_held: bool,
        /// Who holds the lock, or what could not be proved.
        reason: String,
    },
}

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Change nothing for now.
    Hold {
        /// Why, for people.
        reason: Option<String>,
    },
    /// Go on changing what the chain says.
    Resume,
    /// Run this release, whose file is in the store, until the chain's next statement.
    Override {
        /// The release.
        build: Build,
    },
    /// Try again now what waits to be tried again.
    Retry,
    /// Stop the vault and start it again.
    Restart,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Vaultvisor has just started.
    Recovered {
        /// Which files are in the store.
        stored: Vec<Checksum>,
        /// This boot.
        boot: BootId,
        /// The records of the vault's snapshots: what may have been done to its data.
        snapshots: Vec<SnapshotRecord>,
        /// What was found of the vault.
        observed: Observed,
    },
    /// What is known of the chain.
    Chain {
        /// The newest finalized view, if there ever was one.
        view: Option<Box<ChainView>>,
        /// The runtime version of the best block, where the source says it: above the finalized one's, a
        /// runtime upgrade is under way.
        best_spec_version: Option<u32>,
        /// What is wrong with the chain; `None` when it is well.
        problem: Option<String>,
    },
    /// A file is in the store, proved.
    Fetched(Checksum),
    /// A file could not be fetched, or what was fetched was refused.
    FetchFailed {
        /// The file.
        checksum: Checksum,
        /// Why, for people.
        reason: String,
        /// For how long every server that was asked wants to be left alone, if they all do.
        retry_after: Option<Duration>,
    },
    /// A file is in the store, proved, and this machine cannot execute it, or its probe failed. Nothing was stopped.
    Unfit {
        /// The release's binary.
        checksum: Checksum,
        /// Why, for people.
        reason: String,
    },
    /// All is ready for a release, and nothing was stopped for it.
    Staged {
        /// The release's binary.
        to: Checksum,
        /// What it will be started with.
        arguments: Arguments,
        /// The snapshot whose first pass is done, if one was wanted.
        snapshot: Option<u64>,
    },
    /// Something could not be made ready; nothing was stopped.
    StageFailed {
        /// The release's binary.
        to: Checksum,
        /// Why, for people.
        reason: String,
        /// Whether the release is to blame, and not this machine.
        by_release: bool,
    },
    /// A process was executed.
    Started {
        /// From what.
        build: Build,
        /// Its process id.
        pid: u32,
        /// From the end of the process before it, if that was part of the same action.
        downtime: Option<Duration>,
    },
    /// Nothing was executed, or what was has lost its keeper before that said so; the process before it, if any, has
    /// ended.
    StartFailed {
        /// What should have been.
        build: Build,
        /// Why, for people.
        reason: String,
        /// What is left of the data.
        data: DataLeft,
    },
    /// Nothing was executed, because this machine could not: it has no process left, say, or the file was changed after
    /// it was proved. The process before it, if any, has ended. The release is not to blame.
    NotExecuted {
        /// What should have been.
        build: Build,
        /// Why, for people.
        reason: String,
        /// What is left of the data.
        data: DataLeft,
    },
    /// Nothing was executed, because a snapshot could not be finished or restored, or the work on the data was given
    /// up; the process before it, if any, has ended. The release is not to blame.
    WorkFailed {
        /// What should have been started.
        build: Build,
        /// Why, for people.
        reason: String,
        /// What is left of the data.
        data: DataLeft,
    },
    /// The new process could not be prepared: its file is damaged or gone, or the system lacks something.
    /// Nothing was executed, and the process before it, if any, was not touched.
    NotPrepared {
        /// What should have been started.
        build: Build,
        /// Why, for people.
        reason: String,
    },
    /// Nothing was executed, because something of this account may still run; or the keeper that was told to execute it
    /// neither says what became of that nor ends.
    NotProvablyGone {
        /// What should have been started.
        build: Build,
        /// Whether another vaultvisor or vault holds the lock; else something was left behind.
        lock_is_held: bool,
        /// Which processes are in the way, where that is known.
        processes: Vec<u32>,
        /// Who holds the lock, or what could not be proved. What it says of processes may differ at the next try.
        reason: String,
        /// What is left of the data.
        data: DataLeft,
    },
    /// The main process has ended; what it started may still run, and is being ended.
    Died {
        /// The process.
        pid: u32,
        /// How it ended.
        ending: Ending,
    },
    /// Nothing of the process is left.
    Ended {
        /// The process.
        pid: u32,
    },
    /// A stop did not end the process within its time. It is waited for all the same.
    NotEnded {
        /// The process.
        pid: u32,
        /// The processes that are left, where they can be seen.
        left: Vec<u32>,
        /// They, by pid and state.
        what: String,
    },
    /// What was in the way of a blocked vault, and was this vault's own, has ended, or does not.
    Cleared {
        /// What does not end; `None` when nothing of this vault's own is left.
        left: Option<String>,
    },
    /// The health URL was asked.
    Health {
        /// The process that ran then.
        pid: u32,
        /// Whether it answered 2xx.
        ok: bool,
        /// What it answered, for people.
        detail: String,
    },
    /// An operator gave a command; answered by one `Answer`.
    Operator(Command),
    /// Time has passed: a wait may be over.
    Tick,
    /// Vaultvisor was told to end.
    Shutdown,
}
