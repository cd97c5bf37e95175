//! The first release on a machine, and the end of Vaultvisor.

use integration_tests::{
    child::Signal,
    journey::{Journey, Source},
    ledger, operator, wait,
};

integration_tests::through! {
    a_fresh_start_runs_the_stated_release_with_the_configured_arguments: Node, OldNode, LightClient;
    a_second_start_goes_on_with_the_same_release: Node, OldNode, LightClient;
    without_a_release_it_waits_and_says_so: Node, OldNode, LightClient;
}

async fn a_fresh_start_runs_the_stated_release_with_the_configured_arguments(source: Source) {
    let journey = Journey::through(source).await;
    let release = journey.release("1.0.0").await;
    let operator = &journey.operator;
    let ledger_path = operator.ledger_path();
    // What shells, formats and naive splitting would change.
    let odd = ["--keyname", "two words", "", "ünïcode", "--", "$HOME", "{version}", "a\nb", "'\"\\"];
    let args: Vec<&str> = ["--ledger", ledger_path.to_str().expect("UTF-8")].into_iter().chain(odd).collect();
    operator.set_vault_args(&args);

    let daemon = operator.run();
    let running = operator.running(&release).await;

    assert_eq!(running.version, "1.0.0");
    assert_eq!(running.restarts, 0);
    let status = operator.status().await;
    assert_eq!(status.pid, Some(daemon.pid()));
    let vault = &status.vaults[0];
    assert_eq!((vault.name.as_str(), vault.network.as_str()), (operator::VAULT, operator::NETWORK));
    let target = vault.target.as_ref().expect("the chain has stated one");
    assert_eq!(
        (target.version.as_str(), &target.checksum, target.sequence),
        ("1.0.0", &release.checksum, Some(1))
    );
    assert_eq!(vault.problem, None);
    assert_eq!(operator.stored(), [release.checksum.as_str()]);

    let lives = operator.lives();
    assert_eq!(lives.len(), 1, "{lives:#?}");
    assert_eq!((lives[0].pid, lives[0].release.as_deref()), (running.pid, Some("1.0.0")));
    assert_eq!(lives[0].args, args);
}

#[tokio::test]
async fn what_the_vault_prints_is_kept() {
    let journey = Journey::begin().await;
    let release = journey.release("1.0.0").await;
    let _daemon = journey.operator.run();
    let running = journey.operator.running(&release).await;
    let expected = format!("test-vault 1.0.0 started as {}\n", running.pid);
    wait::until("the vault's words in vault.log", async || {
        let kept = journey.operator.vault_output();
        if kept.contains(&expected) { Ok(()) } else { Err(kept) }
    })
    .await;
}

#[tokio::test]
async fn sigterm_ends_vaultvisor_and_its_vault_cleanly() {
    ends_cleanly_on(Signal::TERM).await;
}

#[tokio::test]
async fn sigint_ends_vaultvisor_and_its_vault_cleanly() {
    ends_cleanly_on(Signal::INT).await;
}

async fn ends_cleanly_on(signal: Signal) {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let running = operator.running(&release).await;

    daemon.signal(signal);
    let status = daemon.end().await;

    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!operator::is_alive(running.pid), "the vault outlived vaultvisor");
    let lives = operator.lives();
    assert_eq!(lives.len(), 1, "{lives:#?}");
    assert_eq!(lives[0].signals, ["SIGINT"]);
    assert!(lives[0].ended, "the vault was not left the time to end: {lives:#?}");
    wait::until("the keeper's end", async || match operator.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    })
    .await;

    let after = operator.status().await;
    assert_eq!(after.pid, None);
    assert_eq!(after.vaults[0].running, None);
    assert_eq!(operator.stored(), [release.checksum], "the next start needs what is in the store");
}

async fn a_second_start_goes_on_with_the_same_release(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut first = operator.run();
    operator.running(&release).await;
    first.signal(Signal::TERM);
    first.end().await;

    let _second = operator.run();
    let lives = operator.lives_where("a second life", |lives| lives.len() == 2).await;
    operator.running(&release).await;

    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!(journey.server.served("1.0.0").len(), 1, "what is in the store is not downloaded again");
}

async fn without_a_release_it_waits_and_says_so(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let _daemon = operator.run();
    let vault = operator.vault_where("a vault that waits", |vault| vault.state == "waiting").await;
    assert!(!vault.why.is_empty(), "nobody knows what it waits for");
    assert_eq!((vault.running, vault.target), (None, None));

    let release = journey.release("1.0.0").await;
    operator.running(&release).await;
}
