//! The rules of the pallet, each refusal with nothing changed.

use super::*;

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn name(text: &str) -> ArtifactName {
    text.parse().expect("a name")
}

fn set(text: &str, checksum: u8) -> ReleaseCall {
    ReleaseCall::Set { version: version(text), checksum: Checksum([checksum; 32]) }
}

fn schedule(text: &str, checksum: u8, spec_version: u32) -> ReleaseCall {
    ReleaseCall::Schedule { version: version(text), checksum: Checksum([checksum; 32]), spec_version }
}

fn add(text: &str, file: &str, checksum: u8) -> ReleaseCall {
    ReleaseCall::SetArtifact { version: version(text), name: name(file), checksum: Checksum([checksum; 32]) }
}

fn remove(text: &str, file: &str) -> ReleaseCall {
    ReleaseCall::RemoveArtifact { version: version(text), name: name(file) }
}

/// A chain at spec version 10 on which these calls were made.
fn after(calls: &[ReleaseCall]) -> Forecast {
    let limits = Limits { version_bytes: Some(64), artifact_name_bytes: Some(64), artifacts: Some(2) };
    let mut forecast = Forecast { stated: Stated::default(), spec_version: 10, limits };
    for call in calls {
        forecast.apply(call).expect("fits");
    }
    forecast
}

fn is_refused(before: &Forecast, call: &ReleaseCall) -> &'static str {
    let mut forecast = before.clone();
    let refusal = forecast.apply(call).expect_err("refused");
    assert_eq!(forecast, *before, "{refusal}: something changed");
    refusal.name()
}

#[test]
fn each_statement_counts_one_and_starts_without_files() {
    let first = after(&[set("1", 1)]).stated.current.expect("set");
    assert_eq!((first.sequence, first.artifacts.len()), (Some(1), 0));
    let second = after(&[set("1", 1), add("1", "a", 2), set("1", 1)]).stated.current.expect("set");
    assert_eq!((second.sequence, second.artifacts.len()), (Some(3), 0));
}

#[test]
fn setting_leaves_what_is_scheduled() {
    let pending = after(&[schedule("2", 2, 11), set("1", 1)]).stated.pending.expect("scheduled");
    assert_eq!((pending.version.as_str(), pending.spec_version), ("2", Some(11)));
}

#[test]
fn scheduling_replaces_what_is_scheduled_and_needs_a_runtime_to_come() {
    let pending = after(&[schedule("2", 2, 11), schedule("3", 3, 12)]).stated.pending.expect("scheduled");
    assert_eq!(pending.version.as_str(), "3");
    for spec_version in [0, 9, 10] {
        assert_eq!(is_refused(&after(&[]), &schedule("2", 2, spec_version)), "SpecVersionNotInFuture");
    }
}

#[test]
fn one_version_is_one_binary_in_both_slots() {
    assert_eq!(is_refused(&after(&[set("1", 1)]), &schedule("1", 2, 11)), "VersionInUse");
    assert_eq!(is_refused(&after(&[schedule("1", 1, 11)]), &set("1", 2)), "VersionInUse");
    after(&[set("1", 1), schedule("1", 1, 11), set("1", 1)]);
    // In its own slot the version may be given another binary.
    after(&[set("1", 1), set("1", 2), schedule("2", 1, 11), schedule("2", 2, 11)]);
}

#[test]
fn cancelling_needs_something_scheduled() {
    assert_eq!(after(&[schedule("1", 1, 11), ReleaseCall::Cancel]).stated, Stated::default());
    assert_eq!(is_refused(&after(&[set("1", 1)]), &ReleaseCall::Cancel), "NothingScheduled");
}

#[test]
fn files_go_into_each_slot_that_holds_the_version() {
    let both = after(&[set("1", 1), schedule("1", 1, 11), add("1", "a", 7)]).stated;
    let (current, pending) = (both.current.expect("set"), both.pending.expect("scheduled"));
    assert_eq!(current.artifacts, pending.artifacts);
    assert_eq!(current.sequence, Some(2));
    let one = after(&[set("1", 1), schedule("2", 1, 11), add("2", "a", 7)]).stated;
    assert_eq!(one.current.expect("set").sequence, Some(1), "the other slot's file is no news here");
    let gone = after(&[set("1", 1), add("1", "a", 7), schedule("1", 1, 11), remove("1", "a")]).stated;
    assert!(gone.current.expect("set").artifacts.is_empty());
}

#[test]
fn files_need_a_release_and_room() {
    assert_eq!(is_refused(&after(&[set("1", 1)]), &add("2", "a", 1)), "UnknownRelease");
    assert_eq!(is_refused(&after(&[]), &remove("2", "a")), "UnknownRelease");
    assert_eq!(is_refused(&after(&[set("1", 1)]), &remove("1", "a")), "UnknownArtifact");
    let full = after(&[set("1", 1), add("1", "a", 1), add("1", "b", 1)]);
    assert_eq!(is_refused(&full, &add("1", "c", 1)), "TooManyArtifacts");
    let mut replaced = full;
    replaced.apply(&add("1", "b", 2)).expect("one that is there needs no room");
}

#[test]
fn a_refusal_in_one_slot_leaves_both() {
    let full = after(&[schedule("1", 1, 11), add("1", "a", 1), add("1", "b", 1), set("1", 1)]);
    assert_eq!(is_refused(&full, &add("1", "c", 1)), "TooManyArtifacts");
}

#[test]
fn names_longer_than_the_runtime_decodes_are_found() {
    let limits = after(&[]).limits;
    let long = "1".repeat(65);
    assert_eq!(limits.check_lengths(&set(&long, 1)).expect_err("long").name(), "TooLong");
    assert_eq!(limits.check_lengths(&add("1", &long, 1)).expect_err("long").name(), "TooLong");
    assert_eq!(limits.check_lengths(&set(&long[1..], 1)), Ok(()));
    assert_eq!(Limits::default().check_lengths(&set(&long, 1)), Ok(()), "unknown bounds bind nobody");
}
