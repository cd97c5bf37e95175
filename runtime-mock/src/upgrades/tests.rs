//! What is said of the upgrades is true of their WebAssembly.

use std::collections::BTreeMap;

use codec::Decode;
use frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed};
use sc_executor::WasmExecutor;
use sp_core::traits::{CallContext, CodeExecutor, ReadRuntimeVersion, RuntimeCode, WrappedRuntimeCode};
use sp_io::{SubstrateHostFunctions, TestExternalities};
use sp_version::RuntimeVersion;

use super::*;
use crate::{VERSION, WASM_BINARY};

fn executor() -> WasmExecutor<SubstrateHostFunctions> {
    WasmExecutor::builder().build()
}

fn code(upgrade: &Upgrade) -> &'static [u8] {
    upgrade.code.expect("tests need the runtime's WebAssembly")
}

/// The version that nodes read without running the code, as for `set_code`.
fn version(code: &[u8]) -> RuntimeVersion {
    let version = executor()
        .read_runtime_version(code, &mut TestExternalities::default().ext())
        .expect("the version is a section of the WebAssembly");
    RuntimeVersion::decode(&mut &version[..]).expect("it is a version")
}

/// The indices and names of the pallets, as the running code tells them to clients.
fn pallets(code: &[u8]) -> BTreeMap<u8, String> {
    let fetch = WrappedRuntimeCode(code.into());
    let code = RuntimeCode { code_fetcher: &fetch, heap_pages: None, hash: vec![1] };
    let mut externalities = TestExternalities::default();
    let (metadata, _) =
        executor().call(&mut externalities.ext(), &code, "Metadata_metadata", &[], CallContext::Offchain);
    let opaque = Vec::<u8>::decode(&mut &metadata.expect("the code runs")[..]).expect("it is opaque");
    let metadata = RuntimeMetadataPrefixed::decode(&mut &opaque[..]).expect("it is metadata");
    let RuntimeMetadata::V14(metadata) = metadata.1 else { panic!("clients without a wish get version 14") };
    metadata.pallets.into_iter().map(|pallet| (pallet.index, pallet.name)).collect()
}

#[test]
fn each_has_the_version_that_is_said_of_it_and_the_name_that_upgrades_ask_for() {
    let mut last = version(WASM_BINARY.expect("tests need the runtime's WebAssembly"));
    assert_eq!(last.spec_version, VERSION.spec_version);
    for upgrade in UPGRADES {
        let version = version(code(upgrade));
        assert_eq!(version.spec_version, upgrade.spec_version, "{upgrade:?}");
        assert_eq!(version.spec_name, VERSION.spec_name, "set_code refuses another");
        assert!(version.spec_version > last.spec_version, "set_code refuses to go back");
        last = version;
    }
}

#[test]
fn the_pallet_is_where_is_said_and_its_old_place_belongs_to_another_after_the_move() {
    for upgrade in UPGRADES {
        let pallets = pallets(code(upgrade));
        let at = |index: u8| pallets.get(&index).map(String::as_str);
        assert_eq!(at(upgrade.vault_release_index), Some("VaultRelease"), "{upgrade:?}");
        let is_moved = upgrade.spec_version == MOVED.spec_version;
        assert_eq!(at(9), Some(if is_moved { "Council" } else { "VaultRelease" }), "{upgrade:?}");
        assert_eq!(pallets.len(), if is_moved { 12 } else { 10 }, "{upgrade:?}: {pallets:?}");
    }
}
