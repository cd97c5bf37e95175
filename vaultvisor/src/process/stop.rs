//! Ending a vault and everything that it started.
//!
//! The stop signal and SIGCONT (a stopped process handles no signal), SIGKILL when the grace is over; once
//! the main process has ended, SIGTERM to its descendants, SIGKILL after the rest of the grace but at most
//! two seconds, until `wait` says that no child is left. The keeper is the subreaper of all of them, so a
//! grandchild with a session of its own becomes its child and cannot hide.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    ProcessId,
    id::{Processes, Stat, all_processes},
};

/// What a vault left behind gets this long after SIGTERM: helpers hold no keys and need no more.
pub(super) const LEFTOVER_GRACE: Duration = Duration::from_secs(2);
/// A killed process ends within milliseconds, unless the kernel holds it: then people should know.
pub(super) const OVERDUE_AFTER: Duration = Duration::from_secs(10);
/// Between two rounds of signals to what was left behind: each round finds what the last one made ours.
const LEFTOVER_ROUND: Duration = Duration::from_millis(20);
/// A process that forks and ends at once outruns one round of kills; it hardly outruns so many on end.
const KILL_PASSES: u32 = 8;
/// Killing again what was killed: the kernel may not have let go of it.
pub(super) const KILL_AGAIN: Duration = Duration::from_secs(1);

/// The state of one stop.
#[derive(Debug)]
pub struct Stop {
    signal: Signal,
    grace: Duration,
    main: Pid,
    main_has_ended: bool,
    /// Set once the stop was asked for: when the grace is over.
    kill_main_at: Option<Instant>,
    /// Set once the main process has ended: when the leftovers are killed.
    kill_leftovers_at: Option<Instant>,
    next_round_at: Option<Instant>,
    overdue_at: Option<Instant>,
    /// What SIGTERM was sent to: a program may take a second one for an order to give up an orderly end.
    asked: BTreeSet<u32>,
}

/// What a stop needs next.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// When to call again, if nothing happens before.
    pub at: Option<Instant>,
    /// Whether it has had its time and ten seconds more; said every ten seconds.
    pub overdue: bool,
}

impl Stop {
    /// A stop of this child that has not begun.
    pub fn new(main: Pid, signal: Signal, grace: Duration) -> Self {
        Self {
            signal,
            grace,
            main,
            main_has_ended: false,
            kill_main_at: None,
            kill_leftovers_at: None,
            next_round_at: None,
            overdue_at: None,
            asked: BTreeSet::new(),
        }
    }

    /// Asks the main process to end, and answers whether that is new. Asked again, it changes nothing: the first grace
    /// goes on.
    pub fn begin(&mut self, now: Instant) -> bool {
        let begins = self.kill_main_at.is_none() && !self.main_has_ended;
        if begins {
            let kill_at = now + self.grace;
            self.kill_main_at = Some(kill_at);
            self.overdue_at = Some(kill_at + OVERDUE_AFTER);
            send(self.main, self.signal);
            send(self.main, Signal::CONT);
        }
        begins
    }

    /// The main process has ended: from now on its leftovers are ended, whatever it ended from.
    pub fn main_has_ended(&mut self, now: Instant) {
        let rest_of_grace = self.kill_main_at.map_or(LEFTOVER_GRACE, |at| at.saturating_duration_since(now));
        let kill_at = now + rest_of_grace.min(LEFTOVER_GRACE);
        self.main_has_ended = true;
        self.kill_main_at = None;
        self.kill_leftovers_at = Some(kill_at);
        self.next_round_at = Some(now);
        self.overdue_at = Some(kill_at + OVERDUE_AFTER);
    }

    /// Sends what is due now.
    pub fn proceed(&mut self, now: Instant) -> io::Result<Due> {
        if let Some(at) = self.kill_main_at
            && now >= at
        {
            send(self.main, Signal::KILL);
            self.kill_main_at = Some(now + KILL_AGAIN);
        }
        if let (Some(kill_at), Some(round_at)) = (self.kill_leftovers_at, self.next_round_at)
            && now >= round_at
        {
            if now >= kill_at {
                self.kill_leftovers()?
            } else {
                self.ask_leftovers()?
            }
            self.next_round_at = Some(now + pause_after_round(now, kill_at));
        }
        let overdue = self.overdue_at.is_some_and(|at| now >= at);
        if overdue {
            self.overdue_at = Some(now + OVERDUE_AFTER);
        }
        let at = [self.kill_main_at, self.next_round_at, self.overdue_at].into_iter().flatten().min();
        Ok(Due { at, overdue })
    }

    /// What is left, for people.
    pub fn left(&self) -> io::Result<Processes> {
        Ok(Processes::of(descendants()?.iter().map(Stat::described)))
    }

