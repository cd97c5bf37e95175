//! Forgetting a chain, after it was reset: what was seen of it goes, what proved itself on this machine stays.
//!
//! Nothing may run meanwhile: the account's lock is named after the chain, so a vault that runs on could not be found any
//! more by the next vaultvisor, which would start a second one.

use std::{collections::BTreeSet, path::Path, time::SystemTime};

use super::{
    home::{Home, HomeError, vault_folder},
    unix_secs,
    vault_place::place,
};
use crate::{
    chain::light_client,
    config::{Settings, Vault},
    decide::{Entry, Kind},
    error_chain::Chained,
    history::{Record, Writer},
    journal::{NetworkJournal, NetworkRecord, ReadError, Recorded, VaultJournal, atomic_file::WriteError},
    process::{
        adopt::{self, Observed},
        lock,
        protocol::Place,
    },
    release::GenesisHash,
    status::Time,
};

/// Why a chain was not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// There is no such network.
    #[error("there is no network {name:?}, expected one of: {}", known.join(", "))]
    NoNetwork {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A vaultvisor uses the home.
    #[error("nothing was forgotten: stop that vaultvisor first")]
    Home(#[source] HomeError),
    /// A vault runs on the chain.
    #[error(
        "nothing was forgotten: vault {vault} runs there with pid {pid}; stop it first, by `vaultvisor run` and SIGTERM"
    )]
    Runs {
        /// The vault.
        vault: String,
        /// Its process.
        pid: u32,
    },
    /// A vault may run on the chain.
    #[error("nothing was forgotten: vault {vault} is not provably gone: {reason}")]
    NotProvablyGone {
        /// The vault.
        vault: String,
        /// Whether someone holds the account's lock.
        lock_is_held: bool,
        /// What is there.
        reason: String,
    },
    /// What is known cannot be read.
    #[error("nothing was forgotten")]
    Read(#[from] ReadError),
    /// What is left could not be written; doing it again goes on.
    #[error("not everything was forgotten; do it again when this is repaired")]
    Write(#[from] WriteError),
}

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// The chains that went by this network's name, with the newest finalized block that was recorded.
    pub chains: Vec<(GenesisHash, u64)>,
    /// The vaults that knew something of it.
    pub vaults: Vec<String>,
}

/// Removes what was seen of a network's chain. Safe to repeat.
pub async fn forget_chain(settings: &Settings, network: &str) -> Result<Forgotten, ForgetError> {
    if !settings.networks.contains_key(network) {
        let known = settings.networks.keys().cloned().collect();
        return Err(ForgetError::NoNetwork { name: network.to_owned(), known });
    }
    let home = Home::open(&settings.home).await.map_err(ForgetError::Home)?;
    let networks = NetworkJournal::new(&settings.home);
    let records: Vec<NetworkRecord> =
        networks.load()?.into_all_of(network, settings.networks[network].genesis)?;
    let mut vaults = Vec::new();
    for vault in settings.vaults.values().filter(|vault| vault.network == network) {
        let journal = VaultJournal::new(&vault_folder(&settings.home, &vault.name));
        let recorded = journal.load()?;
        // What the vault acted on, too: the network's record may have been lost.
        let seen = recorded.as_ref().and_then(|recorded| recorded.state.seen.as_ref());
        let configured = settings.networks[network].genesis;
        let chains: BTreeSet<GenesisHash> = records
            .iter()
            .map(|record| record.genesis)
            .chain(seen.map(|seen| seen.genesis))
            .chain(configured)
            .collect();
        for genesis in chains {
            is_gone(vault, &place(&settings.home, &settings.lock_dir, vault, genesis)).await?;
        }
        vaults.extend(recorded.map(|recorded| (vault.name.clone(), journal, recorded)));
    }
    // Nothing was changed before this, and nothing runs: the vaults first, since each of them pins the chain as well.
    let mut forgotten = Forgotten::default();
    for (name, journal, recorded) in vaults {
        let state = recorded.state.clone().without_chain();
        if state != recorded.state {
            journal.store(&Recorded { state, since_unix_secs: unix_secs(SystemTime::now()) })?;
            forgotten.vaults.push(name);
        }
    }
    for record in records {
        networks.remove(&record)?;
        forgotten.chains.push((record.genesis, record.finalized.number));
    }
    light_client::forget(networks.folder(), network)?;
    if forgotten != Forgotten::default() {
        note(&settings.home, network, &forgotten);
    }
    drop(home);
    Ok(forgotten)
}

/// Whether nothing of a vault runs, provably.
async fn is_gone(vault: &Vault, place: &Place) -> Result<(), ForgetError> {
    let not_gone = |lock_is_held, reason| {
        Err(ForgetError::NotProvablyGone { vault: vault.name.clone(), lock_is_held, reason })
    };
    match adopt::observe(place).await {
        Observed::Runs(running) => {
            return Err(ForgetError::Runs { vault: vault.name.clone(), pid: running.vault.pid });
        }
        Observed::NotProvable { lock_is_held, reason } => return not_gone(lock_is_held, reason),
        Observed::Nothing | Observed::Gone { .. } => {}
    }
    // What it may have left behind is looked for, and ended, by the next start of a vault under the same lock.
    match lock::look_at_record(&place.lock).and_then(|record| match record {
        Some(record) => record.is_open(),
        None => Ok(false),
    }) {
        Ok(false) => Ok(()),
        Ok(true) => not_gone(
            false,
            format!(
                "its last end was not seen ({} is marked dirty): let `vaultvisor run` start and stop it once, or reboot",
                place.lock.display()
            ),
        ),
        Err(error) => not_gone(false, format!("cannot read {}: {error}", place.lock.display())),
    }
}

/// A line in the audit trail; what was done is done without it too.
fn note(home: &Path, network: &str, forgotten: &Forgotten) {
    let chains: Vec<String> = forgotten.chains.iter().map(|(genesis, _)| genesis.to_string()).collect();
    let text = format!("an operator had what was seen of the chain forgotten ({})", chains.join(", "));
    let finalized = forgotten.chains.first().map(|(_, number)| *number);
    let (from, to, sequence, spec_version, downtime_us) = (None, None, None, None, None);
    let kind = Kind::Forgotten;
    let entry = Entry { kind, from, to, text, finalized, sequence, spec_version, downtime_us };
    let at = Time(unix_secs(SystemTime::now()));
    let record = Record { at, vault: None, network: network.to_owned(), entry };
    if let Err(error) = Writer::new(home).append(&[record]) {
        tracing::warn!("{}", Chained(&error));
    }
}
