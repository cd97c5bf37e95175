//! Bringing a release's file into the store: streamed, hashed on the way, bounded in size and time.
//!
//! Nothing that a server sends is trusted (see [`transfer`](super::transfer)): only bytes whose SHA-256 is the
//! chain's get a name in the store. There is no policy here: when to try again is for `decide` to say.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicU64},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

pub use super::transfer::{FetchError, Limits};
use super::{
    Store,
    partial::{Finished, Partial},
    progress::Reporter,
    transfer::{Transfer, in_background},
};
use crate::{decide::policy::RETRY_AFTER_MOST, error_chain::Chained, release::Checksum};

/// Between two looks whether another process, such as `vaultvisor prefetch`, has finished the same file.
const BUSY_POLL: Duration = Duration::from_millis(500);
/// Servers that ask to be left alone which are remembered; a vault has a handful of mirrors.
const MAX_RESTING: usize = 64;

/// Downloads into one store.
#[derive(Debug, Clone)]
pub struct Fetcher {
    store: Store,
    transfer: Transfer,
    /// One download at a time for each checksum.
    turns: Arc<Mutex<BTreeMap<Checksum, Weak<Semaphore>>>>,
    /// Until when servers have asked not to be asked again.
    resting: Arc<Mutex<BTreeMap<Url, Instant>>>,
}

/// Why no URL yielded the file.
#[derive(Debug)]
pub struct FetchFailure {
    /// What was wrong with the last one; the log tells of those before.
    pub error: FetchError,
    /// For how long every one of them asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for FetchFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<FetchError> for FetchFailure {
    fn from(error: FetchError) -> Self {
        Self { error, retry_after: None }
    }
}

impl Fetcher {
    /// A fetcher; fails only if the TLS backend cannot be set up.
    pub fn new(store: Store, limits: Limits) -> Result<Self, reqwest::Error> {
        let transfer = Transfer::new(limits)?;
        Ok(Self { store, transfer, turns: Arc::default(), resting: Arc::default() })
    }

    /// The same, which tells people in another way how far it is.
    pub fn reporting_to(self, reporter: Arc<dyn Reporter>) -> Self {
        Self { transfer: self.transfer.reporting_to(reporter), ..self }
    }

    /// The same fetcher, which adds the bytes that come over the network to this count.
    pub fn counting_in(&self, bytes: Arc<AtomicU64>) -> Self {
        Self { transfer: self.transfer.counting_in(bytes), ..self.clone() }
    }

    /// Brings a checksum into the store from the first URL that has it.
    ///
    /// To drop this ends the download; what has come stays, to be gone on with, until the store is pruned.
    pub async fn fetch(&self, checksum: Checksum, urls: &[Url]) -> Result<(), FetchFailure> {
        let turn = Arc::new(self.turn(checksum).await);
        // Already done? Then a repeated action costs one hash.
        if self.is_there(checksum).await? {
            return Ok(());
        }
        let mut failure = FetchFailure::from(FetchError::Nowhere { checksum });
        let mut every_one_rests = true;
        for (index, url) in self.order(urls).into_iter().enumerate() {
            if index > 0 {
                tracing::warn!("{}; trying the next mirror", Chained(&failure.error));
            }
            let Err(error) = self.fetch_from(checksum, url, &turn).await else { return Ok(()) };
            let asked = error.retry_after();
            every_one_rests &= asked.is_some();
            self.note_rest(url, asked);
            let least = failure.retry_after.into_iter().chain(asked).min();
            let is_of_this_machine = error.is_of_this_machine();
            failure = FetchFailure { error, retry_after: least.filter(|_| every_one_rests) };
            if is_of_this_machine {
                break;
            }
        }
        Err(failure)
    }

    /// Brings a file of this machine into the store under the checksum that it has, to stay there until a vault has needed
    /// it; answers that, and its length in bytes.
    pub async fn add(&self, path: &Path) -> Result<(Checksum, u64), FetchFailure> {
        let no_file = |()| FetchError::NotAFile { path: path.to_owned() };
        let url = Url::from_file_path(path).map_err(no_file)?;
        let (checksum, bytes) = self.transfer.checksum_of(&url).await?;
        // Marked before it is there: a vaultvisor that runs may look for what nobody needs at any time.
        let store = self.store.clone();
        in_background(move || store.keep_until_needed(checksum)).await?;
        let added = self.fetch(checksum, &[url]).await;
        if added.is_err() {
            let store = self.store.clone();
            in_background(move || store.keep_no_longer(checksum)).await?;
        }
        added.map(|()| (checksum, bytes))
    }

