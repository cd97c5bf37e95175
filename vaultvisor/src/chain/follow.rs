//! The loop that keeps one source connected, and what it believes.
//!
//! One connection at a time: the endpoints are tried in their order, each failure moves on to the next, and
//! after a round in which all failed the loop waits. Nothing polls: between two finalized blocks the task
//! sleeps.
//!
//! What a source says is checked against what was seen before (`Belief`, pure). Whatever cannot be believed
//! is reported as the status' `problem` and the last good view stays, so that a lagging, lying or half-upgraded
//! node can delay news but never take any back.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    ChainStatus, ChainView, SourceSettings,
    endpoints::RpcConnector,
    records::{Reading, RecordError, Records, StorageKey},
    source::{Connect, Head, News, ReleaseSource, SourceError, SourceProblem},
};
use crate::{error_chain::Chained, release::GenesisHash};

/// How long a connection may bring no newer finalized block before another endpoint is tried.
///
/// Bridge chains finalize every 6 to 20 seconds; a minute of silence is a dead connection, a node that is
/// stuck, or a chain that is, and only another endpoint can tell which.
const SILENCE: Duration = Duration::from_secs(60);

/// The waits after rounds in which every endpoint failed grow from the first to the last.
///
/// A restarting node is back within seconds, so the first is short. A quarter of a minute at most keeps an
/// operator who just repaired something from waiting, and even a thousand operators ask a public endpoint that
/// is down no more than a hundred times a second.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// A connection that held this long was no part of the trouble before it.
const HELD: Duration = Duration::from_secs(30);

/// Follows one network for as long as anybody listens to `status`; cancelled by dropping the future, which
/// leaves nothing behind.
pub async fn follow(settings: SourceSettings, status: watch::Sender<ChainStatus>) {
    follow_with(&RpcConnector::default(), settings, &status).await;
}

async fn follow_with(
    connector: &impl Connect,
    settings: SourceSettings,
    status: &watch::Sender<ChainStatus>,
) {
    tokio::select! {
        () = Follower::new(settings, status).run(connector) => {}
        () = status.closed() => {}
    }
}

/// Why a chain could not be read once.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No endpoint gave an answer.
    #[error(
        "{}",
        match failures.as_slice() {
            [] => format!("network {network}: no endpoint is configured"),
            failures => failures.iter().map(|one| Chained(one).to_string()).collect::<Vec<_>>().join("; "),
        }
    )]
    Unreachable {
        /// The network's name.
        network: String,
        /// What went wrong, by endpoint.
        failures: Vec<SourceError>,
    },
    /// The time was up before an endpoint answered.
    #[error("{network}: no endpoint answered within {} s", deadline.as_secs())]
    TimedOut {
        /// The network's name.
        network: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// An endpoint answered, with something else than a release.
    #[error("endpoint {endpoint}, block {number}")]
    Record {
        /// The endpoint.
        endpoint: String,
        /// The finalized block.
        number: u64,
        /// What is wrong with it.
        #[source]
        source: Box<RecordError>,
    },
}

/// Reads the newest finalized state from the first endpoint that answers within `deadline`.
pub async fn read_once(settings: &SourceSettings, deadline: Duration) -> Result<ChainView, ReadError> {
    let connector = RpcConnector::default();
    timeout(deadline, read_first(&connector, settings))
        .await
        .unwrap_or_else(|_| Err(ReadError::TimedOut { network: settings.network.clone(), deadline }))
}

async fn read_first(connector: &impl Connect, settings: &SourceSettings) -> Result<ChainView, ReadError> {
    let keys = settings.records.keys();
    let mut failures = Vec::new();
    for endpoint in &settings.endpoints {
        let read = async {
            let mut source = connector.connect(endpoint).await?;
            check_genesis(settings.genesis, source.genesis()).map_err(|problem| problem.at(endpoint))?;
            Ok((source.genesis(), first_head(&mut source, &keys).await?))
        };
        match read.await {
            Ok((genesis, head)) => {
                return view(&settings.records, endpoint, genesis, &head).map_err(|source| {
                    ReadError::Record {
                        endpoint: endpoint.clone(),
                        number: head.block.number,
                        source: Box::new(source),
                    }
                });
            }
            Err(failure) => failures.push(failure),
        }
    }
    Err(ReadError::Unreachable { network: settings.network.clone(), failures })
}

