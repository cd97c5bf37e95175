//! The node: a full client, its network, its RPC server and an engine, put together.

use std::{net::SocketAddr, path::Path, sync::Arc};

use runtime_mock::{Hash, apis::RuntimeApi, opaque::Block};
use sc_basic_authorship::ProposerFactory;
use sc_client_api::HeaderBackend;
use sc_consensus_grandpa::protocol_standard_name;
use sc_executor::{DEFAULT_HEAP_ALLOC_STRATEGY, WasmExecutor};
use sc_network::{
    Litep2pNetworkBackend, Multiaddr, NetworkBackend, config::FullNetworkConfiguration,
    service::traits::NetworkService,
};
use sc_service::{
    BuildNetworkParams, ChainSpec, Configuration, Error, SpawnTasksParams, TFullClient, TaskManager,
    config::ExecutorConfiguration,
};
use sc_transaction_pool::TransactionPoolHandle;
use sp_io::SubstrateHostFunctions;

use crate::{
    address::{p2p_address, socket_address},
    chain_spec::Engine,
    engine::{Foundation, Grandpa, ManualSeal, PreparedEngine, SelectChain},
    rpc::{self, DescribeChain},
};

/// The client: the chain's blocks and states, and its runtime.
pub(crate) type FullClient = TFullClient<Block, RuntimeApi, WasmExecutor<SubstrateHostFunctions>>;

/// Where transactions wait.
pub(crate) type Pool = TransactionPoolHandle<Block, FullClient>;

/// A running node. Dropping the task manager ends it.
pub(crate) struct Node {
    /// Runs all its tasks.
    pub(crate) task_manager: TaskManager,
    /// Where the RPC server listens.
    pub(crate) rpc_address: SocketAddr,
    /// The chain it runs.
    pub(crate) genesis: Hash,
    network: Arc<dyn NetworkService>,
}

impl Node {
    /// Where peers find it, once it listens.
    pub(crate) fn p2p_address(&self) -> Option<Multiaddr> {
        p2p_address(&*self.network)
    }
}

/// As the SDK makes it from the same configuration, which has no place for the folder.
fn executor(
    configuration: &ExecutorConfiguration,
    compiled_runtimes: Option<&Path>,
) -> WasmExecutor<SubstrateHostFunctions> {
    let builder = WasmExecutor::builder()
        .with_execution_method(configuration.wasm_method)
        .with_onchain_heap_alloc_strategy(DEFAULT_HEAP_ALLOC_STRATEGY)
        .with_offchain_heap_alloc_strategy(DEFAULT_HEAP_ALLOC_STRATEGY)
        .with_max_runtime_instances(configuration.max_runtime_instances)
        .with_runtime_cache_size(configuration.runtime_cache_size);
    match compiled_runtimes {
        Some(folder) => builder.with_cache_path(folder).build(),
        None => builder.build(),
    }
}

/// Starts the node of `configuration` with `engine`. Blocks for seconds, of which `compiled_runtimes` saves most once a
/// node before has left there what it compiled.
pub(crate) fn start(
    configuration: Configuration,
    engine: Engine,
    compiled_runtimes: Option<&Path>,
) -> Result<Node, Error> {
    let executor = executor(&configuration.executor, compiled_runtimes);
    let (client, backend, keystore, mut task_manager) =
        sc_service::new_full_parts::<Block, RuntimeApi, _>(&configuration, None, executor, Vec::new())?;
    let client = Arc::new(client);
    let genesis = client.info().genesis_hash;
    let select_chain = SelectChain::new(backend.clone());
    let pool = Arc::new(
        sc_transaction_pool::Builder::new(
            task_manager.spawn_essential_handle(),
            client.clone(),
            configuration.role.is_authority().into(),
        )
        .with_options(configuration.transaction_pool.clone())
        .build(),
    );

    let metrics = <Litep2pNetworkBackend as NetworkBackend<Block, Hash>>::register_notification_metrics(None);
    let mut net_config = FullNetworkConfiguration::new(&configuration.network, None);
    let engine = match engine {
        Engine::Grandpa => PreparedEngine::Grandpa(Box::new(Grandpa::prepare(
            &client,
            select_chain.clone(),
            protocol_standard_name(&genesis, &configuration.chain_spec),
            &mut net_config,
            metrics.clone(),
        )?)),
        Engine::ManualSeal => PreparedEngine::ManualSeal(ManualSeal::prepare()),
    };
    let (network, system_rpc_tx, tx_handler_controller, syncing, _) =
        sc_service::build_network(BuildNetworkParams {
            config: &configuration,
            net_config,
            client: client.clone(),
            transaction_pool: pool.clone(),
            spawn_handle: task_manager.spawn_handle(),
            spawn_essential_handle: task_manager.spawn_essential_handle(),
            import_queue: engine.import_queue(&client, &task_manager)?,
            block_announce_validator_builder: None,
            warp_sync_config: engine.warp_sync(&backend),
            block_relay: None,
            metrics,
            gap_sync_body_policy: None,
        })?;

    let rpc_builder = {
        let (client, pool, finalizer) = (client.clone(), pool.clone(), engine.finalizer());
        let describe_chain = describe_chain(configuration.chain_spec.cloned_box(), network.clone());
        Box::new(move |_| {
            rpc::methods(client.clone(), pool.clone(), finalizer.clone(), describe_chain.clone())
                .map_err(|error| Error::Application(error.into()))
        })
    };
    let rpc = sc_service::spawn_tasks(SpawnTasksParams {
        config: configuration,
        client: client.clone(),
        backend,
        task_manager: &mut task_manager,
        keystore: keystore.keystore(),
        transaction_pool: pool.clone(),
        rpc_builder,
        network: network.clone(),
        system_rpc_tx,
        tx_handler_controller,
        sync_service: syncing.clone(),
        telemetry: None,
        tracing_execute_block: None,
    })?;
    let proposers =
        ProposerFactory::new(task_manager.spawn_handle(), client.clone(), pool.clone(), None, None);
    engine.run(Foundation {
        client,
        pool,
        select_chain,
        proposers,
        keystore: &keystore,
        network: network.clone(),
        syncing,
        task_manager: &task_manager,
    })?;

    let rpc_address = rpc
        .listen_addresses()
        .iter()
        .find_map(socket_address)
        .ok_or_else(|| Error::Other("the RPC server listens nowhere".into()))?;
    Ok(Node { task_manager, rpc_address, genesis, network })
}

/// The specification with the node itself as boot node, once it listens.
fn describe_chain(spec: Box<dyn ChainSpec>, network: Arc<dyn NetworkService>) -> DescribeChain {
    Arc::new(move || {
        let mut spec = spec.cloned_box();
        let address = p2p_address(&*network).ok_or("the node does not listen for peers yet")?;
        let address = address.to_string().parse().map_err(|error| format!("{address}: {error:?}"))?;
        spec.add_boot_node(address);
        Ok(spec)
    })
}
