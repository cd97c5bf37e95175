//! What the chains state, fetched ahead: for `vaultvisor prefetch`.
//!
//! The files come into the store in the one way in which a running vaultvisor brings them, and beside one: who comes
//! second to a file waits for the first. Nothing is started and nothing is decided.

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    artifact::{
        Store, StoreError, executable,
        executable::ExecutableError,
        fetch::{FetchFailure, Fetcher, Limits},
        progress::Reporter,
        url::TARGET,
    },
    chain::{ChainView, PendingRelease, read_once},
    check,
    config::Settings,
    daemon::{
        home::{self, HomeError},
        places::{self, Published},
    },
    decide::state::Build,
    error_chain::Chained,
    journal::{NetworkJournal, ReadError},
    release::{Checksum, Release},
};

/// A connection and a handful of calls, and as many again where the first endpoint is down.
const CHAIN_DEADLINE: Duration = Duration::from_secs(30);
/// The same for a light client, which has to find peers and to sync first.
const LIGHT_CLIENT_DEADLINE: Duration = Duration::from_secs(180);

/// Why nothing could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PrefetchError {
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Http(#[from] reqwest::Error),
    /// What was seen of the chains cannot be read.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

/// What became of one file, or of a whole network.
#[derive(Debug)]
pub enum Outcome {
    /// It is in the store, proved.
    Ready {
        /// The file.
        file: StatedFile,
        /// Where.
        path: PathBuf,
    },
    /// It is not, or of no use.
    Failed {
        /// The file.
        file: StatedFile,
        /// Why.
        problem: Problem,
    },
    /// The chain states nothing.
    NothingStated {
        /// The network.
        network: String,
    },
    /// A release has no binary for this machine.
    ForOthers {
        /// The network.
        network: String,
        /// The release's version.
        version: String,
    },
    /// The chain cannot be read.
    Unreadable {
        /// The network.
        network: String,
        /// Why.
        reason: String,
    },
}

/// One of the files that a chain states.
#[derive(Debug, Clone)]
pub struct StatedFile {
    /// The network.
    pub network: String,
    /// The release's version.
    pub version: String,
    /// The artifact's name; `None` for the binary.
    pub name: Option<&'static str>,
    /// Its checksum.
    pub checksum: Checksum,
}

impl fmt::Display for StatedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, version, name, checksum } = self;
        write!(f, "{network} {version} {} {checksum}", name.unwrap_or("binary"))
    }
}

/// What is wrong with one file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Nobody says where it is.
    #[error("{0}")]
    NoPlace(String),
    /// It did not come.
    #[error(transparent)]
    Fetch(FetchFailure),
    /// It came, and could not run here.
    #[error("it cannot run here")]
    Unfit(#[source] ExecutableError),
}

impl Problem {
    /// Whether there is a file, and it is not the one that is wanted.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoPlace(_) => false,
            Self::Fetch(failure) => failure.error.is_refusal(),
            Self::Unfit(error) => error.is_of_the_release(),
        }
    }
}

/// Fetches what every network of a vault states, in force or scheduled, and tells of each file as soon as its fate is
/// known.
pub async fn prefetch(
    settings: &Settings,
    reporter: Arc<dyn Reporter>,
    mut tell: impl FnMut(Outcome),
) -> Result<(), PrefetchError> {
    home::create(&settings.home)?;
    let store = Store::open(&settings.home)?;
    let limits = Limits { max_bytes: settings.max_artifact_bytes, ..Limits::default() };
    let fetcher = Fetcher::new(store.clone(), limits)?.reporting_to(reporter);
    let journal = NetworkJournal::new(&settings.home);
    let records = journal.load()?;
    let used: BTreeSet<&str> = settings.vaults.values().map(|vault| vault.network.as_str()).collect();
    for name in used {
        let network = &settings.networks[name];
        let view = match records.of(name, network.genesis) {
            Ok(known) => {
                let source = check::source(network, known, &journal);
                let deadline =
                    if source.light_client.is_some() { LIGHT_CLIENT_DEADLINE } else { CHAIN_DEADLINE };
                read_once(&source, deadline).await.map_err(|error| Chained(&error).to_string())
            }
            Err(error) => Err(Chained(error).to_string()),
        };
        let view = match view {
            Ok(view) => view,
            Err(reason) => {
                tell(Outcome::Unreadable { network: name.to_owned(), reason });
                continue;
            }
        };
        if stated(&view).next().is_none() {
            tell(Outcome::NothingStated { network: name.to_owned() });
        }
        for release in stated(&view) {
            let Some(build) = Build::of(&release, TARGET) else {
                tell(Outcome::ForOthers { network: name.to_owned(), version: release.version.to_string() });
                continue;
            };
            for published in places::files(network, &build) {
                let Published { name: artifact, checksum, urls } = published;
                let version = build.version.to_string();
                let file = StatedFile { network: name.to_owned(), version, name: artifact, checksum };
                tell(match fetch(&fetcher, &store, checksum, urls, artifact.is_none()).await {
                    Ok(()) => Outcome::Ready { file, path: store.binary(checksum) },
                    Err(problem) => Outcome::Failed { file, problem },
                });
            }
        }
    }
    Ok(())
}

fn stated(view: &ChainView) -> impl Iterator<Item = Release> {
    view.current.clone().into_iter().chain(view.pending.as_ref().map(PendingRelease::release))
}

async fn fetch(
    fetcher: &Fetcher,
    store: &Store,
    checksum: Checksum,
    urls: Result<Vec<url::Url>, String>,
    is_binary: bool,
) -> Result<(), Problem> {
    let urls = match urls {
        Ok(urls) => urls,
        Err(_) if store.contains(checksum) => Vec::new(),
        Err(reason) => return Err(Problem::NoPlace(reason)),
    };
    fetcher.fetch(checksum, &urls).await.map_err(Problem::Fetch)?;
    if !is_binary {
        return Ok(());
    }
    let path = store.binary(checksum);
    match tokio::task::spawn_blocking(move || executable::check(&path)).await {
        Ok(looked) => looked.map_err(Problem::Unfit),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
