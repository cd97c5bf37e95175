//! `vaultvisor release call`: the call that governance decides on, with everything that a proposal needs.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use clap::{ArgGroup, Args};
use serde::Serialize;
use serde_json::Value;

use super::{
    ArtifactArgs, Chain, ChainArgs, Exit, Failure, Global, InputError, METADATA_DEADLINE, open_file, print,
    print_json, sha256_of, words,
};
use crate::{
    artifact::url::stated,
    chain::{
        governance::{
            calls::{self, CallError, Proposal, ReleaseCall, Step},
            client_calls::ClientCall,
            decoded,
            explain::{Explained, explain},
            judge::{Warning, judge, warnings},
            node::{Snapshot, read_snapshot},
        },
        records::{MAX_CLIENT_BYTES, MAX_URI_BYTES, RecordName},
    },
    release::{ArtifactName, Artifacts, Blake2Hash, Checksum, StatedUri, Version},
};

/// The largest runtime that is read, in bytes; compressed ones have one or two MB, others up to ten.
const MAX_CODE_BYTES: u64 = 64 * 1024 * 1024;

/// What `release call` takes.
#[derive(Debug, Args)]
pub struct CallArgs {
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    what: WhatArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What the call does.
///
/// `--cancel` stands for itself, `--version` needs to be told what about that version: a binary makes it a release to
/// set or to schedule, artifacts alone belong to a release that stands already. `--uri` stands for a version in
/// `clients-info`, which has none.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("statement").required(true).multiple(true).args(["version", "cancel", "uri"])),
    group(ArgGroup::new("named").multiple(true).args(["version", "uri"])),
    group(ArgGroup::new("new_release").args(["binary", "checksum"]).requires("named")),
    group(
        ArgGroup::new("about_version")
            .multiple(true)
            .args(["binary", "checksum", "artifact", "artifact_checksum", "remove_artifact"])
            .requires("named"),
    ),
)]
struct WhatArgs {
    /// Where the chain keeps its release
    #[arg(long, value_name = "RECORD", default_value = "vault-release", value_parser = record)]
    record: RecordName,
    /// With clients-info: have it come into force with the next runtime upgrade, and not at once
    #[arg(long, requires = "new_release")]
    pending: bool,
    /// With clients-info: the client that it is about [default: the network's, or vault]
    #[arg(long, value_name = "NAME", requires = "new_release")]
    client: Option<String>,
    /// With clients-info: where the binary is [default: the first of the network's release URLs, with --version]
    #[arg(long, value_name = "URL", requires = "new_release")]
    uri: Option<String>,
    /// The release that it is about
    #[arg(long, value_name = "V", requires = "about_version")]
    version: Option<Version>,
    /// State the release, with this binary; its SHA-256 is computed here
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// State the release, with the binary that has this SHA-256
    #[arg(long, value_name = "HEX")]
    checksum: Option<Checksum>,
    /// Have it come into force with the runtime of this version, and not at once; what was scheduled is forgotten
    #[arg(long, value_name = "SPEC_VERSION", requires = "new_release", conflicts_with = "cancel")]
    schedule: Option<u32>,
    #[command(flatten)]
    artifacts: ArtifactArgs,
    /// Remove a file from the release as it stands (repeatable)
    #[arg(long, value_name = "NAME", conflicts_with = "new_release")]
    remove_artifact: Vec<ArtifactName>,
    /// Forget the scheduled release, before anything else
    #[arg(long)]
    cancel: bool,
    /// Authorize a runtime upgrade in the same call, by the BLAKE2-256 of the code
    #[arg(long, value_name = "CODE_HASH", conflicts_with = "with_upgrade_code")]
    with_upgrade: Option<Blake2Hash>,
    /// The same, with the hash of this file: exactly the one that will be submitted, compressed or not
    #[arg(long, value_name = "FILE")]
    with_upgrade_code: Option<PathBuf>,
    /// Wrap the call in Sudo.sudo, for a development chain
    #[arg(long)]
    sudo: bool,
}

impl WhatArgs {
    /// The steps in the order in which they take effect.
    fn steps(self, chain: &Chain) -> Result<(Vec<Step>, bool), InputError> {
        match self.record {
            RecordName::VaultRelease => self.release_steps(),
            RecordName::ClientsInfo => self.client_steps(chain),
        }
    }

