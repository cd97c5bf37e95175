//! The durable files: what was written comes back, what an older version wrote is read, and nothing is guessed.

use super::*;

#[test]
fn a_state_comes_back_as_it_was() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = VaultJournal::new(folder.path());
    assert!(journal.load().expect("absent").is_none());
    let recorded = Recorded { state: State { shutting_down: true, ..State::default() }, since_unix_secs: 7 };
    journal.store(&recorded).expect("store");
    let loaded = journal.load().expect("load").expect("there");
    assert_eq!((loaded.state, loaded.since_unix_secs), (recorded.state, 7));
}

#[test]
fn a_damaged_or_foreign_file_is_an_error_and_not_absent() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = VaultJournal::new(folder.path());
    let path = folder.path().join("state.json");
    for text in [
        "",
        "{",
        "[]",
        r#"{"schema": 1}"#,
        r#"{"schema": 2}"#,
        r#"{"schema": 3}"#,
        r#"{"schema": "x"}"#,
        r#"{"schema": 1, "state": 7}"#,
    ] {
        std::fs::write(&path, text).expect("write");
        let error = journal.load().expect_err(text).to_string();
        assert!(error.contains("state.json"), "{error}");
    }
    std::fs::write(&path, r#"{"schema": 4, "other": true}"#).expect("write");
    assert!(matches!(journal.load(), Err(ReadError::Schema { found: 4, expected: 3, .. })));
}

fn golden(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/journal/golden").join(file)
}

/// The files were written by the first version, one for each place where a process can stand.
#[test]
fn files_of_schema_1_are_read_with_all_that_they_say() {
    use crate::decide::state::Name;
    let expected = [
        ("fetching", Name::Fetching),
        ("launching", Name::Starting),
        ("probation", Name::Probation),
        ("running", Name::Running),
        ("switching", Name::Switching),
        ("switching_ended", Name::Switching),
        ("rolling_back", Name::RollingBack),
        ("blocked", Name::Blocked),
        ("starting", Name::Starting),
        ("stopping", Name::Stopped),
        ("stopped", Name::Stopped),
    ];
    for (file, name) in expected {
        let path = golden(&format!("schema_1/{file}.json"));
        let text = std::fs::read(&path).expect(file);
        let recorded = decode(&path, &text).unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert_eq!(recorded.since_unix_secs, 1_700_000_060, "{file}");
        let state = &recorded.state;
        assert_eq!(state.name(), name, "{file}");
        assert!(state.target.is_some() && state.seen.is_some(), "{file}");
        assert_eq!(state.boot, None, "{file}: its moments are of another clock");
        let again = decode(&path, &encode(&recorded).expect("text")).expect("schema 3");
        assert_eq!(again.state, recorded.state, "{file}");
    }
    let text = std::fs::read(golden("schema_1/starting.json")).expect("file");
    let state = decode(Path::new("starting.json"), &text).expect("read").state;
    assert_eq!((state.unproved.len(), state.rejected.len()), (1, 1));
    let good = state.last_known_good.expect("one");
    assert_eq!((good.build.version.as_str(), good.spec_version), ("2.0", None));
}

#[test]
fn files_of_schema_2_are_read_with_all_that_they_say() {
    for (file, running) in [("schema_2/switching.json", "1.0"), ("schema_2/running.json", "4.0")] {
        let text = std::fs::read(golden(file)).expect(file);
        let state = decode(Path::new(file), &text).expect(file).state;
        let (target, stated) = (state.target.as_ref().expect("one"), state.stated.as_ref().expect("one"));
        assert_eq!((&stated.version, stated.checksum), (&target.version, target.binary_checksum), "{file}");
        let version = state.last_run.as_ref().map(|run| run.build.version.as_str());
        assert_eq!(version, Some(running), "{file}");
        assert!(state.snapshots.is_empty() && state.arguments.is_empty() && state.config_args.is_none());
    }
}

