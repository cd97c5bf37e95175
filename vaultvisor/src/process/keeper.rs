//! The keeper: one vault's lock, process and end. Single-threaded, without policy.
//!
//! 1. *Prepare*: open and hash the binary, open the FIFO, become the subreaper, report `ready`. All of it
//!    while the old vault still runs.
//! 2. `L`: take the account lock and prove that nothing of the account runs; what an earlier run of ours left
//!    without a keeper is ended first.
//!    `S`, `M` and `R`, if they come, change the vault's data now: under the lock, with nothing running.
//! 3. `G`: check that the binary is still the one that was hashed, fork, name the child in the lock's
//!    record, and only then let it execute.
//! 4. Pass on what the vault prints, and wait. On SIGTERM stop the vault; when it has ended end what it left
//!    behind; say so in the exit record; mark the lock's record clean.
//!
//! Before `G` the end of the socket or a SIGTERM ends the keeper and nothing was started. After `G` the end
//! of the socket means nothing: a vault survives its vaultvisor. And nothing that goes wrong then may end the
//! keeper, because that would end the vault; it is said and the keeper goes on.

mod execute;
mod work;

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{SendFlags, send},
    process::{Pid, Signal, WaitOptions, WaitStatus},
};

use super::{
    claim::{Claim, ClaimError, Step},
    id::Processes,
    lock::{AccountLock, Cleanliness, Record},
    monotonic_ns,
    output::{Drain, complain},
    protocol::{ExitStatus, GO, LOCK, MIGRATE, PROTOCOL, RESTORE, Report, SNAPSHOT, Spec, other_protocol},
    raw,
    records::{Death, ExitFile, FileId, RunRecord},
    stop::{Due, KILL_AGAIN, Stop, pid_of},
};
use crate::error_chain::Chained;
use execute::{NotExecuted, Prepared};
use work::Worker;

