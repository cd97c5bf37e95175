//! A release server that misbehaves on purpose, on real sockets, byte for byte: what no HTTP library would send.
//!
//! Every request for a version is answered in the next of the ways that were set for it, the last one again and again;
//! a version for which nothing was set is served whole.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{operator::NETWORK, releases::Release};

/// A request is a few hundred bytes; whoever sends more is sent away.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// What [`Manner::Bomb`] unpacks to.
pub const BOMB_BYTES: usize = 256 * 1024 * 1024;

/// One way to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// The file, or the rest of it that was asked for.
    Whole,
    /// The file's length, so many of its bytes (counted from where the answer begins), and the end of the connection.
    CutAfter(usize),
    /// The file's length, so many of its bytes, and then silence on an open connection.
    StallAfter(usize),
    /// The request is heard, and nothing is ever said.
    Silence,
    /// These bytes instead of the file's, honestly announced.
    Other(Vec<u8>),
    /// Bytes without an end and without a word of how many there are.
    Endless,
    /// An announced length that is not that of the bytes which follow: all of the file.
    LieOfLength(u64),
    /// A megabyte or two that say they are compressed, and unpack to [`BOMB_BYTES`].
    Bomb,
    /// A status, with these further header lines, and a page for people.
    Status(u16, Vec<String>),
    /// A page for people with status 200.
    Page,
    /// A redirect to this place.
    RedirectTo(String),
    /// Bytes that are no HTTP at all.
    Garbage,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// From which byte on, if not for all of it.
    pub from: Option<usize>,
}

#[derive(Debug, Default)]
struct Script {
    files: BTreeMap<String, Arc<Vec<u8>>>,
    manners: BTreeMap<String, Vec<Manner>>,
    asked: Vec<Asked>,
}

/// A running server. Dropped: it takes no further connections.
#[derive(Debug)]
pub struct HostileServer {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl HostileServer {
    /// Starts one on a free port of loopback, with nothing to offer.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("it is bound");
        let script = Arc::<Mutex<Script>>::default();
        let task = tokio::spawn(serve(listener, script.clone()));
        Self { address, script, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A `release_urls` entry for the configuration.
    pub fn url_template(&self) -> String {
        format!("http://{}/{{version}}/vault-{{network}}", self.address)
    }

    /// Has a release's file ready.
    pub fn offer(&self, release: &Release) {
        self.script().files.insert(release.version.clone(), Arc::new(release.program.clone()));
    }

    /// Answers requests for a version in these ways from now on, one after the other, and in the last one for good.
    pub fn answer(&self, version: &str, manners: impl Into<Vec<Manner>>) {
        self.script().manners.insert(version.to_owned(), manners.into());
    }

    /// All requests so far for a version.
    pub fn asked(&self, version: &str) -> Vec<Asked> {
        let path = path_of(version);
        self.script().asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    /// All requests so far, for what it does not offer too; a proxy is asked for a machine and its port.
    pub fn asked_for(&self) -> Vec<String> {
        self.script().asked.iter().map(|asked| asked.path.clone()).collect()
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.task.abort();
        if std::thread::panicking() {
            println!("---- hostile server: {:#?}", self.script().asked);
        }
    }
}

fn path_of(version: &str) -> String {
    format!("/{version}/vault-{NETWORK}")
}

async fn serve(listener: TcpListener, script: Arc<Mutex<Script>>) {
    loop {
        // A connection that ended before it was taken is its client's loss.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let script = script.clone();
        tokio::spawn(async move {
            // Clients may have had enough at any time, which is what they are tested for.
            let _ = converse(stream, &script).await;
        });
    }
}

async fn converse(mut stream: TcpStream, script: &Mutex<Script>) -> io::Result<()> {
    let Some(asked) = read_request(&mut stream).await? else { return Ok(()) };
    let (file, manner) = {
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        script.asked.push(asked.clone());
        let version = asked.path.split('/').nth(1).unwrap_or_default();
        let file = script.files.get(version).cloned();
        let manners = script.manners.get_mut(version);
        let manner = match manners {
            Some(manners) if manners.len() > 1 => manners.remove(0),
            Some(manners) => manners.first().cloned().unwrap_or(Manner::Whole),
            None => Manner::Whole,
        };
        (file, manner)
    };
    let Some(file) = file else {
        return stream.write_all(&page("404 Not Found", &[], "no such release")).await;
    };
    let from = asked.from.filter(|from| *from < file.len()).unwrap_or(0);
    let rest = &file[from..];
    let head = |length: u64| match asked.from {
        Some(_) if from > 0 => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {length}\r\n\r\n",
            file.len() - 1,
            file.len()
        ),
        _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
    };
    let honest = head(rest.len() as u64);
    match manner {
        Manner::Whole => say(&mut stream, honest, rest).await,
        Manner::CutAfter(bytes) => say(&mut stream, honest, &rest[..bytes.min(rest.len())]).await,
        Manner::StallAfter(bytes) => {
            say(&mut stream, honest, &rest[..bytes.min(rest.len())]).await?;
            hang(&mut stream).await
        }
        Manner::Silence => hang(&mut stream).await,
        Manner::Other(bytes) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
            say(&mut stream, head, &bytes).await
        }
        Manner::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 64 * 1024]).await?;
            }
        }
        Manner::LieOfLength(length) => say(&mut stream, head(length), rest).await,
        Manner::Bomb => {
            let bomb = bomb();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
                bomb.len()
            );
            say(&mut stream, head, &bomb).await
        }
        Manner::Status(status, headers) => {
            stream.write_all(&page(&format!("{status} Whatever"), &headers, "not here")).await
        }
        Manner::Page => stream.write_all(&page("200 OK", &[], "please log in")).await,
        Manner::RedirectTo(place) => {
            let to = format!("Location: {place}");
            stream.write_all(&page("302 Found", &[to], "over there")).await
        }
        Manner::Garbage => stream.write_all(&[0xff; 512]).await,
    }
}

