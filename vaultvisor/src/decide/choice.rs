//! What may run at all, and what should: the one place that weighs the chain, the operator, rejections and the
//! store.

use super::{
    Deciding,
    state::{Build, Snapshot, Standing, State},
};

impl State {
    /// The release that a failing one gives way to: the one that proved itself, unless the data was migrated away from
    /// it, or that which the data will be of once it is restored.
    pub(super) fn fallback_for(&self, failing: crate::release::Checksum) -> Option<&Build> {
        match self.standing() {
            Some(Snapshot { standing: Standing::Migrated, .. }) => return None,
            Some(Snapshot { standing: Standing::Restore, from, .. }) => {
                return Some(from).filter(|from| from.checksum != failing);
            }
            _ => {}
        }
        let good = self.last_known_good.as_ref().map(|good| &good.build);
        good.filter(|good| good.checksum != failing)
    }
}

impl Deciding<'_> {
    /// Whether a release failed here and its time has not come again.
    pub(super) fn is_rejected_now(&self, build: &Build) -> bool {
        let rejection = self.state.rejection_of(build.checksum);
        rejection.is_some_and(|rejection| !rejection.wait.is_over(self.now.moment))
    }

    /// The chosen release, unless it failed here and its time has not come again (rule 5).
    pub(super) fn allowed_choice(&self) -> Option<Build> {
        self.state.chosen().filter(|chosen| !self.is_rejected_now(chosen))
    }

    /// The chosen release, if it may be taken up now: it is proved (rule 1), and this vaultvisor has heard the
    /// chain (rule 7) and is not held (rule 9), or the operator chose it.
    pub(super) fn ready_choice(&self) -> Option<Build> {
        let may_change = self.state.chain_heard && self.state.hold.is_none();
        if !may_change && self.state.override_build.is_none() {
            return None;
        }
        self.allowed_choice().filter(|choice| self.has_files(choice))
    }

    /// Whether all that the chain names of a release is here.
    fn has_files(&self, build: &Build) -> bool {
        let is_fetched = self.state.fetch.is_ready(build.checksum);
        self.state.is_stored(build.checksum) && (build.migrations.is_empty() || is_fetched)
    }

    /// The same, if what it needs besides its files is made ready, and may be started on the data (rule 12).
    pub(super) fn staged_choice(&self) -> Option<Build> {
        self.ready_choice().filter(|choice| self.may_start(choice))
    }

    fn may_start(&self, build: &Build) -> bool {
        self.suits_data(build) && self.is_staged(build)
    }

    /// What to start where nothing runs; `before` is what ran or was to run there.
    ///
    /// *Always one*: while the chosen release is not ready, or the chain is out of reach, what proved itself
    /// runs; and before anything has, whatever governance stated and is here.
    pub(super) fn to_start(&self, before: Option<&Build>) -> Option<Build> {
        if let Some(build) = self.forced_by_data() {
            return Some(build);
        }
        let ran_last = || self.state.last_run.as_ref().map(|run| run.build.clone());
        let allowed = |build: &Build| !self.is_rejected_now(build);
        let usable = |build: &Build| !self.state.unproved.contains(&build.checksum) && self.may_start(build);
        let startable = |build: &Build| self.may_start(build);
        let is_held = self.state.hold.is_some();
        let proved = || self.state.last_known_good.as_ref().map(|good| good.build.clone());
        let stated = || self.allowed_choice().filter(|choice| self.has_files(choice));
        self.staged_choice()
            .or_else(|| before.cloned().filter(|build| allowed(build) && usable(build)))
            .or_else(|| ran_last().filter(|build| is_held && allowed(build) && usable(build)))
            .or_else(|| proved().filter(usable))
            .or_else(|| stated().filter(|_| !is_held).filter(startable))
            .or_else(|| ran_last().filter(|build| allowed(build) && usable(build)))
            // Nothing is known to be whole: its start says what is wrong, and has it fetched.
            .or_else(|| before.cloned().filter(startable))
            .or_else(|| proved().filter(startable))
            .or_else(|| ran_last().filter(|build| allowed(build) && startable(build)))
    }
}
