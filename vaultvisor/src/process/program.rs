//! A release's program that is run to its end: without a shell, with a clean environment, in a process group of its own,
//! for a bounded time and with a bounded output.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::{PASSED_ON, descriptors::as_given, raw};

/// What a program printed is in its pipes when it has ended, and is read within milliseconds. Only what it left running
/// outside its group, which holds the pipes open, could make it longer.
const REST_LIMIT: Duration = Duration::from_secs(1);
/// Enough of its complaints to see what is wrong; the rest is read and forgotten.
const MAX_COMPLAINT_BYTES: usize = 4096;

/// How much a program may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What is kept of its standard output, in bytes; one more is read, and a program that goes on is cut off.
    pub output_bytes: u64,
    /// Until when it is killed.
    pub time: Duration,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// What it printed.
    pub printed: Vec<u8>,
    /// What it complained about, after a colon and escaped; empty if about nothing.
    pub said: String,
}

/// Why a program did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be executed.
    #[error("{} cannot be executed", path.display())]
    Execute {
        /// The program.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It did not end.
    #[error("it did not end within {} s and was killed{said}", limit.as_secs())]
    TimedOut {
        /// How long it had.
        limit: Duration,
        /// What it complained about, after a colon.
        said: String,
    },
    /// The system failed, not the program.
    #[error("cannot run it")]
    System(#[from] io::Error),
}

impl ProgramError {
    /// Whether the release is to blame, and not this machine.
    pub fn is_of_the_release(&self) -> bool {
        match self {
            Self::System(_) => false,
            Self::Execute { source, .. } => is_of_the_program(source),
            Self::TimedOut { .. } => true,
        }
    }
}

/// Whether an execution failed by the program. Too many processes or files, say, pass; a program that is none does not.
pub(super) fn is_of_the_program(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOEXEC | libc::ENOENT | libc::EACCES | libc::ELIBBAD | libc::EINVAL)
    )
}

/// Ends the program and what it started in its process group, however this is left.
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

/// Runs a program with this on its standard input. To be called in the runtime, whose threads last as long as the process:
/// the program is killed with the one that starts it, so that none hangs for ever behind a vaultvisor that was killed.
pub async fn run(
    program: &Path,
    args: &[impl AsRef<OsStr>],
    input: &[u8],
    bounds: Bounds,
) -> Result<Finished, ProgramError> {
    let passed_on = PASSED_ON.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let mut command = Command::new(program);
    raw::end_with_us(as_given(&mut command));
    let child = command
        .args(args)
        .env_clear()
        .envs(passed_on)
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ProgramError::Execute { path: program.to_owned(), source })?;
    let mut group = Group(child);
    let child = &mut group.0;
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let pid = child.id();
    let mut complaint = Vec::new();
    let mut printed = Vec::new();
    let talk = async {
        let tell = async {
            if let Some(mut stdin) = stdin.take() {
                // It need not read what it does not want to know.
                let _ = stdin.write_all(input).await;
            }
        };
        let hear = keep_the_beginning(stdout, bounds.output_bytes + 1, &mut printed);
        let (heard, _, ()) = tokio::join!(hear, keep_the_end(stderr, &mut complaint), tell);
        heard
    };
    let run = async {
        let (mut talk, mut end) = (pin!(talk), pin!(has_ended(pid)));
        tokio::select! {
            heard = &mut talk => {
                heard?;
                end.await
            }
            ended = &mut end => {
                ended?;
                // What it left running holds its pipes open, and says nothing for it any more.
                group.kill();
                tokio::time::timeout(REST_LIMIT, talk).await.unwrap_or(Ok(()))
            }
        }
    };
    let outcome = tokio::time::timeout(bounds.time, run).await;
    // What it left running goes with it.
    group.kill();
    let status = group.0.wait().await?;
    let said = said(&complaint);
    match outcome {
        Err(_) => Err(ProgramError::TimedOut { limit: bounds.time, said }),
        Ok(outcome) => {
            outcome?;
            Ok(Finished { status, printed, said })
        }
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

/// Reads so much at most.
async fn keep_the_beginning(
    from: Option<impl AsyncRead + Unpin>,
    most: u64,
    beginning: &mut Vec<u8>,
) -> io::Result<()> {
    let Some(from) = from else { return Ok(()) };
    let mut from = from.take(most);
    let mut buffer = [0; MAX_COMPLAINT_BYTES];
    loop {
        // Each piece is kept at once: this may be given up at any of them.
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            count => beginning.extend_from_slice(&buffer[..count]),
        }
    }
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
pub fn said(text: &[u8]) -> String {
    match String::from_utf8_lossy(text).trim() {
        "" => String::new(),
        text => format!(": {}", text.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessId;

    const BOUNDS: Bounds = Bounds { output_bytes: 1000, time: Duration::from_secs(20) };

    async fn shell(script: &str) -> Finished {
        run("/bin/sh".as_ref(), &["-c", script], b"", BOUNDS).await.expect("it ends")
    }

    fn process(printed: &[u8]) -> ProcessId {
        let pid = String::from_utf8_lossy(printed).trim().parse().expect("a pid");
        ProcessId::of(pid).expect("it is there")
    }

    #[tokio::test]
    async fn a_program_has_ended_when_it_has_whatever_it_left_running_with_its_output() {
        let folder = tempfile::tempdir().expect("folder");
        let there = folder.path().join("there");
        let there = there.display();
        // It ends when the other one has left its group.
        let other = format!("echo $$; echo >{there}; exec sleep 1000");
        let script = format!("setsid sh -c '{other}' & while ! [ -e {there} ]; do :; done; echo why >&2");
        let Finished { status, printed, said } = shell(&script).await;
        let left = process(&printed);
        left.open().expect("seen").expect("outside its group").signal(Signal::KILL);
        assert!(status.success());
        assert_eq!(said, ": why");
    }

    #[tokio::test]
    async fn what_a_program_left_running_in_its_group_is_ended_with_it() {
        let Finished { status, printed, .. } = shell("sleep 1000 & echo $!").await;
        assert!(status.success());
        let pid: u32 = String::from_utf8_lossy(&printed).trim().parse().expect("a pid");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while ProcessId::of(pid).is_some_and(|left| !left.has_ended().expect("seen")) {
            assert!(std::time::Instant::now() < deadline, "it lives");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
