//! Proving the vault's binary, and executing exactly that.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    pipe::{PipeFlags, pipe_with},
    process::{Signal, WaitOptions},
};

use super::super::{
    MARKER, PASSED_ON, ProcessId,
    lock::{AccountLock, Cleanliness, Record},
    monotonic_ns,
    program::is_of_the_program,
    protocol::Spec,
    raw,
    records::FileId,
};
use crate::{
    artifact::{BINARY_NAME, verify},
    ownership::check_opened,
    release::Checksum,
};

/// Everything that is opened and proved before the old vault is stopped.
pub(super) struct Prepared {
    vault: Program,
    /// The state migration, when there is one to be run.
    migration: Option<Program>,
    null: File,
}

/// A file of the store that was hashed.
struct Program {
    path: PathBuf,
    folder: OwnedFd,
    identity: Identity,
}

impl Program {
    fn prove(folder: &Path, checksum: Checksum) -> Result<Self, String> {
        let at = |path: &Path, error: io::Error| format!("cannot open {}: {error}", path.display());
        let path = folder.join(BINARY_NAME);
        let folder_flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(folder, folder_flags | OFlags::RDONLY, Mode::empty())
            .map_err(|error| at(folder, error.into()))?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let binary = rustix::fs::openat(&opened, BINARY_NAME, flags, Mode::empty())
            .map_err(|error| at(&path, error.into()))?;
        let unreadable = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let (opened, mut binary) = (File::from(opened), File::from(binary));
        for (path, file) in [(folder, &opened), (&path, &binary)] {
            let metadata = file.metadata().map_err(unreadable)?;
            check_opened(path, &metadata).map_err(|error| error.to_string())?;
        }
        // The identity is taken before the hash: a change in between shows as another identity when it is executed.
        let identity = Identity::of(&rustix::fs::fstat(&binary).map_err(|error| unreadable(error.into()))?);
        let found = verify::hash_to_end(&mut binary).map_err(unreadable)?;
        if !verify::proves(found, checksum) {
            return Err(format!(
                "{} has changed: expected checksum {checksum}, found {found}",
                path.display()
            ));
        }
        Ok(Self { path, folder: opened.into(), identity })
    }

    fn is_still_the_same(&self) -> Result<(), NotExecuted> {
        let stat = rustix::fs::statat(&self.folder, BINARY_NAME, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| system("look at the binary")(error.into()))?;
        if Identity::of(&stat) == self.identity {
            return Ok(());
        }
        let reason = format!("{} was changed or replaced after its checksum was proved", self.path.display());
        Err(NotExecuted::by_machine(reason))
    }
}

/// Why a program was not executed, or did not do what it was executed for. Nothing of it runs.
#[derive(Debug)]
pub(super) struct NotExecuted {
    pub(super) reason: String,
    /// Whether this machine is to blame: it lacks something, or the file is not the one any more that was proved.
    pub(super) by_machine: bool,
}

impl NotExecuted {
    fn by_machine(reason: String) -> Self {
        Self { reason, by_machine: true }
    }
}

