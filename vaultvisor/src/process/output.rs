//! What a vault prints, on its way to where it is kept.
//!
//! A vault writes to a FIFO in its folder, which it holds open for reading and writing itself: whoever reads
//! it may die without a SIGPIPE for the vault, and come back. The keeper drains it, whatever the lines look
//! like, and vaultvisor does so for a vault that lost its keeper. What cannot be kept, because a disk is full
//! or a reader has stopped, is dropped and counted: a vault never waits for its output for long.

mod log_file;
mod stream;

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::protocol::{Output, Place};
use log_file::LogFile;
use stream::Stream;

pub(super) use stream::complain;

/// What one read takes; the kernel's own size of a pipe.
const CHUNK_BYTES: usize = 64 * 1024;
/// How much is read before other things get their turn: a vault may print without a pause.
const CHUNKS_AT_ONCE: usize = 16;
/// Room for what a vault prints while its keeper writes to a busy disk.
const FIFO_BYTES: usize = 1024 * 1024;

/// The two ends of a vault's FIFO.
#[derive(Debug)]
pub struct Fifo {
    /// The vault's, which blocks, as programs expect of their output.
    pub vault: OwnedFd,
    /// The reader's, which does not.
    reader: OwnedFd,
}

impl Fifo {
    /// Opens a FIFO, and makes it when it is not there. Never through a link, never anybody else's.
    pub fn open(path: &Path) -> io::Result<Self> {
        match rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        // To open it for both never blocks, and as long as this is open a reader never meets its end.
        let vault = open(path, true, OFlags::NOFOLLOW)?;
        let reader = open(path, false, OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        let (metadata, own) = (vault.metadata()?, rustix::process::geteuid().as_raw());
        let same = reader.metadata()?.ino() == metadata.ino();
        if !metadata.file_type().is_fifo() || metadata.uid() != own || !same {
            let expected = "expected a FIFO of our own, found something else; remove it";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, expected));
        }
        // Refused when the user has too much in pipes already; the usual size will do then.
        let _ = rustix::pipe::fcntl_setpipe_size(&vault, FIFO_BYTES);
        Ok(Self { vault: vault.into(), reader: reader.into() })
    }
}

fn open(path: &Path, write: bool, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    // A regular file or device that is in its place is opened too, and refused by who called.
    OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)
}

/// A reader of a FIFO, and where it passes on what it reads.
#[derive(Debug)]
pub struct Drain {
    fifo: Fifo,
    sink: Sink,
    buffer: Vec<u8>,
    /// Dropped since the last that was kept.
    dropped: u64,
    why_dropped: Option<String>,
}

#[derive(Debug)]
enum Sink {
    File(LogFile),
    Stream(Stream),
}

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Dropped> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stream(stream) => stream.write(bytes),
        }
    }
}

/// Output that was not kept.
#[derive(Debug)]
struct Dropped {
    bytes: usize,
    why: String,
}

impl Drain {
    /// Opens everything. The text says what is not as it was asked for.
    pub fn open(place: &Place) -> io::Result<(Self, Option<String>)> {
        let fifo = Fifo::open(&place.fifo())?;
        let (sink, warning) = open_sink(place);
        let buffer = vec![0; CHUNK_BYTES];
        Ok((Self { fifo, sink, buffer, dropped: 0, why_dropped: None }, warning))
    }

    /// What is readable when there is something to drain.
    pub fn reader(&self) -> &OwnedFd {
        &self.fifo.reader
    }

    /// What the vault gets as its output.
    pub fn vault(&self) -> &OwnedFd {
        &self.fifo.vault
    }

    /// Makes the log file, if there is to be one: later than this a vault may be about to be replaced.
    pub fn make_log(&mut self) {
        if let Sink::File(file) = &mut self.sink {
            file.make();
        }
    }

    /// The vault has ended, and the next one may be about to start: no file is made or renamed any more.
    pub fn settle(&mut self) {
        if let Sink::File(file) = &mut self.sink {
            file.settle();
        }
    }

    /// Passes on what is there, up to a bound.
    pub fn drain(&mut self) {
        for _ in 0..CHUNKS_AT_ONCE {
            match rustix::io::read(&self.fifo.reader, &mut self.buffer) {
                Ok(0) | Err(_) => return,
                Ok(count) => self.pass_on(count),
            }
        }
    }

    fn pass_on(&mut self, count: usize) {
        if self.dropped > 0 {
            let why = self.why_dropped.as_deref().unwrap_or_default();
            let note = format!("\n[vaultvisor dropped {} bytes of output here: {why}]\n", self.dropped);
            if self.sink.write(note.as_bytes()).is_ok() {
                self.dropped = 0;
                self.why_dropped = None;
            }
        }
        let Err(dropped) = self.sink.write(&self.buffer[..count]) else { return };
        self.dropped += dropped.bytes as u64;
        if self.why_dropped.is_none() {
            complain(&format!("the vault's output is being dropped: {}", dropped.why));
            self.why_dropped = Some(dropped.why);
        }
    }
}

