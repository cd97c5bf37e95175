//! Whose a file or folder is, and who else could change it.
//!
//! An unprivileged user of this machine must not be able to change what is executed or believed, to put something else
//! in its place, or to have us write somewhere else through a link. Root and our own user are trusted. So are groups in
//! the folders *above* ours, because whoever looks after the machine lets them write there; everybody is not.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// Write permission for everybody.
const OTHERS: u32 = 0o002;
/// Write permission for everybody but the owner.
const GROUP_AND_OTHERS: u32 = 0o022;
/// In a folder with this bit nobody renames or removes what is another's (`inode(7)`).
const STICKY: u32 = 0o1000;

/// How somebody else could change something.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// It cannot be looked at.
    #[error("cannot look at {}", path.display())]
    Look {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is a link, which may lead anywhere, or something else in the place of what should be there.
    #[error("{} is {found}, expected {expected}: see who made it, then remove it", path.display())]
    Kind {
        /// Where it is.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is.
        found: &'static str,
    },
    /// It is another user's.
    #[error("{} belongs to user {found}, expected {expected}: see what it holds, then chown it", path.display())]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// Whose it is.
        found: u32,
        /// Whose it may be.
        expected: String,
    },
    /// Others may write there.
    #[error("{} can be written by others: found mode {found:o}, expected {expected:o}; {remedy}", path.display())]
    Writable {
        /// The file or folder.
        path: PathBuf,
        /// The mode that it has.
        found: u32,
        /// The same without what is too much.
        expected: u32,
        /// What to do.
        remedy: &'static str,
    },
}

/// Who may own something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Our own user.
    Own,
    /// Our own user, or root.
    OwnOrRoot,
}

impl Owner {
    fn check(self, path: &Path, metadata: &Metadata) -> Result<(), NotOurs> {
        let (own, found) = (rustix::process::geteuid().as_raw(), metadata.uid());
        if found == own || self == Self::OwnOrRoot && found == 0 {
            return Ok(());
        }
        let expected = match self {
            Self::OwnOrRoot if own != 0 => format!("{own} (the user that runs vaultvisor) or 0"),
            _ => format!("{own} (the user that runs vaultvisor)"),
        };
        Err(NotOurs::Owner { path: path.to_owned(), found, expected })
    }
}

fn kind(metadata: &Metadata) -> &'static str {
    if metadata.is_symlink() {
        "a link"
    } else if metadata.is_dir() {
        "a folder"
    } else {
        "a file"
    }
}

fn look(path: &Path) -> Result<Metadata, NotOurs> {
    fs::symlink_metadata(path).map_err(|source| NotOurs::Look { path: path.to_owned(), source })
}

fn check_mode(path: &Path, metadata: &Metadata, closed_to: u32, remedy: &'static str) -> Result<(), NotOurs> {
    let found = metadata.mode() & 0o7777;
    match found & closed_to {
        0 => Ok(()),
        _ => Err(NotOurs::Writable { path: path.to_owned(), found, expected: found & !closed_to, remedy }),
    }
}

/// Checks a folder: a real one, of this owner, which nobody else may write.
pub(crate) fn check_folder(path: &Path, owner: Owner) -> Result<(), NotOurs> {
    check_shared_folder(path, owner)?;
    check_mode(path, &look(path)?, GROUP_AND_OTHERS, "chmod go-w would do")
}

/// The same, which a group may write too.
pub(crate) fn check_shared_folder(path: &Path, owner: Owner) -> Result<(), NotOurs> {
    let metadata = look(path)?;
    if !metadata.is_dir() {
        let (expected, found) = ("a real folder", kind(&metadata));
        return Err(NotOurs::Kind { path: path.to_owned(), expected, found });
    }
    owner.check(path, &metadata)?;
    check_mode(path, &metadata, OTHERS, "chmod o-w would do")
}

/// Checks a file, a pipe or a socket: no link, ours or root's, and not for everybody to write.
pub(crate) fn check_file(path: &Path) -> Result<(), NotOurs> {
    let metadata = look(path)?;
    if metadata.is_symlink() || metadata.is_dir() {
        let (expected, found) = ("a file", kind(&metadata));
        return Err(NotOurs::Kind { path: path.to_owned(), expected, found });
    }
    Owner::OwnOrRoot.check(path, &metadata)?;
    check_mode(path, &metadata, OTHERS, "see what it holds, then chmod o-w")
}

