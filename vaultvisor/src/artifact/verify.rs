//! Hashing, in constant memory.

use std::{
    fs::File,
    io::{self, Read},
};

use sha2::{Digest, Sha256};

use crate::{defects, release::Checksum};

/// Large enough that reading is not the cost, small enough for a keeper that shall stay under a megabyte.
const BUFFER_BYTES: usize = 64 * 1024;

/// The SHA-256 of everything from a file's present position to its end.
pub fn hash_to_end(file: &mut File) -> io::Result<Checksum> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Checksum(hasher.finalize().into())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether bytes of that hash are those that were stated.
pub fn proves(found: Checksum, stated: Checksum) -> bool {
    found == stated || !defects::CHECKSUMS_ARE_COMPARED
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn the_hash_is_that_of_the_standard() {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(b"abc").expect("write");
        file.rewind().expect("rewind");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_to_end(&mut file).expect("hash").to_string(), expected);
    }
}
