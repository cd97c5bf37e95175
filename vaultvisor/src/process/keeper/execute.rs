//! Proving the vault's binary, and executing exactly that.

use std::{
    ffi::{CString, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
};

use rustix::{
    fs::{Mode, OFlags},
    pipe::{PipeFlags, pipe_with},
    process::WaitOptions,
};

use super::super::{
    ProcessId,
    lock::{AccountLock, Record},
    monotonic_ns,
    protocol::Spec,
    raw,
    records::FileId,
};
use crate::artifact::{BINARY_NAME, verify};

/// Everything that is opened and proved before the old vault is stopped.
pub(super) struct Prepared {
    folder: OwnedFd,
    identity: Identity,
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
    pub(super) fn new(spec: &Spec) -> Result<Self, String> {
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
        let null = File::open("/dev/null").map_err(|error| at("/dev/null".as_ref(), error))?;
        // Whatever the vault leaves behind becomes ours to end and to wait for.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| format!("cannot become a subreaper: {error}"))?;
        Ok(Self { folder, identity, null })
    }

    /// The file that is executed.
    pub(super) fn file(&self) -> FileId {
        FileId { device: self.identity.device, inode: self.identity.inode }
    }

    /// Executes the vault; answers the process and when it was executed.
    pub(super) fn execute(
        &self,
        spec: &Spec,
        lock: &AccountLock,
        output: &OwnedFd,
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
            stdio: [self.null.as_fd(), output.as_fd(), output.as_fd()],
            lock: lock.file.as_fd(),
            death_signal: spec.place.stop_signal.signal(),
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
