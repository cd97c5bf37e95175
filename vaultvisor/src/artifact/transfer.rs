//! One transfer from a URL: streamed, bounded in size and time, and never believed.
//!
//! The status must be 200, or 206 where the rest of a file was asked for; the length is counted, and redirects are held
//! to the rule of configured URLs. What becomes of the bytes is the business of a `Sink`, which hashes and writes on a
//! thread of its own: the network and the processor work at the same time, and nobody else waits for the disk.

mod client;
mod error;
mod headers;
mod probe;

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use hyper::body::Bytes;
use reqwest::{Response, header::RANGE};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, task::JoinError};
use url::Url;

pub use self::error::FetchError;
use super::progress::{Lines, Meter, Reporter};
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

/// Chunks that may wait for the disk. One has at most some 400 kB, so that these bound the memory of a download; more
/// would only hide a disk that is too slow for a moment.
const QUEUE: usize = 8;

/// Where the bytes of a transfer go. Everything is called where it may wait for the disk.
pub(super) trait Sink: Send + 'static {
    /// How many bytes it has from an earlier transfer, which need not come again.
    fn held(&self) -> u64;
    /// The transfer begins: with the byte after those that it has, or with the first one, for which it forgets them.
    /// `total` is how many there will be in all, where that is known.
    fn begin(&mut self, from: u64, total: Option<u64>) -> Result<(), FetchError>;
    /// Takes the next bytes.
    fn take(&mut self, chunk: &[u8]) -> Result<(), FetchError>;
}

/// Takes bytes from URLs.
#[derive(Debug, Clone)]
pub struct Transfer {
    client: reqwest::Client,
    limits: Limits,
    /// What came over the network, of whatever became of it.
    bytes: Arc<AtomicU64>,
    reporter: Arc<dyn Reporter>,
}

impl Transfer {
    /// Fails only if the TLS backend cannot be set up.
    pub fn new(limits: Limits) -> Result<Self, reqwest::Error> {
        Ok(Self { client: client::client()?, limits, bytes: Arc::default(), reporter: Arc::new(Lines) })
    }

    /// The same, which tells people in another way how far it is.
    pub fn reporting_to(self, reporter: Arc<dyn Reporter>) -> Self {
        Self { reporter, ..self }
    }

