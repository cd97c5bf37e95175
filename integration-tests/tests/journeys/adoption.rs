//! T01: a vault outlives its vaultvisor, and the next one takes it over.

use integration_tests::{
    child::{Child, Signal},
    journey::Journey,
    ledger,
    operator::{self, Operator, VAULT},
    orders::Order,
    releases::Release,
    status::{Running, VaultStatus},
    wait,
};
use rustix::process::{Pid, kill_process};
use serde_json::json;

/// Waits until this daemon says that it has taken over the vault with that pid, still the only one that ever lived.
async fn adopts(operator: &Operator, daemon: &Child, release: &Release, pid: u32) {
    let what = format!("pid {pid} to be adopted by vaultvisor {}", daemon.pid());
    wait::until(&what, async || match operator.status().await {
        status if status.pid == Some(daemon.pid()) => {
            let vault = &status.vaults[0];
            let running = vault.running.as_ref().filter(|_| vault.state == "running");
            let is_it = |running: &&Running| {
                running.adopted && running.checksum == release.checksum && running.pid == pid
            };
            running.filter(is_it).map(|_| ()).ok_or_else(|| format!("{vault:#?}"))
        }
        status => Err(format!("{:?}", status.pid)),
    })
    .await;
    assert!(operator::is_alive(pid));
    let lives = operator.lives();
    assert_eq!(lives.len(), 1, "nothing else may have been started: {lives:#?}");
    assert_eq!(lives[0].signals, [""; 0], "nobody may have told it to stop");
}

/// The keeper of the only vault.
fn keeper_of(operator: &Operator) -> u32 {
    let processes = operator.processes();
    let is_keeper =
        |command: &str| command.split(' ').next().is_some_and(|name| name.ends_with("vaultvisor-keeper"));
    let mut keepers = processes.iter().filter(|(_, command)| is_keeper(command));
    let (Some((keeper, _)), None) = (keepers.next(), keepers.next()) else {
        panic!("one vault has one keeper: {processes:#?}")
    };
    *keeper
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::KILL).expect("it runs");
}

#[tokio::test]
async fn t01_a_vault_outlives_vaultvisors_that_are_killed_or_told_to_leave_and_is_adopted() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&release).await;
    assert!(!before.adopted);

    for signal in [Signal::KILL, Signal::QUIT] {
        daemon.signal(signal);
        let status = daemon.end().await;
        assert_eq!(status.code(), (signal == Signal::QUIT).then_some(0), "{status}");
        let at_rest = operator.status().await;
        assert_eq!(at_rest.pid, None);
        assert_eq!(at_rest.vaults[0].running.as_ref().map(|running| running.pid), Some(before.pid));

        daemon = operator.run();
        adopts(operator, &daemon, &release, before.pid).await;
    }
    assert_eq!(journey.server.served("1.0.0").len(), 1);
    let kinds = operator.history_with(&["adopted", "adopted"]).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "started").count(), 1, "{kinds:?}");

    // It obeys who has taken it over.
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(0));
    assert!(!operator::is_alive(before.pid));
    let lives = operator.lives();
    assert_eq!((lives.len(), &lives[0].signals[..], lives[0].ended), (1, &["SIGINT".to_owned()][..], true));
}

#[tokio::test]
async fn t19_a_release_stated_while_the_vault_ran_without_vaultvisor_is_switched_to_after_the_adoption() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;
    daemon.signal(Signal::KILL);
    daemon.end().await;

    let second = journey.release("2.0.0").await;
    assert!(operator::is_alive(before.pid));
    assert_eq!(journey.server.served("2.0.0"), []);
    let _daemon = operator.run();
    let after = operator.running(&second).await;

    assert!(!after.adopted);
    let lives = operator.lives_where("two lives", |lives| lives.len() == 2).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!((lives[0].pid, lives[1].pid), (before.pid, after.pid));
    assert_eq!((&lives[0].signals[..], lives[0].ended), (&["SIGINT".to_owned()][..], true));
    let switch = operator.vault().await.last_switch.expect("there was a switch");
    assert_eq!((switch.from.as_deref(), switch.to.as_str()), (Some("1.0.0"), "2.0.0"));
    operator.history_with(&["adopted", "switching"]).await;
}

#[tokio::test]
async fn t01_a_new_build_of_vaultvisor_adopts_the_vault_of_the_old_one_and_updates_it() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.install("an old build");
    let first = journey.release("1.0.0").await;
    let mut old = operator.run_installed();
    let before = operator.running(&first).await;

    operator.install("a new build");
    old.signal(Signal::QUIT);
    assert_eq!(old.end().await.code(), Some(0));
    let new = operator.run_installed();
    adopts(operator, &new, &first, before.pid).await;

    let second = journey.release("2.0.0").await;
    let after = operator.running(&second).await;
    assert_ne!(after.pid, before.pid);
    let lives = operator.lives_where("two lives", |lives| lives.len() == 2).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert!(lives[0].ended, "{lives:#?}");
}

