//! The lock of one account on this machine, and the record in it: the proof that nothing runs.
//!
//! An `flock` on `<lock_dir>/<genesis>-<account>.lock`, which the vault inherits, so that it is held as long
//! as any process of the vault's that did not close it is alive. A vault may close its descriptors, and its
//! keeper may be killed; therefore the file also holds a record that is `dirty` from before the first fork
//! until `wait` has said that no child is left. *Taken and clean* (or of another boot) proves that nothing
//! runs. *Taken and dirty*, or a file that had to be created, needs a search of `/proc`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, OFlags};
use serde::{Deserialize, Serialize};

use super::{MARKER, ProcessId, boot_id};

/// A keeper that is just ending gives its lock up within this.
const TAKE_WAIT: Duration = Duration::from_secs(1);
/// Between two tries; short against what people notice, long against the cost of a system call.
const TAKE_POLL: Duration = Duration::from_millis(5);
/// A record is a few hundred bytes.
const MAX_RECORD_BYTES: u64 = 16 * 1024;

/// Why the lock folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not there and cannot be made.
    #[error("cannot create the lock folder {}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It cannot be looked at.
    #[error("cannot look at the lock folder {}", path.display())]
    Look {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others could put files or links there.
    #[error("the lock folder {} is not safe: {what}", path.display())]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What was found and expected.
        what: String,
    },
}

/// Checks the folder of the locks, and creates it when it is not there.
///
/// Two vaultvisors that use different folders would not see each other, so there is never a second choice.
pub fn check_folder(path: &Path) -> Result<(), FolderError> {
    let (path_buf, look) = (path.to_owned(), |source| FolderError::Look { path: path.to_owned(), source });
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FolderError::Create { path: path_buf, source: error });
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(look)?;
    let own = rustix::process::geteuid().as_raw();
    let refuse = |what: String| Err(FolderError::Unsafe { path: path.to_owned(), what });
    if !metadata.is_dir() {
        return refuse("expected a real folder, found a file or a link".into());
    }
    if metadata.uid() != 0 && metadata.uid() != own {
        return refuse(format!("expected owner 0 or {own}, found {}", metadata.uid()));
    }
    if metadata.mode() & 0o002 != 0 {
        return refuse(format!(
            "expected it not to be writable by others, found mode {:o}",
            metadata.mode() & 0o7777
        ));
    }
    // Locks there would not be seen by every process of this machine, or not be honoured.
    const REMOTE: [(u64, &str); 3] = [(0x6969, "NFS"), (0x6573_5546, "FUSE"), (0xff53_4d42, "CIFS")];
    let filesystem = rustix::fs::statfs(path).map_err(|error| look(error.into()))?.f_type;
    let remote =
        REMOTE.iter().find(|(magic, _)| u64::try_from(filesystem).is_ok_and(|found| found == *magic));
    remote.map_or(Ok(()), |(_, name)| refuse(format!("expected a local filesystem, found {name}")))
}

/// Whether the vault of a lock's record may still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleanliness {
    /// Something was, or was about to be, started.
    Dirty,
    /// Nothing is left of it.
    Clean,
}

/// Who uses an account, written into its lock file in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The boot that the process ids belong to.
    pub boot_id: String,
    /// The user.
    pub uid: u32,
    /// The vaultvisor's home folder.
    pub home: PathBuf,
    /// The keeper.
    pub keeper: ProcessId,
    /// The vault; `None` before it was forked.
    pub vault: Option<ProcessId>,
    /// Which run it is.
    pub run_id: String,
    /// Whether anything of it may be left.
    pub state: Cleanliness,
}

