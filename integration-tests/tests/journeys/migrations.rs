//! Releases that change more than the binary: arguments, data and platforms; and T27.

use std::{fs, os::unix::fs::PermissionsExt as _};

use integration_tests::{
    child::{Child, Signal},
    journey::Journey,
    ledger,
    operator::{Operator, VAULT},
    orders::Order,
    releases::Release,
    status::VaultStatus,
    tree::see,
};
use serde_json::json;

/// Gives the old arguments back with one of them renamed.
pub(crate) const ARGS_MIGRATION: &str = "#!/bin/sh\nsed 's/^.*\"args\"://; s/}$//; s/--old/--new/'\n";

/// Changes, adds, removes and links, and leaves a word that says so.
pub(crate) const STATE_MIGRATION: &str = "#!/bin/sh\nset -e\ncd \"$1\"\ntest \"$PWD\" = \"$1\"\n\
    echo more >>wallet/keys\nrm index\nln -s wallet link\nchmod 700 wallet\necho 2 >format\n";

/// A journey whose vault has data, does as it is told and is started with `--old`.
pub(crate) async fn with_data() -> Journey {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    journey.find_by_checksum();
    let data = operator.data();
    fs::create_dir(data.join("wallet")).expect("the folder is ours");
    fs::write(data.join("wallet/keys"), vec![7; 100_000]).expect("the folder is ours");
    fs::set_permissions(data.join("wallet/keys"), fs::Permissions::from_mode(0o600)).expect("it is ours");
    fs::write(data.join("index"), "1 2 3").expect("the folder is ours");
    fs::hard_link(data.join("index"), data.join("index again")).expect("the folder is ours");
    std::os::unix::fs::symlink("wallet/keys", data.join("current")).expect("the folder is ours");
    operator.configure(|config| {
        let vault = &mut config["vaults"][VAULT];
        vault["args"] = operator.args_with_orders();
        vault["args"].as_array_mut().expect("a list").push(json!("--old"));
        vault["data_dir"] = json!(data);
    });
    journey
}

/// Has the chain state a release of the test vault with these further files.
pub(crate) async fn release_with(journey: &Journey, version: &str, files: &[(&str, &str)]) -> Release {
    let release = Release::of_test_vault(version);
    journey.release_with(&release, files).await;
    release
}

/// Runs a first release on that data: it, the daemon, and what the data is then.
pub(crate) async fn run_first(journey: &Journey) -> (Release, Child, String) {
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let daemon = operator.run();
    operator.running(&release).await;
    (release, daemon, see(&operator.data()))
}

async fn rejected(operator: &Operator) -> VaultStatus {
    operator
        .vault_where("the rejection", |vault| !vault.rejected.is_empty() && vault.state == "running")
        .await
}

#[tokio::test]
async fn an_upgrade_with_both_migrations_changes_arguments_and_data_and_keeps_what_was_before() {
    let journey = with_data().await;
    let operator = &journey.operator;
    let (_, _daemon, before) = run_first(&journey).await;

    let files = [("args-migration", ARGS_MIGRATION), ("state-migration", STATE_MIGRATION)];
    let second = release_with(&journey, "2.0.0", &files).await;
    operator.running(&second).await;

    assert_eq!(fs::read_to_string(operator.data().join("format")).expect("migrated"), "2\n");
    let vault = operator.home().join("vaults").join(VAULT);
    let args: Vec<String> =
        serde_json::from_slice(&fs::read(vault.join("args/1.json")).expect("kept")).expect("a list");
    assert!(args.contains(&"--new".to_owned()), "{args:?}");
    let lives = operator.lives_where("two lives", |lives| lives.len() == 2).await;
    assert_eq!((lives[1].args.as_slice(), ledger::never_two(&lives)), (args.as_slice(), Ok(())));
    assert_eq!(see(&vault.join("snapshots/1/data")), before, "the data from before is still there");
    assert_eq!(operator.vault().await.rejected, []);
}

