//! Simulated lives of a vault; see `simulator` and docs/development.md. The whole million steps:
//! `scripts/simulate.sh`.

mod simulator;

use vaultvisor::decide::states::{BEGINNINGS, TRANSITIONS};

/// Enough to go through every state, and few enough for every change's checks.
const STEPS: u64 = 300_000;

#[test]
fn every_promise_holds_through_simulated_lives() {
    let summary = simulator::run(1, STEPS, |_| {}).unwrap_or_else(|failure| {
        panic!("seed {}: {}", failure.seed, failure.text);
    });
    let seen = &summary.coverage;
    assert_eq!(seen.settled, summary.lives);
    for (what, times) in [
        ("kills", seen.kills),
        ("reboots", seen.reboots),
        ("shutdowns", seen.shutdowns),
        ("adoptions", seen.adopted),
        ("switches", seen.switches),
        ("kept releases", seen.kept),
        ("rejections", seen.rejected),
        ("excused exits", seen.excused),
        ("blocked starts", seen.blocked),
        ("slow stops", seen.stuck),
        ("ends that left something", seen.left),
        ("commands", seen.commands),
        ("files that cannot be executed", seen.unfit),
        ("releases made ready", seen.staged),
        ("migrations of data", seen.migrated),
        ("failed migrations of data", seen.migrations_failed),
        ("restores", seen.restored),
        ("failures on migrated data", seen.barred),
        ("executions that nobody heard of", seen.unheard),
        ("starts that the machine hindered", seen.hindered),
    ] {
        assert!(times > 0, "no {what} in {} steps: the simulator proves less than it says", summary.steps);
    }
    assert!(seen.beginnings.len() <= BEGINNINGS.len() && seen.transitions.len() <= TRANSITIONS.len());
}

#[test]
fn one_seed_is_one_life() {
    let steps = |seed| simulator::run(seed, 1, |_| {}).expect("a life").steps;
    assert_eq!(steps(7), steps(7));
}
