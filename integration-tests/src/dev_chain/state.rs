//! What the chain's state says at a block: storage by raw key, as every client can read it, and events as the runtime
//! wrote them that executed the block.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use sp_crypto_hashing::twox_128;
use subxt::{
    OnlineClient, OnlineClientAtBlock, SubstrateConfig, backend::LegacyBackend, events::Phase,
    ext::codec::Decode, utils::H256,
};
use subxt_rpcs::client::rpc_params;

use super::DevChain;

/// The pallet's name in the development chain's runtimes.
pub const PALLET: &str = "VaultRelease";

/// The release that the chain states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentRelease {
    /// Which statement of the chain it is.
    pub sequence: u64,
    /// Its version.
    pub version: String,
    /// Its binary's checksum, as Vaultvisor prints it.
    pub checksum: String,
    /// The checksums of its other files, by name.
    pub artifacts: BTreeMap<String, String>,
}

/// The release that waits for a runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingRelease {
    /// Its version.
    pub version: String,
    /// Its binary's checksum, as Vaultvisor prints it.
    pub checksum: String,
    /// The checksums of its other files, by name.
    pub artifacts: BTreeMap<String, String>,
    /// The first runtime that it is for.
    pub spec_version: u32,
}

/// An event of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The pallet's name.
    pub pallet: String,
    /// The pallet's index in the runtime that wrote it.
    pub pallet_index: u8,
    /// The event's name.
    pub name: String,
    /// Its fields, encoded.
    pub fields: Vec<u8>,
    /// Whether the block's start wrote it, before any extrinsic.
    pub is_of_the_start: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    parent_hash: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeVersion {
    spec_version: u32,
}

/// Names and checksums as the pallet stores them.
type Artifacts = BTreeMap<Vec<u8>, [u8; 32]>;

impl DevChain {
    /// The hash of the best chain's block with that number.
    pub async fn block_hash(&self, number: u64) -> String {
        self.request("chain_getBlockHash", rpc_params![number]).await
    }

    /// The hash of a block's parent.
    pub async fn parent(&self, block: &str) -> String {
        let header: Header = self.request("chain_getHeader", rpc_params![block]).await;
        header.parent_hash
    }

    /// The version of the runtime in the state after a block: the one that executes the next.
    pub async fn spec_version(&self, block: &str) -> u32 {
        let version: RuntimeVersion = self.request("state_getRuntimeVersion", rpc_params![block]).await;
        version.spec_version
    }

    /// A value without a key of its own, after a block.
    pub async fn storage(&self, pallet: &str, item: &str, block: &str) -> Option<Vec<u8>> {
        self.raw_storage(&key(pallet, item), block).await
    }

    /// The value under a raw key (`0x` and digits), after a block.
    pub async fn raw_storage(&self, key: &str, block: &str) -> Option<Vec<u8>> {
        let value: Option<String> = self.request("state_getStorage", rpc_params![key, block]).await;
        value.map(|value| bytes(&value))
    }

    /// The release that the chain states after a block.
    pub async fn current_release(&self, block: &str) -> Option<CurrentRelease> {
        let value = self.storage(PALLET, "CurrentRelease", block).await?;
        let (sequence, version, checksum, artifacts) = decode::<(u64, Vec<u8>, [u8; 32], Artifacts)>(&value);
        let (checksum, artifacts) = (hex::encode(checksum), shown(artifacts));
        Some(CurrentRelease { sequence, version: text(version), checksum, artifacts })
    }

    /// The release that waits for a runtime after a block.
    pub async fn pending_release(&self, block: &str) -> Option<PendingRelease> {
        let value = self.storage(PALLET, "PendingRelease", block).await?;
        let (version, checksum, artifacts, spec_version) =
            decode::<(Vec<u8>, [u8; 32], Artifacts, u32)>(&value);
        let (checksum, artifacts) = (hex::encode(checksum), shown(artifacts));
        Some(PendingRelease { version: text(version), checksum, artifacts, spec_version })
    }

    /// The events of a block.
    ///
    /// They are read with the metadata of the parent's state, for that is where the runtime lies which wrote them: in
    /// a block that changes the code its own state has the next one already.
    pub async fn events(&self, block: &str) -> Vec<Event> {
        let written = self.storage("System", "Events", block).await.unwrap_or_default();
        let runtime = self.client_at(&self.parent(block).await).await;
        let events = runtime.events().from_bytes(written);
        events
            .iter()
            .map(|event| {
                let event = event.expect("the runtime's metadata describes its events");
                Event {
                    pallet: event.pallet_name().to_owned(),
                    pallet_index: event.pallet_index(),
                    name: event.event_name().to_owned(),
                    fields: event.field_bytes().to_vec(),
                    is_of_the_start: event.phase() == Phase::Initialization,
                }
            })
            .collect()
    }

    /// The events of the pallet in a block.
    pub async fn release_events(&self, block: &str) -> Vec<Event> {
        let events = self.events(block).await;
        events.into_iter().filter(|event| event.pallet == PALLET).collect()
    }

    /// A client that knows the metadata of the runtime in the state after a block.
    pub(super) async fn client_at(&self, block: &str) -> OnlineClientAtBlock<SubstrateConfig> {
        let backend = LegacyBackend::builder().build(self.rpc.clone());
        let client = OnlineClient::<SubstrateConfig>::from_backend(Arc::new(backend))
            .await
            .expect("the chain says what it is");
        client.at_block(H256::from_slice(&bytes(block))).await.expect("the chain's metadata can be read")
    }
}

/// The key of a value without a key of its own, as requests name it.
pub fn key(pallet: &str, item: &str) -> String {
    let key = [twox_128(pallet.as_bytes()), twox_128(item.as_bytes())].concat();
    format!("0x{}", hex::encode(key))
}

/// Decodes all of a stored value.
fn decode<T: Decode>(value: &[u8]) -> T {
    let mut rest = value;
    let decoded = T::decode(&mut rest).unwrap_or_else(|error| panic!("0x{}: {error}", hex::encode(value)));
    assert!(rest.is_empty(), "0x{}: {} bytes too many", hex::encode(value), rest.len());
    decoded
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.trim_start_matches("0x")).expect("nodes print bytes as hexadecimal digits")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the pallet takes plain letters only")
}

fn shown(artifacts: Artifacts) -> BTreeMap<String, String> {
    artifacts.into_iter().map(|(name, checksum)| (text(name), hex::encode(checksum))).collect()
}
