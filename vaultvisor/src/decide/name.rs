//! The states as people and other programs see them: their names, and why a vault is in one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    data::Staging,
    phase::{Fetch, Left, Old, Phase, Reason},
    state::{State, Upgrade},
    time::Wait,
};

/// The names of the states that people and other programs see (`state` in `status --json`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// No release is known.
    Waiting,
    /// Nothing runs; the release is being fetched.
    Fetching,
    /// Nothing runs; the release is in the store.
    Ready,
    /// The old process is being replaced.
    Switching,
    /// A new release is on trial.
    Probation,
    /// A vault runs.
    Running,
    /// The old release is being started again.
    RollingBack,
    /// A start waits for its backoff, or is under way.
    Starting,
    /// An operator wants nothing changed.
    Held,
    /// It cannot be proved that nothing runs.
    Blocked,
    /// Stopped on purpose.
    Stopped,
}

impl Name {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Waiting,
        Self::Fetching,
        Self::Ready,
        Self::Switching,
        Self::Probation,
        Self::Running,
        Self::RollingBack,
        Self::Starting,
        Self::Held,
        Self::Blocked,
        Self::Stopped,
    ];
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Ready => "ready",
            Self::Switching => "switching",
            Self::Probation => "probation",
            Self::Running => "running",
            Self::RollingBack => "rolling_back",
            Self::Starting => "starting",
            Self::Held => "held",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
        })
    }
}

impl State {
    /// The state's name. `held` shows whenever a hold is set and no switch runs.
    pub fn name(&self) -> Name {
        match self.name_without_hold() {
            name @ (Name::Switching | Name::RollingBack) => name,
            name if self.is_switching() => name,
            _ if self.hold.is_some() => Name::Held,
            name => name,
        }
    }

    /// The state's name as it is, or would be without the hold.
    pub fn name_without_hold(&self) -> Name {
        if self.stuck().is_some() {
            return Name::Blocked;
        }
        match (&self.process, &self.fetch) {
            (Phase::Waiting, Fetch::Fetching { .. } | Fetch::Failed { .. }) => Name::Fetching,
            (Phase::Waiting, Fetch::Ready { .. }) => Name::Ready,
            (Phase::Waiting, Fetch::Idle) => Name::Waiting,
            (Phase::Starting { .. } | Phase::Launching { .. }, _) => Name::Starting,
            (Phase::Switching { reason: Reason::Failed, .. }, _) => Name::RollingBack,
            (Phase::Switching { .. }, _) => Name::Switching,
            (Phase::Running { probation: Some(_), .. }, _) => Name::Probation,
            (Phase::Running { .. }, _) => Name::Running,
            (Phase::Ending { process, counts: true, .. }, _)
                if self.fallback_for(process.build.checksum).is_some() =>
            {
                Name::RollingBack
            }
            (Phase::Ending { .. }, _) => Name::Starting,
            (Phase::RollingBack { .. }, _) => Name::RollingBack,
            (Phase::Stopping { .. } | Phase::Clearing { .. } | Phase::Stopped { left: None }, _) => {
                Name::Stopped
            }
            (Phase::Blocked { .. } | Phase::Barred { .. } | Phase::Stopped { left: Some(_) }, _) => {
                Name::Blocked
            }
        }
    }

    /// One sentence on what a vault does or waits for, and until when. `since` is when it came into this state,
    /// and `at` prints the end of a wait.
    pub fn why(&self, since: Option<&str>, at: &dyn Fn(Wait) -> String) -> String {
        let why = self.why_without_hold(since, at);
        match &self.hold {
            None => why,
            Some(hold) => {
                let reason = hold.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
                format!("held by the operator{reason} until `vaultvisor resume`; {why}")
            }
        }
    }