/// The signals that a keeper reads instead of being hit by them. SIGINT, SIGHUP and SIGQUIT come from
/// terminals and mean vaultvisor, not a keeper.
const SIGNALS: [Signal; 5] = [Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// Runs a keeper to its end, on the socket that is its standard input. The error is one of the talk with
/// vaultvisor, or of the system; everything about the vault is reported.
pub fn run(spec: Spec) -> io::Result<()> {
    raw::close_inherited()?;
    let vaultvisor = io::stdin().as_fd().try_clone_to_owned()?;
    // Its own session: what a terminal sends to vaultvisor's group is not meant for a vault. Fails only for
    // a process that leads its group already, which one that was started by another never does.
    let _ = rustix::process::setsid();
    let signals = raw::read_signals(&SIGNALS)?;
    let mut talk = Talk { vaultvisor: UnixStream::from(vaultvisor), open: true };
    if spec.protocol != PROTOCOL {
        let reason = other_protocol(PROTOCOL, spec.protocol);
        return talk.say(&Report::Failed { reason, by_machine: true });
    }
    let opened = Prepared::new(&spec).and_then(|prepared| {
        let fifo = spec.place.fifo();
        let drain = Drain::open(&spec.place);
        let drain = drain.map_err(|error| format!("cannot open {}: {error}", fifo.display()))?;
        let record = Record::of_this_keeper(&spec.place, &spec.run_id);
        let record = record.map_err(|error| format!("cannot see what this keeper is: {error}"))?;
        Ok((prepared, drain, record))
    });
    let (prepared, (mut drain, warning), mut record) = match opened {
        Ok(opened) => opened,
        Err(reason) => return talk.say(&Report::Failed { reason, by_machine: true }),
    };
    talk.say(&Report::Ready { protocol: PROTOCOL, warning })?;
    if talk.next_command(&signals)? != Some(LOCK) {
        talk.tell(&nothing_executed());
        return Ok(());
    }
    let Some(lock) = claim(&spec, &signals, &mut talk, &mut drain)? else { return Ok(()) };
    talk.say(&Report::Locked)?;
    loop {
        match talk.next_command(&signals)? {
            Some(GO) => break,
            Some(command @ (SNAPSHOT | MIGRATE | RESTORE)) => {
                let mut worker = Worker {
                    spec: &spec,
                    prepared: &prepared,
                    lock: &lock,
                    signals: &signals,
                    talk: &mut talk,
                    drain: &mut drain,
                };
                let done = worker.carry_out(command, &mut record)?;
                let is_last = !matches!(done, Report::Worked { .. });
                talk.say(&done)?;
                if is_last {
                    return Ok(());
                }
            }
            _ => {
                talk.tell(&nothing_executed());
                return Ok(());
            }
        }
    }
    let (vault, at_ns) = match prepared.execute(&spec, &lock, drain.vault(), &mut record) {
        Ok(started) => started,
        Err(NotExecuted { reason, by_machine }) => {
            // `execute` has waited for a child that did not get to its execution.
            record.state = Cleanliness::Clean;
            if let Err(error) = lock.write(&record) {
                // Whoever finds it dirty looks for what is not there. That nothing was executed must be said all the same.
                complain(&format!("cannot mark the lock clean: {error}"));
            }
            // Under a lock that nobody else sees nothing is proved, and no release is to blame for that.
            return talk.say(&match lock.is_at_its_path() {
                true => Report::Failed { reason, by_machine },
                false => Report::NotGone(Processes::unseen(reason)),
            });
        }
    };
    // From here on vaultvisor may be gone: what it does not hear it finds in the records.
    talk.tell(&Report::Started { vault, at_ns });
    let exit = write_records(&spec, prepared.file(), &record, at_ns);
    drain.make_log();
    let mut keeping = Keeping { signals, talk, drain, exit, lock, record };
    let death = keeping.until_all_ended(&spec, pid_of(vault)?);
    keeping.finish(death);
    Ok(())
}

/// That of a keeper that is told to end before it executes. `G` may have been sent already, and without a word it would
/// count as obeyed.
fn nothing_executed() -> Report {
    let reason = "the keeper was told to end before it had executed anything".to_owned();
    Report::Failed { reason, by_machine: true }
}

/// Takes the lock and proves that nothing runs; `None` when that cannot be, which was said, or when nobody
/// wants it any more.
fn claim(
    spec: &Spec,
    signals: &OwnedFd,
    talk: &mut Talk,
    drain: &mut Drain,
) -> io::Result<Option<AccountLock>> {
    let mut claim = Claim::new(&spec.place, Instant::now());
    loop {
        let refused = match claim.proceed(Instant::now()) {
            Ok(Step::Proved(lock)) => return Ok(Some(lock)),
            Ok(Step::Wait { until, ending }) => {
                if let Some(what) = ending {
                    talk.say(&Report::Ending { what })?;
                }
                // While the old vault has a keeper its output is that keeper's.
                let output = claim.is_ending().then(|| drain.reader().as_fd());
                // Not the socket: `G` may be waiting in it, and its end shows when we talk.
                let [signalled, printed] = wait_for([Some(signals.as_fd()), output], Some(until))?;
                if signalled && next_signal(signals)? == Some(Signal::TERM.as_raw()) {
                    talk.tell(&nothing_executed());
                    return Ok(None);
                }
                if printed {
                    drain.drain();
                }
                continue;
            }
            Err(ClaimError::Busy { holder }) => Report::Busy { holder },
            Err(ClaimError::NotGone(left)) => Report::NotGone(left),
            // A lock or a record that cannot be used proves nothing, and says nothing about the release.
            Err(error @ (ClaimError::File { .. } | ClaimError::Record(_))) => {
                Report::NotGone(Processes::unseen(Chained(&error).to_string()))
            }
        };
        talk.say(&refused)?;
        return Ok(None);
    }
}

/// The socket to vaultvisor.
struct Talk {
    vaultvisor: UnixStream,
    open: bool,
}

impl Talk {
    /// Reports while vaultvisor is needed to go on.
    fn say(&mut self, report: &Report) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        // Never waits: a vaultvisor that is stopped must not stop its keepers. The socket has room for more
        // reports than a keeper ever makes.
        let sent = send(&self.vaultvisor, &line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
        if sent == line.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reports if anyone listens.
    fn tell(&mut self, report: &Report) {
        self.open = self.open && self.say(report).is_ok();
    }

    /// The next command; `None` when vaultvisor is gone or has changed its mind.
    fn next_command(&mut self, signals: &OwnedFd) -> io::Result<Option<u8>> {
        loop {
            let [signalled, readable] =
                wait_for([Some(signals.as_fd()), Some(self.vaultvisor.as_fd())], None)?;
            if signalled && next_signal(signals)? == Some(Signal::TERM.as_raw()) {
                return Ok(None);
            }
            if readable {
                let mut command = [0];
                let count = self.vaultvisor.read(&mut command)?;
                return Ok((count == 1).then_some(command[0]));
            }
        }
    }
}

/// Waits until one of the descriptors is readable or at its end; answers which.
fn wait_for<const N: usize>(
    descriptors: [Option<BorrowedFd<'_>>; N],
    until: Option<Instant>,
) -> io::Result<[bool; N]> {
    let timeout = until.map(|until| {
        let left = until.saturating_duration_since(Instant::now());
        Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        }
    });
    let mut polled: Vec<PollFd<'_>> = descriptors
        .iter()
        .flatten()
        .map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN))
        .collect();
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut polled = polled.iter();
    Ok(descriptors.map(|descriptor| {
        descriptor.is_some() && polled.next().is_some_and(|polled| !polled.revents().is_empty())
    }))
}

