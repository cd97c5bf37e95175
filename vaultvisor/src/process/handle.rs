//! Vaultvisor's side of a keeper: prepared, then started, then waited for.
//!
//! The types follow the protocol: a [`Prepared`] keeper has started nothing, a [`RunningVault`] runs. To
//! drop a `Prepared` ends its keeper; to drop a `RunningVault` leaves the vault alone.

use std::{
    collections::BTreeMap,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::UnixStream,
    process::{Child, Command},
};

pub use super::running::{End, RunningVault, Stopper, VaultEvent};
use super::{
    MARKER, PASSED_ON, ProcessId,
    descriptors::as_given,
    id::Processes,
    protocol::{GO, LOCK, MIGRATE, PROTOCOL, RESTORE, Report, SNAPSHOT, Spec, other_protocol},
    records::Run,
    running::Reports,
    stop::{LEFTOVER_GRACE, OVERDUE_AFTER},
};

/// The keeper's binary, which is installed beside vaultvisor's.
pub const KEEPER_BINARY: &str = "vaultvisor-keeper";

/// Hashing half a gigabyte from a cold, slow disk takes a minute.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(300);
/// Taking the lock is tried for a second; a search of `/proc` and a fork are milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What a keeper has said lies in our socket when it has ended; only whoever holds its end open besides could have this
/// waited for, such as a child in the moment between its fork and its own end.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// Why no keeper is ready. Nothing was started and nothing was stopped.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The keeper's binary does not lie beside ours.
    #[error("cannot find {KEEPER_BINARY} beside vaultvisor")]
    NoKeeper(#[source] io::Error),
    /// The keeper's binary cannot be started.
    #[error("cannot start {}", path.display())]
    Spawn {
        /// The keeper's binary.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The keeper said what is wrong.
    #[error("{0}")]
    Refused(String),
    /// The keeper said nothing that makes sense.
    #[error(
        "the keeper did not get ready: {0}; if it is of another version than vaultvisor, install both of one"
    )]
    Silent(String),
}

/// Why a prepared keeper started nothing.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another vaultvisor or vault has the lock.
    #[error("held by {holder}")]
    Busy {
        /// `home=… uid=… keeper=… vault=…`
        holder: String,
    },
    /// Something of this account is still there.
    #[error("{}", .0.what)]
    NotGone(Processes),
    /// The vault's program cannot be executed; nothing runs.
    #[error("{0}")]
    Failed(String),
    /// This machine could not execute the vault, or could not do something before that; nothing runs, and no program is
    /// to blame.
    #[error("{0}")]
    Hindered(String),
    /// The state migration failed by itself; nothing runs.
    #[error("{0}")]
    MigrationFailed(String),
    /// The keeper was told to execute the vault, and did not say what became of that: the vault may have lived.
    #[error("{what}")]
    MayHaveLived {
        /// For people.
        what: String,
        /// The keeper, if it has not ended.
        keeper: Option<u32>,
    },
}

/// What can be done between the lock and the execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// The second pass of a snapshot.
    Snapshot,
    /// The state migration, for its time at most.
    Migrate,
    /// The restore of a snapshot.
    Restore,
}

/// A disk that copies nothing for this long hangs.
const STALL_TIMEOUT: Duration = Duration::from_secs(300);

/// The keeper's binary: in the folder of this program's own.
pub fn find_keeper() -> Result<PathBuf, PrepareError> {
    let own = std::env::current_exe().map_err(PrepareError::NoKeeper)?;
    let keeper = own.with_file_name(KEEPER_BINARY);
    keeper.metadata().map(|_| keeper).map_err(PrepareError::NoKeeper)
}

/// A keeper that has opened and hashed everything and waits.
#[derive(Debug)]
pub struct Prepared {
    keeper: Child,
    /// Opened before anything is executed, so that nothing ever runs that could not be stopped.
    stopper: Stopper,
    /// How long the keeper may take to end when it is told to: the vault's grace, and what it leaves behind.
    end_timeout: Duration,
    reports: Reports,
    /// Whether `G` was sent: from then on only the keeper's own word is proof that nothing was executed.
    told_to_go: bool,
    spec: Spec,
}

