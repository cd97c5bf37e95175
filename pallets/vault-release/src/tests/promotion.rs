//! What a runtime upgrade does with the scheduled release.

use super::*;

#[docify::export]
#[test]
fn a_scheduled_release_comes_into_force_with_its_runtime() {
    on_new_chain(None, || {
        let root = RuntimeOrigin::root;
        assert_ok!(VaultRelease::set_vault_release(root(), bytes("1.15.0"), [0xab; 32]));
        assert_ok!(VaultRelease::schedule_vault_release(root(), bytes("1.16.0"), [0xcd; 32], 101));
        assert_eq!(current().version, bytes("1.15.0"));

        upgrade_to(101);

        assert_eq!(current().version, bytes("1.16.0"));
        assert_eq!(current().sequence, 2);
        assert_eq!(PendingRelease::<Test>::get(), None);
        System::assert_last_event(
            Event::VaultClientUpdate { version: bytes("1.16.0"), binary_checksum: [0xcd; 32] }.into(),
        );
    });
}

#[test]
fn its_artifacts_come_with_it_and_those_of_the_old_one_go() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(set_artifact("1.15.0", "state-migration", OTHER_CHECKSUM));
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        assert_ok!(set_artifact("1.16.0", "args-migration", CHECKSUM));

        upgrade_to(FIRST_SPEC + 1);

        assert_eq!(
            current(),
            Release {
                sequence: 3,
                version: bytes("1.16.0"),
                binary_checksum: CHECKSUM,
                artifacts: files([("args-migration", CHECKSUM)]),
            }
        );
        let update = Event::VaultClientUpdate { version: bytes("1.16.0"), binary_checksum: CHECKSUM };
        assert_eq!(events(), [update]);
    });
}

#[test]
fn the_first_release_of_a_chain_can_come_with_an_upgrade() {
    on_new_chain(None, || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        upgrade_to(FIRST_SPEC + 1);
        assert_eq!((current().version, current().sequence), (bytes("1.16.0"), 1));
    });
}

#[test]
fn a_skipped_spec_version_promotes_too() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        upgrade_to(FIRST_SPEC + 7);
        assert_eq!(current().version, bytes("1.16.0"));
        assert_eq!(PendingRelease::<Test>::get(), None);
    });
}

#[test]
fn an_earlier_runtime_leaves_it_scheduled() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 5));
        let before = stored();
        upgrade_to(FIRST_SPEC + 4);
        assert_eq!(stored(), before);
        assert_eq!(events(), []);
        upgrade_to(FIRST_SPEC + 5);
        assert_eq!(current().version, bytes("1.16.0"));
    });
}

#[test]
fn schedule_then_set_then_upgrade_ends_with_the_scheduled_release() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("2.0.0", CHECKSUM, FIRST_SPEC + 1));
        // A fix for the runtime that still runs does not touch what the next one needs.
        assert_ok!(set("1.15.1", OTHER_CHECKSUM));
        assert_eq!((current().version, current().sequence), (bytes("1.15.1"), 2));
        assert_eq!(pending().version, bytes("2.0.0"));

        upgrade_to(FIRST_SPEC + 1);

        assert_eq!((current().version, current().sequence), (bytes("2.0.0"), 3));
        assert_eq!(PendingRelease::<Test>::get(), None);
    });
}

#[test]
fn schedule_then_cancel_then_set_ends_with_the_set_release() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("2.0.0", CHECKSUM, FIRST_SPEC + 1));
        assert_ok!(cancel());
        // The version is free again, with whatever binary.
        assert_ok!(set("2.0.0", OTHER_CHECKSUM));
        let in_force = current();
        assert_eq!((in_force.version.clone(), in_force.sequence), (bytes("2.0.0"), 2));

        upgrade_to(FIRST_SPEC + 1);

        assert_eq!(stored(), (Some(in_force), None));
        assert_eq!(events(), []);
    });
}

#[test]
fn the_version_in_force_can_be_promoted_and_is_a_new_statement() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.15.0", OTHER_CHECKSUM, FIRST_SPEC + 1));
        upgrade_to(FIRST_SPEC + 1);
        assert_eq!((current().version, current().sequence), (bytes("1.15.0"), 2));
    });
}

