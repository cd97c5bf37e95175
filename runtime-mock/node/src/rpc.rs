//! The methods that only this chain has, beside those of every node.

use std::{sync::Arc, time::Duration};

use jsonrpsee::{
    RpcModule,
    core::{RpcResult, async_trait},
    proc_macros::rpc,
    types::ErrorObjectOwned,
};
use runtime_mock::{AccountId, BlockNumber, Hash, Nonce, opaque::Block};
use sc_chain_spec::ChainSpec;
use sc_client_api::HeaderBackend;
use sc_consensus_manual_seal::rpc::{EngineCommand, ManualSeal, ManualSealApiServer};
use serde::Serialize;
use substrate_frame_rpc_system::{System, SystemApiServer};

use crate::{
    finality::FinalityHold,
    service::{FullClient, Pool},
};

/// The error code of methods that don't fit the chain's engine.
const WRONG_ENGINE: i32 = -32_020;

/// The error code of something that should have happened and didn't.
const NOT_IN_TIME: i32 = -32_021;

/// The error code of what should not fail.
const INTERNAL: i32 = -32_603;

/// How long a vote that was cast may take to finalize its block. Rounds take fractions of a second;
/// this is for machines under heavy load.
const VOTE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to look whether it has.
const VOTE_POLL: Duration = Duration::from_millis(10);

/// What tests do to the chain.
#[rpc(server)]
pub(crate) trait DevApi {
    /// Holds finality back, or lets it go on.
    ///
    /// When this returns from holding, nothing more will become final until release: a vote that was
    /// cast before has had its effect.
    #[method(name = "dev_holdFinality")]
    async fn hold_finality(&self, hold: bool) -> RpcResult<Finality>;

    /// The chain's specification, raw, with this node as boot node: all that a light client needs.
    #[method(name = "dev_chainSpec")]
    async fn chain_spec(&self) -> RpcResult<serde_json::Value>;
}

/// What is final, and whether more will be.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finality {
    held: bool,
    finalized: FinalizedBlock,
}

#[derive(Clone, Debug, Serialize)]
struct FinalizedBlock {
    number: BlockNumber,
    hash: Hash,
}

/// Who finalizes blocks, and how to reach them.
#[derive(Clone)]
pub(crate) enum Finalizer {
    /// GRANDPA, which can be held.
    Grandpa(FinalityHold),
    /// The caller, by commands.
    Manual(futures::channel::mpsc::Sender<EngineCommand<Hash>>),
}

/// Builds the specification, as JSON, with the addresses that the node has by now.
pub(crate) type DescribeChain = Arc<dyn Fn() -> Result<Box<dyn ChainSpec>, String> + Send + Sync>;

struct Dev {
    client: Arc<FullClient>,
    finalizer: Finalizer,
    describe_chain: DescribeChain,
}

#[async_trait]
impl DevApiServer for Dev {
    async fn hold_finality(&self, hold: bool) -> RpcResult<Finality> {
        let Finalizer::Grandpa(finality) = &self.finalizer else {
            return Err(ErrorObjectOwned::owned(
                WRONG_ENGINE,
                "this chain was started with --manual-seal: nothing becomes final until \
                 engine_finalizeBlock is called, so there is nothing to hold",
                None::<()>,
            ));
        };
        if hold {
            let reach = finality.hold();
            let settled = async {
                while self.client.info().finalized_number < reach {
                    tokio::time::sleep(VOTE_POLL).await;
                }
            };
            tokio::time::timeout(VOTE_TIMEOUT, settled).await.map_err(|_| {
                ErrorObjectOwned::owned(
                    NOT_IN_TIME,
                    format!("finality is held, but block {reach}, voted for before, is not final yet"),
                    None::<()>,
                )
            })?;
        } else {
            finality.release();
        }
        let info = self.client.info();
        let finalized = FinalizedBlock { number: info.finalized_number, hash: info.finalized_hash };
        Ok(Finality { held: hold, finalized })
    }

    async fn chain_spec(&self) -> RpcResult<serde_json::Value> {
        let internal = |reason: String| ErrorObjectOwned::owned(INTERNAL, reason, None::<()>);
        let spec = (self.describe_chain)().map_err(internal)?;
        let json = spec.as_json(true).map_err(internal)?;
        serde_json::from_str(&json).map_err(|error| internal(error.to_string()))
    }
}

/// The methods for a chain with `finalizer`.
///
/// # Errors
///
/// When two methods have one name.
pub(crate) fn methods(
    client: Arc<FullClient>,
    pool: Arc<Pool>,
    finalizer: Finalizer,
    describe_chain: DescribeChain,
) -> Result<RpcModule<()>, jsonrpsee::core::RegisterMethodError> {
    let mut module = RpcModule::new(());
    let system = System::<Pool, FullClient, Block>::new(client.clone(), pool);
    module.merge(SystemApiServer::<Hash, AccountId, Nonce>::into_rpc(system))?;
    if let Finalizer::Manual(commands) = &finalizer {
        module.merge(ManualSeal::new(commands.clone()).into_rpc())?;
    }
    module.merge(Dev { client, finalizer, describe_chain }.into_rpc())?;
    Ok(module)
}
