//! One machine: its clock, the vault's process and keeper, the lock, the store and the disk.

use std::collections::{BTreeMap, BTreeSet};

use vaultvisor::{
    decide::{BootId, Ending, Event, Moment, Now, state::Build},
    release::Checksum,
};

use super::{
    Item, Life, Outcome,
    data::{self, Data},
    rng::Rng,
};

/// What a release is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quality {
    /// Runs until something happens to it.
    Good,
    /// Ends soon after its start.
    EndsAtOnce,
    /// Ends some time in its probation.
    EndsLate,
    /// Runs and never answers its health URL.
    Mute,
    /// Cannot be executed.
    NotExecutable,
}

impl Quality {
    pub(crate) fn of(checksum: Checksum) -> Self {
        match checksum.0[0] % 12 {
            0..=6 => Self::Good,
            7 => Self::EndsAtOnce,
            8 | 9 => Self::EndsLate,
            10 => Self::Mute,
            _ => Self::NotExecutable,
        }
    }
}

/// A vault's process with all that it started.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) build: Build,
    pub(crate) since: Moment,
    pub(crate) main_lives: bool,
    pub(crate) is_gone: bool,
    pub(crate) keeper_lives: bool,
    pub(crate) was_told: bool,
    /// Whether the disk took the state because of which it was told: else nobody can know after a crash.
    pub(crate) told_durably: bool,
    /// Whether it was told by its keeper, which notes that in the lock.
    pub(crate) told_on_record: bool,
    pub(crate) ending: Ending,
}

pub(crate) struct Machine {
    /// Time since the life began, which never stands; the agenda's clock.
    pub(crate) total_ms: u64,
    /// The clock of this boot.
    pub(crate) moment_ms: u64,
    pub(crate) unix_ms: u64,
    pub(crate) boot: u32,
    next_pid: u32,
    /// The newest process of this boot.
    pub(crate) process: Option<Process>,
    /// Until when another vaultvisor's vault holds the lock.
    pub(crate) intruder_until: Option<u64>,
    /// The files of the store, and whether they are what their names say.
    pub(crate) store: BTreeMap<Checksum, bool>,
    /// What may be executed: the finalized chain stated it, or the operator gave it.
    pub(crate) allowed: BTreeSet<Checksum>,
    /// The state file.
    pub(crate) state_file: Option<Vec<u8>>,
    pub(crate) disk_refuses: bool,
    pub(crate) downloads_fail: bool,
    /// The vault's data.
    pub(crate) data: Data,
    /// Files that something else than the vault's own prunes has taken away or damaged.
    pub(crate) harmed: BTreeSet<Checksum>,
}

impl Machine {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self {
            total_ms: 0,
            moment_ms: rng.below(10_000_000),
            unix_ms: 1_700_000_000_000,
            boot: 1,
            next_pid: 100,
            process: None,
            intruder_until: None,
            store: BTreeMap::new(),
            allowed: BTreeSet::new(),
            state_file: None,
            disk_refuses: false,
            downloads_fail: false,
            harmed: BTreeSet::new(),
            data: Data::default(),
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { moment: Moment(self.moment_ms), unix_ms: self.unix_ms }
    }

    pub(crate) fn boot_id(&self) -> BootId {
        BootId(format!("boot-{}", self.boot))
    }

    pub(crate) fn pass_until(&mut self, total_ms: u64) {
        let passed = total_ms.saturating_sub(self.total_ms);
        self.total_ms += passed;
        self.moment_ms += passed;
        self.unix_ms += passed;
        self.intruder_until.take_if(|until| *until <= self.total_ms);
    }

    /// The process whose main process lives.
    pub(crate) fn living(&self) -> Option<&Process> {
        self.process.as_ref().filter(|process| process.main_lives)
    }

    /// Whether anything of the account may run: the lock is held, or something was left behind.
    pub(crate) fn is_occupied(&self) -> bool {
        self.intruder_until.is_some() || self.process.as_ref().is_some_and(|process| !process.is_gone)
    }

    /// Its migrations are always where its binary is.
    pub(crate) fn stored(&self) -> Vec<Checksum> {
        let migrations =
            self.store.keys().flat_map(|binary| data::migrations_of(*binary).files().collect::<Vec<_>>());
        self.store.keys().copied().chain(migrations).collect()
    }

    pub(crate) fn put_into_store(&mut self, checksum: Checksum) {
        self.store.insert(checksum, true);
        self.harmed.remove(&checksum);
    }

    pub(crate) fn is_proved(&self, checksum: Checksum) -> bool {
        self.store.get(&checksum) == Some(&true)
    }

    pub(crate) fn damage_a_file(&mut self, rng: &mut Rng) -> Option<Checksum> {
        let files: Vec<Checksum> = self.store.keys().copied().collect();
        let checksum = *files.get(rng.below(files.len() as u64) as usize)?;
        self.harmed.insert(checksum);
        if rng.chance(0.5) {
            self.store.remove(&checksum);
        } else {
            self.store.insert(checksum, false);
        }
        Some(checksum)
    }

    /// Somebody else starts a vault of the account, if the lock is free.
    pub(crate) fn intrude(&mut self, rng: &mut Rng) {
        if !self.is_occupied() {
            self.intruder_until = Some(self.total_ms + rng.between(1_000, 100_000));
        }
    }

    pub(crate) fn end_faults(&mut self) {
        self.disk_refuses = false;
        self.downloads_fail = false;
    }
}

