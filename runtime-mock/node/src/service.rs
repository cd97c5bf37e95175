//! The node: a full client with one of two engines.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use runtime_mock::{Block, Hash, apis::RuntimeApi};
use sc_basic_authorship::ProposerFactory;
use sc_client_api::{Backend, HeaderBackend};
use sc_consensus::{DefaultImportQueue, LongestChain};
use sc_consensus_aura::{CompatibilityMode, ImportQueueParams, SlotProportion, StartAuraParams};
use sc_consensus_grandpa::{GrandpaParams, LinkHalf, SharedVoterState, protocol_standard_name};
use sc_consensus_manual_seal::{
    ManualSealParams,
    consensus::{aura::AuraConsensusDataProvider, timestamp::SlotTimestampProvider},
    run_manual_seal,
};
use sc_executor::WasmExecutor;
use sc_network::{
    Litep2pNetworkBackend, Multiaddr, NetworkBackend, config::FullNetworkConfiguration, multiaddr::Protocol,
    service::traits::NetworkService,
};
use sc_service::{
    BuildNetworkParams, ChainSpec, Configuration, Error, SpawnTasksParams, TFullBackend, TFullClient,
    TaskManager, WarpSyncConfig,
};
use sc_transaction_pool::TransactionPoolHandle;
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_consensus_aura::sr25519::AuthorityPair as AuraPair;
use sp_io::SubstrateHostFunctions;

use crate::{
    chain_spec::Engine,
    finality::FinalityHold,
    rpc::{self, DescribeChain, Finalizer},
};

/// The client: the chain's blocks and states, and its runtime.
pub(crate) type FullClient = TFullClient<Block, RuntimeApi, WasmExecutor<SubstrateHostFunctions>>;
/// Where transactions wait.
pub(crate) type Pool = TransactionPoolHandle<Block, FullClient>;
type FullBackend = TFullBackend<Block>;
type SelectChain = LongestChain<FullBackend, Block>;
type GrandpaBlockImport =
    sc_consensus_grandpa::GrandpaBlockImport<FullBackend, Block, FullClient, SelectChain>;
type GrandpaLink = LinkHalf<Block, FullClient, SelectChain>;
type Proposers = ProposerFactory<Pool, FullClient>;

/// How often GRANDPA expects a justification to be stored: for each block, so that a light client can
/// be shown one for whichever block is final.
const JUSTIFICATION_PERIOD: u32 = 1;

/// The clock of GRANDPA's rounds: a voter waits two of these for a better proposal before it votes.
/// There is nobody to wait for, but shorter rounds only burn time.
const GOSSIP_DURATION: Duration = Duration::from_millis(50);

/// How much of its slot a block may take to be made.
const PROPOSAL_SHARE: f32 = 2.0 / 3.0;

/// Commands for the manual engine that may wait. Each caller waits for the answer anyway.
const COMMANDS_QUEUED: usize = 1_024;

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

