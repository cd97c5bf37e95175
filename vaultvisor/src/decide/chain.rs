//! Rule 8, old news: what a view of the chain changes, and which views change nothing.

use super::{
    Deciding, Kind, Severity,
    state::{Build, Concern, Fetch, Name, Pending, Seen, Wait},
};
use crate::{
    chain::{ChainView, PendingRelease},
    release::Release,
};

impl Deciding<'_> {
    pub(super) fn chain(
        &mut self,
        view: Option<&ChainView>,
        best_spec_version: Option<u32>,
        problem: Option<&str>,
    ) {
        let ignored = view.and_then(|view| self.view(view, best_spec_version));
        match ignored.or_else(|| problem.map(str::to_owned)) {
            Some(text) => self.problem(Concern::Chain, Severity::Warn, text),
            None => self.no_problem(Concern::Chain),
        }
    }

    /// Takes in a view, or answers why not.
    fn view(&mut self, view: &ChainView, best_spec_version: Option<u32>) -> Option<String> {
        let ignored = self.old_news(view);
        if ignored.is_some() {
            return ignored;
        }
        self.state.startup_wait = None;
        self.state.chain_heard = true;
        let statement_is_gone = match &view.current {
            None => self.state.target.as_ref().map(|target| {
                format!(
                    "the chain states no release at block {}, but stated {} before; the vault stays as it is",
                    view.finalized.number, target.version
                )
            }),
            Some(release) => {
                self.statement(view, release);
                None
            }
        };
        let pending = view.pending.as_ref().map(|pending| self.pending_here(pending));
        if pending != self.state.pending {
            pending.iter().for_each(|pending| self.fetch_at_once(pending.build.checksum));
            self.state.pending = pending;
        }
        self.see_upgrade(view.spec_version, best_spec_version);
        self.note_runtime(view.spec_version);
        statement_is_gone
    }

    fn statement(&mut self, view: &ChainView, release: &Release) {
        let is_new = self.state.target.as_ref() != Some(release);
        // Kept from the block in which a statement was first seen, not rewritten with every block.
        if is_new || self.state.seen.as_ref().is_none_or(|seen| seen.spec_version != view.spec_version) {
            self.state.seen = Some(Seen {
                genesis: view.genesis,
                finalized: view.finalized.number,
                spec_version: view.spec_version,
            });
        }
        if is_new {
            self.new_target(release.clone());
        }
    }

    /// Why a view is older than what was acted on, or of another chain.
    fn old_news(&self, view: &ChainView) -> Option<String> {
        let seen = self.state.seen.as_ref()?;
        if view.genesis != seen.genesis {
            return Some(format!(
                "{} is another chain: expected genesis {}, found {}; ignored",
                view.source, seen.genesis, view.genesis
            ));
        }
        if view.finalized.number < seen.finalized {
            return Some(format!(
                "{} says that block {} is the last finalized one, but block {} was finalized before; ignored",
                view.source, view.finalized.number, seen.finalized
            ));
        }
        let known = self.state.target.as_ref().and_then(|target| target.sequence)?;
        let found = view.current.as_ref().and_then(|release| release.sequence)?;
        (found < known).then(|| {
            format!("{} states release {found}, but release {known} was stated before; ignored", view.source)
        })
    }

    fn new_target(&mut self, release: Release) {
        let stated = Build::of(&release, &self.policy.target);
        let build = stated.clone().unwrap_or_else(|| Build::from(&release));
        let checksum = build.checksum;
        let old =
            self.state.target.take().map(|old| self.state.stated.take().unwrap_or_else(|| Build::from(&old)));
        if old.as_ref().is_none_or(|old| old.checksum != checksum) {
            self.no_problem(Concern::Fetch);
            if self.state.rejection_of(checksum).is_none() && self.state.name_without_hold() != Name::Blocked
            {
                self.no_problem(Concern::Process);
            }
        }
        self.earn_retry(checksum, release.sequence);
        self.fetch_at_once(checksum);
        let text = format!("the chain states release {build}");
        // Its programs may be others than those that were fetched with the same binary.
        if old.as_ref().is_some_and(|old| old.checksum == checksum && old.migrations != build.migrations) {
            self.state.fetch = Fetch::Idle;
        }
        self.state.target = Some(release);
        self.state.stated = stated;
        self.note(Kind::Stated, old.as_ref(), Some(&build), text.clone());
        self.report(Severity::Info, text);
        // Rule 9: an operator's choice holds until the chain's next statement.
        if let Some(choice) = self.state.override_build.take() {
            self.report(Severity::Info, format!("the operator's choice {choice} ends with it"));
        }
    }

    fn pending_here(&self, pending: &PendingRelease) -> Pending {
        let release = pending.release();
        let here = Build::of(&release, &self.policy.target);
        let is_for_others = here.is_none();
        let build = here.unwrap_or_else(|| Build::from(&release));
        Pending { build, spec_version: pending.spec_version, is_for_others }
    }

    /// Rule 5: a newer statement that names a rejected file earns one immediate retry. Where statements are
    /// not counted, any that differs from the one before is newer.
    fn earn_retry(&mut self, checksum: crate::release::Checksum, sequence: Option<u64>) {
        let now = self.now.moment;
        for rejection in &mut self.state.rejected {
            let is_newer = sequence.is_none() || rejection.sequence < sequence;
            if rejection.build.checksum == checksum && is_newer {
                rejection.sequence = sequence;
                rejection.wait = Wait::over(now);
            }
        }
    }
}
