//! Where a chain keeps its release, and how it is encoded.
//!
//! Storage keys and SCALE types of our own: nothing here looks at the chain's metadata, so a runtime upgrade
//! that moves pallets or brings a metadata version that we do not know cannot disturb a reader. The price is
//! that bytes which do not fit are all that a mistake shows: they are reported, with key and length, and never
//! guessed at.
//!
//! Every record has two slots, what is in force and what a runtime upgrade will bring, and each slot is one
//! storage value. A network has a list of [`Records`], of which the first that holds a value counts.
//! Pure: keys out, bytes in.

mod clients_info;
mod list;
mod vault_release;

use std::fmt;

use codec::{Decode, DecodeAll};
use serde::{Deserialize, Serialize};
use sp_crypto_hashing::{blake2_128, twox_128};

pub use self::{
    clients_info::{DEFAULT_CLIENT, MAX_CLIENT_BYTES, MAX_URI_BYTES, PALLET as CLIENTS_INFO, release_of},
    list::{Reading, Records},
};
use super::PendingRelease;
use crate::release::{ParseError, Release};

/// The longest value that is decoded, in bytes.
///
/// Sixteen artifacts with names of 64 bytes make 1.7 KB; this leaves room for runtimes with wider bounds and
/// still is nothing that a hostile node could fill memory with.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The name that a runtime gives to our pallet unless the configuration says otherwise.
pub const DEFAULT_PALLET: &str = "VaultRelease";

/// One thing for each of a record's two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slots<T> {
    /// For the release in force.
    pub current: T,
    /// For the release that a runtime upgrade will bring.
    pub pending: T,
}

/// The raw key of a storage value. Prints as `0x` and lower-case digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageKey(Vec<u8>);

impl StorageKey {
    /// The key of a plain storage value: `twox_128(pallet) ++ twox_128(item)`.
    pub fn plain(pallet: &str, item: &str) -> Self {
        Self([twox_128(pallet.as_bytes()), twox_128(item.as_bytes())].concat())
    }

    /// The key of a map's entry whose hasher is `Blake2_128Concat`: the map's own, then hash and bytes of the
    /// entry's encoded key.
    fn blake2_128_concat(pallet: &str, item: &str, encoded: &[u8]) -> Self {
        let Self(map) = Self::plain(pallet, item);
        Self([&map[..], &blake2_128(encoded), encoded].concat())
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(&self.0))
    }
}

/// The kinds of records, as configurations, reports and durable files name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordName {
    /// `pallet-vault-release`.
    VaultRelease,
    /// The pallet `ClientsInfo` of the Interlay family of runtimes.
    ClientsInfo,
}

impl RecordName {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::VaultRelease, Self::ClientsInfo];

    /// The name as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VaultRelease => "vault-release",
            Self::ClientsInfo => "clients-info",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|record| record.as_str() == name)
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A way in which chains keep their release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// `pallet-vault-release`, under whatever name the runtime gave it.
    VaultRelease {
        /// The pallet's name in that runtime.
        pallet: String,
    },
    /// `ClientsInfo`, which keeps a release for each of several clients.
    ClientsInfo {
        /// The client's name there.
        client: String,
    },
}

/// What a record states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stated {
    /// The release in force; `None` when governance has not stated one yet.
    pub current: Option<Release>,
    /// The release that a runtime upgrade will bring.
    pub pending: Option<PendingRelease>,
}

/// Why the bytes under a key are not what the record keeps there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the chain holds something else than a release under {item} (storage key {key}, {length} bytes); \
     check the pallet's name, or this vaultvisor is too old for the chain"
)]
pub struct RecordError {
    /// The pallet and item, as the runtime names them.
    pub item: String,
    /// The key that was read.
    pub key: String,
    /// How many bytes were there.
    pub length: usize,
    /// What did not fit.
    #[source]
    pub reason: Misfit,
}

/// What did not fit in a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Longer than any release can be.
    #[error("expected at most {MAX_VALUE_BYTES} bytes")]
    TooLong,
    /// Too short, or with bytes left over.
    #[error("expected {expected}: {found}")]
    Encoding {
        /// The fields that should have been there.
        expected: &'static str,
        /// What the decoder met.
        found: String,
    },
    /// The version or an artifact's name breaks the pallet's own rules.
    #[error(transparent)]
    Name(#[from] ParseError),
    /// A sorted map that is not sorted was not written by the pallet.
    #[error("expected artifacts sorted by name and each name once, found {second:?} after {first:?}")]
    Order {
        /// The name that came first.
        first: String,
        /// The name that came second.
        second: String,
    },
}

impl Record {
    /// The record's kind.
    pub fn name(&self) -> RecordName {
        match self {
            Self::VaultRelease { .. } => RecordName::VaultRelease,
            Self::ClientsInfo { .. } => RecordName::ClientsInfo,
        }
    }

    /// The keys to read at a block.
    pub fn keys(&self) -> Slots<StorageKey> {
        match self {
            Self::VaultRelease { pallet } => vault_release::keys(pallet),
            Self::ClientsInfo { client } => clients_info::keys(client),
        }
    }

    /// The pallet and the items under which the [`keys`](Self::keys) are, for messages.
    pub fn items(&self) -> Slots<String> {
        match self {
            Self::VaultRelease { pallet } => Slots {
                current: format!("{pallet}.{}", vault_release::CURRENT),
                pending: format!("{pallet}.{}", vault_release::PENDING),
            },
            Self::ClientsInfo { client } => Slots {
                current: format!("{}.{}({client})", clients_info::PALLET, clients_info::CURRENT),
                pending: format!("{}.{}({client})", clients_info::PALLET, clients_info::PENDING),
            },
        }
    }

    /// Decodes what was found under the [`keys`](Self::keys); `None` is a key without a value.
    pub fn decode(&self, values: &Slots<Option<Vec<u8>>>) -> Result<Stated, RecordError> {
        let (keys, items) = (self.keys(), self.items());
        let (current, pending): (Decoder<Release>, Decoder<PendingRelease>) = match self {
            Self::VaultRelease { .. } => (vault_release::current, vault_release::pending),
            Self::ClientsInfo { .. } => (clients_info::current, clients_info::pending),
        };
        Ok(Stated {
            current: decode_slot(&values.current, current, keys.current, items.current)?,
            pending: decode_slot(&values.pending, pending, keys.pending, items.pending)?,
        })
    }
}

/// What makes a slot's bytes into what they state.
type Decoder<T> = fn(&[u8]) -> Result<T, Misfit>;

fn decode_slot<T>(
    value: &Option<Vec<u8>>,
    decode: Decoder<T>,
    key: StorageKey,
    item: String,
) -> Result<Option<T>, RecordError> {
    let Some(value) = value else { return Ok(None) };
    let misfit = |reason| RecordError { item, key: key.to_string(), length: value.len(), reason };
    decode(value).map(Some).map_err(misfit)
}

fn decode_exactly<T: Decode>(value: &[u8], expected: &'static str) -> Result<T, Misfit> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Misfit::TooLong);
    }
    T::decode_all(&mut &*value).map_err(|error| Misfit::Encoding { expected, found: error.to_string() })
}
