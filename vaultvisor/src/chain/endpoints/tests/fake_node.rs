//! A node that finalizes what a test tells it to, and serves what a test lets it.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use codec::Encode;
use jsonrpsee::{
    RpcModule, SubscriptionMessage, SubscriptionSink,
    server::{RandomStringIdProvider, Server, ServerHandle},
    types::ErrorObjectOwned,
};
use serde_json::{Value, json};
use sp_crypto_hashing::blake2_256;
use subxt::{config::substrate::SubstrateHeader, utils::H256};
use tokio::sync::{broadcast, mpsc};

use crate::{chain::records::StorageKey, release::GenesisHash};

/// Which methods it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Serves {
    pub(super) methods: bool,
    pub(super) chain_head: bool,
    pub(super) legacy: bool,
    /// Whether the legacy methods tell of the best block's runtime.
    pub(super) best: bool,
}

impl Serves {
    pub(super) const BOTH: Self = Self { methods: true, chain_head: true, legacy: true, best: true };
    pub(super) const MODERN: Self = Self { legacy: false, ..Self::BOTH };
    pub(super) const OLD: Self = Self { chain_head: false, ..Self::BOTH };
}

#[derive(Clone)]
struct Block {
    hash: H256,
    header: SubstrateHeader<H256>,
    spec_version: u32,
    value: Option<Vec<u8>>,
}

#[derive(Clone)]
enum News {
    /// A block and its parent.
    Finalized(Arc<[Block; 2]>),
    /// A best block that is not final, and its parent.
    Best(Arc<[Block; 2]>),
    Stop,
}

struct Shared {
    blocks: Mutex<Vec<Block>>,
    news: broadcast::Sender<News>,
    /// The newest follower's way in for operation events.
    operations: Mutex<Option<mpsc::UnboundedSender<Value>>>,
    pinned: Mutex<HashSet<H256>>,
    followers: Arc<()>,
}

/// Stops when dropped.
pub(super) struct FakeNode {
    pub(super) url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    server: ServerHandle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds this")
}

fn block(number: u64, parent: H256, spec_version: u32, value: Option<&[u8]>) -> Block {
    let header: SubstrateHeader<H256> = serde_json::from_value(json!({
        "parentHash": parent, "number": format!("0x{number:x}"), "stateRoot": H256([1; 32]),
        "extrinsicsRoot": H256([2; 32]), "digest": { "logs": ["0x0661757261100a0b0c0d"] },
    }))
    .expect("a header");
    Block { hash: H256(blake2_256(&header.encode())), header, spec_version, value: value.map(<[u8]>::to_vec) }
}

fn runtime(spec_version: u32) -> Value {
    json!({ "type": "valid", "spec": {
        "specName": "fake", "implName": "fake", "specVersion": spec_version, "implVersion": 0,
        "transactionVersion": 1, "apis": { "0xdf6acb689907609b": 5 },
    } })
}

fn refused(reason: &str) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(-32801, reason.to_owned(), None::<()>)
}

impl FakeNode {
    pub(super) async fn start(serves: Serves) -> Self {
        Self::start_at(0, serves).await
    }

    pub(super) async fn start_at(port: u16, serves: Serves) -> Self {
        let shared = Arc::new(Shared {
            blocks: Mutex::new(vec![block(0, H256::zero(), 1, None)]),
            news: broadcast::Sender::new(1024),
            operations: Mutex::default(),
            pinned: Mutex::default(),
            followers: Arc::default(),
        });
        let server = Server::builder()
            .set_id_provider(RandomStringIdProvider::new(16))
            .build(("127.0.0.1", port))
            .await
            .expect("the port is free");
        let address = server.local_addr().expect("bound");
        let server = server.start(methods(shared.clone(), serves));
        Self { url: format!("ws://{address}"), address, shared, server }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn genesis(&self) -> GenesisHash {
        GenesisHash(lock(&self.shared.blocks)[0].hash.0)
    }

    /// Finalizes one more block, which may have any number.
    pub(super) fn finalize(&self, number: u64, spec_version: u32, value: Option<&[u8]>) {
        let mut blocks = lock(&self.shared.blocks);
        let parent = blocks.last().expect("genesis").clone();
        let block = block(number, parent.hash, spec_version, value);
        blocks.push(block.clone());
        // Nobody may be listening.
        let _ = self.shared.news.send(News::Finalized(Arc::new([block, parent])));
    }

    /// Makes a best block upon the newest finalized one.
    pub(super) fn announce(&self, number: u64, spec_version: u32) {
        let parent = self.shared.newest();
        let block = block(number, parent.hash, spec_version, Some(b"not final"));
        // Nobody may be listening.
        let _ = self.shared.news.send(News::Best(Arc::new([block, parent])));
    }

    pub(super) fn stop_followers(&self) {
        let _ = self.shared.news.send(News::Stop);
    }

    pub(super) fn pinned(&self) -> usize {
        lock(&self.shared.pinned).len()
    }

    /// Waits until every subscription has ended with its connection.
    pub(super) async fn left_alone(&self) {
        while Arc::strong_count(&self.shared.followers) > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        // Already stopped is as good.
        let _ = self.server.stop();
    }
}

impl Shared {
    fn at(&self, hash: H256) -> Option<Block> {
        lock(&self.blocks).iter().find(|block| block.hash == hash).cloned()
    }

