//! What was seen of a chain, `networks/<genesis>.json`: its pin, below which no node is believed.

use std::path::Path;

use vaultvisor::{chain::Known, journal::NetworkRecord};

use super::{home::Home, is_refused};

const NAME: &str = "networks/x.json";

/// What is read is written and read again as the same, and is shown; all else is refused with the file's name.
pub fn holds(data: &[u8]) {
    let record = match NetworkRecord::decode(Path::new(NAME), data) {
        Ok(record) => record,
        Err(error) => return is_refused(&error, NAME),
    };
    let text = record.encode().expect("every record can be written");
    let again = NetworkRecord::decode(Path::new(NAME), &text).expect("what is written is read");
    assert_eq!(again, record);
    assert!(!again.brings_news_after(&record), "the same is news");
    let known = Known::of(&record);
    assert_eq!((known.genesis, known.finalized), (record.genesis, record.finalized));
    thread_local!(static HOME: Home = Home::new());
    HOME.with(|home| {
        home.write(NAME, data);
        home.is_shown();
    });
}
