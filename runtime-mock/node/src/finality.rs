//! How finality is held back without breaking it.
//!
//! GRANDPA decides by votes, and this chain has one voter. While finality is held, the voter votes for
//! what it voted for last: rounds go on and finalize nothing new. Once it is released, the next round
//! votes for the best block and finality catches up at once. Nothing is dropped or delayed, so GRANDPA
//! can't get stuck, and a real outage of finality looks the same to clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runtime_mock::{BlockNumber, Header, opaque::Block};
use sc_client_api::HeaderBackend;
use sc_consensus_grandpa::{VotingRule, VotingRuleResult};
use sp_runtime::traits::Header as _;

/// The voting rule, and the handle on it. Clones share the state.
#[derive(Clone, Debug, Default)]
pub(crate) struct FinalityHold(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    held: bool,
    /// The highest block that was voted for without a hold. A vote that was cast can't be taken
    /// back: finality will still get here.
    voted: BlockNumber,
}

impl FinalityHold {
    /// Holds finality back.
    ///
    /// Returns how far it still gets, by a vote that was cast already.
    pub(crate) fn hold(&self) -> BlockNumber {
        let mut state = self.state();
        state.held = true;
        state.voted
    }

    /// Lets finality go on.
    pub(crate) fn release(&self) {
        self.state().held = false;
    }

    /// The block to vote for instead of `target`, if any. `base` is what the round before arrived
    /// at.
    fn restrict(&self, base: &Header, target: &Header) -> Option<(sp_core::H256, BlockNumber)> {
        let mut state = self.state();
        if state.held {
            return Some((base.hash(), *base.number()));
        }
        state.voted = state.voted.max(*target.number());
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Backend: HeaderBackend<Block>> VotingRule<Block, Backend> for FinalityHold {
    fn restrict_vote(
        &self,
        _: Arc<Backend>,
        base: &Header,
        _: &Header,
        current_target: &Header,
    ) -> VotingRuleResult<Block> {
        let vote = self.restrict(base, current_target);
        Box::pin(async move { vote })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: BlockNumber) -> Header {
        Header::new(number, Default::default(), Default::default(), Default::default(), Default::default())
    }

    #[test]
    fn votes_are_free_until_held_and_after_release() {
        let hold = FinalityHold::default();
        assert_eq!(hold.restrict(&header(1), &header(3)), None);
        hold.hold();
        hold.release();
        assert_eq!(hold.restrict(&header(3), &header(9)), None);
    }

    #[test]
    fn while_held_votes_repeat_what_was_reached() {
        let hold = FinalityHold::default();
        hold.hold();
        let base = header(3);
        assert_eq!(hold.restrict(&base, &header(9)), Some((base.hash(), 3)));
        assert_eq!(hold.restrict(&base, &header(10)), Some((base.hash(), 3)));
    }

    #[test]
    fn holding_tells_how_far_a_vote_under_way_still_gets() {
        let hold = FinalityHold::default();
        assert_eq!(hold.hold(), 0);
        hold.release();
        hold.restrict(&header(3), &header(5));
        assert_eq!(hold.hold(), 5);
        hold.restrict(&header(5), &header(8));
        assert_eq!(hold.hold(), 5, "votes while held go nowhere");
    }

    #[test]
    fn clones_share_the_hold() {
        let hold = FinalityHold::default();
        let rule = hold.clone();
        hold.hold();
        assert!(rule.restrict(&header(1), &header(2)).is_some());
    }
}
