//! One transfer from a URL: streamed, bounded in size and time, and never believed.
//!
//! The status must be 200, the length is counted, and redirects are held to the rule of configured URLs. What
//! becomes of the bytes is the business of a `Sink`.

mod probe;

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sha2::{Digest, Sha256};
use url::Url;

use super::{StoreError, url as release_url};
use crate::release::Checksum;

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

/// Where the bytes of a transfer go.
pub(super) trait Sink: Send + 'static {
    /// Takes the next bytes; may not wait for long.
    fn take(&mut self, chunk: &[u8]) -> Result<(), FetchError>;
}

/// Takes bytes from URLs.
#[derive(Debug, Clone)]
pub struct Transfer {
    client: reqwest::Client,
    limits: Limits,
    /// What came over the network, of whatever became of it.
    bytes: Arc<AtomicU64>,
}

impl Transfer {
    /// Fails only if the TLS backend cannot be set up.
    pub fn new(limits: Limits) -> Result<Self, reqwest::Error> {
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
        Ok(Self { client, limits, bytes: Arc::default() })
    }

    /// The same, which adds the bytes that come over the network to this count.
    pub(super) fn counting_in(&self, bytes: Arc<AtomicU64>) -> Self {
        Self { bytes, ..self.clone() }
    }

    /// The SHA-256 of what is at a URL, and its length in bytes. Nothing is kept.
    pub async fn checksum_of(&self, url: &Url) -> Result<(Checksum, u64), FetchError> {
        tracing::info!(%url, "fetching");
        let (Hashing(hasher), bytes) = self.stream(url, Hashing(Sha256::new())).await?;
        Ok((Checksum(hasher.finalize().into()), bytes))
    }

    /// Streams everything from a URL into a sink; answers the sink and how many bytes there were.
    pub(super) async fn stream<S: Sink>(&self, url: &Url, sink: S) -> Result<(S, u64), FetchError> {
        let limited = Limited { sink, bytes: 0, limit: self.limits.max_bytes, url: url.clone() };
        let limited = match tokio::time::timeout(self.limits.total, self.stream_into(limited)).await {
            Ok(limited) => limited?,
            Err(_) => {
                return Err(FetchError::Timeout { url: Box::new(url.clone()), after: self.limits.total });
            }
        };
        Ok((limited.sink, limited.bytes))
    }

    async fn stream_into<S: Sink>(&self, mut sink: Limited<S>) -> Result<Limited<S>, FetchError> {
        let url = sink.url.clone();
        if url.scheme() == "file" {
            return in_background(move || sink.take_file().map(|()| sink)).await;
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
                Some(chunk) => {
                    self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    sink.take(&chunk)?;
                }
                None => return Ok(sink),
            }
        }
    }
}

/// Counts what goes into a sink, and stops at the limit.
struct Limited<S> {
    sink: S,
    bytes: u64,
    limit: u64,
    url: Url,
}

impl<S: Sink> Limited<S> {
    fn take(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limit {
            return Err(FetchError::TooLarge { url: Box::new(self.url.clone()), limit: self.limit });
        }
        self.sink.take(chunk)
    }

    fn take_file(&mut self) -> Result<(), FetchError> {
        let path =
            self.url.to_file_path().map_err(|()| FetchError::NotLocal { url: Box::new(self.url.clone()) })?;
        let local = |source| FetchError::Local { path: path.clone(), source };
        let mut file = File::open(&path).map_err(local)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer).map_err(local)? {
                0 => return Ok(()),
                count => self.take(&buffer[..count])?,
            }
        }
    }
}

struct Hashing(Sha256);

impl Sink for Hashing {
    fn take(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        self.0.update(chunk);
        Ok(())
    }
}

/// Runs work that blocks on the disk where it holds up nobody.
pub(super) async fn in_background<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, FetchError>
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_hashed_without_being_kept_and_the_cap_holds() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("abc");
        std::fs::write(&path, b"abc").expect("written");
        let url = Url::from_file_path(&path).expect("a path");
        let transfer = Transfer::new(Limits::default()).expect("client");
        let (checksum, bytes) = transfer.checksum_of(&url).await.expect("readable");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((checksum.to_string().as_str(), bytes), (expected, 3));
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1);

        let capped = Transfer::new(Limits { max_bytes: 2, ..Limits::default() }).expect("client");
        let refused = capped.checksum_of(&url).await;
        assert!(matches!(refused, Err(FetchError::TooLarge { limit: 2, .. })), "{refused:?}");
    }
}
