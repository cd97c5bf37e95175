//! What is to be done: carried out by executors that hold no policy, each answered by one event.

use serde::{Deserialize, Serialize};

use super::{
    data::{Launch, Stage},
    state::Build,
};
use crate::release::Checksum;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put a release's binary into the store, or prove the one that is there again. Answered by `Fetched`,
    /// `Unfit` or `FetchFailed`. Two may be under way: what should run, and what will.
    Fetch(Build),
    /// Make ready what a release needs besides its files: arguments, and the first pass of a snapshot. Answered by
    /// `Staged` or `StageFailed`; one at a time.
    Stage(Stage),
    /// Start a process where none runs. Answered by `Started`, `StartFailed`, `NotExecuted`, `WorkFailed`, `NotPrepared`
    /// or `NotProvablyGone`.
    Start(Launch),
    /// Prepare a process, stop the one that runs, and start the prepared one in its place. Answered by
    /// `Started`, `StartFailed`, `NotExecuted`, `WorkFailed`, `NotPrepared` or `NotProvablyGone`; `Died` and `Ended` of
    /// the old process come before that. Must wait until the state is durable.
    Switch {
        /// The new one; of the same file as the old one when an operator asked for a restart.
        to: Launch,
    },
    /// Stop the running process for good, and give up a start or switch that has not executed anything yet.
    /// Answered by `Died` and `Ended`, or by what the start or switch answers.
    Stop,
    /// Stop what is there of a vault that is not known to run, if anything is and is provably its own, for good. Answered
    /// by `Cleared`.
    StopOwn,
    /// Give up the fetches of what this vault does not need, which then are not answered, and remove it from the store.
    /// Not answered; repeated at the next chance. Must
    /// wait until the state is durable: after a crash the older state must not want what is gone.
    Prune {
        /// What it needs.
        keep: Vec<Checksum>,
    },
    /// Remove what this vault does not need of its snapshots, except for one that is being staged. Not answered; waits
    /// until the state is durable, as [`Self::Prune`] does.
    PruneSnapshots {
        /// Those that it needs or keeps, by number.
        keep: Vec<u64>,
    },
    /// Tell people: something happened that they should read.
    Report {
        /// How urgently.
        severity: Severity,
        /// What happened.
        text: String,
    },
    /// Append to the audit trail, before the actions that follow from the decision.
    History(Entry),
    /// Tell the operator who gave the command of this event what became of it.
    Answer {
        /// Whether it is done, or being done.
        accepted: bool,
        /// What was done, or why not and what to do.
        text: String,
    },
}

/// How urgently people should read a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All is as it should be.
    Info,
    /// Something is wrong; the vault runs, or will by itself.
    Warn,
    /// Somebody should look: the vault does not run, or may not do its work.
    Error,
}

/// One line of the audit trail, without the vault's name and the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What was decided, or happened.
    pub kind: Kind,
    /// What ran before, if that is part of it.
    pub from: Option<Build>,
    /// What is run, stated or refused.
    pub to: Option<Build>,
    /// The whole of it, for people.
    pub text: String,
    /// The finalized block in which the chain's statement in force was first seen.
    pub finalized: Option<u64>,
    /// That statement's number.
    pub sequence: Option<u64>,
    /// The runtime's version then.
    pub spec_version: Option<u32>,
    /// Of a release that was put in the place of another: how long no process ran, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime_us: Option<u64>,
}

/// What an [`Entry`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The chain states a release that it did not state before.
    Stated,
    /// What the chain's own event tells of a release that it states: block, extrinsic and signer.
    Announced,
    /// A switch begins.
    Switching,
    /// A process was executed.
    Started,
    /// A process of an earlier vaultvisor was taken over.
    Adopted,
    /// A release lived through its probation.
    Kept,
    /// A process ended by itself outside probation.
    Crashed,
    /// A release failed and is not tried before some time has passed.
    Rejected,
    /// The release that proved itself before is started again.
    FellBack,
    /// It cannot be proved that nothing runs.
    Blocked,
    /// Stopped on purpose.
    Stopped,
    /// An operator said to change nothing.
    Held,
    /// An operator ended that.
    Resumed,
    /// An operator chose a release.
    Overridden,
    /// An operator had something tried again at once.
    Retried,
    /// An operator had the vault started again.
    Restarted,
    /// What is gone back to never ran under the present runtime.
    Unseen,
    /// A runtime upgrade began or ended, while which an exit of the vault is no crash.
    Window,
    /// A network is read from another source than before.
    FailedOver,
    /// A network had no newer finalized block for too long.
    Stale,
    /// A source of a network contradicted the others, or what was known before.
    Contradicted,
    /// An operator had what was seen of a network's chain forgotten.
    Forgotten,
}
