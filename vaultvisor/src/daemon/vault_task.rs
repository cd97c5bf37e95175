//! The loop of one vault: event, decision, journal, action. It holds no policy.

use std::{
    collections::BTreeSet,
    future,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    Progress, Shared,
    executor::Executor,
    fleet::{Configured, Goal},
    health::{self, Probing},
    now,
    operator::{Answer, Order},
    policy::policy,
};
use crate::{
    chain::ChainStatus,
    crash_points,
    decide::{self, Action, Decision, Entry, Event, Policy, Severity, State, state::Phase},
    error_chain::Chained,
    history::Record,
    journal::{Recorded, VaultJournal, atomic_file::WriteError},
    migrate::snapshot::SnapshotRecord,
    release::GenesisHash,
    status::Time,
};

/// A vault has a handful of actions under way at most; each answers with a few events.
const EVENT_QUEUE: usize = 16;
/// A disk that takes longer to make a few kilobytes durable is busy or hangs. It is not waited for: the state counts as not
/// written, which every action that needs it waits for, until it is.
const WRITE_LIMIT: Duration = Duration::from_secs(2);
/// What is wrong then.
const SLOW_DISK: &str = "the disk of the home does not answer, so that the vault's state is not written";
/// Between two tries to write a state that could not be written, for want of room on the disk say.
const JOURNAL_RETRY: Duration = Duration::from_secs(2);

/// What others see of a vault's task, as it changes.
#[derive(Debug, Clone)]
pub(super) struct Live {
    /// Its state, and since when.
    pub(super) recorded: Recorded,
    /// What stands in the way of the task itself.
    pub(super) trouble: Option<String>,
}

/// How a vault's task hears and is heard.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) chain: watch::Receiver<ChainStatus>,
    pub(super) configured: watch::Receiver<Arc<Configured>>,
    pub(super) goal: watch::Receiver<Goal>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) live: watch::Sender<Live>,
    pub(super) progress: watch::Sender<Progress>,
}

/// One vault's task.
pub(super) struct VaultTask {
    name: String,
    shared: Arc<Shared>,
    journal: VaultJournal,
    recorded: Recorded,
    policy: Policy,
    executor: Executor,
    /// What was known of the vault's snapshots when this was made.
    snapshots: Vec<SnapshotRecord>,
    events: mpsc::Receiver<Event>,
    channels: Channels,
    probing: Option<Probing>,
    /// The moment of the newest decision.
    decided_at: decide::Moment,
    /// Set while the newest state is in memory only: a switch is under way, or it could not be written.
    unwritten: bool,
    /// A write that was not over in its time. No other is begun before it is, for an older state must not take the place of
    /// a newer one.
    writing: Option<JoinHandle<Result<(), WriteError>>>,
    /// Set while the newest state could not be written: when that is tried again, and why it could not be.
    write_again: Option<(Instant, String)>,
    /// What waits until it is: one switch at most, and prunings.
    waiting_actions: Vec<Action>,
    /// What waits for the end of a switch before it is written.
    waiting_records: Vec<Record>,
}

impl VaultTask {
    pub(super) fn new(
        shared: Arc<Shared>,
        journal: VaultJournal,
        recorded: Recorded,
        snapshots: Vec<SnapshotRecord>,
        genesis: Option<GenesisHash>,
        channels: Channels,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let configured = channels.configured.borrow().clone();
        Self {
            name: configured.vault.name.clone(),
            policy: policy_of(&configured),
            executor: Executor::new(shared.clone(), channels.configured.clone(), genesis, sender),
            snapshots,
            shared,
            journal,
            recorded,
            events,
            channels,
            probing: None,
            decided_at: decide::Moment::default(),
            unwritten: false,
            writing: None,
            write_again: None,
            waiting_actions: Vec::new(),
            waiting_records: Vec::new(),
        }
    }

