//! Nodes that lie, lag, are silent or are another chain's: what they can delay, and that they change nothing. Through
//! a proxy in front of the real chain, and a real second one.

use std::time::Duration;

use integration_tests::{
    child::{Child, Signal},
    dev_chain::{
        DevChain,
        state::{PALLET, key},
    },
    journey::{Journey, Source},
    ledger,
    operator::{NETWORK, Operator, has_seen},
    releases::Release,
    rpc_proxy::{self, Answer},
    status::{Running, VaultStatus},
    wait,
};
use serde_json::json;
use subxt::ext::{
    codec::{Compact, Decode, Encode},
    frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed},
};

use super::announcement::announced;

integration_tests::through! {
    t14_a_node_that_serves_an_older_finalized_block_is_reported_and_believed_again_when_it_has_caught_up: Node, OldNode;
    t14_a_node_that_takes_a_statement_back_is_reported_and_ignored_also_after_a_restart: Node, OldNode;
    t15_when_finality_stops_the_status_says_since_when_and_the_vault_runs_on: Node, OldNode;
    t16_a_node_of_another_chain_is_refused_by_its_genesis_and_the_vault_runs_on: Node, OldNode;
    t17_a_release_that_a_node_has_in_its_best_block_only_is_not_acted_on: Node, OldNode;
    t19_a_release_stated_while_the_node_was_out_of_reach_is_found_from_storage: Node, OldNode;
    t22_a_record_that_is_gone_or_of_no_known_form_is_reported_and_the_vault_runs_on: Node, OldNode;
    t25_an_upgrade_whose_metadata_and_events_nobody_can_read_disturbs_nobody: Node, OldNode;
    t25_a_node_whose_metadata_describes_types_without_end_neither_kills_vaultvisor_nor_keeps_it_busy: Node;
}

/// How long a node may bring nothing before another is tried is a minute; this leaves a loaded machine another two.
const SILENCE_AND_MORE: Duration = Duration::from_secs(180);

fn current_release() -> String {
    key(PALLET, "CurrentRelease")
}

fn has_problem(words: &'static [&'static str]) -> impl Fn(&VaultStatus) -> bool {
    move |vault| vault.problem.as_ref().is_some_and(|problem| words.iter().all(|word| problem.contains(word)))
}

/// Waits for a problem with these words, and looks whether nothing else has changed.
async fn only_told(operator: &Operator, words: &'static [&'static str], before: &Running, target: &Release) {
    let vault = operator.vault_where(&format!("a problem with {words:?}"), has_problem(words)).await;
    assert_eq!(vault.running.as_ref(), Some(before), "the vault is touched by nothing");
    assert_eq!(vault.target.map(|target| target.checksum).as_ref(), Some(&target.checksum));
    assert_eq!(vault.rejected, []);
}