/// The newest finalized block of a connection that was just made.
async fn first_head(source: &mut impl ReleaseSource, keys: &[StorageKey]) -> Result<Head, SourceError> {
    loop {
        if source.next().await? == News::Finalized {
            return source.read_newest(keys).await;
        }
    }
}

pub(super) fn check_genesis(expected: Option<GenesisHash>, found: GenesisHash) -> Result<(), SourceProblem> {
    match expected {
        Some(expected) if expected != found => Err(SourceProblem::WrongGenesis { expected, found }),
        _ => Ok(()),
    }
}

fn view(
    records: &Records,
    source: &str,
    genesis: GenesisHash,
    head: &Head,
) -> Result<ChainView, RecordError> {
    let Reading { record, stated } = records.decode(&head.values)?;
    Ok(ChainView {
        source: source.to_owned(),
        genesis,
        finalized: head.block,
        spec_version: head.spec_version,
        record,
        current: stated.current,
        pending: stated.pending,
    })
}

/// What was believed so far. Pure.
struct Belief {
    records: Records,
    view: Option<ChainView>,
}

impl Belief {
    /// Takes in what a source read, or says why not.
    fn take(&mut self, source: &str, genesis: GenesisHash, head: &Head) -> Result<&ChainView, String> {
        let new = view(&self.records, source, genesis, head)
            .map_err(|error| format!("{source}, block {}: {}", head.block.number, Chained(&error)))?;
        if let Some(old) = &self.view {
            contradiction(old, &new).map_or(Ok(()), |reason| Err(format!("{source}: {reason}; ignored")))?;
        }
        if new.current.is_some() {
            self.records.saw(new.record);
        }
        Ok(self.view.insert(new))
    }
}

/// Why a view cannot follow the one before it on a chain whose finalized blocks are never undone and whose
/// pallet only ever counts up.
fn contradiction(old: &ChainView, new: &ChainView) -> Option<String> {
    let (before, now) = (old.finalized, new.finalized);
    if now.number < before.number {
        return Some(format!(
            "finalized block {} after {} had been seen: the node lags behind, or is on another fork",
            now.number, before.number
        ));
    }
    if now.number == before.number && now.hash != before.hash {
        return Some(format!(
            "finalized block {} is 0x{}, but 0x{} had been seen: two finalized forks",
            now.number,
            hex::encode(now.hash),
            hex::encode(before.hash)
        ));
    }
    let stated = old.current.as_ref()?;
    let Some(current) = &new.current else {
        return Some(format!(
            "block {} states no release, but {} had been stated: the pallet was removed or renamed",
            now.number, stated.version
        ));
    };
    match (stated.sequence, current.sequence) {
        (Some(before), Some(now)) if now < before => {
            Some(format!("statement {now} after {before} had been seen: the node does not tell the truth"))
        }
        (Some(before), Some(now)) if now == before && current != stated => Some(format!(
            "statement {now} is {} now, but was {}: the node does not tell the truth",
            current.version, stated.version
        )),
        _ => None,
    }
}

struct Follower<'a> {
    settings: SourceSettings,
    status: &'a watch::Sender<ChainStatus>,
    keys: Vec<StorageKey>,
    belief: Belief,
    genesis: Option<GenesisHash>,
    /// The highest finalized number that any source told of, believed or not.
    highest: Option<u64>,
    /// When that last grew.
    progress: Instant,
}

impl<'a> Follower<'a> {
    fn new(settings: SourceSettings, status: &'a watch::Sender<ChainStatus>) -> Self {
        Self {
            status,
            keys: settings.records.keys(),
            belief: Belief { records: settings.records.clone(), view: None },
            genesis: settings.genesis,
            highest: None,
            progress: Instant::now(),
            settings,
        }
    }

