//! T01: what dies in the middle of a switch that migrates the data. One step each: the migration of the arguments,
//! the first pass of the snapshot, the second, the migration itself, and the way back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use integration_tests::{
    child::{Child, Signal},
    journey::Journey,
    ledger,
    operator::{Operator, VAULT, is_alive},
    orders::Order,
    releases::Release,
    tree::see,
    wait,
};
use rustix::process::{Pid, kill_process};

use crate::migrations::{ARGS_MIGRATION, release_with, run_first, with_data};

/// So many that a copy of them takes far longer than it takes to notice that it has begun.
const FILES: usize = 3000;

/// Looked at for how far a copy is: one file in so many.
const EVERY: usize = 50;

/// Adds a file that says so.
const MIGRATION: &str = "#!/bin/sh\necho 2 >\"$1/format\"\n";

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Vaultvisor,
    Keeper,
    Both,
}

fn many(folder: &Path) -> PathBuf {
    folder.join("many")
}

fn file(folder: &Path, number: usize) -> PathBuf {
    many(folder).join(format!("{number:05}"))
}

/// Writes the same word into each of many files.
fn fill(folder: &Path, word: &str) {
    fs::create_dir_all(many(folder)).expect("the folder is ours");
    for number in 0..FILES {
        fs::write(file(folder, number), word).expect("the folder is ours");
    }
}

/// How many of those that are looked at hold that word, of how many.
fn holding(folder: &Path, word: &str) -> (usize, usize) {
    let looked_at = (0..FILES).step_by(EVERY);
    let holds = |number: &usize| fs::read_to_string(file(folder, *number)).is_ok_and(|found| found == word);
    (looked_at.clone().filter(holds).count(), looked_at.count())
}

/// Waits until a copy has begun to put that word into the files of a folder, kills, and shows that it was in time.
async fn kill_while(
    folder: &Path,
    word: &str,
    keeper: u32,
    victim: Victim,
    daemon: &mut Child,
    operator: &Operator,
) {
    wait::until(&format!("a copy that puts {word} into {}", folder.display()), async || {
        match holding(folder, word) {
            (0, of) => Err(format!("0 of {of}")),
            _ => Ok(()),
        }
    })
    .await;
    kill(keeper, victim, daemon).await;
    let (done, of) = holding(folder, word);
    assert!(done < of, "the copy was over already: it proves nothing");
    if victim != Victim::Keeper {
        *daemon = operator.run();
    }
}

async fn kill(keeper: u32, victim: Victim, daemon: &mut Child) {
    if victim != Victim::Vaultvisor {
        let keeper = Pid::from_raw(keeper.cast_signed()).expect("a pid");
        kill_process(keeper, rustix::process::Signal::KILL).expect("it lives");
    }
    if victim != Victim::Keeper {
        daemon.signal(Signal::KILL);
        daemon.end().await;
    }
}

/// The keeper that waits to start a release, or does what that comes with.
async fn keeper_with(operator: &Operator, argument: &str) -> u32 {
    wait::until(&format!("a keeper with {argument}"), async || {
        let processes = operator.processes();
        let is_it = |command: &str| command.contains("vaultvisor-keeper") && command.contains(argument);
        let found = processes.iter().find(|(_, command)| is_it(command)).map(|(pid, _)| *pid);
        found.ok_or_else(|| format!("{processes:#?}"))
    })
    .await
}

fn snapshots(operator: &Operator) -> PathBuf {
    operator.home().join("vaults").join(VAULT).join("snapshots")
}

/// The first release on a lot of data, and what that data is.
async fn begin() -> (Journey, Release, Child, String) {
    let journey = with_data().await;
    fill(&journey.operator.data(), "first");
    let (good, daemon, before) = run_first(&journey).await;
    (journey, good, daemon, before)
}

/// The second release runs on migrated data, a whole snapshot of the data from before is kept, and there were never two.
async fn ends_well(operator: &Operator, second: &Release, before: &str) {
    operator.running(second).await;
    assert_eq!(fs::read_to_string(operator.data().join("format")).expect("migrated"), "2\n");
    let kept = fs::read_dir(snapshots(operator)).expect("there");
    let kept: Vec<PathBuf> = kept.map(|entry| entry.expect("one").path().join("data")).collect();
    assert!(kept.iter().any(|snapshot| see(snapshot) == before), "{kept:?}");
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
    assert_eq!(operator.vault().await.rejected, [], "nobody was to blame");
}

async fn in_the_first_pass(victim: Victim) {
    let (journey, _, mut daemon, before) = begin().await;
    let operator = &journey.operator;
    // That of the vault which runs: the copy itself is vaultvisor's own work.
    let keeper = keeper_with(operator, "--run-id").await;
    let second = release_with(&journey, "2.0.0", &[("state-migration", MIGRATION)]).await;
    let copy = snapshots(operator).join("1/data");
    kill_while(&copy, "first", keeper, victim, &mut daemon, operator).await;
    ends_well(operator, &second, &before).await;
}