impl Record {
    fn holder(&self) -> String {
        let vault = self.vault.map_or_else(|| "none".to_owned(), |vault| vault.pid.to_string());
        format!("home={} uid={} keeper={} vault={vault}", self.home.display(), self.uid, self.keeper.pid)
    }
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Someone else has it.
    #[error("held by {holder}")]
    Busy {
        /// `home=… uid=… keeper=… vault=…`
        holder: String,
    },
    /// It was free, but a process of this account is still there, or it cannot be seen whether.
    #[error("{what}")]
    NotGone {
        /// Which, or why it cannot be seen.
        what: String,
    },
    /// The file cannot be used.
    #[error("cannot use the lock {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A taken lock. It is given up when the last descriptor of it is closed, the vault's included.
#[derive(Debug)]
pub struct AccountLock {
    /// The locked file.
    pub file: File,
}

impl AccountLock {
    /// Takes a lock and proves that nothing of its account runs. Tries for a second if it is busy.
    pub fn take(path: &Path, marker: &str) -> Result<Self, LockError> {
        let failed = |source| LockError::File { path: path.to_owned(), source };
        let deadline = Instant::now() + TAKE_WAIT;
        loop {
            let (file, created) = open(path).map_err(failed)?;
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // The path may have been removed and made again between opening and locking: then this lock
                // is on a file that nobody else will ever open.
                let same = fs::symlink_metadata(path).is_ok_and(|named| {
                    file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (named.dev(), named.ino()))
                });
                if same {
                    let lock = Self { file };
                    lock.prove_nothing_runs(created, marker).map_err(|error| error.unwrap_or_else(failed))?;
                    return Ok(lock);
                }
            } else if Instant::now() >= deadline {
                let holder = read_record(&file)
                    .ok()
                    .flatten()
                    .map_or_else(|| "someone who left no record".to_owned(), |record| record.holder());
                return Err(LockError::Busy { holder });
            }
            std::thread::sleep(TAKE_POLL);
        }
    }

    fn prove_nothing_runs(&self, created: bool, marker: &str) -> Result<(), LockFailure> {
        let record = if created { None } else { read_record(&self.file)? };
        if let Some(record) = &record {
            let of_this_boot = record.boot_id == boot_id()?;
            if record.state == Cleanliness::Clean || !of_this_boot {
                return Ok(());
            }
            let processes = [record.vault, Some(record.keeper)];
            if let Some(found) = processes.into_iter().flatten().find(|process| process.exists()) {
                let what =
                    format!("process {} of an earlier run ({}) is still there", found.pid, record.holder());
                return Err(LockFailure::NotGone(what));
            }
        }
        match find_marked(marker)? {
            None => Ok(()),
            Some(pid) => {
                let what =
                    format!("process {pid} belongs to this account ({MARKER}={marker}) and is still there");
                Err(LockFailure::NotGone(what))
            }
        }
    }

    /// Writes the record in place: no file is created, renamed or synced, because this happens while no
    /// vault runs, and after a power loss the record is of another boot anyway.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let text = serde_json::to_vec(record)?;
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }
}

/// The account lock's failures before the path is known to them.
enum LockFailure {
    NotGone(String),
    Io(io::Error),
}

impl LockFailure {
    fn unwrap_or_else(self, failed: impl FnOnce(io::Error) -> LockError) -> LockError {
        match self {
            Self::NotGone(what) => LockError::NotGone { what },
            Self::Io(error) => failed(error),
        }
    }
}

impl From<io::Error> for LockFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens a lock file, and says whether it had to be created. Never through a link.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let existing = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    match existing {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o660).custom_flags(flags);
            match options.open(path) {
                // Someone else was faster: theirs is the one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path),
                created => Ok((created?, true)),
            }
        }
        existing => Ok((existing?, false)),
    }
}

