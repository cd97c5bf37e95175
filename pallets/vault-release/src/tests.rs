//! What the pallet promises.

use codec::{Decode, Encode, MaxEncodedLen};
use frame_support::{
    BoundedVec, assert_noop, assert_ok,
    storage::bounded_btree_map::BoundedBTreeMap,
    traits::{GetStorageVersion, StorageVersion},
};
use sp_core::H256;
use sp_runtime::{BuildStorage, DispatchError};

use crate::{
    Checksum, CurrentRelease, Error, Event, InitialRelease, Release, Version, VersionBytes, WeightInfo,
    mock::{
        COUNCIL, RuntimeCall, RuntimeEvent, RuntimeOrigin, STRANGER, System, Test, VaultRelease, on_new_chain,
    },
};

const CHECKSUM: Checksum = [0xab; 32];
const OTHER_CHECKSUM: Checksum = [0xcd; 32];

fn bytes(version: &str) -> VersionBytes<Test> {
    BoundedVec::try_from(version.as_bytes().to_vec()).expect("not longer than 64 bytes")
}

fn current() -> Release<Test> {
    CurrentRelease::<Test>::get().expect("a release was set")
}

fn is_version(candidate: &[u8]) -> bool {
    let candidate = BoundedVec::try_from(candidate.to_vec()).expect("not longer than 64 bytes");
    Version::<Test>::parse(candidate).is_ok()
}

#[docify::export]
#[test]
fn governance_sets_a_release() {
    on_new_chain(None, || {
        let binary_checksum = [0xab; 32];

        assert_ok!(VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes("1.16.0"), binary_checksum,));

        let release = CurrentRelease::<Test>::get().expect("a release was set");
        assert_eq!(release.version, bytes("1.16.0"));
        assert_eq!(release.binary_checksum, binary_checksum);
        assert_eq!(release.sequence, 1);
        System::assert_last_event(
            Event::VaultClientUpdate { version: bytes("1.16.0"), binary_checksum }.into(),
        );
    });
}

#[docify::export]
#[test]
fn going_back_to_an_older_version_is_a_newer_statement() {
    on_new_chain(None, || {
        for version in ["1.15.0", "1.16.0", "1.15.0"] {
            assert_ok!(VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes(version), [0xab; 32],));
        }

        assert_eq!(current().version, bytes("1.15.0"));
        assert_eq!(current().sequence, 3);
    });
}

#[test]
fn the_runtime_decides_who_may_set() {
    on_new_chain(None, || {
        assert_ok!(VaultRelease::set_vault_release(
            RuntimeOrigin::signed(COUNCIL),
            bytes("1.16.0"),
            CHECKSUM,
        ));
    });
}

#[test]
fn nobody_else_may_set() {
    let origins = [RuntimeOrigin::none(), RuntimeOrigin::signed(STRANGER), RuntimeOrigin::signed(0)];
    for origin in origins {
        on_new_chain(Some(initial("1.15.0")), || {
            assert_noop!(
                VaultRelease::set_vault_release(origin, bytes("1.16.0"), CHECKSUM),
                DispatchError::BadOrigin,
            );
            assert_eq!(current().version, bytes("1.15.0"));
        });
    }
}

#[test]
fn a_refused_version_changes_nothing() {
    let long_climb = "1".repeat(62) + "..";
    let refused = [
        "",
        ".",
        "-",
        "+",
        "_",
        "..",
        "-1.0",
        "+1.0",
        "_1.0",
        ".1",
        "1..0",
        "1.0..",
        "a/b",
        "a b",
        " 1.0",
        "1.0 ",
        "1.0\n",
        "1.0\0",
        "ä1",
        "1.0ä",
        "1.0%2e",
        "1.0?",
        "1.0#",
        "v1\\0",
        "1:0",
        "{version}",
        &long_climb,
    ];
    on_new_chain(Some(initial("1.15.0")), || {
        for version in refused {
            assert_noop!(
                VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes(version), CHECKSUM),
                Error::<Test>::InvalidVersion,
            );
        }
        assert_eq!(current().version, bytes("1.15.0"));
        assert!(System::events().is_empty());
    });
}

#[test]
fn an_unauthorised_caller_learns_nothing_about_the_version() {
    on_new_chain(None, || {
        assert_noop!(
            VaultRelease::set_vault_release(RuntimeOrigin::signed(STRANGER), bytes(".."), CHECKSUM),
            DispatchError::BadOrigin,
        );
    });
}

