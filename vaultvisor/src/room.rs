//! Whether a disk has room, and what helps where it has not.

use std::{
    io,
    path::{Path, PathBuf},
};

/// What is left free on a disk of ours: the vaults, their logs and our own state write there too.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Why something is not begun.
#[derive(Debug, thiserror::Error)]
#[error(
    "no room on the disk of {}: {needed} {unit} are needed, {found} are free; free some there, such as old logs and \
     snapshots below vaults/ or files of other programs; it goes on by itself then", path.display()
)]
pub struct NoRoom {
    /// A folder on that disk.
    pub path: PathBuf,
    /// What is needed.
    pub needed: u64,
    /// What there is.
    pub found: u64,
    /// Of what.
    pub unit: &'static str,
}

/// Whether that many bytes more fit into a folder, in that many files and folders more, and the reserve is left. A disk
/// that cannot be asked has no say.
pub fn check(folder: &Path, bytes: u64, files: u64) -> Result<(), NoRoom> {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let no_room = |needed, found, unit| Err(NoRoom { path: folder.to_owned(), needed, found, unit });
    let (needed, free) = (bytes.saturating_add(RESERVE_BYTES), disk.f_bavail.saturating_mul(disk.f_frsize));
    if free < needed {
        return no_room(needed, free, "bytes (64 MiB of them stay free)");
    }
    // Filesystems that make inodes as they need them say that they have none at all.
    if disk.f_files > 0 && disk.f_favail < files {
        return no_room(files, disk.f_favail, "inodes");
    }
    Ok(())
}

/// What helps against the system's refusal to read or write, if that is known.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free some room (and inodes) on its disk",
        io::ErrorKind::QuotaExceeded => "; raise the quota of this user or free some of it",
        io::ErrorKind::ReadOnlyFilesystem => "; its disk is mounted read-only, mount it read-write",
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            "; raise the limit of open files (LimitNOFILE= of the service, ulimit -n)"
        }
        _ if error.raw_os_error() == Some(libc::EIO) => {
            "; its disk does not do it: see the kernel's log (dmesg) and whether the disk is failing"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_what_is_needed_and_what_is_there() {
        let folder = tempfile::tempdir().expect("folder");
        check(folder.path(), 1, 1).expect("some room");
        let said = check(folder.path(), u64::MAX, 1).expect_err("no disk is that large").to_string();
        assert!(said.contains("are needed") && said.contains("are free; free some there"), "{said}");
    }

    #[test]
    fn a_refusal_to_write_says_what_to_do() {
        for (errno, said) in [
            (libc::ENOSPC, "free some room"),
            (libc::EDQUOT, "quota"),
            (libc::EROFS, "read-write"),
            (libc::EMFILE, "LimitNOFILE"),
            (libc::EIO, "dmesg"),
        ] {
            assert!(remedy(&io::Error::from_raw_os_error(errno)).contains(said), "{said}");
        }
        assert_eq!(remedy(&io::ErrorKind::NotFound.into()), "");
    }
}
