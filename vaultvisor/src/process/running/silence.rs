//! What follows from a keeper that says nothing.
//!
//! A keeper says at once when its vault has ended, and in time when a stop does not come to its end. One that is stopped by
//! a signal or a debugger, or held by a disk that does not answer, says nothing, and its vault would be taken to run, or to
//! be ending, for ever. Nothing that is done about it starts anything: only its own end gives up its lock.

use std::time::{Duration, Instant};

use super::super::stop::{LEFTOVER_GRACE, OVERDUE_AFTER};

/// A keeper tells of the end of its vault within milliseconds, on a machine that swaps within a second or two. One that is
/// stopped by a signal goes on then.
const CONTINUED_AFTER: Duration = Duration::from_secs(2);
/// … and what it has not told in this time nobody will have seen: long enough not to lose how a vault ended, and short
/// against what its operator loses while it is taken to run.
const UNSEEN_AFTER: Duration = Duration::from_secs(5);
/// What does not end is told by its keeper when it has had its time and ten seconds more; three for a busy machine.
const SILENT_AFTER: Duration =
    LEFTOVER_GRACE.saturating_add(OVERDUE_AFTER).saturating_add(Duration::from_secs(3));

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Have the keeper go on, if it is stopped by a signal.
    Continue,
    /// Say that the vault has ended, and that nobody saw how.
    Unseen,
    /// Name the keeper.
    Name,
}

/// What is known of a vault and what its keeper has said of it.
#[derive(Debug, Default)]
pub(super) struct Silence {
    grace: Duration,
    /// When the keeper was asked to stop the vault.
    asked_at: Option<Instant>,
    /// When the vault was seen to have ended, whatever its keeper says.
    vault_ended_at: Option<Instant>,
    continued: bool,
    /// When its end was told.
    died_at: Option<Instant>,
    /// Whether that was without its keeper's word.
    unseen: bool,
    /// Whether the keeper has said what does not end: then it is not silent.
    answered: bool,
    named_at: Option<Instant>,
}

impl Silence {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, ..Self::default() }
    }

    /// The keeper was asked to stop the vault.
    pub(super) fn asked(&mut self, at: Instant) {
        self.asked_at.get_or_insert(at);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked_at.is_some()
    }

    /// The vault has ended: that is seen, and was not told.
    pub(super) fn vault_has_ended(&mut self, at: Instant) {
        self.vault_ended_at.get_or_insert(at);
    }

    pub(super) fn vault_is_gone(&self) -> bool {
        self.vault_ended_at.is_some()
    }

    /// Its end was told.
    pub(super) fn has_died(&mut self, at: Instant) {
        self.died_at.get_or_insert(at);
    }

    /// The keeper has said what does not end.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    /// When something is due next, if the keeper goes on saying nothing.
    pub(super) fn next(&self) -> Option<Instant> {
        self.coming().map(|(at, _)| at)
    }

    /// What is due now; to be asked again after it was done.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let (_, due) = self.coming().filter(|(at, _)| now >= *at)?;
        match due {
            Due::Continue => self.continued = true,
            Due::Unseen => {
                self.has_died(now);
                self.unseen = true;
            }
            Due::Name => self.named_at = Some(now),
        }
        Some(due)
    }

    fn coming(&self) -> Option<(Instant, Due)> {
        if self.answered {
            return None;
        }
        let stop_is_late = self.asked_at.map(|asked_at| asked_at + self.grace + SILENT_AFTER);
        if let (Some(ended_at), None) = (self.vault_ended_at, self.died_at) {
            // In a stop its keeper may be waiting for its end too, as for a debugger to take it, and says so in time.
            let unseen_at =
                stop_is_late.map_or(ended_at + UNSEEN_AFTER, |late| late.max(ended_at + UNSEEN_AFTER));
            return Some(match self.continued {
                false => (ended_at + CONTINUED_AFTER, Due::Continue),
                true => (unseen_at, Due::Unseen),
            });
        }
        let late = match (self.died_at, self.vault_ended_at) {
            (Some(told_at), Some(ended_at)) if self.unseen => told_at.max(ended_at + SILENT_AFTER),
            (Some(died_at), _) => died_at + SILENT_AFTER,
            (None, _) => stop_is_late?,
        };
        let again = self.named_at.map(|named_at| named_at + OVERDUE_AFTER);
        Some((again.map_or(late, |again| again.max(late)), Due::Name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    /// All that is due in so long, with the seconds from the beginning.
    fn all_due(mut silence: Silence, start: Instant, within: Duration) -> Vec<(u64, Due)> {
        let mut all = Vec::new();
        while let Some(at) = silence.next().filter(|at| *at <= start + within) {
            assert_eq!(silence.due(at - Duration::from_millis(1)), None, "too early");
            all.push((at.duration_since(start).as_secs(), silence.due(at).expect("it was said to be due")));
        }
        all
    }

    #[test]
    fn nothing_is_expected_of_a_keeper_whose_vault_runs() {
        assert_eq!(Silence::new(GRACE).next(), None);
    }

    #[test]
    fn an_end_of_which_the_keeper_says_nothing_is_told_without_it_and_the_keeper_is_named() {
        let start = Instant::now();
        let mut silence = Silence::new(GRACE);
        silence.vault_has_ended(start);
        let due = all_due(silence, start, Duration::from_secs(20));
        assert_eq!(due, [(2, Due::Continue), (5, Due::Unseen), (15, Due::Name)]);
    }

    #[test]
    fn a_stop_of_which_nothing_is_heard_is_told_when_its_keeper_should_have() {
        let start = Instant::now();
        let mut silence = Silence::new(GRACE);
        silence.asked(start);
        silence.asked(start + GRACE);
        assert_eq!(all_due(silence, start, Duration::from_secs(80)), [(75, Due::Name)]);
    }

    #[test]
    fn in_a_stop_the_keeper_may_say_first_what_does_not_end() {
        let start = Instant::now();
        let mut silence = Silence::new(GRACE);
        silence.asked(start);
        silence.vault_has_ended(start + Duration::from_secs(1));
        let due = all_due(silence, start, Duration::from_secs(80));
        assert_eq!(due, [(3, Due::Continue), (75, Due::Unseen), (75, Due::Name)]);
    }

    #[test]
    fn what_is_left_behind_has_its_time_from_the_end_that_was_told() {
        let start = Instant::now();
        let mut silence = Silence::new(GRACE);
        silence.asked(start);
        silence.vault_has_ended(start + Duration::from_secs(1));
        silence.has_died(start + Duration::from_secs(1));
        assert_eq!(all_due(silence, start, Duration::from_secs(20)), [(16, Due::Name)]);
    }

    #[test]
    fn a_keeper_that_says_what_does_not_end_is_not_silent() {
        let start = Instant::now();
        let mut silence = Silence::new(GRACE);
        silence.asked(start);
        silence.answered();
        assert_eq!(silence.next(), None);
    }
}
