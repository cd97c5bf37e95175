//! Ending a vault and everything that it started.
//!
//! The stop signal and SIGCONT (a stopped process handles no signal), SIGKILL when the grace is over; once
//! the main process has ended, SIGTERM to what it left behind, SIGKILL after the rest of the grace but at
//! most two seconds, until `wait` says that no child is left. The keeper is the subreaper of all of them, so
//! a grandchild with a session of its own becomes its child and cannot hide.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// What a vault left behind gets this long after SIGTERM: helpers hold no keys and need no more.
const LEFTOVER_GRACE: Duration = Duration::from_secs(2);
/// Between two rounds of signals to what was left behind: each round finds what the last one made ours.
const LEFTOVER_ROUND: Duration = Duration::from_millis(20);

/// The state of one stop.
#[derive(Debug)]
pub struct Stop {
    signal: Signal,
    grace: Duration,
    /// Set once the stop was asked for: when the grace is over.
    kill_main_at: Option<Instant>,
    /// Set once the main process has ended: when the leftovers are killed.
    kill_leftovers_at: Option<Instant>,
    next_round_at: Option<Instant>,
}

impl Stop {
    /// A stop that has not begun.
    pub fn new(signal: Signal, grace: Duration) -> Self {
        Self { signal, grace, kill_main_at: None, kill_leftovers_at: None, next_round_at: None }
    }

    /// Asks the main process to end. Asked again, it changes nothing: the first grace goes on.
    pub fn begin(&mut self, main: Pid) {
        if self.kill_main_at.is_none() {
            self.kill_main_at = Some(Instant::now() + self.grace);
            send(main, self.signal);
            send(main, Signal::CONT);
        }
    }

    /// The main process has ended: from now on its leftovers are ended, whatever it ended from.
    pub fn main_has_ended(&mut self) {
        let now = Instant::now();
        let rest_of_grace = self.kill_main_at.map_or(LEFTOVER_GRACE, |at| at.saturating_duration_since(now));
        self.kill_main_at = None;
        self.kill_leftovers_at = Some(now + rest_of_grace.min(LEFTOVER_GRACE));
        self.next_round_at = Some(now);
    }

    /// Sends what is due now; answers when to call again.
    pub fn proceed(&mut self, main: Pid) -> Option<Instant> {
        let now = Instant::now();
        if let Some(at) = self.kill_main_at
            && now >= at
        {
            send(main, Signal::KILL);
            // A process that the kernel holds is killed once it lets go; sending again costs nothing.
            self.kill_main_at = Some(now + Duration::from_secs(1));
        }
        if let (Some(kill_at), Some(round_at)) = (self.kill_leftovers_at, self.next_round_at)
            && now >= round_at
        {
            let signal = if now >= kill_at { Signal::KILL } else { Signal::TERM };
            for child in children() {
                send(child, signal);
                send(child, Signal::CONT);
            }
            self.next_round_at = Some(now + LEFTOVER_ROUND);
        }
        [self.kill_main_at, self.next_round_at].into_iter().flatten().min()
    }
}

/// A signal to a child that was not waited for yet, so that its pid cannot be another's.
fn send(process: Pid, signal: Signal) {
    // It may have ended in between: then there is nothing to signal.
    let _ = kill_process(process, signal);
}

/// The children of this single-threaded process.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let list = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
