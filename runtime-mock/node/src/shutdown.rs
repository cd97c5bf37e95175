//! When the chain ends: on SIGTERM, on SIGINT, and with its parent if it was asked to.
//!
//! The parent is watched through a pidfd and not by `PR_SET_PDEATHSIG`: that signal comes when the
//! *thread* ends that started this process, and test harnesses start processes from threads that come
//! and go.

use std::{io, process, thread, time::Duration};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{PidfdFlags, getppid, pidfd_open},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// How long the end may take once the parent is gone. Ten times what it takes, for loaded machines;
/// after that nobody is left who could end this process, so it ends itself.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// Everything that ends the chain.
#[derive(Debug)]
pub(crate) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
    /// Answers when the parent has ended; `None` when nobody watches it.
    parent: Option<oneshot::Receiver<()>>,
}

impl Shutdown {
    /// Starts listening. From here on signals no longer kill the process.
    pub(crate) fn listen(with_parent: bool) -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
        let parent = with_parent
            .then(watch_parent)
            .transpose()
            .context("--die-with-parent: can't watch the parent process")?;
        Ok(Self { terminate, interrupt, parent })
    }

    /// Waits until one of the sources wants the end.
    pub(crate) async fn requested(mut self) {
        let why = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = ended(self.parent) => "the parent process ended",
        };
        tracing::info!("ending: {why}");
    }
}

async fn ended(parent: Option<oneshot::Receiver<()>>) {
    match parent {
        // An error means that the watching thread is gone, which it only is after the parent.
        Some(parent) => drop(parent.await.is_ok()),
        None => std::future::pending().await,
    }
}

/// Watches the parent process from a thread of its own, so that it also ends a process whose workers
/// hang.
fn watch_parent() -> io::Result<oneshot::Receiver<()>> {
    let no_parent = || io::Error::other("there is none in this pid namespace");
    let parent = getppid().ok_or_else(no_parent)?;
    let pidfd = pidfd_open(parent, PidfdFlags::empty())?;
    // Had it ended in between, its pid could be somebody else's by now, and we somebody else's child.
    if getppid() != Some(parent) {
        return Err(io::Error::other("it ended already"));
    }
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("parent-watch".into()).spawn(move || {
        while let Err(error) = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None) {
            if error != rustix::io::Errno::INTR {
                tracing::error!("can't watch the parent process any more: {error}");
                break;
            }
        }
        // The receiver is gone when the process ends anyway.
        let _ = tell.send(());
        thread::sleep(ORPHAN_GRACE);
        process::exit(1);
    })?;
    Ok(told)
}
