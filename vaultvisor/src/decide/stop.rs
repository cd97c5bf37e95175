//! Rules 3 and 10: the ends of processes, and the orderly end of vaultvisor.
//!
//! The stop itself is the keeper's. A process has ended when its main process has (`Died`), and is gone when nothing
//! of it is left (`Ended`); only then anything is started in its place.

use super::{
    Action, Deciding, Ending, Kind, Severity,
    crash::Gone,
    policy::{HEALTHY_STRETCH, SHUTDOWN_OVERHEAD},
    state::{Concern, Old, Phase, Wait},
};

impl Deciding<'_> {
    pub(super) fn died(&mut self, pid: u32, died: Ending) {
        match &mut self.state.process {
            // The old process ends because it was told to, or by itself; the switch answers.
            Phase::Switching { from, old: old @ Old::Runs, .. } if from.pid == pid => *old = Old::Died(died),
            Phase::Running { process, probation, attempt } if process.pid == pid => {
                let healthy = self.now.moment >= process.since.after(HEALTHY_STRETCH);
                let counts = !process.told_to_end && !self.state.upgrade_window;
                self.state.process = Phase::Ending {
                    process: process.clone(),
                    on_probation: probation.is_some(),
                    attempt: if healthy { 0 } else { *attempt },
                    ending: died,
                    counts,
                    stuck: None,
                };
            }
            _ => {}
        }
    }

    pub(super) fn ended(&mut self, pid: u32) {
        // Nobody saw the main process end, or nobody could say so.
        self.died(pid, Ending::Unknown);
        let was_stuck = self.state.stuck().is_some();
        match &mut self.state.process {
            Phase::Stopping { process, .. } if process.pid == pid => {
                let build = process.build.clone();
                self.state.process = Phase::Stopped { left: None };
                self.note(
                    Kind::Stopped,
                    Some(&build),
                    None,
                    format!("vault {build}, pid {pid}, was stopped"),
                );
            }
            Phase::Switching { from, old, stuck, .. } if from.pid == pid => {
                *stuck = None;
                if let Old::Died(died) = *old {
                    *old = Old::Ended(died);
                }
            }
            Phase::Ending { process, on_probation, attempt, ending, counts, .. } if process.pid == pid => {
                let gone = Gone {
                    process: process.clone(),
                    on_probation: *on_probation,
                    attempt: *attempt,
                    ending: *ending,
                    counts: *counts,
                };
                self.judge(gone);
            }
            _ => return,
        }
        if was_stuck {
            self.report(Severity::Info, format!("the old vault, pid {pid}, is gone at last"));
            if self.state.has_problem(Concern::Process) && !self.state.is_waiting_to_start() {
                self.no_problem(Concern::Process);
            }
        }
    }

    /// Where *never two* and *always one* conflict, never two wins: what is left is named and waited for.
    pub(super) fn not_ended(&mut self, ended: u32, left: &[u32], what: &str) {
        match &mut self.state.process {
            Phase::Switching { from: process, stuck, .. }
            | Phase::Ending { process, stuck, .. }
            | Phase::Stopping { process, stuck }
                if process.pid == ended =>
            {
                *stuck = Some(what.to_owned());
            }
            _ => return,
        }
        let text = format!("the old vault does not end: {what}; nothing is started before it is gone");
        if self.problem_with(Concern::Process, Severity::Error, left, text.clone()) {
            self.note(Kind::Blocked, None, None, text);
        }
    }

    /// Rule 10.
    pub(super) fn shutdown(&mut self) {
        let is_first = !std::mem::replace(&mut self.state.shutting_down, true);
        let starting = matches!(
            self.state.process,
            Phase::Launching { .. } | Phase::Switching { .. } | Phase::RollingBack { .. }
        );
        if is_first {
            self.wait_for_shutdown();
        }
        if is_first && starting {
            self.actions.push(Action::Stop);
        }
    }

    fn wait_for_shutdown(&mut self) {
        let length = self.policy.grace.saturating_add(SHUTDOWN_OVERHEAD);
        self.state.shutdown_wait = Some(Wait::start(self.now.moment, length));
    }

    pub(super) fn clear(&mut self, reason: String) {
        self.state.process = Phase::Clearing { reason };
        self.wait_for_shutdown();
        self.actions.push(Action::StopOwn);
    }

    pub(super) fn cleared(&mut self, left: Option<&str>) {
        if !matches!(self.state.process, Phase::Clearing { .. }) {
            return;
        }
        match left {
            Some(left) => self.leave_behind(left.to_owned()),
            None => self.state.process = Phase::Stopped { left: None },
        }
    }

    /// Stop what runs, start nothing; what is being started is given up, or stopped once it runs. What does not end is
    /// not waited for for ever.
    pub(super) fn settle_shutdown(&mut self) {
        match &self.state.process {
            Phase::Running { process, .. } => {
                self.state.process = Phase::Stopping { process: process.clone(), stuck: None };
                self.wait_for_shutdown();
                self.actions.push(Action::Stop);
            }
            // It may be this vault's own that is in its way.
            Phase::Blocked { reason, .. } => self.clear(reason.clone()),
            // So it may when the last try to start something did not get as far as to the lock.
            Phase::Starting { build, .. } => self.clear(format!("{build} was to be started")),
            Phase::Waiting | Phase::Barred { .. } => self.state.process = Phase::Stopped { left: None },
            _ => {}
        }
        let is_over = self.state.shutdown_wait.is_none_or(|wait| wait.is_over(self.now.moment));
        if is_over && !self.state.is_stopped() {
            self.leave_behind(self.what_is_left());
        }
    }

    fn what_is_left(&self) -> String {
        if let Some(stuck) = self.state.stuck() {
            return stuck.to_owned();
        }
        match &self.state.process {
            Phase::Clearing { reason } => reason.clone(),
            Phase::Stopping { process, .. } | Phase::Switching { from: process, .. } => {
                format!("vault {}, pid {}, and its keeper does not say why", process.build, process.pid)
            }
            Phase::Ending { process, .. } => {
                format!("what vault {}, pid {}, started", process.build, process.pid)
            }
            Phase::Launching { build, .. } | Phase::RollingBack { to: build, .. } => {
                format!("a start of {build}, which was given up")
            }
            phase => format!("{phase:?}"),
        }
    }

    /// Nothing is started any more, so nobody needs vaultvisor to wait for the end: the lock tells the next one.
    fn leave_behind(&mut self, left: String) {
        let text = format!("vaultvisor ends, and this has not ended although it was told to: {left}");
        self.note(Kind::Blocked, None, None, text.clone());
        self.report(Severity::Error, text);
        self.state.process = Phase::Stopped { left: Some(left) };
    }
}
