//! T25: a vault that refuses to run from the upgrade of the runtime on, until its own release is in force.

use integration_tests::{
    journey::{Journey, Source},
    ledger,
    operator::has_seen,
    orders::Order,
    releases::Release,
    rpc_proxy::MODERN_METHODS,
    status::VaultStatus,
};

use super::runtime_upgrade::{begin_by_hand, schedule};

#[tokio::test]
async fn t25_a_vault_that_refuses_to_run_during_the_upgrade_is_replaced_by_the_fetched_release_and_blamed_for_nothing()
 {
    let (journey, first) = begin_by_hand(Source::Node).await;
    is_blamed_for_nothing(&journey, first).await;
}

#[tokio::test]
async fn t25_an_old_node_is_enough_to_blame_a_vault_for_nothing_during_the_upgrade() {
    let (journey, first) = begin_by_hand(Source::OldNode).await;
    is_blamed_for_nothing(&journey, first).await;
    let asked = journey.node().asked();
    let modern = |method: &&String| MODERN_METHODS.iter().any(|name| method.starts_with(name));
    assert_eq!(asked.iter().find(modern), None);
}

async fn is_blamed_for_nothing(journey: &Journey, first: Release) {
    let (chain, operator) = (&journey.chain, &journey.operator);
    operator.obey_orders();
    let daemon = operator.run();
    let before = operator.running(&first).await;

    // Fetched ahead, and nothing else happens.
    let second = schedule(journey, "2.0.0", 3).await;
    let vault = operator
        .vault_where("the scheduled release to be fetched", |vault| {
            vault.pending.as_ref().is_some_and(|pending| pending.fetched)
        })
        .await;
    let pending = vault.pending.expect("that is what was waited for");
    assert_eq!((&pending.checksum, pending.spec_version), (&second.checksum, Some(3)));
    assert_eq!(vault.running.as_ref(), Some(&before));
    assert_eq!(journey.server.served("2.0.0").len(), 1);

    // From the change of the code on, before it is final, the old client refuses to run, also when it is started again.
    let final_before = chain.finalized_number().await;
    let changed = chain.upgrade_runtime(3).await;
    operator.history_with(&["window"]).await;
    assert_eq!(chain.finalized_number().await, final_before, "finality is held back");
    operator.orders().give(Order::Refuse, "1.0.0");
    operator.orders().give(Order::Exit, "1.0.0");
    let refuses = |vault: &VaultStatus| vault.running.is_none() && vault.why.contains("runtime upgrade");
    let ended = operator.vault_where("the end of the old vault, without blame", refuses).await;
    assert_eq!((&ended.rejected[..], ended.problem), (&[][..], None));

    // Final: the old release is in force still, and what is pending is due.
    chain.finalize_block(&changed).await;
    has_seen(&daemon, chain.finalized_number().await).await;
    let due = operator.vault_where("the old vault to be waited for still", refuses).await;
    assert_eq!(due.target.map(|target| target.sequence), ended.target.map(|target| target.sequence));
    assert_eq!((&due.rejected[..], due.problem), (&[][..], None));

    // The first block of the new runtime puts the release in force.
    chain.create_block(true).await;
    let after = operator.running(&second).await;

    assert_eq!(after.restarts, 0);
    assert_eq!(operator.status().await.pid, Some(daemon.pid()), "vaultvisor itself goes on");
    assert_eq!(journey.server.served("2.0.0").len(), 1, "it was there already");
    let lives = operator.lives();
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!(lives.last().map(|life| life.pid), Some(after.pid));
    let vault = operator.vault().await;
    assert_eq!((&vault.rejected[..], vault.problem, vault.pending), (&[][..], None, None));
    assert_eq!(vault.target.and_then(|target| target.sequence), Some(2));
    let kinds = operator.history_with(&["window", "window", "kept", "kept"]).await;
    let blamed = |kind: &&String| ["crashed", "rejected", "fell_back"].contains(&kind.as_str());
    assert_eq!(kinds.iter().find(blamed), None, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "window").count(), 2, "it opened and closed: {kinds:?}");
}
