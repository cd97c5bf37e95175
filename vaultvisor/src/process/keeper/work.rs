//! What is done to a vault's data between the lock and the execution.
//!
//! Snapshots are copied by the keeper itself: a copying child would have to be found and ended after its keeper was
//! killed, and this cannot outlive it. The state migration is a stranger's program and a child like the vault: it
//! inherits the lock, carries the marker, dies with its keeper, and everything that it leaves behind is ended before
//! anything else is done.

use std::{
    io,
    ops::ControlFlow,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::{
    super::{
        lock::{AccountLock, Cleanliness, Record},
        output::{Drain, complain},
        protocol::{ExitStatus, MIGRATE, Report, SNAPSHOT, Spec},
        stop::{Due, KILL_AGAIN, Stop, pid_of},
    },
    Reaped, Talk,
    execute::{NotExecuted, Prepared},
    next_signal, reap, wait_for,
};
use crate::{
    error_chain::Chained,
    migrate::snapshot::{self, Done, Pass, SnapshotError},
};

/// Between two looks whether the work is still wanted: soon for whoever waits, and nothing against a copy.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between two reports of a copy that goes on.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// A keeper between the lock and the execution.
pub(super) struct Worker<'a> {
    pub(super) spec: &'a Spec,
    pub(super) prepared: &'a Prepared,
    pub(super) lock: &'a AccountLock,
    pub(super) signals: &'a OwnedFd,
    pub(super) talk: &'a mut Talk,
    pub(super) drain: &'a mut Drain,
}

