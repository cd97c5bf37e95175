//! Whether this machine could execute a file, found out before anything is stopped for it.
//!
//! The measure is vaultvisor's own program: a vault must be a program (ELF) of the same class, byte order and machine,
//! whose loader is here. Scripts are none: a vault is executed by a descriptor, which is closed before an interpreter
//! could open its script, and its process is to be named `vault`.

use std::{
    fs::File,
    io,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Access, StatVfsMountFlags};

use crate::error_chain::Shown;

/// What the kernel reads of a program's headers; more is refused by it (`fs/binfmt_elf.c`).
const MAX_HEADERS_BYTES: u64 = 64 * 1024;
/// A path is no longer.
const MAX_LOADER_BYTES: u64 = 4096;

/// No system's loader has a path of more than a few dozen characters.
const MAX_SHOWN_LOADER_CHARS: usize = 500;

const MAGIC: &[u8] = b"\x7fELF";
const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: u64 = 56;
const CLASS_64: u8 = 2;
const TYPE_EXECUTABLE: u16 = 2;
const TYPE_SHARED: u16 = 3;
const SEGMENT_LOAD: u32 = 1;
const SEGMENT_LOADER: u32 = 3;

/// Why a file could not be executed here.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// It is something else.
    #[error("it is {found}, expected a program (ELF) for {expected}")]
    NotAProgram {
        /// What.
        found: &'static str,
        /// What this machine executes.
        expected: String,
    },
    /// It is for another machine.
    #[error("it is a program for {found}, expected one for {expected}")]
    OtherMachine {
        /// For what.
        found: String,
        /// What this machine executes.
        expected: String,
    },
    /// Its headers make no sense.
    #[error("it is a damaged program: {0}")]
    Damaged(&'static str),
    /// What loads it is not here.
    #[error("its loader {} cannot be executed; install it, or state a release for this system", Shown(path.display(), MAX_SHOWN_LOADER_CHARS))]
    NoLoader {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Nothing on that disk may be executed.
    #[error(
        "nothing may be executed on the disk of {}: it is mounted noexec; mount it with exec, or move home",
        path.display()
    )]
    NoExec {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl ExecutableError {
    /// Whether the release is to blame, and not this machine.
    pub fn is_of_the_release(&self) -> bool {
        !matches!(self, Self::NoExec { .. } | Self::Unreadable { .. })
    }
}

/// What a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Machine {
    class: u8,
    order: u8,
    machine: u16,
}

impl Machine {
    fn of(header: &[u8; HEADER_BYTES]) -> Self {
        Self { class: header[4], order: header[5], machine: u16_at(header, 18) }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = if self.class == CLASS_64 { "64" } else { "32" };
        let order = if self.order == 2 { ", big-endian" } else { "" };
        match self.machine {
            3 => write!(f, "x86 ({bits} bit{order})"),
            40 => write!(f, "Arm ({bits} bit{order})"),
            62 => write!(f, "x86-64 ({bits} bit{order})"),
            183 => write!(f, "AArch64 ({bits} bit{order})"),
            243 => write!(f, "RISC-V ({bits} bit{order})"),
            other => write!(f, "machine {other} ({bits} bit{order})"),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(value)
}

/// Checks a file that is to be executed.
pub fn check(path: &Path) -> Result<(), ExecutableError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| ExecutableError::Unreadable { path, source }
    };
    let disk = rustix::fs::statvfs(path).map_err(|error| unreadable(path)(error.into()))?;
    if disk.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err(ExecutableError::NoExec { path: path.to_owned() });
    }
    let own_path = Path::new("/proc/self/exe");
    let mut own = [0; HEADER_BYTES];
    let own_file = File::open(own_path).map_err(unreadable(own_path))?;
    own_file.read_exact_at(&mut own, 0).map_err(unreadable(own_path))?;
    let file = File::open(path).map_err(unreadable(path))?;
    let length = file.metadata().map_err(unreadable(path))?.len();
    check_program(&file, length, Machine::of(&own)).map_err(|error| match error {
        Found::Refused(error) => error,
        Found::Unreadable(source) => unreadable(path)(source),
    })
}