#[tokio::test]
async fn t01_a_vault_whose_vaultvisor_and_keeper_are_killed_is_gone_before_it_is_started_again() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&release).await;

    let keeper = keeper_of(operator);
    daemon.signal(Signal::KILL);
    daemon.end().await;
    kill(keeper);

    let _daemon = operator.run();
    let lives = operator.lives_where("a second life", |lives| lives.len() == 2).await;
    let after = operator.running(&release).await;

    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!((lives[0].pid, lives[1].pid), (before.pid, after.pid));
    assert!(!operator::is_alive(before.pid));
    assert_eq!(journey.server.served("1.0.0").len(), 1);
}

#[tokio::test]
async fn t01_a_vault_that_ended_while_vaultvisor_was_away_is_started_again() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&release).await;
    daemon.signal(Signal::KILL);
    daemon.end().await;
    kill(before.pid);

    let _daemon = operator.run();
    let lives = operator.lives_where("a second life", |lives| lives.len() == 2).await;
    let after = operator.running(&release).await;

    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!((after.pid, after.adopted), (lives[1].pid, false));
    operator.history_with(&["crashed"]).await;
    assert!(operator.vault().await.rejected.is_empty(), "a release that proved itself is not rejected");
}

#[tokio::test]
async fn t01_a_vault_whose_keeper_is_killed_is_gone_before_it_is_started_again() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&release).await;

    kill(keeper_of(operator));
    let lives = operator.lives_where("a second life", |lives| lives.len() == 2).await;
    let vault = operator
        .vault_where("the second life to be known", |vault| {
            vault.state == "running"
                && vault.running.as_ref().is_some_and(|running| running.pid == lives[1].pid)
        })
        .await;

    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert!(!operator::is_alive(before.pid));
    assert_eq!(vault.running.map(|running| running.checksum), Some(release.checksum));
    assert_eq!(operator.status().await.pid, Some(daemon.pid()));
}

#[tokio::test]
async fn t01_a_switch_whose_vaultvisor_is_killed_while_the_old_vault_is_stopped_is_finished_by_the_next() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;
    operator.orders().give(Order::BeDeaf, "1.0.0");
    let second = journey.release("2.0.0").await;
    operator.lives_where("the stop signal", |lives| !lives[0].signals.is_empty()).await;

    daemon.signal(Signal::KILL);
    daemon.end().await;
    assert!(operator::is_alive(before.pid));
    let daemon = operator.run();
    operator.history_with(&["adopted"]).await;
    assert_eq!(operator.lives().len(), 1, "the old one still lives");
    operator.orders().give(Order::Exit, "1.0.0");
    let after = operator.running(&second).await;

    let lives = operator.lives();
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!(lives.iter().map(|life| life.pid).collect::<Vec<_>>(), [before.pid, after.pid]);
    let vault = operator.vault().await;
    assert_eq!(
        (&vault.rejected[..], vault.problem),
        (&[][..], None),
        "it was told to end, which is no crash"
    );
    assert_eq!(operator.status().await.pid, Some(daemon.pid()));
}

#[tokio::test]
async fn t01_a_release_whose_vaultvisor_is_killed_during_its_probation_is_still_on_probation() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    let good = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&good).await;
    operator.configure(|config| config["vaults"][VAULT]["probation"]["secs"] = json!(3600));
    operator.reload(&daemon).await;
    let bad = journey.release("2.0.0").await;
    let is_on_probation = |vault: &VaultStatus| {
        vault.state == "probation"
            && vault.running.as_ref().is_some_and(|running| running.checksum == bad.checksum)
    };
    let on_probation = operator.vault_where("2.0.0 on probation", is_on_probation).await;
    let on_probation = on_probation.running.expect("that is what was waited for");

    daemon.signal(Signal::KILL);
    daemon.end().await;
    let _daemon = operator.run();
    let adopted = operator
        .vault_where("2.0.0 to be adopted on probation", |vault| {
            is_on_probation(vault) && vault.running.as_ref().is_some_and(|running| running.adopted)
        })
        .await;
    assert_eq!(adopted.running.map(|running| running.pid), Some(on_probation.pid));
    operator.orders().give(Order::Exit, "2.0.0");
    let vault = operator.vault_where("the rejection", |vault| !vault.rejected.is_empty()).await;
    let after = operator.running(&good).await;

    assert_eq!(vault.rejected[0].checksum, bad.checksum);
    assert!(vault.rejected[0].reason.contains("exit code 1"), "{}", vault.rejected[0].reason);
    let lives = operator.lives_where("three lives", |lives| lives.len() == 3).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    let pids: Vec<_> = lives.iter().map(|life| life.pid).collect();
    assert_eq!(pids, [before.pid, on_probation.pid, after.pid]);
}
