//! Where a chain keeps its release, and how it is encoded.
//!
//! Storage keys and SCALE types of our own: nothing here looks at the chain's metadata, so a runtime upgrade
//! that moves pallets or brings a metadata version that we do not know cannot disturb a reader. The price is
//! that bytes which do not fit are all that a mistake shows: they are reported, with key and length, and never
//! guessed at.
//!
//! Every record has two slots, what is in force and what a runtime upgrade will bring, and each slot is one
//! storage value. Pure: keys out, bytes in.

use std::fmt;

use codec::{Decode, DecodeAll};
use sp_crypto_hashing::twox_128;

use super::PendingRelease;
use crate::release::{ArtifactName, Artifacts, Checksum, ParseError, Release, Version};

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

/// A way in which chains keep their release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// `pallet-vault-release`, under whatever name the runtime gave it.
    VaultRelease {
        /// The pallet's name in that runtime.
        pallet: String,
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
    /// The record's name in configurations and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::VaultRelease { .. } => "vault-release",
        }
    }

    /// The keys to read at a block.
    pub fn keys(&self) -> Slots<StorageKey> {
        match self {
            Self::VaultRelease { pallet } => Slots {
                current: StorageKey::plain(pallet, "CurrentRelease"),
                pending: StorageKey::plain(pallet, "PendingRelease"),
            },
        }
    }

    /// Decodes what was found under the [`keys`](Self::keys); `None` is a key without a value.
    pub fn decode(&self, values: &Slots<Option<Vec<u8>>>) -> Result<Stated, RecordError> {
        let keys = self.keys();
        match self {
            Self::VaultRelease { pallet } => Ok(Stated {
                current: values
                    .current
                    .as_deref()
                    .map(|value| {
                        decode_current(value).map_err(misfit(pallet, "CurrentRelease", &keys.current, value))
                    })
                    .transpose()?,
                pending: values
                    .pending
                    .as_deref()
                    .map(|value| {
                        decode_pending(value).map_err(misfit(pallet, "PendingRelease", &keys.pending, value))
                    })
                    .transpose()?,
            }),
        }
    }
}

fn misfit(pallet: &str, item: &str, key: &StorageKey, value: &[u8]) -> impl FnOnce(Misfit) -> RecordError {
    let (item, key, length) = (format!("{pallet}.{item}"), key.to_string(), value.len());
    move |reason| RecordError { item, key, length, reason }
}

/// A map as the chain encodes it; kept as a list so that its order can be checked.
type WireArtifacts = Vec<(Vec<u8>, [u8; 32])>;

/// `CurrentRelease` of `pallet-vault-release`; frozen there.
#[derive(Decode)]
struct WireRelease {
    sequence: u64,
    version: Vec<u8>,
    binary_checksum: [u8; 32],
    artifacts: WireArtifacts,
}

/// `PendingRelease` of `pallet-vault-release`; frozen there.
#[derive(Decode)]
struct WirePending {
    version: Vec<u8>,
    binary_checksum: [u8; 32],
    artifacts: WireArtifacts,
    spec_version: u32,
}

fn decode_current(value: &[u8]) -> Result<Release, Misfit> {
    let wire: WireRelease =
        decode_exactly(value, "sequence (u64), version, checksum (32 bytes) and artifacts")?;
    Ok(Release {
        sequence: Some(wire.sequence),
        version: Version::from_bytes(&wire.version)?,
        binary_checksum: Checksum(wire.binary_checksum),
        artifacts: artifacts(wire.artifacts)?,
    })
}

fn decode_pending(value: &[u8]) -> Result<PendingRelease, Misfit> {
    let wire: WirePending =
        decode_exactly(value, "version, checksum (32 bytes), artifacts and spec version (u32)")?;
    Ok(PendingRelease {
        version: Version::from_bytes(&wire.version)?,
        binary_checksum: Checksum(wire.binary_checksum),
        artifacts: artifacts(wire.artifacts)?,
        spec_version: Some(wire.spec_version),
    })
}

fn decode_exactly<T: Decode>(value: &[u8], expected: &'static str) -> Result<T, Misfit> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(Misfit::TooLong);
    }
    T::decode_all(&mut &*value).map_err(|error| Misfit::Encoding { expected, found: error.to_string() })
}

