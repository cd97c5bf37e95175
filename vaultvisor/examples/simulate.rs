//! Simulated lives of a vault, as many steps as wanted: `simulate [--steps N] [--seed N]`. A failure prints its seed
//! and the way there; `--seed <that> --steps 1` shows it again.

#[path = "../tests/simulator/mod.rs"]
mod simulator;

use std::process::ExitCode;

use vaultvisor::decide::states::{BEGINNINGS, TRANSITIONS};

fn main() -> ExitCode {
    let (mut steps, mut seed) = (1_000_000, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse().ok());
        match (name.as_str(), value) {
            ("--steps", Some(value)) => steps = value,
            ("--seed", Some(value)) => seed = value,
            _ => {
                println!("usage: simulate [--steps N] [--seed N]");
                return ExitCode::from(2);
            }
        }
    }
    let mut shown = 0;
    let outcome = simulator::run(seed, steps, |summary| {
        if summary.steps / 100_000 > shown {
            shown = summary.steps / 100_000;
            println!("{} steps, {} lives", summary.steps, summary.lives);
        }
    });
    match outcome {
        Ok(summary) => {
            println!("{summary:#?}");
            for (from, to, _) in TRANSITIONS {
                if !summary.coverage.transitions.contains_key(&(*from, *to)) {
                    println!("never seen: {from} -> {to}");
                }
            }
            for (name, _) in BEGINNINGS {
                if !summary.coverage.beginnings.contains_key(name) {
                    println!("never begun with: {name}");
                }
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("seed {}: {}", failure.seed, failure.text);
            ExitCode::FAILURE
        }
    }
}
