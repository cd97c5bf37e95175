//! What the pure core would do from a state on if everything went well: the real [`decide`], asked again and again, with
//! the answers that executors would give.
//!
//! Pure as well: no clock, no files. No rule is written down here a second time; what is told is what the states say
//! that `decide` leads through.

use std::time::Duration;

use crate::decide::{
    Action, Command, Decision, Ending, Event, Now, Policy, Severity, State, Wait,
    data::{Arguments, DataLeft, Staging, Standing},
    decide,
    state::{Build, Fetch, Old, Phase, Reason},
};
use crate::release::Checksum;

/// More than the longest way that there is: two downloads, a staging, a restore, a switch, and a wait before each.
const MAX_DECISIONS: usize = 40;

/// No process has this number: it stands for one that would be started.
const NO_PID: u32 = 0;

/// One thing that would be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A wait is sat out.
    Wait {
        /// Until when, and how long it is.
        wait: Wait,
        /// What for.
        why: Waiting,
    },
    /// A process that runs is taken over.
    Adopt {
        /// From what.
        build: Build,
        /// Its process id.
        pid: u32,
    },
    /// A release's files are fetched, or proved again where they are here.
    Fetch {
        /// The release.
        build: Build,
        /// Whether that is for a runtime upgrade to come.
        ahead: bool,
    },
    /// Arguments are made by the release's own program.
    MakeArguments {
        /// Whose they are made for.
        to: Build,
        /// Whose they are made of.
        from: Build,
        /// What those are.
        of: Arguments,
    },
    /// The first pass of a snapshot, while the old release runs.
    CopyData {
        /// Whose data it is.
        from: Build,
    },
    /// A process is stopped.
    Stop {
        /// From what.
        build: Build,
        /// Its process id.
        pid: u32,
    },
    /// The second pass of a snapshot.
    CopyChanges,
    /// The data is changed by the release's own program.
    MigrateData {
        /// The release.
        to: Build,
    },
    /// The data is put back as it was.
    RestoreData {
        /// The number of the snapshot.
        snapshot: u64,
        /// Whose data that is.
        from: Build,
    },
    /// A process is started.
    Start {
        /// From what.
        build: Build,
        /// With what.
        arguments: Arguments,
    },
    /// It proves itself.
    Prove {
        /// The release.
        build: Build,
        /// What happens if it fails.
        otherwise: Otherwise,
    },
}

/// What a wait is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// The chain, after a start of vaultvisor.
    Chain,
    /// The next start of a process that ended, or could not be started.
    Start(Build),
    /// The next try of a download.
    Fetch(Build),
    /// The next try to make a release ready.
    Stage(Build),
}

/// What becomes of a vault whose release fails its probation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Otherwise {
    /// That release is started again.
    Back(Build),
    /// Nothing may be started on the data but what has failed on it.
    Barred,
    /// There is nothing else: it is started again.
    Again,
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// What would be done, in this order.
    pub deeds: Vec<Deed>,
    /// What would be said of it as a warning or worse.
    pub warnings: Vec<String>,
    /// Where it ends: at something that time, the chain or an operator must bring.
    pub end: State,
    /// The next release that is started, whenever that is, and with what; `None` where nothing can be.
    pub next_start: Option<(Build, Arguments)>,
}

/// What only the machine knows.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The number that the next revision of arguments gets.
    pub next_revision: u32,
    /// The number that the next snapshot gets.
    pub next_snapshot: u64,
    /// A vault that somebody else runs, which stands in the way of the first start.
    pub in_the_way: Option<(u32, String)>,
}