fn artifacts(wire: WireArtifacts) -> Result<Artifacts, Misfit> {
    let mut artifacts = Artifacts::new();
    let mut last: Option<ArtifactName> = None;
    for (name, checksum) in wire {
        let name = ArtifactName::from_bytes(&name)?;
        if let Some(last) = last.filter(|last| *last >= name) {
            return Err(Misfit::Order { first: last.to_string(), second: name.to_string() });
        }
        last = Some(name.clone());
        artifacts.insert(name, Checksum(checksum));
    }
    Ok(artifacts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::VaultRelease { pallet: DEFAULT_PALLET.to_owned() }
    }

    /// `CurrentRelease { sequence: 7, version: "1.16.0", checksum: 0x11…, artifacts: { a: 0x22…, b-1: 0x33… } }`
    fn golden_current() -> Vec<u8> {
        let mut bytes = vec![7, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([6 << 2, b'1', b'.', b'1', b'6', b'.', b'0']);
        bytes.extend([0x11; 32]);
        bytes.push(2 << 2);
        bytes.extend([1 << 2, b'a']);
        bytes.extend([0x22; 32]);
        bytes.extend([3 << 2, b'b', b'-', b'1']);
        bytes.extend([0x33; 32]);
        bytes
    }

    /// `PendingRelease { version: "2", checksum: 0x44…, artifacts: { c: 0x55… }, spec_version: 0x01020304 }`
    fn golden_pending() -> Vec<u8> {
        let mut bytes = vec![1 << 2, b'2'];
        bytes.extend([0x44; 32]);
        bytes.push(1 << 2);
        bytes.extend([1 << 2, b'c']);
        bytes.extend([0x55; 32]);
        bytes.extend([4, 3, 2, 1]);
        bytes
    }

    fn decode(current: Option<Vec<u8>>, pending: Option<Vec<u8>>) -> Result<Stated, RecordError> {
        record().decode(&Slots { current, pending })
    }

    #[test]
    fn keys_are_those_of_a_plain_value() {
        // twox_128("System") ++ twox_128("Number"), as every explorer shows it.
        assert_eq!(
            StorageKey::plain("System", "Number").to_string(),
            "0x26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac"
        );
        let keys = record().keys();
        assert_ne!(keys.current, keys.pending);
        assert_eq!(keys.current.as_bytes()[..16], keys.pending.as_bytes()[..16]);
        assert_eq!(keys.current.as_bytes().len(), 32);
    }

    #[test]
    fn golden_bytes_decode_to_every_field() {
        let stated = decode(Some(golden_current()), Some(golden_pending())).expect("golden bytes");
        let current = stated.current.expect("a value");
        assert_eq!(current.sequence, Some(7));
        assert_eq!(current.version.as_str(), "1.16.0");
        assert_eq!(current.binary_checksum, Checksum([0x11; 32]));
        let artifacts: Vec<_> =
            current.artifacts.iter().map(|(name, sum)| (name.as_str(), sum.0[0])).collect();
        assert_eq!(artifacts, [("a", 0x22), ("b-1", 0x33)]);
        let pending = stated.pending.expect("a value");
        assert_eq!(pending.version.as_str(), "2");
        assert_eq!(pending.binary_checksum, Checksum([0x44; 32]));
        let artifacts: Vec<_> =
            pending.artifacts.iter().map(|(name, sum)| (name.as_str(), sum.0[0])).collect();
        assert_eq!(artifacts, [("c", 0x55)]);
        assert_eq!(pending.spec_version, Some(0x0102_0304));
    }

    #[test]
    fn keys_without_values_state_nothing() {
        assert_eq!(decode(None, None), Ok(Stated::default()));
    }

    #[test]
    fn every_truncation_and_any_trailing_byte_is_refused_with_key_and_length() {
        let slots: [(&str, Vec<u8>); 2] = [("current", golden_current()), ("pending", golden_pending())];
        for (slot, golden) in slots {
            let try_decode = |bytes: Vec<u8>| match slot {
                "current" => decode(Some(bytes), None),
                _ => decode(None, Some(bytes)),
            };
            for length in 0..golden.len() {
                let error = try_decode(golden[..length].to_vec()).expect_err("cut short");
                assert_eq!(error.length, length, "{slot}");
                let key = if slot == "current" { record().keys().current } else { record().keys().pending };
                assert!(error.to_string().contains(&key.to_string()), "{error}");
            }
            let trailing = [golden, vec![0]].concat();
            assert!(matches!(try_decode(trailing).expect_err("trailing").reason, Misfit::Encoding { .. }));
        }
    }

    #[test]
    fn versions_that_could_leave_a_folder_or_a_url_are_refused() {
        for hostile in [&b"../x"[..], b"", b"a/b", b"1\0", b"\xff", b"1..2", b"%2e", b"1 2"] {
            let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, (hostile.len() as u8) << 2];
            bytes.extend(hostile);
            bytes.extend([0; 32]);
            bytes.push(0);
            let error = decode(Some(bytes), None).expect_err("hostile version");
            assert!(matches!(error.reason, Misfit::Name(ParseError::Version { .. })), "{error:?}");
        }
    }

    #[test]
    fn artifacts_out_of_order_or_twice_are_refused() {
        for names in [["b", "a"], ["a", "a"]] {
            let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 1 << 2, b'1'];
            bytes.extend([0; 32]);
            bytes.push(2 << 2);
            for name in names {
                bytes.extend([1 << 2, name.as_bytes()[0]]);
                bytes.extend([0; 32]);
            }
            let error = decode(Some(bytes), None).expect_err("not a sorted map");
            assert!(matches!(error.reason, Misfit::Order { .. }), "{error:?}");
        }
    }

    #[test]
    fn huge_values_and_huge_claimed_lengths_are_refused_without_allocating_them() {
        let error = decode(Some(vec![0; MAX_VALUE_BYTES + 1]), None).expect_err("too long");
        assert_eq!(error.reason, Misfit::TooLong);
        // A compact length of 2^30 - 1 in front of nothing.
        let claimed = vec![1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff];
        let error = decode(Some(claimed), None).expect_err("claims too much");
        assert!(matches!(error.reason, Misfit::Encoding { .. }), "{error:?}");
    }
}
