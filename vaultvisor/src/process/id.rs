//! Processes that cannot be taken for other ones: a pid with its start time, and handles on them.

use std::{fs, io, os::fd::OwnedFd};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

/// The kernel's own threads (`PF_KTHREAD`): field 9 of `/proc/<pid>/stat`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process that cannot be taken for another one: its id together with when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// Its start, in clock ticks since boot: field 22 of `/proc/<pid>/stat`.
    pub start_ticks: u64,
}

impl ProcessId {
    /// The process that has this pid now, zombies included; `None` when there is none or it cannot be seen.
    pub fn of(pid: u32) -> Option<Self> {
        Stat::of(pid).ok().flatten().map(|stat| stat.id)
    }

    /// Whether this very process still exists, if only as a zombie.
    pub fn exists(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// A handle on this very process; `None` when it has ended.
    ///
    /// Ended is what the kernel says through the handle, never the state `Z`: that of a process whose first
    /// thread has ended is `Z` too while others of its threads go on.
    pub fn open(self) -> io::Result<Option<ProcessHandle>> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let descriptor = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::SRCH) => return Ok(None),
            // No process has the number; a thread has it by now, or a session or group whose leader has ended. (`INVAL`
            // before Linux 6.9.) A process that was recorded was seen as one and keeps its number to its end, so it
            // has ended, unless what is seen there says otherwise.
            Err(error @ (Errno::NOENT | Errno::INVAL)) => match Stat::of(self.pid)? {
                Some(stat) if stat.id == self => return Err(error.into()),
                _ => return Ok(None),
            },
            Err(error) => return Err(error.into()),
        };
        // Looked at after the handle was opened: what matches now is what the handle is on.
        if Stat::of(self.pid)?.is_none_or(|stat| stat.id != self) {
            return Ok(None);
        }
        let handle = ProcessHandle { id: self, descriptor };
        Ok((!handle.has_ended()?).then_some(handle))
    }

    /// Whether this very process has ended.
    pub fn has_ended(self) -> io::Result<bool> {
        Ok(self.open()?.is_none())
    }
}

/// A handle on one process: a pidfd.
#[derive(Debug)]
pub struct ProcessHandle {
    /// The process.
    pub id: ProcessId,
    /// Readable once it has ended.
    pub descriptor: OwnedFd,
}

impl ProcessHandle {
    /// Whether it has ended: every thread of it.
    pub fn has_ended(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Signals it. One that has ended needs no signal; one that we may not signal shows as not ended.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.descriptor, signal);
    }
}

/// Some processes: which, and what is told of them, which changes with their states.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Processes {
    /// Their ids, a handful of them.
    #[serde(default)]
    pub pids: Vec<u32>,
    /// They and their states, for people.
    pub what: String,
}

impl Processes {
    /// The first few of them, each in its words.
    pub(super) fn of(processes: impl Iterator<Item = (u32, String)>) -> Self {
        const AT_MOST: usize = 5;
        let (mut pids, mut texts): (Vec<u32>, Vec<String>) = processes.take(AT_MOST + 1).unzip();
        if texts.len() > AT_MOST {
            pids.truncate(AT_MOST);
            texts[AT_MOST] = "and others".to_owned();
        }
        Self { pids, what: texts.join("; ") }
    }

    /// None: only what is told, because they cannot be seen.
    pub(super) fn unseen(what: String) -> Self {
        Self { pids: Vec::new(), what }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.what.is_empty()
    }

    /// The same, with other words around theirs.
    pub(super) fn told(self, tell: impl FnOnce(&str) -> String) -> Self {
        Self { what: tell(&self.what), pids: self.pids }
    }
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub id: ProcessId,
    /// The kernel's 15 characters of its name.
    pub name: String,
    /// Its state, as one letter.
    pub state: char,
    /// Its parent.
    pub parent: u32,
    /// Whether it is a thread of the kernel's.
    pub is_kernel: bool,
}

impl Stat {
    /// Of the process that has this pid now; `None` when there is none.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let text = match fs::read(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&text);
        let parsed = Self::parse(pid, &text);
        parsed.map(Some).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("cannot read /proc/{pid}/stat: {text:?}"))
        })
    }

    fn parse(pid: u32, text: &str) -> Option<Self> {
        // The second field is the name in parentheses, which may hold blanks and parentheses itself.
        let (before, after) = text.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            id: ProcessId { pid, start_ticks: number(19)? },
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: number(1)?.try_into().ok()?,
            is_kernel: number(6)? & KERNEL_THREAD != 0,
        })
    }

    /// It, for people: pid, name and state.
    pub fn describe(&self) -> String {
        let meaning = match self.state {
            'R' => "running",
            'S' => "sleeping",
            'D' => "held by the kernel, as by a disk or network filesystem that does not answer",
            'T' => "stopped by a signal",
            't' => "stopped by a debugger",
            'Z' => "ended, but not yet taken by its debugger or parent",
            _ => "unknown to us",
        };
        format!("{}, state {} ({meaning})", self.named(), self.state)
    }

    /// It, for people: pid and name, which stay as they are.
    pub fn named(&self) -> String {
        let name: String = self.name.chars().flat_map(char::escape_default).collect();
        format!("process {} ({name})", self.id.pid)
    }

    /// It as one of [`Processes`].
    pub(super) fn described(&self) -> (u32, String) {
        (self.id.pid, self.describe())
    }
}

