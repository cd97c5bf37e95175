//! The vaults: whether each can be started, or taken over.

use super::Finding;
use crate::{
    config::{Settings, Vault},
    daemon::{home::vault_folder, vault_place::place},
    error_chain::Chained,
    journal::VaultJournal,
    process::{
        adopt::{self, Observed},
        unmanaged::in_the_way,
    },
    release::GenesisHash,
};

/// Looks at a vault on the chain with this genesis hash, if that is known.
pub async fn check(settings: &Settings, vault: &Vault, genesis: Option<GenesisHash>) -> Vec<Finding> {
    let what = format!("vault {}", vault.name);
    let journal = VaultJournal::new(&vault_folder(&settings.home, &vault.name));
    if let Err(error) = journal.load() {
        return vec![Finding::of(what, Err(Chained(&error).to_string()))];
    }
    let Some(genesis) = genesis else {
        let found =
            "its chain is not known, so that its lock and other vaults of the account cannot be looked for";
        return vec![Finding::doubtful(what, found)];
    };
    let place = place(&settings.home, &settings.lock_dir, vault, genesis);
    let found = match adopt::observe(&place).await {
        Observed::Runs(running) => Ok(format!("runs with pid {}", running.vault.pid)),
        Observed::NotProvable { reason, .. } => Err(reason),
        Observed::Nothing | Observed::Gone { .. } => {
            let args = vault.args.clone();
            match tokio::task::spawn_blocking(move || in_the_way(&place, &args)).await {
                Ok(Ok(None)) => {
                    Ok("does not run; nobody holds its lock, and no other vault of it was found".into())
                }
                Ok(Ok(Some(unmanaged))) => Err(unmanaged.why),
                Ok(Err(error)) => Err(format!("cannot look for vaults that somebody else started: {error}")),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
    };
    vec![Finding::of(what, found)]
}
