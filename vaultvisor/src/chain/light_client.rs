//! A light client as a source of finalized state: no node is trusted.
//!
//! It starts from a chain specification, finds peers by itself, verifies the proofs of finality that they send, and
//! reads storage with proofs that lead to a finalized block's state root. The library (`smoldot`) answers JSON-RPC calls
//! in memory, so [`super::endpoints`] reads it as it reads a node.
//!
//! - `platform`: time, randomness, tasks and TCP for the library;
//! - `client`: the running light client, with a thread and an async runtime of its own that end with it;
//! - `chain_spec`: the files that it starts from;
//! - `kept`: what it synced, kept between starts.

mod chain_spec;
mod client;
mod kept;
mod platform;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use subxt_rpcs::{RpcClient, rpc_params};
use tokio::time::{Instant, sleep, timeout_at};

pub(super) use self::client::LightClient;
pub use self::{
    chain_spec::{SpecError, SpecFiles, SpecProblem},
    client::StartError,
};
use self::{
    client::Synced,
    kept::{Kept, MAX_BYTES},
};
use super::source::SourceProblem;
use crate::{error_chain::Chained, journal::atomic_file::WriteError};

/// What it is called where an endpoint's address would stand.
pub const NAME: &str = "light client";

/// How long it may take to come near the head of the chain before it is believed that this is all there is.
///
/// A chain with a recent checkpoint takes seconds, one whose specification is a year old some minutes on a slow line.
/// The limit is for peers that claim blocks which nobody has: what is read after it is finalized all the same.
const SYNC_PATIENCE: Duration = Duration::from_secs(600);

/// How often to look whether it is there: once for each of the library's own steps, and nothing beside its work.
const SYNC_POLL: Duration = Duration::from_millis(200);

/// How often a sync that goes on is reported.
const SYNC_REPORT: Duration = Duration::from_secs(10);

/// How often what was synced is kept.
///
/// A start has to catch up at most this much, which takes about a second; some MB are written each time.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

/// Starts light clients of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightClientConnector {
    network: String,
    specs: SpecFiles,
    /// Where what was synced is kept.
    folder: PathBuf,
    /// Whether it is to be kept by this one: the running vaultvisor's, of which there is one a home.
    keeps: bool,
}

impl LightClientConnector {
    /// For a network with these specifications. They go on from what was synced before, and keep it, in `folder`.
    pub fn keeping(network: &str, specs: SpecFiles, folder: &Path) -> Self {
        Self { network: network.to_owned(), specs, folder: folder.to_owned(), keeps: true }
    }

    /// The same for a look: they go on from what is in `folder` and change nothing in it.
    pub fn looking(network: &str, specs: SpecFiles, folder: &Path) -> Self {
        Self { keeps: false, ..Self::keeping(network, specs, folder) }
    }

    /// Starts one and waits until it has caught up.
    pub(super) async fn connect(&self) -> Result<LightClient, SourceProblem> {
        let chain = Kept::of_chain(&self.folder, &self.network);
        let relay_chain = Kept::of_relay_chain(&self.folder, &self.network);
        let load = {
            let (specs, chain, relay_chain) = (self.specs.clone(), chain.clone(), relay_chain.clone());
            move || {
                let specs = specs.read()?;
                let relay_chain = specs.relay_chain.as_ref().map(|_| relay_chain.load()).unwrap_or_default();
                Ok((specs, Synced { chain: chain.load(), relay_chain }))
            }
        };
        let (specs, synced) = match tokio::task::spawn_blocking(load).await {
            Ok(loaded) => loaded.map_err(SourceProblem::ChainSpec)?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let client = LightClient::start(specs, synced).await.map_err(SourceProblem::LightClient)?;
        self.catch_up(&client.chain).await?;
        if self.keeps {
            client.spawn(keep(client.chain.clone(), chain));
            if let Some(rpc) = &client.relay_chain {
                client.spawn(keep(rpc.clone(), relay_chain));
            }
        }
        Ok(client)
    }

    /// Waits until it is near the head of the chain: a release that was finalized weeks ago would be true, and old.
    async fn catch_up(&self, rpc: &RpcClient) -> Result<(), SourceProblem> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Health {
            peers: u64,
            is_syncing: bool,
        }
        let began = Instant::now();
        let mut report_at = began + SYNC_REPORT;
        let mut peers = 0;
        loop {
            // Until it has chosen how to sync, which takes it up to 30 s, it does not answer.
            let asked = rpc.request::<Health>("system_health", rpc_params![]);
            if let Ok(health) = timeout_at(report_at, asked).await {
                let health = health.map_err(SourceProblem::call("asking how far it is"))?;
                peers = health.peers;
                if peers > 0 && !health.is_syncing {
                    let took_ms = began.elapsed().as_millis();
                    tracing::debug!(network = self.network, peers, took_ms, "the light client has synced");
                    return Ok(());
                }
                sleep(SYNC_POLL).await;
            }
            let took = began.elapsed();
            if took >= SYNC_PATIENCE {
                return if peers == 0 {
                    Err(SourceProblem::NoPeers { after: SYNC_PATIENCE })
                } else {
                    Ok(())
                };
            }
            if Instant::now() >= report_at {
                report_at += SYNC_REPORT;
                tracing::info!(
                    network = self.network,
                    peers,
                    "the light client syncs since {} s",
                    took.as_secs()
                );
            }
        }
    }
}

/// Removes what a network's light clients have kept in `folder`.
pub fn forget(folder: &Path, network: &str) -> Result<(), WriteError> {
    Kept::of_chain(folder, network).remove()?;
    Kept::of_relay_chain(folder, network).remove()
}

/// Keeps what was synced now, and then again and again.
async fn keep(rpc: RpcClient, kept: Kept) {
    let mut last = String::new();
    loop {
        match rpc.request::<String>("chainHead_unstable_finalizedDatabase", rpc_params![MAX_BYTES]).await {
            Ok(synced) if synced != last => {
                let stored = {
                    let (kept, synced) = (kept.clone(), synced.clone());
                    tokio::task::spawn_blocking(move || kept.store(&synced)).await
                };
                match stored {
                    Ok(Ok(())) => last = synced,
                    Ok(Err(error)) => {
                        tracing::warn!("what the light client synced is not kept: {}", Chained(&error))
                    }
                    Err(error) => tracing::warn!("what the light client synced is not kept: {error}"),
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!("the light client does not tell what it synced: {error}"),
        }
        sleep(KEEP_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