async fn in_the_second_pass(victim: Victim) {
    let (journey, _, mut daemon, _) = begin().await;
    let operator = &journey.operator;
    // It does not end before the test says so, and changes all of its data until then.
    operator.orders().give(Order::BeDeaf, "1.0.0");
    let vault = operator.vault().await.running.expect("it runs").pid;
    let second = release_with(&journey, "2.0.0", &[("state-migration", MIGRATION)]).await;
    let keeper = keeper_with(operator, "--migration-folder").await;
    operator.vault_where("the switch", |vault| vault.state == "switching").await;
    fill(&operator.data(), "changed");
    let before = see(&operator.data());
    let copy = snapshots(operator).join("1/data");
    assert_eq!(holding(&copy, "changed").0, 0, "the first pass was over before");
    // It was told to end, and may when it is told again.
    operator.orders().take_back(Order::BeDeaf, "1.0.0");
    let vault = Pid::from_raw(vault.cast_signed()).expect("a pid");
    kill_process(vault, rustix::process::Signal::KILL).expect("it lives");
    kill_while(&copy, "changed", keeper, victim, &mut daemon, operator).await;
    ends_well(operator, &second, &before).await;
}

async fn in_the_restore(victim: Victim) {
    let (journey, good, mut daemon, before) = begin().await;
    let operator = &journey.operator;
    let done = operator.home().with_file_name("done");
    let program = format!(
        "#!/bin/sh\nfor file in \"$1\"/many/*; do echo half >\"$file\"; done\necho >{}\nexit 3\n",
        done.display()
    );
    let bad = release_with(&journey, "2.0.0", &[("state-migration", &program)]).await;
    wait::until("the migration to have failed", async || match done.exists() {
        true => Ok(()),
        false => Err("it has not".to_owned()),
    })
    .await;
    // The one that is to start the first release again.
    let keeper = keeper_with(operator, "--version=1.0.0").await;
    kill_while(&operator.data(), "first", keeper, victim, &mut daemon, operator).await;
    operator.running(&good).await;
    assert_eq!(see(&operator.data()), before, "byte for byte");
    let rejected = operator.vault().await.rejected;
    assert_eq!(rejected.iter().map(|one| &one.checksum).collect::<Vec<_>>(), [&bad.checksum]);
    let lives = operator.lives();
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert!(lives.iter().all(|life| life.release.as_deref() == Some("1.0.0")), "{lives:?}");
}

