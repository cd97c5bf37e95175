//! `vaultvisor release show`: what a chain states, all of it.

use clap::Args;
use serde::Serialize;

use super::{ChainArgs, Exit, Failure, Global, print, print_json, show_deadline};
use crate::{
    artifact::url::stated,
    chain::{
        ChainView, PendingRelease, read_once,
        records::{RecordName, Records, Stated},
    },
    release::{Artifacts, Checksum, Release, StatedUri, Version},
};

/// What `release show` takes.
#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    chain: ChainArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ShownJson<'a> {
    source: &'a str,
    genesis: String,
    finalized: u64,
    finalized_hash: String,
    spec_version: u32,
    record: RecordName,
    current: Option<ReleaseJson<'a>>,
    pending: Option<PendingJson<'a>>,
}

#[derive(Serialize)]
pub(super) struct ReleaseJson<'a> {
    sequence: Option<u64>,
    version: &'a Version,
    checksum: Checksum,
    uri: Option<&'a StatedUri>,
    artifacts: &'a Artifacts,
}

#[derive(Serialize)]
pub(super) struct PendingJson<'a> {
    version: &'a Version,
    checksum: Checksum,
    uri: Option<&'a StatedUri>,
    artifacts: &'a Artifacts,
    spec_version: Option<u32>,
}

/// Both slots, as every command prints them.
#[derive(Serialize)]
pub(super) struct StatedJson<'a> {
    current: Option<ReleaseJson<'a>>,
    pending: Option<PendingJson<'a>>,
}

impl<'a> From<&'a Release> for ReleaseJson<'a> {
    fn from(release: &'a Release) -> Self {
        Self {
            sequence: release.sequence,
            version: &release.version,
            checksum: release.binary_checksum,
            uri: release.uri.as_ref(),
            artifacts: &release.artifacts,
        }
    }
}

impl<'a> From<&'a PendingRelease> for PendingJson<'a> {
    fn from(pending: &'a PendingRelease) -> Self {
        Self {
            version: &pending.version,
            checksum: pending.binary_checksum,
            uri: pending.uri.as_ref(),
            artifacts: &pending.artifacts,
            spec_version: pending.spec_version,
        }
    }
}

impl<'a> From<&'a Stated> for StatedJson<'a> {
    fn from(stated: &'a Stated) -> Self {
        Self {
            current: stated.current.as_ref().map(Into::into),
            pending: stated.pending.as_ref().map(Into::into),
        }
    }
}

/// Runs the command.
pub(super) async fn run(args: ShowArgs, global: &Global) -> Result<(), Failure> {
    let settings = args.chain.chain(global)?.source;
    let view =
        read_once(&settings, show_deadline(&settings)).await.map_err(Exit::ChainUnreadable.failure())?;
    if !args.json {
        return print(&shown(&view, &settings.records));
    }
    print_json(&ShownJson {
        source: &view.source,
        genesis: view.genesis.to_string(),
        finalized: view.finalized.number,
        finalized_hash: format!("0x{}", hex::encode(view.finalized.hash)),
        spec_version: view.spec_version,
        record: view.record,
        current: view.current.as_ref().map(Into::into),
        pending: view.pending.as_ref().map(Into::into),
    })
}

/// What a person is told.
pub(super) fn shown(view: &ChainView, records: &Records) -> String {
    let (record, place) = match view.record {
        RecordName::VaultRelease => (view.record, records.pallet.clone()),
        RecordName::ClientsInfo => (view.record, format!("client {}", records.client)),
    };
    let mut lines = format!(
        "genesis       {}\nfinalized     {}, 0x{}\nspec version  {}\nrecord        {record} ({place})\n",
        view.genesis,
        view.finalized.number,
        hex::encode(view.finalized.hash),
        view.spec_version,
    );
    match &view.current {
        Some(release) => {
            lines +=
                &format!("release       {}\n  checksum    {}\n", release.version, release.binary_checksum);
            if let Some(sequence) = release.sequence {
                lines += &format!("  sequence    {sequence}\n");
            }
            lines += &shown_uri(release.uri.as_ref());
            lines += &shown_artifacts(&release.artifacts);
        }
        None => {
            let items: Vec<String> = records.each().map(|record| record.items().current).collect();
            lines += &format!(
                "release       none stated: governance has not set one, or it is not in {}\n",
                items.join(" or ")
            );
        }
    }
    if let Some(pending) = &view.pending {
        lines += &format!("pending       {}\n  checksum    {}\n", pending.version, pending.binary_checksum);
        lines += &shown_uri(pending.uri.as_ref());
        lines += &shown_artifacts(&pending.artifacts);
        if let Some(spec_version) = pending.spec_version {
            lines += &format!("  waits for   {}\n", waits_for(spec_version, view.spec_version));
        }
    }
    lines
}

/// Anybody's text, so escaped; and whether anything is fetched from there.
fn shown_uri(uri: Option<&StatedUri>) -> String {
    let Some(uri) = uri else { return String::new() };
    let remark =
        if stated(uri).is_ok() { "" } else { "  (not allowed: release URLs of the configuration are used)" };
    format!("  uri         {}{remark}\n", uri.as_str().escape_default())
}

fn shown_artifacts(artifacts: &Artifacts) -> String {
    artifacts.iter().map(|(name, checksum)| format!("  artifact    {checksum}  {name}\n")).collect()
}

/// The pallet promotes in the first block that the new runtime executes, one after the code has changed.
fn waits_for(spec_version: u32, running: u32) -> String {
    match running < spec_version {
        true => format!("spec version {spec_version}; {running} runs now"),
        false => format!("the next block: spec version {spec_version} is here ({running} runs)"),
    }
}
