//! Clients that mean no good: on the HTTP port and on the control socket.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use integration_tests::{
    child::Child,
    command, http,
    journey::Journey,
    ledger,
    operator::{Operator, VAULT},
    other_user, wait,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

/// How much more memory a daemon may have needed at any time, under attack: every place of both servers with all that
/// one may hold, many times over; and far below what was thrown at it.
const MOST_MORE_KIB: u64 = 32 * 1024;
/// So many connections are open at one time, of one that may be.
const AT_ONCE: usize = 200;
/// And so often.
const WAVES: usize = 10;
/// A line without end, as far as a test can send one.
const ENDLESS: usize = 64 * 1024 * 1024;

/// The most memory that a process has had, in KiB.
fn peak_kib(daemon: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn open_files(daemon: &Child) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it lives").count()
}

/// Bytes that are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

/// What is no request on either.
fn garbage() -> Vec<Vec<u8>> {
    let mut garbage: Vec<Vec<u8>> =
        (1..=40).map(|seed| noise(seed, 37 * seed as usize * seed as usize)).collect();
    garbage.extend([
        vec![b'a'; ENDLESS],
        vec![0; 1024 * 1024],
        vec![b'['; 15_000],
        [b"GET /".to_vec(), vec![b'a'; 100_000]].concat(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"POST /api/v1/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nx".to_vec(),
        b"{}\n".to_vec(),
        b"null\n".to_vec(),
        b"{\"command\":\"stop\"}\n".to_vec(),
        b"{\"command\":\"hold\",\"vault\":\"dev-1\",\"more\":1}\n".to_vec(),
        b"{\"command\":\"hold\",\"vault\":{}}\n".to_vec(),
    ]);
    garbage
}

async fn exchange_with_socket(socket: &Path, bytes: &[u8]) -> Vec<u8> {
    let Ok(stream) = UnixStream::connect(socket).await else { return Vec::new() };
    let (mut read, mut write) = stream.into_split();
    let mut answer = Vec::new();
    let send = async {
        let _ = write.write_all(bytes).await;
        let _ = write.shutdown().await;
    };
    let _ = tokio::join!(send, read.read_to_end(&mut answer));
    answer
}

/// Holds many connections that have said half of something, and lets them go.
async fn crowd(address: SocketAddr, socket: &Path) {
    for _ in 0..WAVES {
        let (mut over_tcp, mut over_socket) = (Vec::new(), Vec::new());
        for _ in 0..AT_ONCE {
            // A queue that is full is no answer either.
            if let Ok(mut stream) = TcpStream::connect(address).await {
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").await;
                over_tcp.push(stream);
            }
            if let Ok(mut stream) = UnixStream::connect(socket).await {
                let _ = stream.write_all(b"{\"command\":\"hold\",\"va").await;
                over_socket.push(stream);
            }
        }
        assert!(!over_tcp.is_empty() && !over_socket.is_empty());
    }
}

#[tokio::test]
async fn t31_garbage_on_the_http_port_and_the_control_socket_costs_no_vault_anything() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let address = operator.serve_http();
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;
    operator.history_with(&["kept"]).await;
    let state = operator.home().join("vaults").join(VAULT).join("state.json");
    let socket = operator.home().join("control.sock");
    let state_before = fs::read(&state).expect("it was written");
    http::get(address, "/").await;
    let (peak_before, files_before) = (peak_kib(&daemon), open_files(&daemon));

    for bytes in garbage() {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let answer = http::exchange(address, &bytes).await.expect("a place is free");
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{shown:?}: {answer:?}");
        let answer = exchange_with_socket(&socket, &bytes).await;
        assert!(answer.is_empty() || answer.starts_with(b"{\"invalid\":"), "{shown:?}: {answer:?}");
    }
    crowd(address, &socket).await;

    // Both answer again, as soon as the crowd's places are free.
    assert_eq!(http::get(address, "/readyz").await.status, 200);
    wait::until("the control socket to answer", async || {
        let answer = exchange_with_socket(&socket, b"{\"command\":\"status\"}\n").await;
        if answer.starts_with(b"{\"status\":") { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    assert_eq!(daemon.ended(), None, "nothing of it is a reason to end");
    assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
    let peak = peak_kib(&daemon);
    assert!(peak <= peak_before + MOST_MORE_KIB, "from {peak_before} to {peak} KiB");
    wait::until("every descriptor to be given back", async || match open_files(&daemon) {
        // One of a status that is just being asked for.
        files if files <= files_before + 1 => Ok(()),
        files => Err(format!("{files} instead of {files_before}")),
    })
    .await;
    assert_eq!(fs::read(&state).expect("it is there"), state_before, "nothing was decided because of it");
    assert_eq!(operator.vault().await.running.map(|running| running.pid), Some(before.pid));
    assert_eq!(operator.lives().len(), 1);

    // And it does its work.
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

/// Runs a command of Vaultvisor as a user who owns nothing here.
async fn as_nobody(operator: &Operator, args: &[&str]) -> command::Finished {
    let mut command =
        command::without_configuration(std::process::Command::new(operator.installed("vaultvisor")));
    command.args(args).arg("--config").arg(operator.config_path());
    other_user::by_nobody(&mut command);
    command::run(command).await
}

#[tokio::test]
async fn t30_another_user_orders_nothing_through_the_control_socket() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    operator.install("");
    let daemon = operator.run_installed();
    let before = operator.running(&release).await;
    let socket = operator.home().join("control.sock");
    let metadata = fs::metadata(&socket).expect("it listens");
    assert_eq!(metadata.mode() & 0o777, 0o600);
    if !other_user::can_be_tried() {
        return;
    }

    // Whoever looks after the folders has opened them to readers: the socket itself keeps others out.
    for folder in [operator.home(), operator.home().join("..")] {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is ours");
    }
    let refused = as_nobody(operator, &["hold", VAULT]).await.exited(1);
    assert!(refused.stderr.contains("belongs to another user"), "{}", refused.stderr);

    // Even with the socket open to all, who speaks on it is looked at.
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).expect("it is ours");
    for args in [&["hold", VAULT][..], &["restart", VAULT], &["retry", VAULT]] {
        as_nobody(operator, args).await.exited(1);
    }
    assert!(daemon.stderr().contains("another user was sent away"), "{}", daemon.stderr());
    let after = operator.vault().await;
    assert_eq!((after.hold, after.running.map(|running| running.pid)), (None, Some(before.pid)));
    assert_eq!(operator.lives().len(), 1);
}
