//! A running light client: the library, a runtime of its own, and a JSON-RPC client that speaks to it in memory.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use smoldot_light::{
    AddChainConfig, AddChainConfigJsonRpc, AddChainError, ChainId, HandleRpcError, JsonRpcResponses,
};
use subxt::ext::jsonrpsee::core::client::{
    ClientBuilder, ReceivedMessage, TransportReceiverT, TransportSenderT,
};
use subxt_rpcs::RpcClient;
use tokio::runtime::{Builder, Runtime};

use super::{chain_spec::Specs, platform::Platform};

/// How many calls may wait for their turn; we make a handful at a time.
const MAX_WAITING_CALLS: NonZeroU32 = NonZeroU32::new(64).expect("it is not zero");

/// One subscription to heads, a second while they change over, and one to runtimes.
const MAX_SUBSCRIPTIONS: u32 = 8;

/// How many notifications may wait while a read is under way; as for the nodes that we connect to.
const MAX_WAITING_NOTIFICATIONS: usize = 1024;

/// The name of its thread, as the system's tools show it.
pub(super) const THREAD: &str = "light-client";

type Library = smoldot_light::Client<Platform>;

/// A light client that runs. Dropped: nothing of it is left, whatever it was doing.
pub(in crate::chain) struct LightClient {
    runtime: OwnRuntime,
    /// Talks to the chain.
    pub(in crate::chain) chain: RpcClient,
    /// Talks to its relay chain, if it has one.
    pub(super) relay_chain: Option<RpcClient>,
}

/// Why it could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gives it no thread.
    #[error("cannot start the light client's thread")]
    Thread(#[source] std::io::Error),
    /// The library refuses a chain.
    #[error("the light client refuses the chain specification")]
    Refused(#[source] Box<AddChainError>),
    /// The library failed where it should not.
    #[error("the light client ended by itself: {0}")]
    Ended(String),
}

/// What was synced before, for each chain.
#[derive(Debug, Default)]
pub(super) struct Synced {
    pub(super) chain: String,
    pub(super) relay_chain: String,
}

/// A runtime with one thread: verifying proofs and compiling a chain's runtime takes up to some 100 ms at a stretch, for
/// which no vault should wait.
pub(super) struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    pub(super) fn new() -> Result<Self, StartError> {
        let runtime = Builder::new_multi_thread()
            // And no second one. A task of the library starts another again that has ended, until that takes a message. In
            // a runtime that ends none does, so a thread that still polls the one while a second drops the other would
            // do so for ever.
            .worker_threads(1)
            // For the system's resolver, one name at a time.
            .max_blocking_threads(1)
            .thread_name(THREAD)
            .enable_all()
            .build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(StartError::Thread)
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Does not wait, which async code must not do: the tasks end where they wait next.
            runtime.shutdown_background();
        }
    }
}

impl LightClient {
    /// Starts one that syncs the chain of `specs`, from what was `synced` before if that is further.
    pub(super) async fn start(specs: Specs, synced: Synced) -> Result<Self, StartError> {
        let runtime = OwnRuntime::new()?;
        // The library spawns into the runtime in which it is called.
        let (chain, relay_chain) = runtime.spawn(async move { add_chains(&specs, &synced) }).await??;
        Ok(Self { runtime, chain, relay_chain })
    }

    /// Runs a task for as long as the light client lives.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }
}

impl std::ops::Deref for OwnRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("it is taken at the end only")
    }
}

impl From<tokio::task::JoinError> for StartError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Ended(error.to_string())
    }
}

pub(super) fn add_chains(
    specs: &Specs,
    synced: &Synced,
) -> Result<(RpcClient, Option<RpcClient>), StartError> {
    let library = Arc::new(Mutex::new(Library::new(Platform)));
    let relay_chain = match &specs.relay_chain {
        Some(spec) => Some(add_chain(&library, spec, &synced.relay_chain, None)?),
        None => None,
    };
    let relay_chain_id = relay_chain.as_ref().map(|(id, _)| *id);
    let (_, chain) = add_chain(&library, &specs.chain, &synced.chain, relay_chain_id)?;
    Ok((chain, relay_chain.map(|(_, relay_chain)| relay_chain)))
}

fn add_chain(
    library: &Arc<Mutex<Library>>,
    spec: &str,
    synced: &str,
    relay_chain: Option<ChainId>,
) -> Result<(ChainId, RpcClient), StartError> {
    let added = lock(library)
        .add_chain(AddChainConfig {
            user_data: (),
            specification: spec,
            database_content: synced,
            potential_relay_chains: relay_chain.into_iter(),
            json_rpc: AddChainConfigJsonRpc::Enabled {
                max_pending_requests: MAX_WAITING_CALLS,
                max_subscriptions: MAX_SUBSCRIPTIONS,
            },
            statement_protocol_config: None,
        })
        .map_err(|error| StartError::Refused(Box::new(error)))?;
    let responses =
        added.json_rpc_responses.ok_or_else(|| StartError::Ended("it does not answer calls".to_owned()))?;
    let calls = Calls { library: library.clone(), chain: added.chain_id };
    let client = ClientBuilder::new()
        .max_buffer_capacity_per_subscription(MAX_WAITING_NOTIFICATIONS)
        .build_with_tokio(calls, Answers(responses));
    Ok((added.chain_id, RpcClient::new(client)))
}

fn lock(library: &Mutex<Library>) -> std::sync::MutexGuard<'_, Library> {
    // A panic inside of the library ends what it was asked for, and calls go unanswered; their deadlines tell.
    library.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way in: JSON-RPC calls as text.
struct Calls {
    library: Arc<Mutex<Library>>,
    chain: ChainId,
}

impl TransportSenderT for Calls {
    type Error = HandleRpcError;

    async fn send(&mut self, call: String) -> Result<(), HandleRpcError> {
        lock(&self.library).json_rpc_request(call, self.chain)
    }
}

/// The way out: answers and notifications as text.
struct Answers(JsonRpcResponses<Platform>);

/// No more answers.
#[derive(Debug, thiserror::Error)]
#[error("the light client has ended")]
struct Ended;

impl TransportReceiverT for Answers {
    type Error = Ended;

    async fn receive(&mut self) -> Result<ReceivedMessage, Ended> {
        self.0.next().await.map(ReceivedMessage::Text).ok_or(Ended)
    }
}
