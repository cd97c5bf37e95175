//! Rules 3 and 10: the ends of processes, and the orderly end of vaultvisor.
//!
//! The stop itself is the keeper's. A process has ended when its main process has (`Died`), and is gone when nothing
//! of it is left (`Ended`); only then anything is started in its place.

use super::{
    Action, Deciding, Ending, Kind, Severity,
    crash::Gone,
    policy::HEALTHY_STRETCH,
    state::{Concern, Old, Phase},
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
                self.state.process = Phase::Stopped;
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
    pub(super) fn not_ended(&mut self, ended: u32, what: &str) {
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
        self.note(Kind::Blocked, None, None, text.clone());
        self.problem(Concern::Process, Severity::Error, text);
    }

    /// Rule 10.
    pub(super) fn shutdown(&mut self) {
        let is_first = !std::mem::replace(&mut self.state.shutting_down, true);
        let starting = matches!(
            self.state.process,
            Phase::Launching { .. } | Phase::Switching { .. } | Phase::RollingBack { .. }
        );
        if is_first && starting {
            self.actions.push(Action::Stop);
        }
    }

    /// Stop what runs, start nothing; what is being started is given up, or stopped once it runs.
    pub(super) fn settle_shutdown(&mut self) {
        match &self.state.process {
            Phase::Running { process, .. } => {
                self.state.process = Phase::Stopping { process: process.clone(), stuck: None };
                self.actions.push(Action::Stop);
            }
            Phase::Waiting | Phase::Starting { .. } | Phase::Blocked { .. } | Phase::Barred { .. } => {
                self.state.process = Phase::Stopped;
            }
            _ => {}
        }
    }
}
