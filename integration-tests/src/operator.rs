//! Vaultvisor as an operator has it: a home, a lock folder, a configuration, a daemon that comes and goes, and
//! the vault that outlives it.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    binaries,
    child::{self, Child, Signal},
    command::{self, Finished},
    ledger::{self, Life},
    orders::Orders,
    redis,
    releases::Release,
    status::{Running, Status, VaultStatus},
    wait,
    wall_clock::WallClock,
};

/// The name of the network in the configuration, and in the release server's paths.
pub const NETWORK: &str = "dev";

/// The name of the vault in the configuration.
pub const VAULT: &str = "dev-1";

/// An operator with one vault. Dropped: nothing is left of it, no process and no file.
#[derive(Debug)]
pub struct Operator {
    folder: TempDir,
    /// Where the programs are, if not beside the running test.
    programs: Option<PathBuf>,
}

impl Operator {
    /// Sets up a home and a configuration for one test vault that keeps a ledger.
    pub fn new(endpoint: &str, release_url: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("operator-").tempdir().expect("a temporary folder");
        let operator = Self { folder, programs: None };
        let private = |path: PathBuf| {
            fs::DirBuilder::new().mode(0o700).create(path).expect("the temporary folder is ours");
        };
        private(operator.home());
        private(operator.path("lock"));
        private(operator.path("data"));
        private(operator.path("orders"));
        let config = json!({
            "home": operator.home(),
            "lock_dir": operator.path("lock"),
            "networks": {
                NETWORK: { "endpoints": [endpoint], "release_urls": [release_url] },
            },
            "vaults": {
                VAULT: {
                    "network": NETWORK,
                    "account": VAULT,
                    "args": ["--ledger", operator.ledger_path()],
                    "stop": { "signal": "SIGINT", "grace_secs": 20 },
                    // As short as can be: only journeys about probation wait for it.
                    "probation": { "secs": 1 },
                },
            },
        });
        operator.write_config(&config);
        operator
    }

    /// Has the network read by a light client and by no node.
    pub fn read_by_light_client(&self, spec: &Value) {
        fs::write(self.chain_spec(), spec.to_string()).expect("the temporary folder is ours");
        self.configure(|config| {
            let network = config["networks"][NETWORK].as_object_mut().expect("a network is an object");
            network.remove("endpoints");
            network.insert("light_client".to_owned(), json!({ "chain_spec": self.chain_spec() }));
        });
    }

