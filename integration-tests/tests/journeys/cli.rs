//! The commands that scripts and release managers call: what they print and how they exit.

use std::fs;

use integration_tests::{
    command,
    dev_chain::DevChain,
    journey::{Journey, Published},
    redis,
    releases::Release,
};
use serde_json::Value;

#[tokio::test]
async fn publish_prints_what_the_chain_states_then_and_show_agrees() {
    let journey = Journey::begin().await;
    let show = ["release", "show", "--json", "--endpoint", journey.chain.url()];
    let nothing: Value = command::vaultvisor(show).await.exited(0).json();
    assert_eq!(nothing["current"], Value::Null);

    let release = Release::of_test_vault("1.0.0");
    let published = journey.state(&release).await;
    assert_eq!((published.version.as_str(), &published.checksum), ("1.0.0", &release.checksum));
    let block = published.block.expect("it waited for the block");
    assert!(journey.chain.finalized_number().await >= block);

    let shown: Value = command::vaultvisor(show).await.exited(0).json();
    assert_eq!(shown["current"]["version"], "1.0.0");
    assert_eq!(shown["current"]["checksum"], release.checksum);
    let of_the_only_network: Value =
        journey.operator.vaultvisor(&["release", "show", "--json"]).await.exited(0).json();
    assert_eq!(of_the_only_network["current"], shown["current"]);
    assert_eq!(shown["current"]["sequence"], 1);
    assert_eq!(shown["genesis"], journey.chain.ready().genesis);
    assert!(shown["finalized"].as_u64() >= Some(block), "{shown}");
}

#[tokio::test]
async fn publish_does_not_wait_for_finality_if_told_so() {
    let journey = Journey::begin().await;
    journey.chain.reach_finalized(1).await;
    journey.chain.hold_finality(true).await;
    let release = Release::of_test_vault("1.0.0");
    let published: Published = journey.publish(&release, &["--wait", "best"]).await.exited(0).json();
    assert!(!published.finalized, "{published:?}");
    assert!(published.block.is_some(), "{published:?}");
}

#[tokio::test]
async fn publish_takes_the_checksum_of_a_file() {
    let chain = DevChain::start().await;
    let folder = tempfile::tempdir().unwrap();
    let release = Release::of_test_vault("1.0.0");
    let binary = folder.path().join("vault");
    fs::write(&binary, &release.program).unwrap();
    let publish = ["release", "publish", "--json", "--endpoint", chain.url(), "--suri", "//Alice"];
    let what = ["--version", "1.0.0", "--binary", binary.to_str().unwrap()];
    let published: Published = command::vaultvisor(publish.iter().chain(&what)).await.exited(0).json();
    assert_eq!(published.checksum, release.checksum);
}

#[tokio::test]
async fn a_key_without_the_right_changes_nothing_and_exits_1() {
    let chain = DevChain::start().await;
    let release = Release::of_test_vault("1.0.0");
    let publish = ["release", "publish", "--json", "--endpoint", chain.url(), "--suri", "//Bob"];
    let what = ["--version", "1.0.0", "--checksum", &release.checksum];
    let refused = command::vaultvisor(publish.iter().chain(&what)).await.exited(1);
    assert_eq!(refused.stdout, "");
    assert!(!refused.stderr.is_empty());
}

#[tokio::test]
async fn a_chain_out_of_reach_is_exit_5_and_is_named() {
    let endpoint = format!("ws://127.0.0.1:{}", redis::free_port());
    let checksum = "ab".repeat(32);
    let show = vec!["release", "show", "--endpoint", &endpoint];
    let publish = ["release", "publish", "--endpoint", &endpoint, "--suri", "//Alice", "--version", "1.0.0"];
    let publish = [&publish[..], &["--checksum", &checksum]].concat();
    for command in [show, publish] {
        let failed = command::vaultvisor(&command).await.exited(5);
        assert!(failed.stderr.contains(&endpoint), "{command:?}: which one?\n{}", failed.stderr);
        assert_eq!(failed.stdout, "");
    }
}

#[tokio::test]
async fn a_bad_version_or_checksum_is_exit_2_and_is_named() {
    // Nobody listens there: what is wrong is seen before anybody is asked.
    let endpoint = format!("ws://127.0.0.1:{}", redis::free_port());
    let good_checksum = "ab".repeat(32);
    for (version, checksum, named) in [
        ("../1.0.0", good_checksum.as_str(), "../1.0.0"),
        ("1.0.0", "abc", "abc"),
        ("", &good_checksum, "\"\""),
    ] {
        let publish = ["release", "publish", "--endpoint", &endpoint, "--suri", "//Alice"];
        let what = ["--version", version, "--checksum", checksum];
        let refused = command::vaultvisor(publish.iter().chain(&what)).await.exited(2);
        assert!(refused.stderr.contains(named), "{named} is not named:\n{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
}

#[tokio::test]
async fn run_with_a_missing_configuration_is_exit_2_and_names_it() {
    let refused = command::vaultvisor(["run", "--config", "/nonexistent/vaultvisor.json"]).await.exited(2);
    assert!(refused.stderr.contains("/nonexistent/vaultvisor.json"), "{}", refused.stderr);
}
