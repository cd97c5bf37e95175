//! Following a network: which sources are connected, what they say, and what of it is believed.
//!
//! Where one source is enough, one is read at a time and the others wait for its failure (`single`). Where several must
//! agree, or a light client decides, all are read at once (`council`, and [`super::agreement`], which decides). Either
//! way what comes out is checked against what was known before (`belief`, pure): what cannot be believed is reported,
//! and the last good view stays. What is told of all this: `bulletin`.
//!
//! No connection comes back by itself: when and to whom to connect again is decided here only (`backoff`).

mod backoff;
mod belief;
mod bulletin;
mod council;
mod single;

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

pub(super) use self::belief::Belief;
use self::{bulletin::Bulletin, council::Chair, single::Follower};
use super::{
    ChainStatus, ChainView, Note, SourceSettings,
    agreement::Rule,
    connector::Connector,
    light_client,
    records::{RecordError, StorageKey},
    source::{Connect, Head, News, ReleaseSource, SourceError, SourceProblem, in_words},
};
use crate::{error_chain::Chained, release::GenesisHash};

/// How long a connection may bring no newer finalized block before another endpoint is tried, and the chain is called
/// stale.
///
/// Bridge chains finalize every 6 to 20 seconds; a minute of silence is a dead connection, a node that is
/// stuck, or a chain that is, and only another endpoint can tell which.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection that held this long was no part of the trouble before it.
const HELD: Duration = Duration::from_secs(30);

/// How many finalized blocks behind its newest one a source keeps for us where several are compared.
///
/// Honest nodes are a block or two apart. A node has room for some hundred blocks for all that follow it.
const KEEP_FINALIZED: usize = 8;

/// Follows one network for as long as anybody listens to `status`; cancelled by dropping the future, which
/// leaves nothing behind. What the audit trail should keep goes to `notes`.
pub async fn follow(settings: SourceSettings, status: watch::Sender<ChainStatus>, notes: mpsc::Sender<Note>) {
    let connector = match settings.is_compared() {
        true => comparing_connector(&settings),
        false => Connector::of(&settings, 0),
    };
    follow_with(&connector, settings, &status, notes).await;
}

/// Connects to sources that are compared.
pub(super) fn comparing_connector(settings: &SourceSettings) -> Connector {
    Connector::of(settings, KEEP_FINALIZED)
}

async fn follow_with(
    connector: &impl Connect,
    settings: SourceSettings,
    status: &watch::Sender<ChainStatus>,
    notes: mpsc::Sender<Note>,
) {
    let (sources, rule) = (settings.sources(), settings.rule());
    let is_compared = settings.is_compared();
    let known = settings.known.map(|known| known.finalized.number);
    let keys = settings.records.keys();
    let bulletin = Bulletin::new(&settings.network, rule, &sources, known, status, notes);
    let belief = Belief::new(settings.records, settings.known);
    let genesis = settings.genesis;
    let run = async {
        match is_compared {
            false => Follower { sources, keys, genesis, belief, bulletin, source: None }.run(connector).await,
            true => Chair { sources, keys, genesis, belief, bulletin, rule }.run(connector).await,
        }
    };
    tokio::select! {
        never = run => match never {},
        () = status.closed() => {}
    }
}

impl SourceSettings {
    /// The names of the sources, in the order in which they are tried.
    pub(super) fn sources(&self) -> Vec<String> {
        let light_client = self.light_client.as_ref().map(|_| light_client::NAME.to_owned());
        light_client.into_iter().chain(self.endpoints.iter().cloned()).collect()
    }

    /// The names of those whose word is enough, in the order in which they are asked.
    fn trusted(&self) -> Vec<String> {
        let mut sources = self.sources();
        if self.light_client.is_some() {
            sources.truncate(1);
        }
        sources
    }

    /// What makes true what they say.
    pub(super) fn rule(&self) -> Rule {
        match (&self.light_client, self.endpoints.len()) {
            (None, _) => Rule::Agreement(self.agreement.get()),
            // It has nobody to be compared with.
            (Some(_), 0) => Rule::Agreement(1),
            // The first of the sources.
            (Some(_), _) => Rule::Decides(0),
        }
    }

