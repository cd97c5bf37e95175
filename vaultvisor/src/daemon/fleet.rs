//! The vaults and networks of one daemon: which are supervised, and how a new configuration is put in force.
//!
//! Each vault's task is independent of every other: one that cannot be begun, or that fails, is reported and
//! tried again, and the others never hear of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    AbortOnDrop, Progress, Shared, network_task,
    operator::Order,
    vault_task::{Channels, Live, VaultTask},
};
use crate::{
    chain::ChainStatus,
    config::{Network, Settings, Vault, file::Problem},
    control::Reply,
    decide::State,
    error_chain::Chained,
    journal::{NetworkJournal, NetworkRecord, VaultJournal},
    migrate::snapshot::Snapshots,
    status::{ChainSeen, Status, Time, VaultStatus},
};

/// A vault answers its orders at once; a script that sends more at a time waits.
const ORDER_QUEUE: usize = 8;

/// What a vault's task is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Goal {
    /// Supervise.
    Supervise,
    /// End, and leave the vault running, once nothing is half done.
    Leave,
    /// Stop the vault and end.
    Stop,
}

/// Everything that the file says about one vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) vault: Vault,
    pub(super) network: Network,
    pub(super) startup_chain_wait: Duration,
}

impl Configured {
    fn of(settings: &Settings, vault: &Vault) -> Self {
        Self {
            vault: vault.clone(),
            network: settings.networks[&vault.network].clone(),
            startup_chain_wait: settings.startup_chain_wait,
        }
    }

    /// A task supervises one vault on one chain; with another it is another vault.
    fn is_same_vault(&self, other: &Self) -> bool {
        (&self.vault.network, &self.vault.account) == (&other.vault.network, &other.vault.account)
    }
}

/// The tasks of the vaults; each ends with its vault's name.
pub(super) type Tasks = JoinSet<Ended>;

/// A vault's task has ended.
#[derive(Debug)]
pub(super) struct Ended {
    name: String,
    panicked: bool,
    /// What was to be stopped and did not end.
    pub(super) left: Option<String>,
}

/// One network that is followed.
#[derive(Debug)]
struct Followed {
    network: Network,
    /// What was known of it when it was first followed.
    known: Option<NetworkRecord>,
    status: Arc<watch::Sender<ChainStatus>>,
    _task: AbortOnDrop,
}

/// One vault.
#[derive(Debug)]
enum Member {
    /// Its task runs.
    Supervised(Supervised),
    /// Its task could not be begun; nothing of it is touched.
    Broken { configured: Arc<Configured>, reason: String },
}

#[derive(Debug)]
struct Supervised {
    configured: watch::Sender<Arc<Configured>>,
    orders: mpsc::Sender<Order>,
    live: watch::Receiver<Live>,
    progress: watch::Receiver<Progress>,
    goal: watch::Sender<Goal>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    networks: BTreeMap<String, Followed>,
    vaults: BTreeMap<String, Member>,
    goal: Goal,
    /// Why a configuration was refused, or what of it is not in force; until the next one is read.
    problem: Option<String>,
    /// Why the status is not served over HTTP, although it should be.
    http_problem: Option<String>,
}

/// All vaults.
#[derive(Debug)]
pub(super) struct Fleet {
    shared: Arc<Shared>,
    started_at: Time,
    inner: Mutex<Inner>,
}

/// A vault that takes commands.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) configured: Arc<Configured>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) live: watch::Receiver<Live>,
}

