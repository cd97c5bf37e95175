//! T32: a thousand releases in a row, with kills at random moments, and the judge of what is left.
//!
//! One vault on a development chain that states one release after the other. Meanwhile vaultvisor, the keeper, both or
//! the vault are killed (SIGKILL) at moments that a seed chooses, and vaultvisor is started again as a service manager
//! does it. Some releases are bad and end at once. Every [`BLOCK`] releases it is waited for quiet, and counted: vaults
//! that ever met, releases that were lost, processes, descriptors, files and memory that came to stay. Every second block
//! leaves vaultvisor itself alone, so that it has time to leak.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use integration_tests::{
    child::{Child, Signal},
    http,
    journey::Journey,
    ledger::{self, Reader},
    operator::{self, NETWORK, Operator, VAULT},
    releases::Release,
    status::Status,
    wait,
};
use serde::Serialize;

/// How many releases lie between two counts.
const BLOCK: u64 = 25;

/// How often nothing is killed during a release, of 100.
const QUIET_PERCENT: u64 = 20;
/// How often a release is bad, of 100.
const BAD_PERCENT: u64 = 5;
/// How often the next release is stated before this one has proved itself, of 100.
const HASTY_PERCENT: u64 = 40;

/// Within what time of a statement somebody is killed: download, stop, start and probation are all within.
const KILL_WITHIN_MS: u64 = 2500;
/// How long a service manager waits before it starts vaultvisor again, at most.
const RESTART_WITHIN_MS: u64 = 400;

/// By how much vaultvisor's memory, by either measure, may have grown from the start of a block to its end. The first switches of a
/// process fill its caches and thread stacks; what grows with each release is far above this after some blocks.
const GROWTH_KIB: i64 = 4096;

/// A vaultvisor, a keeper and a vault.
const OURS: usize = 3;

/// How often descriptors and memory are looked at for one count.
const LOOKS: usize = 10;

/// Chooses by a seed, so that a run can be repeated: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn ms_within(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Victim {
    Vaultvisor,
    Keeper,
    Both,
    Vault,
}

/// What one process of ours holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Holdings {
    descriptors: usize,
    /// What it has written to, in memory or swapped out: what can leak.
    own_kib: u64,
    /// All that is mapped by no other process: besides, the pages of its program, which the kernel reads in with their
    /// neighbours, and takes away again when nobody looks at them.
    private_kib: u64,
}

/// What there is when all is quiet.
#[derive(Debug, Clone, Serialize)]
struct Count {
    release: u64,
    processes: usize,
    files: Vec<PathBuf>,
    daemon: Holdings,
    keeper: Holdings,
    vault: Holdings,
}

/// The end of it all.
#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    releases: u64,
    bad_releases: u64,
    kills: BTreeMap<Victim, u64>,
    vault_starts: usize,
    double_run_instants: usize,
    lost_releases: u64,
    leaked_processes: usize,
    leaked_descriptors: i64,
    leaked_files: Vec<PathBuf>,
    largest_growth_kib: i64,
    longest_downtime_secs: f64,
    took_secs: u64,
}

