//! A vault that runs, as vaultvisor sees it: one that it started, or one that it found and adopted.
//!
//! Three ways to watch it, one after the other if need be: by its keeper's *reports*, if we started that; by
//! its *records* and the handles on both processes, if an earlier vaultvisor did; and *alone*, when its
//! keeper was killed: then vaultvisor itself ends what is left of it and passes on what it still prints.

mod silence;

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::Child,
    sync::watch,
};

use super::{
    ProcessId, boot_id,
    id::{ProcessHandle, Processes, Stat},
    lock::{Cleanliness, Record},
    monotonic_ns,
    output::Drain,
    protocol::{ExitStatus, Place, Report},
    raw::Readable,
    records::{Death, ExitRecord, Run},
    search::audit_session,
    stop::OVERDUE_AFTER,
    survivors::{Ending, Progress},
};
use silence::{Due, Silence};

/// Between two looks for the end of a vault in its keeper's record.
const RECORD_POLL: Duration = Duration::from_millis(5);
/// Between two looks into the record while a stop is under way, for what it says is late anyway.
const OVERDUE_POLL: Duration = Duration::from_secs(1);

/// What happens to a vault that runs: `Died` once, `NotEnded` any number of times, `Ended` once and last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultEvent {
    /// Its main process has ended; what it left behind is being ended.
    Died {
        /// How; `None` when nobody saw it.
        status: Option<ExitStatus>,
        /// When, on [`monotonic_ns`].
        at_ns: u64,
    },
    /// A stop, or the ending of what was left behind, takes longer than it may. It goes on.
    NotEnded(Processes),
    /// Nothing of it is left.
    Ended {
        /// How its main process ended; `None` when nobody saw it.
        status: Option<ExitStatus>,
        /// When its main process ended, on [`monotonic_ns`].
        at_ns: u64,
    },
}

/// How a vault ended, and when; `None` when nobody saw it.
pub type End = Option<(ExitStatus, u64)>;

/// A vault under its keeper. To drop it leaves the vault alone.
#[derive(Debug)]
pub struct RunningVault {
    /// What asks the vault's keeper to stop it.
    pub stopper: Arc<Stopper>,
    /// The vault's process.
    pub vault: ProcessId,
    /// When it was executed, on [`monotonic_ns`].
    pub started_ns: u64,
    /// What was executed.
    pub run: Run,
    /// Whether an earlier vaultvisor started it.
    pub adopted: bool,
    place: Place,
    record: Record,
    watched: Watched,
    events: VecDeque<VaultEvent>,
    death: Option<(Option<ExitStatus>, u64)>,
    said: Option<(Instant, Processes)>,
    silence: Silence,
}

#[derive(Debug)]
enum Watched {
    ByReports { keeper: Box<Child>, reports: Reports, vault: Option<Readable> },
    ByRecords { keeper: Readable, vault: Option<Readable> },
    Alone(Arc<Mutex<Alone>>),
    Ended,
}

/// A vault without its keeper.
#[derive(Debug)]
struct Alone {
    ending: Ending,
    drain: Option<Drain>,
}

impl Alone {
    fn proceed(&mut self) -> io::Result<(bool, Progress)> {
        self.drain();
        let progress = self.ending.proceed(Instant::now())?;
        let has_ended = self.ending.main_has_ended()?;
        if has_ended || matches!(progress, Progress::Gone) {
            // What it has said since are its last words.
            self.drain();
        }
        Ok((has_ended, progress))
    }

    fn drain(&mut self) {
        if let Some(drain) = &mut self.drain {
            drain.drain();
        }
    }
}

impl RunningVault {
    /// One that was just executed by our keeper.
    pub(super) fn started(
        place: Place,
        run: Run,
        (keeper, keeper_id, reports): (Child, Option<ProcessId>, Reports),
        stopper: Stopper,
        vault: ProcessId,
        started_ns: u64,
    ) -> Self {
        let record = Record {
            boot_id: boot_id().unwrap_or_default(),
            uid: rustix::process::getuid().as_raw(),
            home: place.home.clone(),
            // What is as old as the vault counts as its own, when its keeper could not be seen any more.
            keeper: keeper_id.unwrap_or(vault),
            vault: Some(vault),
            run_id: run.run_id.clone(),
            audit_session: audit_session("self"),
            told_to_end: false,
            state: Cleanliness::Dirty,
        };
        // Its end is its keeper's to tell; it is seen as well, in case that says nothing.
        let (seen, has_ended) = match vault.open() {
            Ok(Some(handle)) => (Readable::new(handle.descriptor).ok(), false),
            Ok(None) => (None, true),
            Err(_) => (None, false),
        };
        let watched = Watched::ByReports { keeper: Box::new(keeper), reports, vault: seen };
        let mut running = Self::new(place, run, record, Arc::new(stopper), vault, started_ns, false, watched);
        if has_ended {
            running.silence.vault_has_ended(Instant::now());
        }
        running
    }

