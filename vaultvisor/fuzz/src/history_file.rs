//! The audit trail, `history.jsonl`: whole lines, torn ones, and what others wrote into it.

use std::fs;

use vaultvisor::{
    decide::{Entry, Kind},
    history::{self, Record, Writer},
    status::Time,
};

use super::home::Home;

/// A line that cannot be read costs itself alone, what can be read comes back in its order and as it is, and what is
/// written behind it, whatever it ends with, is there.
pub fn holds(data: &[u8]) {
    thread_local!(static HOME: Home = Home::new());
    HOME.with(|home| {
        home.write("history.jsonl", data);
        let before = history::read(home.path()).expect("a file of ours");
        assert!(before.records.len() + before.damaged <= data.split(|byte| *byte == b'\n').count());
        for record in &before.records {
            let text = serde_json::to_string(record).expect("every record can be written");
            assert_eq!(serde_json::from_str::<Record>(&text).expect("what is written is read"), *record);
        }
        Writer::new(home.path()).append(&[newest()]).expect("there is room");
        let after = history::read(home.path()).expect("a file of ours");
        let count = before.records.len();
        assert_eq!(after.records[..count], before.records, "what was there is there");
        // A whole record that only lacked its end is one now.
        assert!(after.records.len() <= count + 2);
        assert_eq!(after.records.last(), Some(&newest()));
        assert!(after.damaged <= before.damaged);
        for limit in [0, 1, 3] {
            let newest = history::read_newest(home.path(), None, limit).expect("a file of ours").records;
            assert_eq!(newest, after.records[after.records.len().saturating_sub(limit)..]);
        }
        // A rotation would take it for the older file of the next one.
        let _ = fs::remove_file(home.path().join("history.jsonl.1"));
    });
}

pub(super) fn newest() -> Record {
    let entry = Entry {
        kind: Kind::Kept,
        from: None,
        to: None,
        text: "the newest of all".to_owned(),
        finalized: Some(7),
        sequence: None,
        spec_version: None,
        downtime_us: Some(1),
    };
    Record { at: Time(1_700_000_000), vault: Some("a".to_owned()), network: "dev".to_owned(), entry }
}
