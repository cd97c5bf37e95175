//! T06, T07, T08: releases that fail later than at once, fail together with the old one, and come again.

use std::path::Path;

use integration_tests::{
    child::Signal,
    journey::Journey,
    ledger,
    operator::{self, NETWORK, VAULT},
    orders::Order,
    releases::Release,
    status::Rejected,
    wait,
};
use serde_json::json;

/// No wait is part of the way back, only an end and a start, of milliseconds each; the rest is for a loaded machine.
const DOWNTIME_SECS: f64 = 10.0;

#[tokio::test]
async fn t06_a_release_that_exits_late_in_its_probation_is_rejected_and_the_old_one_comes_back() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    let good = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&good).await;
    // So long that nothing but its exit can end it.
    operator.configure(|config| config["vaults"][VAULT]["probation"]["secs"] = json!(3600));
    operator.reload(&daemon).await;
    assert_eq!(operator.running(&good).await, before, "what was kept is not on probation again");

    let bad = journey.release("2.0.0").await;
    let on_probation = operator
        .vault_where("the new release on probation", |vault| {
            vault.state == "probation"
                && vault.running.as_ref().is_some_and(|running| running.checksum == bad.checksum)
        })
        .await;
    let mut stored = [good.checksum.clone(), bad.checksum.clone()];
    stored.sort();
    assert_eq!(operator.stored(), stored, "the way back is kept until then");
    operator.orders().give(Order::Exit, "2.0.0");
    let vault = operator.vault_where("the rejection", |vault| !vault.rejected.is_empty()).await;
    let after = operator.running(&good).await;

    assert!(vault.rejected[0].reason.contains("exit code 1"), "{}", vault.rejected[0].reason);
    assert_eq!((vault.rejected[0].checksum.as_str(), vault.rejected[0].attempts), (bad.checksum.as_str(), 1));
    let lives = operator.lives_where("three lives", |lives| lives.len() == 3).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert!(ledger::longest_downtime_secs(&lives) < DOWNTIME_SECS, "{lives:#?}");
    let pids: Vec<_> = lives.iter().map(|life| life.pid).collect();
    let failed = on_probation.running.expect("that is what was waited for");
    assert_eq!(pids, [before.pid, failed.pid, after.pid]);
}

#[tokio::test]
async fn t06_a_program_for_another_machine_is_rejected_and_nothing_is_stopped() {
    /// Where an ELF header names the machine.
    const MACHINE: std::ops::Range<usize> = 18..20;
    let spoil = |program: &mut Vec<u8>| program[MACHINE].copy_from_slice(&[0x34, 0x12]);
    does_not_fit(spoil, "it is a program for machine 4660 (64 bit), expected one for").await;
}

#[tokio::test]
async fn t06_a_program_whose_loader_is_missing_is_rejected_and_nothing_is_stopped() {
    let spoil = |program: &mut Vec<u8>| {
        const LOADER: &[u8] = b"/lib64/ld-linux-x86-64.so.2";
        let place = program.windows(LOADER.len()).position(|window| window == LOADER);
        let place = place.expect("the test vault is a dynamic program of this machine");
        program[place + LOADER.len() - 1] = b'9';
    };
    does_not_fit(spoil, "its loader /lib64/ld-linux-x86-64.so.9 cannot be executed").await;
}

#[tokio::test]
async fn t06_a_file_that_is_no_program_is_rejected_and_nothing_is_stopped() {
    let spoil = |program: &mut Vec<u8>| *program = b"#!/bin/sh\nexec sleep 1000\n".to_vec();
    does_not_fit(spoil, "it is a script, expected a program (ELF) for").await;
}

/// A release that can be seen not to run here costs the vault nothing.
async fn does_not_fit(spoil: impl FnOnce(&mut Vec<u8>), said: &str) {
    let mut program = Release::of_test_vault("2.0.0").program;
    spoil(&mut program);
    is_rejected_in_advance(&Journey::begin().await, Release::from_bytes("2.0.0", program), said).await;
}

#[tokio::test]
async fn t06_a_release_that_fails_its_probe_is_rejected_and_nothing_is_stopped() {
    let journey = Journey::begin().await;
    journey.operator.configure(|config| config["vaults"][VAULT]["probe_args"] = json!(["--version"]));
    // It says its version, as every one of GNU's programs, and fails all the same.
    let bad = Release::of(Path::new("/bin/false"), "2.0.0");
    is_rejected_in_advance(&journey, bad, "its probe with [\"--version\"] ended with exit status: 1").await;
}

