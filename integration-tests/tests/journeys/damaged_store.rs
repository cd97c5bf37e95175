//! T21: a file in the store that is not what it was.

use std::{fs, os::unix::fs::PermissionsExt};

use integration_tests::{child::Signal, journey::Journey};

#[tokio::test]
async fn t21_a_stored_file_that_was_damaged_is_not_run_and_is_fetched_anew() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    operator.running(&release).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(0));

    let binary = operator.home().join("store/sha256").join(&release.checksum).join("vault");
    let mut bytes = fs::read(&binary).expect("it ran");
    *bytes.last_mut().expect("a program has bytes") ^= 1;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(&binary, bytes).expect("it is ours");

    let daemon = operator.run();
    operator.running(&release).await;

    assert_eq!(fs::read(&binary).expect("it runs"), release.program);
    assert_eq!(operator.lives().len(), 2, "the damaged one never lived");
    assert_eq!(journey.server.served("1.0.0").len(), 2);
    assert!(daemon.stderr().contains(&format!("expected checksum {}", release.checksum)));
}
