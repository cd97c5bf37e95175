//! The chain specifications that a light client starts from: read and checked, so that a wrong file is found when the
//! configuration is read and not when the chain is needed.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};
use sha2::{Digest as _, Sha256};
use smoldot::libp2p::multiaddr::{Multiaddr, Protocol};
use smoldot_light::platform::{ConnectionType, address_parse::multiaddr_to_address};

use super::platform::is_supported;

/// The largest file that is read, in bytes.
///
/// A specification with the whole genesis state and its runtime is 2 to 10 MB; one with the state's root hash instead
/// is some kB.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// Why a light client cannot start from a file.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub struct SpecError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: SpecProblem,
}

/// What is wrong with a chain specification.
#[derive(Debug, thiserror::Error)]
pub enum SpecProblem {
    /// It cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// It is too large.
    #[error("is larger than {MAX_BYTES} bytes, expected a chain specification")]
    TooLarge,
    /// It is not JSON, or a field that we need is missing or of another type.
    #[error("is not a chain specification")]
    Shape(#[source] serde_json::Error),
    /// The genesis state is described by what the runtime would make it from.
    #[error(
        "found a genesis without `raw` and `stateRootHash`, expected a raw specification, as nodes print it with --raw"
    )]
    NotRaw,
    /// Child tries in the genesis state.
    #[error(
        "genesis.raw.childrenDefault is not empty, which light clients cannot read; expected `stateRootHash` in place of `raw`"
    )]
    ChildTries,
    /// Nobody to talk to.
    #[error(
        "found {found} bootNodes and none that can be reached, expected at least one like /dns/node.example.org/tcp/30333/p2p/12D3…"
    )]
    NoBootNode {
        /// How many there are.
        found: usize,
    },
    /// The light client's own parser says no.
    #[error("is not a chain specification that the light client understands")]
    Refused(#[source] smoldot::chain_spec::ParseError),
    /// A parachain without the chain that finalizes it.
    #[error(
        "is of a parachain of {relay_chain:?}, expected relay_chain_spec, the specification of that chain"
    )]
    NoRelayChain {
        /// The relay chain's id.
        relay_chain: String,
    },
    /// A relay chain for a chain that has none.
    #[error(
        "is given as the relay chain's, but the other one is not of a parachain; expected no relay_chain_spec"
    )]
    NoParachain,
    /// Another relay chain.
    #[error("has the id {found:?}, expected {expected:?}, the relay chain of the parachain")]
    OtherRelayChain {
        /// The id that the parachain names.
        expected: String,
        /// The id that was found.
        found: String,
    },
    /// A parachain as the relay chain.
    #[error("is of a parachain, expected a relay chain")]
    NotARelayChain,
}

impl SpecProblem {
    fn of(self, path: &Path) -> SpecError {
        SpecError { path: path.to_owned(), problem: self }
    }
}

/// Where the specifications of one chain are; both files were read and fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecFiles {
    chain: PathBuf,
    relay_chain: Option<PathBuf>,
    /// What was in them, so that a changed file is a changed configuration.
    content: [u8; 32],
}

/// The specifications of one chain, in memory for no longer than a start takes.
pub(super) struct Specs {
    pub(super) chain: String,
    pub(super) relay_chain: Option<String>,
}

impl SpecFiles {
    /// Reads and checks both files.
    pub fn check(chain: PathBuf, relay_chain: Option<PathBuf>) -> Result<Self, SpecError> {
        let specs = read(&chain, relay_chain.as_deref())?;
        let mut hasher = Sha256::new();
        for text in [Some(&specs.chain), specs.relay_chain.as_ref()].into_iter().flatten() {
            hasher.update(Sha256::digest(text));
        }
        Ok(Self { chain, relay_chain, content: hasher.finalize().into() })
    }

    /// Reads them again, and checks them again, because they may have changed meanwhile.
    pub(super) fn read(&self) -> Result<Specs, SpecError> {
        read(&self.chain, self.relay_chain.as_deref())
    }
}

fn read(chain: &Path, relay_chain: Option<&Path>) -> Result<Specs, SpecError> {
    let (spec, text) = Shape::read(chain).map_err(|problem| problem.of(chain))?;
    let relay_chain = match (spec.relay_chain, relay_chain) {
        (None, None) => None,
        (None, Some(path)) => return Err(SpecProblem::NoParachain.of(path)),
        (Some(relay_chain), None) => return Err(SpecProblem::NoRelayChain { relay_chain }.of(chain)),
        (Some(expected), Some(path)) => {
            let (relay, text) = Shape::read(path).map_err(|problem| problem.of(path))?;
            if relay.relay_chain.is_some() {
                return Err(SpecProblem::NotARelayChain.of(path));
            }
            if relay.id != expected {
                return Err(SpecProblem::OtherRelayChain { expected, found: relay.id }.of(path));
            }
            Some(text)
        }
    };
    Ok(Specs { chain: text, relay_chain })
}

/// What we look at ourselves.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    id: String,
    boot_nodes: Vec<String>,
    genesis: Genesis,
    /// The SDK writes this one field in another way than the rest.
    #[serde(alias = "relay_chain")]
    relay_chain: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Genesis {
    raw: Option<Raw>,
    state_root_hash: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    children_default: BTreeMap<String, IgnoredAny>,
}

impl Shape {
    fn read(path: &Path) -> Result<(Self, String), SpecProblem> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(SpecProblem::Read)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(SpecProblem::TooLarge);
        }
        Self::parse(&text).map(|shape| (shape, text))
    }

    fn parse(text: &str) -> Result<Self, SpecProblem> {
        let shape: Self = serde_json::from_str(text).map_err(SpecProblem::Shape)?;
        match &shape.genesis {
            Genesis { raw: None, state_root_hash: None } => return Err(SpecProblem::NotRaw),
            // The light client's own parser would panic.
            Genesis { raw: Some(raw), .. } if !raw.children_default.is_empty() => {
                return Err(SpecProblem::ChildTries);
            }
            Genesis { .. } => {}
        }
        if !shape.boot_nodes.iter().any(|address| can_be_reached(address)) {
            return Err(SpecProblem::NoBootNode { found: shape.boot_nodes.len() });
        }
        smoldot::chain_spec::ChainSpec::from_json_bytes(text).map_err(SpecProblem::Refused)?;
        Ok(shape)
    }
}

/// Whether it is the address of a peer, of a kind that we can connect to.
fn can_be_reached(address: &str) -> bool {
    let Ok(mut address) = address.parse::<Multiaddr>() else { return false };
    if !matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        return false;
    }
    address.pop();
    multiaddr_to_address(&address).is_ok_and(|address| is_supported(ConnectionType::from(&address)))
}

#[cfg(test)]
mod tests;
