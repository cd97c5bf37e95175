//! Kills vaultvisor (SIGKILL) at every point of its journal, its store and its actions, one run for each point, and
//! judges what the next vaultvisor makes of it.
//!
//! Vaultvisor of a build with the feature `crash-points` ends itself at the point whose number it is given: see
//! `vaultvisor/src/crash_points.rs`. Each scenario first runs to its end, which shows what there is then; then it is
//! run with a kill at its first point, its second, and so on, until runs come to their end without having been killed.
//! After each kill vaultvisor is started again, and by itself, without a word of anybody, it must get to where the
//! undisturbed run got.

mod programs;
mod scenario;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use futures::{FutureExt as _, future::join_all};
use programs::Programs;
use scenario::{Ground, Run, Scenario};

/// How many runs are under way beside one another: each waits most of the time, for a probation or a connection.
const AT_ONCE: u64 = 4;

/// After so many runs that nothing killed, a scenario is over. One could have been the run that had, by chance, fewer
/// points than others, such as one in which two entries of the history were written at once.
const UNDISTURBED_RUNS: usize = 2;

const USAGE: &str = "usage: crash-points --programs FOLDER [--every N] [--first N] [--scenario NAME]";

/// What is asked for.
struct Options {
    /// The folder of a vaultvisor and its keeper, built with `crash-points`.
    programs: PathBuf,
    /// One point of so many.
    every: u64,
    /// The number of the first.
    first: u64,
    /// One scenario only.
    scenario: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let (mut programs, mut every, mut first, mut scenario) = (None, 1, 1, None);
        while let Some(option) = args.next() {
            let value = args.next()?;
            match option.as_str() {
                "--programs" => programs = Some(PathBuf::from(value)),
                "--every" => every = value.parse().ok().filter(|every| *every > 0)?,
                "--first" => first = value.parse().ok().filter(|first| *first > 0)?,
                "--scenario" => scenario = Some(value),
                _ => return None,
            }
        }
        Some(Self { programs: programs?, every, first, scenario })
    }
}

/// What came of one scenario.
#[derive(Default)]
struct Outcome {
    /// The runs that were killed and ended well.
    killed: usize,
    /// The runs that were not killed.
    undisturbed: usize,
    /// The most vaults that lived in one run.
    most_lives: usize,
    /// What went wrong, by number.
    failures: BTreeMap<u64, String>,
}

impl Outcome {
    fn take(&mut self, run: Run) {
        self.most_lives = self.most_lives.max(run.lives);
        match run.killed {
            true => self.killed += 1,
            false => self.undisturbed += 1,
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let ground = Ground::prepare().await;
    let (mut rows, mut failures) = (Vec::new(), 0);
    for name in Scenario::NAMES {
        if options.scenario.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let start = Instant::now();
        let scenario = ground.scenario(name).await;
        let outcome = run(&ground, &scenario, &options).await;
        for (number, what) in &outcome.failures {
            println!("FAILED: {name}, point {number}: {what}");
        }
        failures += outcome.failures.len();
        let (kills, lives, secs) = (outcome.killed, outcome.most_lives, start.elapsed().as_secs());
        rows.push(format!("| {name} | {kills} | {} | {lives} | {secs} |", outcome.failures.len()));
    }
    if rows.is_empty() {
        println!("no such scenario; there are: {}", Scenario::NAMES.join(", "));
        return ExitCode::from(2);
    }
    println!(
        "\n| scenario | kills | failures | vaults in one run, at most | seconds |\n|---|---|---|---|---|"
    );
    rows.iter().for_each(|row| println!("{row}"));
    println!("\n{failures} failures in {} s", began.elapsed().as_secs());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a scenario with a kill at each of its points.
async fn run(ground: &Ground, scenario: &Scenario, options: &Options) -> Outcome {
    let reference = ground.undisturbed(scenario, &Programs::copy_of(&options.programs)).await;
    println!("{}: about {} points", scenario.name, reference.points.len());
    assert!(
        !reference.points.is_empty(),
        "{} has no crash points: build it with --features vaultvisor/crash-points",
        options.programs.display()
    );
    let (next, outcome) = (Cell::new(options.first), RefCell::new(Outcome::default()));
    let worker = async |programs: Programs| {
        while outcome.borrow().undisturbed < UNDISTURBED_RUNS {
            let number = next.replace(next.get() + options.every);
            // One that fails does not keep the others from being looked at.
            let run = AssertUnwindSafe(ground.crash(scenario, number, &reference, &programs)).catch_unwind();
            match run.await {
                Ok(run) => outcome.borrow_mut().take(run),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let what = text.or_else(|| panic.downcast_ref().copied()).unwrap_or("a panic");
                    let point = programs.points().pop().unwrap_or_default();
                    outcome.borrow_mut().failures.insert(number, format!("killed at \"{point}\": {what}"));
                }
            }
        }
    };
    join_all((0..AT_ONCE).map(|_| worker(Programs::copy_of(&options.programs)))).await;
    outcome.into_inner()
}
