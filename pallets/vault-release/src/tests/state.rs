//! `try_state` knows a state that no call could have made.

use super::*;

fn release() -> Release<Test> {
    Release { sequence: 1, version: bytes("1.15.0"), binary_checksum: CHECKSUM, artifacts: files([]) }
}

fn scheduled() -> Pending<Test> {
    Pending {
        version: bytes("1.16.0"),
        binary_checksum: CHECKSUM,
        artifacts: files([]),
        spec_version: FIRST_SPEC + 1,
    }
}

/// What the check says about a chain with these values.
fn check(current: Option<Release<Test>>, pending: Option<Pending<Test>>) -> Result<(), &'static str> {
    new_chain_with(None).execute_with(|| {
        CurrentRelease::<Test>::set(current);
        PendingRelease::<Test>::set(pending);
        VaultRelease::check_state()
    })
}

/// A map with a key that no call lets in.
fn bad_files() -> Artifacts<Test> {
    files([("../state-migration", CHECKSUM)])
}

#[test]
fn every_mix_of_sound_releases_is_sound() {
    let same_version = Pending { version: release().version, ..scheduled() };
    for current in [None, Some(release())] {
        for pending in [None, Some(scheduled()), Some(same_version.clone())] {
            assert_eq!(check(current.clone(), pending), Ok(()));
        }
    }
}

#[test]
fn statements_count_from_one() {
    assert!(check(Some(Release { sequence: 0, ..release() }), None).is_err());
}

#[test]
fn names_follow_the_rules() {
    assert!(check(Some(Release { version: bytes("1..5"), ..release() }), None).is_err());
    assert!(check(Some(Release { artifacts: bad_files(), ..release() }), None).is_err());
    assert!(check(None, Some(Pending { version: bytes(""), ..scheduled() })).is_err());
    assert!(check(None, Some(Pending { artifacts: bad_files(), ..scheduled() })).is_err());
}

#[test]
fn what_is_scheduled_waits_for_a_later_runtime() {
    for passed in [0, FIRST_SPEC - 1, FIRST_SPEC] {
        assert!(check(None, Some(Pending { spec_version: passed, ..scheduled() })).is_err());
    }
}

#[test]
fn one_version_is_one_binary() {
    let other = Pending { version: release().version, binary_checksum: OTHER_CHECKSUM, ..scheduled() };
    assert!(check(Some(release()), Some(other)).is_err());
}

#[test]
fn bytes_that_are_no_release_are_noticed() {
    for key in [CurrentRelease::<Test>::hashed_key(), PendingRelease::<Test>::hashed_key()] {
        new_chain_with(None).execute_with(|| {
            sp_io::storage::set(&key, b"no release");
            assert!(VaultRelease::check_state().is_err());
        });
    }
}

#[test]
fn statements_are_counted_on_from_one_that_this_runtime_cannot_decode() {
    new_chain_with(None).execute_with(|| {
        let longer = vec![b'1'; MaxVersionLength::get() as usize + 1];
        let of_other_bounds = (7_u64, longer, CHECKSUM, Vec::<(Vec<u8>, Checksum)>::new());
        sp_io::storage::set(&CurrentRelease::<Test>::hashed_key(), &of_other_bounds.encode());
        assert_eq!(CurrentRelease::<Test>::get(), None);
        assert_ok!(VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes("1.16.0"), CHECKSUM));
        assert_eq!(CurrentRelease::<Test>::get().map(|release| release.sequence), Some(8));
    });
}

/// The hook that the tools call is this check.
#[cfg(feature = "try-runtime")]
#[test]
fn try_state_is_this_check() {
    new_chain_with(None).execute_with(|| {
        assert_ok!(VaultRelease::try_state(1));
        CurrentRelease::<Test>::put(Release { sequence: 0, ..release() });
        assert!(VaultRelease::try_state(1).is_err());
    });
}
