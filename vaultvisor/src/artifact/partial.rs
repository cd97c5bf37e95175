//! A file on its way into the store: what has come of it, its hash so far, and that nobody else writes it.
//!
//! What is left of a download that was cut is gone on with. Nobody asks whether the server still has the same file:
//! the hash of the whole says so at the end.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use super::{
    Store, StoreError, failed,
    transfer::{FetchError, Sink},
    verify,
};
use crate::{ownership::no_link, release::Checksum, room};

/// Between two looks at the disk while a file of unknown length comes.
const LOOK_EVERY_BYTES: u64 = 8 * 1024 * 1024;
/// A download is one file, and in the store it gets a folder.
const FILES: u64 = 2;

/// One file on its way into the store, which nobody else writes as long as this lives.
pub(super) struct Partial {
    store: Store,
    checksum: Checksum,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    held: u64,
    /// Whether what is here came in more than one transfer.
    resumed: bool,
    /// What is known to fit, in bytes; after that the disk is looked at again.
    fits: u64,
    /// The turn of this process's downloads of the file.
    _turn: std::sync::Arc<OwnedSemaphorePermit>,
}

/// What became of a file that has come to its end.
pub(super) enum Finished {
    /// It is in the store.
    Installed,
    /// It was begun from what another transfer had left, and is not the file: it is removed, and says nothing about
    /// what the server has.
    BadBeginning,
}

impl Partial {
    /// Opens what is there of a file, or begins it; `None` while another process writes it.
    pub(super) fn open(
        store: &Store,
        checksum: Checksum,
        max_bytes: u64,
        turn: std::sync::Arc<OwnedSemaphorePermit>,
    ) -> Result<Option<Self>, StoreError> {
        let path = store.partial(checksum);
        let file = open_ours(&path).map_err(failed("create", &path))?;
        if !lock(&file, &path).map_err(failed("lock", &path))? {
            return Ok(None);
        }
        let (store, turn) = (store.clone(), turn);
        let mut partial = Self {
            store,
            checksum,
            path,
            file,
            hasher: Sha256::new(),
            held: 0,
            resumed: false,
            fits: 0,
            _turn: turn,
        };
        partial.take_in(max_bytes).map_err(failed("read", &partial.path))?;
        Ok(Some(partial))
    }

    /// Hashes what is there already.
    fn take_in(&mut self, max_bytes: u64) -> io::Result<()> {
        if self.file.metadata()?.len() > max_bytes {
            self.file.set_len(0)?;
        }
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    self.held += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn found(&self) -> Checksum {
        Checksum(self.hasher.clone().finalize().into())
    }

    /// Whether all of the file has come, so that only its installation is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.held > 0 && verify::proves(self.found(), self.checksum)
    }

    /// Ends the file: into the store, or away.
    pub(super) fn finish(self, url: &Url) -> Result<Finished, FetchError> {
        let found = self.found();
        if verify::proves(found, self.checksum) {
            self.install()?;
            return Ok(Finished::Installed);
        }
        let (resumed, bytes, expected) = (self.resumed, self.held, self.checksum);
        self.discard();
        match resumed {
            true => Ok(Finished::BadBeginning),
            false => Err(FetchError::Mismatch { url: Box::new(url.clone()), expected, found, bytes }),
        }
    }

    /// Puts the file into the store. Its hash must be right.
    pub(super) fn install(self) -> Result<(), StoreError> {
        let outcome = self.store.install(self.checksum, &self.file);
        if outcome.is_err() {
            self.discard();
        }
        outcome
    }

    /// Removes what has come.
    pub(super) fn discard(self) {
        remove(&self.path);
    }

    /// The same, if nothing has.
    pub(super) fn discard_if_empty(self) {
        if self.held == 0 {
            self.discard();
        }
    }
}

/// Opens a partial file of ours, and makes it when it is not there. Whatever else lies there, a link, a second name of
/// another file, or a file that its owner could go on changing, is removed first.
fn open_ours(path: &Path) -> io::Result<File> {
    let open = || {
        no_link(OpenOptions::new().read(true).write(true).create(true).truncate(false)).mode(0o600).open(path)
    };
    match open() {
        Ok(file) if is_ours(&file)? => Ok(file),
        Err(error) if error.raw_os_error() != Some(libc::ELOOP) => Err(error),
        _ => {
            tracing::warn!(path = %path.display(), "what lies in the place of a download is not ours, removing it");
            fs::remove_file(path)?;
            open()
        }
    }
}

fn is_ours(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    Ok(metadata.is_file() && is_own && metadata.nlink() <= 1 && metadata.mode() & 0o022 == 0)
}

/// Takes the lock of a partial file; answers whether it is ours, and still the file of that name.
fn lock(file: &File, path: &Path) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
        outcome => outcome?,
    }
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(theirs) => Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) && ours.is_file()),
        // It was installed or removed in between.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a partial file that nobody writes; answers whether there is none any more.
pub(super) fn remove_unused(path: &Path) -> io::Result<bool> {
    let is_used = match no_link(OpenOptions::new().read(true)).open(path) {
        Ok(file) => !lock(&file, path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        // A link, say: nobody downloads into that.
        Err(_) => false,
    };
    if !is_used {
        fs::remove_file(path)?;
    }
    Ok(!is_used)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a refused download");
    }
}

impl Sink for Partial {
    fn held(&self) -> u64 {
        self.held
    }

    fn begin(&mut self, from: u64, total: Option<u64>) -> Result<(), FetchError> {
        let restart = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()
        };
        self.resumed = from > 0;
        if from == 0 && self.held > 0 {
            restart(&mut self.file).map_err(failed("empty", &self.path))?;
            (self.held, self.hasher) = (0, Sha256::new());
        }
        let comes = total.map_or(LOOK_EVERY_BYTES, |total| total.saturating_sub(from));
        room::check(&self.store.partial, comes, FILES)?;
        self.fits = self.held.saturating_add(comes);
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        self.hasher.update(chunk);
        self.file.write_all(chunk).map_err(failed("write", &self.path))?;
        self.held += chunk.len() as u64;
        if self.held > self.fits {
            room::check(&self.store.partial, LOOK_EVERY_BYTES, FILES)?;
            self.fits = self.held.saturating_add(LOOK_EVERY_BYTES);
        }
        Ok(())
    }
}
