//! `vaultvisor release decode`: what a call does, for those who vote on it.

mod input;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use self::input::CallSource;
use super::{
    ChainArgs, Exit, Failure, Global, METADATA_DEADLINE,
    files::{self, FileJson, Places},
    print, print_json,
    show::StatedJson,
    words,
};
use crate::{
    artifact::{
        published::{FileCheck, NamedFile},
        url::UrlTemplate,
    },
    chain::{
        governance::{
            calls::{ReleaseCall, check_records},
            changes::changes,
            decoded::{DecodeError, decode_call},
            explain::{Explained, Verdict, explain},
            judge::{is_only_about_releases, judge, warnings},
            node::{Snapshot, read_snapshot},
        },
        records::Stated,
    },
    release::Blake2Hash,
};

/// What `release decode` takes.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    /// The call in hexadecimal, @FILE with it, or - for standard input
    #[arg(value_name = "HEX|@FILE|-")]
    call: CallSource,
    #[command(flatten)]
    chain: ChainArgs,
    /// Download every file that the call names from every release URL, and compare
    #[arg(long)]
    check_files: bool,
    /// Where the files are, with placeholders as in the configuration; in place of the network's (repeatable)
    #[arg(long, value_name = "URL", requires = "check_files")]
    release_url: Vec<UrlTemplate>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Why a call cannot be explained or checked.
#[derive(Debug, thiserror::Error)]
enum DecodeInputError {
    #[error("this is not a call of the chain {chain} (spec version {spec_version})")]
    NotACall {
        chain: String,
        spec_version: u32,
        #[source]
        source: DecodeError,
    },
}

/// Runs the command.
pub(super) async fn run(args: DecodeArgs, global: &Global) -> Result<(), Failure> {
    let bytes = args.call.read().map_err(Exit::Usage.failure())?;
    let chain = args.chain.chain(global)?;
    let places = args.check_files.then(|| Places::of(&chain, args.release_url)).transpose()?;
    let snapshot =
        read_snapshot(&chain.source, METADATA_DEADLINE).await.map_err(Exit::ChainUnreadable.failure())?;
    check_records(&snapshot.metadata, &chain.source.records.pallet)?;
    let call = decode_call(&snapshot.metadata, &bytes).map_err(|source| {
        let spec_version = snapshot.forecast.spec_version;
        Exit::Usage.failure()(DecodeInputError::NotACall {
            chain: chain.source.network.clone(),
            spec_version,
            source,
        })
    })?;
    let mut explained = explain(&call, &chain.source.records.pallet);
    let mut after = snapshot.forecast.clone();
    let verdict = judge(&mut explained, &mut after);
    let checks = match places {
        Some(places) => Some(places.look_for(&named_files(&explained), crate::cli::reporter(global)).await?),
        None => None,
    };
    let decoded = Decoded {
        bytes: &bytes,
        call: &explained,
        verdict,
        snapshot: &snapshot,
        after: &after.stated,
        files: checks.as_deref(),
    };
    if args.json {
        print_json(&decoded.json())?
    } else {
        print(&decoded.text())?
    }
    checks.as_deref().map_or(Ok(()), files::judge)
}

/// The files that a call states, each once, in its order.
fn named_files(call: &Explained<'_>) -> Vec<NamedFile> {
    let mut files = Vec::new();
    for call in call.release_calls() {
        let file = match call.clone() {
            ReleaseCall::Set { version, checksum } | ReleaseCall::Schedule { version, checksum, .. } => {
                NamedFile { version, artifact: None, checksum, uri: None }
            }
            ReleaseCall::SetArtifact { version, name, checksum } => {
                NamedFile { version, artifact: Some(name), checksum, uri: None }
            }
            ReleaseCall::Cancel | ReleaseCall::RemoveArtifact { .. } => continue,
        };
        if !files.contains(&file) {
            files.push(file);
        }
    }
    for call in call.client_calls() {
        let (version, uri) = (call.version(), call.uri.clone());
        let file = NamedFile { version, artifact: None, checksum: call.checksum, uri };
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

/// Everything that was found out.
struct Decoded<'a> {
    bytes: &'a [u8],
    call: &'a Explained<'a>,
    verdict: Verdict,
    snapshot: &'a Snapshot,
    after: &'a Stated,
    files: Option<&'a [FileCheck]>,
}

#[derive(Serialize)]
struct DecodedJson<'a> {
    length: usize,
    hash: Blake2Hash,
    does: Value,
    only_about_releases: bool,
    would_succeed_now: Option<bool>,
    warnings: Vec<String>,
    changes: Vec<String>,
    before: StatedJson<'a>,
    after: StatedJson<'a>,
    source: &'a str,
    genesis: String,
    finalized: u64,
    spec_version: u32,
    files: Option<Vec<FileJson<'a>>>,
}

impl Decoded<'_> {
    fn changes(&self) -> Vec<String> {
        let forecast = &self.snapshot.forecast;
        changes(&forecast.stated, self.after, forecast.spec_version)
    }

    fn warnings(&self) -> Vec<String> {
        warnings(self.call).iter().map(words::warning).collect()
    }

    fn json(&self) -> DecodedJson<'_> {
        DecodedJson {
            length: self.bytes.len(),
            hash: Blake2Hash::of(self.bytes),
            does: words::tree_json(self.call),
            only_about_releases: is_only_about_releases(self.call),
            would_succeed_now: match self.verdict {
                Verdict::Succeeds => Some(true),
                Verdict::Fails => Some(false),
                Verdict::Unknown => None,
            },
            warnings: self.warnings(),
            changes: self.changes(),
            before: (&self.snapshot.forecast.stated).into(),
            after: self.after.into(),
            source: &self.snapshot.source,
            genesis: self.snapshot.genesis.to_string(),
            finalized: self.snapshot.finalized.number,
            spec_version: self.snapshot.forecast.spec_version,
            files: self.files.map(|files| files.iter().map(Into::into).collect()),
        }
    }

    fn text(&self) -> String {
        let Snapshot { source, finalized, forecast, .. } = self.snapshot;
        let mut text = format!(
            "length  {} bytes\nhash    {} (BLAKE2-256)\n\nWhat it does\n",
            self.bytes.len(),
            Blake2Hash::of(self.bytes)
        );
        text += &indented(words::tree(self.call).lines());
        let warnings = self.warnings();
        if !warnings.is_empty() {
            text += "\nATTENTION\n";
            text += &indented(warnings.iter().map(|warning| format!("! {warning}")));
        }
        text += &format!(
            "\nOn the chain as it is now ({source}, block {}, spec version {})\n",
            finalized.number, forecast.spec_version
        );
        text += &indented([match self.verdict {
            Verdict::Succeeds => "it would succeed, if made by an origin that is allowed to",
            Verdict::Fails => "NOT all of it would succeed",
            Verdict::Unknown => "what is about releases would succeed; what is not was not judged",
        }]);
        let changes = self.changes();
        if changes.is_empty() {
            text += "  the record would stay as it is\n";
        }
        text += &indented(&changes);
        if let Some(files) = self.files {
            text += "\nPublished files\n";
            text += &indented(files.iter().flat_map(files::told));
            if files.is_empty() {
                text += "  the call names none\n";
            }
        }
        text
    }
}

fn indented<L: std::fmt::Display>(lines: impl IntoIterator<Item = L>) -> String {
    lines.into_iter().map(|line| format!("  {line}\n")).collect()
}
