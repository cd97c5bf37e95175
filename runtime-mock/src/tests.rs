//! What the runtime promises before it runs.

use codec::{Decode, Encode};
use frame_support::traits::PalletInfoAccess;
use sp_core::storage::Storage;
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};

use crate::{genesis, AccountId, Balances, Runtime, RuntimeCall, SlotDuration, VaultRelease};

fn development() -> Storage {
    genesis::development_storage().expect("the preset fits the genesis configuration")
}

#[test]
fn alice_is_the_only_authority_and_the_sudo_account() {
    sp_io::TestExternalities::from(development()).execute_with(|| {
        let alice = Sr25519Keyring::Alice;
        assert_eq!(pallet_aura::Authorities::<Runtime>::get().into_inner(), [alice.public().into()]);
        assert_eq!(
            pallet_grandpa::Pallet::<Runtime>::grandpa_authorities(),
            [(Ed25519Keyring::Alice.public().into(), 1)]
        );
        assert_eq!(pallet_sudo::Key::<Runtime>::get(), Some(alice.to_account_id()));
    });
}

#[test]
fn the_well_known_accounts_can_pay() {
    sp_io::TestExternalities::from(development()).execute_with(|| {
        for account in [Sr25519Keyring::Alice, Sr25519Keyring::Bob, Sr25519Keyring::FerdieStash] {
            let account: AccountId = account.to_account_id();
            assert!(Balances::free_balance(&account) > 1_000_000_000_000, "{account} is rich");
        }
    });
}

#[test]
fn a_chain_starts_without_a_release() {
    sp_io::TestExternalities::from(development()).execute_with(|| {
        assert_eq!(pallet_vault_release::CurrentRelease::<Runtime>::get(), None);
    });
}

#[test]
fn every_preset_that_is_named_exists() {
    for name in genesis::preset_names() {
        assert!(genesis::preset(&name).is_some(), "{name} exists");
    }
    assert_eq!(genesis::preset(&"another".into()), None);
}

#[test]
fn a_chain_specification_sets_the_slot_duration() {
    let mut storage = development();
    storage.top.extend(genesis::chain_parameters([7; 16], 250));
    sp_io::TestExternalities::from(storage).execute_with(|| {
        assert_eq!(SlotDuration::get(), 250);
        assert_eq!(<Runtime as pallet_timestamp::Config>::MinimumPeriod::get(), 125);
    });
    sp_io::TestExternalities::from(development()).execute_with(|| {
        assert_eq!(SlotDuration::get(), 1_000, "unless told otherwise");
    });
}

#[test]
fn chains_with_different_nonces_start_from_different_states() {
    let [(key, one), _] = genesis::chain_parameters([1; 16], 1_000);
    let [(same_key, other), _] = genesis::chain_parameters([2; 16], 1_000);
    assert_eq!(key, same_key);
    assert_ne!(one, other);
}

#[test]
fn clients_find_the_pallet_where_they_look() {
    assert_eq!(<VaultRelease as PalletInfoAccess>::name(), "VaultRelease");
    assert_eq!(<VaultRelease as PalletInfoAccess>::index(), 9);

    let call = RuntimeCall::VaultRelease(pallet_vault_release::Call::set_vault_release {
        version: b"1.0".to_vec().try_into().expect("short"),
        binary_checksum: [1; 32],
    });
    let encoded = [&[9, 0, 12][..], b"1.0", &[1; 32]].concat();
    assert_eq!(call.encode(), encoded);
    assert_eq!(RuntimeCall::decode(&mut &encoded[..]), Ok(call));
}
