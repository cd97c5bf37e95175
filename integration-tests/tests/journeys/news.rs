//! T18: another release is stated while the last one is still on its way.

use integration_tests::{
    journey::{Journey, Source},
    ledger,
    operator::{Operator, VAULT},
    orders::Order,
    releases::Release,
    wait,
};
use serde_json::json;

integration_tests::through! {
    t18_a_release_stated_during_a_download_wins_and_the_other_never_runs: Node, OldNode;
}

/// Waits until the vault knows that the chain states this release.
async fn is_target(operator: &Operator, release: &Release) {
    operator
        .vault_where(&format!("{} to be the target", release.version), |vault| {
            vault.target.as_ref().is_some_and(|target| target.checksum == release.checksum)
        })
        .await;
}

/// Waits until that release is all that is left: it runs, nothing failed, and the store has nothing else.
async fn is_all_that_is_left(operator: &Operator, release: &Release) {
    operator.running(release).await;
    wait::until("the store to hold what runs only", async || match operator.stored() {
        stored if stored == [release.checksum.as_str()] => Ok(()),
        stored => Err(format!("{stored:?}")),
    })
    .await;
    let vault = operator.vault().await;
    assert_eq!((&vault.rejected[..], vault.problem), (&[][..], None));
    let lives = operator.lives();
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert!(
        lives.iter().rev().skip(1).all(|life| life.ended),
        "one was not left the time to end: {lives:#?}"
    );
}

async fn t18_a_release_stated_during_a_download_wins_and_the_other_never_runs(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;

    journey.server.stall(Some("2.0.0"));
    journey.release("2.0.0").await;
    wait::until("the download to begin", async || match journey.server.served("2.0.0").len() {
        0 => Err("nothing was asked for".to_owned()),
        _ => Ok(()),
    })
    .await;
    assert_eq!(operator.running(&first).await, before, "ready first");
    let third = journey.release("3.0.0").await;
    is_target(operator, &third).await;
    journey.server.stall(None);

    is_all_that_is_left(operator, &third).await;
    let lives = operator.lives();
    let releases: Vec<_> = lives.iter().filter_map(|life| life.release.as_deref()).collect();
    assert_eq!(releases, ["1.0.0", "3.0.0"]);
}

#[tokio::test]
async fn t18_a_release_stated_while_the_old_vault_is_stopped_wins() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    operator.configure(|config| config["vaults"][VAULT]["stop"]["grace_secs"] = json!(3600));
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    operator.running(&first).await;

    operator.orders().give(Order::BeDeaf, "1.0.0");
    journey.release("2.0.0").await;
    operator.lives_where("the stop signal", |lives| !lives[0].signals.is_empty()).await;
    let third = journey.release("3.0.0").await;
    is_target(operator, &third).await;
    assert_eq!(operator.lives().len(), 1, "the old one still lives");
    operator.orders().give(Order::Exit, "1.0.0");

    is_all_that_is_left(operator, &third).await;
}

#[tokio::test]
async fn t18_a_release_stated_during_probation_wins() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    operator.running(&first).await;
    operator.configure(|config| config["vaults"][VAULT]["probation"]["secs"] = json!(3600));
    operator.reload(&daemon).await;

    let second = journey.release("2.0.0").await;
    let is_on_probation = |release: &Release| {
        let checksum = release.checksum.clone();
        move |vault: &integration_tests::status::VaultStatus| {
            vault.state == "probation"
                && vault.running.as_ref().is_some_and(|running| running.checksum == checksum)
        }
    };
    operator.vault_where("2.0.0 on probation", is_on_probation(&second)).await;
    // Only for the next: a probation that has begun is as long as it was.
    operator.configure(|config| config["vaults"][VAULT]["probation"]["secs"] = json!(1));
    operator.reload(&daemon).await;
    let third = journey.release("3.0.0").await;

    is_all_that_is_left(operator, &third).await;
    let lives = operator.lives();
    let releases: Vec<_> = lives.iter().filter_map(|life| life.release.as_deref()).collect();
    assert_eq!(releases, ["1.0.0", "2.0.0", "3.0.0"]);
    let kinds = operator.history_with(&["kept", "kept"]).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "kept").count(), 2, "2.0.0 has proved nothing: {kinds:?}");
}