async fn is_rejected_in_advance(journey: &Journey, bad: Release, said: &str) {
    let operator = &journey.operator;
    let good = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&good).await;
    journey.server.offer(&bad, NETWORK);
    journey.state(&bad).await;
    let vault = operator.vault_where("the rejection", |vault| !vault.rejected.is_empty()).await;

    let rejected = &vault.rejected[0];
    assert_eq!((rejected.checksum.as_str(), rejected.attempts), (bad.checksum.as_str(), 1));
    assert!(rejected.reason.contains(said), "{}", rejected.reason);
    assert!(vault.problem.is_some_and(|problem| problem.contains(said)));
    assert_eq!((vault.state.as_str(), vault.running.as_ref()), ("running", Some(&before)));
    assert_eq!(operator.lives().len(), 1, "nothing was stopped for it");

    // It is not in the way of the next one.
    let next = journey.release("3.0.0").await;
    operator.running(&next).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn t06_a_release_is_kept_only_once_its_health_url_answers() {
    let journey = Journey::begin().await;
    let (operator, server) = (&journey.operator, &journey.server);
    let health_url = format!("http://{}/health/vault-now", server.address());
    operator.configure(|config| config["vaults"][VAULT]["probation"]["health_url"] = json!(health_url));
    let release = journey.release("1.0.0").await;
    let _daemon = operator.run();

    // Far longer on probation than its one second.
    let unhealthy = operator
        .vault_where("probation to be over but for the health URL", |vault| vault.why.contains("health URL"))
        .await;
    assert_eq!(unhealthy.state, "probation");
    assert!(server.served("health").iter().all(|served| served.status == 404));
    server.offer_file("health", "now", b"fine");
    let after = operator.running(&release).await;

    assert_eq!(unhealthy.running.map(|running| running.pid), Some(after.pid), "it was not disturbed");
    assert_eq!(operator.lives().len(), 1);
}

