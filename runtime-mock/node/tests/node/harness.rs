//! A real dev chain in a process of its own, which never outlives the test.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use sp_core::H256;
use subxt_rpcs::{
    RpcClient,
    client::{RpcParams, rpc_params},
};
use tempfile::TempDir;

/// How long anything may take that should take seconds at most. Long enough for a machine that
/// compiles something else at the same time; a test that passes never waits that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What the ready line says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ready {
    pub(crate) ready: bool,
    pub(crate) rpc: String,
    pub(crate) genesis: H256,
    pub(crate) p2p: String,
    pub(crate) pid: u32,
}

impl Ready {
    /// Who the node is to its peers.
    pub(crate) fn peer_id(&self) -> &str {
        self.p2p.rsplit('/').next().expect("rsplit yields at least one part")
    }

    /// The port of the RPC server.
    pub(crate) fn rpc_port(&self) -> u16 {
        let port = self.rpc.rsplit(':').next().expect("rsplit yields at least one part");
        port.parse().expect("the URL ends with a port")
    }
}

/// A process whose stdout is read line by line.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    /// Its `TMPDIR`, to see what it leaves there.
    temporary: TempDir,
}

impl Process {
    /// Starts the dev chain with `arguments`.
    pub(crate) fn dev_chain(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dev-chain"));
        command.args(arguments);
        Self::start(command)
    }

    /// Starts `command`.
    pub(crate) fn start(mut command: Command) -> Self {
        let temporary = tempfile::tempdir().expect("there is a temporary folder");
        let mut child = command
            .env("TMPDIR", temporary.path())
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, lines) = channel();
        // Ends with the pipe, or when nobody listens any more.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, temporary }
    }

    /// The next line on stdout; `None` when stdout was closed.
    pub(crate) fn next_line(&self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line on stdout after {DEADLINE:?}"),
        }
    }

    /// The ready line.
    pub(crate) fn ready(&self) -> Ready {
        let line = self.next_line().expect("the chain says that it is ready");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is our child") {
                return status;
            }
            assert!(started.elapsed() < DEADLINE, "the process does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its folder for temporary files.
    pub(crate) fn temporary(&self) -> &Path {
        self.temporary.path()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A dev chain that serves requests.
pub(crate) struct DevChain {
    pub(crate) process: Process,
    pub(crate) ready: Ready,
    rpc: RpcClient,
}

impl DevChain {
    /// Starts one with `arguments` and waits until it is ready.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let process = Process::dev_chain(arguments);
        let ready = process.ready();
        let rpc = RpcClient::from_insecure_url(&ready.rpc).await.expect("it said that it is ready");
        Self { process, ready, rpc }
    }

    /// Calls a method that must succeed.
    pub(crate) async fn call<T: DeserializeOwned>(&self, method: &str, params: RpcParams) -> T {
        self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method} failed: {error}"))
    }

    /// Calls a method.
    pub(crate) async fn try_call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: RpcParams,
    ) -> Result<T, subxt_rpcs::Error> {
        self.rpc.request(method, params).await
    }

    /// The number of the best block.
    pub(crate) async fn best(&self) -> u32 {
        number(&self.call::<Value>("chain_getHeader", rpc_params![]).await)
    }

    /// The number of the newest final block.
    pub(crate) async fn finalized(&self) -> u32 {
        let hash = self.finalized_hash().await;
        number(&self.call::<Value>("chain_getHeader", rpc_params![hash]).await)
    }

    /// The hash of the newest final block.
    pub(crate) async fn finalized_hash(&self) -> H256 {
        self.call("chain_getFinalizedHead", rpc_params![]).await
    }

    /// Waits until the best block is `number` or later.
    pub(crate) async fn best_reaches(&self, number: u32) {
        until(&format!("best block {number}"), async || self.best().await >= number).await;
    }

    /// Waits until the newest final block is `number` or later.
    pub(crate) async fn finality_reaches(&self, number: u32) {
        until(&format!("final block {number}"), async || self.finalized().await >= number).await;
    }

    /// Ends it as a service manager would; returns how long that took.
    pub(crate) fn end(&mut self) -> Duration {
        let started = Instant::now();
        self.process.signal(Signal::TERM);
        let status = self.process.wait();
        let took = started.elapsed();
        assert!(status.success(), "it ended with {status}");
        took
    }
}

/// The block number in a header.
fn number(header: &Value) -> u32 {
    let digits = header["number"].as_str().expect("headers have a number");
    u32::from_str_radix(digits.trim_start_matches("0x"), 16).expect("the number is hexadecimal")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < DEADLINE, "{what}: not after {DEADLINE:?}");
        tokio::time::sleep(POLL).await;
    }
}
