//! The pure core: what one vault does next, given what is known and what has just happened.
//!
//! [`decide`] has no clock, no files, no logging and no async, so a test or a simulator can drive it through
//! any schedule. Every branch of policy lives in this module and nowhere else; executors carry out
//! [`Action`]s and answer with [`Event`]s. The rule numbers in the comments are those of `docs/rules.md`.
//!
//! Each decision is made in two steps: the event changes what is known (`take_in`), then `settle` compares
//! what is known with what should be and names the next actions. So a rule does not depend on which event
//! made it apply.

mod action;
mod event;
pub mod policy;
pub mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use action::Action;
pub use event::{Ending, Event};
pub use policy::Policy;
use policy::{
    BLOCKED_RETRY, CRASH_BACKOFF_FIRST, CRASH_BACKOFF_MOST, CRASH_LOOP, FETCH_BACKOFF_FIRST,
    FETCH_BACKOFF_MOST, HEALTHY_STRETCH, MAX_REJECTIONS, STARTUP_CHAIN_WAIT,
};
use state::{Build, Concern, Fetch, LastSwitch, Phase, Probation, Problem, Rejection, Running, Seen, Wait};
pub use state::{Moment, State};

use crate::{
    chain::ChainView,
    release::{Checksum, Release},
};

/// Now, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The clock that every wait is measured on.
    pub moment: Moment,
    /// Seconds since 1970; only ever shown to people.
    pub unix_secs: u64,
}

/// The outcome of one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// To be written durably before the actions are carried out.
    pub next: State,
    /// To be carried out, in this order.
    pub actions: Vec<Action>,
}

/// Maps what is known and what happened to what is known now and what to do.
pub fn decide(state: &State, event: &Event, now: Now, policy: &Policy) -> Decision {
    let mut deciding = Deciding { state: state.clone(), actions: Vec::new(), now, policy };
    deciding.take_in(event);
    deciding.settle();
    Decision { next: deciding.state, actions: deciding.actions }
}

/// When the next wait of a state is over: the moment for the next [`Event::Tick`].
///
/// `decided_at` is the moment of the decision that led to this state: what was over by then was settled by it,
/// so only later moments count, and a wait that is over without effect makes nobody spin.
pub fn wake_at(state: &State, decided_at: Moment) -> Option<Moment> {
    if state.shutting_down {
        return None;
    }
    let process = match &state.process {
        Phase::Starting { wait, .. } | Phase::Blocked { wait, .. } => Some(wait.until),
        Phase::Running { probation: Some(probation), .. } => Some(probation.wait.until),
        Phase::Running { process, .. } if state.has_problem(Concern::Process) => {
            Some(process.since.after(HEALTHY_STRETCH))
        }
        _ => None,
    };
    let fetch = match &state.fetch {
        Fetch::Failed { wait, .. } => Some(wait.until),
        _ => None,
    };
    let startup = state.startup_wait.map(|wait| wait.until);
    let rejection = state
        .target
        .as_ref()
        .filter(|target| Some(target.binary_checksum) != state.current_checksum())
        .and_then(|target| state.rejection_of(target.binary_checksum))
        .map(|rejection| rejection.wait.until);
    [process, fetch, startup, rejection].into_iter().flatten().filter(|moment| *moment > decided_at).min()
}

impl State {
    fn rejection_of(&self, checksum: Checksum) -> Option<&Rejection> {
        self.rejected.iter().find(|rejection| rejection.build.checksum == checksum)
    }

    fn has_problem(&self, concern: Concern) -> bool {
        self.problems.iter().any(|problem| problem.concern == concern)
    }

    /// The checksum that runs, or is being started.
    fn current_checksum(&self) -> Option<Checksum> {
        match &self.process {
            Phase::Running { process, .. } => Some(process.build.checksum),
            Phase::Launching { build, .. } => Some(build.checksum),
            Phase::Switching { to, .. } => Some(to.checksum),
            _ => None,
        }
    }

    /// Whether a file is known to be in the store.
    fn is_stored(&self, checksum: Checksum) -> bool {
        if self.unproved == Some(checksum) {
            return false;
        }
        matches!(self.fetch, Fetch::Ready { checksum: ready, .. } if ready == checksum)
            || self.last_known_good.as_ref().is_some_and(|good| good.checksum == checksum)
            || self.current_checksum() == Some(checksum)
    }
}

/// One decision in the making.
struct Deciding<'a> {
    state: State,
    actions: Vec<Action>,
    now: Now,
    policy: &'a Policy,
}

