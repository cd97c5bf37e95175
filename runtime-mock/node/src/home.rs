//! Where the chain's files lie, and who removes them.

use std::{
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// The folder of one chain.
#[derive(Debug)]
pub(crate) enum Home {
    /// Removed with this value.
    Temporary(TempDir),
    /// Kept for the next run.
    Kept(PathBuf),
}

impl Home {
    /// Opens `base_path`, made if it is missing; without one, a new temporary folder.
    pub(crate) fn open(base_path: Option<&Path>) -> Result<Self, OpenHomeError> {
        let Some(path) = base_path else {
            return tempfile::Builder::new()
                .prefix("dev-chain-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(OpenHomeError::Temporary);
        };
        std::fs::create_dir_all(path)
            .and_then(|()| std::path::absolute(path))
            .map(Self::Kept)
            .map_err(|source| OpenHomeError::BasePath { path: path.to_owned(), source })
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(path) => path,
        }
    }

    /// What the chain is.
    pub(crate) fn chain_spec(&self) -> PathBuf {
        self.path().join("chain-spec.json")
    }

    /// Its blocks and states.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("db")
    }

    /// Who the node is to its peers.
    pub(crate) fn node_key(&self) -> PathBuf {
        self.path().join("node-key")
    }
}

/// Why there is no folder for the chain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenHomeError {
    /// No temporary folder could be made.
    #[error("can't make a temporary folder for the chain")]
    Temporary(#[source] io::Error),
    /// The base path could not be made.
    #[error("can't use {} as base path", path.display())]
    BasePath {
        /// As given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_chain_leaves_nothing_behind() {
        let home = Home::open(None).expect("there is a temporary folder");
        let path = home.path().to_owned();
        std::fs::write(home.chain_spec(), "{}").expect("the folder is writable");
        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn a_base_path_is_made_and_kept() {
        let parent = tempfile::tempdir().expect("there is a temporary folder");
        let base_path = parent.path().join("not/there/yet");
        drop(Home::open(Some(&base_path)).expect("it can be made"));
        assert!(base_path.is_dir());
    }
}
