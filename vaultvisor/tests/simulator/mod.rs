//! A simulator of one vault's whole life: the real `decide`, the real form of the journal and the real recovery, over
//! fakes of everything else, which fail, delay and crash at any step.
//!
//! Nothing here reads a clock or a file. Every choice comes from one seeded generator, so the seed of a failure
//! shows it again. A *life* begins with an empty machine, goes through some thousand steps with faults, and ends with
//! all faults gone and governance's last statement, on which it must settle.
//!
//! - `rng`: where all choices come from;
//! - `chain`: a chain whose governance states releases, and whose sources fail;
//! - `data`: the vault's data, its snapshots and what is done to them;
//! - `machine`: clock, processes with their keepers, lock, store and disk of one machine;
//! - `daemon`: the loop of one vault and its executors, as the real ones promise to be;
//! - `check`: what must hold after every step.

mod chain;
mod check;
mod daemon;
mod data;
mod machine;
mod rng;

use std::{collections::VecDeque, fmt::Write};

use vaultvisor::decide::{
    Command, Event, Moment, Policy,
    state::{Concern, Name, Phase},
};

use self::{
    chain::Chain,
    check::Coverage,
    daemon::Daemon,
    machine::{Machine, Quality},
    rng::Rng,
};

/// Steps with faults in one life.
const STEPS_OF_A_LIFE: u64 = 2_000;
/// A settled vault needs the longest wait of a rejection, a few tries of downloads and starts, and a probation.
const SETTLE_WITHIN_MS: u64 = 8 * 60 * 60 * 1000;
/// What is shown of the way to a failure.
const TRACE_LINES: usize = 60;

/// Something that may happen in a life, at a time.
#[derive(Debug, Clone, PartialEq)]
enum Item {
    /// Vaultvisor is started.
    StartDaemon,
    /// An executor tells the daemon of that incarnation.
    Tell(u32, Event),
    /// An executor of that incarnation goes on.
    Work(u32, daemon::Work),
    /// A main process ends by itself, or because it was told to.
    MainDies(u32),
    /// The last of what a process started ends.
    AllGone(u32),
    /// A stop of the process takes longer than it may.
    StopIsSlow(u32),
    /// The chain moves on.
    Block,
    /// The health URL is asked.
    Probe(u32),
    /// An unwritten state is written again.
    WriteAgain(u32),
}

/// What went wrong in a life.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Shows it again.
    pub(crate) seed: u64,
    /// The promise that was broken, and the way there.
    pub(crate) text: String,
}

/// What a run has done.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Steps of all lives.
    pub(crate) steps: u64,
    /// Lives.
    pub(crate) lives: u64,
    /// What was seen in them.
    pub(crate) coverage: Coverage,
}

/// Runs lives, of the seeds from this one on, until so many steps are done.
pub(crate) fn run(seed: u64, steps: u64, mut progress: impl FnMut(&Summary)) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    let mut seed = seed;
    while summary.steps < steps {
        let life = Life::new(seed);
        summary.steps += life.live(&mut summary.coverage).map_err(|text| Failure { seed, text })?;
        summary.lives += 1;
        seed = seed.wrapping_add(1);
        progress(&summary);
    }
    Ok(summary)
}

struct Life {
    rng: Rng,
    machine: Machine,
    chain: Chain,
    daemon: Option<Daemon>,
    /// Counts the daemons, so that what a dead one had under way is told from the living one's.
    incarnation: u32,
    policy: Policy,
    /// Things to happen, by time and then by order of their planning.
    agenda: std::collections::BTreeMap<(u64, u64), Item>,
    planned: u64,
    /// How often something bad happens, or an operator, at a step.
    mishaps: f64,
    /// Whether anything fails at all.
    faults: bool,
    /// Event times of one daemon never go back: its channel is a queue.
    told_until: u64,
    trace: VecDeque<String>,
    coverage: Coverage,
    ticks_at: (u64, u32),
    /// Since when nothing runs although something could.
    idle_since: Option<u64>,
    /// Until when this daemon lets the upgrade to this runtime version excuse exits.
    excused_until: Option<((u32, u32), Moment)>,
}

type Outcome = Result<(), String>;

