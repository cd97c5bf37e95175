//! T20: disks that answer with an error, and quotas that are used up. The calls of the real programs fail on the real
//! files, for which `strace` gets in between.

use std::{
    fs,
    path::{Path, PathBuf},
};

use integration_tests::{
    child::{Child, Signal},
    journey::Journey,
    ledger,
    operator::{self, NETWORK, Operator, VAULT},
    releases::Release,
    status::VaultStatus,
    tampering::{Fault, Tampering},
    untouched::Untouched,
    wait,
};

/// What a failing disk is reported by, with what to do.
const IO_ERROR: [&str; 2] = ["Input/output error", "see the kernel's log"];

/// A vault that runs, whose disk begins to fail.
struct OnFailingDisk {
    journey: Journey,
    daemon: Child,
    running: Release,
}

impl OnFailingDisk {
    async fn begin() -> Self {
        let journey = Journey::begin().await;
        let running = journey.release("1.0.0").await;
        let daemon = journey.operator.run();
        Untouched::running(&journey.operator, &running).await;
        Self { journey, daemon, running }
    }

    fn operator(&self) -> &Operator {
        &self.journey.operator
    }

    fn vault_folder(&self) -> PathBuf {
        self.operator().home().join("vaults").join(VAULT)
    }

    async fn fails(&self, fault: &Fault) -> Tampering {
        Tampering::begin(self.daemon.pid(), fault, self.operator().folder()).await
    }

    /// Waits until the status says all of this.
    async fn is_said(&self, said: &[&str]) {
        wait::until(&format!("{said:?}"), async || {
            let problem = self.operator().vault().await.problem.unwrap_or_default();
            match said.iter().all(|said| problem.contains(said)) {
                true => Ok(()),
                false => Err(format!("{problem}\n{}", self.daemon.stderr())),
            }
        })
        .await;
    }

    /// The disk is well again: what was held up happens by itself.
    async fn goes_on(&mut self, tampering: Tampering, before: &Untouched, next: Release) {
        assert!(tampering.failed() > 0, "no call has failed");
        let lives = self.operator().lives().len();
        tampering.end().await;
        let after = self.operator().running(&next).await;
        assert_ne!(after.pid, before.pid());
        let now = self.operator().lives();
        assert_eq!((now.len(), ledger::never_two(&now)), (lives + 1, Ok(())));
        let vault = self.operator().vault().await;
        assert_eq!((vault.problem, vault.rejected.len()), (None, 0), "a disk can have no release rejected");
        self.running = next;
    }
}

#[tokio::test]
async fn t20_a_state_that_a_failing_disk_does_not_take_holds_up_every_switch_and_no_vault() {
    let mut vault = OnFailingDisk::begin().await;
    let folder = vault.vault_folder();
    let (state, new) = (folder.join("state.json"), folder.join(".state.json.new"));
    // Every step of a durable write: the file made, written, synced, renamed, and its folder synced.
    for (number, (calls, path)) in
        [("openat", &new), ("write", &new), ("fsync", &new), ("rename", &new), ("fsync", &folder)]
            .iter()
            .enumerate()
    {
        let before = Untouched::running(vault.operator(), &vault.running).await;
        let lives = vault.operator().lives().len();
        let tampering = vault.fails(&Fault { calls, error: "EIO", paths: vec![path.to_path_buf()] }).await;
        let on_disk = fs::read(&state).expect("it was written");
        let next = vault.journey.release(&format!("{}.0.0", number + 2)).await;

        let name = state.to_str().expect("plain names");
        vault.is_said(&["cannot write", name, IO_ERROR[0], IO_ERROR[1], "no switch is begun before"]).await;
        // The new release is here, and is not switched to.
        wait::until("the new release to be in the store", async || {
            let stored = vault.operator().stored();
            if stored.contains(&next.checksum) { Ok(()) } else { Err(format!("{stored:?}")) }
        })
        .await;
        assert!(operator::is_alive(before.pid()), "{calls}");
        assert_eq!(vault.operator().lives().len(), lives, "{calls}: another one was executed");
        if *path != &folder {
            assert_eq!(fs::read(&state).expect("it is there"), on_disk, "{calls}");
        }
        vault.goes_on(tampering, &before, next).await;
    }
}

#[tokio::test]
async fn t20_a_store_whose_disk_fails_or_whose_quota_is_used_up_is_reported_and_gone_on_from() {
    let mut vault = OnFailingDisk::begin().await;
    let quota = ["Disk quota exceeded", "raise the quota of this user or free some of it"];
    let steps = [
        ("write", "EIO", IO_ERROR),
        ("fsync", "EIO", IO_ERROR),
        ("rename", "EIO", IO_ERROR),
        ("openat", "EDQUOT", quota),
        ("write", "EDQUOT", quota),
        ("fsync", "EDQUOT", quota),
    ];
    for (number, (calls, error, said)) in steps.into_iter().enumerate() {
        let before = Untouched::running(vault.operator(), &vault.running).await;
        let next = Release::of_test_vault(&format!("{}.0.0", number + 2));
        let partial = vault.operator().home().join("store/partial").join(&next.checksum);
        let tampering = vault.fails(&Fault { calls, error, paths: vec![partial] }).await;
        vault.journey.server.offer(&next, NETWORK);
        vault.journey.state(&next).await;
        vault.is_said(&["in the artifact store", &next.checksum, said[0], said[1]]).await;
        before.still(vault.operator()).await;
        vault.operator().vaultvisor(&["retry", VAULT]).await;
        vault.goes_on(tampering, &before, next).await;
    }
}

