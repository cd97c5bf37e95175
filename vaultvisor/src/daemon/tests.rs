//! The daemon without a chain and without a vault: who is supervised, what a new configuration changes, and
//! what the control socket answers to friend and foe.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
};

mod starting;

use super::{chronicle::HeldBack, control::Socket, *};
use crate::{
    config::{self, Overrides},
    control::{self, ControlError, MAX_REQUEST_BYTES, Reply, Request, SOCKET},
    decide::{Kind, state::Name},
    history,
    status::Status,
};

pub(super) fn shared(home: &Path) -> Arc<Shared> {
    shared_with(home, Chronicle::open(home).0)
}

fn shared_with(home: &Path, chronicle: Chronicle) -> Arc<Shared> {
    Arc::new(parts(home, chronicle))
}

fn parts(home: &Path, chronicle: Chronicle) -> Shared {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let store = Store::open(home).expect("store");
    Shared {
        home: home.to_owned(),
        lock_dir: home.join("locks"),
        boot: BootId(boot_id().expect("boot")),
        downloads: Downloads::new(Fetcher::new(store.clone(), Limits::default()).expect("client")),
        store,
        keeper: PathBuf::from("/nonexistent/keeper"),
        health: health::client().expect("client"),
        chronicle,
        counters: Counters::default(),
        needed: Mutex::default(),
        unreadable: Mutex::default(),
        probes: Probes::default(),
        turns: Turns::of_this_machine(),
    }
}

/// A configuration on a chain that nobody serves.
fn settings(home: &Path, vaults: &str) -> Settings {
    let (home, locks) = (home.display(), home.join("locks"));
    let text = format!(
        r#"{{"home": "{home}", "lock_dir": "{}", "networks": {{"dev": {{
            "endpoints": ["ws://127.0.0.1:1"], "release_urls": ["http://127.0.0.1:1/{{version}}"]}}}},
            "vaults": {{{vaults}}}}}"#,
        locks.display()
    );
    let json = serde_json::from_str(&text).expect("JSON");
    config::parse(&json, &Overrides::default()).expect("valid")
}

pub(super) const A: &str = r#""a": {"network": "dev", "args": ["--old"]}"#;
const B: &str = r#""b": {"network": "dev", "args": []}"#;

pub(super) fn configured(home: &Path, vault: &str) -> Arc<fleet::Configured> {
    let settings = settings(home, vault);
    Arc::new(fleet::Configured {
        vault: settings.vaults["a"].clone(),
        network: settings.networks["dev"].clone(),
        startup_chain_wait: settings.startup_chain_wait,
    })
}

struct Daemon {
    folder: tempfile::TempDir,
    fleet: Arc<Fleet>,
    tasks: Tasks,
}

impl Daemon {
    fn new(vaults: &str) -> Self {
        Self::in_home(tempfile::tempdir().expect("home"), vaults, shared)
    }

    fn in_home(folder: tempfile::TempDir, vaults: &str, shared: impl FnOnce(&Path) -> Arc<Shared>) -> Self {
        let fleet = Arc::new(Fleet::new(shared(folder.path()), settings(folder.path(), vaults)));
        Self { folder, fleet, tasks: Tasks::new() }
    }

    fn reload(&mut self, read: impl Fn() -> Result<Settings, ConfigError>) {
        reload(&self.fleet, &mut self.tasks, read);
    }

    fn reload_with(&mut self, vaults: &str) {
        let new = settings(self.folder.path(), vaults);
        self.reload(|| Ok(new.clone()));
    }

    /// Until a vault's task that should end has ended.
    async fn one_ended(&mut self) {
        let ended = self.tasks.join_next().await.expect("a task").expect("no panic");
        assert!(!self.fleet.ended(ended), "a task failed");
        self.fleet.reconcile(&mut self.tasks);
    }

    fn names(&self) -> Vec<String> {
        self.fleet.status().vaults.into_iter().map(|vault| vault.name).collect()
    }

    fn args(&self, name: &str) -> Vec<String> {
        self.fleet.reach(name).expect("supervised").configured.vault.args.clone()
    }

    async fn ask(&self, request: Request) -> Reply {
        let home = self.folder.path().to_owned();
        let asked = tokio::task::spawn_blocking(move || control::ask(&home, &request));
        asked.await.expect("asks").expect("an answer")
    }

