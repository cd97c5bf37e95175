//! T02: a second vaultvisor for an account that has one.

use integration_tests::{child::Child, journey::Journey, ledger};
use serde_json::json;

#[tokio::test]
async fn t02_a_second_vaultvisor_of_the_same_home_exits_3_and_names_the_first() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let first = operator.run();
    let before = operator.running(&release).await;

    let mut second = operator.run();
    is_refused(&mut second, &format!("held by home={}", operator.home().display())).await;

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
    is_refused(&mut second, &format!("held by home={}", home.display())).await;
    assert!(second.stderr().contains(&format!("vault={}", before.pid)));

    operator.configure(|config| config["home"] = json!(home));
    assert_eq!(operator.running(&release).await, before);
    let lives = operator.lives();
    assert_eq!((lives.len(), ledger::never_two(&lives)), (1, Ok(())));
}

async fn is_refused(second: &mut Child, why: &str) {
    assert_eq!(second.end().await.code(), Some(3));
    assert!(second.stderr().contains(why), "{why:?} is not said");
}
