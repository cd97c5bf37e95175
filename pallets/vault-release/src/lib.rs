//! # Vault Release Pallet
//!
//! A chain's governance states which release of its vault client operators should run.
//!
//! ## Pallet API
//!
//! See the [`pallet`] module for the storage, the [`Call`]s, [`Event`]s and [`Error`]s, and
//! [`Config`] for what a runtime has to supply.
//!
//! ## Overview
//!
//! A *vault* is an off-chain program that holds keys and is punished for being offline, so its
//! operators need to know which binary to run and need to know it from somebody they already
//! trust: the chain. This pallet stores a single statement, [`CurrentRelease`]: the tag under which
//! the release is published and the SHA-256 of its binary. Nothing here downloads or runs anything;
//! `vaultvisor`, or any other program, reads the statement from finalized state and acts on it.
//!
//! ### Setting a release
#![doc = docify::embed!("src/tests.rs", governance_sets_a_release)]
//!
//! ### Going back
//!
//! Versions are labels and are never compared. What counts is the `sequence` of the statement, so
//! governance can return to an older version at any time, and nobody mistakes a node that lags
//! behind for such a decision:
#![doc = docify::embed!("src/tests.rs", going_back_to_an_older_version_is_a_newer_statement)]
//!
//! ## Reading without metadata
//!
//! The value lies under `twox_128(pallet name) ++ twox_128("CurrentRelease")` and its SCALE encoding
//! is frozen, so that a reader survives runtime upgrades that it does not understand:
//!
//! | field | encoding |
//! |---|---|
//! | `sequence` | `u64`, little endian |
//! | `version` | compact length, ASCII bytes |
//! | `binary_checksum` | 32 bytes |
//! | `artifacts` | compact count, then name (compact length, bytes) and 32 bytes each, sorted by name |
//!
//! ## Who may call
//!
//! [`Config::ReleaseOrigin`] decides. Whoever can pass it can make every operator run a binary of
//! their choice: give it the same weight as a runtime upgrade.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;
mod types;
pub mod weights;

pub use pallet::*;
pub use types::{
    ArtifactNameBytes, Artifacts, Checksum, InitialRelease, InvalidVersion, Release, Version, VersionBytes,
};
pub use weights::WeightInfo;

/// The pallet's storage, calls, events and errors.
#[frame_support::pallet]
pub mod pallet {
    use super::*;
    use frame_support::pallet_prelude::*;
    use frame_system::pallet_prelude::*;

    /// The layout of the pallet's storage. Raise it, with a migration, only for changes that are
    /// not merely additional items.
    const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The pallet.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime supplies.
    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Who may state a release: root, a collective, an origin from another chain.
        type ReleaseOrigin: EnsureOrigin<Self::RuntimeOrigin>;

        /// How many bytes a version may have. Release tags have a dozen or two; 64 is plenty.
        #[pallet::constant]
        type MaxVersionLength: Get<u32>;

        /// How many bytes an artifact's name may have. The longest that clients look for is
        /// `binary-` and a target triple; 64 is plenty.
        #[pallet::constant]
        type MaxArtifactNameLength: Get<u32>;

        /// How many files a release may have besides its binary. Each takes room in the one value
        /// that every reader fetches.
        #[pallet::constant]
        type MaxArtifacts: Get<u32>;

