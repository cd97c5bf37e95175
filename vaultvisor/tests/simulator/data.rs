//! The vault's data: whose it is, how often a vault has lived on it, its snapshots, and what is done to all of that.

use std::collections::BTreeMap;

use vaultvisor::{
    decide::{
        Event,
        data::{Arguments, DataLeft, Launch, Migrations, Stage},
        state::Build,
    },
    migrate::snapshot::{SnapshotRecord, Stage as Reached},
    release::{Artifacts, Checksum},
};

use super::{Item, Life, Outcome, daemon::Work};

/// Every third release migrates the data, and every fourth the arguments.
pub(crate) fn artifacts_of(binary: Checksum) -> Artifacts {
    let mut artifacts = Artifacts::new();
    let mut add = |name: &str, kind| {
        let name = name.parse().expect("a name");
        let mut checksum = binary;
        checksum.0[1] = kind;
        artifacts.insert(name, checksum);
    };
    if binary.0[0] % 3 == 1 {
        add(Migrations::STATE, 0xfe);
    }
    if binary.0[0] % 4 == 1 {
        add(Migrations::ARGS, 0xff);
    }
    artifacts
}

pub(crate) fn migrations_of(binary: Checksum) -> Migrations {
    Migrations::among(&artifacts_of(binary))
}

/// What the data folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Content {
    /// How many vaults have lived on it: what they paid is in it.
    lives: u64,
    /// The release whose migration it went through last, and what it was of before.
    migrated: Option<(Checksum, Checksum)>,
    /// Whether a migration or a restore was cut.
    is_half_done: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Data {
    content: Content,
    /// The copies, and what their records say.
    snapshots: BTreeMap<u64, (Content, SnapshotRecord)>,
    newest: u64,
}

impl Data {
    pub(crate) fn records(&self) -> Vec<SnapshotRecord> {
        self.snapshots.values().map(|(_, record)| record.clone()).collect()
    }

    /// A vault is executed on it.
    pub(crate) fn is_lived_on(&mut self, build: &Build) -> Outcome {
        let Content { lives, migrated, is_half_done } = &mut self.content;
        if *is_half_done {
            return Err(format!("A2: {build} is executed on half migrated or half restored data"));
        }
        if migrated.is_some_and(|(_, before)| before == build.checksum) {
            return Err(format!("A2: {build} is executed on data that was migrated away from it"));
        }
        *lives += 1;
        Ok(())
    }

    /// What proved itself on migrated data has made it its own: governance may go back from there.
    pub(crate) fn is_kept(&mut self) {
        self.content.migrated = None;
    }

    pub(crate) fn prune(&mut self, keep: impl Fn(u64) -> bool) -> Outcome {
        let restoring = self.snapshots.values().find(|(_, record)| {
            matches!(record.stage, Reached::Migrating | Reached::Restoring) && !keep(record.id)
        });
        if let Some((_, record)) = restoring.filter(|_| self.content.is_half_done) {
            return Err(format!("A2: snapshot {} is removed, which the data needs", record.id));
        }
        self.snapshots.retain(|id, _| keep(*id));
        Ok(())
    }

    fn note(&mut self, id: u64, stage: Reached) {
        if let Some((_, record)) = self.snapshots.get_mut(&id) {
            record.stage = stage;
        }
    }
}

/// A step of the work on the data under the keeper's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Restore,
    Restored,
    Snapshot,
    Migrate,
    Migrated,
}

impl Step {
    pub(crate) fn first(launch: &Launch) -> Option<Self> {
        match (launch.restore, &launch.work) {
            (Some(_), _) => Some(Self::Restore),
            (None, Some(_)) => Some(Self::Snapshot),
            (None, None) => None,
        }
    }
}

/// What of the data a start has changed that did all of its work.
pub(crate) fn left_by(launch: &Launch) -> DataLeft {
    let migrates = launch.work.as_ref().is_some_and(|work| work.migration.is_some());
    if launch.restore.is_some() || migrates { DataLeft::Changed } else { DataLeft::Untouched }
}

