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

/// A release that a coming runtime upgrade will put in force.
///
/// The encoding is frozen like that of [`Release`]. Without a `sequence`: it is counted when it
/// becomes a statement.
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
pub struct Pending<T: Config> {
    /// The tag under which the release is published. Never empty, see [`Version`].
    pub version: VersionBytes<T>,
    /// SHA-256 of the binary for `x86_64-unknown-linux-gnu`.
    pub binary_checksum: Checksum,
    /// Further files that belong to the release.
    pub artifacts: Artifacts<T>,
    /// The first runtime, by `spec_version`, that this release is for.
    pub spec_version: u32,
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
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || b".+_-".contains(byte);
        if is_name(&bytes, u8::is_ascii_alphanumeric, inner) { Ok(Self(bytes)) } else { Err(InvalidVersion) }
    }

    /// The bytes, for storage and events.
    pub fn into_bytes(self) -> VersionBytes<T> {
        self.0
    }
}

/// Bytes that may name a file of a release, see [`ArtifactName::parse`].
///
/// Like [`Version`], for use inside the pallet.
#[derive(CloneNoBound, PartialEqNoBound, EqNoBound, DebugNoBound)]
pub struct ArtifactName<T: Config>(ArtifactNameBytes<T>);

impl<T: Config> ArtifactName<T> {
    /// Accepts names such as `args-migration` or `binary-aarch64-unknown-linux-gnu`: a lower-case
    /// ASCII letter or a digit, then lower-case ASCII letters, digits, `.`, `_` and `-`, without two
    /// dots in a row.
    ///
    /// Stricter than [`Version::parse`], since these are names that we choose: no two of them differ
    /// in case only.
    ///
    /// # Errors
    ///
    /// [`InvalidArtifactName`] when `bytes` is anything else.
    pub fn parse(bytes: ArtifactNameBytes<T>) -> Result<Self, InvalidArtifactName> {
        let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inner = |byte: &u8| first(byte) || b"._-".contains(byte);
        if is_name(&bytes, first, inner) { Ok(Self(bytes)) } else { Err(InvalidArtifactName) }
    }

    /// The bytes, for storage and events.
    pub fn into_bytes(self) -> ArtifactNameBytes<T> {
        self.0
    }
}

/// What all names have in common: they are not empty and can't climb a path.
fn is_name(bytes: &[u8], first: impl Fn(&u8) -> bool, inner: impl Fn(&u8) -> bool) -> bool {
    let climbs = bytes.windows(2).any(|pair| pair == b"..");
    bytes.first().is_some_and(first) && bytes.iter().all(inner) && !climbs
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

/// The bytes can't be the name of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidArtifactName;

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
