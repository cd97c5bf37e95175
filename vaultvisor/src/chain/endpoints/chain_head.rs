//! The modern methods: `chainHead_v1_follow` tells of every block with its runtime version, and pins it until
//! we let it go.
//!
//! Blocks are let go once a newer finalized one was read, so that the node keeps no more for us than its tip,
//! the one before, and what is not final yet.

use std::collections::{HashMap, VecDeque};

use codec::Decode;
use futures::{
    FutureExt,
    future::{BoxFuture, Either, pending},
};
use subxt::utils::H256;
use subxt_rpcs::{
    ChainHeadRpcMethods, RpcClient, RpcConfig,
    methods::chain_head::{
        FollowEvent, FollowSubscription, MethodResponse, RuntimeEvent, StorageQuery, StorageQueryType,
        StorageResult, StorageResultType,
    },
    rpc_params,
};

use super::{CALL_DEADLINE, SourceProblem};
use crate::chain::{
    FinalizedBlock,
    records::StorageKey,
    source::{Head, News},
};

/// How many blocks may be told of and not yet be final or dropped.
///
/// Nodes stop a subscription at 512 pinned blocks by themselves; this bounds what a hostile one can make us
/// remember.
const MAX_PINNED: usize = 4096;

/// How much is kept of a node's words about a runtime that it cannot tell: for each block that has it, once.
const MAX_REASON_CHARS: usize = 200;

/// For messages.
const FOLLOWING: &str = "following chainHead_v1";
const READING: &str = "reading the release";

/// The shapes of this module's calls.
enum Wire {}

impl RpcConfig for Wire {
    type Header = HeaderStart;
    type Hash = H256;
    type AccountId = ();
}

/// The two fields with which every header begins; what follows is ignored.
#[derive(Debug, Decode, serde::Deserialize)]
struct HeaderStart {
    _parent_hash: H256,
    number: CompactNumber,
}

