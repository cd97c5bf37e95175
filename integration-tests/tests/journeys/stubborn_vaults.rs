//! T03, T24, T29: vaults that do not end when they are told to, and one that prints without an end.

use std::fs;

use integration_tests::{
    child::Signal,
    journey::Journey,
    ledger,
    operator::{self, VAULT},
    orders::Order,
    wait,
};
use serde_json::json;

#[tokio::test]
async fn t03_a_vault_that_ignores_its_signal_is_killed_after_the_grace_and_gone_before_the_next_starts() {
    const GRACE_SECS: u64 = 2;
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    operator.configure(|config| config["vaults"][VAULT]["stop"]["grace_secs"] = json!(GRACE_SECS));
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;

    operator.orders().give(Order::BeDeaf, "1.0.0");
    let second = journey.release("2.0.0").await;
    let lives = operator.lives_where("the stop signal", |lives| !lives[0].signals.is_empty()).await;
    let told_ns = lives[0].to_ns;
    let after = operator.running(&second).await;

    assert!(!operator::is_alive(before.pid));
    let lives = operator.lives();
    assert_eq!(ledger::never_two(&lives), Ok(()));
    let [old, new] = &lives[..] else { panic!("{lives:#?}") };
    assert_eq!((old.pid, new.pid), (before.pid, after.pid));
    assert_eq!((&old.signals[..], old.ended), (&["SIGINT".to_owned()][..], false), "told once, then killed");
    // It may have been told up to a beat before it was seen to be.
    let lived_on_ms = (old.to_ns - told_ns) / 1_000_000;
    assert!(lived_on_ms + 500 >= GRACE_SECS * 1000, "killed {lived_on_ms} ms after it was told");
    assert!(operator.vault().await.rejected.is_empty());
}

#[tokio::test]
async fn t24_signals_without_end_during_a_switch_are_one_clean_shutdown() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;

    operator.orders().give(Order::BeDeaf, "1.0.0");
    let second = journey.release("2.0.0").await;
    operator.lives_where("the stop signal", |lives| !lives[0].signals.is_empty()).await;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::TERM, Signal::QUIT, Signal::INT] {
        daemon.signal(signal);
    }
    wait::until("the shutdown to be begun", async || match daemon.stderr() {
        log if log.contains("stopping the vaults") => Ok(()),
        log => Err(log),
    })
    .await;
    // Within its grace, and by itself at last.
    assert!(operator::is_alive(before.pid));
    operator.orders().give(Order::Exit, "1.0.0");
    assert_eq!(daemon.end().await.code(), Some(0));

    assert!(!operator::is_alive(before.pid));
    wait::until("no process to be left", async || match operator.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    })
    .await;
    let lives = operator.lives();
    assert_eq!((lives.len(), lives[0].ended), (1, true), "nothing was started, nothing killed: {lives:#?}");

    let _daemon = operator.run();
    operator.running(&second).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn t29_what_a_vault_prints_without_end_is_bounded_on_disk_and_never_blocks_it() {
    const LOG_BYTES: u64 = 1 << 20;
    const KEPT: usize = 2;
    /// A line is not cut in two before it has doubled the file.
    const MOST_BYTES: u64 = 2 * LOG_BYTES;
    const PRINTED_BYTES: u64 = 1 << 29;
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    operator.configure(|config| {
        config["vaults"][VAULT]["log_max_bytes"] = json!(LOG_BYTES);
        config["vaults"][VAULT]["log_keep"] = json!(KEPT);
    });
    let release = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&release).await;

    let sizes = || -> Vec<(String, u64)> {
        let entries = fs::read_dir(operator.log_folder()).expect("it is there").flatten();
        let size = |entry: fs::DirEntry| {
            // One that was rotated away meanwhile has no size.
            let length = entry.metadata().map(|metadata| metadata.len()).unwrap_or_default();
            (entry.file_name().to_string_lossy().into_owned(), length)
        };
        entries.map(size).collect()
    };
    operator.orders().give(Order::Chatter, "1.0.0");
    let printed = || -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", before.pid)).expect("it lives");
        let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        written.and_then(|number| number.parse().ok()).expect("the kernel counts what is written")
    };
    wait::until("far more to be printed than may be kept", async || {
        let sizes = sizes();
        // Names and sizes are not looked at in one instant: not their sum, but each of them is bounded.
        let names = ["vault.log", "vault.log.1", "vault.log.2"];
        let is_bounded = |(name, size): &(String, u64)| names.contains(&&name[..]) && *size <= MOST_BYTES;
        assert!(names.len() == KEPT + 1 && sizes.iter().all(is_bounded), "{sizes:?}");
        match printed() {
            enough if enough >= PRINTED_BYTES => Ok(()),
            little => Err(format!("{little} bytes printed, {sizes:?}")),
        }
    })
    .await;
    operator.orders().take_back(Order::Chatter, "1.0.0");

    // Meanwhile it was read fast enough that its other work went on, and Vaultvisor's too.
    assert_eq!(operator.running(&release).await, before);
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    let lives = operator.lives();
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!((&lives[0].signals[..], lives[0].ended), (&["SIGINT".to_owned()][..], true));
}
