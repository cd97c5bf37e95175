//! Who makes blocks and finalizes them, as parts that the service puts together.
//!
//! Both engines take the same steps: they are prepared before there is a network, supply what it needs,
//! and run on the finished node.

mod grandpa;
mod manual_seal;

use std::sync::Arc;

use runtime_mock::opaque::Block;
use sc_basic_authorship::ProposerFactory;
use sc_consensus::{DefaultImportQueue, LongestChain};
use sc_network::service::traits::NetworkService;
use sc_network_sync::SyncingService;
use sc_service::{Error, KeystoreContainer, TFullBackend, TaskManager, WarpSyncConfig};

pub(crate) use self::{grandpa::Grandpa, manual_seal::ManualSeal};
use crate::{
    rpc::Finalizer,
    service::{FullClient, Pool},
};

/// The client's storage.
pub(crate) type FullBackend = TFullBackend<Block>;

/// The best chain is the longest one.
pub(crate) type SelectChain = LongestChain<FullBackend, Block>;

/// An engine before it runs.
pub(crate) enum PreparedEngine {
    /// Aura and GRANDPA. Boxed because it is many times larger than the other.
    Grandpa(Box<Grandpa>),
    /// Whoever calls the RPC methods.
    ManualSeal(ManualSeal),
}

/// What an engine runs on.
pub(crate) struct Foundation<'a> {
    pub(crate) client: Arc<FullClient>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) select_chain: SelectChain,
    pub(crate) proposers: ProposerFactory<Pool, FullClient>,
    pub(crate) keystore: &'a KeystoreContainer,
    pub(crate) network: Arc<dyn NetworkService>,
    pub(crate) syncing: Arc<SyncingService<Block>>,
    pub(crate) task_manager: &'a TaskManager,
}

impl PreparedEngine {
    /// Imports blocks of peers. There are none that make any, but the network insists.
    pub(crate) fn import_queue(
        &self,
        client: &Arc<FullClient>,
        task_manager: &TaskManager,
    ) -> Result<DefaultImportQueue<Block>, Error> {
        match self {
            Self::Grandpa(grandpa) => grandpa.import_queue(client, task_manager),
            Self::ManualSeal(_) => Ok(manual_seal::import_queue(client, task_manager)),
        }
    }

    /// How light clients get from genesis to the newest final block.
    pub(crate) fn warp_sync(&self, backend: &Arc<FullBackend>) -> Option<WarpSyncConfig<Block>> {
        match self {
            Self::Grandpa(grandpa) => Some(grandpa.warp_sync(backend)),
            Self::ManualSeal(_) => None,
        }
    }

    /// The handle on finality, for the RPC methods.
    pub(crate) fn finalizer(&self) -> Finalizer {
        match self {
            Self::Grandpa(grandpa) => Finalizer::Grandpa(grandpa.hold()),
            Self::ManualSeal(manual) => Finalizer::Manual(manual.commands()),
        }
    }

    /// Starts the engine's tasks.
    pub(crate) fn run(self, foundation: Foundation<'_>) -> Result<(), Error> {
        match self {
            Self::Grandpa(grandpa) => grandpa.run(foundation),
            Self::ManualSeal(manual) => manual.run(foundation),
        }
    }
}
