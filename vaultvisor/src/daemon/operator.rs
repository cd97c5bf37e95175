//! The operator's hand: finds out what is meant, hands it to the vault's task, and brings back its answer.

use std::{
    collections::BTreeSet,
    fs::File,
    path::Path,
    sync::{Arc, PoisonError},
};

use tokio::sync::{mpsc, oneshot};
use url::Url;

use super::{
    Shared, fetching,
    fleet::{Fleet, Reached},
    places::release_urls,
};
use crate::{
    artifact::verify,
    config::Vault,
    control::{Chosen, Reply, Request},
    decide::{Command, State, data::Migrations, state::Build},
    history,
    release::{Checksum, Version},
    status::Status,
};

/// A command on its way to a vault's task.
#[derive(Debug)]
pub(super) struct Order {
    /// What.
    pub(super) command: Command,
    /// Where the answer goes.
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What a vault's task says to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) accepted: bool,
    pub(super) text: String,
}

/// Answers one request.
pub(super) async fn answer(fleet: &Arc<Fleet>, request: Request) -> Reply {
    let (name, command) = match request {
        Request::Status => return Reply::Status(Box::new(status(fleet.clone()).await)),
        Request::States => return Reply::States(fleet.states()),
        Request::Override { vault, release } => return override_with(fleet, &vault, release).await,
        Request::Hold { vault, reason } => (vault, Command::Hold { reason }),
        Request::Resume { vault } => (vault, Command::Resume),
        Request::Retry { vault } => (vault, Command::Retry),
        Request::Restart { vault } => (vault, Command::Restart),
    };
    match fleet.reach(&name) {
        Ok(reached) => order(&reached.orders, command).await,
        Err(refusal) => refusal,
    }
}

