//! T19: a release that was stated while nobody listened.

use integration_tests::{
    child::Signal,
    journey::{Journey, Source},
    ledger,
};

integration_tests::through! {
    t19_a_release_stated_while_vaultvisor_was_away_is_taken_up_at_its_start: Node, OldNode, LightClient;
    t19_of_several_releases_missed_only_the_last_is_fetched: Node, OldNode, LightClient;
}

async fn t19_a_release_stated_while_vaultvisor_was_away_is_taken_up_at_its_start(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(0));

    let second = journey.release("2.0.0").await;
    // The block that stated it shall be history, so that only storage can tell.
    journey.chain.reach_finalized(journey.chain.finalized_number().await + 2).await;
    assert_eq!(journey.server.served("2.0.0"), []);

    let _daemon = operator.run();
    let after = operator.running(&second).await;

    assert_ne!(after.pid, before.pid);
    let lives = operator.lives();
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!(lives.last().and_then(|life| life.release.as_deref()), Some("2.0.0"));
}

async fn t19_of_several_releases_missed_only_the_last_is_fetched(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    for version in ["1.0.0", "1.1.0"] {
        journey.release(version).await;
    }
    let last = journey.release("1.2.0").await;

    let _daemon = operator.run();
    operator.running(&last).await;

    assert_eq!(journey.server.served("1.0.0"), []);
    assert_eq!(journey.server.served("1.1.0"), []);
    assert_eq!(operator.lives().len(), 1);
    assert_eq!(operator.stored(), [last.checksum]);
}
