//! Vaultvisor is told to end while something is in the way: it ends all the same, in bounded time, and says what it left.

use std::{fs, time::Instant};

use integration_tests::{
    child::Signal,
    journey::Journey,
    ledger,
    operator::{Operator, VAULT},
    tampering::StandingStill,
    wait,
};
use serde_json::{Value, json};

/// The pid of the vault's keeper, as it recorded it.
fn keeper(operator: &Operator) -> u32 {
    let run = run_record(operator);
    let pid = run["keeper"]["pid"].as_u64().expect("the record names the keeper");
    u32::try_from(pid).expect("a pid")
}

fn run_record(operator: &Operator) -> Value {
    let text = fs::read(operator.home().join("vaults").join(VAULT).join("run.json")).expect("a vault runs");
    serde_json::from_slice(&text).expect("it was written as JSON")
}

#[tokio::test]
async fn sigquit_ends_vaultvisor_although_a_switch_waits_for_room_on_the_disk() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;

    // Nothing can be written any more: the name of the temporary file is taken.
    let in_the_way = operator.home().join("vaults").join(VAULT).join(".state.json.new");
    fs::create_dir(&in_the_way).expect("the folder is ours");
    let second = journey.release("2.0.0").await;
    let waits =
        operator.vault_where("the switch to wait for the disk", |vault| vault.state == "switching").await;
    assert_eq!(waits.running.map(|running| running.pid), Some(before.pid), "no vault is given up for it");
    assert!(waits.problem.is_some_and(|problem| problem.contains("cannot write")), "nobody would know");
    daemon.signal(Signal::QUIT);
    assert_eq!(daemon.end().await.code(), Some(0));
    assert_eq!(operator.lives().len(), 1);

    fs::remove_dir(in_the_way).expect("it was made");
    let _daemon = operator.run();
    operator.running(&second).await;
    let lives = operator.lives();
    assert_eq!((lives.len(), lives[0].pid, ledger::never_two(&lives)), (2, before.pid, Ok(())));
}

#[tokio::test]
async fn sigterm_stops_a_vault_too_that_is_blocked_although_it_runs() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    // Another one that can run, or vaultvisor would end at once, and leave it.
    operator.configure(|config| {
        let vaults = &mut config["vaults"];
        vaults["other"] = vaults[VAULT].clone();
        vaults["other"]["account"] = json!("other");
        vaults["other"]["args"] = json!(["--ledger", operator.data().join("other.jsonl")]);
    });
    journey.release("1.0.0").await;
    let states = async |wanted: [&str; 2]| {
        wait::until(&format!("the states {wanted:?}"), async || {
            let vaults = operator.status().await.vaults;
            let found: Vec<_> = vaults.iter().map(|vault| vault.state.as_str()).collect();
            if found == wanted { Ok(vaults) } else { Err(format!("{vaults:#?}")) }
        })
        .await
    };
    let mut daemon = operator.run();
    states(["running", "running"]).await;
    daemon.signal(Signal::QUIT);
    assert_eq!(daemon.end().await.code(), Some(0));

    // The record names another file than the one that runs: it is not taken over.
    let mut run = run_record(operator);
    run["binary"]["inode"] = json!(1);
    fs::write(operator.home().join("vaults").join(VAULT).join("run.json"), run.to_string()).expect("ours");
    let mut daemon = operator.run();
    let vaults = states(["blocked", "running"]).await;
    assert!(vaults[0].why.contains("expected it to run inode 1"), "{}", vaults[0].why);
    let lives = operator.lives();
    assert!(!lives[0].ended && lives.len() == 1, "it runs: {lives:#?}");

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(0));
    let lives = operator.lives();
    assert_eq!((lives.len(), lives[0].ended, &lives[0].signals[..]), (1, true, &["SIGINT".to_owned()][..]));
    assert_eq!(operator.processes(), []);
}

#[tokio::test]
async fn a_vault_that_does_not_end_is_named_and_vaultvisor_ends_with_code_4() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.configure(|config| config["vaults"][VAULT]["stop"]["grace_secs"] = json!(1));
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&release).await;

    // Its keeper does nothing any more, as one whose disk does not answer.
    let standing_still = StandingStill::begin(keeper(operator), operator.folder()).await;
    let told = Instant::now();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(4));
    assert!(told.elapsed().as_secs() < 60, "{:?}", told.elapsed());
    let log = daemon.stderr();
    assert!(
        log.contains("not everything has ended") && log.contains(&format!("pid {}", before.pid)),
        "{log}"
    );
    assert_eq!(operator.vault().await.state, "blocked", "and whoever asks later is told so");

    // Once it goes on it does as it was told, and the next vaultvisor starts the vault again.
    standing_still.end().await;
    operator.lives_where("its end", |lives| lives[0].ended).await;
    let _daemon = operator.run();
    let after = operator.running(&release).await;
    assert_eq!(after.restarts, 0);
    let vault = operator.vault().await;
    assert_eq!((&vault.rejected[..], vault.problem), (&[][..], None), "nobody is blamed");
    let lives = operator.lives();
    assert_eq!((lives.len(), ledger::never_two(&lives)), (2, Ok(())));
}
