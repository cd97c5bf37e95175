//! A folder with everything that a keeper needs, and what tests do with it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use vaultvisor::{
    process::{
        ProcessId, StopSignal,
        handle::{PrepareError, Prepared, RunningVault},
        lock::{Record, look_at_record},
        protocol::{Output, PROTOCOL, Place, Spec, Work},
        search::{Scope, search},
    },
    release::Checksum,
};

/// Far beyond what any of this takes; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// A vault that says that it is up and then waits.
pub(crate) const WAITING: &str = "echo up; while :; do sleep 0.02; done";

/// The end of a script that goes on until it is ended.
pub(crate) const FOREVER: &str = "while :; do sleep 0.02; done";

pub(crate) fn keeper() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_vaultvisor-keeper"))
}

/// A folder with a store that holds `dash` as the vault, and the spec of a keeper for it.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) spec: Spec,
    runs: AtomicU32,
}

impl Site {
    pub(crate) fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let program = fs::read("/bin/dash").expect("dash, Debian's /bin/sh");
        let binary_folder = folder.path().join("store");
        fs::create_dir(&binary_folder).expect("store");
        fs::create_dir(folder.path().join("log")).expect("log");
        fs::write(binary_folder.join("vault"), &program).expect("copy");
        fs::set_permissions(binary_folder.join("vault"), fs::Permissions::from_mode(0o555)).expect("chmod");
        let place = Place {
            lock: folder.path().join("account.lock"),
            marker: format!("test-{}", folder.path().display()),
            home: folder.path().to_owned(),
            folder: folder.path().to_owned(),
            stop_signal: StopSignal::Int,
            grace_ms: 10_000,
            output: Output::File,
            log_bytes: Output::DEFAULT_LOG_BYTES,
            log_keep: Output::DEFAULT_LOG_KEEP,
        };
        let spec = Spec {
            place,
            protocol: PROTOCOL,
            run_id: "run-0".into(),
            version: "1.2.3".into(),
            binary_folder,
            checksum: Checksum(Sha256::digest(&program).into()),
            work: Default::default(),
            args: vec!["-c".into(), script.into()],
        };
        Self { folder, spec, runs: AtomicU32::new(0) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The spec of another run.
    pub(crate) fn next_spec(&self) -> Spec {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        Spec { run_id: format!("run-{run}"), ..self.spec.clone() }
    }

    /// Gives the next runs a state migration: this script.
    pub(crate) fn set_migration(&mut self, script: &str) {
        let folder = self.path("migration");
        fs::create_dir(&folder).expect("new");
        fs::write(folder.join("vault"), script).expect("written");
        fs::set_permissions(folder.join("vault"), fs::Permissions::from_mode(0o555)).expect("chmod");
        fs::create_dir(self.path("data")).expect("new");
        self.spec.work = Work {
            data_dir: Some(self.path("data")),
            migration_folder: Some(folder),
            migration_checksum: Some(Checksum(Sha256::digest(script).into())),
            migration_ms: 10_000,
            ..Work::default()
        };
    }

    /// Gives the next runs another script.
    pub(crate) fn set_script(&mut self, script: &str) {
        self.spec.args = vec!["-c".into(), script.into()];
    }

    pub(crate) async fn prepared(&self) -> Result<Prepared, PrepareError> {
        let env = BTreeMap::from([("GIVEN".into(), "a value".into())]);
        Prepared::new(keeper(), &self.next_spec(), &env).await
    }

    pub(crate) async fn started(&self) -> RunningVault {
        self.prepared().await.expect("prepared").start().await.expect("started")
    }

    /// What the vault has printed, once it contains something.
    pub(crate) fn printed(&self, wanted: &str) -> String {
        until(&format!("{wanted:?} in the log"), || self.log().contains(wanted));
        self.log()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.spec.place.log()).unwrap_or_default()
    }

    /// The pid that the vault printed in a line of its own after this word.
    pub(crate) fn printed_process(&self, word: &str) -> ProcessId {
        let pid = || {
            let log = self.log();
            let (_, rest) = log.split_once(&format!("{word} "))?;
            rest.split_once('\n')?.0.parse().ok()
        };
        until(&format!("{word:?} and a pid in the log"), || pid().is_some());
        ProcessId::of(pid().expect("a pid")).expect("a process")
    }

    pub(crate) fn record(&self) -> Record {
        look_at_record(&self.spec.place.lock).expect("read").expect("a record")
    }
}

impl Drop for Site {
    /// A test that failed leaves no keeper and no vault behind.
    fn drop(&mut self) {
        let record = look_at_record(&self.spec.place.lock).ok().flatten();
        let recorded = record.iter().flat_map(|record| [Some(record.keeper), record.vault]).flatten();
        recorded.for_each(|process| kill(process, Signal::KILL));
        let found = search(&self.spec.place.marker, &Scope::unrecorded()).unwrap_or_default();
        found.marked.iter().for_each(|stat| kill(stat.id, Signal::KILL));
    }
}

/// Signals a process, if it is still there.
pub(crate) fn kill(process: ProcessId, signal: Signal) {
    if process.exists() {
        let pid = Pid::from_raw(process.pid.cast_signed()).expect("pid");
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Attaches a debugger that never takes what it debugs: once killed, that stays in the state `Z`, as if the
/// kernel held it. `None` where debugging is not allowed.
pub(crate) fn hold(process: ProcessId) -> Option<Held> {
    const PTRACE: u32 = if cfg!(target_arch = "x86_64") { 101 } else { 117 };
    const PTRACE_SEIZE: u32 = 0x4206;
    let script = format!(
        "$| = 1; print syscall({PTRACE}, {PTRACE_SEIZE}, {}, 0, 0) == 0 ? qq(held\\n) : qq($!\\n); sleep 1000",
        process.pid
    );
    let mut debugger =
        Command::new("perl").args(["-e", &script]).stdout(Stdio::piped()).spawn().expect("perl");
    let mut answer = String::new();
    BufReader::new(debugger.stdout.take().expect("piped")).read_line(&mut answer).expect("an answer");
    let held = Held(debugger);
    if answer == "held\n" {
        return Some(held);
    }
    println!("cannot debug here: {answer}");
    None
}

/// A debugger, which lets go when it is dropped.
pub(crate) struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn has_ended(process: ProcessId) -> bool {
    process.has_ended().expect("seen")
}
