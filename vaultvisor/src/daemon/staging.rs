//! Making ready, while the old release runs, what another needs besides its files: its arguments, and most of a copy of
//! the data.

use std::{
    fs::File,
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Shared, fleet::Configured, home::vault_folder, starting::resolve};
use crate::{
    artifact::verify,
    decide::{
        Event,
        data::{Arguments, Stage},
    },
    error_chain::Chained,
    migrate::{
        args::{self, Input, Revisions},
        snapshot::{self, Done, Pass, SnapshotError, Snapshots},
    },
    release::Checksum,
};

/// Between two lines in the log on a copy that goes on.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// One staging under way.
pub(super) struct Staging {
    pub(super) shared: Arc<Shared>,
    pub(super) configured: Arc<Configured>,
    /// Where the snapshot is named that is being taken.
    pub(super) snapshot: Arc<Mutex<Option<u64>>>,
    pub(super) give_up: watch::Receiver<bool>,
}

/// Why something is not ready, and whether the release is to blame.
struct NotStaged {
    reason: String,
    by_release: bool,
}

impl NotStaged {
    fn by_machine(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { reason: Chained(error).to_string(), by_release: false }
    }
}

impl Staging {
    pub(super) async fn stage(self, stage: Stage) -> Event {
        let to = stage.to.checksum;
        match self.try_stage(&stage).await {
            Ok((arguments, snapshot)) => Event::Staged { to, arguments, snapshot },
            Err(NotStaged { reason, by_release }) => Event::StageFailed { to, reason, by_release },
        }
    }

    async fn try_stage(&self, stage: &Stage) -> Result<(Arguments, Option<u64>), NotStaged> {
        let arguments = match stage.to.migrations.args {
            None => stage.arguments.clone(),
            Some(program) => self.migrate_arguments(stage, program).await?,
        };
        let snapshot = match stage.snapshot {
            false => None,
            true => Some(self.take_snapshot(stage).await?),
        };
        Ok((arguments, snapshot))
    }

    async fn migrate_arguments(&self, stage: &Stage, program: Checksum) -> Result<Arguments, NotStaged> {
        let vault = &self.configured.vault;
        let folder = vault_folder(&self.shared.home, &vault.name);
        let by_machine = |reason| NotStaged { reason, by_release: false };
        let old = resolve(&stage.arguments, &folder).map_err(by_machine)?;
        let path = self.shared.store.binary(program);
        let hashed = path.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            File::open(&hashed).and_then(|mut file| verify::hash_to_end(&mut file))
        });
        match joined(hashing.await) {
            Ok(found) if verify::proves(found, program) => {}
            Ok(found) => {
                let what =
                    format!("{} has changed: expected checksum {program}, found {found}", path.display());
                return Err(by_machine(what));
            }
            Err(error) => return Err(by_machine(format!("cannot read {}: {error}", path.display()))),
        }
        let input = Input {
            network: &vault.network,
            from_version: &stage.from.version,
            to_version: &stage.to.version,
            args: &old,
        };
        let made = args::run(&path, &input, vault.args_migration).await.map_err(|error| NotStaged {
            by_release: error.is_of_the_release(),
            reason: Chained(&error).to_string(),
        })?;
        let revisions = Revisions::new(&folder);
        let storing = tokio::task::spawn_blocking(move || revisions.store(&made));
        let number = joined(storing.await).map_err(|error| NotStaged::by_machine(&error))?;
        tracing::info!(
            vault = vault.name,
            "the arguments of release {} were made from those of {}: args/{number}.json",
            stage.to,
            stage.from
        );
        Ok(Arguments::Revision(number))
    }

    async fn take_snapshot(&self, stage: &Stage) -> Result<u64, NotStaged> {
        let vault = &self.configured.vault;
        let Some(data) = vault.data.clone() else {
            let reason = "data_dir is not configured any more".to_owned();
            return Err(NotStaged { reason, by_release: false });
        };
        let snapshots = Snapshots::new(&vault_folder(&self.shared.home, &vault.name));
        let (slot, give_up) = (self.snapshot.clone(), self.give_up.clone());
        let (name, stage) = (vault.name.clone(), stage.clone());
        let copying = tokio::task::spawn_blocking(move || {
            let begun = {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                let begun =
                    snapshots.begin(&data.folder, Some(&stage.from), &stage.to, super::now().unix_secs())?;
                *slot = Some(begun.id);
                begun.id
            };
            let folder = snapshots.path(begun);
            let mut said_at = Instant::now();
            let mut copy = || {
                let extent = snapshot::measure(&data.folder, &mut |_| wanted(&give_up))?;
                snapshot::check_room(&data.folder, &folder, extent)?;
                snapshot::take(&data.folder, &folder, Pass::First, true, &mut |done: Done| {
                    if said_at.elapsed() >= SAY_EVERY {
                        said_at = Instant::now();
                        let of = extent.bytes.max(1);
                        let percent = done.bytes.min(of) * 100 / of;
                        tracing::info!(vault = name, bytes = done.bytes, of, "copying the data: {percent} %");
                    }
                    wanted(&give_up)
                })
            };
            let copied = copy();
            // From here on the state names it, or nobody does.
            if let Err(error) = &copied {
                if let Err(left) = snapshots.remove(&[begun]) {
                    tracing::warn!(
                        vault = name,
                        "a snapshot that failed ({error}) is left: {}",
                        Chained(&left)
                    );
                }
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            copied.map(|done| (begun, done))
        });
        let (id, done) =
            joined(copying.await).map_err(|error: SnapshotError| NotStaged::by_machine(&error))?;
        tracing::info!(
            vault = vault.name,
            id,
            entries = done.entries,
            bytes = done.bytes,
            "the data was copied while the vault runs"
        );
        Ok(id)
    }
}

/// Not if it was given up, and not by a vaultvisor that leaves its vaults running and ends: nobody hears of it then, and
/// what is ready is made anew by the next one.
fn wanted(give_up: &watch::Receiver<bool>) -> ControlFlow<()> {
    let has_nobody = give_up.has_changed().is_err();
    if has_nobody || *give_up.borrow() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn joined<T>(outcome: Result<T, tokio::task::JoinError>) -> T {
    match outcome {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
