//! A vault that we did not write: Debian's Redis, which keeps data.

use integration_tests::{journey::Journey, operator::NETWORK, real_store, redis, releases::Release, wait};

#[tokio::test]
async fn redis_is_updated_and_keeps_its_data() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let [first, second] = ["7.0.0", "7.0.1"].map(|version| Release::of(&redis::program(), version));
    for release in [&first, &second] {
        journey.server.offer(release, NETWORK);
    }
    let port = redis::free_port();
    let args = redis::args(port, &operator.data());
    operator.set_vault_args(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let ping = || {
        wait::until("redis to answer", async || match redis::ask(port, "PING")? {
            answer if answer == "+PONG" => Ok(()),
            answer => Err(answer),
        })
    };

    journey.state(&first).await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;
    ping().await;
    assert_eq!(redis::ask(port, "SET promise kept").as_deref(), Ok("+OK"));

    journey.state(&second).await;
    let after = operator.running(&second).await;
    ping().await;
    assert_ne!(after.pid, before.pid);
    let info = redis::ask(port, "CONFIG GET appendonly");
    assert!(info.is_ok(), "{info:?}");
    assert_eq!(redis::ask(port, "GET promise").as_deref(), Ok("kept"));
}

#[tokio::test]
async fn redis_loses_nothing_when_a_migration_ruins_its_data_and_fails() {
    let measured = real_store::through_a_failed_upgrade(16).await;
    assert!(measured.bytes > 16 * 1024 * 1024, "{measured:?}: nothing was there to be lost");
}
