//! The folder of the locks: the one place where all vaultvisors of a machine see each other.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::ownership::{self, NotOurs, Owner};

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
    #[error("the lock folder {} is not safe", path.display())]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What was found, there or above it, and expected.
        source: NotOurs,
    },
    /// Locks there would not be seen by every process of this machine, or not be honoured.
    #[error("the lock folder {} is on {found}, expected a local filesystem: name one by lock_dir", path.display())]
    Remote {
        /// The folder.
        path: PathBuf,
        /// The filesystem.
        found: &'static str,
    },
}

/// Checks the folder of the locks, and creates it when it is not there.
///
/// Two vaultvisors that use different folders would not see each other, so there is never a second choice.
pub fn check_folder(path: &Path) -> Result<(), FolderError> {
    let refused = |source| match source {
        NotOurs::Look { path, source } => FolderError::Look { path, source },
        source => FolderError::Unsafe { path: path.to_owned(), source },
    };
    // Before anything is made: what is above it may lead elsewhere.
    ownership::check_above(path).map_err(refused)?;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FolderError::Create { path: path.to_owned(), source });
        }
        _ => {}
    }
    ownership::check_shared_folder(path, Owner::OwnOrRoot).map_err(refused)?;
    let look = |error: Errno| FolderError::Look { path: path.to_owned(), source: error.into() };
    let filesystem = rustix::fs::statfs(path).map_err(look)?.f_type;
    let found = u64::try_from(filesystem).ok().and_then(remote);
    found.map_or(Ok(()), |found| Err(FolderError::Remote { path: path.to_owned(), found }))
}

/// The name of a filesystem on which locks may not be seen by all or not be honoured, by its magic number.
fn remote(magic: u64) -> Option<&'static str> {
    // A mount of SMB 2 and later, which is what `mount -t cifs` makes today, has a number of its own.
    const REMOTE: [(u64, &str); 4] =
        [(0x6969, "NFS"), (0x6573_5546, "FUSE"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB")];
    REMOTE.iter().find(|(number, _)| magic == *number).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_of_another_machine_is_no_place_for_locks_whatever_version_of_its_protocol_is_spoken() {
        // NFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, CIFS_MAGIC_NUMBER and SMB2_MAGIC_NUMBER of the kernel's `magic.h` …
        for (magic, name) in
            [(0x6969, "NFS"), (0x6573_5546, "FUSE"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB")]
        {
            assert_eq!(remote(magic), Some(name), "{magic:x}");
        }
        // … and TMPFS_MAGIC, EXT4_SUPER_MAGIC and OVERLAYFS_SUPER_MAGIC.
        assert_eq!([0x0102_1994, 0xef53, 0x794c_7630].map(remote), [None; 3]);
    }

    #[test]
    fn a_lock_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("locks");
        check_folder(&path).expect("created");
        check_folder(&path).expect("ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("chmod");
        let refused = check_folder(&path).expect_err("everybody's");
        let said = crate::error_chain::Chained(&refused).to_string();
        assert!(said.contains("found mode 777, expected 775; chmod o-w"), "{said}");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).expect("link");
        assert!(matches!(check_folder(&link), Err(FolderError::Unsafe { .. })));
    }
}
