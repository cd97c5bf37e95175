//! The loop of one vault and its executors: as the real ones, but in simulated time, and mortal at every step.

use std::collections::BTreeSet;

use vaultvisor::{
    decide::{
        self, Action, Decision, Ending, Event, Moment, Observed, State,
        data::{DataLeft, Launch, Stage},
        state::{Build, Phase},
    },
    journal::{Recorded, decode, encode},
    release::Checksum,
};

use super::{Item, Life, Outcome, data, machine::Quality};

/// A step of an executor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    /// A download ends.
    Fetch(Build),
    /// Arguments are made, and the first pass of a snapshot.
    Stage(Stage),
    /// A process is prepared, beside the old one.
    Prepare(Launch),
    /// The old process, if there was one, is gone: do what there is to be done to the data.
    Data(Launch, data::Step),
    /// Execute.
    Execute(Launch),
    /// The keeper has not said what became of the execution: it is told to end.
    GiveUp(u32),
}

pub(crate) struct Daemon {
    pub(crate) recorded: Recorded,
    decided_at: Moment,
    /// Whether the newest state is not on the disk.
    pub(crate) unwritten: bool,
    /// What waits until it is.
    waiting: Vec<Action>,
    /// The process that the executor knows.
    pub(crate) current: Option<u32>,
    /// A start or switch that is under way.
    pub(crate) starting: Option<Starting>,
    /// A process that was executed, which its keeper does not say.
    unheard: Option<(u32, Build)>,
    pub(crate) fetching: BTreeSet<Checksum>,
    pub(crate) give_up: bool,
    /// Whether something is being made ready.
    pub(crate) staging: bool,
    /// Set while what is in the way is being stopped.
    pub(crate) clearing: bool,
}