/// Found by fuzzing: what an upgrade looks for need not be there.
#[test]
fn an_older_file_that_lacks_something_is_damaged_and_no_panic() {
    fn without_each_key(value: &serde_json::Value, whole: &mut dyn FnMut(serde_json::Value)) {
        if let serde_json::Value::Object(fields) = value {
            for (key, field) in fields {
                let mut fewer = fields.clone();
                fewer.remove(key);
                whole(fewer.into());
                without_each_key(field, &mut |changed| {
                    let mut fields = fields.clone();
                    fields.insert(key.clone(), changed);
                    whole(fields.into());
                });
            }
        }
    }
    for file in ["schema_1/probation.json", "schema_1/switching_ended.json", "schema_2/running.json"] {
        let text = std::fs::read(golden(file)).expect(file);
        let whole: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let mut refused = 0;
        without_each_key(&whole, &mut |fewer| {
            let read = decode(Path::new(file), fewer.to_string().as_bytes());
            if let Err(error) = read {
                assert!(error.to_string().contains(file), "{error}");
                refused += 1;
            }
        });
        assert!(refused > 10, "{file}: {refused}");
    }
}

/// A change of the form needs a new schema, and an `upgrade` from this one.
#[test]
fn the_form_of_a_state_file_is_that_of_its_schema() {
    for file in ["schema_3/switching.json", "schema_3/running.json"] {
        let text = std::fs::read(golden(file)).expect(file);
        let recorded = decode(Path::new(file), &text).expect(file);
        let written = encode(&recorded).expect("text");
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&text), "{file}");
    }
}

/// A file of a version that knew one record only is read on; what is news after it includes a change of the record.
#[test]
fn the_record_that_was_seen_is_durable_and_older_files_know_none() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = NetworkJournal::new(folder.path());
    std::fs::create_dir(folder.path().join("networks")).expect("folder");
    let old = format!(
        r#"{{"schema": 1, "network": "dev", "genesis": "0x{0}", "finalized": {{"number": 7, "hash": {1:?}}},
            "seen_unix_secs": 1, "spec_version": 2, "source": "ws://a", "sequence": null, "pending": null}}"#,
        "ab".repeat(32),
        [0; 32]
    );
    std::fs::write(folder.path().join("networks/a.json"), old).expect("written");
    let old = journal.load().expect("read").of("dev", None).expect("whole").expect("there").clone();
    assert_eq!(old.record, None);
    let new = NetworkRecord { record: Some(RecordName::VaultRelease), ..old.clone() };
    assert!(new.brings_news_after(&old) && !new.brings_news_after(&new));
    std::fs::remove_file(folder.path().join("networks/a.json")).expect("removed");
    journal.store(&new).expect("written");
    let read = journal.load().expect("read");
    let read = read.of("dev", None).expect("whole").expect("there");
    assert_eq!(read.record, Some(RecordName::VaultRelease));
}

#[test]
fn a_damaged_file_of_another_network_costs_this_one_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let journal = NetworkJournal::new(folder.path());
    assert_eq!(journal.load().expect("no folder").of("a", None).expect("nothing there"), None);
    std::fs::create_dir(folder.path().join("networks")).expect("folder");
    let (ours, theirs) = (GenesisHash([1; 32]), GenesisHash([2; 32]));
    let record = NetworkRecord {
        schema: NETWORK_SCHEMA,
        network: "a".into(),
        genesis: ours,
        finalized: FinalizedBlock { number: 7, hash: [0; 32] },
        seen_unix_secs: 1,
        spec_version: 2,
        source: "ws://a".into(),
        sequence: None,
        record: None,
        pending: None,
    };
    journal.store(&record).expect("written");
    let damage = |name: &str| {
        std::fs::write(folder.path().join("networks").join(name), "{").expect("write");
        journal.load().expect("the folder can be read")
    };
    let read = damage(&format!("{theirs}.json"));
    assert_eq!(read.of("a", None).expect("its own is whole"), Some(&record));
    assert_eq!(read.of("a", Some(ours)).expect("its own is whole"), Some(&record));
    assert_eq!(read.of("new", Some(GenesisHash([3; 32]))).expect("another chain's"), None);
    // Whose pin may be in it is told so.
    for (network, genesis) in [("b", Some(theirs)), ("b", None)] {
        let error = read.of(network, genesis).expect_err("it could be its own").to_string();
        assert!(error.contains(&format!("{theirs}.json is damaged")), "{error}");
    }
    let read = damage("of-nobody-knows.json");
    assert_eq!(read.of("a", None).expect("its own is whole"), Some(&record));
    assert!(read.of("new", Some(GenesisHash([3; 32]))).is_err());
    let read = damage(&format!("{ours}.json"));
    assert!(read.of("a", Some(ours)).is_err());
}