#[derive(Debug, Decode, serde::Deserialize)]
struct CompactNumber(#[codec(compact)] u64);

/// A `chainHead_v1_follow` subscription.
pub(super) struct ChainHead {
    client: RpcClient,
    methods: ChainHeadRpcMethods<Wire>,
    events: FollowSubscription<H256>,
    id: String,
    blocks: Blocks,
    /// Blocks that are being let go. Kept here, because who waits for news may stop waiting at any time.
    unpinning: Option<BoxFuture<'static, Result<(), SourceProblem>>>,
}

/// The blocks that are pinned for us, and which of them is to be read next.
#[derive(Default)]
struct Blocks {
    /// Each with the spec version in its state, or why the node does not know it.
    pinned: HashMap<H256, Result<u32, String>>,
    /// The finalized blocks that are kept, in a row, the newest last.
    finalized: VecDeque<H256>,
    /// How many of them behind the newest are kept.
    keep: usize,
    /// One of them, with its number.
    numbered: Option<(H256, u64)>,
    /// Whether the newest was told of, or read.
    tip_told: bool,
    /// What may be let go once the newest was read.
    overtaken: Vec<H256>,
    /// The runtime version of the best block, where it is known.
    best_runtime: Option<u32>,
    /// Whether that was told.
    best_told: bool,
}

/// An event about an operation that we started.
enum Operation {
    Items(Vec<StorageResult>),
    WaitingForContinue,
    Done,
    Failed(String),
}

impl ChainHead {
    /// `keep` finalized blocks behind the newest can be read still.
    pub(super) async fn follow(client: RpcClient, keep: usize) -> Result<Self, subxt_rpcs::Error> {
        let methods = ChainHeadRpcMethods::new(client.clone());
        let events = methods.chainhead_v1_follow(true).await?;
        let id = events.subscription_id().map(ToOwned::to_owned).ok_or_else(|| {
            subxt_rpcs::Error::Client("the node gave the subscription no textual id".into())
        })?;
        let blocks = Blocks { keep, ..Blocks::default() };
        Ok(Self { client, methods, events, id, blocks, unpinning: None })
    }

    pub(super) async fn next(&mut self) -> Result<News, SourceProblem> {
        loop {
            // Now, not right after a read: the head should be on its way first.
            if self.unpinning.is_none() {
                self.unpinning = self.unpin_overtaken();
            }
            if self.blocks.take_tip_news() {
                return Ok(News::Finalized);
            }
            if let Some(spec_version) = self.blocks.take_best_runtime() {
                return Ok(News::BestRuntime(Some(spec_version)));
            }
            let unpinned = match &mut self.unpinning {
                Some(unpinning) => Either::Left(unpinning),
                None => Either::Right(pending()),
            };
            tokio::select! {
                // Operations that ended with an earlier read may still send events; nobody waits for them.
                event = next_event(&mut self.events, &mut self.blocks) => drop(event?),
                outcome = unpinned => {
                    self.unpinning = None;
                    outcome?;
                }
            }
        }
    }

    pub(super) async fn read_newest(&mut self, keys: &[StorageKey]) -> Result<Head, SourceProblem> {
        let tip = self.blocks.take_tip();
        let hash = tip.ok_or_else(|| failed(READING, "the node has told of no finalized block"))?;
        self.read_in_time(hash, keys).await
    }

    /// `None` if it is not kept for us.
    pub(super) async fn read_at(
        &mut self,
        number: u64,
        keys: &[StorageKey],
    ) -> Result<Option<Head>, SourceProblem> {
        let Some(hash) = self.blocks.finalized_at(number) else { return Ok(None) };
        let head = self.read_in_time(hash, keys).await?;
        match head.block.number == number {
            true => Ok(Some(head)),
            false => Err(failed(READING, "the node's finalized blocks are not in a row")),
        }
    }

    async fn read_in_time(&mut self, hash: H256, keys: &[StorageKey]) -> Result<Head, SourceProblem> {
        let head = tokio::time::timeout(CALL_DEADLINE, self.read(hash, keys))
            .await
            .map_err(|_| SourceProblem::NoAnswer { doing: READING, after: CALL_DEADLINE })??;
        self.blocks.numbered = Some((hash, head.block.number));
        Ok(head)
    }

    /// Reads number and values of a pinned block, both at once.
    async fn read(&mut self, hash: H256, keys: &[StorageKey]) -> Result<Head, SourceProblem> {
        let spec_version = self.blocks.spec_version(hash)?;
        let queries =
            keys.iter().map(|key| StorageQuery { key: key.as_bytes(), query_type: StorageQueryType::Value });
        let (header, started) = futures::future::try_join(
            self.methods.chainhead_v1_header(&self.id, hash),
            self.methods.chainhead_v1_storage(&self.id, hash, queries, None),
        )
        .await
        .map_err(SourceProblem::call(READING))?;
        let header = header.ok_or_else(|| failed(READING, "the node does not know its own block"))?;
        let operation = match started {
            MethodResponse::Started(started) if started.discarded_items.unwrap_or(0) == 0 => {
                started.operation_id
            }
            MethodResponse::Started(_) | MethodResponse::LimitReached => {
                return Err(failed(READING, "the node is too busy for a few values"));
            }
        };
        let mut values = vec![None; keys.len()];
        loop {
            match next_event(&mut self.events, &mut self.blocks).await? {
                Some((id, event)) if id == operation => match event {
                    Operation::Items(items) => {
                        for item in items {
                            keep(&mut values, keys, item);
                        }
                    }
                    Operation::WaitingForContinue => self
                        .methods
                        .chainhead_v1_continue(&self.id, &operation)
                        .await
                        .map_err(SourceProblem::call(READING))?,
                    Operation::Done => break,
                    Operation::Failed(reason) => return Err(failed(READING, reason)),
                },
                _ => {}
            }
        }
        let block = FinalizedBlock { number: header.number.0, hash: hash.0 };
        Ok(Head { block, spec_version, values })
    }

    /// Lets go what may be.
    fn unpin_overtaken(&mut self) -> Option<BoxFuture<'static, Result<(), SourceProblem>>> {
        let hashes = self.blocks.take_overtaken();
        if hashes.is_empty() {
            return None;
        }
        let (client, id) = (self.client.clone(), self.id.clone());
        let unpin = async move {
            let answer = client.request::<()>("chainHead_v1_unpin", rpc_params![id, hashes]);
            tokio::time::timeout(CALL_DEADLINE, answer)
                .await
                .map_err(|_| SourceProblem::NoAnswer { doing: FOLLOWING, after: CALL_DEADLINE })?
                .map_err(SourceProblem::call(FOLLOWING))
        };
        Some(unpin.boxed())
    }
}

