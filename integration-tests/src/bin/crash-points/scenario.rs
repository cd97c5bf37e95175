//! What is done with an operator until vaultvisor is killed, and what must be there in the end.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
};

use integration_tests::{
    child::{Child, Signal},
    http,
    journey::Journey,
    ledger,
    operator::{NETWORK, Operator, VAULT, is_alive},
    orders::Order,
    power::{Disk, Image, Loss, put},
    releases::Release,
    status::{Running, Status, VaultStatus},
    tree::see,
    wait,
};
use serde_json::json;

use crate::programs::{NEVER, Programs};

/// A vaultvisor, a keeper and a vault.
const OURS: usize = 3;

/// A start or an end that a crash cut short costs one life more than an undisturbed run has.
const LIVES_MORE: usize = 1;

/// Renames an argument, and adds a line to the data, so that data that is migrated twice, or lies half restored, shows
/// it.
const MIGRATIONS: [(&str, &str); 2] = [
    ("args-migration", "#!/bin/sh\nsed 's/^.*\"args\"://; s/}$//; s/--old/--new/'\n"),
    ("state-migration", "#!/bin/sh\nset -e\necho migrated >>\"$1/wallet/keys\"\nrm \"$1/index\"\n"),
];

/// Changes the data, and fails then.
const BAD_MIGRATION: [(&str, &str); 1] =
    [("state-migration", "#!/bin/sh\necho migrated >>\"$1/wallet/keys\"\nrm \"$1/index\"\nexit 3\n")];

/// A kind of entry in the history, or some of which one will do: a process that was executed just before a kill is one
/// that was taken over. There is no switch where the kill came before the old release had been started.
type Told = &'static [&'static str];

const KEPT: [Told; 3] = [&["stated"], &["started", "adopted"], &["kept"]];
const GIVEN_UP: [Told; 2] = [&["stated"], &["rejected"]];

/// From when on points are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// The start of vaultvisor.
    Start,
    /// The start of a second vaultvisor, which finds what the first has left running.
    Takeover,
    /// A SIGTERM when all is quiet.
    Shutdown,
}

/// One way from a home to what is in it in the end.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// What it is called.
    pub(crate) name: &'static str,
    /// The home at first; `None` where nothing ever ran.
    before: Option<Image>,
    from: From,
    /// What runs in the end.
    runs: Release,
    /// What is rejected in the end.
    rejected: Option<Release>,
    /// What the data must be in the end, where there is any.
    data: Option<Data>,
    /// Further files of the release that the chain states.
    files: &'static [(&'static str, &'static str)],
    /// What the history must tell of the release that the chain states.
    history: &'static [Told],
}

/// What became of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    Migrated,
    AsBefore,
}

/// What an undisturbed run leaves.
#[derive(Debug)]
pub(crate) struct Reference {
    /// The points that it passes.
    pub(crate) points: Vec<String>,
    /// Its files, without what is different in each run. The store is compared by itself; that a second try at a release
    /// leaves a second copy of the data, until a release has proved itself, is meant.
    files: BTreeSet<PathBuf>,
    lives: usize,
}

/// One run with a kill.
#[derive(Debug)]
pub(crate) struct Run {
    /// Whether it was killed, and did not come to its end before.
    pub(crate) killed: bool,
    /// How many vaults lived in it.
    pub(crate) lives: usize,
}

/// What all scenarios stand on: a chain, a release server, a release that has proved itself and the home in which it
/// did.
#[derive(Debug)]
pub(crate) struct Ground {
    journey: Journey,
    first: Release,
    home: Image,
}

impl Scenario {
    /// All of them. Each has the chain state a release of its own, so they are run in this order.
    pub(crate) const NAMES: [&str; 7] =
        ["first start", "takeover", "shutdown", "switch", "fallback", "migration", "failed migration"];
}

impl Scenario {
    /// What the chain states.
    fn stated(&self) -> &Release {
        self.rejected.as_ref().unwrap_or(&self.runs)
    }

