//! The operator's configuration, read in three stages: JSON ([`mod@file`]), keys and types, then meaning.
//!
//! [`Settings`] is the result: every value in it is valid, so nothing after this module asks again.
//! All problems of a file are reported at once, each with its JSON path.
//!
//! - [`account`]: whose vault it is;
//! - [`http`]: where the status is served;
//! - [`network`], [`vault`]: the two kinds of things that a file defines;
//! - [`networks`]: the networks that need no definition;
//! - [`schema`]: the same rules as far as a JSON Schema can say them, for editors and provisioning tools.

pub mod account;
pub mod file;
pub mod http;
pub mod network;
pub mod networks;
pub mod schema;
pub mod vault;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    account::Account,
    http::Http,
    network::Network,
    vault::{Data, HealthUrl, Logs, Probation, Stop, Vault},
};
use crate::{artifact::fetch::Limits, decide::policy::STARTUP_CHAIN_WAIT};
use file::{Fields, Json, Keys, Node, Problem, Reader};

/// Where the locks of all vaults of a machine lie, whoever runs them.
pub const DEFAULT_LOCK_DIR: &str = "/run/lock/vaultvisor";
/// A chain that has not answered for an hour is out of reach.
const MAX_STARTUP_WAIT_SECS: u64 = 3600;
/// Above any client there will ever be, and still a bound.
const MAX_ARTIFACT_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder of everything durable.
    pub home: PathBuf,
    /// The folder of the machine-wide vault locks.
    pub lock_dir: PathBuf,
    /// How long the chain is waited for at a start before the last known good release is started without it.
    pub startup_chain_wait: Duration,
    /// The largest file that is downloaded.
    pub max_artifact_bytes: u64,
    /// Where the status is served; `None` nowhere.
    pub http: Option<Http>,
    /// The networks that vaults name, and others that the file defines.
    pub networks: BTreeMap<String, Network>,
    /// The vaults, by name.
    pub vaults: BTreeMap<String, Vault>,
}

/// The keys of the file itself.
const KEYS: Keys = Keys {
    known: &[
        "home",
        "http",
        "http_allow_remote",
        "lock_dir",
        "startup_chain_wait_secs",
        "max_artifact_bytes",
        "networks",
        "vaults",
    ],
};

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named and none is at the usual places.
    #[error(
        "there is no configuration: expected --config FILE, VAULTVISOR_CONFIG, ./vaultvisor.json or /etc/vaultvisor/vaultvisor.json"
    )]
    NotFound,
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not JSON.
    #[error("the configuration {} is not JSON", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's reason, with line and column.
        source: serde_json::Error,
    },
    /// The file has problems; all of them.
    #[error("the configuration {} has {} problem{}:{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" }, listed(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Each with its JSON path.
        problems: Vec<Problem>,
    },
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Values from the environment that go before those of the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `VAULTVISOR_HOME`
    pub home: Option<PathBuf>,
    /// `VAULTVISOR_HTTP`
    pub http: Option<OsString>,
}

impl Overrides {
    /// Reads this process's environment.
    pub fn from_environment() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self { home: set("VAULTVISOR_HOME").map(PathBuf::from), http: set("VAULTVISOR_HTTP") }
    }
}

/// The file to read: the one named, else the first that exists at the usual places.
pub fn locate(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let usual = ["vaultvisor.json", "/etc/vaultvisor/vaultvisor.json"];
    usual.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(ConfigError::NotFound)
}

/// Reads and validates a configuration file.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Settings, ConfigError> {
    parse(&read(path)?, overrides)
        .map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
}

fn read(path: &Path) -> Result<Json, ConfigError> {
    let text = std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| ConfigError::Syntax { path: path.to_owned(), source })
}

/// Reads the home alone: whoever only speaks to the vaultvisor that runs there can do so whatever else the file says.
pub fn home(path: &Path, overrides: &Overrides) -> Result<PathBuf, ConfigError> {
    let json = read(path)?;
    let mut reader = Reader::default();
    let root = reader.fields(&Node::root(&json), &KEYS);
    // What is wrong elsewhere is of no concern here.
    reader.problems.clear();
    read_home(&mut reader, &root, overrides)
        .ok_or(ConfigError::Invalid { path: path.to_owned(), problems: reader.problems })
}

/// Validates a configuration that is already JSON.
pub fn parse(json: &Json, overrides: &Overrides) -> Result<Settings, Vec<Problem>> {
    let mut reader = Reader::default();
    let root = reader.fields(&Node::root(json), &KEYS);

    let home = read_home(&mut reader, &root, overrides);
    let lock_dir = match root.get("lock_dir") {
        Some(node) => path(&mut reader, node),
        None => Some(PathBuf::from(DEFAULT_LOCK_DIR)),
    };
    let wait =
        root.get("startup_chain_wait_secs").and_then(|node| reader.number(node, 0..=MAX_STARTUP_WAIT_SECS));
    let max_bytes =
        root.get("max_artifact_bytes").and_then(|node| reader.number(node, 1..=MAX_ARTIFACT_BYTES));
    let http = http::read(&mut reader, &root, overrides);
    let mut networks = network::read_all(&mut reader, &root);
    let vaults = vault::read_all(&mut reader, &root, &mut networks);
    if let Some(home) = &home {
        vault::check_data(&mut reader, home, &vaults);
    }

    match (home, lock_dir) {
        (Some(home), Some(lock_dir)) if reader.problems.is_empty() => Ok(Settings {
            home,
            lock_dir,
            startup_chain_wait: wait.map_or(STARTUP_CHAIN_WAIT, Duration::from_secs),
            max_artifact_bytes: max_bytes.unwrap_or(Limits::default().max_bytes),
            http,
            networks,
            vaults,
        }),
        _ => Err(reader.problems),
    }
}

fn read_home(reader: &mut Reader, root: &Fields<'_>, overrides: &Overrides) -> Option<PathBuf> {
    match &overrides.home {
        Some(home) => {
            // What the variable goes before must make sense all the same.
            if let Some(node) = root.get("home") {
                path(reader, node);
            }
            absolute(reader, "VAULTVISOR_HOME", home)
        }
        None => {
            let node =
                root.required("home", reader, "the folder for everything that vaultvisor keeps").cloned()?;
            path(reader, &node)
        }
    }
}

fn path(reader: &mut Reader, node: &Node<'_>) -> Option<PathBuf> {
    let text = reader.text(node)?;
    absolute(reader, &node.path, Path::new(text))
}

fn absolute(reader: &mut Reader, place: &str, path: &Path) -> Option<PathBuf> {
    if path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0) {
        return Some(path.to_owned());
    }
    reader.problem(place, format!("found {path:?}, expected an absolute path"));
    None
}

#[cfg(test)]
mod tests;
