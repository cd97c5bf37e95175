//! A signed transaction's way into a block: as the node tells of it, and looked for where it does not.
//!
//! A busy node may say no to what it has taken. Its pool gets a transaction first and checks it for the newest blocks
//! then: if a block comes in between, the node says that it has it already (1013), or, if that block has it, that it is
//! outdated (1010). It is in a block all the same, soon or now. Signatures are randomised, so the same bytes in a
//! block are ours.

use std::{collections::HashSet, time::Duration};

use subxt::utils::H256;
use subxt_rpcs::{
    Error as RpcError, RpcClient, UserError, client::RpcSubscription, methods::legacy::TransactionStatus,
    rpc_params,
};
use tokio::time::sleep;

use super::{Progress, PublishError, Wait};
use crate::chain::governance::node::{NodeError, extrinsics, request};

/// Between two looks for the transaction: often enough for blocks of any chain, and three small calls each.
pub(super) const POLL: Duration = Duration::from_millis(500);

/// A transaction that can be submitted.
pub(super) struct Signed {
    /// All of it, as it will be in a block.
    pub(super) bytes: Vec<u8>,
    /// Its hash.
    pub(super) hash: [u8; 32],
    /// The numbers of the first and of the last block that may have it.
    pub(super) blocks: (u64, u64),
}

/// A block that has the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) hash: H256,
    pub(super) finalized: bool,
}

/// What has become of a transaction that the node did not say yes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the pool.
    Pooled,
    /// Nobody knows.
    Unknown,
    /// It is in a block, or another one with its number is.
    Outdated,
    /// Another one with its number is in the pool, and pays no less.
    Taken,
    /// The node does not want it.
    Refused,
}

impl Fate {
    /// By the codes of `sc-rpc-api`, which have been the same for all nodes.
    pub(super) fn of(error: &RpcError) -> Self {
        let RpcError::User(UserError { code, data, .. }) = error else { return Self::Unknown };
        match code {
            1010 if data.as_ref().is_some_and(|data| data.get().contains("outdated")) => Self::Outdated,
            1013 => Self::Pooled,
            1014 => Self::Taken,
            _ => Self::Refused,
        }
    }
}

/// Hands it to the node, which tells of its fate from then on.
pub(super) async fn submit(
    rpc: &RpcClient,
    transaction: &Signed,
) -> Result<RpcSubscription<TransactionStatus<H256>>, RpcError> {
    let params = rpc_params![format!("0x{}", hex::encode(&transaction.bytes))];
    rpc.subscribe("author_submitAndWatchExtrinsic", params, "author_unwatchExtrinsic").await
}

/// Waits until the node says that it is in a block of the kind that was asked for; `None` if it stops telling.
pub(super) async fn told(
    rpc: &RpcClient,
    mut updates: RpcSubscription<TransactionStatus<H256>>,
    wait: Wait,
    progress: &mut Progress,
) -> Result<Option<Place>, PublishError> {
    while let Some(update) = updates.next().await {
        let refused = match update.map_err(|error| PublishError::Outcome(Box::new(error)))? {
            TransactionStatus::Finalized(hash) => return Ok(Some(Place { hash, finalized: true })),
            TransactionStatus::InBlock(hash) if wait == Wait::Best => {
                return Ok(Some(Place { hash, finalized: false }));
            }
            TransactionStatus::InBlock(hash) => {
                // Only for people, and the block may be gone again already.
                progress.best = number_of(rpc, Some(hash)).await.ok();
                waits_for_finality(progress.best);
                continue;
            }
            TransactionStatus::Retracted(_) => {
                progress.best = None;
                continue;
            }
            TransactionStatus::Future | TransactionStatus::Ready | TransactionStatus::Broadcast(_) => {
                continue;
            }
            TransactionStatus::FinalityTimeout(_) => "its block was not finalized for too long",
            TransactionStatus::Usurped(_) => "it was replaced by another one with the same nonce",
            TransactionStatus::Dropped => "it was dropped",
            TransactionStatus::Invalid => "it is invalid (for example because of its nonce or signature)",
        };
        return Err(PublishError::Refused(refused.to_owned()));
    }
    Ok(None)
}

fn waits_for_finality(block: Option<u64>) {
    tracing::info!(block, "in a best block, waiting for finality");
}

/// What looking for it found.
enum Look {
    /// A block that has it, with its number.
    At(Place, u64),
    /// No block yet.
    Nowhere,
    /// No block, and none can have it any more.
    Expired,
}

