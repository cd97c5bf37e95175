//! Row 8: one release for 500 vaults of one process, of which none may be missed and none may be two.

use std::{path::PathBuf, time::Duration};

use integration_tests::{
    journey::Journey,
    ledger::{self, Life},
    operator::NETWORK,
    releases::Release,
};
use serde_json::json;

use crate::{
    processes,
    site::{self, Bench},
    stats::Sample,
    table::{Line, Target},
};

const BLOCK_TIME: Duration = Duration::from_secs(1);
/// For all of them, on two cores that others use as well.
const PATIENCE: Duration = Duration::from_secs(900);

pub(crate) async fn measure(bench: &Bench) -> Vec<Line> {
    let count = bench.repeat(500, 50);
    let journey = bench.journey(BLOCK_TIME).await;
    journey.operator.configure(|config| {
        // The program is `test-vault`, but its beats, fifty a second and vault, are not what is measured.
        site::set_vaults(config, &[NETWORK.to_owned()], count, &json!([]));
        for number in 0..count {
            let ledger = ledger_of(&journey, number);
            config["vaults"][site::name_of(number)]["args"] = json!(["--quiet", "--ledger", ledger]);
        }
    });
    let first = journey.release("1.0.0").await;
    let mut daemon = journey.operator.run();
    site::all_run(&journey, &first, PATIENCE).await;

    let second = Release::of_test_vault("2.0.0");
    journey.server.offer(&second, NETWORK);
    journey.state(&second).await;
    let stated_ns = ledger::now_ns();
    site::all_run(&journey, &second, PATIENCE).await;
    assert!(daemon.ended().is_none());
    let descriptors = processes::open_files(daemon.pid());

    let lives: Vec<Vec<Life>> =
        (0..count).map(|number| ledger::lives(&ledger_of(&journey, number))).collect();
    for lives in &lives {
        assert_eq!(ledger::never_two(lives), Ok(()));
        let releases: Vec<_> = lives.iter().filter_map(|life| life.release.as_deref()).collect();
        assert_eq!(releases, ["1.0.0", "2.0.0"], "each vault goes through each release once");
    }
    assert_eq!(journey.server.served("2.0.0").len(), 1, "one download for all");
    let downtimes = lives.iter().map(|lives| ledger::longest_downtime_secs(lives) * 1000.0);
    let last_ns = lives.iter().map(|lives| lives[1].from_ns).max().expect("there are vaults");
    let line =
        |what: String, unit, ours, target| Line { row: 8, what, unit, ours, peers: Vec::new(), target };
    vec![
        line(
            format!("one release for {count} vaults: downtime of each"),
            "ms",
            Sample::of(downtimes),
            Some(Target::P99Below(1000.0)),
        ),
        line(
            format!("one release for {count} vaults: until the last runs it"),
            "s",
            Sample::one(last_ns.saturating_sub(stated_ns) as f64 / 1e9),
            None,
        ),
        line(
            format!("open files of vaultvisor for each of {count} vaults"),
            "files",
            Sample::one(descriptors as f64 / count as f64),
            None,
        ),
    ]
}

fn ledger_of(journey: &Journey, vault: usize) -> PathBuf {
    journey.operator.data().join(format!("{vault}.jsonl"))
}
