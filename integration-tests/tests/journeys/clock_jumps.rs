//! T26: the wall clock jumps by a year, either way.

use std::time::{Duration, Instant};

use integration_tests::{
    child::Signal,
    journey::Journey,
    ledger::{self, Life},
    operator::{self, Operator, VAULT},
    orders::Order,
    status::VaultStatus,
    wall_clock::{self, WallClock},
};
use serde_json::json;

/// Days.
const A_YEAR: i32 = 366;

/// The year that a status names.
fn year(vault: &VaultStatus) -> i32 {
    let since = vault.since.as_deref().expect("a daemon runs");
    since.split('-').next().and_then(|year| year.parse().ok()).expect("RFC 3339 begins with the year")
}

/// The clock is the daemon's own, and neither its keeper's nor the vault's.
async fn is_the_daemons_alone(operator: &Operator, daemon: u32) {
    assert!(wall_clock::is_given_to(daemon));
    let others = operator.processes().into_iter().map(|(pid, _)| pid).filter(|pid| *pid != daemon);
    let others: Vec<u32> = others.collect();
    assert!(others.len() >= 2, "a keeper and a vault: {others:?}");
    for other in others {
        assert!(!wall_clock::is_given_to(other), "{:?}", operator.processes());
    }
}

async fn probation_is_as_long_as_it_is_meant_to_be(jump: i32) {
    const PROBATION_SECS: u64 = 8;
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let clock = WallClock::new(&operator.data());
    let good = journey.release("1.0.0").await;
    let mut daemon = operator.run_by(&clock);
    operator.running(&good).await;
    is_the_daemons_alone(operator, daemon.pid()).await;
    operator.configure(|config| config["vaults"][VAULT]["probation"]["secs"] = json!(PROBATION_SECS));
    operator.reload(&daemon).await;

    let new = journey.release("2.0.0").await;
    let is_new =
        |vault: &VaultStatus| vault.running.as_ref().is_some_and(|running| running.checksum == new.checksum);
    let tried = operator
        .vault_where("the new release on probation", |vault| vault.state == "probation" && is_new(vault))
        .await;
    clock.jump(jump);
    // What could act on the jump: blocks, and a vaultvisor that begins anew by the new clock.
    operator::has_seen(&daemon, journey.chain.finalized_number().await + 1).await;
    assert_eq!(operator.vault().await.state, "probation", "it has not lived that long");
    daemon.signal(Signal::KILL);
    daemon.end().await;
    let daemon = operator.run_by(&clock);
    let kept = operator.vault_where("its end", |vault| vault.state == "running" && is_new(vault)).await;

    let life = operator.lives().pop().expect("the new release's");
    let lived = Duration::from_nanos(life.to_ns - life.from_ns);
    assert!(lived >= Duration::from_secs(PROBATION_SECS), "kept after {lived:?}");
    let jumped = (year(&kept) - year(&tried)).signum();
    assert_eq!(jumped, jump.signum(), "the clock did not jump: {tried:#?}, {kept:#?}");
    let pid = |vault: &VaultStatus| vault.running.as_ref().map(|running| running.pid);
    assert_eq!((pid(&tried), &kept.rejected[..]), (pid(&kept), &[][..]), "nothing was disturbed");
    is_the_daemons_alone(operator, daemon.pid()).await;
    let lives = operator.lives();
    assert_eq!((lives.len(), ledger::never_two(&lives)), (2, Ok(())));
}

#[tokio::test]
async fn t26_a_clock_that_jumps_a_year_ahead_ends_no_probation_early() {
    probation_is_as_long_as_it_is_meant_to_be(A_YEAR).await;
}

#[tokio::test]
async fn t26_a_clock_that_jumps_a_year_back_ends_a_probation_all_the_same() {
    probation_is_as_long_as_it_is_meant_to_be(-A_YEAR).await;
}

#[tokio::test]
async fn t26_a_rejected_release_waits_for_its_retry_by_no_clock_that_jumps() {
    const RETRY_SECS: u64 = 8;
    /// Each retry is up to a quarter earlier.
    const AT_LEAST: Duration = Duration::from_secs(RETRY_SECS * 3 / 4);
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let clock = WallClock::new(&operator.data());
    operator.obey_orders();
    operator.configure(|config| config["vaults"][VAULT]["retry_secs"] = json!([RETRY_SECS]));
    let good = journey.release("1.0.0").await;
    let mut daemon = operator.run_by(&clock);
    operator.running(&good).await;
    operator.orders().give(Order::Refuse, "2.0.0");
    let bad = journey.release("2.0.0").await;

    // Ahead, back beyond where it was, and to where it belongs; the last one with a vaultvisor that begins anew.
    for (attempts, jump) in [(1, A_YEAR), (2, -A_YEAR), (3, 0)] {
        let rejected = operator
            .vault_where("the rejection", |vault| {
                vault.rejected.iter().any(|rejected| rejected.attempts == attempts)
            })
            .await;
        assert_eq!(rejected.rejected[0].checksum, bad.checksum);
        let began = Instant::now();
        clock.jump(jump);
        operator::has_seen(&daemon, journey.chain.finalized_number().await + 1).await;
        if jump == 0 {
            daemon.signal(Signal::KILL);
            daemon.end().await;
            daemon = operator.run_by(&clock);
        }
        if began.elapsed() < AT_LEAST / 2 {
            let lives = operator.lives();
            assert_eq!(tries(&lives).len() as u64, attempts, "tried again at once by {jump} days");
        }
    }
    operator.orders().take_back(Order::Refuse, "2.0.0");
    operator.running(&bad).await;

    let lives = operator.lives();
    let tries = tries(&lives);
    assert_eq!((tries.len(), ledger::never_two(&lives)), (4, Ok(())));
    for pair in tries.windows(2) {
        let waited = Duration::from_nanos(pair[1].from_ns - pair[0].to_ns);
        assert!(waited >= AT_LEAST, "tried again after {waited:?}");
    }
    is_the_daemons_alone(operator, daemon.pid()).await;
}

fn tries(lives: &[Life]) -> Vec<&Life> {
    lives.iter().filter(|life| life.release.as_deref() == Some("2.0.0")).collect()
}
