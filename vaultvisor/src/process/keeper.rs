//! The keeper: one vault's lock, process and end. Single-threaded, without policy.
//!
//! 1. *Prepare*: open and hash the binary, become the subreaper, report `ready`. All of it while the old
//!    vault still runs.
//! 2. `L`: take the account lock and prove that nothing of the account runs.
//! 3. `G`: check that the binary is still the one that was hashed, fork, name the child in the lock's
//!    record, and only then let it execute.
//! 4. Wait. On SIGTERM stop the vault; when it has ended end what it left behind; mark the record clean.
//!
//! Before `G` the end of the socket or a SIGTERM ends the keeper and nothing was started. After `G` the end
//! of the socket means nothing: a vault survives its vaultvisor.

use std::{
    ffi::{CString, OsString},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStringExt,
            fs::{MetadataExt, OpenOptionsExt},
            net::UnixStream,
        },
    },
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitOptions, WaitStatus},
};
use serde::Serialize;

use super::{
    ProcessId, boot_id,
    lock::{AccountLock, Cleanliness, LockError, Record},
    monotonic_ns,
    protocol::{ExitStatus, GO, LOCK, Report, Spec},
    raw,
    stop::Stop,
};
use crate::{
    artifact::{BINARY_NAME, verify},
    error_chain::Chained,
    journal::atomic_file,
};

/// The signals that a keeper reads instead of being hit by them. SIGINT, SIGHUP and SIGQUIT come from
/// terminals and mean vaultvisor, not a keeper.
const SIGNALS: [Signal; 5] = [Signal::CHILD, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// Runs a keeper to its end, on the socket that is its standard input. The error is one of the talk with vaultvisor, or of the system; everything
/// about the vault is reported.
pub fn run(spec: Spec) -> io::Result<()> {
    raw::close_inherited()?;
    let vaultvisor = io::stdin().as_fd().try_clone_to_owned()?;
    // Its own session: what a terminal sends to vaultvisor's group is not meant for a vault. Fails only for
    // a process that leads its group already, which one that was started by another never does.
    let _ = rustix::process::setsid();
    let signals = raw::read_signals(&SIGNALS)?;
    let mut talk = Talk { vaultvisor: UnixStream::from(vaultvisor), open: true };
    let prepared = match Prepared::new(&spec) {
        Ok(prepared) => prepared,
        Err(reason) => return talk.say(&Report::Failed { reason }),
    };
    talk.say(&Report::Ready)?;
    if talk.next_command(&signals)? != Some(LOCK) {
        return Ok(());
    }
    let lock = match AccountLock::take(&spec.lock, &spec.marker) {
        Ok(lock) => lock,
        Err(LockError::Busy { holder }) => return talk.say(&Report::Busy { holder }),
        Err(LockError::NotGone { what }) => return talk.say(&Report::NotGone { what }),
        Err(error @ LockError::File { .. }) => {
            return talk.say(&Report::Failed { reason: Chained(&error).to_string() });
        }
    };
    talk.say(&Report::Locked)?;
    if talk.next_command(&signals)? != Some(GO) {
        return Ok(());
    }
    let mut record = Record {
        boot_id: boot_id()?,
        uid: rustix::process::getuid().as_raw(),
        home: spec.home.clone(),
        keeper: ProcessId::of(std::process::id()).ok_or(io::ErrorKind::NotFound)?,
        vault: None,
        run_id: spec.run_id.clone(),
        state: Cleanliness::Dirty,
    };
    let started = prepared.execute(&spec, &lock, &mut record);
    let (vault, at_ns) = match started {
        Ok(started) => started,
        Err(reason) => {
            // `execute` has waited for a child that did not get to its execution.
            record.state = Cleanliness::Clean;
            lock.write(&record)?;
            return talk.say(&Report::Failed { reason });
        }
    };
    // From here on vaultvisor may be gone: what it does not hear it finds in the records.
    talk.tell(&Report::Started { vault, at_ns });
    write_run_record(&spec, &record);
    let ended = keep(&spec, vault, &signals, &mut talk)?;
    record.state = Cleanliness::Clean;
    lock.write(&record)?;
    // The lock goes before the report: who hears of the end can take it at once.
    drop(lock);
    if !talk.tell(&ended) {
        write_exit_record(&spec, &ended);
    }
    Ok(())
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
        self.vaultvisor.write_all(&line)
    }

    /// Reports if anyone listens; answers whether someone did.
    fn tell(&mut self, report: &Report) -> bool {
        self.open = self.open && self.say(report).is_ok();
        self.open
    }

    /// The next command; `None` when vaultvisor is gone or has changed its mind.
    fn next_command(&mut self, signals: &OwnedFd) -> io::Result<Option<u8>> {
        loop {
            let ready = wait_for(&[signals, &self.vaultvisor.as_fd().try_clone_to_owned()?], None)?;
            if ready[0] && next_signal(signals)? == Some(Signal::TERM.as_raw()) {
                return Ok(None);
            }
            if ready[1] {
                let mut command = [0];
                let count = self.vaultvisor.read(&mut command)?;
                return Ok((count == 1).then_some(command[0]));
            }
        }
    }
}

