//! `release publish` with a node that is busy: it says no to a transaction that it has, or nothing at all. What is told in
//! the end is what has become of it.

use integration_tests::{
    command::{self, Finished},
    dev_chain::DevChain,
    journey::Published,
    rpc_proxy::{Answer, RpcProxy},
    wait,
};
use serde_json::{Value, json};
use subxt_rpcs::rpc_params;

const SUBMIT: &str = "author_submitAndWatchExtrinsic";

async fn publish(node: &RpcProxy, options: &[&str]) -> Finished {
    let checksum = "ab".repeat(32);
    let url = node.url();
    let fixed = ["release", "publish", "--json", "--endpoint", &url, "--suri", "//Alice"];
    let what = ["--version", "1.0.0", "--checksum", &checksum];
    command::vaultvisor(fixed.iter().chain(&what).chain(options)).await
}

/// A node that does these things with a transaction, and then says this.
async fn busy(chain: &DevChain, does: &[(&str, Option<Value>)], code: i32, data: Option<&str>) -> RpcProxy {
    let node = RpcProxy::in_front_of(chain.url()).await;
    let after = does.iter().map(|(method, params)| ((*method).to_owned(), params.clone())).collect();
    let error = json!({ "code": code, "message": "no", "data": data });
    node.answer(SUBMIT, Answer::Error { after, error });
    node
}

const TAKES: (&str, Option<Value>) = ("author_submitExtrinsic", None);

/// Makes a block as soon as a transaction waits for one.
async fn seal(chain: &DevChain, finalize: bool) -> String {
    wait::until("a transaction in the pool", async || {
        let pool: Vec<Value> = chain.request("author_pendingExtrinsics", rpc_params![]).await;
        if pool.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    chain.create_block(finalize).await
}

async fn has_stated(chain: &DevChain, block: &str) -> bool {
    chain.current_release(block).await.is_some_and(|release| release.version == "1.0.0")
}

fn submissions(node: &RpcProxy) -> usize {
    node.asked().iter().filter(|method| *method == SUBMIT).count()
}

#[tokio::test]
async fn a_transaction_that_the_pool_has_already_is_followed_into_its_block() {
    let chain = DevChain::start_manual().await;
    let node = busy(&chain, &[TAKES], 1013, None).await;
    let (published, block) = tokio::join!(publish(&node, &[]), seal(&chain, true));
    let published: Published = published.exited(0).json();
    assert_eq!((published.block, published.finalized), (Some(1), true));
    assert!(has_stated(&chain, &block).await);
    assert_eq!(submissions(&node), 1, "it is not submitted twice");

    // A best block is enough, if that was asked for.
    let chain = DevChain::start_manual().await;
    let node = busy(&chain, &[TAKES], 1013, None).await;
    let (published, _) = tokio::join!(publish(&node, &["--wait", "best"]), seal(&chain, false));
    let published: Published = published.exited(0).json();
    assert_eq!((published.block, published.finalized), (Some(1), false));
}

#[tokio::test]
async fn a_transaction_that_is_outdated_because_it_is_in_a_block_is_published() {
    let chain = DevChain::start_manual().await;
    let seals = ("engine_createBlock", Some(json!([true, true])));
    let node = busy(&chain, &[TAKES, seals], 1010, Some("Transaction is outdated")).await;
    let published: Published = publish(&node, &[]).await.exited(0).json();
    assert_eq!((published.block, published.finalized), (Some(1), true));
    assert!(has_stated(&chain, &chain.finalized_hash().await).await);
    assert_eq!(submissions(&node), 1);
}

#[tokio::test]
async fn a_transaction_whose_number_is_always_used_by_another_is_refused_after_three_attempts() {
    let chain = DevChain::start_manual().await;
    let node = busy(&chain, &[], 1010, Some("Transaction is outdated")).await;
    let refused = publish(&node, &[]).await.exited(1);
    assert!(refused.stderr.contains("refused the transaction"), "{}", refused.stderr);
    assert_eq!((submissions(&node), refused.stdout.as_str()), (3, ""));
    // What is no question of time is refused at once.
    let node = busy(&chain, &[], 1010, Some("Transaction has a bad signature")).await;
    publish(&node, &[]).await.exited(1);
    assert_eq!(submissions(&node), 1);
    assert!(!has_stated(&chain, &chain.create_block(true).await).await);
}

#[tokio::test]
async fn what_may_be_in_the_pool_is_never_called_not_submitted() {
    let chain = DevChain::start_manual().await;
    let pooled = busy(&chain, &[TAKES], 1013, None).await;
    let silent = RpcProxy::in_front_of(chain.url()).await;
    silent.answer(SUBMIT, Answer::Never);
    // Enough to come so far on a loaded machine; no block is ever made.
    let in_time = ["--timeout", "15"];
    let (pooled, silent) = tokio::join!(publish(&pooled, &in_time), publish(&silent, &in_time));
    for lost in [pooled, silent] {
        let lost = lost.exited(1);
        assert!(lost.stderr.contains("submitted, but in no block"), "{}", lost.stderr);
        assert_eq!(lost.stdout, "");
    }
}
