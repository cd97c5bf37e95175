//! System calls that fail or take long, of real processes on real files: a disk that answers with an error, or late.
//!
//! `strace` gets between a process and the kernel, which it tells to let calls fail or wait that have to do with certain files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    child::{Child, Signal},
    command, wait,
};

/// What fails, and how.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The system calls, separated by commas.
    pub calls: &'static str,
    /// The error's name, such as `EIO`.
    pub error: &'static str,
    /// On which files.
    pub paths: Vec<PathBuf>,
}

impl Fault {
    fn options(&self, trace: &Path) -> Command {
        let Self { calls, error, paths } = self;
        tracer(calls, &format!("error={error}"), paths, trace)
    }

    /// A command of which these calls fail, and of all that it starts.
    pub fn in_command(&self, command: &Command, trace: &Path) -> Command {
        traced(self.options(trace), command)
    }
}

/// A command that has to wait for so long whenever it opens this file, and so has all that it starts.
pub fn with_slow_opening(command: &Command, path: &Path, by: Duration, trace: &Path) -> Command {
    let delay = format!("delay_enter={}", by.as_micros());
    traced(tracer("openat", &delay, &[path.to_owned()], trace), command)
}

fn tracer(calls: &str, what: &str, paths: &[PathBuf], trace: &Path) -> Command {
    let mut tracer = command::without_configuration(Command::new("strace"));
    tracer.args(["-f", "-qq", "-e", "signal=none", "-e"]).arg(format!("trace={calls}"));
    tracer.arg("-e").arg(format!("inject={calls}:{what}")).arg("-o").arg(trace);
    for path in paths {
        tracer.arg("-P").arg(path);
    }
    tracer
}

fn traced(mut tracer: Command, command: &Command) -> Command {
    tracer.arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => tracer.env(name, value),
            None => tracer.env_remove(name),
        };
    }
    tracer
}

/// Calls that fail as long as this lives.
#[derive(Debug)]
pub struct Tampering {
    tracer: Child,
    trace: PathBuf,
}

impl Tampering {
    /// Has calls fail of a process that runs, from now on, and of all that it starts. What the tracer says goes into the
    /// folder.
    pub async fn begin(pid: u32, fault: &Fault, folder: &Path) -> Self {
        let trace = folder.join("tampering.trace");
        // Appended to by none: a trace of its own for each.
        let _ = fs::remove_file(&trace);
        let tracer = attach(pid, fault.options(&trace), folder).await;
        Self { tracer, trace }
    }

    /// How many calls have failed so far.
    pub fn failed(&self) -> usize {
        fs::read_to_string(&self.trace).unwrap_or_default().matches("(INJECTED)").count()
    }

    /// Has them go well again; whoever was traced runs on.
    pub async fn end(mut self) {
        self.tracer.signal(Signal::INT);
        self.tracer.end().await;
    }
}

/// A process that stands still as long as this lives, whatever signal it gets, as behind a disk that does not answer.
#[derive(Debug)]
pub struct StandingStill(Child);

impl StandingStill {
    /// Of a process that waits with `poll` and then reads: the next of these takes longer than any test.
    pub async fn begin(pid: u32, folder: &Path) -> Self {
        let command =
            tracer("read,poll,ppoll", "delay_enter=3600000000", &[], &folder.join("standing.trace"));
        Self(attach(pid, command, folder).await)
    }

    /// It goes on where it stood.
    pub async fn end(mut self) {
        // Asked to end, the tracer would see its delay through; and the call itself was left as it is.
        self.0.signal(Signal::KILL);
        self.0.end().await;
    }
}

/// Attaches to a process, with all of its threads.
async fn attach(pid: u32, mut command: Command, folder: &Path) -> Child {
    command.arg("-p").arg(pid.to_string());
    let tracer = Child::spawn("strace", command, folder);
    wait::until("the tracer to hold every thread", async || {
        let traced = format!("TracerPid:\t{}\n", tracer.pid());
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
        let statuses = tasks.flatten().map(|task| fs::read_to_string(task.path().join("status")));
        match statuses.flatten().all(|status| status.contains(&traced)) {
            true => Ok(()),
            false => Err(tracer.stderr()),
        }
    })
    .await;
    tracer
}
