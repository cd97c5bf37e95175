//! Cosmovisor, where it is installed: the supervisor of Cosmos chains, which switches when the program that it supervises
//! has written a plan into a file. Here the bench writes the plan, so that no chain and no client of one is part of what
//! is measured.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use integration_tests::{
    child::{Child, Signal},
    ledger::{self, Tail},
    releases::Release,
};
use serde_json::json;
use tempfile::TempDir;

use crate::{peers, processes, site};

pub(crate) const NAME: &str = "cosmovisor";

/// A cosmovisor that supervises a test vault. Dropped: nothing is left of it.
#[derive(Debug)]
pub(crate) struct Cosmovisor {
    folder: TempDir,
    daemon: Child,
    ledger: Tail,
    /// Of the plan that was carried out last: it heeds only what is higher.
    height: u64,
}

impl Cosmovisor {
    /// With this release running; `None` where it is not installed.
    pub(crate) fn start(release: &Release) -> Option<Self> {
        let program = peers::find(NAME)?;
        let folder = tempfile::Builder::new().prefix("peer-").tempdir().expect("a temporary folder");
        install(folder.path(), Path::new("genesis"), release);
        fs::create_dir(folder.path().join("data")).expect("the temporary folder is ours");
        let ledger = folder.path().join("vault.jsonl");
        let mut command = Command::new(program);
        command
            .arg("run")
            .args(site::vault_args(&ledger))
            .env("DAEMON_HOME", folder.path())
            .env("DAEMON_NAME", "vault")
            .env("DAEMON_RESTART_AFTER_UPGRADE", "true")
            // Without it the old one is killed, and would not write down its end.
            .env("DAEMON_SHUTDOWN_GRACE", "20s")
            // A copy of the data is not what is compared.
            .env("UNSAFE_SKIP_BACKUP", "true")
            .env("COSMOVISOR_DISABLE_LOGS", "true")
            .current_dir(folder.path());
        let daemon = Child::spawn(NAME, command, folder.path());
        let mut ledger = Tail::of(&ledger);
        site::until_start(&mut ledger);
        Some(Self { folder, daemon, ledger, height: 0 })
    }

    /// Has it switch to a release that is there already; answers the time from the plan to the new one's first line, in
    /// nanoseconds.
    pub(crate) fn switch(&mut self, release: &Release) -> u64 {
        self.height += 1;
        let name = format!("plan-{}", self.height);
        install(self.folder.path(), &Path::new("upgrades").join(&name), release);
        let plan = json!({ "name": name, "height": self.height }).to_string();
        let (written, new) =
            (self.folder.path().join("data/upgrade-info.json"), self.folder.path().join("plan"));
        fs::write(&new, plan).expect("the temporary folder is ours");
        self.ledger.added();
        let written_ns = ledger::now_ns();
        fs::rename(new, written).expect("the temporary folder is ours");
        let entries = site::until_start(&mut self.ledger);
        site::started_ns(&entries).saturating_sub(written_ns)
    }
}

impl Drop for Cosmovisor {
    fn drop(&mut self) {
        if self.daemon.ended().is_none() {
            self.daemon.signal(Signal::TERM);
        }
        processes::end_all(self.folder.path());
    }
}

/// Puts a release where it looks for that one's program.
fn install(home: &Path, which: &Path, release: &Release) {
    let folder: PathBuf = home.join(NAME).join(which).join("bin");
    fs::create_dir_all(&folder).expect("the temporary folder is ours");
    let program = folder.join("vault");
    fs::write(&program, &release.program).expect("the temporary folder is ours");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("the file is ours");
}