impl Fleet {
    /// The vaults of a configuration; none is supervised before [`Self::reconcile`].
    pub(super) fn new(shared: Arc<Shared>, settings: Settings) -> Self {
        let inner = Inner {
            settings,
            networks: BTreeMap::new(),
            vaults: BTreeMap::new(),
            goal: Goal::Supervise,
            problem: None,
            http_problem: None,
        };
        Self { shared, started_at: Time(super::now().unix_secs()), inner: Mutex::new(inner) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is changed under it is changed by single assignments; a panic leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins and ends tasks until they are those of the configuration in force. What must end first, such as
    /// a vault whose account has changed, is begun by a later call.
    pub(super) fn reconcile(&self, tasks: &mut Tasks) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if inner.goal != Goal::Supervise {
            return;
        }
        let wanted: BTreeMap<String, Arc<Configured>> = inner
            .settings
            .vaults
            .values()
            .map(|vault| (vault.name.clone(), Arc::new(Configured::of(&inner.settings, vault))))
            .collect();
        inner.vaults.retain(|_, member| matches!(member, Member::Supervised(_)));
        for (name, member) in &inner.vaults {
            let Member::Supervised(supervised) = member else { continue };
            let old = supervised.configured.borrow().clone();
            match wanted.get(name) {
                Some(new) if new.is_same_vault(&old) => {
                    supervised.configured.send_if_modified(|old| {
                        let differs = *old != *new;
                        *old = new.clone();
                        differs
                    });
                }
                _ => {
                    tracing::info!(vault = name, "is not in the configuration any more; stopping it");
                    supervised.goal.send_replace(Goal::Stop);
                }
            }
        }
        for configured in wanted.values() {
            self.follow(inner, &configured.network);
        }
        // All of them before the first is begun, for that one may remove what nobody needs at once.
        let new = wanted.keys().filter(|name| !inner.vaults.contains_key(*name));
        new.for_each(|name| self.learn_needs(name));
        self.shared
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|name| wanted.contains_key(name));
        for (name, configured) in wanted {
            if !inner.vaults.contains_key(&name) {
                let member = self.begin(inner, configured, tasks);
                inner.vaults.insert(name, member);
            }
        }
        let used: BTreeSet<String> =
            inner.vaults.values().map(|member| member.configured().vault.network.clone()).collect();
        inner.networks.retain(|name, _| used.contains(name));
    }

    /// What a vault needs from the store, by its durable state.
    fn learn_needs(&self, name: &str) {
        let journal = VaultJournal::new(&super::home::vault_folder(&self.shared.home, name));
        let mut unreadable = self.shared.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        match journal.load() {
            Ok(recorded) => {
                unreadable.remove(name);
                let needed = recorded.unwrap_or_default().state.needed().into_iter().collect();
                let mut all = self.shared.needed.lock().unwrap_or_else(PoisonError::into_inner);
                all.insert(name.to_owned(), needed);
            }
            Err(_) => drop(unreadable.insert(name.to_owned())),
        }
    }

    /// Follows a network as it is configured now. Its vaults keep their receivers.
    fn follow(&self, inner: &mut Inner, network: &Network) {
        let earlier = inner.networks.remove(&network.name);
        let (status, known) = match earlier {
            Some(followed) if followed.network == *network => {
                inner.networks.insert(network.name.clone(), followed);
                return;
            }
            Some(followed) => (followed.status, followed.known),
            None => (Arc::new(watch::Sender::new(ChainStatus::default())), None),
        };
        let journal = NetworkJournal::new(&self.shared.home);
        let loaded = journal.load();
        let record = match &loaded {
            Ok(records) => records.of(&network.name, network.genesis),
            Err(error) => Err(error),
        };
        let known = match record {
            Ok(record) => record.cloned().or(known),
            Err(error) => {
                // Its pin is not known, so nothing that a node says of it may be believed.
                let problem = format!("{}: the network is not followed", Chained(error));
                tracing::error!(network = network.name, "{problem}");
                status.send_modify(|status| {
                    status.connected = false;
                    status.problem = Some(problem);
                });
                return self.insert(inner, network, known, status, None);
            }
        };
        let task = network_task::spawn(
            network.clone(),
            known.clone(),
            journal,
            status.clone(),
            self.shared.chronicle.clone(),
        );
        self.insert(inner, network, known, status, Some(task));
    }

    fn insert(
        &self,
        inner: &mut Inner,
        network: &Network,
        known: Option<NetworkRecord>,
        status: Arc<watch::Sender<ChainStatus>>,
        task: Option<tokio::task::AbortHandle>,
    ) {
        let task = AbortOnDrop(task);
        let followed = Followed { network: network.clone(), known, status, _task: task };
        inner.networks.insert(network.name.clone(), followed);
    }

