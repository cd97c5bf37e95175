//! The loop of one vault: event, decision, journal, action. It holds no policy.

use std::{
    collections::BTreeSet,
    future,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Progress, Shared, executor::Executor, now};
use crate::{
    chain::ChainStatus,
    config::Vault,
    decide::{self, Action, Decision, Event, Policy, State, state::Phase},
    error_chain::Chained,
    journal::{Recorded, VaultJournal},
    release::GenesisHash,
};

/// A vault has a handful of actions under way at most; each answers with one event.
const EVENT_QUEUE: usize = 16;
/// Between two tries to write a state that could not be written, for want of room on the disk say.
const JOURNAL_RETRY: Duration = Duration::from_secs(2);

/// One vault's task.
pub(super) struct VaultTask {
    name: String,
    shared: Arc<Shared>,
    journal: VaultJournal,
    recorded: Recorded,
    policy: Policy,
    executor: Executor,
    events: mpsc::Receiver<Event>,
    progress: watch::Sender<Progress>,
    /// The moment of the newest decision.
    decided_at: decide::Moment,
    /// Set while the newest state could not be written: when that is tried again.
    write_again_at: Option<Instant>,
    /// Switches that wait until it is; one at most.
    waiting_actions: Vec<Action>,
}

impl VaultTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        vault: Vault,
        genesis: Option<GenesisHash>,
        journal: VaultJournal,
        recorded: Recorded,
        progress: watch::Sender<Progress>,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let policy = Policy { probation: vault.probation, seed: seed(&vault.name) };
        let name = vault.name.clone();
        let executor = Executor::new(shared.clone(), vault, genesis, sender);
        let decided_at = decide::Moment::default();
        let (write_again_at, waiting_actions) = (None, Vec::new());
        Self {
            name,
            shared,
            journal,
            recorded,
            policy,
            executor,
            events,
            progress,
            decided_at,
            write_again_at,
            waiting_actions,
        }
    }

    /// Runs until the vault was stopped on purpose.
    pub(super) async fn run(
        mut self,
        mut chain: watch::Receiver<ChainStatus>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let stored = self.shared.store.checksums().unwrap_or_else(|error| {
            tracing::error!(vault = self.name, "{}", Chained(&error));
            Vec::new()
        });
        self.step(&Event::Recovered { stored }).await;
        let mut told_to_end = false;
        while self.recorded.state.process != Phase::Stopped {
            let wake_at = decide::wake_at(&self.recorded.state, self.decided_at);
            tokio::select! {
                // What has been done comes before what might be done next.
                biased;
                Some(event) = self.events.recv() => self.step(&event).await,
                () = told_to(&mut shutdown), if !told_to_end => {
                    told_to_end = true;
                    self.step(&Event::Shutdown).await;
                }
                () = wait_for_instant(self.write_again_at) => self.write_again().await,
                Ok(()) = chain.changed() => {
                    let status = chain.borrow_and_update().clone();
                    self.chain(status).await;
                }
                () = wait_until(wake_at) => self.step(&Event::Tick).await,
            }
        }
        self.progress.send_replace(Progress::Stopped);
    }

    async fn chain(&mut self, status: ChainStatus) {
        if let Some(view) = &status.view {
            self.executor.genesis = Some(view.genesis);
        }
        self.step(&Event::Chain { view: status.view.map(Box::new), problem: status.problem }).await;
    }

    async fn step(&mut self, event: &Event) {
        let now = now();
        self.decided_at = now.moment;
        let Decision { next, actions } = decide::decide(&self.recorded.state, event, now, &self.policy);
        if next != self.recorded.state {
            self.take_up(next);
            self.write().await;
        }
        for action in actions {
            match action {
                Action::Report(text) => tracing::info!(vault = self.name, "{text}"),
                // Only a switch gives up something that runs, so only it waits for its durable record. What
                // keeps a vault alive or stops it must not wait for room on a disk: the lock, and not the
                // journal, is the proof that nothing else runs.
                Action::Switch { .. } if self.write_again_at.is_some() => self.waiting_actions.push(action),
                // A switch that waits is carried out now: it finds that it was given up, and says so.
                Action::Stop => {
                    self.executor.carry_out(Action::Stop);
                    self.carry_out_waiting();
                }
                action => self.executor.carry_out(action),
            }
        }
        let progress = progress(&self.recorded.state, &self.progress.borrow());
        self.progress.send_replace(progress);
    }

    fn take_up(&mut self, next: State) {
        let needed: BTreeSet<_> = next.needed().into_iter().collect();
        self.shared.needed.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name.clone(), needed);
        if next.name() != self.recorded.state.name() {
            self.recorded.since_unix_secs = now().unix_secs;
            tracing::info!(vault = self.name, from = %self.recorded.state.name(), to = %next.name(), "state");
        }
        self.recorded.state = next;
    }

    /// Tries once to make the state durable.
    async fn write(&mut self) {
        let (journal, recorded) = (self.journal.clone(), self.recorded.clone());
        match tokio::task::spawn_blocking(move || journal.store(&recorded)).await {
            Ok(Ok(())) => self.write_again_at = None,
            Ok(Err(error)) => {
                self.write_again_at = Some(Instant::now() + JOURNAL_RETRY);
                let why = Chained(&error);
                tracing::error!(vault = self.name, "{why}; tried again soon, and no switch is begun before");
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    async fn write_again(&mut self) {
        self.write().await;
        if self.write_again_at.is_none() {
            self.carry_out_waiting();
        }
    }

    fn carry_out_waiting(&mut self) {
        for action in self.waiting_actions.drain(..) {
            self.executor.carry_out(action);
        }
    }
}

/// A vault that ever ran, or that waits for something else than a lock, keeps its daemon alive.
fn progress(state: &State, before: &Progress) -> Progress {
    match &state.process {
        Phase::Waiting | Phase::Launching { .. } => before.clone(),
        Phase::Stopped => Progress::Stopped,
        Phase::Blocked { lock_is_held, reason, .. } if *before != Progress::Alive => {
            Progress::Blocked { lock_is_held: *lock_is_held, reason: reason.clone() }
        }
        _ => Progress::Alive,
    }
}

async fn told_to(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.wait_for(|end| *end).await.is_err() {
        // The daemon is gone, and with it whoever would wait for an orderly end.
        future::pending().await
    }
}

async fn wait_for_instant(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => future::pending().await,
    }
}

async fn wait_until(moment: Option<decide::Moment>) {
    match moment {
        None => future::pending().await,
        Some(moment) => {
            let left = moment.0.saturating_sub(now().moment.0);
            // The timer's clock may run a little ahead of ours: one millisecond more, and no tick is wasted.
            tokio::time::sleep(Duration::from_millis(left + 1)).await;
        }
    }
}

/// Tells vaults apart in their jitter: FNV-1a of the name.
fn seed(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
