//! The time of blocks that are made on request.
//!
//! Aura wants each block in a later slot than its parent, and two blocks with the same parent, time and
//! content would be one block and not a fork. So each block gets a slot that no other has: the
//! present one, or the next one after the last that was given away. Blocks made faster than the slots
//! pass are dated into the future.

use std::sync::{Mutex, PoisonError};

use sp_consensus_aura::SlotDuration;
use sp_timestamp::Timestamp;

/// Gives away slots.
#[derive(Debug)]
pub(crate) struct SealClock {
    slot: SlotDuration,
    last: Mutex<Timestamp>,
}

impl SealClock {
    /// A clock for slots of the length `slot`, of which the one at `last` is taken.
    pub(crate) fn new(slot: SlotDuration, last: Timestamp) -> Self {
        Self { slot, last: Mutex::new(last) }
    }

    /// The time of the next block if it is `now`.
    pub(crate) fn next(&self, now: Timestamp) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let following = *last + self.slot.as_millis();
        *last = if now > following { now } else { following };
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_blocks_share_a_slot() {
        let slot = SlotDuration::from_millis(1_000);
        let clock = SealClock::new(slot, Timestamp::new(10_000));
        let times =
            [5_000, 10_500, 20_900, 21_000, 50_000].map(|now| clock.next(Timestamp::new(now)).as_millis());
        assert_eq!(times, [11_000, 12_000, 20_900, 21_900, 50_000]);
        let slots = times.map(|time| time / 1_000);
        assert!(slots.is_sorted_by(|one, next| one < next));
    }
}
