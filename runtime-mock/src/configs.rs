//! What each pallet is told.

#[cfg(feature = "moved")]
mod moved;

use frame_support::{
    derive_impl, parameter_types,
    traits::{ConstBool, ConstU128, ConstU32, ConstU64, ConstU8, VariantCountOf},
    weights::{
        constants::{RocksDbWeight, WEIGHT_REF_TIME_PER_SECOND},
        IdentityFee, Weight,
    },
};
use frame_system::{
    limits::{BlockLength, BlockWeights},
    EnsureRoot,
};
use pallet_transaction_payment::{ConstFeeMultiplier, FungibleAdapter, Multiplier};
use sp_consensus_aura::sr25519::AuthorityId as AuraId;
use sp_runtime::{traits::One, Perbill};
use sp_version::RuntimeVersion;

use crate::{
    AccountId, Aura, Balance, Balances, Block, Hash, Nonce, OriginCaller, PalletInfo, Runtime, RuntimeCall,
    RuntimeEvent, RuntimeFreezeReason, RuntimeHoldReason, RuntimeOrigin, RuntimeTask, System, VERSION,
};

/// The least that an account may own: a thousandth of the unit.
const EXISTENTIAL_DEPOSIT: Balance = 1_000_000_000;

/// What ordinary transactions may use of a block; the rest is for operational ones, such as sudo's.
const NORMAL_SHARE: Perbill = Perbill::from_percent(75);

/// Room for a whole runtime in one transaction, as an upgrade needs it.
const BLOCK_BYTES: u32 = 5 * 1024 * 1024;

parameter_types! {
    /// Milliseconds from block to block.
    ///
    /// Not a constant, since tests want fast chains and people readable ones: the value lies in
    /// storage and the chain specification sets it, see [`crate::genesis::chain_parameters`].
    pub storage SlotDuration: u64 = 1_000;

    /// Nothing reads it. It gives each chain a genesis hash of its own, so that nobody takes the
    /// chain of one test for that of another.
    pub storage ChainNonce: [u8; 16] = [0; 16];

    /// Blocks must be at least half a slot apart, as Aura wants it.
    pub MinimumPeriod: u64 = SlotDuration::get() / 2;

    /// The version, for the pallets.
    pub const Version: RuntimeVersion = VERSION;

    /// Half a second of work in a block: blocks come each second, and a debug node is slow.
    pub RuntimeBlockWeights: BlockWeights = BlockWeights::with_sensible_defaults(
        Weight::from_parts(WEIGHT_REF_TIME_PER_SECOND / 2, u64::MAX),
        NORMAL_SHARE,
    );

    /// See [`BLOCK_BYTES`].
    pub RuntimeBlockLength: BlockLength =
        BlockLength::builder().max_length(BLOCK_BYTES).build();

    /// Fees never rise.
    pub FeeMultiplier: Multiplier = Multiplier::one();
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type AccountData = pallet_balances::AccountData<Balance>;
    type AccountId = AccountId;
    type Block = Block;
    type BlockLength = RuntimeBlockLength;
    type BlockWeights = RuntimeBlockWeights;
    type DbWeight = RocksDbWeight;
    type Hash = Hash;
    type Nonce = Nonce;
    type Version = Version;
}

impl pallet_timestamp::Config for Runtime {
    type MinimumPeriod = MinimumPeriod;
    type Moment = u64;
    type OnTimestampSet = Aura;
    type WeightInfo = ();
}

impl pallet_aura::Config for Runtime {
    type AllowMultipleBlocksPerSlot = ConstBool<false>;
    type AuthorityId = AuraId;
    type DisabledValidators = ();
    type MaxAuthorities = ConstU32<1>;
    type SlotDuration = SlotDuration;
}

impl pallet_grandpa::Config for Runtime {
    type EquivocationReportSystem = ();
    type KeyOwnerProof = sp_core::Void;
    type MaxAuthorities = ConstU32<1>;
    type MaxNominators = ConstU32<0>;
    type MaxSetIdSessionEntries = ConstU64<0>;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
}

impl pallet_balances::Config for Runtime {
    type AccountStore = System;
    type Balance = Balance;
    type DoneSlashHandler = ();
    type DustRemoval = ();
    type ExistentialDeposit = ConstU128<EXISTENTIAL_DEPOSIT>;
    type FreezeIdentifier = RuntimeFreezeReason;
    type MaxFreezes = VariantCountOf<RuntimeFreezeReason>;
    type MaxLocks = ConstU32<50>;
    type MaxReserves = ();
    type ReserveIdentifier = [u8; 8];
    type RuntimeEvent = RuntimeEvent;
    type RuntimeFreezeReason = RuntimeFreezeReason;
    type RuntimeHoldReason = RuntimeHoldReason;
    type WeightInfo = ();
}

impl pallet_transaction_payment::Config for Runtime {
    type FeeMultiplierUpdate = ConstFeeMultiplier<FeeMultiplier>;
    type LengthToFee = IdentityFee<Balance>;
    type OnChargeTransaction = FungibleAdapter<Balances, ()>;
    type OperationalFeeMultiplier = ConstU8<5>;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
    type WeightToFee = IdentityFee<Balance>;
}

impl pallet_sudo::Config for Runtime {
    type RuntimeCall = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
}

impl pallet_utility::Config for Runtime {
    type PalletsOrigin = OriginCaller;
    type RuntimeCall = RuntimeCall;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
}

impl pallet_preimage::Config for Runtime {
    /// Notes are free: nobody fills up a chain that lives for one test.
    type Consideration = ();
    type Currency = Balances;
    type ManagerOrigin = EnsureRoot<AccountId>;
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
}

impl pallet_vault_release::Config for Runtime {
    type CancelOrigin = EnsureRoot<AccountId>;
    type MaxArtifactNameLength = ConstU32<64>;
    type MaxArtifacts = ConstU32<16>;
    type MaxVersionLength = ConstU32<64>;
    type ReleaseOrigin = EnsureRoot<AccountId>;
    type WeightInfo = pallet_vault_release::weights::SubstrateWeight<Runtime>;
}
