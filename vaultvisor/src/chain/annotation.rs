//! Who stated a release, and in which block: what the pallet's event tells, decoded with the metadata that the chain
//! serves.
//!
//! It announces and annotates, for people; nothing is decided by it. So everything here may fail: a node that has
//! pruned the state, metadata of a version that we do not know, events of a block that changes the code. Then the
//! statement stands without its annotation. All of it goes over a connection of its own, so that the one which follows
//! the chain is never held up; and only legacy methods are used, which every node serves. What a node serves is taken
//! apart within bounds (`events`), and on a thread of its own: a hostile one costs some memory for a moment, and nobody
//! waits.

mod events;

use std::time::Duration;

use subxt::utils::H256;
use subxt_rpcs::{RpcClient, methods::legacy::Bytes, rpc_params};

use self::events::{EventsError, Found, Wanted};
use super::{
    ChainView, FinalizedBlock, SourceError,
    endpoints::{Purpose, open_client},
    governance::node::{NodeError, extrinsics, request},
    records::{CLIENTS_INFO, Record, Records, StorageKey},
};
use crate::release::GenesisHash;

/// How long finding out may take in all: a dozen small calls, and metadata of some hundred kB. Nobody waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// How far back is looked, in blocks: nodes that prune keep the state of 256.
const MAX_BLOCKS_BACK: u64 = 255;

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Search {
    /// Nodes to be asked, one after the other.
    endpoints: Vec<String>,
    genesis: GenesisHash,
    /// A finalized block that has the statement.
    at: FinalizedBlock,
    /// A finalized block that did not have it yet.
    before: u64,
    key: StorageKey,
    event: Wanted,
}

/// What the chain's event tells of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The block.
    pub block: FinalizedBlock,
    /// The event, with its pallet.
    pub event: String,
    /// The extrinsic that made it, by its place in the block; `None` for the runtime's own doing at the block's start or
    /// end, such as a promotion or a referendum that is enacted.
    pub extrinsic: Option<u32>,
    /// The account that signed the extrinsic, where one did.
    pub who: Option<String>,
}

/// Why a statement has no annotation.
#[derive(Debug, thiserror::Error)]
enum AnnotationError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("no endpoint is configured that could be asked")]
    NoEndpoint,
    #[error("the node is of another chain")]
    OtherChain,
    #[error("block {0} is unknown to the node")]
    NoBlock(u64),
    #[error("it was stated before block {0}, the oldest that is looked at")]
    Older(u64),
    #[error("the events of block {block} cannot be decoded")]
    Undecodable { block: u64, source: EventsError },
    #[error("block {0} has no event about it")]
    NoEvent(u64),
    #[error("not found out within {} s", DEADLINE.as_secs())]
    TimedOut,
}

impl Search {
    /// For the release in force in that view, which a block with the number `before` did not have yet; `None` if the
    /// view has none, or there are no `endpoints` to ask. A light client is none: it answers nothing about blocks before
    /// it was started.
    pub fn of(view: &ChainView, records: &Records, endpoints: &[String], before: u64) -> Option<Self> {
        let release = view.current.as_ref().filter(|_| !endpoints.is_empty())?;
        let record = records.each().find(|record| record.name() == view.record)?;
        let key = record.keys().current;
        let (pallet, events): (_, &[_]) = match record {
            Record::VaultRelease { pallet } => (pallet, &["VaultClientUpdate"]),
            Record::ClientsInfo { .. } => {
                (CLIENTS_INFO.to_owned(), &["NotifyClientRelease", "ApplyClientRelease"])
            }
        };
        let mut endpoints = endpoints.to_vec();
        // Those that told of it are alive.
        endpoints.sort_by_key(|endpoint| view.source.split(", ").all(|source| source != endpoint));
        Some(Self {
            endpoints,
            genesis: view.genesis,
            at: view.finalized,
            before: before.max(view.finalized.number.saturating_sub(MAX_BLOCKS_BACK)),
            key,
            event: Wanted { pallet, events, checksum: release.binary_checksum },
        })
    }
}

/// Finds out what the chain tells of a statement. `Err` says why it is not told; nobody has to act on that.
pub async fn find(search: &Search) -> Result<Announcement, impl std::error::Error + use<>> {
    tokio::time::timeout(DEADLINE, find_unbounded(search)).await.unwrap_or(Err(AnnotationError::TimedOut))
}

