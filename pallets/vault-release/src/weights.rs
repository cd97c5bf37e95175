//! What the calls of `pallet_vault_release` cost, and its hook.
//!
//! Written by `scripts/benchmark-pallet.sh` from measurements in the mock runtime, and so with its bounds; changes by
//! hand would be lost.
//!
//! | | |
//! |---|---|
//! | date | 2026-11-23 |
//! | processor | AMD EPYC |
//! | steps, repeat | 50, 20 |
//! | WebAssembly | Compiled |
//! | made by | `frame-benchmarking-cli` 64.0.0 |

use core::marker::PhantomData;
use frame_support::{
    traits::Get,
    weights::{Weight, constants::RocksDbWeight},
};

/// The weights that `pallet_vault_release` needs, one for each of its benchmarks.
pub trait WeightInfo {
    /// The most that `set_vault_release` can cost.
    fn set_vault_release() -> Weight;
    /// The most that `schedule_vault_release` can cost.
    fn schedule_vault_release() -> Weight;
    /// The most that `cancel_scheduled_release` can cost.
    fn cancel_scheduled_release() -> Weight;
    /// The most that `set_release_artifact` can cost.
    fn set_release_artifact() -> Weight;
    /// The most that `remove_release_artifact` can cost.
    fn remove_release_artifact() -> Weight;
    /// The most that `promote_scheduled_release` can cost.
    fn promote_scheduled_release() -> Weight;
    /// The most that `keep_scheduled_release` can cost.
    fn keep_scheduled_release() -> Weight;
}

/// As measured, with what the runtime `T` says that its database costs.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
    /// Storage: `VaultRelease::PendingRelease` (r:1 w:0)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:1)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    fn set_vault_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 20_911_000 picoseconds.
        Weight::from_parts(22_263_000, 4889)
            .saturating_add(T::DbWeight::get().reads(2_u64))
            .saturating_add(T::DbWeight::get().writes(1_u64))
    }

    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:0)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn schedule_vault_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 23_685_000 picoseconds.
        Weight::from_parts(25_318_000, 4889)
            .saturating_add(T::DbWeight::get().reads(2_u64))
            .saturating_add(T::DbWeight::get().writes(1_u64))
    }

    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn cancel_scheduled_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `1739`
        //  Estimated: `3224`
        // Minimum execution time: 13_660_000 picoseconds.
        Weight::from_parts(14_441_000, 3224)
            .saturating_add(T::DbWeight::get().reads(1_u64))
            .saturating_add(T::DbWeight::get().writes(1_u64))
    }

    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:1)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn set_release_artifact() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 31_297_000 picoseconds.
        Weight::from_parts(33_370_000, 4889)
            .saturating_add(T::DbWeight::get().reads(2_u64))
            .saturating_add(T::DbWeight::get().writes(2_u64))
    }

    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:1)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn remove_release_artifact() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 30_186_000 picoseconds.
        Weight::from_parts(32_169_000, 4889)
            .saturating_add(T::DbWeight::get().reads(2_u64))
            .saturating_add(T::DbWeight::get().writes(2_u64))
    }

    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:1)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    fn promote_scheduled_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 20_050_000 picoseconds.
        Weight::from_parts(21_452_000, 4889)
            .saturating_add(T::DbWeight::get().reads(2_u64))
            .saturating_add(T::DbWeight::get().writes(2_u64))
    }

    /// Storage: `VaultRelease::PendingRelease` (r:1 w:0)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn keep_scheduled_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `1739`
        //  Estimated: `3224`
        // Minimum execution time: 9_324_000 picoseconds.
        Weight::from_parts(9_985_000, 3224).saturating_add(T::DbWeight::get().reads(1_u64))
    }
}

/// As measured, with RocksDB's usual costs: for tests and mock runtimes.
impl WeightInfo for () {
    /// Storage: `VaultRelease::PendingRelease` (r:1 w:0)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:1)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    fn set_vault_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 20_911_000 picoseconds.
        Weight::from_parts(22_263_000, 4889)
            .saturating_add(RocksDbWeight::get().reads(2_u64))
            .saturating_add(RocksDbWeight::get().writes(1_u64))
    }

    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:0)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn schedule_vault_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 23_685_000 picoseconds.
        Weight::from_parts(25_318_000, 4889)
            .saturating_add(RocksDbWeight::get().reads(2_u64))
            .saturating_add(RocksDbWeight::get().writes(1_u64))
    }

    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn cancel_scheduled_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `1739`
        //  Estimated: `3224`
        // Minimum execution time: 13_660_000 picoseconds.
        Weight::from_parts(14_441_000, 3224)
            .saturating_add(RocksDbWeight::get().reads(1_u64))
            .saturating_add(RocksDbWeight::get().writes(1_u64))
    }

    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:1)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn set_release_artifact() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 31_297_000 picoseconds.
        Weight::from_parts(33_370_000, 4889)
            .saturating_add(RocksDbWeight::get().reads(2_u64))
            .saturating_add(RocksDbWeight::get().writes(2_u64))
    }

    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:1)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn remove_release_artifact() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 30_186_000 picoseconds.
        Weight::from_parts(32_169_000, 4889)
            .saturating_add(RocksDbWeight::get().reads(2_u64))
            .saturating_add(RocksDbWeight::get().writes(2_u64))
    }

    /// Storage: `VaultRelease::PendingRelease` (r:1 w:1)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    /// Storage: `VaultRelease::CurrentRelease` (r:1 w:1)
    /// Proof: `VaultRelease::CurrentRelease` (`max_values`: Some(1), `max_size`: Some(1675), added: 2170, mode: `Measured`)
    fn promote_scheduled_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `3404`
        //  Estimated: `4889`
        // Minimum execution time: 20_050_000 picoseconds.
        Weight::from_parts(21_452_000, 4889)
            .saturating_add(RocksDbWeight::get().reads(2_u64))
            .saturating_add(RocksDbWeight::get().writes(2_u64))
    }

    /// Storage: `VaultRelease::PendingRelease` (r:1 w:0)
    /// Proof: `VaultRelease::PendingRelease` (`max_values`: Some(1), `max_size`: Some(1671), added: 2166, mode: `Measured`)
    fn keep_scheduled_release() -> Weight {
        // Proof Size summary in bytes:
        //  Measured:  `1739`
        //  Estimated: `3224`
        // Minimum execution time: 9_324_000 picoseconds.
        Weight::from_parts(9_985_000, 3224).saturating_add(RocksDbWeight::get().reads(1_u64))
    }
}
