//! Whether a release whose file is in the store could run here, found out before anything is stopped for it.

use std::time::Duration;

use super::Shared;
use crate::{
    artifact::executable,
    config::Vault,
    decide::state::Build,
    error_chain::Chained,
    process::program::{self, Bounds, ProgramError, said},
};

/// A client that is asked for its version answers at once; this is for a disk that is slow to give a large program.
const PROBE_TIME: Duration = Duration::from_secs(30);
/// A version or a page of help; it goes into the log.
const PROBE_OUTPUT_BYTES: u64 = 4096;

/// Why a release could not run here.
#[derive(Debug)]
pub(super) struct Unfit {
    /// For people.
    pub(super) reason: String,
    /// Whether the release is to blame, and not this machine.
    pub(super) by_release: bool,
}

/// Looks at a release's binary, and runs it with the vault's `probe_args` if there are any.
pub(super) async fn check(shared: &Shared, vault: &Vault, build: &Build) -> Result<(), Unfit> {
    let path = shared.store.binary(build.checksum);
    let looked = path.clone();
    match tokio::task::spawn_blocking(move || executable::check(&looked)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let by_release = error.is_of_the_release();
            return Err(Unfit { reason: Chained(&error).to_string(), by_release });
        }
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
    let Some(args) = &vault.probe_args else { return Ok(()) };
    let failed = |error: ProgramError| Unfit {
        reason: format!("its probe with {args:?} failed: {}", Chained(&error)),
        by_release: error.is_of_the_release(),
    };
    let bounds = Bounds { output_bytes: PROBE_OUTPUT_BYTES, time: PROBE_TIME };
    let probed = program::run(&path, args, &[], bounds).await.map_err(failed)?;
    let printed = said(&probed.printed[..probed.printed.len().min(PROBE_OUTPUT_BYTES as usize)]);
    if !probed.status.success() {
        let (status, said) = (probed.status, if probed.said.is_empty() { printed } else { probed.said });
        let reason = format!("its probe with {args:?} ended with {status}, expected exit code 0{said}");
        return Err(Unfit { reason, by_release: true });
    }
    tracing::info!(vault = vault.name, "release {build} answers to {args:?}{printed}{}", probed.said);
    Ok(())
}
