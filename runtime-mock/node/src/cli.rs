//! What can be asked for on the command line.

use std::{num::NonZeroU64, path::PathBuf};

use clap::{Parser, Subcommand};
use runtime_mock::upgrades::Upgrade;
use sc_service::config::MultiaddrWithPeerId;

use crate::{
    chain_spec::{ChainOptions, Engine},
    export_runtime,
};

/// A local development chain with pallet-vault-release: Alice is its only authority and its sudo
/// account.
///
/// Once it serves requests it prints one line of JSON: {"ready": true, "rpc": "ws://…", "genesis":
/// "0x…", "p2p": "/ip4/…", "pid": 1}. SIGTERM and SIGINT end it.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    /// Port of the RPC server, on 127.0.0.1 only; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) rpc_port: u16,

    /// Port for light clients, on 127.0.0.1 only; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) p2p_port: u16,

    /// Keep the chain in this folder and go on with the one that is there; without it the chain is
    /// new and ends with the process
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) base_path: Option<PathBuf>,

    /// Make and finalize blocks only when asked to, by engine_createBlock and engine_finalizeBlock
    #[arg(long, global = true)]
    manual_seal: bool,

    /// Milliseconds from block to block, from 100 to 60000; a new chain has 1000
    #[arg(long, value_name = "MS", value_parser = parse_block_time, global = true)]
    block_time_ms: Option<NonZeroU64>,

    /// End when the process that started this one ends
    #[arg(long)]
    pub(crate) die_with_parent: bool,

    /// Keep compiled runtimes in this folder, for the next chain with the same runtime; several may share it
    #[arg(long, value_name = "DIR")]
    pub(crate) compiled_runtimes: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What else the program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the chain's specification as JSON, as light clients need it
    ExportChainSpec {
        /// Add this node, such as the "p2p" of the ready line, to those that clients connect to;
        /// may be repeated
        #[arg(long = "boot-node", value_name = "MULTIADDR")]
        boot_nodes: Vec<MultiaddrWithPeerId>,
    },
    /// Write a later runtime as WebAssembly, to upgrade a chain to it with sudo and set_code
    #[command(after_help = export_runtime::list())]
    ExportRuntime {
        /// Which one: its name or its spec_version
        #[arg(value_parser = export_runtime::parse)]
        runtime: &'static Upgrade,

        /// Write into this file instead of to stdout
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

impl Cli {
    /// What the chain should be like.
    pub(crate) fn chain_options(&self) -> ChainOptions {
        ChainOptions {
            engine: if self.manual_seal { Engine::ManualSeal } else { Engine::Grandpa },
            block_time_ms: self.block_time_ms,
        }
    }
}

/// Blocks faster than ten a second can't be made in time by a debug build; slower than one a minute
/// is a typing error.
fn parse_block_time(text: &str) -> Result<NonZeroU64, String> {
    match text.parse::<NonZeroU64>() {
        Ok(ms) if (100..=60_000).contains(&ms.get()) => Ok(ms),
        _ => Err("expected a number from 100 to 60000".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_options_blocks_come_by_themselves_on_a_free_port() {
        let cli = Cli::try_parse_from(["dev-chain"]).expect("no option is required");
        assert_eq!((cli.rpc_port, cli.p2p_port), (0, 0));
        assert_eq!(cli.base_path, None);
        assert!(!cli.die_with_parent);
        assert_eq!(cli.chain_options(), ChainOptions { engine: Engine::Grandpa, block_time_ms: None });
    }

    #[test]
    fn absurd_block_times_are_refused() {
        for text in ["0", "99", "60001", "-1", "1s", ""] {
            let option = format!("--block-time-ms={text}");
            assert!(Cli::try_parse_from(["dev-chain", &option]).is_err(), "{text:?} is absurd");
        }
        assert!(Cli::try_parse_from(["dev-chain", "--block-time-ms=100"]).is_ok());
    }
}
