//! What must hold after every step.

use std::collections::{BTreeMap, BTreeSet};

use vaultvisor::{
    decide::{
        Action, Command, Event, Observed, State,
        data::Launch,
        state::{Fetch, Name, Phase, Reason, Snapshot, Staging, Standing},
        states,
    },
    journal::decode,
    release::Checksum,
};

use super::{Item, Life, Outcome, daemon::is_under_way, machine::Quality};

/// The longest backoff of a crash or a download, the download, and some time to prepare.
const IDLE_AT_MOST_MS: u64 = 370_000;

/// What was seen in all lives, so that a run that proves nothing shows as one.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// Vaultvisors that were killed or died.
    pub(crate) kills: u64,
    /// Reboots and power losses.
    pub(crate) reboots: u64,
    /// Orderly ends.
    pub(crate) shutdowns: u64,
    /// Vaults that were taken over.
    pub(crate) adopted: u64,
    /// Switches that were begun.
    pub(crate) switches: u64,
    /// Releases that were kept.
    pub(crate) kept: u64,
    /// Releases that were rejected.
    pub(crate) rejected: u64,
    /// Exits that a runtime upgrade excused.
    pub(crate) excused: u64,
    /// Starts that were blocked.
    pub(crate) blocked: u64,
    /// Stops that took longer than they may.
    pub(crate) stuck: u64,
    /// Orderly ends that left something that did not end.
    pub(crate) left: u64,
    /// An operator's commands.
    pub(crate) commands: u64,
    /// Files of which it showed that they cannot be executed before they were.
    pub(crate) unfit: u64,
    /// Releases that were made ready.
    pub(crate) staged: u64,
    /// Data that was migrated, and of which that failed.
    pub(crate) migrated: u64,
    pub(crate) migrations_failed: u64,
    /// Data that was restored.
    pub(crate) restored: u64,
    /// Releases that failed on data which was migrated for them, and barred every other.
    pub(crate) barred: u64,
    /// Processes that were executed without their daemon hearing of it.
    pub(crate) unheard: u64,
    /// Starts that the machine could not bring to their execution.
    pub(crate) hindered: u64,
    /// Lives that settled on the chain's release.
    pub(crate) settled: u64,
    /// Changes of the state's name, without holds.
    pub(crate) transitions: BTreeMap<(Name, Name), u64>,
    /// What daemons began with.
    pub(crate) beginnings: BTreeMap<Name, u64>,
    /// Files that may be blamed: their process ended by itself, or did not start.
    blamed: BTreeSet<Checksum>,
}

impl Coverage {
    pub(crate) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.reboots += other.reboots;
        self.shutdowns += other.shutdowns;
        self.adopted += other.adopted;
        self.switches += other.switches;
        self.kept += other.kept;
        self.rejected += other.rejected;
        self.excused += other.excused;
        self.blocked += other.blocked;
        self.stuck += other.stuck;
        self.left += other.left;
        self.commands += other.commands;
        self.unfit += other.unfit;
        self.staged += other.staged;
        self.migrated += other.migrated;
        self.migrations_failed += other.migrations_failed;
        self.restored += other.restored;
        self.barred += other.barred;
        self.unheard += other.unheard;
        self.hindered += other.hindered;
        self.settled += other.settled;
        for (change, times) in &other.transitions {
            *self.transitions.entry(*change).or_default() += times;
        }
        for (name, times) in &other.beginnings {
            *self.beginnings.entry(*name).or_default() += times;
        }
    }
}