    /// Sends bytes as they are, and reads until the other side has had enough.
    async fn send(&self, bytes: Vec<u8>) -> String {
        let path = self.folder.path().join(SOCKET);
        let sent = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).expect("connect");
            // It may send us away before it has read everything.
            let _ = stream.write_all(&bytes);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        });
        sent.await.expect("sends")
    }

    fn listen(&self) {
        let socket = Socket::bind(self.folder.path()).expect("bind");
        tokio::spawn(socket.serve(self.fleet.clone()));
    }
}

#[tokio::test]
async fn a_reload_starts_what_is_new_stops_what_is_gone_and_leaves_the_rest_alone() {
    let mut daemon = Daemon::new(A);
    daemon.fleet.reconcile(&mut daemon.tasks);
    assert_eq!((daemon.names(), daemon.args("a")), (vec!["a".into()], vec!["--old".to_owned()]));

    daemon.reload_with(&format!(r#""a": {{"network": "dev", "args": ["--new"]}}, {B}"#));
    assert_eq!(daemon.names(), ["a", "b"]);
    assert_eq!(daemon.args("a"), ["--new"]);
    assert_eq!(daemon.tasks.len(), 2, "the first vault's task was begun again");

    daemon.reload_with(B);
    daemon.one_ended().await;
    assert_eq!(daemon.names(), ["b"]);
    assert_eq!(daemon.tasks.len(), 1);
    assert_eq!(daemon.fleet.status().problem, None);
}

#[tokio::test]
async fn a_vault_with_another_account_is_stopped_and_begun_anew() {
    let mut daemon = Daemon::new(A);
    daemon.fleet.reconcile(&mut daemon.tasks);
    daemon.reload_with(r#""a": {"network": "dev", "account": "other", "args": []}"#);
    assert_eq!(daemon.args("a"), ["--old"], "the new one was begun before the old one had ended");
    daemon.one_ended().await;
    assert_eq!((daemon.args("a"), daemon.tasks.len()), (vec![], 1));
}

#[tokio::test]
async fn t28_a_bad_configuration_leaves_the_old_one_in_force_and_says_why() {
    let mut daemon = Daemon::new(A);
    daemon.fleet.reconcile(&mut daemon.tasks);
    let path = daemon.folder.path().join("vaultvisor.json");
    for (text, said) in [
        ("{", vec!["is not JSON"]),
        (
            r#"{"hoem": 1, "vaults": {"a": {"network": "mars"}}}"#,
            vec!["hoem:", "home:", "vaults.a.network:", "vaults.a.args:"],
        ),
    ] {
        fs::write(&path, text).expect("write");
        daemon.reload(|| config::load(&path, &Overrides::default()));
        let problem = daemon.fleet.status().problem.expect("a problem");
        for said in said {
            assert!(problem.contains(said), "{said} not in {problem}");
        }
        assert_eq!((daemon.names(), daemon.args("a")), (vec!["a".into()], vec!["--old".to_owned()]));
    }
    daemon.reload(|| config::load(Path::new("/nonexistent/file"), &Overrides::default()));
    assert!(daemon.fleet.status().problem.expect("a problem").contains("/nonexistent/file"));

    daemon.reload_with(r#""a": {"network": "kintsugi", "account": "0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d", "args": []}"#);
    let problem = daemon.fleet.status().problem.expect("a problem");
    assert!(problem.contains("vaults.a.network: has changed from \"dev\""), "{problem}");
    assert_eq!((daemon.args("a"), daemon.tasks.len()), (vec!["--old".to_owned()], 1));

    daemon.reload_with(A);
    assert_eq!(daemon.fleet.status().problem, None);
}

#[tokio::test]
async fn what_needs_a_restart_is_said_and_the_rest_is_in_force() {
    let mut daemon = Daemon::new(A);
    daemon.fleet.reconcile(&mut daemon.tasks);
    let new = Settings {
        home: "/elsewhere".into(),
        lock_dir: "/elsewhere/locks".into(),
        ..settings(daemon.folder.path(), &format!("{A}, {B}"))
    };
    daemon.reload(|| Ok(new.clone()));
    let problem = daemon.fleet.status().problem.expect("a problem");
    assert!(problem.starts_with("home, lock_dir of the configuration has changed"), "{problem}");
    assert_eq!(daemon.names(), ["a", "b"]);
}

#[tokio::test]
async fn a_vault_whose_state_is_damaged_disturbs_no_other() {
    let mut daemon = Daemon::new(&format!("{A}, {B}"));
    let folder = daemon.folder.path().join("vaults/a");
    fs::create_dir_all(&folder).expect("folder");
    fs::write(folder.join("state.json"), "{").expect("damage");
    daemon.fleet.reconcile(&mut daemon.tasks);
    let status = daemon.fleet.status();
    assert_eq!(status.vaults[0].state, Name::Blocked);
    assert!(status.vaults[0].problem.as_ref().expect("said").contains("state.json"));
    assert_ne!(status.vaults[1].state, Name::Blocked);
    let (progress, broken) = daemon.fleet.progress();
    assert_eq!((progress.len(), broken.len(), daemon.tasks.len()), (1, 1, 1));

    fs::remove_file(folder.join("state.json")).expect("repair");
    daemon.reload_with(&format!("{A}, {B}"));
    assert_eq!(daemon.tasks.len(), 2);
}

#[tokio::test]
async fn leaving_and_stopping_end_every_task_however_often_they_are_asked_for() {
    for goals in [&[Goal::Leave][..], &[Goal::Stop, Goal::Stop], &[Goal::Leave, Goal::Stop, Goal::Leave]] {
        let mut daemon = Daemon::new(&format!("{A}, {B}"));
        daemon.fleet.reconcile(&mut daemon.tasks);
        for goal in goals {
            daemon.fleet.aim(*goal);
        }
        while let Some(ended) = daemon.tasks.join_next().await {
            assert!(!daemon.fleet.ended(ended.expect("no panic")), "a task failed");
            daemon.fleet.reconcile(&mut daemon.tasks);
        }
    }
}

#[tokio::test]
async fn an_operators_commands_reach_their_vault_and_no_other() {
    let mut daemon = Daemon::new(&format!("{A}, {B}"));
    daemon.fleet.reconcile(&mut daemon.tasks);
    daemon.listen();
    let hold = |vault: &str| Request::Hold { vault: vault.into(), reason: Some("audit".into()) };
    let answer = daemon.ask(hold("a")).await;
    assert!(matches!(answer, Reply::Done(_)), "{answer:?}");
    let Reply::Status(status) = daemon.ask(Request::Status).await else { panic!("no status") };
    assert_eq!(status.pid, Some(std::process::id()));
    assert_eq!((status.vaults[0].state, status.vaults[1].hold.is_none()), (Name::Held, true));
    let reason = status.vaults[0].hold.as_ref().and_then(|hold| hold.reason.clone());
    assert_eq!(reason.as_deref(), Some("audit"));

    // It was on disk before it was answered.
    let at_rest = Status::read(&settings(daemon.folder.path(), A));
    assert_eq!(at_rest.vaults[0].state, Name::Held);

    let answer = daemon.ask(hold("c")).await;
    assert!(matches!(&answer, Reply::Invalid(what) if what.contains("expected one of: a, b")), "{answer:?}");
    let unknown = Request::Override { vault: "a".into(), release: control::Chosen::Known("9.9".into()) };
    let answer = daemon.ask(unknown).await;
    assert!(matches!(&answer, Reply::Refused(what) if what.contains("9.9")), "{answer:?}");
    let answer = daemon.ask(Request::Resume { vault: "a".into() }).await;
    assert!(matches!(answer, Reply::Done(_)), "{answer:?}");
}

#[tokio::test]
async fn what_was_decided_is_in_the_history_before_a_crash_could_have_it_forgotten() {
    let folder = tempfile::tempdir().expect("home");
    let (chronicle, history) = HeldBack::open(folder.path());
    let mut daemon = Daemon::in_home(folder, A, |home| shared_with(home, chronicle));
    daemon.fleet.reconcile(&mut daemon.tasks);
    daemon.listen();
    let state = daemon.folder.path().join("vaults/a/state.json");
    let says_held = || fs::read_to_string(&state).is_ok_and(|text| text.contains("audit"));
    let hold = daemon.ask(Request::Hold { vault: "a".into(), reason: Some("audit".into()) });
    let told = async {
        history.is_wanted().await;
        assert!(!says_held(), "it is durable, and the history tells nothing of it");
        history.go_on();
    };
    let (reply, ()) = tokio::join!(hold, told);
    assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    assert!(says_held());
    let records = history::read(daemon.folder.path()).expect("readable").records;
    assert_eq!(records.iter().map(|record| record.entry.kind).collect::<Vec<_>>(), [Kind::Held]);
}

#[tokio::test]
async fn a_history_whose_disk_does_not_answer_holds_up_no_vault_and_no_end() {
    let folder = tempfile::tempdir().expect("home");
    let (chronicle, _never_written) = HeldBack::open(folder.path());
    let mut daemon = Daemon::in_home(folder, A, |home| shared_with(home, chronicle));
    daemon.fleet.reconcile(&mut daemon.tasks);
    daemon.listen();
    let hold = Request::Hold { vault: "a".into(), reason: Some("audit".into()) };
    let held = tokio::time::timeout(Duration::from_secs(20), daemon.ask(hold)).await.expect("in time");
    assert!(matches!(held, Reply::Done(_)), "{held:?}");
    let state = daemon.folder.path().join("vaults/a/state.json");
    assert!(fs::read_to_string(state).expect("written").contains("audit"));
    daemon.fleet.aim(Goal::Stop);
    let ended = tokio::time::timeout(Duration::from_secs(20), daemon.tasks.join_next());
    assert!(ended.await.expect("in time").is_some());
}

#[tokio::test]
async fn an_override_with_a_file_puts_it_into_the_store_first() {
    let mut daemon = Daemon::new(A);
    daemon.fleet.reconcile(&mut daemon.tasks);
    daemon.listen();
    let file = daemon.folder.path().join("vault-1.2.3");
    fs::write(&file, b"abc").expect("write");
    let over = |path: PathBuf| Request::Override { vault: "a".into(), release: control::Chosen::File(path) };
    let answer = daemon.ask(over(file)).await;
    assert!(matches!(answer, Reply::Done(_)), "{answer:?}");
    let checksum =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().expect("checksum");
    assert!(daemon.fleet.shared().store.contains(checksum));
    let chosen = daemon.fleet.status().vaults[0].chosen.clone().expect("chosen");
    assert_eq!((chosen.version.as_str(), chosen.checksum), ("vault-1.2.3", checksum));
    let answer = daemon.ask(over("/nonexistent/file".into())).await;
    assert!(matches!(&answer, Reply::Refused(what) if what.contains("/nonexistent/file")), "{answer:?}");
}

#[tokio::test]
async fn the_socket_is_for_its_user_and_takes_the_place_of_one_left_behind() {
    let daemon = Daemon::new(A);
    let path = daemon.folder.path().join(SOCKET);
    // What a killed vaultvisor leaves, and a temporary name in the way.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
    fs::write(daemon.folder.path().join(".control.sock.new"), b"x").expect("in the way");
    let refused = control::ask(daemon.folder.path(), &Request::Status).expect_err("nobody listens");
    assert!(matches!(refused, ControlError::NoDaemon { .. }), "{refused}");

    let socket = Socket::bind(daemon.folder.path()).expect("bind");
    assert_eq!(fs::symlink_metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(!daemon.folder.path().join(".control.sock.new").exists());
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_home_with_a_long_name_has_a_socket_too() {
    let folder = tempfile::tempdir().expect("folder");
    let home = folder.path().join("x".repeat(200));
    fs::create_dir(&home).expect("home");
    let fleet = Arc::new(Fleet::new(shared(&home), settings(&home, A)));
    tokio::spawn(Socket::bind(&home).expect("bind").serve(fleet));
    let asked = tokio::task::spawn_blocking(move || control::ask(&home, &Request::Status));
    assert!(matches!(asked.await.expect("asks"), Ok(Reply::Status(_))));
}

#[tokio::test]
async fn t31_garbage_on_the_control_socket_is_answered_and_forgotten() {
    let daemon = Daemon::new(A);
    daemon.listen();
    let long = vec![b'x'; 64 * MAX_REQUEST_BYTES];
    let mut newlines = long.clone();
    newlines.push(b'\n');
    for garbage in [
        b"\n".to_vec(),
        b"\0\xff\xfe\n".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        br#"{"command": "hold", "vault": "a", "more": 1}"#.to_vec(),
        br#"{"command": "format_the_disk"}"#.to_vec(),
        vec![b'['; 10_000],
        long,
        newlines,
    ] {
        let shown: Vec<u8> = garbage.iter().take(20).copied().collect();
        // A client that sends no newline ends its side, or is given up: see the next test.
        let garbage = if garbage.ends_with(b"\n") { garbage } else { [garbage, b"\n".to_vec()].concat() };
        let answer = daemon.send(garbage).await;
        // One that is still sending when it is sent away may lose the answer.
        assert!(answer.is_empty() || answer.starts_with(r#"{"invalid":"#), "{shown:?}: {answer}");
    }
    assert!(matches!(daemon.ask(Request::Status).await, Reply::Status(_)));
}

#[tokio::test]
async fn who_has_given_up_is_not_obeyed_afterwards_and_who_has_only_said_all_is() {
    let mut daemon = Daemon::new(A);
    daemon.fleet.reconcile(&mut daemon.tasks);
    daemon.listen();
    let say = || {
        // Before the daemon has had time to accept it.
        let mut stream = UnixStream::connect(daemon.folder.path().join(SOCKET)).expect("connect");
        let hold = Request::Hold { vault: "a".into(), reason: None };
        stream.write_all(&serde_json::to_vec(&hold).expect("JSON")).expect("sent");
        stream.write_all(b"\n").expect("sent");
        stream
    };
    drop(say());
    let held = async || {
        let Reply::Status(status) = daemon.ask(Request::Status).await else { panic!("no status") };
        status.vaults[0].hold.is_some()
    };
    // It is asked after the other, on the same socket.
    assert!(!held().await);
    let mut stream = say();
    stream.shutdown(std::net::Shutdown::Write).expect("shut");
    let answer = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    let answer = answer.await.expect("reads").expect("read");
    assert!(answer.starts_with(r#"{"done":"#), "{answer}");
    assert!(held().await);
}

#[tokio::test(start_paused = true)]
async fn t31_silent_clients_are_given_up_and_hold_up_nobody_for_long() {
    let daemon = Daemon::new(A);
    daemon.listen();
    let path = daemon.folder.path().join(SOCKET);
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = tokio::net::UnixStream::connect(&path).await.expect("connect");
        // Half a request; who is too many is sent away already.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"{").await;
        silent.push(stream);
    }
    // All are answered or sent away within the timeout, on which nobody has to act.
    for mut stream in silent {
        let mut answer = String::new();
        let _ = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(r#"{"invalid":"#), "{answer}");
    }
    assert!(matches!(daemon.ask(Request::Status).await, Reply::Status(_)));
}

#[tokio::test]
async fn what_a_vault_needs_is_known_before_any_is_begun_and_what_cannot_be_read_is_remembered() {
    let temporary = tempfile::tempdir().expect("home");
    let home = temporary.path();
    let shared = shared(home);
    let fleet = Fleet::new(shared.clone(), settings(home, &format!("{A}, {B}")));
    let mut tasks = Tasks::new();
    let folder = |name| home::create_vault_folder(home, name).expect("folder");
    let mut recorded = crate::journal::Recorded::default();
    let version: crate::release::Version = "1.0.0".parse().expect("a version");
    let checksum = Checksum([7; 32]);
    recorded.state.override_build =
        Some(crate::decide::state::Build { version, checksum, uri: None, migrations: Default::default() });
    crate::journal::VaultJournal::new(&folder("a")).store(&recorded).expect("stored");
    fs::write(folder("b").join("state.json"), "{").expect("damage");

    fleet.reconcile(&mut tasks);
    assert!(shared.needed.lock().expect("needed")["a"].contains(&checksum));
    assert_eq!(*shared.unreadable.lock().expect("unreadable"), BTreeSet::from(["b".to_owned()]));

    fs::remove_file(folder("b").join("state.json")).expect("repair");
    fleet.reconcile(&mut tasks);
    assert!(shared.unreadable.lock().expect("unreadable").is_empty(), "it was repaired");
}

#[tokio::test]
async fn a_vault_that_came_alive_after_it_was_blocked_keeps_the_daemon() {
    let blocked = || Progress::Blocked { lock_is_held: true, reason: "held by another".into() };
    let (first, first_seen) = watch::channel(blocked());
    let (second, second_seen) = watch::channel(Progress::Undecided);
    let mut outcome = Box::pin(all_blocked(vec![first_seen, second_seen], Vec::new()));
    assert!(futures::poll!(&mut outcome).is_pending());
    first.send_replace(Progress::Alive);
    second.send_replace(blocked());
    assert!(futures::poll!(&mut outcome).is_pending(), "the first one runs");
    // Who waits there must not keep a vault from going on.
    second.send_replace(Progress::Alive);
    first.send_replace(Progress::Stopped);
}

#[tokio::test]
async fn with_every_vault_blocked_there_is_nothing_to_supervise() {
    let blocked = |lock_is_held| Progress::Blocked { lock_is_held, reason: "held".into() };
    let receivers = [blocked(true), blocked(false)].map(|progress| watch::channel(progress).1);
    let outcome = all_blocked(receivers.into(), vec!["a damaged state".into()]).await;
    let RunError::AllBlocked { locks_are_held, reasons } = outcome else { panic!("{outcome:?}") };
    assert_eq!((locks_are_held, reasons.len()), (false, 3));
}
