//! `vaultvisor hold`, `resume`, `override`, `retry` and `restart`: the operator's hand, through the daemon.

use std::{
    io::{self, Write},
    path::{MAIN_SEPARATOR, Path},
};

use super::{Exit, Failure, Global, run::home};
use crate::control::{self, Chosen, Reply, Request};

/// Options of commands that need nothing but a vault.
#[derive(Debug, clap::Args)]
pub struct VaultArgs {
    /// The vault's name in the configuration
    pub vault: String,
}

/// Options of `hold`.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    /// The vault's name in the configuration
    pub vault: String,
    /// Why, for those who read the status
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Options of `override`.
#[derive(Debug, clap::Args)]
pub struct OverrideArgs {
    /// The vault's name in the configuration
    pub vault: String,
    /// A version that this vault has seen, a checksum in the store, or a file, named with a slash: ./vault
    #[arg(value_name = "VERSION_OR_FILE")]
    pub release: String,
}

/// Changes nothing of a vault from now on.
pub fn hold(args: HoldArgs, global: &Global) -> Result<(), Failure> {
    ask(&Request::Hold { vault: args.vault, reason: args.reason }, global)
}

/// Ends a hold.
pub fn resume(args: VaultArgs, global: &Global) -> Result<(), Failure> {
    ask(&Request::Resume { vault: args.vault }, global)
}

/// Runs one chosen release.
pub fn override_with(args: OverrideArgs, global: &Global) -> Result<(), Failure> {
    let release = chosen(&args.release)?;
    ask(&Request::Override { vault: args.vault, release }, global)
}

/// Tries now what waits.
pub fn retry(args: VaultArgs, global: &Global) -> Result<(), Failure> {
    ask(&Request::Retry { vault: args.vault }, global)
}

/// Stops a vault and starts it again.
pub fn restart(args: VaultArgs, global: &Global) -> Result<(), Failure> {
    ask(&Request::Restart { vault: args.vault }, global)
}

/// No version and no checksum has a slash, so a path with one cannot be mistaken for either.
fn chosen(text: &str) -> Result<Chosen, Failure> {
    if !text.contains(MAIN_SEPARATOR) {
        return Ok(Chosen::Known(text.to_owned()));
    }
    // The daemon has another working folder, and reads the file by itself.
    let path = Path::new(text);
    let absolute = path.canonicalize().map_err(|error| {
        Exit::Usage.failure()(anyhow::Error::new(error).context(format!("cannot open {text}")))
    })?;
    Ok(Chosen::File(absolute))
}

fn ask(request: &Request, global: &Global) -> Result<(), Failure> {
    match control::ask(&home(global)?, request)? {
        Reply::Done(text) => super::written(writeln!(io::stdout(), "{text}")),
        Reply::Invalid(text) => Err(Exit::Usage.failure()(anyhow::Error::msg(text))),
        Reply::Refused(text) => Err(anyhow::Error::msg(text).into()),
        Reply::Status(_) | Reply::States(_) => {
            Err(anyhow::anyhow!("the daemon answered with its status: it may be of another version").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_from_a_version_by_its_slash() {
        assert_eq!(chosen("1.17.0").expect("version"), Chosen::Known("1.17.0".into()));
        assert_eq!(chosen("vault").expect("version"), Chosen::Known("vault".into()));
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().canonicalize().expect("path").join("vault");
        std::fs::write(&file, b"x").expect("write");
        let named = format!("{}/./vault", folder.path().display());
        assert_eq!(chosen(&named).expect("file"), Chosen::File(file));
        let refused = chosen("./nonexistent").expect_err("no file");
        assert_eq!(refused.exit, Exit::Usage);
    }
}