/// Waits until one of the descriptors is readable or at its end; answers which.
fn wait_for<const N: usize>(descriptors: &[&OwnedFd; N], until: Option<Instant>) -> io::Result<[bool; N]> {
    let timeout = until.map(|until| {
        let left = until.saturating_duration_since(Instant::now());
        Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        }
    });
    let mut polled = descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::IN));
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(polled.map(|polled| !polled.revents().is_empty())),
        Err(error) => Err(error.into()),
    }
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

/// Everything that is opened and proved before the old vault is stopped.
struct Prepared {
    folder: OwnedFd,
    identity: Identity,
    log: File,
    null: File,
}

/// What tells a file from every other one and from a changed one.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i128, i128),
    changed: (i128, i128),
}

impl Identity {
    fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            // The types differ between rustix's two backends, and a dependency elsewhere may choose either.
            modified: (stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            changed: (stat.st_ctime.into(), stat.st_ctime_nsec.into()),
        }
    }
}

impl Prepared {
    fn new(spec: &Spec) -> Result<Self, String> {
        let at =
            |path: &std::path::Path, error: io::Error| format!("cannot open {}: {error}", path.display());
        let folder_flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(&spec.binary_folder, folder_flags | OFlags::RDONLY, Mode::empty())
            .map_err(|error| at(&spec.binary_folder, error.into()))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let binary = rustix::fs::openat(&folder, BINARY_NAME, flags, Mode::empty())
            .map_err(|error| at(&spec.binary_folder.join(BINARY_NAME), error.into()))?;
        let unreadable = |error: io::Error| format!("cannot read the binary: {error}");
        // The identity is taken before the hash: a change in between shows as another identity at `execute`.
        let identity = Identity::of(&rustix::fs::fstat(&binary).map_err(|error| unreadable(error.into()))?);
        let found = verify::hash_to_end(&mut File::from(binary)).map_err(unreadable)?;
        if found != spec.checksum {
            return Err(format!(
                "{} has changed: expected checksum {}, found {found}",
                spec.binary_folder.join(BINARY_NAME).display(),
                spec.checksum
            ));
        }
        let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(nofollow)
            .open(&spec.log)
            .map_err(|error| at(&spec.log, error))?;
        let null = File::open("/dev/null").map_err(|error| at("/dev/null".as_ref(), error))?;
        // Whatever the vault leaves behind becomes ours to end and to wait for.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| format!("cannot become a subreaper: {error}"))?;
        Ok(Self { folder, identity, log, null })
    }

    /// Executes the vault; answers the process and when it was executed.
    fn execute(
        &self,
        spec: &Spec,
        lock: &AccountLock,
        record: &mut Record,
    ) -> Result<(ProcessId, u64), String> {
        let system = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| format!("cannot {what}: {error}")
        };
        let stat = rustix::fs::statat(&self.folder, BINARY_NAME, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| system("look at the binary")(error.into()))?;
        if Identity::of(&stat) != self.identity {
            return Err("the binary was changed or replaced after its checksum was proved".to_owned());
        }
        let (gate, gate_opener) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| system("make a pipe")(error.into()))?;
        let (outcome, outcome_writer) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| system("make a pipe")(error.into()))?;
        let execution = raw::Execution {
            folder: self.folder.as_fd(),
            name: c_string(BINARY_NAME.into())?,
            args: vault_args(spec)?,
            env: environment()?,
            stdio: [self.null.as_fd(), self.log.as_fd(), self.log.as_fd()],
            lock: lock.file.as_fd(),
            death_signal: spec.stop_signal.signal(),
            gate: gate.as_fd(),
            gate_opener: gate_opener.as_fd(),
            outcome: outcome_writer.as_fd(),
        };
        // Dirty before the fork: from here on the lock alone proves nothing.
        lock.write(record).map_err(system("write the lock's record"))?;
        let child = raw::fork_to_execute(&execution).map_err(system("fork"))?;
        drop(outcome_writer);
        let named = ProcessId::of(child.as_raw_pid().unsigned_abs())
            .ok_or_else(|| "the new process is not in /proc".to_owned())
            .and_then(|vault| {
                record.vault = Some(vault);
                lock.write(record).map_err(system("write the lock's record"))?;
                Ok(vault)
            });
        // The child waits until the record names it; without a byte it ends.
        let opened = named.and_then(|vault| {
            rustix::io::write(&gate_opener, &[1]).map_err(|error| system("start the vault")(error.into()))?;
            Ok(vault)
        });
        drop(gate_opener);
        let mut errno = [0; 4];
        let failed = File::from(outcome).read_exact(&mut errno).is_ok();
        let at_ns = monotonic_ns();
        match opened {
            Ok(vault) if !failed => Ok((vault, at_ns)),
            opened => {
                let _ = rustix::process::waitpid(Some(child), WaitOptions::empty());
                let reason = io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
                Err(opened.err().unwrap_or_else(|| format!("cannot execute it: {reason}")))
            }
        }
    }
}

