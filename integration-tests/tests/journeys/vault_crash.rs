//! The vault ends without being told to.

use integration_tests::{
    child::Signal,
    journey::{Journey, Source},
    ledger, operator,
};
use rustix::process::{Pid, kill_process};

integration_tests::through! {
    a_killed_vault_is_started_again: Node, OldNode, LightClient;
}

async fn a_killed_vault_is_started_again(source: Source) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&release).await;

    let pid = i32::try_from(before.pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::KILL).expect("it runs");
    let lives = operator.lives_where("a second life", |lives| lives.len() == 2).await;
    let vault = operator
        .vault_where("the status of the second life", |vault| {
            vault.running.as_ref().is_some_and(|running| running.pid == lives[1].pid)
        })
        .await;

    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!((lives[0].pid, lives[0].ended), (before.pid, false));
    assert_eq!(lives[0].args, lives[1].args);
    assert!(operator::is_alive(lives[1].pid));
    let running = vault.running.expect("that is what was waited for");
    assert_eq!((running.checksum.as_str(), running.restarts), (release.checksum.as_str(), 1));
    assert_eq!(operator.status().await.pid, Some(daemon.pid()));
    assert_eq!(journey.server.served("1.0.0").len(), 1, "a restart downloads nothing");
}