/// Starts the node of `configuration` with `engine`. Blocks for seconds.
pub(crate) fn start(configuration: Configuration, engine: Engine) -> Result<Node, Error> {
    let executor = sc_service::new_wasm_executor::<SubstrateHostFunctions>(&configuration.executor);
    let (client, backend, keystore, mut task_manager) =
        sc_service::new_full_parts::<Block, RuntimeApi, _>(&configuration, None, executor, Vec::new())?;
    let client = Arc::new(client);
    let genesis = client.info().genesis_hash;
    let select_chain = LongestChain::new(backend.clone());
    let pool = Arc::new(
        sc_transaction_pool::Builder::new(
            task_manager.spawn_essential_handle(),
            client.clone(),
            configuration.role.is_authority().into(),
        )
        .with_options(configuration.transaction_pool.clone())
        .build(),
    );
    let proposers =
        ProposerFactory::new(task_manager.spawn_handle(), client.clone(), pool.clone(), None, None);

    let metrics = <Litep2pNetworkBackend as NetworkBackend<Block, Hash>>::register_notification_metrics(None);
    let mut net_config =
        FullNetworkConfiguration::<Block, Hash, Litep2pNetworkBackend>::new(&configuration.network, None);

    let engine = match engine {
        Engine::Grandpa => {
            let (block_import, link) = sc_consensus_grandpa::block_import(
                client.clone(),
                JUSTIFICATION_PERIOD,
                &client,
                select_chain.clone(),
                None,
            )?;
            let protocol_name = protocol_standard_name(&genesis, configuration.chain_spec.fork_id());
            let (protocol, notifications) =
                sc_consensus_grandpa::grandpa_peers_set_config::<_, Litep2pNetworkBackend>(
                    protocol_name.clone(),
                    metrics.clone(),
                    net_config.peer_store_handle(),
                );
            net_config.add_notification_protocol(protocol);
            PreparedEngine::Grandpa(Box::new(PreparedGrandpa {
                block_import,
                link,
                protocol_name,
                notifications,
                hold: FinalityHold::default(),
            }))
        }
        Engine::ManualSeal => PreparedEngine::ManualSeal,
    };

    let (network, system_rpc_tx, tx_handler_controller, sync_service, _) =
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

    let (finalizer, commands) = match &engine {
        PreparedEngine::Grandpa(grandpa) => (Finalizer::Grandpa(grandpa.hold.clone()), None),
        PreparedEngine::ManualSeal => {
            let (sender, receiver) = futures::channel::mpsc::channel(COMMANDS_QUEUED);
            (Finalizer::Manual(sender), Some(receiver))
        }
    };
    let rpc_builder = {
        let (client, pool) = (client.clone(), pool.clone());
        let describe_chain = describe_chain(configuration.chain_spec.cloned_box(), network.clone());
        Box::new(move |_| {
            rpc::methods(client.clone(), pool.clone(), finalizer.clone(), describe_chain.clone())
                .map_err(|error| Error::Application(error.into()))
        })
    };
    let (role, keystore) = (configuration.role, keystore.keystore());
    let rpc = sc_service::spawn_tasks(SpawnTasksParams {
        config: configuration,
        client: client.clone(),
        backend: backend.clone(),
        task_manager: &mut task_manager,
        keystore: keystore.clone(),
        transaction_pool: pool.clone(),
        rpc_builder,
        network: network.clone(),
        system_rpc_tx,
        tx_handler_controller,
        sync_service: sync_service.clone(),
        telemetry: None,
        tracing_execute_block: None,
    })?;

    match engine {
        PreparedEngine::Grandpa(grandpa) => {
            let PreparedGrandpa { block_import, link, protocol_name, notifications, hold } = *grandpa;
            let slot_duration = sc_consensus_aura::slot_duration(&*client)?;
            let aura =
                sc_consensus_aura::start_aura::<AuraPair, _, _, _, _, _, _, _, _, _, _>(StartAuraParams {
                    slot_duration,
                    client: client.clone(),
                    select_chain,
                    block_import,
                    proposer_factory: proposers,
                    sync_oracle: sync_service.clone(),
                    justification_sync_link: sync_service.clone(),
                    create_inherent_data_providers: move |_, ()| async move {
                        let timestamp = sp_timestamp::InherentDataProvider::from_system_time();
                        let slot = sp_consensus_aura::inherents::InherentDataProvider::
                            from_timestamp_and_slot_duration(*timestamp, slot_duration);
                        Ok((slot, timestamp))
                    },
                    force_authoring: true,
                    // Blocks go on while finality is held: that is the point of holding it.
                    backoff_authoring_blocks: None::<()>,
                    keystore: keystore.clone(),
                    block_proposal_slot_portion: SlotProportion::new(PROPOSAL_SHARE),
                    max_block_proposal_slot_portion: None,
                    telemetry: None,
                    compatibility_mode: CompatibilityMode::None,
                })?;
            task_manager.spawn_essential_handle().spawn_blocking("aura", Some("engine"), aura);

            let voter = sc_consensus_grandpa::run_grandpa_voter(GrandpaParams {
                config: sc_consensus_grandpa::Config {
                    gossip_duration: GOSSIP_DURATION,
                    justification_generation_period: JUSTIFICATION_PERIOD,
                    observer_enabled: false,
                    local_role: role,
                    name: None,
                    keystore: Some(keystore),
                    telemetry: None,
                    protocol_name,
                },
                link,
                network: network.clone(),
                sync: sync_service,
                notification_service: notifications,
                // Instead of the usual rules, which keep votes some blocks behind the best one.
                voting_rule: hold,
                prometheus_registry: None,
                shared_voter_state: SharedVoterState::empty(),
                telemetry: None,
                offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(pool),
            })?;
            task_manager.spawn_essential_handle().spawn_blocking("grandpa", Some("engine"), voter);
        }
        PreparedEngine::ManualSeal => {
            let timestamps = Arc::new(
                SlotTimestampProvider::new_aura(client.clone())
                    .map_err(|error| Error::Other(error.to_string()))?,
            );
            let seal = run_manual_seal(ManualSealParams {
                block_import: client.clone(),
                env: proposers,
                client: client.clone(),
                pool,
                commands_stream: commands.expect("made above for this engine"),
                select_chain,
                consensus_data_provider: Some(Box::new(AuraConsensusDataProvider::new(client.clone()))),
                create_inherent_data_providers: move |_, ()| {
                    let timestamps = timestamps.clone();
                    async move { Ok(timestamps) }
                },
            });
            task_manager.spawn_essential_handle().spawn_blocking("manual-seal", Some("engine"), seal);
        }
    }

    let rpc_address = rpc
        .listen_addresses()
        .iter()
        .find_map(socket_address)
        .ok_or_else(|| Error::Other("the RPC server listens nowhere".into()))?;
    Ok(Node { task_manager, rpc_address, genesis, network })
}