    /// One that an earlier vaultvisor started, under its keeper.
    pub(super) fn adopted(
        place: Place,
        run: Run,
        record: Record,
        keeper: ProcessHandle,
        vault: ProcessHandle,
        started_ns: u64,
    ) -> io::Result<Self> {
        let stopper = Arc::new(Stopper::new(keeper.descriptor.try_clone()?));
        let process = vault.id;
        let keeper = Readable::new(keeper.descriptor)?;
        let vault = Some(Readable::new(vault.descriptor)?);
        let watched = Watched::ByRecords { keeper, vault };
        let told_to_end = record.told_to_end;
        let mut running = Self::new(place, run, record, stopper, process, started_ns, true, watched);
        if told_to_end {
            running.silence.asked(Instant::now());
        }
        Ok(running)
    }

    /// One that an earlier vaultvisor started and that has lost its keeper: its end is under way.
    pub(super) fn adopted_alone(
        place: Place,
        run: Run,
        record: Record,
        vault: ProcessHandle,
        started_ns: u64,
    ) -> io::Result<Self> {
        // Nobody is left to be told to stop it, and nobody needs to be.
        let (process, stopper) = (vault.id, Arc::new(Stopper::new(vault.descriptor).without_keeper()));
        let watched = alone(&place, &record)?;
        Ok(Self::new(place, run, record, stopper, process, started_ns, true, watched))
    }

    #[allow(clippy::too_many_arguments)] // Private: the one place where all parts come together.
    fn new(
        place: Place,
        run: Run,
        record: Record,
        stopper: Arc<Stopper>,
        vault: ProcessId,
        started_ns: u64,
        adopted: bool,
        watched: Watched,
    ) -> Self {
        let (events, death, said, silence) = (VecDeque::new(), None, None, Silence::new(place.grace()));
        Self {
            stopper,
            vault,
            started_ns,
            run,
            adopted,
            place,
            record,
            watched,
            events,
            death,
            said,
            silence,
        }
    }

    /// Whether its keeper was asked to stop it by whoever was there before us.
    pub fn told_to_end(&self) -> bool {
        self.record.told_to_end
    }

