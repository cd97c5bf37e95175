//! Blocks are made, on any parent, and finalized when somebody asks for it.

use std::sync::Arc;

use futures::channel::mpsc::{Receiver, Sender, channel};
use runtime_mock::{Hash, opaque::Block};
use sc_client_api::HeaderBackend;
use sc_consensus::DefaultImportQueue;
use sc_consensus_manual_seal::{
    ManualSealParams, consensus::aura::AuraConsensusDataProvider, rpc::EngineCommand, run_manual_seal,
};
use sc_service::{Error, TaskManager};
use sp_consensus_aura::{SlotDuration, sr25519::AuthoritySignature};
use sp_timestamp::{InherentDataProvider as TimestampProvider, Timestamp};

use super::Foundation;
use crate::{clock::SealClock, service::FullClient};

/// Commands that may wait. Each caller waits for the answer anyway.
const COMMANDS_QUEUED: usize = 1_024;

/// The engine before it runs.
pub(crate) struct ManualSeal {
    sender: Sender<EngineCommand<Hash>>,
    receiver: Receiver<EngineCommand<Hash>>,
}

impl ManualSeal {
    /// Prepares the engine.
    pub(crate) fn prepare() -> Self {
        let (sender, receiver) = channel(COMMANDS_QUEUED);
        Self { sender, receiver }
    }

    pub(super) fn commands(&self) -> Sender<EngineCommand<Hash>> {
        self.sender.clone()
    }

    pub(super) fn run(self, foundation: Foundation<'_>) -> Result<(), Error> {
        let Foundation { client, pool, select_chain, proposers, task_manager, .. } = foundation;
        let slot_duration = sc_consensus_aura::slot_duration(&*client)?;
        let clock = SealClock::new(slot_duration, last_timestamp(&client, slot_duration)?);
        let seal = run_manual_seal(ManualSealParams {
            block_import: client.clone(),
            env: proposers,
            client,
            pool,
            commands_stream: self.receiver,
            select_chain,
            consensus_data_provider: Some(Box::new(AuraConsensusDataProvider::new_with_slot_duration(
                slot_duration,
            ))),
            create_inherent_data_providers: move |_, ()| {
                let timestamp = clock.next(Timestamp::current());
                async move { Ok(TimestampProvider::new(timestamp)) }
            },
        });
        task_manager.spawn_essential_handle().spawn_blocking("manual-seal", Some("engine"), seal);
        Ok(())
    }
}

pub(super) fn import_queue(
    client: &Arc<FullClient>,
    task_manager: &TaskManager,
) -> DefaultImportQueue<Block> {
    let tasks = task_manager.spawn_essential_handle();
    sc_consensus_manual_seal::import_queue(Box::new(client.clone()), &tasks, None)
}

/// The time of the best block, by its slot.
fn last_timestamp(client: &FullClient, slot_duration: SlotDuration) -> Result<Timestamp, Error> {
    let best = client.info();
    if best.best_number == 0 {
        // Genesis has no slot.
        return Ok(Timestamp::new(0));
    }
    let header = client
        .header(best.best_hash)?
        .ok_or_else(|| Error::Other(format!("the best block {} is missing", best.best_hash)))?;
    let slot = sc_consensus_aura::find_pre_digest::<Block, AuthoritySignature>(&header)
        .map_err(|error| Error::Other(error.to_string()))?;
    slot.timestamp(slot_duration).ok_or_else(|| Error::Other(format!("the slot of the best block is {slot}")))
}
