//! What processes cost: memory and processor time, as the kernel counts them.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The processes that have to do with a folder: their program, an argument or their working directory is below it.
pub(crate) fn of(folder: &Path) -> Vec<u32> {
    let text = folder.to_str().expect("temporary folders have UTF-8 names");
    let concerns = |pid: &u32| {
        let process = Path::new("/proc").join(pid.to_string());
        let leads_there =
            |link: &str| fs::read_link(process.join(link)).is_ok_and(|target| target.starts_with(folder));
        let arguments = || fs::read(process.join("cmdline")).unwrap_or_default();
        leads_there("exe") || leads_there("cwd") || String::from_utf8_lossy(&arguments()).contains(text)
    };
    let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id()).filter(concerns).collect()
}

/// Those among them that supervise: everything but the supervised program, whose file lies below the folder.
pub(crate) fn supervising(folder: &Path) -> Vec<u32> {
    of(folder).into_iter().filter(|pid| !is_supervised(*pid, folder)).collect()
}

/// How many supervised programs run.
pub(crate) fn supervised(folder: &Path) -> usize {
    of(folder).into_iter().filter(|pid| is_supervised(*pid, folder)).count()
}

fn is_supervised(pid: u32, folder: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.starts_with(folder))
}

/// What a process holds in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// What would be free without it: its private pages.
    pub(crate) private_kib: f64,
    /// All that it has in memory, what it shares with others included.
    pub(crate) resident_kib: f64,
}

impl Memory {
    /// Of several processes; one that has ended holds nothing.
    pub(crate) fn of(pids: &[u32]) -> Self {
        pids.iter().map(|pid| Self::of_one(*pid)).fold(Self::default(), |sum, one| Self {
            private_kib: sum.private_kib + one.private_kib,
            resident_kib: sum.resident_kib + one.resident_kib,
        })
    }

    fn of_one(pid: u32) -> Self {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let value = |key: &str| kib(&rollup, key).unwrap_or_default();
        Self { private_kib: value("Private_Clean") + value("Private_Dirty"), resident_kib: value("Rss") }
    }
}

fn kib(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The processor time that these processes have used so far.
pub(crate) fn processor_time(pids: &[u32]) -> Duration {
    /// `USER_HZ`, in which the kernel tells user space its times on every architecture that we run on.
    const TICKS_PER_SECOND: u32 = 100;

    let ticks = |pid: &u32| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may itself hold any; user and system time are the 12th and 13th behind it.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    let ticks: u64 = pids.iter().filter_map(ticks).sum();
    Duration::from_secs(ticks) / TICKS_PER_SECOND
}

/// A command that has succeeded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) took: Duration,
    /// The most that it had resident.
    pub(crate) peak_kib: f64,
}

/// Runs a command to its end, and looks at its memory meanwhile.
///
/// # Panics
/// If it does not succeed.
pub(crate) fn run_to_its_end(mut command: Command) -> Finished {
    /// The peak is asked for until the end, for a process that has ended has none; what it grew by after the last
    /// look is missed.
    const OFTEN: Duration = Duration::from_micros(500);

    let began = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0.0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        peak_kib = kib(&text, "VmHWM").unwrap_or(peak_kib);
        if let Some(ended) = child.try_wait().expect("it is our child") {
            let took = began.elapsed();
            assert!(ended.success(), "{command:?}: {ended}");
            return Finished { took, peak_kib };
        }
        std::thread::sleep(OFTEN);
    }
}

/// How many files a process has open.
pub(crate) fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Ends everything that has to do with a folder.
pub(crate) fn end_all(folder: &Path) {
    /// Longer than any of them takes to be killed.
    const PATIENCE: Duration = Duration::from_secs(30);

    let began = Instant::now();
    loop {
        let left = of(folder);
        if left.is_empty() || began.elapsed() > PATIENCE {
            return;
        }
        for pid in left {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have gone by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
