//! What vaultvisor and a keeper say to each other.
//!
//! Vaultvisor starts `vaultvisor-keeper <spec as arguments> -- <the vault's arguments>` with one end of a
//! socket pair as its standard input, and sends single bytes: `L` (take the lock) and `G` (go), and between the two,
//! when a release changes more than the binary, `S` (bring the snapshot up to date), `M` (migrate the data) or `R`
//! (restore it). The keeper answers in lines of JSON, one [`Report`] each. The keeper's environment is the vault's.
//!
//! The end of the socket before `G` means: exit and start nothing. After `G` it means nothing; the keeper
//! goes on alone. So vaultvisor takes a keeper that was sent `G` for one that has executed, whatever becomes of it, unless
//! it says itself that it has not; one that is told to end before it got there does.

use std::{ffi::OsString, fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ProcessId, StopSignal, id::Processes};
use crate::release::Checksum;

/// Take the lock.
pub const LOCK: u8 = b'L';
/// Execute the vault.
pub const GO: u8 = b'G';
/// Bring the snapshot up to date: the second pass. Answered by [`Report::Working`] and [`Report::Worked`].
pub const SNAPSHOT: u8 = b'S';
/// Run the state migration; what it did is durable when it is answered. Answered by [`Report::Worked`].
pub const MIGRATE: u8 = b'M';
/// Restore the snapshot, durably. Answered as [`SNAPSHOT`] is.
pub const RESTORE: u8 = b'R';

/// The version of what is said here, arguments included. Both programs are replaced by an upgrade while an old vaultvisor
/// may still run, so each side tells the other and refuses one that speaks differently. Raised when an older one would
/// misunderstand; what it may pass over needs no new number.
pub const PROTOCOL: u32 = 1;

/// Why two programs cannot work together.
pub fn other_protocol(keeper: u32, vaultvisor: u32) -> String {
    format!(
        "vaultvisor-keeper speaks protocol {keeper} and the running vaultvisor {vaultvisor}: they are of two versions; \
         install both programs of one, send vaultvisor SIGQUIT, which leaves its vaults running, and start it again"
    )
}

/// Which vault: what stays the same through all of its runs.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Place {
    /// The account lock of this vault
    #[arg(long)]
    pub lock: PathBuf,
    /// The value of VAULTVISOR_RUN in the vault's environment
    #[arg(long)]
    pub marker: String,
    /// The home of the vaultvisor that started this
    #[arg(long)]
    pub home: PathBuf,
    /// The vault's folder, for its run and exit records, its output and its log
    #[arg(long)]
    pub folder: PathBuf,
    /// How the vault is asked to end
    #[arg(long)]
    pub stop_signal: StopSignal,
    /// SIGKILL after this many milliseconds
    #[arg(long)]
    pub grace_ms: u64,
    /// Where the vault's output goes
    #[arg(long)]
    pub output: Output,
    /// The log is rotated when it has grown to this many bytes
    #[arg(long)]
    pub log_bytes: u64,
    /// How many rotated logs are kept
    #[arg(long)]
    pub log_keep: u32,
}

impl Place {
    /// The grace as a duration.
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// Where the vault's output goes in the mode [`Output::File`].
    pub fn log(&self) -> PathBuf {
        self.folder.join("log/vault.log")
    }

    /// The FIFO that every run of the vault writes its output to.
    pub fn fifo(&self) -> PathBuf {
        self.folder.join("output.fifo")
    }
}

/// What may have to be done to the vault's data between the lock and the execution; nothing at most starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
pub struct Work {
    /// The vault's data folder
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// The folder of the snapshot that is brought up to date or restored
    #[arg(long)]
    pub snapshot: Option<PathBuf>,
    /// The store's folder with the state-migration
    #[arg(long)]
    pub migration_folder: Option<PathBuf>,
    /// What the state-migration must hash to
    #[arg(long)]
    pub migration_checksum: Option<Checksum>,
    /// It is killed after this many milliseconds
    #[arg(long, default_value_t = 0)]
    pub migration_ms: u64,
}

impl Work {
    fn to_args(&self) -> Vec<(&'static str, OsString)> {
        let path = |name, path: &Option<PathBuf>| path.clone().map(|path| (name, path.into()));
        let checksum = self.migration_checksum.map(|checksum| checksum.to_string().into());
        [
            path("--data-dir", &self.data_dir),
            path("--snapshot", &self.snapshot),
            path("--migration-folder", &self.migration_folder),
            checksum.map(|checksum| ("--migration-checksum", checksum)),
            Some(("--migration-ms", self.migration_ms.to_string().into())),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Everything a keeper needs to know, as its command line.
#[derive(Debug, Clone, PartialEq, Eq, clap::Parser)]
#[command(
    name = "vaultvisor-keeper",
    disable_version_flag = true,
    about = "Holds one vault's lock and process; started by vaultvisor, never by hand"
)]
pub struct Spec {
    /// Which vault.
    #[command(flatten)]
    pub place: Place,
    /// What vaultvisor speaks
    #[arg(long, default_value_t = 1)]
    pub protocol: u32,
    /// Which of the vault's runs this is
    #[arg(long)]
    pub run_id: String,
    /// What the release is called; for people
    #[arg(long)]
    pub version: String,
    /// The store's folder with the binary
    #[arg(long)]
    pub binary_folder: PathBuf,
    /// What the binary must hash to
    #[arg(long)]
    pub checksum: Checksum,
    /// What may have to be done first.
    #[command(flatten)]
    pub work: Work,
    /// The vault's own arguments
    #[arg(last = true)]
    pub args: Vec<String>,
}

impl Spec {
    /// The arguments that [`clap`] reads back as this.
    pub fn to_args(&self) -> Vec<OsString> {
        let place = &self.place;
        let mut named: Vec<(&str, OsString)> = vec![
            ("--lock", place.lock.clone().into()),
            ("--marker", place.marker.clone().into()),
            ("--home", place.home.clone().into()),
            ("--folder", place.folder.clone().into()),
            ("--stop-signal", place.stop_signal.to_string().into()),
            ("--grace-ms", place.grace_ms.to_string().into()),
            ("--output", place.output.to_string().into()),
            ("--log-bytes", place.log_bytes.to_string().into()),
            ("--log-keep", place.log_keep.to_string().into()),
            ("--protocol", self.protocol.to_string().into()),
            ("--run-id", self.run_id.clone().into()),
            ("--version", self.version.clone().into()),
            ("--binary-folder", self.binary_folder.clone().into()),
            ("--checksum", self.checksum.to_string().into()),
        ];
        named.extend(self.work.to_args());
        let mut args = Vec::new();
        for (name, value) in named {
            // One word, so that a value that begins with a dash is not taken for an option.
            let mut arg = OsString::from(name);
            arg.push("=");
            arg.push(value);
            args.push(arg);
        }
        args.push("--".into());
        args.extend(self.args.iter().map(Into::into));
        args
    }
}

/// Where a vault's output goes. The vault always writes to its FIFO; this is where its keeper passes it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// Into `log/vault.log` in the vault's folder, rotated by size.
    #[default]
    File,
    /// To the system's journal; into the file while there is no journal.
    Journald,
    /// To vaultvisor's own standard error, as containers want it.
    Inherit,
}

