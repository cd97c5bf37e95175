//! The loop of one vault: event, decision, journal, action. It holds no policy.

use std::{collections::BTreeSet, future, sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

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
        Self { name, shared, journal, recorded, policy, executor, events, progress }
    }

    /// Runs until the vault was stopped on purpose.
    pub(super) async fn run(
        mut self,
        mut chain: watch::Receiver<ChainStatus>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let stored = self.shared.store.checksums().unwrap_or_else(|error| {
            tracing::error!(vault = self.name, "{error}");
            Vec::new()
        });
        self.step(&Event::Recovered { stored }).await;
        let mut told_to_end = false;
        while self.recorded.state.process != Phase::Stopped {
            tokio::select! {
                // What has been done comes before what might be done next.
                biased;
                Some(event) = self.events.recv() => self.step(&event).await,
                true = async { !told_to_end && shutdown.wait_for(|end| *end).await.is_ok() }, if !told_to_end => {
                    told_to_end = true;
                    self.step(&Event::Shutdown).await;
                }
                Ok(()) = chain.changed() => {
                    let status = chain.borrow_and_update().clone();
                    self.chain(status).await;
                }
                () = wait_until(decide::wake_at(&self.recorded.state)) => self.step(&Event::Tick).await,
            }
        }
        self.progress.send_replace(Progress::Stopped);
    }

    async fn chain(&mut self, status: ChainStatus) {
        if let Some(view) = status.view {
            self.executor.genesis = Some(view.genesis);
            // A view that changes nothing and says nothing new costs no decision's report or write.
            self.step(&Event::Chain(Box::new(view))).await;
        }
        self.step(&Event::ChainProblem(status.problem)).await;
    }

    async fn step(&mut self, event: &Event) {
        let Decision { next, actions } = decide::decide(&self.recorded.state, event, now(), &self.policy);
        if next != self.recorded.state {
            self.record(next).await;
        }
        for action in actions {
            match action {
                Action::Report(text) => tracing::info!(vault = self.name, "{text}"),
                action => self.executor.carry_out(action),
            }
        }
        let progress = progress(&self.recorded.state, &self.progress.borrow());
        self.progress.send_replace(progress);
    }

    /// Makes a state durable before anything is done because of it; until then nothing is done.
    async fn record(&mut self, next: State) {
        let needed: BTreeSet<_> = next.needed().into_iter().collect();
        self.shared
            .needed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .insert(self.name.clone(), needed);
        if next.name() != self.recorded.state.name() {
            self.recorded.since_unix_secs = now().unix_secs;
            tracing::info!(vault = self.name, from = %self.recorded.state.name(), to = %next.name(), "state");
        }
        self.recorded.state = next;
        loop {
            let (journal, recorded) = (self.journal.clone(), self.recorded.clone());
            match tokio::task::spawn_blocking(move || journal.store(&recorded)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    let why = Chained(&error);
                    tracing::error!(vault = self.name, "{why}; nothing is decided until it can be");
                }
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
            tokio::time::sleep(JOURNAL_RETRY).await;
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