    /// What is in the store in the end: what runs, what the chain states, and nothing else that was tried or run before.
    fn stored(&self) -> Vec<String> {
        let binaries = [Some(&self.runs), self.rejected.as_ref()].into_iter().flatten();
        let mut stored: Vec<_> = binaries.map(|release| release.checksum.clone()).collect();
        let files =
            self.files.iter().map(|(name, content)| Release::from_bytes(name, content.as_bytes().to_vec()));
        stored.extend(files.map(|file| file.checksum));
        stored.sort();
        stored
    }
}

impl Ground {
    /// Has the first release prove itself in a home, which is stopped then.
    pub(crate) async fn prepare() -> Self {
        let journey = Journey::begin().await;
        journey.find_by_checksum();
        let first = journey.release("1.0.0").await;
        let owner = &journey.operator;
        let mut daemon = owner.run();
        owner.running(&first).await;
        owner.history_with(&["kept"]).await;
        daemon.signal(Signal::TERM);
        daemon.end().await;
        let home = Disk::of(&owner.home()).after(Loss::Contents);
        Self { journey, first, home }
    }

    /// Has the chain state what a scenario needs.
    pub(crate) async fn scenario(&self, name: &'static str) -> Scenario {
        let again = Scenario {
            name,
            before: Some(self.home.clone()),
            from: From::Start,
            runs: self.first.clone(),
            rejected: None,
            data: None,
            files: &[],
            history: &KEPT,
        };
        match name {
            "first start" => Scenario { before: None, ..again },
            "takeover" => Scenario { from: From::Takeover, ..again },
            "shutdown" => Scenario { from: From::Shutdown, ..again },
            "switch" => {
                let runs = self.journey.release("2.0.0").await;
                Scenario { runs, ..again }
            }
            "fallback" => {
                let rejected = Some(self.journey.release("3.0.0").await);
                Scenario { rejected, history: &GIVEN_UP, ..again }
            }
            "migration" => {
                let runs = self.release_with("4.0.0", &MIGRATIONS).await;
                Scenario { runs, data: Some(Data::Migrated), files: &MIGRATIONS, ..again }
            }
            "failed migration" => {
                let rejected = Some(self.release_with("5.0.0", &BAD_MIGRATION).await);
                let history = &GIVEN_UP;
                Scenario { rejected, data: Some(Data::AsBefore), files: &BAD_MIGRATION, history, ..again }
            }
            other => panic!("no scenario is called {other}"),
        }
    }

    async fn release_with(&self, version: &str, files: &[(&str, &str)]) -> Release {
        let release = Release::of_test_vault(version);
        self.journey.release_with(&release, files).await;
        release
    }

    /// A run to the end, with nothing killed.
    pub(crate) async fn undisturbed(&self, scenario: &Scenario, programs: &Programs) -> Reference {
        let stage = Stage::set(self, scenario, "undisturbed", programs);
        let killed = stage.run_armed(NEVER).await;
        assert!(!killed, "nothing was to be killed");
        let points = programs.points();
        let (files, lives) = stage.ends_well().await;
        Reference { points, files, lives }
    }

    /// A run with a kill at a point.
    ///
    /// # Panics
    /// If what there is in the end is not what it should be.
    pub(crate) async fn crash(
        &self,
        scenario: &Scenario,
        number: u64,
        reference: &Reference,
        programs: &Programs,
    ) -> Run {
        let stage = Stage::set(self, scenario, &number.to_string(), programs);
        let killed = stage.run_armed(number).await;
        let points = programs.points();
        if killed {
            assert_eq!(points.len() as u64, number, "killed at the point that was meant: {points:?}");
        }
        let (files, lives) = stage.ends_well().await;
        assert_eq!(files, reference.files, "the files (left) are those of an undisturbed run (right)");
        let most = reference.lives + LIVES_MORE;
        assert!(
            lives <= most,
            "{lives} vaults lived, at most {most} were expected: {:#?}",
            stage.operator.lives()
        );
        Run { killed, lives }
    }
}

/// One operator in one scenario.
struct Stage<'a> {
    scenario: &'a Scenario,
    programs: &'a Programs,
    operator: Operator,
    http: SocketAddr,
    /// The data at first.
    data: String,
}

