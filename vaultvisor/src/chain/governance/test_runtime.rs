//! A runtime for tests of the pure parts: native calls with their encoding, and metadata that describes them.
//!
//! Natively encoded by `parity-scale-codec`, so that nothing here goes through the encoder that is tested. The
//! journeys do the same with the real runtime.

#![allow(non_camel_case_types, reason = "calls are named as in metadata")]

use codec::{Compact, Encode};
use scale_info::{MetaType, TypeInfo, meta_type};
use subxt::{ext::frame_metadata::v14, metadata::Metadata};

/// Everything that can be called.
#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum RuntimeCall {
    #[codec(index = 0)]
    System(SystemCall),
    #[codec(index = 4)]
    Balances(BalancesCall),
    #[codec(index = 6)]
    Sudo(SudoCall),
    #[codec(index = 7)]
    Utility(UtilityCall),
    #[codec(index = 8)]
    Preimage(PreimageCall),
    #[codec(index = 9)]
    VaultRelease(ReleaseCall),
    #[codec(index = 10)]
    Referenda(ReferendaCall),
    #[codec(index = 11)]
    Odd(OddCall),
    /// The index that it has on the live bridges.
    #[codec(index = 69)]
    ClientsInfo(ClientsInfoCall),
    #[codec(index = 85)]
    ParachainSystem(ParachainSystemCall),
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum SystemCall {
    #[codec(index = 0)]
    remark { remark: Vec<u8> },
    #[codec(index = 2)]
    set_code { code: Vec<u8> },
    #[codec(index = 9)]
    authorize_upgrade { code_hash: H256 },
    #[codec(index = 10)]
    authorize_upgrade_without_checks { code_hash: H256 },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) struct H256(pub(crate) [u8; 32]);

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum BalancesCall {
    #[codec(index = 3)]
    transfer_keep_alive { dest: MultiAddress, value: Compact<u128> },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum MultiAddress {
    Id(H256),
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum SudoCall {
    #[codec(index = 0)]
    sudo { call: Box<RuntimeCall> },
    #[codec(index = 1)]
    sudo_unchecked_weight { call: Box<RuntimeCall>, weight: Weight },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) struct Weight {
    pub(crate) ref_time: Compact<u64>,
    pub(crate) proof_size: Compact<u64>,
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum UtilityCall {
    #[codec(index = 0)]
    batch { calls: Vec<RuntimeCall> },
    #[codec(index = 2)]
    batch_all { calls: Vec<RuntimeCall> },
    #[codec(index = 3)]
    dispatch_as { as_origin: Box<Origin>, call: Box<RuntimeCall> },
    #[codec(index = 4)]
    force_batch { calls: Vec<RuntimeCall> },
    #[codec(index = 5)]
    with_weight { call: Box<RuntimeCall>, weight: Weight },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum Origin {
    Root,
    Signed(H256),
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum PreimageCall {
    #[codec(index = 0)]
    note_preimage { bytes: Vec<u8> },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum ReleaseCall {
    #[codec(index = 0)]
    set_vault_release { version: Vec<u8>, binary_checksum: [u8; 32] },
    #[codec(index = 1)]
    schedule_vault_release { version: Vec<u8>, binary_checksum: [u8; 32], spec_version: u32 },
    #[codec(index = 2)]
    cancel_scheduled_release,
    #[codec(index = 3)]
    set_release_artifact { version: Vec<u8>, name: Vec<u8>, checksum: [u8; 32] },
    #[codec(index = 4)]
    remove_release_artifact { version: Vec<u8>, name: Vec<u8> },
    /// Not in the pallet: what a later one could have.
    #[codec(index = 9)]
    another_call,
}

/// As the metadata of the live bridges describes it.
#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum ClientsInfoCall {
    #[codec(index = 0)]
    set_current_client_release { client_name: BoundedVec, release: ClientRelease },
    #[codec(index = 1)]
    set_pending_client_release { client_name: BoundedVec, release: ClientRelease },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) struct BoundedVec(pub(crate) Vec<u8>);

#[derive(Clone, Encode, TypeInfo)]
pub(crate) struct ClientRelease {
    pub(crate) uri: BoundedVec,
    pub(crate) checksum: H256,
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum ParachainSystemCall {
    #[codec(index = 2)]
    authorize_upgrade { code_hash: H256, check_version: bool },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum ReferendaCall {
    #[codec(index = 0)]
    submit { proposal: Bounded },
}

/// As `frame_support::traits::Bounded`.
#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum Bounded {
    #[codec(index = 1)]
    Inline(Vec<u8>),
    #[codec(index = 2)]
    Lookup { hash: H256, len: u32 },
}

#[derive(Clone, Encode, TypeInfo)]
pub(crate) enum OddCall {
    /// As many of nothing as anybody claims.
    #[codec(index = 0)]
    nothings { nothings: Vec<()> },
    #[codec(index = 1)]
    mixed { flag: bool, text: String, numbers: Vec<u16>, signed: i8, pair: (u8, Option<u64>) },
}

#[derive(TypeInfo)]
enum RuntimeEvent {}

/// As `sp_runtime::generic::UncheckedExtrinsic`, of which only the names of the parameters matter.
#[derive(TypeInfo)]
#[allow(dead_code, reason = "only its type is described")]
struct UncheckedExtrinsic<Address, Signature> {
    address: Address,
    signature: Signature,
    event: RuntimeEvent,
    call: RuntimeCall,
}

/// The metadata of the whole runtime, with the bounds 64, 64 and 2.
pub(crate) fn metadata() -> Metadata {
    metadata_without("")
}

/// The metadata of the runtime without the calls of one pallet, or of several with blanks between.
pub(crate) fn metadata_without(absent: &str) -> Metadata {
    let pallets = [
        ("System", 0, meta_type::<SystemCall>()),
        ("Balances", 4, meta_type::<BalancesCall>()),
        ("Sudo", 6, meta_type::<SudoCall>()),
        ("Utility", 7, meta_type::<UtilityCall>()),
        ("Preimage", 8, meta_type::<PreimageCall>()),
        ("VaultRelease", 9, meta_type::<ReleaseCall>()),
        ("Referenda", 10, meta_type::<ReferendaCall>()),
        ("Odd", 11, meta_type::<OddCall>()),
        ("ClientsInfo", 69, meta_type::<ClientsInfoCall>()),
        ("ParachainSystem", 85, meta_type::<ParachainSystemCall>()),
    ];
    let pallets = pallets
        .into_iter()
        .filter(|(name, ..)| !absent.split(' ').any(|absent| absent == *name))
        .map(pallet)
        .collect();
    let extrinsic = v14::ExtrinsicMetadata {
        ty: meta_type::<UncheckedExtrinsic<H256, H256>>(),
        version: 4,
        signed_extensions: Vec::new(),
    };
    let metadata = v14::RuntimeMetadataV14::new(pallets, extrinsic, meta_type::<()>());
    Metadata::from_v14(metadata).expect("it describes all that a client looks at")
}

fn pallet((name, index, calls): (&'static str, u8, MetaType)) -> v14::PalletMetadata {
    let constant = |name, value: u32| v14::PalletConstantMetadata {
        name,
        ty: meta_type::<u32>(),
        value: value.encode(),
        docs: Vec::new(),
    };
    let constants = match name {
        "VaultRelease" => vec![
            constant("MaxVersionLength", 64),
            constant("MaxArtifactNameLength", 64),
            constant("MaxArtifacts", 2),
        ],
        _ => Vec::new(),
    };
    v14::PalletMetadata {
        name,
        storage: None,
        calls: Some(v14::PalletCallMetadata { ty: calls }),
        event: None,
        constants,
        error: None,
        index,
    }
}

pub(crate) fn set(version: &str, checksum: u8) -> RuntimeCall {
    RuntimeCall::VaultRelease(ReleaseCall::set_vault_release {
        version: version.into(),
        binary_checksum: [checksum; 32],
    })
}

pub(crate) fn schedule(version: &str, checksum: u8, spec_version: u32) -> RuntimeCall {
    RuntimeCall::VaultRelease(ReleaseCall::schedule_vault_release {
        version: version.into(),
        binary_checksum: [checksum; 32],
        spec_version,
    })
}

pub(crate) fn cancel() -> RuntimeCall {
    RuntimeCall::VaultRelease(ReleaseCall::cancel_scheduled_release)
}

pub(crate) fn set_artifact(version: &str, name: &str, checksum: u8) -> RuntimeCall {
    RuntimeCall::VaultRelease(ReleaseCall::set_release_artifact {
        version: version.into(),
        name: name.into(),
        checksum: [checksum; 32],
    })
}

pub(crate) fn remove_artifact(version: &str, name: &str) -> RuntimeCall {
    RuntimeCall::VaultRelease(ReleaseCall::remove_release_artifact {
        version: version.into(),
        name: name.into(),
    })
}

pub(crate) fn client_release(client: &[u8], uri: &[u8], checksum: u8, pending: bool) -> RuntimeCall {
    let client_name = BoundedVec(client.to_vec());
    let release = ClientRelease { uri: BoundedVec(uri.to_vec()), checksum: H256([checksum; 32]) };
    RuntimeCall::ClientsInfo(match pending {
        false => ClientsInfoCall::set_current_client_release { client_name, release },
        true => ClientsInfoCall::set_pending_client_release { client_name, release },
    })
}

pub(crate) fn authorize(code_hash: u8) -> RuntimeCall {
    RuntimeCall::System(SystemCall::authorize_upgrade { code_hash: H256([code_hash; 32]) })
}

pub(crate) fn transfer(value: u128) -> RuntimeCall {
    let dest = MultiAddress::Id(H256([0xee; 32]));
    RuntimeCall::Balances(BalancesCall::transfer_keep_alive { dest, value: Compact(value) })
}

pub(crate) fn batch_all(calls: Vec<RuntimeCall>) -> RuntimeCall {
    RuntimeCall::Utility(UtilityCall::batch_all { calls })
}

pub(crate) fn sudo(call: RuntimeCall) -> RuntimeCall {
    RuntimeCall::Sudo(SudoCall::sudo { call: Box::new(call) })
}

pub(crate) fn note(bytes: Vec<u8>) -> RuntimeCall {
    RuntimeCall::Preimage(PreimageCall::note_preimage { bytes })
}
