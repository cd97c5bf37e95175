//! A home folder for readers that read files.

use std::{fs, path::Path};

use tempfile::TempDir;
use vaultvisor::{
    config::{self, Overrides, Settings},
    http::page,
    metrics::{self, Counters},
    status::Status,
};

/// A home with one vault, `a`, on the network `dev`. It is gone when this is.
pub(crate) struct Home {
    folder: TempDir,
    settings: Settings,
}

impl Home {
    /// An empty one, where a sync costs nothing unless `TMPDIR` says otherwise.
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let is_free = std::env::var_os("TMPDIR").is_none() && memory.is_dir();
        let folder = if is_free { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder for what is read");
        for name in ["vaults/a", "networks"] {
            fs::create_dir_all(folder.path().join(name)).expect("the folder is ours");
        }
        let text = format!(
            r#"{{"home": {0:?}, "lock_dir": {0:?}, "vaults": {{"a": {{"network": "dev", "args": []}}}},
                "networks": {{"dev": {{"endpoints": ["ws://127.0.0.1:1"], "release_urls": ["https://h/{{version}}"]}}}}}}"#,
            folder.path()
        );
        let json = serde_json::from_str(&text).expect("JSON");
        let settings = config::parse(&json, &Overrides::default()).expect("a valid configuration");
        Self { folder, settings }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file into it.
    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.path().join(name), content).expect("the folder is ours");
    }

    /// The status of this home can be made, and is shown in every form that there is.
    pub(crate) fn is_shown(&self) {
        let status = Status::read(&self.settings);
        let document = serde_json::to_string(&status).expect("a document");
        let read: Status = serde_json::from_str(&document).expect("what is written is read");
        assert_eq!(read.vaults.len(), 1);
        assert_eq!(
            (read.vaults[0].state, &read.vaults[0].why),
            (status.vaults[0].state, &status.vaults[0].why)
        );
        for line in metrics::render(&status, &Counters::default()).lines() {
            assert!(line.starts_with("# ") || line.starts_with("vaultvisor_"), "{line:?} is no metric");
        }
        // Nothing that was read becomes markup.
        assert!(!page::render(&status).contains("<script"));
    }
}
