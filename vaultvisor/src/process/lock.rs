//! The lock of one account on this machine, and the record in it.
//!
//! An `flock` on `<lock_dir>/<genesis>-<account>.lock`, which the vault inherits, so that it is held as long
//! as any process of the vault's that did not close it is alive. A vault may close its descriptors, and its
//! keeper may be killed; therefore the file also holds a record that is `dirty` from before the first fork
//! until `wait` has said that no child is left. What the two prove together: [`super::claim`].

mod folder;
mod holders;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::FlockOperation, io::Errno};
use serde::{Deserialize, Serialize};

pub use folder::{FolderError, check_folder};
pub use holders::describe_holders;

use super::{ProcessId, boot_id, output::complain, protocol::Place};
use crate::{
    defects,
    error_chain::{Chained, Shown},
    ownership::no_link,
};

/// A record is a few hundred bytes; paths are at most 4 kB.
const MAX_RECORD_BYTES: u64 = 16 * 1024;
/// A home's path is a few dozen characters.
const MAX_SHOWN_HOME_CHARS: usize = 1000;
/// Records are written in whole blocks of blanks, so that no tail of a longer one is ever left.
const BLOCK_BYTES: usize = 1024;

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
    /// The keeper's audit session, which every process below it has too; `None` where the kernel keeps none.
    #[serde(default)]
    pub audit_session: Option<u32>,
    /// Whether the keeper was asked to stop the vault while it lived: then its end is nobody's failure, also when
    /// whoever asked could write down nothing and is gone.
    #[serde(default)]
    pub told_to_end: bool,
    /// Whether anything of it may be left.
    pub state: Cleanliness,
}

impl Record {
    /// The one that the calling keeper writes before it forks.
    pub fn of_this_keeper(place: &Place, run_id: &str) -> io::Result<Self> {
        Ok(Self {
            boot_id: boot_id()?,
            uid: rustix::process::getuid().as_raw(),
            home: place.home.clone(),
            keeper: ProcessId::of(std::process::id()).ok_or(io::ErrorKind::NotFound)?,
            vault: None,
            run_id: run_id.to_owned(),
            audit_session: super::search::audit_session("self"),
            told_to_end: false,
            state: Cleanliness::Dirty,
        })
    }

    /// Who holds the lock, in the words of the operator contract. Another user may have written anything there.
    pub fn holder(&self) -> String {
        let vault = self.vault.map_or_else(|| "none".to_owned(), |vault| vault.pid.to_string());
        let home = Shown(self.home.display(), MAX_SHOWN_HOME_CHARS);
        format!("home={home} uid={} keeper={} vault={vault}", self.uid, self.keeper.pid)
    }

    /// Whether it was written by a keeper of the same user's and the same home.
    pub fn is_ours(&self, place: &Place) -> bool {
        self.uid == rustix::process::getuid().as_raw() && self.home == place.home
    }

    /// Whether something of it may still be there: it is of this boot and was never marked clean.
    pub fn is_open(&self) -> io::Result<bool> {
        Ok(self.state == Cleanliness::Dirty && self.boot_id == boot_id()?)
    }
}

/// One try to take a lock.
#[derive(Debug)]
pub enum Try {
    /// It is ours, and this is what its last holder wrote; `None` when the file had to be created, or holds
    /// no record, which proves nothing.
    Taken(AccountLock, Option<Record>),
    /// Someone else has it, perhaps the one who wrote this.
    Busy(Option<Record>),
}

/// A taken lock. It is given up when the last descriptor of it is closed, the vault's included.
#[derive(Debug)]
pub struct AccountLock {
    /// The locked file.
    pub file: File,
    path: PathBuf,
}

impl AccountLock {
    /// Tries once, without waiting.
    pub fn try_take(path: &Path) -> io::Result<Try> {
        let file = open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("expected a file, found something else; remove it"));
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) if !defects::LOCK_EXCLUDES => {}
            Err(Errno::WOULDBLOCK) => return Ok(Try::Busy(read_record(&file)?)),
            Err(error) => return Err(error.into()),
        }
        let lock = Self { file, path: path.to_owned() };
        // Removed, or made again, between opening and locking: then this lock is on a file that nobody else will ever
        // open.
        if !lock.is_at_its_path() {
            return Ok(Try::Busy(None));
        }
        let record = read_record(&lock.file)?;
        Ok(Try::Taken(lock, record))
    }

    /// Whether the locked file is the one that everybody else opens.
    pub fn is_at_its_path(&self) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let (named, own) = (fs::symlink_metadata(&self.path), self.file.metadata());
        named.is_ok_and(|named| own.is_ok_and(|own| identity(own) == identity(named)))
    }

    /// Writes the record in place: no file is created, renamed or synced, because this happens while no
    /// vault runs, and after a power loss the record is of another boot anyway.
    pub fn write(&self, record: &Record) -> io::Result<()> {
        let mut text = serde_json::to_vec(record)?;
        let present = usize::try_from(self.file.metadata()?.len().min(MAX_RECORD_BYTES)).unwrap_or_default();
        text.resize(text.len().max(present).next_multiple_of(BLOCK_BYTES), b' ');
        self.file.write_all_at(&text, 0)
    }
}

/// The record in the lock file at a path, without taking the lock; `None` when there is no file or no record.
pub fn look_at_record(path: &Path) -> io::Result<Option<Record>> {
    look_at(path)?.map_or(Ok(None), |file| read_record(&file))
}

