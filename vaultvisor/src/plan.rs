//! What would happen now and why, without doing it: `vaultvisor plan`.
//!
//! Of a vault that is supervised its state is asked of the daemon; else it is read from disk, and what runs is looked
//! for as a vaultvisor that starts would. The chain is followed, as a run would, until it is known. Then the pure core
//! says what it would do from there on, again and again, as if all went well ([`foresight`]); [`words`] tells it.
//!
//! Nothing is written and no lock is held.

pub mod foresight;
pub mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use futures::future::join_all;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use self::{
    foresight::{Machine, foresee},
    words::{ArgsPlan, Step, Teller},
};
use crate::{
    artifact::Store,
    chain::{ChainStatus, SourceSettings, follow::follow},
    check,
    config::{Settings, Vault},
    control::{self, ControlError, Reply, Request},
    daemon::{self, home::vault_folder, vault_place::place},
    decide::{BootId, Event, Observed, State},
    error_chain::Chained,
    journal::{NetworkJournal, NetworkRecord, Recorded, VaultJournal},
    migrate::{args::Revisions, snapshot::Snapshots},
    process::{boot_id, unmanaged::in_the_way},
    release::{Checksum, GenesisHash},
    status::{
        ChainSeen, HoldStatus, PendingStatus, RejectedStatus, RunningStatus, Status, TargetStatus, Time,
        VaultStatus,
    },
};

/// The whole document of `vaultvisor plan --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// Of the program that wrote this.
    pub version: String,
    /// Of the daemon; `null` without one: then it is the plan of one that would be started now.
    pub pid: Option<u32>,
    /// Each vault of the configuration.
    pub vaults: Vec<VaultPlan>,
}

/// One vault.
#[derive(Debug, Clone, Serialize)]
pub struct VaultPlan {
    /// Its name in the configuration.
    pub name: String,
    /// Its network.
    pub network: String,
    /// What it does now, as `vaultvisor status` says.
    pub state: crate::decide::state::Name,
    /// Why.
    pub why: String,
    /// Its process.
    pub running: Option<RunningStatus>,
    /// The chain as it was just read; `null` if it was not.
    pub chain: Option<ChainSeen>,
    /// Why it was not read, or what is wrong with it.
    pub chain_problem: Option<String>,
    /// What it says should run.
    pub target: Option<TargetStatus>,
    /// What a runtime upgrade will bring.
    pub pending: Option<PendingStatus>,
    /// What would be done, in this order, if each step went well.
    pub steps: Vec<Step>,
    /// What is waited for then.
    pub then: Vec<String>,
    /// Which arguments win; `null` for a vault that cannot be supervised.
    pub args: Option<ArgsPlan>,
    /// What failed here, with the times of the next tries.
    pub rejected: Vec<RejectedStatus>,
    /// An operator's hold.
    pub hold: Option<HoldStatus>,
    /// What would be warned of.
    pub warnings: Vec<String>,
}

/// Makes the plan of every vault. A chain is waited for as long as `patience` says.
pub async fn plan(settings: &Settings, patience: impl Fn(&SourceSettings) -> Duration) -> Plan {
    let running = Supervised::ask(settings);
    let journal = NetworkJournal::new(&settings.home);
    let loaded = journal.load();
    let used: BTreeSet<&str> = settings.vaults.values().map(|vault| vault.network.as_str()).collect();
    let mut known: BTreeMap<String, Result<Option<NetworkRecord>, String>> = BTreeMap::new();
    for name in &used {
        let record = match &loaded {
            Ok(records) => records.of(name, settings.networks[*name].genesis).map(|record| record.cloned()),
            Err(error) => Err(error),
        };
        known.insert((*name).to_owned(), record.map_err(|error| Chained(error).to_string()));
    }
    let reads = join_all(used.iter().map(async |name| {
        let status = match &known[*name] {
            Ok(record) => {
                let source = check::source(&settings.networks[*name], record.as_ref(), &journal);
                let patience = patience(&source);
                read(source, patience).await
            }
            Err(problem) => ChainStatus { problem: Some(problem.clone()), ..ChainStatus::default() },
        };
        ((*name).to_owned(), status)
    }));
    let chains: BTreeMap<String, ChainStatus> = reads.await.into_iter().collect();
    let readable = known.into_iter().filter_map(|(name, record)| Some((name, record.ok()??))).collect();
    let genesis = check::chains(settings, &readable);
    let vaults = join_all(settings.vaults.values().map(async |vault| {
        let (chain, genesis) = (&chains[&vault.network], genesis.get(&vault.network).copied());
        plan_vault(settings, vault, &running, chain, genesis).await
    }));
    Plan { version: env!("CARGO_PKG_VERSION").to_owned(), pid: running.status.pid, vaults: vaults.await }
}

