//! Carries out what was decided for one vault, without policy: each action answers with one event.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::{
    Shared, fetching,
    fleet::Configured,
    home::vault_folder,
    staging::Staging,
    starting::{Starting, resolve, work_of},
    vault_place,
};
use crate::{
    crash_points,
    decide::{
        Action, Ending, Event, Moment, Observed,
        data::{DataLeft, Launch, Migrations},
        state::Build,
    },
    error_chain::Chained,
    migrate::snapshot::Snapshots,
    process::{
        adopt,
        handle::{RunningVault, Stopper, VaultEvent},
        id::Processes,
        monotonic_ns,
        protocol::{ExitStatus, PROTOCOL, Place, Spec},
    },
    release::{Checksum, GenesisHash, Version},
};

/// A download that was given up has let go of its file within this, unless its disk hangs.
const SETTLE: Duration = Duration::from_secs(2);

/// The vault that runs now.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) stopper: Arc<Stopper>,
    /// `Some` once nothing of it is left: when its main process had ended, if anybody saw it.
    pub(super) end: watch::Receiver<Option<Option<u64>>>,
}

/// One vault's hands.
#[derive(Debug)]
pub(super) struct Executor {
    shared: Arc<Shared>,
    configured: watch::Receiver<Arc<Configured>>,
    /// The chain, as soon as it is known; no release is, before.
    pub(super) genesis: Option<GenesisHash>,
    /// Where everything that happens to the vault is told.
    pub(super) events: mpsc::Sender<Event>,
    current: Arc<Mutex<Option<Current>>>,
    /// The snapshot that is being staged, which nobody else knows of yet.
    staging: Arc<Mutex<Option<u64>>>,
    /// Set for good by `Stop`: what has not been executed then never is.
    give_up: watch::Sender<bool>,
    /// The fetches under way, by the release's binary.
    fetches: Mutex<Vec<(Checksum, AbortHandle)>>,
}

impl Executor {
    pub(super) fn new(
        shared: Arc<Shared>,
        configured: watch::Receiver<Arc<Configured>>,
        genesis: Option<GenesisHash>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let give_up = watch::Sender::new(false);
        Self {
            shared,
            configured,
            genesis,
            events,
            current: Arc::default(),
            staging: Arc::default(),
            give_up,
            fetches: Mutex::default(),
        }
    }

    /// Begins an action; its event comes when it is done.
    pub(super) fn carry_out(&self, action: Action) {
        let name = name(&action);
        crash_points::reached(format_args!("{name}: to be begun"));
        self.begin(action);
        crash_points::reached(format_args!("{name}: begun"));
    }

    fn begin(&self, action: Action) {
        match action {
            Action::Fetch(build) => self.fetch(build),
            Action::Stage(stage) => {
                let staging = Staging {
                    shared: self.shared.clone(),
                    configured: self.configured(),
                    snapshot: self.staging.clone(),
                    give_up: self.give_up.subscribe(),
                };
                self.answer(staging.stage(stage));
            }
            Action::Start(launch) => self.start(launch, None),
            Action::Switch { to } => self.start(to, self.current()),
            Action::Stop => {
                self.give_up.send_replace(true);
                if let Some(current) = self.current() {
                    current.stopper.stop();
                }
            }
            Action::StopOwn => {
                let place = self.place();
                self.answer(async move {
                    let left = match place {
                        Some(place) => adopt::stop_own(&place).await,
                        None => None,
                    };
                    Event::Cleared { left: left.map(|left| left.what) }
                });
            }
            Action::Prune { keep } => self.prune(keep),
            Action::PruneSnapshots { keep } => self.prune_snapshots(keep),
            // Told to people by the loop.
            Action::Report { .. } | Action::History(_) | Action::Answer { .. } => {}
        }
    }

    fn configured(&self) -> Arc<Configured> {
        self.configured.borrow().clone()
    }