/// Every process of this machine that we can see.
pub fn all_processes() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid: Option<u32> = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(stat) = pid.map(Stat::of).transpose().map_err(explain_hidden)?.flatten() {
            found.push(stat);
        }
    }
    Ok(found)
}

/// Who may not see that a process is there cannot prove that it is no vault.
fn explain_hidden(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error;
    }
    let text = format!(
        "/proc does not show other users' processes ({error}), so it cannot be proved that none of them is a vault: it is \
         mounted with hidepid; mount it without (mount -o remount,hidepid=0 /proc), or run vaultvisor in the group that \
         its gid= names"
    );
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// What reading a file in `/proc/<pid>` says when the process is no more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_with_its_pid() {
        let own = ProcessId::of(std::process::id()).expect("own");
        assert!(own.exists() && !own.has_ended().expect("seen"));
        let later = ProcessId { start_ticks: own.start_ticks + 1, ..own };
        assert!(!later.exists() && later.has_ended().expect("seen"));
        for no_pid in [0, u32::MAX] {
            assert!(ProcessId { pid: no_pid, ..own }.has_ended().expect("seen"));
        }
    }

    #[test]
    fn t23_a_process_whose_number_a_thread_has_by_now_has_ended() {
        let (end, until_end) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let own = std::fs::read_link("/proc/thread-self").expect("seen");
            let number = own.file_name().and_then(|name| name.to_str()).map(str::parse);
            tell.send(number.expect("a number").expect("a number")).expect("heard");
            let _ = until_end.recv();
        });
        let number: u32 = told.recv().expect("told");
        let thread_itself = ProcessId::of(number).expect("it shows where processes do");
        let earlier = ProcessId { start_ticks: thread_itself.start_ticks - 1, ..thread_itself };
        assert!(earlier.has_ended().expect("a thread is no obstacle"));
        // What is no process, and yet is what was recorded, proves nothing.
        assert!(thread_itself.has_ended().is_err());
        drop(end);
        thread.join().expect("ends");
    }

    #[test]
    fn a_leader_whose_session_goes_on_has_ended() {
        let mut leader = std::process::Command::new("setsid")
            .args(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!; read end"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let printed = leader.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(printed), &mut line).expect("printed");
        let follower = ProcessId::of(line.trim().parse().expect("a number")).expect("sleeps");
        let id = ProcessId::of(leader.id()).expect("not waited for");
        leader.wait().expect("its input has ended");
        let (leader_has_ended, follower_has_ended) = (id.has_ended(), follower.has_ended());
        follower.open().expect("seen").expect("sleeps").signal(Signal::KILL);
        assert!(leader_has_ended.expect("its session is no obstacle"));
        assert!(!follower_has_ended.expect("seen"));
    }

    #[test]
    fn a_zombie_exists_and_has_ended() {
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let id = ProcessId::of(child.id()).expect("not waited for");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !id.has_ended().expect("seen") {
            assert!(std::time::Instant::now() < deadline, "true does not end");
            std::thread::yield_now();
        }
        assert!(id.exists());
        child.wait().expect("wait");
        assert!(!id.exists());
    }

    #[test]
    fn a_name_may_hold_blanks_and_parentheses() {
        let zeros = "0 ".repeat(12);
        let stat =
            Stat::parse(7, &format!("7 (a) b (c) D 3 7 7 0 -1 2097152 {zeros}4711 0 0")).expect("parses");
        assert_eq!((stat.name.as_str(), stat.state, stat.parent, stat.is_kernel), ("a) b (c", 'D', 3, true));
        assert_eq!(stat.id.start_ticks, 4711);
        assert!(stat.describe().starts_with("process 7 (a) b (c), state D (held by the kernel"));
    }

    #[test]
    fn a_proc_that_hides_processes_is_named_with_what_to_do() {
        let said = explain_hidden(Errno::ACCESS.into()).to_string();
        assert!(said.contains("hidepid=0") && said.contains("gid="), "{said}");
        let other = explain_hidden(Errno::IO.into());
        assert_eq!(other.raw_os_error(), Some(Errno::IO.raw_os_error()));
    }
}
