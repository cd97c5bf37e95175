//! Rule 2, the runtime-upgrade window: while a runtime upgrade is under way the vault may refuse to run, and that is
//! nobody's failure.

use std::time::Duration;

use super::{
    Deciding, Kind, Severity,
    policy::{WINDOW_LIMIT, WINDOW_RETRY},
    state::{Build, Left, Phase, Upgrade, Wait},
};

impl Deciding<'_> {
    /// An upgrade is under way while the best block's runtime is newer than the finalized one's, and while a release
    /// is still pending although its runtime is in force.
    pub(super) fn see_upgrade(&mut self, spec_version: u32, best_spec_version: Option<u32>) {
        let upgrading = best_spec_version.filter(|best| *best > spec_version);
        let pending = self.state.pending.as_ref().and_then(|pending| pending.spec_version);
        let promotion_is_due = pending.filter(|awaited| spec_version >= *awaited);
        let known = self.state.upgrade.take();
        self.state.upgrade = upgrading.max(promotion_is_due).map(|to| match known {
            Some(known) if known.to == to => known,
            _ => Upgrade { to, excuses: Wait::start(self.now.moment, WINDOW_LIMIT) },
        });
    }

    /// The window is open while an upgrade is under way, but not for ever. Probation stands still in it.
    pub(super) fn settle_upgrade_window(&mut self) {
        let now = self.now.moment;
        let upgrade = self.state.upgrade.as_ref();
        let open = upgrade.is_some_and(|upgrade| !upgrade.excuses.is_over(now));
        if std::mem::replace(&mut self.state.upgrade_window, open) != open {
            self.tell_of_window();
        }
        let Phase::Running { probation: Some(probation), .. } = &mut self.state.process else { return };
        probation.left = match probation.left {
            Left::Until(wait) if open => Left::Paused { left_ms: wait.left_ms(now) },
            Left::Paused { left_ms } if !open => {
                Left::Until(Wait::start(now, Duration::from_millis(left_ms)))
            }
            left => left,
        };
    }

    fn tell_of_window(&mut self) {
        let (severity, text) = match (&self.state.upgrade, self.state.upgrade_window) {
            (Some(Upgrade { to, .. }), true) => (
                Severity::Info,
                format!(
                    "a runtime upgrade to {to} is under way: until it is over, an exit of the vault is no crash"
                ),
            ),
            (Some(Upgrade { to, .. }), false) => (
                Severity::Warn,
                format!(
                    "the runtime upgrade to {to} has been under way for {} min: an exit of the vault counts again; see \
                     whether the chain finalizes blocks and has put the scheduled release in force",
                    WINDOW_LIMIT.as_secs() / 60
                ),
            ),
            (None, _) => (Severity::Info, "the runtime upgrade is over".to_owned()),
        };
        self.note(Kind::Window, None, None, text.clone());
        self.report(severity, text);
    }

    /// An exit in the window is not counted; the next start may be the one after the upgrade.
    pub(super) fn start_again_in_window(&mut self, build: &Build, attempt: u32) {
        let wait = Wait::start(self.now.moment, WINDOW_RETRY);
        self.state.process = Phase::Starting { build: build.clone(), wait, attempt };
    }
}
