//! Running one vault as a process that can never be two.
//!
//! Each vault runs under a **keeper** (`vaultvisor-keeper`): a small single-threaded process in its own
//! session that holds the vault's machine-wide lock, starts the vault, waits for it and for everything it
//! started, and outlives vaultvisor. The model is containerd's shim and podman's conmon. A keeper decides
//! nothing; its whole interface is its arguments, one socket pair, signals and two small records.
//!
//! - [`protocol`]: the keeper's arguments, commands and reports; the only thing both sides share.
//! - [`keeper`]: the keeper itself.
//! - [`lock`]: the account lock and the record in it, the proof that nothing runs.
//! - [`stop`]: ending a vault and all that it started.
//! - [`handle`]: vaultvisor's side of a keeper.
//! - `raw`: the only module with `unsafe`: `fork`, `execveat` and `signalfd`.

pub mod handle;
pub mod keeper;
pub mod lock;
pub mod protocol;
#[allow(unsafe_code)] // fork, execveat and signalfd have no safe form; each use states why it is sound.
mod raw;
pub mod stop;

use std::{fmt, str::FromStr};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

/// The variable in a vault's environment by which a vault that lost its keeper and its lock is found.
pub const MARKER: &str = "VAULTVISOR_RUN";

/// The signals that ask a vault to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopSignal {
    /// What the bridges' clients handle, and what Ctrl-C sends.
    #[default]
    Int,
    /// What service managers send.
    Term,
    /// For programs that end gracefully only on it.
    Quit,
    /// For programs that end gracefully only on it.
    Hup,
    /// For programs that end gracefully only on it.
    Usr1,
    /// For programs that end gracefully only on it.
    Usr2,
}

const STOP_SIGNALS: [(StopSignal, &str, Signal); 6] = [
    (StopSignal::Int, "SIGINT", Signal::INT),
    (StopSignal::Term, "SIGTERM", Signal::TERM),
    (StopSignal::Quit, "SIGQUIT", Signal::QUIT),
    (StopSignal::Hup, "SIGHUP", Signal::HUP),
    (StopSignal::Usr1, "SIGUSR1", Signal::USR1),
    (StopSignal::Usr2, "SIGUSR2", Signal::USR2),
];

impl StopSignal {
    /// The signal itself.
    pub fn signal(self) -> Signal {
        STOP_SIGNALS.iter().find(|(stop, _, _)| *stop == self).map_or(Signal::INT, |(_, _, signal)| *signal)
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            STOP_SIGNALS.iter().find(|(stop, _, _)| stop == self).map_or("SIGINT", |(_, name, _)| name),
        )
    }
}

impl FromStr for StopSignal {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = STOP_SIGNALS.iter().find(|(_, name, _)| *name == text);
        let names: Vec<&str> = STOP_SIGNALS.iter().map(|(_, name, _)| *name).collect();
        found.map(|(stop, _, _)| *stop).ok_or_else(|| {
            format!("found {text:?}, expected a signal that asks a process to end: {}", names.join(", "))
        })
    }
}

/// A process that cannot be taken for another one: its id together with when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Its start, in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
}

impl ProcessId {
    /// The process that has this pid now; `None` when there is none.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses, which may hold blanks and parentheses itself.
        let (_, after_name) = stat.rsplit_once(')')?;
        let start_ticks = after_name.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, start_ticks })
    }

    /// Whether this very process still exists, if only as a zombie.
    pub fn exists(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// The identity of this boot: what is recorded under another one is history.
pub fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// `CLOCK_MONOTONIC` in nanoseconds: the same in every process of this boot.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stop_signal_has_one_name() {
        for (stop, name, signal) in STOP_SIGNALS {
            assert_eq!((name.parse(), stop.to_string(), stop.signal()), (Ok(stop), name.to_owned(), signal));
        }
        assert!("SIGKILL".parse::<StopSignal>().expect_err("no").contains("SIGINT"));
    }

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_pid() {
        let own = ProcessId::of(std::process::id()).expect("own");
        assert!(own.exists());
        assert!(!ProcessId { start_ticks: own.start_ticks + 1, ..own }.exists());
    }
}
