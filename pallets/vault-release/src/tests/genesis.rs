//! How a chain starts.

use super::*;

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
        assert_eq!(stored(), (None, None));
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