enum Found {
    Refused(ExecutableError),
    Unreadable(io::Error),
}

impl From<ExecutableError> for Found {
    fn from(error: ExecutableError) -> Self {
        Self::Refused(error)
    }
}

impl From<io::Error> for Found {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

fn check_program(file: &File, length: u64, expected: Machine) -> Result<(), Found> {
    let mut header = [0; HEADER_BYTES];
    let head = usize::try_from(length).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
    file.read_exact_at(&mut header[..head], 0)?;
    if !header.starts_with(MAGIC) {
        let expected = expected.to_string();
        return Err(ExecutableError::NotAProgram { found: kind(&header[..head]), expected }.into());
    }
    if head < HEADER_BYTES {
        return Err(ExecutableError::Damaged("it ends within its header").into());
    }
    let found = Machine::of(&header);
    if found != expected {
        let (found, expected) = (found.to_string(), expected.to_string());
        return Err(ExecutableError::OtherMachine { found, expected }.into());
    }
    if ![TYPE_EXECUTABLE, TYPE_SHARED].contains(&u16_at(&header, 16)) {
        return Err(ExecutableError::Damaged("it is an object file or a dump, and no executable").into());
    }
    if expected.class != CLASS_64 {
        // Vaultvisor is built for no such machine; there the execution itself will tell.
        return Ok(());
    }
    check_segments(file, length, &header)
}

fn check_segments(file: &File, length: u64, header: &[u8; HEADER_BYTES]) -> Result<(), Found> {
    let (offset, count) = (u64_at(header, 32), u64::from(u16_at(header, 56)));
    let bytes = count * SEGMENT_BYTES;
    if u64::from(u16_at(header, 54)) != SEGMENT_BYTES || count == 0 || bytes > MAX_HEADERS_BYTES {
        return Err(ExecutableError::Damaged("it names no segments that could be loaded").into());
    }
    if !fits(offset, bytes, length) {
        return Err(ExecutableError::Damaged("it is cut short").into());
    }
    let mut segments = vec![0; usize::try_from(bytes).unwrap_or_default()];
    file.read_exact_at(&mut segments, offset)?;
    let mut is_loaded = false;
    for segment in segments.chunks_exact(SEGMENT_BYTES as usize) {
        let (kind, offset, bytes) = (u32_at(segment, 0), u64_at(segment, 8), u64_at(segment, 32));
        if [SEGMENT_LOAD, SEGMENT_LOADER].contains(&kind) && !fits(offset, bytes, length) {
            return Err(ExecutableError::Damaged("it is cut short").into());
        }
        is_loaded |= kind == SEGMENT_LOAD;
        if kind == SEGMENT_LOADER {
            check_loader(file, offset, bytes)?;
        }
    }
    match is_loaded {
        true => Ok(()),
        false => Err(ExecutableError::Damaged("it names no segments that could be loaded").into()),
    }
}

fn fits(offset: u64, bytes: u64, length: u64) -> bool {
    offset.checked_add(bytes).is_some_and(|end| end <= length)
}

fn check_loader(file: &File, offset: u64, bytes: u64) -> Result<(), Found> {
    let damaged = || ExecutableError::Damaged("the path of its loader is none");
    if !(2..=MAX_LOADER_BYTES).contains(&bytes) {
        return Err(damaged().into());
    }
    let mut name = vec![0; usize::try_from(bytes).unwrap_or_default()];
    file.read_exact_at(&mut name, offset)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if !name.starts_with(b"/") {
        return Err(damaged().into());
    }
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(name));
    let looked = rustix::fs::access(&path, Access::EXEC_OK).map_err(io::Error::from);
    let is_file = looked.and_then(|()| match path.metadata()?.is_file() {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EACCES)),
    });
    is_file.map_err(|source| ExecutableError::NoLoader { path, source }.into())
}

