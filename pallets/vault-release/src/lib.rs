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
//! trust: the chain. This pallet stores what should run now, [`CurrentRelease`]: the tag under which
//! the release is published and the SHA-256 of its binary. Beside it may stand what should run from
//! a coming runtime upgrade on, [`PendingRelease`]. Nothing here downloads or runs anything;
//! `vaultvisor`, or any other program, reads the statement from finalized state and acts on it.
//!
//! - `slots`: what is in force and what is scheduled, and what may be in the two at once,
//! - `promotion`: from scheduled to in force, when the runtime changes,
//! - `types`: what a release is, and which byte strings may name one.
//!
//! ### Setting a release
#![doc = docify::embed!("src/tests/set.rs", governance_sets_a_release)]
//!
//! ### Going back
//!
//! Versions are labels and are never compared. What counts is the `sequence` of the statement, so
//! governance can return to an older version at any time, and nobody mistakes a node that lags
//! behind for such a decision:
#![doc = docify::embed!("src/tests/set.rs", going_back_to_an_older_version_is_a_newer_statement)]
//!
//! ### A release for a coming runtime
//!
//! Often a new runtime needs a new client and the old runtime the old one. Such a release is
//! scheduled for the new runtime's `spec_version`; clients see it, and fetch it, while the old one is
//! still in force, and it comes into force in the first block that the new runtime executes:
#![doc = docify::embed!("src/tests/promotion.rs", a_scheduled_release_comes_into_force_with_its_runtime)]
//!
//! ### Further files
//!
//! A release may have files besides its binary: the binary for another platform, a program that
//! migrates the client's data. Clients look for them by name. All of it can be stated at once, in a
//! `batch_all`:
#![doc = docify::embed!("src/tests/artifacts.rs", a_release_gets_further_files)]
//!
//! ## Reading without metadata
//!
//! The values lie under `twox_128(pallet name) ++ twox_128(item)` and their SCALE encodings are
//! frozen, so that a reader survives runtime upgrades that it does not understand:
//!
//! | `CurrentRelease` | `PendingRelease` | encoding |
//! |---|---|---|
//! | `sequence` | | `u64`, little endian |
//! | `version` | `version` | compact length, ASCII bytes |
//! | `binary_checksum` | `binary_checksum` | 32 bytes |
//! | `artifacts` | `artifacts` | compact count, then name (compact length, bytes) and 32 bytes each, sorted by name |
//! | | `spec_version` | `u32`, little endian |
//!
//! ## Who may call
//!
//! [`Config::ReleaseOrigin`] decides. Whoever can pass it can make every operator run a binary of
//! their choice: give it the same weight as a runtime upgrade. [`Config::CancelOrigin`] can only
//! keep a scheduled release from coming into force; it may be quicker and easier to pass.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
#[cfg(test)]
mod mock;
mod promotion;
mod slots;
#[cfg(test)]
mod tests;
mod types;
pub mod weights;