    fn current(&self) -> Option<Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, action: impl Future<Output = Event> + Send + 'static) -> AbortHandle {
        let events = self.events.clone();
        let answering = tokio::spawn(async move {
            // The loop is gone only after its end or a panic of its own.
            let _ = events.send(action.await).await;
        });
        answering.abort_handle()
    }

    fn fetch(&self, build: Build) {
        let checksum = build.checksum;
        let fetch = self.answer(fetching::fetch(self.shared.clone(), self.configured(), build));
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        fetches.retain(|(_, fetch)| !fetch.is_finished());
        fetches.push((checksum, fetch));
    }

    /// Gives up the fetches of what is not needed any more, which then are not answered; answers of what.
    fn give_up_fetches(&self, is_needed: impl Fn(Checksum) -> bool) -> Vec<Checksum> {
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        fetches.retain(|(_, fetch)| !fetch.is_finished());
        let given_up = fetches.extract_if(.., |(checksum, _)| !is_needed(*checksum));
        let end = |(checksum, fetch): (Checksum, AbortHandle)| {
            fetch.abort();
            checksum
        };
        given_up.map(end).collect()
    }

    /// What is there of the vault when vaultvisor starts. A process that runs is attached once the loop knows
    /// of it.
    pub(super) async fn observe(&self) -> (Observed, Option<RunningVault>) {
        observe(self.place()).await
    }

    /// Watches over a process that this vaultvisor did not start.
    pub(super) fn attach(&self, running: RunningVault) {
        let (events, slot) = (self.events.clone(), self.current.clone());
        let watched = watch_over(running, &slot, events);
        tokio::spawn(watched);
    }

    /// Starts a vault, in the place of another if there is one.
    fn start(&self, launch: Launch, old: Option<Current>) {
        let build = launch.build.clone();
        let Some(place) = self.place() else {
            let reason = "the chain is not known yet, and the vault's lock is named after it".to_owned();
            let data = DataLeft::Untouched;
            return drop(self.answer(async move { Event::StartFailed { build, reason, data } }));
        };
        let configured = self.configured();
        let args = match resolve(&launch.arguments, &place.folder) {
            Ok(args) => args,
            Err(reason) => return drop(self.answer(async { Event::NotPrepared { build, reason } })),
        };
        let starting = Starting {
            shared: self.shared.clone(),
            snapshots: Snapshots::new(&place.folder),
            spec: Spec {
                protocol: PROTOCOL,
                // Unique in this boot, and the keeper's records are scoped to the boot.
                run_id: format!("{}-{}", std::process::id(), monotonic_ns()),
                version: build.version.to_string(),
                binary_folder: self.shared.store.folder(build.checksum),
                checksum: build.checksum,
                work: work_of(&launch, &configured, &self.shared, &place.folder),
                args,
                place,
            },
            configured,
            launch,
            give_up: self.give_up.subscribe(),
        };
        let (events, slot) = (self.events.clone(), self.current.clone());
        tokio::spawn(async move {
            let (started, running) = match starting.run(old).await {
                Ok(started) => started,
                Err(event) => {
                    // As above: the loop is gone only after its end.
                    let _ = events.send(*event).await;
                    return;
                }
            };
            // The slot is filled before the start is told, so that whoever hears of it can stop it; and one task
            // tells both start and end, so that they come in this order.
            let watched = watch_over(running, &slot, events.clone());
            if events.send(started).await.is_ok() {
                watched.await;
            }
        });
    }

    fn place(&self) -> Option<Place> {
        let configured = self.configured();
        Some(vault_place::place(&self.shared.home, &self.shared.lock_dir, &configured.vault, self.genesis?))
    }

    fn prune_snapshots(&self, keep: Vec<u64>) {
        let vault = self.configured().vault.name.clone();
        let snapshots = Snapshots::new(&vault_folder(&self.shared.home, &vault));
        // What is begun from now on is nobody's to remove.
        let staging = *self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let there = snapshots.ids();
        tokio::task::spawn_blocking(move || {
            let unneeded = |ids: Vec<u64>| {
                ids.into_iter().filter(|id| !keep.contains(id) && Some(*id) != staging).collect::<Vec<_>>()
            };
            match there.map(unneeded).and_then(|unneeded| snapshots.remove(&unneeded).map(|()| unneeded)) {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => tracing::info!(vault, ?removed, "removed old snapshots of the data"),
                Err(error) => tracing::warn!(vault, "{}", Chained(&error)),
            }
        });
    }

    /// Gives up the downloads that this vault does not need any more, and removes what no vault of the shared store
    /// needs, on a thread of its own: a large file takes a while.
    fn prune(&self, keep: Vec<Checksum>) {
        let shared = self.shared.clone();
        let name = self.configured().vault.name.clone();
        // It may have waited for the disk: what is needed by now stays as well.
        let now = {
            let needed = shared.needed.lock().unwrap_or_else(PoisonError::into_inner);
            needed.get(&name).cloned().unwrap_or_default()
        };
        let given_up = self.give_up_fetches(|checksum| keep.contains(&checksum) || now.contains(&checksum));
        tokio::spawn(async move {
            for checksum in given_up {
                // Somebody else may want it all the same, and goes on with it.
                let _ = tokio::time::timeout(SETTLE, shared.downloads.settled(checksum)).await;
            }
            tokio::task::spawn_blocking(move || remove_unneeded(&shared, &name, keep));
        });
    }
}

