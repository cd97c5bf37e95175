//! `ClientsInfo`, the pallet in which Interlay, Kintsugi and Spacewalk chains keep the releases of their clients.
//!
//! As the metadata (V14) of the live Interlay and Kintsugi runtimes says, alike in both: pallet `ClientsInfo`,
//! index 69, storage prefix `ClientsInfo`; `CurrentClientReleases` and `PendingClientReleases`, each a map with
//! the hasher `Blake2_128Concat` from `BoundedVec<u8, 255>` (the client's name) to
//! `ClientRelease { uri: BoundedVec<u8, 255>, checksum: H256 }`. Its calls are
//! `set_current_client_release(client_name, release)` (0) and `set_pending_client_release(client_name, release)`
//! (1); its events `NotifyClientRelease { release }` and `ApplyClientRelease { release }` do not name the client.
//!
//! It states no version, does not count its statements and does not say which runtime a pending release waits for.

use codec::{Decode, Encode};

use super::{Misfit, PendingRelease, Slots, StorageKey, decode_exactly};
use crate::release::{Artifacts, Checksum, Release, StatedUri, Version};

/// The pallet's name, the same on all of these chains.
pub const PALLET: &str = "ClientsInfo";
pub(super) const CURRENT: &str = "CurrentClientReleases";
pub(super) const PENDING: &str = "PendingClientReleases";

/// The client that is supervised unless the configuration says otherwise.
pub const DEFAULT_CLIENT: &str = "vault";

/// The longest client name that the runtimes take (`ClientsInfo.MaxNameLength`), in bytes.
pub const MAX_CLIENT_BYTES: usize = 255;

/// The longest URI that the runtimes take (`ClientsInfo.MaxUriLength`), in bytes.
pub const MAX_URI_BYTES: usize = 255;

/// How many digits of a checksum stand for a version that the URI does not tell: enough to tell releases apart
/// and to find the file by.
const CHECKSUM_DIGITS: usize = 12;

pub(super) fn keys(client: &str) -> Slots<StorageKey> {
    let name = client.as_bytes().encode();
    Slots {
        current: StorageKey::blake2_128_concat(PALLET, CURRENT, &name),
        pending: StorageKey::blake2_128_concat(PALLET, PENDING, &name),
    }
}

/// `ClientRelease`.
#[derive(Decode)]
struct WireRelease {
    uri: Vec<u8>,
    checksum: [u8; 32],
}

pub(super) fn pending(value: &[u8]) -> Result<PendingRelease, Misfit> {
    let Release { version, binary_checksum, uri, artifacts, .. } = current(value)?;
    Ok(PendingRelease { version, binary_checksum, uri, artifacts, spec_version: None })
}

pub(super) fn current(value: &[u8]) -> Result<Release, Misfit> {
    const EXPECTED: &str = "URI (at most 255 bytes) and checksum (32 bytes)";
    let wire: WireRelease = decode_exactly(value, EXPECTED)?;
    if wire.uri.len() > MAX_URI_BYTES {
        let found = format!("a URI of {} bytes", wire.uri.len());
        return Err(Misfit::Encoding { expected: EXPECTED, found });
    }
    Ok(release_of(StatedUri::from_bytes(&wire.uri), Checksum(wire.checksum)))
}

