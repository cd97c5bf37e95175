//! `pallet-vault-release`: two plain values, whose encodings are frozen there.

use codec::Decode;

use super::{Misfit, PendingRelease, Slots, StorageKey, decode_exactly};
use crate::release::{ArtifactName, Artifacts, Checksum, Release, Version};

pub(super) const CURRENT: &str = "CurrentRelease";
pub(super) const PENDING: &str = "PendingRelease";

pub(super) fn keys(pallet: &str) -> Slots<StorageKey> {
    Slots { current: StorageKey::plain(pallet, CURRENT), pending: StorageKey::plain(pallet, PENDING) }
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

pub(super) fn current(value: &[u8]) -> Result<Release, Misfit> {
    let wire: WireRelease =
        decode_exactly(value, "sequence (u64), version, checksum (32 bytes) and artifacts")?;
    Ok(Release {
        sequence: Some(wire.sequence),
        version: Version::from_bytes(&wire.version)?,
        binary_checksum: Checksum(wire.binary_checksum),
        uri: None,
        artifacts: artifacts(wire.artifacts)?,
    })
}

pub(super) fn pending(value: &[u8]) -> Result<PendingRelease, Misfit> {
    let wire: WirePending =
        decode_exactly(value, "version, checksum (32 bytes), artifacts and spec version (u32)")?;
    Ok(PendingRelease {
        version: Version::from_bytes(&wire.version)?,
        binary_checksum: Checksum(wire.binary_checksum),
        uri: None,
        artifacts: artifacts(wire.artifacts)?,
        spec_version: Some(wire.spec_version),
    })
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
    use super::{
        super::{DEFAULT_PALLET, MAX_VALUE_BYTES, Record, RecordError, Stated},
        *,
    };
    use crate::release::ParseError;

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
