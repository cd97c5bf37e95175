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
    sync::Arc,
    time::Duration,
};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::{Child, Command},
};

use super::{
    MARKER, ProcessId,
    protocol::{ExitStatus, GO, LOCK, Report, Spec},
};

/// The keeper's binary, which is installed beside vaultvisor's.
pub const KEEPER_BINARY: &str = "vaultvisor-keeper";

/// Hashing half a gigabyte from a cold, slow disk takes a minute.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(300);
/// Taking the lock is tried for a second; a search of `/proc` and a fork are milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Variables of our own environment that a vault gets too.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TZ"];

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
    #[error("the keeper did not get ready: {0}")]
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
    #[error("{what}")]
    NotGone {
        /// What.
        what: String,
    },
    /// The vault could not be executed; nothing runs.
    #[error("{0}")]
    Failed(String),
}

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
}

/// The socket to a keeper.
#[derive(Debug)]
struct Reports(BufReader<UnixStream>);

impl Reports {
    /// The next report; `None` at the keeper's end.
    async fn next(&mut self) -> io::Result<Option<Report>> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(serde_json::from_str(&line)?)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn next_within(&mut self, limit: Duration) -> Result<Report, String> {
        match tokio::time::timeout(limit, self.next()).await {
            Ok(Ok(Some(report))) => Ok(report),
            Ok(Ok(None)) => Err("it ended without a word".into()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer for {} s", limit.as_secs())),
        }
    }
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
        let child = Command::new(keeper)
            .args(spec.to_args())
            .env_clear()
            .envs(passed_on)
            .envs(env)
            .env(MARKER, &spec.marker)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(spawn_failed)?;
        let socket = UnixStream::from_std(ours).map_err(spawn_failed)?;
        let stopper = Stopper::of(&child).map_err(spawn_failed)?;
        let end_timeout = spec.grace() + START_TIMEOUT;
        let mut prepared =
            Self { keeper: child, stopper, end_timeout, reports: Reports(BufReader::new(socket)) };
        match prepared.reports.next_within(PREPARE_TIMEOUT).await {
            Ok(Report::Ready) => Ok(prepared),
            Ok(Report::Failed { reason }) => Err(PrepareError::Refused(reason)),
            Ok(other) => Err(PrepareError::Silent(format!("it said {other:?}"))),
            Err(why) => Err(PrepareError::Silent(why)),
        }
    }

    /// Takes the lock and executes the vault. Both commands are sent at once: nothing is waited for between
    /// the end of an old vault and the execution of this one.
    pub async fn start(mut self) -> Result<RunningVault, StartError> {
        let sent = self.reports.0.get_mut().write_all(&[LOCK, GO]).await;
        sent.map_err(|error| StartError::Failed(format!("the keeper is gone: {error}")))?;
        match self.next().await? {
            Report::Locked => {}
            other => return Err(refusal(other)),
        }
        match self.next().await? {
            Report::Started { vault, at_ns } => {
                let Self { keeper, stopper, reports, .. } = self;
                Ok(RunningVault { keeper, stopper: Arc::new(stopper), reports, vault, started_ns: at_ns })
            }
            other => Err(refusal(other)),
        }
    }

    /// The next report. After `G` the keeper executes whatever we do, so one that is silent is told to stop,
    /// and only its own end proves that it started nothing that still runs.
    async fn next(&mut self) -> Result<Report, StartError> {
        let why = match self.reports.next_within(START_TIMEOUT).await {
            Ok(report) => return Ok(report),
            Err(why) => why,
        };
        self.stopper.stop();
        match tokio::time::timeout(self.end_timeout, self.keeper.wait()).await {
            Ok(Ok(_)) => Err(StartError::Failed(format!("the keeper failed: {why}"))),
            _ => {
                let pid = self.keeper.id().unwrap_or_default();
                let what =
                    format!("keeper {pid} is silent ({why}) and does not end: it may still start the vault");
                Err(StartError::NotGone { what })
            }
        }
    }
}

fn refusal(report: Report) -> StartError {
    match report {
        Report::Busy { holder } => StartError::Busy { holder },
        Report::NotGone { what } => StartError::NotGone { what },
        Report::Failed { reason } => StartError::Failed(reason),
        other => StartError::Failed(format!("the keeper said {other:?}")),
    }
}

/// A vault under its keeper.
#[derive(Debug)]
pub struct RunningVault {
    keeper: Child,
    reports: Reports,
    /// What asks the vault's keeper to stop it.
    pub stopper: Arc<Stopper>,
    /// The vault's process.
    pub vault: ProcessId,
    /// When it was executed, on [`super::monotonic_ns`].
    pub started_ns: u64,
}

/// How a vault ended, and when; `None` when its keeper was killed and nobody saw it.
pub type End = Option<(ExitStatus, u64)>;

impl RunningVault {
    /// Waits until the vault and all that it started has ended.
    pub async fn ended(mut self) -> End {
        let end = loop {
            match self.reports.next().await {
                Ok(Some(Report::Ended { status, at_ns })) => break Some((status, at_ns)),
                Ok(Some(other)) => tracing::warn!(?other, "an unexpected report of a keeper"),
                Ok(None) => break None,
                Err(error) => {
                    tracing::warn!(%error, "cannot read a keeper's report");
                    break None;
                }
            }
        };
        // Its lock is free already; to wait for it only keeps it from becoming a zombie.
        tokio::spawn(async move { self.keeper.wait().await });
        end
    }
}

/// Asks one keeper to stop its vault.
#[derive(Debug)]
pub struct Stopper {
    keeper: OwnedFd,
}

impl Stopper {
    fn of(keeper: &Child) -> io::Result<Self> {
        let pid = keeper.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        // Our child, and nobody waited for it yet: so this is it, and no later process with its pid.
        Ok(Self { keeper: pidfd_open(pid.ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())? })
    }

    /// Asks. Asked twice it changes nothing, and a keeper that has ended needs no asking.
    pub fn stop(&self) {
        if let Err(error) = pidfd_send_signal(&self.keeper, Signal::TERM)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!(%error, "cannot signal a keeper");
        }
    }
}
