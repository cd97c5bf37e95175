//! T02: a second vaultvisor for an account that has one.

use std::{path::PathBuf, process::Command, time::Duration};

use integration_tests::{
    binaries,
    child::Child,
    journey::Journey,
    ledger,
    operator::{Operator, VAULT},
    tampering, wait,
};
use serde_json::json;

#[tokio::test]
async fn t02_a_second_vaultvisor_of_the_same_home_exits_3_and_names_the_first() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let first = operator.run();
    let before = operator.running(&release).await;

    let mut second = operator.run();
    is_refused(operator, &mut second, &format!("held by home={}", operator.home().display())).await;

    assert!(second.stderr().contains(&format!("vaultvisor pid {}", first.pid())));
    assert_eq!(operator.running(&release).await, before);
}

#[tokio::test]
async fn t02_a_vaultvisor_of_another_home_starts_no_second_vault_and_exits_3() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let _first = operator.run();
    let before = operator.running(&release).await;

    let home = operator.home();
    let other = home.with_file_name("other-home");
    operator.configure(|config| config["home"] = json!(other));
    let mut second = operator.run();
    is_refused(operator, &mut second, &format!("held by home={}", home.display())).await;
    assert!(second.stderr().contains(&format!("vault={}", before.pid)));

    operator.configure(|config| config["home"] = json!(home));
    assert_eq!(operator.running(&release).await, before);
    let lives = operator.lives();
    assert_eq!((lives.len(), ledger::never_two(&lives)), (1, Ok(())));
}

async fn is_refused(operator: &Operator, second: &mut Child, why: &str) {
    let status = wait::until("the second vaultvisor to end", async || {
        assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
        second.ended().ok_or_else(|| second.stderr())
    })
    .await;
    assert_eq!(status.code(), Some(3));
    assert!(second.stderr().contains(why), "{why:?} is not said");
}

/// A vault of the account, started by hand.
fn start_by_hand(operator: &Operator, key: &str) -> Child {
    let mut command = Command::new(binaries::path("test-vault"));
    command.arg("--ledger").arg(operator.ledger_path()).args(["--keyname", key]);
    Child::spawn("unmanaged", command, &operator.data())
}

#[tokio::test]
async fn t02_beside_a_vault_that_was_started_by_hand_none_is_started_and_vaultvisor_exits_4() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.configure(|config| {
        config["vaults"][VAULT]["args"] =
            json!(["--ledger", operator.ledger_path(), "--keyname", "of-the-only-one"]);
    });
    let release = journey.release("1.0.0").await;
    let mut unmanaged = start_by_hand(operator, "of-the-only-one");
    operator.lives_where("the unmanaged vault's life", |lives| lives.len() == 1).await;

    let mut refused = operator.run();
    assert_eq!(refused.end().await.code(), Some(4));
    assert!(refused.stderr().contains(&format!("process {}", unmanaged.pid())), "which one?");
    assert_eq!(operator.lives().len(), 1);
    assert_eq!(unmanaged.ended(), None, "it is not ours to stop");
    drop(unmanaged);

    let _daemon = operator.run();
    operator.running(&release).await;
    let lives = operator.lives();
    assert_eq!((lives.len(), ledger::never_two(&lives)), (2, Ok(())));
}

#[tokio::test]
async fn t02_a_process_whose_arguments_cannot_be_read_is_named_and_waited_for_no_longer_than_it_takes() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    let stranger = Child::spawn("stranger", sleep, &operator.data());
    // As if its memory were locked by a filesystem that does not answer.
    let arguments = PathBuf::from(format!("/proc/{}/cmdline", stranger.pid()));
    let mut run = operator.vaultvisor_command();
    run.args(["run", "--config"]).arg(operator.config_path());
    // Longer than is waited for; the tracer ends no sooner.
    let by = Duration::from_secs(20);
    let traced = tampering::with_slow_opening(&run, &arguments, by, &operator.folder().join("opening.trace"));
    let mut refused = Child::spawn("vaultvisor", traced, operator.folder());
    assert_eq!(refused.end().await.code(), Some(4), "{}", refused.stderr());
    let named = format!("process {} (sleep), state S (sleeping): its arguments could not be", stranger.pid());
    assert!(refused.stderr().contains(&named), "{}", refused.stderr());
    assert_eq!(operator.lives().len(), 0);

    let _daemon = operator.run();
    operator.running(&release).await;
    assert_eq!(operator.lives().len(), 1);
}

#[tokio::test]
async fn t02_with_another_vault_that_can_run_the_one_in_the_way_is_blocked_and_started_when_it_is_gone() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let other_ledger = operator.data().join("other.jsonl");
    operator.configure(|config| {
        let vaults = &mut config["vaults"];
        vaults[VAULT]["args"] =
            json!(["--ledger", operator.ledger_path(), "--keyname", "of-the-blocked-one"]);
        vaults["other"] = vaults[VAULT].clone();
        vaults["other"]["account"] = json!("other");
        vaults["other"]["args"] = json!(["--ledger", other_ledger]);
    });
    let release = journey.release("1.0.0").await;
    let unmanaged = start_by_hand(operator, "of-the-blocked-one");
    operator.lives_where("the unmanaged vault's life", |lives| lives.len() == 1).await;

    let daemon = operator.run();
    let vaults = wait::until("one to run and one to be blocked", async || {
        let vaults = operator.status().await.vaults;
        let states: Vec<_> = vaults.iter().map(|vault| (vault.name.as_str(), vault.state.as_str())).collect();
        if states == [(VAULT, "blocked"), ("other", "running")] {
            Ok(vaults)
        } else {
            Err(format!("{vaults:#?}"))
        }
    })
    .await;
    assert!(vaults[0].why.contains(&format!("process {}", unmanaged.pid())), "{}", vaults[0].why);
    assert_eq!(vaults[0].running, None);
    let other = vaults[1].running.clone().expect("its state is running");

    drop(unmanaged);
    operator.vaultvisor(&["retry", VAULT]).await.exited(0);
    let vaults = wait::until("both to run", async || {
        let vaults = operator.status().await.vaults;
        if vaults.iter().all(|vault| vault.state == "running") {
            Ok(vaults)
        } else {
            Err(format!("{vaults:#?}"))
        }
    })
    .await;
    assert_eq!(vaults[0].running.as_ref().map(|running| &running.checksum), Some(&release.checksum));
    assert_eq!(vaults[1].running.as_ref(), Some(&other), "it was not disturbed");
    assert_eq!(operator.status().await.pid, Some(daemon.pid()));
    let lives = operator.lives();
    assert_eq!((lives.len(), ledger::never_two(&lives)), (2, Ok(())));
}
