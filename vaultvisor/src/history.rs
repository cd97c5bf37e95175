//! The audit trail: what was decided for each vault, on which block, with which outcome.
//!
//! `<home>/history.jsonl` holds one JSON object a line and only ever grows at its end; at
//! [`MAX_BYTES`] it becomes `history.jsonl.1`, in the place of the one before, so that both together
//! are bounded. A crash in the middle of a write leaves a torn last line: reading passes over it, and the
//! next write begins a new line behind it, so that nothing which was there is ever lost to a repair.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    crash_points, decide::Entry, journal::atomic_file::sync_folder, ownership::no_link, room, status::Time,
};

/// A file is rotated when it has grown to this: some ten thousand entries, years of an operator's life.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// No line is longer: reasons are sentences, and what a server or a client said in them is cut.
const MAX_LINE_BYTES: usize = 16 * 1024;
const MAX_TEXT_CHARS: usize = 2000;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, on the wall clock.
    pub at: Time,
    /// Whose; `None` for what is about a network and all its vaults.
    pub vault: Option<String>,
    /// On which network.
    pub network: String,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Why the history could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the history {}{}", path.display(), room::remedy(source))]
pub struct HistoryError {
    /// What was tried.
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> HistoryError + use<'a> {
    move |source| HistoryError { doing, path: path.to_owned(), source }
}

fn current_path(home: &Path) -> PathBuf {
    home.join("history.jsonl")
}

fn old_path(home: &Path) -> PathBuf {
    home.join("history.jsonl.1")
}

/// The end of the history, to be written to. One process does at a time: the one that holds the home.
#[derive(Debug)]
pub struct Writer {
    home: PathBuf,
    max_bytes: u64,
    /// `None` until the first write, and after one that failed.
    file: Option<File>,
}

impl Writer {
    /// The history of a home; nothing is touched before the first write.
    pub fn new(home: &Path) -> Self {
        Self { home: home.to_owned(), max_bytes: MAX_BYTES, file: None }
    }

    /// Adds records; they are on disk when this returns. Of records that could not be written none is there,
    /// or a torn one that reading passes over.
    pub fn append(&mut self, records: &[Record]) -> Result<(), HistoryError> {
        if records.is_empty() {
            return Ok(());
        }
        let path = current_path(&self.home);
        let mut text = Vec::new();
        for record in records {
            text.extend(line(record).map_err(failed("write", &path))?);
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open()?,
        };
        let length = file.metadata().map_err(failed("look at", &path))?.len();
        crash_points::reached(format_args!("history: to be written"));
        let written = (&file).write_all(&text).and_then(|()| {
            crash_points::reached(format_args!("history: written"));
            file.sync_data()
        });
        crash_points::reached(format_args!("history: synced"));
        if let Err(source) = written {
            // Cutting off needs no room on the disk; if it fails the torn line stays, which is no harm.
            let _ = file.set_len(length);
            return Err(failed("write", &path)(source));
        }
        if length + text.len() as u64 >= self.max_bytes {
            fs::rename(&path, old_path(&self.home)).map_err(failed("rotate", &path))?;
            sync_folder(&self.home).map_err(failed("rotate", &path))?;
        } else {
            self.file = Some(file);
        }
        Ok(())
    }

    fn open(&self) -> Result<File, HistoryError> {
        let path = current_path(&self.home);
        let file = no_link(OpenOptions::new().read(true).append(true).create(true))
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        let length = file.metadata().map_err(failed("look at", &path))?.len();
        let mut last = [b'\n'];
        if length > 0 {
            file.read_exact_at(&mut last, length - 1).map_err(failed("read", &path))?;
        } else {
            sync_folder(&self.home).map_err(failed("create", &path))?;
        }
        if last != *b"\n" {
            (&file).write_all(b"\n").map_err(failed("write", &path))?;
        }
        Ok(file)
    }
}

/// One record as its line; texts are cut to what a person reads.
fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut record = record.clone();
    if record.entry.text.chars().count() > MAX_TEXT_CHARS {
        record.entry.text = record.entry.text.chars().take(MAX_TEXT_CHARS).chain(['…']).collect();
    }
    let mut line = serde_json::to_vec(&record)?;
    line.push(b'\n');
    Ok(line)
}

/// What was read.
#[derive(Debug, Default)]
pub struct Reading {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// Lines that could not be read: torn by a crash, or written by a later version.
    pub damaged: usize,
}

/// Reads the history of a home, with or without a daemon.
pub fn read(home: &Path) -> Result<Reading, HistoryError> {
    let mut records = Vec::new();
    let damaged = visit(home, |record| records.push(record))?;
    Ok(Reading { records, damaged })
}

/// Reads the newest records of a home, of all vaults or of one, at most so many; oldest first. Holds no more of them in
/// memory, however long the history is.
pub fn read_newest(home: &Path, vault: Option<&str>, limit: usize) -> Result<Reading, HistoryError> {
    let mut newest = VecDeque::new();
    let damaged = visit(home, |record| {
        if limit == 0 || vault.is_some_and(|vault| record.vault.as_deref() != Some(vault)) {
            return;
        }
        if newest.len() == limit {
            newest.pop_front();
        }
        newest.push_back(record);
    })?;
    Ok(Reading { records: newest.into(), damaged })
}

/// Hands every record over, oldest first; answers how many lines could not be read.
fn visit(home: &Path, mut each: impl FnMut(Record)) -> Result<usize, HistoryError> {
    let mut damaged = 0;
    // The newer file first: when it is rotated in between, we hold it, and see that it is the older one too.
    let (current, old) = (open_to_read(&current_path(home))?, open_to_read(&old_path(home))?);
    let identity = |file: &Option<File>| {
        file.as_ref().and_then(|file| file.metadata().ok()).map(|metadata| (metadata.dev(), metadata.ino()))
    };
    if identity(&current) != identity(&old)
        && let Some(old) = old
    {
        damaged += visit_file(old, &mut each).map_err(failed("read", &old_path(home)))?;
    }
    if let Some(current) = current {
        damaged += visit_file(current, &mut each).map_err(failed("read", &current_path(home)))?;
    }
    Ok(damaged)
}

