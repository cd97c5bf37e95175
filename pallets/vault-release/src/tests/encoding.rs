//! What readers without metadata rely on.

use super::*;

/// Readers decode these bytes without metadata. If this test fails, vaults in the field break:
/// change the code, not the bytes.
#[test]
fn the_encoding_of_a_release_is_frozen() {
    let bare = Release::<Test> {
        sequence: 7,
        version: bytes("1.16.0"),
        binary_checksum: CHECKSUM,
        artifacts: BoundedBTreeMap::new(),
    };
    let golden = [
        &hex("0700000000000000")[..], // sequence
        &hex("18312e31362e30"),       // length 6, "1.16.0"
        &[0xab; 32],                  // checksum
        &hex("00"),                   // no artifacts
    ]
    .concat();
    assert_eq!(bare.encode(), golden);
    assert_eq!(Release::decode(&mut &golden[..]), Ok(bare.clone()));

    let mut full = bare;
    for (name, byte) in [("state-migration", 2), ("args-migration", 1)] {
        let name = BoundedVec::try_from(name.as_bytes().to_vec()).expect("short");
        full.artifacts.try_insert(name, [byte; 32]).expect("room for two");
    }
    let golden = [
        &golden[..golden.len() - 1],
        &hex("08"),                             // two artifacts, sorted by name
        &hex("38617267732d6d6967726174696f6e"), // length 14, "args-migration"
        &[1; 32],
        &hex("3c73746174652d6d6967726174696f6e"), // length 15, "state-migration"
        &[2; 32],
    ]
    .concat();
    assert_eq!(full.encode(), golden);
    assert_eq!(Release::decode(&mut &golden[..]), Ok(full));
}

/// The same for a scheduled release.
#[test]
fn the_encoding_of_a_scheduled_release_is_frozen() {
    let pending = Pending::<Test> {
        version: bytes("1.16.0"),
        binary_checksum: CHECKSUM,
        artifacts: files([("b", [2; 32]), ("a", [1; 32])]),
        spec_version: 0x0102_0304,
    };
    let golden = [
        &hex("18312e31362e30")[..], // length 6, "1.16.0"
        &[0xab; 32],                // checksum
        &hex("08"),                 // two artifacts, sorted by name
        &hex("0461"),               // length 1, "a"
        &[1; 32],
        &hex("0462"), // length 1, "b"
        &[2; 32],
        &hex("04030201"), // spec version
    ]
    .concat();
    assert_eq!(pending.encode(), golden);
    assert_eq!(Pending::decode(&mut &golden[..]), Ok(pending));
}

#[test]
fn the_largest_releases_are_bounded() {
    // What readers that cap their reads rely on.
    assert_eq!(Release::<Test>::max_encoded_len(), 1_675);
    assert_eq!(Pending::<Test>::max_encoded_len(), 1_671);
}

/// The same for the places where the releases lie.
#[test]
fn the_storage_keys_are_frozen() {
    // twox_128("VaultRelease"), twox_128 of the item
    let pallet = hex("73dc11ca8024535b932170bf935ed937");
    let current = [&pallet[..], &hex("1738a8809ae00bb6e5f307277181b222")].concat();
    let pending = [&pallet[..], &hex("404e624adb8440a29d65c7b73e02b04c")].concat();
    assert_eq!(CurrentRelease::<Test>::hashed_key()[..], current);
    assert_eq!(PendingRelease::<Test>::hashed_key()[..], pending);
}

#[test]
fn the_call_indices_and_their_encodings_are_frozen() {
    use crate::Call;
    let (version, checksum) = (|| bytes("1.16.0"), &CHECKSUM[..]);
    let version_bytes = &hex("18312e31362e30")[..];
    // Pallet 1 of the mock runtime, then the call's index.
    let golden: [(RuntimeCall, Vec<u8>); 5] = [
        (
            Call::set_vault_release { version: version(), binary_checksum: CHECKSUM }.into(),
            [&[1, 0], version_bytes, checksum].concat(),
        ),
        (
            Call::schedule_vault_release {
                version: version(),
                binary_checksum: CHECKSUM,
                spec_version: 0x0102_0304,
            }
            .into(),
            [&[1, 1], version_bytes, checksum, &[4, 3, 2, 1]].concat(),
        ),
        (Call::cancel_scheduled_release {}.into(), vec![1, 2]),
        (
            Call::set_release_artifact { version: version(), name: name("a"), checksum: CHECKSUM }.into(),
            [&[1, 3], version_bytes, &[4, b'a'], checksum].concat(),
        ),
        (
            Call::remove_release_artifact { version: version(), name: name("a") }.into(),
            [&[1, 4], version_bytes, &[4, b'a']].concat(),
        ),
    ];
    for (call, bytes) in golden {
        assert_eq!(call.encode(), bytes, "{call:?}");
        assert_eq!(RuntimeCall::decode(&mut &bytes[..]), Ok(call));
    }
}

#[test]
fn the_events_encodings_are_frozen() {
    let version = || bytes("1.16.0");
    let version_bytes = &hex("18312e31362e30")[..];
    let golden: [(Event<Test>, Vec<u8>); 5] = [
        (
            Event::VaultClientUpdate { version: version(), binary_checksum: CHECKSUM },
            [&[1, 0], version_bytes, &CHECKSUM].concat(),
        ),
        (
            Event::VaultClientUpdateScheduled {
                version: version(),
                binary_checksum: CHECKSUM,
                spec_version: 0x0102_0304,
            },
            [&[1, 1], version_bytes, &CHECKSUM, &[4, 3, 2, 1]].concat(),
        ),
        (
            Event::VaultClientUpdateCancelled { version: version(), binary_checksum: CHECKSUM },
            [&[1, 2], version_bytes, &CHECKSUM].concat(),
        ),
        (
            Event::ReleaseArtifactSet { version: version(), name: name("a"), checksum: CHECKSUM },
            [&[1, 3], version_bytes, &[4, b'a'], &CHECKSUM].concat(),
        ),
        (
            Event::ReleaseArtifactRemoved { version: version(), name: name("a") },
            [&[1, 4], version_bytes, &[4, b'a']].concat(),
        ),
    ];
    for (event, bytes) in golden {
        assert_eq!(RuntimeEvent::from(event).encode(), bytes);
    }
}

#[test]
fn a_checksum_is_the_32_bytes_of_a_sha_256_and_nothing_else() {
    // SHA-256 of nothing, as `sha256sum /dev/null` prints it.
    let printed = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let checksum: Checksum = sp_io::hashing::sha2_256(b"");
    assert_eq!(checksum.encode(), hex(printed));
    assert_eq!(Checksum::max_encoded_len(), 32);
}
