//! Finding the vault that an earlier vaultvisor started, and taking it over.
//!
//! Nothing here changes anything, and *never two* does not rest on it: whoever starts a vault proves again,
//! under the lock, that nothing runs. What is looked at: the record in the lock file (or its copy in
//! `run.json`, when the lock file was removed or damaged), `run.json` and `exit.json` of the same run and boot,
//! and the two processes, each through a handle that was opened before it was compared.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Parser;
use rustix::process::Signal;

use super::{
    ProcessId,
    claim::ClaimError,
    id::{ProcessHandle, Processes, Stat},
    lock::{self, Cleanliness, Record},
    monotonic_ns,
    protocol::{ExitStatus, Place, Spec},
    raw::Readable,
    records::{ExitRecord, FileId, RecordError, Run, RunRecord},
    running::RunningVault,
    stop::{LEFTOVER_GRACE, OVERDUE_AFTER},
    survivors::{Ending, Progress},
};
use crate::{artifact::BINARY_NAME, error_chain::Chained};

/// A keeper that is in the middle of a start or an end has settled within this.
const SETTLE_WAIT: Duration = Duration::from_secs(10);
/// A keeper writes its run record right after the execution; when it could not, it is asked for its arguments.
const RECORD_WAIT: Duration = Duration::from_secs(3);
/// Between two looks.
const POLL: Duration = Duration::from_millis(10);

/// What was found of a vault.
#[derive(Debug)]
pub enum Observed {
    /// Nothing of this boot is recorded to run.
    Nothing,
    /// It runs, and is ours to watch and to stop. If its keeper was killed its end is under way already.
    Runs(Box<RunningVault>),
    /// It ran in this boot and has ended meanwhile. What it may have left behind is ended by the next start.
    Gone {
        /// What ran, if that is known.
        run: Option<Run>,
        /// Its main process; `None` when it was never forked.
        pid: Option<u32>,
        /// How it ended; `None` when nobody saw it.
        status: Option<ExitStatus>,
        /// Whether its keeper was asked to stop it.
        told_to_end: bool,
    },
    /// It cannot be proved what runs.
    NotProvable {
        /// Whether someone holds the account's lock.
        lock_is_held: bool,
        /// Who, or what is wrong.
        reason: String,
    },
}

/// Why one look did not do.
enum Unclear {
    /// A keeper is in the middle of something.
    Unsettled(String),
    /// Looking again would not help.
    NotProvable { lock_is_held: bool, reason: String },
}

impl From<io::Error> for Unclear {
    fn from(error: io::Error) -> Self {
        Self::NotProvable { lock_is_held: false, reason: format!("cannot see what runs: {error}") }
    }
}

impl From<RecordError> for Unclear {
    fn from(error: RecordError) -> Self {
        Self::NotProvable { lock_is_held: false, reason: Chained(&error).to_string() }
    }
}

/// Looks for the vault of a place. Waits a few seconds at most, while a keeper is in the middle of a start or
/// of its vault's end.
pub async fn observe(place: &Place) -> Observed {
    let began = Instant::now();
    loop {
        match look(place, began.elapsed() >= RECORD_WAIT) {
            Ok(observed) => return observed,
            Err(Unclear::Unsettled(_)) if began.elapsed() < SETTLE_WAIT => tokio::time::sleep(POLL).await,
            Err(Unclear::Unsettled(reason)) => return Observed::NotProvable { lock_is_held: true, reason },
            Err(Unclear::NotProvable { lock_is_held, reason }) => {
                return Observed::NotProvable { lock_is_held, reason };
            }
        }
    }
}

fn look(place: &Place, without_run_record: bool) -> Result<Observed, Unclear> {
    // A record that cannot be read is told of where it is needed.
    if let Ok(Some(other)) = RunRecord::of_another_account(place) {
        return Err(Unclear::NotProvable { lock_is_held: false, reason: other.what });
    }
    let lock = |source: io::Error| {
        let error = ClaimError::File { path: place.lock.clone(), source };
        Unclear::NotProvable { lock_is_held: false, reason: Chained(&error).to_string() }
    };
    let record = match lock::look_at_record(&place.lock).map_err(lock)? {
        Some(record) => record,
        None => match RunRecord::read_open(&place.folder)? {
            Some(run) => run.lock,
            None if lock::is_held(&place.lock).map_err(lock)? => {
                return Err(Unclear::Unsettled("held by someone who left no record".to_owned()));
            }
            None => return Ok(Observed::Nothing),
        },
    };
    let of_this_boot = record.boot_id == super::boot_id()?;
    if !of_this_boot || record.vault.is_none() && record.state == Cleanliness::Clean {
        return Ok(Observed::Nothing);
    }
    let keeper = if record.state == Cleanliness::Dirty { record.keeper.open()? } else { None };
    if !record.is_ours(place) {
        let held =
            || Unclear::NotProvable { lock_is_held: true, reason: format!("held by {}", record.holder()) };
        return keeper.map_or(Ok(Observed::Nothing), |_| Err(held()));
    }
    match keeper {
        Some(keeper) => under_keeper(place, record, keeper, without_run_record),
        None => without_keeper(place, record),
    }
}

