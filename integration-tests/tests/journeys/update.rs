//! From one release to the next.

use integration_tests::{
    journey::{Journey, Source},
    ledger, operator, wait,
};

integration_tests::through! {
    a_new_release_replaces_the_running_one_and_the_two_never_meet: Node, OldNode, LightClient;
    another_version_of_the_same_binary_restarts_nothing: Node, OldNode, LightClient;
}

async fn a_new_release_replaces_the_running_one_and_the_two_never_meet(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;

    let second = journey.release("2.0.0").await;
    let after = operator.running(&second).await;

    assert_ne!(after.pid, before.pid);
    assert_eq!(after.version, "2.0.0");
    assert!(!operator::is_alive(before.pid));
    assert_eq!(operator.status().await.pid, Some(daemon.pid()), "vaultvisor itself goes on");

    let lives = operator.lives_where("two lives", |lives| lives.len() == 2).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    let [old, new] = &lives[..] else { panic!("{lives:#?}") };
    assert_eq!((old.pid, new.pid), (before.pid, after.pid));
    assert_eq!((old.release.as_deref(), new.release.as_deref()), (Some("1.0.0"), Some("2.0.0")));
    assert_eq!(old.args, new.args);
    assert_eq!(old.signals, ["SIGINT"]);
    assert!(old.ended, "the old vault was not left the time to end: {old:#?}");

    let switch = operator.vault().await.last_switch.expect("there was a switch");
    assert_eq!((switch.from.as_deref(), switch.to.as_str()), (Some("1.0.0"), "2.0.0"));
    let downtime = switch.downtime_ms.expect("nothing was restarted in between: it was measured");
    assert!((0.0..10_000.0).contains(&downtime), "{downtime} ms");
}

#[tokio::test]
async fn the_old_binary_is_removed_once_the_new_release_is_kept() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    operator.running(&first).await;

    let second = journey.release("2.0.0").await;
    operator.running(&second).await;

    wait::until("the store to hold the new release only", async || match operator.stored() {
        stored if stored == [second.checksum.as_str()] => Ok(()),
        stored => Err(format!("{stored:?}")),
    })
    .await;
    assert!(operator.home().join("store/sha256").join(&second.checksum).join("vault").is_file());
}

#[tokio::test]
async fn an_older_version_is_a_release_like_any_other() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("2.0.0").await;
    let _daemon = operator.run();
    operator.running(&first).await;

    // Governance goes back; versions are never compared.
    let second = journey.release("1.0.0").await;
    let running = operator.running(&second).await;
    assert_eq!(running.version, "1.0.0");
}

async fn another_version_of_the_same_binary_restarts_nothing(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let mut release = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&release).await;

    release.version = "1.0.0-renamed".to_owned();
    journey.state(&release).await;
    let vault = operator
        .vault_where("the new statement to be seen", |vault| {
            vault.target.as_ref().is_some_and(|target| target.sequence == Some(2))
        })
        .await;

    assert_eq!(vault.running.map(|running| running.pid), Some(before.pid));
    assert_eq!(operator.lives().len(), 1);
    assert_eq!(journey.server.served(&release.version), [], "it is in the store already");
}