impl Deciding<'_> {
    // ---- What the event says ----

    fn take_in(&mut self, event: &Event) {
        match event {
            Event::Recovered { stored } => self.recovered(stored),
            Event::Chain { view, problem } => {
                let ignored = view.as_ref().and_then(|view| self.chain(view));
                match ignored.or_else(|| problem.clone()) {
                    Some(text) => self.problem(Concern::Chain, text),
                    None => self.no_problem(Concern::Chain),
                }
            }
            Event::Fetched(checksum) => self.fetched(*checksum),
            Event::FetchFailed { checksum, reason } => self.fetch_failed(*checksum, reason),
            Event::Started { build, pid, downtime } => self.started(build, *pid, *downtime),
            Event::StartFailed { build, reason } => self.start_failed(build, reason),
            Event::NotPrepared { build, reason } => self.not_prepared(build, reason),
            Event::NotProvablyGone { build, lock_is_held, reason } => {
                self.blocked(build, *lock_is_held, reason);
            }
            Event::Ended { pid, ending } => self.ended(*pid, *ending),
            Event::Tick => {}
            Event::Shutdown => self.shutdown(),
        }
    }

    /// Rule 7: nothing runs; whatever was under way is begun again from what is stored.
    fn recovered(&mut self, stored: &[Checksum]) {
        let now = self.now.moment;
        let state = &mut self.state;
        state.process = Phase::Waiting;
        state.shutting_down = false;
        state.startup_wait = Some(Wait::start(now, STARTUP_CHAIN_WAIT));
        // Rule 11: a stored wait is never longer than its own length.
        for rejection in &mut state.rejected {
            rejection.wait = rejection.wait.bounded(now);
        }
        state.problems.retain(|problem| problem.concern != Concern::Chain);
        let target = state.target.as_ref().map(|target| target.binary_checksum);
        state.fetch = match target {
            Some(checksum) if stored.contains(&checksum) => Fetch::Ready { checksum, attempt: 0 },
            _ => Fetch::Idle,
        };
        if let Some(good) = state.last_known_good.take_if(|good| !stored.contains(&good.checksum)) {
            self.report(format!("the last known good release {good} is not in the store any more"));
        }
    }

    /// Takes in a view, or answers why not.
    fn chain(&mut self, view: &ChainView) -> Option<String> {
        let ignored = self.old_news(view);
        if ignored.is_some() {
            return ignored;
        }
        self.state.startup_wait = None;
        let Some(release) = &view.current else {
            return self.state.target.as_ref().map(|target| {
                format!(
                    "the chain states no release at block {}, but stated {} before; the vault stays as it is",
                    view.finalized.number, target.version
                )
            });
        };
        if self.state.target.as_ref() != Some(release) {
            self.new_target(release.clone());
            self.state.seen = None;
        }
        // Kept from the block in which a statement was first seen, not rewritten with every block.
        if self.state.seen.as_ref().is_none_or(|seen| seen.spec_version != view.spec_version) {
            self.state.seen = Some(Seen {
                genesis: view.genesis,
                finalized: view.finalized.number,
                spec_version: view.spec_version,
            });
        }
        None
    }

    /// Rule 8: why a view is older than what was acted on, or of another chain.
    fn old_news(&self, view: &ChainView) -> Option<String> {
        let seen = self.state.seen.as_ref()?;
        if view.genesis != seen.genesis {
            return Some(format!(
                "{} is another chain: expected genesis {}, found {}; ignored",
                view.source, seen.genesis, view.genesis
            ));
        }
        if view.finalized.number < seen.finalized {
            return Some(format!(
                "{} says that block {} is the last finalized one, but block {} was finalized before; ignored",
                view.source, view.finalized.number, seen.finalized
            ));
        }
        let known = self.state.target.as_ref().and_then(|target| target.sequence)?;
        let found = view.current.as_ref().and_then(|release| release.sequence)?;
        (found < known).then(|| {
            format!("{} states release {found}, but release {known} was stated before; ignored", view.source)
        })
    }

    fn new_target(&mut self, release: Release) {
        let checksum = release.binary_checksum;
        let same_file = self.state.target.as_ref().is_some_and(|old| old.binary_checksum == checksum);
        if !same_file {
            self.no_problem(Concern::Fetch);
            if !self.state.rejected.iter().any(|rejection| rejection.build.checksum == checksum) {
                self.no_problem(Concern::Process);
            }
        }
        // Rule 5: a newer statement that names a rejected file earns one immediate retry.
        let now = self.now.moment;
        for rejection in &mut self.state.rejected {
            if rejection.build.checksum == checksum && rejection.sequence < release.sequence {
                rejection.sequence = release.sequence;
                rejection.wait.until = now;
            }
        }
        self.report(format!("the chain states release {} ({checksum})", release.version));
        self.state.target = Some(release);
    }

    fn fetched(&mut self, checksum: Checksum) {
        self.state.unproved.take_if(|unproved| *unproved == checksum);
        if self.state.target.as_ref().is_some_and(|target| target.binary_checksum == checksum) {
            let attempt = match self.state.fetch {
                Fetch::Fetching { checksum: wanted, attempt } if wanted == checksum => attempt,
                _ => 0,
            };
            self.state.fetch = Fetch::Ready { checksum, attempt };
            self.no_problem(Concern::Fetch);
        }
    }

    /// Rule 5: a fetch that fails is retried and is never a rejection.
    fn fetch_failed(&mut self, checksum: Checksum, reason: &str) {
        if let Fetch::Fetching { checksum: wanted, attempt } = self.state.fetch
            && wanted == checksum
        {
            self.retry_fetch(checksum, attempt + 1);
            self.problem(Concern::Fetch, reason.to_owned());
        }
    }

    fn retry_fetch(&mut self, checksum: Checksum, attempt: u32) {
        let length = self.policy.backoff(FETCH_BACKOFF_FIRST, FETCH_BACKOFF_MOST, attempt);
        let wait = Wait::start(self.now.moment, length);
        self.state.fetch = Fetch::Failed { checksum, attempt, wait };
    }

    fn started(&mut self, build: &Build, pid: u32, downtime: Option<Duration>) {
        let process = Running { build: build.clone(), pid, since: self.now.moment, restarts: 0 };
        // Rule 4: what has proved itself here before needs no second trial.
        let proved = self.state.last_known_good.as_ref().is_some_and(|good| good.checksum == build.checksum);
        let trial = Probation { wait: Wait::start(self.now.moment, self.policy.probation) };
        let probation = (!proved).then_some(trial);
        self.state.process = match std::mem::take(&mut self.state.process) {
            Phase::Launching { attempt, .. } => {
                let process = Running { restarts: attempt, ..process };
                Phase::Running { process, probation, attempt }
            }
            Phase::Switching { from, .. } => {
                self.state.last_switch = Some(LastSwitch {
                    from: from.build,
                    to: build.clone(),
                    downtime_us: downtime
                        .map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
                    at_unix_secs: self.now.unix_secs,
                });
                Phase::Running { process, probation, attempt: 0 }
            }
            // An executor starts only what it was asked to: from any other phase this is the answer to a
            // start that a restart of the decision forgot, and the process is real all the same.
            _ => Phase::Running { process, probation, attempt: 0 },
        };
        self.report(format!("vault {build} runs with pid {pid}"));
        if probation_is_absent(&self.state.process) {
            self.prune();
        }
    }

    fn start_failed(&mut self, build: &Build, reason: &str) {
        let attempt = match &self.state.process {
            Phase::Launching { attempt, .. } => *attempt,
            _ => 0,
        };
        self.failed(build, attempt, format!("release {build} could not be started: {reason}"));
    }

    /// Not the release's fault, so no rejection: its file is proved or fetched again, ever more slowly, and
    /// until then it does not count as stored.
    fn not_prepared(&mut self, build: &Build, reason: &str) {
        let checksum = build.checksum;
        let what = format!("release {build} could not be prepared: {reason}");
        self.state.unproved = Some(checksum);
        let is_target = self.state.target.as_ref().is_some_and(|target| target.binary_checksum == checksum);
        if is_target {
            let attempt = match self.state.fetch {
                Fetch::Ready { checksum: ready, attempt } if ready == checksum => attempt,
                _ => 0,
            };
            self.retry_fetch(checksum, attempt + 1);
        } else {
            self.actions.push(Action::Fetch(build.clone()));
        }
        match std::mem::take(&mut self.state.process) {
            Phase::Switching { from, from_ended: true, .. } => {
                let end = format!("vault {}, pid {}, ended while {what}", from.build, from.pid);
                self.failed(&from.build, 0, end);
            }
            Phase::Switching { from, probation, .. } => {
                self.state.process = Phase::Running { process: from, probation, attempt: 0 };
                self.problem(Concern::Fetch, what);
            }
            Phase::Launching { attempt, .. } => self.start_later(build, attempt, what),
            _ => self.start_later(build, 0, what),
        }
    }

    /// Where *never two* and *always one* conflict, never two wins.
    fn blocked(&mut self, build: &Build, lock_is_held: bool, reason: &str) {
        let wait = Wait::start(self.now.moment, BLOCKED_RETRY);
        self.problem(Concern::Process, format!("nothing is started: {reason}"));
        let (reason, build) = (reason.to_owned(), build.clone());
        self.state.process = Phase::Blocked { lock_is_held, reason, wait, build };
    }

    fn ended(&mut self, pid: u32, ending: Ending) {
        match &mut self.state.process {
            Phase::Stopping { process } if process.pid == pid => self.state.process = Phase::Stopped,
            // The old process ends because it was told to, or by itself; the switch itself answers.
            Phase::Switching { from, from_ended, .. } if from.pid == pid => *from_ended = true,
            Phase::Running { process, probation, attempt } if process.pid == pid => {
                let build = process.build.clone();
                let healthy = self.now.moment >= process.since.after(HEALTHY_STRETCH);
                let attempt = if healthy { 0 } else { *attempt };
                let when = if probation.is_some() { " on probation" } else { "" };
                self.failed(&build, attempt, format!("vault {build}, pid {pid}, ended{when} with {ending}"));
            }
            _ => {}
        }
    }

    /// A build would not start, or did not stay alive.
    fn failed(&mut self, build: &Build, attempt: u32, what: String) {
        let good = self.state.last_known_good.clone().filter(|good| good.checksum != build.checksum);
        match good {
            // Rule 5: back to the release that proved itself, and this one rejected for a while.
            Some(good) if !self.state.shutting_down => {
                self.problem(Concern::Process, what.clone());
                self.reject(build, what);
                self.state.process = Phase::RollingBack { failed: build.clone(), to: good.clone() };
                self.actions.push(Action::Start(good));
            }
            // Rule 6: with nothing to go back to, start it again, ever more slowly, and never give up.
            _ => self.start_later(build, attempt, what),
        }
    }

    /// Starts a build again after its backoff.
    fn start_later(&mut self, build: &Build, attempt: u32, what: String) {
        if self.state.shutting_down {
            self.state.process = Phase::Stopped;
            return;
        }
        let attempt = attempt + 1;
        let length = self.policy.backoff(CRASH_BACKOFF_FIRST, CRASH_BACKOFF_MOST, attempt);
        let wait = Wait::start(self.now.moment, length);
        self.state.process = Phase::Starting { build: build.clone(), wait, attempt };
        let text = match attempt {
            ..CRASH_LOOP => what,
            _ => format!("crash loop: {attempt} starts in a row did not last; newest: {what}"),
        };
        self.problem(Concern::Process, text);
    }

    fn reject(&mut self, build: &Build, reason: String) {
        let earlier = self.state.rejected.iter().position(|old| old.build.checksum == build.checksum);
        let attempts = earlier.map_or(0, |index| self.state.rejected.remove(index).attempts) + 1;
        let sequence = self
            .state
            .target
            .as_ref()
            .filter(|target| target.binary_checksum == build.checksum)
            .and_then(|target| target.sequence);
        let wait = Wait::start(self.now.moment, self.policy.rejection_retry(attempts));
        if self.state.rejected.len() >= MAX_REJECTIONS {
            self.state.rejected.remove(0);
        }
        self.state.rejected.push(Rejection { build: build.clone(), sequence, reason, attempts, wait });
        self.state.fetch = Fetch::Idle;
    }

    // ---- What should be done about it ----

    fn settle(&mut self) {
        if self.state.shutting_down {
            return self.settle_shutdown();
        }
        self.settle_startup_wait();
        self.settle_probation();
        self.settle_fetch();
        self.settle_process();
    }

    fn shutdown(&mut self) {
        let is_first = !std::mem::replace(&mut self.state.shutting_down, true);
        let starting = matches!(
            self.state.process,
            Phase::Launching { .. } | Phase::Switching { .. } | Phase::RollingBack { .. }
        );
        if is_first && starting {
            self.actions.push(Action::Stop);
        }
    }

    /// Rule 10: stop what runs, start nothing; what is being started is given up, or stopped once it runs.
    fn settle_shutdown(&mut self) {
        match &self.state.process {
            Phase::Running { process, .. } => {
                self.state.process = Phase::Stopping { process: process.clone() };
                self.actions.push(Action::Stop);
            }
            Phase::Waiting | Phase::Starting { .. } | Phase::Blocked { .. } => {
                self.state.process = Phase::Stopped;
            }
            _ => {}
        }
    }

    fn settle_startup_wait(&mut self) {
        if self.state.startup_wait.is_some_and(|wait| wait.is_over(self.now.moment)) {
            self.state.startup_wait = None;
            self.report("the chain was not reached in time; going on with what is known".to_owned());
        }
    }

    /// Rule 4: a release that lived through its probation is kept, and what was behind it is removed.
    fn settle_probation(&mut self) {
        let now = self.now.moment;
        let Phase::Running { process, probation, attempt } = &mut self.state.process else { return };
        let build = process.build.clone();
        if probation.as_ref().is_some_and(|probation| probation.wait.is_over(now)) {
            *probation = None;
            *attempt = 0;
            self.state.rejected.retain(|rejection| rejection.build.checksum != build.checksum);
            self.report(format!("release {build} proved itself and is kept"));
            self.state.last_known_good = Some(build);
            self.no_problem(Concern::Process);
            self.prune();
        } else if probation.is_none() && now >= process.since.after(HEALTHY_STRETCH) {
            *attempt = 0;
            self.no_problem(Concern::Process);
        }
    }

    /// The chain's release, if it may be run now.
    fn allowed_target(&self) -> Option<&Release> {
        let target = self.state.target.as_ref()?;
        let rejection = self.state.rejection_of(target.binary_checksum);
        let allowed = rejection.is_none_or(|rejection| rejection.wait.is_over(self.now.moment));
        allowed.then_some(target)
    }

    /// Rule 1: have the file while the old vault runs.
    fn settle_fetch(&mut self) {
        let Some(target) = self.allowed_target().cloned() else { return };
        let checksum = target.binary_checksum;
        if self.state.current_checksum() == Some(checksum) {
            // Rule 8: what runs is never fetched or started again.
            self.state.fetch = Fetch::Idle;
            self.no_problem(Concern::Fetch);
            return;
        }
        let attempt = match &self.state.fetch {
            Fetch::Fetching { checksum: wanted, .. } if *wanted == checksum => return,
            Fetch::Failed { checksum: wanted, wait, attempt } if *wanted == checksum => {
                if !wait.is_over(self.now.moment) {
                    return;
                }
                *attempt
            }
            _ if self.state.is_stored(checksum) => {
                self.state.fetch = match self.state.fetch {
                    Fetch::Ready { checksum: ready, attempt } if ready == checksum => {
                        Fetch::Ready { checksum, attempt }
                    }
                    _ => Fetch::Ready { checksum, attempt: 0 },
                };
                return;
            }
            _ => 0,
        };
        self.state.fetch = Fetch::Fetching { checksum, attempt };
        self.actions.push(Action::Fetch(Build::from(&target)));
    }

    /// The chain's release, if it is allowed and in the store.
    fn ready_target(&self) -> Option<Build> {
        let target = self.allowed_target()?;
        self.state.is_stored(target.binary_checksum).then(|| Build::from(target))
    }

    fn settle_process(&mut self) {
        let now = self.now.moment;
        match &self.state.process {
            // Rule 7, and *always one*: the release that proved itself runs while a newer one is fetched.
            Phase::Waiting if self.state.startup_wait.is_none() => {
                if let Some(build) = self.ready_target().or_else(|| self.state.last_known_good.clone()) {
                    self.launch(build, 0);
                }
            }
            Phase::Starting { build, wait, attempt } if wait.is_over(now) => {
                let (build, attempt) = (build.clone(), *attempt);
                self.launch(self.ready_target().unwrap_or(build), attempt);
            }
            Phase::Blocked { build, wait, .. } if wait.is_over(now) => {
                let build = build.clone();
                self.launch(self.ready_target().unwrap_or(build), 0);
            }
            Phase::Running { process, probation, .. } => {
                let (from, probation) = (process.clone(), probation.clone());
                if let Some(to) = self.ready_target().filter(|to| to.checksum != from.build.checksum) {
                    self.report(format!("switching from {} to {to}", from.build));
                    self.state.process =
                        Phase::Switching { from, probation, to: to.clone(), from_ended: false };
                    self.actions.push(Action::Switch { to });
                }
            }
            _ => {}
        }
    }

    fn launch(&mut self, build: Build, attempt: u32) {
        self.state.process = Phase::Launching { build: build.clone(), attempt };
        self.actions.push(Action::Start(build));
    }

    // ---- Small things that the rules share ----

    fn prune(&mut self) {
        self.actions.push(Action::Prune { keep: self.state.needed() });
    }

    fn report(&mut self, text: String) {
        self.actions.push(Action::Report(text));
    }

    fn problem(&mut self, concern: Concern, text: String) {
        let problem = Problem { concern, text };
        if !self.state.problems.contains(&problem) {
            self.no_problem(concern);
            self.report(problem.text.clone());
            self.state.problems.push(problem);
        }
    }

    fn no_problem(&mut self, concern: Concern) {
        self.state.problems.retain(|problem| problem.concern != concern);
    }
}

fn probation_is_absent(phase: &Phase) -> bool {
    matches!(phase, Phase::Running { probation: None, .. })
}
