//! What became of starts and switches, and what is started or switched to next.

use std::time::Duration;

use super::{
    Action, Deciding, Kind, Severity,
    crash::Gone,
    data::DataLeft,
    migration::Way,
    policy::BLOCKED_RETRY,
    state::{Build, Concern, LastRun, LastSwitch, Old, Phase, Reason, Running, State, Wait},
};

impl State {
    /// Whether nothing runs and a start waits for its backoff, or is under way after one.
    pub(super) fn is_waiting_to_start(&self) -> bool {
        matches!(self.process, Phase::Starting { .. } | Phase::RollingBack { .. })
    }
}

impl Deciding<'_> {
    pub(super) fn started(&mut self, build: &Build, pid: u32, downtime: Option<Duration>) {
        let now = self.now.moment;
        self.data_lived(build);
        let probation = self.trial(build, now);
        let proved = probation.is_none();
        let mut attempt = 0;
        let mut from = None;
        let mut downtime_us = None;
        match std::mem::take(&mut self.state.process) {
            Phase::Launching { attempt: before, .. } => attempt = before,
            Phase::Switching { from: old, reason, .. } => {
                if reason != Reason::Restart {
                    downtime_us = downtime.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
                    self.state.last_switch = Some(LastSwitch {
                        from: old.build.clone(),
                        to: build.clone(),
                        downtime_us: downtime_us.unwrap_or(0),
                        at_unix_secs: self.now.unix_secs(),
                    });
                }
                from = Some(old.build);
            }
            // An executor starts only what it was asked to: from any other phase this is the answer to a
            // start that the decision has forgotten, and the process is real all the same.
            _ => {}
        }
        let process = Running {
            build: build.clone(),
            pid,
            since: now,
            restarts: attempt,
            adopted: false,
            told_to_end: false,
        };
        self.state.last_run = Some(LastRun { build: build.clone(), pid });
        self.state.process = Phase::Running { process, probation, attempt };
        let text = format!("vault {build} runs with pid {pid}");
        self.note_after(downtime_us, Kind::Started, from.as_ref(), Some(build), text.clone());
        self.report(Severity::Info, text);
        if proved {
            self.prune();
        }
    }

    pub(super) fn start_failed(&mut self, build: &Build, reason: &str, data: DataLeft) {
        self.data_left(build, data);
        let attempt = match &self.state.process {
            Phase::Launching { attempt, .. } => *attempt,
            _ => 0,
        };
        let what = match data {
            DataLeft::Lived => format!("release {build} was started and not heard of: {reason}"),
            _ => format!("release {build} could not be started: {reason}"),
        };
        self.failed(build, attempt, what);
    }

    /// Not the release's fault, so no rejection, however often: its file is proved again, ever more slowly, because it may be
    /// that which has changed, and until then it does not count as stored.
    pub(super) fn not_executed(&mut self, build: &Build, reason: &str, data: DataLeft) {
        self.distrust(build);
        let what = format!("release {build} could not be executed, and is not to blame: {reason}");
        self.hindered(build, Concern::Fetch, what, data);
    }

    /// Not the release's fault, so no rejection: its file is proved or fetched again, ever more slowly, and
    /// until then it does not count as stored.
    pub(super) fn not_prepared(&mut self, build: &Build, reason: &str) {
        let what = format!("release {build} could not be prepared: {reason}");
        self.distrust(build);
        self.data_left(build, DataLeft::Untouched);
        match std::mem::take(&mut self.state.process) {
            Phase::Switching { from, probation, attempt, old: Old::Runs, reason, .. } => {
                let probation = self.probation_after_switch(probation, reason);
                self.data_runs_on(&from.build);
                self.state.process = Phase::Running { process: from, probation, attempt };
                self.problem(Concern::Fetch, Severity::Warn, what);
            }
            Phase::Switching { from, probation, attempt, old, stuck, .. } => {
                let counts = !from.told_to_end && !self.state.upgrade_window;
                let on_probation = probation.is_some();
                self.problem(Concern::Fetch, Severity::Warn, what);
                match old {
                    Old::Ended(ending) => {
                        self.judge(Gone { process: from, on_probation, attempt, ending, counts });
                    }
                    Old::Died(ending) => {
                        self.state.process =
                            Phase::Ending { process: from, on_probation, attempt, ending, counts, stuck };
                    }
                    Old::Runs => {}
                }
            }
            Phase::Launching { attempt, .. } => self.start_later(build, attempt, what),
            _ => self.start_later(build, 0, what),
        }
    }

    /// Where *never two* and *always one* conflict, never two wins.
    pub(super) fn blocked(
        &mut self,
        build: Option<Build>,
        lock_is_held: bool,
        processes: &[u32],
        reason: &str,
    ) {
        let wait = Wait::start(self.now.moment, BLOCKED_RETRY);
        let text = format!("nothing is started: {reason}");
        if self.problem_with(Concern::Process, Severity::Error, processes, text.clone()) {
            self.note(Kind::Blocked, None, build.as_ref(), text);
        }
        self.state.process = Phase::Blocked { lock_is_held, reason: reason.to_owned(), wait, build };
    }

    pub(super) fn settle_process(&mut self) {
        let now = self.now.moment;
        match &self.state.process {
            Phase::Waiting if self.state.startup_wait.is_none() => {
                match (self.to_start(None), self.failed_data()) {
                    (Some(build), _) => self.launch(build, 0),
                    (None, Some(snapshot)) => self.bar(&snapshot),
                    (None, None) => {}
                }
            }
            Phase::Barred { .. } => self.settle_barred(),
            Phase::Starting { build, wait, attempt } => {
                let (before, attempt) = (build.clone(), *attempt);
                let is_over = wait.is_over(now);
                match self.to_start(Some(&before)) {
                    // What is not to blame for the wait need not wait.
                    Some(other) if other.checksum != before.checksum => self.launch(other, 0),
                    Some(build) if is_over => self.launch(build, attempt),
                    // What was to be started may be started no more: that is what it waits for now.
                    None if is_over => {
                        if let Some(snapshot) = self.failed_data() {
                            self.bar(&snapshot);
                        }
                    }
                    _ => {}
                }
            }
            Phase::Blocked { build, wait, .. } if wait.is_over(now) => {
                match (self.to_start(build.clone().as_ref()), self.failed_data()) {
                    (Some(build), _) => self.launch(build, 0),
                    (None, Some(snapshot)) => self.bar(&snapshot),
                    (None, None) => {}
                }
            }
            Phase::Running { process, .. } => {
                let running = process.build.checksum;
                let choice = self.staged_choice().filter(|to| to.checksum != running);
                // What proves itself on migrated data does that first.
                if let Some(to) = choice.filter(|_| !self.is_proving_data()) {
                    self.switch(to, Reason::Release);
                }
            }
            _ => {}
        }
    }

    pub(super) fn launch(&mut self, build: Build, attempt: u32) {
        let launch = self.launch_of(&build, Way::Ordinary);
        self.state.process = Phase::Launching { build, attempt };
        self.actions.push(Action::Start(launch));
    }

    /// Begins to replace the process that runs; what has to be migrated was staged before this.
    pub(super) fn switch(&mut self, to: Build, reason: Reason) {
        let Phase::Running { process, probation, attempt } = &self.state.process else { return };
        let (from, probation, attempt) = (process.clone(), probation.clone(), *attempt);
        let text = match reason {
            Reason::Restart => format!("restarting {to}"),
            Reason::Release | Reason::Failed => format!("switching from {} to {to}", from.build),
        };
        self.note(Kind::Switching, Some(&from.build), Some(&to), text.clone());
        self.report(Severity::Info, text);
        let (old, stuck) = (Old::Runs, None);
        self.state.process =
            Phase::Switching { from, probation, attempt, to: to.clone(), reason, old, stuck };
        let way = if reason == Reason::Failed { Way::Back } else { Way::Ordinary };
        let to = self.launch_of(&to, way);
        self.actions.push(Action::Switch { to });
    }
}
