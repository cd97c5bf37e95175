//! Publishing a release with the sudo key of a development chain: signed, submitted, waited for, and read back.
//!
//! What was stored in the end is read by raw key, as every vaultvisor will read it, so that "published" means
//! exactly what the operators' machines are going to see. The transaction is tied to the *best* block and numbered by
//! the pool, so that it stays valid while finality is behind and while others of the same account are waiting.

mod submit;

use std::{error::Error, time::Duration};

use subxt::{
    SubstrateConfig, config::SubstrateExtrinsicParamsBuilder, error::DispatchError, events::Phase,
    utils::H256,
};
use subxt_rpcs::{RpcClient, rpc_params};
use subxt_signer::sr25519::Keypair;
use tokio::time::sleep;

use self::submit::{Fate, POLL, Place, Search, Signed};
use super::{
    calls::{Proposal, ReleaseCall, Step},
    error::PublishError,
    node::{self, AtBlock, Head, NodeError},
};
use crate::{
    chain::{
        FinalizedBlock,
        endpoints::{Purpose, open_client},
        records::{Record, Stated, StorageKey},
    },
    error_chain::Chained,
    release::{Artifacts, Checksum, Version},
};

/// For how many blocks a submitted call stays valid.
///
/// Six minutes at six seconds a block: longer than anybody waits for it, short enough that a call which was
/// thought lost does not take effect tomorrow.
const MORTAL_BLOCKS: u64 = 64;

/// How often it is signed anew when its number was used by another one. Somebody else publishes at the same time, then,
/// which happens once if ever.
const ATTEMPTS: u32 = 3;

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

/// A release to be put in force, or to be scheduled.
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
    /// The first runtime that it is for; `None` puts it in force at once.
    pub spec_version: Option<u32>,
    /// Its further files.
    pub artifacts: Artifacts,
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
    /// Whether the node may have it.
    submitted: bool,
    /// The best block that has it.
    best: Option<u64>,
}

impl Publish {
    fn proposal(&self) -> Proposal {
        let calls = ReleaseCall::statement(&self.version, self.checksum, self.spec_version, &self.artifacts);
        Proposal {
            pallet: self.pallet.clone(),
            steps: calls.into_iter().map(Step::Release).collect(),
            sudo: true,
        }
    }

    /// Whether the chain states exactly this.
    fn is_stated(&self, stated: &Stated) -> bool {
        let is_it = |version: &Version, checksum: Checksum, artifacts: &Artifacts| {
            (version, checksum, artifacts) == (&self.version, self.checksum, &self.artifacts)
        };
        match self.spec_version {
            None => stated
                .current
                .as_ref()
                .is_some_and(|release| is_it(&release.version, release.binary_checksum, &release.artifacts)),
            Some(_) => stated.pending.as_ref().is_some_and(|release| {
                is_it(&release.version, release.binary_checksum, &release.artifacts)
                    && release.spec_version == self.spec_version
            }),
        }
    }
}

/// Signs and submits the release by sudo, as one call, waits as asked, and checks what the chain then states.
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
    let rpc = open_client(&request.endpoint, Purpose::Calls);
    let rpc = rpc.await.map_err(|problem| problem.at(&request.endpoint))?;
    let proposal = request.proposal();
    let mut attempt = 1;
    loop {
        let transaction = sign(request, &proposal, &rpc, signer).await?;
        match submit(request, &rpc, &transaction, progress).await? {
            Submitted::Yes(None) => {
                return Ok(Published { block: None, finalized: false, transaction: transaction.hash });
            }
            Submitted::Yes(Some(Place { hash, finalized })) => {
                let block = check_outcome(request, &proposal, &rpc, &transaction.bytes, hash).await?;
                return Ok(Published { block: Some(block), finalized, transaction: transaction.hash });
            }
            Submitted::No(reason) if attempt == ATTEMPTS => return Err(PublishError::Refused(reason)),
            Submitted::No(reason) => tracing::info!("its number was used meanwhile; once more: {reason}"),
        }
        attempt += 1;
        sleep(POLL).await;
    }
}

