//! Wiring: the tasks of one running vaultvisor, and how they end.
//!
//! - [`home`]: the folder of everything durable, and the lock that makes this vaultvisor its only one;
//! - `network_task`: follows one chain and makes what it saw durable before any vault hears of it;
//! - `vault_task`: the loop of events and decisions of one vault;
//! - `executor`: carries out the actions of one vault.

mod executor;
pub mod home;
mod network_task;
mod vault_task;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
    task::AbortHandle,
};

use crate::{
    artifact::{
        Store, StoreError,
        fetch::{Fetcher, Limits},
    },
    config::Settings,
    decide::Now,
    journal::{NetworkJournal, ReadError, VaultJournal},
    process::{
        handle::{PrepareError, find_keeper},
        lock::{FolderError, check_folder},
    },
    release::Checksum,
};
use home::{Home, HomeError};

/// Why vaultvisor did not run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The home folder cannot be used, or another vaultvisor uses it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The lock folder cannot be used.
    #[error(transparent)]
    LockFolder(#[from] FolderError),
    /// A durable file cannot be used.
    #[error("cannot use the durable state")]
    Journal(#[from] ReadError),
    /// The artifact store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No keeper could ever be started.
    #[error(transparent)]
    Keeper(#[from] PrepareError),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Http(#[from] reqwest::Error),
    /// Signals cannot be handled.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
    /// No vault could be started, because others hold their locks or may still run.
    #[error("no vault could be started: {}", reasons.join("; "))]
    AllBlocked {
        /// Whether every one is held by another vaultvisor or vault.
        locks_are_held: bool,
        /// For each vault.
        reasons: Vec<String>,
    },
}

/// What the vaults of one daemon share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    store: Store,
    fetcher: Fetcher,
    keeper: std::path::PathBuf,
    /// What each vault needs from the store. A file goes only when none needs it.
    needed: Mutex<BTreeMap<String, BTreeSet<Checksum>>>,
    /// One download at a time for each checksum: who comes second finds the file there.
    downloads: Mutex<BTreeMap<Checksum, Arc<Semaphore>>>,
}

/// What the daemon itself needs to know of a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// Nothing was tried yet, or nothing can be.
    Undecided,
    /// It runs or ran, or may start on its own at any time.
    Alive,
    /// Its first start was blocked.
    Blocked { lock_is_held: bool, reason: String },
    /// It was stopped on purpose.
    Stopped,
}

/// Supervises until a signal says to end, then stops every vault.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    check_folder(&settings.lock_dir)?;
    let home = Home::open(&settings.home).await?;
    let store = Store::open(&settings.home)?;
    let network_journal = NetworkJournal::new(&settings.home);
    let known_networks = network_journal.load()?;
    let keeper = find_keeper()?;
    let fetcher = Fetcher::new(store.clone(), Limits::default())?;

    let mut recorded = BTreeMap::new();
    for name in settings.vaults.keys() {
        let journal = VaultJournal::new(&home.vault_folder(name)?);
        let state = journal.load()?.unwrap_or_default();
        recorded.insert(name.clone(), (journal, state));
    }
    let needed = recorded
        .iter()
        .map(|(name, (_, recorded))| (name.clone(), recorded.state.needed().into_iter().collect()))
        .collect();
    let shared = Arc::new(Shared {
        settings,
        store,
        fetcher,
        keeper,
        needed: Mutex::new(needed),
        downloads: Mutex::default(),
    });

    let mut network_tasks = Vec::new();
    let mut networks = BTreeMap::new();
    let used: BTreeSet<&str> = shared.settings.vaults.values().map(|vault| vault.network.as_str()).collect();
    for name in used {
        let network = shared.settings.networks[name].clone();
        let known = known_networks.get(name).cloned();
        let (status, task) = network_task::spawn(network, known, network_journal.clone());
        networks.insert(name.to_owned(), status);
        network_tasks.push(AbortOnDrop(task));
    }

    let (shutdown, shutdown_seen) = watch::channel(false);
    let mut tasks = Vec::new();
    let mut progress = Vec::new();
    for (name, (journal, recorded)) in recorded {
        let vault = shared.settings.vaults[&name].clone();
        let chain = networks[&vault.network].clone();
        let genesis = known_networks.get(&vault.network).map(|record| record.genesis);
        let genesis = shared.settings.networks[&vault.network].genesis.or(genesis);
        let (sender, receiver) = watch::channel(Progress::Undecided);
        let task = vault_task::VaultTask::new(shared.clone(), vault, genesis, journal, recorded, sender);
        progress.push(receiver);
        tasks.push(tokio::spawn(task.run(chain, shutdown_seen.clone())));
    }
    tracing::info!(vaults = tasks.len(), home = %shared.settings.home.display(), "vaultvisor runs");

    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        blocked = all_blocked(progress) => Err(blocked),
    };
    tracing::info!("stopping the vaults");
    // Further signals change nothing: the vaults end within their graces. The receivers stay, so that a
    // second SIGINT does not kill us in the middle of it.
    shutdown.send_replace(true);
    for ended in join_all(tasks).await {
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic.into_panic());
        }
    }
    drop((terminate, interrupt, home));
    outcome
}

/// Comes back only if the first start of every vault was blocked: then there is nothing to supervise.
async fn all_blocked(progress: Vec<watch::Receiver<Progress>>) -> RunError {
    let first_outcome = |mut receiver: watch::Receiver<Progress>| async move {
        let decided = receiver.wait_for(|progress| *progress != Progress::Undecided).await;
        decided.map_or(Progress::Stopped, |progress| progress.clone())
    };
    let mut outcomes: FuturesUnordered<_> = progress.into_iter().map(first_outcome).collect();
    let (mut locks_are_held, mut reasons) = (true, Vec::new());
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Progress::Blocked { lock_is_held, reason } => {
                locks_are_held &= lock_is_held;
                reasons.push(reason);
            }
            _ => std::future::pending().await,
        }
    }
    RunError::AllBlocked { locks_are_held, reasons }
}

/// A background task that ends with its owner.
#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Both clocks, now.
pub(crate) fn now() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let millis = boot.tv_sec.unsigned_abs() * 1000 + boot.tv_nsec.unsigned_abs() / 1_000_000;
    Now { moment: crate::decide::Moment(millis), unix_secs: unix_secs(std::time::SystemTime::now()) }
}

fn unix_secs(time: std::time::SystemTime) -> u64 {
    time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
