//! `vaultvisor prefetch`

use std::io::{self, Write};

use super::{Exit, Failure, Global, run::settings};
use crate::{
    error_chain::Chained,
    prefetch::{Outcome, PrefetchError, prefetch},
};

/// Why not everything is there.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {all} could not be had ready; see above")]
struct NotAll {
    failed: usize,
    all: usize,
}

/// Fetches what the chains state, and prints what became of each file.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let settings = settings(global)?;
    let (mut all, mut exits, mut printed) = (0, Vec::new(), Ok(()));
    let fetched = prefetch(&settings, super::reporter(global), |outcome| {
        all += 1;
        exits.extend(exit_of(&outcome));
        if printed.is_ok() {
            printed = writeln!(io::stdout().lock(), "{}", line(&outcome));
        }
    });
    fetched.await.map_err(|error| match error {
        PrefetchError::Home(error) => super::home_failure(error),
        error => Exit::Failed.failure()(error),
    })?;
    super::written(printed)?;
    // What is refused needs a person most, and what could not be read least.
    match exits.iter().max() {
        Some(exit) => Err(exit.failure()(NotAll { failed: exits.len(), all })),
        None => Ok(()),
    }
}

fn exit_of(outcome: &Outcome) -> Option<Exit> {
    match outcome {
        Outcome::Ready { .. } | Outcome::NothingStated { .. } => None,
        Outcome::Unreadable { .. } => Some(Exit::ChainUnreadable),
        Outcome::Failed { problem, .. } if problem.is_refusal() => Some(Exit::ArtifactRefused),
        Outcome::Failed { .. } | Outcome::ForOthers { .. } => Some(Exit::Failed),
    }
}

/// One line each, whatever a node or a server said.
fn line(outcome: &Outcome) -> String {
    let line = match outcome {
        Outcome::Ready { file, path } => format!("ok    {file}: {}", path.display()),
        Outcome::Failed { file, problem } => format!("FAIL  {file}: {}", Chained(problem)),
        Outcome::NothingStated { network } => format!("ok    {network}: no release is stated"),
        Outcome::ForOthers { network, version } => {
            format!("FAIL  {network} {version}: has no binary for this machine")
        }
        Outcome::Unreadable { network, reason } => format!("FAIL  {network}: {reason}"),
    };
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
