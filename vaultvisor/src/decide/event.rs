//! What can happen to a vault: the only inputs of `decide` beside the state and the time.

use std::time::Duration;

use super::state::Build;
use crate::{chain::ChainView, release::Checksum};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Vaultvisor has just started. Nothing of this vault's runs under it.
    Recovered {
        /// Which of the wanted files are in the store.
        stored: Vec<Checksum>,
    },
    /// What is known of the chain.
    Chain {
        /// The newest finalized view, if there ever was one.
        view: Option<Box<ChainView>>,
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
    /// Nothing was executed, and the process before it, if any, has ended.
    StartFailed {
        /// What should have been.
        build: Build,
        /// Why, for people.
        reason: String,
    },
    /// The new process could not be prepared: its file is damaged or gone, or the system lacks something.
    /// Nothing was executed, and the process before it, if any, was not touched.
    NotPrepared {
        /// What should have been started.
        build: Build,
        /// Why, for people.
        reason: String,
    },
    /// Nothing was executed, because something of this account may still run.
    NotProvablyGone {
        /// What should have been started.
        build: Build,
        /// Whether another vaultvisor or vault holds the lock; else something was left behind.
        lock_is_held: bool,
        /// Who holds the lock, or what could not be proved.
        reason: String,
    },
    /// The process ended, and nothing of it is left.
    Ended {
        /// The process.
        pid: u32,
        /// How.
        ending: Ending,
    },
    /// Time has passed: a wait may be over.
    Tick,
    /// Vaultvisor was told to end.
    Shutdown,
}
