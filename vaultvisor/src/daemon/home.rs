//! The home folder: whose it is, and that one vaultvisor uses it at a time.

mod contents;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::ownership::{self, NotOurs, Owner, no_link};

/// A vaultvisor that is just ending is waited for this long.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Why a home folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It cannot be made or opened.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others could change what is executed from it.
    #[error("the home folder {} is not safe", path.display())]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What was found, in it or above it, and expected.
        source: NotOurs,
    },
    /// Another vaultvisor uses it.
    #[error("another vaultvisor uses this home: held by home={} uid={uid} keeper=none vault=none (vaultvisor pid {pid})", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The user of the other vaultvisor.
        uid: u32,
        /// Its process id.
        pid: u32,
    },
}

/// Who uses a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// When it started, in seconds since 1970.
    pub started_unix_secs: u64,
}

/// A home folder that is ours as long as this value lives.
#[derive(Debug)]
pub struct Home {
    _lock: File,
}

fn create_folder(path: &Path) -> Result<(), HomeError> {
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(|source| HomeError::Io { doing: "create", path: path.to_owned(), source })
}

fn lock_path(home: &Path) -> PathBuf {
    home.join("vaultvisor.lock")
}

fn read_holder(file: &File) -> Option<Holder> {
    const MAX_BYTES: u64 = 1024;
    let mut text = Vec::new();
    let mut file = file.try_clone().ok()?;
    io::Seek::rewind(&mut file).ok()?;
    file.take(MAX_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Checks the folder and what is ours in it, and creates it when it is not there.
pub fn create(path: &Path) -> Result<(), HomeError> {
    // Before anything is made: what is above it may lead elsewhere.
    ownership::check_above(path).map_err(|source| refused(path, source))?;
    match create_folder(path) {
        // Something else is there, and what that is is told better than that it is in the way.
        Err(HomeError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            check_folder(path)
        }
        made => made.and_then(|()| check_folder(path)),
    }
}

impl Home {
    /// Opens a home for this process alone, creating it when it is not there.
    pub async fn open(path: &Path) -> Result<Self, HomeError> {
        create(path)?;
        let failed = |doing| {
            let path = lock_path(path);
            move |source| HomeError::Io { doing, path, source }
        };
        let lock = no_link(OpenOptions::new().read(true).write(true).create(true).truncate(false))
            .mode(0o600)
            .open(lock_path(path))
            .map_err(failed("open"))?;
        let deadline = tokio::time::Instant::now() + LOCK_WAIT;
        while let Err(error) = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if tokio::time::Instant::now() >= deadline {
                return Err(match read_holder(&lock) {
                    Some(holder) => {
                        HomeError::InUse { path: path.to_owned(), uid: holder.uid, pid: holder.pid }
                    }
                    None => failed("lock")(error.into()),
                });
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
        let holder = Holder {
            pid: std::process::id(),
            uid: rustix::process::getuid().as_raw(),
            started_unix_secs: super::unix_secs(SystemTime::now()),
        };
        let text = serde_json::to_vec(&holder).map_err(|error| failed("write")(error.into()))?;
        lock.write_all_at(&text, 0)
            .and_then(|()| lock.set_len(text.len() as u64))
            .map_err(failed("write"))?;
        create_folder(&path.join("networks"))?;
        Ok(Self { _lock: lock })
    }

    /// Who uses a home now; `None` when nobody does.
    pub fn holder(path: &Path) -> Option<Holder> {
        let lock = File::open(lock_path(path)).ok()?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => read_holder(&lock),
        }
    }
}

/// The folder of one vault, with the one for its logs, created when they are not there.
pub(super) fn create_vault_folder(home: &Path, vault: &str) -> Result<PathBuf, HomeError> {
    let folder = vault_folder(home, vault);
    create_folder(&folder.join("log"))?;
    Ok(folder)
}

/// Where a vault's files are.
pub fn vault_folder(home: &Path, vault: &str) -> PathBuf {
    home.join("vaults").join(vault)
}

/// Whether a home that is there, and what vaultvisor keeps in it, is ours alone to change.
pub(crate) fn check_folder(path: &Path) -> Result<(), HomeError> {
    ownership::check_folder(path, Owner::Own)
        .and_then(|()| ownership::check_above(path))
        .and_then(|()| contents::check(path))
        .map_err(|source| refused(path, source))
}

fn refused(home: &Path, source: NotOurs) -> HomeError {
    match source {
        NotOurs::Look { path, source } => HomeError::Io { doing: "look at", path, source },
        source => HomeError::Unsafe { path: home.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test(start_paused = true)]
    async fn a_home_has_one_user_at_a_time_who_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("home");
        assert!(Home::holder(&path).is_none());
        let home = Home::open(&path).await.expect("first");
        assert_eq!(Home::holder(&path).expect("held").pid, std::process::id());
        let refused = Home::open(&path).await.expect_err("second");
        assert!(matches!(refused, HomeError::InUse { pid, .. } if pid == std::process::id()));
        drop(home);
        assert!(Home::holder(&path).is_none());
        Home::open(&path).await.expect("after the first");
    }

    #[tokio::test]
    async fn a_home_that_others_can_write_in_it_or_above_it_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("home");
        drop(Home::open(&path).await.expect("ours"));
        let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        for (part, mode) in
            [(path.clone(), 0o770), (path.join("networks"), 0o720), (folder.path().into(), 0o702)]
        {
            set_mode(&part, mode).expect("chmod");
            let refused = Home::open(&path).await;
            assert!(matches!(refused, Err(HomeError::Unsafe { .. })), "{}: {refused:?}", part.display());
            set_mode(&part, 0o700).expect("chmod");
        }
        Home::open(&path).await.expect("ours again");
    }

    #[tokio::test]
    async fn t30_where_a_folder_above_is_not_safe_no_home_is_made() {
        let folder = tempfile::tempdir().expect("folder");
        let (open, elsewhere) = (folder.path().join("open"), folder.path().join("elsewhere"));
        for folder in [&open, &elsewhere] {
            fs::create_dir(folder).expect("folder");
        }
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("chmod");
        std::os::unix::fs::symlink(&elsewhere, open.join("link")).expect("link");
        for home in ["home", "a/home", "link/home", "link/a/home"] {
            let refused = Home::open(&open.join(home)).await;
            assert!(matches!(refused, Err(HomeError::Unsafe { .. })), "{home}: {refused:?}");
        }
        assert_eq!(fs::read_dir(&open).expect("list").count(), 1, "the link");
        assert_eq!(fs::read_dir(&elsewhere).expect("list").count(), 0);
    }
}
