//! A chain that was reset: another one at the same address, until the operator says that it is meant to be.

use std::fs;

use integration_tests::{child::Signal, dev_chain::DevChain, journey::Journey, ledger, operator::NETWORK};

#[tokio::test]
async fn a_chain_that_was_reset_is_followed_once_the_operator_has_said_so_and_no_vault_runs() {
    let mut journey = Journey::begin().await;
    journey.release("1.0.0").await;
    let good = journey.release("2.0.0").await;
    let mut daemon = journey.operator.run();
    let pid = journey.operator.running(&good).await.pid;

    // Not below a vaultvisor, and not below a vault that one has left behind.
    let refused = journey.operator.vaultvisor(&["forget-chain", NETWORK]).await.exited(3);
    assert!(refused.stderr.contains(&format!("vaultvisor pid {}", daemon.pid())), "{}", refused.stderr);
    daemon.signal(Signal::QUIT);
    daemon.end().await;
    let refused = journey.operator.vaultvisor(&["forget-chain", NETWORK]).await.exited(3);
    assert!(refused.stderr.contains(&format!("runs there with pid {pid}")), "{}", refused.stderr);
    journey.operator.vaultvisor(&["forget-chain", "mars"]).await.exited(2);
    let files = journey.operator.files();
    let mut daemon = journey.operator.run();
    assert_eq!(journey.operator.running(&good).await.pid, pid, "it was left alone");
    assert!(files.iter().all(|file| file.exists()), "nothing was removed");
    daemon.signal(Signal::TERM);
    daemon.end().await;

    // Reset: another chain under the name, with a lower statement.
    let before = journey.chain.ready().genesis.clone();
    journey.chain = DevChain::start().await;
    journey.operator.set_endpoints(&[journey.chain.url()], 1);
    let release = journey.release("1.1.0").await;
    let mut daemon = journey.operator.run();
    let waiting = journey
        .operator
        .vault_where("the other chain to be refused, and the last known good release to run", |vault| {
            let refused = vault.problem.as_ref().is_some_and(|problem| problem.contains("another chain"));
            refused && vault.running.as_ref().is_some_and(|running| running.checksum == good.checksum)
        })
        .await;
    assert_eq!(waiting.target.map(|target| target.checksum), Some(good.checksum.clone()));
    daemon.signal(Signal::TERM);
    daemon.end().await;

    let done = journey.operator.vaultvisor(&["forget-chain", NETWORK]).await.exited(0);
    assert!(done.stdout.contains(&format!("genesis {before}")), "{}", done.stdout);
    let left = fs::read_dir(journey.operator.home().join("networks")).expect("it stays").count();
    assert_eq!(left, 0);
    let vault = journey.operator.vault().await;
    assert_eq!((vault.target, vault.pending, vault.problem), (None, None, None));
    journey.operator.history_of_all_with("forgotten").await;
    let again = journey.operator.vaultvisor(&["forget-chain", NETWORK]).await.exited(0);
    assert!(again.stdout.contains("nothing is known"), "{}", again.stdout);

    let _daemon = journey.operator.run();
    journey.operator.running(&release).await;
    let vault = journey.operator.vault().await;
    assert_eq!((vault.problem, vault.target.and_then(|target| target.sequence)), (None, Some(1)));
    assert_eq!(ledger::never_two(&journey.operator.lives()), Ok(()));
}
