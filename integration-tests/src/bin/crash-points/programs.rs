//! A copy of the programs that are to crash, with the files beside them that say when.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// No run has as many points: they are counted, and nothing is killed.
pub(crate) const NEVER: u64 = u64::MAX;

/// A vaultvisor that crashes where it is told, and its keeper. One run at a time has them.
#[derive(Debug)]
pub(crate) struct Programs {
    folder: TempDir,
}

impl Programs {
    /// Of the programs of that folder.
    pub(crate) fn copy_of(built: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("programs-").tempdir().expect("a temporary folder");
        for name in ["vaultvisor", "vaultvisor-keeper"] {
            let from = built.join(name);
            fs::copy(&from, folder.path().join(name))
                .unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
        }
        Self { folder }
    }

    /// Where they are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn crash_at(&self) -> PathBuf {
        self.folder.path().join("vaultvisor.crash-at")
    }

    fn reached(&self) -> PathBuf {
        self.folder.path().join("vaultvisor.crash-points")
    }

    /// From now on points are counted, from 1, and vaultvisor ends at this one.
    pub(crate) fn arm(&self, number: u64) {
        self.forget_points();
        // By rename, so that nobody reads half a number.
        let new = self.crash_at().with_extension("new");
        fs::write(&new, number.to_string()).expect("the folder is ours");
        fs::rename(&new, self.crash_at()).expect("the folder is ours");
    }

    /// From now on nothing crashes and nothing is counted.
    pub(crate) fn disarm(&self) {
        ignore_missing(fs::remove_file(self.crash_at()));
    }

    /// As if nothing had ever been counted.
    pub(crate) fn forget_points(&self) {
        ignore_missing(fs::remove_file(self.reached()));
    }

    /// The points that were counted, in their order.
    pub(crate) fn points(&self) -> Vec<String> {
        let text = fs::read_to_string(self.reached()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn ignore_missing(removed: std::io::Result<()>) {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("the folder is ours: {error}"),
        _ => {}
    }
}
