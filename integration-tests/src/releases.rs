//! Distinct real programs to release: one program under as many checksums as a test wants.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use sha2::{Digest as _, Sha256};

use crate::binaries;

/// What is written behind a program's last byte, followed by the version. The kernel and the dynamic loader read
/// only what the ELF headers name, so the program runs as before and has another checksum.
const MARK: &str = "\n#release ";

/// Longer than the mark and any version that a test uses.
const LONGEST_TRAILER: u64 = 256;

/// A program as a release: its version, its bytes and their checksum.
#[derive(Debug, Clone)]
pub struct Release {
    /// The release tag.
    pub version: String,
    /// The file that is downloaded.
    pub program: Vec<u8>,
    /// The SHA-256 of those bytes, as Vaultvisor prints it.
    pub checksum: String,
}

impl Release {
    /// A release of the crate's own test vault, which writes a [ledger](crate::ledger).
    pub fn of_test_vault(version: &str) -> Self {
        Self::of(&binaries::path("test-vault"), version)
    }

    /// A release of any program.
    pub fn of(program: &Path, version: &str) -> Self {
        let mut bytes =
            fs::read(program).unwrap_or_else(|error| panic!("cannot read {}: {error}", program.display()));
        bytes.extend_from_slice(MARK.as_bytes());
        bytes.extend_from_slice(version.as_bytes());
        Self::from_bytes(version, bytes)
    }

    /// A release of exactly these bytes.
    pub fn from_bytes(version: &str, program: Vec<u8>) -> Self {
        let checksum = hex::encode(Sha256::digest(&program));
        Self { version: version.to_owned(), program, checksum }
    }
}

/// The version under which [`Release::of`] released the running program; `None` if it did not.
pub fn version_of_this_program() -> Option<String> {
    // Not by its path: the file of a running release may be gone already.
    let mut file = File::open("/proc/self/exe").ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_TRAILER))).ok()?;
    let mut trailer = Vec::new();
    file.read_to_end(&mut trailer).ok()?;
    let start = trailer.windows(MARK.len()).rposition(|window| window == MARK.as_bytes())? + MARK.len();
    String::from_utf8(trailer.split_off(start)).ok()
}
