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
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::{journal::atomic_file::sync_folder, process::PASSED_ON, release::Version};

/// The kernel takes 128 KiB for one argument and a few megabytes for all; a client that needs more than this has
/// made a mistake.
const MAX_ARGS_BYTES: usize = 128 * 1024;
/// More than any program has options.
const MAX_ARGS: usize = 4096;
/// What is printed may be indented and escaped: a character takes six bytes then.
const MAX_OUTPUT_BYTES: u64 = 6 * MAX_ARGS_BYTES as u64;
/// Enough of its complaints to see what is wrong; the rest is read and forgotten.
const MAX_COMPLAINT_BYTES: usize = 4096;

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
    /// It cannot be executed.
    #[error("the args-migration {} cannot be executed", path.display())]
    Execute {
        /// The program.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It did not end.
    #[error("the args-migration did not end within {} s and was killed{said}", limit.as_secs())]
    TimedOut {
        /// How long it had.
        limit: Duration,
        /// What it complained about, after a colon.
        said: String,
    },
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
    /// The system failed, not the program.
    #[error("cannot run the args-migration")]
    System(#[source] io::Error),
}

impl ArgsError {
    /// Whether the release is to blame, and not this machine.
    pub fn is_of_the_release(&self) -> bool {
        match self {
            Self::System(_) => false,
            // Too many processes or files, say, pass; a program that is none does not.
            Self::Execute { source, .. } => matches!(
                source.raw_os_error(),
                Some(libc::ENOEXEC | libc::ENOENT | libc::EACCES | libc::ELIBBAD | libc::EINVAL)
            ),
            Self::TimedOut { .. } | Self::Failed { .. } | Self::Garbage { .. } => true,
        }
    }
}

/// Ends the program and all that it started, however this is left.
struct Group(Child);

impl Group {
    fn kill(&self) {
        // While its leader has not been waited for its number cannot be another group's.
        if let Some(group) = self.0.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program and answers the new arguments.
pub async fn run(program: &Path, input: &Input<'_>, limit: Duration) -> Result<Vec<String>, ArgsError> {
    let text = serde_json::to_vec(input).map_err(|error| ArgsError::System(error.into()))?;
    let passed_on = PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let child = Command::new(program)
        .env_clear()
        .envs(passed_on)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ArgsError::Execute { path: program.to_owned(), source })?;
    let mut group = Group(child);
    let child = &mut group.0;
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut complaint = Vec::new();
    let mut printed = Vec::new();
    let talk = async {
        let tell = async {
            if let Some(mut stdin) = stdin.take() {
                // It need not read what it does not want to know.
                let _ = stdin.write_all(&text).await;
            }
        };
        let hear = async {
            match stdout {
                Some(stdout) => stdout.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut printed).await.map(|_| ()),
                None => Ok(()),
            }
        };
        let (heard, _, ()) = tokio::join!(hear, keep_the_end(stderr, &mut complaint), tell);
        heard?;
        has_ended(child.id()).await
    };
    let outcome = tokio::time::timeout(limit, talk).await;
    // What it left running goes with it.
    group.kill();
    let status = group.0.wait().await.map_err(ArgsError::System)?;
    let said = said(&complaint);
    match outcome {
        Err(_) => Err(ArgsError::TimedOut { limit, said }),
        Ok(Err(error)) => Err(ArgsError::System(error)),
        // Cut off, it hardly ends well, and that is not what is wrong with it.
        Ok(Ok(())) if !status.success() && printed.len() as u64 <= MAX_OUTPUT_BYTES => {
            Err(ArgsError::Failed { status, said })
        }
        Ok(Ok(())) => parse(&printed).map_err(|found| ArgsError::Garbage { found, said }),
    }
}

/// Waits for the end of a child, and leaves it to be waited for: until then its number, and that of its group, is its
/// own.
async fn has_ended(pid: Option<u32>) -> io::Result<()> {
    let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())).ok_or(io::ErrorKind::NotFound)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    // Ends with the child at the latest, and that with its time.
    // Nothing of the status leaves the thread: with libc below rustix it holds a raw pointer.
    let waited = tokio::task::spawn_blocking(move || waitid(WaitId::Pid(pid), options).map(drop)).await;
    waited.map_err(io::Error::other)?.map_err(io::Error::from)
}

/// Reads to the end, so that nobody waits for us, and keeps the last of it.
async fn keep_the_end(from: Option<impl AsyncRead + Unpin>, end: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut from) = from else { return Ok(()) };
    let mut buffer = [0; MAX_COMPLAINT_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        end.extend_from_slice(&buffer[..count]);
        let surplus = end.len().saturating_sub(MAX_COMPLAINT_BYTES);
        end.drain(..surplus);
    }
}

/// For the end of a sentence; escaped, since it is a stranger's text.
fn said(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    match text.trim() {
        "" => String::new(),
        text => format!(": {}", text.escape_debug()),
    }
}

/// The arguments in what was printed, or what it is instead.
fn parse(printed: &[u8]) -> Result<Vec<String>, String> {
    if printed.len() as u64 > MAX_OUTPUT_BYTES {
        return Err(format!("more than {MAX_OUTPUT_BYTES} bytes"));
    }
    let args: Vec<String> = serde_json::from_slice(printed).map_err(|error| match printed {
        [] => "nothing".to_owned(),
        _ => format!("something else ({error})"),
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
            return Ok(newest);
        }
        let number = newest + 1;
        let path = self.path(number);
        self.write(&path, args).map_err(|source| RevisionError { doing: "write", path, source })?;
        Ok(number)
    }

    fn write(&self, path: &Path, args: &[String]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let new = self.folder.join(".new");
        // Left by a crash; it never had a number.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().write(true).create_new(true).mode(0o400).open(&new)?;
        let mut text = serde_json::to_vec_pretty(args)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()?;
        // A link, unlike a rename, never takes another file's place.
        fs::hard_link(&new, path)?;
        fs::remove_file(&new)?;
        sync_folder(&self.folder)
    }
}

#[cfg(test)]
mod tests;