/// Waits for one event. What it says about blocks is noted; what it says about an operation is returned.
async fn next_event(
    events: &mut FollowSubscription<H256>,
    blocks: &mut Blocks,
) -> Result<Option<(String, Operation)>, SourceProblem> {
    let event = events.next().await.ok_or(SourceProblem::Closed)?.map_err(SourceProblem::call(FOLLOWING))?;
    Ok(Some(match event {
        FollowEvent::OperationStorageItems(items) => {
            (items.operation_id, Operation::Items(items.items.into()))
        }
        FollowEvent::OperationWaitingForContinue(waiting) => {
            (waiting.operation_id, Operation::WaitingForContinue)
        }
        FollowEvent::OperationStorageDone(done) => (done.operation_id, Operation::Done),
        FollowEvent::OperationInaccessible(operation) => {
            (operation.operation_id, Operation::Failed("the block's state is not accessible".to_owned()))
        }
        FollowEvent::OperationError(error) => (error.operation_id, Operation::Failed(error.error)),
        about_blocks => {
            blocks.note(about_blocks)?;
            return Ok(None);
        }
    }))
}

fn failed(doing: &'static str, reason: impl Into<String>) -> SourceProblem {
    SourceProblem::Call { doing, reason: reason.into() }
}

fn keep(values: &mut [Option<Vec<u8>>], keys: &[StorageKey], item: StorageResult) {
    let StorageResultType::Value(value) = item.result else { return };
    if let Some(index) = keys.iter().position(|key| key.as_bytes() == item.key.0) {
        values[index] = Some(value.0);
    }
}

impl Blocks {
    /// Takes in what an event says about blocks.
    fn note(&mut self, event: FollowEvent<H256>) -> Result<(), SourceProblem> {
        match event {
            FollowEvent::Initialized(initialized) => {
                bounded(initialized.finalized_block_hashes.len())?;
                let runtime = runtime(initialized.finalized_block_runtime)
                    .unwrap_or_else(|| Err("the node did not tell it".to_owned()));
                for hash in &initialized.finalized_block_hashes {
                    self.pinned.insert(*hash, runtime.clone());
                }
                self.finalize(initialized.finalized_block_hashes);
            }
            FollowEvent::NewBlock(block) => {
                let runtime = runtime(block.new_runtime)
                    .or_else(|| self.pinned.get(&block.parent_block_hash).cloned())
                    .unwrap_or_else(|| Err("the node did not tell it".to_owned()));
                self.pinned.insert(block.block_hash, runtime);
            }
            FollowEvent::BestBlockChanged(best) => {
                // A runtime that the node cannot run, or a block that it did not tell of, is no hint.
                if let Some(Ok(spec_version)) = self.pinned.get(&best.best_block_hash)
                    && self.best_runtime.replace(*spec_version) != Some(*spec_version)
                {
                    self.best_told = false;
                }
            }
            FollowEvent::Finalized(finalized) => {
                bounded(finalized.finalized_block_hashes.len())?;
                bounded(finalized.pruned_block_hashes.len())?;
                self.finalize(finalized.finalized_block_hashes);
                self.overtaken.extend(finalized.pruned_block_hashes);
            }
            FollowEvent::Stop => {
                return Err(SourceProblem::FollowStopped("finality lags, or we were too slow"));
            }
            _ => {}
        }
        bounded(self.pinned.len())?;
        bounded(self.overtaken.len())
    }

    /// The last of `hashes` is the new tip; what is no longer to be kept is overtaken.
    fn finalize(&mut self, hashes: Vec<H256>) {
        if hashes.is_empty() {
            return;
        }
        self.finalized.extend(hashes);
        let surplus = self.finalized.len().saturating_sub(self.keep + 1);
        self.overtaken.extend(self.finalized.drain(..surplus));
        self.tip_told = false;
    }