pub use pallet::*;
pub use types::{
    ArtifactName, ArtifactNameBytes, Artifacts, Checksum, InitialRelease, InvalidArtifactName,
    InvalidVersion, Pending, Release, Version, VersionBytes,
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

    /// The longest name that any filesystem of interest takes, in bytes. Clients make files of names
    /// and refuse longer ones, so a runtime that allows them would state releases that nobody runs.
    const LONGEST_FILE_NAME: u32 = 255;

    /// The longest artifact name that clients look for: `binary-` and a target triple. The longest
    /// triple of the Rust compiler has 30 bytes (`powerpc64le-unknown-linux-musl` and others).
    const LONGEST_KNOWN_ARTIFACT_NAME: u32 = 7 + 30;

    /// The most that a release may take in storage, in bytes. Each reader fetches it at every
    /// finalized block and refuses more, and each call carries it in the block's proof.
    const LARGEST_RELEASE: usize = 64 * 1024;

    /// The pallet.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the runtime supplies.
    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// Who may state or schedule a release and name its files: root, a collective, an origin from
        /// another chain.
        type ReleaseOrigin: EnsureOrigin<Self::RuntimeOrigin>;

        /// Who may cancel a scheduled release. It can delay an update, not choose one.
        type CancelOrigin: EnsureOrigin<Self::RuntimeOrigin>;

        /// How many bytes a version may have, at most 255. Release tags have a dozen or two; 64 is
        /// plenty.
        #[pallet::constant]
        type MaxVersionLength: Get<u32>;

        /// How many bytes an artifact's name may have. The longest that clients look for is
        /// `binary-` and a target triple, which has to fit; 64 is plenty, 255 the most.
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

    /// The release that becomes [`CurrentRelease`] with the first runtime of its `spec_version` or a
    /// later one.
    #[pallet::storage]
    pub type PendingRelease<T: Config> = StorageValue<_, Pending<T>, OptionQuery>;

    /// What the pallet tells the world.
    #[pallet::event]
    #[pallet::generate_deposit(pub(crate) fn deposit_event)]
    pub enum Event<T: Config> {
        /// From this block on vault clients should run `version`.
        VaultClientUpdate {
            /// The tag under which the release is published.
            version: VersionBytes<T>,
            /// SHA-256 of its binary.
            binary_checksum: Checksum,
        },
        /// From the runtime `spec_version` on vault clients should run `version`.
        VaultClientUpdateScheduled {
            /// The tag under which the release is published.
            version: VersionBytes<T>,
            /// SHA-256 of its binary.
            binary_checksum: Checksum,
            /// The first runtime that it is for.
            spec_version: u32,
        },
        /// `version` will not come into force by itself any more.
        VaultClientUpdateCancelled {
            /// The tag under which the release is published.
            version: VersionBytes<T>,
            /// SHA-256 of its binary.
            binary_checksum: Checksum,
        },
        /// The release `version`, in force or scheduled or both, has this file now.
        ReleaseArtifactSet {
            /// The tag under which the release is published.
            version: VersionBytes<T>,
            /// What the file is, such as `args-migration`.
            name: ArtifactNameBytes<T>,
            /// SHA-256 of the file.
            checksum: Checksum,
        },
        /// The release `version` has no such file any more.
        ReleaseArtifactRemoved {
            /// The tag under which the release is published.
            version: VersionBytes<T>,
            /// What the file was.
            name: ArtifactNameBytes<T>,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    #[derive(PartialEq)]
    pub enum Error<T> {
        /// The version is empty, starts with something else than an ASCII letter or digit, has
        /// `..` in it, or bytes besides ASCII letters, digits, `.`, `+`, `_` and `-`.
        InvalidVersion,
        /// The name is empty, starts with something else than a lower-case ASCII letter or a digit,
        /// has `..` in it, or bytes besides lower-case ASCII letters, digits, `.`, `_` and `-`.
        InvalidArtifactName,
        /// The runtime that the release should wait for runs already, or a later one does.
        SpecVersionNotInFuture,
        /// No release is scheduled.
        NothingScheduled,
        /// No release of that version is in force or scheduled.
        UnknownRelease,
        /// The release has no file of that name.
        UnknownArtifact,
        /// The release has as many files as it may have.
        TooManyArtifacts,
        /// That version is scheduled, or in force, with the checksum of another binary.
        VersionInUse,
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
            Pallet::<T>::state(version.into_bytes(), initial.binary_checksum.into(), Artifacts::<T>::new());
        }
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        /// Puts the scheduled release in force once its runtime runs.
        fn on_runtime_upgrade() -> Weight {
            Self::promote_if_due()
        }

        /// Refuses bounds with which no client could work.
        fn integrity_test() {
            let (version, name) = (T::MaxVersionLength::get(), T::MaxArtifactNameLength::get());
            assert!(
                (1..=LONGEST_FILE_NAME).contains(&version),
                "MaxVersionLength is {version}: expected 1 to {LONGEST_FILE_NAME}, clients make file names of \
                 versions",
            );
            assert!(
                (LONGEST_KNOWN_ARTIFACT_NAME..=LONGEST_FILE_NAME).contains(&name),
                "MaxArtifactNameLength is {name}: expected {LONGEST_KNOWN_ARTIFACT_NAME} to \
                 {LONGEST_FILE_NAME}, clients look for `binary-<target triple>`",
            );
            let artifacts = T::MaxArtifacts::get();
            assert!(
                artifacts > 0,
                "MaxArtifacts is 0: expected at least 1, binaries for other platforms are artifacts",
            );
            let largest = Release::<T>::max_encoded_len().max(Pending::<T>::max_encoded_len());
            assert!(
                largest <= LARGEST_RELEASE,
                "a release may take {largest} bytes with MaxArtifacts {artifacts}: expected at most \
                 {LARGEST_RELEASE}, clients refuse more",
            );
        }

        #[cfg(feature = "try-runtime")]
        fn pre_upgrade() -> Result<alloc::vec::Vec<u8>, sp_runtime::TryRuntimeError> {
            promotion::rehearsal::before::<T>()
        }

        #[cfg(feature = "try-runtime")]
        fn post_upgrade(before: alloc::vec::Vec<u8>) -> Result<(), sp_runtime::TryRuntimeError> {
            promotion::rehearsal::after::<T>(&before)
        }

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
        /// another checksum. A scheduled release stays scheduled.
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
        /// - [`Error::VersionInUse`]: the version is scheduled with another checksum; cancel that first.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::set_vault_release())]
        pub fn set_vault_release(
            origin: OriginFor<T>,
            version: VersionBytes<T>,
            binary_checksum: Checksum,
        ) -> DispatchResult {
            T::ReleaseOrigin::ensure_origin(origin)?;
            let version = Version::<T>::parse(version).map_err(|_| Error::<T>::InvalidVersion)?;
            Self::set(version, binary_checksum)
        }

        /// States that vault clients should run `version` from the runtime `spec_version` on.
        ///
        /// ## Dispatch Origin
        ///
        /// [`Config::ReleaseOrigin`].
        ///
        /// ## Details
        ///
        /// Stored as [`PendingRelease`], without artifacts, until the first block that a runtime of
        /// that `spec_version`, or a later one, executes. There it becomes [`CurrentRelease`]. What
        /// was scheduled before is cancelled.
        ///
        /// `version` and `binary_checksum` are those of [`set_vault_release`](Self::set_vault_release).
        ///
        /// ## Events
        ///
        /// [`Event::VaultClientUpdateScheduled`], after [`Event::VaultClientUpdateCancelled`] if another
        /// release was scheduled; with the runtime upgrade [`Event::VaultClientUpdate`].
        ///
        /// ## Errors
        ///
        /// - `BadOrigin`: the origin is another one.
        /// - [`Error::InvalidVersion`]: see [`Version::parse`] for what is allowed.
        /// - [`Error::SpecVersionNotInFuture`]: `spec_version` is not above that of the running runtime;
        ///   for the running one there is `set_vault_release`.
        /// - [`Error::VersionInUse`]: the version is in force with another checksum.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::schedule_vault_release())]
        pub fn schedule_vault_release(
            origin: OriginFor<T>,
            version: VersionBytes<T>,
            binary_checksum: Checksum,
            spec_version: u32,
        ) -> DispatchResult {
            T::ReleaseOrigin::ensure_origin(origin)?;
            let version = Version::<T>::parse(version).map_err(|_| Error::<T>::InvalidVersion)?;
            Self::schedule(version, binary_checksum, spec_version)
        }

        /// Forgets the scheduled release.
        ///
        /// ## Dispatch Origin
        ///
        /// [`Config::CancelOrigin`].
        ///
        /// ## Details
        ///
        /// The release in force stays in force, also after the runtime upgrade.
        ///
        /// ## Events
        ///
        /// [`Event::VaultClientUpdateCancelled`].
        ///
        /// ## Errors
        ///
        /// - `BadOrigin`: the origin is another one.
        /// - [`Error::NothingScheduled`]: there is none, or it came into force already.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::cancel_scheduled_release())]
        pub fn cancel_scheduled_release(origin: OriginFor<T>) -> DispatchResult {
            T::CancelOrigin::ensure_origin(origin)?;
            Self::cancel()
        }

        /// States that `name` is a file of the release `version`, with this SHA-256.
        ///
        /// ## Dispatch Origin
        ///
        /// [`Config::ReleaseOrigin`].
        ///
        /// ## Details
        ///
        /// Adds the file, or replaces its checksum, wherever that version stands: in force, scheduled,
        /// or both. In [`CurrentRelease`] that is a new statement, so `sequence` grows by one. To state
        /// a release with its files at once, put the calls into one `batch_all`.
        ///
        /// ## Events
        ///
        /// [`Event::ReleaseArtifactSet`].
        ///
        /// ## Errors
        ///
        /// - `BadOrigin`: the origin is another one.
        /// - [`Error::InvalidArtifactName`]: see [`ArtifactName::parse`] for what is allowed.
        /// - [`Error::UnknownRelease`]: no such version is in force or scheduled.
        /// - [`Error::TooManyArtifacts`]: the release has [`Config::MaxArtifacts`] files already.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::set_release_artifact())]
        pub fn set_release_artifact(
            origin: OriginFor<T>,
            version: VersionBytes<T>,
            name: ArtifactNameBytes<T>,
            checksum: Checksum,
        ) -> DispatchResult {
            T::ReleaseOrigin::ensure_origin(origin)?;
            let name = ArtifactName::<T>::parse(name).map_err(|_| Error::<T>::InvalidArtifactName)?;
            Self::set_artifact(version, name, checksum)
        }

        /// Takes the file `name` from the release `version`.
        ///
        /// ## Dispatch Origin
        ///
        /// [`Config::ReleaseOrigin`].
        ///
        /// ## Details
        ///
        /// Wherever that version stands with such a file. If that is [`CurrentRelease`], `sequence`
        /// grows by one.
        ///
        /// ## Events
        ///
        /// [`Event::ReleaseArtifactRemoved`].
        ///
        /// ## Errors
        ///
        /// - `BadOrigin`: the origin is another one.
        /// - [`Error::UnknownRelease`]: no such version is in force or scheduled.
        /// - [`Error::UnknownArtifact`]: it has no file of that name.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::remove_release_artifact())]
        pub fn remove_release_artifact(
            origin: OriginFor<T>,
            version: VersionBytes<T>,
            name: ArtifactNameBytes<T>,
        ) -> DispatchResult {
            T::ReleaseOrigin::ensure_origin(origin)?;
            Self::remove_artifact(version, name)
        }
    }
}
