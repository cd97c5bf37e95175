//! A server for tests that says exactly what it is told to, one connection after the other.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;

/// What becomes of one connection.
#[derive(Debug, Clone)]
pub(crate) enum Turn {
    /// These bytes, and the end.
    Say(Vec<u8>),
    /// These bytes, and then nothing more.
    Hang(Vec<u8>),
    /// These bytes, and then others without an end.
    Forever(Vec<u8>),
}

/// The server; it goes through its turns, and repeats the last one.
pub(crate) struct Server {
    pub(crate) url: Url,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        let turns: Vec<Turn> = turns.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let url = format!("http://{}/vault", listener.local_addr().expect("address"));
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = requests.clone();
        let task = tokio::spawn(async move {
            for number in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let turn = turns[number.min(turns.len() - 1)].clone();
                let log = log.clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => request.push(byte),
                            Err(_) => return,
                        }
                    }
                    let request = String::from_utf8_lossy(&request).to_lowercase();
                    log.lock().expect("log").push(request);
                    let (Turn::Say(said) | Turn::Hang(said) | Turn::Forever(said)) = &turn;
                    // Whoever asked may have had enough.
                    let _ = stream.write_all(said).await;
                    match turn {
                        Turn::Say(_) => {}
                        Turn::Hang(_) => {
                            let _ = stream.read_u8().await;
                        }
                        Turn::Forever(_) => while stream.write_all(&[b'x'; 4096]).await.is_ok() {},
                    }
                });
            }
        });
        Self { url: url.parse().expect("a URL"), requests, task }
    }

    /// The requests so far, in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("log").clone()
    }

    /// From which byte on each of them asked for the file.
    pub(crate) fn ranges(&self) -> Vec<Option<u64>> {
        let range = |request: &String| {
            let line = request.lines().find_map(|line| line.strip_prefix("range: bytes="))?;
            line.strip_suffix('-')?.parse().ok()
        };
        self.requests().iter().map(range).collect()
    }
}

/// An answer of that status with these headers and this body.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The whole file.
pub(crate) fn whole(body: &[u8]) -> Turn {
    Turn::Say(answer("200 OK", "", body))
}

/// A file that is cut after so many bytes.
pub(crate) fn cut(body: &[u8], after: usize) -> Turn {
    let mut bytes = answer("200 OK", "", body);
    bytes.truncate(bytes.len() - body.len() + after);
    Turn::Say(bytes)
}

/// The rest of a file from a byte on.
pub(crate) fn rest(body: &[u8], from: usize) -> Turn {
    let range = format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
    Turn::Say(answer("206 Partial Content", &range, &body[from..]))
}
