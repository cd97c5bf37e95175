//! The command line: what can be typed, and which exit code each kind of failure has.
//!
//! Results go to stdout, everything else to stderr. The exit codes are a contract with scripts and service
//! managers; they are listed in `docs/operators.md` and in the `--help` text.

pub mod add;
pub mod check;
pub mod forget_chain;
pub mod history;
pub mod init;
pub mod operator;
pub mod packaging;
pub mod plan;
pub mod prefetch;
pub mod release;
pub mod run;
pub mod status;

use std::{fmt, io::IsTerminal, path::PathBuf, sync::Arc};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    artifact::progress::{Bar, Lines, Reporter},
    daemon::home::HomeError,
    error_chain::Chained,
};

/// Keeps vault clients on the release that their chain's governance chose.
#[derive(Debug, Parser)]
#[command(name = "vaultvisor", version, about, after_help = EXIT_CODES_HELP)]
pub struct Cli {
    /// The options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage or config, 3 another vaultvisor or vault holds the lock,
4 an old or unmanaged vault is not provably gone, 5 the chain or the record cannot be read,
6 artifact refused.";

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// The configuration; without it ./vaultvisor.json, else /etc/vaultvisor/vaultvisor.json
    #[arg(long, global = true, env = "VAULTVISOR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines on stderr look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Log only warnings; twice for errors only
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub quiet: u8,
    /// Whether to colour log lines
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// The forms of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// When stderr is a terminal and NO_COLOR is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Supervise the vaults of the configuration, in the foreground
    Run,
    /// Write a starting configuration, and the folders that it names; asks on a terminal for what is not given
    Init(Box<init::InitArgs>),
    /// What every vault does and why
    Status(status::StatusArgs),
    /// What would happen now and why, without doing it
    Plan(plan::PlanArgs),
    /// What was decided, on which block, with which outcome
    History(history::HistoryArgs),
    /// Change nothing of a vault from now on, until `resume`; it is still supervised
    Hold(operator::HoldArgs),
    /// End a vault's hold
    Resume(operator::VaultArgs),
    /// Run one chosen release until the chain's next statement
    Override(operator::OverrideArgs),
    /// Try now what waits for its next try: a rejected release, a download, a start
    Retry(operator::VaultArgs),
    /// Stop a vault and start it again
    Restart(operator::VaultArgs),
    /// Look at everything that can be wrong before a run; exits 1 if anything is
    Check,
    /// Fetch and verify what the chains state, in force or scheduled; nothing is started
    Prefetch,
    /// Put a file into the store by its checksum, on a machine without a network say; prints that
    Add(add::AddArgs),
    /// Forget what was seen of a chain, after it was reset; vaultvisor must be stopped
    ForgetChain(forget_chain::ForgetChainArgs),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print the completions of a shell
    Completions(packaging::CompletionsArgs),
    /// Print the manual page
    Man(packaging::ManArgs),
    /// State a release on a chain, or read what a chain states
    #[command(subcommand)]
    Release(Box<release::ReleaseCommand>),
}

/// The exit codes, as the operator contract fixes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// It was tried and did not work.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Another vaultvisor or vault holds the lock.
    LockHeld = 3,
    /// An old or unmanaged vault is not provably gone.
    NotProvablyGone = 4,
    /// The chain or the record cannot be read.
    ChainUnreadable = 5,
    /// An artifact was refused.
    ArtifactRefused = 6,
}

/// A failed command: the error, and the exit code that its kind has.
#[derive(Debug)]
pub struct Failure {
    /// The code to exit with.
    pub exit: Exit,
    /// What went wrong, with its causes.
    pub error: anyhow::Error,
}

impl Exit {
    /// Makes an error into a failure with this code: `map_err(Exit::Usage.failure())`.
    pub fn failure<E: Into<anyhow::Error>>(self) -> impl FnOnce(E) -> Failure {
        move |error| Failure { exit: self, error: error.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Exit::Failed.failure()(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chained(self.error.as_ref()).fmt(f)
    }
}

/// A home folder that cannot be used.
fn home_failure(error: HomeError) -> Failure {
    let exit = match error {
        HomeError::Unsafe { .. } => Exit::Usage,
        HomeError::InUse { .. } => Exit::LockHeld,
        HomeError::Io { .. } => Exit::Failed,
    };
    exit.failure()(error)
}

/// How a command tells how far long work is: a bar where a person looks, lines for everybody else.
fn reporter(global: &Global) -> Arc<dyn Reporter> {
    let is_for_a_person = global.log_format == LogFormat::Text && global.quiet == 0;
    match is_for_a_person && std::io::stderr().is_terminal() {
        true => Arc::new(Bar),
        false => Arc::new(Lines),
    }
}

/// The outcome of printing a result. A reader that has gone away, such as `head`, has read all it wants.
fn written(outcome: std::io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}
