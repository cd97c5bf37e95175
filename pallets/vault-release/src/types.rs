//! What a release is, and which byte strings may name one.

use alloc::string::String;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use core::fmt;
use frame_support::{
    BoundedVec, CloneNoBound, DebugNoBound, EqNoBound, PartialEqNoBound,
    storage::bounded_btree_map::BoundedBTreeMap,
};
use scale_info::TypeInfo;
use serde::{Deserialize, Serialize};
use sp_core::H256;

use crate::Config;

/// SHA-256 of a file.
///
/// Not the chain's own hash: operators compare it with what `sha256sum` prints, and release pages
/// publish SHA-256.
pub type Checksum = [u8; 32];

/// The bytes of a version, as calls take them and storage keeps them: at most `MaxVersionLength`.
pub type VersionBytes<T> = BoundedVec<u8, <T as Config>::MaxVersionLength>;

/// The bytes of an artifact's name, at most `MaxArtifactNameLength`.
pub type ArtifactNameBytes<T> = BoundedVec<u8, <T as Config>::MaxArtifactNameLength>;

/// The files of a release besides its binary, at most `MaxArtifacts`, by name.
///
/// A map in one value and not a storage map: a reader gets a release with all its files from one
/// key and can't see half of an update.
pub type Artifacts<T> = BoundedBTreeMap<ArtifactNameBytes<T>, Checksum, <T as Config>::MaxArtifacts>;

/// A release that vault clients should run.
///
/// The encoding is frozen: programs decode it from raw storage, without metadata. Additions become
/// new storage items, never new fields.
#[derive(
    CloneNoBound,
    PartialEqNoBound,
    EqNoBound,
    DebugNoBound,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
#[scale_info(skip_type_params(T))]
pub struct Release<T: Config> {
    /// Counts the statements that this chain has made, from 1. A greater one is newer, whatever
    /// the versions say: governance may go back to an older version, and a node that lags behind
    /// shows a smaller `sequence`.
    pub sequence: u64,
    /// The tag under which the release is published. Never empty, see [`Version`].
    pub version: VersionBytes<T>,
    /// SHA-256 of the binary for `x86_64-unknown-linux-gnu`.
    pub binary_checksum: Checksum,
    /// Further files that belong to the release.
    pub artifacts: Artifacts<T>,
}

/// Bytes that may name a release, see [`Version::parse`].
///
/// Only for use inside the pallet: where a function asks for it, nobody can forget the check.
#[derive(CloneNoBound, PartialEqNoBound, EqNoBound, DebugNoBound)]
pub struct Version<T: Config>(VersionBytes<T>);

impl<T: Config> Version<T> {
    /// Accepts release tags such as `1.16.0` or `interlay-1.23.9`: an ASCII letter or digit, then
    /// ASCII letters, digits, `.`, `+`, `_` and `-`, without two dots in a row.
    ///
    /// Clients put the version into URLs and show it to people. These rules leave nothing that
    /// changes a URL's meaning, climbs a path, hides in a log or has two spellings.
    ///
    /// # Errors
    ///
    /// [`InvalidVersion`] when `bytes` is anything else.
    pub fn parse(bytes: VersionBytes<T>) -> Result<Self, InvalidVersion> {
        let starts_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let only_known = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b".+_-".contains(byte));
        let climbs = bytes.windows(2).any(|pair| pair == b"..");
        if starts_well && only_known && !climbs { Ok(Self(bytes)) } else { Err(InvalidVersion) }
    }

    /// The bytes, for storage and events.
    pub fn into_bytes(self) -> VersionBytes<T> {
        self.0
    }
}

/// The bytes can't be a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidVersion;

impl fmt::Display for InvalidVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a version is an ASCII letter or digit followed by letters, digits, `.`, `+`, `_` or \
             `-`, without `..`",
        )
    }
}

/// The first release, as a chain specification writes it.
///
/// Text and hexadecimal instead of lists of numbers, since people write and review this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InitialRelease {
    /// The version, see [`Version`].
    pub version: String,
    /// SHA-256 of the binary, in JSON as `0x` and 64 hexadecimal digits.
    pub binary_checksum: H256,
}