fn under_keeper(
    place: &Place,
    record: Record,
    keeper: ProcessHandle,
    without_run_record: bool,
) -> Result<Observed, Unclear> {
    let unsettled = |what: &str| Unclear::Unsettled(format!("keeper {} {what}", record.keeper.pid));
    let vault = record.vault.ok_or_else(|| unsettled("is starting a vault"))?;
    let Some(vault) = vault.open()? else {
        return Err(unsettled("has not yet ended everything that its vault left behind"));
    };
    let told = match RunRecord::read(&place.folder) {
        Ok(Some(run))
            if run.is_of(place) && run.lock.run_id == record.run_id && run.lock.vault == record.vault =>
        {
            Told {
                run: run.run(),
                binary: run.binary,
                started_ns: run.started_ns,
                folder: place.folder.clone(),
            }
        }
        // It could not be written, or was damaged: its keeper's arguments say the same.
        _ if without_run_record => from_arguments(place, &record).ok_or_else(|| {
            unsettled("has left no record of what it runs, and its arguments cannot be read")
        })?,
        _ => return Err(unsettled("has not recorded yet what it runs")),
    };
    check_process(vault.id, told.binary, record.keeper)
        .map_err(|what| unsettled(&format!("names process {} as its vault, but {what}", vault.id.pid)))?;
    // What the keeper writes is where it was told to write, whatever the vault is called by now.
    let place = Place { folder: told.folder, ..place.clone() };
    let adopted = RunningVault::adopted(place, told.run, record, keeper, vault, told.started_ns)?;
    Ok(Observed::Runs(Box::new(adopted)))
}

/// What a keeper was told to run, and since when it does.
struct Told {
    run: Run,
    binary: FileId,
    started_ns: u64,
    /// Where it keeps its records and the vault's output.
    folder: PathBuf,
}

/// Whether a process is its keeper's child, and executed from the recorded file.
fn check_process(vault: ProcessId, binary: FileId, keeper: ProcessId) -> Result<(), String> {
    let stat = Stat::of(vault.pid).ok().flatten().ok_or("it cannot be seen")?;
    if stat.parent != keeper.pid {
        return Err(format!("that is a child of process {}", stat.parent));
    }
    match FileId::of(format!("/proc/{}/exe", vault.pid).as_ref()) {
        Ok(found) if found == binary => Ok(()),
        Ok(found) => Err(format!(
            "expected it to run inode {} of device {}, found {} of {}",
            binary.inode, binary.device, found.inode, found.device
        )),
        // A client that makes itself private hides its file; the child of its keeper it is nevertheless.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && stat.name == BINARY_NAME => Ok(()),
        Err(error) => Err(format!("its file cannot be seen: {error}")),
    }
}

/// What a living keeper was told to run. When it did is not known: since now, then.
fn from_arguments(place: &Place, record: &Record) -> Option<Told> {
    let arguments = std::fs::read(format!("/proc/{}/cmdline", record.keeper.pid)).ok()?;
    let arguments = arguments.strip_suffix(&[0]).unwrap_or(&arguments);
    let arguments = arguments.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let spec = Spec::try_parse_from(arguments).ok()?;
    let binary = FileId::of(&spec.binary_folder.join(BINARY_NAME)).ok()?;
    let pid = record.vault?.pid;
    let run = Run { run_id: spec.run_id, pid, version: spec.version, checksum: spec.checksum };
    let is_it = spec.place.marker == place.marker && run.run_id == record.run_id;
    (is_it && record.keeper.exists()).then(|| Told {
        run,
        binary,
        started_ns: monotonic_ns(),
        folder: spec.place.folder,
    })
}

