//! What is still there of a run that lost its keeper, and its end.
//!
//! The kernel sends a vault its stop signal when its keeper dies. One that does not end from that is given
//! its grace, is asked once more in the middle of it (not at once: to many programs a second signal means to
//! give up an orderly end) and is killed after it; then what it left behind gets SIGTERM, and SIGKILL two
//! seconds later. The new keeper does it before it goes on, and vaultvisor when the keeper of a vault that it
//! watches is killed. Every signal goes to a handle on a process that was recognised, never to a number.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    StopSignal,
    id::{ProcessHandle, Processes, Stat},
    lock::{self, Record},
    protocol::Place,
    search::{Found, Scope, search},
    stop::{KILL_AGAIN, LEFTOVER_GRACE, OVERDUE_AFTER},
};

/// Between two looks: what is waited for here are ends that take a vault seconds.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The end of a run's survivors, under way.
#[derive(Debug)]
pub struct Ending {
    place: Place,
    record: Record,
    signal: StopSignal,
    main: Option<ProcessHandle>,
    ask_again_at: Option<Instant>,
    kill_main_at: Instant,
    /// Set once the main process has ended.
    kill_rest_at: Option<Instant>,
    asked: BTreeSet<u32>,
    /// Whether whoever ends it holds the account's lock.
    under_lock: bool,
}

/// What is left of a run, for people.
#[derive(Debug)]
pub enum Left {
    /// Processes of it.
    Recognised(Processes),
    /// Only processes that may be of it or not.
    Unproved(Processes),
}

/// Where it stands.
#[derive(Debug)]
pub enum Progress {
    /// Nothing is left, or someone else has proved so meanwhile.
    Gone,
    /// Something is.
    Wait {
        /// When to look again.
        until: Instant,
        /// What is left, if it has had its time and ten seconds more.
        overdue: Option<Processes>,
    },
    /// Only these are left that may be of the run or not, and nothing is done to them.
    Unproved {
        /// When to look again.
        until: Instant,
        /// They.
        what: Processes,
    },
}

impl Ending {
    /// For the run of a record whose keeper has ended.
    pub fn new(place: &Place, record: Record, now: Instant) -> io::Result<Self> {
        let main = record.vault.map(|vault| vault.open()).transpose()?.flatten();
        Ok(Self {
            place: place.clone(),
            record,
            signal: place.stop_signal,
            main,
            ask_again_at: Some(now + place.grace() / 2),
            kill_main_at: now + place.grace(),
            kill_rest_at: None,
            asked: BTreeSet::new(),
            under_lock: false,
        })
    }

    /// The same, by the holder of the account's lock: then nobody else can prove meanwhile that nothing is left, and
    /// what a file at the lock's path says by now, which may be another file, is no proof.
    pub fn under_lock(self) -> Self {
        Self { under_lock: true, ..self }
    }

    /// Whether the main process has ended.
    pub fn main_has_ended(&mut self) -> io::Result<bool> {
        if self.main.as_ref().map_or(Ok(true), ProcessHandle::has_ended)? {
            self.main = None;
        }
        Ok(self.main.is_none())
    }

    /// What is left; `None` when nothing is.
    pub fn left(&mut self) -> io::Result<Option<Left>> {
        let found = self.search()?;
        let main = if self.main_has_ended()? { None } else { self.main.as_ref() };
        let main = main.map(|main| Stat::of(main.id.pid)).transpose()?.flatten();
        let rest = found.marked.iter().filter(|stat| main.as_ref().is_none_or(|main| main.id != stat.id));
        let recognised = Processes::of(main.iter().chain(rest).map(Stat::described));
        Ok(match (recognised.is_empty(), found.private.is_empty()) {
            (false, _) => Some(Left::Recognised(recognised)),
            (true, false) => Some(Left::Unproved(found.describe())),
            (true, true) => None,
        })
    }

    fn search(&self) -> io::Result<Found> {
        search(&self.place.marker, &Scope::of(&self.record))
    }

    /// Does what is due; to be called until it answers `Gone`.
    pub fn proceed(&mut self, now: Instant) -> io::Result<Progress> {
        if self.is_over()? {
            return Ok(Progress::Gone);
        }
        let overdue_from = if !self.main_has_ended()? {
            self.end_main(now);
            self.kill_main_at
        } else {
            let rest_of_grace = self.kill_main_at.saturating_duration_since(now);
            let kill_at = *self.kill_rest_at.get_or_insert(now + rest_of_grace.min(LEFTOVER_GRACE));
            let found = self.search()?;
            if found.is_empty() {
                return Ok(Progress::Gone);
            }
            if found.marked.is_empty() {
                return Ok(Progress::Unproved { until: now + LOOK_EVERY, what: found.describe() });
            }
            for stat in &found.marked {
                let Some(process) = stat.id.open()? else { continue };
                if now >= kill_at {
                    process.signal(Signal::KILL);
                } else if self.asked.insert(stat.id.pid) {
                    process.signal(Signal::TERM);
                    process.signal(Signal::CONT);
                }
            }
            kill_at
        };
        let left = if now >= overdue_from + OVERDUE_AFTER { self.left()? } else { None };
        let overdue = left.map(|(Left::Recognised(what) | Left::Unproved(what))| what);
        let pause = if overdue.is_some() { KILL_AGAIN } else { LOOK_EVERY };
        Ok(Progress::Wait { until: now + pause, overdue })
    }

    fn end_main(&mut self, now: Instant) {
        let Some(main) = &self.main else { return };
        if self.ask_again_at.is_some_and(|at| now >= at) {
            self.ask_again_at = None;
            main.signal(self.signal.signal());
            main.signal(Signal::CONT);
        }
        if now >= self.kill_main_at {
            main.signal(Signal::KILL);
        }
    }

    /// Whether the lock's record is of another run by now, or clean: then someone else has proved that
    /// nothing is left, and what carries the marker now is not this run's.
    fn is_over(&self) -> io::Result<bool> {
        if self.under_lock {
            return Ok(false);
        }
        let record = lock::look_at_record(&self.place.lock)?;
        Ok(record
            .is_some_and(|record| record.run_id != self.record.run_id || !record.is_open().unwrap_or(true)))
    }
}
