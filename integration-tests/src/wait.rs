//! Waiting for a condition, with a deadline: the only place of the tests that sleeps.

use std::time::{Duration, Instant};

/// How long anything may take that should happen. Far above what is needed (a block is made in 1 s), because a
/// loaded machine must not fail a test; a test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often a condition is looked at: seldom enough to leave the processor to those who are waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Waits until the probe answers `Ok`, at most [`PATIENCE`].
///
/// # Panics
/// At the deadline, with what the probe saw last: its `Err`.
pub async fn until<T>(what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, probe).await
}

/// Waits until the probe answers `Ok`, at most as long as given.
///
/// # Panics
/// At the deadline, with what the probe saw last: its `Err`.
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if start.elapsed() >= deadline => {
                panic!("waited {deadline:?} for {what}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}
