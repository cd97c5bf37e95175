//! The answering side of the control socket: who may ask, and how little harm an asker can do.
//!
//! A request is at most a few kilobytes and must come within seconds; a client that sends garbage, nothing,
//! or reads nothing costs one of a few places for that long, and nothing else waits for it.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

use super::{fleet::Fleet, operator};
use crate::control::{MAX_REQUEST_BYTES, Reply, Request, SOCKET, socket_address};

/// A program that knows what it wants sends one line at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A reply fits into the socket's buffer, or a reader that is there takes it as fast as it comes.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Askers at one time; the next one is sent away.
const MAX_CLIENTS: usize = 32;
/// When no connection can be accepted, for want of descriptors say.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// The socket, from which it is removed at the end.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens in a home that is ours alone, in the place of one that an earlier vaultvisor left behind.
    ///
    /// Made under another name and renamed, so that under its own name it never has other permissions.
    pub(super) fn bind(home: &Path) -> io::Result<Self> {
        let new_name = format!(".{SOCKET}.new");
        let new = home.join(&new_name);
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let (folder, address) = socket_address(home, &new_name)?;
        let listener = StdUnixListener::bind(address)?;
        drop(folder);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let path = home.join(SOCKET);
        fs::rename(&new, &path)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, path })
    }

    /// Answers, for as long as it is polled.
    pub(super) async fn serve(self, fleet: Arc<Fleet>) {
        let places = Arc::new(Semaphore::new(MAX_CLIENTS));
        // Thousands of surplus clients are one line in the log.
        let mut is_crowded = false;
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            if !is_allowed(&stream) {
                tracing::warn!("another user was sent away from the control socket");
                continue;
            }
            let Ok(place) = places.clone().try_acquire_owned() else {
                if !std::mem::replace(&mut is_crowded, true) {
                    tracing::warn!(
                        at_one_time = MAX_CLIENTS,
                        "too many clients on the control socket; others are sent away"
                    );
                }
                continue;
            };
            is_crowded = false;
            let fleet = fleet.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(stream, &fleet).await {
                    tracing::debug!(%error, "a client of the control socket was given up");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // If it stays, the next vaultvisor replaces it, and who asks meanwhile finds that nobody listens.
        let _ = fs::remove_file(&self.path);
    }
}

/// Our own user, and root, who could be anybody.
fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// Whether a client has closed its connection: not only its own side of it, as those do that have said all.
fn has_gone(stream: &UnixStream) -> bool {
    let mut asked = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut asked, Some(&Timespec::default())).is_ok() && asked[0].revents().contains(PollFlags::HUP)
}

async fn answer(mut stream: UnixStream, fleet: &Arc<Fleet>) -> io::Result<()> {
    let reply = match timeout(REQUEST_TIMEOUT, read(&mut stream)).await {
        Ok(request) => match request? {
            // Nobody would hear that it was done, and whoever gave up believes that it was not.
            Ok(_) if has_gone(&stream) => return Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            Ok(request) => operator::answer(fleet, request).await,
            Err(what) => Reply::Invalid(what),
        },
        Err(_) => Reply::Invalid(format!(
            "found no whole line for {} s, expected one request",
            REQUEST_TIMEOUT.as_secs()
        )),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    timeout(REPLY_TIMEOUT, stream.write_all(&line)).await.map_err(io::Error::from)?
}

async fn read(stream: &mut UnixStream) -> io::Result<Result<Request, String>> {
    let mut line = Vec::new();
    let limit = MAX_REQUEST_BYTES as u64 + 1;
    BufReader::new(stream.take(limit)).read_until(b'\n', &mut line).await?;
    Ok(Request::parse(&line))
}
