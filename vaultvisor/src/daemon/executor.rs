//! Carries out what was decided for one vault, without policy: each action answers with one event.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc, watch};
use url::Url;

use super::{Shared, home::vault_folder};
use crate::{
    artifact::url::Filling,
    config::Vault,
    decide::{Action, Ending, Event, state::Build},
    error_chain::Chained,
    process::{
        handle::{End, Prepared, RunningVault, StartError, Stopper},
        monotonic_ns,
        protocol::{ExitStatus, Spec},
    },
    release::{Checksum, GenesisHash},
};

/// Why a start did not come to its execution.
const GIVEN_UP: &str = "vaultvisor was told to end";

/// The vault that runs now.
#[derive(Debug, Clone)]
struct Current {
    stopper: Arc<Stopper>,
    /// `Some` once it has ended.
    end: watch::Receiver<Option<End>>,
}

/// One vault's hands.
#[derive(Debug)]
pub(super) struct Executor {
    shared: Arc<Shared>,
    vault: Arc<Vault>,
    /// The chain, as soon as it is known; no release is, before.
    pub(super) genesis: Option<GenesisHash>,
    events: mpsc::Sender<Event>,
    current: Arc<std::sync::Mutex<Option<Current>>>,
    /// Set for good by `Stop`: what has not been executed then never is.
    give_up: watch::Sender<bool>,
}