#[test]
fn real_release_tags_are_versions() {
    for tag in [
        "0",
        "v",
        "1.16.0",
        "v1.16.0",
        "interlay-1.23.9",
        "1.0.0-rc.1",
        "1.0.0+build.7",
        "2024_01",
        "1.",
        "1-",
        "a.b.c",
    ] {
        assert!(is_version(tag.as_bytes()), "{tag} is a fine version");
    }
}

#[test]
fn each_byte_is_judged_by_the_rule_and_by_its_place() {
    for byte in u8::MIN..=u8::MAX {
        let alphanumeric = matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
        let inner = alphanumeric || matches!(byte, b'.' | b'+' | b'_' | b'-');

        assert_eq!(is_version(&[byte]), alphanumeric, "{byte:#04x} alone");
        assert_eq!(is_version(&[byte, b'1']), alphanumeric, "{byte:#04x} first");
        assert_eq!(is_version(&[b'1', byte]), inner, "{byte:#04x} last");
        assert_eq!(is_version(&[b'1', byte, b'0']), inner, "{byte:#04x} inside");
        assert_eq!(is_version(&[b'1', b'.', byte, b'0']), inner && byte != b'.', "{byte:#04x} after a dot",);
    }
}

#[test]
fn the_longest_version_is_accepted_and_one_byte_more_does_not_decode() {
    let call_index = 0_u8;
    let call_with_length = |length: usize| {
        let arguments = (vec![b'1'; length], CHECKSUM);
        let encoded = [vec![1_u8, call_index], arguments.encode()].concat();
        RuntimeCall::decode(&mut &encoded[..])
    };

    on_new_chain(None, || {
        let longest = "1".repeat(64);
        assert_ok!(VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes(&longest), CHECKSUM));
        assert_eq!(current().version, bytes(&longest));

        assert!(call_with_length(64).is_ok());
        assert!(call_with_length(65).is_err());
        assert!(call_with_length(64 * 1024).is_err());
    });
}

#[test]
fn the_sequence_grows_by_one_with_each_statement() {
    on_new_chain(None, || {
        assert_eq!(CurrentRelease::<Test>::get(), None);
        for sequence in 1..=5 {
            // The same statement again counts as well: somebody made it.
            assert_ok!(VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes("1.16.0"), CHECKSUM));
            assert_eq!(current().sequence, sequence);
        }
        assert_noop!(
            VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes(""), CHECKSUM),
            Error::<Test>::InvalidVersion,
        );
        assert_eq!(current().sequence, 5);
        assert_eq!(System::events().len(), 5);
    });
}

#[test]
fn the_sequence_never_wraps_to_an_older_statement() {
    on_new_chain(Some(initial("1.15.0")), || {
        CurrentRelease::<Test>::mutate(|release| {
            release.as_mut().expect("the initial one").sequence = u64::MAX;
        });
        assert_ok!(VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes("1.16.0"), CHECKSUM));
        assert_eq!(current().sequence, u64::MAX);
    });
}

#[test]
fn a_new_release_starts_without_the_old_one_s_artifacts() {
    on_new_chain(Some(initial("1.15.0")), || {
        CurrentRelease::<Test>::mutate(|release| {
            let release = release.as_mut().expect("the initial one");
            let name = BoundedVec::try_from(b"args-migration".to_vec()).expect("short");
            release.artifacts.try_insert(name, OTHER_CHECKSUM).expect("room for one");
        });
        assert_ok!(VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes("1.16.0"), CHECKSUM));
        assert!(current().artifacts.is_empty());
    });
}

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

#[test]
fn the_largest_release_is_bounded() {
    // What `weights::PROOF_BYTES` and readers that cap their reads rely on.
    assert_eq!(Release::<Test>::max_encoded_len(), 1_675);
}

/// The same for the place where the release lies.
#[test]
fn the_storage_key_is_frozen() {
    let key = [
        hex("73dc11ca8024535b932170bf935ed937"), // twox_128("VaultRelease")
        hex("1738a8809ae00bb6e5f307277181b222"), // twox_128("CurrentRelease")
    ]
    .concat();
    assert_eq!(CurrentRelease::<Test>::hashed_key()[..], key);
}

#[test]
fn the_call_index_and_its_encoding_are_frozen() {
    let call = RuntimeCall::from(crate::Call::set_vault_release {
        version: bytes("1.16.0"),
        binary_checksum: CHECKSUM,
    });
    // Pallet 1 of the mock runtime, call 0.
    assert_eq!(call.encode(), [&hex("010018312e31362e30")[..], &CHECKSUM].concat());
}

