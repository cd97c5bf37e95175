//! `vaultvisor release …`: states a release on a chain, or reads what a chain states.

use std::{
    fs::File,
    io::{self, Read, Write},
    num::NonZeroU64,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{Args, Subcommand};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subxt_signer::{SecretUri, sr25519::Keypair};

use super::{Exit, Failure, Global};
use crate::{
    chain::{
        ChainView, PendingRelease, SourceSettings,
        governance::{Publish, Wait, publish},
        read_once,
        records::DEFAULT_PALLET,
    },
    config,
    release::{Checksum, Release, Version},
};

/// Where a secret key may come from when no option names one.
const SURI_VARIABLE: &str = "VAULTVISOR_SURI";

/// The longest secret URI that is read, in bytes; a phrase of 24 words with a path is some 300.
const MAX_SURI_BYTES: u64 = 4096;

/// How long `release show` waits for a chain.
///
/// A public endpoint needs a second or two; whoever typed the command should not wait much longer for a dead
/// one.
const SHOW_DEADLINE: Duration = Duration::from_secs(20);

/// The commands around releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Put a release in force: sign, submit and wait (with sudo, on development chains)
    Publish(PublishArgs),
    /// What a chain states now
    Show(ShowArgs),
}

/// Takes what nodes can be reached under; whether one is there is another question, with another exit code.
fn endpoint(text: &str) -> Result<String, &'static str> {
    match text.starts_with("ws://") || text.starts_with("wss://") {
        true => Ok(text.to_owned()),
        false => Err("expected an address that starts with ws:// or wss://"),
    }
}

/// What `release publish` takes.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The websocket address of an RPC node
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: String,
    /// A development key such as //Alice; other people can see a command line, so real keys go into
    /// --suri-file or VAULTVISOR_SURI
    #[arg(long, value_name = "URI", conflicts_with = "suri_file")]
    suri: Option<Hidden>,
    /// A file with the secret URI of the key that signs, readable by its owner only
    #[arg(long, value_name = "FILE")]
    suri_file: Option<PathBuf>,
    /// The release tag
    #[arg(long, value_name = "V")]
    version: Version,
    #[command(flatten)]
    binary: BinaryArgs,
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
pub struct BinaryArgs {
    /// The release's binary; its SHA-256 is computed here
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The SHA-256 of the release's binary
    #[arg(long, value_name = "HEX")]
    checksum: Option<Checksum>,
}

/// What `release show` takes.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("chain").required(true).args(["endpoint", "network"])))]
pub struct ShowArgs {
    /// The websocket address of an RPC node
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: Option<String>,
    /// A network of the configuration
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// The pallet's name in the runtime
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PALLET, conflicts_with = "network")]
    pallet: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A text that no debug output, and so no log, shows.
#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl FromStr for Hidden {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Runs one of the commands.
pub async fn run(command: ReleaseCommand, global: &Global) -> Result<(), Failure> {
    match command {
        ReleaseCommand::Publish(args) => run_publish(args).await,
        ReleaseCommand::Show(args) => run_show(args, global).await,
    }
}

/// Why the input was refused.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error(
        "--suri takes only development keys such as //Alice, because other users of this machine can read \
         command lines; put the key into a file (--suri-file) or into the variable {SURI_VARIABLE}"
    )]
    SuriOnCommandLine,
    #[error("no key to sign with: expected --suri, --suri-file or the variable {SURI_VARIABLE}")]
    NoKey,
    #[error(
        "{origin} does not hold a secret URI: expected a phrase, 0x and 64 hexadecimal digits, or //Name, \
         each optionally with a path"
    )]
    BadSuri { origin: String },
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error(
        "{} may be read by others (mode {mode:o}): expected 600 or 400; run chmod 600, and consider the key known",
        path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("{} has no network {name:?}; it knows {}", path.display(), known.join(", "))]
    NoNetwork { name: String, path: PathBuf, known: Vec<String> },
}

