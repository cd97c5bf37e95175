//! What the SDK's service needs to know, and what it must not do on somebody's machine: no port
//! beyond loopback, no telemetry, no discovery, no port for metrics.

use std::net::Ipv4Addr;

use sc_network::config::{NetworkConfiguration, NodeKeyConfig, Role, Secret};
use sc_service::{
    BasePath, BlocksPruning, ChainSpec, Configuration, DatabaseSource, PruningMode, RpcMethods,
    TransactionPoolOptions,
    config::{
        ExecutorConfiguration, KeystoreConfig, OffchainWorkerConfig, RpcBatchRequestConfig, RpcConfiguration,
        RpcEndpoint,
    },
};
use sc_transaction_pool::TransactionPoolType;

use crate::{chain_spec::DevChain, home::Home};

/// What the node calls itself.
const NAME: &str = "dev-chain";

/// More clients than any test has.
const MAX_CONNECTIONS: u32 = 256;

/// More subscriptions than any client has.
const MAX_SUBSCRIPTIONS_PER_CONNECTION: u32 = 1_024;

/// Messages kept for a client that is slow to read, before its connection waits.
const MESSAGES_KEPT_PER_CONNECTION: u32 = 1_024;

/// Mebibytes: a runtime as hexadecimal digits, several times.
const MAX_MESSAGE_MIB: u32 = 16;

/// Bytes for the state's trie nodes; the whole state fits.
const TRIE_CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Transactions that wait at most. A test that needs more tests the wrong thing.
const MAX_TRANSACTIONS: usize = 8_192;

/// Bytes that they take at most.
const MAX_TRANSACTION_BYTES: usize = 32 * 1024 * 1024;

/// The configuration for `chain` in `home`, with RPC and peers on these ports of 127.0.0.1, or on free ones
/// where they are 0.
///
/// # Errors
///
/// When the addresses can't be written as multiaddresses.
pub(crate) fn new(
    chain: &DevChain,
    home: &Home,
    rpc_port: u16,
    p2p_port: u16,
) -> anyhow::Result<Configuration> {
    let spec = chain.spec().cloned_box();
    Ok(Configuration {
        impl_name: NAME.into(),
        impl_version: env!("CARGO_PKG_VERSION").into(),
        role: Role::Authority,
        tokio_handle: tokio::runtime::Handle::current(),
        transaction_pool: TransactionPoolOptions::new_with_params(
            MAX_TRANSACTIONS,
            MAX_TRANSACTION_BYTES,
            None,
            TransactionPoolType::ForkAware,
            true,
            false,
        ),
        network: network(home, p2p_port)?,
        // Alice's keys are made at each start, there is nothing to keep.
        keystore: KeystoreConfig::InMemory,
        database: DatabaseSource::ParityDb { path: home.database() },
        trie_cache_maximum_size: Some(TRIE_CACHE_BYTES),
        warm_up_trie_cache: None,
        // Everything is kept: `archive_v1_*` is served by archives only.
        state_pruning: Some(PruningMode::ArchiveAll),
        blocks_pruning: BlocksPruning::KeepAll,
        chain_spec: spec,
        executor: ExecutorConfiguration::default(),
        wasm_runtime_overrides: None,
        rpc: rpc(rpc_port),
        prometheus_config: None,
        telemetry_endpoints: None,
        offchain_worker: OffchainWorkerConfig { enabled: false, indexing_enabled: false },
        // There are no peers to wait for.
        force_authoring: true,
        disable_grandpa: false,
        dev_key_seed: Some("//Alice".into()),
        tracing_targets: None,
        tracing_receiver: Default::default(),
        announce_block: true,
        data_path: home.path().to_owned(),
        base_path: BasePath::new(home.path()),
    })
}

/// Peers are light clients on this machine, which are told the address.
fn network(home: &Home, port: u16) -> anyhow::Result<NetworkConfiguration> {
    let key = NodeKeyConfig::Ed25519(Secret::File(home.node_key()));
    let mut network = NetworkConfiguration::new(NAME, NAME, key, None);
    network.listen_addresses = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse()?];
    network.allow_non_globals_in_dht = true;
    network.enable_dht_random_walk = false;
    // It looks for nobody, and the places that are not for full nodes are for light clients: the default leaves none.
    network.default_peers_set.out_peers = 0;
    network.default_peers_set_num_full = 0;
    Ok(network)
}

/// One endpoint, on loopback, that lets everybody do everything: whoever reaches it is on this
/// machine, and the chain's keys are public anyway.
fn rpc(port: u16) -> RpcConfiguration {
    let endpoint = RpcEndpoint {
        listen_addr: (Ipv4Addr::LOCALHOST, port).into(),
        batch_config: RpcBatchRequestConfig::Unlimited,
        max_connections: MAX_CONNECTIONS,
        max_payload_in_mb: MAX_MESSAGE_MIB,
        max_payload_out_mb: MAX_MESSAGE_MIB,
        max_subscriptions_per_connection: MAX_SUBSCRIPTIONS_PER_CONNECTION,
        max_buffer_capacity_per_connection: MESSAGES_KEPT_PER_CONNECTION,
        rate_limit: None,
        rate_limit_trust_proxy_headers: false,
        rate_limit_whitelisted_ips: Vec::new(),
        cors: None,
        rpc_methods: RpcMethods::Unsafe,
        is_optional: false,
        // Somebody who asks for a port means it.
        retry_random_port: false,
    };
    RpcConfiguration {
        addr: Some(vec![endpoint]),
        max_connections: MAX_CONNECTIONS,
        cors: None,
        methods: RpcMethods::Unsafe,
        max_request_size: MAX_MESSAGE_MIB,
        max_response_size: MAX_MESSAGE_MIB,
        id_provider: None,
        max_subs_per_conn: MAX_SUBSCRIPTIONS_PER_CONNECTION,
        port,
        message_buffer_capacity: MESSAGES_KEPT_PER_CONNECTION,
        batch_config: RpcBatchRequestConfig::Unlimited,
        rate_limit: None,
        rate_limit_whitelisted_ips: Vec::new(),
        rate_limit_trust_proxy_headers: false,
        request_logger_limit: 1_024,
    }
}