/// Looks for a transaction in the blocks that may have it.
pub(super) struct Search<'a> {
    rpc: &'a RpcClient,
    transaction: &'a Signed,
    /// Blocks that do not have it: at most one for each number, and a few more after re-organisations.
    without: HashSet<H256>,
}

impl<'a> Search<'a> {
    pub(super) fn new(rpc: &'a RpcClient, transaction: &'a Signed) -> Self {
        Self { rpc, transaction, without: HashSet::new() }
    }

    /// Whether a block has it now.
    pub(super) async fn is_anywhere(&mut self) -> Result<bool, PublishError> {
        Ok(matches!(self.look().await?, Look::At(..)))
    }

    /// Looks until it is in a block of the kind that was asked for.
    pub(super) async fn find(&mut self, wait: Wait, progress: &mut Progress) -> Result<Place, PublishError> {
        loop {
            let best = match self.look().await? {
                Look::At(place, _) if place.finalized || wait == Wait::Best => return Ok(place),
                Look::At(_, number) => Some(number),
                Look::Nowhere => None,
                Look::Expired => return Err(PublishError::Expired { last: self.transaction.blocks.1 }),
            };
            if best.is_some() && best != progress.best {
                waits_for_finality(best);
            }
            progress.best = best;
            sleep(POLL).await;
        }
    }

    async fn look(&mut self) -> Result<Look, PublishError> {
        self.look_once().await.map_err(|error| PublishError::Outcome(Box::new(error)))
    }

    async fn look_once(&mut self) -> Result<Look, NodeError> {
        let doing = "asking for the finalized block";
        let finalized: H256 = request(self.rpc, "chain_getFinalizedHead", rpc_params![], doing).await?;
        // In this order: what is below is final whatever becomes of the best blocks meanwhile.
        let finalized = number_of(self.rpc, Some(finalized)).await?;
        let best = number_of(self.rpc, None).await?;
        let (first, last) = self.transaction.blocks;
        for number in first..=last.min(best) {
            let doing = "asking for a block by its number";
            let hash: Option<H256> =
                request(self.rpc, "chain_getBlockHash", rpc_params![number], doing).await?;
            let Some(hash) = hash else { break };
            if self.without.contains(&hash) {
                continue;
            }
            if extrinsics(self.rpc, hash).await?.contains(&self.transaction.bytes) {
                return Ok(Look::At(Place { hash, finalized: number <= finalized }, number));
            }
            self.without.insert(hash);
        }
        Ok(if finalized >= last { Look::Expired } else { Look::Nowhere })
    }
}

/// The number of a block, or of the best one.
async fn number_of(rpc: &RpcClient, hash: Option<H256>) -> Result<u64, NodeError> {
    #[derive(serde::Deserialize)]
    struct Header {
        number: Number,
    }
    /// `0x` and hexadecimal digits.
    #[derive(serde::Deserialize)]
    #[serde(try_from = "String")]
    struct Number(u64);
    impl TryFrom<String> for Number {
        type Error = std::num::ParseIntError;
        fn try_from(digits: String) -> Result<Self, Self::Error> {
            u64::from_str_radix(digits.trim_start_matches("0x"), 16).map(Self)
        }
    }
    let params = hash.map_or_else(|| rpc_params![], |hash| rpc_params![hash]);
    let header: Header = request(rpc, "chain_getHeader", params, "asking for a block's header").await?;
    Ok(header.number.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(code: i32, data: Option<&str>) -> Fate {
        let data = data.map(|data| serde_json::value::to_raw_value(data).expect("JSON"));
        Fate::of(&RpcError::User(UserError { code, message: "no".to_owned(), data }))
    }

    #[test]
    fn a_no_of_a_busy_node_is_told_from_a_refusal() {
        for (code, data, expected) in [
            (1013, None, Fate::Pooled),
            (1010, Some("Transaction is outdated"), Fate::Outdated),
            (1010, Some("Transaction has a bad signature"), Fate::Refused),
            (1010, None, Fate::Refused),
            (1014, Some("The transaction has too low priority"), Fate::Taken),
            (1011, Some("outdated"), Fate::Refused),
            (1012, None, Fate::Refused),
            (-32601, None, Fate::Refused),
        ] {
            assert_eq!(fate(code, data), expected, "{code} {data:?}");
        }
        assert_eq!(Fate::of(&RpcError::Client("the connection was lost".into())), Fate::Unknown);
    }
}