fn open_to_read(path: &Path) -> Result<Option<File>, HistoryError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("open", path)(error)),
    }
}

fn visit_file(file: File, each: &mut impl FnMut(Record)) -> io::Result<usize> {
    // A file that grew beyond its bound was not written by us: no more of it than that is taken.
    let mut lines = BufReader::new(io::Read::take(file, 4 * MAX_BYTES));
    let mut line = Vec::new();
    let mut damaged = 0;
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(damaged);
        }
        let readable = line.len() <= MAX_LINE_BYTES && line.ends_with(b"\n");
        match readable.then(|| serde_json::from_slice(&line)) {
            Some(Ok(record)) => each(record),
            _ if line == b"\n" => {}
            _ => damaged += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Kind;

    fn record(text: &str) -> Record {
        let entry = Entry {
            kind: Kind::Kept,
            from: None,
            to: None,
            text: text.to_owned(),
            finalized: Some(7),
            sequence: Some(1),
            spec_version: None,
            downtime_us: None,
        };
        Record { at: Time(1_700_000_000), vault: Some("v".into()), network: "dev".into(), entry }
    }

    fn texts(home: &Path) -> (Vec<String>, usize) {
        let reading = read(home).expect("readable");
        (reading.records.into_iter().map(|record| record.entry.text).collect(), reading.damaged)
    }

    #[test]
    fn records_come_back_in_their_order_across_writers() {
        let home = tempfile::tempdir().expect("home");
        assert_eq!(texts(home.path()), (vec![], 0));
        let mut writer = Writer::new(home.path());
        writer.append(&[record("a"), record("b")]).expect("first");
        writer.append(&[record("c")]).expect("second");
        Writer::new(home.path()).append(&[record("d")]).expect("after a restart");
        assert_eq!(texts(home.path()), (["a", "b", "c", "d"].map(String::from).to_vec(), 0));
        assert_eq!(read(home.path()).expect("readable").records[0], record("a"));
    }

    #[test]
    fn the_newest_records_are_read_in_their_order_of_all_vaults_or_of_one() {
        let home = tempfile::tempdir().expect("home");
        let mut writer = Writer { max_bytes: 2000, ..Writer::new(home.path()) };
        for number in 0..20 {
            let vault = Some(if number % 2 == 0 { "even" } else { "odd" }.to_owned());
            writer.append(&[Record { vault, ..record(&number.to_string()) }]).expect("write");
        }
        let newest = |vault, limit| -> Vec<String> {
            let reading = read_newest(home.path(), vault, limit).expect("readable");
            reading.records.into_iter().map(|record| record.entry.text).collect()
        };
        assert!(old_path(home.path()).exists(), "it was rotated");
        assert_eq!(newest(None, 3), ["17", "18", "19"]);
        assert_eq!(newest(Some("even"), 2), ["16", "18"]);
        assert_eq!(newest(Some("mars"), 2), [""; 0]);
        assert_eq!(newest(None, 0), [""; 0]);
    }

    #[test]
    fn a_torn_last_line_costs_itself_and_no_other() {
        let home = tempfile::tempdir().expect("home");
        Writer::new(home.path()).append(&[record("a"), record("b")]).expect("write");
        let path = current_path(home.path());
        let whole = fs::read(&path).expect("read");
        for cut in 1..line(&record("b")).expect("line").len() {
            fs::write(&path, &whole[..whole.len() - cut]).expect("tear");
            let (before, _) = texts(home.path());
            assert_eq!(before, ["a"], "cut by {cut}");
            Writer::new(home.path()).append(&[record("c")]).expect("after the crash");
            let (mut after, damaged) = texts(home.path());
            after.retain(|text| text != "b");
            assert_eq!(after, ["a", "c"], "cut by {cut}");
            assert!(damaged <= 1, "cut by {cut}");
        }
    }

    #[test]
    fn both_files_together_are_bounded_and_rotation_loses_the_oldest_only() {
        let home = tempfile::tempdir().expect("home");
        let mut writer = Writer { max_bytes: 2000, ..Writer::new(home.path()) };
        for number in 0..200 {
            writer.append(&[record(&number.to_string())]).expect("write");
        }
        let size = |path: PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        assert!(size(current_path(home.path())) + size(old_path(home.path())) < 5000);
        let (texts, damaged) = texts(home.path());
        assert_eq!(damaged, 0);
        let first: usize = texts[0].parse().expect("number");
        let expected: Vec<String> = (first..200).map(|number| number.to_string()).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_reason_without_end_is_cut() {
        let home = tempfile::tempdir().expect("home");
        Writer::new(home.path()).append(&[record(&"x".repeat(1_000_000))]).expect("write");
        let (texts, damaged) = texts(home.path());
        assert_eq!((texts[0].chars().count(), damaged), (MAX_TEXT_CHARS + 1, 0));
    }

    #[test]
    fn a_link_in_the_place_of_the_history_is_not_followed() {
        let home = tempfile::tempdir().expect("home");
        let outside = home.path().join("outside");
        fs::write(&outside, b"precious").expect("outside");
        std::os::unix::fs::symlink(&outside, current_path(home.path())).expect("link");
        Writer::new(home.path()).append(&[record("a")]).expect_err("a link");
        assert_eq!(fs::read(&outside).expect("read"), b"precious");
    }
}
