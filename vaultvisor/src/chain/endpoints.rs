//! RPC nodes as a [`ReleaseSource`].
//!
//! Nodes differ: modern ones serve `chainHead_v1_*`, the live bridges run older ones with the legacy methods
//! only. `rpc_methods` says which, and both ways give the same [`Head`]s: `chain_head` costs no call for the
//! runtime version, `legacy` needs none for the block number. Neither looks at metadata. Both tell of the best
//! block's runtime as well, without a call for each block.
//!
//! A connection is a plain client that never reconnects by itself: what to do about a lost one is the
//! business of [`mod@super::follow`]. Dropping a [`Node`] ends its connection and its task.

mod chain_head;
mod legacy;
mod quick_ack;

use std::{collections::BTreeSet, future::Future, time::Duration};

use subxt::{ext::jsonrpsee::ws_client::WsClientBuilder, utils::H256};
use subxt_rpcs::{RpcClient, UserError, rpc_params};
use url::Url;

use self::{chain_head::ChainHead, legacy::Legacy, quick_ack::QuickAck};
use super::{
    records::StorageKey,
    source::{Connect, Head, News, ReleaseSource, SourceError, SourceProblem},
};
use crate::release::GenesisHash;

/// How long one call may take, the connection's handshake included.
///
/// Public endpoints answer in well under a second; ten cover a slow TLS handshake over a bad line, and are
/// short enough that another endpoint is tried before anyone notices.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// What a connection is for, by which it is bounded what a node may send: all that waits for us takes memory, at most the
/// one bound times the other. What is beyond ends the connection, or the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Following a chain, for as long as vaultvisor runs.
    Following,
    /// Some calls with the metadata of a runtime or whole blocks in the answers; nothing is subscribed to, except to the
    /// fate of a transaction.
    Calls,
}

impl Purpose {
    /// The longest message that is taken from a node, in bytes.
    fn max_message_bytes(self) -> u32 {
        match self {
            // Both values of both records, as long as they may be and in hexadecimal, are half of it.
            Self::Following => 1024 * 1024,
            // The metadata of a large runtime is some MB in hexadecimal.
            Self::Calls => 16 * 1024 * 1024,
        }
    }

    /// How many notifications may wait while a call is under way.
    fn max_waiting_notifications(self) -> usize {
        match self {
            // A chainHead subscription begins with one or two for each block that is not final yet, and nodes end it
            // by themselves when there are more than 128 in a row.
            Self::Following => 256,
            Self::Calls => 16,
        }
    }
}

/// Connects to RPC nodes, choosing for each the best methods that it serves.
#[derive(Debug, Clone, Copy, Default)]
pub struct RpcConnector {
    /// Whether to act as if every node were an old one; for tests of the legacy methods.
    pub legacy_only: bool,
    /// How many finalized blocks behind the newest can be read still ([`ReleaseSource::read_at`]). A node whose modern
    /// methods are followed keeps them for us; one with legacy methods keeps some hundred for everybody.
    pub keep_finalized: usize,
}

/// A connection to an RPC node.
pub struct Node {
    endpoint: String,
    genesis: GenesisHash,
    client: RpcClient,
    serves_legacy: bool,
    following: Following,
}

enum Following {
    /// Boxed: it is much larger than the other.
    ChainHead(Box<ChainHead>),
    Legacy(Legacy),
    /// The modern methods cannot be used any more, the legacy ones are to be.
    Fallen,
}

/// The methods that a node says it serves.
#[derive(serde::Deserialize)]
struct Methods {
    methods: BTreeSet<String>,
}

impl Methods {
    fn chain_head(&self) -> bool {
        ["follow", "header", "storage", "unpin"]
            .iter()
            .all(|method| self.methods.contains(&format!("chainHead_v1_{method}")))
            && self.methods.contains("chainSpec_v1_genesisHash")
    }

    fn legacy(&self) -> bool {
        self.methods.contains("chain_subscribeFinalizedHeads")
    }
}