    fn ask_leftovers(&mut self) -> io::Result<()> {
        for leftover in descendants()? {
            if self.asked.insert(leftover.id.pid) {
                signal_descendant(&leftover, Signal::TERM)?;
                signal_descendant(&leftover, Signal::CONT)?;
            }
        }
        Ok(())
    }

    fn kill_leftovers(&self) -> io::Result<()> {
        let mut killed = BTreeSet::new();
        for _ in 0..KILL_PASSES {
            let mut news = false;
            for leftover in descendants()?.iter().filter(|leftover| leftover.state != 'Z') {
                news |= killed.insert(leftover.id.pid);
                signal_descendant(leftover, Signal::KILL)?;
            }
            if !news {
                break;
            }
        }
        Ok(())
    }
}

/// How long after one round of signals to leftovers the next one follows: what is held for longer than a kill takes is
/// held by the kernel or a debugger, and to look through all processes all the time does not help it.
fn pause_after_round(now: Instant, kill_at: Instant) -> Duration {
    if now >= kill_at + OVERDUE_AFTER { KILL_AGAIN } else { LEFTOVER_ROUND }
}

/// A signal to a child that was not waited for yet, so that its pid cannot be another's.
fn send(process: Pid, signal: Signal) {
    // It may have ended in between: then there is nothing to signal.
    let _ = kill_process(process, signal);
}

/// A signal to a process below us. Its own parent may have waited for it, and its number may be another's.
fn signal_descendant(process: &Stat, signal: Signal) -> io::Result<()> {
    if let Some(handle) = process.id.open()? {
        handle.signal(signal);
    }
    Ok(())
}

/// Every process below this one.
fn descendants() -> io::Result<Vec<Stat>> {
    let mut others = all_processes()?;
    let mut below = Vec::new();
    let mut parents = BTreeSet::from([std::process::id()]);
    loop {
        let (found, rest): (Vec<Stat>, Vec<Stat>) =
            others.into_iter().partition(|stat| parents.contains(&stat.parent));
        if found.is_empty() {
            return Ok(below);
        }
        parents = found.iter().map(|stat| stat.id.pid).collect();
        below.extend(found);
        others = rest;
    }
}

/// The keeper's child with this number.
pub(super) fn pid_of(process: ProcessId) -> io::Result<Pid> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stop of a process that is none, so that nothing is signalled.
    fn stop_of_nothing(grace: Duration) -> Stop {
        Stop::new(Pid::from_raw(i32::MAX).expect("a number"), Signal::CONT, grace)
    }

    #[test]
    fn a_main_process_that_does_not_end_is_overdue_ten_seconds_after_its_grace() {
        let start = Instant::now();
        let grace = Duration::from_secs(60);
        let mut stop = stop_of_nothing(grace);
        stop.begin(start);
        assert_eq!(stop.proceed(start).expect("seen"), Due { at: Some(start + grace), overdue: false });
        let late = start + grace + OVERDUE_AFTER;
        assert!(!stop.proceed(late - Duration::from_millis(1)).expect("seen").overdue);
        assert!(stop.proceed(late).expect("seen").overdue);
        assert!(!stop.proceed(late + Duration::from_secs(9)).expect("seen").overdue);
        assert!(stop.proceed(late + Duration::from_secs(10)).expect("seen").overdue, "it is said again");
    }

    #[test]
    fn what_does_not_go_is_looked_for_all_the_time_until_it_is_overdue_and_once_a_second_then() {
        let kill_at = Instant::now();
        let overdue_at = kill_at + OVERDUE_AFTER;
        assert_eq!(pause_after_round(overdue_at - Duration::from_millis(1), kill_at), LEFTOVER_ROUND);
        assert_eq!(pause_after_round(overdue_at, kill_at), KILL_AGAIN);
    }

    #[test]
    fn a_second_request_does_not_lengthen_the_grace() {
        let start = Instant::now();
        let mut stop = stop_of_nothing(Duration::from_secs(60));
        stop.begin(start);
        stop.begin(start + Duration::from_secs(30));
        assert_eq!(stop.proceed(start).expect("seen").at, Some(start + Duration::from_secs(60)));
    }

    #[test]
    fn leftovers_get_the_rest_of_the_grace_but_at_most_two_seconds() {
        let start = Instant::now();
        for (grace, ended_after, killed_after) in [(60, 1, 3), (60, 59, 60), (5, 5, 5)] {
            let mut stop = stop_of_nothing(Duration::from_secs(grace));
            stop.begin(start);
            stop.main_has_ended(start + Duration::from_secs(ended_after));
            assert_eq!(stop.kill_leftovers_at, Some(start + Duration::from_secs(killed_after)));
        }
        let mut crashed = stop_of_nothing(Duration::from_secs(60));
        crashed.main_has_ended(start);
        assert_eq!(crashed.kill_leftovers_at, Some(start + LEFTOVER_GRACE));
    }
}