async fn in_the_arguments(victim: Victim) {
    let journey = with_data().await;
    let operator = &journey.operator;
    let (_, mut daemon, before) = run_first(&journey).await;
    // That of the vault which runs: the program itself is vaultvisor's own work.
    let keeper = keeper_with(operator, "--run-id").await;
    // It says that it has begun, and does not end before the test lets it.
    let (begun, go_on) = (operator.home().with_file_name("begun"), operator.home().with_file_name("go-on"));
    let program = format!(
        "#!/bin/sh\nset -e\necho $$ >{}\nwhile [ ! -e {} ]; do sleep 0.02; done\n{}",
        begun.display(),
        go_on.display(),
        ARGS_MIGRATION.strip_prefix("#!/bin/sh\n").expect("a shell's"),
    );
    let files = [("args-migration", program.as_str()), ("state-migration", MIGRATION)];
    let second = release_with(&journey, "2.0.0", &files).await;
    let program = wait::until("the migration of the arguments to begin", async || {
        let pid = fs::read_to_string(&begun).map_err(|error| error.to_string())?;
        pid.trim().parse::<u32>().map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(operator.lives().len(), 1, "nothing is stopped for it");
    kill(keeper, victim, &mut daemon).await;
    if victim != Victim::Keeper {
        wait::until("the program to end with its vaultvisor", async || match is_alive(program) {
            true => Err(format!("{program} lives")),
            false => Ok(()),
        })
        .await;
        daemon = operator.run();
    }
    fs::write(&go_on, "").expect("the folder is ours");
    ends_well(operator, &second, &before).await;
    let lives = operator.lives();
    let last = lives.last().expect("it runs");
    assert!(last.args.contains(&"--new".to_owned()), "with its own arguments: {last:?}");
    assert!(
        lives[..lives.len() - 1].iter().all(|life| !life.args.contains(&"--new".to_owned())),
        "{lives:?}"
    );
    drop(daemon);
}

async fn in_the_probation(victim: Victim) {
    let journey = with_data().await;
    let operator = &journey.operator;
    operator.configure(|config| config["vaults"][VAULT]["probation"]["secs"] = 5.into());
    let (_, mut daemon, before) = run_first(&journey).await;
    let second = release_with(&journey, "2.0.0", &[("state-migration", MIGRATION)]).await;
    let keeper = keeper_with(operator, "--version=2.0.0").await;
    operator.vault_where("the probation", |vault| vault.state == "probation").await;
    kill(keeper, victim, &mut daemon).await;
    if victim != Victim::Keeper {
        daemon = operator.run();
    }
    match victim {
        // It lived on.
        Victim::Vaultvisor => ends_well(operator, &second, &before).await,
        // It has lived on data that it had migrated, and ended with its keeper: nobody but the operator may choose.
        Victim::Keeper | Victim::Both => {
            let vault = operator.vault_where("both ways out", |vault| vault.state == "blocked").await;
            assert!(vault.running.is_none(), "{vault:?}");
            assert_eq!(fs::read_to_string(operator.data().join("format")).expect("as it was left"), "2\n");
            assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
        }
    }
    drop(daemon);
}

async fn in_the_migration(victim: Victim) {
    let journey = with_data().await;
    let operator = &journey.operator;
    let (_, mut daemon, before) = run_first(&journey).await;
    // It says that it has begun, and does not end the first time.
    let marker = operator.home().with_file_name("begun");
    let program = format!(
        "#!/bin/sh\nset -e\necho half >\"$1/wallet/keys\"\nif [ ! -e {marker} ]; then echo >{marker}; sleep 1000; fi\necho 2 >\"$1/format\"\n",
        marker = marker.display()
    );
    let second = release_with(&journey, "2.0.0", &[("state-migration", &program)]).await;
    let keeper = keeper_with(operator, "--migration-folder").await;
    wait::until("the migration to begin", async || match marker.exists() {
        true => Ok(()),
        false => Err("it has not".to_owned()),
    })
    .await;
    kill(keeper, victim, &mut daemon).await;
    if victim != Victim::Keeper {
        daemon = operator.run();
    }
    ends_well(operator, &second, &before).await;
    assert_eq!(fs::read_to_string(operator.data().join("wallet/keys")).expect("migrated"), "half\n");
    drop(daemon);
}

#[tokio::test]
async fn t01_vaultvisor_is_killed_in_the_first_pass_of_a_snapshot_and_it_recovers() {
    in_the_first_pass(Victim::Vaultvisor).await;
}

#[tokio::test]
async fn t01_the_keeper_is_killed_in_the_first_pass_of_a_snapshot_and_it_recovers() {
    in_the_first_pass(Victim::Keeper).await;
}

#[tokio::test]
async fn t01_both_are_killed_in_the_first_pass_of_a_snapshot_and_it_recovers() {
    in_the_first_pass(Victim::Both).await;
}

#[tokio::test]
async fn t01_vaultvisor_is_killed_in_the_second_pass_of_a_snapshot_and_it_recovers() {
    in_the_second_pass(Victim::Vaultvisor).await;
}

#[tokio::test]
async fn t01_the_keeper_is_killed_in_the_second_pass_of_a_snapshot_and_it_recovers() {
    in_the_second_pass(Victim::Keeper).await;
}

#[tokio::test]
async fn t01_both_are_killed_in_the_second_pass_of_a_snapshot_and_it_recovers() {
    in_the_second_pass(Victim::Both).await;
}

#[tokio::test]
async fn t01_vaultvisor_is_killed_in_a_state_migration_and_it_recovers() {
    in_the_migration(Victim::Vaultvisor).await;
}

#[tokio::test]
async fn t01_the_keeper_is_killed_in_a_state_migration_and_it_recovers() {
    in_the_migration(Victim::Keeper).await;
}

#[tokio::test]
async fn t01_both_are_killed_in_a_state_migration_and_it_recovers() {
    in_the_migration(Victim::Both).await;
}

#[tokio::test]
async fn t01_vaultvisor_is_killed_in_the_restore_after_a_failed_migration_and_it_recovers() {
    in_the_restore(Victim::Vaultvisor).await;
}

#[tokio::test]
async fn t01_the_keeper_is_killed_in_the_restore_after_a_failed_migration_and_it_recovers() {
    in_the_restore(Victim::Keeper).await;
}

#[tokio::test]
async fn t01_both_are_killed_in_the_restore_after_a_failed_migration_and_it_recovers() {
    in_the_restore(Victim::Both).await;
}

#[tokio::test]
async fn t01_vaultvisor_is_killed_in_a_migration_of_arguments_and_it_recovers() {
    in_the_arguments(Victim::Vaultvisor).await;
}

#[tokio::test]
async fn t01_the_keeper_is_killed_in_a_migration_of_arguments_and_it_recovers() {
    in_the_arguments(Victim::Keeper).await;
}

#[tokio::test]
async fn t01_both_are_killed_in_a_migration_of_arguments_and_it_recovers() {
    in_the_arguments(Victim::Both).await;
}

#[tokio::test]
async fn t01_vaultvisor_is_killed_in_the_probation_of_migrated_data_and_it_goes_on() {
    in_the_probation(Victim::Vaultvisor).await;
}

#[tokio::test]
async fn t01_the_keeper_is_killed_in_the_probation_of_migrated_data_and_the_operator_is_asked() {
    in_the_probation(Victim::Keeper).await;
}

#[tokio::test]
async fn t01_both_are_killed_in_the_probation_of_migrated_data_and_the_operator_is_asked() {
    in_the_probation(Victim::Both).await;
}