async fn t14_a_node_that_serves_an_older_finalized_block_is_reported_and_believed_again_when_it_has_caught_up(
    source: Source,
) {
    let journey = Journey::through_a_changeable(source).await;
    let (operator, node) = (&journey.operator, journey.node());
    journey.release("1.0.0").await;
    let old = journey.chain.finalized_hash().await;
    let second = journey.release("2.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&second).await;
    has_seen(&daemon, journey.chain.finalized_number().await).await;

    node.freeze(&old).await;
    node.cut();
    only_told(operator, &["finalized block"], &before, &second).await;
    // Who looks beside the daemon is shown no older release either.
    for command in [&["release", "show", "--network", NETWORK][..], &["prefetch"]] {
        let refused = operator.vaultvisor(command).await.exited(5);
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(told.contains("the node lags behind") && !told.contains("1.0.0"), "{told}");
    }
    let third = journey.release("3.0.0").await;
    assert_eq!(journey.server.served("1.0.0"), [], "nobody went back to it");
    assert_eq!(journey.server.served("3.0.0"), [], "nobody has heard of it");

    node.be_honest();
    node.cut();
    operator.running(&third).await;
    wait_for_no_problem(operator).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

async fn t14_a_node_that_takes_a_statement_back_is_reported_and_ignored_also_after_a_restart(source: Source) {
    let journey = Journey::through_a_changeable(source).await;
    let (operator, node) = (&journey.operator, journey.node());
    journey.release("1.0.0").await;
    let head = journey.chain.finalized_hash().await;
    let old = journey.chain.raw_storage(&current_release(), &head).await.expect("1.0.0");
    let second = journey.release("2.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&second).await;

    node.lie(&current_release(), Some(&old));
    only_told(operator, &["statement 1 after 2"], &before, &second).await;

    daemon.signal(Signal::QUIT);
    daemon.end().await;
    let daemon = operator.run();
    // By what is durable of the chain, or of the vault.
    logged(&daemon, &["statement 1 after 2", "states release 1, but release 2"]).await;
    let adopted = adopted(operator, before).await;
    only_told(operator, &["1", "2"], &adopted, &second).await;
    assert_eq!(journey.server.served("1.0.0"), [], "nobody went back to it");

    node.be_honest();
    let third = journey.release("3.0.0").await;
    operator.running(&third).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

async fn t15_when_finality_stops_the_status_says_since_when_and_the_vault_runs_on(source: Source) {
    let journey = Journey::through_a_changeable(source).await;
    let (operator, chain) = (&journey.operator, &journey.chain);
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;

    chain.hold_finality(true).await;
    let stale = has_problem(&["no newer finalized block", " s"]);
    wait::within(SILENCE_AND_MORE, "the status to say so", async || match operator.vault().await {
        vault if stale(&vault) => Ok(()),
        vault => Err(format!("{vault:?}")),
    })
    .await;
    let vault = operator.vault().await;
    assert_eq!(vault.running.as_ref(), Some(&before));
    let known = vault.chain.expect("it was seen");
    assert!(known.stale_since.is_some(), "{known:?}");

    chain.hold_finality(false).await;
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    wait_for_no_problem(operator).await;
    assert_eq!(operator.vault().await.chain.expect("it is seen").stale_since, None);
}

async fn t16_a_node_of_another_chain_is_refused_by_its_genesis_and_the_vault_runs_on(source: Source) {
    let (journey, other) = tokio::join!(Journey::through_a_changeable(source), DevChain::start());
    let (operator, node) = (&journey.operator, journey.node());
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;

    node.switch_to(other.url());
    only_told(operator, &["another chain"], &before, &first).await;
    let problem = operator.vault().await.problem.expect("it still stands");
    for genesis in [&journey.chain.ready().genesis, &other.ready().genesis] {
        assert!(problem.contains(genesis.as_str()), "{problem}");
    }
    // The pin is on disk.
    daemon.signal(Signal::QUIT);
    daemon.end().await;
    let daemon = operator.run();
    logged(&daemon, &["another chain"]).await;
    let adopted = adopted(operator, before).await;
    only_told(operator, &["another chain"], &adopted, &first).await;

    node.switch_to(journey.chain.url());
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

async fn t17_a_release_that_a_node_has_in_its_best_block_only_is_not_acted_on(source: Source) {
    let journey = Journey::through_a_changeable(source).await;
    let (operator, node, chain) = (&journey.operator, journey.node(), &journey.chain);
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;

    // Final on the chain, but not at this node, whose best block is the chain's.
    let final_here = chain.finalized_hash().await;
    node.freeze(&final_here).await;
    node.cut();
    let second = journey.release("2.0.0").await;
    wait::until("the node to be read again", async || match node.connections() {
        2.. => Ok(()),
        connections => Err(connections.to_string()),
    })
    .await;
    chain.reach_finalized(chain.finalized_number().await + 3).await;
    assert_eq!(operator.vault().await.running.as_ref(), Some(&before));
    assert_eq!(journey.server.served("2.0.0"), [], "not even looked at");

    node.be_honest();
    node.cut();
    operator.running(&second).await;
    assert_eq!(operator.status().await.pid, Some(daemon.pid()));
}

async fn t19_a_release_stated_while_the_node_was_out_of_reach_is_found_from_storage(source: Source) {
    let journey = Journey::through_a_changeable(source).await;
    let (operator, node) = (&journey.operator, journey.node());
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;

    node.refuse(true);
    node.cut();
    let is_cut_off = |vault: &VaultStatus| {
        vault.chain.as_ref().is_some_and(|chain| chain.connected == Some(false)) && vault.problem.is_some()
    };
    let vault = operator.vault_where("the lost connection to be told", is_cut_off).await;
    assert_eq!(vault.running.as_ref(), Some(&before));
    journey.release("2.0.0").await;
    let third = journey.release("3.0.0").await;
    // The blocks that stated them shall be history, so that only storage can tell.
    journey.chain.reach_finalized(journey.chain.finalized_number().await + 2).await;
    assert_eq!(operator.vault().await.running.as_ref(), Some(&before));

    node.refuse(false);
    operator.running(&third).await;
    assert_eq!(journey.server.served("2.0.0"), [], "only the last counts");
    wait_for_no_problem(operator).await;
}

async fn t22_a_record_that_is_gone_or_of_no_known_form_is_reported_and_the_vault_runs_on(source: Source) {
    let journey = Journey::through_a_changeable(source).await;
    let (operator, node) = (&journey.operator, journey.node());
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;
    let head = journey.chain.finalized_hash().await;
    let good = journey.chain.raw_storage(&current_release(), &head).await.expect("stated");

    let lies: [(Option<Vec<u8>>, &'static [&'static str]); 4] = [
        (None, &["states no release"]),
        (Some(good[..good.len() - 1].to_vec()), &["something else than a release"]),
        (Some([&good[..], &[0]].concat()), &["something else than a release"]),
        (Some(vec![0xff; 70_000]), &["something else than a release", "70000 bytes"]),
    ];
    for (lie, words) in lies {
        node.lie(&current_release(), lie.as_deref());
        only_told(operator, words, &before, &first).await;
    }
    node.be_honest();
    wait_for_no_problem(operator).await;
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

async fn t25_an_upgrade_whose_metadata_and_events_nobody_can_read_disturbs_nobody(source: Source) {
    let journey = Journey::through_a_changeable(source).await;
    let (chain, operator, node) = (&journey.chain, &journey.operator, journey.node());
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;

    node.answer("state_getMetadata", Answer::Result(json!("0x6d657461ff")));
    node.answer_where("state_call", "Metadata", Answer::Result(json!("0xff")));
    node.answer_where("chainHead_v1_call", "Metadata", Answer::Garbage);
    node.lie(&key("System", "Events"), Some(&[0xff; 9]));
    // A later runtime in which the pallet has moved, and a release of it.
    chain.upgrade_runtime(3).await;
    has_seen(&daemon, chain.best_number().await + 2).await;
    let vault = operator.vault().await;
    assert_eq!((vault.running.as_ref(), vault.problem), (Some(&before), None));

    let second = journey.release("2.0.0").await;
    let after = operator.running(&second).await;
    assert_ne!(after.pid, before.pid);
    let vault = operator.vault().await;
    assert_eq!((&vault.rejected[..], vault.problem), (&[][..], None));
    assert_eq!(operator.status().await.pid, Some(daemon.pid()), "vaultvisor itself goes on");
    logged(&daemon, &["where release 2.0.0 was stated is not known"]).await;
    let kinds = operator.history().await;
    assert!(
        !kinds.iter().any(|kind| ["crashed", "rejected", "fell_back"].contains(&kind.as_str())),
        "{kinds:?}"
    );
}

async fn t25_a_node_whose_metadata_describes_types_without_end_neither_kills_vaultvisor_nor_keeps_it_busy(
    source: Source,
) {
    let journey = Journey::through_a_changeable(source).await;
    let (operator, node) = (&journey.operator, journey.node());
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    operator.running(&first).await;

    let honest = rpc_proxy::ask(journey.chain.url(), "state_getMetadata", json!([])).await;
    let honest = hex::decode(honest.as_str().expect("digits").trim_start_matches("0x")).expect("digits");
    for (version, hostile) in ["2.0.0", "3.0.0"].into_iter().zip(endless(&honest)) {
        // To each of the two ways in which it can be asked for.
        let as_of_a_call = Some(hostile.clone()).encode();
        for (method, about, bytes) in
            [("state_getMetadata", "", hostile), ("state_call", "Metadata_metadata_at_version", as_of_a_call)]
        {
            let digits = json!(format!("0x{}", hex::encode(bytes)));
            node.answer_where(method, about, Answer::Result(digits));
        }
        let stated = journey.release(version).await;
        let after = operator.running(&stated).await;
        logged(&daemon, &[&format!("where release {version} was stated is not known")]).await;
        let vault = operator.vault().await;
        assert_eq!((vault.running.as_ref(), vault.problem), (Some(&after), None));
        assert_eq!(operator.status().await.pid, Some(daemon.pid()), "vaultvisor itself goes on");
    }

    node.be_honest();
    let last = journey.release("4.0.0").await;
    operator.running(&last).await;
    announced(operator, "4.0.0").await;
    daemon.signal(Signal::INT);
    daemon.end().await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

/// Metadata in which hashes, of which every account is one, are a type that holds itself; and four billion of nothing.
fn endless(honest: &[u8]) -> [Vec<u8>; 2] {
    let with_hashes_that_are = |definition: &dyn Fn(u32, u32) -> Vec<u8>| {
        let RuntimeMetadataPrefixed(magic, metadata) = Decode::decode(&mut &*honest).expect("metadata");
        let RuntimeMetadata::V14(mut metadata) = metadata else { panic!("of another version") };
        let types = &mut metadata.types.types;
        let find = |types: &[Vec<u8>], beginning: &[u8]| {
            types.iter().position(|encoded| encoded.starts_with(beginning)).expect("every runtime has it")
        };
        let definitions: Vec<Vec<u8>> = types.iter().map(|portable| portable.ty.type_def.encode()).collect();
        let (hash, nothing) = (find(&definitions, &[3, 32, 0, 0, 0]), find(&definitions, &[4, 0]));
        let definition = definition(hash as u32, nothing as u32);
        types[hash].ty.type_def = Decode::decode(&mut &*definition).expect("a definition");
        RuntimeMetadataPrefixed(magic, RuntimeMetadata::V14(metadata)).encode()
    };
    [
        with_hashes_that_are(&|hash, _| [&[0, 4, 0][..], &Compact(hash).encode(), &[0, 0]].concat()),
        with_hashes_that_are(&|_, nothing| {
            [&[3, 0xff, 0xff, 0xff, 0xff][..], &Compact(nothing).encode()].concat()
        }),
    ]
}

/// Waits until the vault that ran before was taken over, and by nothing else changed.
async fn adopted(operator: &Operator, before: Running) -> Running {
    let adopted = Running { adopted: true, ..before };
    let is_it = |vault: &VaultStatus| vault.running.as_ref() == Some(&adopted);
    operator.vault_where("the same vault to be adopted", is_it).await;
    adopted
}

/// Waits until a daemon has written one of these.
async fn logged(daemon: &Child, any_of: &[&str]) {
    wait::until(&format!("one of {any_of:?} in the log"), async || match daemon.stderr() {
        log if any_of.iter().any(|words| log.contains(words)) => Ok(()),
        log => Err(log),
    })
    .await;
}

async fn wait_for_no_problem(operator: &Operator) {
    operator.vault_where("no problem any more", |vault| vault.problem.is_none()).await;
}