#[test]
fn the_event_s_encoding_is_frozen() {
    let event = RuntimeEvent::from(Event::<Test>::VaultClientUpdate {
        version: bytes("1.16.0"),
        binary_checksum: CHECKSUM,
    });
    assert_eq!(event.encode(), [&hex("010018312e31362e30")[..], &CHECKSUM].concat());
}

#[test]
fn a_checksum_is_the_32_bytes_of_a_sha_256_and_nothing_else() {
    // SHA-256 of nothing, as `sha256sum /dev/null` prints it.
    let printed = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let checksum: Checksum = sp_io::hashing::sha2_256(b"");
    assert_eq!(checksum.encode(), hex(printed));
    assert_eq!(Checksum::max_encoded_len(), 32);
}

#[test]
fn a_chain_can_start_with_a_release() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_eq!(
            current(),
            Release {
                sequence: 1,
                version: bytes("1.15.0"),
                binary_checksum: OTHER_CHECKSUM,
                artifacts: BoundedBTreeMap::new(),
            }
        );
    });
}

#[test]
fn a_chain_can_start_without_a_release() {
    on_new_chain(None, || {
        assert_eq!(CurrentRelease::<Test>::get(), None);
        assert!(!CurrentRelease::<Test>::exists());
    });
}

#[test]
fn a_chain_specification_states_the_release_in_plain_text() {
    let checksum = "0xcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
    let json = serde_json::json!({
        "initialRelease": { "version": "1.15.0", "binaryChecksum": checksum }
    });
    let config: crate::GenesisConfig<Test> =
        serde_json::from_value(json.clone()).expect("the documented form");
    assert_eq!(config.initial_release, Some(initial("1.15.0")));
    assert_eq!(serde_json::to_value(&config).expect("it serializes"), json);

    let shorter = serde_json::json!({
        "initialRelease": { "version": "1.15.0", "binaryChecksum": "0xcdcd" }
    });
    assert!(serde_json::from_value::<crate::GenesisConfig<Test>>(shorter).is_err());
}

#[test]
#[should_panic(expected = "invalid version \"../1.15.0\"")]
fn a_chain_does_not_start_with_an_invalid_version() {
    on_new_chain(Some(initial("../1.15.0")), || {});
}

#[test]
#[should_panic(expected = "has 65 bytes, 64 are allowed")]
fn a_chain_does_not_start_with_a_version_that_is_too_long() {
    on_new_chain(Some(initial(&"1".repeat(65))), || {});
}

#[test]
fn the_storage_version_is_1_from_the_start() {
    on_new_chain(None, || {
        assert_eq!(VaultRelease::in_code_storage_version(), StorageVersion::new(1));
        assert_eq!(VaultRelease::on_chain_storage_version(), StorageVersion::new(1));
    });
}

#[test]
fn a_state_that_no_call_could_have_made_is_noticed() {
    let genesis = || {
        let storage = frame_system::GenesisConfig::<Test>::default()
            .build_storage()
            .expect("the system's genesis builds");
        sp_io::TestExternalities::from(storage)
    };
    let sound = Release::<Test> {
        sequence: 1,
        version: bytes("1.15.0"),
        binary_checksum: CHECKSUM,
        artifacts: BoundedBTreeMap::new(),
    };

    genesis().execute_with(|| {
        assert_ok!(VaultRelease::check_state());

        CurrentRelease::<Test>::put(sound.clone());
        assert_ok!(VaultRelease::check_state());

        CurrentRelease::<Test>::put(Release { sequence: 0, ..sound.clone() });
        assert!(VaultRelease::check_state().is_err());

        CurrentRelease::<Test>::put(Release { version: bytes("1..5"), ..sound.clone() });
        assert!(VaultRelease::check_state().is_err());
    });
}

#[test]
fn the_call_s_weight_covers_its_storage_accesses() {
    let weight = <() as WeightInfo>::set_vault_release();
    let db = frame_support::weights::constants::RocksDbWeight::get().reads_writes(1, 1);
    assert!(weight.all_gt(db));
}

fn initial(version: &str) -> InitialRelease {
    InitialRelease { version: version.into(), binary_checksum: H256(OTHER_CHECKSUM) }
}

/// Bytes from their hexadecimal digits.
fn hex(digits: &str) -> Vec<u8> {
    sp_core::bytes::from_hex(&format!("0x{digits}")).expect("hexadecimal digits")
}
