//! Rule 12, releases that change more than the binary: what is made ready before, what each release is started with, and
//! what may be started on the data that there is.
//!
//! The one thing that never happens: data is never put back behind a release that may have lived on newer data. It may
//! have paid since, and an older state would pay again.

use super::{
    Action, Deciding, Kind, Severity,
    data::{Arguments, ArgumentsOf, DataLeft, Launch, Snapshot, Stage, Staging, Standing, Work},
    policy::{FETCH_BACKOFF_FIRST, FETCH_BACKOFF_MOST, MAX_SNAPSHOTS},
    state::{Build, Concern, Fetch, Phase, State, Wait},
};
use crate::{
    migrate::snapshot::{SnapshotRecord, Stage as Reached},
    release::Checksum,
};

/// How a release comes to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Because it should run.
    Ordinary,
    /// In the place of one that failed: always with what it had before.
    Back,
}

/// What there is to go back to.
pub(super) enum WayBack {
    /// This release, on the data that there is, or on what it left.
    To(Build),
    /// The data is the failed one's, and nothing else may be started on it.
    Barred(Snapshot),
    /// Nothing has proved itself.
    Nowhere,
}

impl State {
    /// The newest snapshot that the data depends on.
    pub(super) fn standing(&self) -> Option<&Snapshot> {
        self.snapshots.iter().rev().find(|snapshot| snapshot.standing != Standing::Plain)
    }

    fn standing_mut(&mut self) -> Option<&mut Snapshot> {
        self.snapshots.iter_mut().rev().find(|snapshot| snapshot.standing != Standing::Plain)
    }

    /// Whose arguments and data there are.
    pub(super) fn base(&self) -> Option<&Build> {
        match self.standing() {
            Some(Snapshot { standing: Standing::Migrated, to, .. }) => Some(to),
            Some(Snapshot { standing: Standing::Restore, from, .. }) => Some(from),
            _ => self.last_run.as_ref().map(|run| &run.build),
        }
    }

    /// What a release is started with, if it ever was.
    pub fn arguments_of(&self, checksum: Checksum) -> Option<&Arguments> {
        self.arguments.iter().find(|of| of.checksum == checksum).map(|of| &of.arguments)
    }

    /// What the configuration's arguments were when a release was last started other than on the way back.
    fn config_of(&self, checksum: Checksum) -> Option<&[String]> {
        self.arguments.iter().find(|of| of.checksum == checksum)?.config.as_deref()
    }

    /// Whether the operator has changed the configuration's arguments, which are these now, since they were last used.
    pub fn are_args_edited(&self, args: &[String]) -> bool {
        self.config_args.as_ref().is_some_and(|seen| *seen != args)
    }

    /// The snapshots that are needed, by number.
    pub fn needed_snapshots(&self) -> Vec<u64> {
        let staged = match &self.staging {
            Staging::Staged { snapshot, .. } => *snapshot,
            _ => None,
        };
        self.snapshots.iter().map(|snapshot| snapshot.id).chain(staged).collect()
    }
}

