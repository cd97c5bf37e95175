//! What the pallets are told that only the runtime `moved` has. Nobody uses them: they are there to be other pallets.

use frame_support::{parameter_types, traits::ConstU32, weights::Weight};
use frame_system::EnsureRoot;
use pallet_collective::{Instance1, Instance2, PrimeDefaultVote};
use sp_runtime::Perbill;

use super::RuntimeBlockWeights;
use crate::{AccountId, BlockNumber, Runtime, RuntimeCall, RuntimeEvent, RuntimeOrigin};

/// How long a motion may be voted on, in blocks.
const MOTION_DURATION: BlockNumber = 100;

parameter_types! {
    /// What a motion may cost that is carried out in the block of its last vote.
    pub MaxProposalWeight: Weight = Perbill::from_percent(50) * RuntimeBlockWeights::get().max_block;
}

macro_rules! collective {
    ($instance:ty) => {
        impl pallet_collective::Config<$instance> for Runtime {
            type Consideration = ();
            type DefaultVote = PrimeDefaultVote;
            type DisapproveOrigin = EnsureRoot<AccountId>;
            type KillOrigin = EnsureRoot<AccountId>;
            type MaxMembers = ConstU32<16>;
            type MaxProposals = ConstU32<16>;
            type MaxProposalWeight = MaxProposalWeight;
            type MotionDuration = ConstU32<MOTION_DURATION>;
            type Proposal = RuntimeCall;
            type RuntimeEvent = RuntimeEvent;
            type RuntimeOrigin = RuntimeOrigin;
            type SetMembersOrigin = EnsureRoot<AccountId>;
            type WeightInfo = ();
        }
    };
}

collective!(Instance1);
collective!(Instance2);
