//! One start or switch: the keeper prepared beside the old vault, that stopped, the work on the data done, the new one
//! executed.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    Shared,
    executor::{Current, build_of},
    fleet::Configured,
};
use crate::{
    crash_points,
    decide::{
        Event,
        data::{Arguments, DataLeft, Launch, Work},
    },
    error_chain::Chained,
    migrate::{
        args::Revisions,
        snapshot::{self, SnapshotRecord, Snapshots, Stage},
    },
    process::{
        adopt,
        handle::{Locked, Prepared, RunningVault, StartError, Task},
        id::Processes,
        protocol::{self, Spec},
        unmanaged::in_the_way,
    },
};

/// Why a start did not come to its execution.
const GIVEN_UP: &str = "vaultvisor was told to end";

/// One start or switch under way.
pub(super) struct Starting {
    pub(super) shared: Arc<Shared>,
    pub(super) configured: Arc<Configured>,
    pub(super) launch: Launch,
    pub(super) snapshots: Snapshots,
    pub(super) spec: Spec,
    pub(super) give_up: watch::Receiver<bool>,
}

/// Why a start ended before its execution, and what it had done to the data by then.
struct Unfinished {
    error: StartError,
    data: DataLeft,
    /// Whether it was the work on the data that failed, and for no fault of the release.
    in_work: bool,
}

impl Unfinished {
    fn at_start(error: StartError, data: DataLeft) -> Self {
        // Whatever was done before: from here on nothing may be put back.
        let has_lived = matches!(error, StartError::MayHaveLived { .. });
        Self { data: if has_lived { DataLeft::Lived } else { data }, error, in_work: false }
    }

    fn at_work(error: StartError, data: DataLeft) -> Self {
        Self { error, data, in_work: true }
    }
}