fn open_sink(place: &Place) -> (Sink, Option<String>) {
    let file = || LogFile::new(place.log(), place.log_bytes, place.log_keep);
    match place.output {
        Output::File => {
            let mut file = file();
            let warning = file.make().map(|why| {
                format!(
                    "cannot write {}: {why}; the vault's output is dropped until that works",
                    place.log().display()
                )
            });
            // It is opened again by name when the vault runs: the one before may rotate it until then.
            file.close();
            (Sink::File(file), warning)
        }
        Output::Inherit => match Stream::standard_error() {
            Ok(stream) => (Sink::Stream(stream), None),
            Err(error) => (Sink::File(file()), Some(instead(place, "vaultvisor's standard error", &error))),
        },
        Output::Journald => {
            let name = place.folder.file_name().unwrap_or_default().to_string_lossy();
            match Stream::journal(stream::JOURNAL.as_ref(), &format!("vaultvisor-{name}")) {
                Ok(stream) => (Sink::Stream(stream), None),
                Err(error) => (Sink::File(file()), Some(instead(place, "the system's journal", &error))),
            }
        }
    }
}

fn instead(place: &Place, what: &str, error: &io::Error) -> String {
    format!("cannot write to {what} ({error}); the vault's output goes to {} instead", place.log().display())
}

#[cfg(test)]
mod tests {
    use super::super::StopSignal;
    use super::*;
    use std::io::Write;

    fn place(folder: &Path) -> Place {
        std::fs::create_dir(folder.join("log")).expect("folder");
        Place {
            lock: folder.join("a.lock"),
            marker: "m".into(),
            home: folder.to_owned(),
            folder: folder.to_owned(),
            stop_signal: StopSignal::Int,
            grace_ms: 1,
            output: Output::File,
            log_bytes: 1000,
            log_keep: 2,
        }
    }

    #[test]
    fn a_reader_that_comes_back_finds_what_was_written_meanwhile() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let (first, warning) = Drain::open(&place).expect("opened");
        assert_eq!(warning, None);
        let mut vault = File::from(first.vault().try_clone().expect("the vault's end"));
        drop(first);
        vault.write_all(b"nobody listens\n").expect("no SIGPIPE, no error");
        let (mut second, _) = Drain::open(&place).expect("opened again");
        second.drain();
        assert_eq!(std::fs::read(place.log()).expect("log"), b"nobody listens\n");
    }

    #[test]
    fn what_does_not_fit_on_the_disk_is_dropped_and_counted() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let (mut drain, _) = Drain::open(&place).expect("opened");
        let mut vault = File::from(drain.vault().try_clone().expect("the vault's end"));
        // No room for the log: a folder is in its place.
        std::fs::remove_file(place.log()).expect("remove");
        std::fs::create_dir(place.log()).expect("in the way");
        vault.write_all(b"lost\n").expect("write");
        drain.drain();
        std::fs::remove_dir(place.log()).expect("out of the way");
        vault.write_all(b"kept\n").expect("write");
        drain.drain();
        let log = std::fs::read_to_string(place.log()).expect("log");
        assert!(log.starts_with("\n[vaultvisor dropped 5 bytes of output here: "), "{log}");
        assert!(log.ends_with("]\nkept\n"), "{log}");
    }

    #[test]
    fn what_is_not_our_fifo_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        std::fs::write(place.fifo(), b"precious").expect("a file");
        assert!(Drain::open(&place).is_err());
        assert_eq!(std::fs::read(place.fifo()).expect("read"), b"precious");
        std::fs::remove_file(place.fifo()).expect("remove");
        std::os::unix::fs::symlink("/dev/null", place.fifo()).expect("link");
        assert!(Drain::open(&place).is_err());
    }

    #[test]
    fn without_a_journal_the_file_takes_its_place_and_that_is_said() {
        let folder = tempfile::tempdir().expect("folder");
        let place = Place { output: Output::Journald, ..place(folder.path()) };
        if Path::new(stream::JOURNAL).exists() {
            return;
        }
        let (mut drain, warning) = Drain::open(&place).expect("opened");
        assert!(warning.expect("said").contains("journal"));
        File::from(drain.vault().try_clone().expect("end")).write_all(b"kept").expect("write");
        drain.drain();
        assert_eq!(std::fs::read(place.log()).expect("log"), b"kept");
    }
}
