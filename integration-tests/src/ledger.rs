//! What the test vaults write down about their lives, and the judge of "never two".
//!
//! Every `test-vault` appends its lines to one file, with the kernel's monotonic clock, which all processes
//! share. Beats bound a life that SIGKILL ended. Besides, each holds a kernel lock beside the ledger while it
//! lives; one that finds it taken writes [`Event::Overlap`]: that also sees two lives that met for a microsecond.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who writes.
    pub pid: u32,
    /// When, in nanoseconds since the machine started.
    pub at_ns: u64,
    /// What happened.
    pub event: Event,
}

/// What happened to a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It started.
    Start {
        /// The release that its program is.
        release: Option<String>,
        /// Its arguments, without the program's name.
        args: Vec<String>,
    },
    /// Another one was alive at its start.
    Overlap,
    /// It lives.
    Beat,
    /// It was told to stop by this signal.
    Signal(String),
    /// It ends by itself.
    End,
}

/// The vault's side: appends to the ledger, and holds the lock of the living.
#[derive(Debug)]
pub struct Writer {
    file: File,
    _alive: File,
}

impl Writer {
    /// Opens the ledger and writes the start.
    ///
    /// # Errors
    /// If the file cannot be opened, locked or written.
    pub fn start(path: &Path, release: Option<String>, args: Vec<String>) -> std::io::Result<Self> {
        let alive = File::options().create(true).append(true).open(alive_path(path))?;
        let overlap = match alive.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return Err(error),
        };
        let file = File::options().create(true).append(true).open(path)?;
        let mut writer = Self { file, _alive: alive };
        writer.write(Event::Start { release, args })?;
        if overlap {
            writer.write(Event::Overlap)?;
        }
        Ok(writer)
    }

    /// Appends one line, at once and in one piece.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&mut self, event: Event) -> std::io::Result<()> {
        let mut line = serde_json::to_string(&Entry { pid: std::process::id(), at_ns: now_ns(), event })?;
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}

fn alive_path(ledger: &Path) -> PathBuf {
    ledger.with_extension("alive")
}

/// The clock of the entries, now.
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let nanoseconds = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
    u64::try_from(nanoseconds).expect("fewer than 584 years since the start")
}

/// One vault's life, as far as it was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// Its process id.
    pub pid: u32,
    /// The release that it was.
    pub release: Option<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// When it started, in nanoseconds since the machine started.
    pub from_ns: u64,
    /// Its last sign of life.
    pub to_ns: u64,
    /// The signals that it was told to stop by.
    pub signals: Vec<String>,
    /// Whether it ended by itself.
    pub ended: bool,
    /// Whether another one was alive at its start.
    pub overlapped: bool,
}

/// All lives in one ledger, in the order of their starts. A ledger that is not there has none.
///
/// # Panics
/// If a line is not of this format, or of a vault that did not start.
pub fn lives(path: &Path) -> Vec<Life> {
    let mut reader = Reader::new(path);
    reader.read();
    reader.lives
}

/// The lives in a ledger that grows, each line read once.
#[derive(Debug)]
pub struct Reader {
    tail: Tail,
    lives: Vec<Life>,
}

impl Reader {
    /// Of this file, of which nothing is read yet.
    pub fn new(path: &Path) -> Self {
        Self { tail: Tail::of(path), lives: Vec::new() }
    }

    /// Reads what was added, and answers all lives, in the order of their starts. A file that is not there has none.
    ///
    /// # Panics
    /// If a line is not of this format, or of a vault that did not start.
    pub fn read(&mut self) -> &[Life] {
        self.tail.added().into_iter().for_each(|entry| self.take(entry));
        &self.lives
    }

    fn take(&mut self, Entry { pid, at_ns, event }: Entry) {
        if let Event::Start { release, args } = event {
            self.lives.push(Life {
                pid,
                release,
                args,
                from_ns: at_ns,
                to_ns: at_ns,
                signals: Vec::new(),
                ended: false,
                overlapped: false,
            });
            return;
        }
        // The newest of that pid: pids come back.
        let life = self.lives.iter_mut().rfind(|life| life.pid == pid);
        let life = life.unwrap_or_else(|| panic!("{event:?} at {at_ns}: pid {pid} has not started"));
        life.to_ns = at_ns;
        match event {
            Event::Start { .. } | Event::Beat => {}
            Event::Overlap => life.overlapped = true,
            Event::Signal(signal) => life.signals.push(signal),
            Event::End => life.ended = true,
        }
    }
}

/// Reads a ledger as it grows. What was read is not read again, however long the ledger becomes.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    read_bytes: u64,
}