/// The release that a place and a checksum are: its version is the tag in the URI, or the checksum's first digits.
pub fn release_of(uri: Option<StatedUri>, binary_checksum: Checksum) -> Release {
    let digits = || Version::of_hex_digits(&binary_checksum, CHECKSUM_DIGITS);
    let version = uri.as_ref().and_then(StatedUri::release_tag).unwrap_or_else(digits);
    Release { sequence: None, version, binary_checksum, uri, artifacts: Artifacts::new() }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MAX_VALUE_BYTES, Record, RecordError, Stated},
        *,
    };

    fn record() -> Record {
        Record::ClientsInfo { client: DEFAULT_CLIENT.to_owned() }
    }

    /// `ClientRelease { uri, checksum: 0x11… }` as any SCALE encoder writes it, byte by byte.
    fn wire(uri: &[u8]) -> Vec<u8> {
        let length = match u8::try_from(uri.len()) {
            Ok(length) if length < 64 => vec![length << 2],
            // Two bytes, the two lowest bits 01.
            _ => ((uri.len() as u16) << 2 | 1).to_le_bytes().to_vec(),
        };
        [&length, uri, &[0x11; 32]].concat()
    }

    fn decode(current: Option<Vec<u8>>, pending: Option<Vec<u8>>) -> Result<Stated, RecordError> {
        record().decode(&Slots { current, pending })
    }

    fn version_of(uri: &str) -> String {
        decode(Some(wire(uri.as_bytes())), None).expect(uri).current.expect("a value").version.to_string()
    }

    #[test]
    fn the_key_of_the_vaults_release_is_the_one_on_the_live_chains() {
        let keys = record().keys();
        assert_eq!(
            keys.current.to_string(),
            "0x3b0e622bcfd7dda4f6da9be5ed8ae5bd1d7989998d86d759f329cbf81eb547c02ef4768826937cb4716a12400a65799d\
             147661756c74"
        );
        // The same map key under another map.
        assert_eq!(keys.pending.as_bytes()[32..], keys.current.as_bytes()[32..]);
        assert_eq!(keys.pending.as_bytes()[16..32], sp_crypto_hashing::twox_128(PENDING.as_bytes()));
        let oracle = Record::ClientsInfo { client: "oracle".to_owned() };
        assert_ne!(oracle.keys().current, keys.current);
    }

    #[test]
    fn golden_bytes_decode_to_every_field() {
        let uri = "https://github.com/interlay/interbtc-clients/releases/download/1.23.9/vault-parachain-metadata-interlay";
        let stated = decode(Some(wire(uri.as_bytes())), Some(wire(b""))).expect("golden bytes");
        let current = stated.current.expect("a value");
        assert_eq!(current.version.as_str(), "1.23.9");
        assert_eq!(current.binary_checksum, Checksum([0x11; 32]));
        assert_eq!(current.uri.expect("a URI").as_str(), uri);
        assert_eq!((current.sequence, current.artifacts.len()), (None, 0));
        let pending = stated.pending.expect("a value");
        assert_eq!(
            (pending.version.as_str(), pending.uri, pending.spec_version),
            ("111111111111", None, None)
        );
        assert_eq!(decode(None, None), Ok(Stated::default()));
    }

    #[test]
    fn the_version_is_the_tag_in_the_uri_or_the_checksums_first_digits() {
        for (uri, version) in [
            ("https://h/a/releases/download/interlay-1.23.9/vault", "interlay-1.23.9"),
            ("https://h/download/1.0%2Bb/vault", "1.0+b"),
            ("https://h/download/2.0", "2.0"),
            ("https://h/download/2.0?raw=1", "2.0"),
            ("https://h/download//vault", "111111111111"),
            ("https://h/download/..%2f/vault", "111111111111"),
            ("https://h/download/a%20b/vault", "111111111111"),
            ("https://h/downloads/1.0/vault", "111111111111"),
            ("https://h/?x=/download/1.0/", "111111111111"),
            ("no URL at all", "111111111111"),
            ("", "111111111111"),
        ] {
            assert_eq!(version_of(uri), version, "{uri}");
        }
    }

    #[test]
    fn a_uri_that_is_no_text_costs_no_release() {
        let stated = decode(Some(wire(b"\xff\x00\x1b[2J")), None).expect("decodes").current.expect("a value");
        assert_eq!(stated.binary_checksum, Checksum([0x11; 32]));
        assert_eq!(stated.version.as_str(), "111111111111");
    }

    #[test]
    fn every_truncation_and_any_trailing_byte_is_refused_with_key_and_length() {
        let golden = wire(b"https://h/download/1.0/vault");
        for length in 0..golden.len() {
            for slot in 0..2 {
                let cut = Some(golden[..length].to_vec());
                let (current, pending) = if slot == 0 { (cut, None) } else { (None, cut) };
                let error = decode(current, pending).expect_err("cut short");
                assert_eq!(error.length, length);
                let keys = record().keys();
                let key = if slot == 0 { keys.current } else { keys.pending };
                assert!(error.to_string().contains(&key.to_string()), "{error}");
            }
        }
        let trailing = [golden, vec![0]].concat();
        assert!(matches!(
            decode(Some(trailing), None).expect_err("trailing").reason,
            Misfit::Encoding { .. }
        ));
    }

    #[test]
    fn a_uri_longer_than_the_runtimes_take_is_refused() {
        assert!(decode(Some(wire(&[b'x'; MAX_URI_BYTES])), None).is_ok());
        let error = decode(Some(wire(&[b'x'; MAX_URI_BYTES + 1])), None).expect_err("too long");
        assert!(matches!(error.reason, Misfit::Encoding { .. }), "{error:?}");
        let error = decode(Some(vec![0; MAX_VALUE_BYTES + 1]), None).expect_err("too long");
        assert_eq!(error.reason, Misfit::TooLong);
        // A compact length of 2^30 - 1 in front of nothing.
        let error = decode(Some(vec![0xfe, 0xff, 0xff, 0xff]), None).expect_err("claims too much");
        assert!(matches!(error.reason, Misfit::Encoding { .. }), "{error:?}");
    }
}
