//! Which byte strings may name a release or a file of it.

use super::*;

pub(super) const REFUSED_ARTIFACT_NAMES: [&str; 17] =
    ["", ".", "-", "_", "..", "-a", "_a", ".a", "a..b", "a..", "a/b", "a b", "A", "aB", "a+b", "a\0", "ä"];

fn is_version(candidate: &[u8]) -> bool {
    let candidate = BoundedVec::try_from(candidate.to_vec()).expect("not longer than 64 bytes");
    Version::<Test>::parse(candidate).is_ok()
}

fn is_artifact_name(candidate: &[u8]) -> bool {
    let candidate = BoundedVec::try_from(candidate.to_vec()).expect("not longer than 64 bytes");
    ArtifactName::<Test>::parse(candidate).is_ok()
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
            assert_noop!(schedule(version, CHECKSUM, FIRST_SPEC + 1), Error::<Test>::InvalidVersion);
        }
        assert_eq!(current().version, bytes("1.15.0"));
        assert!(System::events().is_empty());
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
fn each_byte_of_a_version_is_judged_by_the_rule_and_by_its_place() {
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
fn the_names_that_clients_look_for_are_artifact_names() {
    for name in [
        "args-migration",
        "state-migration",
        "binary-aarch64-unknown-linux-gnu",
        "binary-x86_64-unknown-linux-musl",
        "0",
        "a",
        "a.b_c-d",
        "a.",
    ] {
        assert!(is_artifact_name(name.as_bytes()), "{name} is a fine name");
    }
}

#[test]
fn each_byte_of_an_artifact_name_is_judged_by_the_rule_and_by_its_place() {
    for byte in u8::MIN..=u8::MAX {
        let first = matches!(byte, b'0'..=b'9' | b'a'..=b'z');
        let inner = first || matches!(byte, b'.' | b'_' | b'-');

        assert_eq!(is_artifact_name(&[byte]), first, "{byte:#04x} alone");
        assert_eq!(is_artifact_name(&[byte, b'1']), first, "{byte:#04x} first");
        assert_eq!(is_artifact_name(&[b'1', byte]), inner, "{byte:#04x} last");
        assert_eq!(is_artifact_name(&[b'1', byte, b'0']), inner, "{byte:#04x} inside");
        assert_eq!(is_artifact_name(&[b'1', b'.', byte]), inner && byte != b'.', "{byte:#04x} after a dot");
    }
}

#[test]
fn the_longest_artifact_name_is_accepted_and_one_byte_more_does_not_decode() {
    let call_with_length = |length: usize| {
        let arguments = (bytes("1.15.0"), vec![b'a'; length], CHECKSUM);
        RuntimeCall::decode(&mut &[vec![1, 3], arguments.encode()].concat()[..])
    };
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(set_artifact("1.15.0", &"a".repeat(64), CHECKSUM));
        assert!(call_with_length(64).is_ok());
        assert!(call_with_length(65).is_err());
        assert!(call_with_length(64 * 1024).is_err());
    });
}
