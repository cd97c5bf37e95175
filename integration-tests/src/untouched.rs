//! That nothing has happened to a vault: its process, what is stored, and what was decided about it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
};

use serde_json::Value;

use crate::{
    operator::{self, Operator, VAULT},
    releases::Release,
    status::Running,
    wait,
};

/// What of the durable state says what runs, what is gone back to, and with which arguments. The rest tells of the chain
/// and of what is wrong.
const DECIDED: [&str; 11] = [
    "process",
    "last_known_good",
    "previous",
    "last_run",
    "rejected",
    "arguments",
    "config_args",
    "snapshots",
    "override_build",
    "hold",
    "last_switch",
];

/// A vault as it was at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untouched {
    running: Running,
    command: Vec<u8>,
    decided: BTreeMap<String, Value>,
    files: BTreeMap<PathBuf, File>,
    /// How many vaults had been executed.
    lives: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    inode: u64,
    mode: u32,
    bytes: Vec<u8>,
}

impl Untouched {
    /// The vault as it runs this release, once it is at rest.
    pub async fn running(operator: &Operator, release: &Release) -> Self {
        operator.running(release).await;
        wait::until("the vault to be at rest", async || {
            let decided = decided(operator);
            let good = &decided["last_known_good"]["checksum"];
            match good.as_str() == Some(&release.checksum) && operator.stored() == [release.checksum.as_str()]
            {
                true => Ok(()),
                false => Err(format!("{decided:#?} {:?}", operator.stored())),
            }
        })
        .await;
        Self::now(operator).await
    }

    async fn now(operator: &Operator) -> Self {
        let running = operator.vault().await.running.expect("the vault runs");
        let command = fs::read(format!("/proc/{}/cmdline", running.pid)).expect("the vault runs");
        Self {
            command,
            running,
            decided: decided(operator),
            files: files(operator),
            lives: operator.lives().len(),
        }
    }

    /// The vault's process.
    pub fn pid(&self) -> u32 {
        self.running.pid
    }

    /// Looks whether the process is the same, and every byte of the store: without asking vaultvisor.
    ///
    /// # Panics
    /// If it is not.
    pub fn still_runs(&self, operator: &Operator) {
        assert!(operator::is_alive(self.running.pid), "pid {} has ended", self.running.pid);
        let command = fs::read(format!("/proc/{}/cmdline", self.running.pid)).expect("it lives");
        assert_eq!(command, self.command);
        self.same_files(operator);
        assert_eq!(operator.lives().len(), self.lives, "another one was executed");
    }

    fn same_files(&self, operator: &Operator) {
        let now = files(operator);
        let names = |files: &BTreeMap<PathBuf, File>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&now), names(&self.files), "something is left, or has gone");
        for (path, file) in &self.files {
            assert!(now[path] == *file, "{} has changed", path.display());
        }
    }

    /// Looks whether all is as it was: the process, what was decided, and every byte of the store and of what the keeper
    /// recorded.
    ///
    /// # Panics
    /// If it is not.
    pub async fn still(&self, operator: &Operator) {
        self.still_runs(operator);
        let running = operator.vault().await.running;
        assert_eq!(running.as_ref(), Some(&self.running), "another process, or it was started again");
        assert_eq!(decided(operator), self.decided);
    }
}

fn decided(operator: &Operator) -> BTreeMap<String, Value> {
    let path = operator.home().join("vaults").join(VAULT).join("state.json");
    // Written by rename: always whole.
    let text = fs::read_to_string(path).expect("a vault that runs has a state");
    let mut document: Value = serde_json::from_str(&text).expect("it is JSON");
    DECIDED.iter().map(|key| ((*key).to_owned(), document["state"][key].take())).collect()
}

/// The store but for what is on its way into it, the arguments and the keeper's records.
fn files(operator: &Operator) -> BTreeMap<PathBuf, File> {
    let home = operator.home();
    let vault = home.join("vaults").join(VAULT);
    let is_part = |path: &PathBuf| {
        path.starts_with(home.join("store/sha256"))
            || path.starts_with(vault.join("args"))
            || [vault.join("run.json"), vault.join("exit.json")].contains(path)
    };
    let paths = operator.files().into_iter().filter(is_part);
    paths
        .map(|path| {
            let metadata = fs::symlink_metadata(&path).expect("it was just listed");
            let bytes = fs::read(&path).expect("the folder is ours");
            (path, File { inode: metadata.ino(), mode: metadata.permissions().mode(), bytes })
        })
        .collect()
}