async fn find_unbounded(search: &Search) -> Result<Announcement, AnnotationError> {
    let mut found = Err(AnnotationError::NoEndpoint);
    for endpoint in &search.endpoints {
        found = find_at(endpoint, search).await;
        if found.is_ok() {
            break;
        }
    }
    found
}

async fn find_at(endpoint: &str, search: &Search) -> Result<Announcement, AnnotationError> {
    let rpc = open_client(endpoint, Purpose::Calls).await.map_err(|problem| problem.at(endpoint))?;
    if block_hash(&rpc, 0).await?.0 != search.genesis.0 {
        return Err(AnnotationError::OtherChain);
    }
    let number = first_with(&rpc, search).await?;
    let (hash, parent) = (block_hash(&rpc, number).await?, block_hash(&rpc, number - 1).await?);
    let Found { name, extrinsic } = event_in(&rpc, search, hash, parent, number).await?;
    let who = match extrinsic {
        Some(index) => signer(&rpc, hash, index).await,
        None => None,
    };
    let event = format!("{}.{name}", search.event.pallet);
    Ok(Announcement { block: FinalizedBlock { number, hash: hash.0 }, event, extrinsic, who })
}

/// The first block that has the value which is there at the end: statements are counted, so it was there once only.
/// Where they are not, an equal earlier one may be found in its place, which said the same.
async fn first_with(rpc: &RpcClient, search: &Search) -> Result<u64, AnnotationError> {
    let stated = storage(rpc, &search.key, H256(search.at.hash)).await?;
    let has_it = async |number| -> Result<bool, AnnotationError> {
        Ok(storage(rpc, &search.key, block_hash(rpc, number).await?).await? == stated)
    };
    let (mut without, mut with) = (search.before, search.at.number);
    if without >= with || has_it(without).await? {
        return Err(AnnotationError::Older(without));
    }
    while with - without > 1 {
        let middle = without + (with - without) / 2;
        match has_it(middle).await? {
            true => with = middle,
            false => without = middle,
        }
    }
    Ok(with)
}

/// The event in that block.
async fn event_in(
    rpc: &RpcClient,
    search: &Search,
    hash: H256,
    parent: H256,
    block: u64,
) -> Result<Found, AnnotationError> {
    let written = storage(rpc, &StorageKey::plain("System", "Events"), hash).await?.unwrap_or_default();
    // The runtime that wrote them is the one in the parent's state.
    let doing = "asking for the metadata";
    let Bytes(metadata) = request(rpc, "state_getMetadata", rpc_params![parent], doing).await?;
    let wanted = search.event.clone();
    // Some tens of milliseconds of work, which a node can make longer.
    let looking = tokio::task::spawn_blocking(move || events::find(&metadata, &written, &wanted));
    match looking.await {
        Ok(Ok(found)) => found.ok_or(AnnotationError::NoEvent(block)),
        Ok(Err(source)) => Err(AnnotationError::Undecodable { block, source }),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Who signed an extrinsic. Not known where nobody did, or where it is of a form that is not.
async fn signer(rpc: &RpcClient, hash: H256, index: u32) -> Option<String> {
    let extrinsics = extrinsics(rpc, hash).await.ok()?;
    events::signer(extrinsics.get(usize::try_from(index).ok()?)?)
}

async fn block_hash(rpc: &RpcClient, number: u64) -> Result<H256, AnnotationError> {
    let hash: Option<H256> =
        request(rpc, "chain_getBlockHash", rpc_params![number], "asking for a block by its number").await?;
    hash.ok_or(AnnotationError::NoBlock(number))
}

async fn storage(rpc: &RpcClient, key: &StorageKey, at: H256) -> Result<Option<Vec<u8>>, AnnotationError> {
    let params = rpc_params![key.to_string(), at];
    let value: Option<Bytes> = request(rpc, "state_getStorage", params, "reading what was stated").await?;
    Ok(value.map(|bytes| bytes.0))
}

impl std::fmt::Display for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { block, event, extrinsic, who } = self;
        write!(f, "{event} in block {} (0x{})", block.number, hex::encode(block.hash))?;
        match extrinsic {
            Some(index) => write!(f, ", extrinsic {index}")?,
            None => write!(f, ", by the runtime itself")?,
        }
        who.iter().try_for_each(|who| write!(f, ", signed by {who}"))
    }
}
