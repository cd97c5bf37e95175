//! No node is trusted: what a light client does beyond the journeys that every source takes.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
};

use integration_tests::{
    child::Signal,
    dev_chain::DevChain,
    journey::{Journey, Source},
    ledger,
    operator::{NETWORK, Operator},
    releases::Release,
    rpc_proxy::RpcProxy,
    wait,
};
use serde_json::{Value, json};

use crate::endpoints::{current_release_key, statement};

/// A port on which nobody listens.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Where what a light client has synced is kept.
fn kept(operator: &Operator) -> PathBuf {
    operator.home().join("networks").join(format!("{NETWORK}.synced"))
}

async fn has_kept(operator: &Operator) {
    wait::until("the light client to keep what it has synced", async || match kept(operator).is_file() {
        true => Ok(()),
        false => Err(format!("{:?}", operator.files())),
    })
    .await;
}

#[tokio::test]
async fn status_and_release_show_name_it_as_the_source() {
    let journey = Journey::through(Source::LightClient).await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let _daemon = operator.run();
    operator.running(&release).await;

    let chain = operator.vault().await.chain.expect("it has been read");
    assert_eq!(chain.source.as_deref(), Some("light client"));
    assert_eq!(chain.genesis.as_deref(), Some(journey.chain.ready().genesis.as_str()));

    // A light client of the command's own, which syncs while the daemon's goes on.
    let shown: Value =
        operator.vaultvisor(&["release", "show", "--network", NETWORK, "--json"]).await.exited(0).json();
    assert_eq!(shown["source"], "light client");
    assert_eq!(shown["current"]["checksum"], json!(release.checksum));
    assert_eq!(shown["genesis"], json!(journey.chain.ready().genesis));
}

#[tokio::test]
async fn it_finds_the_network_again_by_what_it_kept() {
    let journey = Journey::through(Source::LightClient).await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    operator.running(&first).await;
    has_kept(operator).await;
    daemon.signal(Signal::TERM);
    daemon.end().await;

    // The only peer that the specification knows is gone.
    let mut spec = journey.chain.spec().await;
    let address = journey.chain.ready().p2p.clone();
    let (_, peer) = address.split_once("/p2p/").expect("addresses of peers end so");
    spec["bootNodes"] = json!([format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", free_port())]);
    operator.read_by_light_client(&spec);
    let second = journey.release("2.0.0").await;
    let _daemon = operator.run();
    operator.running(&second).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn what_it_kept_is_a_cache_and_damaged_it_is_reported_and_not_used() {
    let journey = Journey::through(Source::LightClient).await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    operator.running(&first).await;
    has_kept(operator).await;
    daemon.signal(Signal::TERM);
    daemon.end().await;

    let mut damaged = fs::read(kept(operator)).expect("it was kept");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(kept(operator), &damaged).expect("the home is ours");
    let second = journey.release("2.0.0").await;
    let daemon = operator.run();
    operator.running(&second).await;
    let log = daemon.stderr();
    assert!(log.contains("it syncs anew") && log.contains("dev.synced"), "not reported:\n{log}");
    wait::until("a good one in its place", async || match fs::read(kept(operator)) {
        Ok(kept) if kept != damaged => Ok(()),
        other => Err(format!("{:?}", other.map(|kept| kept.len()))),
    })
    .await;
}

#[tokio::test]
async fn a_node_that_was_away_is_found_again_and_the_vault_runs_on_meanwhile() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (base_path, port) = (folder.path().join("chain"), free_port().to_string());
    let base_path = base_path.to_str().expect("temporary folders have UTF-8 names");
    let options = ["--base-path", base_path, "--p2p-port", &port];
    let mut journey = Journey::on_through(DevChain::start_with(&options).await, Source::LightClient).await;
    let first = journey.release("1.0.0").await;
    let _daemon = journey.operator.run();
    let before = journey.operator.running(&first).await;

    journey.chain.process().signal(Signal::KILL);
    journey.chain.process().end().await;
    journey.chain = DevChain::start_with(&options).await;
    assert_eq!(journey.operator.vault().await.running, Some(before.clone()));

    let second = journey.release("2.0.0").await;
    let after = journey.operator.running(&second).await;
    assert_ne!(after.pid, before.pid);
    assert_eq!(ledger::never_two(&journey.operator.lives()), Ok(()));
}

#[tokio::test]
async fn t16_a_specification_of_another_chain_is_refused_and_the_vault_runs_on() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;

    let other = DevChain::start().await;
    operator.read_by_light_client(&other.spec().await);
    operator.reload(&daemon).await;
    let (ours, theirs) = (&journey.chain.ready().genesis, &other.ready().genesis);
    let vault = operator
        .vault_where("both genesis hashes in the problem", |vault| {
            vault.problem.as_deref().is_some_and(|problem| problem.contains(ours) && problem.contains(theirs))
        })
        .await;
    assert_eq!(vault.running, Some(before));

    // The right one takes over where the node left off.
    operator.read_by_light_client(&journey.chain.spec().await);
    operator.reload(&daemon).await;
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    assert_eq!(operator.vault().await.problem, None);
}

#[tokio::test]
async fn an_endpoint_that_contradicts_it_is_named_and_decides_nothing() {
    let journey = Journey::through(Source::LightClient).await;
    let operator = &journey.operator;
    let liar = RpcProxy::in_front_of(journey.chain.url()).await;
    operator.set_endpoints(&[&liar.url()], 1);
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;
    assert_eq!(operator.vault().await.problem, None);

    let never = Release::of_test_vault("6.6.6");
    journey.server.offer(&never, NETWORK);
    liar.lie(&current_release_key(), Some(&statement(9, &never)));
    let lied = operator
        .vault_where("the endpoint's name in the problem", |vault| {
            vault.problem.as_deref().is_some_and(|problem| problem.contains(&liar.url()))
        })
        .await;
    assert_eq!(lied.running, Some(before));
    assert_eq!(lied.target.map(|target| target.version), Some("1.0.0".to_owned()));
    let chain = lied.chain.expect("it has been read");
    let [light_client, endpoint] = &chain.endpoints[..] else { panic!("two sources: {chain:?}") };
    assert_eq!((light_client.address.as_str(), light_client.problem.as_ref()), ("light client", None));
    assert!(endpoint.address == liar.url() && endpoint.problem.is_some(), "{endpoint:?}");

    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    liar.be_honest();
    liar.cut();
    operator.vault_where("nothing to be wrong any more", |vault| vault.problem.is_none()).await;
    assert_eq!(journey.server.served("6.6.6"), [], "not even looked at");
    operator.history_of_all_with("contradicted").await;
}
