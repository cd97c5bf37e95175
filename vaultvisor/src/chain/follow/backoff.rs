//! When to try again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The waits after rounds in which every endpoint failed, or after failures of one that is followed beside others,
/// grow from the first to the last.
///
/// A restarting node is back within seconds, so the first is short. A quarter of a minute at most keeps an
/// operator who just repaired something from waiting, and even a thousand operators ask a public endpoint that
/// is down no more than a hundred times a second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// The wait after the `round`th failure in a row (from 1).
pub(super) fn backoff(round: u32) -> Duration {
    jittered(round, RandomState::new().hash_one(0))
}

/// Doubling, and somewhere between half of it and all of it, so that operators do not come back to a recovered
/// endpoint all at once.
fn jittered(round: u32, random: u64) -> Duration {
    let (first, last) = BACKOFF;
    let full = first.saturating_mul(1_u32.checked_shl(round.saturating_sub(1)).unwrap_or(u32::MAX)).min(last);
    let half = full / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_jittered_by_half() {
        let bounds: Vec<(u64, u64)> = (1..=9)
            .map(|round| {
                (jittered(round, 0).as_millis() as u64, jittered(round, u64::MAX).as_millis() as u64)
            })
            .collect();
        assert_eq!(bounds[..3], [(500, 1_000), (1_000, 2_000), (2_000, 4_000)]);
        assert_eq!(bounds[4..], [(7_500, 15_000); 5]);
        assert_eq!(jittered(u32::MAX, u64::MAX), Duration::from_secs(15));
    }
}
