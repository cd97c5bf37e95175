//! Connects to whatever a network is read from: RPC nodes by their addresses, the light client by its name.

use super::{
    SourceSettings,
    endpoints::{Node, RpcConnector},
    light_client::{self, LightClient, LightClientConnector},
    records::StorageKey,
    source::{Connect, Head, News, ReleaseSource, SourceError},
};
use crate::release::GenesisHash;

/// Makes the connections of one network.
#[derive(Debug, Clone, Default)]
pub(super) struct Connector {
    nodes: RpcConnector,
    light_client: Option<LightClientConnector>,
}

/// A connection.
pub(super) struct Source {
    node: Node,
    /// What `node` is a view of, if it is none of somebody else's: ends with it.
    _light_client: Option<LightClient>,
}

impl Connector {
    /// For the sources that these settings name, which keep so many blocks for us where they can.
    pub(super) fn of(settings: &SourceSettings, keep_finalized: usize) -> Self {
        let nodes = RpcConnector { keep_finalized, ..RpcConnector::default() };
        Self { nodes, light_client: settings.light_client.clone() }
    }
}

impl Connect for Connector {
    type Source = Source;

    async fn connect(&self, name: &str) -> Result<Source, SourceError> {
        match &self.light_client {
            // No address of a node looks like this.
            Some(connector) if name == light_client::NAME => {
                let light_client = connector.connect().await.map_err(|problem| problem.at(name))?;
                let node = self.nodes.attach(name, light_client.chain.clone()).await;
                let node = node.map_err(|problem| problem.at(name))?;
                Ok(Source { node, _light_client: Some(light_client) })
            }
            _ => Ok(Source { node: self.nodes.connect(name).await?, _light_client: None }),
        }
    }
}

impl ReleaseSource for Source {
    fn genesis(&self) -> GenesisHash {
        self.node.genesis()
    }

    async fn next(&mut self) -> Result<News, SourceError> {
        self.node.next().await
    }

    async fn read_newest(&mut self, keys: &[StorageKey]) -> Result<Head, SourceError> {
        self.node.read_newest(keys).await
    }

    async fn read_at(&mut self, number: u64, keys: &[StorageKey]) -> Result<Option<Head>, SourceError> {
        self.node.read_at(number, keys).await
    }
}