/// What a running vaultvisor says.
struct Supervised {
    status: Status,
    /// The states of its vaults; `None` without one.
    states: Option<BTreeMap<String, State>>,
}

impl Supervised {
    fn ask(settings: &Settings) -> Self {
        let ask = |request| match control::ask(&settings.home, &request) {
            Ok(reply) => Some(reply),
            Err(ControlError::NoDaemon { .. }) => None,
            Err(error) => {
                tracing::warn!("{}; this is made of what is on disk", Chained(&error));
                None
            }
        };
        let on_disk = || Status::read(settings);
        let Some(Reply::Status(status)) = ask(Request::Status) else {
            let status = on_disk();
            // One that does not answer supervises all the same.
            let states = status.pid.map(|_| states_on_disk(settings));
            return Self { status, states };
        };
        let states = match ask(Request::States) {
            Some(Reply::States(states)) => states,
            // An older one does not know the question; what it decides it writes down.
            _ => states_on_disk(settings),
        };
        Self { status: *status, states: Some(states) }
    }
}

fn states_on_disk(settings: &Settings) -> BTreeMap<String, State> {
    let state = |vault: &Vault| {
        let journal = VaultJournal::new(&vault_folder(&settings.home, &vault.name));
        Some((vault.name.clone(), journal.load().ok().flatten()?.state))
    };
    settings.vaults.values().filter_map(state).collect()
}

/// Follows a chain until it is known, every source has failed, or the time is up.
async fn read(source: SourceSettings, patience: Duration) -> ChainStatus {
    let network = source.network.clone();
    let (seen, mut status) = watch::channel(ChainStatus::default());
    let (notes, _nobody) = mpsc::channel(1);
    let following = tokio::spawn(follow(source, seen, notes));
    let is_settled = |status: &ChainStatus| {
        let all_failed = !status.endpoints.is_empty()
            && status.endpoints.iter().all(|endpoint| endpoint.problem.is_some());
        status.view.is_some() || all_failed
    };
    // Ends early only with the task.
    let _ = tokio::time::timeout(patience, status.wait_for(is_settled)).await;
    following.abort();
    let mut status = status.borrow().clone();
    if status.view.is_none() {
        let failures = status
            .endpoints
            .iter()
            .filter_map(|endpoint| Some(format!("{}: {}", endpoint.address, endpoint.problem.as_ref()?)));
        let failures: Vec<String> = failures.collect();
        let late = || format!("network {network} was not read within {} s", patience.as_secs());
        status.problem =
            Some(if failures.is_empty() { status.problem.unwrap_or_else(late) } else { failures.join("; ") });
    }
    status
}

/// What is known of a vault before the chain's news.
struct Standing {
    state: State,
    /// What a vaultvisor that starts would begin with.
    recovered: Option<Event>,
    machine: Machine,
    /// What a person should know of it.
    remark: Option<String>,
}

async fn plan_vault(
    settings: &Settings,
    vault: &Vault,
    running: &Supervised,
    chain: &ChainStatus,
    genesis: Option<GenesisHash>,
) -> VaultPlan {
    let now_is = running.status.vaults.iter().find(|status| status.name == vault.name);
    let supervised = running.states.as_ref().and_then(|states| states.get(&vault.name));
    let standing = match (supervised, now_is) {
        (Some(state), _) => supervised_standing(settings, vault, state),
        (None, Some(status)) if running.states.is_some() => Err(status.why.clone()),
        _ => at_rest(settings, vault, running, chain, genesis).await,
    };
    let now = daemon::now();
    let network = &settings.networks[&vault.network];
    let policy = daemon::policy(vault, settings.startup_chain_wait);
    let seen = chain.view.as_ref().map(|view| {
        let seen_at = Time(now.unix_secs());
        ChainSeen::of_view(view, seen_at, chain)
    });
    let Standing { state, recovered, machine, remark } = match standing {
        Ok(standing) => standing,
        Err(reason) => {
            let status = VaultStatus::unusable(vault, seen.clone(), &reason);
            let status = now_is.cloned().unwrap_or(status);
            return VaultPlan::of(status, seen, chain, Vec::new(), vec![reason]);
        }
    };
    let heard = Event::Chain {
        view: chain.view.clone().map(Box::new),
        best_spec_version: chain.best_spec_version,
        problem: chain.problem.clone(),
    };
    let foreseen = foresee(state.clone(), recovered.into_iter().chain([heard]), now, &policy, &machine);
    let store = Store::at(&settings.home);
    let stored = |checksum: Checksum| store.contains(checksum);
    let next_revision = machine.next_revision;
    let teller = Teller { vault, network, stored: &stored, next_revision, now };
    let revisions = Revisions::new(&vault_folder(&settings.home, &vault.name));
    let steps = foreseen.deeds.iter().map(|deed| teller.step(deed)).collect();
    let then = teller.then(&foreseen.end);
    let args = teller.args(&state, &foreseen, |number| revisions.load(number).ok());
    let recorded = Recorded { state: foreseen.end, since_unix_secs: 0 };
    let end = VaultStatus::live(&settings.home, vault, &recorded, seen.clone(), None);
    let status = match now_is {
        Some(status) => status.clone(),
        None => VaultStatus { running: None, ..end.clone() },
    };
    let status = VaultStatus {
        target: end.target,
        pending: end.pending,
        rejected: end.rejected,
        hold: end.hold,
        ..status
    };
    let warnings = remark.into_iter().chain(foreseen.warnings).collect();
    VaultPlan { args: Some(args), warnings, ..VaultPlan::of(status, seen, chain, steps, then) }
}

