//! What a source of finalized state can do, and how it can fail.

use std::{error::Error, future::Future, time::Duration};

use super::{
    FinalizedBlock,
    light_client::{self, SpecError, StartError},
    records::StorageKey,
};
use crate::release::GenesisHash;

/// What a source read at one finalized block: raw bytes, nothing believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The block.
    pub block: FinalizedBlock,
    /// The runtime version in that block's state.
    pub spec_version: u32,
    /// The values under the keys that were asked for, in their order; `None` where there is none.
    pub values: Vec<Option<Vec<u8>>>,
}

/// What a source has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// There is a newer finalized block to be read.
    Finalized,
    /// The runtime version of the best block has changed, or is known for the first time; `None` from a source that
    /// does not follow it. Only ever a hint that an upgrade is under way: a best block may never be final.
    BestRuntime(Option<u32>),
}

/// One connection to something that knows a chain's finalized state.
///
/// After an error it must not be used again.
pub trait ReleaseSource: Send {
    /// The chain that it says it is.
    fn genesis(&self) -> GenesisHash;

    /// Waits for news: a finalized block that was not told of yet, or another runtime of the best block.
    ///
    /// The newest finalized block is told of at first, without waiting for another. The future may be dropped at any
    /// time; nothing is lost.
    fn next(&mut self) -> impl Future<Output = Result<News, SourceError>> + Send;

    /// Reads `keys` in the state of the newest finalized block that was told of, or a newer one: blocks that were
    /// overtaken are skipped. The future must be waited for.
    fn read_newest(&mut self, keys: &[StorageKey]) -> impl Future<Output = Result<Head, SourceError>> + Send;

    /// Reads `keys` in the state of the finalized block with this number, which must not be above the newest that was
    /// read; `None` if it cannot be read any more. Two nodes finalize in different steps: this is how they are asked
    /// about the same block. The future must be waited for.
    fn read_at(
        &mut self,
        number: u64,
        keys: &[StorageKey],
    ) -> impl Future<Output = Result<Option<Head>, SourceError>> + Send;
}

/// Makes connections; the way in for tests.
pub trait Connect: Send + Sync {
    /// What a connection is.
    type Source: ReleaseSource;

    /// Connects to one endpoint. Nothing outlives the returned source.
    fn connect(&self, endpoint: &str) -> impl Future<Output = Result<Self::Source, SourceError>> + Send;
}

/// Why a source could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", in_words(endpoint))]
pub struct SourceError {
    /// The endpoint's address, or the light client's name.
    pub endpoint: String,
    /// What happened.
    #[source]
    pub problem: SourceProblem,
}

/// A source as it is spoken of in a message.
pub(crate) fn in_words(source: &str) -> String {
    if source == light_client::NAME { source.to_owned() } else { format!("endpoint {source}") }
}

/// What happened to a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceProblem {
    /// Not an address that nodes can be reached under.
    #[error("expected an address that starts with ws:// or wss://")]
    Address,
    /// No connection.
    #[error("cannot connect: {0}; is the node running, and is it reachable from here?")]
    Connect(String),
    /// No answer in time.
    #[error("no answer within {} s while {doing}", after.as_secs())]
    NoAnswer {
        /// What was being done.
        doing: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// Connected, but no finalized block.
    #[error("no newer finalized block for {} s: the node is stuck, or the chain does not finalize", after.as_secs())]
    Silent {
        /// How long was waited.
        after: Duration,
    },
    /// The node refused a call, or its answer cannot be understood.
    #[error("failed while {doing}: {reason}")]
    Call {
        /// What was being done.
        doing: &'static str,
        /// What the node or the client library said.
        reason: String,
    },
    /// The node closed the connection or the subscription.
    #[error("the node ended the connection")]
    Closed,
    /// The node can no longer follow the chain for us with its modern methods.
    #[error("the node stopped chainHead_v1_follow: {0}")]
    FollowStopped(&'static str),
    /// Nothing that we could follow a chain with.
    #[error("the node serves neither chainHead_v1_follow nor chain_subscribeFinalizedHeads")]
    NoMethods,
    /// What it says cannot be believed.
    #[error("{0}; not believed")]
    NotTrue(String),
    /// The specification of the chain cannot be used.
    #[error("cannot start the light client")]
    ChainSpec(#[source] SpecError),
    /// The light client cannot be started.
    #[error(transparent)]
    LightClient(StartError),
    /// Nobody of the peer-to-peer network answers the light client.
    #[error("no peer answered within {} s; are the specification's bootNodes alive, and reachable from here?", after.as_secs())]
    NoPeers {
        /// How long was waited.
        after: Duration,
    },
    /// Another chain.
    #[error("this is another chain: expected genesis {expected}, found {found}; refused")]
    WrongGenesis {
        /// The chain that was configured or pinned.
        expected: GenesisHash,
        /// The chain that it is.
        found: GenesisHash,
    },
}

impl SourceProblem {
    /// Names the endpoint.
    pub(crate) fn at(self, endpoint: &str) -> SourceError {
        SourceError { endpoint: endpoint.to_owned(), problem: self }
    }

    /// A call that the client library says has failed.
    pub(crate) fn call(doing: &'static str) -> impl FnOnce(subxt_rpcs::Error) -> Self {
        move |error| match error {
            subxt_rpcs::Error::Client(source) if is_closed(&*source) => Self::Closed,
            error => Self::Call { doing, reason: error.to_string() },
        }
    }
}

/// Whether the connection's own task says that it ended.
fn is_closed(error: &(dyn Error + Send + Sync + 'static)) -> bool {
    use subxt::ext::jsonrpsee::core::client::Error as ClientError;
    matches!(error.downcast_ref::<ClientError>(), Some(ClientError::RestartNeeded(_)))
}
