//! What has no safe form: `fork` with `execveat`, `signalfd`, limits and the end of a program that is started, waiting for
//! a descriptor in the runtime, and how memory is allocated.
//!
//! This is the only module of the project with `unsafe`. All of it but [`Readable`], [`limit_descriptors`],
//! [`end_with_us`] and [`hold_little_memory`] is used by the keeper alone, which has a single thread: after its `fork` the
//! child may therefore do what a single-threaded program may, and it still restricts itself to system calls on memory
//! that was prepared before.

use std::{
    ffi::{CString, c_char, c_int},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Command,
};

/// Everything the child needs, allocated before the fork.
pub(super) struct Execution<'a> {
    /// The folder of the binary.
    pub(super) folder: BorrowedFd<'a>,
    /// The binary's name in it; a link there is refused.
    pub(super) name: CString,
    /// The arguments, the program's own name first.
    pub(super) args: Vec<CString>,
    /// The environment, `NAME=value` each.
    pub(super) env: Vec<CString>,
    /// Standard input, output and error.
    pub(super) stdio: [BorrowedFd<'a>; 3],
    /// The working directory, when it is not the keeper's.
    pub(super) working_directory: Option<BorrowedFd<'a>>,
    /// The account lock, which the vault inherits.
    pub(super) lock: BorrowedFd<'a>,
    /// Sent to the vault when its keeper dies.
    pub(super) death_signal: Signal,
    /// The child waits for a byte here; its end instead means: do not execute.
    pub(super) gate: BorrowedFd<'a>,
    /// The keeper's end of the gate, which the child gives up so that the keeper's death ends it.
    pub(super) gate_opener: BorrowedFd<'a>,
    /// Close-on-exec: its end says that the execution worked, a number that it did not.
    pub(super) outcome: BorrowedFd<'a>,
}

/// Forks a child that waits at its gate and then executes.
pub(super) fn fork_to_execute(execution: &Execution<'_>) -> io::Result<Pid> {
    let pointers = |strings: &[CString]| {
        let ends = std::iter::once(std::ptr::null());
        strings.iter().map(|string| string.as_ptr()).chain(ends).collect::<Vec<*const c_char>>()
    };
    let args = pointers(&execution.args);
    let env = pointers(&execution.env);
    let keeper = std::process::id();
    // SAFETY: the keeper has one thread, so no lock of another one can be held in the child. The child only
    // makes system calls, on values that were allocated above and outlive it, and never returns.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the strings behind both null-terminated arrays live in `execution`.
        0 => unsafe { run_child(execution, &args, &env, keeper) },
        pid => Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::Other)),
    }
}

/// The child's life until its execution.
///
/// # Safety
/// To be called in a freshly forked child of a single-threaded process; `args` and `env` are arrays of
/// valid C strings that end with a null pointer.
unsafe fn run_child(
    execution: &Execution<'_>,
    args: &[*const c_char],
    env: &[*const c_char],
    keeper: u32,
) -> ! {
    let fail = |errno: c_int| -> ! {
        let bytes = errno.to_ne_bytes();
        // SAFETY: `bytes` is a live buffer of that length; `_exit` runs nothing of the parent's.
        unsafe {
            libc::write(execution.outcome.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
            libc::_exit(127)
        }
    };
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    // SAFETY: plain system calls; `mask`, `byte` and the descriptors are valid for each of them.
    unsafe {
        // If the keeper dies, the vault is asked to end. Set before the parent is checked, so that a keeper
        // that died in between is noticed.
        if libc::prctl(libc::PR_SET_PDEATHSIG, execution.death_signal.as_raw()) != 0 {
            fail(errno());
        }
        if libc::getppid().unsigned_abs() != keeper {
            fail(libc::ESRCH);
        }
        libc::close(execution.gate_opener.as_raw_fd());
        let mut byte = 0u8;
        if libc::read(execution.gate.as_raw_fd(), (&raw mut byte).cast(), 1) != 1 {
            fail(libc::ECANCELED);
        }
        for (target, source) in (0..).zip(execution.stdio) {
            if libc::dup2(source.as_raw_fd(), target) == -1 {
                fail(errno());
            }
        }
        if let Some(folder) = execution.working_directory
            && libc::fchdir(folder.as_raw_fd()) == -1
        {
            fail(errno());
        }
        if libc::fcntl(execution.lock.as_raw_fd(), libc::F_SETFD, 0) == -1 {
            fail(errno());
        }
        // What is ignored stays ignored across an execution: Rust ignores SIGPIPE, and a shell without job
        // control starts us with SIGINT ignored. A vault starts with neither, and with no signal blocked.
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut()) != 0 {
            fail(errno());
        }
        libc::syscall(
            libc::SYS_execveat,
            execution.folder.as_raw_fd(),
            execution.name.as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
        );
        fail(errno())
    }
}