    /// Those of `ClientsInfo`, which keeps one file for each client and nothing else of a release.
    fn client_steps(self, chain: &Chain) -> Result<(Vec<Step>, bool), InputError> {
        let given = [
            ("--schedule", self.schedule.is_some()),
            ("--cancel", self.cancel),
            ("--artifact", !self.artifacts.artifact.is_empty()),
            ("--artifact-checksum", !self.artifacts.artifact_checksum.is_empty()),
            ("--remove-artifact", !self.remove_artifact.is_empty()),
        ];
        if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(InputError::NotInRecord { option, record: self.record });
        }
        let checksum = self.checksum()?.ok_or(InputError::NoBinary)?;
        let client = self.client.clone().unwrap_or_else(|| chain.source.records.client.clone());
        if client.is_empty() || client.len() > MAX_CLIENT_BYTES {
            return Err(InputError::Client { found: client });
        }
        let uri = match (&self.uri, &self.version) {
            (Some(uri), _) => uri.clone(),
            (None, Some(version)) => chain.first_url(version, checksum)?,
            (None, None) => return Err(InputError::NoUri),
        };
        let uri = checked_uri(&uri, self.version.as_ref())?;
        let call = ClientCall { client, uri: Some(uri), checksum, pending: self.pending };
        let upgrade = self.upgrade()?;
        Ok(([Step::Client(call)].into_iter().chain(upgrade).collect(), self.sudo))
    }

    fn checksum(&self) -> Result<Option<Checksum>, InputError> {
        match (&self.binary, self.checksum) {
            (Some(path), _) => sha256_of(path).map(Some),
            (None, given) => Ok(given),
        }
    }

    /// The runtime upgrade, which comes last.
    fn upgrade(&self) -> Result<Option<Step>, InputError> {
        let code_hash = match (self.with_upgrade, &self.with_upgrade_code) {
            (None, Some(path)) => Some(blake2_of(path)?),
            (given, _) => given,
        };
        Ok(code_hash.map(|code_hash| Step::AuthorizeUpgrade { code_hash }))
    }

    fn release_steps(self) -> Result<(Vec<Step>, bool), InputError> {
        let given =
            [("--pending", self.pending), ("--client", self.client.is_some()), ("--uri", self.uri.is_some())];
        if let Some((option, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
            return Err(InputError::NotInRecord { option, record: self.record });
        }
        let upgrade = self.upgrade()?;
        let checksum = self.checksum()?;
        let artifacts = self.artifacts.artifacts()?;
        let mut steps = Vec::new();
        if self.cancel {
            steps.push(ReleaseCall::Cancel);
        }
        if let Some(version) = &self.version {
            match checksum {
                Some(checksum) => {
                    steps.extend(ReleaseCall::statement(version, checksum, self.schedule, &artifacts));
                }
                None => steps.extend(edits(version, &artifacts, self.remove_artifact)?),
            }
        }
        Ok((steps.into_iter().map(Step::Release).chain(upgrade).collect(), self.sudo))
    }
}

/// What the chain takes and vaultvisors fetch from. They know a release by the tag in it, which must be the version that
/// was given; without a tag they know it by its checksum.
fn checked_uri(text: &str, version: Option<&Version>) -> Result<StatedUri, InputError> {
    let too_long = text.len() > MAX_URI_BYTES;
    let Some(uri) = StatedUri::from_bytes(text.as_bytes()).filter(|_| !too_long) else {
        return Err(InputError::UriLength { bytes: text.len() });
    };
    stated(&uri)?;
    match (version, uri.release_tag()) {
        (Some(version), Some(tag)) if tag != *version => {
            Err(InputError::OtherVersion { version: version.clone(), uri: text.to_owned(), tag })
        }
        _ => Ok(uri),
    }
}

fn record(text: &str) -> Result<RecordName, String> {
    RecordName::named(text)
        .ok_or_else(|| format!("expected one of {}", RecordName::ALL.map(RecordName::as_str).join(", ")))
}

/// The calls that change the files of a release as it stands: first those that make room.
fn edits(
    version: &Version,
    set: &Artifacts,
    remove: Vec<ArtifactName>,
) -> Result<Vec<ReleaseCall>, InputError> {
    let mut calls = Vec::new();
    for (index, name) in remove.iter().enumerate() {
        if set.contains_key(name) || remove[..index].contains(name) {
            return Err(InputError::Twice { name: name.clone() });
        }
        calls.push(ReleaseCall::RemoveArtifact { version: version.clone(), name: name.clone() });
    }
    for (name, checksum) in set {
        let (version, name, checksum) = (version.clone(), name.clone(), *checksum);
        calls.push(ReleaseCall::SetArtifact { version, name, checksum });
    }
    Ok(calls)
}

fn blake2_of(path: &Path) -> Result<Blake2Hash, InputError> {
    let mut code = Vec::new();
    open_file(path)?
        .take(MAX_CODE_BYTES + 1)
        .read_to_end(&mut code)
        .map_err(|source| InputError::Unreadable { path: path.to_owned(), source })?;
    match code.len() as u64 > MAX_CODE_BYTES {
        false => Ok(Blake2Hash::of(&code)),
        true => {
            let what = "the code of a runtime";
            Err(InputError::TooLarge { path: path.to_owned(), limit: MAX_CODE_BYTES, what })
        }
    }
}