impl<'a> Stage<'a> {
    fn set(ground: &'a Ground, scenario: &'a Scenario, run: &str, programs: &'a Programs) -> Self {
        let journey = &ground.journey;
        let mut operator = Operator::new(journey.chain.url(), &journey.server.url_template());
        operator.use_programs_of(programs.folder());
        let files = format!("http://{}/files/vault-{{checksum}}", journey.server.address());
        operator.configure(|config| {
            config["networks"][NETWORK]["release_urls"] = json!([journey.server.url_template(), files]);
            let vault = &mut config["vaults"][VAULT];
            // Several run beside one another on one machine, which would be two vaults of one account.
            vault["account"] = format!("{}-{run}", scenario.name).replace(' ', "-").into();
            vault["args"] = operator.args_with_orders();
            // What is rejected stays so while it is looked at.
            vault["retry_secs"] = json!([3600]);
            if scenario.data.is_some() {
                vault["data_dir"] = json!(operator.data());
                vault["args"].as_array_mut().expect("a list").push(json!("--old"));
            }
        });
        if scenario.name == "fallback" {
            operator.orders().give(Order::Refuse, "3.0.0");
        }
        let http = operator.serve_http();
        fs::create_dir(operator.data().join("wallet")).expect("the folder is ours");
        fs::write(operator.data().join("wallet/keys"), "keys\n").expect("the folder is ours");
        fs::write(operator.data().join("index"), "1 2 3\n").expect("the folder is ours");
        let data = see(&operator.data());
        if let Some(before) = &scenario.before {
            put(before, &operator.home());
        }
        Self { scenario, programs, operator, http, data }
    }

    /// Runs vaultvisor, with a kill at a point, until it is killed or at its goal; answers whether it was killed.
    async fn run_armed(&self, number: u64) -> bool {
        self.programs.disarm();
        self.programs.forget_points();
        let daemon = match self.scenario.from {
            From::Start => {
                self.programs.arm(number);
                self.operator.run_quietly()
            }
            From::Takeover => {
                let mut before = self.operator.run_quietly();
                self.settled(&mut before).await;
                before.signal(Signal::KILL);
                before.end().await;
                self.programs.arm(number);
                self.operator.run_quietly()
            }
            From::Shutdown => {
                let mut daemon = self.operator.run_quietly();
                self.settled(&mut daemon).await;
                self.programs.arm(number);
                daemon.signal(Signal::TERM);
                daemon
            }
        };
        self.ends_or_settles(daemon).await
    }

    async fn ends_or_settles(&self, mut daemon: Child) -> bool {
        let is_shutdown = self.scenario.from == From::Shutdown;
        let ended = wait::until("a kill, or the goal", async || match daemon.ended() {
            Some(status) => Ok(Some(status)),
            None if is_shutdown => Err("it shuts down".to_owned()),
            None => {
                // What an earlier vaultvisor wrote down looks the same.
                let running = self.is_settled().await?;
                match running.adopted || self.scenario.from != From::Takeover {
                    true => Ok(None),
                    false => Err("it is not taken over yet".to_owned()),
                }
            }
        })
        .await;
        // Its end is a scenario of its own.
        self.programs.disarm();
        let status = match ended {
            Some(status) => status,
            None => {
                // It may have been killed in this moment.
                daemon.signal(Signal::TERM);
                daemon.end().await
            }
        };
        let is_orderly = status.success() && (is_shutdown || ended.is_none());
        match status.signal() {
            Some(9) => true,
            _ if is_orderly => false,
            _ => panic!("vaultvisor ended by itself: {status}"),
        }
    }