struct Soak {
    journey: Journey,
    daemon: Child,
    ledger: Reader,
    http: SocketAddr,
    dice: Dice,
    kills: BTreeMap<Victim, u64>,
    lost: u64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let mut options = std::env::args().skip(1);
    let (mut releases, mut seed) = (1000, None);
    while let Some(option) = options.next() {
        let number = options.next().and_then(|value| value.parse::<u64>().ok());
        match (option.as_str(), number) {
            ("--releases", Some(number)) => releases = number,
            ("--seed", Some(number)) => seed = Some(number),
            _ => {
                println!("usage: soak [--releases N] [--seed N]");
                return ExitCode::from(2);
            }
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let report = soak(releases.max(BLOCK), seed.unwrap_or(now).max(1)).await;
    println!("{}", serde_json::to_string_pretty(&report).expect("plain data"));
    let is_well = report.double_run_instants == 0
        && report.lost_releases == 0
        && report.leaked_processes == 0
        && report.leaked_descriptors <= 0
        && report.leaked_files.is_empty()
        && report.largest_growth_kib <= GROWTH_KIB;
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn soak(releases: u64, seed: u64) -> Report {
    let began = Instant::now();
    let chain = integration_tests::dev_chain::DevChain::start_with(&["--block-time-ms", "200"]).await;
    let journey = Journey::on(chain).await;
    journey.operator.configure(|config| {
        // A release whose keeper was killed in its probation is tried again: what is tested comes after it.
        config["vaults"][VAULT]["retry_secs"] = vec![1].into();
    });
    let http = journey.operator.serve_http();
    let first = journey.release("1.0.0").await;
    let daemon = journey.operator.run();
    journey.operator.running(&first).await;
    let ledger = Reader::new(&journey.operator.ledger_path());
    let mut soak = Soak { journey, daemon, ledger, http, dice: Dice(seed), kills: BTreeMap::new(), lost: 0 };

    let mut bad_releases = 0;
    let mut counts: Vec<(Count, Count)> = Vec::new();
    let mut newest = first;
    let mut number = 1;
    while number < releases {
        let spares_vaultvisor = counts.len() % 2 == 1;
        let before = soak.count(number, &newest).await;
        for left in (0..BLOCK).rev() {
            number += 1;
            // Not the last one, for which there would be no quiet: as long as it is stated it is tried again and again.
            let is_bad = soak.dice.percent(BAD_PERCENT) && left > 0;
            if is_bad {
                // What is gone back to is what was kept.
                soak.settled(&newest).await;
            }
            bad_releases += u64::from(is_bad);
            newest = soak.release(number, is_bad, spares_vaultvisor, newest).await;
        }
        let after = soak.count(number, &newest).await;
        println!(
            "{number} releases, {} s: {} kills, {} vaults lived, vaultvisor has {} descriptors and {} KiB of its own, {} before, {} private",
            began.elapsed().as_secs(),
            soak.kills.values().sum::<u64>(),
            soak.ledger.read().len(),
            after.daemon.descriptors,
            after.daemon.own_kib,
            before.daemon.own_kib,
            after.daemon.private_kib,
        );
        counts.push((before, after));
    }
    soak.report(seed, number, bad_releases, &counts, began.elapsed())
}

impl Soak {
    /// States a release, kills somebody meanwhile, and waits until what should run does. Answers what that is.
    async fn release(
        &mut self,
        number: u64,
        is_bad: bool,
        spares_vaultvisor: bool,
        before: Release,
    ) -> Release {
        let version = format!("{number}.0.0");
        let release = match is_bad {
            true => Release::of(Path::new("/bin/false"), &version),
            false => Release::of_test_vault(&version),
        };
        self.journey.server.offer(&release, NETWORK);
        let victim = self.victim(spares_vaultvisor);
        let (kill_after, restart_after) =
            (self.dice.ms_within(KILL_WITHIN_MS), self.dice.ms_within(RESTART_WITHIN_MS));
        let victims: Vec<u32> = Vec::new();
        let kill = async {
            tokio::time::sleep(kill_after).await;
            let mut victims = victims;
            if matches!(victim, Some(Victim::Vaultvisor | Victim::Both)) {
                victims.push(self.daemon.pid());
            }
            if matches!(victim, Some(Victim::Keeper | Victim::Both)) {
                victims.extend(pids_of(&self.journey.operator, "vaultvisor-keeper"));
            }
            if victim == Some(Victim::Vault) {
                victims.extend(pids_of(&self.journey.operator, "vault"));
            }
            victims.iter().for_each(|pid| operator::signal(*pid, Signal::KILL));
            // On a busy machine one that was killed is there for a while, and would pass for one that runs.
            wait::until("those who were killed to be gone", async || {
                match victims.iter().find(|pid| operator::is_alive(**pid)) {
                    None => Ok(()),
                    Some(pid) => Err(format!("process {pid} is there")),
                }
            })
            .await;
        };
        tokio::join!(self.journey.state(&release), kill);
        if let Some(victim) = victim {
            *self.kills.entry(victim).or_default() += 1;
        }
        if matches!(victim, Some(Victim::Vaultvisor | Victim::Both)) {
            self.daemon.end().await;
            tokio::time::sleep(restart_after).await;
            self.daemon = self.journey.operator.run();
        }
        let expected = if is_bad { before } else { release };
        let is_hasty = self.dice.percent(HASTY_PERCENT);
        match (is_bad, is_hasty) {
            (false, true) => self.started(&expected).await,
            (true, true) => {}
            _ => self.settled(&expected).await,
        }
        expected
    }

    fn victim(&mut self, spares_vaultvisor: bool) -> Option<Victim> {
        if self.dice.percent(QUIET_PERCENT) {
            return None;
        }
        let victims = match spares_vaultvisor {
            true => [Victim::Keeper, Victim::Vault, Victim::Keeper, Victim::Vault],
            false => [Victim::Vaultvisor, Victim::Vaultvisor, Victim::Keeper, Victim::Both],
        };
        Some(victims[self.dice.below(victims.len() as u64) as usize])
    }

    /// As a service manager does it.
    fn keep_vaultvisor_up(&mut self) {
        if let Some(status) = self.daemon.ended() {
            println!("vaultvisor ended by itself ({status}), started again");
            self.daemon = self.journey.operator.run();
        }
    }

    /// Waits until a vault of that release has begun.
    async fn started(&mut self, release: &Release) {
        let what = format!("a vault of release {}", release.version);
        wait::until(&what, async || {
            self.keep_vaultvisor_up();
            let lives = self.ledger.read();
            match lives.iter().any(|life| life.release.as_ref() == Some(&release.version)) {
                true => Ok(()),
                false => Err(format!("{:?}", lives.last())),
            }
        })
        .await;
    }

    /// Waits until the vault runs that release, and it is kept.
    async fn settled(&mut self, release: &Release) {
        let what = format!("release {} to be kept", release.version);
        let (mut seen, began) = (String::new(), Instant::now());
        while began.elapsed() < wait::PATIENCE {
            self.keep_vaultvisor_up();
            if let Some(answer) = http::try_get(self.http, "/api/v1/status").await {
                let vault = answer.json::<Status>().vaults.remove(0);
                let runs = vault.running.as_ref().is_some_and(|running| {
                    running.checksum == release.checksum && operator::is_alive(running.pid)
                });
                if vault.state == "running" && runs {
                    return;
                }
                // A vault that was killed again and again is started after minutes: an operator would not wait.
                if vault.state == "starting" {
                    self.journey.operator.vaultvisor(&["retry", VAULT]).await;
                }
                seen = format!("{} {:?}, {:?}", vault.state, vault.running, vault.problem);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("waited in vain for {what}: {seen}");
        self.lost += 1;
    }

    /// Waits for quiet, and counts what there is.
    async fn count(&mut self, number: u64, newest: &Release) -> Count {
        self.settled(newest).await;
        let operator = &self.journey.operator;
        // A command that was just run may still be ending, and what was kept until a release had proved itself goes now.
        // What does not go in time is counted.
        let began = Instant::now();
        let mut left = operator.processes();
        while (left.len(), operator.stored().len()) != (OURS, 1) && began.elapsed() < wait::PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            left = operator.processes();
        }
        let only = |name: &str| -> u32 {
            let pids = pids_of(operator, name);
            assert_eq!(pids.len(), 1, "{name}: {left:?}");
            pids[0]
        };
        let home = operator.home();
        let files = operator
            .files()
            .into_iter()
            .map(|path| path.strip_prefix(&home).map(Path::to_owned).unwrap_or(path));
        Count {
            release: number,
            processes: left.len(),
            // Each release has a folder of its own name, of which there is one.
            files: files.map(|path| without_checksum(&path)).collect(),
            daemon: holdings(self.daemon.pid()).await,
            keeper: holdings(only("vaultvisor-keeper")).await,
            vault: holdings(only("vault")).await,
        }
    }

    fn report(
        mut self,
        seed: u64,
        releases: u64,
        bad_releases: u64,
        counts: &[(Count, Count)],
        took: Duration,
    ) -> Report {
        let lives = self.ledger.read();
        let mut by_start: Vec<_> = lives.iter().collect();
        by_start.sort_by_key(|life| life.from_ns);
        let met = by_start.windows(2).filter(|pair| pair[1].from_ns <= pair[0].to_ns).count();
        let overlapped = lives.iter().filter(|life| life.overlapped).count();
        let all = || counts.iter().flat_map(|(before, after)| [before, after]);
        let first = &counts.first().expect("one block at least").0;
        // Of each name as often as at first.
        let mut leaked_files: Vec<PathBuf> =
            all().flat_map(|count| more_files(&first.files, &count.files)).collect();
        leaked_files.sort();
        leaked_files.dedup();
        // The same vaultvisor before and after: every second block leaves it alone. Keepers and vaults are always compared.
        let spared = || counts.iter().skip(1).step_by(2);
        let more = |before: &Holdings, after: &Holdings| after.descriptors as i64 - before.descriptors as i64;
        let of_vaultvisor = spared().map(|(before, after)| more(&before.daemon, &after.daemon));
        let of_others = counts.iter().flat_map(|(before, after)| {
            [more(&before.keeper, &after.keeper), more(&before.vault, &after.vault)]
        });
        let leaked_descriptors = of_vaultvisor.chain(of_others).max().unwrap_or_default();
        let grown = |(before, after): &(Count, Count)| {
            let (before, after) = (&before.daemon, &after.daemon);
            let own = after.own_kib as i64 - before.own_kib as i64;
            own.max(after.private_kib as i64 - before.private_kib as i64)
        };
        let largest_growth_kib = spared().map(grown).max().unwrap_or_default();
        Report {
            seed,
            releases,
            bad_releases,
            kills: self.kills.clone(),
            vault_starts: lives.len(),
            double_run_instants: met + overlapped,
            lost_releases: self.lost,
            leaked_processes: all()
                .map(|count| count.processes)
                .max()
                .unwrap_or_default()
                .saturating_sub(OURS),
            leaked_descriptors,
            leaked_files,
            largest_growth_kib,
            longest_downtime_secs: ledger::longest_downtime_secs(lives),
            took_secs: took.as_secs(),
        }
    }
}

/// What of `now` was not there at `first`, or not as often.
fn more_files(first: &[PathBuf], now: &[PathBuf]) -> Vec<PathBuf> {
    let mut more = now.to_vec();
    for file in first {
        if let Some(index) = more.iter().position(|left| left == file) {
            more.remove(index);
        }
    }
    more
}

/// A path in which a release's checksum stands for any.
fn without_checksum(path: &Path) -> PathBuf {
    let is_checksum = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.iter().map(|name| if name.to_str().is_some_and(is_checksum) { "…".as_ref() } else { name }).collect()
}

/// The operator's processes of that program.
fn pids_of(operator: &Operator, program: &str) -> Vec<u32> {
    let is_it = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| {
            // The kernel keeps 15 characters.
            comm.trim_end() == &program[..program.len().min(15)]
        })
    };
    operator.processes().into_iter().map(|(pid, _)| pid).filter(is_it).collect()
}

/// The least of some looks: a connection, or a file that is just written, is none of them.
async fn holdings(pid: u32) -> Holdings {
    let mut least = Holdings { descriptors: usize::MAX, own_kib: u64::MAX, private_kib: u64::MAX };
    for _ in 0..LOOKS {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
        let sum = |names: &[&str]| {
            let is_one = |line: &&str| names.iter().any(|name| line.starts_with(name));
            rollup.lines().filter(is_one).filter_map(kib).sum()
        };
        let own_kib = sum(&["Anonymous:", "Swap:"]);
        let private_kib = sum(&["Private_"]);
        least.descriptors = least.descriptors.min(descriptors);
        least.own_kib = least.own_kib.min(own_kib);
        least.private_kib = least.private_kib.min(private_kib);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    least
}