        /// What the calls cost, see [`weights`].
        type WeightInfo: WeightInfo;
    }

    /// The release that vault clients should run now. Once there is one, there always is one.
    ///
    /// A single value: a reader needs no hasher, and there is nothing to clean up.
    #[pallet::storage]
    pub type CurrentRelease<T: Config> = StorageValue<_, Release<T>, OptionQuery>;

    /// What the pallet tells the world.
    #[pallet::event]
    #[pallet::generate_deposit(fn deposit_event)]
    pub enum Event<T: Config> {
        /// From this block on vault clients should run `version`.
        VaultClientUpdate {
            /// The tag under which the release is published.
            version: VersionBytes<T>,
            /// SHA-256 of its binary.
            binary_checksum: Checksum,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// The version is empty, starts with something else than an ASCII letter or digit, has
        /// `..` in it, or bytes besides ASCII letters, digits, `.`, `+`, `_` and `-`.
        InvalidVersion,
    }

    /// The statement with which a new chain starts.
    #[pallet::genesis_config]
    #[derive(frame_support::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The first release. Chains that live already set theirs by governance.
        pub initial_release: Option<InitialRelease>,
        /// The runtime this belongs to.
        #[serde(skip)]
        pub _config: PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        /// # Panics
        ///
        /// When the version breaks the rules: a chain must not start with a statement that the
        /// calls would refuse.
        fn build(&self) {
            let Some(initial) = &self.initial_release else {
                return;
            };
            let bytes = initial.version.as_bytes().to_vec();
            let bytes = VersionBytes::<T>::try_from(bytes).unwrap_or_else(|bytes| {
                panic!(
                    "genesis of the vault release pallet: version {:?} has {} bytes, {} are allowed",
                    initial.version,
                    bytes.len(),
                    T::MaxVersionLength::get(),
                )
            });
            let version = Version::<T>::parse(bytes).unwrap_or_else(|rule| {
                panic!("genesis of the vault release pallet: invalid version {:?}: {rule}", initial.version,)
            });
            Pallet::<T>::replace_current(version, initial.binary_checksum.into());
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), sp_runtime::TryRuntimeError> {
            Self::check_state().map_err(Into::into)
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// States that vault clients should run `version` from now on.
        ///
        /// ## Dispatch Origin
        ///
        /// [`Config::ReleaseOrigin`].
        ///
        /// ## Details
        ///
        /// Replaces [`CurrentRelease`] in one write: its `sequence` grows by one and the artifacts
        /// of the release before are gone. The same version may be stated again, with the same or
        /// another checksum.
        ///
        /// `version` is a release tag such as `1.16.0`, of at most [`Config::MaxVersionLength`]
        /// bytes; a longer one does not decode. `binary_checksum` is the SHA-256 of the binary for
        /// `x86_64-unknown-linux-gnu`.
        ///
        /// ## Events
        ///
        /// [`Event::VaultClientUpdate`].
        ///
        /// ## Errors
        ///
        /// - `BadOrigin`: the origin is another one.
        /// - [`Error::InvalidVersion`]: see [`Version::parse`] for what is allowed.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::set_vault_release())]
        pub fn set_vault_release(
            origin: OriginFor<T>,
            version: VersionBytes<T>,
            binary_checksum: Checksum,
        ) -> DispatchResult {
            T::ReleaseOrigin::ensure_origin(origin)?;
            let version = Version::<T>::parse(version).map_err(|_| Error::<T>::InvalidVersion)?;
            Self::make_current(version, binary_checksum);
            Ok(())
        }
    }

    impl<T: Config> Pallet<T> {
        /// Stores the release without artifacts and tells everybody.
        fn make_current(version: Version<T>, binary_checksum: Checksum) {
            let version = Self::replace_current(version, binary_checksum);
            Self::deposit_event(Event::VaultClientUpdate { version, binary_checksum });
        }

        /// Stores the release as the next statement; returns its version.
        ///
        /// Without an event: genesis has no block to put one in.
        fn replace_current(version: Version<T>, binary_checksum: Checksum) -> VersionBytes<T> {
            let version = version.into_bytes();
            CurrentRelease::<T>::mutate(|current| {
                // 2^64 statements don't fit into the life of a chain.
                let made = current.as_ref().map_or(0, |release| release.sequence);
                *current = Some(Release {
                    sequence: made.saturating_add(1),
                    version: version.clone(),
                    binary_checksum,
                    artifacts: Artifacts::<T>::new(),
                });
            });
            version
        }

        /// What must hold in every state: a stored release could have been stated by a call.
        #[cfg(any(feature = "try-runtime", test))]
        pub(crate) fn check_state() -> Result<(), &'static str> {
            if !CurrentRelease::<T>::exists() {
                return Ok(());
            }
            let release = CurrentRelease::<T>::get().ok_or("CurrentRelease holds bytes that don't decode")?;
            if release.sequence == 0 {
                return Err("CurrentRelease has sequence 0, but statements count from 1");
            }
            Version::<T>::parse(release.version)
                .map(drop)
                .map_err(|_| "CurrentRelease has a version that no call would accept")
        }
    }
}
