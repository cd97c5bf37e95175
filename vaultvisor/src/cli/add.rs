//! `vaultvisor add`

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::{Exit, Failure, Global, run::settings};
use crate::{
    artifact::{
        Store, executable,
        fetch::{Fetcher, Limits},
    },
    daemon::home,
    error_chain::Chained,
};

/// Options of `add`.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// The file: a release's binary, or one of its migrations
    pub file: PathBuf,
}

/// Puts a file into the store.
pub async fn run(args: &AddArgs, global: &Global) -> Result<(), Failure> {
    let settings = settings(global)?;
    home::create(&settings.home).map_err(super::home_failure)?;
    let store = Store::open(&settings.home)?;
    let limits = Limits { max_bytes: settings.max_artifact_bytes, ..Limits::default() };
    let fetcher = Fetcher::new(store.clone(), limits)?.reporting_to(super::reporter(global));
    let path = std::path::absolute(&args.file)?;
    let (checksum, bytes) = fetcher.add(&path).await.map_err(|failure| {
        let exit = if failure.error.is_refusal() { Exit::ArtifactRefused } else { Exit::Failed };
        exit.failure()(failure)
    })?;
    if let Err(error) = executable::check(&store.binary(checksum)) {
        tracing::warn!(%checksum, "is in the store, and no vault can run it here: {}", Chained(&error));
    }
    super::written(writeln!(io::stdout().lock(), "{checksum}  {bytes} bytes from {}", path.display()))
}
