//! What is to be done: carried out by executors that hold no policy, each answered by one event.

use super::state::Build;
use crate::release::Checksum;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Put a release's binary into the store, or prove the one that is there again. Answered by `Fetched` or
    /// `FetchFailed`.
    Fetch(Build),
    /// Start a process where none runs. Answered by `Started`, `StartFailed`, `NotPrepared` or
    /// `NotProvablyGone`.
    Start(Build),
    /// Stop the running process and start another in its place. Answered by `Started`, `StartFailed`,
    /// `NotPrepared` or `NotProvablyGone`.
    Switch {
        /// The new one.
        to: Build,
    },
    /// Stop the running process for good, and give up a start or switch that has not executed anything yet.
    /// Answered by `Ended`, or by what the start or switch answers.
    Stop,
    /// Remove what this vault does not need from the store. Not answered; repeated at the next chance.
    Prune {
        /// What it needs.
        keep: Vec<Checksum>,
    },
    /// Tell people: something happened that they should read.
    Report(String),
}
