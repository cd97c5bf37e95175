//! What is in force and what is scheduled, and what may be in the two at once.
//!
//! Everything here is told by a call or hook that has checked the caller; what is refused here is
//! refused before anything is written.

use frame_support::{ensure, storage::unhashed, traits::Get};
use sp_runtime::DispatchError;

use crate::{
    ArtifactName, Artifacts, Checksum, Config, CurrentRelease, Error, Event, Pallet, Pending, PendingRelease,
    Release, Version, VersionBytes,
};

/// What an edit did to the artifacts of one slot.
enum Edited {
    /// It changed them, or stated again what they are.
    Yes,
    /// It had nothing to do there.
    No,
}

impl<T: Config> Pallet<T> {
    /// The `spec_version` of the runtime that runs.
    pub(crate) fn running_spec_version() -> u32 {
        <T as frame_system::Config>::Version::get().spec_version
    }

    /// Puts a release without artifacts in force and tells everybody.
    pub(crate) fn set(version: Version<T>, binary_checksum: Checksum) -> Result<(), DispatchError> {
        let version = version.into_bytes();
        if let Some(pending) = PendingRelease::<T>::get() {
            Self::ensure_same_binary(&version, &binary_checksum, &pending.version, &pending.binary_checksum)?;
        }
        Self::make_current(version, binary_checksum, Artifacts::<T>::new());
        Ok(())
    }

    /// Schedules a release without artifacts, in the place of one that was scheduled before.
    pub(crate) fn schedule(
        version: Version<T>,
        binary_checksum: Checksum,
        spec_version: u32,
    ) -> Result<(), DispatchError> {
        ensure!(spec_version > Self::running_spec_version(), Error::<T>::SpecVersionNotInFuture);
        let version = version.into_bytes();
        if let Some(current) = CurrentRelease::<T>::get() {
            Self::ensure_same_binary(&version, &binary_checksum, &current.version, &current.binary_checksum)?;
        }
        if let Some(replaced) = PendingRelease::<T>::take() {
            Self::tell_cancelled(replaced);
        }
        PendingRelease::<T>::put(Pending {
            version: version.clone(),
            binary_checksum,
            artifacts: Artifacts::<T>::new(),
            spec_version,
        });
        Self::deposit_event(Event::VaultClientUpdateScheduled { version, binary_checksum, spec_version });
        Ok(())
    }

    /// Forgets what is scheduled.
    pub(crate) fn cancel() -> Result<(), DispatchError> {
        let cancelled = PendingRelease::<T>::take().ok_or(Error::<T>::NothingScheduled)?;
        Self::tell_cancelled(cancelled);
        Ok(())
    }

    fn tell_cancelled(Pending { version, binary_checksum, .. }: Pending<T>) {
        Self::deposit_event(Event::VaultClientUpdateCancelled { version, binary_checksum });
    }

    /// Adds a file to the release, or gives the file another checksum.
    pub(crate) fn set_artifact(
        version: VersionBytes<T>,
        name: ArtifactName<T>,
        checksum: Checksum,
    ) -> Result<(), DispatchError> {
        let name = name.into_bytes();
        Self::edit_artifacts(&version, |artifacts| {
            let full = |_| Error::<T>::TooManyArtifacts;
            artifacts.try_insert(name.clone(), checksum).map_err(full)?;
            Ok(Edited::Yes)
        })?;
        Self::deposit_event(Event::ReleaseArtifactSet { version, name, checksum });
        Ok(())
    }

    /// Takes a file from the release.
    pub(crate) fn remove_artifact(
        version: VersionBytes<T>,
        name: crate::ArtifactNameBytes<T>,
    ) -> Result<(), DispatchError> {
        let edited = Self::edit_artifacts(&version, |artifacts| {
            Ok(if artifacts.remove(&name).is_some() { Edited::Yes } else { Edited::No })
        })?;
        ensure!(matches!(edited, Edited::Yes), Error::<T>::UnknownArtifact);
        Self::deposit_event(Event::ReleaseArtifactRemoved { version, name });
        Ok(())
    }

