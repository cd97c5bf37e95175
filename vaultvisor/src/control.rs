//! What is said on `<home>/control.sock`, and the side of it that asks.
//!
//! One connection carries one [`Request`] and one [`Reply`], each one line of JSON. The socket belongs to the
//! user of the daemon (0600, and the peer's credentials are checked): who may speak here may do everything
//! that the daemon may. The answering side is [`crate::daemon`]'s.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::{decide::State, error_chain::Shown, status::Status};

/// The name of the socket in its home.
pub const SOCKET: &str = "control.sock";
/// No request is longer: a path and a reason.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// What a refusal quotes of a request.
const MAX_QUOTED_CHARS: usize = 500;
/// No reply is longer: a thousand vaults with all their rejections.
const MAX_REPLY_BYTES: u64 = 64 * 1024 * 1024;
/// A daemon answers at once, or a disk or a processor is very busy.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// An override may have to copy and hash a file, or to download one.
const OVERRIDE_TIMEOUT: Duration = Duration::from_secs(3600);

/// What can be asked of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What every vault does and why.
    Status,
    /// The whole state of every vault, for a plan.
    States,
    /// Change nothing of a vault from now on.
    Hold {
        /// Which.
        vault: String,
        /// Why, for those who read the status.
        #[serde(default)]
        reason: Option<String>,
    },
    /// End a hold.
    Resume {
        /// Which.
        vault: String,
    },
    /// Run one chosen release until the chain's next statement.
    Override {
        /// Which.
        vault: String,
        /// What.
        release: Chosen,
    },
    /// Try now what waits for its next try.
    Retry {
        /// Which.
        vault: String,
    },
    /// Stop the vault and start the same release again.
    Restart {
        /// Which.
        vault: String,
    },
}

impl Request {
    /// Reads what came on the socket; the error tells the client what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        if line.len() > MAX_REQUEST_BYTES {
            return Err(format!(
                "found a longer line, expected a request of at most {MAX_REQUEST_BYTES} bytes"
            ));
        }
        serde_json::from_slice(line).map_err(|error| {
            format!("expected one line of JSON, a request: {}", Shown(error, MAX_QUOTED_CHARS))
        })
    }
}

/// A release as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// By a version that this vault has seen, or a checksum in the store.
    Known(String),
    /// A file on this machine, by its absolute path.
    File(PathBuf),
}

/// What a daemon answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::States`]: by the vaults' names.
    States(BTreeMap<String, State>),
    /// It was done, or is being done.
    Done(String),
    /// It was not done, and why, and what to do.
    Refused(String),
    /// It was not understood: the request's own fault.
    Invalid(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error(
        "no vaultvisor runs for the home {}: start it with `vaultvisor run`, or name its configuration with --config", home.display()
    )]
    NoDaemon {
        /// The home.
        home: PathBuf,
    },
    /// The socket is another user's.
    #[error("the vaultvisor of the home {} belongs to another user: run this as the user that runs it", home.display())]
    NotAllowed {
        /// The home.
        home: PathBuf,
    },
    /// It took the question and is silent.
    #[error(
        "the vaultvisor of the home {} has not answered for {} s: it was stopped (SIGSTOP), or waits for a disk that hangs.          What it was asked for is not done when it goes on, unless that had begun: see `vaultvisor history` then",
        home.display(), after.as_secs()
    )]
    Silent {
        /// The home.
        home: PathBuf,
        /// For how long.
        after: Duration,
    },
    /// It broke on the way.
    #[error("the vaultvisor of the home {} does not answer", home.display())]
    Broken {
        /// The home.
        home: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It answered with something that this version does not know.
    #[error("cannot read the answer of the vaultvisor of the home {}: it may be of another version", home.display())]
    Foreign {
        /// The home.
        home: PathBuf,
        /// The parser's reason.
        source: serde_json::Error,
    },
}

/// A path to the socket that is short enough for an address, however long the home's is: through a
/// descriptor of the folder, which must stay open meanwhile.
pub(crate) fn socket_address(home: &Path, name: &str) -> io::Result<(OwnedFd, PathBuf)> {
    let folder = rustix::fs::open(home, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let address = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
    Ok((folder, address))
}

/// Asks the daemon of a home.
pub fn ask(home: &Path, request: &Request) -> Result<Reply, ControlError> {
    let timeout = match request {
        Request::Override { .. } => OVERRIDE_TIMEOUT,
        _ => ANSWER_TIMEOUT,
    };
    let answer = exchange(home, request, timeout).map_err(|source| {
        let home = home.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NoDaemon { home },
            io::ErrorKind::PermissionDenied => ControlError::NotAllowed { home },
            // What a socket's own timeout is reported as.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ControlError::Silent { home, after: timeout }
            }
            _ => ControlError::Broken { home, source },
        }
    })?;
    serde_json::from_slice(&answer).map_err(|source| ControlError::Foreign { home: home.to_owned(), source })
}

fn exchange(home: &Path, request: &Request, timeout: Duration) -> io::Result<Vec<u8>> {
    let (folder, address) = socket_address(home, SOCKET)?;
    let mut stream = UnixStream::connect(address)?;
    drop(folder);
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_REPLY_BYTES)).read_until(b'\n', &mut answer)?;
    if !answer.ends_with(b"\n") {
        // It accepted us and ended, or sent us away: an older one that is just ending.
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it closed the connection without an answer",
        ));
    }
    Ok(answer)
}
