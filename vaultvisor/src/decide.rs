//! The pure core: what one vault does next, given what is known and what has just happened.
//!
//! [`decide`] has no clock, no files, no logging and no async, so a test or a simulator can drive it through
//! any schedule. Every branch of policy lives in this module and nowhere else; executors carry out
//! [`Action`]s and answer with [`Event`]s. The rule numbers are those of `docs/rules.md`.
//!
//! Each decision is made in two steps: the event changes what is known (`take_in`), then `settle` compares
//! what is known with what should be and names the next actions. So a rule does not depend on which event
//! made it apply.
//!
//! | rule | module |
//! |---|---|
//! | 1. ready first | `fetch`, and `choice`, which says what may run at all |
//! | 2. runtime upgrades | `upgrade_window` |
//! | 3. stop, 10. shutdown | `stop` |
//! | 4. probation | `probation` |
//! | 5. failure before the commit | `failure` |
//! | 6. crash | `crash` |
//! | 7. start of vaultvisor | `recovery` |
//! | 8. old news | `chain` |
//! | 9. the operator | `operator` |
//! | 11. time | `time` |
//! | 12. releases that change more than the binary | `migration`, `data` |
//!
//! `start` takes in what became of starts and switches; [`states`] is the diagram.

mod action;
mod chain;
mod choice;
mod crash;
pub mod data;
mod event;
mod failure;
mod fetch;
mod migration;
mod name;
mod operator;
mod phase;
pub mod policy;
mod probation;
mod recovery;
mod start;
pub mod state;
pub mod states;
mod stop;
#[cfg(test)]
mod tests;
mod time;
mod upgrade_window;

pub use self::{
    action::{Action, Entry, Kind, Severity},
    event::{Command, Ending, Event, Observed},
    policy::Policy,
    state::State,
    time::{BootId, Moment, Now, Wait},
};
use data::Staging;
use policy::HEALTHY_STRETCH;
use state::{Build, Concern, Fetch, Left, Phase, Problem};

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

/// Whether a decision only goes on with a switch that is durable already, and need not be written itself: nothing is
/// synced between the end of the old process and the execution of the new one, and a crash in between is found out by
/// observation. What an operator said, and what a new vaultvisor begins with, is written all the same.
pub fn is_within_switch(before: &State, event: &Event, next: &State) -> bool {
    let begins = matches!(event, Event::Recovered { .. } | Event::Operator(_));
    // One switch may follow on another.
    let switch = |state: &State| match &state.process {
        Phase::Switching { from, to, .. } => Some((from.pid, to.checksum)),
        _ => None,
    };
    switch(before).is_some() && switch(before) == switch(next) && !begins
}

/// When the next wait of a state is over: the moment for the next [`Event::Tick`].
///
/// `decided_at` is the moment of the decision that led to this state: what was over by then was settled by it,
/// so only later moments count, and a wait that is over without effect makes nobody spin.
pub fn wake_at(state: &State, decided_at: Moment) -> Option<Moment> {
    if state.shutting_down {
        let waits = !state.is_stopped();
        let until = state.shutdown_wait.filter(|_| waits).map(|wait| wait.until);
        return until.filter(|moment| *moment > decided_at);
    }
    let process = match &state.process {
        Phase::Starting { wait, .. } | Phase::Blocked { wait, .. } => Some(wait.until),
        Phase::Barred { failed, .. } => {
            state.rejection_of(failed.checksum).map(|rejection| rejection.wait.until)
        }
        Phase::Running { probation: Some(probation), .. } => match probation.left {
            Left::Until(wait) => Some(wait.until),
            Left::Paused { .. } => None,
        },
        Phase::Running { process, .. } if state.has_problem(Concern::Process) => {
            Some(process.since.after(HEALTHY_STRETCH))
        }
        _ => None,
    };
    let retry = |fetch: &Fetch| match fetch {
        Fetch::Failed { wait, .. } => Some(wait.until),
        _ => None,
    };
    let staging = match &state.staging {
        Staging::Failed { wait, .. } => Some(wait.until),
        _ => None,
    };
    let startup = state.startup_wait.map(|wait| wait.until);
    let rejection = state
        .chosen()
        .filter(|chosen| Some(chosen.checksum) != state.current_checksum())
        .and_then(|chosen| state.rejection_of(chosen.checksum))
        .map(|rejection| rejection.wait.until);
    let window = state.upgrade.as_ref().filter(|_| state.upgrade_window).map(|upgrade| upgrade.excuses.until);
    [process, window, retry(&state.fetch), retry(&state.pending_fetch), staging, startup, rejection]
        .into_iter()
        .flatten()
        .filter(|moment| *moment > decided_at)
        .min()
}