/// The status, for which files are looked at: on a thread that may wait for a slow disk.
async fn status(fleet: Arc<Fleet>) -> Status {
    match tokio::task::spawn_blocking(move || fleet.status()).await {
        Ok(status) => status,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

async fn order(orders: &mpsc::Sender<Order>, command: Command) -> Reply {
    let (answer, answered) = oneshot::channel();
    let sent = orders.send(Order { command, answer }).await.is_ok();
    match answered.await {
        Ok(Answer { accepted: true, text }) if sent => Reply::Done(text),
        Ok(Answer { text, .. }) => Reply::Refused(text),
        Err(_) => Reply::Refused("the vault is being stopped, and takes no command any more".to_owned()),
    }
}

async fn override_with(fleet: &Fleet, name: &str, release: Chosen) -> Reply {
    let reached = match fleet.reach(name) {
        Ok(reached) => reached,
        Err(refusal) => return refusal,
    };
    let shared = fleet.shared();
    let found = match release {
        Chosen::Known(text) => find_known(shared, &reached, &text).map(|build| (build, None)),
        Chosen::File(path) => read_file(&path).await.map(|(build, url)| (build, Some(url))),
    };
    let (build, url) = match found {
        Ok(found) => found,
        Err(what) => return Reply::Refused(what),
    };
    // Until the vault itself needs the file, nobody may prune it.
    let _needed = Needed::mark(shared, name, build.checksum);
    let urls = match url {
        Some(url) => Ok(vec![url]),
        None => release_urls(&reached.configured.network, &build),
    };
    let stored = match urls {
        Ok(urls) => {
            let network = &reached.configured.vault.network;
            let stored = fetching::into_store(shared, network, build.checksum, urls).await;
            stored.map_err(|why| why.reason)
        }
        Err(what) => Err(what),
    };
    match stored {
        Ok(()) => order(&reached.orders, Command::Override { build }).await,
        Err(what) => Reply::Refused(what),
    }
}

/// A version that this vault has to do with, or a checksum that is in the store.
fn find_known(shared: &Shared, reached: &Reached, text: &str) -> Result<Build, String> {
    let vault = &reached.configured.vault;
    // The newest first: of two files with one version, the one that was stated last is meant.
    let mut known = builds_of(&reached.live.borrow().recorded.state);
    known.extend(builds_of_history(&shared.home, vault));
    if let Ok(checksum) = text.parse::<Checksum>() {
        let named = known.into_iter().find(|build| build.checksum == checksum);
        return match named {
            Some(build) => Ok(build),
            None if shared.store.contains(checksum) => {
                Ok(Build { version: unnamed()?, checksum, uri: None, migrations: Migrations::default() })
            }
            None => Err(format!(
                "no file with the checksum {checksum} is in the store; name the file itself: vaultvisor override {} ./FILE",
                vault.name
            )),
        };
    }
    known.iter().find(|build| build.version.as_str() == text).cloned().ok_or_else(|| {
        let mut versions: Vec<&str> = known.iter().map(|build| build.version.as_str()).collect();
        versions.sort_unstable();
        versions.dedup();
        let versions = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
        format!(
            "vault {} has not seen a version {text:?}; it knows: {versions}; a file is named by a path with a slash, such as ./vault",
            vault.name
        )
    })
}

fn builds_of(state: &State) -> Vec<Build> {
    let mut builds: Vec<Build> = Vec::new();
    builds.extend(state.target.as_ref().map(Build::from));
    builds.extend(state.running().map(|running| running.build.clone()));
    builds.extend(state.override_build.clone());
    builds.extend(state.last_known_good.as_ref().map(|good| good.build.clone()));
    builds.extend(state.pending.as_ref().map(|pending| pending.build.clone()));
    builds.extend(state.previous.iter().cloned());
    builds.extend(state.rejected.iter().rev().map(|rejection| rejection.build.clone()));
    builds
}

/// What was stated or run here before; a history that cannot be read names nothing.
fn builds_of_history(home: &Path, vault: &Vault) -> Vec<Build> {
    let records = history::read(home).map(|reading| reading.records).unwrap_or_default();
    let ours = records
        .into_iter()
        .rev()
        .filter(|record| record.vault.as_ref() == Some(&vault.name) && record.network == vault.network);
    ours.flat_map(|record| [record.entry.to, record.entry.from]).flatten().collect()
}

/// The version of a file that no chain and no file name gave one.
fn unnamed() -> Result<Version, String> {
    Version::from_bytes(b"local").map_err(|error| error.to_string())
}

/// Hashes a file; it is proved again on its way into the store.
async fn read_file(path: &Path) -> Result<(Build, Url), String> {
    let url = Url::from_file_path(path)
        .map_err(|()| format!("found {path:?}, expected the absolute path of a file"))?;
    let path = path.to_owned();
    let hashing = tokio::task::spawn_blocking(move || {
        let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(format!("{} is not a file, expected a vault's binary", path.display()));
        }
        let mut file = File::open(&path).map_err(failed)?;
        let checksum = verify::hash_to_end(&mut file).map_err(failed)?;
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
        let version = Version::from_bytes(&name).or_else(|_| unnamed())?;
        Ok(Build { version, checksum, uri: None, migrations: Migrations::default() })
    });
    let build = match hashing.await {
        Ok(build) => build?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    Ok((build, url))
}

/// Keeps a file in the store while a command about it is on its way.
struct Needed<'a> {
    shared: &'a Arc<Shared>,
    key: String,
}

impl<'a> Needed<'a> {
    fn mark(shared: &'a Arc<Shared>, vault: &str, checksum: Checksum) -> Self {
        // No vault's name has a blank, and two commands about one vault must not unmark each other's file.
        let key = format!("{vault} {checksum} {}", crate::process::monotonic_ns());
        let mut needed = shared.needed.lock().unwrap_or_else(PoisonError::into_inner);
        needed.insert(key.clone(), BTreeSet::from([checksum]));
        Self { shared, key }
    }
}

impl Drop for Needed<'_> {
    fn drop(&mut self) {
        self.shared.needed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
