//! Running one vault as a process that can never be two.
//!
//! Each vault runs under a **keeper** (`vaultvisor-keeper`): a small single-threaded process in its own
//! session that holds the vault's machine-wide lock, starts the vault, waits for it and for everything it
//! started, and outlives vaultvisor. The model is containerd's shim and podman's conmon. A keeper decides
//! nothing; its whole interface is its arguments, one socket pair, signals and two small records.
//!
//! - [`protocol`]: the keeper's arguments, commands and reports; the only thing both sides share.
//! - [`keeper`]: the keeper itself; [`stop`]: ending a vault and all that it started; [`output`]: passing on
//!   what a vault prints.
//! - [`lock`]: the account lock and the record in it, the proof that nothing runs; [`claim`]: taking it;
//!   [`survivors`]: what is still there of a run that lost its keeper, found by [`search`] and ended.
//! - [`records`]: the run and exit records, for whoever comes after this vaultvisor.
//! - [`handle`] and [`running`]: vaultvisor's side of a keeper; [`adopt`]: finding the vault of an earlier
//!   vaultvisor; [`unmanaged`]: finding one that somebody started by hand.
//! - [`program`]: other programs of a release, which run to their end.
//! - [`descriptors`]: how many files may be open, for vaultvisor and for what it starts.
//! - [`id`]: processes that cannot be taken for other ones.
//! - `raw`: the only module with `unsafe`: `fork`, `execveat`, `signalfd`, limits, the heap, and descriptors in the
//!   runtime.

pub mod adopt;
pub mod claim;
pub mod descriptors;
pub mod handle;
pub mod id;
pub mod keeper;
pub mod lock;
pub mod output;
pub mod program;
pub mod protocol;
#[allow(unsafe_code)] // What it calls has no safe form; each use states why it is sound.
mod raw;
pub mod records;
pub mod running;
pub mod search;
pub mod stop;
pub mod survivors;
pub mod unmanaged;

use std::{fmt, str::FromStr};

use rustix::process::Signal;

pub use id::ProcessId;
pub use raw::hold_little_memory;

/// The variable in a vault's environment by which a vault that lost its keeper and its lock is found.
pub const MARKER: &str = "VAULTVISOR_RUN";

/// Variables of vaultvisor's own environment that the programs which it runs get too.
pub const PASSED_ON: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];

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
}
