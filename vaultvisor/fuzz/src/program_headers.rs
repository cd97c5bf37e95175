//! A release's binary, whose headers are looked at before anything is stopped for it.

use vaultvisor::artifact::executable::{self, ExecutableError};

use super::{home::Home, is_refused};

/// It is one that this machine can execute, or is refused as the release's own fault.
pub fn holds(data: &[u8]) {
    thread_local!(static HOME: Home = Home::new());
    HOME.with(|home| {
        home.write("vault", data);
        match executable::check(&home.path().join("vault")) {
            Ok(()) => assert!(data.starts_with(b"\x7fELF") && data.len() >= 64, "no program was taken"),
            // Where the test runs, folders in memory are.
            Err(ExecutableError::NoExec { .. }) => {}
            Err(error) => {
                assert!(error.is_of_the_release(), "{error}");
                is_refused(&error, "");
            }
        }
    });
}