impl Connect for RpcConnector {
    type Source = Node;

    async fn connect(&self, endpoint: &str) -> Result<Node, SourceError> {
        self.open(endpoint).await.map_err(|problem| problem.at(endpoint))
    }
}

impl RpcConnector {
    async fn open(&self, endpoint: &str) -> Result<Node, SourceProblem> {
        self.attach(endpoint, open_client(endpoint, Purpose::Following).await?).await
    }

    /// Follows whatever answers JSON-RPC calls as a node does.
    pub(super) async fn attach(&self, endpoint: &str, client: RpcClient) -> Result<Node, SourceProblem> {
        let methods: Methods = match call(
            "asking which methods it serves",
            client.request("rpc_methods", rpc_params![]),
        )
        .await
        {
            Ok(methods) => methods,
            // Some proxies in front of old nodes let only known methods through, and this is not one.
            Err(Failed::Refused(_)) => {
                Methods { methods: BTreeSet::from(["chain_subscribeFinalizedHeads".to_owned()]) }
            }
            Err(Failed::Otherwise(problem)) => return Err(problem),
        };
        let chain_head = methods.chain_head() && !self.legacy_only;
        if !chain_head && !methods.legacy() {
            return Err(SourceProblem::NoMethods);
        }
        let (genesis_method, params) = match chain_head {
            true => ("chainSpec_v1_genesisHash", rpc_params![]),
            false => ("chain_getBlockHash", rpc_params![0]),
        };
        let genesis: H256 =
            call("asking for its genesis hash", client.request(genesis_method, params)).await?;
        let following = match chain_head {
            true => {
                match call("following chainHead_v1", ChainHead::follow(client.clone(), self.keep_finalized))
                    .await
                {
                    Ok(follow) => Following::ChainHead(Box::new(follow)),
                    Err(failed) if methods.legacy() => {
                        tracing::debug!(endpoint, problem = %SourceProblem::from(failed), "using the legacy methods");
                        Following::Legacy(call(legacy::FOLLOWING, Legacy::follow(client.clone())).await?)
                    }
                    Err(failed) => return Err(failed.into()),
                }
            }
            false => Following::Legacy(call(legacy::FOLLOWING, Legacy::follow(client.clone())).await?),
        };
        tracing::debug!(endpoint, chain_head = matches!(following, Following::ChainHead(_)), "connected");
        Ok(Node {
            endpoint: endpoint.to_owned(),
            genesis: GenesisHash(genesis.0),
            client,
            serves_legacy: methods.legacy(),
            following,
        })
    }
}

impl ReleaseSource for Node {
    fn genesis(&self) -> GenesisHash {
        self.genesis
    }

    async fn next(&mut self) -> Result<News, SourceError> {
        self.next_news().await.map_err(|problem| problem.at(&self.endpoint))
    }

    async fn read_newest(&mut self, keys: &[StorageKey]) -> Result<Head, SourceError> {
        self.newest(keys).await.map_err(|problem| problem.at(&self.endpoint))
    }

    async fn read_at(&mut self, number: u64, keys: &[StorageKey]) -> Result<Option<Head>, SourceError> {
        self.at(number, keys).await.map_err(|problem| problem.at(&self.endpoint))
    }
}

impl Node {
    async fn next_news(&mut self) -> Result<News, SourceProblem> {
        loop {
            match &mut self.following {
                Following::ChainHead(chain_head) => match chain_head.next().await {
                    Ok(news) => return Ok(news),
                    Err(problem) => self.fall_back(problem)?,
                },
                Following::Legacy(legacy) => return legacy.next().await,
                Following::Fallen => self.follow_legacy().await?,
            }
        }
    }

    async fn newest(&mut self, keys: &[StorageKey]) -> Result<Head, SourceProblem> {
        loop {
            match &mut self.following {
                Following::ChainHead(chain_head) => match chain_head.read_newest(keys).await {
                    Ok(head) => return Ok(head),
                    Err(problem) => self.fall_back(problem)?,
                },
                Following::Legacy(legacy) => return legacy.read_newest(keys).await,
                Following::Fallen => self.follow_legacy().await?,
            }
        }
    }

