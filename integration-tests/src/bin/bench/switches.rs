//! Rows 3 and 4: switches of vaultvisor, restarts by its peers, judged by what the vaults themselves wrote down.
//!
//! All take turns, so that whatever else the machine does hits all of them alike. A peer is asked for a restart no
//! sooner than it would give one without making a crashing program wait; otherwise its own brake would be measured.

use std::{
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use integration_tests::{
    dev_chain::DevChain,
    ledger::{self, Tail},
    releases::Release,
};

use crate::{
    cosmovisor::{self, Cosmovisor},
    peers::{KINDS, Site},
    site::{self, Bench},
    stats::Sample,
    table::{Line, Peer, Target},
};

/// runit, s6 and supervisor start what has ended within its first second only after that second.
const BRAKE: Duration = Duration::from_millis(1500);
/// Faster than any live chain: what is waited for between two switches is then little.
const BLOCK_TIME: Duration = Duration::from_millis(100);
/// What interbtc's own runner waits between two looks at the chain.
const RUNNER_POLL_MS: f64 = 6000.0;

const SERVICE: &str = "vault";

/// In milliseconds.
#[derive(Debug, Default)]
struct Measured {
    downtime: Vec<f64>,
    /// As vaultvisor says itself, which ends with the execution and not with the vault's first line.
    reported: Vec<f64>,
    news_to_signal: Vec<f64>,
    news_to_start: Vec<f64>,
    /// A vault that somebody starts who does nothing else: from the fork to its first line.
    bare: Vec<f64>,
    /// As [`KINDS`].
    peers: [Vec<f64>; 3],
    /// From its plan to the new one's first line; `None` where it is not installed.
    cosmovisor: Option<Vec<f64>>,
}

/// When the node told of its finalized blocks.
#[derive(Debug, Clone, Default)]
struct Arrivals(Arc<Mutex<Vec<(u64, u64)>>>);

impl Arrivals {
    async fn watch(chain: &DevChain) -> Self {
        let arrivals = Self::default();
        let (mut numbers, seen) = (chain.finalized_numbers().await, arrivals.clone());
        tokio::spawn(async move {
            while let Some(number) = numbers.next().await {
                let arrived_ns = ledger::now_ns();
                seen.0.lock().unwrap_or_else(PoisonError::into_inner).push((number, arrived_ns));
            }
        });
        arrivals
    }

    /// When the first finalized block that has this one behind it, or is it, was told of.
    fn of(&self, block: u64) -> u64 {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = seen.iter().find(|(number, _)| *number >= block);
        found.unwrap_or_else(|| panic!("block {block} is final, and the node told nobody: {seen:?}")).1
    }
}

pub(crate) async fn measure(bench: &Bench, rows: &[u8]) -> Vec<Line> {
    let measured = run(bench).await;
    let mut lines = Vec::new();
    if rows.contains(&3) {
        lines.extend(downtime_lines(&measured));
    }
    if rows.contains(&4) {
        lines.push(Line {
            row: 4,
            what: "finalized block to SIGINT".to_owned(),
            unit: "ms",
            ours: Sample::of(measured.news_to_signal),
            peers: vec![Peer::measured("a poll every 6 s, on average", Sample::one(RUNNER_POLL_MS / 2.0))],
            target: Some(Target::P99Below(100.0)),
        });
    }
    lines
}

fn downtime_lines(measured: &Measured) -> Vec<Line> {
    let ours = Sample::of(measured.downtime.iter().copied());
    let peers: Vec<Peer> = KINDS
        .into_iter()
        .zip(&measured.peers)
        .map(|(kind, values)| Peer {
            name: format!("{} restart", kind.name()),
            figures: kind.is_installed().map(|()| Sample::of(values.iter().copied())),
        })
        .collect();
    let bare =
        Peer::measured("fork and exec alone, nothing stopped", Sample::of(measured.bare.iter().copied()));
    let line = |what: &str, ours, peers, target| Line {
        row: 3,
        what: what.to_owned(),
        unit: "ms",
        ours,
        peers,
        target: Some(target),
    };
    let from_end_to_begin = "switch: last line of the old to first of the new";
    vec![
        line(from_end_to_begin, ours.clone(), peers, Target::Times(10.0)),
        line("the same, beside a bare start", ours, vec![bare], Target::P99Below(10.0)),
        line(
            "old process gone to new executed (downtime_ms)",
            Sample::of(measured.reported.iter().copied()),
            Vec::new(),
            Target::P99Below(10.0),
        ),
        Line {
            row: 3,
            what: "news (finalized block, plan) to the new one's first line".to_owned(),
            unit: "ms",
            ours: Sample::of(measured.news_to_start.iter().copied()),
            peers: vec![Peer {
                name: cosmovisor::NAME.to_owned(),
                figures: measured
                    .cosmovisor
                    .as_ref()
                    .map(|values| Sample::of(values.iter().copied()))
                    .ok_or_else(|| "not installed".to_owned()),
            }],
            target: None,
        },
    ]
}

async fn run(bench: &Bench) -> Measured {
    let journey = bench.journey(BLOCK_TIME).await;
    let (releases, _daemon) = site::two_releases(&journey).await;
    let arrivals = Arrivals::watch(&journey.chain).await;
    let mut ledger = Tail::of(&journey.operator.ledger_path());
    ledger.added();

    let sites: Vec<Option<Site>> = KINDS
        .into_iter()
        .map(|kind| {
            kind.is_installed().ok()?;
            Some(Site::of_test_vaults(kind, &releases[0].program, &[SERVICE]))
        })
        .collect();
    let mut peers: Vec<_> = sites
        .iter()
        .map(|site| {
            let site = site.as_ref()?;
            let mut ledger = Tail::of(&site.ledger(SERVICE));
            let running = site.start();
            site::until_start(&mut ledger);
            Some((running, ledger, Instant::now()))
        })
        .collect();

    let mut cosmovisor = Cosmovisor::start(&releases[0]);

    let mut measured =
        Measured { cosmovisor: cosmovisor.as_ref().map(|_| Vec::new()), ..Measured::default() };
    for number in 0..bench.repeat(50, 5) {
        let release = &releases[(number + 1) % 2];
        let published = journey.state(release).await;
        let entries = site::until_start(&mut ledger);
        let (ended_ns, started_ns) = (site::ended_ns(&entries), site::started_ns(&entries));
        measured.downtime.push(milliseconds(ended_ns, started_ns));
        let block = published.block.expect("publish waits for its block");
        let arrived_ns = arrivals.of(block);
        measured.news_to_signal.push(milliseconds(arrived_ns, ended_ns));
        measured.news_to_start.push(milliseconds(arrived_ns, started_ns));
        journey.operator.running(release).await;
        let switch = journey.operator.vault().await.last_switch.expect("it has just switched");
        assert_eq!(switch.to, release.version);
        measured.reported.push(switch.downtime_ms.expect("the old one was seen to end"));

        for (peer, values) in peers.iter_mut().zip(&mut measured.peers) {
            let Some((running, ledger, restarted_at)) = peer else { continue };
            tokio::time::sleep(BRAKE.saturating_sub(restarted_at.elapsed())).await;
            ledger.added();
            running.restart(SERVICE);
            let entries = site::until_start(ledger);
            *restarted_at = Instant::now();
            values.push(milliseconds(site::ended_ns(&entries), site::started_ns(&entries)));
        }
        if let (Some(cosmovisor), Some(values)) = (&mut cosmovisor, &mut measured.cosmovisor) {
            values.push(cosmovisor.switch(release) as f64 / 1e6);
        }
        measured.bare.push(bare_start(&releases[0]));
    }
    measured
}

/// From the fork to the first line of a vault that nobody supervises.
fn bare_start(release: &Release) -> f64 {
    let site = Site::of_test_vaults(KINDS[0], &release.program, &[SERVICE]);
    let mut ledger = Tail::of(&site.ledger(SERVICE));
    let mut command = Command::new(site.program());
    command.args(site::vault_args(&site.ledger(SERVICE)));
    let forked_ns = ledger::now_ns();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("a copy of our own vault can be executed");
    let entries = site::until_start(&mut ledger);
    // It may not be left behind, and how it ends is of no interest.
    let _ = child.kill();
    let _ = child.wait();
    milliseconds(forked_ns, site::started_ns(&entries))
}

fn milliseconds(from_ns: u64, to_ns: u64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e6
}
