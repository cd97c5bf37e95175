//! Aura makes a block in each slot, GRANDPA finalizes it at once: one authority needs nobody's consent.

use std::{sync::Arc, time::Duration};

use runtime_mock::{Hash, opaque::Block};
use sc_consensus::DefaultImportQueue;
use sc_consensus_aura::{CompatibilityMode, ImportQueueParams, SlotProportion, StartAuraParams};
use sc_consensus_grandpa::{
    GrandpaBlockImport, GrandpaParams, LinkHalf, SharedVoterState, warp_proof::NetworkProvider,
};
use sc_network::{
    Litep2pNetworkBackend, ProtocolName,
    config::{FullNetworkConfiguration, Role},
    service::{NotificationMetrics, traits::NotificationService},
};
use sc_service::{Error, TaskManager, WarpSyncConfig};
use sc_transaction_pool_api::OffchainTransactionPoolFactory;
use sp_consensus_aura::{SlotDuration, inherents, sr25519::AuthorityPair as AuraPair};
use sp_timestamp::InherentDataProvider as TimestampProvider;

use super::{Foundation, FullBackend, SelectChain};
use crate::{finality::FinalityHold, service::FullClient};

/// How often a justification is stored: for each block, so that a light client can be shown one for
/// whichever block is final.
const JUSTIFICATION_PERIOD: u32 = 1;

/// The clock of GRANDPA's rounds: a voter waits two of these for a better proposal before it votes.
/// There is nobody to wait for, but shorter rounds only burn time.
const GOSSIP_DURATION: Duration = Duration::from_millis(100);

/// How much of its slot a block may take to be made.
const PROPOSAL_SHARE: f32 = 2.0 / 3.0;

/// The engine before it runs.
pub(crate) struct Grandpa {
    block_import: GrandpaBlockImport<FullBackend, Block, FullClient, SelectChain>,
    link: LinkHalf<Block, FullClient, SelectChain>,
    protocol_name: ProtocolName,
    notifications: Box<dyn NotificationService>,
    hold: FinalityHold,
}

impl Grandpa {
    /// Prepares the engine and adds its protocol to the network.
    pub(crate) fn prepare(
        client: &Arc<FullClient>,
        select_chain: SelectChain,
        protocol_name: ProtocolName,
        net_config: &mut FullNetworkConfiguration<Block, Hash, Litep2pNetworkBackend>,
        metrics: NotificationMetrics,
    ) -> Result<Self, Error> {
        let (block_import, link) = sc_consensus_grandpa::block_import(
            client.clone(),
            JUSTIFICATION_PERIOD,
            client,
            select_chain,
            None,
        )?;
        let (protocol, notifications) = sc_consensus_grandpa::grandpa_peers_set_config::<
            Block,
            Litep2pNetworkBackend,
        >(
            protocol_name.clone(), metrics, net_config.peer_store_handle()
        );
        net_config.add_notification_protocol(protocol);
        Ok(Self { block_import, link, protocol_name, notifications, hold: FinalityHold::default() })
    }

    pub(super) fn hold(&self) -> FinalityHold {
        self.hold.clone()
    }

    pub(super) fn import_queue(
        &self,
        client: &Arc<FullClient>,
        task_manager: &TaskManager,
    ) -> Result<DefaultImportQueue<Block>, Error> {
        let slot_duration = sc_consensus_aura::slot_duration(&**client)?;
        Ok(sc_consensus_aura::import_queue::<AuraPair, _, _, _, _, _>(ImportQueueParams {
            block_import: self.block_import.clone(),
            justification_import: Some(Box::new(self.block_import.clone())),
            client: client.clone(),
            create_inherent_data_providers: move |_, ()| async move { Ok(present(slot_duration)) },
            spawner: &task_manager.spawn_essential_handle(),
            registry: None,
            check_for_equivocation: Default::default(),
            telemetry: None,
            compatibility_mode: CompatibilityMode::None,
        })?)
    }

    pub(super) fn warp_sync(&self, backend: &Arc<FullBackend>) -> WarpSyncConfig<Block> {
        let authorities = self.link.shared_authority_set().clone();
        WarpSyncConfig::WithProvider(Arc::new(NetworkProvider::new(backend.clone(), authorities, Vec::new())))
    }

    pub(super) fn run(self, foundation: Foundation<'_>) -> Result<(), Error> {
        let Foundation { client, pool, select_chain, proposers, keystore, network, syncing, task_manager } =
            foundation;
        let slot_duration = sc_consensus_aura::slot_duration(&*client)?;
        let aura =
            sc_consensus_aura::start_aura::<AuraPair, _, _, _, _, _, _, _, _, _, _>(StartAuraParams {
                slot_duration,
                client,
                select_chain,
                block_import: self.block_import,
                proposer_factory: proposers,
                sync_oracle: syncing.clone(),
                justification_sync_link: syncing.clone(),
                create_inherent_data_providers: move |_, ()| async move { Ok(present(slot_duration)) },
                // There are no peers to wait for.
                force_authoring: true,
                // Blocks go on while finality is held: that is the point of holding it.
                backoff_authoring_blocks: None::<()>,
                keystore: keystore.keystore(),
                block_proposal_slot_portion: SlotProportion::new(PROPOSAL_SHARE),
                max_block_proposal_slot_portion: None,
                telemetry: None,
                compatibility_mode: CompatibilityMode::None,
            })?;
        let voter = sc_consensus_grandpa::run_grandpa_voter(GrandpaParams {
            config: sc_consensus_grandpa::Config {
                gossip_duration: GOSSIP_DURATION,
                justification_generation_period: JUSTIFICATION_PERIOD,
                observer_enabled: false,
                local_role: Role::Authority,
                name: None,
                keystore: Some(keystore.keystore()),
                telemetry: None,
                protocol_name: self.protocol_name,
            },
            link: self.link,
            network,
            sync: syncing,
            notification_service: self.notifications,
            // Instead of the usual rules, which keep votes some blocks behind the best one.
            voting_rule: self.hold,
            prometheus_registry: None,
            shared_voter_state: SharedVoterState::empty(),
            telemetry: None,
            offchain_tx_pool_factory: OffchainTransactionPoolFactory::new(pool),
        })?;
        let tasks = task_manager.spawn_essential_handle();
        tasks.spawn_blocking("aura", Some("engine"), aura);
        tasks.spawn_blocking("grandpa", Some("engine"), voter);
        Ok(())
    }
}

/// What goes into a block that is made now.
fn present(slot_duration: SlotDuration) -> (inherents::InherentDataProvider, TimestampProvider) {
    let timestamp = TimestampProvider::from_system_time();
    let slot = inherents::InherentDataProvider::from_timestamp_and_slot_duration(*timestamp, slot_duration);
    (slot, timestamp)
}