impl VaultPlan {
    fn of(
        status: VaultStatus,
        seen: Option<ChainSeen>,
        chain: &ChainStatus,
        steps: Vec<Step>,
        then: Vec<String>,
    ) -> Self {
        Self {
            name: status.name,
            network: status.network,
            state: status.state,
            why: status.why,
            running: status.running,
            chain: seen,
            chain_problem: chain.problem.clone(),
            target: status.target,
            pending: status.pending,
            steps,
            then,
            args: None,
            rejected: status.rejected,
            hold: status.hold,
            warnings: Vec::new(),
        }
    }
}

fn supervised_standing(settings: &Settings, vault: &Vault, state: &State) -> Result<Standing, String> {
    let machine = numbers(settings, vault)?;
    Ok(Standing { state: state.clone(), recovered: None, machine, remark: None })
}

/// A vault that nobody supervises, as a vaultvisor would find it that is started now.
async fn at_rest(
    settings: &Settings,
    vault: &Vault,
    running: &Supervised,
    chain: &ChainStatus,
    genesis: Option<GenesisHash>,
) -> Result<Standing, String> {
    let folder = vault_folder(&settings.home, &vault.name);
    let said = |error: &(dyn std::error::Error + 'static)| Chained(error).to_string();
    let state = VaultJournal::new(&folder).load().map_err(|error| said(&error))?.unwrap_or_default().state;
    let snapshots = Snapshots::new(&folder).records().map_err(|error| said(&error))?;
    let boot = BootId(boot_id().map_err(|error| format!("cannot read the identity of this boot: {error}"))?);
    let stored = match Store::at(&settings.home).checksums() {
        Err(error) if error.source.kind() != io::ErrorKind::NotFound => return Err(said(&error)),
        stored => stored.unwrap_or_default(),
    };
    let place_on = |genesis| place(&settings.home, &settings.lock_dir, vault, genesis);
    let (observed, _) = daemon::observe(genesis.map(place_on)).await;
    let mut machine = numbers(settings, vault)?;
    if let Observed::Nothing | Observed::Ended { .. } = observed
        && let Some(genesis) = genesis.or(chain.view.as_ref().map(|view| view.genesis))
    {
        let (place, args) = (place_on(genesis), vault.args.clone());
        let looked = tokio::task::spawn_blocking(move || in_the_way(&place, &args)).await;
        let looked = looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let found =
            looked.map_err(|error| format!("cannot look for vaults that somebody else started: {error}"))?;
        machine.in_the_way = found.map(|unmanaged| (unmanaged.pid, unmanaged.why));
    }
    let remark = running.states.is_some().then(|| {
        "vaultvisor runs and does not know this vault yet: it reads the configuration again on SIGHUP"
            .to_owned()
    });
    let recovered = Some(Event::Recovered { stored, boot, snapshots, observed });
    Ok(Standing { state, recovered, machine, remark })
}

/// The numbers that revisions and snapshots would get.
fn numbers(settings: &Settings, vault: &Vault) -> Result<Machine, String> {
    let folder = vault_folder(&settings.home, &vault.name);
    let newest = Revisions::new(&folder).newest().map_err(|error| Chained(&error).to_string())?;
    let ids = Snapshots::new(&folder).ids().map_err(|error| Chained(&error).to_string())?;
    let next_snapshot = ids.last().map_or(1, |last| last + 1);
    Ok(Machine { next_revision: newest + 1, next_snapshot, in_the_way: None })
}
