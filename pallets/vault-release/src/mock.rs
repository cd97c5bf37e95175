//! A runtime with nothing but this pallet, whose `spec_version` tests can raise.

use frame_support::{
    derive_impl, parameter_types,
    traits::{EitherOfDiverse, Hooks, IsInVec},
    weights::{RuntimeDbWeight, Weight},
};
use frame_system::{EnsureRoot, EnsureSignedBy};
use sp_runtime::{BuildStorage, traits::IdentityLookup};
use sp_version::RuntimeVersion;

use crate as pallet_vault_release;

pub(crate) type AccountId = u64;
type Block = frame_system::mocking::MockBlock<Test>;

/// May state releases, besides root. Shows that the origin is the runtime's choice.
pub(crate) const COUNCIL: AccountId = 7;
/// May cancel what is scheduled, besides root and the council, and nothing else.
pub(crate) const GUARD: AccountId = 6;
/// May do nothing.
pub(crate) const STRANGER: AccountId = 8;

/// The `spec_version` with which a chain starts.
pub(crate) const FIRST_SPEC: u32 = 100;

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
    type DbWeight = DbWeight;
    type Lookup = IdentityLookup<AccountId>;
    type Version = Version;
}

parameter_types! {
    /// Stand-ins for collectives.
    pub Council: Vec<AccountId> = vec![COUNCIL];
    pub Guards: Vec<AccountId> = vec![GUARD, COUNCIL];

    /// Prices by which a test can tell reads from writes.
    pub const DbWeight: RuntimeDbWeight = RuntimeDbWeight { read: 1_000_000_000, write: 1_000_000_000_000 };

    /// Bounds that the tests of the bounds change.
    pub static MaxVersionLength: u32 = 64;
    pub static MaxArtifactNameLength: u32 = 64;
    pub static MaxArtifacts: u32 = 16;

    pub static SpecVersion: u32 = FIRST_SPEC;
    pub Version: RuntimeVersion = RuntimeVersion { spec_version: SpecVersion::get(), ..Default::default() };
}

type RootOr<Members> = EitherOfDiverse<EnsureRoot<AccountId>, EnsureSignedBy<IsInVec<Members>, AccountId>>;

impl pallet_vault_release::Config for Test {
    type CancelOrigin = RootOr<Guards>;
    type MaxArtifactNameLength = MaxArtifactNameLength;
    type MaxArtifacts = MaxArtifacts;
    type MaxVersionLength = MaxVersionLength;
    type ReleaseOrigin = RootOr<Council>;
    type WeightInfo = pallet_vault_release::weights::SubstrateWeight<Test>;
}

/// A new chain, in block 1 (events of block 0 are dropped).
pub(crate) fn new_chain_with(
    initial_release: Option<pallet_vault_release::InitialRelease>,
) -> sp_io::TestExternalities {
    SpecVersion::set(FIRST_SPEC);
    let storage = RuntimeGenesisConfig {
        system: Default::default(),
        vault_release: pallet_vault_release::GenesisConfig { initial_release, ..Default::default() },
    }
    .build_storage()
    .expect("the genesis of the mock runtime builds");
    let mut chain = sp_io::TestExternalities::from(storage);
    chain.execute_with(|| System::set_block_number(1));
    chain
}

/// A new chain for benchmarks, which bring their own releases.
#[cfg(feature = "runtime-benchmarks")]
pub(crate) fn new_chain() -> sp_io::TestExternalities {
    new_chain_with(None)
}

/// Runs `test` on a new chain, then checks the state.
pub(crate) fn on_new_chain(
    initial_release: Option<pallet_vault_release::InitialRelease>,
    test: impl FnOnce(),
) {
    new_chain_with(initial_release).execute_with(|| {
        test();
        VaultRelease::check_state().expect("every test leaves a sound state");
    });
}

/// The first block that a runtime of this `spec_version` executes, with the checks of a rehearsal
/// where they are compiled in. Returns the weight of the pallet's hook.
pub(crate) fn upgrade_to(spec_version: u32) -> Weight {
    SpecVersion::set(spec_version);
    System::set_block_number(System::block_number() + 1);
    System::reset_events();
    #[cfg(feature = "try-runtime")]
    let before = VaultRelease::pre_upgrade().expect("every state can be upgraded");
    let weight = VaultRelease::on_runtime_upgrade();
    #[cfg(feature = "try-runtime")]
    VaultRelease::post_upgrade(before).expect("the upgrade did what it should");
    weight
}
