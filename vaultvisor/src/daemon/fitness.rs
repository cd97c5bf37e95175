//! Whether a release whose file is in the store could run here, found out before anything is stopped for it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::Shared;
use crate::{
    artifact::executable,
    config::Vault,
    decide::state::Build,
    error_chain::Chained,
    process::program::{self, Bounds, ProgramError, said},
    release::Checksum,
};

/// A client that is asked for its version answers at once; this is for a disk that is slow to give a large program.
const PROBE_TIME: Duration = Duration::from_secs(30);
/// A version or a page of help; it goes into the log.
const PROBE_OUTPUT_BYTES: u64 = 4096;
/// Answers that are remembered for those who wait. Vaults differ in their chains, and hardly in these arguments.
const MAX_ANSWERS: usize = 8;

/// Why a release could not run here.
#[derive(Debug, Clone)]
pub(super) struct Unfit {
    /// For people.
    pub(super) reason: String,
    /// Whether the release is to blame, and not this machine.
    pub(super) by_release: bool,
}

/// The probes of all vaults of one daemon: one at a time, and one for all who ask the same meanwhile. Hundreds of vaults
/// hear of a release at one moment.
#[derive(Debug, Default)]
pub(super) struct Probes {
    answers: Mutex<Vec<Answer>>,
}

#[derive(Debug)]
struct Answer {
    checksum: Checksum,
    args: Vec<String>,
    outcome: Result<(), Unfit>,
    at: Instant,
}

impl Probes {
    /// What the program says to these arguments, now or after the call.
    async fn ask(&self, path: &Path, checksum: Checksum, args: &[String]) -> Result<(), Unfit> {
        let asked = Instant::now();
        let mut answers = self.answers.lock().await;
        let same = |answer: &&Answer| answer.checksum == checksum && answer.args == args;
        if let Some(answer) = answers.iter().filter(same).find(|answer| answer.at >= asked) {
            return answer.outcome.clone();
        }
        let outcome = probe(path, args).await;
        if answers.len() >= MAX_ANSWERS {
            answers.remove(0);
        }
        let answer = Answer { checksum, args: args.to_vec(), outcome: outcome.clone(), at: Instant::now() };
        answers.push(answer);
        outcome
    }
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
    match &vault.probe_args {
        Some(args) => shared.probes.ask(&path, build.checksum, args).await,
        None => Ok(()),
    }
}

async fn probe(path: &Path, args: &[String]) -> Result<(), Unfit> {
    let failed = |error: ProgramError| Unfit {
        reason: format!("its probe with {args:?} failed: {}", Chained(&error)),
        by_release: error.is_of_the_release(),
    };
    let bounds = Bounds { output_bytes: PROBE_OUTPUT_BYTES, time: PROBE_TIME };
    let probed = program::run(path, args, &[], bounds).await.map_err(failed)?;
    let printed = said(&probed.printed[..probed.printed.len().min(PROBE_OUTPUT_BYTES as usize)]);
    if !probed.status.success() {
        let (status, said) = (probed.status, if probed.said.is_empty() { printed } else { probed.said });
        let reason = format!("its probe with {args:?} ended with {status}, expected exit code 0{said}");
        return Err(Unfit { reason, by_release: true });
    }
    tracing::info!(path = %path.display(), "answers to {args:?}{printed}{}", probed.said);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn hundreds_who_ask_the_same_at_once_cost_one_probe_and_who_asks_later_another() {
        let folder = tempfile::tempdir().expect("folder");
        let (program, log) = (folder.path().join("vault"), folder.path().join("log"));
        let script = format!("#!/bin/sh\necho \"$1\" >> {}\n[ \"$1\" = good ]\n", log.display());
        fs::write(&program, script).expect("write");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
        let (probes, checksum) = (Probes::default(), Checksum([1; 32]));
        let ask = async |arg: &str| probes.ask(&program, checksum, &[arg.to_owned()]).await;
        let asked = |arg: &str| fs::read_to_string(&log).expect("log").matches(arg).count();

        let answers = join_all((0..200).map(|_| ask("good"))).await;
        assert!(answers.iter().all(Result::is_ok));
        let answers = join_all((0..200).map(|_| ask("bad"))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(|unfit| unfit.by_release)));
        assert_eq!((asked("good"), asked("bad")), (1, 1));

        ask("good").await.expect("as before");
        ask("bad").await.expect_err("as before");
        assert_eq!((asked("good"), asked("bad")), (2, 2), "what is put right shows");
    }
}