impl Life {
    /// What one decision may change, and what not.
    pub(crate) fn judge(&mut self, before: &State, event: &Event, next: &State) -> Outcome {
        let begins = matches!(event, Event::Recovered { .. });
        let (from, to) = (before.name_without_hold(), next.name_without_hold());
        if !states::is_allowed(before, next, begins) {
            return Err(format!("the diagram has no way from {from} to {to} by {event:?}"));
        }
        if begins {
            *self.coverage.beginnings.entry(to).or_default() += 1;
        } else if from != to {
            *self.coverage.transitions.entry((from, to)).or_default() += 1;
        }
        self.judge_blame(before, event, next)?;
        self.judge_commit(before, next)?;
        let is_barred = |state: &State| matches!(state.process, Phase::Barred { .. });
        self.coverage.barred += u64::from(is_barred(next) && !is_barred(before));
        let now = self.machine.now().moment;
        if let Some(long) = next.rejected.iter().find(|old| old.wait.left_ms(now) > old.wait.length_ms) {
            return Err(format!("rule 11: {} waits longer than it was meant to", long.build));
        }
        if next.why(None, &|_| "then".to_owned()).is_empty() {
            return Err(format!("N3: {to} without a reason"));
        }
        Ok(())
    }

    /// A release is rejected only for something that it, or its machine under it, did.
    fn judge_blame(&mut self, before: &State, event: &Event, next: &State) -> Outcome {
        if let Event::NotPrepared { build, .. } | Event::NotExecuted { build, .. } = event
            && self.machine.is_proved(build.checksum)
        {
            // The machine lacked something; the wait begins anew.
            self.idle_since = None;
        }
        let blamed = match event {
            Event::StartFailed { build, .. } => Some(build.checksum),
            Event::Unfit { checksum, .. } => Some(*checksum),
            Event::StageFailed { to, by_release: true, .. } => Some(*to),
            Event::Died { pid, .. } | Event::Ended { pid } => match &before.process {
                Phase::Running { process, .. } if process.pid == *pid && before.upgrade_window => {
                    self.coverage.excused += 1;
                    None
                }
                // Told to end by a vaultvisor that is gone: that is no failure.
                Phase::Running { process, .. } if process.pid == *pid && self.was_told(*pid) => None,
                Phase::Running { process, .. } | Phase::Switching { from: process, .. }
                    if process.pid == *pid =>
                {
                    Some(process.build.checksum)
                }
                _ => None,
            },
            _ if self.policy.health && is_overdue(before) => {
                before.running().map(|process| process.build.checksum)
            }
            Event::Recovered { observed: Observed::Ended { pid, .. }, .. }
                if !before.upgrade_window && !self.was_told(*pid) =>
            {
                self.machine.process.as_ref().map(|process| process.build.checksum)
            }
            _ => None,
        };
        if let Event::Started { build, .. } = event {
            self.coverage.blamed.remove(&build.checksum);
        }
        self.coverage.blamed.extend(blamed);
        for rejection in &next.rejected {
            let checksum = rejection.build.checksum;
            let old = before.rejected.iter().find(|old| old.build.checksum == checksum);
            if old.is_some_and(|old| old.attempts >= rejection.attempts) {
                continue;
            }
            self.coverage.rejected += 1;
            // What ended while nobody looked, and was not told to; or went down with its machine too often.
            let process = self.machine.process.as_ref();
            let is_told = process
                .is_some_and(|process| process.build.checksum == checksum && self.was_told(process.pid));
            let is_other_boot = before.boot.as_ref() != Some(&self.machine.boot_id());
            let recovers = matches!(event, Event::Recovered { .. }) && (is_other_boot || !is_told);
            if !self.coverage.blamed.remove(&checksum) && !recovers {
                return Err(format!("{} is rejected by {event:?} and did nothing wrong", rejection.build));
            }
        }
        Ok(())
    }

    fn was_told(&self, pid: u32) -> bool {
        let process = self.machine.process.as_ref().filter(|process| process.pid == pid);
        process.is_some_and(|process| process.told_durably || process.told_on_record)
    }