    /// Edits the artifacts in each slot that holds `version`, in all of them or, on an error, in none.
    fn edit_artifacts(
        version: &VersionBytes<T>,
        edit: impl Fn(&mut Artifacts<T>) -> Result<Edited, Error<T>>,
    ) -> Result<Edited, Error<T>> {
        let mut current = CurrentRelease::<T>::get().filter(|release| release.version == *version);
        let mut pending = PendingRelease::<T>::get().filter(|release| release.version == *version);
        ensure!(current.is_some() || pending.is_some(), Error::<T>::UnknownRelease);

        // Both before either is written, so that a refusal leaves both as they were.
        let apply = |artifacts: Option<&mut Artifacts<T>>| artifacts.map_or(Ok(Edited::No), &edit);
        let in_current = apply(current.as_mut().map(|release| &mut release.artifacts))?;
        let in_pending = apply(pending.as_mut().map(|release| &mut release.artifacts))?;

        let mut edited = Edited::No;
        if let (Edited::Yes, Some(Release { version, binary_checksum, artifacts, .. })) =
            (in_current, current)
        {
            Self::state(version, binary_checksum, artifacts);
            edited = Edited::Yes;
        }
        if let (Edited::Yes, Some(pending)) = (in_pending, pending) {
            PendingRelease::<T>::put(pending);
            edited = Edited::Yes;
        }
        Ok(edited)
    }

    /// Puts a release in force and tells everybody.
    pub(crate) fn make_current(version: VersionBytes<T>, binary_checksum: Checksum, artifacts: Artifacts<T>) {
        Self::state(version.clone(), binary_checksum, artifacts);
        Self::deposit_event(Event::VaultClientUpdate { version, binary_checksum });
    }

    /// The only place that writes [`CurrentRelease`], and so the only one that counts statements.
    ///
    /// Without an event: genesis has no block to put one in, and artifacts have their own.
    pub(crate) fn state(version: VersionBytes<T>, binary_checksum: Checksum, artifacts: Artifacts<T>) {
        // The first field by itself, which is read whatever follows it: a runtime that lowered a bound below what is stored
        // can't decode the rest, and if it counted from 1 again, clients would take every statement for an old one.
        let made = unhashed::get::<u64>(&CurrentRelease::<T>::hashed_key()).unwrap_or(0);
        // 2^64 statements don't fit into the life of a chain.
        let sequence = made.saturating_add(1);
        CurrentRelease::<T>::put(Release { sequence, version, binary_checksum, artifacts });
    }

    /// One version is one binary, wherever it stands: whoever published it under the same tag twice
    /// has to give the second a tag of its own, or to take the first back.
    fn ensure_same_binary(
        version: &VersionBytes<T>,
        binary_checksum: &Checksum,
        held_version: &VersionBytes<T>,
        held_checksum: &Checksum,
    ) -> Result<(), Error<T>> {
        let conflict = version == held_version && binary_checksum != held_checksum;
        ensure!(!conflict, Error::<T>::VersionInUse);
        Ok(())
    }

    /// What must hold in every state: what is stored could have been put there by calls.
    #[cfg(any(feature = "try-runtime", test))]
    pub(crate) fn check_state() -> Result<(), &'static str> {
        let current = CurrentRelease::<T>::get();
        if current.is_none() && CurrentRelease::<T>::exists() {
            return Err("CurrentRelease holds bytes that don't decode");
        }
        let pending = PendingRelease::<T>::get();
        if pending.is_none() && PendingRelease::<T>::exists() {
            return Err("PendingRelease holds bytes that don't decode");
        }
        if let Some(release) = &current {
            if release.sequence == 0 {
                return Err("CurrentRelease has sequence 0, but statements count from 1");
            }
            Self::check_names(&release.version, &release.artifacts)?;
        }
        if let Some(pending) = &pending {
            if pending.spec_version <= Self::running_spec_version() {
                return Err("PendingRelease waits for a runtime that runs already");
            }
            Self::check_names(&pending.version, &pending.artifacts)?;
        }
        if let (Some(current), Some(pending)) = (current, pending)
            && current.version == pending.version
            && current.binary_checksum != pending.binary_checksum
        {
            return Err("CurrentRelease and PendingRelease have one version with two binaries");
        }
        Ok(())
    }

    #[cfg(any(feature = "try-runtime", test))]
    fn check_names(version: &VersionBytes<T>, artifacts: &Artifacts<T>) -> Result<(), &'static str> {
        Version::<T>::parse(version.clone())
            .map_err(|_| "a release has a version that no call would accept")?;
        for name in artifacts.keys() {
            ArtifactName::<T>::parse(name.clone())
                .map_err(|_| "an artifact has a name that no call would accept")?;
        }
        Ok(())
    }
}