/// What the engine needs before the network exists.
enum PreparedEngine {
    Grandpa(Box<PreparedGrandpa>),
    ManualSeal,
}

struct PreparedGrandpa {
    block_import: GrandpaBlockImport,
    link: GrandpaLink,
    protocol_name: sc_network::ProtocolName,
    notifications: Box<dyn sc_network::service::traits::NotificationService>,
    hold: FinalityHold,
}

impl PreparedEngine {
    /// Imports blocks of peers. There are none that make any, but the network insists.
    fn import_queue(
        &self,
        client: &Arc<FullClient>,
        task_manager: &TaskManager,
    ) -> Result<DefaultImportQueue<Block>, Error> {
        match self {
            Self::Grandpa(grandpa) => {
                let slot_duration = sc_consensus_aura::slot_duration(&**client)?;
                Ok(sc_consensus_aura::import_queue::<AuraPair, _, _, _, _, _>(ImportQueueParams {
                    block_import: grandpa.block_import.clone(),
                    justification_import: Some(Box::new(grandpa.block_import.clone())),
                    client: client.clone(),
                    create_inherent_data_providers: move |_, ()| async move {
                        let timestamp = sp_timestamp::InherentDataProvider::from_system_time();
                        let slot = sp_consensus_aura::inherents::InherentDataProvider::
                                from_timestamp_and_slot_duration(*timestamp, slot_duration);
                        Ok((slot, timestamp))
                    },
                    spawner: &task_manager.spawn_essential_handle(),
                    registry: None,
                    check_for_equivocation: Default::default(),
                    telemetry: None,
                    compatibility_mode: CompatibilityMode::None,
                })?)
            }
            Self::ManualSeal => Ok(sc_consensus_manual_seal::import_queue(
                Box::new(client.clone()),
                &task_manager.spawn_essential_handle(),
                None,
            )),
        }
    }

    /// How light clients get from genesis to the newest final block.
    fn warp_sync(&self, backend: &Arc<FullBackend>) -> Option<WarpSyncConfig<Block>> {
        match self {
            Self::Grandpa(grandpa) => {
                let provider = sc_consensus_grandpa::warp_proof::NetworkProvider::new(
                    backend.clone(),
                    grandpa.link.shared_authority_set().clone(),
                    Vec::new(),
                );
                Some(WarpSyncConfig::WithProvider(Arc::new(provider)))
            }
            Self::ManualSeal => None,
        }
    }
}

/// The specification with the node itself as boot node, once it listens.
fn describe_chain(spec: Box<dyn ChainSpec>, network: Arc<dyn NetworkService>) -> DescribeChain {
    Arc::new(move || {
        let mut spec = spec.cloned_box();
        let address = p2p_address(&*network).ok_or("the node does not listen for peers yet")?;
        let address = address.to_string().parse().map_err(|error| format!("{error:?}"))?;
        spec.add_boot_node(address);
        Ok(spec)
    })
}

/// Where peers find the node: an address with its port and its identity.
fn p2p_address(network: &dyn NetworkService) -> Option<Multiaddr> {
    let address = network
        .listen_addresses()
        .into_iter()
        .find(|address| socket_address(address).is_some_and(|socket| socket.port() != 0))?;
    let named = address.iter().any(|part| matches!(part, Protocol::P2p(_)));
    Some(if named { address } else { address.with(Protocol::P2p(network.local_peer_id().into())) })
}

/// The IP address and TCP port at the start of `address`.
fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((ip, port).into()),
        _ => None,
    }
}
