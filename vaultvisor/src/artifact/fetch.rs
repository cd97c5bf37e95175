//! Bringing a release's file into the store: streamed, hashed on the way, bounded in size and time.
//!
//! Nothing that a server sends is trusted: the status must be 200, the length is counted and not believed,
//! and only bytes whose SHA-256 is the chain's get a name in the store. There is no policy here: when to
//! try again is for `decide` to say.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::Duration,
};

use sha2::{Digest, Sha256};
use url::Url;

use super::{Store, StoreError, failed, url as release_url};
use crate::{error_chain::Chained, release::Checksum};

/// The bounds of one download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest file that is taken. Vault clients are 30 to 100 MB.
    pub max_bytes: u64,
    /// The longest time without a byte. A mobile link that recovers does so within seconds.
    pub stall: Duration,
    /// The longest time in all: 512 MiB at a modest 150 kB/s.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 512 * 1024 * 1024,
            stall: Duration::from_secs(20),
            total: Duration::from_secs(60 * 60),
        }
    }
}

/// A server answers a connection within this or is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// GitHub needs one redirect; more than a few are a loop.
const MAX_REDIRECTS: usize = 5;

/// Why one URL did not yield the file.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The transfer failed.
    #[error("cannot download {url}")]
    Transfer {
        /// From where.
        url: Box<Url>,
        /// The client's reason.
        source: reqwest::Error,
    },
    /// The server answered with something else than the file.
    #[error("{url} answers with status {status}, expected 200{}", if *status == 404 { ": the release is not published (yet)" } else { "" })]
    Status {
        /// From where.
        url: Box<Url>,
        /// The HTTP status.
        status: u16,
    },
    /// The bytes are not the ones that the chain names.
    #[error("{url} was refused: expected checksum {expected}, found {found} ({bytes} bytes)")]
    Mismatch {
        /// From where.
        url: Box<Url>,
        /// What the chain states.
        expected: Checksum,
        /// What came.
        found: Checksum,
        /// How much came.
        bytes: u64,
    },
    /// The file is larger than allowed.
    #[error("{url} was refused: it is larger than the limit of {limit} bytes")]
    TooLarge {
        /// From where.
        url: Box<Url>,
        /// The limit.
        limit: u64,
    },
    /// No byte came for too long.
    #[error("{url} stalled: no byte for {} s", after.as_secs())]
    Stalled {
        /// From where.
        url: Box<Url>,
        /// How long was waited.
        after: Duration,
    },
    /// It took too long.
    #[error("{url} was given up: not finished after {} s", after.as_secs())]
    Timeout {
        /// From where.
        url: Box<Url>,
        /// How long was waited.
        after: Duration,
    },
    /// A local file could not be read.
    #[error("cannot read {}", path.display())]
    Local {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The URL names nothing that can be opened here.
    #[error("{url} does not name a file on this machine")]
    NotLocal {
        /// From where.
        url: Box<Url>,
    },
    /// The store refused: a full disk, say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Downloads into one store.
#[derive(Debug, Clone)]
pub struct Fetcher {
    store: Store,
    client: reqwest::Client,
    limits: Limits,
}

impl Fetcher {
    /// A fetcher; fails only if the TLS backend cannot be set up.
    pub fn new(store: Store, limits: Limits) -> Result<Self, reqwest::Error> {
        // A redirect is held to the rule of a configured URL, and https never leads back to http.
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            let was_https = attempt.previous().iter().any(|url| url.scheme() == "https");
            let next = attempt.url();
            let allowed = match next.scheme() {
                "https" => true,
                "http" => !was_https && release_url::is_loopback(next),
                _ => false,
            };
            if !allowed {
                attempt.error("redirected to a place that is not allowed: expected https")
            } else if attempt.previous().len() > MAX_REDIRECTS {
                attempt.error("redirected too often")
            } else {
                attempt.follow()
            }
        });
        // The RPC client brings *ring*; a second TLS backend beside it would be one more to keep safe. Fails when
        // that client was faster, which installed the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("vaultvisor/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirects)
            // Downloads are rare: a connection kept for the next one would only cost memory.
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self { store, client, limits })
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
        let result = match tokio::time::timeout(self.limits.total, self.stream(checksum, url)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Timeout { url: Box::new(url.clone()), after: self.limits.total }),
        };
        if result.is_err()
            && let Err(error) = std::fs::remove_file(&partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %partial.display(), %error, "cannot remove a refused download");
        }
        result
    }

    async fn stream(&self, checksum: Checksum, url: &Url) -> Result<(), FetchError> {
        let mut download = Download::begin(self.store.clone(), checksum, url.clone(), self.limits.max_bytes)?;
        if url.scheme() == "file" {
            return in_background(move || {
                download.copy_local()?;
                download.finish()
            })
            .await;
        }
        let transfer = |source| FetchError::Transfer { url: Box::new(url.clone()), source };
        let stalled = || FetchError::Stalled { url: Box::new(url.clone()), after: self.limits.stall };
        let request = self.client.get(url.clone()).send();
        let mut response = tokio::time::timeout(self.limits.stall, request)
            .await
            .map_err(|_| stalled())?
            .map_err(transfer)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status { url: Box::new(url.clone()), status });
        }
        if response.content_length().is_some_and(|length| length > self.limits.max_bytes) {
            return Err(FetchError::TooLarge { url: Box::new(url.clone()), limit: self.limits.max_bytes });
        }
        loop {
            let next = tokio::time::timeout(self.limits.stall, response.chunk());
            match next.await.map_err(|_| stalled())?.map_err(transfer)? {
                Some(chunk) => download.take(&chunk)?,
                None => break,
            }
        }
        in_background(move || download.finish()).await
    }
}

/// Runs work that blocks on the disk where it holds up nobody.
async fn in_background<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, FetchError>
where
    T: Send + 'static,
    E: Send + 'static,
    FetchError: From<E>,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// One file on its way into the store.
struct Download {
    store: Store,
    checksum: Checksum,
    url: Url,
    limit: u64,
    partial: File,
    hasher: Sha256,
    bytes: u64,
}

impl Download {
    fn begin(store: Store, checksum: Checksum, url: Url, limit: u64) -> Result<Self, FetchError> {
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
        Ok(Self { store, checksum, url, limit, partial, hasher: Sha256::new(), bytes: 0 })
    }

    /// Takes the next bytes. Writes go to the page cache, which holds nobody up for long.
    fn take(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limit {
            return Err(FetchError::TooLarge { url: Box::new(self.url.clone()), limit: self.limit });
        }
        self.hasher.update(chunk);
        let path = self.store.partial(self.checksum);
        self.partial.write_all(chunk).map_err(failed("write", &path))?;
        Ok(())
    }

    fn copy_local(&mut self) -> Result<(), FetchError> {
        let path =
            self.url.to_file_path().map_err(|()| FetchError::NotLocal { url: Box::new(self.url.clone()) })?;
        let local = |source| FetchError::Local { path: path.clone(), source };
        let mut file = File::open(&path).map_err(local)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match io::Read::read(&mut file, &mut buffer).map_err(local)? {
                0 => return Ok(()),
                count => self.take(&buffer[..count])?,
            }
        }
    }

    fn finish(self) -> Result<(), FetchError> {
        let found = Checksum(self.hasher.finalize().into());
        if found != self.checksum {
            let (url, expected, bytes) = (Box::new(self.url), self.checksum, self.bytes);
            return Err(FetchError::Mismatch { url, expected, found, bytes });
        }
        Ok(self.store.install(self.checksum, &self.partial)?)
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
