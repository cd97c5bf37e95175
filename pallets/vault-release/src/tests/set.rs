//! `set_vault_release`.

use super::*;

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

#[test]
fn a_scheduled_release_stays_scheduled() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("2.0.0", CHECKSUM, FIRST_SPEC + 1));
        let scheduled = pending();
        assert_ok!(set("1.16.0", CHECKSUM));
        assert_eq!(pending(), scheduled);
    });
}

#[test]
fn the_version_in_force_may_be_set_with_another_binary() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(set("1.15.0", CHECKSUM));
        assert_eq!((current().binary_checksum, current().sequence), (CHECKSUM, 2));
    });
}