/// What a keeper is told of the work that a start comes with.
pub(super) fn work_of(
    launch: &Launch,
    configured: &Configured,
    shared: &Shared,
    folder: &Path,
) -> protocol::Work {
    let vault = &configured.vault;
    let snapshot = launch.restore.or(launch.work.as_ref().map(|work| work.snapshot));
    let migration = launch.work.as_ref().and_then(|work| work.migration);
    protocol::Work {
        data_dir: vault.data.as_ref().filter(|_| snapshot.is_some()).map(|data| data.folder.clone()),
        snapshot: snapshot.map(|id| Snapshots::new(folder).path(id)),
        migration_folder: migration.map(|checksum| shared.store.folder(checksum)),
        migration_checksum: migration,
        migration_ms: u64::try_from(vault.state_migration.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The words behind a release's arguments.
pub(super) fn resolve(arguments: &Arguments, folder: &Path) -> Result<Vec<String>, String> {
    match arguments {
        Arguments::Config(args) => Ok(args.clone()),
        Arguments::Revision(number) => {
            Revisions::new(folder).load(*number).map_err(|error| Chained(&error).to_string())
        }
    }
}

impl Starting {
    /// Ends with a vault that runs, or with the event that says why none does.
    pub(super) async fn run(mut self, old: Option<Current>) -> Result<(Event, RunningVault), Box<Event>> {
        if old.is_none() {
            self.look_for_unmanaged().await?;
        }
        let build = self.launch.build.clone();
        let not_prepared = |build, reason| Err(Box::new(Event::NotPrepared { build, reason }));
        // Held until the vault is executed, or its time is over.
        let turn = async {
            let Some(old) = &old else { return self.shared.turns.take(false).await };
            let mut end = old.end.clone();
            let has_ended = async move { drop(end.wait_for(Option::is_some).await) };
            self.shared.turns.take_to_switch(has_ended).await
        };
        let _turn = tokio::select! {
            turn = turn => turn,
            _ = self.give_up.wait_for(|give_up| *give_up) => return not_prepared(build, GIVEN_UP.to_owned()),
        };
        // Everything that can be done before is done while the old vault runs.
        let env = &self.configured.vault.env;
        let prepared = tokio::select! {
            prepared = Prepared::new(&self.shared.keeper, &self.spec, env) => prepared,
            _ = self.give_up.wait_for(|give_up| *give_up) => return not_prepared(build, GIVEN_UP.to_owned()),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return not_prepared(build, Chained(&error).to_string()),
        };
        let old_died_ns = match old {
            None => None,
            Some(mut old) => {
                crash_points::reached(format_args!("starting: the new keeper is prepared"));
                old.stopper.stop();
                let end = old.end.wait_for(Option::is_some).await;
                end.ok().and_then(|end| end.flatten())
            }
        };
        if *self.give_up.borrow() {
            let (reason, data) = (GIVEN_UP.to_owned(), DataLeft::Untouched);
            return Err(Box::new(Event::WorkFailed { build, reason, data }));
        }
        crash_points::reached(format_args!("starting: nothing runs"));
        let has_work = self.launch.restore.is_some() || self.launch.work.is_some();
        let started = match has_work {
            false => prepared.start().await.map_err(|error| Unfinished::at_start(error, DataLeft::Untouched)),
            true => self.work_and_start(prepared).await,
        };
        let started = match started {
            Err(unfinished) => Err(self.end_what_may_live(unfinished).await),
            running => running,
        };
        match started {
            Ok(running) => {
                crash_points::reached(format_args!("starting: executed"));
                let nanos = |ended: u64| Duration::from_nanos(running.started_ns.saturating_sub(ended));
                let (pid, downtime) = (running.vault.pid, old_died_ns.map(nanos));
                self.make_snapshot_durable();
                Ok((Event::Started { build, pid, downtime }, running))
            }
            Err(Unfinished {
                error: StartError::Failed(reason) | StartError::Hindered(reason),
                data,
                in_work: true,
            }) => Err(Box::new(Event::WorkFailed { build, reason, data })),
            Err(Unfinished { error: StartError::Hindered(reason), data, in_work: false }) => {
                Err(Box::new(Event::NotExecuted { build, reason, data }))
            }
            Err(Unfinished {
                error:
                    StartError::Failed(reason)
                    | StartError::MigrationFailed(reason)
                    | StartError::MayHaveLived { what: reason, keeper: None },
                data,
                ..
            }) => Err(Box::new(Event::StartFailed { build, reason, data })),
            Err(Unfinished { error, data, .. }) => self.look_at_holder(error, data).await,
        }
    }

    /// Does what the start comes with under the lock, and executes. What is about to be done to the data is on the disk
    /// before it is done.
    async fn work_and_start(&mut self, prepared: Prepared) -> Result<RunningVault, Unfinished> {
        let untouched = |error| Unfinished::at_start(error, DataLeft::Untouched);
        let mut locked = prepared.lock().await.map_err(untouched)?;
        let works_on =
            self.launch.restore.into_iter().chain(self.launch.work.as_ref().map(|work| work.snapshot));
        for id in works_on.collect::<Vec<_>>() {
            self.is_of_data(id).await.map_err(|error| Unfinished::at_work(error, DataLeft::Untouched))?;
        }
        let changed = |error| Unfinished::at_work(error, DataLeft::Changed);
        let mut data = DataLeft::Untouched;
        if let Some(id) = self.launch.restore {
            data = DataLeft::Changed;
            self.note(id, Stage::Restoring).await.map_err(changed)?;
            locked = self.carry_out(locked, Task::Restore).await.map_err(changed)?;
            self.note(id, Stage::Restored).await.map_err(changed)?;
        }
        if let Some(Work { snapshot, migration }) = self.launch.work.clone() {
            let in_work = |error| Unfinished::at_work(error, DataLeft::Untouched);
            locked = self.carry_out(locked, Task::Snapshot).await.map_err(in_work)?;
            if migration.is_some() {
                self.note(snapshot, Stage::Migrating).await.map_err(in_work)?;
                data = DataLeft::Changed;
                locked = self.carry_out(locked, Task::Migrate).await.map_err(changed)?;
                self.note(snapshot, Stage::Lived).await.map_err(changed)?;
            }
        }
        locked.start().await.map_err(|error| Unfinished::at_start(error, data))
    }

    async fn carry_out(&mut self, mut locked: Locked, task: Task) -> Result<Locked, StartError> {
        let done = tokio::select! {
            done = locked.carry_out(task) => Some(done),
            _ = self.give_up.wait_for(|give_up| *give_up) => None,
        };
        match done {
            Some(done) => done.map(|()| locked),
            None => Err(locked.give_up(GIVEN_UP).await),
        }
    }

    /// Another folder is not made equal to what a snapshot was taken of: the configuration may have been edited since.
    async fn is_of_data(&self, id: u64) -> Result<(), StartError> {
        let (snapshots, data) = (self.snapshots.clone(), self.spec.work.data_dir.clone());
        let looked = tokio::task::spawn_blocking(move || snapshots.is_of(id, data.as_deref()));
        match looked.await {
            Ok(is_of) => is_of.map_err(|error| StartError::Failed(Chained(&error).to_string())),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Makes durable how far a snapshot has come.
    async fn note(&self, id: u64, stage: Stage) -> Result<(), StartError> {
        let snapshots = self.snapshots.clone();
        let noted = tokio::task::spawn_blocking(move || {
            let record = snapshots.read(id).map_err(|error| Chained(&error).to_string())?;
            let record = record
                .ok_or_else(|| format!("snapshot {id} is gone from {}", snapshots.path(id).display()))?;
            snapshots.write(&SnapshotRecord { stage, ..record }).map_err(|error| Chained(&error).to_string())
        });
        match noted.await {
            Ok(noted) => noted.map_err(StartError::Hindered),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// A snapshot that only people may need was not synced while nothing ran.
    fn make_snapshot_durable(&self) {
        let Some(Work { snapshot: id, migration: None }) = self.launch.work else { return };
        let (snapshots, vault) = (self.snapshots.clone(), self.configured.vault.name.clone());
        tokio::task::spawn_blocking(move || {
            let durable = snapshot::sync(&snapshots.path(id)).and_then(|()| snapshots.read(id));
            let noted =
                durable.map(|record| record.map(|record| SnapshotRecord { stage: Stage::Whole, ..record }));
            match noted.map(|record| record.map(|record| snapshots.write(&record)).transpose()) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(vault, "{}", Chained(&error)),
                Err(error) => tracing::warn!(vault, "{}", Chained(&error)),
            }
        });
    }

    /// What lost its keeper before that reported it is nobody's to stop but ours, and may have been told to end by the
    /// kernel only: nothing is said of it before it is gone.
    async fn end_what_may_live(&self, unfinished: Unfinished) -> Unfinished {
        let StartError::MayHaveLived { what, keeper: None } = unfinished.error else { return unfinished };
        let left = adopt::stop_own(&self.spec.place).await;
        let error = match left {
            None => StartError::MayHaveLived { what, keeper: None },
            Some(left) => {
                StartError::NotGone(Processes { what: format!("{what}; still there: {}", left.what), ..left })
            }
        };
        Unfinished { error, ..unfinished }
    }

    /// The lock is not free. Its holder may be a vault of ours that could not be taken over before, because its
    /// keeper was in the middle of starting it.
    async fn look_at_holder(
        self,
        error: StartError,
        data: DataLeft,
    ) -> Result<(Event, RunningVault), Box<Event>> {
        let lock_is_held = matches!(error, StartError::Busy { .. });
        if lock_is_held
            && let adopt::Observed::Runs(running) = adopt::observe(&self.spec.place).await
            && let Ok(build) = build_of(&running.run.version, running.run.checksum)
        {
            let started = Event::Started { build, pid: running.vault.pid, downtime: None };
            return Ok((started, *running));
        }
        let reason = Chained(&error).to_string();
        let processes = match error {
            StartError::NotGone(left) => left.pids,
            StartError::MayHaveLived { keeper, .. } => keeper.into_iter().collect(),
            StartError::Busy { .. }
            | StartError::Failed(_)
            | StartError::Hindered(_)
            | StartError::MigrationFailed(_) => Vec::new(),
        };
        let build = self.launch.build;
        Err(Box::new(Event::NotProvablyGone { build, lock_is_held, processes, reason, data }))
    }

    /// Before a start where none of ours runs: a vault that somebody started by hand has no lock of ours.
    async fn look_for_unmanaged(&self) -> Result<(), Box<Event>> {
        let (args, place) = (self.spec.args.clone(), self.spec.place.clone());
        let found = tokio::task::spawn_blocking(move || in_the_way(&place, &args)).await;
        let (processes, reason) = match found {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(unmanaged))) => (vec![unmanaged.pid], unmanaged.why),
            Ok(Err(error)) => {
                (Vec::new(), format!("cannot look for vaults that somebody else started: {error}"))
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let (build, data) = (self.launch.build.clone(), DataLeft::Untouched);
        Err(Box::new(Event::NotProvablyGone { build, lock_is_held: false, processes, reason, data }))
    }
}
