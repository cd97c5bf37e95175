//! What a network's finalized chain says.
//!
//! A network task (one per chain, shared by its vaults) follows the finalized heads of one network and
//! publishes what it knows as a [`ChainStatus`] through a `watch` channel: newest value only, so a slow vault
//! task never holds a queue. Nothing here decides anything about vaults.
//!
//! - [`records`]: where a chain keeps its release and how it is encoded; keys and SCALE types of our own, so
//!   that no metadata is needed and a runtime upgrade cannot disturb us.
//! - [`source`]: what a source of finalized state can do, and how it can fail.
//! - [`endpoints`]: RPC nodes as a [`ReleaseSource`], modern and old ones.
//! - [`check`]: all sources, once.
//! - [`agreement`]: who stated what, and what enough sources state the same of.
//! - [`light_client`]: a light client, for which no node is trusted; `connector` chooses between it and nodes.
//! - [`mod@follow`]: which sources are connected, what they say, and what of it is believed.
//! - [`annotation`]: who stated a release, and where; for people only.
//! - [`governance`]: the calls that state a release: made, signed and submitted, and explained.

pub mod agreement;
pub mod annotation;
pub mod check;
mod connector;
pub mod endpoints;
pub mod follow;
pub mod governance;
pub mod light_client;
pub mod records;
pub mod source;

pub use self::{
    follow::{ReadError, follow, read_once},
    source::{ReleaseSource, SourceError, SourceProblem},
};

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use self::{
    light_client::LightClientConnector,
    records::{RecordName, Records},
};
use crate::journal::NetworkRecord;
use crate::release::{Artifacts, Checksum, GenesisHash, Release, StatedUri, Version};

/// A finalized block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalizedBlock {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// A release that becomes current when the runtime reaches a `spec_version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRelease {
    /// The release tag.
    pub version: Version,
    /// SHA-256 of its binary.
    pub binary_checksum: Checksum,
    /// Where the chain says that the binary is, for records that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<StatedUri>,
    /// Further files of the release.
    #[serde(default, skip_serializing_if = "Artifacts::is_empty")]
    pub artifacts: Artifacts,
    /// The runtime version it waits for; `None` for records that do not say.
    pub spec_version: Option<u32>,
}

impl PendingRelease {
    /// The same, without what it waits for.
    pub fn release(&self) -> Release {
        Release {
            sequence: None,
            version: self.version.clone(),
            binary_checksum: self.binary_checksum,
            uri: self.uri.clone(),
            artifacts: self.artifacts.clone(),
        }
    }
}

/// What one source stated at one finalized block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainView {
    /// The endpoint that said so.
    pub source: String,
    /// The chain that it is.
    pub genesis: GenesisHash,
    /// The block.
    pub finalized: FinalizedBlock,
    /// The runtime version in that block's state.
    pub spec_version: u32,
    /// The record that was read; the first of the network's while none states a release.
    pub record: RecordName,
    /// The release in force; `None` when governance has not stated one yet.
    pub current: Option<Release>,
    /// The release that a runtime upgrade will bring.
    pub pending: Option<PendingRelease>,
}

/// The newest that a network task knows, for its vaults and for the status page.
#[derive(Debug, Clone, Default)]
pub struct ChainStatus {
    /// The newest view that could be read and decoded.
    pub view: Option<ChainView>,
    /// When that view arrived, on the wall clock; for people only.
    pub seen_at: Option<std::time::SystemTime>,
    /// Whether a source is connected now.
    pub connected: bool,
    /// The runtime version of the best block, where the source follows it: a hint and no more, for that block may never
    /// be final. It stays when the connection is lost, until a source says otherwise.
    pub best_spec_version: Option<u32>,
    /// What is wrong with the chain or the record, and still stands. It changes when something else is wrong, and not
    /// with every second that passes.
    pub problem: Option<String>,
    /// Since when no newer finalized block is known, once that is too long ago; on the wall clock, for people only.
    pub stale_since: Option<std::time::SystemTime>,
    /// Each source by itself.
    pub endpoints: Vec<EndpointStatus>,
}

/// What is known of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its address.
    pub address: String,
    /// Whether it is connected now. Where one source is enough, only one is at a time.
    pub connected: bool,
    /// The newest finalized block that it told of.
    pub finalized: Option<u64>,
    /// What was wrong with it when it was last tried, or contradicts what is known.
    pub problem: Option<String>,
    /// Since when it is connected or not, or has this problem; on the wall clock, for people only.
    pub since: std::time::SystemTime,
}

/// Something that the audit trail keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// The whole of it, for people.
    pub text: String,
    /// The newest finalized block that was known then.
    pub finalized: Option<u64>,
}

/// What a [`Note`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// Another source is read than before.
    FailedOver,
    /// There was no newer finalized block for too long.
    Stale,
    /// A source says what cannot be true, if what others say is, or what was known before.
    Contradicted,
}

/// What was known of a chain before this vaultvisor started: whoever tells of less is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The chain.
    pub genesis: GenesisHash,
    /// A finalized block.
    pub finalized: FinalizedBlock,
    /// The number of the statement in force there, where statements are counted.
    pub sequence: Option<u64>,
    /// Whether a release was stated.
    pub stated: bool,
}

impl Known {
    /// What is recorded of a chain.
    pub fn of(record: &NetworkRecord) -> Self {
        Self {
            genesis: record.genesis,
            finalized: record.finalized,
            sequence: record.sequence,
            stated: record.record.is_some() || record.sequence.is_some(),
        }
    }
}

/// Where a network's releases are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// The network's name in the configuration; for messages.
    pub network: String,
    /// Websocket addresses of RPC nodes, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// A light client beside or instead of them, which then decides alone.
    pub light_client: Option<LightClientConnector>,
    /// The chain that it must be; `None` takes the first one seen.
    pub genesis: Option<GenesisHash>,
    /// Where that chain keeps its release.
    pub records: Records,
    /// How many sources must state the same; with 1 one is read at a time.
    pub agreement: NonZeroUsize,
    /// What was known of the chain before.
    pub known: Option<Known>,
}