impl Work {
    /// What follows when nothing runs any more.
    fn of(launch: Launch) -> Self {
        match data::Step::first(&launch) {
            Some(step) => Self::Data(launch, step),
            None => Self::Execute(launch),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Starting {
    pub(crate) to: Launch,
    /// The process that it stops.
    old: Option<u32>,
    /// Whether it is prepared, and waits for the end of that.
    prepared: bool,
}

impl Daemon {
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        decide::wake_at(&self.recorded.state, self.decided_at)
    }

    pub(crate) fn is_waiting_for_disk(&self) -> bool {
        self.waiting.iter().any(|action| matches!(action, Action::Switch { .. } | Action::Stage(_)))
    }
}

impl Life {
    pub(crate) fn start_daemon(&mut self) -> Outcome {
        let recorded = match &self.machine.state_file {
            None => Recorded::default(),
            Some(text) => decode("state.json".as_ref(), text).map_err(|error| format!("A2: {error:?}"))?,
        };
        let observed = match &self.machine.process {
            _ if self.machine.intruder_until.is_some() => not_provable("held by another home"),
            // Its keeper has not recorded yet what it runs.
            Some(process) if process.main_lives && process.keeper_lives && self.rng.chance(0.05) => {
                not_provable("it runs, and nothing is recorded of it")
            }
            Some(process) if process.main_lives => {
                let (build, pid, since) = (process.build.clone(), process.pid, process.since);
                Observed::Runs { build, pid, since, told_to_end: process.told_on_record }
            }
            Some(process) if !process.is_gone => not_provable("leftovers"),
            Some(process) => {
                // Without room on the disk the keeper could not record what it runs.
                let build = (!self.rng.chance(0.1)).then(|| process.build.clone());
                let ending = if process.keeper_lives { process.ending } else { Ending::Unknown };
                Observed::Ended { build, pid: process.pid, ending, told_to_end: process.told_on_record }
            }
            None => Observed::Nothing,
        };
        self.trace(format!("vaultvisor starts and observes {observed:?}"));
        self.incarnation += 1;
        self.told_until = 0;
        let current = match &observed {
            Observed::Runs { pid, .. } => Some(*pid),
            _ => None,
        };
        self.coverage.adopted += u64::from(current.is_some());
        self.daemon = Some(Daemon {
            recorded,
            decided_at: Moment::default(),
            unwritten: false,
            waiting: Vec::new(),
            current,
            starting: None,
            unheard: None,
            fetching: BTreeSet::new(),
            give_up: false,
            staging: false,
            clearing: false,
        });
        let stored = self.machine.stored();
        let snapshots = self.machine.data.records();
        let boot = self.machine.boot_id();
        self.plan(5_000, Item::Probe(self.incarnation));
        self.decide(Event::Recovered { stored, boot, snapshots, observed })
    }

    pub(crate) fn kill_daemon(&mut self, how: &str) {
        if self.daemon.take().is_some() {
            self.trace(how.to_owned());
            self.coverage.kills += 1;
        }
        let again = self.rng.between(100, 30_000);
        self.plan(again, Item::StartDaemon);
    }

    /// Tells the daemon soon, after all that it was told before.
    pub(crate) fn tell(&mut self, event: Event) {
        let latency = self.rng.below(20);
        self.told_until = self.told_until.max(self.machine.total_ms + latency);
        let in_ms = self.told_until - self.machine.total_ms;
        self.plan(in_ms, Item::Tell(self.incarnation, event));
    }

    /// Tells of a process that the daemon's executor knows.
    pub(crate) fn tell_of(&mut self, pid: u32, event: Event) {
        if self.daemon.as_ref().is_some_and(|daemon| daemon.current == Some(pid)) {
            self.tell(event);
        }
    }

    /// One decision, made durable and carried out, unless vaultvisor dies in the middle of it.
    pub(crate) fn decide(&mut self, event: Event) -> Outcome {
        let now = self.machine.now();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let before = daemon.recorded.state.clone();
        let Decision { next, actions } = decide::decide(&before, &event, now, &self.policy);
        daemon.decided_at = now.moment;
        let from_to = format!("{} -> {}", before.name(), next.name());
        let done: Vec<&Action> = actions.iter().filter(|action| !is_said(action)).collect();
        if next != before || !done.is_empty() {
            let what = match &event {
                Event::Chain { view, problem, .. } => {
                    let stated = view.as_ref().and_then(|view| view.current.as_ref());
                    format!(
                        "Chain {:?} {problem:?}",
                        stated.map(|release| (release.sequence, Build::from(release)))
                    )
                }
                event => format!("{event:?}"),
            };
            let line = format!("{what}: {from_to} {done:?}");
            self.trace(line);
        }
        self.judge(&before, &event, &next)?;
        for action in &actions {
            self.judge_stop(&event, &next, action)?;
        }
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let quiet = decide::is_within_switch(&before, &event, &next);
        daemon.unwritten |= next != before;
        daemon.recorded.state = next;
        daemon.recorded.since_unix_secs = now.unix_secs();
        // A stop waits for no disk.
        let (stops, actions): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|action| matches!(action, Action::Stop | Action::StopOwn));
        for stop in stops {
            self.carry_out(stop)?;
            if self.faults && self.rng.chance(0.02) {
                self.kill_daemon("vaultvisor dies after a stop");
                return Ok(());
            }
        }
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if daemon.unwritten && !quiet {
            if self.faults && self.rng.chance(0.004) {
                // The write is cut short: after a crash the old file is there, or the new one.
                if self.rng.chance(0.5) && !self.machine.disk_refuses {
                    self.write()?;
                }
                if self.rng.chance(0.5) {
                    self.kill_daemon("vaultvisor dies while it writes");
                } else {
                    self.reboot();
                }
                return Ok(());
            }
            self.write()?;
        }
        for action in actions {
            if self.faults && self.rng.chance(0.003) {
                self.kill_daemon("vaultvisor dies before an action");
                return Ok(());
            }
            self.carry_out(action)?;
        }
        self.carry_out_what_gives_up_nothing()?;
        if self.daemon.as_ref().is_some_and(|daemon| daemon.recorded.state.is_stopped()) {
            self.stopped()?;
        }
        Ok(())
    }

    /// A switch that waits for the disk goes on when its old process has ended by itself.
    fn carry_out_what_gives_up_nothing(&mut self) -> Outcome {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        if !daemon.recorded.state.gives_up_nothing() {
            return Ok(());
        }
        let (switches, others): (Vec<_>, Vec<_>) = std::mem::take(&mut daemon.waiting)
            .into_iter()
            .partition(|action| matches!(action, Action::Switch { .. }));
        daemon.waiting = others;
        for action in switches {
            if let Action::Switch { to } = action {
                self.begin(to, None);
            }
        }
        Ok(())
    }

    fn stopped(&mut self) -> Outcome {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let own = self.machine.process.as_ref().is_some_and(|process| !process.is_gone);
        if daemon.recorded.state.left_behind().is_some() {
            self.coverage.left += 1;
        } else if daemon.current.is_some() || own {
            return Err("it says that it has stopped, and its vault may still run".into());
        }
        self.coverage.shutdowns += 1;
        self.kill_daemon("vaultvisor has ended");
        Ok(())
    }

    fn write(&mut self) -> Outcome {
        let refuses = self.machine.disk_refuses;
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let text = encode(&daemon.recorded).map_err(|error| error.to_string())?;
        if text.len() > 200_000 {
            return Err(format!("a state of {} bytes", text.len()));
        }
        daemon.unwritten = refuses;
        if refuses {
            self.plan(2_000, Item::WriteAgain(self.incarnation));
            return Ok(());
        }
        // Every eighth is enough to see that the form says all that the state does.
        if self.rng.below(8) == 0 {
            let again = decode("state.json".as_ref(), &text).map_err(|error| format!("A2: {error:?}"))?;
            let Some(daemon) = &self.daemon else { return Ok(()) };
            if again.state != daemon.recorded.state {
                return Err("A2: a state comes back from its file as another one".into());
            }
        }
        self.machine.state_file = Some(text);
        if let Some(process) = self.machine.process.as_mut() {
            process.told_durably |= process.was_told;
        }
        let waiting = self.daemon.as_mut().map(|daemon| std::mem::take(&mut daemon.waiting));
        for action in waiting.unwrap_or_default() {
            self.carry_out(action)?;
        }
        Ok(())
    }

    pub(crate) fn write_again(&mut self) -> Outcome {
        match self.daemon.as_ref().is_some_and(|daemon| daemon.unwritten) {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn carry_out(&mut self, action: Action) -> Outcome {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        match action {
            Action::Switch { .. }
            | Action::Stage(_)
            | Action::Prune { .. }
            | Action::PruneSnapshots { .. }
                if daemon.unwritten =>
            {
                daemon.waiting.push(action);
            }
            Action::Stage(stage) => {
                if std::mem::replace(&mut daemon.staging, true) {
                    return Err(format!("two releases are made ready at a time, the second {}", stage.to));
                }
                let takes = self.rng.between(10, 60_000);
                self.plan(takes, Item::Work(self.incarnation, Work::Stage(stage)));
            }
            Action::PruneSnapshots { keep } => {
                let needed = daemon.recorded.state.needed_snapshots();
                self.machine.data.prune(|id| keep.contains(&id) || needed.contains(&id))?;
            }
            Action::Fetch(build) => {
                daemon.fetching.insert(build.checksum);
                let takes = self.rng.between(10, 60_000);
                self.plan(takes, Item::Work(self.incarnation, Work::Fetch(build)));
            }
            Action::Start(launch) => {
                if daemon.current.is_some() || daemon.starting.is_some() {
                    let build = &launch.build;
                    return Err(format!("N1: {build} is to be started beside what runs or is being started"));
                }
                self.begin(launch, None);
            }
            Action::Switch { to } => {
                let build = &to.build;
                if daemon.starting.is_some() {
                    return Err(format!("two switches overlap, the second to {build}"));
                }
                let is_there = self.machine.store.contains_key(&build.checksum)
                    || self.machine.harmed.contains(&build.checksum);
                if !is_there {
                    return Err(format!("A1: a switch to {build}, which was never fetched"));
                }
                let old = daemon.current;
                self.coverage.switches += 1;
                self.begin(to, old);
            }
            Action::Stop => {
                daemon.give_up = true;
                let current = daemon.current;
                let waiting = std::mem::take(&mut daemon.waiting);
                if let Some(pid) = current {
                    self.stop_vault(pid);
                }
                // A switch that waited for the disk finds that it was given up, and says so.
                for action in waiting {
                    if let Action::Switch { to } = action {
                        self.begin(to, current);
                    }
                }
            }
            Action::StopOwn => {
                let own = self.machine.process.as_ref().filter(|process| !process.is_gone);
                let own = own.map(|process| process.pid).filter(|_| self.machine.intruder_until.is_none());
                match own {
                    Some(pid) => {
                        daemon.clearing = true;
                        self.stop_vault(pid);
                    }
                    None => self.tell(Event::Cleared { left: None }),
                }
            }
            Action::Prune { keep } => {
                // It may have waited for the disk: what is needed by now stays as well.
                let now = daemon.recorded.state.needed();
                // What is not needed is not fetched any more, either.
                daemon.fetching.retain(|file| keep.contains(file) || now.contains(file));
                let fetching = &daemon.fetching;
                let stays =
                    |file: &Checksum| keep.contains(file) || now.contains(file) || fetching.contains(file);
                self.machine.store.retain(|checksum, _| stays(checksum));
            }
            Action::Report { .. } | Action::History(_) | Action::Answer { .. } => {}
        }
        Ok(())
    }

    fn begin(&mut self, to: Launch, old: Option<u32>) {
        if let Some(daemon) = &mut self.daemon {
            daemon.starting = Some(Starting { to: to.clone(), old, prepared: false });
            let takes = self.rng.between(1, 500);
            self.plan(takes, Item::Work(self.incarnation, Work::Prepare(to)));
        }
    }

    pub(crate) fn work(&mut self, work: Work) -> Outcome {
        match work {
            Work::Fetch(build) => self.fetch_ends(build),
            Work::Stage(stage) => self.stage_ends(stage),
            Work::Prepare(launch) => self.prepare(launch),
            Work::Data(launch, step) => self.work_on_data(launch, step)?,
            Work::Execute(launch) => self.execute_at_last(launch)?,
            Work::GiveUp(pid) => self.stop_vault(pid),
        }
        Ok(())
    }

    fn fetch_ends(&mut self, build: Build) {
        let Some(daemon) = &mut self.daemon else { return };
        let checksum = build.checksum;
        if !daemon.fetching.remove(&checksum) {
            // It was given up.
            return;
        }
        let fails = self.faults && (self.machine.downloads_fail || self.rng.chance(0.2));
        let full = self.machine.disk_refuses && !self.machine.is_proved(checksum);
        if (fails && !self.machine.is_proved(checksum)) || full {
            return self.tell(Event::FetchFailed { checksum, reason: "404".into(), retry_after: None });
        }
        self.machine.put_into_store(checksum);
        // Not all that cannot be executed shows before.
        if self.quality(checksum) == Quality::NotExecutable && self.rng.chance(0.5) {
            self.coverage.unfit += 1;
            return self.tell(Event::Unfit { checksum, reason: "for another machine".into() });
        }
        self.tell(Event::Fetched(checksum));
    }

    fn prepare(&mut self, launch: Launch) {
        let build = launch.build.clone();
        let Some(daemon) = &self.daemon else { return };
        let old = daemon.starting.as_ref().and_then(|starting| starting.old);
        let unlucky = self.faults && self.rng.chance(0.02);
        if daemon.give_up || unlucky || !self.machine.is_proved(build.checksum) {
            if let Some(daemon) = &mut self.daemon {
                daemon.starting = None;
            }
            return self.tell(Event::NotPrepared { build, reason: "damaged, or given up".into() });
        }
        if let Some(starting) = self.daemon.as_mut().and_then(|daemon| daemon.starting.as_mut()) {
            starting.prepared = true;
        }
        // The executor's own view of the end: the process may be gone and the event still on its way.
        match old
            .filter(|pid| self.machine.process.as_ref().is_some_and(|old| old.pid == *pid && !old.is_gone))
        {
            Some(pid) => self.stop_vault(pid),
            None => self.plan(30, Item::Work(self.incarnation, Work::of(launch))),
        }
    }

    /// What a switch has waited for.
    pub(crate) fn old_is_gone(&mut self, pid: u32) {
        let Some(daemon) = &mut self.daemon else { return };
        if std::mem::take(&mut daemon.clearing) {
            return self.tell(Event::Cleared { left: None });
        }
        if daemon.current == Some(pid) {
            daemon.current = None;
        }
        if let Some((_, build)) = daemon.unheard.take_if(|(unheard, _)| *unheard == pid) {
            daemon.starting = None;
            let reason = "its keeper was silent, and has ended".to_owned();
            return self.tell(Event::StartFailed { build, reason, data: DataLeft::Lived });
        }
        if let Some(starting) =
            daemon.starting.clone().filter(|starting| starting.prepared && starting.old == Some(pid))
        {
            // After the end was told.
            let work = Item::Work(self.incarnation, Work::of(starting.to));
            self.plan(30, work);
        }
    }

    fn execute_at_last(&mut self, launch: Launch) -> Outcome {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        // Told once by whoever comes first, the end of the old process or the preparation.
        let Some(starting) = daemon.starting.take_if(|starting| starting.to == launch) else {
            return Ok(());
        };
        let data = data::left_by(&launch);
        let (build, reason) = (launch.build, "no".to_owned());
        if daemon.give_up {
            self.tell(Event::WorkFailed { build, reason, data });
        } else if let Some((pid, build)) = self.adoptable() {
            // Its own, which could not be taken over before.
            if let Some(daemon) = &mut self.daemon {
                daemon.current = Some(pid);
            }
            self.tell(Event::Started { build, pid, downtime: None });
        } else if self.machine.is_occupied() {
            self.coverage.blocked += 1;
            let processes = vec![];
            self.tell(Event::NotProvablyGone { build, lock_is_held: true, processes, reason, data });
        } else if !self.machine.is_proved(build.checksum) || self.faults && self.rng.chance(0.02) {
            // It was changed between hash and exec, or there is no process left to be had.
            self.coverage.hindered += 1;
            self.tell(Event::NotExecuted { build, reason, data });
        } else if self.quality(build.checksum) == Quality::NotExecutable {
            self.tell(Event::StartFailed { build, reason, data });
        } else {
            let pid = self.execute(&build)?;
            if self.faults && self.rng.chance(0.03) {
                self.hear_nothing(pid, build, starting);
                return Ok(());
            }
            if let Some(daemon) = &mut self.daemon {
                daemon.current = Some(pid);
            }
            self.tell(Event::Started { build, pid, downtime: None });
        }
        Ok(())
    }

    /// It is executed, and its keeper is killed before it says so, or stands still. Answered when nothing is left of it.
    fn hear_nothing(&mut self, pid: u32, build: Build, starting: Starting) {
        let Some(daemon) = &mut self.daemon else { return };
        self.coverage.unheard += 1;
        daemon.starting = Some(starting);
        daemon.unheard = Some((pid, build));
        match self.rng.chance(0.5) {
            true => self.kill_keeper(),
            false => self.plan(30_000, Item::Work(self.incarnation, Work::GiveUp(pid))),
        }
    }

    /// A keeper that was silent does not end, either.
    pub(crate) fn silence_is_long(&mut self, pid: u32) {
        let Some(daemon) = &mut self.daemon else { return };
        if let Some((_, build)) = daemon.unheard.take_if(|(unheard, _)| *unheard == pid) {
            daemon.starting = None;
            let (processes, reason) = (vec![pid], format!("the keeper of pid {pid} is silent"));
            let data = DataLeft::Lived;
            self.tell(Event::NotProvablyGone { build, lock_is_held: false, processes, reason, data });
        }
    }

    fn adoptable(&mut self) -> Option<(u32, Build)> {
        let is_free = self.machine.intruder_until.is_none() && self.rng.chance(0.5);
        let process = self.machine.living().filter(|process| is_free && process.keeper_lives)?;
        Some((process.pid, process.build.clone()))
    }

    /// What is in the way, and is its own, does not end.
    pub(crate) fn clearing_is_slow(&mut self, pid: u32) {
        let clears = self.daemon.as_mut().is_some_and(|daemon| std::mem::take(&mut daemon.clearing));
        if clears {
            self.tell(Event::Cleared { left: Some(format!("pid {pid} in state D")) });
        }
    }

    pub(crate) fn probe(&mut self) -> Outcome {
        self.plan(5_000, Item::Probe(self.incarnation));
        let probed = self.daemon.as_ref().and_then(|daemon| daemon.recorded.state.probed());
        let Some(pid) = probed.filter(|_| self.policy.health) else { return Ok(()) };
        let process = self.machine.living().filter(|process| process.pid == pid);
        let answers = process.is_some_and(|process| self.quality(process.build.checksum) != Quality::Mute);
        let ok = answers && !(self.faults && self.rng.chance(0.3));
        self.decide(Event::Health { pid, ok, detail: "503".into() })
    }
}

fn not_provable(reason: &str) -> Observed {
    Observed::NotProvable { lock_is_held: true, reason: reason.to_owned() }
}

fn is_said(action: &Action) -> bool {
    matches!(action, Action::Report { .. } | Action::History(_) | Action::Answer { .. })
}

/// Whether something is under way that will lead out of a phase.
pub(crate) fn is_under_way(daemon: &Daemon, state: &State, is_told: bool) -> bool {
    match &state.process {
        Phase::Launching { .. } | Phase::RollingBack { .. } | Phase::Switching { .. } => {
            daemon.starting.is_some() || daemon.is_waiting_for_disk() || is_told
        }
        Phase::Running { process, .. } | Phase::Ending { process, .. } | Phase::Stopping { process, .. } => {
            daemon.current == Some(process.pid) || is_told
        }
        Phase::Clearing { .. } => daemon.clearing || is_told,
        _ => true,
    }
}
