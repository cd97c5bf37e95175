//! What a chain states about a vault client, parsed once.
//!
//! A [`Version`], [`Checksum`], [`ArtifactName`] or [`GenesisHash`] cannot hold a bad value, so no
//! later code has to ask whether one may be put into a path or a URL. The rules are those of the pallet
//! (`pallet-vault-release`): a chain that states anything else is reported, never guessed at.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::artifact::url::{BINARY_FOR, MAIN_TARGET};

/// The longest version or artifact name that we take from anyone, in bytes.
///
/// The mock runtime allows 64; 255 is the longest file name that Linux filesystems take.
pub const MAX_NAME_BYTES: usize = 255;

/// Why a text or bytes is not a version, name, checksum or hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a release tag.
    #[error(
        "\"{found}\" is not a release version: expected 1 to 255 of 0-9 A-Z a-z . + _ -, the first a letter or digit, without \"..\""
    )]
    Version {
        /// The text, escaped and cut to a printable length.
        found: String,
    },
    /// Not an artifact name.
    #[error(
        "\"{found}\" is not an artifact name: expected 1 to 255 of 0-9 a-z . _ -, the first a letter or digit, without \"..\""
    )]
    ArtifactName {
        /// The text, escaped and cut to a printable length.
        found: String,
    },
    /// Not 32 bytes in hexadecimal.
    #[error("\"{found}\" is not a {what}: expected 64 hexadecimal digits, with or without 0x")]
    Hex32 {
        /// What was expected.
        what: &'static str,
        /// The text, escaped and cut to a printable length.
        found: String,
    },
}

/// The part of an untrusted text that an error message shows, with escapes for all that is no plain ASCII: a letter that
/// looks like another, or turns the line around, would deceive.
fn excerpt(text: &[u8]) -> String {
    const SHOWN_CHARS: usize = 80;
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}

fn is_name(bytes: &[u8], allowed: impl Fn(u8) -> bool, first: impl Fn(u8) -> bool) -> bool {
    bytes.len() <= MAX_NAME_BYTES
        && bytes.first().is_some_and(|&byte| first(byte))
        && bytes.iter().all(|&byte| allowed(byte))
        && !bytes.windows(2).any(|pair| pair == b"..")
}

/// A release tag such as `1.16.0` or `interlay-1.23.9`.
///
/// Never parsed further and never compared for order: governance may go back to an older version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl Version {
    /// Parses the bytes that a chain holds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+_-".contains(&byte);
        let text = std::str::from_utf8(bytes).ok();
        match text {
            Some(text) if is_name(bytes, allowed, |byte| byte.is_ascii_alphanumeric()) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ParseError::Version { found: excerpt(bytes) }),
        }
    }

    /// The first `digits` digits of a checksum, for a release that has no tag.
    pub fn of_hex_digits(checksum: &Checksum, digits: usize) -> Self {
        Self(checksum.to_string().chars().take(digits.max(1)).collect())
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Version {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl TryFrom<String> for Version {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

/// The name of one further file of a release, such as `args-migration`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactName(String);

impl ArtifactName {
    /// Parses the bytes that a chain holds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        let letter_or_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let allowed = |byte: u8| letter_or_digit(byte) || b"._-".contains(&byte);
        let text = std::str::from_utf8(bytes).ok();
        match text {
            Some(text) if is_name(bytes, allowed, letter_or_digit) => Ok(Self(text.to_owned())),
            _ => Err(ParseError::ArtifactName { found: excerpt(bytes) }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ArtifactName {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl TryFrom<String> for ArtifactName {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::from_bytes(text.as_bytes())
    }
}

impl From<ArtifactName> for String {
    fn from(name: ArtifactName) -> Self {
        name.0
    }
}

fn parse_hex32(text: &str, what: &'static str) -> Result<[u8; 32], ParseError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes)
        .map_err(|_| ParseError::Hex32 { what, found: excerpt(text.as_bytes()) })?;
    Ok(bytes)
}

/// A SHA-256. Prints as 64 lower-case hexadecimal digits without `0x`; reads both forms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Checksum(pub [u8; 32]);

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

impl FromStr for Checksum {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_hex32(text, "SHA-256 checksum").map(Self)
    }
}

impl TryFrom<String> for Checksum {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

/// The hash of a chain's first block: the chain's identity. Prints as `0x` and 64 lower-case digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GenesisHash(pub [u8; 32]);

impl fmt::Display for GenesisHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for GenesisHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GenesisHash({self})")
    }
}

impl FromStr for GenesisHash {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_hex32(text, "genesis hash").map(Self)
    }
}

impl TryFrom<String> for GenesisHash {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<GenesisHash> for String {
    fn from(genesis: GenesisHash) -> Self {
        genesis.to_string()
    }
}

/// A BLAKE2-256, by which Substrate chains name calls and runtime code. Prints as `0x` and 64 lower-case digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Blake2Hash(pub [u8; 32]);

impl Blake2Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sp_crypto_hashing::blake2_256(bytes))
    }
}

impl fmt::Display for Blake2Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Blake2Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blake2Hash({self})")
    }
}

