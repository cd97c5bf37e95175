//! A vault for tests: writes its life into a [ledger](integration_tests::ledger) and ends on SIGINT.
//!
//! `test-vault --ledger FILE [anything else]`: takes all other arguments, writes them down and ignores them.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use integration_tests::{
    ledger::{Event, Writer},
    releases,
};
use tokio::signal::unix::{SignalKind, signal};

/// Seldom enough to cost nothing, often enough to see a vault that lives on after its end was claimed.
const BEAT: Duration = Duration::from_millis(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let ledger = args.iter().skip_while(|arg| *arg != "--ledger").nth(1).map(PathBuf::from);
    let Some(ledger) = ledger else {
        println!("usage: test-vault --ledger FILE [anything else]");
        return Ok(ExitCode::from(2));
    };
    // Before the start is written: who reads it may send a signal at once.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let release = releases::version_of_this_program();
    println!("test-vault {} started as {}", release.as_deref().unwrap_or("unreleased"), std::process::id());
    let mut ledger = Writer::start(&ledger, release, args)?;
    let mut beat = tokio::time::interval(BEAT);
    let received = loop {
        tokio::select! {
            _ = beat.tick() => ledger.write(Event::Beat)?,
            _ = interrupt.recv() => break "SIGINT",
            _ = terminate.recv() => break "SIGTERM",
        }
    };
    ledger.write(Event::Signal(received.to_owned()))?;
    println!("test-vault ends by {received}");
    ledger.write(Event::End)?;
    Ok(ExitCode::SUCCESS)
}
