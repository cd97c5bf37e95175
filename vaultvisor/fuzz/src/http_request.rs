//! One connection to the status over HTTP, in simulated time and over a pipe: whatever bytes a client sends.

use std::{path::Path, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::{Builder, Runtime},
};
use vaultvisor::{
    history::Writer,
    http::{Daemon, Site, server::serve_connection},
    metrics::Counters,
    status::Status,
};

use super::{history_file::newest, home::Home};

/// What only an answer to this machine has: the process id of the vault.
const SECRET: &str = "4243444";
/// An answer is at most the whole history that fits one.
const MAX_ANSWER_BYTES: usize = 1100 * 1024;

/// It is answered once, with what can be read, or sent away with 4xx or nothing; and nobody who does not say that this
/// machine is meant learns anything.
pub fn holds(data: &[u8]) {
    thread_local!(static SERVER: Server = Server::new());
    let answer = SERVER.with(|server| server.exchange(data));
    if answer.is_empty() {
        return;
    }
    assert!(answer.len() <= MAX_ANSWER_BYTES, "an answer of {} bytes", answer.len());
    let answer = String::from_utf8(answer).expect("all pages are UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let code = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).expect("a status line");
    assert!(code == "200" || code.starts_with('4'), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let length: usize = length.parse().expect("a number");
    assert!(body.len() == length || is_about_the_head(data) && body.is_empty(), "{head}");
    if body.contains(SECRET) {
        assert!(code == "200" && is_meant_for_this_machine(data), "{head}");
    }
}

/// Empty lines may come first.
fn is_about_the_head(data: &[u8]) -> bool {
    data.trim_ascii_start().starts_with(b"HEAD ")
}

/// Whether the request could say so: what says none of these does not.
fn is_meant_for_this_machine(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data).to_ascii_lowercase();
    ["localhost", "127.", "1]", "http/1.0"].iter().any(|name| text.contains(name))
}

struct Server {
    runtime: Runtime,
    site: Site<Shown>,
}

/// A daemon with one vault and a history.
struct Shown {
    status: Status,
    counters: Counters,
    home: Home,
}

impl Daemon for Shown {
    fn status(&self) -> Status {
        self.status.clone()
    }
    fn counters(&self) -> &Counters {
        &self.counters
    }
    fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Server {
    fn new() -> Self {
        let home = Home::new();
        Writer::new(home.path()).append(&[newest(), newest()]).expect("there is room");
        let checksum = "ab".repeat(32);
        let status = format!(
            r#"{{"version": "0.1.0", "pid": 1, "started_at": "2026-01-02T03:04:05Z", "vaults": [{{
                "name": "a", "network": "dev", "state": "running", "why": "", "since": null, "rejected": [],
                "running": {{"version": "1.0", "checksum": "{checksum}", "pid": {SECRET}, "restarts": 0, "adopted": false}},
                "target": null, "pending": null, "chain": null, "last_switch": null, "problem": null, "hold": null}}]}}"#
        );
        let status = serde_json::from_str(&status).expect("a status");
        let site = Site::new(Arc::new(Shown { status, counters: Counters::default(), home }), true);
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        Self { runtime: runtime.expect("a runtime"), site }
    }

    /// Sends it all, as far as it is taken, and reads the answer to its end.
    fn exchange(&self, sent: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let (client, served) = duplex(4096);
            let (read, mut write) = tokio::io::split(client);
            let send = async {
                // The server may have heard enough.
                let _ = write.write_all(sent).await;
                let _ = write.shutdown().await;
            };
            let mut answer = Vec::new();
            let mut read = read.take(MAX_ANSWER_BYTES as u64 + 1);
            let (_, outcome, ()) =
                tokio::join!(send, read.read_to_end(&mut answer), serve_connection(served, &self.site));
            outcome.expect("a pipe");
            answer
        })
    }
}
