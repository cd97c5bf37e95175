//! What the chain's own event tells of a release: in which block, by which extrinsic, signed by whom.

use integration_tests::{
    journey::{Journey, Source},
    operator::{NETWORK, Operator},
    releases::Release,
    wait,
};
use serde_json::Value;

use super::runtime_upgrade::{begin_by_hand, schedule};

integration_tests::through! {
    a_stated_release_is_annotated_with_block_extrinsic_and_signer: Node;
    a_promotion_is_annotated_as_the_runtimes_own_doing_in_the_block_that_it_executed_first: Node, OldNode;
}

/// The account of the key `//Alice`, as it signs.
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

/// Waits until the announcement of that version is in the history.
pub(crate) async fn announced(operator: &Operator, version: &str) -> Value {
    wait::until(&format!("{version} to be announced"), async || {
        let printed = operator.vaultvisor(&["history", "--json"]).await.exited(0).stdout;
        let line = |line| serde_json::from_str(line).expect("each line is one JSON object");
        let lines: Vec<Value> = printed.lines().map(line).collect();
        let is_it = |line: &&Value| line["kind"] == "announced" && line["to"]["version"] == version;
        lines.iter().find(is_it).cloned().ok_or_else(|| format!("{lines:?}"))
    })
    .await
}

fn is_in_block(line: &Value, block: u64, hash: &str) {
    let text = line["text"].as_str().expect("text");
    let place = format!("VaultRelease.VaultClientUpdate in block {block} ({hash})");
    assert!(text.starts_with(&place), "{text}");
    assert_eq!((line["finalized"].as_u64(), &line["vault"]), (Some(block), &Value::Null));
}

async fn a_stated_release_is_annotated_with_block_extrinsic_and_signer(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    operator.running(&first).await;

    let second = Release::of_test_vault("2.0.0");
    journey.server.offer(&second, NETWORK);
    let block = journey.state(&second).await.block.expect("it waited for the block");
    operator.running(&second).await;

    let line = announced(operator, "2.0.0").await;
    is_in_block(&line, block, &journey.chain.block_hash(block).await);
    let text = line["text"].as_str().expect("text");
    assert!(text.ends_with(&format!(", extrinsic 1, signed by {ALICE}")), "{text}");
    assert_eq!(line["sequence"], 2);
}

async fn a_promotion_is_annotated_as_the_runtimes_own_doing_in_the_block_that_it_executed_first(
    source: Source,
) {
    let (journey, first) = begin_by_hand(source).await;
    let (chain, operator) = (&journey.chain, &journey.operator);
    let _daemon = operator.run();
    operator.running(&first).await;
    let second = schedule(&journey, "2.0.0", 3).await;
    let changed = chain.upgrade_runtime(3).await;
    chain.finalize_block(&changed).await;
    let promoted = chain.create_block(true).await;
    operator.running(&second).await;

    let line = announced(operator, "2.0.0").await;
    is_in_block(&line, chain.finalized_number().await, &promoted);
    assert!(line["text"].as_str().expect("text").ends_with(", by the runtime itself"), "{line}");
}