#[tokio::test]
async fn t06_a_release_that_lives_and_never_answers_its_health_url_gives_way_to_the_old_one() {
    let journey = Journey::begin().await;
    let (operator, server) = (&journey.operator, &journey.server);
    let health_url = format!("http://{}/health/vault-now", server.address());
    operator.configure(|config| {
        config["vaults"][VAULT]["probation"] =
            json!({ "secs": 1, "health_url": health_url, "health_secs": 10 });
    });
    server.offer_file("health", "now", b"fine");
    let good = journey.release("1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&good).await;

    // The connection is taken, and nothing is ever said on it.
    server.stall(Some("health"));
    let bad = journey.release("2.0.0").await;
    let vault = operator.vault_where("the rejection", |vault| !vault.rejected.is_empty()).await;
    let after = operator.running(&good).await;

    let rejected = &vault.rejected[0];
    assert_eq!((rejected.checksum.as_str(), rejected.attempts), (bad.checksum.as_str(), 1));
    assert!(rejected.reason.contains("never answered its health URL"), "{}", rejected.reason);
    assert!(rejected.reason.contains("does not answer for 4 s"), "{}", rejected.reason);
    assert_eq!(vault.target.map(|target| target.checksum), Some(bad.checksum), "the chain still says so");
    let lives = operator.lives_where("three lives", |lives| lives.len() == 3).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert!(ledger::longest_downtime_secs(&lives) < DOWNTIME_SECS, "{lives:#?}");
    let of_life = |life: &ledger::Life| (life.pid, life.release.clone());
    assert_eq!(of_life(&lives[0]), (before.pid, Some("1.0.0".to_owned())));
    assert_eq!(of_life(&lives[2]), (after.pid, Some("1.0.0".to_owned())));
    // It was given its one second and the ten for the answer, and was asked to end, not killed.
    let tried = lives[1].to_ns - lives[1].from_ns;
    assert!(tried >= 11_000_000_000, "{tried} ns");
    assert_eq!((lives[1].signals.as_slice(), lives[1].ended), (&["SIGINT".to_owned()][..], true));
}

#[tokio::test]
async fn t07_when_the_old_release_fails_too_it_is_tried_ever_more_slowly_and_that_is_said() {
    const SECOND_NS: u64 = 1_000_000_000;
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    let good = journey.release("1.0.0").await;
    let _daemon = operator.run();
    operator.running(&good).await;

    for version in ["1.0.0", "2.0.0"] {
        operator.orders().give(Order::Refuse, version);
    }
    let bad = journey.release("2.0.0").await;
    // The life that was given up for the switch, the new one's, and three tries of the old one.
    let lives = operator.lives_where("the old release's third try", |lives| lives.len() >= 5).await;
    let vault = operator.vault().await;
    assert_eq!(vault.rejected.iter().map(|rejected| &rejected.checksum).collect::<Vec<_>>(), [&bad.checksum]);
    assert!(vault.problem.is_some(), "nobody would know: {vault:#?}");
    let releases: Vec<_> = lives.iter().filter_map(|life| life.release.as_deref()).collect();
    assert_eq!(releases[..5], ["1.0.0", "2.0.0", "1.0.0", "1.0.0", "1.0.0"]);
    let waits: Vec<_> = lives[2..5].windows(2).map(|pair| pair[1].from_ns - pair[0].to_ns).collect();
    // One second and two, each up to a quarter shorter.
    assert!(waits[0] >= SECOND_NS * 3 / 4 && waits[1] >= SECOND_NS * 3 / 2, "{waits:?}");

    // It comes back by itself when it can.
    operator.orders().take_back(Order::Refuse, "1.0.0");
    let after = operator.running(&good).await;
    assert!(after.restarts >= 2, "{after:?}");
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
    assert_eq!(operator.lives().iter().filter(|life| life.release.as_deref() == Some("2.0.0")).count(), 1);
}

const DAY_SECS: i64 = 24 * 3600;

/// Of a time of the status, such as `2026-11-26T12:58:29Z`: which second of its day it is.
fn second_of_day(time: &str) -> i64 {
    let (_, clock) = time.split_once('T').expect("RFC 3339");
    let number = |digits: &str| digits.parse::<i64>().expect("RFC 3339");
    clock.trim_end_matches('Z').split(':').map(number).fold(0, |sum, part| sum * 60 + part)
}

#[tokio::test]
async fn t08_a_rejection_outlives_vaultvisor_and_a_new_statement_or_the_operator_earn_one_try() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    let good = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    operator.running(&good).await;
    operator.orders().give(Order::Refuse, "2.0.0");
    let bad = journey.release("2.0.0").await;
    let rejected = operator.vault_where("the rejection", |vault| !vault.rejected.is_empty()).await.rejected;
    operator.running(&good).await;
    let tries = || operator.lives().iter().filter(|life| life.release.as_deref() == Some("2.0.0")).count();
    assert_eq!(tries(), 1);

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(0));
    let daemon = operator.run();
    let again = operator.running(&good).await;
    // Until the chain has been heard again, which is when it would be tried.
    let heard = operator
        .vault_where("the chain to be heard", |vault| {
            vault.chain.as_ref().is_some_and(|chain| chain.connected == Some(true))
        })
        .await;
    operator::has_seen(&daemon, journey.chain.finalized_number().await + 2).await;
    // When it is tried again is told by a clock that nothing is timed by, and that may be set meanwhile.
    let but_for_its_time = |rejected: &Rejected| Rejected { retry_at: String::new(), ..rejected.clone() };
    let (before, after) = (second_of_day(&rejected[0].retry_at), second_of_day(&heard.rejected[0].retry_at));
    assert!([0, 1, DAY_SECS - 1].contains(&(after - before).abs()), "its wait goes on: {before}, {after}");
    let [rejected, heard] = [&rejected, &heard.rejected]
        .map(|rejected| rejected.iter().map(but_for_its_time).collect::<Vec<_>>());
    assert_eq!(heard, rejected, "as it was");
    assert_eq!((tries(), operator.running(&good).await), (1, again));

    // The chain insists, once.
    journey.state(&bad).await;
    let vault = operator
        .vault_where("the second failure", |vault| {
            vault.rejected.iter().any(|rejected| rejected.attempts == 2)
        })
        .await;
    assert_eq!((vault.rejected.len(), tries()), (1, 2));
    operator.running(&good).await;

    // The operator insists.
    operator.orders().take_back(Order::Refuse, "2.0.0");
    operator.vaultvisor(&["retry", VAULT]).await.exited(0);
    operator.running(&bad).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
    wait::until("the rejection to be forgotten", async || match operator.vault().await {
        vault if vault.rejected.is_empty() && vault.problem.is_none() => Ok(()),
        vault => Err(format!("{vault:#?}")),
    })
    .await;
}

#[tokio::test]
async fn t08_a_rejected_release_is_tried_again_by_its_schedule() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    operator.configure(|config| config["vaults"][VAULT]["retry_secs"] = json!([2]));
    let good = journey.release("1.0.0").await;
    let _daemon = operator.run();
    operator.running(&good).await;
    operator.orders().give(Order::Refuse, "2.0.0");
    let late = journey.release("2.0.0").await;
    operator
        .vault_where("two failures", |vault| vault.rejected.iter().any(|rejected| rejected.attempts >= 2))
        .await;

    operator.orders().take_back(Order::Refuse, "2.0.0");
    operator.running(&late).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
    assert_eq!(journey.server.served("2.0.0").len(), 1, "it was kept for the next try");
}