/// The record in a lock file; `None` when it is empty or not a record, which proves nothing.
fn read_record(file: &File) -> io::Result<Option<Record>> {
    let mut text = Vec::new();
    let mut from_start = file.try_clone()?;
    io::Seek::rewind(&mut from_start)?;
    from_start.take(MAX_RECORD_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

/// A process of this machine whose environment has our marker, other than the caller's own line.
///
/// The keeper itself has the marker too, and so may a new keeper that waits beside it: keepers that wait
/// have started nothing. They are told apart by their name.
fn find_marked(marker: &str) -> io::Result<Option<u32>> {
    let wanted = format!("{MARKER}={marker}");
    let own = std::process::id();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()).filter(|pid| *pid != own)
        else {
            continue;
        };
        // Unreadable: a process of another user, which is not ours to have started, or one that has ended.
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        let marked = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
        let keeper =
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with(KEEPER_COMM));
        if marked && !keeper {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// The kernel keeps 15 characters of a process's name.
const KEEPER_COMM: &str = "vaultvisor-keep";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn record(state: Cleanliness) -> Record {
        Record {
            boot_id: boot_id().expect("boot id"),
            uid: 0,
            home: "/h".into(),
            keeper: ProcessId { pid: u32::MAX, start_ticks: 1 },
            vault: None,
            run_id: "r".into(),
            state,
        }
    }

    fn lock_path(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("a.lock")
    }

    #[test]
    fn a_held_lock_is_busy_and_names_its_holder() {
        let folder = tempfile::tempdir().expect("folder");
        let first = AccountLock::take(&lock_path(&folder), "marker-a").expect("first");
        first.write(&record(Cleanliness::Dirty)).expect("write");
        let refused = AccountLock::take(&lock_path(&folder), "marker-a").expect_err("second").to_string();
        assert_eq!(refused, format!("held by home=/h uid=0 keeper={} vault=none", u32::MAX));
        drop(first);
        AccountLock::take(&lock_path(&folder), "marker-a").expect("after the first");
    }

    #[test]
    fn a_dirty_record_of_a_living_process_proves_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let lock = AccountLock::take(&lock_path(&folder), "marker-b").expect("lock");
        let own = ProcessId::of(std::process::id());
        lock.write(&Record { vault: own, ..record(Cleanliness::Dirty) }).expect("write");
        drop(lock);
        let refused = AccountLock::take(&lock_path(&folder), "marker-b");
        assert!(matches!(refused, Err(LockError::NotGone { .. })), "{refused:?}");
    }

    #[test]
    fn a_clean_record_or_one_of_another_boot_is_proof() {
        let folder = tempfile::tempdir().expect("folder");
        let own = ProcessId::of(std::process::id());
        let clean = Record { vault: own, ..record(Cleanliness::Clean) };
        let other_boot = Record { vault: own, boot_id: "other".into(), ..record(Cleanliness::Dirty) };
        for proof in [clean, other_boot] {
            let lock = AccountLock::take(&lock_path(&folder), "marker-c").expect("lock");
            lock.write(&proof).expect("write");
        }
        AccountLock::take(&lock_path(&folder), "marker-c").expect("lock");
    }

    #[test]
    fn a_marked_process_without_lock_or_record_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let mut marked = std::process::Command::new("sleep")
            .arg("1000")
            .env(MARKER, "marker-d")
            .spawn()
            .expect("a process");
        // `spawn` returns in the middle of the execution, a moment before the kernel shows an environment.
        let environment = format!("/proc/{}/environ", marked.id());
        let deadline = Instant::now() + Duration::from_secs(20);
        while fs::read(&environment).expect("it runs").is_empty() {
            assert!(Instant::now() < deadline, "no environment");
            std::thread::yield_now();
        }
        let refused = AccountLock::take(&lock_path(&folder), "marker-d");
        marked.kill().expect("kill");
        marked.wait().expect("wait");
        assert!(
            matches!(&refused, Err(LockError::NotGone { what }) if what.contains(&marked.id().to_string()))
        );
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let outside = folder.path().join("outside");
        fs::write(&outside, b"precious").expect("outside");
        std::os::unix::fs::symlink(&outside, lock_path(&folder)).expect("link");
        assert!(matches!(AccountLock::take(&lock_path(&folder), "m"), Err(LockError::File { .. })));
        assert_eq!(fs::read(&outside).expect("read"), b"precious");
    }

    #[test]
    fn a_lock_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("locks");
        check_folder(&path).expect("created");
        check_folder(&path).expect("ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("chmod");
        assert!(matches!(check_folder(&path), Err(FolderError::Unsafe { .. })));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).expect("link");
        assert!(matches!(check_folder(&link), Err(FolderError::Unsafe { .. })));
    }
}
