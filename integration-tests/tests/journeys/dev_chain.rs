//! What tests and people rely on of the development chain itself.

use std::{fs, process::Command};

use integration_tests::{
    binaries,
    child::{Child, Signal},
    dev_chain::{DevChain, Ready},
    operator, wait,
};
use subxt_rpcs::client::rpc_params;

#[tokio::test]
async fn it_makes_blocks_finalizes_them_and_prints_its_ready_line_only() {
    let mut chain = DevChain::start().await;
    chain.reach_finalized(2).await;
    let ready = chain.ready().clone();
    assert!(ready.ready);
    assert_eq!(ready.pid, chain.process().pid());
    let genesis: String = chain.request("chain_getBlockHash", rpc_params![0]).await;
    assert_eq!(ready.genesis, genesis);
    assert!(ready.p2p.starts_with("/ip4/127.0.0.1/tcp/") && ready.p2p.contains("/p2p/"), "{}", ready.p2p);
    assert_eq!(chain.process().stdout().lines().count(), 1);
}

#[tokio::test]
async fn it_ends_at_once_on_sigterm() {
    let mut chain = DevChain::start().await;
    chain.process().signal(Signal::TERM);
    chain.process().end().await;
}

#[tokio::test]
async fn it_dies_with_its_parent_if_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let chain = binaries::path("dev-chain");
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$1\" --rpc-port 0 --die-with-parent & wait", "sh"]).arg(chain);
    let shell = Child::spawn("shell", shell, folder.path());
    let ready: Ready = wait::until("the ready line", async || {
        serde_json::from_str(&shell.stdout()).map_err(|error| error.to_string())
    })
    .await;
    shell.signal(Signal::KILL);
    wait::until("the chain's end", async || match operator::is_alive(ready.pid) {
        false => Ok(()),
        true => Err("it runs".to_owned()),
    })
    .await;
}

#[tokio::test]
async fn each_new_chain_is_another_and_a_kept_one_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let base_path = folder.path().join("chain");
    let options = ["--base-path", base_path.to_str().unwrap()];
    let mut first = DevChain::start_with(&options).await;
    first.reach_finalized(1).await;
    let genesis = first.ready().genesis.clone();
    first.process().signal(Signal::TERM);
    first.process().end().await;
    drop(first);

    let again = DevChain::start_with(&options).await;
    assert_eq!(again.ready().genesis, genesis);
    assert!(again.finalized_number().await >= 1, "its blocks are gone");
    drop(again);
    assert!(fs::read_dir(&base_path).unwrap().next().is_some(), "a given base path is not removed");

    let other = DevChain::start().await;
    assert_ne!(other.ready().genesis, genesis);
}

#[tokio::test]
async fn finality_is_held_back_and_let_go() {
    let chain = DevChain::start().await;
    chain.reach_finalized(1).await;
    chain.hold_finality(true).await;
    // A vote that was under way may still count.
    chain.reach_best(chain.best_number().await + 1).await;
    let held_at = chain.finalized_number().await;
    chain.reach_best(chain.best_number().await + 3).await;
    assert_eq!(chain.finalized_number().await, held_at);
    chain.hold_finality(false).await;
    chain.reach_finalized(held_at + 3).await;
}

#[tokio::test]
async fn with_manual_seal_nothing_happens_by_itself() {
    let chain = DevChain::start_manual().await;
    assert_eq!((chain.best_number().await, chain.finalized_number().await), (0, 0));
    let first = chain.create_block(false).await;
    assert_eq!((chain.best_number().await, chain.finalized_number().await), (1, 0));
    chain.finalize_block(&first).await;
    assert_eq!((chain.best_number().await, chain.finalized_number().await), (1, 1));
    chain.create_block(true).await;
    assert_eq!((chain.best_number().await, chain.finalized_number().await), (2, 2));
}