fn without_keeper(place: &Place, record: Record) -> Result<Observed, Unclear> {
    let of_this_run = |run: &RunRecord| {
        run.is_of(place) && run.lock.run_id == record.run_id && run.lock.boot_id == record.boot_id
    };
    let run = RunRecord::read(&place.folder).ok().flatten().filter(of_this_run);
    let vault = match record.vault {
        Some(vault) if record.state == Cleanliness::Dirty => vault.open()?,
        _ => None,
    };
    match (vault, run) {
        (Some(vault), Some(run)) => {
            // It is stopped as it was started, whatever the configuration says by now.
            let place = Place { stop_signal: run.stop_signal(), ..place.clone() };
            let alone = RunningVault::adopted_alone(place, run.run(), record, vault, run.started_ns)?;
            Ok(Observed::Runs(Box::new(alone)))
        }
        (_, run) => {
            let exit = ExitRecord::read(&place.folder).ok().flatten().filter(|exit| exit.is_of(&record));
            let status = exit.and_then(|exit| exit.died).map(|death| death.status);
            let (pid, told_to_end) = (record.vault.map(|vault| vault.pid), record.told_to_end);
            Ok(Observed::Gone { run: run.map(|run| run.run()), pid, status, told_to_end })
        }
    }
}

/// Whether a vault of this place is known to have run in this boot.
pub fn has_run(place: &Place) -> bool {
    let record = lock::look_at_record(&place.lock).ok().flatten().filter(|record| record.is_ours(place));
    let run = || RunRecord::read(&place.folder).ok().flatten().filter(|run| run.is_of(place));
    let record = record.or_else(|| run().map(|run| run.lock));
    let boot = super::boot_id().ok();
    record.is_some_and(|record| record.vault.is_some() && Some(record.boot_id) == boot)
}

/// Stops what is there of a place that could not be taken over, if it is provably the place's own, whatever it is.
/// Answers what does not end in its time; `None` when nothing of its own is left.
pub async fn stop_own(place: &Place) -> Option<Processes> {
    match try_to_stop_own(place).await {
        Ok(left) => left,
        Err(what) => Some(Processes::unseen(what)),
    }
}

async fn try_to_stop_own(place: &Place) -> Result<Option<Processes>, String> {
    let unseen = |error: io::Error| format!("cannot see what runs: {error}");
    let Some(record) = open_record(place)? else { return Ok(None) };
    if let Some(keeper) = record.keeper.open().map_err(unseen)? {
        let pid = keeper.id.pid;
        keeper.signal(Signal::TERM);
        // One that is stopped by a signal reads none.
        keeper.signal(Signal::CONT);
        let ended = Readable::new(keeper.descriptor).map_err(unseen)?;
        let limit = place.grace() + LEFTOVER_GRACE + OVERDUE_AFTER;
        if tokio::time::timeout(limit, ended.wait()).await.is_err() {
            let seen = Stat::of(pid).ok().flatten();
            let seen = seen.map_or_else(|| format!("process {pid}"), |stat| stat.describe());
            let what = format!(
                "its keeper, {seen}, was told to stop its vault, and has not for {} s",
                limit.as_secs()
            );
            return Ok(Some(Processes { pids: vec![pid], what }));
        }
    }
    // It has marked its record clean, unless it was killed: then what it kept is ended from here.
    let Some(record) = open_record(place)? else { return Ok(None) };
    let mut ending = Ending::new(place, record, Instant::now()).map_err(unseen)?;
    loop {
        let step = tokio::task::spawn_blocking(move || (ending.proceed(Instant::now()), ending)).await;
        let progress = match step {
            Ok((progress, back)) => {
                ending = back;
                progress.map_err(unseen)?
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        match progress {
            Progress::Gone => return Ok(None),
            Progress::Wait { overdue: Some(left), .. } | Progress::Unproved { what: left, .. } => {
                return Ok(Some(left));
            }
            Progress::Wait { until, overdue: None } => tokio::time::sleep_until(until.into()).await,
        }
    }
}

/// The record of a run of this place's own that may still be there.
fn open_record(place: &Place) -> Result<Option<Record>, String> {
    let unseen = |error: io::Error| format!("cannot see what runs: {error}");
    let record = match lock::look_at_record(&place.lock).map_err(unseen)? {
        Some(record) => Some(record),
        None => RunRecord::read_open(&place.folder)
            .map_err(|error| Chained(&error).to_string())?
            .map(|run| run.lock),
    };
    let own = record.filter(|record| record.is_ours(place));
    Ok(own.filter(|record| record.is_open().unwrap_or(true)))
}
