//! How the chain starts.

use alloc::{string::ToString, vec, vec::Vec};
use codec::Encode;
use frame_support::build_struct_json_patch;
use sp_genesis_builder::{PresetId, DEV_RUNTIME_PRESET};
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};

use crate::{AccountId, Balance, BalancesConfig, ChainNonce, RuntimeGenesisConfig, SlotDuration, SudoConfig};

/// What each well-known account owns: more than any test spends, and far from overflowing.
const ENDOWMENT: Balance = 1 << 60;

/// What differs from chain to chain, as raw storage for a chain specification: keys and values.
///
/// Beside the genesis configuration, for both are parameters of the runtime and of no pallet.
pub fn chain_parameters(nonce: [u8; 16], slot_duration_ms: u64) -> [(Vec<u8>, Vec<u8>); 2] {
    [(ChainNonce::key().to_vec(), nonce.encode()), (SlotDuration::key().to_vec(), slot_duration_ms.encode())]
}

/// The names of the presets.
pub fn preset_names() -> Vec<PresetId> {
    vec![DEV_RUNTIME_PRESET.into()]
}

/// The preset `name` as JSON, if there is one of that name.
pub fn preset(name: &PresetId) -> Option<Vec<u8>> {
    (name == DEV_RUNTIME_PRESET).then(|| development().to_string().into_bytes())
}

/// The storage of a chain that starts with the development preset, without the runtime's code.
///
/// For native programs: running the runtime's WebAssembly for this would compile it once more, which
/// takes a debug build seconds.
///
/// # Errors
///
/// When the preset and the genesis configuration don't fit together, with the reason.
#[cfg(feature = "std")]
pub fn development_storage() -> Result<sp_core::storage::Storage, alloc::string::String> {
    use sp_runtime::BuildStorage;

    let mut config =
        serde_json::to_value(RuntimeGenesisConfig::default()).map_err(|error| error.to_string())?;
    merge(&mut config, development());
    serde_json::from_value::<RuntimeGenesisConfig>(config).map_err(|error| error.to_string())?.build_storage()
}

/// Puts `patch` over `target`, as RFC 7386 wants it for objects.
#[cfg(feature = "std")]
fn merge(target: &mut serde_json::Value, patch: serde_json::Value) {
    match (target, patch) {
        (serde_json::Value::Object(target), serde_json::Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

/// Alice is the only authority and the sudo account; the well-known accounts are rich.
fn development() -> serde_json::Value {
    build_struct_json_patch!(RuntimeGenesisConfig {
        aura: pallet_aura::GenesisConfig { authorities: vec![Sr25519Keyring::Alice.public().into()] },
        balances: BalancesConfig { balances: well_known().map(|who| (who, ENDOWMENT)).collect() },
        grandpa: pallet_grandpa::GenesisConfig {
            authorities: vec![(Ed25519Keyring::Alice.public().into(), 1)],
        },
        sudo: SudoConfig { key: Some(Sr25519Keyring::Alice.to_account_id()) },
    })
}

/// Alice, Bob and the others, and their stash accounts.
fn well_known() -> impl Iterator<Item = AccountId> {
    Sr25519Keyring::well_known().map(|key| key.to_account_id())
}
