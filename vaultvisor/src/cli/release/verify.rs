//! `vaultvisor release verify`: whether what is published is what the chain states.

use clap::Args;
use serde::Serialize;

use super::{
    ChainArgs, Exit, Failure, Global,
    files::{self, FileJson, Places},
    print, print_json, show_deadline,
};
use crate::{
    artifact::{published::NamedFile, url::UrlTemplate},
    chain::{ChainView, read_once, records::RecordName},
};

/// What `release verify` takes.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    chain: ChainArgs,
    /// Where the files are, with placeholders as in the configuration; in place of the network's (repeatable)
    #[arg(long, value_name = "URL")]
    release_url: Vec<UrlTemplate>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct VerifiedJson<'a> {
    source: &'a str,
    genesis: String,
    finalized: u64,
    spec_version: u32,
    record: RecordName,
    /// Whether every file was found, and nothing else in the place of any.
    verified: bool,
    files: Vec<FileJson<'a>>,
}

/// Runs the command.
pub(super) async fn run(args: VerifyArgs, global: &Global) -> Result<(), Failure> {
    let chain = args.chain.chain(global)?;
    let places = Places::of(&chain, args.release_url)?;
    let deadline = show_deadline(&chain.source);
    let view = read_once(&chain.source, deadline).await.map_err(Exit::ChainUnreadable.failure())?;
    let files = named_files(&view);
    let checks = places.look_for(&files, crate::cli::reporter(global)).await?;
    let verdict = files::judge(&checks);
    if args.json {
        print_json(&VerifiedJson {
            source: &view.source,
            genesis: view.genesis.to_string(),
            finalized: view.finalized.number,
            spec_version: view.spec_version,
            record: view.record,
            verified: verdict.is_ok(),
            files: checks.iter().map(Into::into).collect(),
        })?;
    } else if files.is_empty() {
        print(&format!(
            "no release is stated at block {}: there is nothing to verify\n",
            view.finalized.number
        ))?;
    } else {
        print(&checks.iter().map(|check| files::line(check) + "\n").collect::<String>())?;
    }
    verdict
}

/// Every file that the chain states: of the release in force and of the one that waits for a runtime upgrade, for all
/// platforms, each once.
fn named_files(view: &ChainView) -> Vec<NamedFile> {
    let current = view.current.iter().flat_map(|release| {
        NamedFile::of(&release.version, release.binary_checksum, release.uri.as_ref(), &release.artifacts)
    });
    let pending = view.pending.iter().flat_map(|release| {
        NamedFile::of(&release.version, release.binary_checksum, release.uri.as_ref(), &release.artifacts)
    });
    let mut files: Vec<NamedFile> = Vec::new();
    for file in current.chain(pending) {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files
}
