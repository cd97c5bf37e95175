//! T21: a file in the store that is not what it was.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use integration_tests::{
    child::{Child, Signal},
    journey::Journey,
    ledger,
    operator::{self, Operator},
    other_user,
    releases::Release,
};

/// A vault that ran 1.0.0 and was stopped.
async fn stopped(journey: &Journey) -> Release {
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    operator.running(&release).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(0));
    release
}

fn folder_of(operator: &Operator, release: &Release) -> std::path::PathBuf {
    operator.home().join("store/sha256").join(&release.checksum)
}

/// What lies in the store is the release again, a file of our own.
async fn is_fetched_anew(journey: &Journey, release: &Release) -> Child {
    let operator = &journey.operator;
    let daemon = operator.run();
    operator.running(release).await;
    let binary = folder_of(operator, release).join("vault");
    assert_eq!(fs::read(&binary).expect("it runs"), release.program);
    let metadata = fs::symlink_metadata(&binary).expect("it runs");
    assert!(metadata.is_file() && metadata.mode() & 0o7777 == 0o555, "{metadata:?}");
    assert_eq!(operator.lives().len(), 2, "the other one never lived");
    assert_eq!(journey.server.served("1.0.0").len(), 2);
    daemon
}

#[tokio::test]
async fn t21_a_stored_file_that_was_damaged_is_not_run_and_is_fetched_anew() {
    let journey = Journey::begin().await;
    let release = stopped(&journey).await;
    let binary = folder_of(&journey.operator, &release).join("vault");
    let mut bytes = fs::read(&binary).expect("it ran");
    *bytes.last_mut().expect("a program has bytes") ^= 1;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(&binary, bytes).expect("it is ours");

    let daemon = is_fetched_anew(&journey, &release).await;
    assert!(daemon.stderr().contains(&format!("expected checksum {}", release.checksum)));
}

/// Another program, which says so where it is executed.
fn impostor(path: &Path, ran: &Path) {
    fs::write(path, format!("#!/bin/sh\ntouch {}\nexec sleep 1000\n", ran.display())).expect("ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

#[tokio::test]
async fn t21_a_stored_file_that_was_replaced_is_not_run_and_is_fetched_anew() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = stopped(&journey).await;
    let (other, ran) = (operator.folder().join("other"), operator.folder().join("ran"));
    impostor(&other, &ran);
    fs::rename(&other, folder_of(operator, &release).join("vault")).expect("ours");
    let _daemon = is_fetched_anew(&journey, &release).await;
    assert!(!ran.exists(), "the other program was executed");
}

/// Of the right bytes even: nobody knows what they are a moment later.
#[tokio::test]
async fn t21_a_stored_file_that_became_a_link_is_refused_at_start_and_what_it_leads_to_is_not_run() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = stopped(&journey).await;
    let binary = folder_of(operator, &release).join("vault");
    let outside = operator.folder().join("outside");
    fs::rename(&binary, &outside).expect("ours");
    symlink(&outside, &binary).expect("ours");
    let mut refused = operator.run();
    assert_eq!(refused.end().await.code(), Some(2));
    assert!(refused.stderr().contains(&format!("{} is a link", binary.display())), "{}", refused.stderr());
    assert_eq!(operator.lives().len(), 1);

    fs::remove_file(&binary).expect("the link");
    let _daemon = is_fetched_anew(&journey, &release).await;
}

/// While vaultvisor runs, the store was opened to everybody: it is found out when the vault is started again, by the one
/// that executes it.
#[tokio::test]
async fn t21_what_another_user_put_into_an_open_store_meanwhile_is_not_run_when_the_vault_is_started_again() {
    if !other_user::can_be_tried() {
        return;
    }
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let _daemon = operator.run();
    operator.running(&release).await;
    let ran = operator.folder().join("everybodys/ran");
    fs::create_dir(operator.folder().join("everybodys")).expect("ours");
    for folder in [operator.folder(), &operator.home(), &operator.home().join("store")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let everybodys = fs::Permissions::from_mode(0o777);
    fs::set_permissions(operator.folder().join("everybodys"), everybodys.clone()).expect("ours");
    fs::set_permissions(operator.home().join("store/sha256"), fs::Permissions::from_mode(0o755))
        .expect("ours");
    let other = operator.folder().join("everybodys/other");
    impostor(&other, &ran);
    other_user::owns(&other);

    let folder = folder_of(operator, &release);
    let binary = folder.join("vault");
    let copy = operator.folder().join("everybodys/copy");
    let attacks: [&dyn Fn(); 3] = [
        &|| other_user::does("mv", &["-f".as_ref(), &other, &binary]),
        &|| other_user::links(&other, &binary),
        // The very bytes, in a file that is theirs to change when they have been hashed.
        &|| {
            other_user::does("cp", &[&binary, &copy]);
            other_user::does("mv", &["-f".as_ref(), &copy, &binary]);
        },
    ];
    for (number, attack) in attacks.into_iter().enumerate() {
        let before = operator.running(&release).await;
        fs::set_permissions(&folder, everybodys.clone()).expect("ours");
        if !other.exists() {
            impostor(&other, &ran);
            other_user::owns(&other);
        }
        attack();
        operator::signal(before.pid, Signal::KILL);
        let lives = operator.lives_where("it to be started again", |lives| lives.len() == number + 2).await;
        let after = operator.running(&release).await;
        assert_ne!(after.pid, before.pid);
        assert_eq!(fs::read(&binary).expect("it runs"), release.program);
        let metadata = fs::symlink_metadata(&binary).expect("it runs");
        assert!(metadata.is_file() && metadata.uid() == 0, "attack {number}: {metadata:?}");
        assert!(!ran.exists(), "attack {number}: the other program was executed");
        assert_eq!(ledger::never_two(&lives), Ok(()));
    }
}