impl Life {
    pub(crate) fn stage_ends(&mut self, stage: Stage) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.staging = false;
        let to = stage.to.checksum;
        let reason = "no".to_owned();
        if self.faults && stage.to.migrations.args.is_some() && self.rng.chance(0.2) {
            return self.tell(Event::StageFailed { to, reason, by_release: true });
        }
        if self.machine.disk_refuses || self.faults && self.rng.chance(0.1) {
            return self.tell(Event::StageFailed { to, reason, by_release: false });
        }
        let arguments = match stage.to.migrations.args {
            Some(_) => Arguments::Revision(u32::from(to.0[0])),
            None => stage.arguments.clone(),
        };
        let data = &mut self.machine.data;
        let snapshot = stage.snapshot.then(|| {
            data.newest += 1;
            let record = SnapshotRecord {
                schema: SnapshotRecord::SCHEMA,
                id: data.newest,
                from: Some(stage.from),
                to: stage.to,
                data_dir: None,
                begun_unix_secs: 0,
                stage: Reached::Begun,
            };
            data.snapshots.insert(data.newest, (Content::default(), record));
            data.newest
        });
        self.coverage.staged += 1;
        self.tell(Event::Staged { to, arguments, snapshot });
    }

    /// One step; its keeper dies with vaultvisor, and what it was doing is cut there.
    pub(crate) fn work_on_data(&mut self, launch: Launch, step: Step) -> Outcome {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if daemon.starting.as_ref().is_none_or(|starting| starting.to != launch) {
            return Ok(());
        }
        if daemon.give_up || self.machine.is_occupied() {
            // Said by the execution, which finds the same; but what was begun stays half done.
            let data = if step == Step::Restore || step == Step::Snapshot {
                self.untouched(&launch)
            } else {
                DataLeft::Changed
            };
            return self.work_ends_early(launch, data);
        }
        let fails = self.machine.disk_refuses || self.faults && self.rng.chance(0.1);
        let data = &mut self.machine.data;
        let next = match step {
            Step::Restore => {
                let id = launch.restore.unwrap_or_default();
                let Some((copy, record)) = data.snapshots.get(&id).cloned() else {
                    return Err(format!("A2: snapshot {id} is to be restored, and it is gone"));
                };
                if copy.lives < data.content.lives && !self.policy.restore_after_live {
                    return Err(format!(
                        "data on which {} vaults have lived is replaced by that of {}: {record:?}",
                        data.content.lives, copy.lives
                    ));
                }
                if fails {
                    return self.work_ends_early(launch, DataLeft::Changed);
                }
                data.note(id, Reached::Restoring);
                data.content.is_half_done = true;
                Some(Step::Restored)
            }
            Step::Restored => {
                let id = launch.restore.unwrap_or_default();
                if fails {
                    return self.work_ends_early(launch, DataLeft::Changed);
                }
                if let Some((copy, _)) = data.snapshots.get(&id) {
                    data.content = copy.clone();
                }
                data.note(id, Reached::Restored);
                self.coverage.restored += 1;
                None
            }
            Step::Snapshot => {
                let Some(work) = launch.work.clone() else { return Ok(()) };
                if fails {
                    return self.work_ends_early(launch, DataLeft::Untouched);
                }
                let content = data.content.clone();
                let Some((copy, _)) = data.snapshots.get_mut(&work.snapshot) else {
                    return Err(format!("A2: snapshot {} is to be finished, and it is gone", work.snapshot));
                };
                *copy = content;
                let reached = if work.migration.is_some() { Reached::Migrating } else { Reached::Whole };
                data.note(work.snapshot, reached);
                work.migration.map(|_| Step::Migrate)
            }
            Step::Migrate => {
                data.content.is_half_done = true;
                Some(Step::Migrated)
            }
            Step::Migrated => {
                let Some(work) = launch.work.clone() else { return Ok(()) };
                if fails {
                    self.coverage.migrations_failed += 1;
                    let (build, reason) = (launch.build, "exit code 1".to_owned());
                    if let Some(daemon) = &mut self.daemon {
                        daemon.starting = None;
                    }
                    self.tell(Event::StartFailed { build, reason, data: DataLeft::Changed });
                    return Ok(());
                }
                let before = data.snapshots.get(&work.snapshot).and_then(|(_, record)| record.from.clone());
                data.content.is_half_done = false;
                data.content.migrated = before.map(|before| (launch.build.checksum, before.checksum));
                data.note(work.snapshot, Reached::Lived);
                self.coverage.migrated += 1;
                None
            }
        };
        let takes = self.rng.between(1, 2_000);
        let work = match next {
            Some(step) => Work::Data(launch, step),
            None => Work::Execute(launch),
        };
        self.plan(takes, Item::Work(self.incarnation, work));
        Ok(())
    }

    fn untouched(&self, launch: &Launch) -> DataLeft {
        if launch.restore.is_some() { DataLeft::Changed } else { DataLeft::Untouched }
    }

    fn work_ends_early(&mut self, launch: Launch, data: DataLeft) -> Outcome {
        let occupied = self.machine.is_occupied();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.starting = None;
        let (build, reason) = (launch.build, "no".to_owned());
        match occupied && !daemon.give_up {
            true => self.tell(Event::NotProvablyGone {
                build,
                lock_is_held: true,
                processes: vec![],
                reason,
                data,
            }),
            false => self.tell(Event::WorkFailed { build, reason, data }),
        }
        Ok(())
    }
}
