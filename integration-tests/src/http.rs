//! The status over HTTP as anybody may ask for it: by whole requests, and by bytes that are none.

use std::{io, net::SocketAddr};

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::wait;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, as they came.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body, read as JSON.
    ///
    /// # Panics
    /// If it is none of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no such JSON: {error}\n{self:?}"))
    }

    /// The value of a metric's sample, by its name and labels as they are written.
    ///
    /// # Panics
    /// If the body has none.
    pub fn metric(&self, series: &str) -> f64 {
        let value = self.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("{series} is not in\n{}", self.body));
        value.parse().unwrap_or_else(|error| panic!("{series} {value}: {error}"))
    }
}

/// Asks for a page; `None` when nobody listens, or the connection was closed without an answer.
pub async fn try_get(address: SocketAddr, path: &str) -> Option<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await.ok()?;
    let text = String::from_utf8(answer).expect("what we serve is UTF-8");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// Asks for a page, until there is an answer.
pub async fn get(address: SocketAddr, path: &str) -> Answer {
    wait::until(&format!("an answer to {path}"), async || {
        try_get(address, path).await.ok_or_else(|| format!("nobody answers on {address}"))
    })
    .await
}

/// Sends bytes, as far as they are taken, and reads what comes back until the connection ends.
///
/// # Errors
/// If no connection is to be had.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let (mut read, mut write) = TcpStream::connect(address).await?.into_split();
    let mut answer = Vec::new();
    let send = async {
        // Who is not heard out reads the answer all the same.
        let _ = write.write_all(bytes).await;
    };
    let receive = read.read_to_end(&mut answer);
    // Reset: closed while we still sent.
    let _ = tokio::join!(send, receive);
    Ok(answer)
}
