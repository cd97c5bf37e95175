//! A process in the background that ends with its test, and whose output is shown when the test fails.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Command, ExitStatus, Stdio},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, prlimit};

use crate::{binaries, wait};

/// How much of a log a failure shows: enough for what led to it, little enough to be read.
const SHOWN_LINES: usize = 60;

/// A running process. Dropped: killed and waited for.
#[derive(Debug)]
pub struct Child {
    name: String,
    program: PathBuf,
    process: process::Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Child {
    /// Starts the command without input; its output goes to `<folder>/<name>.out` and `<folder>/<name>.log`.
    pub fn spawn(name: &str, mut command: Command, folder: &Path) -> Self {
        let stdout = folder.join(format!("{name}.out"));
        let stderr = folder.join(format!("{name}.log"));
        // Appended to: a process that is started again under the same name must not hide what the first one said.
        let output = |path| File::options().create(true).append(true).open(path).expect("the folder is ours");
        let program = PathBuf::from(command.get_program());
        let process = command
            .stdin(Stdio::null())
            .stdout(output(&stdout))
            .stderr(output(&stderr))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Self { name: name.to_owned(), program, process, stdout, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it wrote to stdout, and what those before it under this name wrote.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).expect("the file is there since the start")
    }

    /// What it wrote to stderr, and what those before it under this name wrote.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).expect("the file is there since the start")
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("it is our child")
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> ExitStatus {
        let what = format!("the end of {} (pid {})", self.name, self.pid());
        wait::until(&what, async || self.ended().ok_or_else(|| "it runs".to_owned())).await
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has ended already.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal)
            .unwrap_or_else(|error| panic!("cannot send {signal:?} to {}: {error}", self.name));
    }

    /// The most memory that it has used at once, in bytes, since its start or since that was last forgotten.
    pub fn memory_peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).expect("Linux says so") * 1024
    }

    /// Has the most memory be counted from now on (proc(5), `clear_refs`).
    pub fn forget_memory_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("it is our child");
    }

    /// Gives its files numbers below this one only, from now on; answers the limit before. Those that are open stay.
    pub fn limit_files(&self, limit: Option<u64>) -> Option<u64> {
        let pid = Pid::from_child(&self.process);
        // The hard limit is inherited from us, and only root's own capability could raise it again.
        let maximum = getrlimit(Resource::Nofile).maximum;
        let before = prlimit(Some(pid), Resource::Nofile, Rlimit { current: limit, maximum });
        before.expect("it is our child").current
    }

    fn report(&self) {
        if let Some(note) = binaries::staleness(&self.program) {
            println!("note: {note}");
        }
        show(&self.name, &self.stderr);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what they are for.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            self.report();
        }
    }
}

/// Prints the end of a log, for a test that fails.
pub fn show(name: &str, log: &Path) {
    let text = fs::read(log).unwrap_or_else(|error| format!("cannot read {}: {error}", log.display()).into());
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    println!("---- {name}: the last of {} lines", lines.len());
    for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
        println!("{line}");
    }
}
