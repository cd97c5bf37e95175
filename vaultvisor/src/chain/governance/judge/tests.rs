//! Nothing passes unnoticed, and everything goes as on the chain.

use codec::Encode;

use super::*;
use crate::{
    chain::{
        governance::{
            decoded::decode_call,
            explain::explain,
            forecast::Limits,
            test_runtime::{
                self as runtime, H256, Origin, RuntimeCall, SudoCall, SystemCall, UtilityCall, Weight,
                metadata,
            },
        },
        records::Stated,
    },
    release::{Checksum, Release},
};

/// What came out: verdict, warnings, whether it is only about releases, and the record afterwards.
struct Judged {
    verdict: Verdict,
    warnings: Vec<Warning>,
    only_releases: bool,
    outcomes: Vec<(String, Outcome)>,
    after: Stated,
}

/// Judges a call on a chain at spec version 1 that states 1.0 with checksum 1.
fn judged(call: &RuntimeCall) -> Judged {
    let metadata = metadata();
    let bytes = call.encode();
    let decoded = decode_call(&metadata, &bytes).expect("a native call");
    let mut explained = explain(&decoded, "VaultRelease");
    let current = Release {
        sequence: Some(4),
        version: "1.0".parse().expect("a version"),
        binary_checksum: Checksum([1; 32]),
        uri: None,
        artifacts: Default::default(),
    };
    let mut forecast = Forecast {
        stated: Stated { current: Some(current), pending: None },
        spec_version: 1,
        limits: Limits::of(&metadata, "VaultRelease"),
    };
    let verdict = judge(&mut explained, &mut forecast);
    let mut outcomes = Vec::new();
    explained.walk(&mut |call| outcomes.push((call.name.to_owned(), call.outcome.clone())));
    Judged {
        verdict,
        warnings: warnings(&explained),
        only_releases: is_only_about_releases(&explained),
        outcomes,
        after: forecast.stated,
    }
}

fn weight() -> Weight {
    Weight { ref_time: codec::Compact(1), proof_size: codec::Compact(2) }
}

fn boxed(call: RuntimeCall) -> Box<RuntimeCall> {
    Box::new(call)
}

impl Judged {
    fn current(&self) -> (&str, Option<u64>) {
        let current = self.after.current.as_ref().expect("there was one");
        (current.version.as_str(), current.sequence)
    }

    fn refusals(&self) -> Vec<&'static str> {
        let refused = self.outcomes.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Refused(refusal) => Some(refusal.name()),
            _ => None,
        });
        refused.collect()
    }
}

#[test]
fn a_release_with_its_files_and_its_runtime_is_all_ours() {
    let judged = judged(&runtime::sudo(runtime::batch_all(vec![
        runtime::schedule("1.1", 2, 2),
        runtime::set_artifact("1.1", "args-migration", 3),
        runtime::authorize(4),
    ])));
    assert_eq!(judged.verdict, Verdict::Succeeds);
    assert_eq!(judged.warnings, []);
    assert!(judged.only_releases);
    assert_eq!(judged.current(), ("1.0", Some(4)));
    let pending = judged.after.pending.expect("scheduled");
    assert_eq!((pending.version.as_str(), pending.artifacts.len()), ("1.1", 1));
}

#[test]
fn whatever_is_not_ours_is_said_loudly_however_deep_it_hides() {
    let hidden = runtime::transfer(1_000);
    let wrappers: Vec<RuntimeCall> = vec![
        hidden.clone(),
        runtime::batch_all(vec![runtime::set("1.1", 2), hidden.clone()]),
        runtime::sudo(runtime::batch_all(vec![runtime::sudo(hidden.clone())])),
        RuntimeCall::Utility(UtilityCall::with_weight { call: boxed(hidden.clone()), weight: weight() }),
        RuntimeCall::Sudo(SudoCall::sudo_unchecked_weight { call: boxed(hidden.clone()), weight: weight() }),
        runtime::note(runtime::batch_all(vec![hidden.clone()]).encode()),
        RuntimeCall::Referenda(runtime::ReferendaCall::submit {
            proposal: runtime::Bounded::Inline(hidden.encode()),
        }),
    ];
    for call in wrappers {
        let judged = judged(&call);
        assert!(!judged.only_releases);
        let other = Warning::Other { call: "Balances.transfer_keep_alive".to_owned() };
        assert!(judged.warnings.contains(&other), "{:?}", judged.warnings);
        assert_eq!(judged.verdict, Verdict::Unknown);
    }
}

#[test]
fn a_call_of_our_pallet_that_we_do_not_know_is_not_ours() {
    let judged = judged(&RuntimeCall::VaultRelease(runtime::ReleaseCall::another_call));
    assert!(!judged.only_releases);
    assert_eq!(judged.warnings, [Warning::Other { call: "VaultRelease.another_call".to_owned() }]);
}