#[derive(Serialize)]
struct PublishedJson<'a> {
    block: Option<u64>,
    block_hash: Option<String>,
    finalized: bool,
    version: &'a Version,
    checksum: Checksum,
}

async fn run_publish(args: PublishArgs) -> Result<(), Failure> {
    let checksum = match (&args.binary.binary, args.binary.checksum) {
        (Some(path), _) => sha256_of(path).map_err(Exit::Usage.failure())?,
        (None, Some(checksum)) => checksum,
        (None, None) => unreachable!("clap requires one of the two"),
    };
    let signer = signer(args.suri, args.suri_file.as_deref()).map_err(Exit::Usage.failure())?;
    let request = Publish {
        endpoint: args.endpoint,
        pallet: args.pallet,
        version: args.version,
        checksum,
        wait: args.wait,
        timeout: Duration::from_secs(args.timeout.get()),
    };
    let published = publish(&request, &signer).await.map_err(|error| {
        let exit = if error.is_unreadable() { Exit::ChainUnreadable } else { Exit::Failed };
        exit.failure()(error)
    })?;

    let version = &request.version;
    let hash = published.block.map(|block| format!("0x{}", hex::encode(block.hash)));
    if args.json {
        return print_json(&PublishedJson {
            block: published.block.map(|block| block.number),
            block_hash: hash,
            finalized: published.finalized,
            version,
            checksum,
        });
    }
    let mut lines = match published.block {
        Some(_) => format!("The chain states {version} now.\n"),
        None => format!("Submitted {version}; the chain has not stated it yet.\n"),
    };
    lines += &format!("checksum     {checksum}\n");
    lines += &format!("transaction  0x{}\n", hex::encode(published.transaction));
    if let (Some(block), Some(hash)) = (published.block, hash) {
        let finality = if published.finalized { "finalized" } else { "not final yet" };
        lines += &format!("block        {} ({finality}), {hash}\n", block.number);
    }
    print(&lines)
}

#[derive(Serialize)]
struct ShownJson<'a> {
    source: &'a str,
    genesis: String,
    finalized: u64,
    finalized_hash: String,
    spec_version: u32,
    record: &'static str,
    current: Option<ReleaseJson<'a>>,
    pending: Option<PendingJson<'a>>,
}

#[derive(Serialize)]
struct ReleaseJson<'a> {
    sequence: Option<u64>,
    version: &'a Version,
    checksum: Checksum,
    artifacts: &'a std::collections::BTreeMap<crate::release::ArtifactName, Checksum>,
}

#[derive(Serialize)]
struct PendingJson<'a> {
    version: &'a Version,
    checksum: Checksum,
    spec_version: Option<u32>,
}

async fn run_show(args: ShowArgs, global: &Global) -> Result<(), Failure> {
    let settings = match args.network {
        Some(name) => configured(&name, global)?,
        None => SourceSettings {
            network: args.endpoint.clone().unwrap_or_default(),
            endpoints: args.endpoint.into_iter().collect(),
            genesis: None,
            pallet: args.pallet,
        },
    };
    let view = read_once(&settings, SHOW_DEADLINE).await.map_err(Exit::ChainUnreadable.failure())?;
    let record = settings.record().name();
    if args.json {
        return print_json(&ShownJson {
            source: &view.source,
            genesis: view.genesis.to_string(),
            finalized: view.finalized.number,
            finalized_hash: format!("0x{}", hex::encode(view.finalized.hash)),
            spec_version: view.spec_version,
            record,
            current: view.current.as_ref().map(|release| ReleaseJson {
                sequence: release.sequence,
                version: &release.version,
                checksum: release.binary_checksum,
                artifacts: &release.artifacts,
            }),
            pending: view.pending.as_ref().map(|pending| PendingJson {
                version: &pending.version,
                checksum: pending.binary_checksum,
                spec_version: pending.spec_version,
            }),
        });
    }
    print(&shown(&view, record, &settings.pallet))
}