    /// Something that lives is stopped only to make room for what should run, or for good.
    pub(crate) fn judge_stop(&mut self, event: &Event, next: &State, action: &Action) -> Outcome {
        let why = match (action, &next.process) {
            (Action::Stop | Action::StopOwn, _) if next.shutting_down => return Ok(()),
            (Action::Switch { to: Launch { build: to, .. } }, Phase::Switching { from, reason, .. }) => {
                match reason {
                    Reason::Release if next.hold.is_some() && next.override_build.is_none() => {
                        Some("the chain, although it is held".to_owned())
                    }
                    Reason::Release if self.machine.allowed.contains(&to.checksum) && *to != from.build => {
                        None
                    }
                    Reason::Failed if self.policy.health && from.build != *to => None,
                    Reason::Restart if matches!(event, Event::Operator(Command::Restart)) => None,
                    reason => Some(format!("{reason:?}")),
                }
            }
            (Action::Stop | Action::StopOwn | Action::Switch { .. }, phase) => Some(format!("{phase:?}")),
            _ => None,
        };
        if let Some(why) = why {
            return Err(format!("A1: {action:?} because of {why}"));
        }
        let trouble = matches!(
            event,
            Event::Chain { view: None, .. } | Event::FetchFailed { .. } | Event::Unfit { .. }
        );
        if trouble && matches!(action, Action::Switch { .. }) {
            return Err(format!("A1: {action:?} because of trouble: {event:?}"));
        }
        Ok(())
    }

    /// What proved itself and is there runs, sooner or later, whatever else is wrong.
    fn check_always_one(&mut self) -> Outcome {
        let now = self.machine.total_ms;
        let state =
            self.daemon.as_ref().map(|daemon| &daemon.recorded.state).filter(|state| !state.shutting_down);
        let good = state.and_then(|state| state.last_known_good.as_ref()).map(|good| good.build.checksum);
        let can_run = good.is_some_and(|good| {
            self.machine.is_proved(good) && Quality::of(good) == Quality::Good && !self.machine.is_occupied()
        });
        // What was migrated away from it is not for it; and a full disk restores nothing.
        let is_ours = |snapshot: &Snapshot| matches!(snapshot.standing, Standing::Plain | Standing::Begun);
        let can_run = can_run && state.is_some_and(|state| state.snapshots.iter().all(is_ours));
        if !can_run {
            self.idle_since = None;
            return Ok(());
        }
        let since = *self.idle_since.get_or_insert(now);
        if now - since > IDLE_AT_MOST_MS {
            return Err(format!("A1: nothing runs for {} s, and something could", (now - since) / 1000));
        }
        Ok(())
    }

    /// Rule 2: no upgrade excuses exits for ever.
    fn check_window(&mut self) -> Outcome {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let state = &daemon.recorded.state;
        let Some(upgrade) = &state.upgrade else {
            self.excused_until = None;
            return Ok(());
        };
        if !state.upgrade_window {
            return Ok(());
        }
        let (of, until) = ((self.incarnation, upgrade.to), upgrade.excuses.until);
        match self.excused_until.filter(|(known, _)| *known == of) {
            Some((_, known)) if until > known => return Err("an upgrade excuses exits for longer".into()),
            _ => self.excused_until = Some((of, until)),
        }
        if !state.shutting_down && self.machine.now().moment > until {
            return Err("an upgrade excuses exits although its time is over".into());
        }
        Ok(())
    }

    /// A release is kept only while its process lives, and after its whole probation.
    fn judge_commit(&mut self, before: &State, next: &State) -> Outcome {
        let checksum = |state: &State| state.last_known_good.as_ref().map(|good| good.build.checksum);
        if checksum(next) == checksum(before) {
            return Ok(());
        }
        let Some(kept) = checksum(next) else {
            return Err("the last known good release is forgotten".into());
        };
        self.coverage.kept += 1;
        self.machine.data.is_kept();
        let probation = u64::try_from(self.policy.probation.as_millis()).unwrap_or(u64::MAX);
        let process = self.machine.process.as_ref().filter(|process| process.build.checksum == kept);
        let Some(process) = process else { return Err("what is kept does not run".into()) };
        let lived = self.machine.moment_ms - process.since.0;
        let pid = process.pid;
        let is_told = self
            .agenda
            .values()
            .any(|item| matches!(item, Item::Tell(_, Event::Died { pid: died, .. }) if *died == pid));
        if !process.main_lives && !is_told {
            return Err("what is kept has died, and the daemon was told".into());
        }
        if self.policy.health && self.quality(kept) == Quality::Mute {
            return Err("what is kept never answered its health URL".into());
        }
        if lived < probation {
            return Err(format!("what is kept has lived for {lived} ms only"));
        }
        Ok(())
    }