    /// Starts vaultvisor as a service manager does, and has it get to the goal and stop there; answers the files that
    /// are left, and how many vaults lived.
    async fn ends_well(&self) -> (BTreeSet<PathBuf>, usize) {
        let operator = &self.operator;
        let mut daemon = operator.run_quietly();
        self.settled(&mut daemon).await;
        daemon.signal(Signal::TERM);
        let status = daemon.end().await;
        assert!(status.success(), "an orderly end: {status}");
        wait::until("all processes to be gone", async || match operator.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        })
        .await;
        let lives = operator.lives();
        assert_eq!(ledger::never_two(&lives), Ok(()));
        assert!(lives.iter().all(|life| life.ended), "each vault was let end by itself: {lives:#?}");
        // The durable state says the same as the daemon did, read by another process.
        let vault = operator.vault().await;
        assert_eq!(vault.state, "stopped");
        self.says_what_it_should(&vault).unwrap_or_else(|found| panic!("the durable state: {found}"));
        self.check_data();
        let files = operator.files();
        let strip = |path: &PathBuf| path.strip_prefix(operator.home()).map(without_numbers);
        (files.iter().map(|path| strip(path).expect("below the home")).collect(), lives.len())
    }

    async fn settled(&self, daemon: &mut Child) {
        let what = format!("{} to be settled", self.scenario.name);
        wait::until(&what, async || match daemon.ended() {
            Some(status) => panic!("vaultvisor ended by itself: {status}"),
            None => self.is_settled().await.map(|_| ()),
        })
        .await;
    }

    /// Whether all is as it should be while vaultvisor runs.
    async fn is_settled(&self) -> Result<Running, String> {
        let answer = http::try_get(self.http, "/api/v1/status").await.ok_or("nobody answers")?;
        let vault = answer.json::<Status>().vaults.remove(0);
        let is_it =
            |running: &Running| running.checksum == self.scenario.runs.checksum && is_alive(running.pid);
        let running = match vault.running.clone().filter(is_it) {
            Some(running) if vault.state == "running" => running,
            _ => return Err(format!("{} {:?}: {}", vault.state, vault.running, vault.why)),
        };
        self.says_what_it_should(&vault)?;
        let (stored, partial) = (self.operator.stored(), self.operator.partial());
        if stored != self.scenario.stored() || !partial.is_empty() {
            return Err(format!("the store has {stored:?} and the beginnings of {partial:?}"));
        }
        let history = http::try_get(self.http, "/api/v1/history").await.ok_or("nobody answers")?;
        let history: Vec<serde_json::Value> = history.json();
        let stated = &self.scenario.stated().version;
        let tells = |kinds: &Told| {
            let is_it = |entry: &serde_json::Value| {
                kinds.iter().any(|kind| entry["kind"] == **kind) && entry["to"]["version"] == **stated
            };
            history.iter().any(is_it)
        };
        if let Some(missing) = self.scenario.history.iter().find(|wanted| !tells(wanted)) {
            let kinds: Vec<_> =
                history.iter().map(|entry| (&entry["kind"], &entry["to"]["version"])).collect();
            return Err(format!("the history tells nothing of {missing:?}: {kinds:?}"));
        }
        match self.operator.processes() {
            ours if ours.len() == OURS => Ok(running),
            others => Err(format!("{others:?}")),
        }
    }

    /// What is true of the status with and without a daemon.
    fn says_what_it_should(&self, vault: &VaultStatus) -> Result<(), String> {
        let rejected: Vec<_> = vault.rejected.iter().map(|rejected| &rejected.checksum).collect();
        let expected: Vec<_> = self.scenario.rejected.iter().map(|rejected| &rejected.checksum).collect();
        if rejected != expected {
            return Err(format!("rejected is {rejected:?}"));
        }
        let stated = &self.scenario.stated().checksum;
        match vault.target.as_ref().map(|target| &target.checksum) {
            Some(target) if target == stated => Ok(()),
            other => Err(format!("the target is {other:?}, expected {stated}")),
        }
    }

    fn check_data(&self) {
        let data = self.operator.data();
        let read = |name: &str| fs::read_to_string(Path::new(&data).join(name)).ok();
        match self.scenario.data {
            None | Some(Data::AsBefore) => assert_eq!(see(&data), self.data, "the data is as before"),
            Some(Data::Migrated) => {
                assert_eq!(read("wallet/keys").as_deref(), Some("keys\nmigrated\n"), "migrated once");
                assert_eq!(read("index"), None, "migrated as a whole");
            }
        }
    }
}

/// A path in which any checksum stands for all, and any number of a snapshot: one that was begun before a kill is taken
/// anew, under the next number.
fn without_numbers(path: &Path) -> PathBuf {
    let is_number = |name: &str| {
        let is_checksum = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_checksum || name.bytes().all(|byte| byte.is_ascii_digit())
    };
    path.iter().map(|name| if name.to_str().is_some_and(is_number) { "…".as_ref() } else { name }).collect()
}