/// One decision in the making.
struct Deciding<'a> {
    state: State,
    actions: Vec<Action>,
    now: Now,
    policy: &'a Policy,
}

impl Deciding<'_> {
    /// What the event says.
    fn take_in(&mut self, event: &Event) {
        match event {
            Event::Recovered { stored, boot, snapshots, observed } => {
                self.recover_data(snapshots);
                self.recovered(stored, boot, observed);
            }
            Event::Chain { view, best_spec_version, problem } => {
                self.chain(view.as_deref(), *best_spec_version, problem.as_deref());
            }
            Event::Fetched(checksum) => self.fetched(*checksum),
            Event::Unfit { checksum, reason } => self.unfit(*checksum, reason),
            Event::FetchFailed { checksum, reason, retry_after } => {
                self.fetch_failed(*checksum, reason, *retry_after);
            }
            Event::Started { build, pid, downtime } => self.started(build, *pid, *downtime),
            Event::Staged { to, arguments, snapshot } => self.staged(*to, arguments, *snapshot),
            Event::StageFailed { to, reason, by_release } => self.stage_failed(*to, reason, *by_release),
            Event::StartFailed { build, reason, data } => self.start_failed(build, reason, *data),
            Event::WorkFailed { build, reason, data } => self.work_failed(build, reason, *data),
            Event::NotExecuted { build, reason, data } => self.not_executed(build, reason, *data),
            Event::NotPrepared { build, reason } => self.not_prepared(build, reason),
            Event::NotProvablyGone { build, lock_is_held, processes, reason, data } => {
                self.data_left(build, *data);
                self.blocked(Some(build.clone()), *lock_is_held, processes, reason);
            }
            Event::Died { pid, ending } => self.died(*pid, *ending),
            Event::Ended { pid } => self.ended(*pid),
            Event::NotEnded { pid, left, what } => self.not_ended(*pid, left, what),
            Event::Cleared { left } => self.cleared(left.as_deref()),
            Event::Health { pid, ok, detail } => self.health(*pid, *ok, detail),
            Event::Operator(command) => self.operator(command),
            Event::Tick => {}
            Event::Shutdown => self.shutdown(),
        }
    }

    /// What should be done about it.
    fn settle(&mut self) {
        if self.state.shutting_down {
            return self.settle_shutdown();
        }
        self.settle_startup_wait();
        self.settle_upgrade_window();
        self.settle_probation();
        self.settle_fetch();
        self.settle_staging();
        self.settle_process();
    }

    // ---- Small things that the rules share ----

    fn prune(&mut self) {
        let prune = Action::Prune { keep: self.state.needed() };
        if !self.actions.contains(&prune) {
            self.actions.push(prune);
        }
    }

    fn report(&mut self, severity: Severity, text: impl Into<String>) {
        self.actions.push(Action::Report { severity, text: text.into() });
    }

    /// A line in the audit trail.
    fn note(&mut self, kind: Kind, from: Option<&Build>, to: Option<&Build>, text: impl Into<String>) {
        self.note_after(None, kind, from, to, text);
    }

    /// Notes something that took the place of something else, which left this gap.
    fn note_after(
        &mut self,
        downtime_us: Option<u64>,
        kind: Kind,
        from: Option<&Build>,
        to: Option<&Build>,
        text: impl Into<String>,
    ) {
        let seen = self.state.seen.as_ref();
        self.actions.push(Action::History(Entry {
            kind,
            from: from.cloned(),
            to: to.cloned(),
            text: text.into(),
            finalized: seen.map(|seen| seen.finalized),
            sequence: self.state.target.as_ref().and_then(|target| target.sequence),
            spec_version: seen.map(|seen| seen.spec_version),
            downtime_us,
        }));
    }

    fn problem(&mut self, concern: Concern, severity: Severity, text: String) {
        self.problem_with(concern, severity, &[], text);
    }

    /// A problem with these processes; answers whether it is news. What is told of one and the same process changes
    /// with its state from one look to the next, and nobody wants to be woken by that.
    fn problem_with(
        &mut self,
        concern: Concern,
        severity: Severity,
        processes: &[u32],
        text: String,
    ) -> bool {
        let problem = Problem { concern, text, processes: processes.to_owned() };
        let known = self.state.problems.iter_mut().find(|known| known.is_about_the_same_as(&problem));
        if let Some(known) = known {
            *known = problem;
            return false;
        }
        self.no_problem(concern);
        self.report(severity, problem.text.clone());
        self.state.problems.push(problem);
        true
    }

    fn no_problem(&mut self, concern: Concern) {
        self.state.problems.retain(|problem| problem.concern != concern);
    }
}
