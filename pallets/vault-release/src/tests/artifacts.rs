//! `set_release_artifact` and `remove_release_artifact`.

use super::*;

#[docify::export]
#[test]
fn a_release_gets_further_files() {
    on_new_chain(None, || {
        let root = RuntimeOrigin::root;
        assert_ok!(VaultRelease::set_vault_release(root(), bytes("1.16.0"), [0xab; 32]));
        assert_ok!(VaultRelease::set_release_artifact(
            root(),
            bytes("1.16.0"),
            name("args-migration"),
            [0xcd; 32],
        ));

        assert_eq!(current().artifacts.get(&name("args-migration")), Some(&[0xcd; 32]));
        assert_eq!(current().sequence, 2);
        System::assert_last_event(
            Event::ReleaseArtifactSet {
                version: bytes("1.16.0"),
                name: name("args-migration"),
                checksum: [0xcd; 32],
            }
            .into(),
        );
    });
}

#[test]
fn a_file_can_get_another_checksum() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(set_artifact("1.15.0", "args-migration", CHECKSUM));
        assert_ok!(set_artifact("1.15.0", "args-migration", OTHER_CHECKSUM));
        assert_eq!(current().artifacts, files([("args-migration", OTHER_CHECKSUM)]));
        assert_eq!(current().sequence, 3);
    });
}

#[test]
fn the_rest_of_the_release_stays_as_it_was() {
    on_new_chain(Some(initial("1.15.0")), || {
        let before = current();
        assert_ok!(set_artifact("1.15.0", "args-migration", CHECKSUM));
        assert_ok!(set_artifact("1.15.0", "state-migration", CHECKSUM));
        assert_ok!(remove_artifact("1.15.0", "args-migration"));
        assert_eq!(
            current(),
            Release { sequence: 4, artifacts: files([("state-migration", CHECKSUM)]), ..before }
        );
    });
}

#[test]
fn only_the_slot_that_holds_the_version_changes() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        let (in_force, scheduled) = (current(), pending());

        assert_ok!(set_artifact("1.16.0", "args-migration", CHECKSUM));
        assert_eq!(current(), in_force);
        assert_eq!(pending().artifacts, files([("args-migration", CHECKSUM)]));
        assert_ok!(remove_artifact("1.16.0", "args-migration"));
        assert_eq!((current(), pending()), (in_force, scheduled.clone()));

        assert_ok!(set_artifact("1.15.0", "args-migration", CHECKSUM));
        assert_eq!(pending(), scheduled);
        assert_eq!((current().sequence, current().artifacts), (2, files([("args-migration", CHECKSUM)])));
    });
}

#[test]
fn a_version_in_both_slots_changes_in_both() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.15.0", OTHER_CHECKSUM, FIRST_SPEC + 1));

        assert_ok!(set_artifact("1.15.0", "args-migration", CHECKSUM));
        assert_eq!(current().artifacts, files([("args-migration", CHECKSUM)]));
        assert_eq!(pending().artifacts, current().artifacts);

        assert_ok!(remove_artifact("1.15.0", "args-migration"));
        assert_eq!(current().artifacts, files([]));
        assert_eq!(pending().artifacts, files([]));
        assert_eq!(current().sequence, 3);
    });
}

#[test]
fn a_file_that_only_one_of_the_slots_has_is_removed_there_only() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(set_artifact("1.15.0", "args-migration", CHECKSUM));
        assert_ok!(schedule("1.15.0", OTHER_CHECKSUM, FIRST_SPEC + 1));
        let scheduled = pending();
        assert_ok!(remove_artifact("1.15.0", "args-migration"));
        assert_eq!(current().artifacts, files([]));
        assert_eq!(pending(), scheduled);

        assert_ok!(schedule("1.15.0", OTHER_CHECKSUM, FIRST_SPEC + 1));
        PendingRelease::<Test>::mutate_extant(|it| it.artifacts = files([("state-migration", CHECKSUM)]));
        let in_force = current();
        assert_ok!(remove_artifact("1.15.0", "state-migration"));
        // Not written, so no new statement.
        assert_eq!(current(), in_force);
        assert_eq!(pending().artifacts, files([]));
    });
}

