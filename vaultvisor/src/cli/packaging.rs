//! `vaultvisor completions`, `man` and `schema`: what packages ship beside the program.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure};
use crate::config::schema::SCHEMA;

const NAME: &str = "vaultvisor";

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: Shell,
}

/// Options of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, instead of printing the first one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Prints the JSON Schema of the configuration.
pub fn schema() -> Result<(), Failure> {
    super::written(io::stdout().write_all(SCHEMA.as_bytes()))
}

/// Prints a shell's completions.
pub fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    super::written(io::stdout().write_all(&script))
}

/// Prints the manual page, or writes those of all commands.
pub fn man(args: &ManArgs) -> Result<(), Failure> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)?;
        return Ok(clap_mangen::generate_to(Cli::command(), dir)?);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    super::written(io::stdout().write_all(&page))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_is_told_of_every_command() {
        let commands: Vec<String> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert!(commands.len() > 5);
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), NAME, &mut script);
            let script = String::from_utf8(script).expect("text");
            for command in &commands {
                assert!(script.contains(command.as_str()), "{shell} does not know {command}");
            }
        }
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let folder = tempfile::tempdir().expect("folder");
        let dir = folder.path().join("man1");
        man(&ManArgs { dir: Some(dir.clone()) }).expect("written");
        for page in ["vaultvisor.1", "vaultvisor-run.1", "vaultvisor-init.1", "vaultvisor-release-publish.1"]
        {
            let text = std::fs::read_to_string(dir.join(page)).expect(page);
            assert!(text.contains(".TH") && text.contains("SYNOPSIS"), "{page}");
        }
        let first = std::fs::read_to_string(dir.join("vaultvisor.1")).expect("there");
        assert!(first.contains("Exit codes"), "scripts rely on them");
    }
}
