//! The calls that state a release, signed and submitted.
//!
//! Here the chain's metadata is used: whoever publishes is there to read an error, and it is the metadata that
//! knows the runtime's call indices. What was stored in the end is read back by raw key, as every vaultvisor
//! will read it, so that "published" means exactly what the operators' machines are going to see.
//!
//! Only the legacy methods are used, which every node serves: the transaction is tied to the *best* block and
//! numbered by the pool, so that it stays valid while finality is behind and while others of the same account
//! are waiting.

mod error;

use std::{error::Error, sync::Arc, time::Duration};

use subxt::{
    OnlineClient, OnlineClientAtBlock, SubstrateConfig,
    backend::LegacyBackend,
    config::SubstrateExtrinsicParamsBuilder,
    dynamic::Value,
    error::{DispatchError, StorageError},
    events::Phase,
    metadata::Metadata,
    tx::{TransactionProgress, TransactionStatus},
    utils::H256,
};
use subxt_rpcs::{RpcClient, rpc_params};
use subxt_signer::sr25519::Keypair;

pub use self::error::PublishError;
use super::{
    FinalizedBlock,
    endpoints::open_client,
    records::{Record, Slots, StorageKey},
};
use crate::{
    error_chain::Chained,
    release::{Checksum, Version},
};

type Client = subxt::client::OnlineClientAtBlockImpl<SubstrateConfig>;
type AtBlock = OnlineClientAtBlock<SubstrateConfig>;

/// For how many blocks a submitted call stays valid.
///
/// Six minutes at six seconds a block: longer than anybody waits for it, short enough that a call which was
/// thought lost does not take effect tomorrow.
const MORTAL_BLOCKS: u64 = 64;

/// The call that puts a release in force.
const SET: &str = "set_vault_release";

/// How long to wait for a submitted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Wait {
    /// Until the node took it.
    None,
    /// Until it is in a best block, which can still be undone.
    Best,
    /// Until it is in a finalized block.
    Finalized,
}

/// A release to be put in force.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The websocket address of an RPC node.
    pub endpoint: String,
    /// The pallet's name in that runtime.
    pub pallet: String,
    /// The release tag.
    pub version: Version,
    /// SHA-256 of its binary.
    pub checksum: Checksum,
    /// What to wait for.
    pub wait: Wait,
    /// How long to wait for all of it.
    pub timeout: Duration,
}

/// A call that the chain took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The block that it is in; `None` if that was not waited for.
    pub block: Option<FinalizedBlock>,
    /// Whether that block is final.
    pub finalized: bool,
    /// The transaction's hash.
    pub transaction: [u8; 32],
}

/// How far publishing came, for what to say when the time is up.
#[derive(Default)]
struct Progress {
    submitted: bool,
    best: Option<u64>,
}

/// Signs and submits `sudo(set_vault_release)`, waits as asked, and checks what the chain then states.
pub async fn publish(request: &Publish, signer: &Keypair) -> Result<Published, PublishError> {
    let mut progress = Progress::default();
    let timeout = request.timeout;
    match tokio::time::timeout(timeout, publish_unbounded(request, signer, &mut progress)).await {
        Ok(outcome) => outcome,
        Err(_) if progress.submitted => Err(PublishError::TimedOut { best: progress.best, timeout }),
        Err(_) => Err(PublishError::TooSlow { endpoint: request.endpoint.clone(), timeout }),
    }
}

async fn publish_unbounded(
    request: &Publish,
    signer: &Keypair,
    progress: &mut Progress,
) -> Result<Published, PublishError> {
    let rpc = open_client(&request.endpoint).await.map_err(|problem| problem.at(&request.endpoint))?;
    let best = best_block(request, &rpc).await?;
    check_runtime(request, best.metadata_ref())?;
    check_sudo_key(request, &best, signer).await?;

    let account = signer.public_key().to_account_id();
    let nonce: u64 = rpc
        .request("system_accountNextIndex", rpc_params![account.to_string()])
        .await
        .map_err(unreadable(request, "asking for the account's nonce"))?;
    let params = SubstrateExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .mortal_from_unchecked(MORTAL_BLOCKS, best.block_number(), best.block_hash())
        .build();
    let call = subxt::dynamic::tx("Sudo", "sudo", vec![set_release(request)]);
    let build = |source| PublishError::Build { pallet: request.pallet.clone(), source: Box::new(source) };
    let transaction = best
        .transactions()
        .create_signable_offline(&call, params)
        .and_then(|mut unsigned| unsigned.sign(signer))
        .map_err(build)?;

    let mut updates = transaction
        .submit_and_watch()
        .await
        .map_err(|error| PublishError::Refused(Chained(&error).to_string()))?;
    progress.submitted = true;
    let hash = updates.extrinsic_hash().0;
    tracing::debug!(transaction = %hex::encode(hash), nonce, "submitted");
    if request.wait == Wait::None {
        return Ok(Published { block: None, finalized: false, transaction: hash });
    }
    let (block, finalized) = included(request.wait, &mut updates, progress).await?;
    let block = check_outcome(request, &rpc, transaction.encoded(), block).await?;
    Ok(Published { block: Some(block), finalized, transaction: hash })
}

