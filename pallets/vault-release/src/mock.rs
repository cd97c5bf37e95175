//! A runtime with nothing but this pallet.

use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstU32, EitherOfDiverse, IsInVec},
};
use frame_system::{EnsureRoot, EnsureSignedBy};
use sp_runtime::{BuildStorage, traits::IdentityLookup};

use crate as pallet_vault_release;

pub(crate) type AccountId = u64;
type Block = frame_system::mocking::MockBlock<Test>;

/// May state releases, besides root. Shows that the origin is the runtime's choice.
pub(crate) const COUNCIL: AccountId = 7;
/// May not.
pub(crate) const STRANGER: AccountId = 8;

frame_support::construct_runtime!(
    pub enum Test {
        System: frame_system,
        VaultRelease: pallet_vault_release,
    }
);

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type AccountId = AccountId;
    type Block = Block;
    type Lookup = IdentityLookup<AccountId>;
}

parameter_types! {
    /// A stand-in for a collective.
    pub Council: Vec<AccountId> = vec![COUNCIL];
}

impl pallet_vault_release::Config for Test {
    type ReleaseOrigin = EitherOfDiverse<EnsureRoot<AccountId>, EnsureSignedBy<IsInVec<Council>, AccountId>>;
    type MaxVersionLength = ConstU32<64>;
    type MaxArtifactNameLength = ConstU32<64>;
    type MaxArtifacts = ConstU32<16>;
    type WeightInfo = ();
}

/// Runs `test` in block 1 of a new chain (events of block 0 are dropped), then checks the state.
pub(crate) fn on_new_chain(
    initial_release: Option<pallet_vault_release::InitialRelease>,
    test: impl FnOnce(),
) {
    let storage = RuntimeGenesisConfig {
        system: Default::default(),
        vault_release: pallet_vault_release::GenesisConfig { initial_release, ..Default::default() },
    }
    .build_storage()
    .expect("the genesis of the mock runtime builds");
    let mut chain = sp_io::TestExternalities::from(storage);
    chain.execute_with(|| {
        System::set_block_number(1);
        test();
        VaultRelease::check_state().expect("every test leaves a sound state");
    });
}
