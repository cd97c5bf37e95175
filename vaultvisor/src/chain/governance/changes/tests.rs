//! Whatever differs is said, and nothing else.

use super::*;

fn release(sequence: u64, version: &str, checksum: u8, files: &[(&str, u8)]) -> Release {
    Release {
        sequence: Some(sequence),
        version: version.parse().expect("a version"),
        binary_checksum: Checksum([checksum; 32]),
        uri: None,
        artifacts: artifacts(files),
    }
}

fn artifacts(files: &[(&str, u8)]) -> Artifacts {
    files.iter().map(|(name, sum)| (name.parse().expect("a name"), Checksum([*sum; 32]))).collect()
}

fn stated(current: Option<Release>, pending: Option<(&str, u32)>) -> Stated {
    let pending = pending.map(|(version, spec_version)| PendingRelease {
        version: version.parse().expect("a version"),
        binary_checksum: Checksum([9; 32]),
        uri: None,
        artifacts: Artifacts::new(),
        spec_version: Some(spec_version),
    });
    Stated { current, pending }
}

fn lines(before: Stated, after: Stated) -> String {
    changes(&before, &after, 10).join("\n")
}

#[test]
fn no_change_is_no_line() {
    let same = stated(Some(release(1, "1.0.0", 1, &[("a", 1)])), Some(("2.0.0", 11)));
    assert_eq!(lines(same.clone(), same), "");
}

#[test]
fn versions_statements_checksums_and_files_are_said() {
    let before = stated(Some(release(7, "1.15.0", 1, &[("gone", 1), ("kept", 2)])), None);
    let after = stated(Some(release(8, "1.16.0", 2, &[("kept", 2), ("new", 3)])), None);
    let said = lines(before, after);
    for expected in [
        "in force: 1.15.0 → 1.16.0; statement 7 → 8",
        &format!("binary {}, before {}", "02".repeat(32), "01".repeat(32)),
        &format!("file kept {}, as before", "02".repeat(32)),
        &format!("file new {}", "03".repeat(32)),
        "file gone gone",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing in\n{said}");
    }
    assert!(!said.contains("older"), "{said}");
}

#[test]
fn the_first_release_and_the_same_one_again_are_told_apart() {
    let first = lines(stated(None, None), stated(Some(release(1, "1", 1, &[])), None));
    assert!(first.contains("nothing → 1, the chain's first release; statement none → 1"), "{first}");
    let one = |sequence, checksum| stated(Some(release(sequence, "1", checksum, &[])), None);
    let again = lines(one(1, 1), one(2, 1));
    assert!(again.contains("1 again, as it is; statement 1 → 2"), "{again}");
    let other = lines(one(1, 1), one(2, 2));
    assert!(other.contains("1 again, with another binary"), "{other}");
}

#[test]
fn going_back_is_remarked_where_numbers_show_it_and_only_there() {
    for (from, to, is_back) in [
        ("1.16.0", "1.15.9", true),
        ("1.16.0", "1.9.0", true),
        ("v2", "v1.9", true),
        ("interlay-1.23.9", "interlay-1.23.8", true),
        ("1.9.0", "1.16.0", false),
        ("1.16.0", "interlay-1.15.0", false),
        ("1.16.0", "1.16.0-rc1", false),
    ] {
        let said =
            lines(stated(Some(release(1, from, 1, &[])), None), stated(Some(release(2, to, 2, &[])), None));
        assert_eq!(said.contains("would go back"), is_back, "{from} to {to}: {said}");
    }
}

#[test]
fn what_is_scheduled_comes_goes_and_is_replaced() {
    let nothing = || stated(None, None);
    let one = |version, spec_version| stated(None, Some((version, spec_version)));
    let came = lines(nothing(), one("2", 11));
    assert!(came.contains("scheduled: nothing → 2 for spec version 11; spec version 10 runs now"), "{came}");
    assert!(lines(one("2", 11), nothing()).contains("scheduled: 2 for spec version 11 → nothing"));
    let replaced = lines(one("2", 11), one("3", 12));
    assert!(replaced.contains("2 for spec version 11 → 3 for spec version 12"), "{replaced}");
}