/// A client that works with the newest block's metadata.
async fn best_block(request: &Publish, rpc: &RpcClient) -> Result<AtBlock, PublishError> {
    const DOING: &str = "reading the chain's metadata";
    let hash: H256 = rpc
        .request("chain_getBlockHash", rpc_params![])
        .await
        .map_err(unreadable(request, "asking for the best block"))?;
    let backend = LegacyBackend::builder().build(rpc.clone());
    let client = OnlineClient::<SubstrateConfig>::from_backend(Arc::new(backend))
        .await
        .map_err(unreadable(request, DOING))?;
    client.at_block(hash).await.map_err(unreadable(request, DOING))
}

fn unreadable<E: Error + Send + Sync + 'static>(
    request: &Publish,
    doing: &'static str,
) -> impl FnOnce(E) -> PublishError {
    let endpoint = request.endpoint.clone();
    move |error| PublishError::Unreadable { endpoint, doing, source: Box::new(error) }
}

/// What can be known to fail before anything is signed.
fn check_runtime(request: &Publish, metadata: &Metadata) -> Result<(), PublishError> {
    let Some(pallet) = metadata.pallet_by_name(&request.pallet) else {
        let has_call = metadata.pallets().filter(|pallet| pallet.call_variant_by_name(SET).is_some());
        let similar = has_call.map(|pallet| pallet.name().to_owned()).collect();
        return Err(PublishError::NoPallet { pallet: request.pallet.clone(), similar });
    };
    if pallet.call_variant_by_name(SET).is_none() {
        return Err(PublishError::NoCall { pallet: request.pallet.clone() });
    }
    let max = pallet
        .constant_by_name("MaxVersionLength")
        .and_then(|constant| <[u8; 4]>::try_from(constant.value()).ok())
        .map(u32::from_le_bytes);
    if let Some(max) = max.filter(|max| request.version.as_str().len() > *max as usize) {
        return Err(PublishError::VersionTooLong { version: request.version.clone(), max });
    }
    if metadata.pallet_by_name("Sudo").is_none() {
        return Err(PublishError::NoSudo);
    }
    Ok(())
}

async fn check_sudo_key(request: &Publish, at: &AtBlock, signer: &Keypair) -> Result<(), PublishError> {
    let sudo = fetch(at, &StorageKey::plain("Sudo", "Key"))
        .await
        .map_err(unreadable(request, "asking for the sudo key"))?;
    let signer = signer.public_key().0;
    if sudo.as_deref() == Some(&signer) {
        return Ok(());
    }
    let shown = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    Err(PublishError::NotSudoKey { signer: shown(&signer), sudo: sudo.as_deref().map(shown) })
}

/// `<pallet>.set_vault_release(version, binary_checksum)` as an argument for another call.
fn set_release(request: &Publish) -> Value {
    let arguments =
        [Value::from_bytes(request.version.as_str().as_bytes()), Value::from_bytes(request.checksum.0)];
    Value::unnamed_variant(request.pallet.clone(), [Value::unnamed_variant(SET, arguments)])
}

async fn fetch(at: &AtBlock, key: &StorageKey) -> Result<Option<Vec<u8>>, StorageError> {
    match at.storage().fetch_raw(key.as_bytes().to_vec()).await {
        Ok(value) => Ok(Some(value)),
        Err(StorageError::NoValueFound) => Ok(None),
        Err(error) => Err(error),
    }
}

type Included = subxt::tx::TransactionInBlock<SubstrateConfig, Client>;