#[tokio::test]
async fn t27_an_args_migration_that_fails_hangs_or_prints_garbage_stops_nothing() {
    let journey = with_data().await;
    let operator = &journey.operator;
    operator.configure(|config| config["vaults"][VAULT]["args_migration_secs"] = json!(2));
    let good = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let running = operator.running(&good).await;
    let before = see(&operator.data());

    for (version, program, reason) in [
        ("2.0.0", "#!/bin/sh\necho 'no such key' >&2\nexit 3\n", "no such key"),
        ("3.0.0", "#!/bin/sh\nsleep 1000\n", "did not end within 2 s"),
        ("4.0.0", "#!/bin/sh\necho --garbage\n", "expected one JSON array of strings"),
        ("5.0.0", "#!/bin/sh\nexec yes\n", "bytes"),
    ] {
        let bad = release_with(&journey, version, &[("args-migration", program)]).await;
        let vault = operator
            .vault_where("the rejection", |vault| {
                vault.rejected.iter().any(|rejected| rejected.checksum == bad.checksum)
            })
            .await;
        let rejected = vault.rejected.last().expect("one");
        assert!(rejected.reason.contains(reason), "{}", rejected.reason);
        assert_eq!(vault.running.as_ref(), Some(&running), "nothing was stopped");
    }
    assert_eq!(see(&operator.data()), before);
    assert_eq!(operator.lives().len(), 1);
    assert!(!operator.home().join("vaults").join(VAULT).join("args").exists(), "nothing was taken from them");
}

