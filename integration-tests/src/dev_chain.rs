//! The development chain as a process of its own, and control over its blocks and its finality.
//!
//! - [`state`]: what its state says at a block.
//! - `sudo`: what its sudo key does, such as [`DevChain::upgrade_runtime`].

pub mod state;
mod sudo;

use std::process::Command;

use futures::{Stream, StreamExt as _};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use subxt_rpcs::{
    RpcClient,
    client::{RpcParams, rpc_params},
};
use tempfile::TempDir;

use crate::{binaries, child::Child, wait};

/// The option of chains whose blocks are made on request only.
const MANUAL_SEAL: &str = "--manual-seal";

/// What the chain prints when it serves requests: one line of JSON on stdout, and nothing else there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// Always true.
    pub ready: bool,
    /// Its websocket address.
    pub rpc: String,
    /// The hash of its first block, with `0x`.
    pub genesis: String,
    /// Its address for light clients.
    pub p2p: String,
    /// Its process id.
    pub pid: u32,
}

/// A running chain. Dropped: killed and gone, with its data.
#[derive(Debug)]
pub struct DevChain {
    process: Child,
    ready: Ready,
    rpc: RpcClient,
    is_manual: bool,
    _folder: TempDir,
}

#[derive(Deserialize)]
struct Header {
    number: String,
}

impl Header {
    fn number(&self) -> u64 {
        u64::from_str_radix(self.number.trim_start_matches("0x"), 16).expect("numbers are hexadecimal")
    }
}

#[derive(Deserialize)]
struct SignedBlock {
    block: Block,
}

#[derive(Deserialize)]
struct Block {
    /// As numbers or as hexadecimal text, which differs between node versions; only counted.
    extrinsics: Vec<Value>,
}

#[derive(Deserialize)]
struct Sealed {
    hash: String,
}

impl DevChain {
    /// Starts a new chain that makes a block a second and finalizes it.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a new chain on which blocks are made and finalized by [`Self::create_block`] and
    /// [`Self::finalize_block`] only.
    pub async fn start_manual() -> Self {
        Self::start_with(&[MANUAL_SEAL]).await
    }

    /// Starts a chain with further options.
    pub async fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("dev-chain-").tempdir().expect("a temporary folder");
        let mut command = Command::new(binaries::path("dev-chain"));
        command.args(["--rpc-port", "0", "--die-with-parent"]).args(options);
        command.arg("--compiled-runtimes").arg(binaries::compiled_runtimes());
        // A node that is killed leaves its temporary chain behind: let that be in our folder.
        command.env("TMPDIR", folder.path());
        let mut process = Child::spawn("dev-chain", command, folder.path());
        let ready = wait::until("the chain's ready line", async || {
            if let Some(status) = process.ended() {
                panic!("the chain ended before it was ready: {status}");
            }
            let stdout = process.stdout();
            let line = stdout.split_once('\n').ok_or("nothing on its stdout yet")?.0;
            serde_json::from_str::<Ready>(line).map_err(|error| format!("{line:?}: {error}"))
        })
        .await;
        let rpc = RpcClient::from_insecure_url(&ready.rpc).await.expect("a ready chain takes connections");
        let is_manual = options.contains(&MANUAL_SEAL);
        Self { process, ready, rpc, is_manual, _folder: folder }
    }

    /// What it said when it was ready.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Its websocket address.
    pub fn url(&self) -> &str {
        &self.ready.rpc
    }

    /// Its specification with its own address: all that a light client needs.
    pub async fn spec(&self) -> Value {
        self.request("dev_chainSpec", rpc_params![]).await
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    /// One RPC request.
    ///
    /// # Panics
    /// If the node refuses it or answers something else.
    pub async fn request<T: DeserializeOwned>(&self, method: &str, params: RpcParams) -> T {
        self.rpc.request(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The numbers of the finalized blocks from now on, as this node tells whoever subscribes to them. It may pass over
    /// some.
    pub async fn finalized_numbers(&self) -> impl Stream<Item = u64> + Send + use<> {
        let (subscribe, unsubscribe) = ("chain_subscribeFinalizedHeads", "chain_unsubscribeFinalizedHeads");
        let heads = self.rpc.subscribe::<Header>(subscribe, rpc_params![], unsubscribe).await;
        let heads = heads.unwrap_or_else(|error| panic!("{subscribe}: {error}"));
        heads.map(|head| head.expect("a header").number())
    }

    /// Makes a block on the best one (`--manual-seal` only) and answers its hash.
    pub async fn create_block(&self, finalize: bool) -> String {
        const EVEN_WITHOUT_TRANSACTIONS: bool = true;
        let sealed: Sealed =
            self.request("engine_createBlock", rpc_params![EVEN_WITHOUT_TRANSACTIONS, finalize]).await;
        sealed.hash
    }

    /// Makes a block on the given one (`--manual-seal` only) and answers its hash: a fork, unless that one is the
    /// best.
    pub async fn create_block_on(&self, parent: &str) -> String {
        let sealed: Sealed = self.request("engine_createBlock", rpc_params![true, false, parent]).await;
        sealed.hash
    }

    /// Finalizes a block and its ancestors (`--manual-seal` only).
    pub async fn finalize_block(&self, hash: &str) {
        let done: bool = self.request("engine_finalizeBlock", rpc_params![hash]).await;
        assert!(done, "the chain did not finalize {hash}");
    }

    /// Holds finality back, or lets it catch up.
    pub async fn hold_finality(&self, hold: bool) {
        let _: Value = self.request("dev_holdFinality", rpc_params![hold]).await;
    }

    /// The number of the best block.
    pub async fn best_number(&self) -> u64 {
        self.number(rpc_params![]).await
    }

    /// The hash of the best block.
    pub async fn best_hash(&self) -> String {
        self.request("chain_getBlockHash", rpc_params![]).await
    }

    /// How many transactions somebody sent in for this block; its author adds one, the time.
    pub async fn transactions_in(&self, hash: &str) -> usize {
        let found: SignedBlock = self.request("chain_getBlock", rpc_params![hash]).await;
        found.block.extrinsics.len() - 1
    }

    /// The hash of the last finalized block.
    pub async fn finalized_hash(&self) -> String {
        self.request("chain_getFinalizedHead", rpc_params![]).await
    }

    /// The number of the last finalized block.
    pub async fn finalized_number(&self) -> u64 {
        self.number(rpc_params![self.finalized_hash().await]).await
    }

    async fn number(&self, block: RpcParams) -> u64 {
        self.request::<Header>("chain_getHeader", block).await.number()
    }

    /// Waits until the best block has at least this number.
    pub async fn reach_best(&self, number: u64) {
        wait::until(&format!("best block {number}"), async || match self.best_number().await {
            reached if reached >= number => Ok(()),
            reached => Err(format!("block {reached}")),
        })
        .await;
    }

    /// Waits until the finalized block has at least this number.
    pub async fn reach_finalized(&self, number: u64) {
        wait::until(&format!("finalized block {number}"), async || match self.finalized_number().await {
            reached if reached >= number => Ok(()),
            reached => Err(format!("block {reached}")),
        })
        .await;
    }
}
