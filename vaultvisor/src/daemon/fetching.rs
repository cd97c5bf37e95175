//! Bringing a release's files into the store, for one vault or for an operator's command.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{
    Shared,
    fitness::{self, Unfit},
    fleet::Configured,
    places::{self, Published},
};
use crate::{
    config::Network,
    decide::{Event, state::Build},
    error_chain::Chained,
    release::Checksum,
};

/// Why a file is not in the store.
#[derive(Debug)]
pub(super) struct NotFetched {
    /// For people.
    pub(super) reason: String,
    /// For how long the servers ask to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl From<String> for NotFetched {
    fn from(reason: String) -> Self {
        Self { reason, retry_after: None }
    }
}

/// Puts a release's binary and its migrations into the store, and finds out whether it could run here.
pub(super) async fn fetch(shared: Arc<Shared>, configured: Arc<Configured>, build: Build) -> Event {
    let checksum = build.checksum;
    if let Err(NotFetched { reason, retry_after }) = fetch_all(&shared, &configured.network, &build).await {
        return Event::FetchFailed { checksum, reason, retry_after };
    }
    match fitness::check(&shared, &configured.vault, &build).await {
        Ok(()) => Event::Fetched(checksum),
        Err(Unfit { reason, by_release: true }) => Event::Unfit { checksum, reason },
        Err(Unfit { reason, by_release: false }) => {
            Event::FetchFailed { checksum, reason, retry_after: None }
        }
    }
}

async fn fetch_all(shared: &Shared, network: &Network, build: &Build) -> Result<(), NotFetched> {
    for Published { name, checksum, urls } in places::files(network, build) {
        let urls = match urls {
            Ok(urls) => urls,
            // An operator may have brought it.
            Err(_) if shared.store.contains(checksum) => Vec::new(),
            Err(reason) => return Err(reason.into()),
        };
        into_store(shared, &network.name, checksum, urls).await.map_err(|why| match name {
            Some(name) => NotFetched { reason: format!("{name}: {}", why.reason), ..why },
            None => why,
        })?;
    }
    Ok(())
}

/// Puts a file into the store. All who want the same from the same places share one download.
pub(super) async fn into_store(
    shared: &Shared,
    network: &str,
    checksum: Checksum,
    urls: Vec<Url>,
) -> Result<(), NotFetched> {
    let fetched = shared.downloads.fetch(checksum, urls, shared.counters.downloads(network)).await;
    fetched.map_err(|failure| NotFetched {
        reason: Chained(&*failure).to_string(),
        retry_after: failure.retry_after,
    })
}
