//! The legacy methods, which every Substrate node has served since the first live chain.
//!
//! All reads of a head are sent together: one round trip. (`state_queryStorageAt` would join most of them, but
//! some public endpoints do not let it through.) The block's hash is computed from its header.
//!
//! The best block's runtime comes from `state_subscribeRuntimeVersion`, which is silent between two upgrades, and
//! not from the best heads, which would be a message and a call for each block. A node that refuses it gives no hint.

use codec::{Compact, Encode};
use futures::{
    FutureExt,
    future::{Either, pending, try_join, try_join_all},
};
use serde::{Deserialize, Deserializer, de::Error as _};
use sp_crypto_hashing::blake2_256;
use subxt::utils::H256;
use subxt_rpcs::{RpcClient, client::RpcSubscription, rpc_params};

use super::{CALL_DEADLINE, Failed, SourceProblem, call};
use crate::chain::{
    FinalizedBlock,
    records::StorageKey,
    source::{Head, News},
};

/// For messages.
pub(super) const FOLLOWING: &str = "following the finalized heads";

/// A subscription to finalized headers. Its first item is the newest one at that time.
pub(super) struct Legacy {
    client: RpcClient,
    heads: RpcSubscription<Header>,
    /// The best block's runtime version at first, and whenever it changes; `None` where the node refuses to tell.
    runtimes: Option<RpcSubscription<RuntimeVersion>>,
    /// Whether it was said already that the node refuses.
    told: bool,
    /// The newest head that was heard of.
    newest: Option<FinalizedBlock>,
}

impl Legacy {
    pub(super) async fn follow(client: RpcClient) -> Result<Self, subxt_rpcs::Error> {
        let heads = client
            .subscribe("chain_subscribeFinalizedHeads", rpc_params![], "chain_unsubscribeFinalizedHeads")
            .await?;
        let runtimes = client
            .subscribe("state_subscribeRuntimeVersion", rpc_params![], "state_unsubscribeRuntimeVersion")
            .await;
        let runtimes = match runtimes {
            Ok(runtimes) => Some(runtimes),
            Err(subxt_rpcs::Error::User(refusal)) => {
                tracing::debug!(refusal = refusal.message, "the best block's runtime is not followed");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { client, heads, runtimes, told: false, newest: None })
    }

    pub(super) async fn next(&mut self) -> Result<News, SourceProblem> {
        if self.runtimes.is_none() && !std::mem::replace(&mut self.told, true) {
            return Ok(News::BestRuntime(None));
        }
        let runtime = match &mut self.runtimes {
            Some(runtimes) => Either::Left(runtimes.next()),
            None => Either::Right(pending()),
        };
        tokio::select! {
            // A finalized block may be what an upgrade waits for.
            biased;
            header = self.heads.next() => {
                self.take(header)?;
                Ok(News::Finalized)
            }
            runtime = runtime => {
                let runtime = runtime.ok_or(SourceProblem::Closed)?.map_err(SourceProblem::call(FOLLOWING))?;
                Ok(News::BestRuntime(Some(runtime.spec_version)))
            }
        }
    }

    fn take(&mut self, header: Option<Result<Header, subxt_rpcs::Error>>) -> Result<(), SourceProblem> {
        let header = header.ok_or(SourceProblem::Closed)?.map_err(SourceProblem::call(FOLLOWING))?;
        self.newest = Some(FinalizedBlock { number: header.number, hash: header.hash() });
        Ok(())
    }

    pub(super) async fn read_newest(&mut self, keys: &[StorageKey]) -> Result<Head, SourceProblem> {
        // Only the newest counts: reading each of a backlog would keep us behind.
        while let Some(newer) = self.heads.next().now_or_never() {
            self.take(newer)?;
        }
        let block = match self.newest {
            Some(block) => block,
            None => {
                let first = tokio::time::timeout(CALL_DEADLINE, self.heads.next()).await;
                let no_answer = SourceProblem::NoAnswer { doing: FOLLOWING, after: CALL_DEADLINE };
                self.take(first.map_err(|_| no_answer)?)?;
                return Box::pin(self.read_newest(keys)).await;
            }
        };
        Ok(read(&self.client, block, keys).await?)
    }
}

/// Reads the finalized block with this number, unless the node says that it has its state no more.
pub(super) async fn read_at(
    client: &RpcClient,
    number: u64,
    keys: &[StorageKey],
) -> Result<Option<Head>, SourceProblem> {
    let hash = client.request::<Option<H256>>("chain_getBlockHash", rpc_params![number]);
    let Some(hash) = call("asking for a block by its number", hash).await? else { return Ok(None) };
    match read(client, FinalizedBlock { number, hash: hash.0 }, keys).await {
        Ok(head) => Ok(Some(head)),
        Err(Failed::Refused(problem)) => {
            tracing::debug!(number, %problem, "a finalized block cannot be read any more");
            Ok(None)
        }
        Err(Failed::Otherwise(problem)) => Err(problem),
    }
}

async fn read(client: &RpcClient, block: FinalizedBlock, keys: &[StorageKey]) -> Result<Head, Failed> {
    let hash = H256(block.hash);
    let (values, runtime) = call(
        "reading the release",
        try_join(
            try_join_all(keys.iter().map(|key| storage(client, key, hash))),
            client.request::<RuntimeVersion>("state_getRuntimeVersion", rpc_params![hash]),
        ),
    )
    .await?;
    Ok(Head { block, spec_version: runtime.spec_version, values })
}

async fn storage(
    client: &RpcClient,
    key: &StorageKey,
    at: H256,
) -> Result<Option<Vec<u8>>, subxt_rpcs::Error> {
    let value: Option<Bytes> = client.request("state_getStorage", rpc_params![key.to_string(), at]).await?;
    Ok(value.map(|bytes| bytes.0))
}

/// The part of a runtime version that we use.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeVersion {
    spec_version: u32,
}