    /// What happens next; `None` after `Ended`. Nothing is lost when this is dropped before it is ready.
    pub async fn next(&mut self) -> Option<VaultEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            match &self.watched {
                Watched::ByReports { .. } => self.watch_reports().await,
                Watched::ByRecords { .. } => self.watch_records().await,
                Watched::Alone(alone) => {
                    let alone = alone.clone();
                    self.watch_alone(alone).await;
                }
                Watched::Ended => return None,
            }
        }
    }

    /// Waits until the vault and all that it started has ended.
    pub async fn ended(mut self) -> End {
        let mut end = None;
        while let Some(event) = self.next().await {
            if let VaultEvent::Ended { status, at_ns } = event {
                end = status.map(|status| (status, at_ns));
            }
        }
        end
    }

    async fn watch_reports(&mut self) {
        let mut asked = self.stopper.asked.subscribe();
        let due = self.silence.next();
        let Watched::ByReports { keeper, reports, vault } = &mut self.watched else { return };
        let report = tokio::select! {
            biased;
            report = reports.next() => report,
            () = readable(vault.as_ref()), if vault.is_some() => {
                *vault = None;
                return self.silence.vault_has_ended(Instant::now());
            }
            at = asked_to_stop(&mut asked), if !self.silence.is_asked() => return self.silence.asked(at),
            () = sleep_until(due), if due.is_some() => return self.heed_silence(),
        };
        match report {
            Ok(Some(Report::Died { status, at_ns })) => self.has_died(Some(status), at_ns),
            Ok(Some(Report::NotEnded(left))) => self.keeper_says_not_ended(left),
            Ok(Some(Report::Ended { status, at_ns })) => {
                self.has_died(Some(status), at_ns);
                self.has_ended();
            }
            Ok(Some(other)) => tracing::warn!(?other, "an unexpected report of a keeper"),
            outcome => {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "cannot read a keeper's report");
                }
                // Whatever was said or not: its own end is what counts.
                if let Err(error) = keeper.wait().await {
                    tracing::warn!(%error, "cannot wait for a keeper");
                }
                self.keeper_has_ended().await;
            }
        }
    }

    async fn watch_records(&mut self) {
        let mut asked = self.stopper.asked.subscribe();
        let waits_for_record = self.silence.vault_is_gone() && self.death.is_none();
        let look_again = if waits_for_record { RECORD_POLL } else { OVERDUE_POLL };
        let watches_record = self.silence.is_asked() || self.silence.vault_is_gone();
        let Watched::ByRecords { keeper, vault } = &mut self.watched else { return };
        let keeper_has_ended = tokio::select! {
            biased;
            () = readable(vault.as_ref()), if vault.is_some() => {
                *vault = None;
                self.silence.vault_has_ended(Instant::now());
                false
            }
            () = keeper.wait() => true,
            at = asked_to_stop(&mut asked), if !self.silence.is_asked() => {
                self.silence.asked(at);
                false
            }
            () = tokio::time::sleep(look_again), if watches_record => false,
        };
        if keeper_has_ended {
            return self.keeper_has_ended().await;
        }
        let exit = self.exit_record();
        if let Some(left) = exit.as_ref().and_then(|exit| exit.not_ended.clone()) {
            self.keeper_says_not_ended(left);
        }
        let died = exit.and_then(|exit| exit.died).filter(|_| self.silence.vault_is_gone());
        if let Some(Death { status, at_ns }) = died {
            self.has_died(Some(status), at_ns);
        }
        self.heed_silence();
    }

    /// Does what is due because nothing is heard of a keeper that should have said something.
    fn heed_silence(&mut self) {
        match self.silence.due(Instant::now()) {
            None => {}
            Some(Due::Continue) => self.stopper.go_on(),
            Some(Due::Unseen) => self.has_died(None, monotonic_ns()),
            Some(Due::Name) => self.has_not_ended(self.silent_keeper()),
        }
    }

    /// A keeper that does not answer, and its vault if that has ended and is still there: perhaps the keeper waits for it.
    fn silent_keeper(&self) -> Processes {
        let see = |process: ProcessId| Stat::of(process.pid).ok().flatten().filter(|stat| stat.id == process);
        let ended = if self.silence.vault_is_gone() { see(self.vault) } else { None };
        let keeper = self.record.keeper;
        let described =
            see(keeper).map_or_else(|| format!("process {}", keeper.pid), |keeper| keeper.describe());
        let what = format!(
            "its keeper, {described}, does not answer; if that does not go on, kill it (kill -9 {}): what is left of its \
             vault is ended then",
            keeper.pid
        );
        Processes::of(ended.iter().map(Stat::described).chain([(keeper.pid, what)]))
    }

    fn keeper_says_not_ended(&mut self, left: Processes) {
        self.silence.answered();
        self.has_not_ended(left);
    }

    /// Whether it left everything in order is in its record; else what it kept is ours to end.
    async fn keeper_has_ended(&mut self) {
        let exit = self.exit_record();
        if let Some(Death { status, at_ns }) = exit.as_ref().and_then(|exit| exit.died) {
            self.has_died(Some(status), at_ns);
        }
        if exit.is_some_and(|exit| exit.ended) {
            return self.has_ended();
        }
        tracing::warn!(vault = self.vault.pid, "a keeper was killed; what it kept is ended");
        match alone(&self.place, &self.record) {
            Ok(watched) => self.watched = watched,
            Err(error) => {
                let what = format!("cannot see what a killed keeper left behind: {error}");
                self.has_not_ended(Processes::unseen(what));
                tokio::time::sleep(OVERDUE_POLL).await;
            }
        }
    }

    async fn watch_alone(&mut self, alone: Arc<Mutex<Alone>>) {
        let proceeded = tokio::task::spawn_blocking(move || {
            alone.lock().unwrap_or_else(PoisonError::into_inner).proceed()
        });
        let proceeded = match proceeded.await {
            Ok(proceeded) => proceeded,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let mut look_again = OVERDUE_POLL;
        match proceeded {
            Ok((true, _)) | Ok((_, Progress::Gone)) if self.death.is_none() => {
                // Its end may have been seen before its keeper was killed.
                let died = self.exit_record().and_then(|exit| exit.died);
                let at_ns = died.map_or_else(monotonic_ns, |death| death.at_ns);
                self.has_died(died.map(|death| death.status), at_ns);
            }
            _ => {}
        }
        match proceeded {
            Ok((_, Progress::Gone)) => return self.has_ended(),
            Ok((_, Progress::Wait { until, overdue })) => {
                look_again = until.saturating_duration_since(Instant::now());
                if let Some(left) = overdue {
                    self.has_not_ended(left);
                }
            }
            Ok((_, Progress::Unproved { what, .. })) => self.has_not_ended(what),
            Err(error) => {
                self.has_not_ended(Processes::unseen(format!("cannot see what is left: {error}")));
            }
        }
        if self.events.is_empty() {
            tokio::time::sleep(look_again).await;
        }
    }

    fn exit_record(&self) -> Option<ExitRecord> {
        let exit = ExitRecord::read(&self.place.folder);
        exit.ok().flatten().filter(|exit| exit.is_of(&self.record))
    }

    fn has_died(&mut self, status: Option<ExitStatus>, at_ns: u64) {
        if self.death.is_none() {
            self.silence.has_died(Instant::now());
            self.death = Some((status, at_ns));
            self.events.push_back(VaultEvent::Died { status, at_ns });
        }
    }

    /// Tells what is left when it changes; of the same processes, whose states may change all the time, only so often.
    fn has_not_ended(&mut self, left: Processes) {
        let is_known = self.said.as_ref().is_some_and(|(at, said)| {
            *said == left || (said.pids == left.pids && at.elapsed() < OVERDUE_AFTER)
        });
        if !is_known {
            self.said = Some((Instant::now(), left.clone()));
            self.events.push_back(VaultEvent::NotEnded(left));
        }
    }

    fn has_ended(&mut self) {
        self.has_died(None, monotonic_ns());
        let (status, at_ns) = self.death.unwrap_or((None, monotonic_ns()));
        self.events.push_back(VaultEvent::Ended { status, at_ns });
        if let Watched::ByReports { mut keeper, .. } = std::mem::replace(&mut self.watched, Watched::Ended) {
            // Its lock is free already; to wait for it only keeps it from becoming a zombie.
            tokio::spawn(async move { keeper.wait().await });
        }
    }
}

