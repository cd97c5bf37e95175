//! Vaultvisor as the bench runs it: its release build, over a chain and a release server of its own.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use integration_tests::{
    child::Child,
    dev_chain::DevChain,
    journey::Journey,
    ledger::{Entry, Event, Tail},
    operator::{NETWORK, VAULT},
    releases::Release,
    status::VaultStatus,
    wait,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// What the rows need to know of the bench's command line.
#[derive(Debug)]
pub(crate) struct Bench {
    /// Where the release build is.
    pub(crate) programs: TempDir,
    /// Fewer repetitions: to see that everything works, and not to quote.
    pub(crate) is_quick: bool,
    /// How many vaults are supervised while nothing happens, in ascending order.
    pub(crate) vaults: Vec<usize>,
}

impl Bench {
    /// With a copy of these programs: what other processes share with a program in memory would not be counted as its own,
    /// and somebody else may run the same file.
    ///
    /// # Errors
    /// If the programs are not there.
    pub(crate) fn copying(programs: &Path, is_quick: bool, vaults: Vec<usize>) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("programs-").tempdir()?;
        for name in ["vaultvisor", "vaultvisor-keeper"] {
            std::fs::copy(programs.join(name), folder.path().join(name))?;
        }
        Ok(Self { programs: folder, is_quick, vaults })
    }

    /// So many repetitions, or the fewer of a quick run.
    pub(crate) fn repeat(&self, usually: usize, quickly: usize) -> usize {
        if self.is_quick { quickly } else { usually }
    }

    /// A new chain that makes a block every so often, and an operator of the release build.
    pub(crate) async fn journey(&self, block_time: Duration) -> Journey {
        let milliseconds = block_time.as_millis().to_string();
        let mut journey = Journey::on(DevChain::start_with(&["--block-time-ms", &milliseconds]).await).await;
        journey.operator.use_programs_of(self.programs.path());
        journey
    }
}

/// A program that does nothing until it is told to end, and then ends at once: what is measured beside it is the
/// supervisor alone.
pub(crate) const IDLE_PROGRAM: &str = "/bin/sleep";
pub(crate) const IDLE_ARGS: [&str; 1] = ["infinity"];

/// Puts so many vaults into the configuration in place of the one, all with these arguments.
pub(crate) fn set_vaults(config: &mut Value, networks: &[String], count: usize, args: &Value) {
    let vault = |number: usize| {
        let network = &networks[number % networks.len()];
        let account = format!("{:064x}", number + 1);
        let stop = json!({ "signal": "SIGINT", "grace_secs": 20 });
        json!({ "network": network, "account": account, "args": args, "stop": stop, "probation": { "secs": 1 } })
    };
    let vaults = (0..count).map(|number| (name_of(number), vault(number)));
    config["vaults"] = Value::Object(vaults.collect::<Map<_, _>>());
}

pub(crate) fn name_of(vault: usize) -> String {
    format!("vault-{vault}")
}

/// Waits until every vault runs that release and has kept it.
pub(crate) async fn all_run(journey: &Journey, release: &Release, limit: Duration) {
    /// Every look makes the daemon describe all of its vaults.
    const SELDOM: Duration = Duration::from_millis(500);

    let is_it = |vault: &VaultStatus| {
        let checksum = vault.running.as_ref().map(|running| &running.checksum);
        vault.state == "running" && checksum == Some(&release.checksum)
    };
    let what = format!("all vaults to run {}", release.version);
    wait::within(limit, &what, async || {
        let vaults = journey.operator.status().await.vaults;
        match vaults.iter().find(|vault| !is_it(vault)) {
            None => Ok(()),
            Some(not_yet) => {
                let states = vaults.iter().filter(|vault| is_it(vault)).count();
                let seen = format!("{states} of {}; not yet: {not_yet:#?}", vaults.len());
                tokio::time::sleep(SELDOM).await;
                Err(seen)
            }
        }
    })
    .await;
}

/// Waits for the next start in a ledger; answers all entries up to it.
pub(crate) fn until_start(ledger: &mut Tail) -> Vec<Entry> {
    /// Far beyond any supervisor's restart.
    const PATIENCE: Duration = Duration::from_secs(60);
    const OFTEN: Duration = Duration::from_millis(5);

    let (began, mut entries) = (Instant::now(), Vec::new());
    loop {
        entries.extend(ledger.added());
        if entries.iter().any(|entry| matches!(entry.event, Event::Start { .. })) {
            return entries;
        }
        assert!(began.elapsed() < PATIENCE, "no vault started: {entries:?}");
        std::thread::sleep(OFTEN);
    }
}

/// When the newest life in these entries began.
pub(crate) fn started_ns(entries: &[Entry]) -> u64 {
    let start = entries.iter().rfind(|entry| matches!(entry.event, Event::Start { .. }));
    start.expect("a start was waited for").at_ns
}

/// When the life before it ended by itself.
pub(crate) fn ended_ns(entries: &[Entry]) -> u64 {
    let end = entries.iter().rfind(|entry| entry.event == Event::End);
    end.expect("a vault that is told to end writes that down").at_ns
}

/// Offers two releases that differ in nothing but their checksum, and has the first one running, with both kept in the
/// store from then on.
pub(crate) async fn two_releases(journey: &Journey) -> ([Release; 2], Child) {
    let releases = [Release::of_test_vault("1.0.0"), Release::of_test_vault("2.0.0")];
    for release in &releases {
        journey.server.offer(release, NETWORK);
    }
    journey.operator.configure(|config| config["vaults"][VAULT]["keep_releases"] = json!(2));
    journey.state(&releases[0]).await;
    let daemon = journey.operator.run();
    journey.operator.running(&releases[0]).await;
    (releases, daemon)
}

/// The arguments of a test vault.
pub(crate) fn vault_args(ledger: &Path) -> Vec<String> {
    vec!["--ledger".to_owned(), ledger.display().to_string()]
}