/// Signs the call upon the best block, if that would take it.
async fn sign(
    request: &Publish,
    proposal: &Proposal,
    rpc: &RpcClient,
    signer: &Keypair,
) -> Result<Signed, PublishError> {
    let best = node::at(rpc, Head::Best).await.map_err(unreadable(request))?;
    proposal.encode(best.metadata_ref())?;
    check_sudo_key(request, &best, signer).await?;
    check_record(request, proposal, &best).await?;

    let account = signer.public_key().to_account_id().to_string();
    let doing = "asking for the account's nonce";
    let nonce: u64 = node::request(rpc, "system_accountNextIndex", rpc_params![account], doing)
        .await
        .map_err(unreadable(request))?;
    let number = best.block_number();
    let params = SubstrateExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .mortal_from_unchecked(MORTAL_BLOCKS, number, best.block_hash())
        .build();
    let transaction = best
        .transactions()
        .create_signable_offline(&proposal.payload(best.metadata_ref()), params)
        .and_then(|mut unsigned| unsigned.sign(signer))
        .map_err(|source| PublishError::Sign(Box::new(source)))?;
    let hash = transaction.hash().0;
    tracing::debug!(transaction = %hex::encode(hash), nonce, "signed");
    let blocks = (number.saturating_add(1), number.saturating_add(MORTAL_BLOCKS));
    Ok(Signed { bytes: transaction.into_encoded(), hash, blocks })
}

/// What became of one attempt.
enum Submitted {
    /// The node has it, and this block, if that was waited for.
    Yes(Option<Place>),
    /// Its number was used by another one before; a new number may do.
    No(String),
}

/// Submits and waits as asked.
async fn submit(
    request: &Publish,
    rpc: &RpcClient,
    transaction: &Signed,
    progress: &mut Progress,
) -> Result<Submitted, PublishError> {
    // From here on the node may have it, whatever it says, and also if it says nothing.
    progress.submitted = true;
    let mut search = Search::new(rpc, transaction);
    let updates = match submit::submit(rpc, transaction).await {
        Ok(updates) => Some(updates),
        Err(error) => {
            let reason = Chained(&error).to_string();
            let has_it = match Fate::of(&error) {
                Fate::Pooled => true,
                // Without looking for it, nobody can say.
                Fate::Unknown if request.wait == Wait::None => {
                    return Err(PublishError::Outcome(Box::new(error)));
                }
                Fate::Unknown => true,
                Fate::Outdated => search.is_anywhere().await?,
                Fate::Taken => false,
                Fate::Refused => {
                    progress.submitted = false;
                    return Err(PublishError::Refused(reason));
                }
            };
            if !has_it {
                progress.submitted = false;
                return Ok(Submitted::No(reason));
            }
            tracing::info!("the node does not tell of the transaction; looking for it: {reason}");
            None
        }
    };
    if request.wait == Wait::None {
        return Ok(Submitted::Yes(None));
    }
    let told = match updates {
        Some(updates) => submit::told(rpc, updates, request.wait, progress).await?,
        None => None,
    };
    let place = match told {
        Some(place) => place,
        None => search.find(request.wait, progress).await?,
    };
    Ok(Submitted::Yes(Some(place)))
}

fn unreadable(request: &Publish) -> impl FnOnce(NodeError) -> PublishError {
    let endpoint = request.endpoint.clone();
    move |error| PublishError::Unreadable { endpoint, source: Box::new(error) }
}

/// What the pallet would refuse on the chain as it is now is not even signed.
async fn check_record(request: &Publish, proposal: &Proposal, best: &AtBlock) -> Result<(), PublishError> {
    let record = Record::VaultRelease { pallet: request.pallet.clone() };
    let slots = node::slots(best, &record).await;
    let slots = slots.map_err(|error| unreadable(request)(NodeError::Storage(Box::new(error))))?;
    let stated = record.decode(&slots).map_err(PublishError::Record)?;
    Ok(proposal.forecast(node::forecast(best, stated, &request.pallet))?)
}