/// Blocks signals and makes them readable. The descriptor does not block.
pub(super) fn read_signals(signals: &[Signal]) -> io::Result<OwnedFd> {
    // SAFETY: `mask` is initialised by `sigemptyset` before it is read; the descriptor that `signalfd`
    // returns is new and owned by nobody else.
    unsafe {
        // Whoever starts us with SIGCHLD ignored would have the kernel reap our children without a word.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        for signal in signals {
            libc::sigaddset(&raw mut mask, signal.as_raw());
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &raw const mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// Closes everything but standard input, output and error: what whoever started vaultvisor left open would
/// otherwise stay open for as long as the vault lives.
pub(super) fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: called first in the keeper's life, when nothing in this process has opened a descriptor yet that
    // anything could still use.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // Linux before 5.9: what was left open stays open, as it does in most programs.
            error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            error => Err(error),
        },
    }
}

/// Has a command's program begin with this limit of open files, set between its fork and its execution.
pub(super) fn limit_descriptors(command: &mut Command, limit: Rlimit) {
    // SAFETY: the closure makes one system call on a value that it owns: it takes no lock, allocates nothing, and
    // touches no memory that another thread may have been changing at the fork.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?));
    }
}

/// Has a command's program killed when the thread that starts it ends, which for one of the runtime's is when this
/// process does. What the program itself has started is not.
pub(super) fn end_with_us(command: &mut Command) {
    let us = Pid::from_raw(std::process::id().cast_signed());
    // SAFETY: the closure makes two system calls on values that it owns: it takes no lock, allocates nothing, and touches
    // no memory that another thread may have been changing at the fork.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // Set before the parent is looked at, so that one that ended in between is noticed.
            if getppid() == us { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
        });
    }
}

/// From this size on, in bytes, memory is the kernel's again as soon as it is free: what glibc begins with, and would
/// raise to 32 MiB by itself as larger pieces come and go.
#[cfg(target_env = "gnu")]
const LARGE: c_int = 128 * 1024;

/// Has glibc hold on to little memory: docs/performance.md has what that spares.
///
/// - One heap for all threads instead of one for each, of which what one thread frees no other could use. Two threads
///   work, and few allocate at the same time, so that they hardly ever wait for one another, while a download or a
///   chain's proofs wander through all of them.
/// - What was needed once, for a chain's metadata say, is given back.
///
/// To be called before there is a second thread. Other C libraries are left as they are.
pub fn hold_little_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE)]
    {
        // SAFETY: it sets a number under glibc's own lock; no memory of ours is touched, and a number that it does not
        // take changes nothing.
        let _ = unsafe { libc::mallopt(parameter, value) };
    }
}

/// The size of one signal as a signalfd hands it out.
pub(super) const SIGNAL_INFO_BYTES: usize = size_of::<libc::signalfd_siginfo>();

/// The number of the signal in what a signalfd handed out: its first field.
pub(super) fn signal_number(info: &[u8; SIGNAL_INFO_BYTES]) -> i32 {
    i32::from_ne_bytes([info[0], info[1], info[2], info[3]])
}

/// A descriptor of which the runtime waits until it is readable.
#[derive(Debug)]
pub(super) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// To be made in a runtime.
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` owns a valid descriptor and gives out that one always. It stays in the private
        // field, which nothing here replaces, until the `AsyncFd` has deregistered it and drops it.
        unsafe { Ok(Self(AsyncFd::register_with_interest(descriptor, Interest::READABLE)?)) }
    }

    /// Ready as soon as it is readable, and from then on. Nothing is lost when this is dropped before.
    pub(super) async fn wait(&self) {
        // The readiness is not cleared: a process that has ended does not begin again. An error means that
        // the runtime ends, and then nobody waits for anything any more.
        if self.0.readable().await.is_err() {
            std::future::pending().await
        }
    }
}