/// Whether someone holds the lock at a path; no file is made.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let Some(file) = look_at(path)? else { return Ok(false) };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn look_at(path: &Path) -> io::Result<Option<File>> {
    match no_link(OpenOptions::new().read(true)).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(explained(error)),
    }
}

/// The system's words for a link say nothing to people.
fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => {
            io::Error::other("it is a link, expected a file: see who made it, then remove it")
        }
        _ => error,
    }
}

/// Opens a lock file, and creates it when it is not there. Never through a link.
fn open(path: &Path) -> io::Result<File> {
    let existing = no_link(OpenOptions::new().read(true).write(true)).open(path);
    match existing {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let created = match create(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    remake_folder(path)?;
                    create(path)
                }
                created => created,
            };
            match created {
                // Someone else was faster: theirs is the one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open(path),
                Ok(file) => {
                    share(&file, path)?;
                    Ok(file)
                }
                Err(error) => Err(error),
            }
        }
        existing => existing.map_err(explained),
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o660).open(path)
}

/// Makes the folder of a lock again, which was there when vaultvisor was started: with the same demands on it as then,
/// and with the same proof as after every boot, since a lock in it is a new file.
fn remake_folder(lock: &Path) -> io::Result<()> {
    let folder = lock.parent().ok_or(io::ErrorKind::NotFound)?;
    check_folder(folder).map_err(|error| io::Error::other(Chained(&error).to_string()))?;
    complain(&format!("the lock folder {} was gone, and was made again", folder.display()));
    Ok(())
}

/// In a folder that a group shares each of its users must be able to take the lock, whatever umask its maker had.
fn share(file: &File, path: &Path) -> io::Result<()> {
    let folder = path.parent().map(fs::metadata).transpose()?;
    if folder.is_some_and(|folder| folder.mode() & 0o020 != 0) {
        file.set_permissions(fs::Permissions::from_mode(0o660))?;
    }
    Ok(())
}

/// The record in a lock file; `None` when it is empty or not a record.
fn read_record(file: &File) -> io::Result<Option<Record>> {
    let mut text = Vec::new();
    let mut from_start = file.try_clone()?;
    io::Seek::rewind(&mut from_start)?;
    from_start.take(MAX_RECORD_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record of this boot and user, whose keeper has ended.
    pub(in crate::process) fn record(home: &Path, state: Cleanliness) -> Record {
        Record {
            boot_id: boot_id().expect("boot id"),
            uid: rustix::process::getuid().as_raw(),
            home: home.to_owned(),
            keeper: ProcessId { pid: u32::MAX, start_ticks: 1 },
            vault: None,
            run_id: "r".into(),
            audit_session: None,
            told_to_end: false,
            state,
        }
    }

    #[test]
    fn a_held_lock_is_busy_and_shows_the_record_of_its_holder() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.lock");
        let Try::Taken(first, None) = AccountLock::try_take(&path).expect("first") else { panic!("busy") };
        let written = record("/h".as_ref(), Cleanliness::Dirty);
        first.write(&written).expect("write");
        let Try::Busy(Some(seen)) = AccountLock::try_take(&path).expect("second") else { panic!("taken") };
        assert_eq!(seen, written);
        assert!(seen.holder().starts_with("home=/h uid="));
        drop(first);
        assert!(matches!(AccountLock::try_take(&path).expect("third"), Try::Taken(_, Some(_))));
    }

    #[test]
    fn t30_a_lock_whose_file_was_removed_and_made_again_knows_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.lock");
        let Try::Taken(lock, None) = AccountLock::try_take(&path).expect("taken") else { panic!("busy") };
        assert!(lock.is_at_its_path());
        fs::remove_file(&path).expect("remove");
        assert!(!lock.is_at_its_path());
        fs::write(&path, b"").expect("another");
        assert!(!lock.is_at_its_path());
    }

    #[test]
    fn in_a_folder_that_a_group_shares_all_of_it_can_take_a_lock_and_elsewhere_nobody_else() {
        let folder = tempfile::tempdir().expect("folder");
        let set_mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode));
        for (folder_mode, others_too) in [(0o2770, true), (0o755, false)] {
            set_mode(folder_mode).expect("chmod");
            let path = folder.path().join(format!("{folder_mode:o}.lock"));
            AccountLock::try_take(&path).expect("taken");
            let mode = fs::metadata(&path).expect("made").mode() & 0o777;
            // Elsewhere as the umask has it.
            assert!(if others_too { mode == 0o660 } else { mode & 0o007 == 0 }, "{mode:o}");
        }
    }

    #[test]
    fn a_shorter_record_leaves_nothing_of_a_longer_one() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.lock");
        let Try::Taken(lock, _) = AccountLock::try_take(&path).expect("taken") else { panic!("busy") };
        let long = record(&PathBuf::from("/h".repeat(2000)), Cleanliness::Dirty);
        let short = record("/h".as_ref(), Cleanliness::Clean);
        for written in [long, short] {
            lock.write(&written).expect("write");
            assert_eq!(look_at_record(&path).expect("read"), Some(written));
        }
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let (outside, path) = (folder.path().join("outside"), folder.path().join("a.lock"));
        fs::write(&outside, b"precious").expect("outside");
        std::os::unix::fs::symlink(&outside, &path).expect("link");
        assert!(AccountLock::try_take(&path).is_err());
        assert!(look_at_record(&path).is_err());
        assert_eq!(fs::read(&outside).expect("read"), b"precious");
    }
}
