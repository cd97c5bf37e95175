//! Where the workspace's programs are: in the folder that cargo put the running test into.
//!
//! Cargo does not build the programs of other packages for a test. The scripts build them first; a journey that
//! finds none says how.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How to build what is missing or old. The whole workspace, because cargo unites the features of the packages
/// it builds together: another selection would compile the node's 800 dependencies a second time.
const HOW_TO_BUILD: &str = "cargo build --workspace --bins";

/// The program of that name beside the running test.
///
/// # Panics
/// If it was not built, saying how to.
pub fn path(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.is_file(), "{} is not there: build it with `{HOW_TO_BUILD}`", path.display());
    path
}

/// Where the chains of all tests leave the runtimes that they compiled: two thirds of a start's processor time.
pub fn compiled_runtimes() -> PathBuf {
    folder().join("compiled-runtimes")
}

/// `target/debug`, for tests (which lie in `deps` below it) and for this crate's own programs.
fn folder() -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let folder = this.parent().expect("a program lies in a folder");
    let folder =
        if folder.ends_with("deps") { folder.parent().expect("deps lies in target") } else { folder };
    folder.to_owned()
}

/// A note for failures: which sources are newer than the program, if any are. A test of an old program proves
/// nothing about the sources that a reader looks at.
pub fn staleness(program: &Path) -> Option<String> {
    let built = modified(program)?;
    let sources = std::fs::read_to_string(program.with_extension("d")).ok()?;
    let newer = sources
        .split_once(": ")?
        .1
        .split_whitespace()
        .find(|source| modified(Path::new(source)).is_none_or(|changed| changed > built))?;
    Some(format!("{} is older than {newer}: `{HOW_TO_BUILD}`", program.display()))
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
