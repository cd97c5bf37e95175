//! Whose vault a vault is, and the names that may become folders.

use std::fmt;

/// Whose vault it is: what two vaults of one network may not have in common.
///
/// On the bridges a 32-byte account, normalised to 64 lower-case digits; on `dev` any plain name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(String);

impl Account {
    pub(super) fn from_address(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(digits.to_ascii_lowercase()));
        }
        let account: subxt::utils::AccountId32 = text.parse().map_err(|_| {
            format!("found {text:?}, expected a 32-byte account: 64 hexadecimal digits or an SS58 address")
        })?;
        Ok(Self(hex::encode(account.0)))
    }

    pub(super) fn from_name(text: &str) -> Result<Self, String> {
        if is_plain_name(text) { Ok(Self(text.to_owned())) } else { Err(plain_name_expected(text)) }
    }

    /// The normalised form, fit for a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn is_plain_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len())
        && text.bytes().all(plain)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

pub(super) fn plain_name_expected(found: &str) -> String {
    let found: String = found.chars().take(80).collect();
    format!(
        "found {found:?}, expected 1 to 64 of 0-9 A-Z a-z . _ -, the first a letter or digit: it names a folder"
    )
}
