//! `vaultvisor check`: everything that can be wrong before a run, over a real chain, real nodes and a real server.

use integration_tests::{
    child::Signal,
    command::Finished,
    dev_chain::{DevChain, state::key},
    journey::Journey,
    operator::NETWORK,
    releases::Release,
    rpc_proxy::RpcProxy,
};

/// The lines that say what is wrong.
fn failures(finished: &Finished) -> Vec<&str> {
    finished.stdout.lines().filter(|line| line.starts_with("FAIL")).collect()
}

fn says(finished: &Finished, parts: &[&str]) {
    let is_it = |line: &str| parts.iter().all(|part| line.contains(part));
    assert!(finished.stdout.lines().any(is_it), "no line has {parts:?}:\n{}", finished.stdout);
}

#[tokio::test]
async fn where_all_is_well_each_thing_has_a_line_and_nothing_is_begun() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let (modern, old) = (
        RpcProxy::in_front_of(journey.chain.url()).await,
        RpcProxy::in_front_of_old(journey.chain.url()).await,
    );
    operator.set_endpoints(&[&modern.url(), &old.url()], 2);

    let checked = operator.vaultvisor(&["check"]).await.exited(0);
    let genesis = journey.chain.ready().genesis.as_str();
    for parts in [
        &["ok", "configuration"][..],
        &["ok", "home"],
        &["ok", "lock folder"],
        &["ok", "keeper"],
        &["ok", "disk", "MiB are free"],
        &["ok", &modern.url(), genesis, "finalized block", "s ago"],
        &["ok", &old.url(), genesis, "finalized block", "s ago"],
        &["ok", "agreement", "2 of 2 say the same"],
        &["ok", "clock"],
        &["ok", "record", "vault-release: 1.0.0", &release.checksum, "statement 1"],
        &["ok", "release", "has", "bytes"],
        &["ok", "vault", "does not run"],
    ] {
        says(&checked, parts);
    }
    assert_eq!(operator.files(), Vec::<std::path::PathBuf>::new(), "nothing was written");
    assert_eq!(operator.processes(), []);

    // Also beside a vaultvisor that runs.
    let mut daemon = operator.run();
    let pid = operator.running(&release).await.pid;
    let checked = operator.vaultvisor(&["check"]).await.exited(0);
    says(&checked, &["ok", "home", &format!("vaultvisor pid {}", daemon.pid())]);
    says(&checked, &["ok", "vault", &format!("runs with pid {pid}")]);
    daemon.signal(Signal::TERM);
    daemon.end().await;
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_named_and_the_others_are_looked_at_all_the_same() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    // Stated, and published nowhere.
    let unpublished = Release::of_test_vault("1.0.0");
    journey.state(&unpublished).await;
    let later = Release::from_bytes("2.0.0", b"later".to_vec());
    journey.publish(&later, &["--schedule", "99"]).await.exited(0);
    let good = RpcProxy::in_front_of(journey.chain.url()).await;
    let gone = RpcProxy::in_front_of(journey.chain.url()).await;
    gone.refuse(true);
    operator.set_endpoints(&[&good.url(), &gone.url()], 1);

    let checked = operator.vaultvisor(&["check"]).await.exited(1);
    says(&checked, &["FAIL", &gone.url(), "cannot connect"]);
    says(&checked, &["FAIL", "release", "404"]);
    says(&checked, &["warn", "scheduled release", "404"]);
    says(&checked, &["ok", &good.url()]);
    says(&checked, &["ok", "agreement", "only one can be read"]);
    assert_eq!(failures(&checked).len(), 2, "{}", checked.stdout);

    // With two that must agree, one is too few.
    operator.set_endpoints(&[&good.url(), &gone.url()], 2);
    let checked = operator.vaultvisor(&["check"]).await.exited(1);
    says(&checked, &["FAIL", "agreement", "2 sources must agree, 1 can be read"]);

    // Of another chain than the one that was pinned.
    operator.set_endpoints(&[&good.url()], 1);
    let mut daemon = operator.run();
    operator.vault_where("the chain to be known", |vault| vault.chain.is_some()).await;
    daemon.signal(Signal::TERM);
    daemon.end().await;
    let other = DevChain::start().await;
    operator.set_endpoints(&[other.url()], 1);
    let checked = operator.vaultvisor(&["check"]).await.exited(1);
    says(&checked, &["FAIL", other.url(), "another chain", &other.ready().genesis]);
    assert_eq!(failures(&checked).len(), 1, "{}", checked.stdout);
}

#[tokio::test]
async fn a_node_that_contradicts_the_others_is_named() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    journey.release("1.0.0").await;
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(RpcProxy::in_front_of_old(journey.chain.url()).await);
    }
    proxies[1].lie(&key("VaultRelease", "CurrentRelease"), None);
    let urls: Vec<String> = proxies.iter().map(RpcProxy::url).collect();
    operator.set_endpoints(&urls.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    let checked = operator.vaultvisor(&["check"]).await.exited(1);
    says(&checked, &["FAIL", &format!("{NETWORK}, agreement"), &urls[1], "does not tell the truth"]);
    assert_eq!(failures(&checked).len(), 1, "{}", checked.stdout);
}