/// The number of the next signal that is waiting, if one is.
fn next_signal(signals: &OwnedFd) -> io::Result<Option<i32>> {
    let mut info = [0; raw::SIGNAL_INFO_BYTES];
    match rustix::io::read(signals, &mut info) {
        Ok(count) if count == info.len() => Ok(Some(raw::signal_number(&info))),
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A keeper whose vault was executed.
struct Keeping {
    signals: OwnedFd,
    talk: Talk,
    drain: Drain,
    exit: Option<ExitFile>,
    lock: AccountLock,
    record: Record,
}

impl Keeping {
    /// Waits until the vault and everything it started has ended, and ends it when told to.
    fn until_all_ended(&mut self, spec: &Spec, main: Pid) -> Option<Death> {
        let mut stop = Stop::new(main, spec.place.stop_signal.signal(), spec.place.grace());
        let mut death = None;
        let mut said = None;
        loop {
            match reap(main) {
                Reaped::Main(status) if death.is_none() => {
                    let seen = Death { status, at_ns: monotonic_ns() };
                    death = Some(seen);
                    stop.main_has_ended(Instant::now());
                    self.talk.tell(&Report::Died { status, at_ns: seen.at_ns });
                    self.record(|exit| exit.died(seen));
                    self.drain.settle();
                    continue;
                }
                Reaped::All => return death,
                Reaped::Main(_) | Reaped::None => {}
            }
            let due = match stop.proceed(Instant::now()) {
                Ok(due) => due,
                Err(error) => {
                    complain(&format!("cannot see what the vault left behind: {error}"));
                    Due { at: Some(Instant::now() + KILL_AGAIN), overdue: false }
                }
            };
            if due.overdue {
                let left = stop.left().unwrap_or_else(|error| Processes::unseen(error.to_string()));
                if said.as_ref() != Some(&left) {
                    self.talk.tell(&Report::NotEnded(left.clone()));
                    self.record(|exit| exit.not_ended(&left));
                    said = Some(left);
                }
            }
            let socket = self.talk.open.then(|| self.talk.vaultvisor.as_fd());
            let watched = [Some(self.signals.as_fd()), Some(self.drain.reader().as_fd()), socket];
            match wait_for(watched, due.at) {
                Ok([_, printed, heard]) => {
                    if printed {
                        self.drain.drain();
                    }
                    // Nothing is ever said after `G`: readable means that vaultvisor is gone.
                    self.talk.open &= !heard;
                }
                Err(error) => {
                    complain(&format!("cannot wait: {error}"));
                    std::thread::sleep(KILL_AGAIN);
                }
            }
            while let Ok(Some(signal)) = next_signal(&self.signals) {
                if signal == Signal::TERM.as_raw() && stop.begin(Instant::now()) {
                    self.record.told_to_end = true;
                    self.write_lock("note the stop in the lock");
                }
            }
        }
    }

    fn write_lock(&self, what: &str) {
        if let Err(error) = self.lock.write(&self.record) {
            complain(&format!("cannot {what}: {error}"));
        }
    }

    /// A record that cannot be written costs a restarted vaultvisor some knowledge; it must not cost the
    /// vault its keeper.
    fn record(&mut self, write: impl FnOnce(&mut ExitFile) -> io::Result<()>) {
        if let Some(Err(error)) = self.exit.as_mut().map(write) {
            complain(&format!("cannot write the exit record: {error}"));
        }
    }

    fn finish(mut self, death: Option<Death>) {
        // What was printed last. The pipe holds no more than one round takes, and nobody is left to fill it.
        self.drain.drain();
        // Before the lock: who has the lock need not ask how the vault before ended.
        self.record(ExitFile::ended);
        self.record.state = Cleanliness::Clean;
        self.write_lock("mark the lock clean");
        // The lock goes before the report: who hears of the end can take it at once.
        drop(self.lock);
        let unseen = Death { status: ExitStatus::Code(-1), at_ns: monotonic_ns() };
        let Death { status, at_ns } = death.unwrap_or(unseen);
        self.talk.tell(&Report::Ended { status, at_ns });
    }
}

/// What `wait` said.
enum Reaped {
    /// The main process has ended.
    Main(ExitStatus),
    /// No child is left.
    All,
    /// Nothing else has ended yet.
    None,
}

/// Waits for everything that has ended, ours and what became ours, up to the main process.
fn reap(main: Pid) -> Reaped {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == main => return Reaped::Main(exit_status(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Reaped::All,
            Ok(None) | Err(_) => return Reaped::None,
        }
    }
}

fn exit_status(status: WaitStatus) -> ExitStatus {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, Some(signal)) => ExitStatus::Signal(signal),
        (None, None) => ExitStatus::Code(-1),
    }
}

/// Says which process runs, for whoever comes after this vaultvisor, and makes the record of its end.
fn write_records(spec: &Spec, binary: FileId, record: &Record, started_ns: u64) -> Option<ExitFile> {
    let folder = &spec.place.folder;
    let run = RunRecord::new(spec, binary, started_ns, record.clone());
    if let Err(error) = run.write(folder) {
        complain(&Chained(&error).to_string());
    }
    ExitFile::create(folder, &spec.run_id)
        .inspect_err(|error| complain(&format!("cannot make the exit record: {error}")))
        .ok()
}