fn alone(place: &Place, record: &Record) -> io::Result<Watched> {
    let ending = Ending::new(place, record.clone(), Instant::now())?;
    // Without its output it can be ended too; it only may have to be killed, if it waits for a reader.
    let drain = Drain::open(place).map(|(drain, _)| drain).ok();
    Ok(Watched::Alone(Arc::new(Mutex::new(Alone { ending, drain }))))
}

async fn readable(descriptor: Option<&Readable>) {
    match descriptor {
        Some(descriptor) => descriptor.wait().await,
        None => std::future::pending().await,
    }
}

async fn asked_to_stop(asked: &mut watch::Receiver<Option<Instant>>) -> Instant {
    match asked.wait_for(Option::is_some).await.ok().and_then(|at| *at) {
        Some(at) => at,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Asks one keeper to stop its vault.
#[derive(Debug)]
pub struct Stopper {
    /// `None` when there is no keeper any more.
    keeper: Option<OwnedFd>,
    /// Since when it is asked.
    asked: watch::Sender<Option<Instant>>,
}

impl Stopper {
    fn new(keeper: OwnedFd) -> Self {
        Self { keeper: Some(keeper), asked: watch::Sender::new(None) }
    }

    pub(super) fn of(keeper: &Child) -> io::Result<Self> {
        let pid = keeper.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        // Our child, and nobody waited for it yet: so this is it, and no later process with its pid.
        Ok(Self::new(pidfd_open(pid.ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?))
    }

    fn without_keeper(self) -> Self {
        Self { keeper: None, ..self }
    }

    /// Asks. Asked twice it changes nothing, and a keeper that has ended needs no asking.
    pub fn stop(&self) {
        self.asked.send_if_modified(|asked| asked.replace(asked.unwrap_or_else(Instant::now)).is_none());
        self.signal(Signal::TERM);
        self.go_on();
    }

    /// Has a keeper that is stopped by a signal go on: until then it reads none.
    fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(keeper) = &self.keeper
            && let Err(error) = pidfd_send_signal(keeper, signal)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!(%error, "cannot signal a keeper");
        }
    }
}

/// The socket to a keeper.
#[derive(Debug)]
pub(super) struct Reports {
    socket: BufReader<UnixStream>,
    /// The beginning of a report whose end has not come yet.
    line: Vec<u8>,
}

impl Reports {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket: BufReader::new(socket), line: Vec::new() }
    }

    pub(super) async fn send(&mut self, commands: &[u8]) -> io::Result<()> {
        self.socket.get_mut().write_all(commands).await
    }

    /// The next report; `None` at the keeper's end.
    async fn next(&mut self) -> io::Result<Option<Report>> {
        match self.socket.read_until(b'\n', &mut self.line).await {
            Ok(_) if self.line.last() == Some(&b'\n') => {
                let line = std::mem::take(&mut self.line);
                Ok(Some(serde_json::from_slice(&line)?))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn next_within(&mut self, limit: Duration) -> Result<Report, String> {
        match tokio::time::timeout(limit, self.next()).await {
            Ok(Ok(Some(report))) => Ok(report),
            Ok(Ok(None)) => Err("it ended without a word".into()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer for {} s", limit.as_secs())),
        }
    }
}
