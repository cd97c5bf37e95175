//! Output to somebody who reads it: vaultvisor's own standard error, or the system's journal.
//!
//! A reader may be slow, stop or die. It is given a moment; then what it does not take is dropped until it
//! takes something again.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, send, socket_with},
};

use super::Dropped;

/// Where the journal takes the output of programs (`systemd-journald.service(8)`).
pub(super) const JOURNAL: &str = "/run/systemd/journal/stdout";
/// A reader that is alive takes something within this; the keeper does nothing else meanwhile.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// What a pipe takes at once when it takes anything.
const PIECE_BYTES: usize = 4096;

/// A reader of ours.
#[derive(Debug)]
pub(super) struct Stream {
    reader: OwnedFd,
    is_socket: bool,
    /// It did not take what it was last offered.
    stuck: bool,
    /// How to begin again when it was restarted.
    journal: Option<Journal>,
}

/// Where a journal listens, and what it is told first.
#[derive(Debug)]
struct Journal {
    socket: PathBuf,
    greeting: String,
}

impl Stream {
    /// The calling process's own standard error.
    pub(super) fn standard_error() -> io::Result<Self> {
        let stderr = io::stderr();
        // Others share this description of it, so its mode is not ours to change: a second one of the same
        // pipe or terminal is. A socket has no second one, but needs none. What belongs to another user, as
        // a terminal after `su`, cannot be opened again; it is written in pieces that it has room for.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY;
        let (reader, is_socket) = match rustix::fs::open("/proc/self/fd/2", flags, Mode::empty()) {
            Ok(reader) => (reader, false),
            Err(Errno::NXIO) => (stderr.as_fd().try_clone_to_owned()?, true),
            Err(_) => (stderr.as_fd().try_clone_to_owned()?, false),
        };
        Ok(Self { reader, is_socket, stuck: false, journal: None })
    }

    /// The system's journal, under this name.
    pub(super) fn journal(socket: &Path, name: &str) -> io::Result<Self> {
        let name: String = name.chars().filter(|character| !character.is_control()).collect();
        // The name; no unit; ordinary lines (`info`), without levels in them; and nothing passed on from there.
        let greeting = format!("{name}\n\n6\n0\n0\n0\n0\n");
        let journal = Journal { socket: socket.to_owned(), greeting };
        Ok(Self { reader: journal.connect()?, is_socket: true, stuck: false, journal: Some(journal) })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Dropped> {
        let mut rest = bytes;
        let mut connected_again = false;
        while !rest.is_empty() {
            match self.write_some(rest, &mut connected_again) {
                Ok(count) => {
                    self.stuck = false;
                    rest = &rest[count..];
                }
                Err(error) => {
                    self.stuck = true;
                    return Err(Dropped { bytes: rest.len(), why: error.to_string() });
                }
            }
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8], connected_again: &mut bool) -> io::Result<usize> {
        let patience = if self.stuck { &NONE } else { &PATIENCE };
        let mut polled = [PollFd::new(&self.reader, PollFlags::OUT)];
        match poll(&mut polled, Some(patience)) {
            Ok(0) | Err(Errno::INTR) => return Err(io::Error::other("its reader does not take it")),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        let written = if self.is_socket {
            send(&self.reader, piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
        } else {
            rustix::io::write(&self.reader, piece)
        };
        match (written, &self.journal) {
            (Ok(count), _) => Ok(count),
            (Err(Errno::PIPE | Errno::CONNRESET), Some(journal)) if !*connected_again => {
                *connected_again = true;
                self.reader = journal.connect()?;
                Ok(0)
            }
            (Err(error), _) => Err(error.into()),
        }
    }
}

impl Journal {
    /// Never waits: a journal that hangs must not hang the keeper.
    fn connect(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let journal = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&journal, &SocketAddrUnix::new(&self.socket)?)?;
        let sent = send(&journal, self.greeting.as_bytes(), SendFlags::NOSIGNAL)?;
        if sent == self.greeting.len() { Ok(journal) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// Says something in vaultvisor's log, which is the keeper's standard error, if that takes it: a keeper must
/// not wait for whoever reads it.
pub(in crate::process) fn complain(text: &str) {
    if let Ok(mut stream) = Stream::standard_error() {
        // A keeper whose complaints nobody reads has nobody left to tell.
        let _ = stream.write(format!("vaultvisor-keeper: {text}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader},
        os::unix::net::UnixListener,
    };

    #[test]
    fn a_journal_is_told_whose_lines_follow_and_again_after_its_restart() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("stdout");
        let mut listener = UnixListener::bind(&socket).expect("listen");
        let mut stream = Stream::journal(&socket, "vaultvisor-a\nb").expect("connected");
        for line in ["first", "second"] {
            stream.write(format!("{line}\n").as_bytes()).expect("written");
            let (connection, _) = listener.accept().expect("accept");
            let lines: Vec<_> =
                BufReader::new(&connection).lines().take(8).map(|line| line.expect("line")).collect();
            assert_eq!(lines, ["vaultvisor-ab", "", "6", "0", "0", "0", "0", line]);
            drop((connection, listener));
            std::fs::remove_file(&socket).expect("remove");
            listener = UnixListener::bind(&socket).expect("listen again");
        }
    }

    #[test]
    fn t29_a_journal_that_takes_nothing_does_not_hold_the_vault_up() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("stdout");
        let listener = UnixListener::bind(&socket).expect("listen");
        let mut stream = Stream::journal(&socket, "a").expect("connected");
        let began = std::time::Instant::now();
        let flood = vec![b'x'; 10_000_000];
        let dropped = stream.write(&flood).expect_err("nobody reads");
        assert!(dropped.bytes > 0 && dropped.why.contains("does not take it"), "{dropped:?}");
        for _ in 0..1000 {
            stream.write(&flood).expect_err("nobody reads still");
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
        drop(listener);
    }
}