    /// Whether there is a finalized block that was not told of; once for each.
    fn take_tip_news(&mut self) -> bool {
        !self.finalized.is_empty() && !std::mem::replace(&mut self.tip_told, true)
    }

    /// The newest finalized block, which is no news from now on.
    fn take_tip(&mut self) -> Option<H256> {
        self.tip_told = true;
        self.finalized.back().copied()
    }

    /// A finalized block by its number, if it is kept and one whose number is known is too.
    fn finalized_at(&self, number: u64) -> Option<H256> {
        let (known, known_number) = self.numbered?;
        let position = self.finalized.iter().position(|hash| *hash == known)?;
        let steps = i64::try_from(number).ok()?.checked_sub(i64::try_from(known_number).ok()?)?;
        let wanted = i64::try_from(position).ok()?.checked_add(steps)?;
        self.finalized.get(usize::try_from(wanted).ok()?).copied()
    }

    /// The best block's runtime version, once after each change.
    fn take_best_runtime(&mut self) -> Option<u32> {
        let best = self.best_runtime.filter(|_| !self.best_told)?;
        self.best_told = true;
        Some(best)
    }

    fn spec_version(&self, hash: H256) -> Result<u32, SourceProblem> {
        match self.pinned.get(&hash) {
            Some(Ok(spec_version)) => Ok(*spec_version),
            Some(Err(reason)) => Err(failed("asking for the runtime version", reason)),
            None => Err(failed(FOLLOWING, "the node finalized a block that it had not told of")),
        }
    }

    /// What can be let go; only what really is pinned, as the node refuses the whole list otherwise.
    fn take_overtaken(&mut self) -> Vec<H256> {
        let mut hashes = std::mem::take(&mut self.overtaken);
        hashes.retain(|hash| self.pinned.remove(hash).is_some());
        hashes
    }
}

/// `None` if the block runs its parent's runtime.
fn runtime(event: Option<RuntimeEvent>) -> Option<Result<u32, String>> {
    event.map(|event| match event {
        RuntimeEvent::Valid(runtime) => Ok(runtime.spec.spec_version),
        RuntimeEvent::Invalid(error) => Err(error.error.chars().take(MAX_REASON_CHARS).collect()),
    })
}