#[test]
fn removing_tells_what_was_removed() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(set_artifact("1.15.0", "args-migration", CHECKSUM));
        System::reset_events();
        assert_ok!(remove_artifact("1.15.0", "args-migration"));
        let removed =
            Event::ReleaseArtifactRemoved { version: bytes("1.15.0"), name: name("args-migration") };
        assert_eq!(events(), [removed]);
    });
}

#[test]
fn there_is_no_file_for_a_release_that_nobody_stated() {
    on_new_chain(None, || {
        assert_noop!(set_artifact("1.15.0", "args-migration", CHECKSUM), Error::<Test>::UnknownRelease);
        assert_noop!(remove_artifact("1.15.0", "args-migration"), Error::<Test>::UnknownRelease);
    });
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        // The last one is no version at all, so nothing of that name can have been stated.
        for unknown in ["1.15", "1.15.00", "1.17.0", "", "..", "a/b"] {
            assert_noop!(set_artifact(unknown, "args-migration", CHECKSUM), Error::<Test>::UnknownRelease);
            assert_noop!(remove_artifact(unknown, "args-migration"), Error::<Test>::UnknownRelease);
        }
    });
}

#[test]
fn a_file_that_is_not_there_can_t_be_removed() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(set_artifact("1.15.0", "args-migration", CHECKSUM));
        for unknown in ["state-migration", "args-migratio", "", "ARGS-MIGRATION", "../args-migration"] {
            assert_noop!(remove_artifact("1.15.0", unknown), Error::<Test>::UnknownArtifact);
        }
    });
}

#[test]
fn one_file_too_many_is_refused_and_a_full_release_can_still_be_corrected() {
    on_new_chain(Some(initial("1.15.0")), || {
        for n in 0..16 {
            assert_ok!(set_artifact("1.15.0", &format!("file-{n}"), CHECKSUM));
        }
        assert_eq!(current().artifacts.len(), 16);

        assert_noop!(set_artifact("1.15.0", "file-16", CHECKSUM), Error::<Test>::TooManyArtifacts);

        assert_ok!(set_artifact("1.15.0", "file-3", OTHER_CHECKSUM));
        assert_ok!(remove_artifact("1.15.0", "file-4"));
        assert_ok!(set_artifact("1.15.0", "file-16", CHECKSUM));
        assert_eq!(current().artifacts.len(), 16);
    });
}

#[test]
fn with_the_version_in_both_slots_one_that_is_full_keeps_both_as_they_are() {
    on_new_chain(Some(initial("1.15.0")), || {
        for full_is_in_force in [true, false] {
            assert_ok!(set("1.15.0", OTHER_CHECKSUM));
            assert_ok!(schedule("1.15.0", OTHER_CHECKSUM, FIRST_SPEC + 1));
            let mut full = files([]);
            for n in 0..16 {
                full.try_insert(name(&format!("file-{n}")), CHECKSUM).expect("16 may be");
            }
            match full_is_in_force {
                true => CurrentRelease::<Test>::mutate_extant(|it| it.artifacts = full),
                false => PendingRelease::<Test>::mutate_extant(|it| it.artifacts = full),
            }
            assert_noop!(set_artifact("1.15.0", "one-more", CHECKSUM), Error::<Test>::TooManyArtifacts);
        }
    });
}

#[test]
fn a_refused_name_changes_nothing() {
    on_new_chain(Some(initial("1.15.0")), || {
        for refused in names::REFUSED_ARTIFACT_NAMES {
            assert_noop!(set_artifact("1.15.0", refused, CHECKSUM), Error::<Test>::InvalidArtifactName);
        }
    });
}
