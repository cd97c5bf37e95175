//! `vaultvisor release …`: states a release on a chain, reads what a chain states, sees whether that is what is
//! published, and makes and explains the calls that governance decides on.

mod call;
mod decode;
mod files;
mod keys;
mod publish;
mod show;
mod verify;
mod words;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use std::num::NonZeroUsize;

use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Exit, Failure, Global};
use crate::{
    artifact::{
        transfer::Limits,
        url::{Filling, UrlError, UrlTemplate},
    },
    chain::{
        SourceSettings,
        records::{DEFAULT_PALLET, MAX_CLIENT_BYTES, MAX_URI_BYTES, RecordName, Records},
    },
    check,
    config::{self, ConfigError, Network, Settings},
    error_chain::Chained,
    journal::{NetworkJournal, NetworkRecord},
    release::{ArtifactName, Artifacts, Checksum, Version},
};

/// How long a command waits for a chain that it only reads.
///
/// A public endpoint needs a second or two; whoever typed the command should not wait much longer for a dead
/// one.
const SHOW_DEADLINE: Duration = Duration::from_secs(20);

/// The same for a light client, which has to find peers and to sync first: seconds with what one has kept or a recent
/// checkpoint, and up to half a minute until it has chosen how.
const LIGHT_CLIENT_DEADLINE: Duration = Duration::from_secs(120);

pub(super) fn show_deadline(settings: &SourceSettings) -> Duration {
    if settings.light_client.is_some() { LIGHT_CLIENT_DEADLINE } else { SHOW_DEADLINE }
}

/// The same where the chain's metadata is needed too: some hundred kB, and one compilation of the runtime on
/// the node's side when it has just started.
const METADATA_DEADLINE: Duration = Duration::from_secs(60);

/// The commands around releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Put a release in force, or schedule it: sign, submit and wait (with sudo, on development chains)
    Publish(publish::PublishArgs),
    /// What a chain states now
    Show(show::ShowArgs),
    /// Whether the published files are what the chain states: all of them, of every platform, pending ones too
    Verify(verify::VerifyArgs),
    /// For governance: make the call that states a release, its hash and its preimage
    Call(call::CallArgs),
    /// For voters: what a call does, and whether the chain would take it
    Decode(decode::DecodeArgs),
}

/// Runs one of the commands.
pub async fn run(command: ReleaseCommand, global: &Global) -> Result<(), Failure> {
    match command {
        ReleaseCommand::Publish(args) => publish::run(args).await,
        ReleaseCommand::Show(args) => show::run(args, global).await,
        ReleaseCommand::Verify(args) => verify::run(args, global).await,
        ReleaseCommand::Call(args) => call::run(args, global).await,
        ReleaseCommand::Decode(args) => decode::run(args, global).await,
    }
}

/// Takes what nodes can be reached under; whether one is there is another question, with another exit code.
fn endpoint(text: &str) -> Result<String, &'static str> {
    match text.starts_with("ws://") || text.starts_with("wss://") {
        true => Ok(text.to_owned()),
        false => Err("expected an address that starts with ws:// or wss://"),
    }
}

/// Which chain.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("chain").args(["endpoint", "network"])))]
struct ChainArgs {
    /// The websocket address of an RPC node
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: Option<String>,
    /// A network of the configuration [default: that of its vaults, if they have one only]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// The pallet's name in the runtime; with --endpoint
    #[arg(long, value_name = "NAME", default_value = DEFAULT_PALLET, requires = "endpoint", conflicts_with = "network")]
    pallet: String,
}

/// A chain, and what the configuration says of it.
struct Chain {
    source: SourceSettings,
    /// Its name in the configuration.
    network: Option<String>,
    release_urls: Vec<UrlTemplate>,
    /// The largest file that its vaults take.
    max_artifact_bytes: u64,
}

impl Chain {
    /// Where that release is published first.
    fn first_url(&self, version: &Version, checksum: Checksum) -> Result<String, InputError> {
        let (Some(template), Some(network)) = (self.release_urls.first(), &self.network) else {
            return Err(InputError::NoUri);
        };
        let binary = template.fill_artifact(Filling { version, network, checksum }, None);
        Ok(binary.ok_or(InputError::NoUri)??.to_string())
    }
}

impl ChainArgs {
    fn chain(self, global: &Global) -> Result<Chain, Failure> {
        match self.endpoint {
            None => configured(self.network, global),
            Some(endpoint) => Ok(Chain {
                source: SourceSettings {
                    network: endpoint.clone(),
                    endpoints: vec![endpoint],
                    light_client: None,
                    genesis: None,
                    records: Records::all(self.pallet),
                    agreement: NonZeroUsize::MIN,
                    known: None,
                },
                network: None,
                release_urls: Vec::new(),
                max_artifact_bytes: Limits::default().max_bytes,
            }),
        }
    }
}

/// A network of the configuration; without a name, the only one that is supervised.
fn configured(name: Option<String>, global: &Global) -> Result<Chain, Failure> {
    let is_named = name.is_some();
    let unusable = |error: ConfigError| {
        let error = anyhow::Error::new(error);
        Exit::Usage.failure()(match is_named {
            true => error,
            false => error.context("neither --endpoint nor --network says which chain"),
        })
    };
    let path = config::locate(global.config.as_deref()).map_err(unusable)?;
    let settings = config::load(&path, &config::Overrides::from_environment()).map_err(unusable)?;
    let name = match name {
        Some(name) => name,
        None => only_network(&settings, &path).map_err(Exit::Usage.failure())?,
    };
    let network = settings.networks.get(&name).ok_or_else(|| InputError::NoNetwork {
        name: name.clone(),
        path,
        known: settings.networks.keys().cloned().collect(),
    });
    let network = network.map_err(Exit::Usage.failure())?;
    let journal = NetworkJournal::new(&settings.home);
    Ok(Chain {
        source: check::source(network, known(&journal, network).as_ref(), &journal),
        network: Some(name),
        release_urls: network.release_urls.clone(),
        max_artifact_bytes: settings.max_artifact_bytes,
    })
}