fn bounded(blocks: usize) -> Result<(), SourceProblem> {
    match blocks {
        0..=MAX_PINNED => Ok(()),
        _ => Err(SourceProblem::FollowStopped("too many blocks at once")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hash(n: u8) -> H256 {
        H256([n; 32])
    }

    fn runtime_json(spec_version: u32) -> Value {
        json!({ "type": "valid", "spec": {
            "specName": "a", "implName": "a", "specVersion": spec_version, "implVersion": 0,
            "transactionVersion": 1, "apis": {},
        } })
    }

    fn note(blocks: &mut Blocks, event: Value) -> Result<(), SourceProblem> {
        blocks.note(serde_json::from_value(event).expect("an event of the specification"))
    }

    fn initialized(hashes: &[u8]) -> Value {
        json!({
            "event": "initialized",
            "finalizedBlockHashes": hashes.iter().map(|n| hash(*n)).collect::<Vec<_>>(),
            "finalizedBlockRuntime": runtime_json(1),
        })
    }

    fn new_block(n: u8, parent: u8, runtime: Option<u32>) -> Value {
        json!({
            "event": "newBlock", "blockHash": hash(n), "parentBlockHash": hash(parent),
            "newRuntime": runtime.map(runtime_json),
        })
    }

    fn finalized(hashes: &[u8], pruned: &[u8]) -> Value {
        let of = |ns: &[u8]| ns.iter().map(|n| hash(*n)).collect::<Vec<_>>();
        json!({
            "event": "finalized", "finalizedBlockHashes": of(hashes), "prunedBlockHashes": of(pruned),
        })
    }

    #[test]
    fn the_newest_finalized_block_is_read_first_and_once() {
        let mut blocks = Blocks::default();
        assert_eq!((blocks.take_tip_news(), blocks.take_tip()), (false, None));
        note(&mut blocks, initialized(&[1, 2])).expect("fits");
        assert!(blocks.take_tip_news() && !blocks.take_tip_news());
        assert_eq!(blocks.take_tip(), Some(hash(2)));
        note(&mut blocks, new_block(3, 2, None)).expect("fits");
        note(&mut blocks, finalized(&[3], &[])).expect("fits");
        assert_eq!((blocks.take_tip(), blocks.take_tip_news()), (Some(hash(3)), false), "it was read");
    }

    #[test]
    fn a_finalized_block_that_is_kept_is_found_by_its_number_and_no_more_are_kept_than_asked_for() {
        let mut blocks = Blocks { keep: 2, ..Blocks::default() };
        note(&mut blocks, initialized(&[1])).expect("fits");
        assert_eq!(blocks.finalized_at(11), None, "no number is known");
        blocks.numbered = Some((hash(1), 11));
        for n in 2..=5 {
            note(&mut blocks, new_block(n, n - 1, None)).expect("fits");
        }
        note(&mut blocks, finalized(&[2, 3], &[])).expect("fits");
        let at = |blocks: &Blocks| (10..=16).map(|n| blocks.finalized_at(n)).collect::<Vec<_>>();
        let [one, two, three] = [Some(hash(1)), Some(hash(2)), Some(hash(3))];
        assert_eq!(at(&blocks), [None, one, two, three, None, None, None]);
        assert_eq!(blocks.take_overtaken(), []);
        blocks.numbered = Some((hash(3), 13));
        note(&mut blocks, finalized(&[4, 5], &[])).expect("fits");
        let [four, five] = [Some(hash(4)), Some(hash(5))];
        assert_eq!(at(&blocks), [None, None, None, three, four, five, None]);
        assert_eq!(blocks.take_overtaken(), [hash(1), hash(2)]);
        blocks.numbered = Some((hash(1), 11));
        assert_eq!(blocks.finalized_at(14), None, "the one whose number is known is gone");
    }

    #[test]
    fn a_runtime_upgrade_is_seen_in_the_block_that_has_it() {
        let mut blocks = Blocks::default();
        note(&mut blocks, initialized(&[1])).expect("fits");
        note(&mut blocks, new_block(2, 1, None)).expect("fits");
        note(&mut blocks, new_block(3, 2, Some(2))).expect("fits");
        note(&mut blocks, new_block(4, 3, None)).expect("fits");
        let versions: Vec<u32> = (1..=4).map(|n| blocks.spec_version(hash(n)).expect("known")).collect();
        assert_eq!(versions, [1, 1, 2, 2]);
    }

    #[test]
    fn the_best_blocks_runtime_is_told_when_it_changes_also_back() {
        let mut blocks = Blocks::default();
        let best = |n: u8| json!({ "event": "bestBlockChanged", "bestBlockHash": hash(n) });
        note(&mut blocks, initialized(&[1])).expect("fits");
        note(&mut blocks, new_block(2, 1, None)).expect("fits");
        note(&mut blocks, best(2)).expect("fits");
        assert_eq!((blocks.take_best_runtime(), blocks.take_best_runtime()), (Some(1), None));
        note(&mut blocks, new_block(3, 2, Some(2))).expect("fits");
        assert_eq!(blocks.take_best_runtime(), None, "it is not the best");
        note(&mut blocks, best(3)).expect("fits");
        assert_eq!(blocks.take_best_runtime(), Some(2));
        // Another fork wins, without the upgrade.
        note(&mut blocks, new_block(4, 2, None)).expect("fits");
        note(&mut blocks, best(4)).expect("fits");
        assert_eq!(blocks.take_best_runtime(), Some(1));
        note(&mut blocks, best(77)).expect("fits");
        assert_eq!(blocks.take_best_runtime(), None, "it was not told of");
    }

    #[test]
    fn overtaken_and_pruned_blocks_are_let_go_but_not_the_tip() {
        let mut blocks = Blocks::default();
        note(&mut blocks, initialized(&[1])).expect("fits");
        for (n, parent) in [(2, 1), (3, 2), (9, 1), (4, 3)] {
            note(&mut blocks, new_block(n, parent, None)).expect("fits");
        }
        // A hash that was never told of must not be in the list: the node would refuse all of it.
        note(&mut blocks, finalized(&[2, 3], &[9, 77])).expect("fits");
        assert_eq!(blocks.take_tip(), Some(hash(3)));
        assert_eq!(blocks.take_overtaken(), [hash(1), hash(2), hash(9)]);
        assert_eq!(blocks.take_overtaken(), []);
        assert!(blocks.spec_version(hash(3)).is_ok());
        assert!(blocks.spec_version(hash(4)).is_ok());
    }

    #[test]
    fn a_node_that_finalizes_what_it_did_not_tell_of_is_not_believed() {
        let mut blocks = Blocks::default();
        note(&mut blocks, initialized(&[1])).expect("fits");
        note(&mut blocks, finalized(&[5], &[])).expect("fits");
        assert!(blocks.spec_version(hash(5)).is_err());
    }

    #[test]
    fn a_flood_of_blocks_ends_the_subscription() {
        let mut blocks = Blocks::default();
        note(&mut blocks, initialized(&[1])).expect("fits");
        let flood = (0..=MAX_PINNED as u64).try_for_each(|n| {
            let hash = H256::from_low_u64_be(n);
            note(&mut blocks, json!({ "event": "newBlock", "blockHash": hash, "parentBlockHash": hash }))
        });
        assert!(matches!(flood, Err(SourceProblem::FollowStopped(_))));
    }

    #[test]
    fn whatever_a_node_says_of_its_blocks_little_is_kept_of_it() {
        let hashes = |count: usize| (0..count as u64).map(H256::from_low_u64_be).collect::<Vec<_>>();
        let initialized = |count: usize| {
            json!({
                "event": "initialized", "finalizedBlockHashes": hashes(count),
                "finalizedBlockRuntime": { "type": "invalid", "error": "ö".repeat(1_000_000) },
            })
        };
        // The words are kept once for each block, and for those that have their runtime from it.
        let mut blocks = Blocks { keep: 400, ..Blocks::default() };
        note(&mut blocks, initialized(400)).expect("fits");
        for hash in 1000..1400 {
            let (hash, parent) = (H256::from_low_u64_be(hash), H256::from_low_u64_be(1));
            let block = json!({ "event": "newBlock", "blockHash": hash, "parentBlockHash": parent });
            note(&mut blocks, block).expect("fits");
        }
        let kept: Vec<usize> = blocks
            .pinned
            .values()
            .map(|runtime| runtime.clone().map_or_else(|reason| reason.len(), |_| 0))
            .collect();
        assert_eq!((kept.len(), kept.iter().max()), (800, Some(&(2 * MAX_REASON_CHARS))));

        let finalized = |finalized: usize, pruned: usize| {
            json!({
                "event": "finalized", "finalizedBlockHashes": hashes(finalized), "prunedBlockHashes": hashes(pruned),
            })
        };
        for flood in [initialized(MAX_PINNED + 1), finalized(MAX_PINNED + 1, 0), finalized(1, MAX_PINNED + 1)]
        {
            let mut blocks = Blocks::default();
            assert!(matches!(note(&mut blocks, flood), Err(SourceProblem::FollowStopped(_))));
            assert_eq!((blocks.pinned.len(), blocks.overtaken.len()), (0, 0), "nothing of it is kept");
        }
        // Nor in many small messages, while nobody reads.
        let mut blocks = Blocks::default();
        let flood = (0..3).try_for_each(|_| note(&mut blocks, finalized(1, MAX_PINNED / 2)));
        assert!(matches!(flood, Err(SourceProblem::FollowStopped(_))));
    }

    #[test]
    fn a_header_gives_its_number_whatever_follows() {
        let mut encoded = vec![7; 32];
        codec::Encode::encode_to(&codec::Compact(70_000_u32), &mut encoded);
        encoded.extend([1, 2, 3]);
        let header = HeaderStart::decode(&mut &*encoded).expect("a header");
        assert_eq!(header.number.0, 70_000);
    }
}
