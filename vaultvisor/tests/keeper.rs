//! The keeper, as a real process with real vaults under it: `dash`, copied into a store as the vault.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use vaultvisor::{
    process::{
        MARKER, ProcessId, StopSignal,
        handle::{PrepareError, Prepared, RunningVault, StartError},
        lock::Record,
        protocol::{ExitStatus, Spec},
    },
    release::Checksum,
};

/// Far beyond what any of this takes; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

fn keeper() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_vaultvisor-keeper"))
}

/// A folder with a store that holds `dash` as the vault, and the spec of a keeper for it.
struct Site {
    folder: TempDir,
    spec: Spec,
}

impl Site {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let program = fs::read("/bin/dash").expect("dash, Debian's /bin/sh");
        let binary_folder = folder.path().join("store");
        fs::create_dir(&binary_folder).expect("store");
        fs::write(binary_folder.join("vault"), &program).expect("copy");
        fs::set_permissions(binary_folder.join("vault"), fs::Permissions::from_mode(0o555)).expect("chmod");
        let spec = Spec {
            lock: folder.path().join("account.lock"),
            marker: format!("test-{}", folder.path().display()),
            home: folder.path().to_owned(),
            folder: folder.path().to_owned(),
            run_id: "run".into(),
            binary_folder,
            checksum: Checksum(Sha256::digest(&program).into()),
            log: folder.path().join("vault.log"),
            stop_signal: StopSignal::Int,
            grace_ms: 10_000,
            args: vec!["-c".into(), script.into()],
        };
        Self { folder, spec }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn prepared(&self) -> Result<Prepared, PrepareError> {
        Prepared::new(keeper(), &self.spec, &BTreeMap::from([("GIVEN".into(), "a value".into())])).await
    }

    async fn started(&self) -> RunningVault {
        self.prepared().await.expect("prepared").start().await.expect("started")
    }

    /// What the vault has printed, once it contains something.
    fn printed(&self, wanted: &str) -> String {
        let read = || fs::read_to_string(&self.spec.log).unwrap_or_default();
        until(&format!("{wanted:?} in the log"), || read().contains(wanted));
        read()
    }
}

