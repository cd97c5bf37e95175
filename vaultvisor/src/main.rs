//! `vaultvisor`: parses, sets up logging, runs one command, prints an error once, chooses the exit code.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};
use vaultvisor::cli::{self, Cli, Color, Command, Failure, Global, LogFormat};

fn main() -> ExitCode {
    let cli = Cli::parse();
    set_up_logging(&cli.global);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed; then there is nobody to tell.
            let _ = writeln!(io::stderr(), "vaultvisor: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // Two threads: one chain's news must not wait for another's hash, and an idle thread costs its stack.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match cli.command {
        Command::Run => runtime.block_on(cli::run::run(&cli.global)),
        Command::Status(args) => cli::status::run(&args, &cli.global),
        Command::Release(command) => runtime.block_on(cli::release::run(*command, &cli.global)),
    }
}

fn set_up_logging(global: &Global) {
    let level = match i16::from(global.verbose) - i16::from(global.quiet) {
        ..=-2 => LevelFilter::ERROR,
        -1 => LevelFilter::WARN,
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    };
    // The libraries below log the weather; ours are the lines that an operator reads.
    let theirs = if level >= LevelFilter::TRACE { LevelFilter::DEBUG } else { LevelFilter::WARN.min(level) };
    let filter =
        tracing_subscriber::filter::Targets::new().with_default(theirs).with_target("vaultvisor", level);
    let colour = match global.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colour).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    match global.log_format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
}