impl Tail {
    /// From the ledger's beginning; it need not be there yet.
    pub fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), read_bytes: 0 }
    }

    /// The entries that were added since the last call.
    ///
    /// # Panics
    /// If the ledger cannot be read, or a line is not of this format.
    pub fn added(&mut self) -> Vec<Entry> {
        let mut text = String::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read_bytes))?;
            file.read_to_string(&mut text)
        });
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
            read => read.expect("the ledger can be read"),
        };
        // A line is written in one piece, but may be read in two.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        self.read_bytes += text.len() as u64;
        let entry =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("ledger line {line:?}: {error}"));
        text.lines().map(entry).collect()
    }
}

/// Whether no two of these lives met.
///
/// # Errors
/// The first two that did.
pub fn never_two(lives: &[Life]) -> Result<(), String> {
    if let Some(life) = lives.iter().find(|life| life.overlapped) {
        return Err(format!("another vault was alive when this one started: {life:?}"));
    }
    let mut by_start: Vec<_> = lives.iter().collect();
    by_start.sort_by_key(|life| life.from_ns);
    match by_start.windows(2).find(|pair| pair[1].from_ns <= pair[0].to_ns) {
        Some(pair) => Err(format!("two vaults at one instant: {:?} and {:?}", pair[0], pair[1])),
        None => Ok(()),
    }
}

/// The longest time between two of these lives, in seconds: how long no vault ran.
pub fn longest_downtime_secs(lives: &[Life]) -> f64 {
    let mut by_start: Vec<_> = lives.iter().collect();
    by_start.sort_by_key(|life| life.from_ns);
    let gaps = by_start.windows(2).map(|pair| pair[1].from_ns.saturating_sub(pair[0].to_ns));
    gaps.max().unwrap_or_default() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(from_ns: u64, to_ns: u64) -> Life {
        Life {
            pid: 1,
            release: None,
            args: Vec::new(),
            from_ns,
            to_ns,
            signals: Vec::new(),
            ended: true,
            overlapped: false,
        }
    }

    #[test]
    fn lives_one_after_the_other_are_never_two() {
        assert_eq!(never_two(&[]), Ok(()));
        assert_eq!(never_two(&[life(3, 4), life(1, 2)]), Ok(()));
    }

    #[test]
    fn lives_that_meet_are_found() {
        assert!(never_two(&[life(1, 3), life(2, 4)]).is_err());
        assert!(never_two(&[life(1, 9), life(2, 3)]).is_err());
        assert!(never_two(&[life(1, 2), Life { overlapped: true, ..life(3, 4) }]).is_err());
    }

    #[test]
    fn the_longest_downtime_is_that_between_two_neighbours() {
        assert_eq!(longest_downtime_secs(&[life(1, 2)]), 0.0);
        let lives =
            [life(9_000_000_000, 10_000_000_000), life(1, 1_000_000_000), life(1_500_000_000, 6_000_000_000)];
        assert_eq!(longest_downtime_secs(&lives), 3.0);
    }

    #[test]
    fn a_tail_reads_each_entry_once_and_no_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let mut tail = Tail::of(&path);
        assert_eq!(tail.added(), []);
        let mut writer = Writer::start(&path, None, Vec::new()).unwrap();
        writer.write(Event::Beat).unwrap();
        let kinds = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.event).collect::<Vec<_>>();
        let start = Event::Start { release: None, args: Vec::new() };
        assert_eq!(kinds(tail.added()), [start, Event::Beat]);
        assert_eq!(tail.added(), []);
        let torn = r#"{"pid":1,"at_ns":2,"event":"end"}"#;
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(&torn.as_bytes()[..9]).unwrap();
        assert_eq!(tail.added(), []);
        file.write_all(&torn.as_bytes()[9..]).unwrap();
        file.write_all(b"\n").unwrap();
        assert_eq!(tail.added(), [Entry { pid: 1, at_ns: 2, event: Event::End }]);
    }

    #[test]
    fn a_second_writer_beside_a_living_one_is_an_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        assert_eq!(lives(&path), []);

        let mut first = Writer::start(&path, Some("1".to_owned()), vec!["a b".to_owned()]).unwrap();
        first.write(Event::Signal("SIGINT".to_owned())).unwrap();
        first.write(Event::End).unwrap();
        let second = Writer::start(&path, None, Vec::new()).unwrap();
        drop((first, second));
        let third = Writer::start(&path, None, Vec::new()).unwrap();
        drop(third);

        let found = lives(&path);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].release.as_deref(), Some("1"));
        assert_eq!(found[0].args, ["a b"]);
        assert_eq!(found.iter().map(|life| life.overlapped).collect::<Vec<_>>(), [false, true, false]);
    }
}