impl Worker<'_> {
    /// Does what was commanded, and answers what to report of it.
    pub(super) fn carry_out(&mut self, command: u8, record: &mut Record) -> io::Result<Report> {
        let work = &self.spec.work;
        let Some(data) = work.data_dir.clone() else { return Ok(failed("there is no data folder")) };
        if command == MIGRATE {
            return self.migrate(&data, record);
        }
        let Some(copy) = work.snapshot.clone() else { return Ok(failed("there is no snapshot")) };
        // What is restored if the migration fails must be on the disk before that is begun; else the disk has time.
        let sync = work.migration_folder.is_some();
        let outcome = self.copy(|meanwhile| match command {
            SNAPSHOT => snapshot::take(&data, &copy, Pass::Second, sync, meanwhile),
            _ => snapshot::restore(&copy, &data, meanwhile),
        });
        Ok(match outcome {
            Ok(Done { copied, bytes, not_kept, .. }) => Report::Worked { copied, bytes, not_kept },
            Err(error) => failed(&Chained(&error).to_string()),
        })
    }

    /// Copies for as long as vaultvisor is there and wants it.
    fn copy(
        &mut self,
        pass: impl FnOnce(snapshot::Meanwhile<'_>) -> Result<Done, SnapshotError>,
    ) -> Result<Done, SnapshotError> {
        let (mut looked_at, mut reported_at) = (Instant::now(), Instant::now());
        pass(&mut |done: Done| {
            let now = Instant::now();
            if now.duration_since(looked_at) < LOOK_EVERY {
                return ControlFlow::Continue(());
            }
            looked_at = now;
            if !self.is_wanted() {
                return ControlFlow::Break(());
            }
            if now.duration_since(reported_at) >= REPORT_EVERY {
                reported_at = now;
                let Done { entries, bytes, .. } = done;
                if self.talk.say(&Report::Working { entries, bytes }).is_err() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// Nothing is said to us before we have answered: readable means that vaultvisor is gone.
    fn is_wanted(&self) -> bool {
        let watched = [Some(self.signals.as_fd()), Some(self.talk.vaultvisor.as_fd())];
        match wait_for(watched, Some(Instant::now())) {
            Ok([_, true]) => false,
            Ok([signalled, false]) => !signalled || !self.is_told_to_end(),
            Err(_) => false,
        }
    }

    fn is_told_to_end(&self) -> bool {
        let mut told = false;
        while let Ok(Some(signal)) = next_signal(self.signals) {
            told |= signal == Signal::TERM.as_raw();
        }
        told
    }

    fn migrate(&mut self, data: &Path, record: &mut Record) -> io::Result<Report> {
        self.drain.make_log();
        let outcome = match self.prepared.migrate(data, self.lock, self.drain.vault(), record) {
            Ok(process) => {
                let ended = self.until_migrated(pid_of(process)?);
                ended.map_err(|reason| NotExecuted { reason, by_machine: false })
            }
            Err(not_executed) => Err(not_executed),
        };
        // Nothing of it is left, or was ever there.
        record.vault = None;
        record.state = Cleanliness::Clean;
        self.lock.write(record)?;
        Ok(match outcome {
            Ok(()) => match snapshot::sync_filesystem(data) {
                Ok(()) => Report::Worked { copied: 0, bytes: 0, not_kept: 0 },
                Err(error) => failed(&Chained(&error).to_string()),
            },
            Err(NotExecuted { reason, by_machine: true }) => failed(&reason),
            Err(NotExecuted { reason, by_machine: false }) => Report::MigrationFailed { reason },
        })
    }

    /// Waits until the migration and all that it started has ended, and ends it when its time is over.
    fn until_migrated(&mut self, main: Pid) -> Result<(), String> {
        let limit = Duration::from_millis(self.spec.work.migration_ms);
        let deadline = Instant::now() + limit;
        // No grace: what it has not done by then is restored anyway.
        let mut stop = Stop::new(main, Signal::KILL, Duration::ZERO);
        let (mut status, mut cut) = (None, None);
        loop {
            match reap(main) {
                Reaped::Main(ended) if status.is_none() => {
                    status = Some(ended);
                    stop.main_has_ended(Instant::now());
                    continue;
                }
                Reaped::All => break,
                Reaped::Main(_) | Reaped::None => {}
            }
            if cut.is_none() && status.is_none() && Instant::now() >= deadline {
                cut = Some(format!(
                    "the state-migration did not end within {} s and was killed",
                    limit.as_secs()
                ));
                stop.begin(Instant::now());
            }
            // Whatever cannot be seen or waited for, it is not left while something of it may run.
            let due = stop.proceed(Instant::now()).unwrap_or_else(|error| {
                complain(&format!("cannot see what a state-migration left behind: {error}"));
                Due { at: Some(Instant::now() + KILL_AGAIN), overdue: false }
            });
            let limit_at = (cut.is_none() && status.is_none()).then_some(deadline);
            let until = [due.at, limit_at].into_iter().flatten().min();
            let socket = cut.is_none().then(|| self.talk.vaultvisor.as_fd());
            let watched = [Some(self.signals.as_fd()), Some(self.drain.reader().as_fd()), socket];
            let [signalled, printed, gone] = wait_for(watched, until).unwrap_or_else(|error| {
                complain(&format!("cannot wait: {error}"));
                std::thread::sleep(KILL_AGAIN);
                [false; 3]
            });
            if printed {
                self.drain.drain();
            }
            // Read also when nothing follows from it: a signal that is left there ends every later wait at once.
            let told = signalled && self.is_told_to_end();
            if cut.is_none() && (gone || told) {
                cut = Some("the state-migration was given up".to_owned());
                stop.begin(Instant::now());
            }
        }
        self.drain.drain();
        match (cut, status) {
            (Some(cut), _) => Err(cut),
            (None, Some(ExitStatus::Code(0))) => Ok(()),
            (None, Some(ExitStatus::Code(code))) => {
                Err(format!("the state-migration ended with exit code {code}, expected 0"))
            }
            (None, Some(ExitStatus::Signal(signal))) => {
                Err(format!("the state-migration was ended by signal {signal}"))
            }
            (None, None) => Err("the state-migration is gone, and nobody saw how it ended".to_owned()),
        }
    }
}

fn failed(reason: &str) -> Report {
    Report::Failed { reason: reason.to_owned(), by_machine: true }
}
