//! The rules, one after the other, driven by hand: no clock, no process, no file.

mod chain;
mod crash;
mod failure;
mod fetch;
mod migration;
mod operator;
mod probation;
mod recovery;
mod start;
mod stop;
mod time;
mod upgrade_window;

use std::time::Duration;

use super::{
    data::{Arguments, DataLeft, Launch},
    policy::*,
    state::{Good, Name},
    *,
};
use crate::{
    chain::{ChainView, FinalizedBlock, PendingRelease, records::RecordName},
    migrate::snapshot::SnapshotRecord,
    release::{Checksum, GenesisHash, Release, StatedUri},
};

const PROBATION: Duration = Duration::from_secs(60);

fn release(sequence: u64, version: &str) -> Release {
    Release {
        sequence: Some(sequence),
        version: version.parse().expect("version"),
        binary_checksum: Checksum([version.as_bytes()[0]; 32]),
        uri: None,
        artifacts: Default::default(),
    }
}

fn boot(number: u32) -> BootId {
    BootId(format!("boot-{number}"))
}

/// A vault between events: its state, and the actions that wait to be answered.
struct Driver {
    state: State,
    now: Now,
    policy: Policy,
    next_pid: u32,
    finalized: u64,
    spec_version: u32,
    pending: Option<(Release, u32)>,
    /// What is on the disk of the vault's snapshots.
    records: Vec<SnapshotRecord>,
    /// All that was reported and noted since it was last looked at.
    said: Vec<Action>,
}

impl Driver {
    fn new() -> Self {
        let mut driver = Self {
            state: State::default(),
            now: Now { moment: Moment(1_000_000), unix_ms: 1_700_000_000_000 },
            policy: Policy { probation: PROBATION, seed: 7, ..Policy::default() },
            next_pid: 100,
            finalized: 10,
            spec_version: 1,
            pending: None,
            records: Vec::new(),
            said: Vec::new(),
        };
        assert_eq!(driver.recover(&[], 1, Observed::Nothing), []);
        driver
    }

    /// The machine was started again, and this vaultvisor with it.
    fn rebooted(mut self, stored: &[Checksum]) -> (Self, Vec<Action>) {
        self.now.moment = Moment(5_000);
        let number = self.boots() + 1;
        let actions = self.recover(stored, number, Observed::Nothing);
        (self, actions)
    }

    fn boots(&self) -> u32 {
        let boot = self.state.boot.as_ref().expect("a boot");
        boot.0.trim_start_matches("boot-").parse().expect("a number")
    }

    /// A new vaultvisor, in this boot (its number) or another.
    fn recover(&mut self, stored: &[Checksum], number: u32, observed: Observed) -> Vec<Action> {
        let snapshots = self.records.clone();
        self.step(Event::Recovered { stored: stored.to_vec(), boot: boot(number), snapshots, observed })
    }

    /// One decision; what is only said is put aside.
    fn step(&mut self, event: Event) -> Vec<Action> {
        let decision = decide(&self.state, &event, self.now, &self.policy);
        let begins = matches!(event, Event::Recovered { .. });
        let allowed = states::is_allowed(&self.state, &decision.next, begins);
        assert!(allowed, "{event:?}: from {} to {:?}", self.state.name(), decision.next.process);
        self.state = decision.next;
        let is_said = |action: &Action| {
            matches!(action, Action::Report { .. } | Action::History(_) | Action::Answer { .. })
        };
        let (said, done) = decision.actions.into_iter().partition(is_said);
        self.said.extend::<Vec<_>>(said);
        done
    }

    fn pass(&mut self, time: Duration) {
        self.now.moment = self.now.moment.after(time);
        self.now.unix_ms += super::time::millis(time);
    }

    /// Lets time pass until the next wait is over, and ticks.
    fn tick(&mut self) -> Vec<Action> {
        let wake = wake_at(&self.state, self.now.moment).expect("something waits");
        let left = Duration::from_millis(wake.0 - self.now.moment.0);
        self.pass(left);
        self.step(Event::Tick)
    }

    /// Ticks until something is to be done, and says how long that took.
    fn tick_until_action(&mut self) -> (Vec<Action>, Duration) {
        let began = self.now.moment;
        loop {
            let actions = self.tick();
            if !actions.is_empty() {
                return (actions, Duration::from_millis(self.now.moment.0 - began.0));
            }
        }
    }

    fn view(&self, current: Option<Release>) -> ChainView {
        let pending = self.pending.as_ref().map(|(release, spec_version)| PendingRelease {
            version: release.version.clone(),
            binary_checksum: release.binary_checksum,
            uri: None,
            artifacts: release.artifacts.clone(),
            spec_version: Some(*spec_version),
        });
        ChainView {
            source: "ws://node".into(),
            genesis: GenesisHash([9; 32]),
            finalized: FinalizedBlock { number: self.finalized, hash: [0; 32] },
            spec_version: self.spec_version,
            record: RecordName::VaultRelease,
            current,
            pending,
        }
    }