/// Runs the command.
pub(super) async fn run(args: CallArgs, global: &Global) -> Result<(), Failure> {
    let CallArgs { chain, what, json } = args;
    let chain = chain.chain(global)?;
    let (steps, sudo) = what.steps(&chain).map_err(Exit::Usage.failure())?;
    let proposal = Proposal { pallet: chain.source.records.pallet.clone(), steps, sudo };
    let snapshot =
        read_snapshot(&chain.source, METADATA_DEADLINE).await.map_err(Exit::ChainUnreadable.failure())?;
    let bytes = proposal.encode(&snapshot.metadata)?;
    let call = decoded::decode_call(&snapshot.metadata, &bytes)?;
    let mut explained = explain(&call, &proposal.pallet);
    judge(&mut explained, &mut snapshot.forecast.clone());
    let made = Made {
        note: calls::note_preimage(&bytes, &snapshot.metadata),
        refusals: refusals(&explained)?,
        bytes: &bytes,
        explained: &explained,
        snapshot: &snapshot,
        sudo,
    };
    if json { print_json(&made.json()) } else { print(&made.text()) }
}

/// What the chain as it is now would refuse. That may be meant for later and is only pointed out; what no chain would
/// ever take is an error.
fn refusals(call: &Explained<'_>) -> Result<Vec<String>, CallError> {
    let refused = warnings(call).into_iter().filter_map(|warning| match warning {
        Warning::Refused { call, refusal } => Some((call, refusal)),
        _ => None,
    });
    refused
        .map(|(call, refusal)| match refusal.is_lasting() {
            true => Err(CallError::Refused { call, source: Box::new(refusal) }),
            false => Ok(format!("{call} ({}): {refusal}", refusal.name())),
        })
        .collect()
}

/// A call that was made.
struct Made<'a> {
    bytes: &'a [u8],
    explained: &'a Explained<'a>,
    refusals: Vec<String>,
    /// The call that puts it on the chain as a preimage, if the runtime has one.
    note: Option<Vec<u8>>,
    snapshot: &'a Snapshot,
    sudo: bool,
}

#[derive(Serialize)]
struct CallJson {
    call: String,
    length: usize,
    hash: Blake2Hash,
    preimage: PreimageJson,
    lookup: LookupJson,
    does: Value,
    would_succeed_now: bool,
    refusals: Vec<String>,
    source: String,
    genesis: String,
    finalized: u64,
    spec_version: u32,
}

#[derive(Serialize)]
struct PreimageJson {
    hash: Blake2Hash,
    length: usize,
    /// The call that puts it on the chain; `null` where the runtime has no pallet Preimage.
    note: Option<String>,
}

/// `Bounded::Lookup`, by which a referendum names its call.
#[derive(Serialize)]
struct LookupJson {
    hash: Blake2Hash,
    len: usize,
}

impl Made<'_> {
    fn json(&self) -> CallJson {
        let (hash, length) = (Blake2Hash::of(self.bytes), self.bytes.len());
        CallJson {
            call: hex(self.bytes),
            length,
            hash,
            preimage: PreimageJson { hash, length, note: self.note.as_deref().map(hex) },
            lookup: LookupJson { hash, len: length },
            does: words::tree_json(self.explained),
            would_succeed_now: self.refusals.is_empty(),
            refusals: self.refusals.clone(),
            source: self.snapshot.source.clone(),
            genesis: self.snapshot.genesis.to_string(),
            finalized: self.snapshot.finalized.number,
            spec_version: self.snapshot.forecast.spec_version,
        }
    }

    fn text(&self) -> String {
        let (hash, length) = (Blake2Hash::of(self.bytes), self.bytes.len());
        let mut text = words::tree(self.explained);
        text += &format!(
            "\ncall      {}\nlength    {length} bytes\nhash      {hash} (BLAKE2-256)\n",
            hex(self.bytes)
        );
        if !self.sudo {
            text += "\nFor a referendum\n";
            text += &match &self.note {
                Some(note) => {
                    format!("  preimage  submit this call, Preimage.note_preimage: {}\n", hex(note))
                }
                None => {
                    "  preimage  this runtime has no pallet Preimage; submit the call itself\n".to_owned()
                }
            };
            text += &format!("  proposal  Lookup {{ hash: {hash}, len: {length} }}\n");
        }
        let Snapshot { source, finalized, forecast, .. } = self.snapshot;
        text += &format!(
            "\nOn the chain as it is now ({source}, block {}, spec version {})\n",
            finalized.number, forecast.spec_version
        );
        if self.refusals.is_empty() {
            text += "  it would succeed, if made by an origin that is allowed to\n";
        }
        for refusal in &self.refusals {
            text += &format!("  ! it would be refused: {refusal}\n");
        }
        text
    }
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}