impl FromStr for Blake2Hash {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_hex32(text, "BLAKE2-256 hash").map(Self)
    }
}

impl From<Blake2Hash> for String {
    fn from(hash: Blake2Hash) -> Self {
        hash.to_string()
    }
}

/// Where a chain says that a release's binary is.
///
/// Untrusted text, kept as it was stated so that people can be told of it; only
/// [`artifact::url::stated`](crate::artifact::url::stated) makes something of it that is fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatedUri(Box<str>);

impl StatedUri {
    /// From the bytes that a chain holds, `None` for an empty one. What is no text becomes one that no URL is.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self(String::from_utf8_lossy(bytes).into()))
    }

    /// The text, which may be anything: escape it for people.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The release tag in it, if it is one of a release's files as GitHub and others lay them out: the segment
    /// of the path after `/download/`.
    pub fn release_tag(&self) -> Option<Version> {
        let path = self.0.split(['?', '#']).next()?;
        let (_, rest) = path.split_once("/download/")?;
        let tag = rest.split('/').next()?;
        // The only character of a tag that URLs must hold in another form.
        tag.replace("%2B", "+").replace("%2b", "+").parse().ok()
    }
}

/// The files of a release besides its binary, by name.
pub type Artifacts = BTreeMap<ArtifactName, Checksum>;

/// What the chain says vaults should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Which statement is newer; `None` for records that do not count their statements.
    pub sequence: Option<u64>,
    /// The release tag.
    pub version: Version,
    /// SHA-256 of the binary for `x86_64-unknown-linux-gnu`.
    pub binary_checksum: Checksum,
    /// Where the chain says that the binary is, for records that say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<StatedUri>,
    /// Further files of the release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: Artifacts,
}

impl Release {
    /// The binary for a platform: the artifact that is named after it, else for the main platform the main binary.
    pub fn binary_for(&self, target: &str) -> Option<Checksum> {
        let named =
            self.artifacts.iter().find(|(name, _)| name.as_str().strip_prefix(BINARY_FOR) == Some(target));
        let main = || (target == MAIN_TARGET).then_some(self.binary_checksum);
        named.map(|(_, checksum)| *checksum).or_else(main)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_release_tags_and_nothing_else() {
        for good in ["1", "1.16.0", "interlay-1.23.9", "v1.0.0+build_7", "A", "1.2-rc.1"] {
            assert_eq!(Version::from_bytes(good.as_bytes()).expect(good).as_str(), good);
        }
        let long = "1".repeat(MAX_NAME_BYTES + 1);
        for bad in ["", ".", "..", "1..2", "-1", ".1", "a/b", "a b", "1\n", "1\0", "é", "%2e", &long] {
            assert!(Version::from_bytes(bad.as_bytes()).is_err(), "{bad:?} was taken");
        }
        assert!(Version::from_bytes(&[b'1', 0xff]).is_err());
    }

    #[test]
    fn artifact_names_are_lower_case_file_names() {
        for good in ["args-migration", "binary-aarch64-unknown-linux-gnu", "0", "a_b.c"] {
            assert_eq!(ArtifactName::from_bytes(good.as_bytes()).expect(good).as_str(), good);
        }
        for bad in ["", "A", "-a", "a..b", "a/b", "a+b", "a b"] {
            assert!(ArtifactName::from_bytes(bad.as_bytes()).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn checksums_read_both_forms_and_print_one() {
        let digits = "AB".repeat(32);
        let plain: Checksum = digits.parse().expect("64 digits");
        assert_eq!(plain, format!("0x{digits}").parse().expect("0x and 64 digits"));
        assert_eq!(plain.to_string(), digits.to_lowercase());
        for bad in ["", "0x", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(66)] {
            assert!(bad.parse::<Checksum>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn code_is_named_by_its_blake2_256() {
        // The BLAKE2 reference implementation's value for "abc".
        let abc = "0xbddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
        assert_eq!(Blake2Hash::of(b"abc").to_string(), abc);
        assert_eq!(abc.parse(), Ok(Blake2Hash::of(b"abc")));
    }

    #[test]
    fn refusals_escape_and_shorten_what_they_quote() {
        let hostile = format!("\u{1b}[2J{}", "x".repeat(64_000));
        let said = Version::from_bytes(hostile.as_bytes()).expect_err("escape codes").to_string();
        assert!(said.len() < 400, "{} bytes", said.len());
        assert!(!said.contains('\u{1b}'), "{said}");
    }
}
