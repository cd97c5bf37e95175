//! A log file that is rotated by size: what is kept is bounded, whatever a vault prints.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use rustix::fs::OFlags;

use super::{Dropped, FIFO_BYTES};

/// How far a file may outgrow its size while a line goes on, so that rotation does not cut it in two.
const MAX_SLACK: u64 = 1024 * 1024;

/// `vault.log`, and `vault.log.1`, the newest of the old ones, and so on.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    max_bytes: u64,
    keep: u32,
    open: Option<(File, u64)>,
    /// What was written last ended a line.
    line_ended: bool,
    /// No file may be made or renamed any more.
    settled: bool,
}

impl LogFile {
    pub(super) fn new(path: PathBuf, max_bytes: u64, keep: u32) -> Self {
        Self { path, max_bytes: max_bytes.max(1), keep, open: None, line_ended: true, settled: false }
    }

    /// Makes and opens the file; says why that cannot be.
    pub(super) fn make(&mut self) -> Option<String> {
        self.opened().err().map(|error| error.to_string())
    }

    pub(super) fn close(&mut self) {
        self.open = None;
    }

    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Dropped> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.write_some(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => {
                    // Opened by name the next time: who made room may have moved the file away.
                    self.open = None;
                    return Err(Dropped { bytes: rest.len(), why: error.to_string() });
                }
            }
        }
        Ok(())
    }

    /// Writes up to where the file is to be rotated, or rotates it.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (settled, line_ended, max_bytes) = (self.settled, self.line_ended, self.max_bytes);
        // The last words of a vault are worth room, and they are all in its FIFO when it has ended.
        let last_words = if settled { FIFO_BYTES as u64 } else { 0 };
        let most_bytes = max_bytes.saturating_add(max_bytes.min(MAX_SLACK)).saturating_add(last_words);
        let (file, size) = self.opened()?;
        if *size >= most_bytes && settled {
            return Err(io::Error::other("the vault has ended, and its log is full"));
        }
        if !settled && (*size >= most_bytes || *size >= max_bytes && line_ended) {
            self.rotate()?;
            return Ok(0);
        }
        let at_most =
            |bytes_left: u64| usize::try_from(bytes_left).map_or(bytes.len(), |left| left.min(bytes.len()));
        // Up to the end of the line in which the file is full, or as far as the slack allows.
        let (full, limit) = (at_most(max_bytes.saturating_sub(*size)), at_most(most_bytes - *size));
        let line = bytes[full..limit].iter().position(|byte| *byte == b'\n');
        let count = file.write(&bytes[..line.map_or(limit, |end| full + end + 1)])?;
        *size += count as u64;
        self.line_ended = count > 0 && bytes[count - 1] == b'\n';
        Ok(count)
    }

    fn opened(&mut self) -> io::Result<&mut (File, u64)> {
        if self.open.is_none() {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let flags = i32::try_from(flags.bits()).unwrap_or_default();
            let mut options = OpenOptions::new();
            options.append(true).create(!self.settled).mode(0o640).custom_flags(flags);
            let file = options.open(&self.path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("expected a file, found something else"));
            }
            self.line_ended = true;
            self.open = Some((file, metadata.len()));
        }
        self.open.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if let Some((file, size)) = &mut self.open
            && file.metadata()?.len() < *size
        {
            // Someone else emptied it in place.
            *size = file.metadata()?.len();
            return Ok(());
        }
        if self.keep == 0 {
            if let Some((file, size)) = &mut self.open {
                file.set_len(0)?;
                *size = 0;
            }
            return Ok(());
        }
        for number in (1..self.keep).rev() {
            ignore_missing(fs::rename(self.old(number), self.old(number + 1)))?;
        }
        self.open = None;
        ignore_missing(fs::rename(&self.path, self.old(1)))
    }

    fn old(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }
}

fn ignore_missing(renamed: io::Result<()>) -> io::Result<()> {
    match renamed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(folder: &tempfile::TempDir, max_bytes: u64, keep: u32) -> LogFile {
        LogFile::new(folder.path().join("vault.log"), max_bytes, keep)
    }

    fn read(folder: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).unwrap_or_default()
    }

    #[test]
    fn t29_a_flood_keeps_the_newest_lines_whole_and_no_more_than_its_files() {
        let folder = tempfile::tempdir().expect("folder");
        let mut log = log(&folder, 100, 2);
        for number in 0..1000 {
            log.write(format!("line {number:04}\n").as_bytes()).expect("written");
        }
        let names: Vec<_> = fs::read_dir(folder.path()).expect("list").collect();
        assert!(names.len() <= 3, "{names:?}");
        let all = ["vault.log.2", "vault.log.1", "vault.log"].map(|name| read(&folder, name)).concat();
        let first: u32 = all[5..9].parse().expect("a whole line");
        let expected: String = (first..1000).map(|number| format!("line {number:04}\n")).collect();
        assert_eq!(all, expected);
        assert!((200..=330).contains(&all.len()), "{}", all.len());
    }

    #[test]
    fn t29_lines_without_end_are_cut_and_bounded() {
        let folder = tempfile::tempdir().expect("folder");
        let mut log = log(&folder, 100, 1);
        for _ in 0..50 {
            log.write(&[b'x'; 77]).expect("written");
        }
        let sizes = ["vault.log", "vault.log.1"].map(|name| read(&folder, name).len());
        assert!(sizes.iter().all(|size| *size <= 200) && sizes[1] == 200, "{sizes:?}");
    }

    #[test]
    fn with_no_old_logs_to_keep_the_file_begins_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let mut log = log(&folder, 20, 0);
        for number in 0..10 {
            log.write(format!("line {number}\n").as_bytes()).expect("written");
        }
        assert_eq!(read(&folder, "vault.log"), "line 9\n");
        assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 1);
    }

    #[test]
    fn once_settled_no_file_is_made_or_renamed_and_it_is_bounded_still() {
        let folder = tempfile::tempdir().expect("folder");
        let mut log = log(&folder, 100, 2);
        log.write(b"first\n").expect("written");
        log.settle();
        log.write(&vec![b'x'; FIFO_BYTES]).expect("its last words");
        let dropped = log.write(&[b'x'; 1000]).expect_err("too much");
        assert_eq!(dropped.bytes, 1006 - 200);
        assert_eq!(read(&folder, "vault.log").len(), 200 + FIFO_BYTES);
        assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_link_planted_in_place_of_the_log_is_not_followed() {
        let folder = tempfile::tempdir().expect("folder");
        let outside = folder.path().join("outside");
        fs::write(&outside, b"precious").expect("outside");
        std::os::unix::fs::symlink(&outside, folder.path().join("vault.log")).expect("link");
        assert_eq!(log(&folder, 100, 1).write(b"12345").expect_err("a link").bytes, 5);
        assert_eq!(fs::read(&outside).expect("read"), b"precious");
    }
}
