//! Durable state: one file for each vault and each network, replaced as a whole.
//!
//! A file that does not parse is an error with its path; it is never treated as absent, because an absent
//! state means "nothing was ever started here".

pub mod atomic_file;
mod schema_1;
mod schema_2;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    chain::{ChainView, FinalizedBlock, records::RecordName},
    decide::State,
    release::GenesisHash,
    room,
};
use atomic_file::WriteError;

/// The form of a vault's file in this version. Older ones are read, newer ones refused and not guessed at.
const VAULT_SCHEMA: u32 = 3;
/// The form of a network's file.
const NETWORK_SCHEMA: u32 = 1;

/// Why a durable file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is there and cannot be read.
    #[error("cannot read {}{}", path.display(), room::remedy(source))]
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
    #[error("{} has schema {found}, expected {expected} or older: it was written by a newer version of vaultvisor", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// The number in it.
        found: u32,
        /// The newest that this version reads.
        expected: u32,
    },
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError::Read { path: path.to_owned(), source }),
    }
}

/// Reads a file's schema first, since one of another need not have our fields; an older one goes through
/// `upgrade`.
fn parse<T: DeserializeOwned>(
    path: &Path,
    text: &[u8],
    newest: u32,
    upgrade: impl FnOnce(serde_json::Value) -> Result<serde_json::Value, serde_json::Error>,
) -> Result<T, ReadError> {
    let damaged = |source| ReadError::Damaged { path: path.to_owned(), source };
    #[derive(Deserialize)]
    struct Schema {
        schema: u32,
    }
    let Schema { schema: found } = serde_json::from_slice(text).map_err(damaged)?;
    if found == newest {
        serde_json::from_slice(text).map_err(damaged)
    } else if (1..newest).contains(&found) {
        let old = serde_json::from_slice(text).map_err(damaged)?;
        upgrade(old).and_then(serde_json::from_value).map_err(damaged)
    } else {
        Err(ReadError::Schema { path: path.to_owned(), found, expected: newest })
    }
}

fn print<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

fn replace(path: &Path, text: Result<Vec<u8>, serde_json::Error>) -> Result<(), WriteError> {
    let text = text.map_err(|error| WriteError { path: path.to_owned(), source: error.into() })?;
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
        read_file(&self.path)?.map(|text| decode(&self.path, &text)).transpose()
    }

    /// Makes a state durable.
    pub fn store(&self, recorded: &Recorded) -> Result<(), WriteError> {
        replace(&self.path, encode(recorded))
    }
}

/// A vault's file as text: the form alone, for whoever keeps it elsewhere than on a disk.
pub fn encode(recorded: &Recorded) -> Result<Vec<u8>, serde_json::Error> {
    print(&VaultFile {
        schema: VAULT_SCHEMA,
        since_unix_secs: recorded.since_unix_secs,
        state: recorded.state.clone(),
    })
}

/// Reads a vault's file; `path` is for the error only.
pub fn decode(path: &Path, text: &[u8]) -> Result<Recorded, ReadError> {
    let file: VaultFile = parse(path, text, VAULT_SCHEMA, |old| {
        let old = if old["schema"] == 1 { schema_1::upgrade(old)? } else { old };
        schema_2::upgrade(old)
    })?;
    Ok(Recorded { state: file.state, since_unix_secs: file.since_unix_secs })
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
    /// The record that stated the release in force; from `vault-release` there is no way back.
    #[serde(default)]
    pub record: Option<RecordName>,
    /// A release that waits for a runtime upgrade.
    pub pending: Option<crate::chain::PendingRelease>,
}

impl NetworkRecord {
    /// What a view says.
    pub fn of(network: &str, view: &ChainView, seen_unix_secs: u64) -> Self {
        Self {
            schema: NETWORK_SCHEMA,
            network: network.to_owned(),
            genesis: view.genesis,
            finalized: view.finalized,
            seen_unix_secs,
            spec_version: view.spec_version,
            source: view.source.clone(),
            sequence: view.current.as_ref().and_then(|release| release.sequence),
            record: view.current.is_some().then_some(view.record),
            pending: view.pending.clone(),
        }
    }

