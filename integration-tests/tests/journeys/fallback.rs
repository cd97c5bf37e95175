//! T06: a new release that does not run.

use std::path::Path;

use integration_tests::{
    journey::{Journey, Source},
    ledger,
    operator::NETWORK,
    releases::Release,
};

integration_tests::through! {
    t06_a_release_that_exits_at_once_is_rejected_and_the_old_one_comes_back: Node, OldNode, LightClient;
}

async fn t06_a_release_that_exits_at_once_is_rejected_and_the_old_one_comes_back(source: Source) {
    let bad = Release::of(Path::new("/bin/false"), "2.0.0");
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let good = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&good).await;

    journey.server.offer(&bad, NETWORK);
    journey.state(&bad).await;
    let vault = operator
        .vault_where("the return to the old release", |vault| {
            !vault.rejected.is_empty() && vault.state == "running"
        })
        .await;

    let running = vault.running.expect("the state is running");
    assert_eq!(running.checksum, good.checksum);
    assert_ne!(running.pid, before.pid, "the old process was stopped for the switch");
    let rejected = &vault.rejected[0];
    assert_eq!((rejected.checksum.as_str(), rejected.attempts), (bad.checksum.as_str(), 1));
    assert!(rejected.reason.contains("exit code 1"), "{}", rejected.reason);
    assert!(vault.problem.is_some_and(|problem| problem.contains("2.0.0")));
    assert_eq!(vault.target.map(|target| target.checksum), Some(bad.checksum), "the chain still says so");
    // What is known to be good is not on probation: it is said to run before it has written its first line.
    let lives = operator.lives_where("two lives", |lives| lives.len() == 2).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    // No wait is part of it; what it takes is milliseconds, and the rest is for a loaded machine.
    assert!(ledger::longest_downtime_secs(&lives) < 10.0, "{lives:#?}");
}