fn c_string(text: OsString) -> Result<CString, String> {
    CString::new(text.into_vec()).map_err(|_| "an argument or variable holds a NUL character".to_owned())
}

/// The program's own name is its full path in the store, so that `ps` shows which release runs.
fn vault_args(spec: &Spec) -> Result<Vec<CString>, String> {
    let program = spec.binary_folder.join(BINARY_NAME).into_os_string();
    std::iter::once(program).chain(spec.args.iter().map(OsString::from)).map(c_string).collect()
}

fn environment() -> Result<Vec<CString>, String> {
    std::env::vars_os()
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            c_string(variable)
        })
        .collect()
}

/// Waits until the vault and everything it started has ended, and ends it when told to.
fn keep(spec: &Spec, vault: ProcessId, signals: &OwnedFd, talk: &mut Talk) -> io::Result<Report> {
    let main = i32::try_from(vault.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let mut stop = Stop::new(spec.stop_signal.signal(), spec.grace());
    let mut ended: Option<(ExitStatus, u64)> = None;
    let socket = talk.vaultvisor.as_fd().try_clone_to_owned()?;
    loop {
        // Everything that has ended is waited for, ours and what became ours.
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if pid == main && ended.is_none() {
                        ended = Some((exit_status(status), monotonic_ns()));
                        stop.main_has_ended();
                    }
                }
                Ok(None) => break,
                Err(Errno::INTR) => {}
                Err(Errno::CHILD) => {
                    let (status, at_ns) = ended.unwrap_or((ExitStatus::Code(-1), monotonic_ns()));
                    return Ok(Report::Ended { status, at_ns });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let next = stop.proceed(main);
        let ready = if talk.open {
            wait_for(&[signals, &socket], next)?
        } else {
            [wait_for(&[signals], next)?[0], false]
        };
        if ready[1] {
            // Nothing is ever said after `G`: readable means that vaultvisor is gone.
            talk.open = false;
        }
        while let Some(signal) = next_signal(signals)? {
            if signal == Signal::TERM.as_raw() && ended.is_none() {
                stop.begin(main);
            }
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

/// Which process runs, for whoever comes after this vaultvisor.
#[derive(Debug, Serialize)]
struct RunRecord<'a> {
    schema: u32,
    checksum: crate::release::Checksum,
    binary: (u64, u64),
    stop_signal: String,
    #[serde(flatten)]
    lock: &'a Record,
}

fn write_run_record(spec: &Spec, record: &Record) {
    let binary = std::fs::metadata(spec.binary_folder.join(BINARY_NAME))
        .map(|metadata| (metadata.dev(), metadata.ino()))
        .unwrap_or_default();
    let stop_signal = spec.stop_signal.to_string();
    let run = RunRecord { schema: 1, checksum: spec.checksum, binary, stop_signal, lock: record };
    write_record(spec, "run.json", &run);
}

/// How a run ended while no vaultvisor listened.
#[derive(Debug, Serialize)]
struct ExitRecord<'a> {
    schema: u32,
    boot_id: String,
    run_id: &'a str,
    #[serde(flatten)]
    ended: &'a Report,
}

fn write_exit_record(spec: &Spec, ended: &Report) {
    let boot_id = boot_id().unwrap_or_default();
    write_record(spec, "exit.json", &ExitRecord { schema: 1, boot_id, run_id: &spec.run_id, ended });
}

/// A record that cannot be written costs a restarted vaultvisor some knowledge; it must not cost the vault
/// its keeper. Standard error is vaultvisor's log.
fn write_record(spec: &Spec, name: &str, record: &impl Serialize) {
    let path = spec.folder.join(name);
    let written = serde_json::to_vec_pretty(record)
        .map_err(|error| error.to_string())
        .and_then(|text| atomic_file::replace(&path, &text).map_err(|error| error.to_string()));
    if let Err(error) = written {
        let _ = writeln!(io::stderr(), "vaultvisor-keeper: {error}");
    }
}
