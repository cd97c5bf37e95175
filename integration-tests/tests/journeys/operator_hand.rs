//! The operator's hand, beside the chain's word: hold, resume, override, restart, history, SIGHUP.

use std::fs;

use integration_tests::{
    child::Signal,
    journey::Journey,
    ledger,
    operator::{self, VAULT},
    releases::Release,
    wait,
};

#[tokio::test]
async fn a_held_vault_follows_no_release_until_it_is_resumed() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;

    operator.vaultvisor(&["hold", VAULT, "--reason", "an audit"]).await.exited(0);
    let held = operator.vault_where("the hold", |vault| vault.state == "held").await;
    assert_eq!(held.hold.and_then(|hold| hold.reason).as_deref(), Some("an audit"));
    let second = journey.release("2.0.0").await;
    operator
        .vault_where("the new statement to be seen", |vault| {
            vault.target.as_ref().is_some_and(|target| target.checksum == second.checksum)
        })
        .await;

    // It is no matter of one vaultvisor's memory.
    daemon.signal(Signal::QUIT);
    assert_eq!(daemon.end().await.code(), Some(0));
    let daemon = operator.run();
    operator::has_seen(&daemon, journey.chain.finalized_number().await + 2).await;
    let still = operator.vault().await;
    assert_eq!(still.state, "held");
    assert_eq!(
        still.running.map(|running| running.pid),
        Some(before.pid),
        "a hold changes nothing that runs"
    );
    assert_eq!(operator.lives().len(), 1);

    operator.vaultvisor(&["resume", VAULT]).await.exited(0);
    operator.running(&second).await;
    assert_eq!(operator.vault().await.hold, None);
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
    operator.history_with(&["stated", "held", "adopted", "resumed", "switching", "kept"]).await;
}

#[tokio::test]
async fn an_override_runs_until_the_chains_next_statement_and_a_restart_is_no_crash() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;

    let own = Release::of_test_vault("of-our-own");
    let file = operator.data().join("vault-of-our-own");
    fs::write(&file, &own.program).expect("the folder is ours");
    operator.vaultvisor(&["override", VAULT, file.to_str().unwrap()]).await.exited(0);
    let is_own = |vault: &integration_tests::status::VaultStatus| {
        vault.state == "running"
            && vault.running.as_ref().is_some_and(|running| running.checksum == own.checksum)
    };
    let vault = operator.vault_where("the file to run", is_own).await;
    assert_eq!(vault.chosen.map(|chosen| chosen.checksum).as_ref(), Some(&own.checksum));
    assert_eq!(
        vault.target.map(|target| target.checksum),
        Some(first.checksum),
        "the chain says something else"
    );
    let overridden = vault.running.expect("that is what was waited for");

    operator.vaultvisor(&["restart", VAULT]).await.exited(0);
    let restarted = operator
        .vault_where("another process of the same", |vault| {
            is_own(vault) && vault.running.as_ref().is_some_and(|running| running.pid != overridden.pid)
        })
        .await;
    assert_eq!(restarted.running.as_ref().map(|running| running.restarts), Some(0), "{restarted:#?}");

    let second = journey.release("2.0.0").await;
    let after = operator.running(&second).await;
    let vault = operator.vault().await;
    assert_eq!((vault.chosen, &vault.rejected[..], vault.problem), (None, &[][..], None));
    let lives = operator.lives();
    assert_eq!(ledger::never_two(&lives), Ok(()));
    let pids: Vec<_> = lives.iter().map(|life| life.pid).collect();
    let restarted = restarted.running.expect("that is what was waited for");
    assert_eq!(pids, [before.pid, overridden.pid, restarted.pid, after.pid]);
    assert!(lives[..3].iter().all(|life| life.ended), "{lives:#?}");
}

#[tokio::test]
async fn t28_a_broken_configuration_is_refused_as_a_whole_and_the_old_one_stays() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;
    let good = fs::read(operator.config_path()).expect("it was written");

    for (garbage, said) in [
        (&b"{ \"home\": "[..], &["vaultvisor.json"][..]),
        (br#"{"hoem": 1, "vaults": {"a": {"network": "mars"}}}"#, &["hoem:", "home:", "vaults.a.network:"]),
    ] {
        let logged = daemon.stderr().len();
        fs::write(operator.config_path(), garbage).expect("the folder is ours");
        daemon.signal(Signal::HUP);
        wait::until("every problem to be listed", async || {
            let log = daemon.stderr();
            let news = &log[logged..];
            if said.iter().all(|said| news.contains(said)) { Ok(()) } else { Err(news.to_owned()) }
        })
        .await;
    }
    fs::write(operator.config_path(), good).expect("the folder is ours");
    assert!(operator.status().await.problem.is_some(), "nobody would know");
    assert_eq!(operator.running(&first).await, before);

    // It goes on as before, and takes up what is repaired.
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    operator.reload(&daemon).await;
    assert_eq!(operator.status().await.problem, None);
    let lives = operator.lives();
    assert_eq!((lives.len(), ledger::never_two(&lives)), (2, Ok(())));
}
