//! From scheduled to in force, when the runtime changes.
//!
//! The hook runs in the first block that the new runtime executes, before anything else of that
//! block. That is one block after the one which changed the code: until then the old runtime is in
//! charge, and with it the release that fits it.

use frame_support::weights::Weight;

use crate::{Config, Pallet, Pending, PendingRelease, WeightInfo};

impl<T: Config> Pallet<T> {
    /// Puts the scheduled release in force if the running runtime is the one that it waits for, or a
    /// later one: a chain that skips a version must not skip the client that belongs to it.
    ///
    /// Repeating it changes nothing. Returns the weight used.
    pub(crate) fn promote_if_due() -> Weight {
        let due = |pending: &Pending<T>| pending.spec_version <= Self::running_spec_version();
        let Some(pending) = PendingRelease::<T>::get().filter(due) else {
            return T::WeightInfo::keep_scheduled_release();
        };
        PendingRelease::<T>::kill();
        let Pending { version, binary_checksum, artifacts, .. } = pending;
        Self::make_current(version, binary_checksum, artifacts);
        T::WeightInfo::promote_scheduled_release()
    }
}

/// Checks a rehearsed upgrade (`try-runtime on-runtime-upgrade --checks`): what was there before
/// decides what must be there after.
#[cfg(feature = "try-runtime")]
pub(crate) mod rehearsal {
    use super::*;
    use crate::{CurrentRelease, Release};
    use alloc::vec::Vec;
    use codec::{Decode, Encode};
    use frame_support::ensure;
    use sp_runtime::TryRuntimeError;

    #[derive(Encode, Decode)]
    struct Before<T: Config> {
        current: Option<Release<T>>,
        pending: Option<Pending<T>>,
    }

    fn stored<T: Config>() -> Before<T> {
        Before { current: CurrentRelease::<T>::get(), pending: PendingRelease::<T>::get() }
    }

    /// Remembers both slots.
    pub(crate) fn before<T: Config>() -> Result<Vec<u8>, TryRuntimeError> {
        Ok(stored::<T>().encode())
    }

    /// Compares both slots with what was remembered.
    pub(crate) fn after<T: Config>(before: &[u8]) -> Result<(), TryRuntimeError> {
        let before = Before::<T>::decode(&mut &*before).map_err(|_| "pre_upgrade returned other bytes")?;
        let after = stored::<T>();
        let due =
            before.pending.as_ref().is_some_and(|it| it.spec_version <= Pallet::<T>::running_spec_version());
        if !due {
            ensure!(after.current == before.current, "CurrentRelease changed, but nothing was due");
            ensure!(after.pending == before.pending, "PendingRelease changed, but was not due");
            return Ok(());
        }
        let made = before.current.map_or(0, |release| release.sequence);
        let promoted = before.pending.map(|pending| Release::<T> {
            sequence: made.saturating_add(1),
            version: pending.version,
            binary_checksum: pending.binary_checksum,
            artifacts: pending.artifacts,
        });
        ensure!(after.current == promoted, "CurrentRelease is not the release that was scheduled");
        ensure!(after.pending.is_none(), "PendingRelease is still there after it came into force");
        Ok(())
    }
}
