//! Wiring: the tasks of one running vaultvisor, its signals, and how it ends.
//!
//! - [`home`]: the folder of everything durable, and the lock that makes this vaultvisor its only one;
//! - `fleet`: which vaults and networks are supervised, and how a new configuration is put in force;
//! - `network_task`: follows one chain and makes what it saw durable before any vault hears of it;
//! - `announce`: what the chain's events tell of the releases that it states;
//! - `vault_task`: the loop of events and decisions of one vault;
//! - `executor`: carries out the actions of one vault;
//! - `fetching`: puts a release's files into the store;
//! - `fitness`: whether a release could run here;
//! - `staging`: makes ready what a release needs besides its binary, while the old one runs;
//! - `starting`: one start or switch, from the keeper that waits to the vault that runs;
//! - `turns`: how many starts and switches are under way at once;
//! - `places`: where a release's binary is fetched from;
//! - `vault_place`: where a vault's files and its lock are; `policy`: how it is to be treated;
//! - `health`: asks a vault on probation whether it is well;
//! - `control`, `operator`: the control socket, and what an operator asks for on it;
//! - `chronicle`: writes the history;
//! - `web`: serves the status over HTTP;
//! - [`forget`]: what was seen of a chain goes, after it was reset;
//! - `notify`: tells a service manager how far we are.

mod announce;
mod chronicle;
mod control;
mod executor;
mod fetching;
mod fitness;
mod fleet;
pub mod forget;
mod health;
pub mod home;
mod network_task;
mod notify;
mod operator;
pub(crate) mod places;
mod policy;
mod signals;
mod staging;
mod starting;
mod turns;
pub(crate) mod vault_place;
mod vault_task;
mod web;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, task::AbortHandle, time::Instant};

use crate::{
    artifact::{
        Store, StoreError,
        downloads::Downloads,
        fetch::{Fetcher, Limits},
    },
    config::{ConfigError, Settings},
    decide::{BootId, Now},
    error_chain::Chained,
    metrics::Counters,
    process::{
        boot_id, descriptors,
        handle::{PrepareError, find_keeper},
        lock::{FolderError, check_folder},
    },
    release::Checksum,
};
use chronicle::Chronicle;
pub(crate) use executor::observe;
use fitness::Probes;
use fleet::{Fleet, Goal, Tasks};
use home::{Home, HomeError};
pub(crate) use policy::policy;
use signals::{Signal, Signals};
use turns::Turns;

