//! The keeper's own small binary: see [`vaultvisor::process::keeper`].

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use vaultvisor::process::{keeper, protocol::Spec};

fn main() -> ExitCode {
    match keeper::run(Spec::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The reports are gone or never came: standard error is vaultvisor's own log.
            let _ = writeln!(io::stderr(), "vaultvisor-keeper: {error}");
            ExitCode::FAILURE
        }
    }
}