impl Output {
    /// When [`Output::File`] rotates by default, in bytes: a day or more of a vault's ordinary output.
    pub const DEFAULT_LOG_BYTES: u64 = 16 * 1024 * 1024;
    /// How many rotated logs are kept by default: with the one that is written, 80 MiB at most.
    pub const DEFAULT_LOG_KEEP: u32 = 4;
}

const OUTPUTS: [(Output, &str); 3] =
    [(Output::File, "file"), (Output::Journald, "journald"), (Output::Inherit, "inherit")];

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(OUTPUTS.iter().find(|(output, _)| output == self).map_or("file", |(_, name)| name))
    }
}

impl FromStr for Output {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = OUTPUTS.iter().find(|(_, name)| *name == text);
        found
            .map(|(output, _)| *output)
            .ok_or_else(|| format!("found {text:?}, expected \"file\", \"journald\" or \"inherit\""))
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

/// What a keeper reports, in this order; after `failed`, `migration_failed`, `busy`, `not_gone` and `ended` it exits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// The binary is open and hashed; waiting for [`LOCK`].
    Ready {
        /// What the keeper speaks.
        #[serde(default)]
        protocol: u32,
        /// What is not as it was asked for, for people; the vault can be started all the same.
        warning: Option<String>,
    },
    /// Something did not work; nothing runs.
    Failed {
        /// What, for people.
        reason: String,
        /// Whether it was this machine that could not, and no program is to blame. Older keepers do not say so.
        #[serde(default)]
        by_machine: bool,
    },
    /// An earlier run of this vault lost its keeper and is still there; it is being ended first.
    Ending {
        /// Its processes, for people.
        what: String,
    },
    /// The lock is held: nothing else of this account runs.
    Locked,
    /// Someone else holds the lock.
    Busy {
        /// Who: `home=… uid=… keeper=… vault=…`.
        holder: String,
    },
    /// It is not proved that nothing of this account is there.
    NotGone(Processes),
    /// Something is being copied, and goes on.
    Working {
        /// Files, folders and links so far.
        entries: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// What was commanded between the lock and the execution is done.
    Worked {
        /// Files, folders and links that were made anew.
        copied: u64,
        /// Bytes of those.
        bytes: u64,
        /// Attributes that only root may set, and that are not as they were.
        not_kept: u64,
    },
    /// The state migration failed by itself, and nothing of it runs any more. The data is what it made of it.
    MigrationFailed {
        /// How, for people.
        reason: String,
    },
    /// The vault was executed.
    Started {
        /// The process.
        vault: ProcessId,
        /// When, on [`super::monotonic_ns`].
        at_ns: u64,
    },
    /// The vault's main process has ended; what it left behind is being ended.
    Died {
        /// How.
        status: ExitStatus,
        /// When, on [`super::monotonic_ns`].
        at_ns: u64,
    },
    /// A stop, or the ending of what was left behind, takes longer than it may. It goes on.
    NotEnded(Processes),
    /// The vault has ended, and so has everything it started. The lock is free.
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
        for (output, _) in OUTPUTS {
            let spec = Spec {
                place: Place {
                    lock: "/run/lock/x.lock".into(),
                    marker: "0xab-alice".into(),
                    home: "/h".into(),
                    folder: "/h/vaults/--odd name".into(),
                    stop_signal: StopSignal::Quit,
                    grace_ms: 60_000,
                    output,
                    log_bytes: 1,
                    log_keep: 0,
                },
                protocol: PROTOCOL,
                run_id: "1-2".into(),
                version: "-1.0".into(),
                binary_folder: "/h/store".into(),
                checksum: Checksum([7; 32]),
                work: match output {
                    Output::File => Work::default(),
                    _ => Work {
                        data_dir: Some("/d a".into()),
                        snapshot: Some("/h/--s".into()),
                        migration_folder: Some("/h/store/m".into()),
                        migration_checksum: Some(Checksum([8; 32])),
                        migration_ms: 9,
                    },
                },
                args: vec!["--lock".into(), "".into(), "--".into(), "-x=ü \n".into()],
            };
            let args = std::iter::once("keeper".into()).chain(spec.to_args());
            assert_eq!(Spec::try_parse_from(args).expect("parses"), spec);
        }
    }
}