    fn why_without_hold(&self, since: Option<&str>, at: &dyn Fn(Wait) -> String) -> String {
        if let Some(left) = self.stuck() {
            return format!("the old vault does not end: {left}; nothing is started before it is gone");
        }
        match &self.process {
            Phase::Waiting => self.why_waiting(at),
            Phase::Starting { build, wait, .. } if self.upgrade_window => format!(
                "starting {} again at {}: a runtime upgrade is under way, in which an exit is no crash{}",
                build.version,
                at(*wait),
                self.end_of_window(at)
            ),
            Phase::Starting { build, wait, attempt } => format!(
                "starting {} again at {}, after {attempt} starts that did not last",
                build.version,
                at(*wait)
            ),
            Phase::Launching { build, .. } => format!("starting {}", build.version),
            Phase::Switching { from, to, reason, old, .. } => {
                let what = match reason {
                    Reason::Release => format!("switching from {} to {}", from.build.version, to.version),
                    Reason::Failed => format!("going back from {} to {}", from.build.version, to.version),
                    Reason::Restart => format!("restarting {} for the operator", to.version),
                };
                match old {
                    Old::Ended(_) => what,
                    Old::Runs | Old::Died(_) => format!("{what}; waiting for the end of pid {}", from.pid),
                }
            }
            Phase::Running { probation: Some(probation), process, .. } => match probation.left {
                Left::Paused { .. } => format!(
                    "{} is on probation, which stands still during the runtime upgrade{}",
                    process.build.version,
                    self.end_of_window(at)
                ),
                Left::Until(wait) if probation.extended => format!(
                    "{} lives but has not answered its health URL, which is waited for until {}",
                    process.build.version,
                    at(wait)
                ),
                Left::Until(wait) => {
                    format!("{} is on probation until {}", process.build.version, at(wait))
                }
            },
            Phase::Running { .. } => {
                since.map_or_else(|| "healthy".to_owned(), |since| format!("healthy since {since}"))
            }
            Phase::Ending { process, ending, .. } => format!(
                "{} ended with {ending}; waiting for the end of what it started",
                process.build.version
            ),
            Phase::RollingBack { failed, to } => {
                format!("going back from {} to {}", failed.version, to.version)
            }
            Phase::Stopping { process, .. } => {
                format!("stopping {}, pid {}", process.build.version, process.pid)
            }
            Phase::Barred { reason, .. } => reason.clone(),
            Phase::Clearing { reason } => format!("stopping what is in the way, if it is its own: {reason}"),
            Phase::Stopped { left: None } => "vaultvisor was told to end".to_owned(),
            Phase::Stopped { left: Some(left) } => format!("vaultvisor was told to end and left: {left}"),
            Phase::Blocked { reason, build: None, .. } => {
                format!("{reason}; tried again as soon as there is a release to start")
            }
            Phase::Blocked { reason, wait, .. } => format!("{reason}; tried again at {}", at(*wait)),
        }
    }

    fn end_of_window(&self, at: &dyn Fn(Wait) -> String) -> String {
        let end = |upgrade: &Upgrade| format!(", until {} at the latest", at(upgrade.excuses));
        self.upgrade.as_ref().map_or_else(String::new, end)
    }

    fn why_waiting(&self, at: &dyn Fn(Wait) -> String) -> String {
        if let Some(wait) = self.startup_wait {
            return format!("waiting for the chain until {}", at(wait));
        }
        let Some(chosen) = self.chosen() else {
            return match self.chain_heard {
                true => "the chain has not stated a release yet",
                false => "the chain could not be read yet",
            }
            .to_owned();
        };
        match (&self.staging, &self.fetch) {
            (Staging::Staging { .. }, _) => {
                format!("making {} ready: its arguments and data", chosen.version)
            }
            (Staging::Failed { wait, .. }, _) => {
                format!("{} could not be made ready, which is tried again at {}", chosen.version, at(*wait))
            }
            (_, Fetch::Failed { wait, .. }) => {
                format!("{} could not be fetched, which is tried again at {}", chosen.version, at(*wait))
            }
            (_, Fetch::Ready { .. }) => format!("{} is ready and not started", chosen.version),
            _ => format!("fetching {} ({})", chosen.version, chosen.checksum),
        }
    }
}
