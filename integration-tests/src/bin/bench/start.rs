//! Row 6: from the start of vaultvisor to the first line of a vault whose release is in the store.

use std::time::Duration;

use integration_tests::{
    child::{Child, Signal},
    journey::Journey,
    ledger::{self, Tail},
    releases::Release,
};
use serde_json::json;

use crate::{
    peers::{KINDS, Site},
    site::{self, Bench},
    stats::Sample,
    table::{Line, Peer, Target},
};

const BLOCK_TIME: Duration = Duration::from_secs(1);
const SERVICE: &str = "vault";
/// Nothing listens there.
const NOBODY: &str = "ws://127.0.0.1:9";

pub(crate) async fn measure(bench: &Bench) -> Vec<Line> {
    let journey = bench.journey(BLOCK_TIME).await;
    let (releases, daemon) = site::two_releases(&journey).await;
    stop(daemon).await;
    let mut ledger = Tail::of(&journey.operator.ledger_path());
    ledger.added();

    let mut reachable = Vec::new();
    for _ in 0..bench.repeat(20, 3) {
        reachable.push(start(&journey, &releases[0], &mut ledger).await);
    }
    journey.operator.set_endpoints(&[NOBODY], 1);
    let mut waiting = Vec::new();
    for _ in 0..bench.repeat(3, 1) {
        waiting.push(start(&journey, &releases[0], &mut ledger).await);
    }
    journey.operator.configure(|config| config["startup_chain_wait_secs"] = json!(0));
    let mut at_once = Vec::new();
    for _ in 0..bench.repeat(20, 3) {
        at_once.push(start(&journey, &releases[0], &mut ledger).await);
    }

    let peers = peers(bench, &releases[0]);
    let line = |what: &str, values: Vec<f64>, peers, target| Line {
        row: 6,
        what: what.to_owned(),
        unit: "ms",
        ours: Sample::of(values),
        peers,
        target,
    };
    let target = Some(Target::MedianBelow(100.0));
    vec![
        line("start to the vault's first line, chain reachable", reachable, peers, target),
        line("the same, chain out of reach, startup_chain_wait_secs 0", at_once, Vec::new(), target),
        line("the same, chain out of reach, waited for as by default", waiting, Vec::new(), None),
    ]
}

/// In milliseconds.
async fn start(journey: &Journey, release: &Release, ledger: &mut Tail) -> f64 {
    let began_ns = ledger::now_ns();
    let daemon = journey.operator.run();
    let entries = site::until_start(ledger);
    // Its probation is over, so that the next start finds it as one that is known to be good.
    journey.operator.running(release).await;
    stop(daemon).await;
    ledger.added();
    (site::started_ns(&entries) - began_ns) as f64 / 1e6
}

pub(crate) async fn stop(mut daemon: Child) {
    daemon.signal(Signal::TERM);
    assert!(daemon.end().await.success(), "{}", daemon.stderr());
}

fn peers(bench: &Bench, release: &Release) -> Vec<Peer> {
    let measured = |kind| {
        let site = Site::of_test_vaults(kind, &release.program, &[SERVICE]);
        let mut ledger = Tail::of(&site.ledger(SERVICE));
        let mut start = || {
            let began_ns = ledger::now_ns();
            let _running = site.start();
            let entries = site::until_start(&mut ledger);
            (site::started_ns(&entries) - began_ns) as f64 / 1e6
        };
        Sample::of((0..bench.repeat(10, 2)).map(|_| start()))
    };
    KINDS
        .into_iter()
        .map(|kind| Peer {
            name: format!("{} start", kind.name()),
            figures: kind.is_installed().map(|()| measured(kind)),
        })
        .collect()
}