    /// Runs until the vault was stopped on purpose, or is left running. Answers what was to be stopped and did not end.
    pub(super) async fn run(mut self) -> Option<String> {
        let stored = self.shared.store.checksums().unwrap_or_else(|error| {
            tracing::error!(vault = self.name, "{}", Chained(&error));
            Vec::new()
        });
        let (observed, running) = self.executor.observe().await;
        let (boot, snapshots) = (self.shared.boot.clone(), std::mem::take(&mut self.snapshots));
        self.step(&Event::Recovered { stored, boot, snapshots, observed }).await;
        if let Some(running) = running {
            self.executor.attach(running);
        }
        let mut leaving = false;
        while !self.is_done(leaving) {
            let wake_at = decide::wake_at(&self.recorded.state, self.decided_at);
            tokio::select! {
                // What has been done comes before what might be done next.
                biased;
                Some(event) = self.events.recv() => {
                    crash_points::reached(format_args!("an action's outcome: to be decided on"));
                    self.step(&event).await;
                    crash_points::reached(format_args!("an action's outcome: decided on"));
                }
                Ok(()) = self.channels.goal.changed() => {
                    let goal = *self.channels.goal.borrow_and_update();
                    leaving = goal == Goal::Leave;
                    if goal == Goal::Stop {
                        self.step(&Event::Shutdown).await;
                    }
                }
                Some(Order { command, answer }) = self.channels.orders.recv() => {
                    self.operate(&Event::Operator(command), Some(answer)).await;
                }
                () = wait_for_instant(self.write_again.as_ref().map(|(at, _)| *at)) => self.write_again().await,
                Ok(()) = self.channels.configured.changed() => {
                    self.policy = policy_of(&self.channels.configured.borrow_and_update());
                    self.step(&Event::Tick).await;
                }
                Ok(()) = self.channels.chain.changed() => {
                    let status = self.channels.chain.borrow_and_update().clone();
                    self.chain(status).await;
                }
                () = wait_until(wake_at) => self.step(&Event::Tick).await,
            }
        }
        self.channels.progress.send_replace(Progress::Stopped);
        self.recorded.state.left_behind().map(str::to_owned)
    }

    /// Whether the task may end: the vault was stopped on purpose, or is to be left and nothing is half done. A start
    /// or a switch under way is finished first, so that a vaultvisor which leaves a vault running does leave one
    /// running; but not one that waits for room on the disk, of which nothing is begun, nor the end of a process that
    /// the kernel holds, for which its keeper waits.
    fn is_done(&self, leaving: bool) -> bool {
        let is_switch = |action: &Action| matches!(action, Action::Switch { .. });
        let state = &self.recorded.state;
        match state.process {
            Phase::Stopped { .. } => true,
            Phase::Clearing { .. } | Phase::Stopping { .. } => false,
            Phase::Launching { .. }
            | Phase::Switching { .. }
            | Phase::Ending { .. }
            | Phase::RollingBack { .. } => {
                let waits_for_disk = self.waiting_actions.iter().any(is_switch);
                leaving && !state.shutting_down && (waits_for_disk || state.stuck().is_some())
            }
            Phase::Waiting
            | Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Blocked { .. }
            | Phase::Barred { .. } => leaving,
        }
    }

    async fn chain(&mut self, status: ChainStatus) {
        // Once known it stays: the lock is named after it, and whether a view is of another chain is decided later.
        if let (None, Some(view)) = (self.executor.genesis, &status.view) {
            self.executor.genesis = Some(view.genesis);
        }
        let ChainStatus { view, best_spec_version, problem, .. } = status;
        self.step(&Event::Chain { view: view.map(Box::new), best_spec_version, problem }).await;
    }

    async fn step(&mut self, event: &Event) {
        self.operate(event, None).await;
    }

