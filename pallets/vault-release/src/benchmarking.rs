//! What the calls and the hook cost, each in its worst case: both releases are there, with as many
//! files as they may have and with the longest names.

use alloc::vec;
use frame_benchmarking::v2::*;
use frame_support::{traits::EnsureOrigin, traits::Get};

use crate::*;

const CHECKSUM: Checksum = [0xab; 32];
const OTHER_CHECKSUM: Checksum = [0xcd; 32];

/// The `n`th of the longest versions.
fn version<T: Config>(n: u8) -> VersionBytes<T> {
    let length = T::MaxVersionLength::get() as usize;
    let mut bytes = vec![b'1'; length];
    if let Some(last) = bytes.last_mut() {
        *last = b'a' + n;
    }
    bytes.try_into().expect("as long as may be")
}

/// The `n`th of the longest names.
fn name<T: Config>(n: u32) -> ArtifactNameBytes<T> {
    let length = T::MaxArtifactNameLength::get() as usize;
    let mut bytes = vec![b'a'; length];
    // Names that differ at their ends only are the slowest to compare.
    for (place, digit) in bytes.iter_mut().rev().zip(0..8) {
        *place = b"0123456789abcdef"[(n >> (4 * digit)) as usize % 16];
    }
    bytes.try_into().expect("as long as may be")
}

/// `count` files.
fn artifacts<T: Config>(count: u32) -> Artifacts<T> {
    let mut artifacts = Artifacts::<T>::new();
    for n in 0..count {
        artifacts.try_insert(name::<T>(n), CHECKSUM).expect("not more than may be");
    }
    artifacts
}

/// Puts `current` in force and schedules `pending`, with `files` files each.
fn fill<T: Config>(current: VersionBytes<T>, pending: VersionBytes<T>, files: u32) {
    CurrentRelease::<T>::put(Release {
        sequence: 1,
        version: current,
        binary_checksum: CHECKSUM,
        artifacts: artifacts::<T>(files),
    });
    PendingRelease::<T>::put(Pending {
        version: pending,
        binary_checksum: CHECKSUM,
        artifacts: artifacts::<T>(files),
        spec_version: u32::MAX,
    });
}

fn assert_last_event<T: Config>(event: Event<T>) {
    let event: <T as frame_system::Config>::RuntimeEvent = event.into();
    frame_system::Pallet::<T>::assert_last_event(event);
}

fn release_origin<T: Config>() -> Result<T::RuntimeOrigin, BenchmarkError> {
    T::ReleaseOrigin::try_successful_origin().map_err(|()| BenchmarkError::Weightless)
}

#[benchmarks(where <T as frame_system::Config>::RuntimeEvent: From<Event<T>>)]
mod benchmarks {
    use super::*;

    #[benchmark]
    fn set_vault_release() -> Result<(), BenchmarkError> {
        let origin = release_origin::<T>()?;
        fill::<T>(version::<T>(0), version::<T>(1), T::MaxArtifacts::get());

        // The scheduled version, with the scheduled checksum: the comparison runs to its end.
        #[extrinsic_call]
        _(origin as T::RuntimeOrigin, version::<T>(1), CHECKSUM);

        assert_last_event::<T>(Event::VaultClientUpdate {
            version: version::<T>(1),
            binary_checksum: CHECKSUM,
        });
        Ok(())
    }

    #[benchmark]
    fn schedule_vault_release() -> Result<(), BenchmarkError> {
        let origin = release_origin::<T>()?;
        fill::<T>(version::<T>(0), version::<T>(1), T::MaxArtifacts::get());

        #[extrinsic_call]
        _(origin as T::RuntimeOrigin, version::<T>(0), CHECKSUM, u32::MAX);

        assert_last_event::<T>(Event::VaultClientUpdateScheduled {
            version: version::<T>(0),
            binary_checksum: CHECKSUM,
            spec_version: u32::MAX,
        });
        Ok(())
    }

    #[benchmark]
    fn cancel_scheduled_release() -> Result<(), BenchmarkError> {
        let origin = T::CancelOrigin::try_successful_origin().map_err(|()| BenchmarkError::Weightless)?;
        fill::<T>(version::<T>(0), version::<T>(1), T::MaxArtifacts::get());

        #[extrinsic_call]
        _(origin as T::RuntimeOrigin);

        assert!(!PendingRelease::<T>::exists());
        Ok(())
    }

    #[benchmark]
    fn set_release_artifact() -> Result<(), BenchmarkError> {
        let origin = release_origin::<T>()?;
        // One version in both slots, both full: both are written, as large as they can be.
        fill::<T>(version::<T>(0), version::<T>(0), T::MaxArtifacts::get());
        let last = T::MaxArtifacts::get().saturating_sub(1);

        #[extrinsic_call]
        _(origin as T::RuntimeOrigin, version::<T>(0), name::<T>(last), OTHER_CHECKSUM);

        assert_last_event::<T>(Event::ReleaseArtifactSet {
            version: version::<T>(0),
            name: name::<T>(last),
            checksum: OTHER_CHECKSUM,
        });
        Ok(())
    }

    #[benchmark]
    fn remove_release_artifact() -> Result<(), BenchmarkError> {
        let origin = release_origin::<T>()?;
        fill::<T>(version::<T>(0), version::<T>(0), T::MaxArtifacts::get());
        let last = T::MaxArtifacts::get().saturating_sub(1);

        #[extrinsic_call]
        _(origin as T::RuntimeOrigin, version::<T>(0), name::<T>(last));

        assert_last_event::<T>(Event::ReleaseArtifactRemoved {
            version: version::<T>(0),
            name: name::<T>(last),
        });
        Ok(())
    }

    /// The hook when the scheduled release's runtime has come.
    #[benchmark]
    fn promote_scheduled_release() {
        fill::<T>(version::<T>(0), version::<T>(1), T::MaxArtifacts::get());
        PendingRelease::<T>::mutate_extant(|pending| pending.spec_version = 0);

        #[block]
        {
            Pallet::<T>::promote_if_due();
        }

        assert_last_event::<T>(Event::VaultClientUpdate {
            version: version::<T>(1),
            binary_checksum: CHECKSUM,
        });
    }

    /// The hook when it has not, or when nothing is scheduled.
    #[benchmark]
    fn keep_scheduled_release() {
        fill::<T>(version::<T>(0), version::<T>(1), T::MaxArtifacts::get());

        #[block]
        {
            Pallet::<T>::promote_if_due();
        }

        assert!(PendingRelease::<T>::exists());
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_chain(), crate::mock::Test);
}
