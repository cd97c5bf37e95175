//! What the pallet promises.

mod artifacts;
mod bounds;
mod encoding;
mod genesis;
mod integration;
mod names;
mod origins;
mod promotion;
mod random;
mod schedule;
mod set;
mod state;

use codec::{Decode, Encode, MaxEncodedLen};
use frame_support::{
    BoundedVec, assert_noop, assert_ok,
    storage::bounded_btree_map::BoundedBTreeMap,
    traits::{GetStorageVersion, Hooks, StorageVersion},
};
use sp_core::H256;
use sp_runtime::{BuildStorage, DispatchError, DispatchResult};

use crate::{
    ArtifactName, ArtifactNameBytes, Artifacts, Checksum, CurrentRelease, Error, Event, InitialRelease,
    Pending, PendingRelease, Release, Version, VersionBytes, WeightInfo,
    mock::{
        COUNCIL, FIRST_SPEC, GUARD, MaxArtifactNameLength, MaxArtifacts, MaxVersionLength, RuntimeCall,
        RuntimeEvent, RuntimeOrigin, STRANGER, SpecVersion, System, Test, VaultRelease, new_chain_with,
        on_new_chain, upgrade_to,
    },
};

const CHECKSUM: Checksum = [0xab; 32];
const OTHER_CHECKSUM: Checksum = [0xcd; 32];

fn bytes(version: &str) -> VersionBytes<Test> {
    BoundedVec::try_from(version.as_bytes().to_vec()).expect("not longer than 64 bytes")
}

fn name(name: &str) -> ArtifactNameBytes<Test> {
    BoundedVec::try_from(name.as_bytes().to_vec()).expect("not longer than 64 bytes")
}

fn files<const N: usize>(files: [(&str, Checksum); N]) -> Artifacts<Test> {
    let mut artifacts = BoundedBTreeMap::new();
    for (file, checksum) in files {
        artifacts.try_insert(name(file), checksum).expect("room for all of them");
    }
    artifacts
}

fn current() -> Release<Test> {
    CurrentRelease::<Test>::get().expect("a release was set")
}

fn pending() -> Pending<Test> {
    PendingRelease::<Test>::get().expect("a release was scheduled")
}

/// Both slots, for what must not change.
fn stored() -> (Option<Release<Test>>, Option<Pending<Test>>) {
    (CurrentRelease::<Test>::get(), PendingRelease::<Test>::get())
}

fn set(version: &str, checksum: Checksum) -> DispatchResult {
    VaultRelease::set_vault_release(RuntimeOrigin::root(), bytes(version), checksum)
}

fn schedule(version: &str, checksum: Checksum, spec_version: u32) -> DispatchResult {
    VaultRelease::schedule_vault_release(RuntimeOrigin::root(), bytes(version), checksum, spec_version)
}

fn cancel() -> DispatchResult {
    VaultRelease::cancel_scheduled_release(RuntimeOrigin::root())
}

fn set_artifact(version: &str, file: &str, checksum: Checksum) -> DispatchResult {
    VaultRelease::set_release_artifact(RuntimeOrigin::root(), bytes(version), name(file), checksum)
}

fn remove_artifact(version: &str, file: &str) -> DispatchResult {
    VaultRelease::remove_release_artifact(RuntimeOrigin::root(), bytes(version), name(file))
}

/// The pallet's events of this block, in order.
fn events() -> Vec<Event<Test>> {
    let all = System::events().into_iter();
    all.map(|record| match record.event {
        RuntimeEvent::VaultRelease(event) => event,
        RuntimeEvent::System(event) => panic!("only this pallet does something here: {event:?}"),
    })
    .collect()
}

fn initial(version: &str) -> InitialRelease {
    InitialRelease { version: version.into(), binary_checksum: H256(OTHER_CHECKSUM) }
}

/// Bytes from their hexadecimal digits.
fn hex(digits: &str) -> Vec<u8> {
    sp_core::bytes::from_hex(&format!("0x{digits}")).expect("hexadecimal digits")
}
