//! A vault for tests: writes its life into a [ledger](integration_tests::ledger) and ends on SIGINT.
//!
//! `test-vault --ledger FILE [--orders FOLDER] [--quiet] [anything else]`: does what the
//! [orders](integration_tests::orders) say; `--quiet` is a vault that writes its start and its end only, for hundreds of
//! them at a time; takes all other arguments, writes them down and ignores them. `test-vault --version` answers and ends.

use std::{
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use integration_tests::{
    ledger::{Event, Writer},
    orders::{Order, Orders},
    releases,
};
use tokio::signal::unix::{SignalKind, signal};

/// Seldom enough to cost nothing, often enough to see a vault that lives on after its end was claimed.
const BEAT: Duration = Duration::from_millis(20);

/// Of a quiet one: hardly ever.
const SELDOM: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value_of = |name| args.iter().skip_while(|arg| *arg != name).nth(1).map(PathBuf::from);
    let (ledger, orders) = (value_of("--ledger"), value_of("--orders").map(Orders::new));
    let is_quiet = args.iter().any(|arg| arg == "--quiet");
    if args == ["--version"] {
        println!("test-vault {}", releases::version_of_this_program().as_deref().unwrap_or("unreleased"));
        return Ok(ExitCode::SUCCESS);
    }
    let Some(ledger) = ledger else {
        println!("usage: test-vault --ledger FILE [--orders FOLDER] [--quiet] [anything else]");
        return Ok(ExitCode::from(2));
    };
    // Before the start is written: who reads it may send a signal at once.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let release = releases::version_of_this_program();
    println!("test-vault {} started as {}", release.as_deref().unwrap_or("unreleased"), std::process::id());
    let mut ledger = Writer::start(&ledger, release.clone(), args)?;
    let is_told = |order| {
        let (orders, release) = (orders.as_ref()?, release.as_deref()?);
        orders.given(order, release).then_some(())
    };
    if is_told(Order::Refuse).is_some() {
        println!("refuses to run");
        ledger.write(Event::End)?;
        return Ok(ExitCode::FAILURE);
    }
    let chattering = Arc::new(AtomicBool::new(false));
    let mut beat = tokio::time::interval(if is_quiet { SELDOM } else { BEAT });
    loop {
        let received = tokio::select! {
            _ = beat.tick() => {
                ledger.write(Event::Beat)?;
                if is_told(Order::Exit).is_some() {
                    println!("exits by itself");
                    ledger.write(Event::End)?;
                    return Ok(ExitCode::FAILURE);
                }
                if is_told(Order::Chatter).is_none() {
                    chattering.store(false, Ordering::Relaxed);
                } else if !chattering.swap(true, Ordering::Relaxed) {
                    chatter(chattering.clone());
                }
                continue;
            }
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        ledger.write(Event::Signal(received.to_owned()))?;
        if is_told(Order::BeDeaf).is_none() {
            println!("test-vault ends by {received}");
            ledger.write(Event::End)?;
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Prints without an end, and without an end of a line, as fast as somebody reads it.
fn chatter(goes_on: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let words = [b'x'; 1 << 16];
        while goes_on.load(Ordering::Relaxed) {
            // Nobody reads it: then a real vault would not notice either.
            let _ = std::io::stdout().write_all(&words);
        }
    });
}