impl Prepared {
    /// Starts a keeper and waits until it is ready.
    pub async fn new(
        keeper: &Path,
        spec: &Spec,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, PrepareError> {
        let spawn_failed = |source| PrepareError::Spawn { path: keeper.to_owned(), source };
        let (ours, theirs) = StdUnixStream::pair().map_err(spawn_failed)?;
        ours.set_nonblocking(true).map_err(spawn_failed)?;
        let passed_on = PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let child = as_given(&mut Command::new(keeper))
            .args(spec.to_args())
            .env_clear()
            .envs(passed_on)
            .envs(env)
            .env(MARKER, &spec.place.marker)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(spawn_failed)?;
        let socket = UnixStream::from_std(ours).map_err(spawn_failed)?;
        let stopper = Stopper::of(&child).map_err(spawn_failed)?;
        let end_timeout = spec.place.grace() + LEFTOVER_GRACE + OVERDUE_AFTER + START_TIMEOUT;
        let (reports, spec) = (Reports::new(socket), spec.clone());
        let told_to_go = false;
        let mut prepared = Self { keeper: child, stopper, end_timeout, reports, told_to_go, spec };
        match prepared.reports.next_within(PREPARE_TIMEOUT).await {
            Ok(Report::Ready { protocol, .. }) if protocol != PROTOCOL => {
                Err(PrepareError::Refused(other_protocol(protocol, PROTOCOL)))
            }
            Ok(Report::Ready { warning, .. }) => {
                if let Some(warning) = warning {
                    tracing::warn!(folder = %prepared.spec.place.folder.display(), "{warning}");
                }
                Ok(prepared)
            }
            Ok(Report::Failed { reason, .. }) => Err(PrepareError::Refused(reason)),
            Ok(other) => Err(PrepareError::Silent(format!("it said {other:?}"))),
            Err(why) => Err(PrepareError::Silent(why)),
        }
    }

    /// Takes the lock and executes the vault. Both commands are sent at once: nothing is waited for between
    /// the end of an old vault and the execution of this one.
    pub async fn start(mut self) -> Result<RunningVault, StartError> {
        self.send(&[LOCK, GO]).await?;
        self.locked().await?;
        self.started().await
    }

    /// Takes the lock, for something that is done before the execution.
    pub async fn lock(mut self) -> Result<Locked, StartError> {
        self.send(&[LOCK]).await?;
        self.locked().await?;
        Ok(Locked(self))
    }

    async fn send(&mut self, commands: &[u8]) -> Result<(), StartError> {
        match self.reports.send(commands).await {
            Ok(()) => {
                self.told_to_go |= commands.contains(&GO);
                Ok(())
            }
            // Two bytes go together or not at all: it has not heard of it.
            Err(error) => Err(self.end(&format!("it is gone: {error}")).await),
        }
    }

    async fn locked(&mut self) -> Result<(), StartError> {
        let mut answer = self.next(START_TIMEOUT).await?;
        while let Report::Ending { what } = answer {
            let folder = self.spec.place.folder.display();
            tracing::warn!(%folder, "an earlier run has lost its keeper and is ended first: {what}");
            answer = self.next(self.end_timeout).await?;
        }
        if answer == Report::Locked { Ok(()) } else { Err(self.refused(answer).await) }
    }

    async fn started(mut self) -> Result<RunningVault, StartError> {
        match self.next(START_TIMEOUT).await? {
            Report::Started { vault, at_ns } => {
                let Self { keeper, stopper, reports, spec, .. } = self;
                let run = Run {
                    run_id: spec.run_id,
                    pid: vault.pid,
                    version: spec.version,
                    checksum: spec.checksum,
                };
                let keeper_id = keeper.id().and_then(ProcessId::of);
                Ok(RunningVault::started(
                    spec.place,
                    run,
                    (keeper, keeper_id, reports),
                    stopper,
                    vault,
                    at_ns,
                ))
            }
            other => Err(self.refused(other).await),
        }
    }

    /// The next report. After `G` the keeper executes whatever we do, so one that is silent is told to stop,
    /// and only its own end proves that it started nothing that still runs.
    async fn next(&mut self, limit: Duration) -> Result<Report, StartError> {
        match self.reports.next_within(limit).await {
            Ok(report) => Ok(report),
            Err(why) => Err(self.end(&why).await),
        }
    }

    /// Another answer than the one that was hoped for.
    async fn refused(&mut self, report: Report) -> StartError {
        match refusal(report) {
            Ok(refused) => refused,
            Err(other) => self.end(&format!("it said {other:?}")).await,
        }
    }

    /// Ends the keeper, and whatever it runs.
    async fn end(&mut self, why: &str) -> StartError {
        self.stopper.stop();
        let has_ended = matches!(tokio::time::timeout(self.end_timeout, self.keeper.wait()).await, Ok(Ok(_)));
        let keeper = self.keeper.id().filter(|_| !has_ended);
        if self.told_to_go {
            return self.rest().await.unwrap_or_else(|| {
                let state = if has_ended { "" } else { " It does not end, either." };
                let what = format!(
                    "the keeper was told to execute it and did not say in time what became of that ({why}): it may \
                     have lived until its keeper was told to end.{state}"
                );
                StartError::MayHaveLived { what, keeper }
            });
        }
        match keeper {
            None => StartError::Hindered(format!("the keeper failed: {why}")),
            Some(pid) => {
                let what = format!("keeper {pid} is silent ({why}) and does not end");
                StartError::NotGone(Processes { pids: vec![pid], what })
            }
        }
    }

    /// What was said too late. Only a refusal says that nothing was executed.
    async fn rest(&mut self) -> Option<StartError> {
        loop {
            match self.reports.next_within(REST_TIMEOUT).await.ok()? {
                Report::Ending { .. } | Report::Locked => {}
                other => return refusal(other).ok(),
            }
        }
    }
}

/// A keeper that holds the lock, with nothing of the account running, and has executed nothing yet. To drop it ends
/// what it does.
#[derive(Debug)]
pub struct Locked(Prepared);

impl Locked {
    /// Does one thing that its [`Spec`] has what is needed for.
    pub async fn carry_out(&mut self, task: Task) -> Result<(), StartError> {
        let Self(keeper) = self;
        let (command, limit) = match task {
            Task::Snapshot => (SNAPSHOT, STALL_TIMEOUT),
            // Its time is kept by the keeper; ours is for a keeper that cannot.
            Task::Migrate => (MIGRATE, Duration::from_millis(keeper.spec.work.migration_ms) + STALL_TIMEOUT),
            Task::Restore => (RESTORE, STALL_TIMEOUT),
        };
        keeper.send(&[command]).await?;
        let folder = keeper.spec.place.folder.clone();
        loop {
            match keeper.next(limit).await? {
                Report::Working { entries, bytes } => {
                    tracing::info!(folder = %folder.display(), entries, bytes, "{task:?} goes on");
                }
                Report::Worked { copied, bytes, not_kept } => {
                    tracing::info!(folder = %folder.display(), copied, bytes, "{task:?} is done");
                    if not_kept > 0 {
                        tracing::warn!(
                            folder = %folder.display(),
                            "{not_kept} owners or attributes could not be kept, because only root may set them"
                        );
                    }
                    return Ok(());
                }
                other => return Err(keeper.refused(other).await),
            }
        }
    }

    /// Executes the vault.
    pub async fn start(self) -> Result<RunningVault, StartError> {
        let Self(mut keeper) = self;
        keeper.send(&[GO]).await?;
        keeper.started().await
    }

    /// Ends the keeper with nothing executed, and waits until whatever it was doing has ended.
    pub async fn give_up(mut self, why: &str) -> StartError {
        self.0.end(why).await
    }
}

/// Why a keeper that says so has executed nothing; or the report, when it is none that says so.
fn refusal(report: Report) -> Result<StartError, Report> {
    match report {
        Report::Busy { holder } => Ok(StartError::Busy { holder }),
        Report::NotGone(left) => Ok(StartError::NotGone(left)),
        Report::Failed { reason, by_machine: false } => Ok(StartError::Failed(reason)),
        Report::Failed { reason, by_machine: true } => Ok(StartError::Hindered(reason)),
        Report::MigrationFailed { reason } => Ok(StartError::MigrationFailed(reason)),
        other => Err(other),
    }
}
