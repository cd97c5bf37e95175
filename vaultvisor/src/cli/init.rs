//! `vaultvisor init`: a starting configuration for one vault, and the folders that it names.
//!
//! Nothing that is there is changed, and nothing is written that `vaultvisor run` would refuse: the text is read back as a
//! configuration before anything is made.
//!
//! - `draft`: what is known of the configuration to be, and its text;
//! - `interview`: asks on a terminal for what is not known.

mod draft;
mod interview;

use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::anyhow;

use self::draft::Draft;
use super::{Exit, Failure, Global};
use crate::{
    config::{Settings, file::Problem},
    daemon::home::{self, HomeError},
    process::lock::check_folder,
};

/// Options of `init`.
#[derive(Debug, Default, clap::Args)]
pub struct InitArgs {
    /// The network: interlay, kintsugi, interlay-testnet, kintsugi-testnet, dev, or a new one's name
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// The vault's account, 64 hexadecimal digits or SS58; not needed on dev
    #[arg(long)]
    pub account: Option<String>,
    /// The vault's name, which is that of its folder; without it the network's with -1
    #[arg(long, value_name = "NAME")]
    pub vault: Option<String>,
    /// The folder for everything that vaultvisor keeps
    #[arg(long, value_name = "DIR", env = "VAULTVISOR_HOME")]
    pub home: Option<String>,
    /// The folder of the locks, the same for all vaultvisors of a machine
    #[arg(long, value_name = "DIR")]
    pub lock_dir: Option<String>,
    /// A node's websocket URL; several for several
    #[arg(long = "endpoint", value_name = "URL")]
    pub endpoints: Vec<String>,
    /// Where binaries are, a URL with {version} and {network} to be filled in; several for mirrors
    #[arg(long = "release-url", value_name = "URL")]
    pub release_urls: Vec<String>,
    /// Where to serve the status over HTTP, such as 127.0.0.1:9616
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<String>,
    /// The vault client's own arguments
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// Writes a starting configuration.
pub fn run(args: InitArgs, global: &Global) -> Result<(), Failure> {
    let path = global.config.clone().unwrap_or_else(|| PathBuf::from("vaultvisor.json"));
    let path = std::path::absolute(path)?;
    // A link that leads nowhere is something, too.
    if fs::symlink_metadata(&path).is_ok() {
        return Err(exists(&path));
    }
    let draft = Draft::of(args);
    let is_interactive = io::stdin().is_terminal() && io::stderr().is_terminal();
    let (text, settings) = match is_interactive {
        true => interview::hold(draft, &mut io::stdin().lock(), &mut io::stderr().lock())?,
        false => draft.finish().map_err(refused)?,
    };
    let home = &settings.home;
    home::create(home).map_err(|error| match error {
        HomeError::Unsafe { .. } => Exit::Usage.failure()(error),
        _ => Exit::Failed.failure()(error),
    })?;
    check_folder(&settings.lock_dir).map_err(Exit::Usage.failure())?;
    write(&path, &text)?;
    super::written(report(&path, &settings))
}

fn exists(path: &Path) -> Failure {
    let what =
        anyhow!("{} is there already and is left as it is: name another with --config", path.display());
    Exit::Usage.failure()(what)
}

fn refused(problems: Vec<Problem>) -> Failure {
    let listed: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    Exit::Usage.failure()(anyhow!("nothing was written, for this would be no valid configuration:{listed}"))
}

/// Readable by its owner only: arguments and environment of a client may hold secrets.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(path)),
        created => {
            created.map_err(|error| anyhow!(error).context(format!("cannot create {}", path.display())))?
        }
    };
    if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
        // Half of it would stand in the way of the next try.
        let _ = fs::remove_file(path);
        return Err(anyhow!(error).context(format!("cannot write {}", path.display())).into());
    }
    Ok(())
}

fn report(path: &Path, settings: &Settings) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "wrote {}", path.display())?;
    writeln!(out, "home  {}", settings.home.display())?;
    writeln!(out, "locks {}", settings.lock_dir.display())?;
    for vault in settings.vaults.values().filter(|vault| vault.args.is_empty()) {
        writeln!(out, "next: put the client's arguments into vaults.{}.args of that file", vault.name)?;
    }
    writeln!(out, "next: vaultvisor --config {} run", path.display())
}
