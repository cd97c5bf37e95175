//! Another user of the machine, who owns nothing of ours: only root can act as one.

use std::{
    fs, io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

/// Any user that owns nothing here, and its group.
pub const NOBODY: u32 = 65_534;

/// Whether another user can be tried; says so where not, which is only where tests are not run as root.
pub fn can_be_tried() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("NOT TRIED: to act as another user, this journey needs to be run as root");
    }
    is_root
}

/// Has a command be run by the other user.
pub fn by_nobody(command: &mut Command) -> &mut Command {
    command.uid(NOBODY).gid(NOBODY).current_dir("/").stdin(Stdio::null())
}

/// Runs a small program as the other user, which must go well.
///
/// # Panics
/// If it does not.
pub fn does(program: &str, args: &[&Path]) {
    let output = by_nobody(Command::new(program).args(args)).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    assert!(output.status.success(), "{program} {args:?} as another user: {output:?}");
}

/// Plants a link, in the place of whatever lies there.
pub fn links(target: &Path, place: &Path) {
    match fs::symlink_metadata(place) {
        Ok(there) if there.is_dir() => does("rmdir", &[place]),
        Ok(_) => does("rm", &["-f".as_ref(), place]),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{}", place.display()),
    }
    does("ln", &["-s".as_ref(), target, place]);
}

/// Gives something to the other user.
///
/// # Panics
/// If we are not root.
pub fn owns(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
}
