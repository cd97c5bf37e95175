//! Rule 5, failure before the commit: the old release comes back, and the new one is tried again on a schedule.

use super::{
    Action, Deciding, Kind, Severity,
    migration::{Way, WayBack},
    policy::MAX_REJECTIONS,
    state::{Build, Concern, Fetch, Phase, Rejection, Wait},
};

impl Deciding<'_> {
    /// A build would not start, or did not stay alive, and nothing of it is left.
    pub(super) fn failed(&mut self, build: &Build, attempt: u32, what: String) {
        if self.state.shutting_down {
            return self.start_later(build, attempt, what);
        }
        match self.way_back(build) {
            WayBack::To(good) => {
                self.reject(build, what);
                self.go_back(build, good);
            }
            WayBack::Barred(snapshot) => {
                self.reject(build, what);
                self.bar(&snapshot);
            }
            // With nothing to go back to it is not rejected.
            WayBack::Nowhere => self.start_later(build, attempt, what),
        }
    }

    /// Starts what was there before, with what it had.
    pub(super) fn go_back(&mut self, failed: &Build, good: Build) {
        self.warn_of_unseen_runtime(&good);
        self.note(Kind::FellBack, Some(failed), Some(&good), format!("going back to {good}"));
        self.state.process = Phase::RollingBack { failed: failed.clone(), to: good.clone() };
        let launch = self.launch_of(&good, Way::Back);
        self.actions.push(Action::Start(launch));
    }

    pub(super) fn reject(&mut self, build: &Build, reason: String) {
        let state = &mut self.state;
        let earlier = state.rejected.iter().position(|old| old.build.checksum == build.checksum);
        let attempts = earlier.map_or(0, |index| state.rejected.remove(index).attempts).saturating_add(1);
        let sequence = state.target.as_ref().and_then(|target| target.sequence);
        let wait = Wait::start(self.now.moment, self.policy.rejection_retry(attempts));
        if state.rejected.len() >= MAX_REJECTIONS {
            // The oldest, but nothing that would be tried again at once if it were forgotten.
            let pending = state.pending.as_ref().map(|pending| &pending.build);
            let wanted = [state.stated.as_ref(), state.override_build.as_ref(), pending];
            let is_wanted =
                |old: &Rejection| wanted.iter().flatten().any(|build| build.checksum == old.build.checksum);
            let oldest = state.rejected.iter().position(|old| !is_wanted(old)).unwrap_or_default();
            state.rejected.remove(oldest);
        }
        let rejection = Rejection { build: build.clone(), sequence, reason: reason.clone(), attempts, wait };
        state.rejected.push(rejection);
        // Another release may be on trial meanwhile.
        state.trial_reboots.take_if(|reboots| reboots.checksum == build.checksum);
        state.fetch = Fetch::Idle;
        self.note(Kind::Rejected, None, Some(build), reason.clone());
        self.problem(Concern::Process, Severity::Error, reason);
    }

    /// An old client may not understand a newer chain.
    pub(super) fn warn_of_unseen_runtime(&mut self, good: &Build) {
        let Some(now) = self.state.seen.as_ref().map(|seen| seen.spec_version) else { return };
        let known = self.state.last_known_good.as_ref().filter(|known| known.build.checksum == good.checksum);
        let ran_under = known.and_then(|good| good.spec_version);
        if ran_under.is_none_or(|ran_under| ran_under < now) {
            let ran_under = ran_under.map_or("an unknown one".to_owned(), |version| version.to_string());
            let text = format!(
                "going back to release {good}, which never ran under the present runtime version {now} (the newest \
                 it ran under is {ran_under}): see whether it does its work"
            );
            self.note(Kind::Unseen, None, Some(good), text.clone());
            self.problem(Concern::Runtime, Severity::Error, text);
        }
    }
}
