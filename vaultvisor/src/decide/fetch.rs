//! Rule 1, ready first: what should run, and what a runtime upgrade will bring, is fetched and proved while the old
//! vault runs.

use std::time::Duration;

use super::{
    Action, Deciding, Severity,
    policy::{FETCH_BACKOFF_FIRST, FETCH_BACKOFF_MOST, MAX_UNPROVED, RETRY_AFTER_MOST},
    state::{Build, Concern, Fetch, Phase, Wait},
};
use crate::release::Checksum;

/// The two files that are had ready.
#[derive(Clone, Copy)]
enum Slot {
    Chosen,
    Pending,
}

const SLOTS: [Slot; 2] = [Slot::Chosen, Slot::Pending];

impl Deciding<'_> {
    fn slot(&mut self, slot: Slot) -> (&mut Fetch, Concern) {
        match slot {
            Slot::Chosen => (&mut self.state.fetch, Concern::Fetch),
            Slot::Pending => (&mut self.state.pending_fetch, Concern::Pending),
        }
    }

    pub(super) fn fetched(&mut self, checksum: Checksum) {
        let was_distrusted = self.state.unproved.contains(&checksum);
        self.state.unproved.retain(|unproved| *unproved != checksum);
        // A start that waits because of this file waits no longer; the tries of the fetch grow rarer by themselves.
        if let Phase::Starting { build, wait, .. } = &mut self.state.process
            && (was_distrusted && build.checksum == checksum)
            && self.state.fetch.checksum() == Some(checksum)
        {
            *wait = Wait::over(self.now.moment);
        }
        for slot in SLOTS {
            let (fetch, concern) = self.slot(slot);
            if fetch.checksum() == Some(checksum) {
                *fetch = Fetch::Ready { checksum, attempt: fetch.attempt() };
                self.no_problem(concern);
            }
        }
        if !self.state.needed().contains(&checksum) {
            // It is wanted no more; the newest statement won while it came.
            self.prune();
        }
    }

    /// A fetch that fails is retried and is never a rejection (rule 5).
    pub(super) fn fetch_failed(&mut self, checksum: Checksum, reason: &str, retry_after: Option<Duration>) {
        for slot in SLOTS {
            let (fetch, concern) = self.slot(slot);
            if let Fetch::Fetching { checksum: wanted, attempt } = *fetch
                && wanted == checksum
            {
                let attempt = attempt.saturating_add(1);
                let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MOST);
                // Who was told to come back then is told so together with many others.
                let length = asked + self.policy.spread(FETCH_BACKOFF_FIRST, FETCH_BACKOFF_MOST, attempt);
                self.fetch_later(slot, checksum, attempt, length);
                self.problem(concern, Severity::Warn, reason.to_owned());
            }
        }
    }

    /// The bytes are those that the chain states, and are of no use here. That is found out while the old vault runs, so
    /// that nothing is stopped for it; but it is the release's own failure (rule 5).
    pub(super) fn unfit(&mut self, checksum: Checksum, reason: &str) {
        self.state.unproved.retain(|unproved| *unproved != checksum);
        for slot in SLOTS {
            let (fetch, concern) = self.slot(slot);
            let Fetch::Fetching { checksum: wanted, attempt } = *fetch else { continue };
            if wanted != checksum {
                continue;
            }
            let build = match slot {
                Slot::Chosen => self.state.chosen(),
                Slot::Pending => self.state.pending.as_ref().map(|pending| pending.build.clone()),
            };
            let Some(build) = build.filter(|build| build.checksum == checksum) else { continue };
            let what = format!("release {build} cannot run here: {reason}");
            let is_something_else_there =
                self.state.running().is_some() || self.state.fallback_for(checksum).is_some();
            if matches!(slot, Slot::Chosen) && is_something_else_there {
                self.no_problem(concern);
                self.reject(&build, what);
            } else {
                // With nothing to go back to it is not rejected; and what waits for a runtime upgrade may be replaced
                // before it comes into force.
                let attempt = attempt.saturating_add(1);
                let length = self.policy.backoff(FETCH_BACKOFF_FIRST, FETCH_BACKOFF_MOST, attempt);
                self.fetch_later(slot, checksum, attempt, length);
                self.problem(concern, Severity::Error, what);
            }
        }
    }

    /// A release is stated anew: who did that may just have published its file, or named another place for it.
    pub(super) fn fetch_at_once(&mut self, checksum: Checksum) {
        let now = self.now.moment;
        for slot in SLOTS {
            if let Fetch::Failed { checksum: failed, wait, .. } = self.slot(slot).0
                && *failed == checksum
            {
                *wait = Wait::over(now);
            }
        }
    }

    /// A file was there and could not be used: it does not count as stored until it is proved again.
    pub(super) fn distrust(&mut self, build: &Build) {
        let checksum = build.checksum;
        if !self.state.unproved.contains(&checksum) {
            if self.state.unproved.len() >= MAX_UNPROVED {
                self.state.unproved.remove(0);
            }
            self.state.unproved.push(checksum);
        }
        if self.state.chosen().is_some_and(|chosen| chosen.checksum == checksum) {
            let ready = self.state.fetch.is_ready(checksum);
            let attempt = if ready { self.state.fetch.attempt() } else { 0 };
            let attempt = attempt.saturating_add(1);
            let length = self.policy.backoff(FETCH_BACKOFF_FIRST, FETCH_BACKOFF_MOST, attempt);
            self.fetch_later(Slot::Chosen, checksum, attempt, length);
        } else {
            self.actions.push(Action::Fetch(build.clone()));
        }
    }

    fn fetch_later(&mut self, slot: Slot, checksum: Checksum, attempt: u32, length: Duration) {
        let wait = Wait::start(self.now.moment, length);
        *self.slot(slot).0 = Fetch::Failed { checksum, attempt, wait };
    }

    pub(super) fn settle_fetch(&mut self) {
        let before = [self.state.fetch.checksum(), self.state.pending_fetch.checksum()];
        self.settle_chosen();
        self.settle_pending();
        let needed = self.state.needed();
        if before.into_iter().flatten().any(|checksum| !needed.contains(&checksum)) {
            // News took the place of a file that has come, or comes.
            self.prune();
        }
    }

    fn settle_chosen(&mut self) {
        self.settle_platform();
        let Some(choice) = self.allowed_choice() else {
            let chosen = self.state.chosen().map(|chosen| chosen.checksum);
            if self.state.fetch.checksum() != chosen {
                self.state.fetch = Fetch::Idle;
            }
            return;
        };
        // What was fetched ahead, or is being fetched, is not fetched again when it becomes the chosen one.
        if self.state.fetch.checksum() != Some(choice.checksum)
            && self.state.pending_fetch.checksum() == Some(choice.checksum)
        {
            self.state.fetch = std::mem::take(&mut self.state.pending_fetch);
            self.no_problem(Concern::Pending);
        }
        if self.state.current_checksum() == Some(choice.checksum) {
            // Rule 8: what runs is never fetched or started again. How often that was tried is forgotten when it does run.
            let is_being_started =
                matches!(self.state.process, Phase::Launching { .. } | Phase::Switching { .. });
            if !is_being_started || !self.state.fetch.is_ready(choice.checksum) {
                self.state.fetch = Fetch::Idle;
            }
            self.no_problem(Concern::Fetch);
            return;
        }
        self.have_ready(Slot::Chosen, &choice);
    }

    /// A release that has nothing for this machine: what runs goes on.
    fn settle_platform(&mut self) {
        if let (Some(target), None, None) =
            (&self.state.target, &self.state.stated, &self.state.override_build)
        {
            let text = format!(
                "release {} has no binary for this machine, expected an artifact binary-{}; what runs is left running until \
                 the chain states one that has",
                target.version, self.policy.target
            );
            self.problem(Concern::Fetch, Severity::Error, text);
        }
    }

    /// Rule 2: a pending release is fetched as soon as it is seen.
    fn settle_pending(&mut self) {
        let chosen = self.state.chosen().map(|chosen| chosen.checksum);
        let pending = self.state.pending.as_ref().filter(|pending| !pending.is_for_others);
        let pending = pending.map(|pending| pending.build.clone());
        match pending.filter(|pending| Some(pending.checksum) != chosen) {
            Some(pending) => self.have_ready(Slot::Pending, &pending),
            None => {
                self.state.pending_fetch = Fetch::Idle;
                self.no_problem(Concern::Pending);
            }
        }
    }

    fn have_ready(&mut self, slot: Slot, build: &Build) {
        let (checksum, now) = (build.checksum, self.now.moment);
        let is_distrusted = self.state.unproved.contains(&checksum);
        // Only a fetch knows whether its programs are here, too.
        let stored = self.state.is_stored(checksum) && build.migrations.is_empty();
        let (fetch, _) = self.slot(slot);
        let is_same = fetch.checksum() == Some(checksum);
        let attempt = if is_same { fetch.attempt() } else { 0 };
        match fetch {
            Fetch::Fetching { .. } if is_same => return,
            Fetch::Failed { wait, .. } if is_same && !wait.is_over(now) => return,
            Fetch::Failed { .. } if is_same => {}
            Fetch::Ready { .. } if is_same && !is_distrusted => return,
            _ if stored => {
                *fetch = Fetch::Ready { checksum, attempt };
                return;
            }
            _ => {}
        }
        *fetch = Fetch::Fetching { checksum, attempt };
        self.actions.push(Action::Fetch(build.clone()));
    }
}