async fn say(stream: &mut TcpStream, head: String, body: &[u8]) -> io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// Until the other side has had enough.
async fn hang(stream: &mut TcpStream) -> io::Result<()> {
    stream.read_u8().await.map(drop)
}

fn page(status: &str, headers: &[String], text: &str) -> Vec<u8> {
    let body = format!("<!doctype html>\n<html><body>{text}</body></html>\n");
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Zeros, compressed to less than a hundredth: a zero, and then again and again "the same 258 times more", in deflate's
/// fixed code (RFC 1951, 3.2.6) within gzip's header.
fn bomb() -> Vec<u8> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    const TIMES: usize = BOMB_BYTES / 258;
    let last_block_in_fixed_code = [true, true, false];
    let zero = bits(0b0011_0000, 8);
    let again = [bits(0b1100_0101, 8), bits(0, 5)].concat();
    let end = bits(0, 7);
    let stream = last_block_in_fixed_code.into_iter().chain(zero);
    let stream = stream.chain(std::iter::repeat_n(again, TIMES).flatten()).chain(end);
    let mut bytes = HEADER.to_vec();
    for (at, bit) in stream.enumerate() {
        if at % 8 == 0 {
            bytes.push(0);
        }
        if let Some(byte) = bytes.last_mut() {
            *byte |= u8::from(bit) << (at % 8);
        }
    }
    bytes
}

/// The bits of a code word, in the order in which they are sent.
fn bits(word: u16, length: u32) -> Vec<bool> {
    (0..length).rev().map(|bit| word >> bit & 1 == 1).collect()
}

/// The path and range of a request; `None` if the client had nothing to ask.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<Asked>> {
    let mut request = vec![stream.read_u8().await?];
    if request != b"G" && request != b"C" {
        // Neither GET nor what proxies are asked for, CONNECT: TLS, say: told what every plain server tells.
        stream.write_all(&page("400 Bad Request", &[], "this is plain HTTP")).await?;
        return Ok(None);
    }
    while !request.ends_with(b"\r\n\r\n") {
        if request.len() >= MAX_REQUEST_BYTES {
            return Ok(None);
        }
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return Ok(None),
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let Some(path) = request.split(' ').nth(1) else { return Ok(None) };
    let from = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let first = value.trim().strip_prefix("bytes=")?.split('-').next()?;
        name.eq_ignore_ascii_case("range").then(|| first.parse().ok()).flatten()
    });
    Ok(Some(Asked { path: path.to_owned(), from }))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn the_bomb_unpacks_to_what_it_says() {
        let bomb = bomb();
        assert!(bomb.len() < BOMB_BYTES / 100, "{}", bomb.len());
        // Cut short, as it has no checksum at its end: gzip says so, after all it has unpacked.
        let count = "gzip --decompress --stdout 2>/dev/null | wc --bytes";
        let mut child = Command::new("sh")
            .args(["-c", count])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        child.stdin.take().expect("piped").write_all(&bomb).expect("it reads all of it");
        let counted = child.wait_with_output().expect("it ends");
        let unpacked: usize = String::from_utf8_lossy(&counted.stdout).trim().parse().expect("a number");
        assert!((BOMB_BYTES - 258..=BOMB_BYTES).contains(&unpacked), "{unpacked}");
    }
}