#[tokio::test]
async fn t20_a_stored_program_that_a_failing_disk_does_not_give_back_is_not_switched_to() {
    let mut vault = OnFailingDisk::begin().await;
    let before = Untouched::running(vault.operator(), &vault.running).await;
    let lives = vault.operator().lives().len();
    let next = Release::of_test_vault("2.0.0");
    let program = vault.operator().home().join("store/sha256").join(&next.checksum).join("vault");
    let fault = Fault { calls: "read", error: "EIO", paths: vec![program.clone()] };
    let tampering = vault.fails(&fault).await;
    vault.journey.server.offer(&next, NETWORK);
    vault.journey.state(&next).await;
    vault.is_said(&[program.to_str().expect("plain names"), "Input/output error"]).await;
    assert!(operator::is_alive(before.pid()));
    assert_eq!(vault.operator().lives().len(), lives);
    vault.goes_on(tampering, &before, next).await;
}

#[tokio::test]
async fn t20_a_history_that_a_failing_disk_does_not_take_holds_up_nothing_and_is_made_up_for() {
    let vault = OnFailingDisk::begin().await;
    let operator = vault.operator();
    operator.history_with(&["kept"]).await;
    let history = operator.home().join("history.jsonl");
    let fault = Fault { calls: "write,fdatasync", error: "EIO", paths: vec![history.clone()] };
    let tampering = vault.fails(&fault).await;
    let on_disk = fs::read(&history).expect("it was written");
    let second = vault.journey.release("2.0.0").await;
    operator.running(&second).await;
    let said = format!("the history {}; its disk", history.display());
    wait::until("the log to name the history", async || match vault.daemon.stderr() {
        log if log.contains(&said) && IO_ERROR.iter().all(|said| log.contains(said)) => Ok(()),
        log => Err(log),
    })
    .await;
    assert_eq!(fs::read(&history).expect("it is there"), on_disk, "no torn line is left");
    tampering.end().await;
    operator.history_with(&["kept", "kept"]).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

/// Vaultvisor, of which these calls fail from the beginning.
struct Failing {
    process: Child,
    folder: tempfile::TempDir,
}

impl Failing {
    fn start(operator: &Operator, fault: &Fault) -> Self {
        let mut run = operator.vaultvisor_command();
        run.args(["run", "--verbose", "--config"]).arg(operator.config_path());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let traced = fault.in_command(&run, &folder.path().join("trace"));
        Self { process: Child::spawn("failing", traced, folder.path()), folder }
    }

    /// What became of it.
    async fn end(&mut self) -> (Option<i32>, String) {
        let code = self.process.end().await.code();
        let trace = fs::read_to_string(self.folder.path().join("trace")).expect("it was traced");
        assert!(trace.contains("(INJECTED)"), "no call has failed: {}", self.process.stderr());
        (code, self.process.stderr())
    }
}

async fn refused(operator: &Operator, fault: &Fault) -> (Option<i32>, String) {
    Failing::start(operator, fault).end().await
}

#[tokio::test]
async fn t20_what_a_failing_disk_does_not_give_back_at_a_start_is_named_and_nothing_is_run_twice_or_overwritten()
 {
    let mut vault = OnFailingDisk::begin().await;
    let folder = vault.vault_folder();
    let operator = &vault.journey.operator;
    let before = operator.running(&vault.running).await;
    let lock =
        fs::read_dir(operator.folder().join("lock")).expect("ours").flatten().next().expect("one").path();
    vault.daemon.signal(Signal::QUIT);
    assert_eq!(vault.daemon.end().await.code(), Some(0));

    let written = |path: &Path| fs::read(path).expect("it was written");
    let files = [folder.join("state.json"), folder.join("run.json"), lock.clone()];
    let on_disk: Vec<_> = files.iter().map(|path| written(path)).collect();
    // That it is blocked is a state, too.
    let is_as_before = |what: &str, since: usize| {
        assert!(operator::is_alive(before.pid), "{what}");
        assert_eq!(operator.lives().len(), 1, "{what}: another one was executed");
        for (path, on_disk) in files.iter().zip(&on_disk).skip(since) {
            assert!(written(path) == *on_disk, "{what}: {} was overwritten", path.display());
        }
    };
    // Without its state nothing is known of a vault; without the lock's record not whether one runs.
    for (path, code, since) in [(&files[0], 1, 0), (&lock, 4, 1)] {
        for calls in ["openat", "read"] {
            let fault = Fault { calls, error: "EIO", paths: vec![path.clone()] };
            let (found, log) = refused(operator, &fault).await;
            let what = format!("{calls} of {}", path.display());
            assert_eq!(found, Some(code), "{what}: {log}");
            let name = path.to_str().expect("plain names");
            assert!(log.contains(name) && log.contains("Input/output error"), "{what}: {log}");
            is_as_before(&what, since);
        }
    }
    // What the keeper's record would say, the keeper that lives says as well.
    let is_adopted = |vault: &VaultStatus| vault.running.as_ref().is_some_and(|running| running.adopted);
    for calls in ["openat", "read"] {
        let mut failing =
            Failing::start(operator, &Fault { calls, error: "EIO", paths: vec![files[1].clone()] });
        // Whether the vault was taken over is on the disk since the last time: only who answers tells of now.
        let vaultvisor = wait::until("vaultvisor to have taken the vault over", async || {
            let status = operator.status().await;
            match status.pid.filter(|_| status.vaults.iter().all(is_adopted)) {
                Some(pid) => Ok(pid),
                None => Err(format!("{status:#?}")),
            }
        })
        .await;
        operator::signal(vaultvisor, Signal::QUIT);
        assert_eq!(failing.end().await.0, Some(0));
        is_as_before(calls, 1);
    }
    let _daemon = operator.run();
    let after = operator.vault_where("the vault to be taken over", is_adopted).await.running;
    assert_eq!(after.map(|running| running.pid), Some(before.pid));
}