    /// Waits until no download of a checksum is under way.
    pub async fn settled(&self, checksum: Checksum) {
        drop(self.turn(checksum).await);
    }

    async fn turn(&self, checksum: Checksum) -> OwnedSemaphorePermit {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(&checksum).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::new(Semaphore::new(1));
                turns.insert(checksum, Arc::downgrade(&turn));
                turn
            })
        };
        match turn.acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => unreachable!("nobody closes it"),
        }
    }

    async fn is_there(&self, checksum: Checksum) -> Result<bool, FetchError> {
        let store = self.store.clone();
        in_background(move || store.holds_proved(checksum)).await
    }

    /// The URLs without those whose servers have asked to be left alone; if they all have, all of them.
    fn order<'a>(&self, urls: &'a [Url]) -> Vec<&'a Url> {
        let now = Instant::now();
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|_, until| *until > now);
        let awake: Vec<&Url> = urls.iter().filter(|url| !resting.contains_key(url)).collect();
        if awake.is_empty() { urls.iter().collect() } else { awake }
    }

    fn note_rest(&self, url: &Url, asked: Option<Duration>) {
        let capped = asked.map(|asked| asked.min(RETRY_AFTER_MOST));
        let Some(until) = capped.and_then(|rest| Instant::now().checked_add(rest)) else { return };
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() < MAX_RESTING {
            resting.insert(url.clone(), until);
        }
    }

    async fn fetch_from(
        &self,
        checksum: Checksum,
        url: &Url,
        turn: &Arc<OwnedSemaphorePermit>,
    ) -> Result<(), FetchError> {
        tracing::info!(%url, %checksum, "fetching");
        loop {
            let Some(partial) = self.open(checksum, turn).await? else { return Ok(()) };
            let outcome = match self.transfer.stream(url, partial).await {
                Ok((partial, _)) => {
                    let url = url.clone();
                    in_background(move || partial.finish(&url)).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Finished::Installed) => return Ok(()),
                Ok(Finished::BadBeginning) => {
                    tracing::info!(%url, "what an earlier download had left was no part of the file; fetching all of it");
                }
                Err(error) => {
                    self.tidy_up(checksum, turn, error.may_be_resumed()).await;
                    return Err(error);
                }
            }
        }
    }

    /// Opens the file as far as it has come; `None` if it turns out to be all there, and is in the store now.
    async fn open(
        &self,
        checksum: Checksum,
        turn: &Arc<OwnedSemaphorePermit>,
    ) -> Result<Option<Partial>, FetchError> {
        let limits = self.transfer.limits();
        let give_up_at = Instant::now() + limits.total;
        let mut said = false;
        loop {
            let (store, turn) = (self.store.clone(), turn.clone());
            let opening = move || -> Result<_, FetchError> {
                match Partial::open(&store, checksum, limits.max_bytes, turn)? {
                    Some(partial) if partial.is_complete() => {
                        partial.install()?;
                        Ok(Some(None))
                    }
                    partial => Ok(partial.map(Some)),
                }
            };
            if let Some(opened) = in_background(opening).await? {
                return Ok(opened);
            }
            if Instant::now() >= give_up_at {
                return Err(FetchError::Busy { checksum, after: limits.total });
            }
            if !std::mem::replace(&mut said, true) {
                tracing::info!(%checksum, "another process downloads it; waiting for that");
            }
            tokio::time::sleep(BUSY_POLL).await;
            if self.is_there(checksum).await? {
                return Ok(None);
            }
        }
    }

    /// After a failure: what is of no use goes.
    async fn tidy_up(&self, checksum: Checksum, turn: &Arc<OwnedSemaphorePermit>, is_of_use: bool) {
        let (store, turn) = (self.store.clone(), turn.clone());
        let max_bytes = self.transfer.limits().max_bytes;
        let tidied = in_background(move || -> Result<(), FetchError> {
            match Partial::open(&store, checksum, max_bytes, turn)? {
                // Another process is at it.
                None => {}
                Some(partial) if is_of_use => partial.discard_if_empty(),
                Some(partial) => partial.discard(),
            }
            Ok(())
        });
        if let Err(error) = tidied.await {
            tracing::warn!("{}", Chained(&error));
        }
    }
}

#[cfg(test)]
mod tests;
