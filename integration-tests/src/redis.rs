//! Debian's Redis in a vault's place: a daemon that we did not write, with data that it must keep.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

/// Far above what a local Redis needs to answer; it bounds a test that would hang.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The daemon's program. Debian's packages `redis-server` and `redis-tools` both hold it: it decides by its name
/// what it is, and under any other name than `redis-check-…` it is the server.
///
/// # Panics
/// If neither package is installed, saying how to.
pub fn program() -> PathBuf {
    let candidates = ["redis-server", "redis-check-rdb"].map(|name| Path::new("/usr/bin").join(name));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .expect("Redis is not installed: `apt-get install redis-tools`, or run scripts/setup.sh")
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    listener.local_addr().expect("it is bound").port()
}

/// The arguments of a Redis that keeps its data in a folder, each change at once.
pub fn args(port: u16, data: &Path) -> Vec<String> {
    let data = data.to_str().expect("temporary folders have UTF-8 names");
    ["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir", data, "--appendonly", "yes", "--save", ""]
        .map(str::to_owned)
        .to_vec()
}

/// Sends one command; the answer's first line, and for a value the value.
///
/// # Errors
/// If nobody listens or answers, in words.
pub fn ask(port: u16, command: &str) -> Result<String, String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut lines = BufReader::new(stream).lines();
        let mut next = || lines.next().unwrap_or_else(|| Err(std::io::ErrorKind::UnexpectedEof.into()));
        let first = next()?;
        // A value is announced by its length.
        if first.starts_with('$') && first != "$-1" { next() } else { Ok(first) }
    };
    ask().map_err(|error| format!("redis on port {port}: {error}"))
}