/// What a file that is no program is, as far as its first bytes tell.
fn kind(head: &[u8]) -> &'static str {
    let text = head.trim_ascii_start();
    match head {
        [] => "empty",
        _ if head.starts_with(b"#!") => "a script",
        _ if head.starts_with(b"\x1f\x8b") => "a gzip archive",
        _ if head.starts_with(b"PK\x03\x04") => "a zip archive",
        _ if head.starts_with(b"\xfd7zXZ") => "an xz archive",
        _ if head.starts_with(b"\x28\xb5\x2f\xfd") => "a zstd archive",
        _ if text.starts_with(b"<") => "a web page or XML",
        _ if text.starts_with(b"{") => "JSON",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This very program, changed, cut or followed by something.
    fn checked(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), ExecutableError> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("vault");
        let mut bytes = std::fs::read("/bin/true").expect("every system has it");
        change(&mut bytes);
        std::fs::write(&path, bytes).expect("written");
        check(&path)
    }

    fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> String {
        let refused = checked(change).expect_err("it cannot be executed");
        assert!(refused.is_of_the_release(), "{refused}");
        refused.to_string()
    }

    #[test]
    fn t06_a_program_of_this_machine_is_taken() {
        checked(|_| ()).expect("as it is");
        checked(|bytes| bytes.extend_from_slice(b"\n#release 2.0.0")).expect("with something behind it");
    }

    #[test]
    fn t06_a_program_for_another_machine_is_refused() {
        let said = refusal(|bytes| bytes[18..20].copy_from_slice(&8_u16.to_ne_bytes()));
        assert!(said.contains("a program for machine 8 (64 bit), expected one for"), "{said}");
        assert!(refusal(|bytes| bytes[4] = 1).contains("32 bit"));
        assert!(refusal(|bytes| bytes[5] = 3 - bytes[5]).contains("expected one for"));
    }

    #[test]
    fn t06_a_program_whose_loader_is_missing_or_no_program_is_refused() {
        const LOADER: &[u8] = b"/lib";
        let place = |bytes: &[u8]| {
            bytes.windows(LOADER.len()).position(|window| window == LOADER).expect("it is a dynamic program")
        };
        let said = refusal(|bytes| {
            let place = place(bytes);
            bytes[place + 1] = b'!';
        });
        assert!(said.contains("its loader /!ib"), "{said}");
        let said = refusal(|bytes| {
            let place = place(bytes);
            bytes[place + 4] = 0;
        });
        assert!(said.contains("its loader /lib cannot be executed"), "a folder is none: {said}");
        let said = refusal(|bytes| {
            let place = place(bytes);
            bytes[place] = b'x';
        });
        assert!(said.contains("the path of its loader is none"), "{said}");
    }

    #[test]
    fn t06_what_is_no_program_is_refused_by_what_it_is() {
        for (bytes, said) in [
            (&b""[..], "empty"),
            (b"#!/bin/sh\nexec sleep 1\n", "a script"),
            (b"\x1f\x8b\x08\0", "a gzip archive"),
            (b"  <!doctype html>", "a web page"),
            (b"abc", "something else"),
        ] {
            let refused = refusal(|program| *program = bytes.to_vec());
            assert!(refused.contains(&format!("it is {said}")), "{refused}");
        }
    }

    #[test]
    fn t06_damaged_headers_are_refused_and_never_trusted() {
        let length = std::fs::read("/bin/true").expect("every system has it").len();
        for cut in [5, 63, 64, 100, length / 2] {
            let said = refusal(|bytes| bytes.truncate(cut));
            assert!(said.contains("damaged"), "cut after {cut}: {said}");
        }
        for (at, bytes) in [
            (16, &1_u16.to_ne_bytes()[..]),
            (32, &u64::MAX.to_ne_bytes()[..]),
            (54, &1_u16.to_ne_bytes()[..]),
            (56, &0_u16.to_ne_bytes()[..]),
            (56, &u16::MAX.to_ne_bytes()[..]),
        ] {
            let said = refusal(|program| program[at..at + bytes.len()].copy_from_slice(bytes));
            assert!(said.contains("damaged"), "at {at}: {said}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_nobodys_fault() {
        let refused = check(Path::new("/nonexistent/vault")).expect_err("nothing there");
        assert!(!refused.is_of_the_release(), "{refused}");
    }
}