/// What would happen from this state on, after this news.
pub fn foresee(
    state: State,
    news: impl IntoIterator<Item = Event>,
    now: Now,
    policy: &Policy,
    machine: &Machine,
) -> Foreseen {
    let mut foresight = Foresight { state, now, policy, machine, deeds: Vec::new(), warnings: Vec::new() };
    for event in news {
        if let Event::Recovered { observed: crate::decide::Observed::Runs { build, pid, .. }, .. } = &event {
            foresight.deeds.push(Deed::Adopt { build: build.clone(), pid: *pid });
        }
        foresight.take(&event);
    }
    for _ in 0..MAX_DECISIONS {
        let Some(event) = foresight.next() else { break };
        foresight.take(&event);
    }
    foresight.prove();
    let started = foresight.deeds.iter().find_map(|deed| match deed {
        Deed::Start { build, arguments } => Some((build.clone(), arguments.clone())),
        _ => None,
    });
    let next_start = started.or_else(|| foresight.restart());
    let Foresight { state: end, deeds, warnings, .. } = foresight;
    Foreseen { deeds, warnings, end, next_start }
}

struct Foresight<'a> {
    state: State,
    now: Now,
    policy: &'a Policy,
    machine: &'a Machine,
    deeds: Vec<Deed>,
    warnings: Vec<String>,
}

