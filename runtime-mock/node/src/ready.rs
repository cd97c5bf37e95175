//! The line that says where the chain can be reached: the only one on stdout, for programs to read.

use std::{io::Write, net::SocketAddr, time::Duration};

use runtime_mock::Hash;
use serde::Serialize;

use crate::service::Node;

/// How long the network may take to listen on its port. It is one system call.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to look whether it does.
const LISTEN_POLL: Duration = Duration::from_millis(5);

/// Where the chain can be reached. The order of the fields is the order in the line.
#[derive(Debug, Serialize)]
pub(crate) struct Ready {
    ready: bool,
    rpc: String,
    genesis: String,
    p2p: String,
    pid: u32,
}

impl Ready {
    /// Waits until `node` can be reached.
    pub(crate) async fn new(node: &Node) -> Result<Self, NotReady> {
        let p2p = tokio::time::timeout(LISTEN_TIMEOUT, async {
            loop {
                if let Some(address) = node.p2p_address() {
                    break address;
                }
                tokio::time::sleep(LISTEN_POLL).await;
            }
        })
        .await
        .map_err(|_| NotReady::NoP2p)?;
        Ok(Self::at(node.rpc_address, node.genesis, p2p.to_string()))
    }

    fn at(rpc: SocketAddr, genesis: Hash, p2p: String) -> Self {
        Self {
            ready: true,
            rpc: format!("ws://{rpc}"),
            genesis: format!("0x{}", hex::encode(genesis)),
            p2p,
            pid: std::process::id(),
        }
    }

    /// Prints the line. A reader that went away is no reason to stop.
    pub(crate) fn print(&self) {
        let mut stdout = std::io::stdout().lock();
        let printed = serde_json::to_string(self)
            .map_err(std::io::Error::from)
            .and_then(|line| writeln!(stdout, "{line}"))
            .and_then(|()| stdout.flush());
        if let Err(error) = printed {
            tracing::warn!("nobody reads where the chain listens: {error}");
        }
    }
}

/// Why the chain can't be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    /// The network has no port.
    #[error("the node does not listen for peers after {} s", LISTEN_TIMEOUT.as_secs())]
    NoP2p,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_what_programs_expect() {
        let ready = Ready::at(
            ([127, 0, 0, 1], 9944).into(),
            Hash::repeat_byte(0xab),
            "/ip4/127.0.0.1/tcp/1/p2p/12D3".into(),
        );
        let line = serde_json::to_string(&ready).expect("strings and numbers");
        let genesis = "ab".repeat(32);
        let pid = std::process::id();
        assert_eq!(
            line,
            format!(
                "{{\"ready\":true,\"rpc\":\"ws://127.0.0.1:9944\",\"genesis\":\"0x{genesis}\",\
                 \"p2p\":\"/ip4/127.0.0.1/tcp/1/p2p/12D3\",\"pid\":{pid}}}"
            )
        );
    }
}
