//! Calls by the runtime itself, compiled into the test, and Vaultvisor's commands about them.

use std::collections::BTreeMap;

use codec::{DecodeAll, Encode, Output};
use frame_support::traits::GetCallMetadata;
use integration_tests::{
    command::{self, Finished},
    dev_chain::{
        DevChain,
        state::{CurrentRelease, PendingRelease},
    },
};
use runtime_mock::{Runtime, RuntimeCall};
use serde_json::{Value, json};

pub(crate) type ReleaseCall = pallet_vault_release::Call<Runtime>;

/// The account that can do everything here.
pub(crate) const KEY: [&str; 2] = ["--suri", "//Alice"];

/// A checksum that is easy to see.
pub(crate) fn sum(byte: u8) -> String {
    hex::encode([byte; 32])
}

pub(crate) fn text<Bytes: TryFrom<Vec<u8>, Error: std::fmt::Debug>>(text: &str) -> Bytes {
    text.as_bytes().to_vec().try_into().expect("within the runtime's bounds")
}

pub(crate) fn set(version: &str, checksum: u8) -> RuntimeCall {
    let (version, binary_checksum) = (text(version), [checksum; 32]);
    ReleaseCall::set_vault_release { version, binary_checksum }.into()
}

pub(crate) fn schedule(version: &str, checksum: u8, spec_version: u32) -> RuntimeCall {
    let (version, binary_checksum) = (text(version), [checksum; 32]);
    ReleaseCall::schedule_vault_release { version, binary_checksum, spec_version }.into()
}

pub(crate) fn cancel() -> RuntimeCall {
    ReleaseCall::cancel_scheduled_release {}.into()
}

pub(crate) fn set_artifact(version: &str, name: &str, checksum: u8) -> RuntimeCall {
    let (version, name, checksum) = (text(version), text(name), [checksum; 32]);
    ReleaseCall::set_release_artifact { version, name, checksum }.into()
}

pub(crate) fn remove_artifact(version: &str, name: &str) -> RuntimeCall {
    ReleaseCall::remove_release_artifact { version: text(version), name: text(name) }.into()
}

pub(crate) fn authorize(code_hash: u8) -> RuntimeCall {
    frame_system::Call::authorize_upgrade { code_hash: [code_hash; 32].into() }.into()
}

pub(crate) fn batch_all(calls: Vec<RuntimeCall>) -> RuntimeCall {
    pallet_utility::Call::batch_all { calls }.into()
}

pub(crate) fn sudo(call: RuntimeCall) -> RuntimeCall {
    pallet_sudo::Call::sudo { call: Box::new(call) }.into()
}

pub(crate) fn note(bytes: Vec<u8>) -> RuntimeCall {
    pallet_preimage::Call::note_preimage { bytes }.into()
}

pub(crate) fn transfer(value: u128) -> RuntimeCall {
    let dest = runtime_mock::Address::Id([0xee; 32].into());
    pallet_balances::Call::transfer_keep_alive { dest, value }.into()
}

pub(crate) fn hex_of(call: &RuntimeCall) -> String {
    format!("0x{}", hex::encode(call.encode()))
}

pub(crate) fn bytes_of(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("printed as text");
    hex::decode(text.strip_prefix("0x").expect("with 0x")).expect("in hexadecimal")
}

/// The arguments of a call, encoded already.
struct Encoded<'a>(&'a [u8]);

impl Encode for Encoded<'_> {
    fn encode_to<O: Output + ?Sized>(&self, output: &mut O) {
        output.write(self.0);
    }
}

/// `release call` for this chain, with further options.
pub(crate) async fn call(chain: &DevChain, options: &[&str]) -> Finished {
    let fixed = ["release", "call", "--endpoint", chain.url()];
    command::vaultvisor(fixed.iter().chain(options)).await
}

/// `release decode` of a call by this chain, with further options.
pub(crate) async fn decode(chain: &DevChain, call: &str, options: &[&str]) -> Finished {
    let fixed = ["release", "decode", call, "--endpoint", chain.url()];
    command::vaultvisor(fixed.iter().chain(options)).await
}

pub(crate) async fn decoded(chain: &DevChain, call: &RuntimeCall) -> Value {
    decode(chain, &hex_of(call), &["--json"]).await.exited(0).json()
}

/// `release publish` with these options and nothing else.
pub(crate) async fn publish(chain: &DevChain, options: &[&str]) -> Finished {
    let fixed = ["release", "publish", "--json", "--endpoint", chain.url()];
    command::vaultvisor(fixed.iter().chain(&KEY).chain(options)).await
}

/// Has the chain make exactly these bytes as root, in a block of its own that is final.
pub(crate) async fn execute(chain: &DevChain, call: &[u8]) {
    submit(chain, call).await;
    chain.create_block(true).await;
}

/// Has the chain make exactly these bytes as root, in the next block.
pub(crate) async fn submit(chain: &DevChain, call: &[u8]) {
    let native = RuntimeCall::decode_all(&mut &call[..]).expect("the runtime's own call");
    let names = native.get_call_metadata();
    // Behind the two indices that the names stand for.
    chain.sudo(names.pallet_name, names.function_name, &Encoded(&call[2..])).await;
}

/// What the chain holds, in both slots.
pub(crate) async fn record(chain: &DevChain) -> (Option<CurrentRelease>, Option<PendingRelease>) {
    let best = chain.best_hash().await;
    (chain.current_release(&best).await, chain.pending_release(&best).await)
}

/// The same as `release decode --json` prints it; our own record never says where a binary is.
pub(crate) async fn record_json(chain: &DevChain) -> Value {
    let (current, pending) = record(chain).await;
    let current = current.map(|it| {
        json!({
            "sequence": it.sequence,
            "version": it.version,
            "checksum": it.checksum,
            "uri": null,
            "artifacts": it.artifacts,
        })
    });
    let pending = pending.map(|it| {
        json!({
            "version": it.version,
            "checksum": it.checksum,
            "uri": null,
            "artifacts": it.artifacts,
            "spec_version": it.spec_version,
        })
    });
    json!({ "current": current, "pending": pending })
}

pub(crate) fn artifacts(files: &[(&str, u8)]) -> BTreeMap<String, String> {
    files.iter().map(|(name, byte)| (name.to_string(), sum(*byte))).collect()
}
