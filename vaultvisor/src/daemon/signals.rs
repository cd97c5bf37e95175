//! The signals of `vaultvisor run`.

use std::io;

use tokio::signal::unix::{Signal as Receiver, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM, SIGINT: stop the vaults, within their graces, and end.
    Stop,
    /// SIGQUIT: end, and leave the vaults running; for an upgrade of vaultvisor itself.
    Leave,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// All that are handled, for as long as this lives: a further one never kills us in the middle of something.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Receiver,
    interrupt: Receiver,
    quit: Receiver,
    hangup: Receiver,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.quit.recv() => Signal::Leave,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}
