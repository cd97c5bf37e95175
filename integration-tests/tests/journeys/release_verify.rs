//! Release managers ask whether what they published is what the chain states.

use integration_tests::{
    command, dev_chain::DevChain, journey::Journey, operator::NETWORK, redis, releases::Release,
};
use serde_json::Value;

const VERIFY: [&str; 4] = ["release", "verify", "--network", NETWORK];

/// A file of a release at the place that its checksum names, and the option that states it.
fn artifact(journey: &Journey, name: &str, content: &str) -> [String; 2] {
    let file = Release::from_bytes("files", content.as_bytes().to_vec());
    journey.server.offer_file("files", &file.checksum, content.as_bytes());
    ["--artifact-checksum".to_owned(), format!("{name}={}", file.checksum)]
}

/// What `release verify` says of a file: its results at all places.
fn results<'a>(verified: &'a Value, version: &str, artifact: Option<&str>) -> Vec<&'a str> {
    let files = verified["files"].as_array().expect("a list").iter();
    let of_it = files.filter(|file| file["version"] == version && file["artifact"].as_str() == artifact);
    of_it.map(|file| file["result"].as_str().expect("a word")).collect()
}

#[tokio::test]
async fn every_file_of_every_platform_is_compared_also_of_what_is_pending() {
    let journey = Journey::begin().await;
    let (operator, server) = (&journey.operator, &journey.server);
    let by_checksum = format!("http://{}/files/vault-{{checksum}}", server.address());
    operator.configure(|config| {
        config["networks"][NETWORK]["release_urls"] = serde_json::json!([server.url_template(), by_checksum]);
    });
    let before = operator.vaultvisor(&VERIFY).await.exited(0);
    assert!(before.stdout.contains("no release is stated"), "{}", before.stdout);

    let [current, pending] = ["1.0.0", "2.0.0"].map(Release::of_test_vault);
    let arm = "binary-aarch64-unknown-linux-gnu";
    let options =
        [artifact(&journey, arm, "for another machine"), artifact(&journey, "args-migration", "#!/bin/sh")];
    let options: Vec<&str> = options.iter().flatten().map(String::as_str).collect();
    journey.publish(&current, &options).await.exited(0);
    let migration = artifact(&journey, "state-migration", "#!/bin/sh\n");
    let options: Vec<&str> =
        ["--schedule", "2"].into_iter().chain(migration.iter().map(String::as_str)).collect();
    journey.publish(&pending, &options).await.exited(0);
    server.offer(&current, NETWORK);

    // The pending one is not published yet.
    let missing = operator.vaultvisor(&[&VERIFY[..], &["--json"]].concat()).await.exited(1);
    let verified: Value = missing.json();
    assert_eq!(verified["verified"], false);
    assert_eq!(results(&verified, "1.0.0", None), ["equal", "nothing"]);
    assert_eq!(results(&verified, "1.0.0", Some(arm)), ["equal"], "of whatever platform");
    assert_eq!(results(&verified, "1.0.0", Some("args-migration")), ["equal"]);
    assert_eq!(results(&verified, "2.0.0", None), ["nothing", "nothing"]);
    assert_eq!(results(&verified, "2.0.0", Some("state-migration")), ["equal"]);
    let told = missing.stderr.lines().last().expect("why it failed");
    assert!(told.contains("binary of 2.0.0") && !told.contains("1.0.0"), "{told}");

    server.offer(&pending, NETWORK);
    let verified = operator.vaultvisor(&VERIFY).await.exited(0);
    let lines: Vec<&str> = verified.stdout.lines().collect();
    assert_eq!(lines.len(), 7, "one line for each place: {lines:#?}");

    server.offer_file("2.0.0", NETWORK, b"something else");
    let other = operator.vaultvisor(&VERIFY).await.exited(6);
    let line = other.stdout.lines().find(|line| line.contains("OTHER")).expect("it is told");
    let found = Release::from_bytes("2.0.0", b"something else".to_vec()).checksum;
    assert!(line.contains(&pending.checksum) && line.contains(&found), "{line}");
    assert!(other.stderr.contains("binary of 2.0.0"), "{}", other.stderr);
    assert!(!operator.home().join("store").exists(), "nothing is kept");
}

#[tokio::test]
async fn a_chain_out_of_reach_is_exit_5_and_one_without_places_exit_2() {
    let endpoint = format!("ws://127.0.0.1:{}", redis::free_port());
    let failed = command::vaultvisor(["release", "verify", "--endpoint", &endpoint]).await.exited(5);
    assert!(failed.stderr.contains(&endpoint), "{}", failed.stderr);
    let chain = DevChain::start().await;
    let release = Release::of_test_vault("1.0.0");
    let publish =
        ["release", "publish", "--endpoint", chain.url(), "--suri", "//Alice", "--version", "1.0.0"];
    command::vaultvisor(publish.iter().chain(&["--checksum", &release.checksum])).await.exited(0);
    let refused = command::vaultvisor(["release", "verify", "--endpoint", chain.url()]).await.exited(2);
    assert!(refused.stderr.contains("--release-url"), "{}", refused.stderr);
}