    /// One event. The answer to an operator's command is given when what it led to is durable.
    async fn operate(&mut self, event: &Event, asked: Option<oneshot::Sender<Answer>>) {
        let now = now();
        self.decided_at = now.moment;
        let Decision { next, actions } = decide::decide(&self.recorded.state, event, now, &self.policy);
        let in_switch = decide::is_within_switch(&self.recorded.state, event, &next);
        if next != self.recorded.state {
            self.take_up(next);
            self.unwritten = true;
        }
        let mut actions = self.stop_first(actions);
        // A crash between the two has the same decided again and told twice; the other way round it would never be told.
        actions = self.record(actions, in_switch).await;
        // A switch is one durable state: nothing is synced between the end of the old process and the execution
        // of the new one.
        if self.unwritten && !in_switch {
            self.write().await;
        }
        if let Some(asked) = asked {
            let mut answer = take_answer(&mut actions);
            if self.unwritten {
                answer
                    .text
                    .push_str("; its disk has not taken the note of this, so that a crash would forget it");
            }
            // Who asked may have gone away; what was asked for happens all the same.
            let _ = asked.send(answer);
        }
        for action in actions {
            self.act(action);
        }
        if self.recorded.state.gives_up_nothing() {
            self.carry_out_waiting_switch();
        }
        self.follow_health();
        let progress = progress(&self.recorded.state, &self.channels.progress.borrow());
        self.channels.progress.send_replace(progress);
        self.publish();
    }

