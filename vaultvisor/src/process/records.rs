//! What a keeper leaves for whoever comes after the vaultvisor that started it.
//!
//! `run.json` says which process runs; it is written right after the execution and replaces the one of the
//! run before. `exit.json` says how it ended. A new file or a rename would be due when the vault has ended,
//! just when nothing may come between the old process and the new one; so the file is made at the start,
//! with nothing to say yet, and written in place later. Both are of one boot: after a power loss they are
//! history, so what is written in place needs no sync.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    StopSignal, boot_id,
    id::Processes,
    lock::Record,
    protocol::{ExitStatus, Place, Spec},
};
use crate::{
    journal::atomic_file::{self, WriteError},
    ownership::no_link,
    release::Checksum,
};

/// The layout of both records.
const SCHEMA: u32 = 1;
/// Both are a few hundred bytes.
const MAX_RECORD_BYTES: u64 = 64 * 1024;
/// The room that an exit record has from the beginning; what it says of processes is cut to fit.
const EXIT_BYTES: usize = 4096;
const MAX_WHAT_CHARS: usize = 1000;

/// Which file a process was executed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
}

impl FileId {
    /// Of the file at a path, links followed.
    pub fn of(path: &Path) -> io::Result<Self> {
        path.metadata().map(|metadata| Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// What a run of a vault was executed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which run.
    pub run_id: String,
    /// Its main process.
    pub pid: u32,
    /// What its release is called; for people.
    pub version: String,
    /// Its binary.
    pub checksum: Checksum,
}

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    schema: u32,
    /// What its release is called; for people.
    pub version: String,
    /// Its binary.
    pub checksum: Checksum,
    /// The file it was executed from.
    pub binary: FileId,
    /// Whose vault it is: `<genesis>-<account>`. `None` in records of earlier versions.
    #[serde(default)]
    pub marker: Option<String>,
    /// How it is asked to end.
    pub stop_signal: String,
    /// When it was executed, on [`super::monotonic_ns`].
    pub started_ns: u64,
    /// What the account lock said of it.
    #[serde(flatten)]
    pub lock: Record,
}

impl RunRecord {
    /// Of a vault that was just executed.
    pub fn new(spec: &Spec, binary: FileId, started_ns: u64, lock: Record) -> Self {
        let (version, checksum) = (spec.version.clone(), spec.checksum);
        let (marker, stop_signal) = (Some(spec.place.marker.clone()), spec.place.stop_signal.to_string());
        Self { schema: SCHEMA, version, checksum, binary, marker, stop_signal, started_ns, lock }
    }

    /// Whether it is of this place's own account. The folder of a vault stays when its account changes.
    pub fn is_of(&self, place: &Place) -> bool {
        self.marker.as_ref().is_none_or(|marker| *marker == place.marker)
    }

    /// What still runs in a place's folder although it is of another account; then nothing may be started there.
    pub fn of_another_account(place: &Place) -> Result<Option<Processes>, RecordError> {
        let Some(run) = Self::read_open(&place.folder)?.filter(|run| !run.is_of(place)) else {
            return Ok(None);
        };
        let io = |source| RecordError::Io { path: run_path(&place.folder), source };
        let mut pids = Vec::new();
        for process in [Some(run.lock.keeper), run.lock.vault].into_iter().flatten() {
            if !process.has_ended().map_err(io)? {
                pids.push(process.pid);
            }
        }
        let numbers: Vec<String> = pids.iter().map(u32::to_string).collect();
        let what = format!(
            "what this vault ran before its account was changed from {} still runs (pid {}): put the old account back \
             and stop it, or give this vault another name",
            run.marker.as_deref().unwrap_or_default(),
            numbers.join(", ")
        );
        Ok((!pids.is_empty()).then_some(Processes { pids, what }))
    }

    /// What was executed.
    pub fn run(&self) -> Run {
        Run {
            run_id: self.lock.run_id.clone(),
            pid: self.lock.vault.map_or(0, |vault| vault.pid),
            version: self.version.clone(),
            checksum: self.checksum,
        }
    }

    /// The signal that its keeper stops it with; the default one if that is none that we know.
    pub fn stop_signal(&self) -> StopSignal {
        self.stop_signal.parse().unwrap_or_default()
    }

    /// Replaces the record of the run before.
    pub fn write(&self, folder: &Path) -> Result<(), WriteError> {
        atomic_file::replace(&run_path(folder), &to_text(self))
    }

    /// The one in a vault's folder.
    pub fn read(folder: &Path) -> Result<Option<Self>, RecordError> {
        read(&run_path(folder), 1)
    }

    /// The one in a vault's folder, unless it is of another boot or is known to have ended.
    pub fn read_open(folder: &Path) -> Result<Option<Self>, RecordError> {
        let Some(run) = Self::read(folder)? else { return Ok(None) };
        let io = |source| RecordError::Io { path: run_path(folder), source };
        if !run.lock.is_open().map_err(io)? {
            return Ok(None);
        }
        // An exit record that cannot be read says nothing of an end.
        let exit = ExitRecord::read(folder).ok().flatten();
        Ok((!exit.is_some_and(|exit| exit.is_of(&run.lock) && exit.ended)).then_some(run))
    }
}

/// How a vault's main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// How.
    pub status: ExitStatus,
    /// When, on [`super::monotonic_ns`].
    pub at_ns: u64,
}

/// `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    schema: u32,
    boot_id: String,
    run_id: String,
    /// The end of the main process.
    pub died: Option<Death>,
    /// What a stop has not ended in its time; it goes on.
    pub not_ended: Option<Processes>,
    /// Whether nothing is left of it.
    pub ended: bool,
}