    async fn at(&mut self, number: u64, keys: &[StorageKey]) -> Result<Option<Head>, SourceProblem> {
        if let Following::ChainHead(chain_head) = &mut self.following {
            match chain_head.read_at(number, keys).await {
                Ok(None) if self.serves_legacy => {}
                Ok(head) => return Ok(head),
                Err(problem) => self.fall_back(problem)?,
            }
        }
        legacy::read_at(&self.client, number, keys).await
    }

    /// A node whose finality lags far behind, or that has too many followers, stops us with an open connection. Its
    /// legacy methods know no such limits.
    fn fall_back(&mut self, problem: SourceProblem) -> Result<(), SourceProblem> {
        if !(self.serves_legacy && problem.is_about_the_methods()) {
            return Err(problem);
        }
        tracing::debug!(endpoint = self.endpoint, %problem, "using the legacy methods");
        self.following = Following::Fallen;
        Ok(())
    }

    async fn follow_legacy(&mut self) -> Result<(), SourceProblem> {
        let legacy = call(legacy::FOLLOWING, Legacy::follow(self.client.clone())).await?;
        self.following = Following::Legacy(legacy);
        Ok(())
    }
}

impl SourceProblem {
    fn is_about_the_methods(&self) -> bool {
        matches!(self, Self::FollowStopped(_) | Self::Call { .. })
    }
}

/// Opens a websocket without asking anything yet.
pub(crate) async fn open_client(endpoint: &str, purpose: Purpose) -> Result<RpcClient, SourceProblem> {
    let url = Url::parse(endpoint).map_err(|_| SourceProblem::Address)?;
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(SourceProblem::Address);
    };
    let builder = WsClientBuilder::default()
        .connection_timeout(CALL_DEADLINE)
        .request_timeout(CALL_DEADLINE)
        .max_response_size(purpose.max_message_bytes())
        .max_buffer_capacity_per_subscription(purpose.max_waiting_notifications());
    let connect = async {
        match url.scheme() {
            "ws" => {
                // An IPv6 address has brackets in a URL and none elsewhere.
                let stream = QuickAck::connect(host.trim_matches(['[', ']']), port)
                    .await
                    .map_err(|error| SourceProblem::Connect(error.to_string()))?;
                builder.build_with_stream(endpoint, stream).await
            }
            "wss" => builder.build(endpoint).await,
            _ => return Err(SourceProblem::Address),
        }
        .map_err(|error| SourceProblem::Connect(error.to_string()))
    };
    match tokio::time::timeout(CALL_DEADLINE, connect).await {
        Ok(client) => client.map(RpcClient::new),
        Err(_) => Err(SourceProblem::NoAnswer { doing: "connecting", after: CALL_DEADLINE }),
    }
}

/// Why a call failed: whether the node is there and said no makes a difference.
enum Failed {
    Refused(SourceProblem),
    Otherwise(SourceProblem),
}

impl From<Failed> for SourceProblem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(problem) | Failed::Otherwise(problem) => problem,
        }
    }
}

/// Waits for an answer, within [`CALL_DEADLINE`].
async fn call<T>(
    doing: &'static str,
    answer: impl Future<Output = Result<T, subxt_rpcs::Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(CALL_DEADLINE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(subxt_rpcs::Error::User(UserError { code, message, .. }))) => {
            Err(Failed::Refused(SourceProblem::Call { doing, reason: format!("{message} ({code})") }))
        }
        Ok(Err(error)) => Err(Failed::Otherwise(SourceProblem::call(doing)(error))),
        Err(_) => Err(Failed::Otherwise(SourceProblem::NoAnswer { doing, after: CALL_DEADLINE })),
    }
}

#[cfg(test)]
mod tests;
