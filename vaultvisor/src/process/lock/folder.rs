//! The folder of the locks: the one place where all vaultvisors of a machine see each other.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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