/// A vault's task that failed is begun again after this long: often enough to be soon, rarely enough that one
/// which fails at once does not fill the log.
const BEGIN_AGAIN: Duration = Duration::from_secs(10);
/// The history of the last decisions is on disk within this, or the disk does not answer.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Why vaultvisor did not run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The home folder cannot be used, or another vaultvisor uses it.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The lock folder cannot be used.
    #[error(transparent)]
    LockFolder(#[from] FolderError),
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
    /// The control socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system does not say which boot this is.
    #[error("cannot read the identity of this boot")]
    Boot(#[source] io::Error),
    /// Nothing of any vault can be used.
    #[error("no vault can be supervised: {}", reasons.join("; "))]
    NoneUsable {
        /// For each vault.
        reasons: Vec<String>,
    },
    /// Everything was told to end, and something did not.
    #[error("not everything has ended: {}", left.join("; "))]
    LeftBehind {
        /// For each vault.
        left: Vec<String>,
    },
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
    home: PathBuf,
    lock_dir: PathBuf,
    boot: BootId,
    store: Store,
    keeper: PathBuf,
    /// Asks health URLs.
    health: reqwest::Client,
    chronicle: Chronicle,
    /// What happened, for Prometheus.
    counters: Counters,
    /// What each vault needs from the store. A file goes only when none needs it.
    needed: Mutex<BTreeMap<String, BTreeSet<Checksum>>>,
    /// The vaults whose needs cannot be read. While there is one, no file goes: it could be theirs.
    unreadable: Mutex<BTreeSet<String>>,
    downloads: Downloads,
    probes: Probes,
    turns: Turns,
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

/// Supervises until a signal says to end; then stops every vault, or leaves them running if the signal says so.
///
/// `read_again` reads the configuration anew, for SIGHUP.
pub async fn run(
    settings: Settings,
    read_again: impl Fn() -> Result<Settings, ConfigError>,
) -> Result<(), RunError> {
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    if let Err(error) = descriptors::raise() {
        // Few vaults need no more than any process has.
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    check_folder(&settings.lock_dir)?;
    let home = Home::open(&settings.home).await?;
    let store = Store::open(&settings.home)?;
    let limits = Limits { max_bytes: settings.max_artifact_bytes, ..Limits::default() };
    let (chronicle, _writing) = Chronicle::open(&settings.home);
    let shared = Arc::new(Shared {
        home: settings.home.clone(),
        lock_dir: settings.lock_dir.clone(),
        boot: BootId(boot_id().map_err(RunError::Boot)?),
        downloads: Downloads::new(Fetcher::new(store.clone(), limits)?),
        store,
        keeper: find_keeper()?,
        health: health::client()?,
        chronicle,
        counters: Counters::default(),
        needed: Mutex::default(),
        unreadable: Mutex::default(),
        probes: Probes::default(),
        turns: Turns::of_this_machine(),
    });
    let socket = control::Socket::bind(&settings.home).map_err(|source| {
        let path = settings.home.join(crate::control::SOCKET);
        RunError::Control { path, source }
    })?;

    let http = settings.http;
    let fleet = Arc::new(Fleet::new(shared.clone(), settings));
    let mut tasks = Tasks::new();
    fleet.reconcile(&mut tasks);
    let answering = tokio::spawn(socket.serve(fleet.clone()));
    let serving = http.map(|http| tokio::spawn(web::serve(http, fleet.clone())).abort_handle());
    let _serving = AbortOnDrop(serving);
    tracing::info!(vaults = tasks.len(), home = %shared.home.display(), "vaultvisor runs");
    notify::ready();

    let outcome = supervise(&fleet, &mut tasks, &mut signals, read_again).await;
    answering.abort();
    // Its end removes the socket.
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, answering).await;
    if tokio::time::timeout(FLUSH_TIMEOUT, shared.chronicle.flush()).await.is_err() {
        tracing::error!("the end of the history could not be written");
    }
    // The signals are handled until here, and the home is ours until the process ends: a write whose disk hangs may still
    // be under way in it.
    drop(signals);
    std::mem::forget(home);
    outcome
}

/// Until no task is left because none should be.
async fn supervise(
    fleet: &Fleet,
    tasks: &mut Tasks,
    signals: &mut Signals,
    read_again: impl Fn() -> Result<Settings, ConfigError>,
) -> Result<(), RunError> {
    let (progress, broken) = fleet.progress();
    let mut all_blocked = std::pin::pin!(all_blocked(progress, broken));
    let mut is_settled = false;
    let mut begin_again_at: Option<Instant> = None;
    let mut outcome = Ok(());
    let mut goal = Goal::Supervise;
    let mut left = Vec::new();
    loop {
        if goal != Goal::Supervise && tasks.is_empty() {
            return if left.is_empty() { outcome } else { outcome.and(Err(RunError::LeftBehind { left })) };
        }
        tokio::select! {
            signal = signals.next() => {
                match (signal, goal) {
                    (Signal::Reload, Goal::Supervise) => {
                        reload(fleet, tasks, &read_again);
                        is_settled = true;
                    }
                    (Signal::Stop, Goal::Supervise | Goal::Leave) => {
                        tracing::info!("stopping the vaults");
                        goal = Goal::Stop;
                    }
                    (Signal::Leave, Goal::Supervise) => {
                        tracing::info!("leaving the vaults running");
                        goal = Goal::Leave;
                    }
                    // Asked again, nothing changes: the vaults end within their graces.
                    _ => tracing::info!("already ending; the vaults end within their graces"),
                }
                if goal != Goal::Supervise {
                    notify::stopping();
                    fleet.aim(goal);
                }
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(mut ended) => {
                    // Of a vault that was removed while others go on, its own report says it.
                    left.extend(ended.left.take().filter(|_| goal != Goal::Supervise));
                    if fleet.ended(ended) {
                        begin_again_at = Some(Instant::now() + BEGIN_AGAIN);
                    } else {
                        fleet.reconcile(tasks);
                    }
                }
                // Their own panics are caught: this one is of the wiring.
                Err(error) => tracing::error!(%error, "a vault's task is gone"),
            },
            () = at(begin_again_at) => {
                begin_again_at = None;
                fleet.reconcile(tasks);
            }
            error = &mut all_blocked, if !is_settled && goal == Goal::Supervise => {
                is_settled = true;
                outcome = Err(error);
                // What is in the way may be a vault of our own that cannot be taken over: it runs on.
                goal = Goal::Leave;
                fleet.aim(goal);
            }
        }
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Puts the configuration in force that the file holds now; a bad one leaves the old in force.
fn reload(fleet: &Fleet, tasks: &mut Tasks, read_again: impl Fn() -> Result<Settings, ConfigError>) {
    notify::reloading();
    let refused = |what: String| {
        let what = format!("{what}\nthe configuration from before stays in force");
        tracing::error!("{what}");
        fleet.refused(what);
    };
    match read_again().map(|settings| fleet.take_up(settings)) {
        Ok(Ok(())) => {
            fleet.reconcile(tasks);
            tracing::info!("the configuration was read again and is in force");
        }
        Ok(Err(problems)) => {
            let problems: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            refused(format!("the configuration cannot be put in force while vaultvisor runs:{problems}"));
        }
        Err(error) => refused(Chained(&error).to_string()),
    }
    notify::ready();
}

/// Comes back only if the first start of every vault was blocked and they all still are, or nothing of it can be
/// used: then there is nothing to supervise.
async fn all_blocked(mut progress: Vec<watch::Receiver<Progress>>, broken: Vec<String>) -> RunError {
    if progress.is_empty() {
        return RunError::NoneUsable { reasons: broken };
    }
    for receiver in &mut progress {
        // A clone, for what is borrowed keeps the vault's task from saying anything new.
        let decided =
            receiver.wait_for(|progress| *progress != Progress::Undecided).await.map(|it| it.clone());
        if !matches!(decided, Ok(Progress::Blocked { .. })) {
            return std::future::pending().await;
        }
    }
    // Looked at again, for while one was waited for, another may have come alive.
    let (mut locks_are_held, mut reasons) = (true, broken);
    for receiver in &progress {
        let now = receiver.borrow().clone();
        let Progress::Blocked { lock_is_held, reason } = now else {
            return std::future::pending().await;
        };
        locks_are_held &= lock_is_held;
        reasons.push(reason);
    }
    RunError::AllBlocked { locks_are_held, reasons }
}

/// A background task that ends with its owner.
#[derive(Debug)]
struct AbortOnDrop(Option<AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Both clocks, now. The monotonic one is that of the timers: it stands still while the machine sleeps.
///
/// Both change to their next millisecond together, so that one can be told in terms of the other.
pub(crate) fn now() -> Now {
    const NS_A_MS: u64 = 1_000_000;
    let monotonic_ns = crate::process::monotonic_ns();
    let unix_ns = u64::try_from(since_1970(std::time::SystemTime::now()).as_nanos()).unwrap_or(u64::MAX);
    Now {
        moment: crate::decide::Moment(monotonic_ns / NS_A_MS),
        unix_ms: unix_ns.saturating_sub(monotonic_ns % NS_A_MS) / NS_A_MS,
    }
}

fn unix_secs(time: std::time::SystemTime) -> u64 {
    since_1970(time).as_secs()
}

fn since_1970(time: std::time::SystemTime) -> std::time::Duration {
    // A clock from before 1970 is as wrong as one of 1970.
    time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