    fn begin(&self, inner: &Inner, configured: Arc<Configured>, tasks: &mut Tasks) -> Member {
        let name = configured.vault.name.clone();
        let followed = &inner.networks[&configured.vault.network];
        let folder = super::home::create_vault_folder(&self.shared.home, &name);
        let (journal, snapshots) = match folder {
            Ok(folder) => (VaultJournal::new(&folder), Snapshots::new(&folder)),
            Err(error) => return broken(configured, &Chained(&error).to_string()),
        };
        // What was done to the data must be known before anything is started on it.
        let snapshots = match snapshots.records() {
            Ok(records) => records,
            Err(error) => return broken(configured, &Chained(&error).to_string()),
        };
        let recorded = match journal.load() {
            Ok(recorded) => recorded.unwrap_or_default(),
            Err(error) => return broken(configured, &Chained(&error).to_string()),
        };
        // What this vault acted on, too: the network's record may be lost or renamed, and without a genesis a vault that
        // runs could not be found.
        let seen = recorded.state.seen.as_ref().map(|seen| seen.genesis);
        let known = followed.known.as_ref().map(|record| record.genesis);
        let genesis = configured.network.genesis.or(known).or(seen);
        let (orders, orders_receiver) = mpsc::channel(ORDER_QUEUE);
        let (live_sender, live) = watch::channel(Live { recorded: recorded.clone(), trouble: None });
        let (progress_sender, progress) = watch::channel(Progress::Undecided);
        let goal = watch::Sender::new(Goal::Supervise);
        let configured = watch::Sender::new(configured);
        let mut chain = followed.status.subscribe();
        // What is known already is news to this vault.
        let is_known = chain.borrow().view.is_some() || chain.borrow().problem.is_some();
        if is_known {
            chain.mark_changed();
        }
        let channels = Channels {
            chain,
            configured: configured.subscribe(),
            goal: goal.subscribe(),
            orders: orders_receiver,
            live: live_sender,
            progress: progress_sender,
        };
        let task = VaultTask::new(self.shared.clone(), journal, recorded, snapshots, genesis, channels);
        tasks.spawn(async move {
            let ended = AssertUnwindSafe(task.run()).catch_unwind().await;
            let panicked = ended.is_err();
            let left = ended.ok().flatten().map(|left| format!("vault {name}: {left}"));
            Ended { name, panicked, left }
        });
        Member::Supervised(Supervised { configured, orders, live, progress, goal })
    }

    /// Takes leave of a task that has ended; answers whether something went wrong, so that it is begun again
    /// only after a while.
    pub(super) fn ended(&self, ended: Ended) -> bool {
        let mut inner = self.lock();
        inner.vaults.remove(&ended.name);
        // One that failed is begun again, and needs then what it needs now.
        if inner.goal == Goal::Supervise && !ended.panicked {
            self.shared.needed.lock().unwrap_or_else(PoisonError::into_inner).remove(&ended.name);
        }
        if ended.panicked {
            tracing::error!(vault = ended.name, "its supervision failed; the vault itself is left alone");
        }
        ended.panicked
    }

    /// Tells every vault's task; a lesser goal than the one before is ignored.
    pub(super) fn aim(&self, goal: Goal) {
        let mut inner = self.lock();
        inner.goal = inner.goal.max(goal);
        let goal = inner.goal;
        for member in inner.vaults.values() {
            if let Member::Supervised(supervised) = member {
                supervised.goal.send_if_modified(|old| {
                    let is_more = goal > *old;
                    *old = goal.max(*old);
                    is_more
                });
            }
        }
    }

    /// Puts a new configuration in force, as far as it can be while we run; or leaves the old one in force and
    /// answers why.
    pub(super) fn take_up(&self, new: Settings) -> Result<(), Vec<Problem>> {
        let mut inner = self.lock();
        let conflicts = conflicts(&inner, &new);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let old = inner.settings.clone();
        let mut later = Vec::new();
        for (key, changed) in [
            ("home", old.home != new.home),
            ("http", old.http != new.http),
            ("lock_dir", old.lock_dir != new.lock_dir),
            ("max_artifact_bytes", old.max_artifact_bytes != new.max_artifact_bytes),
        ] {
            if changed {
                later.push(key);
            }
        }
        inner.problem = (!later.is_empty()).then(|| {
            format!(
                "{} of the configuration has changed and needs a restart of vaultvisor; everything else is in force",
                later.join(", ")
            )
        });
        if let Some(problem) = &inner.problem {
            tracing::warn!("{problem}");
        }
        let Settings { home, http, lock_dir, max_artifact_bytes, .. } = old;
        inner.settings = Settings { home, http, lock_dir, max_artifact_bytes, ..new };
        Ok(())
    }

    /// Notes that a configuration was refused.
    pub(super) fn refused(&self, problem: String) {
        self.lock().problem = Some(problem);
    }

    /// Notes why the status is not served over HTTP, or that it is.
    pub(super) fn http_problem(&self, problem: Option<String>) {
        self.lock().http_problem = problem;
    }