    /// The light client's chain specification.
    pub fn chain_spec(&self) -> PathBuf {
        self.path("chain-spec.json")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configured home.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// A folder for a vault's own data.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// What test vaults are told, if [`Self::obey_orders`] was said.
    pub fn orders(&self) -> Orders {
        Orders::new(self.path("orders"))
    }

    /// The arguments of a test vault that does as it is told.
    pub fn args_with_orders(&self) -> Value {
        json!(["--ledger", self.ledger_path(), "--orders", self.path("orders")])
    }

    /// Has the vault do as it is told.
    pub fn obey_orders(&self) {
        self.configure(|config| config["vaults"][VAULT]["args"] = self.args_with_orders());
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.path("vaultvisor.json")
    }

    /// Where test vaults write.
    pub fn ledger_path(&self) -> PathBuf {
        self.path("ledger.jsonl")
    }

    /// Changes the configuration file.
    pub fn configure(&self, change: impl FnOnce(&mut Value)) {
        let text = fs::read_to_string(self.config_path()).expect("it was written");
        let mut config = serde_json::from_str(&text).expect("it was written as JSON");
        change(&mut config);
        self.write_config(&config);
    }

    /// Has the status served over HTTP, on a free port of loopback.
    pub fn serve_http(&self) -> SocketAddr {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, redis::free_port()));
        self.configure(|config| config["http"] = json!(address));
        address
    }

    /// Has the network read from these endpoints, of which so many must agree.
    pub fn set_endpoints(&self, endpoints: &[&str], agreement: u32) {
        self.configure(|config| {
            config["networks"][NETWORK]["endpoints"] = json!(endpoints);
            config["networks"][NETWORK]["agreement"] = json!(agreement);
        });
    }

    /// Gives the vault these arguments.
    pub fn set_vault_args(&self, args: &[&str]) {
        self.configure(|config| config["vaults"][VAULT]["args"] = json!(args));
    }

    fn write_config(&self, config: &Value) {
        fs::write(self.config_path(), format!("{config:#}\n")).expect("the temporary folder is ours");
    }

    /// Runs the programs of that folder from now on, such as those of a release build.
    pub fn use_programs_of(&mut self, folder: &Path) {
        self.programs = Some(folder.to_owned());
    }

    /// `vaultvisor` without arguments, with nothing in the environment that would configure it.
    pub fn vaultvisor_command(&self) -> Command {
        match &self.programs {
            Some(folder) => command::without_configuration(Command::new(folder.join("vaultvisor"))),
            None => command::vaultvisor_command(),
        }
    }

    /// Everything of this operator is below it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the daemon.
    pub fn run(&self) -> Child {
        self.run_command(self.vaultvisor_command())
    }

    /// Starts the daemon with this limit of open files, which it may raise to `highest`.
    pub fn run_with_open_files(&self, limit: u64, highest: u64) -> Child {
        let vaultvisor = self.vaultvisor_command();
        // It becomes the program that it is told to execute.
        let mut command = command::without_configuration(Command::new("prlimit"));
        command.arg(format!("--nofile={limit}:{highest}")).arg(vaultvisor.get_program());
        self.run_command(command)
    }

    /// Starts the daemon with a wall clock of its own.
    pub fn run_by(&self, clock: &WallClock) -> Child {
        let mut command = self.vaultvisor_command();
        clock.give(&mut command);
        self.run_command(command)
    }

    /// Starts the daemon, which trusts the authorities in this file and no others.
    pub fn run_trusting(&self, authorities: &Path) -> Child {
        let mut command = self.vaultvisor_command();
        command.env("SSL_CERT_FILE", authorities).env_remove("SSL_CERT_DIR");
        self.run_command(command)
    }

    /// Starts the daemon of the operator's own [copy](Self::install) of the programs.
    pub fn run_installed(&self) -> Child {
        self.run_command(command::without_configuration(Command::new(self.installed("vaultvisor"))))
    }

    /// One of the [installed](Self::install) programs.
    pub fn installed(&self, name: &str) -> PathBuf {
        self.path("bin").join(name)
    }

    /// Starts the daemon as a service does, whose log does not tell of each block.
    pub fn run_quietly(&self) -> Child {
        self.run_with(self.vaultvisor_command(), &[])
    }

    fn run_command(&self, command: Command) -> Child {
        self.run_with(command, &["--verbose"])
    }

    fn run_with(&self, mut command: Command, options: &[&str]) -> Child {
        command.arg("run").args(options).arg("--config").arg(self.config_path());
        Child::spawn("vaultvisor", command, self.folder.path())
    }

    /// Puts a build of the programs in place, by rename, as a package manager does: files of their own, with these
    /// words behind their last byte.
    pub fn install(&self, build: &str) {
        fs::create_dir_all(self.path("bin")).expect("the temporary folder is ours");
        for name in ["vaultvisor", "vaultvisor-keeper"] {
            let place = self.installed(name);
            let new = place.with_extension("new");
            fs::copy(binaries::path(name), &new).expect("there is room for it");
            let mut file = File::options().append(true).open(&new).expect("it was copied");
            file.write_all(build.as_bytes()).expect("there is room for it");
            drop(file);
            fs::rename(&new, &place).expect("the temporary folder is ours");
        }
    }

    /// Has a daemon read a changed configuration, and waits until that is in force.
    pub async fn reload(&self, daemon: &Child) {
        let read = |log: &str| log.matches("the configuration was read again and is in force").count();
        let before = read(&daemon.stderr());
        daemon.signal(Signal::HUP);
        wait::until("the new configuration to be in force", async || match daemon.stderr() {
            log if read(&log) > before => Ok(()),
            log => Err(log),
        })
        .await;
    }

    /// Runs another command of Vaultvisor with this configuration.
    pub async fn vaultvisor(&self, args: &[&str]) -> Finished {
        let mut command = self.vaultvisor_command();
        command.args(args).arg("--config").arg(self.config_path());
        command::run(command).await
    }

    /// What `status --json` says.
    pub async fn status(&self) -> Status {
        self.vaultvisor(&["status", "--json"]).await.exited(0).json()
    }

    /// What `status --json` says of the vault.
    pub async fn vault(&self) -> VaultStatus {
        let mut vaults = self.status().await.vaults;
        assert_eq!(vaults.len(), 1, "the configuration has one vault: {vaults:?}");
        vaults.remove(0)
    }

    /// Waits until the vault's status is as wanted.
    pub async fn vault_where(&self, what: &str, wanted: impl Fn(&VaultStatus) -> bool) -> VaultStatus {
        wait::until(what, async || match self.vault().await {
            vault if wanted(&vault) => Ok(vault),
            vault => Err(format!("{vault:#?}")),
        })
        .await
    }

    /// Waits until the vault runs that release and was kept, and is alive.
    pub async fn running(&self, release: &Release) -> Running {
        let what = format!("the vault to run {} ({})", release.version, release.checksum);
        let is_it = |vault: &VaultStatus| {
            vault.state == "running"
                && vault.running.as_ref().is_some_and(|running| running.checksum == release.checksum)
        };
        let running = self.vault_where(&what, is_it).await.running.expect("that is what was waited for");
        assert!(is_alive(running.pid), "status says that pid {} runs: it is gone", running.pid);
        // It was executed, which is all that status tells; its first entry comes a moment later.
        if self.keeps_a_ledger() {
            let has_begun = |lives: &[Life]| lives.iter().any(|life| life.pid == running.pid);
            self.lives_where(&format!("the first entry of pid {}", running.pid), has_begun).await;
        }
        running
    }

    /// Whether the vault is a test vault, and not a program of somebody else.
    fn keeps_a_ledger(&self) -> bool {
        let config = fs::read_to_string(self.config_path()).expect("it was written");
        config.contains(self.ledger_path().to_str().expect("temporary folders have UTF-8 names"))
    }

    /// What the test vaults wrote down.
    pub fn lives(&self) -> Vec<Life> {
        ledger::lives(&self.ledger_path())
    }

    /// The kinds of the entries in the vault's history, oldest first.
    pub async fn history(&self) -> Vec<String> {
        self.kinds(&["history", "--json", "--vault", VAULT]).await
    }

    /// The kinds of all entries in the history, also of those about the network, oldest first.
    pub async fn history_of_all(&self) -> Vec<String> {
        self.kinds(&["history", "--json"]).await
    }

    /// Waits until the history has an entry of this kind, of the vault or the network.
    pub async fn history_of_all_with(&self, kind: &str) {
        wait::until(&format!("{kind} in the history"), async || match self.history_of_all().await {
            kinds if kinds.iter().any(|found| found == kind) => Ok(()),
            kinds => Err(format!("{kinds:?}")),
        })
        .await;
    }

    async fn kinds(&self, command: &[&str]) -> Vec<String> {
        let printed = self.vaultvisor(command).await.exited(0).stdout;
        let kind = |line| {
            let entry: Value = serde_json::from_str(line).expect("each line is one JSON object");
            entry["kind"].as_str().expect("each entry says what it is").to_owned()
        };
        printed.lines().map(kind).collect()
    }

    /// Waits until the vault's history has entries of each of these kinds, as often as they are named: it is written a
    /// moment after what it tells. Answers all kinds.
    pub async fn history_with(&self, wanted: &[&str]) -> Vec<String> {
        wait::until(&format!("{wanted:?} in the history"), async || {
            let kinds = self.history().await;
            let count = |kinds: &mut dyn Iterator<Item = &str>, kind: &str| {
                kinds.filter(|found| *found == kind).count()
            };
            let has = |kind: &&str| {
                count(&mut kinds.iter().map(String::as_str), kind) >= count(&mut wanted.iter().copied(), kind)
            };
            if wanted.iter().all(has) { Ok(kinds) } else { Err(format!("{kinds:?}")) }
        })
        .await
    }

    /// Waits until the test vaults' last life is as wanted, and answers all.
    pub async fn lives_where(&self, what: &str, wanted: impl Fn(&[Life]) -> bool) -> Vec<Life> {
        wait::until(what, async || match self.lives() {
            lives if wanted(&lives) => Ok(lives),
            lives => Err(format!("{lives:#?}")),
        })
        .await
    }

    /// What the vault printed, as Vaultvisor kept it.
    pub fn vault_output(&self) -> String {
        fs::read_to_string(self.vault_log()).unwrap_or_default()
    }

    fn vault_log(&self) -> PathBuf {
        self.log_folder().join("vault.log")
    }

    /// Where the vault's output is kept.
    pub fn log_folder(&self) -> PathBuf {
        self.home().join("vaults").join(VAULT).join("log")
    }

    /// The checksums in the store, and whatever else lies there.
    pub fn stored(&self) -> Vec<String> {
        let mut names = names_in(&self.home().join("store/sha256"));
        names.sort();
        names
    }

    /// The checksums of downloads that are under way or were broken off.
    pub fn partial(&self) -> Vec<String> {
        names_in(&self.home().join("store/partial"))
    }

    /// Every file below the home that is not a log, with its content: what "unchanged" is measured by.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.home()];
        while let Some(folder) = folders.pop() {
            for name in names_in(&folder) {
                let path = folder.join(name);
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }

    /// The processes on this machine that have to do with this operator: daemon, keepers, vaults.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let folder = self.folder.path().to_str().expect("temporary folders have UTF-8 names");
        let mut found = Vec::new();
        for pid in names_in(Path::new("/proc")).iter().filter_map(|name| name.parse::<u32>().ok()) {
            let process = PathBuf::from(format!("/proc/{pid}"));
            let command = fs::read(process.join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let program = fs::read_link(process.join("exe")).unwrap_or_default();
            if pid != std::process::id() && (command.contains(folder) || program.starts_with(folder)) {
                found.push((pid, command));
            }
        }
        found
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            child::show("the vault", &self.vault_log());
            println!("---- left running: {:?}", self.processes());
        }
        // A vault outlives its vaultvisor, and its keeper may start to end it: until none is left.
        for _ in 0..1000 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            for (pid, _) in left {
                signal(pid, Signal::KILL);
            }
            std::thread::yield_now();
        }
        println!("---- not gone in time: {:?}", self.processes());
    }
}

/// Waits until a daemon has seen a block become final, or a later one.
pub async fn has_seen(daemon: &Child, block: u64) {
    wait::until(&format!("block {block} to be seen as final"), async || {
        let log = daemon.stderr();
        let seen = log.lines().filter(|line| line.contains(" finalized "));
        let numbers = seen.filter_map(|line| line.rsplit_once(" block=")?.1.parse::<u64>().ok());
        if numbers.max() >= Some(block) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// How many files a process may have open, and to how many it may raise that.
pub fn open_files_limit(pid: u32) -> (u64, u64) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("every process has it");
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().expect("a number"), numbers.next().expect("a number"))
}

/// Sends a process a signal, which may have ended already.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process exists that has not ended.
pub fn is_alive(pid: u32) -> bool {
    // The state follows the name, which is in parentheses and may itself hold any.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| !rest.starts_with(['Z', 'X'])))
        .unwrap_or(false)
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
