//! Rule 11, time: one clock that no change of the wall clock moves, and waits that never grow.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the clock of this boot (`CLOCK_MONOTONIC`), in milliseconds.
///
/// It never jumps with the wall clock, is that of the runtime's timers, and stands while the machine sleeps: a
/// vault that was asleep has proved nothing. It is comparable across restarts of vaultvisor but not across boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment that much later.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(millis(wait)))
    }
}

/// A boot of the machine; moments of another one mean nothing in this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

/// Now, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The clock that every wait is measured on.
    pub moment: Moment,
    /// Milliseconds since 1970; only ever shown to people.
    pub unix_ms: u64,
}

impl Now {
    /// Whole seconds since 1970.
    pub fn unix_secs(self) -> u64 {
        self.unix_ms / 1000
    }
}

/// A wait that may outlive the process: until when, and how long it was when it began.
///
/// After a restart it is never longer than its own length, whatever the clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// When it is over.
    pub until: Moment,
    /// Its whole length in milliseconds.
    pub length_ms: u64,
}

impl Wait {
    /// A wait that begins now.
    pub fn start(now: Moment, length: Duration) -> Self {
        let until = now.after(length);
        Self { until, length_ms: until.0 - now.0 }
    }

    /// A wait that is over now, and stays so after a reboot.
    pub fn over(now: Moment) -> Self {
        Self { until: now, length_ms: 0 }
    }

    /// Whether it is over.
    pub fn is_over(self, now: Moment) -> bool {
        now >= self.until
    }

    /// The same wait, cut to its own length from now.
    pub fn bounded(self, now: Moment) -> Self {
        let latest = Moment(now.0.saturating_add(self.length_ms));
        Self { until: self.until.min(latest), ..self }
    }

    /// The wait as a new vaultvisor takes it over: in the same boot it goes on, in another, where its end
    /// means nothing, it begins again. So it is never shorter than it was meant to be nor longer from now.
    pub(super) fn recovered(self, now: Moment, same_boot: bool) -> Self {
        if same_boot { self.bounded(now) } else { Self::start(now, Duration::from_millis(self.length_ms)) }
    }

    /// How much of it is left, in milliseconds.
    pub fn left_ms(self, now: Moment) -> u64 {
        self.until.0.saturating_sub(now.0)
    }

    /// When it is over, or was, in whole seconds since 1970; what waits for it does not begin later than that.
    ///
    /// From now on the wall clock, so that a jump of that shows, and in milliseconds, because the seconds of the two clocks
    /// do not begin together: the answer would be one second or the next, depending on when it is asked for.
    pub fn over_at_unix_secs(self, now: Now) -> u64 {
        now.unix_ms.saturating_add(self.until.0).saturating_sub(now.moment.0).div_ceil(1000)
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
