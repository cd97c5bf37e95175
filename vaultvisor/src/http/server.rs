//! Connections: how many, how long, how much, so that no client costs more than a place for some seconds.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::timeout,
};

use super::{Daemon, Site};

/// Clients at one time: a browser or two, Prometheus and probes are a handful. Who comes above it is sent away.
const MAX_CONNECTIONS: usize = 32;
/// A head is at most this long: browsers send a kilobyte or two. It is also all that is held of what a client sends.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Browsers send twenty.
const MAX_HEADERS: usize = 64;
/// Who knows what it wants says so at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte to the last: a status is some kilobytes, and who takes longer to read it is not there.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// What a client still sends is taken and thrown away for so long and so much, because closing before would have the
/// kernel tear up the answer on its way.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1024 * 1024;
/// When no connection can be accepted, for want of descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Answers, for as long as it is polled; dropped, it closes every connection.
pub async fn serve<D: Daemon>(listener: TcpListener, site: Site<D>) {
    let site = Arc::new(site);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // A panic in one is logged by the runtime, and costs that connection.
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            tracing::debug!("too many HTTP clients; one was sent away");
            continue;
        }
        let site = site.clone();
        connections.spawn(async move { serve_connection(stream, &site).await });
    }
}

/// Answers one request of one connection, and ends it.
pub async fn serve_connection<D: Daemon>(mut stream: impl AsyncRead + AsyncWrite + Unpin, site: &Site<D>) {
    let service =
        service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(site.answer(&request).await));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        // A connection that waits for a second request would keep a place from somebody who has one.
        .keep_alive(false)
        // Simple probes send all they have, close their side, and read.
        .half_close(true)
        .serve_connection(TokioIo::new(&mut stream), service);
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP client was given up"),
        Err(_) => tracing::debug!("an HTTP client was too slow and was given up"),
    }
    let _ = timeout(LINGER, linger(stream)).await;
}

/// Takes what the client still sends, until it closes too.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_ok() {
        // How it ends is all the same.
        let _ = tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await;
    }
}

#[cfg(test)]
mod tests;
