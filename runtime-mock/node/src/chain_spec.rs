//! How a chain starts, and how it stays the same chain.
//!
//! Each new chain gets a random nonce into its genesis, so that no two have the same genesis hash. The
//! specification is written into the chain's folder once and read from there ever after: a newer
//! build with another runtime goes on with the old chain instead of failing at another genesis.

use std::{fs, io, num::NonZeroU64, path::PathBuf};

use runtime_mock::{SlotDuration, genesis};
use sc_chain_spec::{ChainSpec as _, ChainType, GenericChainSpec, Properties};
use serde_json::json;
use sp_core::storage::well_known_keys::CODE;
use sp_runtime::BuildStorage;

use crate::home::Home;

/// Milliseconds from block to block unless asked otherwise.
const BLOCK_TIME_MS: u64 = 1_000;

/// The property of a specification that names its chain's [`Engine`].
const ENGINE_PROPERTY: &str = "engine";

/// Who makes blocks and finalizes them.
///
/// A chain keeps its engine: GRANDPA could not go on after blocks that were finalized without its
/// votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Aura makes them by the clock, GRANDPA finalizes them.
    Grandpa,
    /// Whoever calls the RPC methods.
    ManualSeal,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Grandpa => "grandpa",
            Self::ManualSeal => "manual-seal",
        }
    }
}

/// What a chain should be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainOptions {
    /// Who makes its blocks.
    pub(crate) engine: Engine,
    /// Milliseconds from block to block; without it what the chain has, or [`BLOCK_TIME_MS`].
    pub(crate) block_time_ms: Option<NonZeroU64>,
}

/// A chain that can be run.
pub(crate) struct DevChain {
    spec: GenericChainSpec,
    engine: Engine,
}

impl DevChain {
    /// The chain in `home`, or a new one, which is then in `home`.
    pub(crate) fn open(home: &Home, options: ChainOptions) -> Result<Self, OpenChainError> {
        let path = home.chain_spec();
        let stored = match fs::read(&path) {
            Ok(json) => Some(json),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(OpenChainError::Read { path, source }),
        };
        match stored {
            Some(json) => Self::stored(home, json, options),
            None => Self::new(home, options),
        }
    }

    fn stored(home: &Home, json: Vec<u8>, options: ChainOptions) -> Result<Self, OpenChainError> {
        let path = home.chain_spec();
        let invalid = |reason| OpenChainError::Invalid { path: path.clone(), reason };
        let spec = GenericChainSpec::from_json_bytes(json).map_err(invalid)?;

        let has = spec.properties().get(ENGINE_PROPERTY).and_then(|name| name.as_str().map(str::to_owned));
        if has.as_deref() != Some(options.engine.name()) {
            return Err(OpenChainError::OtherEngine {
                home: home.path().to_owned(),
                has: has.unwrap_or_else(|| "nothing that this program knows".into()),
                wanted: options.engine.name(),
            });
        }
        if let Some(wanted) = options.block_time_ms {
            let storage = spec.build_storage().map_err(invalid)?;
            let wanted = wanted.get();
            let is_same = genesis::chain_parameters([0; 16], wanted)
                .into_iter()
                .filter(|(key, _)| *key == SlotDuration::key())
                .all(|(key, value)| storage.top.get(&key) == Some(&value));
            if !is_same {
                return Err(OpenChainError::OtherBlockTime { home: home.path().to_owned(), wanted });
            }
        }
        Ok(Self { spec, engine: options.engine })
    }

    fn new(home: &Home, options: ChainOptions) -> Result<Self, OpenChainError> {
        let block_time_ms = options.block_time_ms.map_or(BLOCK_TIME_MS, NonZeroU64::get);
        let spec = new_spec(options.engine, block_time_ms)?;
        let path = home.chain_spec();
        let json = spec.as_json(true).map_err(OpenChainError::Genesis)?;
        // A half-written specification would be another chain, or none.
        let unfinished = path.with_extension("json.new");
        fs::write(&unfinished, json)
            .and_then(|()| fs::rename(&unfinished, &path))
            .map_err(|source| OpenChainError::Write { path, source })?;
        Ok(Self { spec, engine: options.engine })
    }

    /// The specification, raw: with the genesis state itself, not with how to make it.
    pub(crate) fn spec(&self) -> &GenericChainSpec {
        &self.spec
    }

    /// Who makes its blocks.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }
}

/// The specification of a chain that there never was before.
fn new_spec(engine: Engine, block_time_ms: u64) -> Result<GenericChainSpec, OpenChainError> {
    let code = runtime_mock::WASM_BINARY.ok_or(OpenChainError::NoRuntime)?;
    let mut storage = genesis::development_storage().map_err(OpenChainError::Genesis)?;
    storage.top.insert(CODE.to_vec(), code.to_vec());
    // H256::random: 128 of its 256 random bits are plenty.
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&sp_core::H256::random().as_bytes()[..16]);
    storage.top.extend(genesis::chain_parameters(nonce, block_time_ms));

    let mut properties = Properties::new();
    properties.insert("tokenSymbol".into(), json!("DEV"));
    properties.insert("tokenDecimals".into(), json!(12));
    properties.insert(ENGINE_PROPERTY.into(), json!(engine.name()));

    let mut spec = GenericChainSpec::builder(code, None)
        .with_name("Vaultvisor dev chain")
        .with_id("vaultvisor_dev")
        .with_chain_type(ChainType::Development)
        .with_protocol_id("vaultvisor-dev")
        .with_properties(properties)
        // Replaced below, but the builder insists on one.
        .with_genesis_config_patch(json!({}))
        .build();
    spec.set_storage(storage);
    Ok(spec)
}

