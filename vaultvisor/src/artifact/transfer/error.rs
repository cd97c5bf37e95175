//! Why a URL did not yield the file.

use std::{io, path::PathBuf, time::Duration};

use url::Url;

use super::super::StoreError;
use crate::{release::Checksum, room::NoRoom, tls::distrust};

/// Why one URL did not yield the file.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The transfer failed.
    #[error("cannot download {url}{}", distrust(source))]
    Transfer {
        /// From where.
        url: Box<Url>,
        /// The client's reason.
        source: reqwest::Error,
    },
    /// The server answered with something else than the file.
    #[error("{url} answers with status {status}, expected 200{}{}", hint(*status), asks(*retry_after))]
    Status {
        /// From where.
        url: Box<Url>,
        /// The HTTP status.
        status: u16,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The bytes are not the ones that the chain names.
    #[error("{url} was refused: expected checksum {expected}, found {found} ({bytes} bytes)")]
    Mismatch {
        /// From where.
        url: Box<Url>,
        /// What the chain states.
        expected: Checksum,
        /// What came.
        found: Checksum,
        /// How much came.
        bytes: u64,
    },
    /// The file is larger than allowed.
    #[error("{url} was refused: it is larger than the limit of {limit} bytes (max_artifact_bytes)")]
    TooLarge {
        /// From where.
        url: Box<Url>,
        /// The limit.
        limit: u64,
    },
    /// No byte came for too long.
    #[error("{url} stalled: no byte for {} s", after.as_secs())]
    Stalled {
        /// From where.
        url: Box<Url>,
        /// How long was waited.
        after: Duration,
    },
    /// It took too long.
    #[error("{url} was given up: not finished after {} s", after.as_secs())]
    Timeout {
        /// From where.
        url: Box<Url>,
        /// How long was waited.
        after: Duration,
    },
    /// A local file could not be read.
    #[error("cannot read {}", path.display())]
    Local {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The URL names nothing that can be opened here.
    #[error("{url} does not name a file on this machine")]
    NotLocal {
        /// From where.
        url: Box<Url>,
    },
    /// A local path is a folder, a pipe or a device.
    #[error("{} was refused: it is not a regular file", path.display())]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// The disk of the store is too full to begin.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The store refused: a full disk, say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process downloads the same file and does not come to an end.
    #[error("another process has been downloading {checksum} for more than {} s", after.as_secs())]
    Busy {
        /// The file.
        checksum: Checksum,
        /// How long was waited.
        after: Duration,
    },
    /// A fault of our own.
    #[error("the download of {checksum} ended without a word; the log says why")]
    Broken {
        /// The file.
        checksum: Checksum,
    },
    /// There was no URL to ask.
    #[error("there is no place to fetch {checksum} from")]
    Nowhere {
        /// The file.
        checksum: Checksum,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => ": a redirect to a place that is not allowed, or to none",
        404 | 410 => ": the release is not published (yet)",
        407 => ": the proxy wants a user name and a password",
        429 => ": it is asked too often",
        _ => "",
    }
}

fn asks(retry_after: Option<Duration>) -> String {
    retry_after
        .map_or_else(String::new, |wait| format!("; it asks to be left alone for {} s", wait.as_secs()))
}

impl FetchError {
    /// Whether something came, or lies there, that is not the file, so that the file was refused. Else there was no
    /// answer at all, or none that says anything about the file.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Mismatch { .. } | Self::TooLarge { .. } | Self::NotAFile { .. } => true,
            Self::Status { status, .. } => !(matches!(status, 407 | 408 | 425 | 429) || *status >= 500),
            Self::Transfer { source, .. } => source.is_redirect(),
            _ => false,
        }
    }

    /// How long the server asks to be left alone, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether what came before the failure is worth keeping for the next try.
    pub(in crate::artifact) fn may_be_resumed(&self) -> bool {
        match self {
            Self::Transfer { .. } | Self::Status { .. } | Self::Stalled { .. } | Self::Timeout { .. } => true,
            // Room that is lacking is not taken up by us.
            _ => false,
        }
    }

    /// Whether another mirror would fail in the same way.
    pub(in crate::artifact) fn is_of_this_machine(&self) -> bool {
        matches!(self, Self::Store(_) | Self::NoRoom(_) | Self::Busy { .. })
    }
}