/// What an action is called where it is only to be told from others.
fn name(action: &Action) -> &'static str {
    match action {
        Action::Fetch(_) => "fetch",
        Action::Stage(_) => "stage",
        Action::Start(_) => "start",
        Action::Switch { .. } => "switch",
        Action::Stop => "stop",
        Action::StopOwn => "stop own",
        Action::Prune { .. } => "prune",
        Action::PruneSnapshots { .. } => "prune snapshots",
        Action::Report { .. } => "report",
        Action::History(_) => "history",
        Action::Answer { .. } => "answer",
    }
}

fn remove_unneeded(shared: &Shared, name: &str, keep: Vec<Checksum>) {
    let fetching = shared.downloads.under_way();
    if !shared.unreadable.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        return tracing::warn!(vault = name, "nothing is removed: the state of another vault cannot be read");
    }
    let mut needed: BTreeSet<_> = keep.into_iter().chain(fetching).collect();
    let others = shared.needed.lock().unwrap_or_else(PoisonError::into_inner);
    needed.extend(others.values().flatten());
    // Held until the files are gone, so that no vault begins to need one that is on its way out.
    match shared.store.prune(&needed) {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => {
            let removed: Vec<String> = removed.iter().map(ToString::to_string).collect();
            tracing::info!(vault = name, removed = removed.join(" "), "removed old releases");
        }
        Err(error) => tracing::warn!(vault = name, "{}", Chained(&error)),
    }
}

/// What is there of the vault at this place. It is looked at, and neither started, stopped nor waited for; a chain
/// that is not known has no place.
pub(crate) async fn observe(place: Option<Place>) -> (Observed, Option<RunningVault>) {
    let Some(place) = place else {
        // A chain that was never seen: nothing was ever started on it.
        return (Observed::Nothing, None);
    };
    let unknown = |reason| (Observed::NotProvable { lock_is_held: false, reason }, None);
    match adopt::observe(&place).await {
        adopt::Observed::Nothing | adopt::Observed::Gone { pid: None, .. } => (Observed::Nothing, None),
        adopt::Observed::Runs(running) => match build_of(&running.run.version, running.run.checksum) {
            Ok(build) => {
                let since = Moment(running.started_ns / 1_000_000);
                let (pid, told_to_end) = (running.vault.pid, running.told_to_end());
                (Observed::Runs { build, pid, since, told_to_end }, Some(*running))
            }
            Err(reason) => unknown(reason),
        },
        adopt::Observed::Gone { run, pid: Some(pid), status, told_to_end } => {
            match run.map(|run| build_of(&run.version, run.checksum)).transpose() {
                Ok(build) => (Observed::Ended { build, pid, ending: ending(status), told_to_end }, None),
                Err(reason) => unknown(reason),
            }
        }
        adopt::Observed::NotProvable { lock_is_held, reason } => {
            (Observed::NotProvable { lock_is_held, reason }, None)
        }
    }
}

/// Puts a running vault into its slot; what comes back tells all that happens to it until nothing is left.
fn watch_over(
    mut running: RunningVault,
    slot: &Mutex<Option<Current>>,
    events: mpsc::Sender<Event>,
) -> impl Future<Output = ()> + Send + use<> {
    let (end_sender, end) = watch::channel(None);
    let current = Current { stopper: running.stopper.clone(), end };
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
    async move {
        let pid = running.vault.pid;
        let mut died_at = None;
        while let Some(event) = running.next().await {
            let (event, is_last) = match event {
                VaultEvent::Died { status, at_ns } => {
                    died_at = Some(at_ns);
                    (Event::Died { pid, ending: ending(status) }, false)
                }
                VaultEvent::NotEnded(Processes { pids: left, what }) => {
                    (Event::NotEnded { pid, left, what }, false)
                }
                VaultEvent::Ended { .. } => (Event::Ended { pid }, true),
            };
            // The end is told before a switch that waits for it goes on, so that no answer of the switch
            // overtakes it.
            if events.send(event).await.is_err() {
                return;
            }
            if is_last {
                end_sender.send_replace(Some(died_at));
            }
        }
    }
}

/// The build of a run record. Its version is only a label: what ran is known by its checksum.
pub(super) fn build_of(version: &str, checksum: Checksum) -> Result<Build, String> {
    let version = Version::from_bytes(version.as_bytes());
    let version = version.or_else(|_| Version::from_bytes(b"unknown")).map_err(|error| error.to_string())?;
    Ok(Build { version, checksum, uri: None, migrations: Migrations::default() })
}

fn ending(status: Option<ExitStatus>) -> Ending {
    match status {
        Some(ExitStatus::Code(code)) => Ending::Code(code),
        Some(ExitStatus::Signal(signal)) => Ending::Signal(signal),
        None => Ending::Unknown,
    }
}