impl Life {
    /// Executes a vault. What must be proved before was proved under the lock.
    pub(crate) fn execute(&mut self, build: &Build) -> Result<u32, String> {
        let machine = &mut self.machine;
        if machine.is_occupied() {
            return Err(format!("N1: {build} is executed although something of the account may run"));
        }
        if !machine.is_proved(build.checksum) || !machine.allowed.contains(&build.checksum) {
            return Err(format!("N2: {build} is executed, which nobody stated or which is not in the store"));
        }
        machine.data.is_lived_on(build)?;
        machine.next_pid += 1;
        let pid = machine.next_pid;
        machine.process = Some(Process {
            pid,
            build: build.clone(),
            since: Moment(machine.moment_ms),
            main_lives: true,
            is_gone: false,
            keeper_lives: true,
            was_told: false,
            told_durably: false,
            told_on_record: false,
            ending: Ending::Unknown,
        });
        self.trace(format!("pid {pid} is executed from {}", build.version));
        let refuses = self.chain.is_upgrading() && self.faults && self.rng.chance(0.7);
        let lives_ms = match self.quality(build.checksum) {
            _ if refuses => Some(self.rng.between(1, 3_000)),
            Quality::EndsAtOnce => Some(self.rng.between(1, 1_000)),
            Quality::EndsLate => Some(self.rng.between(1_000, 59_000)),
            Quality::Good if self.faults && self.rng.chance(0.1) => Some(self.rng.between(1, 2_000_000)),
            _ => None,
        };
        if let Some(lives_ms) = lives_ms {
            self.plan(lives_ms, Item::MainDies(pid));
        }
        Ok(pid)
    }

    /// The keeper stops the vault, with or without us.
    pub(crate) fn stop_vault(&mut self, pid: u32) {
        let Some(process) = self.machine.process.as_mut().filter(|process| process.pid == pid) else {
            return;
        };
        if process.is_gone || std::mem::replace(&mut process.was_told, true) {
            return;
        }
        process.told_durably = self.daemon.as_ref().is_some_and(|daemon| !daemon.unwritten);
        process.told_on_record = process.keeper_lives && process.main_lives;
        self.trace(format!("pid {pid} is told to end"));
        let is_stuck = self.faults && self.rng.chance(0.05);
        let dies_in = if is_stuck { self.rng.between(72_000, 400_000) } else { self.rng.between(1, 60_000) };
        if is_stuck {
            self.plan(72_000 - 1, Item::StopIsSlow(pid));
        }
        self.plan(dies_in, Item::MainDies(pid));
    }

    pub(crate) fn main_dies(&mut self, pid: u32) -> Outcome {
        let ending = if self.rng.chance(0.5) { Ending::Code(1) } else { Ending::Signal(9) };
        let Some(process) = self.machine.process.as_mut().filter(|process| process.pid == pid) else {
            return Ok(());
        };
        if !std::mem::replace(&mut process.main_lives, false) {
            return Ok(());
        }
        process.ending = ending;
        self.trace(format!("pid {pid} dies with {ending}"));
        let is_slow = self.faults && self.rng.chance(0.03);
        let gone_in = if is_slow { self.rng.between(12_000, 200_000) } else { self.rng.between(0, 2_000) };
        if is_slow {
            self.plan(12_000 - 1, Item::StopIsSlow(pid));
        }
        self.plan(gone_in, Item::AllGone(pid));
        self.tell_of(pid, Event::Died { pid, ending });
        Ok(())
    }

    pub(crate) fn all_gone(&mut self, pid: u32) -> Outcome {
        let Some(process) = self.machine.process.as_mut().filter(|process| process.pid == pid) else {
            return Ok(());
        };
        process.is_gone = true;
        self.trace(format!("nothing is left of pid {pid}"));
        self.tell_of(pid, Event::Ended { pid });
        self.old_is_gone(pid);
        Ok(())
    }

    pub(crate) fn stop_is_slow(&mut self, pid: u32) -> Outcome {
        if self.machine.process.as_ref().is_some_and(|process| process.pid == pid && !process.is_gone) {
            self.coverage.stuck += 1;
            self.clearing_is_slow(pid);
            self.silence_is_long(pid);
            self.tell_of(
                pid,
                Event::NotEnded { pid, left: vec![pid], what: format!("pid {pid} in state D") },
            );
        }
        Ok(())
    }

    /// The keeper is killed: its vault gets the stop signal as its parent-death signal, and nobody records its end.
    pub(crate) fn kill_keeper(&mut self) {
        let Some(process) = self.machine.process.as_mut().filter(|process| !process.is_gone) else { return };
        process.keeper_lives = false;
        let (pid, lives) = (process.pid, process.main_lives);
        self.trace(format!("the keeper of pid {pid} is killed"));
        if lives {
            let dies_in = self.rng.between(1, 60_000);
            self.plan(dies_in, Item::MainDies(pid));
        }
    }

    pub(crate) fn kill_vault(&mut self) {
        if let Some(pid) = self.machine.living().map(|process| process.pid) {
            self.trace(format!("pid {pid} is killed"));
            let _ = self.main_dies(pid);
        }
    }

    /// The machine goes down, or loses its power: nothing that was not synced is left.
    pub(crate) fn reboot(&mut self) {
        self.kill_daemon("the machine goes down");
        let machine = &mut self.machine;
        machine.boot += 1;
        machine.process = None;
        machine.intruder_until = None;
        let boots_in = self.rng.between(1_000, 60_000);
        machine.pass_until(machine.total_ms + boots_in);
        machine.moment_ms = self.rng.between(1, 30_000);
        self.agenda
            .retain(|_, item| !matches!(item, Item::MainDies(_) | Item::AllGone(_) | Item::StopIsSlow(_)));
        self.coverage.reboots += 1;
    }
}