/// What a daemon has seen of a network. Whoever may not look into its home goes without.
fn known(journal: &NetworkJournal, network: &Network) -> Option<NetworkRecord> {
    let records = journal.load();
    let known = records.as_ref().and_then(|records| records.of(&network.name, network.genesis));
    known.map(|known| known.cloned()).unwrap_or_else(|error| {
        tracing::warn!(
            network = network.name,
            "what vaultvisor has seen of it cannot be read: {}; what is said now is compared with nothing",
            Chained(error)
        );
        None
    })
}

fn only_network(settings: &Settings, path: &Path) -> Result<String, InputError> {
    let supervised: BTreeSet<&String> = settings.vaults.values().map(|vault| &vault.network).collect();
    match supervised.iter().collect::<Vec<_>>()[..] {
        [only] => Ok(only.to_string()),
        _ => Err(InputError::WhichNetwork {
            path: path.to_owned(),
            known: supervised.into_iter().cloned().collect(),
        }),
    }
}

/// Which further files a release has.
#[derive(Debug, Args)]
struct ArtifactArgs {
    /// A further file of the release, such as args-migration=FILE; its SHA-256 is computed here (repeatable)
    #[arg(long, value_name = "NAME=FILE")]
    artifact: Vec<Named<PathBuf>>,
    /// A further file of the release by its SHA-256 (repeatable)
    #[arg(long, value_name = "NAME=HEX")]
    artifact_checksum: Vec<Named<Checksum>>,
}

impl ArtifactArgs {
    /// Hashes the files; each name may be given once.
    fn artifacts(self) -> Result<Artifacts, InputError> {
        let mut artifacts = Artifacts::new();
        let mut add = |name: ArtifactName, checksum| match artifacts.insert(name.clone(), checksum) {
            None => Ok(()),
            Some(_) => Err(InputError::Twice { name }),
        };
        for Named { name, value } in self.artifact_checksum {
            add(name, value)?;
        }
        for Named { name, value } in self.artifact {
            add(name, sha256_of(&value)?)?;
        }
        Ok(artifacts)
    }
}

/// `NAME=…`.
#[derive(Debug, Clone)]
struct Named<T> {
    name: ArtifactName,
    value: T,
}

impl<T: FromStr<Err: std::fmt::Display>> FromStr for Named<T> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected the file's name, = and what it is")?;
        if value.is_empty() {
            return Err("nothing follows =".to_owned());
        }
        Ok(Self {
            name: name.parse().map_err(|error| format!("{error}"))?,
            value: value.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

/// Why the input was refused.
#[derive(Debug, thiserror::Error)]
enum InputError {
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{} is larger than {limit} bytes, expected {what}", path.display())]
    TooLarge { path: PathBuf, limit: u64, what: &'static str },
    #[error("{} has no network {name:?}; it knows {}", path.display(), known.join(", "))]
    NoNetwork { name: String, path: PathBuf, known: Vec<String> },
    #[error(
        "neither --endpoint nor --network says which chain, and {} has vaults of {}; expected --network, or --endpoint",
        path.display(), known.join(", ")
    )]
    WhichNetwork { path: PathBuf, known: Vec<String> },
    #[error("{option} is not for the record {record}")]
    NotInRecord { option: &'static str, record: RecordName },
    #[error("the client {found:?} is none, expected 1 to {MAX_CLIENT_BYTES} bytes")]
    Client { found: String },
    #[error("the record clients-info needs a binary: expected --binary or --checksum")]
    NoBinary,
    #[error(
        "the record clients-info needs the place of the binary: expected --uri, or --version and --network with release \
         URLs in the configuration"
    )]
    NoUri,
    #[error("the URI has {bytes} bytes, expected 1 to {MAX_URI_BYTES}: the runtimes take no other")]
    UriLength { bytes: usize },
    #[error(transparent)]
    Uri(#[from] UrlError),
    #[error(
        "vaultvisors would know the release at {uri:?} as {tag}, and not as {version}: expected the same version behind \
         /download/"
    )]
    OtherVersion { version: Version, uri: String, tag: Version },
    #[error("the artifact {name} is given twice; expected each name once")]
    Twice { name: ArtifactName },
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&format!("{}\n", serde_json::to_string(value)?))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    super::written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// Opens what must be a regular file.
fn open_file(path: &Path) -> Result<File, InputError> {
    let unreadable = |source| InputError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    match file.metadata().map_err(unreadable)?.is_file() {
        true => Ok(file),
        false => Err(InputError::NotAFile { path: path.to_owned() }),
    }
}

/// The SHA-256 of a file of any size.
fn sha256_of(path: &Path) -> Result<Checksum, InputError> {
    let mut hasher = Sha256::new();
    io::copy(&mut open_file(path)?, &mut hasher)
        .map_err(|source| InputError::Unreadable { path: path.to_owned(), source })?;
    Ok(Checksum(hasher.finalize().into()))
}

#[cfg(test)]
mod tests;
