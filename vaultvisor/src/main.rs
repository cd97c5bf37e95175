//! `vaultvisor`: parses, sets up logging, runs one command, prints an error once, chooses the exit code.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use tokio::runtime::Runtime;
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};
use vaultvisor::cli::{self, Cli, Color, Command, Exit, Failure, Global, LogFormat};

fn main() -> ExitCode {
    vaultvisor::process::hold_little_memory();
    let cli = Cli::parse();
    match set_up_logging(&cli.global).and_then(|()| run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error may be closed; then there is nobody to tell.
            let _ = writeln!(io::stderr(), "vaultvisor: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// What a thread still does at the end is a removal, a copy that nobody wants any more, or a write of what is read again
/// from its source: it is finished in milliseconds, or its disk hangs. Whoever ends must not wait for that: its vaults
/// are nobody's until the next one is started.
const END_LIMIT: Duration = Duration::from_secs(5);

fn run(cli: Cli) -> Result<(), Failure> {
    // Two threads: one chain's news must not wait for another's hash, and an idle thread costs its stack.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = run_on(&runtime, cli);
    runtime.shutdown_timeout(END_LIMIT);
    outcome
}

fn run_on(runtime: &Runtime, cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run => runtime.block_on(cli::run::run(&cli.global)),
        Command::Init(args) => cli::init::run(*args, &cli.global),
        Command::Status(args) => cli::status::run(&args, &cli.global),
        Command::Plan(args) => runtime.block_on(cli::plan::run(&args, &cli.global)),
        Command::History(args) => cli::history::run(&args, &cli.global),
        Command::Hold(args) => cli::operator::hold(args, &cli.global),
        Command::Resume(args) => cli::operator::resume(args, &cli.global),
        Command::Override(args) => cli::operator::override_with(args, &cli.global),
        Command::Retry(args) => cli::operator::retry(args, &cli.global),
        Command::Restart(args) => cli::operator::restart(args, &cli.global),
        Command::Check => runtime.block_on(cli::check::run(&cli.global)),
        Command::Prefetch => runtime.block_on(cli::prefetch::run(&cli.global)),
        Command::Add(args) => runtime.block_on(cli::add::run(&args, &cli.global)),
        Command::ForgetChain(args) => runtime.block_on(cli::forget_chain::run(&args, &cli.global)),
        Command::Schema => cli::packaging::schema(),
        Command::Completions(args) => cli::packaging::completions(&args),
        Command::Man(args) => cli::packaging::man(&args),
        Command::Release(command) => runtime.block_on(cli::release::run(*command, &cli.global)),
    }
}

/// The level that `-v` and `-q` count from: `VAULTVISOR_LOG`, by its name.
fn base_level() -> Result<i16, Failure> {
    const NAMES: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
    let Some(found) = std::env::var_os("VAULTVISOR_LOG").filter(|found| !found.is_empty()) else {
        return Ok(0);
    };
    let position = NAMES.iter().zip(-2..).find(|(name, _)| found.eq_ignore_ascii_case(name));
    position.map(|(_, level)| level).ok_or_else(|| {
        let expected = NAMES.join(", ");
        Exit::Usage.failure()(anyhow::anyhow!("VAULTVISOR_LOG: found {found:?}, expected one of: {expected}"))
    })
}

fn set_up_logging(global: &Global) -> Result<(), Failure> {
    let level = match base_level()? + i16::from(global.verbose) - i16::from(global.quiet) {
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
    Ok(())
}