/// Checks what was opened to be executed: what could still be changed after its hash was taken was never proved.
pub(crate) fn check_opened(path: &Path, metadata: &Metadata) -> Result<(), NotOurs> {
    Owner::OwnOrRoot.check(path, metadata)?;
    check_mode(path, metadata, GROUP_AND_OTHERS, "it is fetched anew")
}

/// Checks the folders above a path, as far as they are there: who could rename one of them could put another in the
/// place of what is below it.
pub(crate) fn check_above(path: &Path) -> Result<(), NotOurs> {
    let is_there = |folder: &&Path| fs::symlink_metadata(folder).is_ok();
    let Some(parent) = path.ancestors().skip(1).find(is_there) else { return Ok(()) };
    let above = |folder: &Path| {
        let named = look(folder)?;
        Owner::OwnOrRoot.check(folder, &named)?;
        let at = |source| NotOurs::Look { path: folder.to_owned(), source };
        let metadata = if named.is_symlink() { fs::metadata(folder).map_err(at)? } else { named };
        match metadata.mode() & STICKY {
            0 => check_mode(folder, &metadata, OTHERS, "chmod o-w or chmod +t would do"),
            _ => Ok(()),
        }
    };
    parent.ancestors().filter(|folder| !folder.as_os_str().is_empty()).try_for_each(above)?;
    let real =
        fs::canonicalize(parent).map_err(|source| NotOurs::Look { path: parent.to_owned(), source })?;
    // Where links have led to.
    real.ancestors().try_for_each(above)
}

/// Options that never open anything but what has this very name, and never wait for the other end of a pipe.
pub(crate) fn no_link(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
}

/// Makes a file of our own to be written, readable for us alone, in the place of whatever lies there: what somebody else
/// has put there, a link or a file that would stay theirs, is neither written to nor kept.
pub(crate) fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn a_folder_that_others_can_write_or_that_is_none_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path();
        check_folder(path, Owner::Own).expect("ours");
        set_mode(path, 0o770);
        check_shared_folder(path, Owner::Own).expect("shared with a group");
        let said = check_folder(path, Owner::Own).expect_err("not ours alone").to_string();
        assert!(said.contains("found mode 770, expected 750; chmod go-w"), "{said}");
        set_mode(path, 0o707);
        check_shared_folder(path, Owner::Own).expect_err("everybody's");
        set_mode(path, 0o700);
        let (link, file) = (path.join("link"), path.join("file"));
        symlink(path, &link).expect("link");
        fs::write(&file, b"").expect("file");
        for other in [link, file] {
            let said = check_folder(&other, Owner::Own).expect_err("no folder").to_string();
            assert!(said.contains(&other.display().to_string()) && said.contains("a real folder"), "{said}");
        }
    }

    #[test]
    fn a_link_and_a_file_that_everybody_can_write_are_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, b"").expect("file");
        symlink(&file, &link).expect("link");
        check_file(&file).expect("ours");
        check_file(&link).expect_err("a link");
        set_mode(&file, 0o666);
        check_file(&file).expect_err("everybody's");
    }

    #[test]
    fn above_us_everybody_may_write_only_where_nobody_can_rename_what_is_anothers() {
        let folder = tempfile::tempdir().expect("folder");
        let (above, link) = (folder.path().join("above"), folder.path().join("link"));
        fs::create_dir(&above).expect("folder");
        symlink(&above, &link).expect("link");
        for home in [above.join("home"), link.join("home")] {
            for (mode, is_safe) in [(0o755, true), (0o775, true), (0o777, false), (0o1777, true)] {
                set_mode(&above, mode);
                assert_eq!(check_above(&home).is_ok(), is_safe, "{} with {mode:o}", home.display());
            }
        }
    }

    #[test]
    fn what_lies_in_the_place_of_a_new_file_is_neither_written_to_nor_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let (outside, path) = (folder.path().join("outside"), folder.path().join("new"));
        fs::write(&outside, b"precious").expect("outside");
        let plants: [fn(&Path, &Path) -> io::Result<()>; 2] =
            [|from, to| symlink(from, to), |from, to| fs::hard_link(from, to)];
        for plant in plants {
            plant(&outside, &path).expect("planted");
            io::Write::write_all(&mut create_anew(&path).expect("made"), b"x").expect("written");
            assert_eq!(fs::read(&outside).expect("read"), b"precious");
            assert_eq!(fs::symlink_metadata(&path).expect("there").mode() & 0o7777, 0o600);
            fs::remove_file(&path).expect("remove");
        }
    }
}
