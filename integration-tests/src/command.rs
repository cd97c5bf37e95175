//! A command that is run to its end: its exit code and what it printed.

use std::{
    ffi::OsStr,
    process::{Command, Stdio},
};

use serde::de::DeserializeOwned;

use crate::binaries;

/// What a finished command left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line, for messages.
    pub line: String,
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

/// Runs `vaultvisor` with these arguments, with nothing in the environment that would configure it.
pub async fn vaultvisor<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    let mut command = vaultvisor_command();
    command.args(args);
    run(command).await
}

/// `vaultvisor` without arguments, with nothing in the environment that would configure it.
pub fn vaultvisor_command() -> Command {
    without_configuration(Command::new(binaries::path("vaultvisor")))
}

/// A command with nothing in its environment that would configure Vaultvisor.
pub fn without_configuration(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("VAULTVISOR_")) {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// Runs a command to its end. The command itself must bound its time.
pub async fn run(mut command: Command) -> Finished {
    let line = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output())
        .await
        .expect("running a command does not panic")
        .unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
    Finished {
        line,
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("what we print is UTF-8"),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Finished {
    /// Itself, if it exited with this code.
    ///
    /// # Panics
    /// If it did not, with all that it printed.
    pub fn exited(self, code: i32) -> Self {
        let Self { line, code: found, stdout, stderr } = &self;
        assert_eq!(
            *found,
            Some(code),
            "exit code (left) is not the expected one (right): {line}\n{stdout}\n{stderr}"
        );
        self
    }

    /// Its stdout, read as JSON.
    ///
    /// # Panics
    /// If it is none of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{} printed no such JSON: {error}\n{}", self.line, self.stdout))
    }
}