    /// The file as text.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        print(self)
    }

    /// Reads the file; `path` is for the error only.
    pub fn decode(path: &Path, text: &[u8]) -> Result<Self, ReadError> {
        parse(path, text, NETWORK_SCHEMA, Ok)
    }

    /// Whether a newer record says more than that time has passed. Who said it, which may change with every block where
    /// several must agree, is not worth a write.
    pub fn brings_news_after(&self, old: &Self) -> bool {
        (self.genesis, self.spec_version, self.sequence, self.record, &self.pending)
            != (old.genesis, old.spec_version, old.sequence, old.record, &old.pending)
    }
}

/// What was read of all networks that were ever seen from this home.
#[derive(Debug, Default)]
pub struct NetworkRecords {
    /// The newest last.
    records: Vec<NetworkRecord>,
    /// What could not be read, with the chain that its file is named after.
    unreadable: Vec<(Option<GenesisHash>, ReadError)>,
}

impl NetworkRecords {
    /// The newest record of a network, whose chain may be known from elsewhere. An error if a file cannot be read that
    /// is, or could be, its own: its pin would be lost.
    pub fn of(
        &self,
        network: &str,
        genesis: Option<GenesisHash>,
    ) -> Result<Option<&NetworkRecord>, &ReadError> {
        match self.unreadable_of(network, genesis) {
            Some(index) => Err(&self.unreadable[index].1),
            None => Ok(self.newest_of(network)),
        }
    }

    /// All records of a network, with the same error.
    pub fn into_all_of(
        mut self,
        network: &str,
        genesis: Option<GenesisHash>,
    ) -> Result<Vec<NetworkRecord>, ReadError> {
        if let Some(index) = self.unreadable_of(network, genesis) {
            return Err(self.unreadable.swap_remove(index).1);
        }
        self.records.retain(|record| record.network == network);
        Ok(self.records)
    }

    fn newest_of(&self, network: &str) -> Option<&NetworkRecord> {
        self.records.iter().rfind(|record| record.network == network)
    }

    fn unreadable_of(&self, network: &str, genesis: Option<GenesisHash>) -> Option<usize> {
        let record = self.newest_of(network);
        let genesis = genesis.or(record.map(|record| record.genesis));
        self.unreadable.iter().position(|(file, _)| match file {
            // Nobody knows whose it is.
            None => record.is_none(),
            Some(file) => genesis.is_none_or(|genesis| genesis == *file),
        })
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

    /// The folder of all that is kept of networks.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All records. Only a folder that cannot be read fails as a whole; a file is a matter of its own network.
    pub fn load(&self) -> Result<NetworkRecords, ReadError> {
        let unreadable = |source| ReadError::Read { path: self.folder.clone(), source };
        let mut found = NetworkRecords::default();
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(unreadable(error)),
        };
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            // Temporary files of a write that a crash cut short begin with a dot.
            let is_record = path.extension().is_some_and(|end| end == "json")
                && !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !is_record {
                continue;
            }
            let read = read_file(&path)
                .and_then(|text| text.map(|text| NetworkRecord::decode(&path, &text)).transpose());
            match read {
                Ok(Some(record)) => found.records.push(record),
                Ok(None) => {}
                Err(error) => {
                    let genesis = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
                    found.unreadable.push((genesis, error));
                }
            }
        }
        // A network that was given another genesis in the configuration has more than one.
        found.records.sort_by_key(|record| record.seen_unix_secs);
        Ok(found)
    }

    /// Makes a record durable, under its chain's genesis hash.
    pub fn store(&self, record: &NetworkRecord) -> Result<(), WriteError> {
        replace(&self.path(record), record.encode())
    }

    /// Removes a record, durably; one that is not there is as good.
    pub fn remove(&self, record: &NetworkRecord) -> Result<(), WriteError> {
        let path = self.path(record);
        let removed = match std::fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        };
        let removed = removed.and_then(|()| atomic_file::sync_folder(&self.folder));
        removed.map_err(|source| WriteError { path, source })
    }

    fn path(&self, record: &NetworkRecord) -> PathBuf {
        self.folder.join(format!("{}.json", record.genesis))
    }
}

#[cfg(test)]
mod tests;