fn system(what: &str) -> impl Fn(io::Error) -> NotExecuted {
    let what = what.to_owned();
    move |error: io::Error| NotExecuted::by_machine(format!("cannot {what}: {error}"))
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
    pub(super) fn new(spec: &Spec) -> Result<Self, String> {
        let at = |path: &Path, error: io::Error| format!("cannot open {}: {error}", path.display());
        let vault = Program::prove(&spec.binary_folder, spec.checksum)?;
        let migration = match (&spec.work.migration_folder, spec.work.migration_checksum) {
            (Some(folder), Some(checksum)) => Some(Program::prove(folder, checksum)?),
            _ => None,
        };
        let null = File::open("/dev/null").map_err(|error| at("/dev/null".as_ref(), error))?;
        // Whatever the vault leaves behind becomes ours to end and to wait for.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| format!("cannot become a subreaper: {error}"))?;
        Ok(Self { vault, migration, null })
    }

    /// The file that is executed.
    pub(super) fn file(&self) -> FileId {
        let Identity { device, inode, .. } = self.vault.identity;
        FileId { device, inode }
    }

    /// Executes the vault; answers the process and when it was executed.
    pub(super) fn execute(
        &self,
        spec: &Spec,
        lock: &AccountLock,
        output: &OwnedFd,
        record: &mut Record,
    ) -> Result<(ProcessId, u64), NotExecuted> {
        self.vault.is_still_the_same()?;
        let args = std::iter::once(self.vault.path.clone().into_os_string());
        let started = Start {
            // The program's own name is its full path in the store, so that `ps` shows which release runs.
            args: c_strings(args.chain(spec.args.iter().map(OsString::from)))?,
            env: environment(|_| true)?,
            name: c_string(BINARY_NAME.into())?,
            folder: self.vault.folder.as_fd(),
            death_signal: spec.place.stop_signal.signal(),
            working_directory: None,
        };
        self.fork(started, lock, output, record)
    }

    /// Executes the state migration, with the data folder as its argument and working directory.
    pub(super) fn migrate(
        &self,
        data: &Path,
        lock: &AccountLock,
        output: &OwnedFd,
        record: &mut Record,
    ) -> Result<ProcessId, NotExecuted> {
        let none = || NotExecuted::by_machine("there is no state migration to run".to_owned());
        let migration = self.migration.as_ref().ok_or_else(none)?;
        migration.is_still_the_same()?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(data, flags, Mode::empty())
            .map_err(|error| NotExecuted::by_machine(format!("cannot open {}: {error}", data.display())))?;
        let path = migration.path.clone().into_os_string();
        let started = Start {
            args: c_strings([path.clone(), data.as_os_str().to_owned()])?,
            // Clean but for what every program needs, and the marker by which it is found if we are killed.
            env: environment(|name| name == MARKER || PASSED_ON.iter().any(|passed| name == *passed))?,
            // By its path, so that it may be a script: an interpreter opens it again.
            name: c_string(path)?,
            folder: migration.folder.as_fd(),
            // It keeps no connections and no keys: what it left half done is restored.
            death_signal: Signal::KILL,
            working_directory: Some(folder.as_fd()),
        };
        self.fork(started, lock, output, record).map(|(process, _)| process)
    }

    fn fork(
        &self,
        start: Start<'_>,
        lock: &AccountLock,
        output: &OwnedFd,
        record: &mut Record,
    ) -> Result<(ProcessId, u64), NotExecuted> {
        let (gate, gate_opener) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| system("make a pipe")(error.into()))?;
        let (outcome, outcome_writer) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| system("make a pipe")(error.into()))?;
        let execution = raw::Execution {
            folder: start.folder,
            name: start.name,
            args: start.args,
            env: start.env,
            stdio: [self.null.as_fd(), output.as_fd(), output.as_fd()],
            lock: lock.file.as_fd(),
            death_signal: start.death_signal,
            working_directory: start.working_directory,
            gate: gate.as_fd(),
            gate_opener: gate_opener.as_fd(),
            outcome: outcome_writer.as_fd(),
        };
        // Dirty before each fork, that of the vault after that of a migration too: from here on the lock alone proves
        // nothing.
        record.state = Cleanliness::Dirty;
        lock.write(record).map_err(system("write the lock's record"))?;
        let child = raw::fork_to_execute(&execution).map_err(system("fork"))?;
        drop(outcome_writer);
        let named = ProcessId::of(child.as_raw_pid().unsigned_abs())
            .ok_or_else(|| NotExecuted::by_machine("the new process is not in /proc".to_owned()))
            .and_then(|vault| {
                record.vault = Some(vault);
                lock.write(record).map_err(system("write the lock's record"))?;
                Ok(vault)
            });
        // Whoever found our lock's file gone and made another one looks for a keeper of the account that has a child. From
        // the fork on that is us: so either the file is still the one, and who removes it later finds us, or it is not,
        // and nothing is executed.
        let named = named.and_then(|vault| match lock.is_at_its_path() {
            true => Ok(vault),
            false => Err(NotExecuted::by_machine(
                "the file of the account's lock was removed or replaced meanwhile".to_owned(),
            )),
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
                let error = io::Error::from_raw_os_error(i32::from_ne_bytes(errno));
                Err(opened.err().unwrap_or_else(|| NotExecuted {
                    reason: format!("cannot execute it: {error}"),
                    by_machine: !is_of_the_program(&error),
                }))
            }
        }
    }
}

fn c_string(text: OsString) -> Result<CString, NotExecuted> {
    CString::new(text.into_vec()).map_err(|_| NotExecuted {
        reason: "an argument or variable holds a NUL character".to_owned(),
        by_machine: false,
    })
}

/// What differs between the programs that a keeper starts.
struct Start<'a> {
    folder: BorrowedFd<'a>,
    name: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    death_signal: Signal,
    working_directory: Option<BorrowedFd<'a>>,
}

fn c_strings(texts: impl IntoIterator<Item = OsString>) -> Result<Vec<CString>, NotExecuted> {
    texts.into_iter().map(c_string).collect()
}

/// The keeper's own environment, which is the vault's, or a part of it.
fn environment(is_passed: impl Fn(&OsStr) -> bool) -> Result<Vec<CString>, NotExecuted> {
    let passed = std::env::vars_os().filter(|(name, _)| is_passed(name));
    c_strings(passed.map(|(mut variable, value)| {
        variable.push("=");
        variable.push(value);
        variable
    }))
}
