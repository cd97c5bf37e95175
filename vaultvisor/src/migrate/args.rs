//! A release's `args-migration`: a program that turns the arguments of the release before into its own.
//!
//! It is given one JSON object on its standard input, `{"network", "from_version", "to_version", "args"}`, and prints
//! the new arguments as one JSON array of strings. It is run before anything is stopped, without a shell, with a clean
//! environment, in a process group of its own, for a bounded time and with a bounded output; what it prints is
//! believed only as a whole.
//!
//! What it printed is kept as `args/<n>.json` in the vault's folder and is never changed again: each release is always
//! started with its own.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use serde::Serialize;

use crate::{
    crash_points,
    error_chain::Shown,
    journal::atomic_file::{sync, sync_folder},
    process::program::{self, Bounds, Finished, ProgramError},
    release::Version,
};

/// The kernel takes 128 KiB for one argument and a few megabytes for all; a client that needs more than this has
/// made a mistake.
const MAX_ARGS_BYTES: usize = 128 * 1024;
/// More than any program has options.
const MAX_ARGS: usize = 4096;
/// What is printed may be indented and escaped: a character takes six bytes then.
const MAX_OUTPUT_BYTES: u64 = 6 * MAX_ARGS_BYTES as u64;
/// What a refusal quotes of what was printed.
const MAX_QUOTED_CHARS: usize = 300;

/// What the program is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input<'a> {
    /// The network's name in the configuration.
    pub network: &'a str,
    /// The release whose arguments these are.
    pub from_version: &'a Version,
    /// The release that they are for.
    pub to_version: &'a Version,
    /// The arguments.
    pub args: &'a [String],
}

/// Why there are no new arguments.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// It did not come to its end.
    #[error("the args-migration failed")]
    Program(#[from] ProgramError),
    /// It ended badly.
    #[error("the args-migration ended with {status}, expected exit code 0{said}")]
    Failed {
        /// How.
        status: ExitStatus,
        /// What it complained about, after a colon.
        said: String,
    },
    /// What it printed is not what was asked for.
    #[error("the args-migration printed {found}, expected one JSON array of strings{said}")]
    Garbage {
        /// What is wrong with it.
        found: String,
        /// What it complained about, after a colon.
        said: String,
    },
}

impl ArgsError {
    /// Whether the release is to blame, and not this machine.
    pub fn is_of_the_release(&self) -> bool {
        match self {
            Self::Program(error) => error.is_of_the_release(),
            Self::Failed { .. } | Self::Garbage { .. } => true,
        }
    }
}

/// Runs a program and answers the new arguments.
pub async fn run(program: &Path, input: &Input<'_>, limit: Duration) -> Result<Vec<String>, ArgsError> {
    let text = serde_json::to_vec(input).map_err(|error| ProgramError::System(error.into()))?;
    let bounds = Bounds { output_bytes: MAX_OUTPUT_BYTES, time: limit };
    let Finished { status, printed, said } = program::run(program, &[] as &[&str], &text, bounds).await?;
    // Cut off, it hardly ends well, and that is not what is wrong with it.
    if !status.success() && printed.len() as u64 <= MAX_OUTPUT_BYTES {
        return Err(ArgsError::Failed { status, said });
    }
    parse(&printed).map_err(|found| ArgsError::Garbage { found, said })
}

/// The arguments in what was printed, or what it is instead.
fn parse(printed: &[u8]) -> Result<Vec<String>, String> {
    if printed.len() as u64 > MAX_OUTPUT_BYTES {
        return Err(format!("more than {MAX_OUTPUT_BYTES} bytes"));
    }
    let args: Vec<String> = serde_json::from_slice(printed).map_err(|error| match printed {
        [] => "nothing".to_owned(),
        _ => format!("something else ({})", Shown(error, MAX_QUOTED_CHARS)),
    })?;
    let bytes: usize = args.iter().map(|arg| arg.len() + 1).sum();
    if args.len() > MAX_ARGS || bytes > MAX_ARGS_BYTES {
        return Err(format!(
            "{} arguments of {bytes} bytes (at most {MAX_ARGS} of {MAX_ARGS_BYTES} are taken)",
            args.len()
        ));
    }
    match args.iter().position(|arg| arg.contains('\0')) {
        Some(index) => {
            Err(format!("an argument (number {index}) that holds a NUL character, which none can"))
        }
        None => Ok(args),
    }
}

/// Why a revision cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct RevisionError {
    /// What was tried.
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

/// The arguments that migrations made for one vault, by number.
#[derive(Debug, Clone)]
pub struct Revisions {
    folder: PathBuf,
}

impl Revisions {
    /// Those in a vault's folder.
    pub fn new(vault_folder: &Path) -> Self {
        Self { folder: vault_folder.join("args") }
    }

    /// The file of one.
    pub fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.json"))
    }

    /// The newest number; 0 when there is none.
    pub fn newest(&self) -> Result<u32, RevisionError> {
        let failed = |source| RevisionError { doing: "list", path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed(error)),
        };
        let mut newest = 0;
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            newest = newest.max(number.unwrap_or(0));
        }
        Ok(newest)
    }

    /// Reads one.
    pub fn load(&self, number: u32) -> Result<Vec<String>, RevisionError> {
        let path = self.path(number);
        let read = || {
            let mut text = Vec::new();
            File::open(&path)?.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut text)?;
            parse(&text).map_err(|found| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("it holds {found}, expected an array of strings"),
                )
            })
        };
        read().map_err(|source| RevisionError { doing: "read", path: path.clone(), source })
    }

    /// Keeps arguments durably, as the next revision; or answers the newest, if it says the same.
    pub fn store(&self, args: &[String]) -> Result<u32, RevisionError> {
        let newest = self.newest()?;
        if newest > 0 && self.load(newest).is_ok_and(|kept| kept == args) {
            // A crash may have come between its name and the disk.
            let path = self.path(newest);
            self.settle().map_err(|source| RevisionError { doing: "sync", path, source })?;
            return Ok(newest);
        }
        let number = newest + 1;
        let path = self.path(number);
        self.write(&path, args).map_err(|source| RevisionError { doing: "write", path, source })?;
        Ok(number)
    }

    fn write(&self, path: &Path, args: &[String]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        self.remove_new()?;
        let new = self.new_path();
        let mut file = File::options().write(true).create_new(true).mode(0o400).open(&new)?;
        // On one line: indented, the longest that are taken would be more than is read.
        let mut text = serde_json::to_vec(args)?;
        text.push(b'\n');
        file.write_all(&text)?;
        sync(&file)?;
        let reached = |step| crash_points::reached(format_args!("{}: {step}", path.display()));
        reached("synced");
        // A link, unlike a rename, never takes another file's place.
        fs::hard_link(&new, path)?;
        reached("linked");
        self.settle()?;
        reached("kept");
        Ok(())
    }

    fn new_path(&self) -> PathBuf {
        self.folder.join(".new")
    }

    /// Removes what has no number, or has got one besides: it is there for as long as one is written, and after a crash.
    fn remove_new(&self) -> io::Result<()> {
        match fs::remove_file(self.new_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn settle(&self) -> io::Result<()> {
        self.remove_new()?;
        sync_folder(&self.folder)
    }
}

#[cfg(test)]
mod tests;
