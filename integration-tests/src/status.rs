//! The status JSON, as far as journeys ask for it. Missing names are errors: the names are a promise to operators.

use serde::Deserialize;

/// What `vaultvisor status --json` prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    /// Vaultvisor's own version.
    pub version: String,
    /// The daemon; `None` when there is none.
    pub pid: Option<u32>,
    /// What concerns more than one vault.
    pub problem: Option<String>,
    /// The vaults of the configuration.
    pub vaults: Vec<VaultStatus>,
}

/// One vault.
#[derive(Debug, Clone, Deserialize)]
pub struct VaultStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its network's name in the configuration.
    pub network: String,
    /// The decision.
    pub state: String,
    /// Why it is that.
    pub why: String,
    /// Since when, on the daemon's wall clock.
    pub since: Option<String>,
    /// The process.
    pub running: Option<Running>,
    /// What the chain states.
    pub target: Option<Target>,
    /// What an operator chose in its place.
    #[serde(rename = "override")]
    pub chosen: Option<Chosen>,
    /// What a runtime upgrade will bring.
    pub pending: Option<Pending>,
    /// What failed here.
    pub rejected: Vec<Rejected>,
    /// What is known of the chain.
    pub chain: Option<Chain>,
    /// The switch that led to what runs.
    pub last_switch: Option<LastSwitch>,
    /// The newest thing that went wrong and still stands.
    pub problem: Option<String>,
    /// Which release was gone back to and never seen healthy under the present runtime.
    pub unseen_runtime: Option<String>,
    /// An operator's hold.
    pub hold: Option<Hold>,
}

impl VaultStatus {
    /// Whether what runs is what the chain states.
    pub fn target_runs(&self) -> bool {
        let target = self.target.as_ref().map(|target| &target.checksum);
        target.is_some() && self.running.as_ref().map(|running| &running.checksum) == target
    }
}

/// A vault's process.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Running {
    /// Its release.
    pub version: String,
    /// The checksum of what it executes.
    pub checksum: String,
    /// Its process id.
    pub pid: u32,
    /// How often it was started again after a crash.
    pub restarts: u64,
    /// Whether an earlier vaultvisor started it.
    pub adopted: bool,
}

/// A release that an operator chose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Chosen {
    /// Its version.
    pub version: String,
    /// Its checksum.
    pub checksum: String,
}

/// A release that waits for a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pending {
    /// Its version.
    pub version: String,
    /// Its checksum.
    pub checksum: String,
    /// The runtime that it waits for.
    pub spec_version: Option<u32>,
    /// Whether its binary is in the store.
    pub fetched: bool,
}

/// An operator's "change nothing for now".
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: Option<String>,
}

/// A release that the chain states.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Target {
    /// Its version.
    pub version: String,
    /// Its checksum.
    pub checksum: String,
    /// Which statement of the chain it is.
    pub sequence: Option<u64>,
}

/// A release that failed here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rejected {
    /// Its version.
    pub version: String,
    /// Its checksum.
    pub checksum: String,
    /// Why.
    pub reason: String,
    /// How often it failed.
    pub attempts: u64,
    /// When it is tried again.
    pub retry_at: String,
}

/// What is known of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Chain {
    /// Who said so: an endpoint's address, or the light client.
    pub source: Option<String>,
    /// The chain's genesis hash.
    pub genesis: Option<String>,
    /// Whether a source is connected; `None` where only the daemon would know.
    pub connected: Option<bool>,
    /// The last finalized block that was seen.
    pub finalized: Option<u64>,
    /// Since when no newer finalized block is known, if that is too long ago.
    pub stale_since: Option<String>,
    /// Each source; empty without a daemon.
    pub endpoints: Vec<Endpoint>,
}

/// What is known of one source of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub address: String,
    /// Whether it is connected.
    pub connected: bool,
    /// The last finalized block that it told of.
    pub finalized: Option<u64>,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// Since when it is so.
    pub since: String,
}

/// A switch from one release to another.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LastSwitch {
    /// The version before; `None` at the first start.
    pub from: Option<String>,
    /// The version after.
    pub to: String,
    /// How long no vault ran.
    pub downtime_ms: Option<f64>,
    /// When it was.
    pub at: String,
}
