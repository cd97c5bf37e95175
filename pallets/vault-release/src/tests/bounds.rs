//! Bounds with which no client could work don't make a runtime.

use super::*;

fn check() {
    <VaultRelease as Hooks<frame_system::pallet_prelude::BlockNumberFor<Test>>>::integrity_test();
}

#[test]
fn the_widest_and_the_narrowest_sensible_bounds_are_taken() {
    for (version, name, artifacts) in [(64, 64, 16), (1, 37, 1), (255, 255, 200)] {
        MaxVersionLength::set(version);
        MaxArtifactNameLength::set(name);
        MaxArtifacts::set(artifacts);
        check();
    }
}

#[test]
#[should_panic(expected = "MaxVersionLength is 0: expected 1 to 255")]
fn a_runtime_without_room_for_a_version_is_refused() {
    MaxVersionLength::set(0);
    check();
}

#[test]
#[should_panic(expected = "MaxVersionLength is 256: expected 1 to 255")]
fn a_version_longer_than_a_file_name_is_refused() {
    MaxVersionLength::set(256);
    check();
}

#[test]
#[should_panic(expected = "MaxArtifactNameLength is 36: expected 37 to 255")]
fn a_runtime_without_room_for_the_names_that_clients_look_for_is_refused() {
    MaxArtifactNameLength::set(36);
    check();
}

#[test]
#[should_panic(expected = "MaxArtifactNameLength is 256: expected 37 to 255")]
fn an_artifact_name_longer_than_a_file_name_is_refused() {
    MaxArtifactNameLength::set(256);
    check();
}

#[test]
#[should_panic(expected = "MaxArtifacts is 0: expected at least 1")]
fn a_runtime_without_room_for_other_platforms_is_refused() {
    MaxArtifacts::set(0);
    check();
}

#[test]
#[should_panic(expected = "bytes with MaxArtifacts 1000: expected at most 65536, clients refuse more")]
fn a_release_larger_than_clients_read_is_refused() {
    MaxArtifacts::set(1_000);
    check();
}

#[test]
fn every_call_is_charged_for_its_storage_accesses() {
    type Weights = <Test as crate::Config>::WeightInfo;
    let db = crate::mock::DbWeight::get();
    // Both slots are read by each call but the cancellation; those with files may write both.
    for (weight, reads, writes) in [
        (Weights::set_vault_release(), 2, 1),
        (Weights::schedule_vault_release(), 2, 1),
        (Weights::cancel_scheduled_release(), 1, 1),
        (Weights::set_release_artifact(), 2, 2),
        (Weights::remove_release_artifact(), 2, 2),
        (Weights::promote_scheduled_release(), 2, 2),
        (Weights::keep_scheduled_release(), 1, 0),
    ] {
        let charged = (weight.ref_time() % db.write / db.read, weight.ref_time() / db.write);
        assert_eq!(charged, (reads, writes));
        assert!(weight.ref_time() > db.reads_writes(reads, writes).ref_time(), "and for its time");
        assert!(weight.proof_size() > 0, "and for its proof");
    }
}
