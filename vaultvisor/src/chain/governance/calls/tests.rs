//! What is encoded here is what the runtime would have encoded.

use codec::Encode;

use super::*;
use crate::chain::governance::test_runtime::{self as runtime, metadata, metadata_without};

fn artifacts(files: &[(&str, u8)]) -> Artifacts {
    files.iter().map(|(name, sum)| (name.parse().expect("a name"), Checksum([*sum; 32]))).collect()
}

fn proposal(calls: Vec<ReleaseCall>) -> Proposal {
    Proposal {
        pallet: "VaultRelease".to_owned(),
        steps: calls.into_iter().map(Step::Release).collect(),
        sudo: false,
    }
}

fn statement(spec_version: Option<u32>, files: &[(&str, u8)]) -> Proposal {
    let version = "1.16.0".parse().expect("a version");
    proposal(ReleaseCall::statement(&version, Checksum([1; 32]), spec_version, &artifacts(files)))
}

#[test]
fn one_call_stays_bare_and_several_are_one_batch() {
    let metadata = metadata();
    let encoded = |proposal: Proposal| proposal.encode(&metadata).expect("fits");
    assert_eq!(encoded(statement(None, &[])), runtime::set("1.16.0", 1).encode());
    assert_eq!(encoded(statement(Some(2), &[])), runtime::schedule("1.16.0", 1, 2).encode());
    assert_eq!(encoded(proposal(vec![ReleaseCall::Cancel])), runtime::cancel().encode());
    let expected = runtime::batch_all(vec![
        runtime::schedule("1.16.0", 1, 2),
        runtime::set_artifact("1.16.0", "a", 7),
        runtime::set_artifact("1.16.0", "b", 8),
    ]);
    assert_eq!(encoded(statement(Some(2), &[("b", 8), ("a", 7)])), expected.encode());
}

#[test]
fn the_upgrade_comes_last_and_sudo_around_all() {
    let mut proposal = statement(Some(2), &[]);
    proposal.steps.push(Step::AuthorizeUpgrade { code_hash: Blake2Hash([3; 32]) });
    proposal.sudo = true;
    let expected =
        runtime::sudo(runtime::batch_all(vec![runtime::schedule("1.16.0", 1, 2), runtime::authorize(3)]));
    assert_eq!(proposal.encode(&metadata()).expect("fits"), expected.encode());
    assert_eq!(
        proposal.names(),
        "Utility.batch_all of VaultRelease.schedule_vault_release and System.authorize_upgrade"
    );
}

#[test]
fn removing_a_file_names_version_and_file() {
    let version = "1.16.0".parse().expect("a version");
    let call = ReleaseCall::RemoveArtifact { version, name: "a".parse().expect("a name") };
    let bytes = proposal(vec![call]).encode(&metadata()).expect("fits");
    assert_eq!(bytes, runtime::remove_artifact("1.16.0", "a").encode());
}

#[test]
fn a_preimage_is_noted_by_the_runtimes_own_call() {
    let bytes = runtime::cancel().encode();
    assert_eq!(note_preimage(&bytes, &metadata()), Some(runtime::note(bytes.clone()).encode()));
    assert_eq!(note_preimage(&bytes, &metadata_without("Preimage")), None);
}

#[test]
fn what_the_runtime_lacks_is_named_with_what_to_do() {
    let refused = |proposal: &Proposal, absent: &str| {
        proposal.encode(&metadata_without(absent)).expect_err("refused").to_string()
    };
    let batch = statement(None, &[("a", 1)]);
    assert!(refused(&batch, "Utility").contains("Utility.batch_all"));
    assert!(refused(&batch, "VaultRelease").contains("does not state releases"));
    let mut sudo = statement(None, &[]);
    sudo.sudo = true;
    assert!(refused(&sudo, "Sudo").contains("governance has to make the call"));
    assert!(sudo.encode(&metadata_without("Utility")).is_ok(), "one call needs no batch");

    let other = Proposal { pallet: "Vaults".to_owned(), ..statement(None, &[]) };
    let said = other.encode(&metadata()).expect_err("no such pallet").to_string();
    assert!(said.contains("--pallet VaultRelease"), "{said}");
    let other = Proposal { pallet: "Balances".to_owned(), ..statement(None, &[]) };
    let said = other.encode(&metadata()).expect_err("another pallet").to_string();
    assert!(said.contains("Balances") && said.contains("set_vault_release"), "{said}");
}

#[test]
fn names_over_the_runtimes_bounds_are_refused() {
    let long = "1".repeat(65);
    let version: Version = long.parse().expect("our own bound is wider");
    let calls = ReleaseCall::statement(&version, Checksum([1; 32]), None, &Artifacts::new());
    let error = proposal(calls).encode(&metadata()).expect_err("refused");
    assert!(matches!(error, CallError::Refused { .. }), "{error:?}");
    let error = statement(None, &[(&long, 1)]).encode(&metadata()).expect_err("refused");
    assert!(matches!(error, CallError::Refused { .. }), "{error:?}");
}

#[test]
fn what_the_record_does_not_allow_is_refused_with_the_call() {
    let forecast = Forecast { stated: Default::default(), spec_version: 2, limits: Limits::default() };
    let error = statement(Some(2), &[]).forecast(forecast.clone()).expect_err("it runs already");
    assert_eq!(error.to_string(), "VaultRelease.schedule_vault_release would be refused");
    let files = statement(None, &[("a", 1), ("b", 1), ("c", 1)]);
    let limits = Limits { artifacts: Some(2), ..Limits::default() };
    assert!(files.forecast(Forecast { limits, ..forecast.clone() }).is_err());
    assert!(files.forecast(forecast).is_ok());
}
