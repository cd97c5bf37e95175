//! What holds of everything that Vaultvisor reads from outside, whatever is in it.
//!
//! Each module is about one reader and has one function, `holds`: it hands any bytes to the reader and panics where a
//! promise is broken. "It does not panic" is the least of them: what is taken is written and read again as the same,
//! and what is refused is refused in words that are fit for people.
//!
//! Two kinds of callers: the fuzz targets, one for each module, and `vaultvisor/tests/fuzz_corpus.rs`, which includes
//! this file, so that every test run goes through the corpus, and through some changes of it, without a second build.

pub mod args_migration;
pub mod chain_spec;
pub mod clients_info_record;
pub mod config_file;
pub mod control_request;
pub mod history_file;
pub mod http_request;
pub mod network_file;
pub mod process_records;
pub mod program_headers;
pub mod release_url;
pub mod state_file;
pub mod vault_release_record;

mod home;

use std::error::Error;

use vaultvisor::error_chain::Chained;

/// A sentence or two with what was found and what was expected: nobody reads more, and nothing that a refusal quotes may
/// fill a log or a status.
const MAX_REFUSAL_BYTES: usize = 6 * 1024;

/// A refusal as it is printed says what it is about, ends, and cannot move a terminal's cursor.
fn is_refused(error: &(dyn Error + 'static), what_it_names: &str) {
    is_fit_for_people(&Chained(error).to_string(), what_it_names);
}

fn is_fit_for_people(said: &str, what_it_names: &str) {
    assert!(said.contains(what_it_names), "{what_it_names:?} is not named in {said:?}");
    assert!(said.len() <= MAX_REFUSAL_BYTES, "a refusal of {} bytes: {:.200}…", said.len(), said);
    assert!(!said.chars().any(char::is_control), "control characters in {said:?}");
}