fn configured(name: &str, global: &Global) -> Result<SourceSettings, Failure> {
    let path = config::locate(global.config.as_deref()).map_err(Exit::Usage.failure())?;
    let settings =
        config::load(&path, &config::Overrides::from_environment()).map_err(Exit::Usage.failure())?;
    let network = settings.networks.get(name).ok_or_else(|| InputError::NoNetwork {
        name: name.to_owned(),
        path,
        known: settings.networks.keys().cloned().collect(),
    });
    let network = network.map_err(Exit::Usage.failure())?;
    Ok(SourceSettings {
        network: network.name.clone(),
        endpoints: network.endpoints.clone(),
        genesis: network.genesis,
        pallet: network.pallet.clone(),
    })
}

/// What `release show` tells a person.
fn shown(view: &ChainView, record: &str, pallet: &str) -> String {
    let mut lines = format!(
        "genesis       {}\nfinalized     {}, 0x{}\nspec version  {}\nrecord        {record} ({pallet})\n",
        view.genesis,
        view.finalized.number,
        hex::encode(view.finalized.hash),
        view.spec_version,
    );
    match &view.current {
        Some(release) => lines += &shown_release(release),
        None => {
            lines += &format!(
                "release       none stated: governance has not set one, or the pallet is not {pallet}\n"
            );
        }
    }
    if let Some(PendingRelease { version, binary_checksum, spec_version }) = &view.pending {
        lines += &format!("pending       {version}\n  checksum    {binary_checksum}\n");
        if let Some(spec_version) = spec_version {
            lines += &format!("  waits for   spec version {spec_version}\n");
        }
    }
    lines
}

fn shown_release(release: &Release) -> String {
    let mut lines = format!("release       {}\n  checksum    {}\n", release.version, release.binary_checksum);
    if let Some(sequence) = release.sequence {
        lines += &format!("  sequence    {sequence}\n");
    }
    for (name, checksum) in &release.artifacts {
        lines += &format!("  artifact    {checksum}  {name}\n");
    }
    lines
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// The SHA-256 of a file of any size.
fn sha256_of(path: &Path) -> Result<Checksum, InputError> {
    let unreadable = |source| InputError::Unreadable { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(InputError::NotAFile { path: path.to_owned() });
    }
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher).map_err(unreadable)?;
    Ok(Checksum(hasher.finalize().into()))
}

fn signer(suri: Option<Hidden>, suri_file: Option<&Path>) -> Result<Keypair, InputError> {
    match (suri, suri_file) {
        (Some(Hidden(suri)), _) if suri.starts_with("//") => keypair(&suri, "--suri"),
        (Some(_), _) => Err(InputError::SuriOnCommandLine),
        (None, Some(path)) => keypair(&read_suri(path)?, &path.display().to_string()),
        (None, None) => match std::env::var_os(SURI_VARIABLE) {
            Some(suri) => keypair(&suri.to_string_lossy(), SURI_VARIABLE),
            None => Err(InputError::NoKey),
        },
    }
}

/// The reason is not part of the error: it could quote the secret.
fn keypair(suri: &str, origin: &str) -> Result<Keypair, InputError> {
    let bad = || InputError::BadSuri { origin: origin.to_owned() };
    let suri = suri.trim();
    // An empty text would be the well-known development phrase itself, which nobody means.
    if suri.is_empty() {
        return Err(bad());
    }
    let uri = SecretUri::from_str(suri).map_err(|_| bad())?;
    Keypair::from_uri(&uri).map_err(|_| bad())
}

fn read_suri(path: &Path) -> Result<String, InputError> {
    let unreadable = |source| InputError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // Of the opened file, not of the path: what is checked is what is read.
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(InputError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(InputError::Exposed { path: path.to_owned(), mode });
    }
    let mut suri = String::new();
    file.take(MAX_SURI_BYTES).read_to_string(&mut suri).map_err(unreadable)?;
    Ok(suri)
}

#[cfg(test)]
mod tests;
