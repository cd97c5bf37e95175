//! Without a network: what the library makes of specifications and of what was kept, and that its end is its end.
//! With one, it is tried by the journeys.

use codec::{Compact, Encode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    chain_spec::Specs,
    client::{OwnRuntime, THREAD, add_chains},
    *,
};

/// The threads of this process are counted, so no two of these tests run at once.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Far above what it takes: some tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A chain of which only its genesis hash is known, and block `number` as a checkpoint: what the published
/// specifications of relay chains look like.
fn spec_with_checkpoint(number: u32) -> String {
    let epoch = |index: u64| {
        let authorities = vec![([7_u8; 32], 1_u64)];
        let (randomness, slots_per_epoch, c, allowed_slots) = ([9_u8; 32], 100_u64, (1_u64, 4_u64), 2_u8);
        // The second variant: an epoch that is not the first.
        (1_u8, (index, index * 100, slots_per_epoch, authorities, randomness, c, allowed_slots))
    };
    let epochs = vec![([1_u8; 32], 1_u32, epoch(1)), ([2_u8; 32], 2_u32, epoch(2))];
    let no_fork = (Vec::<()>::new(), None::<u32>);
    let grandpa =
        (vec![([8_u8; 32], 1_u64)], 3_u64, no_fork.clone(), Vec::<()>::new(), Vec::<(u64, u32)>::new());
    let claim = (2_u8, 0_u32, 150_u64).encode();
    let digest = vec![(6_u8, *b"BABE", claim), (5_u8, *b"BABE", vec![0; 64])];
    let header = ([0_u8; 32], Compact(number), [3_u8; 32], [4_u8; 32], digest);
    let hex = |bytes: Vec<u8>| format!("0x{}", hex::encode(bytes));
    json!({
        "name": "Test", "id": "test", "bootNodes": [], "properties": null,
        "genesis": { "stateRootHash": hex(vec![5; 32]) },
        "lightSyncState": {
            "babeEpochChanges": hex((no_fork, epochs).encode()), "babeFinalizedBlockWeight": 1,
            "finalizedBlockHeader": hex(header.encode()), "grandpaAuthoritySet": hex(grandpa.encode()),
        },
    })
    .to_string()
}

async fn start(chain: String, relay_chain: Option<String>, synced: &str) -> Result<LightClient, StartError> {
    let synced = Synced { chain: synced.to_owned(), relay_chain: String::new() };
    LightClient::start(Specs { chain, relay_chain }, synced).await
}

/// What is kept of a light client that has synced as far as this specification's checkpoint.
async fn kept_at(spec: &str) -> String {
    let client = start(spec.to_owned(), None, "").await.expect("it starts");
    let genesis =
        client.chain.request::<String>("chainSpec_v1_genesisHash", rpc_params![]).await.expect("known");
    let checkpoint = smoldot::chain_spec::ChainSpec::from_json_bytes(spec)
        .expect("a specification")
        .light_sync_state()
        .expect("it has one")
        .to_chain_information()
        .expect("a valid one");
    let chain = smoldot::database::finalized_serialize::encode_chain(&checkpoint, 4);
    let chain: Value = serde_json::from_str(&chain).expect("JSON");
    json!({ "genesisHash": genesis.trim_start_matches("0x"), "chain": chain, "nodes": {} }).to_string()
}

/// Where the library says that it starts from.
async fn starts_from(spec: &str, kept: &str) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let specs = Specs { chain: spec.to_owned(), relay_chain: None };
    let synced = Synced { chain: kept.to_owned(), relay_chain: String::new() };
    let start = async move {
        tracing::subscriber::with_default(subscriber, || {
            drop(add_chains(&specs, &synced).expect("it starts"))
        });
    };
    OwnRuntime::new().expect("a thread").spawn(start).await.expect("nobody panicked");
    let log = String::from_utf8(std::mem::take(&mut *log.0.lock().expect("nobody panicked"))).expect("UTF-8");
    let start = log.lines().find(|line| line.contains(" starting at: ")).expect("it says so");
    let source = if start.contains("Database starting at") { "kept" } else { "spec" };
    format!("{source}{}", start.rsplit_once(' ').expect("words").1)
}

#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("our own").flatten();
    // A thread may end while it is looked at.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == THREAD).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_from_what_was_kept_and_not_from_its_checkpoint() {
    let _alone = ALONE.lock().await;
    let (early, late) = (spec_with_checkpoint(50), spec_with_checkpoint(70));
    let kept = kept_at(&late).await;
    assert_eq!(starts_from(&early, &kept).await, "kept(#70)");
    assert_eq!(starts_from(&early, "").await, "spec(#50)");
    // A newer checkpoint, in a specification that was replaced, goes before it.
    assert_eq!(starts_from(&late, &kept_at(&early).await).await, "spec(#70)");
    // Of another chain, or nonsense: not used, and no reason not to start.
    let genesis = &serde_json::from_str::<Value>(&kept).expect("JSON")["genesisHash"];
    let other_chain = kept.replace(genesis.as_str().expect("text"), &"0".repeat(64));
    for useless in [&other_chain, "nonsense", "{}"] {
        assert_eq!(starts_from(&early, useless).await, "spec(#50)", "{useless}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_one_that_is_dropped() {
    let _alone = ALONE.lock().await;
    let gone = async || {
        while threads() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone()).await.expect("those of other tests end");
    let client = start(spec_with_checkpoint(50), None, "").await.expect("it starts");
    assert!(threads() > 0);
    let rpc = client.chain.clone();
    drop(client);
    tokio::time::timeout(PATIENCE, gone()).await.expect("its thread ends");
    // At whatever it is when it is dropped: here while it starts its parts.
    for _ in 0..100 {
        let client = start(spec_with_checkpoint(50), None, "").await.expect("it starts");
        client.chain.request::<String>("chainSpec_v1_genesisHash", rpc_params![]).await.expect("known");
    }
    tokio::time::timeout(PATIENCE, gone()).await.expect("all their threads end");
    // Whoever still holds the way in is told, and does not wait for ever.
    let answer = rpc.request::<Value>("system_health", rpc_params![]);
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("it does not hang");
    answer.expect_err("nobody is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parachain_is_synced_with_its_relay_chain() {
    let _alone = ALONE.lock().await;
    let mut parachain: Value = serde_json::from_str(&spec_with_checkpoint(50)).expect("JSON");
    let fields = parachain.as_object_mut().expect("an object");
    fields.remove("lightSyncState");
    fields.insert("relay_chain".to_owned(), json!("test"));
    fields.insert("para_id".to_owned(), json!(2092));
    fields.insert("id".to_owned(), json!("para"));

    let client = start(parachain.to_string(), Some(spec_with_checkpoint(50)), "").await.expect("it starts");
    let ask =
        async |rpc: &RpcClient| rpc.request::<String>("system_chain", rpc_params![]).await.expect("its name");
    assert_eq!(ask(&client.chain).await, "Test");
    assert_eq!(ask(client.relay_chain.as_ref().expect("it has one")).await, "Test");

    let alone = start(parachain.to_string(), None, "").await.err().expect("it cannot be finalized");
    assert!(matches!(alone, StartError::Refused(_)), "{alone}");
}
