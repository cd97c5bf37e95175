//! What the chain's sudo key does beside publishing releases, without Vaultvisor: above all the upgrade of the runtime.

use std::{fs, process::Command};

use subxt::{
    config::{SubstrateConfig, SubstrateExtrinsicParamsBuilder},
    dynamic::tx,
    ext::{
        codec::Encode,
        scale_encode::{EncodeAsFields, Error, FieldIter, TypeResolver},
    },
    utils::H256,
};
use subxt_rpcs::client::rpc_params;
use subxt_signer::sr25519::dev;

use super::DevChain;
use crate::{binaries, command, wait};

/// For how many blocks a signed call stays valid: longer than any journey.
const MORTAL_BLOCKS: u64 = 256;

/// Arguments that are encoded already. As dynamic values a runtime of megabytes would take gigabytes.
struct Encoded(Vec<u8>);

impl EncodeAsFields for Encoded {
    fn encode_as_fields_to<R: TypeResolver>(
        &self,
        _: &mut dyn FieldIter<'_, R::TypeId>,
        _: &R,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        out.extend_from_slice(&self.0);
        Ok(())
    }
}

impl DevChain {
    /// Upgrades the chain to the later runtime of that version, and answers the hash of the block that changed the
    /// code. It is the last block that the old runtime executed; the new one executes the next, which with manual seal
    /// is still to be made, and nothing of it is final there yet.
    pub async fn upgrade_runtime(&self, spec_version: u32) -> String {
        let code = later_runtime(spec_version).await;
        self.sudo("System", "set_code", &code).await;
        if self.is_manual {
            let block = self.create_block(false).await;
            assert_eq!(self.spec_version(&block).await, spec_version, "the upgrade was refused");
            return block;
        }
        wait::until(&format!("runtime {spec_version}"), async || {
            match self.spec_version(&self.best_hash().await).await {
                found if found == spec_version => Ok(()),
                found => Err(format!("runtime {found}")),
            }
        })
        .await;
        let mut block = self.best_hash().await;
        loop {
            let parent = self.parent(&block).await;
            if self.spec_version(&parent).await != spec_version {
                return block;
            }
            block = parent;
        }
    }

    /// Has the sudo key call `pallet.call` as root, with these arguments, encoded one after the other.
    ///
    /// When this returns, the call waits for its block. Sudo succeeds even if the call inside does not: look at what
    /// it should have done.
    pub async fn sudo(&self, pallet: &str, call: &str, arguments: &impl Encode) {
        /// Not counted, so that a call which wants a block of its own, as `set_code` does, gets into any.
        const NO_WEIGHT: [u8; 2] = [0, 0];

        let best = self.best_hash().await;
        let at = self.client_at(&best).await;
        let inner = at
            .transactions()
            .call_data(&tx(pallet, call, Encoded(arguments.encode())))
            .unwrap_or_else(|error| panic!("the runtime has no {pallet}.{call}: {error}"));
        let sudo = tx("Sudo", "sudo_unchecked_weight", Encoded([&inner[..], &NO_WEIGHT].concat()));

        let alice = dev::alice();
        let account = alice.public_key().to_account_id().to_string();
        let nonce: u64 = self.request("system_accountNextIndex", rpc_params![account]).await;
        let params = SubstrateExtrinsicParamsBuilder::<SubstrateConfig>::new()
            .nonce(nonce)
            .mortal_from_unchecked(MORTAL_BLOCKS, at.block_number(), at.block_hash())
            .build();
        let transaction = at
            .transactions()
            .create_signable_offline(&sudo, params)
            .and_then(|mut unsigned| unsigned.sign(&alice))
            .expect("the runtime takes what every client can sign");
        let encoded = format!("0x{}", hex::encode(transaction.encoded()));
        let _: H256 = self.request("author_submitExtrinsic", rpc_params![encoded]).await;
    }
}

/// The WebAssembly of the later runtime of that version.
async fn later_runtime(spec_version: u32) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("runtime.wasm");
    let mut export = Command::new(binaries::path("dev-chain"));
    export.args(["export-runtime", &spec_version.to_string(), "--output"]).arg(&output);
    command::run(export).await.exited(0);
    fs::read(&output).expect("it was written")
}