#[test]
fn the_hook_repeated_changes_nothing() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        upgrade_to(FIRST_SPEC + 1);
        let promoted = stored();
        for _ in 0..3 {
            upgrade_to(FIRST_SPEC + 1);
            assert_eq!(stored(), promoted);
            assert_eq!(events(), []);
        }
    });
}

#[test]
fn the_hook_alone_does_nothing_while_the_runtime_is_the_same() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        let before = stored();
        VaultRelease::on_runtime_upgrade();
        assert_eq!(stored(), before);
    });
}

#[test]
fn with_nothing_pending_the_hook_is_one_read() {
    let mut chain = new_chain_with(Some(initial("1.15.0")));
    chain.commit_all().expect("genesis is committed");

    // What the hook touches is what is in its proof.
    let before = chain.execute_with(|| sp_io::storage::root(Default::default()));
    let (weight, hook) = chain.execute_and_prove(VaultRelease::on_runtime_upgrade);
    let (_, one_read) =
        chain.execute_and_prove(|| sp_io::storage::get(&PendingRelease::<Test>::hashed_key()));
    assert_eq!(hook.encode(), one_read.encode());
    let after = chain.execute_with(|| sp_io::storage::root(Default::default()));
    assert_eq!(before, after, "nothing is written");

    // And that is what it is charged: the mock's prices are far above the time for anything else.
    let db = crate::mock::DbWeight::get();
    assert_eq!(weight.ref_time() / db.read, 1);
}

#[test]
fn a_promotion_is_charged_for_what_it_writes() {
    on_new_chain(Some(initial("1.15.0")), || {
        assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
        let weight = upgrade_to(FIRST_SPEC + 1);
        let db = crate::mock::DbWeight::get();
        assert!(weight.ref_time() >= db.reads_writes(2, 2).ref_time(), "{weight:?}");
        assert_eq!(weight, <Test as crate::Config>::WeightInfo::promote_scheduled_release());
    });
}

/// The rehearsal must be able to fail, or it proves nothing.
#[cfg(feature = "try-runtime")]
mod rehearsal {
    use super::*;

    fn scheduled() -> sp_io::TestExternalities {
        let mut chain = new_chain_with(Some(initial("1.15.0")));
        chain.execute_with(|| {
            assert_ok!(schedule("1.16.0", CHECKSUM, FIRST_SPEC + 1));
            SpecVersion::set(FIRST_SPEC + 1);
        });
        chain
    }

    #[test]
    fn a_release_that_was_due_and_is_not_in_force_fails_it() {
        scheduled().execute_with(|| {
            let before = VaultRelease::pre_upgrade().expect("a sound state");
            assert!(VaultRelease::post_upgrade(before).is_err());
        });
    }

    #[test]
    fn a_release_that_is_still_scheduled_afterwards_fails_it() {
        scheduled().execute_with(|| {
            let waiting = pending();
            let before = VaultRelease::pre_upgrade().expect("a sound state");
            VaultRelease::on_runtime_upgrade();
            PendingRelease::<Test>::put(waiting);
            assert!(VaultRelease::post_upgrade(before).is_err());
        });
    }

    #[test]
    fn a_statement_that_does_not_count_fails_it() {
        scheduled().execute_with(|| {
            let before = VaultRelease::pre_upgrade().expect("a sound state");
            VaultRelease::on_runtime_upgrade();
            CurrentRelease::<Test>::mutate_extant(|release| release.sequence = 1);
            assert!(VaultRelease::post_upgrade(before).is_err());
        });
    }

    #[test]
    fn a_change_with_nothing_due_fails_it() {
        on_new_chain(Some(initial("1.15.0")), || {
            let before = VaultRelease::pre_upgrade().expect("a sound state");
            assert_ok!(set("1.16.0", CHECKSUM));
            assert!(VaultRelease::post_upgrade(before.clone()).is_err());
            assert!(VaultRelease::post_upgrade(before[1..].to_vec()).is_err());
        });
    }
}
