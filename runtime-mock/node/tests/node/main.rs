//! What the dev chain promises to programs, shown on real processes.

mod harness;

use std::{net::TcpListener, process::Command, time::Duration};

use codec::{Decode, Encode};
use pallet_vault_release::{CurrentRelease, Release};
use runtime_mock::{
    Address, Hash, Runtime, RuntimeCall, Signature, TransactionExtension, UncheckedExtrinsic, VERSION,
};
use rustix::process::Signal;
use serde_json::Value;
use sp_keyring::Sr25519Keyring;
use sp_runtime::generic::{Era, SignedPayload};
use subxt_rpcs::client::rpc_params;

use crate::harness::{DevChain, Process, until};

const VERSION_SET: &[u8] = b"1.16.0";
const CHECKSUM_SET: [u8; 32] = [0xab; 32];

/// A transaction by which Alice sets the release, in hexadecimal digits.
fn set_release(genesis: Hash, nonce: u32) -> String {
    let release = RuntimeCall::VaultRelease(pallet_vault_release::Call::set_vault_release {
        version: VERSION_SET.to_vec().try_into().expect("short"),
        binary_checksum: CHECKSUM_SET,
    });
    let call = RuntimeCall::Sudo(pallet_sudo::Call::sudo { call: Box::new(release) });
    let extension: TransactionExtension = (
        frame_system::CheckNonZeroSender::new(),
        frame_system::CheckSpecVersion::new(),
        frame_system::CheckTxVersion::new(),
        frame_system::CheckGenesis::new(),
        frame_system::CheckEra::from(Era::Immortal),
        frame_system::CheckNonce::from(nonce),
        frame_system::CheckWeight::new(),
        pallet_transaction_payment::ChargeTransactionPayment::from(0),
    );
    let implied = ((), VERSION.spec_version, VERSION.transaction_version, genesis, genesis, (), (), ());
    let payload = SignedPayload::from_raw(call.clone(), extension.clone(), implied);
    let alice = Sr25519Keyring::Alice;
    let signature = payload.using_encoded(|payload| alice.sign(payload));
    let transaction = UncheckedExtrinsic::new_signed(
        call,
        Address::Id(alice.to_account_id()),
        Signature::Sr25519(signature),
        extension,
    );
    format!("0x{}", hex::encode(transaction.encode()))
}

