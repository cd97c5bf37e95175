//! Carries out what was decided for one vault, without policy: each action answers with one event.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc, watch};
use url::Url;

use super::{Shared, fleet::Configured, places, vault_place};
use crate::{
    decide::{Action, Ending, Event, Moment, Observed, state::Build},
    error_chain::Chained,
    process::{
        adopt,
        handle::{Prepared, RunningVault, StartError, Stopper, VaultEvent},
        monotonic_ns,
        protocol::{ExitStatus, Place, Spec},
        unmanaged::find_unmanaged,
    },
    release::{Checksum, GenesisHash, Version},
};

/// Why a start did not come to its execution.
const GIVEN_UP: &str = "vaultvisor was told to end";

/// The vault that runs now.
#[derive(Debug, Clone)]
struct Current {
    stopper: Arc<Stopper>,
    /// `Some` once nothing of it is left: when its main process had ended, if anybody saw it.
    end: watch::Receiver<Option<Option<u64>>>,
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
    current: Arc<std::sync::Mutex<Option<Current>>>,
    /// Set for good by `Stop`: what has not been executed then never is.
    give_up: watch::Sender<bool>,
}

impl Executor {
    pub(super) fn new(
        shared: Arc<Shared>,
        configured: watch::Receiver<Arc<Configured>>,
        genesis: Option<GenesisHash>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let give_up = watch::Sender::new(false);
        Self { shared, configured, genesis, events, current: Arc::default(), give_up }
    }

    /// Begins an action; its event comes when it is done.
    pub(super) fn carry_out(&self, action: Action) {
        match action {
            Action::Fetch(build) => self.answer(fetch(self.shared.clone(), self.configured(), build)),
            Action::Start(build) => self.start(build, None),
            Action::Switch { to } => self.start(to, self.current()),
            Action::Stop => {
                self.give_up.send_replace(true);
                if let Some(current) = self.current() {
                    current.stopper.stop();
                }
            }
            Action::Prune { keep } => self.prune(keep),
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

    fn answer(&self, action: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            // The loop is gone only after its end or a panic of its own.
            let _ = events.send(action.await).await;
        });
    }

