//! How the core is to treat a vault: its part of the configuration, as the core knows it.

use std::time::Duration;

use crate::{artifact::url::TARGET, config::Vault, decide::Policy};

/// How this vault wants to be treated.
pub(crate) fn policy(vault: &Vault, startup_chain_wait: Duration) -> Policy {
    Policy {
        probation: vault.probation.length,
        health: vault.probation.health_url.is_some(),
        health_extension: vault.probation.health_extension,
        grace: vault.stop.grace,
        rejection_retries: vault.retries.clone(),
        startup_chain_wait,
        keep_releases: vault.keep_releases as usize,
        target: TARGET.to_owned(),
        args: vault.args.clone(),
        data_dir: vault.data.is_some(),
        skip_snapshot: vault.data.as_ref().is_some_and(|data| data.skip_snapshot),
        keep_snapshots: vault.data.as_ref().map_or(0, |data| data.keep_snapshots as usize),
        restore_after_live: vault.data.as_ref().is_some_and(|data| data.restore_after_live),
        seed: seed(&vault.name),
    }
}

/// Tells vaults apart in their jitter: FNV-1a of the name.
fn seed(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
