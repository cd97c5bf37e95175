//! Where a call comes from: the command line, a file or standard input, always in hexadecimal.

use std::{
    io::{self, Read},
    path::PathBuf,
    str::FromStr,
};

use crate::{
    chain::governance::decoded::MAX_CALL_BYTES,
    cli::release::{InputError, open_file},
};

/// The longest text that is read as a call: two digits a byte, and as much again for line breaks and blanks.
const MAX_TEXT_BYTES: u64 = 4 * MAX_CALL_BYTES as u64;

/// Where a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CallSource {
    Text(String),
    File(PathBuf),
    Stdin,
}

impl FromStr for CallSource {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.strip_prefix('@')) {
            ("-", _) => Self::Stdin,
            (_, Some(path)) => Self::File(path.into()),
            (text, None) => Self::Text(text.to_owned()),
        })
    }
}

/// Why there is no call.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallSourceError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("cannot read standard input")]
    Stdin(#[source] io::Error),
    #[error("the call is not hexadecimal: {found}; expected pairs of digits, with or without 0x")]
    NotHex { found: String },
    #[error("the call is empty; expected its bytes in hexadecimal")]
    Empty,
    #[error("the text is longer than {MAX_TEXT_BYTES} bytes, expected one call")]
    TooLong,
}

impl CallSource {
    /// The call's bytes, whatever they are.
    pub(super) fn read(&self) -> Result<Vec<u8>, CallSourceError> {
        match self {
            Self::Text(text) => parse_hex(text.as_bytes()),
            Self::File(path) => {
                let unreadable = |source| InputError::Unreadable { path: path.clone(), source };
                parse_hex(&capped(open_file(path)?, unreadable)?)
            }
            Self::Stdin => parse_hex(&capped(io::stdin().lock(), CallSourceError::Stdin)?),
        }
    }
}

fn capped<E: Into<CallSourceError>>(
    input: impl Read,
    unreadable: impl FnOnce(io::Error) -> E,
) -> Result<Vec<u8>, CallSourceError> {
    let mut text = Vec::new();
    input.take(MAX_TEXT_BYTES + 1).read_to_end(&mut text).map_err(|error| unreadable(error).into())?;
    if text.len() as u64 > MAX_TEXT_BYTES { Err(CallSourceError::TooLong) } else { Ok(text) }
}

/// Blanks and line breaks do not count: long calls are folded by mail programs.
fn parse_hex(text: &[u8]) -> Result<Vec<u8>, CallSourceError> {
    let mut digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if digits.starts_with(b"0x") || digits.starts_with(b"0X") {
        digits.drain(..2);
    }
    if digits.is_empty() {
        return Err(CallSourceError::Empty);
    }
    let not_hex = |found| Err(CallSourceError::NotHex { found });
    if let Some(index) = digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
        return not_hex(format!("digit {} is \"{}\"", index + 1, digits[index].escape_ascii()));
    }
    match hex::decode(&digits) {
        Ok(bytes) => Ok(bytes),
        Err(_) => not_hex(format!("an odd number of digits, {}", digits.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<u8>, String> {
        CallSource::Text(text.to_owned()).read().map_err(|error| error.to_string())
    }

    #[test]
    fn hexadecimal_is_read_with_or_without_prefix_and_folded() {
        for text in ["0x0a0B", "0a0b", "0X0a0b", " 0x0a\n0b\r\n", "0a 0b"] {
            assert_eq!(read(text), Ok(vec![0x0a, 0x0b]), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_hexadecimal_is_refused_shortly_and_escaped() {
        for (text, said) in [
            ("0x0", "odd number of digits, 1"),
            ("0xzz", "digit 1 is \"z\""),
            ("\u{1b}[2J0", "digit 1 is"),
            ("", "empty"),
            ("0x", "empty"),
            (&"g".repeat(64_000), "digit 1"),
        ] {
            let refused = read(text).expect_err("not hexadecimal");
            assert!(refused.contains(said) && refused.len() < 200, "{refused}");
            assert!(!refused.contains('\u{1b}'), "{refused}");
        }
    }

    #[test]
    fn a_file_is_read_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("call.hex");
        std::fs::write(&path, "0x0902\n").expect("written");
        let source: CallSource = format!("@{}", path.display()).parse().expect("never fails");
        assert_eq!(source, CallSource::File(path));
        assert_eq!(source.read().expect("hexadecimal"), [9, 2]);
        assert_eq!("-".parse(), Ok(CallSource::Stdin));
        let missing = CallSource::File("/nonexistent/call".into()).read().expect_err("missing");
        assert!(missing.to_string().contains("/nonexistent/call"), "{missing}");
    }

    #[test]
    fn more_text_than_any_call_has_is_not_read() {
        let endless = io::repeat(b'0');
        assert!(matches!(capped(endless, CallSourceError::Stdin), Err(CallSourceError::TooLong)));
    }
}
