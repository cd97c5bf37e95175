//! `schedule_vault_release` and `cancel_scheduled_release`.

use super::*;

#[test]
fn a_scheduled_release_waits_and_changes_nothing_yet() {
    on_new_chain(Some(initial("1.15.0")), || {
        let in_force = current();

        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));

        assert_eq!(current(), in_force);
        assert_eq!(
            pending(),
            Pending {
                version: bytes("1.16.0"),
                binary_checksum: CHECKSUM,
                artifacts: files([]),
                spec_version: FIRST_SPEC + 1,
            }
        );
        let scheduled = Event::VaultClientUpdateScheduled {
            version: bytes("1.16.0"),
            binary_checksum: CHECKSUM,
            spec_version: FIRST_SPEC + 1,
        };
        assert_eq!(events(), [scheduled]);
    });
}

#[test]
fn a_release_can_be_scheduled_before_any_is_in_force() {
    on_new_chain(None, || {
        assert_ok!(schedule("1.16.0", CHECKSUM, u32::MAX));
        assert_eq!(CurrentRelease::<Test>::get(), None);
        assert_eq!(pending().spec_version, u32::MAX);
    });
}

#[test]
fn a_release_for_a_runtime_that_runs_or_has_passed_is_not_scheduled() {
    on_new_chain(Some(initial("1.15.0")), || {
        for spec_version in [0, FIRST_SPEC - 1, FIRST_SPEC] {
            assert_noop!(schedule("1.16.0", CHECKSUM, spec_version), Error::<Test>::SpecVersionNotInFuture);
        }
        upgrade_to(FIRST_SPEC + 5);
        assert_noop!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 5), Error::<Test>::SpecVersionNotInFuture);
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 6));
    });
}

#[test]
fn scheduling_over_a_scheduled_release_cancels_that_first() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        assert_ok!(set_artifact("1.16.0", "args-migration", CHECKSUM));
        System::reset_events();

        // Also with the same version and another binary: nothing of the first one is left.
        assert_ok!(schedule("1.16.0", OTHER_CHECKSUM, FIRST_SPEC + 2));

        assert_eq!(
            pending(),
            Pending {
                version: bytes("1.16.0"),
                binary_checksum: OTHER_CHECKSUM,
                artifacts: files([]),
                spec_version: FIRST_SPEC + 2,
            }
        );
        let cancelled =
            Event::VaultClientUpdateCancelled { version: bytes("1.16.0"), binary_checksum: CHECKSUM };
        let scheduled = Event::VaultClientUpdateScheduled {
            version: bytes("1.16.0"),
            binary_checksum: OTHER_CHECKSUM,
            spec_version: FIRST_SPEC + 2,
        };
        assert_eq!(events(), [cancelled, scheduled]);
    });
}

#[test]
fn a_refused_schedule_leaves_the_scheduled_release_alone() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        let scheduled = pending();

        assert_noop!(schedule("1..17", CHECKSUM, FIRST_SPEC + 1), Error::<Test>::InvalidVersion);
        assert_noop!(schedule("1.17.0", CHECKSUM, FIRST_SPEC), Error::<Test>::SpecVersionNotInFuture);
        assert_noop!(schedule("1.15.0", CHECKSUM, FIRST_SPEC + 1), Error::<Test>::VersionInUse);

        assert_eq!(pending(), scheduled);
    });
}

#[test]
fn the_version_in_force_may_be_scheduled_with_the_same_binary_only() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_noop!(schedule("1.15.0", CHECKSUM, FIRST_SPEC + 1), Error::<Test>::VersionInUse);
        assert_ok!(schedule("1.15.0", OTHER_CHECKSUM, FIRST_SPEC + 1));
    });
}

#[test]
fn the_scheduled_version_may_be_set_with_the_same_binary_only() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        assert_noop!(set("1.16.0", OTHER_CHECKSUM), Error::<Test>::VersionInUse);
        assert_ok!(set("1.16.0", CHECKSUM));
        assert_eq!(pending().version, bytes("1.16.0"));
    });
}

#[test]
fn cancelling_forgets_the_scheduled_release_and_nothing_else() {
    on_new_chain(Some(initial("1.15.0")), || {
        let in_force = current();
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        System::reset_events();

        assert_ok!(cancel());

        assert_eq!(stored(), (Some(in_force), None));
        let cancelled =
            Event::VaultClientUpdateCancelled { version: bytes("1.16.0"), binary_checksum: CHECKSUM };
        assert_eq!(events(), [cancelled]);
    });
}

#[test]
fn with_nothing_scheduled_there_is_nothing_to_cancel() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_noop!(cancel(), Error::<Test>::NothingScheduled);
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        assert_ok!(cancel());
        assert_noop!(cancel(), Error::<Test>::NothingScheduled);
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        upgrade_to(FIRST_SPEC + 1);
        assert_noop!(cancel(), Error::<Test>::NothingScheduled);
    });
}
