//! One download for all who want the same file from the same places, for as long as somebody wants it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicU64},
};

use tokio::{sync::watch, task::AbortHandle};
use url::Url;

use super::fetch::{FetchError, FetchFailure, Fetcher};
use crate::release::Checksum;

/// What all of them hear.
type Outcome = Result<(), Arc<FetchFailure>>;

/// The downloads of one store.
#[derive(Debug)]
pub struct Downloads {
    fetcher: Fetcher,
    under_way: Mutex<BTreeMap<Checksum, Vec<UnderWay>>>,
}

/// One of them.
#[derive(Debug)]
struct UnderWay {
    urls: Vec<Url>,
    /// Alive as long as somebody wants it.
    wanted: Weak<Wanted>,
}

/// Held by all who want a download; the last one to let go ends it.
#[derive(Debug)]
struct Wanted {
    outcome: watch::Receiver<Option<Outcome>>,
    task: AbortHandle,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Downloads {
    /// Those of one fetcher.
    pub fn new(fetcher: Fetcher) -> Self {
        Self { fetcher, under_way: Mutex::default() }
    }

    /// Brings a file into the store, or joins those who are waiting for it already. Bytes that come over the network for
    /// a download that is begun by this are added to the count.
    ///
    /// To drop this gives up the file; when nobody else wants it either, its download ends.
    pub async fn fetch(&self, checksum: Checksum, urls: Vec<Url>, counter: Arc<AtomicU64>) -> Outcome {
        let wanted = self.join(checksum, urls, counter);
        let mut outcome = wanted.outcome.clone();
        let heard = outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        match heard {
            Ok(Some(outcome)) => outcome,
            _ => Err(Arc::new(FetchError::Broken { checksum }.into())),
        }
    }

    /// What is being downloaded now.
    pub fn under_way(&self) -> Vec<Checksum> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        forget_ended(&mut under_way);
        under_way.keys().copied().collect()
    }

    /// Waits until nothing of a file is written any more.
    pub async fn settled(&self, checksum: Checksum) {
        self.fetcher.settled(checksum).await;
    }

    fn join(&self, checksum: Checksum, urls: Vec<Url>, counter: Arc<AtomicU64>) -> Arc<Wanted> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        forget_ended(&mut under_way);
        let of_checksum = under_way.entry(checksum).or_default();
        let same = of_checksum.iter().filter(|other| other.urls == urls);
        // One that has just ended may have failed, which is no answer to who asks now.
        let goes_on = |wanted: &Arc<Wanted>| wanted.outcome.borrow().is_none();
        if let Some(wanted) = same.filter_map(|other| other.wanted.upgrade()).find(goes_on) {
            return wanted;
        }
        let (sender, outcome) = watch::channel(None);
        let fetcher = self.fetcher.counting_in(counter);
        let places = urls.clone();
        let task = tokio::spawn(async move {
            let fetched = fetcher.fetch(checksum, &places).await;
            sender.send_replace(Some(fetched.map_err(Arc::new)));
        });
        let wanted = Arc::new(Wanted { outcome, task: task.abort_handle() });
        of_checksum.push(UnderWay { urls, wanted: Arc::downgrade(&wanted) });
        wanted
    }
}

fn forget_ended(under_way: &mut BTreeMap<Checksum, Vec<UnderWay>>) {
    under_way.retain(|_, of_checksum| {
        of_checksum.retain(|one| one.wanted.strong_count() > 0);
        !of_checksum.is_empty()
    });
}

#[cfg(test)]
mod tests;