#[test]
fn new_code_unchecked_upgrades_and_other_origins_are_pointed_out() {
    let code = RuntimeCall::System(SystemCall::set_code { code: vec![1, 2, 3] });
    assert_eq!(judged(&code).warnings, [Warning::ReplacesCode { call: "System.set_code".to_owned() }]);
    assert!(!judged(&code).only_releases);
    let unchecked =
        RuntimeCall::System(SystemCall::authorize_upgrade_without_checks { code_hash: H256([1; 32]) });
    assert!(matches!(judged(&unchecked).warnings[..], [Warning::UncheckedUpgrade { .. }]));
    for origin in [Origin::Root, Origin::Signed(H256([1; 32]))] {
        let other = RuntimeCall::Utility(UtilityCall::dispatch_as {
            as_origin: Box::new(origin),
            call: boxed(runtime::set("1.1", 2)),
        });
        let judged = judged(&other);
        assert!(matches!(judged.warnings[..], [Warning::ActsAs { .. }]));
        assert_eq!(judged.verdict, Verdict::Unknown);
    }
}

#[test]
fn a_failing_call_undoes_its_batch_stops_it_or_is_passed_over() {
    let calls = || vec![runtime::set("1.1", 2), runtime::cancel(), runtime::set("1.2", 3)];
    let outcomes = |judged: &Judged| {
        let calls = judged.outcomes[1..].iter();
        calls.map(|(_, outcome)| format!("{outcome:?}").chars().take(7).collect()).collect::<Vec<String>>()
    };

    let all = judged(&runtime::batch_all(calls()));
    assert_eq!(outcomes(&all), ["Undone", "Refused", "NotReac"]);
    assert_eq!(all.current(), ("1.0", Some(4)), "all or nothing");

    let some = judged(&RuntimeCall::Utility(UtilityCall::batch { calls: calls() }));
    assert_eq!(outcomes(&some), ["Succeed", "Refused", "NotReac"]);
    assert_eq!(some.current(), ("1.1", Some(5)));

    let each = judged(&RuntimeCall::Utility(UtilityCall::force_batch { calls: calls() }));
    assert_eq!(outcomes(&each), ["Succeed", "Refused", "Succeed"]);
    assert_eq!(each.current(), ("1.2", Some(6)));

    for judged in [all, some, each] {
        assert_eq!(judged.verdict, Verdict::Fails);
        assert_eq!(judged.refusals(), ["NothingScheduled"]);
        assert!(matches!(judged.warnings[..], [Warning::Refused { .. }]));
    }
}

#[test]
fn a_batch_that_stops_and_a_sudo_call_do_not_fail_the_batch_around_them() {
    let stopped = RuntimeCall::Utility(UtilityCall::batch { calls: vec![runtime::cancel()] });
    for inner in [stopped, runtime::sudo(runtime::cancel())] {
        let judged = judged(&runtime::batch_all(vec![inner, runtime::set("1.1", 2)]));
        assert_eq!(judged.current(), ("1.1", Some(5)));
        assert_eq!(judged.verdict, Verdict::Fails);
    }
}

#[test]
fn a_noted_preimage_is_judged_as_if_it_were_made() {
    let judged = judged(&runtime::note(runtime::set("1.1", 2).encode()));
    assert_eq!(judged.verdict, Verdict::Succeeds);
    assert_eq!(judged.current(), ("1.1", Some(5)));
    let strange = self::judged(&runtime::note(b"hello".to_vec()));
    assert!(!strange.only_releases);
    assert!(matches!(strange.warnings[..], [Warning::StrangePreimage { .. }]));
}

#[test]
fn names_that_the_chain_would_not_take_are_refused_by_name() {
    let long = "1".repeat(65);
    for (call, refusal) in [
        (runtime::set("../1", 1), "InvalidVersion"),
        (runtime::set("", 1), "InvalidVersion"),
        (runtime::set(&"x".repeat(64_000), 1), "InvalidVersion"),
        (runtime::set(&long, 1), "TooLong"),
        (runtime::set_artifact("1.0", "A", 1), "InvalidArtifactName"),
        (runtime::set_artifact("1.0", &long, 1), "TooLong"),
        (runtime::set_artifact("2.0", "a", 1), "UnknownRelease"),
        (runtime::remove_artifact("1.0", "a"), "UnknownArtifact"),
        (runtime::schedule("1.1", 1, 1), "SpecVersionNotInFuture"),
        (runtime::schedule("1.0", 2, 2), "VersionInUse"),
        (runtime::cancel(), "NothingScheduled"),
    ] {
        let judged = judged(&call);
        assert_eq!(judged.refusals(), [refusal]);
        assert_eq!(judged.current(), ("1.0", Some(4)));
    }
}
