//! The runtime of Vaultvisor's local development chain.
//!
//! A small solo chain: [Aura](pallet_aura) authors blocks, [GRANDPA](pallet_grandpa) finalizes them,
//! sudo stands in for governance, and [`pallet_vault_release`] is what it is all for. Everything
//! here serves tests and trying things out; the keys are the well-known ones that everybody has.
//!
//! - `configs`: what each pallet is told,
//! - [`genesis`]: how the chain starts,
//! - [`apis`]: what nodes may ask the runtime,
//! - [`upgrades`]: later runtimes, as WebAssembly, to which a chain of this one can be upgraded.

#![cfg_attr(not(feature = "std"), no_std)]
#![allow(
    missing_docs,
    reason = "the runtime macros and the included wasm constants define public items without docs"
)]
// `impl_runtime_apis!` nests deeper than the default allows.
#![recursion_limit = "256"]

extern crate alloc;

#[cfg(feature = "std")]
include!(concat!(env!("OUT_DIR"), "/wasm_binary.rs"));

// First, since what it defines are macros, which are known only after it.
#[cfg(feature = "runtime-benchmarks")]
#[macro_use]
mod benchmarks;

pub mod apis;
mod configs;
pub mod genesis;
#[cfg(test)]
mod tests;
#[cfg(feature = "std")]
pub mod upgrades;

// `impl_opaque_keys!` expects `Vec` in scope.
use alloc::{borrow::Cow, vec::Vec};
use sp_runtime::{
    generic, impl_opaque_keys,
    traits::{BlakeTwo256, IdentifyAccount, Verify},
    MultiAddress, MultiSignature,
};
use sp_version::RuntimeVersion;

pub use configs::{ChainNonce, SlotDuration};

/// How accounts sign: sr25519, ed25519 or ECDSA.
pub type Signature = MultiSignature;
/// An account: the hash or the bytes of a public key.
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// How extrinsics name accounts.
pub type Address = MultiAddress<AccountId, ()>;
/// The smallest unit is 10^-12.
pub type Balance = u128;
/// Blocks are counted from genesis, which is 0.
pub type BlockNumber = u32;
/// Counts the transactions of an account.
pub type Nonce = u32;
/// What identifies a block.
pub type Hash = sp_core::H256;
/// A block's header.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// A block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
/// What a node knows of the chain, which is less than its runtime does: after an upgrade extrinsics may look
/// different, and it is the chain's runtime that reads them, not the one that the node was built with.
pub mod opaque {
    use sp_runtime::{generic, OpaqueExtrinsic};

    /// A block whose extrinsics are bytes.
    pub type Block = generic::Block<super::Header, OpaqueExtrinsic>;
}
/// An extrinsic as it arrives.
pub type UncheckedExtrinsic =
    generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TransactionExtension>;
/// What is checked and charged before a transaction's call. The common set, so that every client
/// library can sign for this chain.
pub type TransactionExtension = (
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckEra<Runtime>,
    frame_system::CheckNonce<Runtime>,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
);
/// Runs blocks.
pub type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;

impl_opaque_keys! {
    /// The keys with which an authority works.
    pub struct SessionKeys {
        /// Signs blocks.
        pub aura: Aura,
        /// Votes for finality.
        pub grandpa: Grandpa,
    }
}

/// Defines a runtime of this kind, by that in which the kind differs: the `spec_version` and some of the pallets.
///
/// A macro around those that define a runtime, because they read what they are given before any `cfg` inside it is
/// evaluated: two pallets with one index are refused even if no build has both, and a version has to be a literal.
macro_rules! runtime {
    (spec_version: $spec_version:tt, pallets: { $($pallets:tt)* }) => {
        /// What this runtime is and which of its kind.
        #[sp_version::runtime_version]
        pub const VERSION: RuntimeVersion = RuntimeVersion {
            spec_name: Cow::Borrowed("vaultvisor-mock"),
            impl_name: Cow::Borrowed("vaultvisor-mock"),
            authoring_version: 1,
            spec_version: $spec_version,
            impl_version: 1,
            apis: apis::RUNTIME_API_VERSIONS,
            transaction_version: 1,
            system_version: 1,
        };

        // The indices are explicit because clients see them: a later runtime moves pallets on purpose, never
        // by reordering lines.
        #[frame_support::runtime]
        mod runtime {
            /// The runtime.
            #[runtime::runtime]
            #[runtime::derive(
                RuntimeCall,
                RuntimeEvent,
                RuntimeError,
                RuntimeOrigin,
                RuntimeFreezeReason,
                RuntimeHoldReason,
                RuntimeSlashReason,
                RuntimeLockId,
                RuntimeTask,
                RuntimeViewFunction
            )]
            pub struct Runtime;

            #[runtime::pallet_index(0)]
            pub type System = frame_system;

            #[runtime::pallet_index(1)]
            pub type Timestamp = pallet_timestamp;

            #[runtime::pallet_index(2)]
            pub type Aura = pallet_aura;

            #[runtime::pallet_index(3)]
            pub type Grandpa = pallet_grandpa;

            #[runtime::pallet_index(4)]
            pub type Balances = pallet_balances;

            #[runtime::pallet_index(5)]
            pub type TransactionPayment = pallet_transaction_payment;

            #[runtime::pallet_index(6)]
            pub type Sudo = pallet_sudo;

            #[runtime::pallet_index(7)]
            pub type Utility = pallet_utility;

            #[runtime::pallet_index(8)]
            pub type Preimage = pallet_preimage;

            $($pallets)*
        }
    };
}

#[cfg(not(any(feature = "upgraded", feature = "moved")))]
runtime! {
    spec_version: 1,
    pallets: {
        #[runtime::pallet_index(9)]
        pub type VaultRelease = pallet_vault_release;
    }
}

// The next runtime: the same again.
#[cfg(all(feature = "upgraded", not(feature = "moved")))]
runtime! {
    spec_version: 2,
    pallets: {
        #[runtime::pallet_index(9)]
        pub type VaultRelease = pallet_vault_release;
    }
}

// The one after it: where the pallet was is another, and it has moved behind them.
#[cfg(feature = "moved")]
runtime! {
    spec_version: 3,
    pallets: {
        #[runtime::pallet_index(9)]
        pub type Council = pallet_collective::Pallet<Runtime, Instance1>;

        #[runtime::pallet_index(10)]
        pub type TechnicalCommittee = pallet_collective::Pallet<Runtime, Instance2>;

        #[runtime::pallet_index(42)]
        pub type VaultRelease = pallet_vault_release;
    }
}