    async fn run(mut self, connector: &impl Connect) {
        let Some(endpoints) = NonZeroU32::new(self.settings.endpoints.len() as u32) else {
            self.lost("no endpoint is configured for this network".to_owned());
            return std::future::pending().await;
        };
        let mut failed: u32 = 0;
        for endpoint in self.settings.endpoints.clone().iter().cycle() {
            let began = Instant::now();
            let failure = match self.listen(connector, endpoint).await {
                Err(failure) => failure,
                Ok(never) => match never {},
            };
            self.lost(Chained(&failure).to_string());
            if began.elapsed() >= HELD {
                failed = 0;
            }
            failed = failed.saturating_add(1);
            if failed % endpoints == 0 {
                sleep(backoff(failed / endpoints, RandomState::new().hash_one(0))).await;
            }
        }
    }

    /// Connects to an endpoint and takes in what it says until that fails.
    async fn listen(
        &mut self,
        connector: &impl Connect,
        endpoint: &str,
    ) -> Result<std::convert::Infallible, SourceError> {
        let mut source = connector.connect(endpoint).await?;
        let genesis = source.genesis();
        check_genesis(self.genesis, genesis).map_err(|problem| problem.at(endpoint))?;
        self.genesis = Some(genesis);
        // A node that only repeats what is known, or that catches up, is as good as silent: another endpoint
        // may be ahead.
        let mut silent_at = Instant::now() + SILENCE;
        loop {
            let news = timeout_at(silent_at, source.next())
                .await
                .unwrap_or_else(|_| Err(SourceProblem::Silent { after: SILENCE }.at(endpoint)))?;
            let head = match news {
                News::Finalized => source.read_newest(&self.keys).await?,
                News::BestRuntime(best) => {
                    self.best_runtime(best);
                    continue;
                }
            };
            if self.highest < Some(head.block.number) {
                self.highest = Some(head.block.number);
                self.progress = Instant::now();
                silent_at = self.progress + SILENCE;
            }
            self.take(endpoint, genesis, &head);
        }
    }

    fn best_runtime(&self, best: Option<u32>) {
        self.status.send_if_modified(|status| {
            let is_new = status.best_spec_version != best;
            status.best_spec_version = best;
            is_new
        });
    }

    fn take(&mut self, endpoint: &str, genesis: GenesisHash, head: &Head) {
        match self.belief.take(endpoint, genesis, head) {
            Ok(view) => {
                let stuck = self.progress.elapsed();
                let problem = (stuck >= SILENCE).then(|| {
                    format!("no newer finalized block than {} for {} s", head.block.number, stuck.as_secs())
                });
                tracing::debug!(
                    network = self.settings.network,
                    endpoint,
                    block = head.block.number,
                    "finalized"
                );
                self.status.send_modify(|status| {
                    status.view = Some(view.clone());
                    status.seen_at = Some(SystemTime::now());
                    status.connected = true;
                    status.problem = problem;
                });
            }
            Err(problem) => {
                self.warn_if_new(&problem);
                self.status.send_modify(|status| {
                    status.connected = true;
                    status.problem = Some(problem);
                });
            }
        }
    }

    /// Reports that nothing is connected any more, and why.
    fn lost(&mut self, mut problem: String) {
        if let Some(view) = &self.belief.view {
            let behind = self.progress.elapsed().as_secs();
            problem = format!("{problem} (last finalized block {}, {behind} s ago)", view.finalized.number);
        }
        self.warn_if_new(&problem);
        self.status.send_modify(|status| {
            status.connected = false;
            status.problem = Some(problem);
        });
    }

    fn warn_if_new(&self, problem: &str) {
        if self.status.borrow().problem.as_deref() != Some(problem) {
            tracing::warn!(network = self.settings.network, "{problem}");
        }
    }
}

/// The wait after the `round`th round (from 1) in which every endpoint failed: doubling, and somewhere between
/// half of it and all of it, so that operators do not come back to a recovered endpoint all at once.
fn backoff(round: u32, random: u64) -> Duration {
    let (first, last) = BACKOFF;
    let full = first.saturating_mul(1_u32.checked_shl(round.saturating_sub(1)).unwrap_or(u32::MAX)).min(last);
    let half = full / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests;