#[tokio::test]
async fn t27_a_state_migration_that_fails_hangs_or_writes_half_the_data_is_undone() {
    let journey = with_data().await;
    let operator = &journey.operator;
    operator.configure(|config| config["vaults"][VAULT]["state_migration_secs"] = json!(2));
    let (good, _daemon, before) = run_first(&journey).await;

    let half = "#!/bin/sh\necho half >\"$1/wallet/keys\"\nrm \"$1/index\"\nmkdir \"$1/new\"\necho x >\"$1/new/x\"\nchmod 500 \"$1/new\"\n";
    for (version, end, reason) in [
        ("2.0.0", "exit 3\n", "exit code 3"),
        ("3.0.0", "sleep 1000 & sleep 1000\n", "did not end within 2 s"),
        ("4.0.0", "kill -9 $$\n", "signal 9"),
    ] {
        let program = format!("{half}{end}");
        let bad = release_with(&journey, version, &[("state-migration", &program)]).await;
        let vault = operator
            .vault_where("the rejection, and the old release", |vault| {
                vault.state == "running"
                    && vault.rejected.iter().any(|rejected| rejected.checksum == bad.checksum)
            })
            .await;
        assert!(vault.rejected.last().expect("one").reason.contains(reason), "{:?}", vault.rejected);
        assert_eq!(vault.running.map(|running| running.checksum).as_ref(), Some(&good.checksum));
        assert_eq!(see(&operator.data()), before, "byte for byte after {version}");
    }
    let lives = operator.lives_where("four lives", |lives| lives.len() == 4).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert!(lives.iter().all(|life| life.release.as_deref() == Some("1.0.0")), "{lives:?}");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_as_a_state_migration_leaves_the_data_as_it_was() {
    let journey = with_data().await;
    let operator = &journey.operator;
    let (good, _daemon, before) = run_first(&journey).await;
    release_with(&journey, "2.0.0", &[("state-migration", "no program at all")]).await;
    let vault = rejected(operator).await;
    assert!(vault.rejected[0].reason.contains("cannot execute"), "{:?}", vault.rejected);
    operator.running(&good).await;
    assert_eq!(see(&operator.data()), before);
}

#[tokio::test]
async fn a_release_that_fails_on_data_it_has_migrated_blocks_and_says_both_ways_out() {
    let journey = with_data().await;
    let operator = &journey.operator;
    let (good, daemon, before) = run_first(&journey).await;
    operator.orders().give(Order::Refuse, "2.0.0");
    release_with(&journey, "2.0.0", &[("state-migration", STATE_MIGRATION)]).await;
    let blocked = operator.vault_where("the block", |vault| vault.state == "blocked").await;
    for way_out in ["vaultvisor retry", "restore_after_live"] {
        assert!(blocked.why.contains(way_out), "{}", blocked.why);
    }
    assert_eq!(blocked.running, None);
    assert_ne!(see(&operator.data()), before, "what it may have paid is in there");

    // The operator's word ends it.
    operator.configure(|config| config["vaults"][VAULT]["restore_after_live"] = json!(true));
    operator.reload(&daemon).await;
    operator.running(&good).await;
    assert_eq!(see(&operator.data()), before);
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn where_it_was_allowed_before_the_old_data_is_restored_behind_a_release_that_lived_on_migrated_data() {
    let journey = with_data().await;
    let operator = &journey.operator;
    operator.configure(|config| config["vaults"][VAULT]["restore_after_live"] = json!(true));
    let (good, daemon, before) = run_first(&journey).await;
    operator.orders().give(Order::Refuse, "2.0.0");
    let bad = release_with(&journey, "2.0.0", &[("state-migration", STATE_MIGRATION)]).await;
    let vault = rejected(operator).await;
    assert_eq!(vault.rejected[0].checksum, bad.checksum);
    operator.running(&good).await;
    assert_eq!(see(&operator.data()), before, "byte for byte, and nobody was asked");
    let lives = operator.lives();
    assert!(lives.iter().any(|life| life.release.as_deref() == Some("2.0.0")), "it had lived: {lives:?}");
    assert_eq!(ledger::never_two(&lives), Ok(()));
    let said = "as restore_after_live says: see whether it has paid";
    assert!(daemon.stderr().lines().any(|line| line.contains("ERROR") && line.contains(said)), "loud");
}

#[tokio::test]
async fn the_operator_may_try_a_release_again_on_the_data_that_it_has_migrated() {
    let journey = with_data().await;
    let operator = &journey.operator;
    let (_, mut daemon, _) = run_first(&journey).await;
    operator.orders().give(Order::Refuse, "2.0.0");
    let second = release_with(&journey, "2.0.0", &[("state-migration", STATE_MIGRATION)]).await;
    operator.vault_where("the block", |vault| vault.state == "blocked").await;
    let migrated = see(&operator.data());

    daemon.signal(Signal::KILL);
    daemon.end().await;
    let _daemon = operator.run();
    // Only a daemon that answers says that it is connected.
    let is_blocked_again = |vault: &VaultStatus| {
        vault.state == "blocked" && vault.chain.as_ref().is_some_and(|chain| chain.connected == Some(true))
    };
    operator.vault_where("the new daemon to have found it blocked", is_blocked_again).await;
    operator.orders().take_back(Order::Refuse, "2.0.0");
    operator.vaultvisor(&["retry", VAULT]).await.exited(0);
    operator.running(&second).await;
    assert_eq!(see(&operator.data()), migrated, "it was migrated once");
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn of_a_release_for_four_platforms_one_binary_is_downloaded() {
    let journey = with_data().await;
    let files = [
        ("binary-aarch64-unknown-linux-gnu", "for another machine"),
        ("binary-x86_64-unknown-linux-musl", "for another library"),
        ("binary-riscv64gc-unknown-linux-gnu", "for yet another machine"),
    ];
    let release = release_with(&journey, "1.0.0", &files).await;
    let _daemon = journey.operator.run();
    journey.operator.running(&release).await;
    assert_eq!(journey.operator.stored(), [release.checksum]);
    assert_eq!(journey.server.served("1.0.0").len(), 1);
    assert_eq!(journey.server.served("files"), [], "what is not for this machine is left where it is");
}

#[tokio::test]
async fn a_snapshot_is_taken_before_any_other_release_and_data_that_lived_is_left_alone() {
    let journey = with_data().await;
    let operator = &journey.operator;
    let (good, _daemon, before) = run_first(&journey).await;
    operator.orders().give(Order::Refuse, "2.0.0");
    journey.release("2.0.0").await;
    rejected(operator).await;
    operator.running(&good).await;
    assert_eq!(see(&operator.data()), before, "nobody has changed it");
    assert_eq!(see(&operator.home().join("vaults").join(VAULT).join("snapshots/1/data")), before);
}