    fn chain(&mut self, release: &Release) -> Vec<Action> {
        self.finalized += 1;
        let view = self.view(Some(release.clone()));
        self.see(view)
    }

    fn see(&mut self, view: ChainView) -> Vec<Action> {
        self.step(Event::Chain { view: Some(Box::new(view)), best_spec_version: None, problem: None })
    }

    fn fetched(&mut self, release: &Release) -> Vec<Action> {
        self.step(Event::Fetched(release.binary_checksum))
    }

    fn started(&mut self, release: &Release) -> Vec<Action> {
        self.next_pid += 1;
        let (build, pid) = (Build::from(release), self.next_pid);
        self.step(Event::Started { build, pid, downtime: Some(Duration::from_millis(2)) })
    }

    /// The newest process ends by itself, and nothing of it is left.
    fn ended(&mut self) -> Vec<Action> {
        let pid = self.next_pid;
        assert_eq!(self.step(Event::Died { pid, ending: Ending::Code(1) }), [], "not before it is gone");
        self.step(Event::Ended { pid })
    }

    /// A switch stops the old process and starts the new one.
    fn switched(&mut self, release: &Release) -> Vec<Action> {
        let pid = self.next_pid;
        assert_eq!(self.step(Event::Died { pid, ending: Ending::Code(0) }), []);
        assert_eq!(self.step(Event::Ended { pid }), []);
        self.started(release)
    }

    fn command(&mut self, command: Command) -> (bool, Vec<Action>) {
        self.said.clear();
        let actions = self.step(Event::Operator(command));
        let answers: Vec<bool> = self.said.iter().filter_map(accepted).collect();
        assert_eq!(answers.len(), 1, "one answer to each command");
        (answers[0], actions)
    }

    /// Whether something of that severity was reported with that text in it.
    fn reported(&self, wanted: Severity, part: &str) -> bool {
        self.said.iter().any(|action| match action {
            Action::Report { severity, text } => *severity == wanted && text.contains(part),
            _ => false,
        })
    }

    fn noted(&self) -> Vec<Kind> {
        let kind = |action: &Action| match action {
            Action::History(entry) => Some(entry.kind),
            _ => None,
        };
        self.said.iter().filter_map(kind).collect()
    }

    /// A vault that runs this release and has proved it.
    fn running(release: &Release) -> Self {
        let mut driver = Self::new();
        assert_eq!(driver.chain(release), [fetch(release)]);
        assert_eq!(driver.fetched(release), [start(release)]);
        assert_eq!(driver.started(release), []);
        assert_eq!(driver.state.name(), Name::Probation);
        assert_eq!(driver.tick(), [Action::Prune { keep: vec![release.binary_checksum] }]);
        assert_eq!(driver.state.name(), Name::Running);
        driver.said.clear();
        driver
    }

    /// The same, with another release that was switched to and is on probation.
    fn on_trial(old: &Release, new: &Release) -> Self {
        let mut driver = Self::running(old);
        driver.chain(new);
        assert_eq!(driver.fetched(new), [switch_to(new)]);
        driver.switched(new);
        assert_eq!(driver.state.name(), Name::Probation);
        driver.said.clear();
        driver
    }

    fn build(&self) -> &Build {
        &self.state.running().expect("a process").build
    }

    fn problem(&self) -> &str {
        self.state.problems.last().map_or("", |problem| &problem.text)
    }
}

fn accepted(action: &Action) -> Option<bool> {
    match action {
        Action::Answer { accepted, .. } => Some(*accepted),
        _ => None,
    }
}

fn one() -> Release {
    release(1, "1.0")
}

fn two() -> Release {
    release(2, "2.0")
}

fn three() -> Release {
    release(3, "3.0")
}

fn override_with(release: &Release) -> Command {
    Command::Override { build: Build::from(release) }
}

fn fetch(release: &Release) -> Action {
    Action::Fetch(Build::from(release))
}

/// A start that changes nothing but the binary.
fn launch(release: &Release) -> Launch {
    let arguments = Arguments::Config(Vec::new());
    Launch { build: Build::from(release), arguments, restore: None, work: None }
}

fn start(release: &Release) -> Action {
    Action::Start(launch(release))
}

fn switch_to(release: &Release) -> Action {
    Action::Switch { to: launch(release) }
}

/// A store that holds all three.
fn all() -> Vec<Checksum> {
    [one(), two(), three()].map(|release| release.binary_checksum).to_vec()
}