impl Deciding<'_> {
    fn are_args_edited(&self) -> bool {
        self.state.are_args_edited(&self.policy.args)
    }

    /// What a release that never ran here inherits: the newest words of the operator, or what was made of them.
    fn inherited(&self) -> Arguments {
        let of_base = || self.state.base().and_then(|base| self.state.arguments_of(base.checksum)).cloned();
        let kept = if self.are_args_edited() { None } else { of_base() };
        kept.unwrap_or_else(|| Arguments::Config(self.policy.args.clone()))
    }

    /// What has to be made ready before a release can be started; `None` when nothing has.
    fn wanted_stage(&self, build: &Build) -> Option<Stage> {
        let is_chosen = self.state.chosen().is_some_and(|chosen| chosen.checksum == build.checksum);
        let base = self.state.base().filter(|base| base.checksum != build.checksum)?;
        // What has proved itself goes back to what it had.
        if !is_chosen || self.state.is_proved(build.checksum) {
            return None;
        }
        let migrates = build.migrations.state.is_some();
        let snapshot = self.policy.data_dir && (migrates || !self.policy.skip_snapshot);
        if !snapshot && !migrates && build.migrations.args.is_none() {
            return None;
        }
        Some(Stage { to: build.clone(), from: base.clone(), arguments: self.inherited(), snapshot })
    }

    /// Whether all is ready that a release needs besides its files.
    pub(super) fn is_staged(&self, build: &Build) -> bool {
        match (self.wanted_stage(build), &self.state.staging) {
            (None, _) => true,
            (Some(wanted), Staging::Staged { stage, .. }) => wanted == *stage,
            (Some(_), _) => false,
        }
    }

    /// Whether a release may be started on the data that there is.
    pub(super) fn suits_data(&self, build: &Build) -> bool {
        match self.state.standing() {
            Some(Snapshot { standing: Standing::Restore, from, .. }) => from.checksum == build.checksum,
            Some(Snapshot { standing: Standing::Migrated, to, .. }) => {
                let is_chosen = self.state.chosen().is_some_and(|chosen| chosen.checksum == build.checksum);
                to.checksum == build.checksum || is_chosen && !self.came_before_migrations(build)
            }
            _ => true,
        }
    }

    /// Whether the data was migrated away from a release, by one that has not proved itself or by several in a row.
    fn came_before_migrations(&self, build: &Build) -> bool {
        let is_from = |snapshot: &Snapshot| snapshot.from.checksum == build.checksum;
        self.state
            .snapshots
            .iter()
            .any(|snapshot| snapshot.standing == Standing::Migrated && is_from(snapshot))
    }

    /// What must run because of the data, whatever should run.
    pub(super) fn forced_by_data(&self) -> Option<Build> {
        self.state
            .standing()
            .filter(|snapshot| snapshot.standing == Standing::Restore)
            .map(|snapshot| snapshot.from.clone())
    }

    /// Whether a process runs on data that was migrated for it and has not proved itself: then what comes next waits
    /// until it has, or has failed.
    pub(super) fn is_proving_data(&self) -> bool {
        let on_probation = matches!(&self.state.process, Phase::Running { probation: Some(probation), .. } if !probation.failed);
        on_probation && self.state.standing().is_some()
    }

    /// Rule 1 for what is more than a file: made ready while the old release runs.
    pub(super) fn settle_staging(&mut self) {
        let wanted = self.ready_choice().filter(|choice| self.suits_data(choice));
        let idle = matches!(
            self.state.process,
            Phase::Waiting | Phase::Starting { .. } | Phase::Running { .. } | Phase::Barred { .. }
        );
        let Some(stage) = wanted.and_then(|choice| self.wanted_stage(&choice)) else {
            // What is under way is waited for: its answer finds that nobody wants it. And a wait goes on while the
            // release's files are proved again.
            let chosen = self.state.chosen().map(|chosen| chosen.checksum);
            let waits = match &self.state.staging {
                Staging::Staging { .. } => true,
                Staging::Failed { stage, wait, .. } => {
                    Some(stage.to.checksum) == chosen && !wait.is_over(self.now.moment)
                }
                _ => false,
            };
            if idle && !waits {
                self.state.staging = Staging::Idle;
                self.no_problem(Concern::Staging);
            }
            return;
        };
        if !idle || self.is_proving_data() || self.forced_by_data().is_some() {
            return;
        }
        if let Some(what) = self.cannot_be_staged(&stage) {
            self.state.staging = Staging::Idle;
            return self.problem(Concern::Staging, Severity::Error, what);
        }
        let is_same = self.state.staging.stage() == Some(&stage);
        match &self.state.staging {
            Staging::Staging { .. } => return,
            Staging::Staged { .. } if is_same => return,
            Staging::Failed { wait, .. } if is_same && !wait.is_over(self.now.moment) => return,
            _ => {}
        }
        let attempt = if is_same { self.state.staging.attempt() } else { 0 };
        self.state.staging = Staging::Staging { stage: stage.clone(), attempt };
        self.no_problem(Concern::Staging);
        // What is not needed makes room first.
        self.prune_snapshots();
        self.actions.push(Action::Stage(stage));
    }

    fn cannot_be_staged(&self, stage: &Stage) -> Option<String> {
        if stage.to.migrations.state.is_some() && !self.policy.data_dir {
            return Some(format!(
                "release {} migrates the vault's data, and no data_dir is configured: set it to the folder with that \
                 data; {} runs on until then",
                stage.to, stage.from
            ));
        }
        // Older ones, and all of them once the data depends on none, are kept by choice and make room.
        let depended =
            self.state.snapshots.iter().skip_while(|snapshot| snapshot.standing == Standing::Plain);
        let in_a_row = depended.count();
        (in_a_row >= MAX_SNAPSHOTS).then(|| {
            format!(
                "{in_a_row} releases in a row have failed on data that was migrated for them; nothing more is tried on \
                 it before one has proved itself, or an operator has said what to do"
            )
        })
    }

    pub(super) fn staged(&mut self, to: Checksum, arguments: &Arguments, snapshot: Option<u64>) {
        if let Staging::Staging { stage, attempt } = &self.state.staging
            && stage.to.checksum == to
        {
            let (stage, attempt, arguments) = (stage.clone(), *attempt, arguments.clone());
            self.state.staging = Staging::Staged { stage, arguments, snapshot, attempt };
            self.no_problem(Concern::Staging);
        }
    }

    /// Nothing was stopped for it, so the old release runs on.
    pub(super) fn stage_failed(&mut self, to: Checksum, reason: &str, by_release: bool) {
        let Staging::Staging { stage, attempt } = &self.state.staging else { return };
        if stage.to.checksum != to {
            return;
        }
        let (stage, attempt) = (stage.clone(), attempt.saturating_add(1));
        let what = format!("release {} could not be made ready: {reason}", stage.to);
        if by_release {
            self.state.staging = Staging::Idle;
            return self.reject(&stage.to, what);
        }
        self.stage_later(stage, attempt);
        self.problem(Concern::Staging, Severity::Warn, what);
    }

    fn stage_later(&mut self, stage: Stage, attempt: u32) {
        let length = self.policy.backoff(FETCH_BACKOFF_FIRST, FETCH_BACKOFF_MOST, attempt);
        let wait = Wait::start(self.now.moment, length);
        self.state.staging = Staging::Failed { stage, attempt, wait };
    }

    /// How a release is started now. What was made ready for it is used up; what of the data it will change is noted.
    pub(super) fn launch_of(&mut self, build: &Build, way: Way) -> Launch {
        let restore = self.state.standing().filter(|snapshot| snapshot.standing == Standing::Restore);
        let restore = restore.map(|snapshot| snapshot.id);
        let wanted = if way == Way::Ordinary { self.wanted_stage(build) } else { None };
        let (mut work, mut made) = (None, None);
        if let (Some(wanted), Staging::Staged { stage, arguments, snapshot, .. }) =
            (wanted, &self.state.staging)
            && wanted == *stage
        {
            made = Some(arguments.clone());
            if let Some(id) = *snapshot {
                let migration = build.migrations.state;
                work = Some(Work { snapshot: id, migration });
                let (from, to, migrates) = (stage.from.clone(), build.clone(), migration.is_some());
                let standing = Standing::Begun;
                self.state.snapshots.push(Snapshot { id, from, to, migrates, standing });
            }
        }
        let arguments = self.arguments_for(build, made, way);
        Launch { build: build.clone(), arguments, restore, work }
    }

    fn arguments_for(&mut self, build: &Build, made: Option<Arguments>, way: Way) -> Arguments {
        let own = self.state.arguments_of(build.checksum).cloned();
        let edited = self.are_args_edited();
        let arguments = match (made, own) {
            (Some(made), _) => made,
            (None, Some(own)) if way == Way::Back || !edited => own,
            (None, Some(own)) => {
                let words = match own {
                    Arguments::Config(_) => "those before".to_owned(),
                    Arguments::Revision(number) => {
                        format!("what a migration made of earlier ones (args/{number}.json)")
                    }
                };
                let text = format!(
                    "the configuration's args were edited: {build} is started with them as they are, in the place of {words}"
                );
                self.report(Severity::Warn, text);
                Arguments::Config(self.policy.args.clone())
            }
            (None, None) => self.inherited(),
        };
        // On the way back an edit is not for the release that is started: it is not used, and not forgotten, whichever
        // release was started with it meanwhile.
        let config = match (way, self.state.config_of(build.checksum)) {
            (Way::Back, Some(seen)) => Some(seen.to_vec()),
            (Way::Back, None) => None,
            (Way::Ordinary, _) => Some(self.policy.args.clone()),
        };
        if config.is_some() || self.state.config_args.is_none() {
            self.state.config_args = config.clone().or_else(|| Some(self.policy.args.clone()));
        }
        let mut needed = self.state.needed();
        needed.push(build.checksum);
        self.state.arguments.retain(|of| of.checksum != build.checksum && needed.contains(&of.checksum));
        self.state.arguments.push(ArgumentsOf {
            checksum: build.checksum,
            arguments: arguments.clone(),
            config,
        });
        arguments
    }

    /// A release was executed on the data.
    pub(super) fn data_lived(&mut self, build: &Build) {
        let Some(snapshot) = self.state.standing_mut() else { return };
        match snapshot.standing {
            Standing::Begun if snapshot.to.checksum == build.checksum => {
                snapshot.standing = if snapshot.migrates { Standing::Migrated } else { Standing::Plain };
                self.state.staging = Staging::Idle;
            }
            Standing::Restore if snapshot.from.checksum == build.checksum => {
                snapshot.standing = Standing::Plain
            }
            _ => {}
        }
    }

    /// A start has failed.
    pub(super) fn data_left(&mut self, build: &Build, left: DataLeft) {
        if left == DataLeft::Lived {
            return self.data_lived(build);
        }
        let Some(snapshot) = self.state.standing_mut() else { return };
        match (snapshot.standing, left) {
            (Standing::Begun, DataLeft::Changed) => snapshot.standing = Standing::Restore,
            (Standing::Begun, DataLeft::Untouched) => {
                // Its second pass may be half done: it is of no use.
                let id = snapshot.id;
                self.state.snapshots.retain(|snapshot| snapshot.id != id);
            }
            _ => return,
        }
        self.state.staging = Staging::Idle;
    }

    /// The process that was to be replaced runs on, so nothing was restored behind it.
    pub(super) fn data_runs_on(&mut self, build: &Build) {
        if let Some(snapshot) = self.state.standing_mut()
            && snapshot.standing == Standing::Restore
            && snapshot.to.checksum == build.checksum
        {
            snapshot.standing = Standing::Migrated;
        }
    }

    /// Something of this machine stood in the way of a snapshot or of a restore: nobody is rejected for it.
    pub(super) fn work_failed(&mut self, build: &Build, reason: &str, left: DataLeft) {
        let what = format!("the data could not be made ready for release {build}: {reason}");
        self.hindered(build, Concern::Staging, what, left);
    }

    /// Something of this machine stood in the way of a start: what ran before comes back at once, and what was to take its
    /// place is tried again later.
    pub(super) fn hindered(&mut self, build: &Build, concern: Concern, what: String, left: DataLeft) {
        let staged = match &self.state.staging {
            Staging::Staged { stage, attempt, .. } => Some((stage.clone(), attempt.saturating_add(1))),
            _ => None,
        };
        self.data_left(build, left);
        match std::mem::take(&mut self.state.process) {
            Phase::Switching { from, attempt, .. } if !self.state.shutting_down => {
                self.problem(concern, Severity::Error, what);
                let wait = Wait::over(self.now.moment);
                self.state.process = Phase::Starting { build: from.build, wait, attempt };
            }
            Phase::Launching { attempt, .. } => self.start_later(build, attempt, what),
            _ => self.start_later(build, 0, what),
        }
        // Ever more slowly: each try costs the vault some time.
        if let Some((stage, attempt)) = staged {
            self.stage_later(stage, attempt);
        }
    }

    /// What there is to go back to from a release that failed; where the operator allows it, on data from before it.
    pub(super) fn way_back(&mut self, failing: &Build) -> WayBack {
        let fallback = self.state.fallback_for(failing.checksum).cloned();
        match self.state.standing().cloned() {
            Some(snapshot) if snapshot.standing == Standing::Restore => {
                if snapshot.from.checksum == failing.checksum {
                    return WayBack::Nowhere;
                }
                WayBack::To(snapshot.from)
            }
            Some(snapshot) if snapshot.standing == Standing::Migrated => {
                if self.policy.restore_after_live {
                    let text = format!(
                        "the data from before release {} is restored, as restore_after_live says: see whether it has paid \
                         anything that {} will not know of",
                        snapshot.to, snapshot.from
                    );
                    self.report(Severity::Error, text);
                    self.restore_newest();
                    return WayBack::To(snapshot.from);
                }
                WayBack::Barred(snapshot)
            }
            _ => fallback.map_or(WayBack::Nowhere, WayBack::To),
        }
    }

    /// The data is a failed release's, and that may not be tried again yet.
    pub(super) fn failed_data(&self) -> Option<Snapshot> {
        self.state.standing().filter(|snapshot| snapshot.standing == Standing::Migrated).cloned()
    }

    fn restore_newest(&mut self) {
        if let Some(snapshot) = self.state.standing_mut() {
            snapshot.standing = Standing::Restore;
        }
    }

    /// Nothing can be started on the data but what has failed on it.
    pub(super) fn bar(&mut self, snapshot: &Snapshot) {
        let text = barred(snapshot);
        self.note(Kind::Blocked, None, Some(&snapshot.to), text.clone());
        self.problem(Concern::Process, Severity::Error, text.clone());
        self.state.process = Phase::Barred { failed: snapshot.to.clone(), reason: text };
    }

    /// The data is somebody's who has failed on it: gone on when it may be tried again, when another is ready for the
    /// data as it is, or when the operator allows the data from before.
    pub(super) fn settle_barred(&mut self) {
        let Some(snapshot) = self.state.standing().cloned() else {
            // Kept, or restored, by whatever means: nothing bars the way any more.
            let Phase::Barred { failed, .. } = &self.state.process else { return };
            let wait = Wait::over(self.now.moment);
            self.state.process = Phase::Starting { build: failed.clone(), wait, attempt: 0 };
            return;
        };
        if snapshot.standing == Standing::Migrated && self.policy.restore_after_live {
            if let WayBack::To(good) = self.way_back(&snapshot.to) {
                self.go_back(&snapshot.to, good);
            }
        } else if let Some(build) = self.staged_choice() {
            self.launch(build, 0);
        } else if snapshot.standing == Standing::Migrated && !self.is_rejected_now(&snapshot.to) {
            // Whatever the chain states by now and whether that can be had: until then this is all that may run. If its own
            // files are just being proved, it is ready as soon as they are.
            let checksum = snapshot.to.checksum;
            if !matches!(self.state.fetch, Fetch::Fetching { checksum: of, .. } if of == checksum) {
                self.launch(snapshot.to, 0);
            }
        }
    }

    /// The release has proved itself on its data: there is no way back from here, and none is needed.
    pub(super) fn data_kept(&mut self) {
        for snapshot in &mut self.state.snapshots {
            snapshot.standing = Standing::Plain;
        }
        let surplus = self.state.snapshots.len().saturating_sub(self.policy.keep_snapshots);
        self.state.snapshots.drain(..surplus);
        self.prune_snapshots();
    }

    fn prune_snapshots(&mut self) {
        // As many as are kept anyway, and those that the data depends on.
        let depended = self.state.snapshots.iter().position(|snapshot| snapshot.standing != Standing::Plain);
        let plain = depended.unwrap_or(self.state.snapshots.len());
        self.state.snapshots.drain(..plain.saturating_sub(self.policy.keep_snapshots));
        if self.policy.data_dir {
            self.actions.push(Action::PruneSnapshots { keep: self.state.needed_snapshots() });
        }
    }

    /// What an earlier vaultvisor did to the data: its records were written before each step, and say at least as much
    /// as has happened.
    pub(super) fn recover_data(&mut self, records: &[SnapshotRecord]) {
        self.state.staging = Staging::Idle;
        let known: Vec<u64> = self.state.snapshots.iter().map(|snapshot| snapshot.id).collect();
        let newest = known.iter().copied().max().unwrap_or(0);
        // One that the state does not know of, because the disk was full, and that has changed the data.
        for record in records.iter().filter(|record| record.id > newest) {
            let changed = matches!(record.stage, Reached::Migrating | Reached::Lived | Reached::Restoring);
            if let (true, Some(from)) = (changed, &record.from) {
                self.state.snapshots.push(Snapshot {
                    id: record.id,
                    from: from.clone(),
                    to: record.to.clone(),
                    migrates: true,
                    standing: Standing::Begun,
                });
            }
        }
        let reached = |id: u64| records.iter().find(|record| record.id == id).map(|record| record.stage);
        for snapshot in &mut self.state.snapshots {
            snapshot.standing = match (snapshot.standing, reached(snapshot.id)) {
                (_, Some(Reached::Restoring)) => Standing::Restore,
                (Standing::Restore | Standing::Migrated, Some(Reached::Restored)) => Standing::Plain,
                (Standing::Begun, Some(Reached::Migrating)) => Standing::Restore,
                (Standing::Begun, Some(Reached::Lived)) => Standing::Migrated,
                (Standing::Begun, _) => Standing::Plain,
                (standing, _) => standing,
            };
        }
        // One that was never whole is of no use.
        self.state.snapshots.retain(|snapshot| {
            let is_whole = !matches!(reached(snapshot.id), None | Some(Reached::Begun));
            is_whole || snapshot.standing != Standing::Plain
        });
        if self.policy.data_dir {
            self.prune_snapshots();
        }
    }
}

fn barred(snapshot: &Snapshot) -> String {
    format!(
        "release {} failed, and it has migrated the data and lived on it: {} cannot be started on that, and to restore \
         the data from before could have it pay again what was paid since. Two ways out: `vaultvisor retry` starts {} \
         again, which is also done on schedule, as is any newer release that the chain states; or, once you have seen \
         that nothing was paid that the data from before does not know of, set \"restore_after_live\": true and send \
         SIGHUP: snapshot {} is restored and {} started",
        snapshot.to, snapshot.from.version, snapshot.to.version, snapshot.id, snapshot.from.version
    )
}
