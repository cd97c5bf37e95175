//! `vaultvisor run`

use std::path::PathBuf;

use super::{Exit, Failure, Global};
use crate::{
    config,
    daemon::{self, RunError, home::HomeError},
};

/// Reads the configuration that the options name.
pub(super) fn settings(global: &Global) -> Result<config::Settings, Failure> {
    let path = config::locate(global.config.as_deref()).map_err(Exit::Usage.failure())?;
    config::load(&path, &config::Overrides::from_environment()).map_err(Exit::Usage.failure())
}

/// Reads from the configuration where its vaultvisor lives: all that is needed to speak to that one, which may be needed
/// most while the file is being edited and wrong.
pub(super) fn home(global: &Global) -> Result<PathBuf, Failure> {
    let path = config::locate(global.config.as_deref()).map_err(Exit::Usage.failure())?;
    config::home(&path, &config::Overrides::from_environment()).map_err(Exit::Usage.failure())
}

/// Supervises until a signal says to end.
pub async fn run(global: &Global) -> Result<(), Failure> {
    // The file of the start is read again on SIGHUP, even if one at a place that goes before it has appeared.
    let path = config::locate(global.config.as_deref()).map_err(Exit::Usage.failure())?;
    let path = std::path::absolute(path)?;
    let overrides = config::Overrides::from_environment();
    let read = || config::load(&path, &overrides);
    let settings = read().map_err(Exit::Usage.failure())?;
    daemon::run(settings, read).await.map_err(|error| {
        let exit = match &error {
            RunError::Home(HomeError::InUse { .. }) | RunError::AllBlocked { locks_are_held: true, .. } => {
                Exit::LockHeld
            }
            RunError::AllBlocked { locks_are_held: false, .. } | RunError::LeftBehind { .. } => {
                Exit::NotProvablyGone
            }
            RunError::Home(HomeError::Unsafe { .. }) | RunError::LockFolder(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        exit.failure()(error)
    })
}
