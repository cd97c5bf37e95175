//! A real daemon with real keepers and vaults, without a chain: what an operator's hand and signals do.
//!
//! The releases come by `override`, which needs no chain's word, and the network's genesis from the
//! configuration. A vault is a shell with a script; each release has a checksum of its own.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Far beyond what any of this takes; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// A vault that ends when it is asked to.
const OBEDIENT: &str = "trap 'exit 0' INT; while :; do sleep 0.02; done";
/// A vault that has to be killed.
const DEAF: &str = "trap '' INT; while :; do sleep 0.02; done";

fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(POLL);
    }
}

fn pid(number: u64) -> Pid {
    Pid::from_raw(number.try_into().expect("a process id")).expect("not zero")
}

fn lives(number: u64) -> bool {
    // A vault is its keeper's child, which waits for it: what still exists is not a zombie for long.
    test_kill_process(pid(number)).is_ok()
}

/// A home with a configuration, and the daemon if one runs.
struct Site {
    folder: TempDir,
    daemon: Option<Child>,
}

impl Site {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir(folder.path().join("locks")).expect("locks");
        let site = Self { folder, daemon: None };
        site.configure(&[("a", script)]);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, vaults: &[(&str, &str)]) {
        let vault = |script: &str| json!({"network": "dev", "args": ["-c", script], "probation": {"secs": 0}, "stop": {"grace_secs": 2}});
        let vaults: serde_json::Map<String, Value> =
            vaults.iter().map(|(name, script)| ((*name).to_owned(), vault(script))).collect();
        // Its own chain: a vault of the same account on the same chain would be found, and rightly be in the way.
        let genesis = hex::encode(Sha256::digest(self.folder.path().as_os_str().as_encoded_bytes()));
        let config = json!({
            "home": self.path("home"), "lock_dir": self.path("locks"), "startup_chain_wait_secs": 0,
            "networks": {"dev": {"endpoints": ["ws://127.0.0.1:1"], "genesis": genesis,
                "release_urls": ["http://127.0.0.1:1/{checksum}"]}},
            "vaults": vaults,
        });
        fs::write(self.path("vaultvisor.json"), config.to_string()).expect("configuration");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultvisor"));
        command.arg("--config").arg(self.path("vaultvisor.json")).args(args);
        for name in
            ["VAULTVISOR_CONFIG", "VAULTVISOR_HOME", "VAULTVISOR_HTTP", "VAULTVISOR_LOG", "NOTIFY_SOCKET"]
        {
            command.env_remove(name);
        }
        command
    }

    /// Starts a daemon and waits until it answers.
    fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).expect("log");
        let mut command = self.command(&["run"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = command.spawn().expect("starts");
        let number = u64::from(daemon.id());
        self.daemon = Some(daemon);
        until("the daemon answers", || (self.status()["pid"] == json!(number)).then_some(()));
        until("the control socket is there", || self.path("home/control.sock").exists().then_some(()));
    }

    fn signal(&self, signal: Signal) {
        let daemon = self.daemon.as_ref().expect("a daemon runs");
        kill_process(pid(daemon.id().into()), signal).expect("signalled");
    }

    fn ended(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("a daemon runs");
        until("the daemon ends", || daemon.try_wait().expect("waited for"))
    }

    /// Runs a command; its exit code, and what it printed on either.
    fn say(&self, args: &[&str]) -> (i32, String) {
        let output = self.command(args).output().expect("runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().expect("not killed"), String::from_utf8(text).expect("text"))
    }

    fn status(&self) -> Value {
        let output = self.command(&["status", "--json", "-q"]).output().expect("runs");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn vault(&self, name: &str) -> Value {
        let status = self.status();
        let vaults = status["vaults"].as_array().expect("vaults").iter();
        vaults.clone().find(|vault| vault["name"] == name).cloned().unwrap_or(Value::Null)
    }

    /// Until a vault runs a version under another process than before, and has proved itself.
    fn runs(&self, name: &str, version: &str, before: u64) -> u64 {
        until(&format!("{name} runs {version}"), || {
            let vault = self.vault(name);
            let runs = vault["state"] == "running" && vault["running"]["version"] == version;
            vault["running"]["pid"].as_u64().filter(|pid| runs && *pid != before)
        })
    }

    /// A release: a shell with something behind it that no loader reads.
    fn release(&self, name: &str) -> String {
        let path = self.path(name);
        fs::copy("/bin/dash", &path).expect("dash, Debian's /bin/sh");
        let mut file = fs::File::options().append(true).open(&path).expect("open");
        file.write_all(name.as_bytes()).expect("write");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn kinds(&self) -> Vec<String> {
        let (code, text) = self.say(&["history", "--json", "--vault", "a", "-q"]);
        assert_eq!(code, 0, "{text}");
        let kind =
            |line| serde_json::from_str::<Value>(line).expect("JSON")["kind"].as_str().map(String::from);
        text.lines().filter_map(kind).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // After a test that failed: nothing of it may stay. A keeper ends with its vault.
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for vault in self.status()["vaults"].as_array().into_iter().flatten() {
            if let Some(number) = vault["running"]["pid"].as_u64() {
                let _ = kill_process(pid(number), Signal::KILL);
            }
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "the daemon's log:\n{log}");
        }
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[test]
fn an_operator_overrides_restarts_holds_and_resumes_and_all_of_it_is_in_the_history() {
    let mut site = Site::new(OBEDIENT);
    let (code, text) = site.say(&["hold", "a"]);
    assert!(code == 1 && text.contains("no vaultvisor runs"), "{code} {text}");
    site.start();
    assert_eq!(site.say(&["override", "a", &site.release("one")]).0, 0);
    let first = site.runs("a", "one", 0);
    assert_eq!(site.say(&["restart", "a"]).0, 0);
    let second = site.runs("a", "one", first);
    assert!(!lives(first));

    assert_eq!(site.say(&["override", "a", &site.release("two")]).0, 0);
    let third = site.runs("a", "two", second);
    assert!(site.vault("a")["last_switch"]["downtime_ms"].as_f64().expect("measured") < 2000.0);

    assert_eq!(site.say(&["hold", "a", "--reason", "audit"]).0, 0);
    let held = site.vault("a");
    assert_eq!((&held["state"], &held["hold"]["reason"]), (&json!("held"), &json!("audit")));
    assert_eq!(held["running"]["pid"], json!(third), "a hold changes nothing that runs");
    assert_eq!(site.say(&["resume", "a"]).0, 0);
    assert_eq!(site.vault("a")["state"], "running");

    for (refused, code) in [
        (&["restart", "nobody"][..], 2),
        (&["override", "a", "9.9.9"], 1),
        (&["override", "a", "./not/there"], 2),
    ] {
        assert_eq!(site.say(refused).0, code, "{refused:?}");
    }
    assert_eq!(site.vault("a")["running"]["pid"], json!(third), "a refused command changed something");

    let kinds = site.kinds();
    for kind in ["overridden", "started", "kept", "restarted", "switching", "held", "resumed"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind} not in {kinds:?}");
    }
    site.signal(Signal::TERM);
    assert_eq!(site.ended().code(), Some(0));
    assert!(!lives(third));
    assert!(!is_there(&site.path("home/control.sock")));
    assert_eq!(site.status()["pid"], Value::Null);
}

#[test]
fn sigquit_and_sigkill_leave_the_vault_running_and_the_next_vaultvisor_takes_it_over() {
    let mut site = Site::new(OBEDIENT);
    site.start();
    assert_eq!(site.say(&["override", "a", &site.release("one")]).0, 0);
    let vault = site.runs("a", "one", 0);
    for signal in [Signal::QUIT, Signal::KILL, Signal::QUIT] {
        site.signal(signal);
        let status = site.ended();
        assert_eq!(status.code(), (signal == Signal::QUIT).then_some(0));
        assert!(lives(vault));
        let at_rest = site.status();
        assert_eq!((&at_rest["pid"], &at_rest["vaults"][0]["running"]["pid"]), (&Value::Null, &json!(vault)));
        site.start();
        assert_eq!(site.runs("a", "one", 0), vault);
        assert_eq!(site.vault("a")["running"]["adopted"], json!(true));
    }
    // It obeys whoever took it over.
    assert_eq!(site.say(&["restart", "a"]).0, 0);
    let restarted = site.runs("a", "one", vault);
    assert!(!lives(vault));
    site.signal(Signal::INT);
    assert_eq!(site.ended().code(), Some(0));
    assert!(!lives(restarted));
}

#[test]
fn t28_sighup_starts_and_stops_vaults_and_a_bad_file_changes_nothing() {
    let mut site = Site::new(OBEDIENT);
    site.start();
    assert_eq!(site.say(&["override", "a", &site.release("one")]).0, 0);
    let vault = site.runs("a", "one", 0);

    fs::write(site.path("bad.json"), r#"{"hoem": 1, "vaults": {"a": {"network": "mars"}}}"#).expect("write");
    let good = fs::read(site.path("vaultvisor.json")).expect("read");
    fs::copy(site.path("bad.json"), site.path("vaultvisor.json")).expect("edited to garbage");
    site.signal(Signal::HUP);
    let log = site.path("log");
    until("every problem is listed", || {
        let log = fs::read_to_string(&log).expect("log");
        ["hoem:", "home:", "vaults.a.network:", "vaults.a.args:"]
            .iter()
            .all(|said| log.contains(said))
            .then_some(())
    });
    // Whoever speaks to the daemon needs to know where it lives, and nothing else of the file.
    let wrong = json!({"home": site.path("home"), "vaults": {"a": {"network": "mars"}}});
    fs::write(site.path("vaultvisor.json"), wrong.to_string()).expect("still being edited");
    assert_eq!(site.say(&["hold", "a"]).0, 0);
    assert_eq!(
        (site.vault("a")["state"].clone(), site.kinds().last().cloned()),
        (json!("held"), Some("held".into()))
    );
    assert_eq!(site.say(&["resume", "a"]).0, 0);
    fs::write(site.path("vaultvisor.json"), good).expect("repair");
    assert!(site.status()["problem"].as_str().expect("said").contains("vaults.a.network:"));
    assert_eq!(site.vault("a")["running"]["pid"], json!(vault));

    site.configure(&[("a", "echo new; trap 'exit 0' INT; while :; do sleep 0.02; done"), ("b", OBEDIENT)]);
    site.signal(Signal::HUP);
    until("b is there", || site.vault("b").is_object().then_some(()));
    assert_eq!(site.status()["problem"], Value::Null);
    assert_eq!(site.vault("a")["running"]["pid"], json!(vault), "changed arguments wait for the next start");
    assert_eq!(site.say(&["restart", "a"]).0, 0);
    let new = site.runs("a", "one", vault);
    let log = site.path("home/vaults/a/log/vault.log");
    until("the new arguments", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("new")).then_some(())
    });

    site.configure(&[("b", OBEDIENT)]);
    site.signal(Signal::HUP);
    until("a is gone", || (!lives(new) && site.vault("a").is_null()).then_some(()));
    site.signal(Signal::TERM);
    assert_eq!(site.ended().code(), Some(0));
}

#[test]
fn t24_repeated_signals_during_a_switch_are_one_clean_shutdown() {
    let mut site = Site::new(DEAF);
    site.start();
    assert_eq!(site.say(&["override", "a", &site.release("one")]).0, 0);
    let old = site.runs("a", "one", 0);
    assert_eq!(site.say(&["override", "a", &site.release("two")]).0, 0);
    until("the switch", || (site.vault("a")["state"] == "switching").then_some(()));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::TERM] {
        site.signal(signal);
    }
    assert_eq!(site.ended().code(), Some(0));
    assert!(!lives(old));
    let at_rest = site.status();
    assert_eq!(
        (&at_rest["vaults"][0]["state"], &at_rest["vaults"][0]["running"]),
        (&json!("stopped"), &Value::Null)
    );
    // Nothing was left that a next start would have to wait for.
    site.start();
    let vault = site.runs("a", "two", old);
    site.signal(Signal::TERM);
    assert_eq!(site.ended().code(), Some(0));
    assert!(!lives(vault));
}

#[test]
fn sigquit_during_a_switch_leaves_the_new_vault_running() {
    let mut site = Site::new(DEAF);
    site.start();
    assert_eq!(site.say(&["override", "a", &site.release("one")]).0, 0);
    let old = site.runs("a", "one", 0);
    assert_eq!(site.say(&["override", "a", &site.release("two")]).0, 0);
    until("the switch", || (site.vault("a")["state"] == "switching").then_some(()));
    site.signal(Signal::QUIT);
    assert_eq!(site.ended().code(), Some(0));
    assert!(!lives(old));
    let new = site.status()["vaults"][0]["running"]["pid"].as_u64().expect("runs");
    assert!(lives(new));
    site.start();
    assert_eq!(site.runs("a", "two", old), new);
    site.signal(Signal::TERM);
    assert_eq!(site.ended().code(), Some(0));
    assert!(!lives(new));
}
