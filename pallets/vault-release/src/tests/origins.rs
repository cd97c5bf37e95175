//! Who may do what.

use super::*;

/// One of each call, each of which root could make on the chain of [`chain`].
fn calls() -> [(&'static str, RuntimeCall); 5] {
    use crate::Call;
    let version = || bytes("1.15.0");
    let calls = [
        ("set", Call::set_vault_release { version: bytes("1.16.0"), binary_checksum: CHECKSUM }),
        (
            "schedule",
            Call::schedule_vault_release {
                version: bytes("1.17.0"),
                binary_checksum: CHECKSUM,
                spec_version: FIRST_SPEC + 1,
            },
        ),
        ("cancel", Call::cancel_scheduled_release {}),
        (
            "set artifact",
            Call::set_release_artifact {
                version: version(),
                name: name("state-migration"),
                checksum: CHECKSUM,
            },
        ),
        (
            "remove artifact",
            Call::remove_release_artifact { version: version(), name: name("args-migration") },
        ),
    ];
    calls.map(|(what, call)| (what, call.into()))
}

/// A release with a file in force, and another one scheduled.
fn chain() -> sp_io::TestExternalities {
    let mut chain = new_chain_with(Some(initial("1.15.0")));
    chain.execute_with(|| {
        assert_ok!(set_artifact("1.15.0", "args-migration", CHECKSUM));
        assert_ok!(schedule("1.17.0", CHECKSUM, FIRST_SPEC + 2));
        System::reset_events();
    });
    chain
}

fn dispatch(call: RuntimeCall, origin: RuntimeOrigin) -> DispatchResult {
    use frame_support::traits::UnfilteredDispatchable;
    call.dispatch_bypass_filter(origin).map(drop).map_err(|refused| refused.error)
}

#[test]
fn root_and_the_council_may_make_every_call() {
    for origin in [RuntimeOrigin::root(), RuntimeOrigin::signed(COUNCIL)] {
        for (what, call) in calls() {
            chain().execute_with(|| assert_eq!(dispatch(call, origin.clone()), Ok(()), "{what}"));
        }
    }
}

#[test]
fn a_guard_may_cancel_and_nothing_else() {
    for (what, call) in calls() {
        chain().execute_with(|| {
            let before = stored();
            let outcome = dispatch(call, RuntimeOrigin::signed(GUARD));
            if what == "cancel" {
                assert_eq!(outcome, Ok(()));
                assert_eq!(stored(), (before.0, None));
            } else {
                assert_eq!(outcome, Err(DispatchError::BadOrigin), "{what}");
                assert_eq!(stored(), before, "{what}");
                assert_eq!(events(), [], "{what}");
            }
        });
    }
}

#[test]
fn nobody_else_may_make_any_call() {
    for origin in [RuntimeOrigin::none(), RuntimeOrigin::signed(STRANGER), RuntimeOrigin::signed(0)] {
        for (what, call) in calls() {
            chain().execute_with(|| {
                let root = sp_io::storage::root(Default::default());
                assert_eq!(dispatch(call, origin.clone()), Err(DispatchError::BadOrigin), "{what}");
                assert_eq!(sp_io::storage::root(Default::default()), root, "{what}");
            });
        }
    }
}

#[test]
fn an_unauthorised_caller_learns_nothing_about_the_arguments() {
    let stranger = || RuntimeOrigin::signed(STRANGER);
    on_new_chain(None, || {
        let bad = DispatchError::BadOrigin;
        assert_noop!(VaultRelease::set_vault_release(stranger(), bytes(".."), CHECKSUM), bad);
        assert_noop!(VaultRelease::schedule_vault_release(stranger(), bytes(".."), CHECKSUM, 0), bad);
        assert_noop!(VaultRelease::cancel_scheduled_release(stranger()), bad);
        assert_noop!(VaultRelease::set_release_artifact(stranger(), bytes(""), name(".."), CHECKSUM), bad);
        assert_noop!(VaultRelease::remove_release_artifact(stranger(), bytes(""), name("..")), bad);
    });
}
