//! A whole chain in one process, for tests and for trying things out.
//!
//! One authority (Alice) makes a block each second with Aura and finalizes it at once with GRANDPA.
//! Unlike a node of a real network it can be told to hold finality back, or to make blocks and forks
//! only on request, and it is made to be run by programs: it picks free ports, says on stdout where
//! it listens, takes care of its files, and ends at once when asked to.
//!
//! - [`cli`]: what can be asked for,
//! - [`home`]: where the chain's files lie,
//! - [`chain_spec`]: how a chain starts and stays the same chain,
//! - [`export_runtime`]: later runtimes, to upgrade it to,
//! - [`configuration`] and [`service`]: the node,
//! - [`engine`]: who makes its blocks and finalizes them,
//! - [`finality`]: how finality is held back,
//! - [`clock`]: the time of blocks that are made on request,
//! - [`rpc`]: the methods that only this chain has,
//! - [`address`] and [`ready`]: where it listens, and the line that says so,
//! - [`shutdown`]: when it ends.

#![expect(
    clippy::result_large_err,
    reason = "the SDK's error is large, and all that returns it runs once, at the start"
)]

mod address;
mod chain_spec;
mod cli;
mod clock;
mod configuration;
mod engine;
mod export_runtime;
mod finality;
mod home;
mod ready;
mod rpc;
mod service;
mod shutdown;

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    chain_spec::DevChain,
    cli::{Cli, Command},
    home::Home,
    ready::Ready,
    shutdown::Shutdown,
};

/// What is logged unless `RUST_LOG` says otherwise: what happens to the chain, not what the node
/// finds noteworthy about itself.
const LOGGED: &str = "info,litep2p=warn,sc_sysinfo=warn,sub-libp2p=warn,substrate=warn,txpool=warn,\
                      db=warn,grandpa=warn,sc_basic_authorship=warn,babe=warn,aura=warn,slots=warn";

/// How long tasks may take to notice the end. They have nothing to save that matters: the database
/// writes a log of its own, and a temporary chain is removed.
const LAST_WORDS: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let be_quiet = log_to_stderr();
    let done = match &cli.command {
        Some(Command::ExportChainSpec { boot_nodes }) => export_chain_spec(&cli, boot_nodes),
        Some(Command::ExportRuntime { runtime, output }) => {
            export_runtime::export(runtime, output.as_deref()).map_err(anyhow::Error::from)
        }
        None => run(&cli, be_quiet),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Not the SDK's own logger: it writes to stdout as well in some cases, and stdout has one line.
///
/// Returns what ends the logging: tasks that are stopped complain about each other.
fn log_to_stderr() -> impl FnOnce() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let logger = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter_reloading();
    let filter = logger.reload_handle();
    logger.init();
    move || {
        // It fails only if the logger is gone, and then it is quiet already.
        let _ = filter.reload("off");
    }
}

/// Runs the chain until it is told to end.
fn run(cli: &Cli, be_quiet: impl FnOnce()) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the worker threads")?;
    let in_runtime = runtime.enter();
    // Before anything is written, so that a signal finds somebody who tidies up.
    let shutdown = Shutdown::listen(cli.die_with_parent)?;
    drop(in_runtime);
    let home = Home::open(cli.base_path.as_deref())?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            biased;
            () = shutdown.requested() => {
                be_quiet();
                Ok(())
            }
            ended = serve(cli, &home) => ended,
        }
    });
    runtime.shutdown_timeout(LAST_WORDS);
    // Only now: tasks had files open in it.
    drop(home);
    outcome
}

/// Starts the node, says that it is there, and waits until it fails.
async fn serve(cli: &Cli, home: &Home) -> anyhow::Result<()> {
    let chain = DevChain::open(home, cli.chain_options())?;
    let rpc_port = cli.rpc_port;
    let configuration = configuration::new(&chain, home, rpc_port, cli.p2p_port)?;
    let engine = chain.engine();
    // Opening the database and compiling the runtime block for seconds: not on a thread that is to
    // notice signals.
    let compiled_runtimes = cli.compiled_runtimes.clone();
    let start = move || service::start(configuration, engine, compiled_runtimes.as_deref());
    let mut node = tokio::task::spawn_blocking(start)
        .await
        .context("the node's start was interrupted")?
        // As text: the SDK's errors repeat their sources, which would be printed twice.
        .map_err(|error| anyhow::Error::msg(error.to_string()))
        .with_context(|| match rpc_port {
            0 => "can't start the node".to_owned(),
            port => format!("can't start the node with RPC on port {port}"),
        })?;
    let ready = Ready::new(&node).await?;
    ready.print();
    node.task_manager.future().await.context("the node failed")
}

/// Prints the chain specification of the chain in the base path.
fn export_chain_spec(
    cli: &Cli,
    boot_nodes: &[sc_service::config::MultiaddrWithPeerId],
) -> anyhow::Result<()> {
    if cli.base_path.is_none() {
        tracing::warn!("without --base-path this is the specification of a new chain that nobody runs");
    }
    let home = Home::open(cli.base_path.as_deref())?;
    let chain = DevChain::open(&home, cli.chain_options())?;
    let mut spec = chain.spec().clone();
    for boot_node in boot_nodes {
        spec.add_boot_node(boot_node.clone());
    }
    let json = spec
        .as_json(true)
        .map_err(anyhow::Error::msg)
        .context("can't write the chain specification as JSON")?;
    writeln!(std::io::stdout(), "{json}").context("can't write to stdout")
}