impl Foresight<'_> {
    fn take(&mut self, event: &Event) {
        let Decision { next, actions } = decide(&self.state, event, self.now, self.policy);
        self.state = next;
        self.hear(&actions);
    }

    fn hear(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Report { severity: Severity::Warn | Severity::Error, text } = action
                && !self.warnings.contains(text)
            {
                self.warnings.push(text.clone());
            }
        }
    }

    /// What is under way in this state, as deeds; and how it is answered if it goes well.
    fn next(&mut self) -> Option<Event> {
        self.next_of_process().or_else(|| self.next_of_files()).or_else(|| self.next_wait())
    }

    fn next_of_process(&mut self) -> Option<Event> {
        match self.state.process.clone() {
            Phase::Launching { build, .. } | Phase::RollingBack { to: build, .. } => {
                if let Some((pid, why)) = &self.machine.in_the_way {
                    return Some(Event::NotProvablyGone {
                        build,
                        lock_is_held: false,
                        processes: vec![*pid],
                        reason: why.clone(),
                        data: DataLeft::Untouched,
                    });
                }
                Some(self.start(build))
            }
            Phase::Switching { from, to, old, .. } => {
                if matches!(old, Old::Runs | Old::Died(_)) {
                    self.deeds.push(Deed::Stop { build: from.build, pid: from.pid });
                }
                Some(self.start(to))
            }
            Phase::Ending { process, .. } => {
                self.deeds.push(Deed::Stop { build: process.build, pid: process.pid });
                Some(Event::Ended { pid: process.pid })
            }
            _ => None,
        }
    }

    /// All from the end of the old process to the execution of the new one.
    fn start(&mut self, build: Build) -> Event {
        let newest = self.state.snapshots.iter().rev().find(|snapshot| snapshot.standing != Standing::Plain);
        match newest {
            Some(snapshot) if snapshot.standing == Standing::Restore => {
                self.deeds.push(Deed::RestoreData { snapshot: snapshot.id, from: snapshot.from.clone() });
            }
            Some(snapshot) if snapshot.standing == Standing::Begun => {
                let migrates = snapshot.migrates;
                self.deeds.push(Deed::CopyChanges);
                if migrates {
                    self.deeds.push(Deed::MigrateData { to: build.clone() });
                }
            }
            _ => {}
        }
        // Each start notes down what it is with, before it begins.
        if let Some(arguments) = self.state.arguments_of(build.checksum).cloned() {
            self.deeds.push(Deed::Start { build: build.clone(), arguments });
        }
        Event::Started { build, pid: NO_PID, downtime: None }
    }

    fn next_of_files(&mut self) -> Option<Event> {
        let chosen = self.state.chosen();
        if let Some(checksum) = fetching(&self.state.fetch) {
            self.deeds.extend(
                chosen
                    .filter(|build| build.checksum == checksum)
                    .map(|build| Deed::Fetch { build, ahead: false }),
            );
            return Some(Event::Fetched(checksum));
        }
        if let Staging::Staging { stage, .. } = &self.state.staging {
            let stage = stage.clone();
            let arguments = match stage.to.migrations.args {
                None => stage.arguments.clone(),
                Some(_) => {
                    self.deeds.push(Deed::MakeArguments {
                        to: stage.to.clone(),
                        from: stage.from.clone(),
                        of: stage.arguments,
                    });
                    Arguments::Revision(self.machine.next_revision)
                }
            };
            if stage.snapshot {
                self.deeds.push(Deed::CopyData { from: stage.from });
            }
            let snapshot = stage.snapshot.then_some(self.machine.next_snapshot);
            return Some(Event::Staged { to: stage.to.checksum, arguments, snapshot });
        }
        if let Some(checksum) = fetching(&self.state.pending_fetch) {
            let pending = self.state.pending.as_ref().map(|pending| pending.build.clone());
            self.deeds.extend(
                pending
                    .filter(|build| build.checksum == checksum)
                    .map(|build| Deed::Fetch { build, ahead: true }),
            );
            return Some(Event::Fetched(checksum));
        }
        None
    }

    /// The next wait that ends by itself and that something is tried again after; it is over when this returns. Not
    /// sat out is what may end in any way, as probations do, and what a person may want to end, as rejections are.
    fn next_wait(&mut self) -> Option<Event> {
        let chosen = || self.state.chosen();
        let retry = |fetch: &Fetch, build: Option<Build>| match fetch {
            Fetch::Failed { wait, .. } => Some((*wait, Waiting::Fetch(build?))),
            _ => None,
        };
        let pending = self.state.pending.as_ref().map(|pending| pending.build.clone());
        let start = match &self.state.process {
            Phase::Starting { build, wait, .. } => Some((*wait, Waiting::Start(build.clone()))),
            _ => None,
        };
        let staging = match &self.state.staging {
            Staging::Failed { stage, wait, .. } => Some((*wait, Waiting::Stage(stage.to.clone()))),
            _ => None,
        };
        let startup = self.state.startup_wait.map(|wait| (wait, Waiting::Chain));
        let waits = [
            startup,
            start,
            retry(&self.state.fetch, chosen()),
            retry(&self.state.pending_fetch, pending),
            staging,
        ];
        let waits = waits.into_iter().flatten().filter(|(wait, _)| !wait.is_over(self.now.moment));
        let (wait, why) = waits.min_by_key(|(wait, _)| wait.until)?;
        let left_ms = wait.left_ms(self.now.moment);
        self.now.unix_ms = self.now.unix_ms.saturating_add(left_ms);
        self.now.moment = self.now.moment.after(Duration::from_millis(left_ms));
        self.deeds.push(Deed::Wait { wait, why });
        Some(Event::Tick)
    }

    /// What is on probation at the end, and what becomes of the vault if that fails.
    fn prove(&mut self) {
        let Phase::Running { process, probation: Some(_), .. } = &self.state.process else { return };
        let (build, pid) = (process.build.clone(), process.pid);
        let mut after = self.state.clone();
        let mut now = self.now;
        // A later moment than that of any wait that began now.
        now.moment = now.moment.after(Duration::from_millis(1));
        for event in [Event::Died { pid, ending: Ending::Code(1) }, Event::Ended { pid }] {
            after = decide(&after, &event, now, self.policy).next;
        }
        let otherwise = match after.process {
            Phase::RollingBack { to, .. } => Otherwise::Back(to),
            Phase::Barred { .. } => Otherwise::Barred,
            _ => Otherwise::Again,
        };
        self.deeds.push(Deed::Prove { build, otherwise });
    }

    /// What an operator's restart would start at the end, which is what any next start of it is started with.
    fn restart(&mut self) -> Option<(Build, Arguments)> {
        let Phase::Running { .. } = &self.state.process else { return None };
        let event = Event::Operator(Command::Restart);
        let Decision { next, actions } = decide(&self.state, &event, self.now, self.policy);
        let Phase::Switching { to, reason: Reason::Restart, .. } = &next.process else { return None };
        let launch = actions.iter().find_map(|action| match action {
            Action::Switch { to } => Some(to.arguments.clone()),
            _ => None,
        })?;
        self.hear(&actions);
        Some((to.clone(), launch))
    }
}

fn fetching(fetch: &Fetch) -> Option<Checksum> {
    match fetch {
        Fetch::Fetching { checksum, .. } => Some(*checksum),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
