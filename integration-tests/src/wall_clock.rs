//! A wall clock that a test sets, for one daemon: the monotonic clock, and every other process, keep the machine's.
//!
//! libfaketime (Debian's package of that name) stands between the daemon and the C library's clock. It is never passed
//! on: keepers and vaults are started without `LD_*`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The library's folder, below the one of the machine's architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The wall clock of one daemon.
#[derive(Debug)]
pub struct WallClock {
    offset: PathBuf,
}

impl WallClock {
    /// One that goes right, with a file in this folder.
    pub fn new(folder: &Path) -> Self {
        let clock = Self { offset: folder.join("wall-clock") };
        clock.set("+0");
        clock
    }

    /// Has a command run by it.
    ///
    /// # Panics
    /// If libfaketime is not there.
    pub fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", &self.offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Sets it to so many days from now, forward or back.
    pub fn jump(&self, days: i32) {
        self.set(&format!("{days:+}d"));
    }

    fn set(&self, offset: &str) {
        // As a whole: it is read at any moment.
        let new = self.offset.with_extension("new");
        fs::write(&new, format!("{offset}\n")).expect("the temporary folder is ours");
        fs::rename(new, &self.offset).expect("the temporary folder is ours");
    }
}

/// What a process must not have been given.
pub fn is_given_to(pid: u32) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it is ours and runs");
    maps.contains("libfaketime")
}

fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("there is always a /usr/lib");
    let found = folders.flatten().map(|folder| folder.path().join(LIBRARY)).find(|path| path.is_file());
    found.expect("libfaketime is not there: scripts/setup.sh installs it")
}