    /// Whether they are all read at once and compared.
    fn is_compared(&self) -> bool {
        self.rule() != Rule::Agreement(1)
    }
}

/// Why a chain could not be read once.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No endpoint gave an answer.
    #[error(
        "{}",
        match failures.as_slice() {
            [] => format!("network {network}: no source is configured"),
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
    /// Not enough sources said the same in time.
    #[error(
        "{network}: no {needed} of its sources said the same within {} s{}",
        deadline.as_secs(),
        problems.iter().map(|problem| format!("; {problem}")).collect::<String>()
    )]
    NotAgreed {
        /// The network's name.
        network: String,
        /// How many must.
        needed: usize,
        /// How long was waited.
        deadline: Duration,
        /// What is known to be wrong, of all and of each.
        problems: Vec<String>,
    },
    /// An endpoint answered, with something else than a release.
    #[error("{}, block {number}", in_words(endpoint))]
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

/// Reads the newest finalized state, from the first endpoint that answers within `deadline` and is believed after what
/// was known before, or what enough of them say.
pub async fn read_once(settings: &SourceSettings, deadline: Duration) -> Result<ChainView, ReadError> {
    if matches!(settings.rule(), Rule::Agreement(needed) if needed > 1) {
        return read_agreed(&comparing_connector(settings), settings, deadline).await;
    }
    timeout(deadline, read_first(&Connector::of(settings, 0), settings))
        .await
        .unwrap_or_else(|_| Err(ReadError::TimedOut { network: settings.network.clone(), deadline }))
}

/// The first that so many sources agree on, found as a running vaultvisor finds it.
async fn read_agreed(
    connector: &impl Connect,
    settings: &SourceSettings,
    deadline: Duration,
) -> Result<ChainView, ReadError> {
    let (status, mut seen) = watch::channel(ChainStatus::default());
    // Nobody reads what it notes for an audit trail.
    let (notes, _) = mpsc::channel(1);
    let first = async {
        match seen.wait_for(|status| status.view.is_some()).await {
            Ok(status) => status.view.clone(),
            Err(_) => None,
        }
    };
    let view = tokio::select! {
        view = timeout(deadline, first) => view.ok().flatten(),
        () = follow_with(connector, settings.clone(), &status, notes) => None,
    };
    view.ok_or_else(|| {
        let status = status.borrow();
        let of_each = status.endpoints.iter().filter_map(|endpoint| {
            Some(format!("{}: {}", in_words(&endpoint.address), endpoint.problem.as_ref()?))
        });
        ReadError::NotAgreed {
            network: settings.network.clone(),
            needed: settings.agreement.get(),
            deadline,
            problems: status.problem.iter().cloned().chain(of_each).collect(),
        }
    })
}

async fn read_first(connector: &impl Connect, settings: &SourceSettings) -> Result<ChainView, ReadError> {
    let keys = settings.records.keys();
    let mut failures = Vec::new();
    for endpoint in settings.trusted() {
        let read = async {
            let mut source = connector.connect(&endpoint).await?;
            check_genesis(settings.genesis, source.genesis()).map_err(|problem| problem.at(&endpoint))?;
            Ok((source.genesis(), first_head(&mut source, &keys).await?))
        };
        match read.await {
            Ok((genesis, head)) => {
                // Each by itself: what is believed of one must not count against the next.
                let mut belief = Belief::new(settings.records.clone(), settings.known);
                match belief.take(&endpoint, genesis, &head) {
                    Ok(view) => return Ok(view.clone()),
                    Err(doubt) => {
                        failures.push(SourceProblem::NotTrue(doubt.text().to_owned()).at(&endpoint));
                    }
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    Err(ReadError::Unreachable { network: settings.network.clone(), failures })
}

/// The newest finalized block of a connection that was just made.
pub(super) async fn first_head(
    source: &mut impl ReleaseSource,
    keys: &[StorageKey],
) -> Result<Head, SourceError> {
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

#[cfg(test)]
mod tests;
