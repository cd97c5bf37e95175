//! Rule 2, the runtime-upgrade window: while a runtime upgrade is under way the vault may refuse to run, and that is
//! nobody's failure.

use std::time::Duration;

use super::{
    Deciding, Kind, Severity,
    policy::WINDOW_RETRY,
    state::{Build, Left, Phase, Wait},
};

impl Deciding<'_> {
    /// The window is open while the best block's runtime is newer than the finalized one's, and while a release
    /// is still pending although its runtime is in force.
    pub(super) fn see_window(&mut self, spec_version: u32, best_spec_version: Option<u32>) {
        let upgrading = best_spec_version.is_some_and(|best| best > spec_version);
        let pending = self.state.pending.as_ref().and_then(|pending| pending.spec_version);
        let promotion_is_due = pending.is_some_and(|awaited| spec_version >= awaited);
        let open = upgrading || promotion_is_due;
        if std::mem::replace(&mut self.state.upgrade_window, open) == open {
            return;
        }
        let text = if open {
            "a runtime upgrade is under way: until it is over, an exit of the vault is no crash"
        } else {
            "the runtime upgrade is over"
        };
        self.note(Kind::Window, None, None, text);
        self.report(Severity::Info, text);
    }

    /// Probation stands still in the window.
    pub(super) fn settle_upgrade_window(&mut self) {
        let (now, open) = (self.now.moment, self.state.upgrade_window);
        let Phase::Running { probation: Some(probation), .. } = &mut self.state.process else { return };
        probation.left = match probation.left {
            Left::Until(wait) if open => Left::Paused { left_ms: wait.left_ms(now) },
            Left::Paused { left_ms } if !open => {
                Left::Until(Wait::start(now, Duration::from_millis(left_ms)))
            }
            left => left,
        };
    }

    /// An exit in the window is not counted; the next start may be the one after the upgrade.
    pub(super) fn start_again_in_window(&mut self, build: &Build, attempt: u32) {
        let wait = Wait::start(self.now.moment, WINDOW_RETRY);
        self.state.process = Phase::Starting { build: build.clone(), wait, attempt };
    }
}
