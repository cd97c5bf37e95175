//! Why a release could not be published, and what to do about it.

use std::{error::Error, time::Duration};

use crate::{
    chain::{SourceError, records::RecordError},
    release::{Checksum, Release, Version},
};

/// Why a release could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] SourceError),
    /// The chain cannot be read; nothing was submitted.
    #[error("endpoint {endpoint}: failed while {doing}; nothing was submitted")]
    Unreadable {
        /// The endpoint.
        endpoint: String,
        /// What was being done.
        doing: &'static str,
        /// What the client library said.
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
    /// The runtime has no such pallet.
    #[error(
        "the runtime has no pallet {pallet:?}; {}",
        match similar.as_slice() {
            [] => "no pallet of it has a call set_vault_release, so the chain does not state releases".to_owned(),
            names => format!("did you mean --pallet {}?", names.join(" or ")),
        }
    )]
    NoPallet {
        /// The name that was given.
        pallet: String,
        /// Pallets that have the call.
        similar: Vec<String>,
    },
    /// The pallet is another one.
    #[error("the pallet {pallet} has no call set_vault_release; is it pallet-vault-release?")]
    NoCall {
        /// The name that was given.
        pallet: String,
    },
    /// Not a development chain.
    #[error(
        "the runtime has no pallet Sudo: on this chain governance has to make the call, it cannot be published \
         with a key"
    )]
    NoSudo,
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
    /// The pallet's bound.
    #[error("the version {version} has {} bytes, this runtime allows {max}; nothing was submitted", version.as_str().len())]
    VersionTooLong {
        /// The version.
        version: Version,
        /// The pallet's `MaxVersionLength`.
        max: u32,
    },
    /// The call does not fit the runtime.
    #[error("the call cannot be built for this runtime; is {pallet} pallet-vault-release?")]
    Build {
        /// The pallet's name.
        pallet: String,
        /// What does not fit.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
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
    #[error(
        "block {block}: {pallet}.set_vault_release was refused: {reason}; the chain's release is unchanged"
    )]
    Inner {
        /// The block's number.
        block: u64,
        /// The pallet's name.
        pallet: String,
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
        "block {block}: expected the chain to state {version} with {checksum}, found {}",
        found.as_ref().map_or_else(
            || "no release".to_owned(),
            |found| format!("{} with {}", found.version, found.binary_checksum)
        )
    )]
    NotStated {
        /// The block's number.
        block: u64,
        /// What was published.
        version: Version,
        /// What was published.
        checksum: Checksum,
        /// What is there.
        found: Option<Box<Release>>,
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
        matches!(self, Self::Connect(_) | Self::Unreadable { .. } | Self::TooSlow { .. })
    }
}
