//! Durable state: one file for each vault and each network, replaced as a whole.
//!
//! A file that does not parse is an error with its path; it is never treated as absent, because an absent
//! state means "nothing was ever started here".

pub mod atomic_file;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    chain::{ChainView, FinalizedBlock},
    decide::State,
    release::GenesisHash,
};
use atomic_file::WriteError;

/// The form of the files in this version. Files of another are refused, not guessed at.
const SCHEMA: u32 = 1;

/// Why a durable file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not what we write.
    #[error("{} is damaged; restore it from a backup, or move it away to begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// It was written by another version.
    #[error("{} has schema {found}, expected {SCHEMA}: it was written by another version of vaultvisor", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The number in it.
        found: u32,
    },
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ReadError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadError::Read { path: path.to_owned(), source }),
    };
    let damaged = |source| ReadError::Damaged { path: path.to_owned(), source };
    // The number first: a file of another schema need not have our fields.
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let Schema { schema: found } = serde_json::from_slice(&text).map_err(damaged)?;
    if found != SCHEMA {
        return Err(ReadError::Schema { path: path.to_owned(), found });
    }
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), WriteError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| WriteError { path: path.to_owned(), source: error.into() })?;
    text.push(b'\n');
    atomic_file::replace(path, &text)
}

/// One vault's journal: its newest state.
#[derive(Debug, Clone)]
pub struct VaultJournal {
    path: PathBuf,
}

/// What a vault's state file holds.
#[derive(Debug, Serialize, Deserialize)]
struct VaultFile {
    schema: u32,
    /// When this state was reached, on the wall clock; for people.
    since_unix_secs: u64,
    state: State,
}

/// A state, and since when the vault is in it.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// The state.
    pub state: State,
    /// When its name last changed, in seconds since 1970.
    pub since_unix_secs: u64,
}

impl VaultJournal {
    /// The journal in a vault's folder, which must exist.
    pub fn new(vault_folder: &Path) -> Self {
        Self { path: vault_folder.join("state.json") }
    }

    /// The newest state; `None` for a vault that was never seen here.
    pub fn load(&self) -> Result<Option<Recorded>, ReadError> {
        let file: Option<VaultFile> = read_json(&self.path)?;
        Ok(file.map(|file| Recorded { state: file.state, since_unix_secs: file.since_unix_secs }))
    }

    /// Makes a state durable.
    pub fn store(&self, recorded: &Recorded) -> Result<(), WriteError> {
        let file = VaultFile {
            schema: SCHEMA,
            since_unix_secs: recorded.since_unix_secs,
            state: recorded.state.clone(),
        };
        write_json(&self.path, &file)
    }
}

/// What was seen of one chain: its pin, and how far it had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRecord {
    schema: u32,
    /// The network's name in the configuration.
    pub network: String,
    /// The chain that it is from now on.
    pub genesis: GenesisHash,
    /// The newest finalized block that brought something new.
    pub finalized: FinalizedBlock,
    /// When that was seen, in seconds since 1970; for people.
    pub seen_unix_secs: u64,
    /// The runtime version there.
    pub spec_version: u32,
    /// Who said so.
    pub source: String,
    /// The statement's number there.
    pub sequence: Option<u64>,
    /// A release that waits for a runtime upgrade.
    pub pending: Option<crate::chain::PendingRelease>,
}

impl NetworkRecord {
    /// What a view says.
    pub fn of(network: &str, view: &ChainView, seen_unix_secs: u64) -> Self {
        Self {
            schema: SCHEMA,
            network: network.to_owned(),
            genesis: view.genesis,
            finalized: view.finalized,
            seen_unix_secs,
            spec_version: view.spec_version,
            source: view.source.clone(),
            sequence: view.current.as_ref().and_then(|release| release.sequence),
            pending: view.pending.clone(),
        }
    }

    /// Whether a newer record says more than that time has passed.
    pub fn brings_news_after(&self, old: &Self) -> bool {
        (self.genesis, self.spec_version, self.sequence, &self.pending, &self.source)
            != (old.genesis, old.spec_version, old.sequence, &old.pending, &old.source)
    }
}

/// The records of all networks that were ever seen from this home.
#[derive(Debug, Clone)]
pub struct NetworkJournal {
    folder: PathBuf,
}

impl NetworkJournal {
    /// The journal in a home folder.
    pub fn new(home: &Path) -> Self {
        Self { folder: home.join("networks") }
    }

    /// All records, by the network's name.
    pub fn load(&self) -> Result<BTreeMap<String, NetworkRecord>, ReadError> {
        let unreadable = |source| ReadError::Read { path: self.folder.clone(), source };
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut records: BTreeMap<String, NetworkRecord> = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            // Temporary files of a write that a crash cut short begin with a dot.
            let is_record = path.extension().is_some_and(|end| end == "json")
                && !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_record && let Some(record) = read_json::<NetworkRecord>(&path)? {
                records.insert(record.network.clone(), record);
            }
        }
        Ok(records)
    }

    /// Makes a record durable, under its chain's genesis hash.
    pub fn store(&self, record: &NetworkRecord) -> Result<(), WriteError> {
        write_json(&self.folder.join(format!("{}.json", record.genesis)), record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("folder");
        let journal = VaultJournal::new(folder.path());
        assert!(journal.load().expect("absent").is_none());
        let recorded =
            Recorded { state: State { shutting_down: true, ..State::default() }, since_unix_secs: 7 };
        journal.store(&recorded).expect("store");
        let loaded = journal.load().expect("load").expect("there");
        assert_eq!((loaded.state, loaded.since_unix_secs), (recorded.state, 7));
    }

    #[test]
    fn a_damaged_or_foreign_file_is_an_error_and_not_absent() {
        let folder = tempfile::tempdir().expect("folder");
        let journal = VaultJournal::new(folder.path());
        let path = folder.path().join("state.json");
        for text in ["", "{", "[]", r#"{"schema": 1}"#, r#"{"schema": "x"}"#] {
            std::fs::write(&path, text).expect("write");
            let error = journal.load().expect_err(text).to_string();
            assert!(error.contains("state.json"), "{error}");
        }
        std::fs::write(&path, r#"{"schema": 2, "other": true}"#).expect("write");
        assert!(matches!(journal.load(), Err(ReadError::Schema { found: 2, .. })));
    }
}
