//! Several endpoints, of which some are gone, broken or lie: behind each is the same real chain.

use std::time::Duration;

use integration_tests::{
    journey::Journey,
    ledger,
    operator::NETWORK,
    releases::Release,
    rpc_proxy::{Answer, RpcProxy},
    status::{Endpoint, VaultStatus},
    wait,
};
use serde_json::{Value, json};

use super::announcement::announced;

/// How a node looks from outside.
#[derive(Debug, Clone, Copy)]
enum Node {
    Modern,
    Old,
}

async fn proxy(journey: &Journey, node: Node) -> RpcProxy {
    match node {
        Node::Modern => RpcProxy::in_front_of(journey.chain.url()).await,
        Node::Old => RpcProxy::in_front_of_old(journey.chain.url()).await,
    }
}

fn endpoint(vault: &VaultStatus, proxy: &RpcProxy) -> Endpoint {
    let chain = vault.chain.as_ref().expect("the chain is known");
    let endpoint = chain.endpoints.iter().find(|endpoint| endpoint.address == proxy.url());
    endpoint.expect("each endpoint has a status").clone()
}

async fn fails_over_while_a_release_is_published(node: Node) {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let (one, other) = (proxy(&journey, node).await, proxy(&journey, node).await);
    operator.set_endpoints(&[&one.url(), &other.url()], 1);
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    operator.running(&first).await;
    assert_eq!(other.connections(), 0, "one is enough");

    // In the middle of the release's way onto the chain.
    let second = Release::of_test_vault("2.0.0");
    journey.server.offer(&second, NETWORK);
    let published = journey.publish(&second, &[]);
    one.refuse(true);
    one.cut();
    published.await.exited(0);

    operator.running(&second).await;
    let vault = operator.vault().await;
    assert_eq!(vault.problem, None, "one is enough");
    let (gone, used) = (endpoint(&vault, &one), endpoint(&vault, &other));
    assert!(!gone.connected && gone.problem.is_some(), "{gone:?}");
    assert!(used.connected && used.problem.is_none() && used.finalized.is_some(), "{used:?}");
    operator.history_of_all_with("failed_over").await;
    assert_eq!(operator.status().await.pid, Some(daemon.pid()), "vaultvisor itself goes on");
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn the_other_endpoint_is_read_when_one_goes_away_while_a_release_is_published() {
    fails_over_while_a_release_is_published(Node::Modern).await;
}

#[tokio::test]
async fn the_other_endpoint_is_read_when_one_goes_away_while_a_release_is_published_with_old_nodes() {
    fails_over_while_a_release_is_published(Node::Old).await;
}

async fn two_of_three_agree(nodes: [Node; 3]) {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut proxies = Vec::new();
    for node in nodes {
        proxies.push(proxy(&journey, node).await);
    }
    let urls: Vec<String> = proxies.iter().map(RpcProxy::url).collect();
    operator.set_endpoints(&urls.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    let _daemon = operator.run();
    operator.running(&first).await;
    assert_eq!(operator.vault().await.problem, None, "all three say the same");

    // From now on the first says that statement 99 is a release of its own.
    let false_release = Release::of_test_vault("6.6.6");
    journey.server.offer(&false_release, NETWORK);
    proxies[0].lie(&current_release_key(), Some(&statement(99, &false_release)));
    let lied = operator
        .vault_where("the liar to be named", |vault| {
            vault.problem.as_ref().is_some_and(|problem| problem.contains(&urls[0]))
        })
        .await;
    assert!(endpoint(&lied, &proxies[0]).problem.is_some(), "{lied:?}");
    assert!(endpoint(&lied, &proxies[1]).problem.is_none(), "{lied:?}");

    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    assert_eq!(journey.server.served("6.6.6"), [], "it was never even asked for");
    operator.history_of_all_with("contradicted").await;
    let shown: Value =
        operator.vaultvisor(&["release", "show", "--network", NETWORK, "--json"]).await.exited(0).json();
    assert_eq!(
        (&shown["current"]["version"], &shown["current"]["sequence"]),
        (&json!("2.0.0"), &json!(2)),
        "{shown}"
    );
    assert_eq!(shown["source"], format!("{}, {}", urls[1], urls[2]));
    announced(operator, "2.0.0").await;
    let vault = operator.vault().await;
    assert_eq!((vault.rejected.len(), vault.target.and_then(|target| target.sequence)), (0, Some(2)));

    // It tells the truth again.
    proxies[0].be_honest();
    proxies[0].cut();
    operator.vault_where("nothing to be wrong any more", |vault| vault.problem.is_none()).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn two_of_three_endpoints_agree_and_the_one_that_lies_is_named() {
    two_of_three_agree([Node::Modern; 3]).await;
}

#[tokio::test]
async fn two_of_three_endpoints_agree_and_the_one_that_lies_is_named_with_old_and_new_nodes() {
    two_of_three_agree([Node::Old, Node::Old, Node::Modern]).await;
}

/// The key under which the chain keeps the release in force.
pub(crate) fn current_release_key() -> String {
    integration_tests::dev_chain::state::key("VaultRelease", "CurrentRelease")
}

/// What lies under that key when this statement is made, as the pallet encodes it.
pub(crate) fn statement(sequence: u64, release: &Release) -> Vec<u8> {
    use subxt::ext::codec::Encode;
    let checksum = <[u8; 32]>::try_from(hex::decode(&release.checksum).expect("digits")).expect("32 bytes");
    let no_artifacts: Vec<(Vec<u8>, [u8; 32])> = Vec::new();
    (sequence, release.version.as_bytes(), checksum, no_artifacts).encode()
}

/// Whatever the first endpoint does, a release is taken over, through the second where the first is of no use.
async fn is_taken_over_beside_an_endpoint(node: Node, misbehave: impl Fn(&RpcProxy)) {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let (bad, good) = (proxy(&journey, node).await, proxy(&journey, node).await);
    operator.set_endpoints(&[&bad.url(), &good.url()], 1);
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;

    misbehave(&bad);
    // Also for connections that are there already.
    let second = journey.release("2.0.0").await;
    let after = operator.running(&second).await;
    assert_ne!(before.pid, after.pid);
    assert_eq!(operator.status().await.pid, Some(daemon.pid()), "vaultvisor itself goes on");
    let resident = resident_bytes(daemon.pid());
    assert!(resident < 150 * 1024 * 1024, "{resident} bytes are resident");
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the most that ever was");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// What a head is read with.
const READS: [&str; 2] = ["chainHead_v1_storage", "state_getStorage"];

fn answer_reads(proxy: &RpcProxy, answer: &Answer) {
    for method in READS {
        proxy.answer(method, answer.clone());
    }
}

#[tokio::test]
async fn an_endpoint_that_answers_slowly_is_waited_for() {
    for node in [Node::Modern, Node::Old] {
        let late = Answer::Late(Duration::from_secs(3));
        is_taken_over_beside_an_endpoint(node, |proxy| answer_reads(proxy, &late)).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_left_for_another() {
    for node in [Node::Modern, Node::Old] {
        is_taken_over_beside_an_endpoint(node, |proxy| answer_reads(proxy, &Answer::Never)).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_answers_garbage_is_left_for_another() {
    for node in [Node::Modern, Node::Old] {
        is_taken_over_beside_an_endpoint(node, |proxy| answer_reads(proxy, &Answer::Garbage)).await;
    }
}

#[tokio::test]
async fn an_endpoint_that_answers_with_100_mb_is_left_for_another_and_fills_no_memory() {
    for node in [Node::Modern, Node::Old] {
        let huge = Answer::Huge(100 * 1024 * 1024);
        is_taken_over_beside_an_endpoint(node, |proxy| answer_reads(proxy, &huge)).await;
    }
}

#[tokio::test]
async fn t15_an_endpoint_that_says_nothing_with_an_open_connection_is_left_for_another() {
    is_taken_over_beside_an_endpoint(Node::Modern, |proxy| proxy.mute(true)).await;
}

#[tokio::test]
async fn t15_an_old_endpoint_that_says_nothing_with_an_open_connection_is_left_for_another() {
    is_taken_over_beside_an_endpoint(Node::Old, |proxy| proxy.mute(true)).await;
}

async fn the_last_of_ten_releases_runs(node: Node) {
    /// How long the connection is cut every second.
    const MINUTE: Duration = Duration::from_secs(60);

    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let mut cut = proxy(&journey, node).await;
    operator.set_endpoints(&[&cut.url()], 1);
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    operator.running(&first).await;

    let began = std::time::Instant::now();
    cut.cut_every(Some(Duration::from_secs(1)));
    let mut last = first;
    for number in 2..=11 {
        last = journey.release(&format!("{number}.0.0")).await;
        let at = MINUTE * (number - 1) / 10;
        wait::until("the next tenth of the minute", async || match began.elapsed() {
            elapsed if elapsed >= at => Ok(()),
            elapsed => Err(format!("{elapsed:?}")),
        })
        .await;
    }
    // Still cut.
    operator.running(&last).await;
    cut.cut_every(None);
    operator.vault_where("the connection to be well", |vault| vault.problem.is_none()).await;

    let vault = operator.vault().await;
    assert_eq!(vault.rejected, []);
    assert_eq!(vault.target.and_then(|target| target.sequence), Some(11));
    assert_eq!(operator.status().await.pid, Some(daemon.pid()), "vaultvisor itself goes on");
    let connections = cut.connections();
    assert!(connections < 120, "{connections} connections in {:?}", began.elapsed());
    let lines = operator.history_of_all().await.len();
    assert!(lines < 100, "{lines} lines of history");
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn the_last_of_ten_releases_runs_although_the_connection_is_cut_every_second() {
    the_last_of_ten_releases_runs(Node::Modern).await;
}

#[tokio::test]
async fn the_last_of_ten_releases_runs_although_an_old_nodes_connection_is_cut_every_second() {
    the_last_of_ten_releases_runs(Node::Old).await;
}