    /// What the status says. Looks at files, and so must be asked for where it may wait for the disk.
    pub(super) fn status(&self) -> Status {
        // Nobody else shall wait for the disk: all that is locked is taken first.
        let (members, problem) = {
            let inner = self.lock();
            let member = |member: &Member| {
                let configured = member.configured();
                let chain = inner.networks.get(&configured.vault.network).and_then(Followed::seen);
                let live = match member {
                    Member::Supervised(supervised) => Ok(supervised.live.borrow().clone()),
                    Member::Broken { reason, .. } => Err(reason.clone()),
                };
                (configured, chain, live)
            };
            let members: Vec<_> = inner.vaults.values().map(member).collect();
            let problems: Vec<&str> =
                [&inner.problem, &inner.http_problem].into_iter().filter_map(Option::as_deref).collect();
            (members, (!problems.is_empty()).then(|| problems.join("; ")))
        };
        let vaults = members.into_iter().map(|(configured, chain, live)| match live {
            Ok(Live { recorded, trouble }) => {
                VaultStatus::live(&self.shared.home, &configured.vault, &recorded, chain, trouble)
            }
            Err(reason) => VaultStatus::unusable(&configured.vault, chain, &reason),
        });
        Status::of_daemon(std::process::id(), self.started_at, problem, vaults.collect())
    }

    /// The state of every vault that is supervised.
    pub(super) fn states(&self) -> BTreeMap<String, State> {
        let inner = self.lock();
        let state = |(name, member): (&String, &Member)| match member {
            Member::Supervised(supervised) => {
                Some((name.clone(), supervised.live.borrow().recorded.state.clone()))
            }
            Member::Broken { .. } => None,
        };
        inner.vaults.iter().filter_map(state).collect()
    }

    /// A vault that takes commands, or the refusal.
    pub(super) fn reach(&self, name: &str) -> Result<Reached, Reply> {
        let inner = self.lock();
        match inner.vaults.get(name) {
            Some(Member::Supervised(supervised)) => Ok(Reached {
                configured: supervised.configured.borrow().clone(),
                orders: supervised.orders.clone(),
                live: supervised.live.clone(),
            }),
            Some(Member::Broken { reason, .. }) => Err(Reply::Refused(format!(
                "vault {name} is not supervised: {reason}; once that is repaired, SIGHUP has it tried again"
            ))),
            None => {
                let known: Vec<&str> = inner.vaults.keys().map(String::as_str).collect();
                let known = known.join(", ");
                Err(Reply::Invalid(format!("there is no vault {name:?}, expected one of: {known}")))
            }
        }
    }

    /// How far each vault is, and why those are not supervised that could not be begun.
    pub(super) fn progress(&self) -> (Vec<watch::Receiver<Progress>>, Vec<String>) {
        let (mut progress, mut broken) = (Vec::new(), Vec::new());
        for (name, member) in &self.lock().vaults {
            match member {
                Member::Supervised(supervised) => progress.push(supervised.progress.clone()),
                Member::Broken { reason, .. } => broken.push(format!("vault {name}: {reason}")),
            }
        }
        (progress, broken)
    }
}

fn broken(configured: Arc<Configured>, reason: &str) -> Member {
    tracing::error!(vault = configured.vault.name, "is not supervised: {reason}");
    Member::Broken { configured, reason: reason.to_owned() }
}

/// What of a new configuration contradicts what was begun under the old one.
fn conflicts(inner: &Inner, new: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, member) in &inner.vaults {
        let configured = member.configured();
        let Some(vault) = new.vaults.get(name) else { continue };
        let (old, network) = (&configured.vault.network, &vault.network);
        if old != network {
            let what = format!(
                "has changed from {old:?} to {network:?}, expected the same: what is known of a vault is of one chain; give the vault another name"
            );
            problems.push(Problem { path: format!("vaults.{name}.network"), what });
        } else if new.networks[network].genesis != configured.network.genesis {
            let what = "has changed, expected the same while a vault of this network is supervised: restart vaultvisor";
            let problem = Problem { path: format!("networks.{network}.genesis"), what: what.to_owned() };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

impl Member {
    fn configured(&self) -> Arc<Configured> {
        match self {
            Self::Supervised(supervised) => supervised.configured.borrow().clone(),
            Self::Broken { configured, .. } => configured.clone(),
        }
    }
}

impl Followed {
    /// The newest that is known of the chain, from this run or from before.
    fn seen(&self) -> Option<ChainSeen> {
        let status = self.status.borrow();
        match (&status.view, &self.known) {
            (Some(view), _) => {
                let seen_at = status.seen_at.map_or(Time(0), |at| Time(super::unix_secs(at)));
                Some(ChainSeen::of_view(view, seen_at, &status))
            }
            (None, Some(record)) => Some(ChainSeen::of_record(record, Some(status.connected)).with(&status)),
            (None, None) => None,
        }
    }
}
