//! Placeholder in the shape of the generated file.
#![allow(missing_docs)]
use core::marker::PhantomData;
use frame_support::{
    traits::Get,
    weights::{Weight, constants::RocksDbWeight},
};

/// What each call and hook costs at most.
pub trait WeightInfo {
    fn set_vault_release() -> Weight;
    fn schedule_vault_release() -> Weight;
    fn cancel_scheduled_release() -> Weight;
    fn set_release_artifact() -> Weight;
    fn remove_release_artifact() -> Weight;
    fn promote_scheduled_release() -> Weight;
    fn keep_scheduled_release() -> Weight;
}

/// The stated costs with the database weights of the runtime `T`.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
    fn set_vault_release() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(T::DbWeight::get().reads_writes(2, 1))
    }
    fn schedule_vault_release() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(T::DbWeight::get().reads_writes(2, 1))
    }
    fn cancel_scheduled_release() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(T::DbWeight::get().reads_writes(1, 1))
    }
    fn set_release_artifact() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(T::DbWeight::get().reads_writes(2, 2))
    }
    fn remove_release_artifact() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(T::DbWeight::get().reads_writes(2, 2))
    }
    fn promote_scheduled_release() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(T::DbWeight::get().reads_writes(2, 2))
    }
    fn keep_scheduled_release() -> Weight {
        Weight::from_parts(8_000_000, 4_096).saturating_add(T::DbWeight::get().reads(1))
    }
}

impl WeightInfo for () {
    fn set_vault_release() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(RocksDbWeight::get().reads_writes(2, 1))
    }
    fn schedule_vault_release() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(RocksDbWeight::get().reads_writes(2, 1))
    }
    fn cancel_scheduled_release() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(RocksDbWeight::get().reads_writes(1, 1))
    }
    fn set_release_artifact() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(RocksDbWeight::get().reads_writes(2, 2))
    }
    fn remove_release_artifact() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(RocksDbWeight::get().reads_writes(2, 2))
    }
    fn promote_scheduled_release() -> Weight {
        Weight::from_parts(32_000_000, 4_096).saturating_add(RocksDbWeight::get().reads_writes(2, 2))
    }
    fn keep_scheduled_release() -> Weight {
        Weight::from_parts(8_000_000, 4_096).saturating_add(RocksDbWeight::get().reads(1))
    }
}