    /// The same, which adds the bytes that come over the network to this count.
    pub(super) fn counting_in(&self, bytes: Arc<AtomicU64>) -> Self {
        Self { bytes, ..self.clone() }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// The SHA-256 of what is at a URL, and its length in bytes. Nothing is kept.
    pub async fn checksum_of(&self, url: &Url) -> Result<(Checksum, u64), FetchError> {
        tracing::info!(%url, "fetching");
        let (Hashing(hasher), bytes) = self.stream(url, Hashing(Sha256::new())).await?;
        Ok((Checksum(hasher.finalize().into()), bytes))
    }

    /// Streams everything from a URL into a sink; answers the sink and how many bytes it has.
    ///
    /// To drop this ends the transfer; the sink is dropped a moment later, with all that had come.
    pub(super) async fn stream<S: Sink>(&self, url: &Url, sink: S) -> Result<(S, u64), FetchError> {
        let limit = self.limits.max_bytes;
        let limited = Limited { sink, bytes: 0, limit, url: url.clone(), meter: None };
        let streaming = async {
            match url.scheme() {
                "file" => {
                    let reporter = self.reporter.clone();
                    in_background(move || limited.take_file(&*reporter)).await
                }
                _ => self.download(limited).await,
            }
        };
        match tokio::time::timeout(self.limits.total, streaming).await {
            Ok(limited) => limited.map(|limited| (limited.sink, limited.bytes)),
            Err(_) => Err(FetchError::Timeout { url: Box::new(url.clone()), after: self.limits.total }),
        }
    }

    async fn download<S: Sink>(&self, mut sink: Limited<S>) -> Result<Limited<S>, FetchError> {
        let (response, from) = self.ask(&sink.url, sink.sink.held()).await?;
        let total = response.content_length().map(|rest| from.saturating_add(rest));
        let reporter = self.reporter.clone();
        let sink = in_background(move || sink.begin(from, total, &*reporter).map(|()| sink)).await?;
        self.pour(response, sink).await
    }

    /// Asks for a file from some byte on; answers the response and which byte its body begins with.
    async fn ask(&self, url: &Url, held: u64) -> Result<(Response, u64), FetchError> {
        if held > 0 {
            let response = self.send(url, Some(format!("bytes={held}-"))).await?;
            match response.status().as_u16() {
                206 if headers::is_rest_from(response.headers(), held) => return Ok((response, held)),
                200 => return Ok((response, 0)),
                // What is here is longer than what is there, or the server cannot count: then all of it.
                206 | 416 => tracing::info!(%url, "does not give the rest of a file; fetching all of it"),
                // It is not there, or the server is out of order: so it would be with all of it.
                404 | 410 | 429 | 502..=504 => return Err(refused(url, &response)),
                // Some servers, and what stands before them, take amiss that a part is asked for.
                status => {
                    tracing::info!(%url, status, "refuses to give the rest of a file; fetching all of it");
                }
            }
        }
        let response = self.send(url, None).await?;
        match response.status().as_u16() {
            200 => Ok((response, 0)),
            _ => Err(refused(url, &response)),
        }
    }

    async fn send(&self, url: &Url, range: Option<String>) -> Result<Response, FetchError> {
        let mut request = self.client.get(url.clone());
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let sent = tokio::time::timeout(self.limits.stall, request.send()).await;
        sent.map_err(|_| self.stalled(url))?.map_err(|source| FetchError::Transfer {
            url: Box::new(url.clone()),
            source: source.without_url(),
        })
    }

    fn stalled(&self, url: &Url) -> FetchError {
        FetchError::Stalled { url: Box::new(url.clone()), after: self.limits.stall }
    }

    /// Lets a body flow into a sink, as fast as both can.
    async fn pour<S: Sink>(
        &self,
        mut response: Response,
        mut sink: Limited<S>,
    ) -> Result<Limited<S>, FetchError> {
        let url = sink.url.clone();
        let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
        let taking = tokio::task::spawn_blocking(move || -> Result<_, FetchError> {
            while let Some(chunk) = receiver.blocking_recv() {
                sink.take(&chunk)?;
            }
            Ok(sink)
        });
        let came = loop {
            match tokio::time::timeout(self.limits.stall, response.chunk()).await {
                Err(_) => break Err(self.stalled(&url)),
                Ok(Err(source)) => {
                    let source = source.without_url();
                    break Err(FetchError::Transfer { url: Box::new(url), source });
                }
                Ok(Ok(None)) => break Ok(()),
                Ok(Ok(Some(chunk))) => {
                    self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                    if sender.send(chunk).await.is_err() {
                        // The sink takes no more, and says why.
                        break Ok(());
                    }
                }
            }
        };
        drop(sender);
        let sink = joined(taking.await)?;
        came.map(|()| sink)
    }
}

fn refused(url: &Url, response: &Response) -> FetchError {
    let retry_after = headers::retry_after(response.headers(), SystemTime::now());
    FetchError::Status { url: Box::new(url.clone()), status: response.status().as_u16(), retry_after }
}

/// Counts what goes into a sink, and stops at the limit.
struct Limited<S> {
    sink: S,
    bytes: u64,
    limit: u64,
    url: Url,
    meter: Option<Box<dyn Meter>>,
}

impl<S: Sink> Limited<S> {
    fn too_large(&self) -> FetchError {
        FetchError::TooLarge { url: Box::new(self.url.clone()), limit: self.limit }
    }

    fn begin(&mut self, from: u64, total: Option<u64>, reporter: &dyn Reporter) -> Result<(), FetchError> {
        if total.is_some_and(|total| total > self.limit) {
            return Err(self.too_large());
        }
        self.sink.begin(from, total)?;
        self.bytes = from;
        self.meter = Some(reporter.begin(&self.url, from, total));
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        if self.bytes > self.limit {
            return Err(self.too_large());
        }
        self.sink.take(chunk)?;
        if let Some(meter) = &mut self.meter {
            meter.at(self.bytes);
        }
        Ok(())
    }

    fn take_file(mut self, reporter: &dyn Reporter) -> Result<Self, FetchError> {
        let path =
            self.url.to_file_path().map_err(|()| FetchError::NotLocal { url: Box::new(self.url.clone()) })?;
        let local = |source| FetchError::Local { path: path.clone(), source };
        let mut file =
            open_regular(&path).map_err(local)?.ok_or_else(|| FetchError::NotAFile { path: path.clone() })?;
        let length = file.metadata().map_err(local)?.len();
        self.begin(0, Some(length), reporter)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer).map_err(local)? {
                0 => return Ok(self),
                count => self.take(&buffer[..count])?,
            }
        }
    }
}

/// Opens a regular file; `None` if it is something else. Never waits, as a pipe would have us do.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

struct Hashing(Sha256);

impl Sink for Hashing {
    fn held(&self) -> u64 {
        0
    }

    fn begin(&mut self, _: u64, _: Option<u64>) -> Result<(), FetchError> {
        Ok(())
    }

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
    Ok(joined(tokio::task::spawn_blocking(work).await)?)
}

fn joined<T>(outcome: Result<T, JoinError>) -> T {
    match outcome {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

#[cfg(test)]
mod tests;