/// Waits until the transaction is in a block of the kind that was asked for, and says whether that is final.
async fn included(
    wait: Wait,
    updates: &mut TransactionProgress<SubstrateConfig, Client>,
    progress: &mut Progress,
) -> Result<(Included, bool), PublishError> {
    while let Some(update) = updates.next().await {
        match update.map_err(|error| PublishError::Outcome(Box::new(error)))? {
            TransactionStatus::InFinalizedBlock(block) => return Ok((block, true)),
            TransactionStatus::InBestBlock(block) if wait == Wait::Best => return Ok((block, false)),
            TransactionStatus::InBestBlock(block) => {
                // Only for people, and the block may be gone again already.
                progress.best = block.at().await.ok().map(|at| at.block_number());
                tracing::info!(block = progress.best, "in a best block, waiting for finality");
            }
            TransactionStatus::NoLongerInBestBlock => progress.best = None,
            TransactionStatus::Validated | TransactionStatus::Broadcasted => {}
            TransactionStatus::Error { message }
            | TransactionStatus::Invalid { message }
            | TransactionStatus::Dropped { message } => return Err(PublishError::Refused(message)),
        }
    }
    Err(PublishError::Outcome("the node stopped reporting on it".into()))
}

/// Where in a block a transaction is. Read here and not by `subxt`, which knows one form of extrinsics only.
async fn index_in_block(rpc: &RpcClient, hash: H256, transaction: &[u8]) -> Result<u32, PublishError> {
    #[derive(serde::Deserialize)]
    struct Signed {
        block: Block,
    }
    #[derive(serde::Deserialize)]
    struct Block {
        extrinsics: Vec<Extrinsic>,
    }
    #[derive(PartialEq, serde::Deserialize)]
    #[serde(untagged)]
    enum Extrinsic {
        /// `0x` and hexadecimal digits, as nodes print them.
        Hex(String),
        /// Numbers, as nodes of SDK stable2609 print them.
        Bytes(Vec<u8>),
    }
    let signed: Signed = rpc
        .request("chain_getBlock", rpc_params![hash])
        .await
        .map_err(|error| PublishError::Outcome(Box::new(error)))?;
    let forms =
        [Extrinsic::Hex(format!("0x{}", hex::encode(transaction))), Extrinsic::Bytes(transaction.to_vec())];
    let mut extrinsics = signed.block.extrinsics.iter();
    extrinsics
        .position(|extrinsic| forms.contains(extrinsic))
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(|| PublishError::Outcome("the node named a block that does not have it".into()))
}

/// Checks that the block holds a success in full: of the transaction, of the call inside, and in the storage.
async fn check_outcome(
    request: &Publish,
    rpc: &RpcClient,
    transaction: &[u8],
    included: Included,
) -> Result<FinalizedBlock, PublishError> {
    let outcome = |error: Box<dyn Error + Send + Sync>| PublishError::Outcome(error);
    let at = included.at().await.map_err(|error| outcome(Box::new(error)))?;
    let block = FinalizedBlock { number: at.block_number(), hash: included.block_hash().0 };
    let index = index_in_block(rpc, included.block_hash(), transaction).await?;
    let events = at.events().fetch().await.map_err(|error| outcome(Box::new(error)))?;
    let dispatch_error = |bytes: &[u8]| match DispatchError::decode_from(bytes, at.metadata()) {
        Ok(error) => Chained(&error).to_string(),
        Err(_) => format!("an error that this vaultvisor cannot read (0x{})", hex::encode(bytes)),
    };
    let mut inner_succeeded = false;
    for event in events.iter() {
        let event = event.map_err(|error| outcome(Box::new(error)))?;
        if event.phase() != Phase::ApplyExtrinsic(index) {
            continue;
        }
        match (event.pallet_name(), event.event_name()) {
            ("System", "ExtrinsicFailed") => {
                let reason = dispatch_error(event.field_bytes());
                return Err(PublishError::Failed { block: block.number, reason });
            }
            // Its first field is a `Result<(), DispatchError>`.
            ("Sudo", "Sudid") => match event.field_bytes() {
                [0] => inner_succeeded = true,
                [1, error @ ..] => {
                    let (pallet, reason) = (request.pallet.clone(), dispatch_error(error));
                    return Err(PublishError::Inner { block: block.number, pallet, reason });
                }
                _ => {}
            },
            _ => {}
        }
    }
    if !inner_succeeded {
        return Err(PublishError::NoOutcome { block: block.number });
    }
    let record = Record::VaultRelease { pallet: request.pallet.clone() };
    let current = fetch(&at, &record.keys().current).await.map_err(|error| outcome(Box::new(error)))?;
    let stated = record
        .decode(&Slots { current, pending: None })
        .map_err(|source| PublishError::Unlike { block: block.number, source })?;
    match stated.current {
        Some(release)
            if release.version == request.version && release.binary_checksum == request.checksum =>
        {
            Ok(block)
        }
        found => Err(PublishError::NotStated {
            block: block.number,
            version: request.version.clone(),
            checksum: request.checksum,
            found: found.map(Box::new),
        }),
    }
}
