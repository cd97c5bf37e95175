//! Debian's Redis in a vault's place: a daemon that we did not write, with data that it must keep.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

/// Far above what a local Redis needs to answer; it bounds a test that would hang.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// The same for one that rewrites a gigabyte, on a slow disk.
const LOAD_TIME: Duration = Duration::from_secs(300);

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

/// One of many values, each of its own and the same at every call: as large as asked for, and not to be compressed.
pub fn value(number: u64, bytes: usize) -> Vec<u8> {
    // Xorshift, of Marsaglia: no zero may be its state.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut value = Vec::with_capacity(bytes + 8);
    while value.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend(state.to_le_bytes());
    }
    value.truncate(bytes);
    value
}

/// One connection, for many commands and large values.
#[derive(Debug)]
pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(LOAD_TIME))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends one command of these words; answers what came back: a status without its sign, or a value; `None` for none.
    ///
    /// # Errors
    /// If the connection fails, or Redis says so.
    pub fn command(&mut self, words: &[&[u8]]) -> io::Result<Option<Vec<u8>>> {
        let mut text = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            text.extend(format!("${}\r\n", word.len()).into_bytes());
            text.extend_from_slice(word);
            text.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&text)?;
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1.min(line.len()));
        match (kind, rest) {
            ("$", "-1") => Ok(None),
            ("$", length) => {
                let length: usize = length.parse().map_err(io::Error::other)?;
                let mut value = vec![0; length + 2];
                self.0.read_exact(&mut value)?;
                value.truncate(length);
                Ok(Some(value))
            }
            ("-", error) => Err(io::Error::other(error.to_owned())),
            (_, rest) => Ok(Some(rest.as_bytes().to_vec())),
        }
    }
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