/// The release that the chain states in `block`.
async fn release(chain: &DevChain, block: Hash) -> Option<Release<Runtime>> {
    let key = format!("0x{}", hex::encode(CurrentRelease::<Runtime>::hashed_key()));
    let value: Option<String> = chain.call("state_getStorage", rpc_params![key, block]).await;
    let bytes = hex::decode(value?.trim_start_matches("0x")).expect("values are hexadecimal");
    Some(Release::decode(&mut &bytes[..]).expect("the value is a release"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_sudo_sets_becomes_final() {
    let chain = DevChain::start(&[]).await;
    assert!(chain.ready.ready);
    assert_eq!(chain.ready.genesis, chain.call::<Hash>("chain_getBlockHash", rpc_params![0]).await);
    assert!(chain.ready.p2p.starts_with("/ip4/127.0.0.1/tcp/"), "{}", chain.ready.p2p);
    assert_eq!(release(&chain, chain.ready.genesis).await, None);

    let alice = Sr25519Keyring::Alice.to_account_id().to_string();
    let nonce: u32 = chain.call("system_accountNextIndex", rpc_params![alice]).await;
    let transaction = set_release(chain.ready.genesis, nonce);
    let _: Hash = chain.call("author_submitExtrinsic", rpc_params![transaction]).await;

    until("a final release", async || release(&chain, chain.finalized_hash().await).await.is_some()).await;
    let release = release(&chain, chain.finalized_hash().await).await.expect("seen above");
    assert_eq!(release.sequence, 1);
    assert_eq!(release.version.as_slice(), VERSION_SET);
    assert_eq!(release.binary_checksum, CHECKSUM_SET);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_the_methods_that_they_need() {
    let chain = DevChain::start(&["--block-time-ms", "500"]).await;
    let methods: Value = chain.call("rpc_methods", rpc_params![]).await;
    let methods: Vec<&str> =
        methods["methods"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for method in [
        "archive_v1_storage",
        "author_submitAndWatchExtrinsic",
        "chainHead_v1_follow",
        "chainSpec_v1_genesisHash",
        "chain_subscribeFinalizedHeads",
        "dev_chainSpec",
        "dev_holdFinality",
        "state_getMetadata",
        "state_getReadProof",
        "state_subscribeRuntimeVersion",
        "system_accountNextIndex",
        "system_health",
        "transactionWatch_v1_submitAndWatch",
        "transaction_v1_broadcast",
    ] {
        assert!(methods.contains(&method), "{method} is served");
    }
    assert!(!methods.contains(&"engine_createBlock"), "blocks come by the clock only");

    let spec: Value = chain.call("dev_chainSpec", rpc_params![]).await;
    assert_eq!(spec["bootNodes"], serde_json::json!([chain.ready.p2p]));
    assert!(spec["genesis"]["raw"]["top"].is_object(), "light clients need the state itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn held_finality_stays_while_blocks_go_on_and_then_catches_up() {
    let chain = DevChain::start(&["--block-time-ms", "500"]).await;
    chain.finality_reaches(2).await;

    // Twice, since the second hold meets votes that were restricted before.
    for _ in 0..2 {
        let held: Value = chain.call("dev_holdFinality", rpc_params![true]).await;
        assert_eq!(held["held"], true);
        let at = held["finalized"]["hash"].clone();
        let best = chain.best().await;
        chain.best_reaches(best + 5).await;
        assert_eq!(serde_json::json!(chain.finalized_hash().await), at, "nothing became final");

        let released: Value = chain.call("dev_holdFinality", rpc_params![false]).await;
        assert_eq!(released["held"], false);
        chain.finality_reaches(best + 5).await;
    }

    let again: Value = chain.call("dev_holdFinality", rpc_params![false]).await;
    assert_eq!(again["held"], false, "releasing what is not held changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_chain_goes_on_and_a_new_one_is_another() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let base_path = folder.path().join("chain");
    let base_path = base_path.to_str().expect("the path is UTF-8");

    let mut first = DevChain::start(&["--base-path", base_path]).await;
    first.finality_reaches(2).await;
    let block: Hash = first.call("chain_getBlockHash", rpc_params![2]).await;
    first.end();
    assert_eq!(first.process.next_line(), None, "the ready line was the only one on stdout");

    let mut again = DevChain::start(&["--base-path", base_path]).await;
    assert_eq!(again.ready.genesis, first.ready.genesis);
    assert_eq!(again.ready.peer_id(), first.ready.peer_id());
    assert_eq!(again.call::<Hash>("chain_getBlockHash", rpc_params![2]).await, block);
    let before = again.finalized().await;
    assert!(before >= 2);
    again.finality_reaches(before + 2).await;
    again.end();

    let other = DevChain::start(&[]).await;
    assert_ne!(other.ready.genesis, first.ready.genesis);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_and_sigint_end_it_at_once_and_leave_nothing_behind() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut chain = DevChain::start(&[]).await;
        chain.best_reaches(1).await;
        let started = std::time::Instant::now();
        chain.process.signal(signal);
        let status = chain.process.wait();
        let took = started.elapsed();
        assert!(status.success(), "{status}");
        // It takes a tenth of that; the rest is for machines under load.
        assert!(took < Duration::from_secs(3), "{took:?} is not at once");
        assert_eq!(std::fs::read_dir(chain.process.temporary()).expect("it is there").count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_blocks_can_fork_and_are_final_only_on_request() {
    let chain = DevChain::start(&["--manual-seal"]).await;
    let create = async |parent: Option<Hash>| -> Hash {
        let created: Value = chain.call("engine_createBlock", rpc_params![true, false, parent]).await;
        serde_json::from_value(created["hash"].clone()).expect("the block's hash")
    };

    let trunk = create(None).await;
    let losing = create(Some(trunk)).await;
    let winning = create(Some(trunk)).await;
    assert_ne!(losing, winning, "one parent, two children");
    assert_eq!(chain.best().await, 2);
    let winning_tip = create(Some(winning)).await;
    assert_eq!(chain.best().await, 3, "the longer fork is the best chain");
    assert_eq!(chain.finalized_hash().await, chain.ready.genesis, "nothing is final yet");

    let _: bool = chain.call("engine_finalizeBlock", rpc_params![winning_tip, Option::<Vec<u8>>::None]).await;
    assert_eq!(chain.finalized_hash().await, winning_tip);

    // A transaction gets into a block when one is made, and not before.
    let transaction = set_release(chain.ready.genesis, 0);
    let _: Hash = chain.call("author_submitExtrinsic", rpc_params![transaction]).await;
    assert_eq!(release(&chain, winning_tip).await, None);
    let with_release = create(None).await;
    assert!(release(&chain, with_release).await.is_some());
    assert_eq!(release(&chain, chain.finalized_hash().await).await, None);

    let refused = chain.try_call::<Value>("dev_holdFinality", rpc_params![true]).await;
    let reason = refused.expect_err("there is nothing to hold").to_string();
    assert!(reason.contains("engine_finalizeBlock"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_chain_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let base_path = folder.path().to_str().expect("the path is UTF-8");
    let arguments = ["--manual-seal", "--base-path", base_path];

    let mut chain = DevChain::start(&arguments).await;
    // Faster than the slots pass, so that the newest block is dated into the future.
    for _ in 0..5 {
        let _: Value = chain.call("engine_createBlock", rpc_params![true, true, Option::<Hash>::None]).await;
    }
    chain.end();
    let chain = DevChain::start(&arguments).await;
    let _: Value = chain.call("engine_createBlock", rpc_params![true, true, Option::<Hash>::None]).await;
    assert_eq!(chain.finalized().await, 6);

    let mut other = Process::dev_chain(&["--base-path", base_path]);
    assert_eq!(other.wait().code(), Some(1), "a chain keeps its engine");
    assert_eq!(other.next_line(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_an_error_and_not_another_port() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let mut chain = Process::dev_chain(&["--rpc-port", &port]);
    assert_eq!(chain.wait().code(), Some(1));
    assert_eq!(chain.next_line(), None, "it never says that it is ready");
    assert_eq!(std::fs::read_dir(chain.temporary()).expect("it is there").count(), 0);

    drop(taken);
    let chain = DevChain::start(&["--rpc-port", &port]).await;
    assert_eq!(chain.ready.rpc_port().to_string(), port);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_parent() {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" --die-with-parent & wait", env!("CARGO_BIN_EXE_dev-chain")]);
    let mut parent = Process::start(command);
    let ready = parent.ready();
    assert_ne!(ready.pid, 0);

    parent.signal(Signal::KILL);
    parent.wait();
    // The chain had the other end of the pipe: once that is closed, it is gone.
    assert_eq!(parent.next_line(), None);
    assert_eq!(std::fs::read_dir(parent.temporary()).expect("it is there").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_specification_is_that_of_the_chain() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let base_path = folder.path().to_str().expect("the path is UTF-8");
    let boot_node = "/ip4/127.0.0.1/tcp/30333/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let output = Command::new(env!("CARGO_BIN_EXE_dev-chain"))
        .args(["export-chain-spec", "--base-path", base_path, "--boot-node", boot_node])
        .output()
        .expect("the program can be started");
    assert!(output.status.success());
    let exported: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!(exported["bootNodes"], serde_json::json!([boot_node]));

    let chain = DevChain::start(&["--base-path", base_path]).await;
    let running: Value = chain.call("dev_chainSpec", rpc_params![]).await;
    assert_eq!(exported["genesis"], running["genesis"]);
}

#[test]
fn a_later_runtime_is_written_as_it_is_to_stdout_or_into_a_file() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let file = folder.path().join("runtime.wasm");
    let export = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dev-chain"))
            .arg("export-runtime")
            .args(arguments)
            .output()
            .expect("the program can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for upgrade in runtime_mock::upgrades::UPGRADES {
        let code = upgrade.code.expect("tests need the runtime's WebAssembly");
        assert!(export(&[upgrade.name]) == code, "{upgrade:?} by its name");
        let version = upgrade.spec_version.to_string();
        let printed = export(&[&version, "--output", file.to_str().expect("the path is UTF-8")]);
        assert_eq!(printed, b"");
        assert!(std::fs::read(&file).expect("it was written") == code, "{upgrade:?} by its version");
    }
}