impl Drop for Site {
    /// A test that failed leaves no keeper and no vault behind.
    fn drop(&mut self) {
        let Ok(record) = fs::read(&self.spec.lock) else { return };
        let Ok(record) = serde_json::from_slice::<Record>(&record) else { return };
        for process in
            [Some(record.keeper), record.vault].into_iter().flatten().filter(|process| process.exists())
        {
            let pid = rustix::process::Pid::from_raw(process.pid.cast_signed()).expect("pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

fn process(pid: &str) -> ProcessId {
    ProcessId::of(pid.trim().parse().expect("a pid")).expect("a process")
}

/// A vault that says that it is up and then waits.
const WAITING: &str = "echo up; while :; do sleep 0.02; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_is_dropped_before_go_has_started_nothing() {
    let site = Site::new("echo ran");
    drop(site.prepared().await.expect("prepared"));
    // The lock would be busy if the keeper had gone on; a second one that runs to its end is the proof.
    let (status, _) = site.started().await.ended().await.expect("seen");
    assert_eq!((status, site.printed("ran").matches("ran").count()), (ExitStatus::Code(0), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_gets_its_arguments_a_small_environment_and_the_name_of_its_file() {
    let mut site = Site::new(r#"printf '<%s>' "$@"; echo; env; cat /proc/$$/comm; echo end"#);
    site.spec.args.extend(["name", "a b", "", "--", "--lock=x", "ü\n"].map(String::from));
    site.started().await.ended().await.expect("seen");
    let printed = site.printed("end");
    assert!(printed.starts_with("<a b><><--><--lock=x><ü\n>\n"), "{printed}");
    assert!(printed.contains("GIVEN=a value\n") && printed.ends_with("vault\nend\n"), "{printed}");
    assert!(printed.contains(&format!("{MARKER}={}\n", site.spec.marker)), "{printed}");
    for line in printed.lines().skip(2) {
        let Some((name, _)) = line.split_once('=') else { continue };
        let allowed = ["PATH", "HOME", "USER", "LANG", "TZ", "GIVEN", MARKER, "PWD", "OLDPWD", "SHLVL", "_"];
        assert!(allowed.contains(&name), "{name} was passed on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_inherits_its_lock_and_nothing_that_others_left_open() {
    let site = Site::new("for fd in /proc/$$/fd/*; do readlink $fd; done; echo end");
    // Not close-on-exec, as a shell's redirections are.
    let left_open = rustix::io::dup(fs::File::create(site.path("left-open")).expect("file")).expect("dup");
    site.started().await.ended().await.expect("seen");
    drop(left_open);
    let printed = site.printed("end");
    assert!(printed.contains("account.lock"), "{printed}");
    // The three standard ones, the lock, and at most one of the shell's own.
    let open: Vec<&str> =
        printed.lines().filter(|line| line.starts_with('/') && !line.ends_with("/fd")).collect();
    assert!(
        open.iter().all(|path| ["null", "vault.log", "account.lock"].iter().any(|end| path.ends_with(end))),
        "{open:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_asks_with_the_configured_signal_and_waits_for_the_end() {
    let site = Site::new(&format!("trap 'echo asked; exit 7' INT; {WAITING}"));
    let vault = site.started().await;
    site.printed("up");
    vault.stopper.stop();
    let (status, _) = vault.ended().await.expect("seen");
    assert_eq!(status, ExitStatus::Code(7));
    site.printed("asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_ignores_the_signal_is_killed_after_its_grace_and_not_before() {
    let mut site = Site::new(&format!("trap '' INT; {WAITING}"));
    site.spec.grace_ms = 300;
    let vault = site.started().await;
    site.printed("up");
    let asked = Instant::now();
    vault.stopper.stop();
    let (status, _) = vault.ended().await.expect("seen");
    assert_eq!(status, ExitStatus::Signal(9));
    assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_is_continued_so_that_it_can_end() {
    let site = Site::new(&format!("trap 'exit 3' INT; {WAITING}"));
    let vault = site.started().await;
    site.printed("up");
    let pid = rustix::process::Pid::from_raw(vault.vault.pid.cast_signed()).expect("pid");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stop");
    vault.stopper.stop();
    assert_eq!(vault.ended().await.expect("seen").0, ExitStatus::Code(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_waits_for_grandchildren_in_sessions_of_their_own() {
    let site =
        Site::new("setsid sh -c 'trap \"\" INT TERM; echo child $$; while :; do sleep 1; done' & wait");
    let vault = site.started().await;
    let printed = site.printed("child ");
    until("the child's whole line", || site.printed("child ").ends_with('\n'));
    let grandchild = process(site.printed("child ").trim().trim_start_matches("child "));
    assert!(!printed.is_empty() && grandchild.exists());
    vault.stopper.stop();
    vault.ended().await.expect("seen");
    assert!(!grandchild.exists(), "reported as ended while {grandchild:?} is alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_vault_leaves_behind_is_ended_too() {
    let site = Site::new("setsid sleep 1000 & echo child $!; kill -9 $$");
    let vault = site.started().await;
    let (status, _) = vault.ended().await.expect("seen");
    assert_eq!(status, ExitStatus::Signal(9));
    let left: u32 = site.printed("child ").trim().trim_start_matches("child ").parse().expect("pid");
    assert!(ProcessId::of(left).is_none(), "{left} is alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_keeper_of_an_account_starts_nothing_and_names_the_first() {
    let site = Site::new(WAITING);
    let vault = site.started().await;
    let refused = site.prepared().await.expect("prepared").start().await.expect_err("a second vault");
    let StartError::Busy { holder } = refused else { panic!("{refused:?}") };
    assert!(holder.contains(&format!("vault={}", vault.vault.pid)), "{holder}");
    assert!(holder.contains(&format!("home={}", site.folder.path().display())), "{holder}");
    vault.stopper.stop();
    vault.ended().await.expect("seen");
    let again = site.started().await;
    again.stopper.stop();
    again.ended().await.expect("seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_is_not_the_one_of_its_checksum_is_refused() {
    let site = Site::new("echo ran");
    let mut other = fs::read("/bin/dash").expect("dash");
    *other.last_mut().expect("a byte") ^= 1;
    fs::remove_file(site.path("store/vault")).expect("remove");
    fs::write(site.path("store/vault"), other).expect("tamper");
    let refused = site.prepared().await.expect_err("other bytes").to_string();
    assert!(refused.contains(&format!("expected checksum {}", site.spec.checksum)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_is_replaced_after_it_was_proved_is_not_executed() {
    for tamper in [
        |path: &Path| {
            fs::remove_file(path).expect("remove");
            fs::copy("/bin/true", path).expect("replace");
        },
        |path: &Path| {
            fs::remove_file(path).expect("remove");
            std::os::unix::fs::symlink("/bin/true", path).expect("link");
        },
        |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
            fs::OpenOptions::new().append(true).open(path).and_then(|file| file.set_len(100)).expect("cut");
        },
    ] {
        let site = Site::new("echo ran");
        let prepared = site.prepared().await.expect("prepared");
        tamper(&site.path("store/vault"));
        let refused = prepared.start().await.expect_err("a changed file");
        assert!(
            matches!(&refused, StartError::Failed(why) if why.contains("changed or replaced")),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_executed_is_reported_and_the_lock_is_free_again() {
    let mut site = Site::new("");
    let text = b"\x7fELF but not really";
    fs::remove_file(site.path("store/vault")).expect("remove");
    fs::write(site.path("store/vault"), text).expect("write");
    fs::set_permissions(site.path("store/vault"), fs::Permissions::from_mode(0o555)).expect("chmod");
    site.spec.checksum = Checksum(Sha256::digest(text).into());
    for _ in 0..2 {
        let refused = site.prepared().await.expect("prepared").start().await.expect_err("not a program");
        assert!(
            matches!(&refused, StartError::Failed(why) if why.contains("Exec format error")),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_survives_its_vaultvisor_and_its_end_is_recorded() {
    let site = Site::new(&format!("trap 'exit 5' INT; {WAITING}"));
    let vault = site.started().await;
    site.printed("up");
    let (stopper, process) = (vault.stopper.clone(), vault.vault);
    drop(vault);
    assert!(process.exists());
    until("run.json", || site.path("run.json").exists());
    let run: serde_json::Value =
        serde_json::from_slice(&fs::read(site.path("run.json")).expect("run.json")).expect("JSON");
    assert_eq!(run["vault"]["pid"], process.pid);
    stopper.stop();
    until("exit.json", || site.path("exit.json").exists());
    let exit: serde_json::Value =
        serde_json::from_slice(&fs::read(site.path("exit.json")).expect("exit.json")).expect("JSON");
    assert_eq!((exit["run_id"].as_str(), exit["status"]["code"].as_i64()), (Some("run"), Some(5)));
    assert!(!process.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_whose_keeper_is_killed_is_asked_to_end_and_not_doubled_meanwhile() {
    let site = Site::new(&format!("trap 'echo asked' INT; {WAITING}"));
    let vault = site.started().await;
    site.printed("up");
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(&site.spec.lock).expect("record")).expect("JSON");
    let pid = i32::try_from(record["keeper"]["pid"].as_i64().expect("pid")).expect("pid");
    let keeper = rustix::process::Pid::from_raw(pid).expect("pid");
    let process = vault.vault;
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).expect("kill");
    assert_eq!(vault.ended().await, None);
    site.printed("asked");
    // This one does not end when asked, and it holds the lock it inherited: nothing is started beside it.
    let refused = site.prepared().await.expect("prepared").start().await;
    assert!(matches!(refused, Err(StartError::Busy { .. })), "{refused:?}");
    let main = rustix::process::Pid::from_raw(process.pid.cast_signed()).expect("pid");
    rustix::process::kill_process(main, rustix::process::Signal::KILL).expect("kill");
}
