//! The keeper's own small binary: see [`vaultvisor::process::keeper`].

use std::{
    io::{self, Write},
    os::fd::AsFd,
    process::ExitCode,
};

use clap::Parser;
use vaultvisor::process::{keeper, protocol::Spec};

fn main() -> ExitCode {
    let spec = Spec::parse();
    let socket = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => socket,
        Err(error) => return failed(&error),
    };
    keeper::run(spec, socket).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &io::Error) -> ExitCode {
    // The reports are gone or never came: standard error is vaultvisor's own log.
    let _ = writeln!(io::stderr(), "vaultvisor-keeper: {error}");
    ExitCode::FAILURE
}
