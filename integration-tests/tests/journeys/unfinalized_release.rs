//! T17: a release in a block that is not final is not acted on.

use integration_tests::{
    dev_chain::DevChain,
    journey::{Journey, Source},
    operator::{NETWORK, has_seen},
    releases::Release,
};

integration_tests::through! {
    t17_a_release_is_acted_on_when_its_block_is_final_and_not_before: Node, OldNode, LightClient;
    t17_a_release_on_a_fork_that_loses_is_never_acted_on: Node, OldNode;
}

/// How far the best chain runs ahead before we believe that nothing happens: each of these blocks was a chance.
const BLOCKS_AHEAD: u64 = 4;

async fn t17_a_release_is_acted_on_when_its_block_is_final_and_not_before(source: Source) {
    let journey = Journey::through(source).await;
    let (chain, operator) = (&journey.chain, &journey.operator);
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;

    chain.hold_finality(true).await;
    let second = Release::of_test_vault("2.0.0");
    journey.server.offer(&second, NETWORK);
    journey.publish(&second, &["--wait", "best"]).await.exited(0);
    chain.reach_best(chain.best_number().await + BLOCKS_AHEAD).await;

    let vault = operator.vault().await;
    assert_eq!(vault.running.as_ref(), Some(&before));
    assert_eq!(vault.target.map(|target| target.version), Some("1.0.0".to_owned()));
    assert_eq!(journey.server.served("2.0.0"), [], "not even looked at");

    chain.hold_finality(false).await;
    operator.running(&second).await;
}

async fn t17_a_release_on_a_fork_that_loses_is_never_acted_on(source: Source) {
    let journey = Journey::on_through(DevChain::start_manual().await, source).await;
    let (chain, operator) = (&journey.chain, &journey.operator);
    let first = Release::of_test_vault("1.0.0");
    journey.server.offer(&first, NETWORK);
    journey.publish(&first, &["--wait", "none"]).await.exited(0);
    let common = chain.create_block(true).await;
    let daemon = operator.run();
    let before = operator.running(&first).await;

    // Two empty forks of one height; the first is the best chain, on which the release is signed, so that no
    // other chain can ever hold it.
    let loser = chain.create_block_on(&common).await;
    let winner = chain.create_block_on(&common).await;
    assert_eq!(chain.best_hash().await, loser);
    let second = Release::of_test_vault("2.0.0");
    journey.server.offer(&second, NETWORK);
    journey.publish(&second, &["--wait", "none"]).await.exited(0);
    let best = chain.create_block_on(&loser).await;
    assert_eq!(chain.transactions_in(&best).await, 1, "the losing fork does not hold the release");
    assert_eq!(chain.best_hash().await, best);

    chain.finalize_block(&winner).await;
    has_seen(&daemon, chain.finalized_number().await).await;
    let vault = operator.vault().await;
    assert_eq!(vault.running, Some(before));
    assert_eq!(vault.target.map(|target| target.version), Some("1.0.0".to_owned()));
    assert_eq!(journey.server.served("2.0.0"), [], "not even looked at");
}