/// A block header, as far as its hash needs it. Digest items stay bytes: a kind that is added to the format
/// some day must not blind us.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    parent_hash: H256,
    #[serde(deserialize_with = "number_or_hex")]
    number: u64,
    state_root: H256,
    extrinsics_root: H256,
    digest: Digest,
}

#[derive(Deserialize)]
struct Digest {
    logs: Vec<Bytes>,
}

impl Header {
    /// BLAKE2b-256 over the SCALE encoding, as in every chain that has a vault today.
    fn hash(&self) -> [u8; 32] {
        let mut encoded = Vec::new();
        self.parent_hash.encode_to(&mut encoded);
        Compact(self.number).encode_to(&mut encoded);
        self.state_root.encode_to(&mut encoded);
        self.extrinsics_root.encode_to(&mut encoded);
        Compact(self.digest.logs.len() as u64).encode_to(&mut encoded);
        for log in &self.digest.logs {
            encoded.extend(&log.0);
        }
        blake2_256(&encoded)
    }
}

/// Bytes as `0x` and hexadecimal digits.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("expected 0x and digits"))?;
        hex::decode(digits).map(Self).map_err(D::Error::custom)
    }
}

/// Nodes print block numbers in hexadecimal, light clients in decimal.
fn number_or_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrHex {
        Number(u64),
        Hex(String),
    }
    match NumberOrHex::deserialize(deserializer)? {
        NumberOrHex::Number(number) => Ok(number),
        NumberOrHex::Hex(text) => {
            let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("expected 0x and digits"))?;
            u64::from_str_radix(digits, 16).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use subxt::config::substrate::SubstrateHeader;

    use super::*;

    #[test]
    fn a_header_hashes_as_subxt_hashes_it() {
        let logs = ["0x0661757261203a2f110000000000", "0x05617572611001020304", "0x08", "0x000c010203"];
        let json = serde_json::json!({
            "parentHash": H256([1; 32]), "number": "0x12345", "stateRoot": H256([2; 32]),
            "extrinsicsRoot": H256([3; 32]), "digest": { "logs": logs },
        });
        let header: Header = serde_json::from_value(json.clone()).expect("a header");
        let reference: SubstrateHeader<H256> = serde_json::from_value(json).expect("a header");
        assert_eq!(header.number, 0x12345);
        assert_eq!(header.hash(), blake2_256(&reference.encode()));
    }

    #[test]
    fn an_unknown_kind_of_digest_item_does_not_blind_us() {
        let json = serde_json::json!({
            "parentHash": H256([1; 32]), "number": 7, "stateRoot": H256([2; 32]),
            "extrinsicsRoot": H256([3; 32]), "digest": { "logs": ["0xff0102"] },
        });
        assert!(serde_json::from_value::<SubstrateHeader<H256>>(json.clone()).is_err());
        assert_eq!(serde_json::from_value::<Header>(json).expect("a header").number, 7);
    }

    #[test]
    fn block_numbers_come_in_both_forms() {
        for (text, number) in [("\"0x10\"", 16), ("16", 16)] {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            assert_eq!(number_or_hex(&mut deserializer).expect(text), number);
        }
    }
}
