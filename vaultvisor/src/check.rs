//! Everything that can be wrong before vaultvisor runs: for `vaultvisor check`.
//!
//! Nothing is started and nothing is decided, and what is looked at is what `run` would use. A vaultvisor that runs
//! already is no failure: its home and the locks of its vaults are its own.
//!
//! - [`machine`]: folders, the keeper, room on the disk;
//! - [`vaults`]: locks, and vaults that somebody else started;
//! - [`networks`]: sources and what they state, the places of the release, the clock.

pub mod machine;
pub mod networks;
pub mod vaults;

use std::{collections::BTreeMap, fmt};

use crate::{
    chain::{Known, SourceSettings, light_client::LightClientConnector},
    config::Settings,
    daemon::home::vault_folder,
    error_chain::Chained,
    journal::{NetworkJournal, NetworkRecord, VaultJournal},
    release::GenesisHash,
};

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Not in the way of a run, and worth knowing.
    Doubtful,
    /// It would be in the way.
    Bad,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub verdict: Verdict,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Doubtful => "warn",
            Verdict::Bad => "FAIL",
        };
        // One line each, whatever a node or a server said.
        let found: String =
            self.found.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_FOUND_CHARS).collect();
        write!(f, "{verdict}  {}: {found}", self.what)
    }
}

/// What a person reads of one finding.
const MAX_FOUND_CHARS: usize = 1000;

impl Finding {
    /// A finding from what was found, or what is wrong.
    pub fn of(what: impl Into<String>, outcome: Result<String, String>) -> Self {
        let (verdict, found) = match outcome {
            Ok(found) => (Verdict::Good, found),
            Err(found) => (Verdict::Bad, found),
        };
        Self { verdict, what: what.into(), found }
    }

    /// What is worth knowing, and not in the way.
    pub fn doubtful(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Doubtful, what: what.into(), found: found.into() }
    }
}

/// Looks at everything, and tells of each finding as soon as it is known. Answers whether nothing is bad.
pub async fn check(settings: &Settings, mut tell: impl FnMut(&Finding)) -> bool {
    let mut is_good = true;
    let mut told = |findings: Vec<Finding>| {
        for finding in findings {
            is_good &= finding.verdict != Verdict::Bad;
            tell(&finding);
        }
    };
    told(machine::check(settings));
    let mut used: Vec<&str> = settings.vaults.values().map(|vault| vault.network.as_str()).collect();
    used.sort_unstable();
    used.dedup();
    let journal = NetworkJournal::new(&settings.home);
    let loaded = journal.load();
    let mut known = BTreeMap::new();
    for name in &used {
        let record = match &loaded {
            Ok(records) => records.of(name, settings.networks[*name].genesis),
            Err(error) => Err(error),
        };
        match record {
            Ok(record) => known.extend(record.map(|record| ((*name).to_owned(), record.clone()))),
            Err(error) => {
                let what = format!("what was seen of network {name}");
                told(vec![Finding::of(what, Err(Chained(error).to_string()))]);
            }
        }
    }
    let mut chains = chains(settings, &known);
    for name in used {
        let network = &settings.networks[name];
        let source = source(network, known.get(name), &journal);
        let (findings, genesis) = networks::check(network, &source, settings.max_artifact_bytes).await;
        told(findings);
        if let Some(genesis) = genesis {
            chains.entry(name.to_owned()).or_insert(genesis);
        }
    }
    for vault in settings.vaults.values() {
        told(vaults::check(settings, vault, chains.get(&vault.network).copied()).await);
    }
    is_good
}

/// The chain of each network, as far as it is known without asking anybody.
pub(crate) fn chains(
    settings: &Settings,
    known: &BTreeMap<String, NetworkRecord>,
) -> BTreeMap<String, GenesisHash> {
    let mut chains = BTreeMap::new();
    for vault in settings.vaults.values() {
        let journal = VaultJournal::new(&vault_folder(&settings.home, &vault.name));
        // One that cannot be read is told of where the vault is looked at.
        let seen = journal.load().ok().flatten().and_then(|recorded| recorded.state.seen);
        let genesis = settings.networks[&vault.network]
            .genesis
            .or(known.get(&vault.network).map(|record| record.genesis))
            .or(seen.map(|seen| seen.genesis));
        chains.extend(genesis.map(|genesis| (vault.network.clone(), genesis)));
    }
    chains
}

/// What a run would follow. Nothing of what is seen is kept.
pub(crate) fn source(
    network: &crate::config::Network,
    known: Option<&NetworkRecord>,
    journal: &NetworkJournal,
) -> SourceSettings {
    let mut records = network.records.clone();
    if let Some(record) = known.and_then(|known| known.record) {
        records.saw(record);
    }
    SourceSettings {
        network: network.name.clone(),
        endpoints: network.endpoints.clone(),
        light_client: network
            .light_client
            .clone()
            .map(|specs| LightClientConnector::looking(&network.name, specs, journal.folder())),
        genesis: network.genesis.or(known.map(|record| record.genesis)),
        records,
        agreement: network.agreement,
        known: known.map(Known::of),
    }
}
