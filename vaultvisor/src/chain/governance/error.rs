//! Why a release could not be published, and what to do about it.

use std::{error::Error, time::Duration};

use super::{calls::CallError, publish::Publish};
use crate::{
    chain::{
        SourceError,
        records::{RecordError, Stated},
    },
    release::{Artifacts, Checksum, Version},
};

/// Why a release could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] SourceError),
    /// The chain cannot be read; nothing was submitted.
    #[error("endpoint {endpoint} cannot be read; nothing was submitted")]
    Unreadable {
        /// The endpoint.
        endpoint: String,
        /// What was being done, and what the client library said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The time was up before anything was submitted.
    #[error("endpoint {endpoint}: not ready to submit within {} s; nothing was submitted", timeout.as_secs())]
    TooSlow {
        /// The endpoint.
        endpoint: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// The chain holds something that is no record; nothing was submitted.
    #[error("the chain's record cannot be read; nothing was submitted")]
    Record(#[source] RecordError),
    /// The call cannot be made, or would be refused.
    #[error("nothing was submitted")]
    Call(#[from] CallError),
    /// Somebody else is sudo.
    #[error(
        "the key {signer} is not this chain's sudo key{}; nothing was submitted",
        sudo.as_ref().map(|sudo| format!(", which is {sudo}")).unwrap_or_else(|| ": it has none".to_owned())
    )]
    NotSudoKey {
        /// The account that signs, in hexadecimal.
        signer: String,
        /// The account that may, in hexadecimal.
        sudo: Option<String>,
    },
    /// It could not be signed for this runtime.
    #[error("the transaction cannot be made for this runtime; nothing was submitted")]
    Sign(#[source] Box<dyn Error + Send + Sync>),
    /// The node or the pool does not want it.
    #[error("the node refused the transaction: {0}")]
    Refused(String),
    /// The transaction failed as a whole.
    #[error("the transaction is in block {block} but failed: {reason}")]
    Failed {
        /// The block's number.
        block: u64,
        /// The dispatch error by name.
        reason: String,
    },
    /// Sudo was granted, but the pallet refused the call.
    #[error("block {block}: {calls} was refused: {reason}; the chain's record is unchanged")]
    Inner {
        /// The block's number.
        block: u64,
        /// The calls.
        calls: String,
        /// The dispatch error by name.
        reason: String,
    },
    /// What happened in the block cannot be read.
    #[error("the transaction was submitted, but its outcome cannot be read; see `vaultvisor release show`")]
    Outcome(#[source] Box<dyn Error + Send + Sync>),
    /// No trace of the inner call.
    #[error("block {block}: sudo did not report the outcome of the call (no event Sudo.Sudid)")]
    NoOutcome {
        /// The block's number.
        block: u64,
    },
    /// The storage does not decode.
    #[error("block {block}: the release that the chain stored cannot be read back")]
    Unlike {
        /// The block's number.
        block: u64,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// The storage says something else.
    #[error(
        "block {block}: expected the chain to state {}, found {}; did somebody else publish in the same block? See \
         `vaultvisor release show`",
        one_line(&expected.version, expected.checksum, &expected.artifacts, expected.spec_version),
        match (expected.spec_version, &found.current, &found.pending) {
            (None, Some(found), _) => one_line(&found.version, found.binary_checksum, &found.artifacts, None),
            (Some(_), _, Some(found)) => {
                one_line(&found.version, found.binary_checksum, &found.artifacts, found.spec_version)
            }
            _ => "nothing".to_owned(),
        }
    )]
    NotStated {
        /// The block's number.
        block: u64,
        /// What was published.
        expected: Box<Publish>,
        /// What is there.
        found: Box<Stated>,
    },
    /// It was lost on its way.
    #[error(
        "the transaction was submitted, but no block up to {last}, the last that could have it, does: nothing has changed"
    )]
    Expired {
        /// The last block's number.
        last: u64,
    },
    /// The time was up after the transaction was submitted.
    #[error(
        "submitted, but {} within {} s; it may still take effect, see `vaultvisor release show`",
        match best {
            Some(number) => format!("block {number}, which has it, was not finalized"),
            None => "in no block".to_owned(),
        },
        timeout.as_secs()
    )]
    TimedOut {
        /// The best block that had it last.
        best: Option<u64>,
        /// How long was waited.
        timeout: Duration,
    },
}

impl PublishError {
    /// Whether the chain could not even be read, as opposed to having said no.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Unreadable { .. } | Self::TooSlow { .. } | Self::Record(_))
    }
}

/// A release with all that it has.
fn one_line(
    version: &Version,
    checksum: Checksum,
    artifacts: &Artifacts,
    spec_version: Option<u32>,
) -> String {
    let mut line = format!("{version} with {checksum}");
    for (name, checksum) in artifacts {
        line += &format!(", {name} {checksum}");
    }
    if let Some(spec_version) = spec_version {
        line += &format!(", for spec version {spec_version}");
    }
    line
}
