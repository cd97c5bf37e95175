//! What the calls cost.
//!
//! Argued by hand from the storage accesses, not yet measured by benchmarks.

use core::marker::PhantomData;
use frame_support::{
    traits::Get,
    weights::{RuntimeDbWeight, Weight, constants::RocksDbWeight},
};

/// What each call and hook costs at most.
pub trait WeightInfo {
    /// [`Pallet::set_vault_release`](crate::Pallet::set_vault_release).
    fn set_vault_release() -> Weight;
}

/// The stated costs with the database weights of the runtime `T`.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
    fn set_vault_release() -> Weight {
        set_vault_release(T::DbWeight::get())
    }
}

/// For tests and runtimes that don't care.
impl WeightInfo for () {
    fn set_vault_release() -> Weight {
        set_vault_release(RocksDbWeight::get())
    }
}

/// Time on the reference machine for the call itself, in picoseconds. The calls of `pallet-sudo`
/// are of this shape (origin check, one value read, changed and written, one event) and are measured
/// at 8 µs; this value is larger, so four times as much.
const CALL_PICOSECONDS: u64 = 32_000_000;

/// The proof holds `CurrentRelease` and the trie nodes on the way to it. With the bounds of the mock
/// runtime the value has at most 1,675 bytes. Only parachains pay for proofs.
const PROOF_BYTES: u64 = 4_096;

/// Reads `CurrentRelease` for its sequence and writes it.
fn set_vault_release(db: RuntimeDbWeight) -> Weight {
    Weight::from_parts(CALL_PICOSECONDS, PROOF_BYTES).saturating_add(db.reads_writes(1, 1))
}
