//! Rule 7, start of vaultvisor: what is found is taken over, and what ended meanwhile is judged; else the chain is
//! waited for, but not for long.

use super::{
    BootId, Deciding, Ending, Kind, Observed, Severity,
    crash::Gone,
    state::{Answer, Build, Concern, Fetch, LastRun, Moment, Phase, Probation, Running, State, Wait},
};
use crate::release::Checksum;

/// A process that has ended, and how.
struct Exit {
    build: Option<Build>,
    pid: u32,
    ending: Ending,
    told_to_end: bool,
}

impl Deciding<'_> {
    pub(super) fn recovered(&mut self, stored: &[Checksum], boot: &BootId, observed: &Observed) {
        let before = std::mem::take(&mut self.state.process);
        let was_ending = std::mem::take(&mut self.state.shutting_down);
        self.state.shutdown_wait = None;
        let old_boot = self.state.boot.replace(boot.clone());
        let same_boot = old_boot.as_ref() == Some(boot);
        self.recover_waits(same_boot);
        self.recover_files(stored);
        self.state.problems.retain(|problem| problem.concern != Concern::Chain);
        if matches!(before, Phase::Stopped { .. }) {
            // What did not end then is looked for anew.
            self.no_problem(Concern::Process);
        }
        self.state.chain_heard = false;
        self.state.startup_wait = None;
        match observed.clone() {
            Observed::Runs { build, pid, since, told_to_end } => {
                // What was known of another boot's processes says nothing of this one's.
                let before = if same_boot { before } else { Phase::Waiting };
                self.adopt(before, was_ending || told_to_end, build, pid, since);
            }
            Observed::NotProvable { lock_is_held, reason } => {
                let build = self.to_start(None);
                self.blocked(build, lock_is_held, &[], &reason);
            }
            Observed::Ended { build, pid, ending, told_to_end } if same_boot => {
                self.ended_meanwhile(before, Some(Exit { build, pid, ending, told_to_end }));
            }
            Observed::Nothing | Observed::Ended { .. } if same_boot => self.ended_meanwhile(before, None),
            Observed::Nothing | Observed::Ended { .. } => self.rebooted(before, old_boot.is_some()),
        }
        if self.state.process == Phase::Waiting {
            let wait = Wait::start(self.now.moment, self.policy.startup_chain_wait);
            self.state.startup_wait = Some(wait);
        }
    }

    /// Without the chain, what is known is gone on with.
    pub(super) fn settle_startup_wait(&mut self) {
        if self.state.startup_wait.is_some_and(|wait| wait.is_over(self.now.moment)) {
            self.state.startup_wait = None;
            self.report(Severity::Warn, "the chain was not reached in time; going on with what is known");
        }
    }

    /// Rule 11.
    fn recover_waits(&mut self, same_boot: bool) {
        let now = self.now.moment;
        for rejection in &mut self.state.rejected {
            rejection.wait = rejection.wait.recovered(now, same_boot);
        }
        if let Some(runtime) = &mut self.state.runtime {
            runtime.proves = runtime.proves.recovered(now, same_boot);
        }
        if let Some(upgrade) = &mut self.state.upgrade {
            upgrade.excuses = upgrade.excuses.recovered(now, same_boot);
        }
    }

    /// The store says what is there; a release that proved itself is fetched again when it has gone. What was neither
    /// ready nor ever executed is looked at again: that its file is there does not say that it can be executed.
    fn recover_files(&mut self, stored: &[Checksum]) {
        let state = &mut self.state;
        let ready = |build: Option<Build>| match build.filter(|build| {
            state.is_stored(build.checksum) && build.files().all(|file| stored.contains(&file))
        }) {
            Some(build) => Fetch::Ready { checksum: build.checksum, attempt: 0 },
            None => Fetch::Idle,
        };
        let chosen = ready(state.chosen());
        let pending = ready(state.pending.as_ref().map(|pending| pending.build.clone()));
        (state.fetch, state.pending_fetch) = (chosen, pending);
        state.previous.retain(|build| stored.contains(&build.checksum));
        let gone = state.last_known_good.as_ref().map(|good| good.build.clone());
        if let Some(gone) = gone.filter(|good| !stored.contains(&good.checksum)) {
            let text = format!("the last known good release {gone} is not in the store any more");
            if !state.unproved.contains(&gone.checksum) {
                state.unproved.push(gone.checksum);
            }
            self.report(Severity::Error, text);
        }
    }

    /// A process of an earlier vaultvisor runs: it is this one's now, and its probation goes on.
    fn adopt(&mut self, before: Phase, told_to_end: bool, build: Build, pid: u32, since: Moment) {
        let mut process = Running {
            build: build.clone(),
            pid,
            since,
            restarts: 0,
            adopted: true,
            // A stop under way is the keeper's, which goes on without us.
            told_to_end,
        };
        let trial = self.trial(&build, since);
        let (probation, attempt) = match before {
            Phase::Running { process: known, probation, attempt } if known.pid == pid => {
                process.restarts = known.restarts;
                process.told_to_end |= known.told_to_end;
                (probation, attempt)
            }
            Phase::Switching { from, probation, attempt, reason, .. } if from.pid == pid => {
                process.told_to_end = true;
                (self.probation_after_switch(probation, reason), attempt)
            }
            Phase::Stopping { process: known, .. } if known.pid == pid => {
                process.told_to_end = true;
                (trial, 0)
            }
            Phase::Launching { attempt, .. } => (trial, attempt),
            _ => (trial, 0),
        };
        let probation = probation.map(|probation| Probation { answer: Answer::None, ..probation });
        self.data_runs_on(&build);
        self.data_lived(&build);
        self.state.last_run = Some(LastRun { build: build.clone(), pid });
        let proved = probation.is_none();
        self.state.process = Phase::Running { process, probation, attempt };
        let text = format!("vault {build}, pid {pid}, runs and was taken over");
        self.note(Kind::Adopted, None, Some(&build), text.clone());
        self.report(Severity::Info, text);
        if proved {
            // The earlier vaultvisor may have come to its end between a decision and its removals.
            self.prune();
        }
    }

    /// Nothing runs any more, in the same boot.
    fn ended_meanwhile(&mut self, before: Phase, exit: Option<Exit>) {
        let known = self.state.last_run.as_ref().map(|run| run.pid);
        let (mut exit, mut news) = (exit, None);
        if exit.as_ref().is_some_and(|exit| Some(exit.pid) != known) {
            let unknown = exit.take();
            news = unknown.and_then(|Exit { build, pid, ending, told_to_end }| {
                build.map(|build| (build, pid, ending, told_to_end))
            });
        }
        let counts = |process: &Running, state: &State| !process.told_to_end && !state.upgrade_window;
        let gone = match (before, news) {
            // It was started after what was written last.
            (before, Some((build, pid, ending, told_to_end))) => {
                let attempt = match before {
                    Phase::Launching { attempt, .. }
                    | Phase::Starting { attempt, .. }
                    | Phase::Running { attempt, .. } => attempt,
                    _ => 0,
                };
                let since = self.now.moment;
                let adopted = false;
                let on_probation = !self.state.is_proved(build.checksum);
                self.state.last_run = Some(LastRun { build: build.clone(), pid });
                let process = Running { build, pid, since, restarts: 0, adopted, told_to_end };
                let counts = counts(&process, &self.state);
                Gone { process, on_probation, attempt, ending, counts }
            }
            (Phase::Running { mut process, probation, attempt }, None) => {
                let ending = exit.as_ref().map_or(Ending::Unknown, |exit| exit.ending);
                process.told_to_end |= exit.is_some_and(|exit| exit.told_to_end);
                let counts = counts(&process, &self.state);
                Gone { process, on_probation: probation.is_some(), attempt, ending, counts }
            }
            (Phase::Ending { process, on_probation, attempt, ending, counts, .. }, None) => {
                Gone { process, on_probation, attempt, ending, counts }
            }
            (Phase::Starting { build, wait, attempt }, None) => {
                let wait = wait.bounded(self.now.moment);
                self.state.process = Phase::Starting { build, wait, attempt };
                return;
            }
            // Stopped on purpose, or never started: the switch is finished or undone as the chain says.
            _ => return,
        };
        self.judge(gone);
    }

    /// Another boot: what ran went down with the machine, which is no crash.
    fn rebooted(&mut self, before: Phase, is_known: bool) {
        if !is_known {
            return;
        }
        let on_trial = match before {
            Phase::Running { process, probation: Some(_), .. } => process.build,
            Phase::Switching { to, .. } if !self.state.is_proved(to.checksum) => to,
            Phase::Launching { build, .. } if !self.state.is_proved(build.checksum) => build,
            Phase::Ending { process, on_probation, attempt, ending, counts, .. } => {
                return self.judge(Gone { process, on_probation, attempt, ending, counts });
            }
            _ => return,
        };
        self.rebooted_on_trial(&on_trial);
    }
}
