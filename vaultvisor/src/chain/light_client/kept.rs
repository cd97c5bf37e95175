//! What a light client has synced, kept between starts.
//!
//! It is a cache: whatever is wrong with it, the light client syncs anew from its chain specification, which costs
//! seconds to minutes. So, other than a vault's state, a damaged one is reported and left alone
//! (`docs/decisions`).

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    error_chain::Chained,
    journal::atomic_file::{self, WriteError},
};

/// The largest that is kept, in bytes: the finalized block, who may finalize the next, addresses of peers and, if it
/// fits, the runtime, which is 1 to 3 MB for the large chains.
pub(super) const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Hexadecimal digits of the checksum with which a file begins, and the end of that line.
const PREFIX_BYTES: usize = 65;

/// One chain's file.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    path: PathBuf,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum KeptError {
    #[error("cannot read it")]
    Read(#[source] io::Error),
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("it is not what was written: the checksum in its first line is of something else")]
    Damaged,
}

impl Kept {
    /// The file of a network's own chain.
    pub(super) fn of_chain(folder: &Path, network: &str) -> Self {
        Self { path: folder.join(format!("{network}.synced")) }
    }

    /// The file of a network's relay chain.
    pub(super) fn of_relay_chain(folder: &Path, network: &str) -> Self {
        Self { path: folder.join(format!("{network}.relay-synced")) }
    }

    /// Removes it; one that is not there is as good.
    pub(super) fn remove(&self) -> Result<(), WriteError> {
        match std::fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(WriteError { path: self.path.clone(), source })
            }
            _ => Ok(()),
        }
    }

    /// What was kept; nothing if there is nothing that could be used.
    pub(super) fn load(&self) -> String {
        match self.read() {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(
                    "what the light client had synced is not used, it syncs anew: {path}: {}",
                    Chained(&error)
                );
                String::new()
            }
        }
    }

    fn read(&self) -> Result<Option<String>, KeptError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeptError::Read(error)),
        };
        let mut text = String::new();
        let limit = PREFIX_BYTES + MAX_BYTES + 1;
        match file.take(limit as u64).read_to_string(&mut text) {
            Ok(read) if read == limit => return Err(KeptError::TooLarge),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(KeptError::Damaged),
            Err(error) => return Err(KeptError::Read(error)),
        }
        match text.split_once('\n') {
            Some((checksum, content)) if checksum == checksum_of(content) => Ok(Some(content.to_owned())),
            _ => Err(KeptError::Damaged),
        }
    }

    /// Keeps it in place of what was kept before.
    pub(super) fn store(&self, content: &str) -> Result<(), WriteError> {
        atomic_file::replace(&self.path, format!("{}\n{content}", checksum_of(content)).as_bytes())
    }
}

fn checksum_of(content: &str) -> String {
    hex::encode(Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> (tempfile::TempDir, Kept) {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::of_chain(folder.path(), "dev");
        (folder, kept)
    }

    #[test]
    fn what_is_stored_is_loaded_and_the_relay_chains_is_apart() {
        let (folder, kept) = kept();
        assert_eq!(kept.load(), "");
        kept.store("{\"a\":\n1}").expect("stored");
        kept.store("{\"b\":\n2}").expect("stored again");
        assert_eq!(kept.load(), "{\"b\":\n2}");
        kept.remove().and_then(|()| kept.remove()).expect("removed, and then not there");
        assert_eq!(kept.load(), "");
        assert_eq!(Kept::of_relay_chain(folder.path(), "dev").load(), "");
    }

    #[test]
    fn a_damaged_one_is_not_used_and_stays_to_be_looked_at() {
        let (_folder, kept) = kept();
        kept.store("{\"authorities\": [1, 2, 3]}").expect("stored");
        let whole = std::fs::read(&kept.path).expect("read");
        let mut flipped = whole.clone();
        flipped[80] ^= 1;
        for damaged in [&whole[..whole.len() - 1], &whole[..10], b"", &[0xff; 100], &flipped] {
            std::fs::write(&kept.path, damaged).expect("damaged");
            assert_eq!(kept.load(), "");
            assert_eq!(std::fs::read(&kept.path).expect("read"), damaged);
        }
        kept.store("new").expect("stored over it");
        assert_eq!(kept.load(), "new");
    }

    #[test]
    fn more_than_the_cap_is_not_read_into_memory() {
        let (_folder, kept) = kept();
        kept.store(&"x".repeat(MAX_BYTES)).expect("stored");
        assert_eq!(kept.load().len(), MAX_BYTES);
        kept.store(&"x".repeat(MAX_BYTES + 1)).expect("stored");
        assert_eq!(kept.load(), "");
    }
}