    /// What is there of the vault when vaultvisor starts. A process that runs is attached once the loop knows
    /// of it.
    pub(super) async fn observe(&self) -> (Observed, Option<RunningVault>) {
        let Some(place) = self.place() else {
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

    /// Watches over a process that this vaultvisor did not start.
    pub(super) fn attach(&self, running: RunningVault) {
        let (events, slot) = (self.events.clone(), self.current.clone());
        let watched = watch_over(running, &slot, events);
        tokio::spawn(watched);
    }

    /// Starts a vault, in the place of another if there is one.
    fn start(&self, build: Build, old: Option<Current>) {
        let Some(place) = self.place() else {
            let reason = "the chain is not known yet, and the vault's lock is named after it".to_owned();
            return self.answer(async { Event::StartFailed { build, reason } });
        };
        let configured = self.configured();
        let spec = Spec {
            place,
            // Unique in this boot, and the keeper's records are scoped to the boot.
            run_id: format!("{}-{}", std::process::id(), monotonic_ns()),
            version: build.version.to_string(),
            binary_folder: self.shared.store.folder(build.checksum),
            checksum: build.checksum,
            args: configured.vault.args.clone(),
        };
        let starting = Starting {
            shared: self.shared.clone(),
            configured,
            build,
            spec,
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

    /// Removes what no vault of the shared store needs, on a thread of its own: a large file takes a while.
    fn prune(&self, keep: Vec<Checksum>) {
        let shared = self.shared.clone();
        let name = self.configured().vault.name.clone();
        tokio::task::spawn_blocking(move || {
            let fetching: BTreeSet<_> =
                shared.downloads.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
            if !shared.unreadable.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return tracing::warn!(
                    vault = name,
                    "nothing is removed: the state of another vault cannot be read"
                );
            }
            let mut needed: BTreeSet<_> = keep.into_iter().collect();
            let others = shared.needed.lock().unwrap_or_else(PoisonError::into_inner);
            needed.extend(others.values().flatten());
            needed.extend(&fetching);
            // Held until the files are gone, so that no vault begins to need one that is on its way out.
            match shared.store.prune(&needed, &fetching) {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => {
                    let removed: Vec<String> = removed.iter().map(ToString::to_string).collect();
                    tracing::info!(vault = name, removed = removed.join(" "), "removed old releases");
                }
                Err(error) => tracing::warn!(vault = name, "{}", Chained(&error)),
            }
        });
    }
}

/// Puts a running vault into its slot; what comes back tells all that happens to it until nothing is left.
fn watch_over(
    mut running: RunningVault,
    slot: &std::sync::Mutex<Option<Current>>,
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
                VaultEvent::NotEnded { what } => (Event::NotEnded { pid, what }, false),
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
fn build_of(version: &str, checksum: Checksum) -> Result<Build, String> {
    let version = Version::from_bytes(version.as_bytes());
    let version = version.or_else(|_| Version::from_bytes(b"unknown")).map_err(|error| error.to_string())?;
    Ok(Build { version, checksum, uri: None })
}

/// Puts a release's binary into the store.
async fn fetch(shared: Arc<Shared>, configured: Arc<Configured>, build: Build) -> Event {
    let checksum = build.checksum;
    let fetched = match places::release_urls(&configured.network, &build) {
        Ok(urls) => fetch_into_store(&shared, &configured.network.name, checksum, &urls).await,
        Err(reason) => Err(reason),
    };
    match fetched {
        Ok(()) => Event::Fetched(checksum),
        Err(reason) => Event::FetchFailed { checksum, reason },
    }
}

/// Puts a file into the store. All who want one checksum share one download: the second finds it there.
pub(super) async fn fetch_into_store(
    shared: &Shared,
    network: &str,
    checksum: Checksum,
    urls: &[Url],
) -> Result<(), String> {
    let turn = shared
        .downloads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(checksum)
        .or_insert_with(|| Arc::new(Semaphore::new(1)))
        .clone();
    let permit = turn.acquire().await;
    let fetcher = shared.fetcher.counting_in(shared.counters.downloads(network));
    let fetched = fetcher.fetch(checksum, urls).await;
    drop(permit);
    let mut downloads = shared.downloads.lock().unwrap_or_else(PoisonError::into_inner);
    // The map's and ours: nobody else waits for this file.
    if Arc::strong_count(&turn) <= 2 {
        downloads.remove(&checksum);
    }
    fetched.map_err(|error| Chained(&error).to_string())
}

/// One start or switch under way.
struct Starting {
    shared: Arc<Shared>,
    configured: Arc<Configured>,
    build: Build,
    spec: Spec,
    give_up: watch::Receiver<bool>,
}

impl Starting {
    /// Ends with a vault that runs, or with the event that says why none does.
    async fn run(mut self, old: Option<Current>) -> Result<(Event, RunningVault), Box<Event>> {
        if old.is_none() {
            self.look_for_unmanaged().await?;
        }
        let build = self.build.clone();
        let not_prepared = |build, reason| Err(Box::new(Event::NotPrepared { build, reason }));
        // Everything that can be done before is done while the old vault runs.
        let env = &self.configured.vault.env;
        let prepared = tokio::select! {
            prepared = Prepared::new(&self.shared.keeper, &self.spec, env) => prepared,
            _ = self.give_up.wait_for(|give_up| *give_up) => return not_prepared(build, GIVEN_UP.to_owned()),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return not_prepared(build, Chained(&error).to_string()),
        };
        let old_died_ns = match old {
            None => None,
            Some(mut old) => {
                old.stopper.stop();
                let end = old.end.wait_for(Option::is_some).await;
                end.ok().and_then(|end| end.flatten())
            }
        };
        if *self.give_up.borrow() {
            return Err(Box::new(Event::StartFailed { build, reason: GIVEN_UP.to_owned() }));
        }
        match prepared.start().await {
            Ok(running) => {
                let nanos = |ended: u64| Duration::from_nanos(running.started_ns.saturating_sub(ended));
                let (pid, downtime) = (running.vault.pid, old_died_ns.map(nanos));
                Ok((Event::Started { build, pid, downtime }, running))
            }
            Err(StartError::Failed(reason)) => Err(Box::new(Event::StartFailed { build, reason })),
            Err(error) => self.look_at_holder(error).await,
        }
    }

    /// The lock is not free. Its holder may be a vault of ours that could not be taken over before, because its
    /// keeper was in the middle of starting it.
    async fn look_at_holder(self, error: StartError) -> Result<(Event, RunningVault), Box<Event>> {
        let lock_is_held = matches!(error, StartError::Busy { .. });
        if lock_is_held
            && let adopt::Observed::Runs(running) = adopt::observe(&self.spec.place).await
            && let Ok(build) = build_of(&running.run.version, running.run.checksum)
        {
            let started = Event::Started { build, pid: running.vault.pid, downtime: None };
            return Ok((started, *running));
        }
        let reason = Chained(&error).to_string();
        Err(Box::new(Event::NotProvablyGone { build: self.build, lock_is_held, reason }))
    }

    /// Before a start where none of ours runs: a vault that somebody started by hand has no lock of ours.
    async fn look_for_unmanaged(&self) -> Result<(), Box<Event>> {
        let (args, marker) = (self.spec.args.clone(), self.spec.place.marker.clone());
        let found = tokio::task::spawn_blocking(move || find_unmanaged(&args, &marker)).await;
        let reason = match found {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(unmanaged))) => unmanaged.why,
            Ok(Err(error)) => format!("cannot look for vaults that somebody else started: {error}"),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        Err(Box::new(Event::NotProvablyGone { build: self.build.clone(), lock_is_held: false, reason }))
    }
}

fn ending(status: Option<ExitStatus>) -> Ending {
    match status {
        Some(ExitStatus::Code(code)) => Ending::Code(code),
        Some(ExitStatus::Signal(signal)) => Ending::Signal(signal),
        None => Ending::Unknown,
    }
}