impl Life {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let policy = Policy {
            health: rng.chance(0.4),
            keep_releases: rng.below(3) as usize,
            data_dir: rng.chance(0.7),
            skip_snapshot: rng.chance(0.2),
            keep_snapshots: rng.below(3) as usize,
            restore_after_live: rng.chance(0.3),
            seed: rng.next(),
            ..Policy::default()
        };
        let mishaps = [0.01, 0.03, 0.12][rng.below(3) as usize];
        let mut life = Self {
            mishaps,
            chain: Chain::new(&mut rng),
            machine: Machine::new(&mut rng),
            rng,
            daemon: None,
            incarnation: 0,
            policy,
            agenda: Default::default(),
            planned: 0,
            faults: true,
            told_until: 0,
            trace: VecDeque::new(),
            coverage: Coverage::default(),
            ticks_at: (0, 0),
            idle_since: None,
            excused_until: None,
        };
        life.plan(0, Item::StartDaemon);
        life.plan(10, Item::Block);
        life
    }

    /// From birth to a settled end. Answers how many steps it took.
    fn live(mut self, coverage: &mut Coverage) -> Result<u64, String> {
        let mut steps = 0;
        let outcome = self.live_on(&mut steps);
        coverage.add(&self.coverage);
        outcome.map(|()| steps).map_err(|broken| {
            let mut text = format!("{broken}\n");
            for line in &self.trace {
                let _ = writeln!(text, "  {line}");
            }
            if let Some(daemon) = &self.daemon {
                let _ = writeln!(text, "  state: {:#?}", daemon.recorded.state);
            }
            text
        })
    }

    fn live_on(&mut self, steps: &mut u64) -> Outcome {
        for _ in 0..STEPS_OF_A_LIFE {
            *steps += 1;
            if self.rng.chance(self.mishaps) {
                self.mishap()?;
            }
            self.step()?;
            self.check()?;
        }
        self.end_faults();
        let deadline = self.machine.total_ms + SETTLE_WITHIN_MS;
        while !self.is_settled() {
            if self.machine.total_ms > deadline {
                return Err(format!(
                    "not settled on the chain's {:?} after 8 h without faults",
                    self.chain.current
                ));
            }
            *steps += 1;
            self.step()?;
            self.check()?;
        }
        self.coverage.settled += 1;
        Ok(())
    }

    fn plan(&mut self, in_ms: u64, item: Item) {
        self.planned += 1;
        self.agenda.insert((self.machine.total_ms + in_ms, self.planned), item);
    }

    fn trace(&mut self, line: String) {
        if self.trace.len() >= TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{:>9.3} s {line}", self.machine.total_ms as f64 / 1000.0));
    }

    /// The next thing happens, or the daemon's next wait is over.
    fn step(&mut self) -> Outcome {
        let next = self.agenda.first_key_value().map(|(key, _)| *key);
        let wake = self
            .daemon
            .as_ref()
            .and_then(|daemon| daemon.wake_at())
            .map(|moment| self.machine.total_ms + moment.0.saturating_sub(self.machine.moment_ms));
        match (next, wake) {
            (Some((at, _)), Some(wake)) if wake < at => self.tick(wake),
            (None, Some(wake)) => self.tick(wake),
            (None, None) => Err("nothing will ever happen again".into()),
            (Some(key), _) => {
                self.machine.pass_until(key.0);
                let item = self.agenda.remove(&key).expect("just seen");
                self.happen(item)
            }
        }
    }

    fn tick(&mut self, at: u64) -> Outcome {
        self.machine.pass_until(at);
        self.ticks_at = if self.ticks_at.0 == at { (at, self.ticks_at.1 + 1) } else { (at, 1) };
        if self.ticks_at.1 > 10 {
            return Err("the waits of the state make its loop spin".into());
        }
        self.decide(Event::Tick)
    }

    fn happen(&mut self, item: Item) -> Outcome {
        let current = self.incarnation;
        match item {
            Item::StartDaemon if self.daemon.is_none() => self.start_daemon(),
            Item::StartDaemon => Ok(()),
            Item::Tell(incarnation, event) if incarnation == current && self.daemon.is_some() => {
                self.decide(event)
            }
            Item::Work(incarnation, work) if incarnation == current && self.daemon.is_some() => {
                self.work(work)
            }
            Item::WriteAgain(incarnation) if incarnation == current && self.daemon.is_some() => {
                self.write_again()
            }
            Item::Probe(incarnation) if incarnation == current && self.daemon.is_some() => self.probe(),
            Item::Tell(..) | Item::Work(..) | Item::WriteAgain(_) | Item::Probe(_) => Ok(()),
            Item::MainDies(pid) => self.main_dies(pid),
            Item::AllGone(pid) => self.all_gone(pid),
            Item::StopIsSlow(pid) => self.stop_is_slow(pid),
            Item::Block => self.block(),
        }
    }

    /// Something bad, or an operator.
    fn mishap(&mut self) -> Outcome {
        let what = self.rng.below(23);
        match what {
            0 | 1 => self.kill_daemon("vaultvisor is killed"),
            2 => self.kill_keeper(),
            3 => {
                self.kill_daemon("vaultvisor and the keeper are killed");
                self.kill_keeper();
            }
            4 => self.reboot(),
            5 => self.kill_vault(),
            6 => self.machine.disk_refuses = !self.machine.disk_refuses,
            7 => {
                let jump = self.rng.below(63_072_000);
                self.machine.unix_ms = (1_600_000_000 + jump) * 1000;
                self.trace("the wall clock jumps".into());
            }
            8 => {
                let damaged = self.machine.damage_a_file(&mut self.rng);
                self.trace(format!("a file is damaged: {damaged:?}"));
            }
            9 => self.machine.downloads_fail = !self.machine.downloads_fail,
            10 => self.chain.reachable = !self.chain.reachable,
            11 => self.machine.intrude(&mut self.rng),
            12..=15 => {
                self.chain.govern(&mut self.rng);
                let (current, pending) = (&self.chain.current, &self.chain.pending);
                self.trace(format!("governance: current {current:?}, pending {pending:?}"));
            }
            16 if self.daemon.is_some() => return self.decide(Event::Shutdown),
            17..=22 if self.daemon.is_some() => return self.command(),
            _ => {}
        }
        Ok(())
    }

    fn command(&mut self) -> Outcome {
        let command = match self.rng.below(7) {
            0 => Command::Hold { reason: None },
            1 | 2 => Command::Resume,
            3 => Command::Retry,
            4 => Command::Restart,
            _ => {
                let build = self.chain.any_build(&mut self.rng);
                self.machine.put_into_store(build.checksum);
                self.machine.allowed.insert(build.checksum);
                Command::Override { build }
            }
        };
        self.coverage.commands += 1;
        self.decide(Event::Operator(command))
    }

    /// From here on everything works, and governance has said its last word: a good release.
    fn end_faults(&mut self) {
        self.trace("all faults end".into());
        self.faults = false;
        self.machine.end_faults();
        self.chain.end_faults(&mut self.rng);
        self.plan(1_000, Item::StartDaemon);
    }

    fn is_settled(&mut self) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        let state = &daemon.recorded.state;
        if state.hold.is_some() {
            // An operator ends it.
            let _ = self.decide(Event::Operator(Command::Resume));
            return false;
        }
        if state.override_build.is_some() && state.chain_heard {
            // Only governance's next word ends it.
            self.chain.state_another_good_one(&mut self.rng);
        }
        if matches!(state.process, Phase::Barred { .. }) && !self.policy.restore_after_live {
            // An operator has seen that nothing was paid.
            self.policy.restore_after_live = true;
            let _ = self.decide(Event::Tick);
            return false;
        }
        if state.problems.iter().any(|problem| problem.concern == Concern::Staging) && !self.policy.data_dir {
            // An operator has read that a release migrates data, and said where it is.
            self.policy.data_dir = true;
            let _ = self.decide(Event::Tick);
            return false;
        }
        let Some(current) = &self.chain.current else { return false };
        let runs =
            self.machine.living().is_some_and(|process| process.build.checksum == current.binary_checksum);
        let Some(daemon) = &self.daemon else { return false };
        let state = &daemon.recorded.state;
        runs && state.name() == Name::Running && state.fetch == vaultvisor::decide::state::Fetch::Idle
    }

    fn quality(&self, checksum: vaultvisor::release::Checksum) -> Quality {
        if self.faults { Quality::of(checksum) } else { Quality::Good }
    }
}
