//! A chain as governance's tools read it: its metadata, and the record of one block with it.
//!
//! Here metadata is used: whoever makes or reads a call is there to read an error, and it is the metadata that
//! knows the runtime's calls. The record itself is read by raw key, as every vaultvisor reads it. Only the legacy
//! methods are used, which every node serves.

use std::{sync::Arc, time::Duration};

use subxt::{
    ArcMetadata, OnlineClient, OnlineClientAtBlock, SubstrateConfig,
    backend::LegacyBackend,
    error::{OnlineClientAtBlockError, OnlineClientError, StorageError},
    utils::H256,
};
use subxt_rpcs::{RpcClient, client::RpcParams, rpc_params};
use tokio::time::timeout;

use super::forecast::{Forecast, Limits};
use crate::{
    chain::{
        FinalizedBlock, ReadError, SourceError, SourceProblem, SourceSettings,
        endpoints::{Purpose, open_client},
        follow::check_genesis,
        records::{Record, RecordError, Slots, Stated, StorageKey},
    },
    error_chain::Chained,
    release::GenesisHash,
};

/// A client that works with one block's metadata.
pub(in crate::chain) type AtBlock = OnlineClientAtBlock<SubstrateConfig>;

/// Which block to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// The newest, which can still be undone; what a transaction is tied to.
    Best,
    /// The newest that is final.
    Finalized,
}

/// A chain at one finalized block.
pub struct Snapshot {
    /// The endpoint that said so.
    pub source: String,
    /// The chain that it is.
    pub genesis: GenesisHash,
    /// The block.
    pub finalized: FinalizedBlock,
    /// What its runtime can do.
    pub metadata: ArcMetadata,
    /// The record, and what the pallet's rules look at.
    pub forecast: Forecast,
}

