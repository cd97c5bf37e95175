//! The place that releases are downloaded from: a small real HTTP server on loopback, over a folder.
//!
//! Every request is answered by one function, `answer`, and written down, so that a test can say what was *not*
//! asked for.

use std::{
    convert::Infallible,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::releases::Release;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The path that was asked for.
    pub path: String,
    /// The status that it was answered with.
    pub status: u16,
    /// The length of the answer's body.
    pub bytes: usize,
}

/// A running server. Dropped: it takes no further connections, and its folder is gone.
#[derive(Debug)]
pub struct ReleaseServer {
    address: SocketAddr,
    folder: PathBuf,
    log: Log,
    stalled: watch::Sender<Option<String>>,
    task: JoinHandle<()>,
    _owned: Option<TempDir>,
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Served>>>);

impl Log {
    fn add(&self, served: Served) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(served);
    }

    fn read(&self) -> Vec<Served> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ReleaseServer {
    /// Starts a server over an empty folder of its own, on a free port.
    pub async fn start() -> Self {
        let owned = tempfile::Builder::new().prefix("releases-").tempdir().expect("a temporary folder");
        let folder = owned.path().to_owned();
        let mut server = Self::over(folder, 0, |_| ()).await.expect("a free port on loopback");
        server._owned = Some(owned);
        server
    }

    /// Starts a server over a folder, on a port (0: a free one); `watch` is told of every request.
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn over(
        folder: PathBuf,
        port: u16,
        watch: impl Fn(&Served) + Clone + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let log = Log::default();
        let (stalled, stalled_receiver) = watch::channel(None);
        let task = tokio::spawn(serve(listener, folder.clone(), log.clone(), stalled_receiver, watch));
        Ok(Self { address, folder, log, stalled, task, _owned: None })
    }

    /// Leaves requests for anything of that version without an answer, until another version is named, or none.
    pub fn stall(&self, version: Option<&str>) {
        self.stalled.send_replace(version.map(|version| format!("/{version}/")));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A `release_urls` entry for the configuration.
    pub fn url_template(&self) -> String {
        format!("http://{}/{{version}}/vault-{{network}}", self.address)
    }

    /// Publishes a release's file for a network.
    pub fn offer(&self, release: &Release, network: &str) {
        self.offer_file(&release.version, network, &release.program);
    }

    /// Puts any bytes where the release of that version is looked for.
    pub fn offer_file(&self, version: &str, network: &str, bytes: &[u8]) {
        let folder = self.folder.join(version);
        fs::create_dir_all(&folder).expect("the folder is ours");
        fs::write(folder.join(format!("vault-{network}")), bytes).expect("the folder is ours");
    }

    /// All requests so far for anything of that version.
    pub fn served(&self, version: &str) -> Vec<Served> {
        let prefix = format!("/{version}/");
        self.log.read().into_iter().filter(|served| served.path.starts_with(&prefix)).collect()
    }

    /// Serves until the server fails, which is never.
    pub async fn run(mut self) {
        // The task has no end and is cancelled by nobody while we wait for it.
        let _ = (&mut self.task).await;
    }
}

impl Drop for ReleaseServer {
    fn drop(&mut self) {
        self.task.abort();
        if std::thread::panicking() {
            println!("---- release server: {:#?}", self.log.read());
        }
    }
}

async fn serve(
    listener: TcpListener,
    folder: PathBuf,
    log: Log,
    stalled: watch::Receiver<Option<String>>,
    watch: impl Fn(&Served) + Clone + Send + Sync + 'static,
) {
    loop {
        // A connection that ended before it was taken is its client's loss.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (folder, log, watch) = (folder.clone(), log.clone(), watch.clone());
        let stalled = stalled.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let (status, body) = answer(&folder, request.method(), request.uri().path());
                let served = Served {
                    path: request.uri().path().to_owned(),
                    status: status.as_u16(),
                    bytes: body.len(),
                };
                watch(&served);
                log.add(served);
                let response = Response::builder()
                    .status(status)
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .body(Full::new(body));
                let (path, mut stalled) = (request.uri().path().to_owned(), stalled.clone());
                async move {
                    let is_let_go = |prefix: &Option<String>| {
                        !prefix.as_ref().is_some_and(|prefix| path.starts_with(prefix))
                    };
                    // A server that is gone lets everything go.
                    let _ = stalled.wait_for(is_let_go).await;
                    Ok::<_, Infallible>(response.expect("status and header are constants"))
                }
            });
            // Clients may go away at any time; what they asked for is in the log.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// What a path is answered with. Servers that lie, stall or break off would differ here.
fn answer(folder: &Path, method: &Method, path: &str) -> (StatusCode, Bytes) {
    if method != Method::GET && method != Method::HEAD {
        return (StatusCode::METHOD_NOT_ALLOWED, Bytes::new());
    }
    let is_inside = path.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
    match fs::read(folder.join(path.trim_start_matches('/'))) {
        Ok(bytes) if is_inside => (StatusCode::OK, bytes.into()),
        _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"no such release\n")),
    }
}
