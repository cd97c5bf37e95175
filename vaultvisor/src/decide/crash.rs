//! Rule 6, crash outside probation: started again ever more slowly, and never given up.

use super::{
    Deciding, Kind, Severity,
    policy::{CRASH_BACKOFF_FIRST, CRASH_BACKOFF_MOST, CRASH_LOOP, HEALTHY_STRETCH},
    state::{Build, Concern, Phase, Running, Wait},
};
use crate::decide::Ending;

/// A process that has ended by itself, with nothing left of it.
pub(super) struct Gone {
    pub(super) process: Running,
    pub(super) on_probation: bool,
    /// How many starts in a row had not lasted before.
    pub(super) attempt: u32,
    pub(super) ending: Ending,
    /// Whether it is a failure.
    pub(super) counts: bool,
}

impl Deciding<'_> {
    /// The place where every end of a process that was not told to stop for good is judged.
    pub(super) fn judge(&mut self, gone: Gone) {
        let Gone { process, on_probation, attempt, ending, counts } = gone;
        let build = &process.build;
        if self.state.shutting_down {
            self.state.process = Phase::Stopped { left: None };
        } else if counts {
            let when = if on_probation { " on probation" } else { "" };
            self.failed(
                build,
                attempt,
                format!("vault {build}, pid {}, ended{when} with {ending}", process.pid),
            );
        } else if self.state.upgrade_window {
            // Rule 2.
            let text =
                format!("vault {build}, pid {}, ended with {ending} during a runtime upgrade", process.pid);
            self.report(Severity::Info, text);
            self.start_again_in_window(build, attempt);
        } else {
            // It was told to end by a vaultvisor that did not live to see it.
            let wait = Wait::over(self.now.moment);
            self.state.process = Phase::Starting { build: build.clone(), wait, attempt };
        }
    }

    /// Starts a build again after its backoff.
    pub(super) fn start_later(&mut self, build: &Build, attempt: u32, what: String) {
        if self.state.shutting_down {
            // A start that was given up has proved nothing about what was there before it.
            return self.clear(what);
        }
        let attempt = attempt.saturating_add(1);
        let length = self.policy.backoff(CRASH_BACKOFF_FIRST, CRASH_BACKOFF_MOST, attempt);
        let wait = Wait::start(self.now.moment, length);
        self.state.process = Phase::Starting { build: build.clone(), wait, attempt };
        self.note(Kind::Crashed, Some(build), None, what.clone());
        let (severity, text) = match attempt {
            ..CRASH_LOOP => (Severity::Warn, what),
            _ => {
                let text = format!("crash loop: {attempt} starts in a row did not last; newest: {what}");
                (Severity::Error, text)
            }
        };
        self.problem(Concern::Process, severity, text);
    }

    /// What lived that long was healthy: its next crash counts from one again.
    pub(super) fn settle_healthy_stretch(&mut self) {
        let now = self.now.moment;
        if let Phase::Running { process, probation: None, attempt } = &mut self.state.process
            && now >= process.since.after(HEALTHY_STRETCH)
        {
            *attempt = 0;
            self.no_problem(Concern::Process);
            self.no_problem(Concern::Runtime);
        }
    }
}