    fn newest(&self) -> Block {
        lock(&self.blocks).last().expect("genesis").clone()
    }
}

fn methods(shared: Arc<Shared>, serves: Serves) -> RpcModule<Arc<Shared>> {
    let mut module = RpcModule::from_arc(Arc::new(shared));
    if serves.legacy {
        legacy_methods(&mut module);
    }
    if serves.legacy && serves.best {
        best_runtime_methods(&mut module);
    }
    if serves.chain_head {
        chain_head_methods(&mut module);
    }
    if serves.methods {
        let names: Vec<&str> = module.method_names().collect();
        module
            .register_method("rpc_methods", move |_, _, _| json!({ "methods": names }))
            .expect("registered once");
    }
    module
}

fn legacy_methods(module: &mut RpcModule<Arc<Shared>>) {
    let registered = "registered once";
    module
        .register_method("chain_getBlockHash", |params, shared, _| {
            let number: u64 = params.one()?;
            let hash = lock(&shared.blocks).get(number as usize).map(|block| block.hash);
            Ok::<_, ErrorObjectOwned>(hash)
        })
        .expect(registered);
    module
        .register_method("state_getStorage", |params, shared, _| {
            let (key, hash): (String, H256) = params.parse()?;
            let block = shared.at(hash).ok_or_else(|| refused("unknown block"))?;
            let value = block.value.filter(|_| key == current_key());
            Ok::<_, ErrorObjectOwned>(value.map(|value| format!("0x{}", hex::encode(value))))
        })
        .expect(registered);
    module
        .register_method("state_getRuntimeVersion", |params, shared, _| {
            let block = shared.at(params.one()?).ok_or_else(|| refused("unknown block"))?;
            Ok::<_, ErrorObjectOwned>(json!({ "specName": "fake", "specVersion": block.spec_version }))
        })
        .expect(registered);
    module
        .register_subscription(
            "chain_subscribeFinalizedHeads",
            "chain_finalizedHead",
            "chain_unsubscribeFinalizedHeads",
            |_, pending, shared, _| async move {
                let _here = shared.followers.clone();
                let mut news = shared.news.subscribe();
                let newest = shared.newest();
                let sink = pending.accept().await?;
                send(&sink, &serde_json::to_value(&newest.header)?).await?;
                loop {
                    tokio::select! {
                        () = sink.closed() => return Ok(()),
                        news = news.recv() => if let News::Finalized(blocks) = news? {
                            send(&sink, &serde_json::to_value(&blocks[0].header)?).await?;
                        },
                    }
                }
            },
        )
        .expect(registered);
}

fn best_runtime_methods(module: &mut RpcModule<Arc<Shared>>) {
    module
        .register_subscription(
            "state_subscribeRuntimeVersion",
            "state_runtimeVersion",
            "state_unsubscribeRuntimeVersion",
            |_, pending, shared, _| async move {
                let _here = shared.followers.clone();
                let mut news = shared.news.subscribe();
                let mut told = shared.newest().spec_version;
                let sink = pending.accept().await?;
                send(&sink, &json!({ "specVersion": told })).await?;
                loop {
                    tokio::select! {
                        () = sink.closed() => return Ok(()),
                        news = news.recv() => if let News::Best(blocks) | News::Finalized(blocks) = news?
                            && std::mem::replace(&mut told, blocks[0].spec_version) != blocks[0].spec_version
                        {
                            send(&sink, &json!({ "specVersion": told })).await?;
                        },
                    }
                }
            },
        )
        .expect("registered once");
}

fn current_key() -> String {
    StorageKey::plain("VaultRelease", "CurrentRelease").to_string()
}

async fn send(sink: &SubscriptionSink, value: &Value) -> Result<(), jsonrpsee::core::StringError> {
    Ok(sink.send(SubscriptionMessage::from_json(value)?).await?)
}

fn chain_head_methods(module: &mut RpcModule<Arc<Shared>>) {
    let registered = "registered once";
    module
        .register_method("chainSpec_v1_genesisHash", |_, shared, _| json!(lock(&shared.blocks)[0].hash))
        .expect(registered);
    module
        .register_method("chainHead_v1_header", |params, shared, _| {
            let (_, hash): (String, H256) = params.parse()?;
            if !lock(&shared.pinned).contains(&hash) {
                return Err(refused("not pinned"));
            }
            Ok(shared.at(hash).map(|block| format!("0x{}", hex::encode(block.header.encode()))))
        })
        .expect(registered);
    module
        .register_method("chainHead_v1_storage", |params, shared, _| {
            let (_, hash, queries, _): (String, H256, Vec<HashMap<String, String>>, Option<String>) =
                params.parse()?;
            if !lock(&shared.pinned).contains(&hash) {
                return Err(refused("not pinned"));
            }
            let block = shared.at(hash).ok_or_else(|| refused("unknown block"))?;
            let operations = lock(&shared.operations).clone().ok_or_else(|| refused("no follower"))?;
            let asked = queries.iter().any(|query| query["key"] == current_key());
            let items: Vec<Value> = block
                .value
                .filter(|_| asked)
                .map(|value| json!({ "key": current_key(), "value": format!("0x{}", hex::encode(value)) }))
                .into_iter()
                .collect();
            let id = format!("{hash:?}");
            if !items.is_empty() {
                let event = json!({ "event": "operationStorageItems", "operationId": id, "items": items });
                operations.send(event).map_err(|_| refused("follower gone"))?;
            }
            let done = json!({ "event": "operationStorageDone", "operationId": id });
            operations.send(done).map_err(|_| refused("follower gone"))?;
            Ok(json!({ "result": "started", "operationId": id, "discardedItems": 0 }))
        })
        .expect(registered);
    module
        .register_method("chainHead_v1_unpin", |params, shared, _| {
            let (_, hashes): (String, Vec<H256>) = params.parse()?;
            let mut pinned = lock(&shared.pinned);
            match hashes.iter().all(|hash| pinned.remove(hash)) {
                true => Ok(()),
                false => Err(refused("not pinned")),
            }
        })
        .expect(registered);
    module
        .register_subscription(
            "chainHead_v1_follow",
            "chainHead_v1_followEvent",
            "chainHead_v1_unfollow",
            |_, pending, shared, _| async move {
                let _here = shared.followers.clone();
                let mut news = shared.news.subscribe();
                let newest = shared.newest();
                let (sender, mut operations) = mpsc::unbounded_channel();
                *lock(&shared.operations) = Some(sender);
                lock(&shared.pinned).insert(newest.hash);
                let sink = pending.accept().await?;
                let initialized = json!({
                    "event": "initialized", "finalizedBlockHashes": [newest.hash],
                    "finalizedBlockRuntime": runtime(newest.spec_version),
                });
                send(&sink, &initialized).await?;
                loop {
                    tokio::select! {
                        () = sink.closed() => return Ok(()),
                        Some(event) = operations.recv() => send(&sink, &event).await?,
                        news = news.recv() => match news? {
                            News::Stop => {
                                send(&sink, &json!({ "event": "stop" })).await?;
                                return Ok(());
                            }
                            News::Finalized(blocks) => {
                                let [block, parent] = &*blocks;
                                lock(&shared.pinned).insert(block.hash);
                                for event in events(parent, block) {
                                    send(&sink, &event).await?;
                                }
                            }
                            News::Best(blocks) => {
                                let [block, parent] = &*blocks;
                                lock(&shared.pinned).insert(block.hash);
                                for event in &events(parent, block)[..2] {
                                    send(&sink, event).await?;
                                }
                            }
                        },
                    }
                }
            },
        )
        .expect(registered);
}

fn events(parent: &Block, block: &Block) -> [Value; 3] {
    let changed = parent.spec_version != block.spec_version;
    [
        json!({
            "event": "newBlock", "blockHash": block.hash, "parentBlockHash": parent.hash,
            "newRuntime": changed.then(|| runtime(block.spec_version)),
        }),
        json!({ "event": "bestBlockChanged", "bestBlockHash": block.hash }),
        json!({ "event": "finalized", "finalizedBlockHashes": [block.hash], "prunedBlockHashes": [] }),
    ]
}