impl Executor {
    pub(super) fn new(
        shared: Arc<Shared>,
        vault: Vault,
        genesis: Option<GenesisHash>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            shared,
            vault: Arc::new(vault),
            genesis,
            events,
            current: Arc::default(),
            give_up: watch::Sender::new(false),
        }
    }

    /// Begins an action; its event comes when it is done. Only `Fetch` may be under way beside another.
    pub(super) fn carry_out(&self, action: Action) {
        match action {
            Action::Fetch(build) => self.answer(fetch(self.shared.clone(), self.vault.clone(), build)),
            Action::Start(build) => self.start(build, None),
            Action::Switch { to } => self.start(to, self.current()),
            Action::Stop => {
                self.give_up.send_replace(true);
                if let Some(current) = self.current() {
                    current.stopper.stop();
                }
            }
            Action::Prune { keep } => self.prune(keep),
            Action::Report(_) => {}
        }
    }

    fn current(&self) -> Option<Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, action: impl Future<Output = Event> + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            // The loop is gone only after a panic of its own.
            let _ = events.send(action.await).await;
        });
    }

    /// Starts a vault, in the place of another if there is one.
    fn start(&self, build: Build, old: Option<Current>) {
        let Some(spec) = self.spec(build.checksum) else {
            let reason = "the chain is not known yet, and the vault's lock is named after it".to_owned();
            return self.answer(async { Event::StartFailed { build, reason } });
        };
        let starting = Starting {
            shared: self.shared.clone(),
            vault: self.vault.clone(),
            build,
            spec,
            give_up: self.give_up.subscribe(),
        };
        let (events, slot) = (self.events.clone(), self.current.clone());
        tokio::spawn(async move {
            let (started, running) = match starting.run(old).await {
                Ok(started) => started,
                Err(event) => return events.send(event).await,
            };
            let (end_sender, end) = watch::channel(None);
            let current = Current { stopper: running.stopper.clone(), end };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
            let pid = running.vault.pid;
            // One task for both, so that the start is told before the end; and the end is told before a switch
            // that waits for it goes on, so that no answer of the switch overtakes it.
            events.send(started).await?;
            let end = running.ended().await;
            events.send(Event::Ended { pid, ending: ending(end) }).await?;
            end_sender.send_replace(Some(end));
            Ok(())
        });
    }

    fn spec(&self, checksum: Checksum) -> Option<Spec> {
        let settings = &self.shared.settings;
        let identity = format!("{}-{}", self.genesis?, self.vault.account);
        let folder = vault_folder(&settings.home, &self.vault.name);
        Some(Spec {
            lock: settings.lock_dir.join(format!("{identity}.lock")),
            marker: identity,
            home: settings.home.clone(),
            // Unique in this boot, and the keeper's records are scoped to the boot.
            run_id: format!("{}-{}", std::process::id(), monotonic_ns()),
            binary_folder: self.shared.store.folder(checksum),
            checksum,
            log: folder.join("log/vault.log"),
            folder,
            stop_signal: self.vault.stop.signal,
            grace_ms: u64::try_from(self.vault.stop.grace.as_millis()).unwrap_or(u64::MAX),
            args: self.vault.args.clone(),
        })
    }

    /// Removes what no vault of the shared store needs, on a thread of its own: a large file takes a while.
    fn prune(&self, keep: Vec<Checksum>) {
        let shared = self.shared.clone();
        let name = self.vault.name.clone();
        tokio::task::spawn_blocking(move || {
            let fetching: BTreeSet<_> =
                shared.downloads.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
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

/// Puts a release's binary into the store.
async fn fetch(shared: Arc<Shared>, vault: Arc<Vault>, build: Build) -> Event {
    let checksum = build.checksum;
    let network = &shared.settings.networks[&vault.network];
    let filling = Filling { version: &build.version, network: &network.name, checksum };
    let urls: Result<Vec<Url>, _> = network.release_urls.iter().map(|url| url.fill(filling)).collect();
    let urls = match urls {
        Ok(urls) => urls,
        Err(error) => return Event::FetchFailed { checksum, reason: Chained(&error).to_string() },
    };
    // All vaults that want one checksum share one download: the second finds the file in the store.
    let turn = shared
        .downloads
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(checksum)
        .or_insert_with(|| Arc::new(Semaphore::new(1)))
        .clone();
    let permit = turn.acquire().await;
    let fetched = shared.fetcher.fetch(checksum, &urls).await;
    drop(permit);
    let mut downloads = shared.downloads.lock().unwrap_or_else(PoisonError::into_inner);
    // The map's and ours: nobody else waits for this file.
    if Arc::strong_count(&turn) <= 2 {
        downloads.remove(&checksum);
    }
    match fetched {
        Ok(()) => Event::Fetched(checksum),
        Err(error) => Event::FetchFailed { checksum, reason: Chained(&error).to_string() },
    }
}

/// One start or switch under way.
struct Starting {
    shared: Arc<Shared>,
    vault: Arc<Vault>,
    build: Build,
    spec: Spec,
    give_up: watch::Receiver<bool>,
}

impl Starting {
    /// Ends with a vault that runs, or with the event that says why none does.
    async fn run(mut self, old: Option<Current>) -> Result<(Event, RunningVault), Event> {
        let build = self.build;
        let not_prepared = |build, reason| Err(Event::NotPrepared { build, reason });
        // Everything that can be done before is done while the old vault runs.
        let prepared = tokio::select! {
            prepared = Prepared::new(&self.shared.keeper, &self.spec, &self.vault.env) => prepared,
            _ = self.give_up.wait_for(|give_up| *give_up) => return not_prepared(build, GIVEN_UP.to_owned()),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return not_prepared(build, Chained(&error).to_string()),
        };
        let old_ended_ns = match old {
            None => None,
            Some(mut old) => {
                old.stopper.stop();
                let end = old.end.wait_for(Option::is_some).await;
                end.ok().and_then(|end| end.flatten()).map(|(_, at_ns)| at_ns)
            }
        };
        if *self.give_up.borrow() {
            return Err(Event::StartFailed { build, reason: GIVEN_UP.to_owned() });
        }
        match prepared.start().await {
            Ok(running) => {
                let nanos = |ended: u64| Duration::from_nanos(running.started_ns.saturating_sub(ended));
                let (pid, downtime) = (running.vault.pid, old_ended_ns.map(nanos));
                Ok((Event::Started { build, pid, downtime }, running))
            }
            Err(StartError::Failed(reason)) => Err(Event::StartFailed { build, reason }),
            Err(error) => {
                let lock_is_held = matches!(error, StartError::Busy { .. });
                Err(Event::NotProvablyGone { build, lock_is_held, reason: Chained(&error).to_string() })
            }
        }
    }
}

fn ending(end: End) -> Ending {
    match end {
        Some((ExitStatus::Code(code), _)) => Ending::Code(code),
        Some((ExitStatus::Signal(signal), _)) => Ending::Signal(signal),
        None => Ending::Unknown,
    }
}
