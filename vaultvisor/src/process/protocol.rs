//! What vaultvisor and a keeper say to each other.
//!
//! Vaultvisor starts `vaultvisor-keeper <spec as arguments> -- <the vault's arguments>` with one end of a
//! socket pair as its standard input, and sends single bytes: `L` (take the lock) and `G` (go). The keeper
//! answers in lines of JSON, one [`Report`] each. The keeper's environment is the vault's.
//!
//! The end of the socket before `G` means: exit and start nothing. After `G` it means nothing; the keeper
//! goes on alone.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ProcessId, StopSignal};
use crate::release::Checksum;

/// Take the lock.
pub const LOCK: u8 = b'L';
/// Execute the vault.
pub const GO: u8 = b'G';

/// Everything a keeper needs to know, as its command line.
#[derive(Debug, Clone, PartialEq, Eq, clap::Parser)]
#[command(
    name = "vaultvisor-keeper",
    version,
    about = "Holds one vault's lock and process; started by vaultvisor, never by hand"
)]
pub struct Spec {
    /// The account lock of this vault
    #[arg(long)]
    pub lock: PathBuf,
    /// The value of VAULTVISOR_RUN in the vault's environment
    #[arg(long)]
    pub marker: String,
    /// The home of the vaultvisor that started this
    #[arg(long)]
    pub home: PathBuf,
    /// The vault's folder, for its run and exit records
    #[arg(long)]
    pub folder: PathBuf,
    /// Which of the vault's runs this is
    #[arg(long)]
    pub run_id: String,
    /// The store's folder with the binary
    #[arg(long)]
    pub binary_folder: PathBuf,
    /// What the binary must hash to
    #[arg(long)]
    pub checksum: Checksum,
    /// Where the vault's output goes
    #[arg(long)]
    pub log: PathBuf,
    /// How the vault is asked to end
    #[arg(long)]
    pub stop_signal: StopSignal,
    /// SIGKILL after this many milliseconds
    #[arg(long)]
    pub grace_ms: u64,
    /// The vault's own arguments
    #[arg(last = true)]
    pub args: Vec<String>,
}

impl Spec {
    /// The arguments that [`clap`] reads back as this.
    pub fn to_args(&self) -> Vec<std::ffi::OsString> {
        let named: [(&str, std::ffi::OsString); 10] = [
            ("--lock", self.lock.clone().into()),
            ("--marker", self.marker.clone().into()),
            ("--home", self.home.clone().into()),
            ("--folder", self.folder.clone().into()),
            ("--run-id", self.run_id.clone().into()),
            ("--binary-folder", self.binary_folder.clone().into()),
            ("--checksum", self.checksum.to_string().into()),
            ("--log", self.log.clone().into()),
            ("--stop-signal", self.stop_signal.to_string().into()),
            ("--grace-ms", self.grace_ms.to_string().into()),
        ];
        let mut args = Vec::new();
        for (name, value) in named {
            // One word, so that a value that begins with a dash is not taken for an option.
            let mut arg = std::ffi::OsString::from(name);
            arg.push("=");
            arg.push(value);
            args.push(arg);
        }
        args.push("--".into());
        args.extend(self.args.iter().map(Into::into));
        args
    }

    /// The grace as a duration.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

/// How a process ended, as the kernel told its keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// With a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// What a keeper reports, in this order; after `failed`, `busy`, `not_gone` and `ended` it exits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// The binary is open and hashed; waiting for [`LOCK`].
    Ready,
    /// Something did not work; nothing runs.
    Failed {
        /// What, for people.
        reason: String,
    },
    /// The lock is held: nothing else of this account runs.
    Locked,
    /// Someone else holds the lock.
    Busy {
        /// Who: `home=… uid=… keeper=… vault=…`.
        holder: String,
    },
    /// The lock was free, but a process of this account is still there.
    NotGone {
        /// Which.
        what: String,
    },
    /// The vault was executed.
    Started {
        /// The process.
        vault: ProcessId,
        /// When, on [`super::monotonic_ns`].
        at_ns: u64,
    },
    /// The vault has ended, and so has everything it started.
    Ended {
        /// How the vault itself ended.
        status: ExitStatus,
        /// When the last of it ended, on [`super::monotonic_ns`].
        at_ns: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn a_spec_survives_its_command_line() {
        let spec = Spec {
            lock: "/run/lock/x.lock".into(),
            marker: "0xab-alice".into(),
            home: "/h".into(),
            folder: "/h/vaults/--odd name".into(),
            run_id: "1-2".into(),
            binary_folder: "/h/store".into(),
            checksum: Checksum([7; 32]),
            log: "-".into(),
            stop_signal: StopSignal::Quit,
            grace_ms: 60_000,
            args: vec!["--lock".into(), "".into(), "--".into(), "-x=ü \n".into()],
        };
        let args = std::iter::once("keeper".into()).chain(spec.to_args());
        assert_eq!(Spec::try_parse_from(args).expect("parses"), spec);
    }
}