    /// Stops before anything is written, because a disk that hangs must not keep a vault alive that is to end. Nothing needs
    /// the record before it: a vaultvisor that dies in between is followed by one that finds the vault ended, and by its
    /// keeper's own note in the lock that it was told to; or finds it still ending, or running, and supervises it as after
    /// any crash. That the end was wanted is not carried over from one vaultvisor to the next.
    fn stop_first(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let (stops, others): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| matches!(action, Action::Stop | Action::StopOwn));
        for stop in stops {
            self.act(stop);
        }
        others
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Report { severity: Severity::Info, text } => tracing::info!(vault = self.name, "{text}"),
            Action::Report { severity: Severity::Warn, text } => tracing::warn!(vault = self.name, "{text}"),
            Action::Report { severity: Severity::Error, text } => {
                tracing::error!(vault = self.name, "{text}")
            }
            // Only these give up something, so only they wait for their durable record. What keeps a vault alive
            // or stops it must not wait for room on a disk: the lock, and not the journal, is the proof that
            // nothing else runs.
            Action::Switch { .. }
            | Action::Stage(_)
            | Action::Prune { .. }
            | Action::PruneSnapshots { .. }
                if self.unwritten =>
            {
                self.waiting_actions.push(action)
            }
            Action::Stop => {
                self.executor.carry_out(Action::Stop);
                // A switch that waits is carried out now: it finds that it was given up, and says so.
                self.carry_out_waiting_switch();
                self.waiting_actions.clear();
            }
            action => self.executor.carry_out(action),
        }
    }

    /// Makes the decision's entries in the history durable, as far as one try can; answers the other actions. What is
    /// decided in a switch waits for its end.
    async fn record(&mut self, actions: Vec<Action>, in_switch: bool) -> Vec<Action> {
        let mut others = Vec::new();
        for action in actions {
            match action {
                Action::History(entry) => {
                    let record = self.line(entry);
                    self.shared.counters.count(&record);
                    self.waiting_records.push(record);
                }
                other => others.push(other),
            }
        }
        if !self.waiting_records.is_empty() && !in_switch {
            self.shared.chronicle.add_durably(std::mem::take(&mut self.waiting_records)).await;
        }
        others
    }

    fn line(&self, entry: Entry) -> Record {
        let configured = self.channels.configured.borrow();
        let network = configured.vault.network.clone();
        Record { at: Time(now().unix_secs()), vault: Some(self.name.clone()), network, entry }
    }

    /// Asks the process on probation, and no other, whether it is well.
    fn follow_health(&mut self) {
        let url = self.channels.configured.borrow().vault.probation.health_url.clone();
        let wanted = self.recorded.state.probed().zip(url);
        let asked = self.probing.as_ref().map(|probing| (probing.pid, probing.url.clone()));
        if wanted != asked {
            let (client, events) = (&self.shared.health, &self.executor.events);
            self.probing = wanted.map(|(pid, url)| health::probe(client.clone(), url, pid, events.clone()));
        }
    }

    fn publish(&self) {
        let trouble = self.write_again.as_ref().map(|(_, why)| format!("{why}; no switch is begun before"));
        self.channels.live.send_replace(Live { recorded: self.recorded.clone(), trouble });
    }

    fn take_up(&mut self, next: State) {
        let needed: BTreeSet<_> = next.needed().into_iter().collect();
        self.shared.needed.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name.clone(), needed);
        let is_new = next.name() != self.recorded.state.name();
        if is_new || self.recorded.since_unix_secs == 0 {
            self.recorded.since_unix_secs = now().unix_secs();
        }
        if is_new {
            tracing::info!(vault = self.name, from = %self.recorded.state.name(), to = %next.name(), "state");
        }
        self.recorded.state = next;
    }

    /// Tries once to make the state durable.
    async fn write(&mut self) {
        if let Some(earlier) = self.writing.take_if(|earlier| earlier.is_finished()) {
            // Of an older state: how it ended matters to nobody any more.
            let _ = earlier.await;
        }
        if self.writing.is_some() {
            return self.write_later(SLOW_DISK.to_owned());
        }
        let (journal, recorded) = (self.journal.clone(), self.recorded.clone());
        let mut writing = tokio::task::spawn_blocking(move || journal.store(&recorded));
        let Ok(written) = tokio::time::timeout(WRITE_LIMIT, &mut writing).await else {
            self.writing = Some(writing);
            return self.write_later(SLOW_DISK.to_owned());
        };
        match written {
            Ok(Ok(())) => {
                self.unwritten = false;
                self.write_again = None;
                for action in std::mem::take(&mut self.waiting_actions) {
                    self.executor.carry_out(action);
                }
            }
            Ok(Err(error)) => {
                self.write_later(Chained(&error).to_string());
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn write_later(&mut self, why: String) {
        tracing::error!(vault = self.name, "{why}; tried again soon, and no switch is begun before");
        self.write_again = Some((Instant::now() + JOURNAL_RETRY, why));
    }

    async fn write_again(&mut self) {
        self.write().await;
        self.publish();
    }

    fn carry_out_waiting_switch(&mut self) {
        let is_switch = |action: &Action| matches!(action, Action::Switch { .. });
        for action in self.waiting_actions.extract_if(.., |action| is_switch(action)) {
            self.executor.carry_out(action);
        }
    }
}

fn policy_of(configured: &Configured) -> Policy {
    policy(&configured.vault, configured.startup_chain_wait)
}

fn take_answer(actions: &mut Vec<Action>) -> Answer {
    let mut answers = Vec::new();
    actions.retain(|action| match action {
        Action::Answer { accepted, text } => {
            answers.push(Answer { accepted: *accepted, text: text.clone() });
            false
        }
        _ => true,
    });
    // `decide` answers each command; its tests hold it to that.
    answers
        .pop()
        .unwrap_or_else(|| Answer { accepted: false, text: "nothing was decided about it".to_owned() })
}

/// A vault that ever ran, or that waits for something else than a lock, keeps its daemon alive.
fn progress(state: &State, before: &Progress) -> Progress {
    match (&state.process, state.blocked()) {
        (Phase::Waiting | Phase::Launching { .. }, _) => before.clone(),
        (Phase::Stopped { .. }, _) => Progress::Stopped,
        (_, Some((lock_is_held, reason))) if *before != Progress::Alive => {
            Progress::Blocked { lock_is_held, reason: reason.to_owned() }
        }
        _ => Progress::Alive,
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

#[cfg(test)]
mod tests;
