//! `vaultvisor release publish`: by the sudo key of a development chain.

use std::{num::NonZeroU64, path::PathBuf, time::Duration};

use clap::Args;
use serde::Serialize;

use super::{ArtifactArgs, Exit, Failure, endpoint, keys::KeyArgs, print, print_json, sha256_of};
use crate::{
    chain::{
        governance::publish::{Publish, Published, Wait, publish},
        records::DEFAULT_PALLET,
    },
    release::{Artifacts, Checksum, Version},
};

/// What `release publish` takes.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The websocket address of an RPC node
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: String,
    #[command(flatten)]
    key: KeyArgs,
    /// The release tag
    #[arg(long, value_name = "V")]
    version: Version,
    #[command(flatten)]
    binary: BinaryArgs,
    /// Have it come into force with the runtime of this version, and not at once
    #[arg(long, value_name = "SPEC_VERSION")]
    schedule: Option<u32>,
    #[command(flatten)]
    artifacts: ArtifactArgs,
    /// The pallet's name in the runtime
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PALLET)]
    pallet: String,
    /// What to wait for
    #[arg(long, value_enum, default_value_t = Wait::Finalized)]
    wait: Wait,
    /// How long to wait for all of it
    #[arg(long, value_name = "SECS", default_value = "120")]
    timeout: NonZeroU64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Which binary the release has.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct BinaryArgs {
    /// The release's binary; its SHA-256 is computed here
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The SHA-256 of the release's binary
    #[arg(long, value_name = "HEX")]
    checksum: Option<Checksum>,
}

#[derive(Serialize)]
struct PublishedJson<'a> {
    block: Option<u64>,
    block_hash: Option<String>,
    finalized: bool,
    version: &'a Version,
    checksum: Checksum,
    spec_version: Option<u32>,
    artifacts: &'a Artifacts,
}

/// Runs the command.
pub(super) async fn run(args: PublishArgs) -> Result<(), Failure> {
    let checksum = match (&args.binary.binary, args.binary.checksum) {
        (Some(path), _) => sha256_of(path).map_err(Exit::Usage.failure())?,
        (None, Some(checksum)) => checksum,
        (None, None) => unreachable!("clap requires one of the two"),
    };
    let artifacts = args.artifacts.artifacts().map_err(Exit::Usage.failure())?;
    let signer = args.key.signer().map_err(Exit::Usage.failure())?;
    let request = Publish {
        endpoint: args.endpoint,
        pallet: args.pallet,
        version: args.version,
        checksum,
        spec_version: args.schedule,
        artifacts,
        wait: args.wait,
        timeout: Duration::from_secs(args.timeout.get()),
    };
    let published = publish(&request, &signer).await.map_err(|error| {
        let exit = if error.is_unreadable() { Exit::ChainUnreadable } else { Exit::Failed };
        exit.failure()(error)
    })?;
    if !args.json {
        return print(&told(&request, &published));
    }
    print_json(&PublishedJson {
        block: published.block.map(|block| block.number),
        block_hash: published.block.map(|block| format!("0x{}", hex::encode(block.hash))),
        finalized: published.finalized,
        version: &request.version,
        checksum,
        spec_version: request.spec_version,
        artifacts: &request.artifacts,
    })
}

/// What a person is told.
fn told(request: &Publish, published: &Published) -> String {
    let version = &request.version;
    let mut lines = match (published.block, request.spec_version) {
        (Some(_), None) => format!("The chain states {version} now.\n"),
        (Some(_), Some(spec_version)) => {
            format!("The chain will state {version} from spec version {spec_version} on.\n")
        }
        (None, _) => format!("Submitted {version}; the chain has not stated it yet.\n"),
    };
    lines += &format!("checksum     {}\n", request.checksum);
    for (name, checksum) in &request.artifacts {
        lines += &format!("artifact     {checksum}  {name}\n");
    }
    lines += &format!("transaction  0x{}\n", hex::encode(published.transaction));
    if let Some(block) = published.block {
        let finality = if published.finalized { "finalized" } else { "not final yet" };
        lines += &format!("block        {} ({finality}), 0x{}\n", block.number, hex::encode(block.hash));
    }
    lines
}