/// Why there is no chain to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenChainError {
    /// The stored specification can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// Where it lies.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The new specification can't be stored.
    #[error("can't write {}", path.display())]
    Write {
        /// Where it should lie.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The stored specification is none.
    #[error("{} is not a chain specification: {reason}", path.display())]
    Invalid {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The chain was made with another engine.
    #[error(
        "the chain in {} has the engine {has:?}, asked for is {wanted:?}: start it as it was made \
         (with or without --manual-seal), or take another --base-path",
        home.display()
    )]
    OtherEngine {
        /// The base path.
        home: PathBuf,
        /// What the chain was made with.
        has: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The chain was made with another block time.
    #[error(
        "the chain in {} does not have blocks each {wanted} ms: leave --block-time-ms away, or take \
         another --base-path",
        home.display()
    )]
    OtherBlockTime {
        /// The base path.
        home: PathBuf,
        /// Milliseconds, as asked for.
        wanted: u64,
    },
    /// The program was built without the runtime's WebAssembly.
    #[error("this program was built with SKIP_WASM_BUILD and has no runtime in it: build it without")]
    NoRuntime,
    /// The genesis state could not be made.
    #[error("can't make the genesis state: {0}")]
    Genesis(String),
}

#[cfg(test)]
mod tests {
    use sc_chain_spec::GenesisConfigBuilderRuntimeCaller;

    use super::*;

    const GRANDPA: ChainOptions = ChainOptions { engine: Engine::Grandpa, block_time_ms: None };

    fn genesis_state(chain: &DevChain) -> sp_core::storage::Storage {
        chain.spec().build_storage().expect("a raw specification has its state in it")
    }

    #[test]
    fn the_runtime_builds_the_same_genesis_as_we_do() {
        let code = runtime_mock::WASM_BINARY.expect("tests need the runtime's WebAssembly");
        let theirs = GenesisConfigBuilderRuntimeCaller::<sp_io::SubstrateHostFunctions>::new(code)
            .get_storage_for_named_preset(Some(&"development".into()))
            .expect("the runtime knows the preset");
        let ours = genesis::development_storage().expect("the preset fits");
        assert_eq!(ours.top, theirs.top);
    }

    #[test]
    fn each_new_chain_has_another_genesis() {
        let [one, other] = [(); 2].map(|()| {
            let home = Home::open(None).expect("there is a temporary folder");
            genesis_state(&DevChain::open(&home, GRANDPA).expect("a new chain"))
        });
        let different: Vec<_> =
            one.top.iter().filter(|(key, value)| other.top.get(*key) != Some(*value)).collect();
        assert_eq!(one.top.len(), other.top.len());
        assert_eq!(different.len(), 1, "nothing but the nonce differs");
    }

    #[test]
    fn a_kept_chain_stays_the_same_chain() {
        let home = Home::open(None).expect("there is a temporary folder");
        let made = DevChain::open(&home, GRANDPA).expect("a new chain");
        let found = DevChain::open(&home, GRANDPA).expect("the same chain");
        assert_eq!(genesis_state(&made).top, genesis_state(&found).top);
    }

    #[test]
    fn a_kept_chain_is_not_run_with_another_engine_or_block_time() {
        let home = Home::open(None).expect("there is a temporary folder");
        DevChain::open(&home, GRANDPA).expect("a new chain");

        let manual = ChainOptions { engine: Engine::ManualSeal, ..GRANDPA };
        assert!(matches!(DevChain::open(&home, manual), Err(OpenChainError::OtherEngine { .. })));
        let slower = ChainOptions { block_time_ms: NonZeroU64::new(2_000), ..GRANDPA };
        assert!(matches!(
            DevChain::open(&home, slower),
            Err(OpenChainError::OtherBlockTime { wanted: 2_000, .. })
        ));
        let same = ChainOptions { block_time_ms: NonZeroU64::new(1_000), ..GRANDPA };
        DevChain::open(&home, same).expect("the default, said aloud");
    }

    #[test]
    fn a_broken_specification_is_reported_and_not_replaced() {
        let home = Home::open(None).expect("there is a temporary folder");
        fs::write(home.chain_spec(), "{").expect("the folder is writable");
        assert!(matches!(DevChain::open(&home, GRANDPA), Err(OpenChainError::Invalid { .. })));
        assert_eq!(fs::read(home.chain_spec()).expect("it is still there"), b"{");
    }
}
