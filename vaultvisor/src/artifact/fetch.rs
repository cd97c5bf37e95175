//! Bringing a release's file into the store: streamed, hashed on the way, bounded in size and time.
//!
//! Nothing that a server sends is trusted (see [`transfer`](super::transfer)): only bytes whose SHA-256 is the
//! chain's get a name in the store. There is no policy here: when to try again is for `decide` to say.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    sync::{Arc, atomic::AtomicU64},
};

use sha2::{Digest, Sha256};
use url::Url;

pub use super::transfer::{FetchError, Limits};
use super::{
    Store, failed,
    transfer::{Sink, Transfer, in_background},
};
use crate::{error_chain::Chained, release::Checksum};

/// Downloads into one store.
#[derive(Debug, Clone)]
pub struct Fetcher {
    store: Store,
    transfer: Transfer,
}

impl Fetcher {
    /// A fetcher; fails only if the TLS backend cannot be set up.
    pub fn new(store: Store, limits: Limits) -> Result<Self, reqwest::Error> {
        Ok(Self { store, transfer: Transfer::new(limits)? })
    }

    /// The same fetcher, which adds the bytes that come over the network to this count.
    pub fn counting_in(&self, bytes: Arc<AtomicU64>) -> Self {
        Self { store: self.store.clone(), transfer: self.transfer.counting_in(bytes) }
    }

    /// Brings a checksum into the store from the first URL that has it. The error is that of the last URL;
    /// those of earlier ones are logged.
    pub async fn fetch(&self, checksum: Checksum, urls: &[Url]) -> Result<(), FetchError> {
        // Already done? Then a repeated action costs one hash.
        let store = self.store.clone();
        if in_background(move || store.holds_proved(checksum)).await? {
            return Ok(());
        }
        let mut outcome = Ok(());
        for url in urls {
            if let Err(error) = &outcome {
                tracing::warn!("{}; trying the next mirror", Chained(error));
            }
            outcome = self.fetch_one(checksum, url).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn fetch_one(&self, checksum: Checksum, url: &Url) -> Result<(), FetchError> {
        tracing::info!(%url, %checksum, "fetching");
        let partial = self.store.partial(checksum);
        let result = self.install(checksum, url).await;
        if result.is_err()
            && let Err(error) = std::fs::remove_file(&partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %partial.display(), %error, "cannot remove a refused download");
        }
        result
    }

    async fn install(&self, checksum: Checksum, url: &Url) -> Result<(), FetchError> {
        let download = Download::begin(self.store.clone(), checksum)?;
        let (download, bytes) = self.transfer.stream(url, download).await?;
        let url = url.clone();
        in_background(move || download.finish(url, bytes)).await
    }
}

/// One file on its way into the store.
struct Download {
    store: Store,
    checksum: Checksum,
    partial: File,
    hasher: Sha256,
}

impl Download {
    fn begin(store: Store, checksum: Checksum) -> Result<Self, FetchError> {
        let path = store.partial(checksum);
        let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let partial = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(&path)
            .map_err(failed("create", &path))?;
        Ok(Self { store, checksum, partial, hasher: Sha256::new() })
    }

    fn finish(self, url: Url, bytes: u64) -> Result<(), FetchError> {
        let found = Checksum(self.hasher.finalize().into());
        if found != self.checksum {
            let (url, expected) = (Box::new(url), self.checksum);
            return Err(FetchError::Mismatch { url, expected, found, bytes });
        }
        Ok(self.store.install(self.checksum, &self.partial)?)
    }
}

impl Sink for Download {
    /// Writes go to the page cache, which holds nobody up for long.
    fn take(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        self.hasher.update(chunk);
        let path = self.store.partial(self.checksum);
        self.partial.write_all(chunk).map_err(failed("write", &path))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn fetcher(limits: Limits) -> (tempfile::TempDir, Fetcher) {
        let home = tempfile::tempdir().expect("home");
        let store = Store::open(home.path()).expect("store");
        let fetcher = Fetcher::new(store, limits).expect("client");
        (home, fetcher)
    }

    fn local(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> Url {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        Url::from_file_path(path).expect("url")
    }

    fn is_untouched(fetcher: &Fetcher) -> bool {
        let partials = std::fs::read_dir(&fetcher.store.partial).expect("partial").count();
        fetcher.store.checksums().expect("list").is_empty() && partials == 0
    }

    #[tokio::test]
    async fn only_bytes_with_the_stated_checksum_get_a_name() {
        let (home, fetcher) = fetcher(Limits::default());
        let checksum = ABC.parse().expect("checksum");
        let wrong = local(&home, "wrong", b"abd");
        let refused = fetcher.fetch(checksum, &[wrong]).await.expect_err("other bytes").to_string();
        assert!(refused.contains(ABC) && refused.contains("found "), "{refused}");
        assert!(is_untouched(&fetcher));
        fetcher.fetch(checksum, &[local(&home, "right", b"abc")]).await.expect("right bytes");
        assert!(fetcher.store.contains(checksum));
    }

    #[tokio::test]
    async fn the_next_mirror_is_tried() {
        let (home, fetcher) = fetcher(Limits::default());
        let checksum = ABC.parse().expect("checksum");
        let absent = Url::parse("file:///nonexistent/file").expect("url");
        let urls = [absent, local(&home, "wrong", b"abd"), local(&home, "right", b"abc")];
        fetcher.fetch(checksum, &urls).await.expect("third mirror");
        assert!(fetcher.store.contains(checksum));
    }

    #[tokio::test]
    async fn a_file_over_the_cap_is_stopped_and_leaves_nothing() {
        let (home, fetcher) = fetcher(Limits { max_bytes: 2, ..Limits::default() });
        let url = local(&home, "large", b"abc");
        let refused = fetcher.fetch(ABC.parse().expect("checksum"), &[url]).await;
        assert!(matches!(refused, Err(FetchError::TooLarge { limit: 2, .. })));
        assert!(is_untouched(&fetcher));
    }
}