async fn check_sudo_key(request: &Publish, at: &AtBlock, signer: &Keypair) -> Result<(), PublishError> {
    let sudo = node::fetch(at, &StorageKey::plain("Sudo", "Key"))
        .await
        .map_err(|error| unreadable(request)(NodeError::Storage(Box::new(error))))?;
    let signer = signer.public_key().0;
    if sudo.as_deref() == Some(&signer) {
        return Ok(());
    }
    let shown = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    Err(PublishError::NotSudoKey { signer: shown(&signer), sudo: sudo.as_deref().map(shown) })
}

/// Where in a block a transaction is. Read here and not by `subxt`, which knows one form of extrinsics only.
async fn index_in_block(rpc: &RpcClient, hash: H256, transaction: &[u8]) -> Result<u32, PublishError> {
    let extrinsics =
        node::extrinsics(rpc, hash).await.map_err(|error| PublishError::Outcome(Box::new(error)))?;
    extrinsics
        .iter()
        .position(|extrinsic| extrinsic == transaction)
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(|| PublishError::Outcome("the node named a block that does not have it".into()))
}

/// Checks that the block holds a success in full: of the transaction, of the call inside, and in the storage.
async fn check_outcome(
    request: &Publish,
    proposal: &Proposal,
    rpc: &RpcClient,
    transaction: &[u8],
    hash: H256,
) -> Result<FinalizedBlock, PublishError> {
    let outcome = |error: Box<dyn Error + Send + Sync>| PublishError::Outcome(error);
    let at = node::at_block(rpc, hash).await.map_err(|error| outcome(Box::new(error)))?;
    let block = FinalizedBlock { number: at.block_number(), hash: hash.0 };
    let index = index_in_block(rpc, hash, transaction).await?;
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
                    let (calls, reason) = (proposal.names(), dispatch_error(error));
                    return Err(PublishError::Inner { block: block.number, calls, reason });
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
    let slots = node::slots(&at, &record).await.map_err(|error| outcome(Box::new(error)))?;
    let stated =
        record.decode(&slots).map_err(|source| PublishError::Unlike { block: block.number, source })?;
    if request.is_stated(&stated) {
        return Ok(block);
    }
    Err(PublishError::NotStated {
        block: block.number,
        expected: Box::new(request.clone()),
        found: Box::new(stated),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chain::PendingRelease, release::Release};

    fn files(checksum: u8) -> Artifacts {
        [("args-migration".parse().expect("a name"), Checksum([checksum; 32]))].into()
    }

    fn request(spec_version: Option<u32>) -> Publish {
        Publish {
            endpoint: "ws://127.0.0.1:1".to_owned(),
            pallet: "VaultRelease".to_owned(),
            version: "1.0.0".parse().expect("a version"),
            checksum: Checksum([1; 32]),
            spec_version,
            artifacts: files(2),
            wait: Wait::Finalized,
            timeout: Duration::from_secs(1),
        }
    }

    fn current(version: &str, checksum: u8, artifacts: Artifacts) -> Stated {
        let release = Release {
            sequence: Some(1),
            version: version.parse().expect("a version"),
            binary_checksum: Checksum([checksum; 32]),
            uri: None,
            artifacts,
        };
        Stated { current: Some(release), pending: None }
    }

    fn pending(spec_version: u32, artifacts: Artifacts) -> Stated {
        let release = PendingRelease {
            version: "1.0.0".parse().expect("a version"),
            binary_checksum: Checksum([1; 32]),
            uri: None,
            artifacts,
            spec_version: Some(spec_version),
        };
        Stated { current: None, pending: Some(release) }
    }

    #[test]
    fn published_is_what_the_chain_states_to_the_last_file() {
        let now = request(None);
        assert!(now.is_stated(&current("1.0.0", 1, files(2))));
        for other in [
            Stated::default(),
            current("1.0.1", 1, files(2)),
            current("1.0.0", 3, files(2)),
            current("1.0.0", 1, files(3)),
            current("1.0.0", 1, Artifacts::new()),
            pending(2, files(2)),
        ] {
            assert!(!now.is_stated(&other), "{other:?}");
        }
        let later = request(Some(2));
        assert!(later.is_stated(&pending(2, files(2))));
        for other in [pending(3, files(2)), pending(2, files(3)), current("1.0.0", 1, files(2))] {
            assert!(!later.is_stated(&other), "{other:?}");
        }
    }
}