impl ExitRecord {
    /// Whether it is of this run.
    pub fn is_of(&self, lock: &Record) -> bool {
        self.boot_id == lock.boot_id && self.run_id == lock.run_id
    }

    /// The one in a vault's folder. Its keeper may be writing it.
    pub fn read(folder: &Path) -> Result<Option<Self>, RecordError> {
        read(&exit_path(folder), 5)
    }
}

/// A keeper's hand on its exit record.
#[derive(Debug)]
pub struct ExitFile {
    file: File,
    record: ExitRecord,
}

impl ExitFile {
    /// Makes the record of a run that has not ended.
    pub fn create(folder: &Path, run_id: &str) -> io::Result<Self> {
        let (boot_id, run_id) = (boot_id()?, run_id.to_owned());
        let record =
            ExitRecord { schema: SCHEMA, boot_id, run_id, died: None, not_ended: None, ended: false };
        let path = exit_path(folder);
        atomic_file::replace(&path, &padded(&record)).map_err(|error| error.source)?;
        let file = no_link(OpenOptions::new().write(true)).open(path)?;
        Ok(Self { file, record })
    }

    /// Says how the main process ended.
    pub fn died(&mut self, death: Death) -> io::Result<()> {
        self.record.died = Some(death);
        self.write()
    }

    /// Says what a stop has not ended.
    pub fn not_ended(&mut self, left: &Processes) -> io::Result<()> {
        let short = left.clone().told(|what| what.chars().take(MAX_WHAT_CHARS).collect());
        self.record.not_ended = Some(short);
        self.write()
    }

    /// Says that nothing is left.
    pub fn ended(&mut self) -> io::Result<()> {
        self.record.not_ended = None;
        self.record.ended = true;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        self.file.write_all_at(&padded(&self.record), 0)
    }
}

/// Why a record says nothing.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not a record.
    #[error("{} is damaged; when no vault of this account runs, remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

fn run_path(folder: &Path) -> PathBuf {
    folder.join("run.json")
}

fn exit_path(folder: &Path) -> PathBuf {
    folder.join("exit.json")
}

fn to_text(record: &impl Serialize) -> Vec<u8> {
    // Strings and numbers only: there is nothing in it that could not be written as JSON.
    serde_json::to_vec_pretty(record).unwrap_or_default()
}

/// Blanks fill it up, so that a longer text finds its room and no tail of one is ever left.
fn padded(record: &ExitRecord) -> Vec<u8> {
    let mut text = to_text(record);
    text.resize(text.len().max(EXIT_BYTES), b' ');
    text
}

/// Reads a record; tries again when it may just be being written.
fn read<T: DeserializeOwned>(path: &Path, tries: u32) -> Result<Option<T>, RecordError> {
    let io = |source| RecordError::Io { path: path.to_owned(), source };
    let mut left = tries;
    loop {
        let mut text = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(MAX_RECORD_BYTES).read_to_end(&mut text).map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        left -= 1;
        match serde_json::from_slice(&text) {
            Ok(record) => return Ok(Some(record)),
            Err(source) if left == 0 => return Err(RecordError::Damaged { path: path.to_owned(), source }),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lock::{Cleanliness, tests::record};
    use super::*;

    impl RunRecord {
        /// One of some release.
        pub(in crate::process) fn for_tests(lock: Record) -> Self {
            let (schema, binary) = (SCHEMA, FileId { device: 1, inode: 2 });
            let (version, stop_signal) = ("1.0".to_owned(), "SIGTERM".to_owned());
            let (checksum, marker) = (Checksum([1; 32]), None);
            Self { schema, version, checksum, binary, marker, stop_signal, started_ns: 3, lock }
        }
    }

    fn run() -> RunRecord {
        RunRecord::for_tests(record("/h".as_ref(), Cleanliness::Dirty))
    }

    #[test]
    fn a_run_is_open_until_the_exit_record_of_the_same_run_says_that_nothing_is_left() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path();
        assert_eq!(RunRecord::read_open(path).expect("nothing there"), None);
        run().write(path).expect("write");
        assert_eq!(RunRecord::read_open(path).expect("no exit record"), Some(run()));
        let mut other = ExitFile::create(path, "another run").expect("exit record");
        other.ended().expect("write");
        assert!(RunRecord::read_open(path).expect("of another run").is_some());
        let mut exit = ExitFile::create(path, "r").expect("exit record");
        let death = Death { status: ExitStatus::Code(3), at_ns: 9 };
        exit.died(death).expect("write");
        exit.not_ended(&Processes::unseen("x".repeat(9999))).expect("write");
        assert!(RunRecord::read_open(path).expect("died only").is_some());
        exit.ended().expect("write");
        assert!(RunRecord::read_open(path).expect("ended").is_none());
        let exit = ExitRecord::read(path).expect("read").expect("there");
        assert_eq!((exit.died, exit.not_ended), (Some(death), None));
    }

    #[test]
    fn a_damaged_record_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["run.json", "exit.json"] {
            std::fs::write(folder.path().join(name), b"{\"schema\": 1").expect("write");
        }
        let run = RunRecord::read(folder.path()).expect_err("damaged").to_string();
        assert!(run.contains("run.json is damaged"), "{run}");
        assert!(ExitRecord::read(folder.path()).is_err());
    }

    #[test]
    fn a_run_of_another_boot_is_history() {
        let folder = tempfile::tempdir().expect("folder");
        let mut run = run();
        run.lock.boot_id = "another".into();
        run.write(folder.path()).expect("write");
        assert_eq!(RunRecord::read_open(folder.path()).expect("read"), None);
    }
}