/// Why a chain could not be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::chain) enum NodeError {
    #[error("{doing}")]
    Rpc { doing: &'static str, source: Box<subxt_rpcs::Error> },
    #[error("reading the chain's metadata")]
    Client(#[from] OnlineClientError),
    #[error("reading the chain's metadata")]
    Block(#[from] Box<OnlineClientAtBlockError>),
    #[error("reading the record")]
    Storage(#[from] Box<StorageError>),
}

/// A client for the newest block of that kind.
pub(super) async fn at(rpc: &RpcClient, head: Head) -> Result<AtBlock, NodeError> {
    let (method, doing) = match head {
        Head::Best => ("chain_getBlockHash", "asking for the best block"),
        Head::Finalized => ("chain_getFinalizedHead", "asking for the finalized block"),
    };
    let hash: H256 = request(rpc, method, rpc_params![], doing).await?;
    at_block(rpc, hash).await
}

/// A client for that block: with the metadata of the runtime in its state, which executes the next one.
pub(in crate::chain) async fn at_block(rpc: &RpcClient, hash: H256) -> Result<AtBlock, NodeError> {
    let backend = LegacyBackend::builder().build(rpc.clone());
    let client = OnlineClient::<SubstrateConfig>::from_backend(Arc::new(backend)).await?;
    Ok(client.at_block(hash).await.map_err(Box::new)?)
}

/// One request.
pub(in crate::chain) async fn request<T: serde::de::DeserializeOwned>(
    rpc: &RpcClient,
    method: &str,
    params: RpcParams,
    doing: &'static str,
) -> Result<T, NodeError> {
    let answer = rpc.request(method, params).await;
    answer.map_err(|source| NodeError::Rpc { doing, source: Box::new(source) })
}

/// The extrinsics of a block, encoded.
pub(in crate::chain) async fn extrinsics(rpc: &RpcClient, hash: H256) -> Result<Vec<Vec<u8>>, NodeError> {
    #[derive(serde::Deserialize)]
    struct Signed {
        block: Block,
    }
    #[derive(serde::Deserialize)]
    struct Block {
        extrinsics: Vec<Extrinsic>,
    }
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Extrinsic {
        /// `0x` and hexadecimal digits, as nodes print them.
        Hex(String),
        /// Numbers, as nodes of SDK stable2609 print them.
        Bytes(Vec<u8>),
    }
    let signed: Signed = request(rpc, "chain_getBlock", rpc_params![hash], "asking for a block").await?;
    let bytes = |extrinsic| match extrinsic {
        // What is not hexadecimal is no extrinsic, and equal to none.
        Extrinsic::Hex(digits) => hex::decode(digits.trim_start_matches("0x")).unwrap_or_default(),
        Extrinsic::Bytes(bytes) => bytes,
    };
    Ok(signed.block.extrinsics.into_iter().map(bytes).collect())
}

/// The bytes under a key; `None` if there are none.
pub(super) async fn fetch(at: &AtBlock, key: &StorageKey) -> Result<Option<Vec<u8>>, StorageError> {
    match at.storage().fetch_raw(key.as_bytes().to_vec()).await {
        Ok(value) => Ok(Some(value)),
        Err(StorageError::NoValueFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Both slots of the record at that block, not yet decoded.
pub(super) async fn slots(at: &AtBlock, record: &Record) -> Result<Slots<Option<Vec<u8>>>, StorageError> {
    let keys = record.keys();
    Ok(Slots { current: fetch(at, &keys.current).await?, pending: fetch(at, &keys.pending).await? })
}

/// The record at a block with what the pallet's rules look at.
pub(super) fn forecast(at: &AtBlock, stated: Stated, pallet: &str) -> Forecast {
    Forecast { stated, spec_version: at.spec_version(), limits: Limits::of(at.metadata_ref(), pallet) }
}

/// Reads the newest finalized block from the first endpoint that answers within `deadline`.
pub async fn read_snapshot(settings: &SourceSettings, deadline: Duration) -> Result<Snapshot, ReadError> {
    timeout(deadline, read_first(settings))
        .await
        .unwrap_or_else(|_| Err(ReadError::TimedOut { network: settings.network.clone(), deadline }))
}

async fn read_first(settings: &SourceSettings) -> Result<Snapshot, ReadError> {
    let record = Record::VaultRelease { pallet: settings.records.pallet.clone() };
    let mut failures: Vec<SourceError> = Vec::new();
    for endpoint in &settings.endpoints {
        match read_one(settings, &record, endpoint).await {
            Ok(Ok(snapshot)) => return Ok(snapshot),
            Ok(Err((number, source))) => {
                let (endpoint, source) = (endpoint.clone(), Box::new(source));
                return Err(ReadError::Record { endpoint, number, source });
            }
            Err(problem) => failures.push(problem.at(endpoint)),
        }
    }
    Err(ReadError::Unreachable { network: settings.network.clone(), failures })
}

/// The outer error is the endpoint's, the inner one the chain's.
async fn read_one(
    settings: &SourceSettings,
    record: &Record,
    endpoint: &str,
) -> Result<Result<Snapshot, (u64, RecordError)>, SourceProblem> {
    let rpc = open_client(endpoint, Purpose::Calls).await?;
    let hash: H256 = request(&rpc, "chain_getBlockHash", rpc_params![0], "asking for its genesis hash")
        .await
        .map_err(problem)?;
    let genesis = GenesisHash(hash.0);
    check_genesis(settings.genesis, genesis)?;
    let at = at(&rpc, Head::Finalized).await.map_err(problem)?;
    let slots = slots(&at, record).await.map_err(|error| problem(NodeError::Storage(Box::new(error))))?;
    let finalized = FinalizedBlock { number: at.block_number(), hash: at.block_hash().0 };
    let stated = match record.decode(&slots) {
        Ok(stated) => stated,
        Err(error) => return Ok(Err((finalized.number, error))),
    };
    Ok(Ok(Snapshot {
        source: endpoint.to_owned(),
        genesis,
        finalized,
        metadata: at.metadata(),
        forecast: forecast(&at, stated, &settings.records.pallet),
    }))
}

fn problem(error: NodeError) -> SourceProblem {
    SourceProblem::Call { doing: "reading the chain", reason: Chained(&error).to_string() }
}
