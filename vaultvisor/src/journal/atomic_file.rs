//! Files that are either the old one or the new one, whatever happens in between.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::{crash_points, defects, ownership::create_anew, room};

/// Why a durable file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}{}", path.display(), room::remedy(source))]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

/// Replaces a file so that after a crash or a power loss its old or its new content is there, whole.
///
/// The temporary file has a fixed name in the same folder, so that one left by a crash is replaced by the
/// next write and never piles up; two writers of one file are excluded by the lock on the home folder.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    write_and_rename(path, content).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn write_and_rename(path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".new");
    let temporary = folder.join(temporary_name);
    let reached = |step| crash_points::reached(format_args!("{}: {step}", path.display()));
    reached("to be replaced");
    let mut file = create_anew(&temporary)?;
    reached("the new one made");
    file.write_all(content)?;
    reached("written");
    sync(&file)?;
    reached("synced");
    std::fs::rename(&temporary, path)?;
    reached("renamed");
    sync_folder(folder)?;
    reached("replaced");
    Ok(())
}

/// Makes renames and new names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    sync(&File::open(folder)?)
}

/// Makes what was written into a file durable, and how long it is.
pub fn sync(file: &File) -> io::Result<()> {
    match defects::WRITES_ARE_SYNCED {
        true => file.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("state.json");
        replace(&path, b"a longer first content").expect("first");
        replace(&path, b"second").expect("second");
        assert_eq!(std::fs::read(&path).expect("read"), b"second");
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_link_planted_under_the_temporary_name_is_removed_and_not_followed() {
        let folder = tempfile::tempdir().expect("folder");
        let outside = folder.path().join("outside");
        std::fs::write(&outside, b"precious").expect("outside");
        std::os::unix::fs::symlink(&outside, folder.path().join(".state.json.new")).expect("link");
        let path = folder.path().join("state.json");
        replace(&path, b"x").expect("written");
        assert!(std::fs::symlink_metadata(&path).expect("there").is_file());
        assert_eq!(std::fs::read(&outside).expect("read"), b"precious");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("state.json");
        replace(&path, b"old").expect("first");
        std::fs::create_dir(folder.path().join(".state.json.new")).expect("in the way");
        assert!(replace(&path, b"new").is_err());
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
    }
}
