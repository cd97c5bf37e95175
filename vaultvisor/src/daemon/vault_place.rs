//! Where a vault is on this machine: its lock, its marker, its folder.

use std::path::Path;

use super::home::vault_folder;
use crate::{
    config::{Logs, Vault},
    process::protocol::{Output, Place},
    release::GenesisHash,
};

/// The place of a vault on the chain with this genesis hash.
pub(crate) fn place(home: &Path, lock_dir: &Path, vault: &Vault, genesis: GenesisHash) -> Place {
    let identity = format!("{genesis}-{}", vault.account);
    let (output, log_bytes, log_keep) = match vault.logs {
        Logs::File { max_bytes, keep } => (Output::File, max_bytes, keep),
        Logs::Journald => (Output::Journald, Output::DEFAULT_LOG_BYTES, Output::DEFAULT_LOG_KEEP),
        Logs::Inherit => (Output::Inherit, Output::DEFAULT_LOG_BYTES, Output::DEFAULT_LOG_KEEP),
    };
    Place {
        lock: lock_dir.join(format!("{identity}.lock")),
        marker: identity,
        home: home.to_owned(),
        folder: vault_folder(home, &vault.name),
        stop_signal: vault.stop.signal,
        grace_ms: u64::try_from(vault.stop.grace.as_millis()).unwrap_or(u64::MAX),
        output,
        log_bytes,
        log_keep,
    }
}