    pub(crate) fn check(&mut self) -> Outcome {
        self.check_journal()?;
        self.check_always_one()?;
        self.check_window()?;
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let state = &daemon.recorded.state;
        if state.shutting_down && !state.is_stopped() && daemon.wake_at().is_none() {
            return Err("N3: vaultvisor was told to end, and may never do".into());
        }
        let incarnation = self.incarnation;
        let is_told = self.agenda.values().any(|item| {
            matches!(item, Item::Tell(of, event) if *of == incarnation
                && !matches!(event, Event::Fetched(_) | Event::FetchFailed { .. } | Event::Unfit { .. }))
        });
        if !is_under_way(daemon, state, is_told) {
            return Err(format!("N3: {:?} waits for something that nobody does", state.process));
        }
        let fetch_is_told = |wanted: Checksum| {
            self.agenda.values().any(|item| match item {
                Item::Tell(
                    of,
                    Event::Fetched(checksum)
                    | Event::FetchFailed { checksum, .. }
                    | Event::Unfit { checksum, .. },
                ) => *of == incarnation && *checksum == wanted,
                _ => false,
            })
        };
        for fetch in [&state.fetch, &state.pending_fetch] {
            if let Fetch::Fetching { checksum, .. } = fetch
                && !daemon.fetching.contains(checksum)
                && !fetch_is_told(*checksum)
            {
                return Err(format!("N3: {checksum} is waited for and not fetched"));
            }
            if let Fetch::Failed { wait, .. } = fetch
                && !wait.is_over(self.machine.now().moment)
                && !state.shutting_down
                && daemon.wake_at().is_none_or(|wake| wake > wait.until)
            {
                return Err(format!("N3: {fetch:?} is never tried again"));
            }
        }
        let is_staged = self.agenda.values().any(|item| {
            matches!(item, Item::Tell(of, Event::Staged { .. } | Event::StageFailed { .. }) if *of == incarnation)
        });
        match &state.staging {
            Staging::Staging { stage, .. }
                if !state.shutting_down && !daemon.staging && !is_staged && !daemon.is_waiting_for_disk() =>
            {
                return Err(format!("N3: {} is waited for and not made ready", stage.to));
            }
            Staging::Failed { wait, .. }
                if !wait.is_over(self.machine.now().moment)
                    && !state.shutting_down
                    && daemon.wake_at().is_none_or(|wake| wake > wait.until) =>
            {
                return Err(format!("N3: {:?} is never tried again", state.staging));
            }
            _ => {}
        }
        let waits = match &state.process {
            Phase::Starting { .. } | Phase::Blocked { build: Some(_), .. } => !state.shutting_down,
            _ => false,
        };
        if waits && daemon.wake_at().is_none() && !is_told {
            return Err(format!("N3: {} waits for no time", state.name()));
        }
        Ok(())
    }

    /// What the newest durable state goes back to is in the store.
    fn check_journal(&mut self) -> Outcome {
        // Every so often: it reads the whole file.
        if self.rng.below(32) != 0 {
            return Ok(());
        }
        let Some(text) = &self.machine.state_file else { return Ok(()) };
        let state = decode("state.json".as_ref(), text).map_err(|error| format!("A2: {error:?}"))?.state;
        let Some(good) = state.last_known_good else { return Ok(()) };
        let checksum = good.build.checksum;
        if !self.machine.store.contains_key(&checksum) && !self.machine.harmed.contains(&checksum) {
            return Err(format!("A2: the journal goes back to {}, which was removed", good.build));
        }
        Ok(())
    }
}

/// Whether a release has lived long enough and has not answered.
fn is_overdue(state: &State) -> bool {
    matches!(&state.process, Phase::Running { probation: Some(probation), .. } if probation.extended)
}
