//! Serves the status over HTTP, as soon and as long as its address can be had.
//!
//! A port that another program has keeps no vault down: that is said where people look, and the port is taken when it is
//! free: docs/decisions/0011 tells why.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::net::TcpListener;

use super::fleet::Fleet;
use crate::{
    config::Http,
    http::{Daemon, Site, server},
    metrics::Counters,
    status::Status,
};

/// Whoever has the port is often on the way out; and it costs one system call.
const LISTEN_RETRY: Duration = Duration::from_secs(2);

/// Serves, for as long as it is polled.
pub(super) async fn serve(http: Http, fleet: Arc<Fleet>) {
    let listener = listen(http, &fleet).await;
    let local_only = !http.allow_remote;
    server::serve(listener, Site::new(fleet, local_only)).await;
}

async fn listen(http: Http, fleet: &Fleet) -> TcpListener {
    let mut said: Option<io::ErrorKind> = None;
    loop {
        match bind(http).await {
            Ok((listener, address)) => {
                fleet.http_problem(None);
                tracing::info!("the status is served on http://{address}/");
                return listener;
            }
            Err(error) => {
                // Said once, and again when the reason changes.
                if said != Some(error.kind()) {
                    let text = format!(
                        "the status cannot be served on {}: {error}; the vaults are not concerned; it is tried again \
                         until it can be",
                        http.address
                    );
                    tracing::error!("{text}");
                    fleet.http_problem(Some(text));
                }
                said = Some(error.kind());
                tokio::time::sleep(LISTEN_RETRY).await;
            }
        }
    }
}

async fn bind(http: Http) -> io::Result<(TcpListener, std::net::SocketAddr)> {
    let listener = TcpListener::bind(http.address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

impl Daemon for Fleet {
    fn status(&self) -> Status {
        self.status()
    }

    fn counters(&self) -> &Counters {
        &self.shared().counters
    }

    fn home(&self) -> &Path {
        &self.shared().home
    }
}
