//! How many starts and switches are under way at once.
//!
//! A release for hundreds of vaults is one moment's news for all of them. If all were stopped at once, each would be
//! down for as long as all need to start; in turns, each is down for as long as it needs itself, and those that wait for
//! theirs run on.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// For each processor: one computes (its file's hash, its own start) while another waits (for the old one's end).
const FOR_EACH_PROCESSOR: usize = 2;

/// After this long the next one has its turn too: what takes longer does not compute but waits, for an old vault that
/// takes its time to end say, or for a copy of data. A vault that hangs must hold up no other.
const LONGEST: Duration = Duration::from_secs(2);

/// The turns of all vaults of one daemon.
#[derive(Debug)]
pub(super) struct Turns {
    /// Where nothing runs: these do not wait for those of which the old one runs meanwhile.
    starts: Arc<Semaphore>,
    switches: Arc<Semaphore>,
}

/// One start or switch that may go on. To drop it, or its time, has the next one go on.
#[derive(Debug)]
pub(super) struct Turn {
    _is_over: oneshot::Sender<()>,
}

impl Turns {
    pub(super) fn of_this_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(FOR_EACH_PROCESSOR * processors)
    }

    fn of(at_once: usize) -> Self {
        Self { starts: Arc::new(Semaphore::new(at_once)), switches: Arc::new(Semaphore::new(at_once)) }
    }

    /// Waits for a turn; they are given in the order in which they were asked for.
    pub(super) async fn take(&self, old_runs: bool) -> Option<Turn> {
        let turns = if old_runs { &self.switches } else { &self.starts };
        // The semaphores are never closed.
        let permit = turns.clone().acquire_owned().await.ok()?;
        Some(Turn::new(permit))
    }

    /// Waits for a turn to switch; once the old one has ended by itself, for one to start, for the vault is down from then on.
    pub(super) async fn take_to_switch(&self, old_has_ended: impl Future<Output = ()>) -> Option<Turn> {
        tokio::select! {
            turn = self.take(true) => turn,
            () = old_has_ended => self.take(false).await,
        }
    }
}

impl Turn {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        let (sender, is_over) = oneshot::channel();
        tokio::spawn(async move {
            // Ended by the turn's own end or by its time: both mean the same.
            let _ = timeout(LONGEST, is_over).await;
            drop(permit);
        });
        Self { _is_over: sender }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt, poll};
    use tokio::time::Instant;

    use super::*;

    const SWITCH: bool = true;
    const START: bool = false;

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_have_their_turn_at_once_and_then_in_their_order() {
        let turns = Turns::of(2);
        let (first, _second) = (turns.take(SWITCH).await, turns.take(SWITCH).await);
        let (mut third, mut fourth) = (pin!(turns.take(SWITCH)), pin!(turns.take(SWITCH)));
        assert!(poll!(&mut third).is_pending() && poll!(&mut fourth).is_pending());
        let began = Instant::now();
        drop(first);
        let _third = third.await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(poll!(&mut fourth).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_where_nothing_runs_does_not_wait_for_switches() {
        let turns = Turns::of(1);
        let _switch = turns.take(SWITCH).await;
        assert!(turns.take(START).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_vault_that_ends_while_it_waits_to_be_replaced_waits_for_switches_no_more() {
        let turns = Turns::of(1);
        let _switch = turns.take(SWITCH).await;
        let (ended, has_ended) = oneshot::channel::<()>();
        let mut waits = pin!(turns.take_to_switch(async { drop(has_ended.await) }));
        assert!(poll!(&mut waits).is_pending());
        drop(ended);
        assert!(waits.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_vault_that_hangs_holds_up_no_other() {
        let turns = Turns::of(1);
        let began = Instant::now();
        let _hangs = turns.take(SWITCH).await;
        let _next = turns.take(SWITCH).await;
        assert_eq!(began.elapsed(), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_gives_up_waiting_takes_no_turn() {
        let turns = Turns::of(1);
        let first = turns.take(SWITCH).await;
        {
            let mut gives_up = pin!(turns.take(SWITCH));
            assert!(poll!(&mut gives_up).is_pending());
        }
        drop(first);
        tokio::task::yield_now().await;
        assert!(turns.take(SWITCH).now_or_never().is_some());
    }
}
