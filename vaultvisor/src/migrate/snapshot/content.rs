//! The bytes of a file: shared with the copy where the filesystem can, else copied extent by extent.

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use rustix::{
    fs::{SeekFrom, copy_file_range, ftruncate, ioctl_ficlone, seek},
    io::Errno,
};

use crate::ownership::create_anew;

/// How much is copied before somebody may say that it is enough: far below a second on any disk.
const PIECE_BYTES: usize = 8 * 1024 * 1024;

/// Copies all of a file into an empty one; answers how many bytes were written or shared, holes not counted. What
/// somebody cuts off the source meanwhile is missing, and is for a second pass to see.
pub(super) fn copy(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    size: u64,
    meanwhile: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> io::Result<ControlFlow<(), u64>> {
    if size == 0 {
        return Ok(ControlFlow::Continue(0));
    }
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(ControlFlow::Continue(size));
    }
    // As long as the source from the beginning: what is not written is a hole.
    ftruncate(to, size)?;
    let mut copied = 0;
    let mut at = 0;
    while at < size {
        let data = match seek(from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // No data is left: the rest is a hole.
            Err(Errno::NXIO) => break,
            // A filesystem that knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(error) => return Err(error.into()),
        };
        let hole = match seek(from, SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(size),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => size,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        at = data;
        while at < hole {
            let piece = usize::try_from(hole - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let count = copy_piece(from, to, at, piece)?;
            if count == 0 {
                return Ok(ControlFlow::Continue(copied));
            }
            (at, copied) = (at + count as u64, copied + count as u64);
            if meanwhile(count as u64).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(copied))
}

/// In the kernel where it can, which between some filesystems it cannot.
fn copy_piece(from: BorrowedFd<'_>, to: BorrowedFd<'_>, at: u64, length: usize) -> io::Result<usize> {
    let (mut read_at, mut write_at) = (at, at);
    match copy_file_range(from, Some(&mut read_at), to, Some(&mut write_at), length) {
        Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {}
        Ok(count) => return Ok(count),
        Err(error) => return Err(error.into()),
    }
    const BUFFER_BYTES: usize = 256 * 1024;
    let mut buffer = vec![0; length.min(BUFFER_BYTES)];
    let count = rustix::io::pread(from, &mut buffer, at)?;
    let mut written = 0;
    while written < count {
        written += rustix::io::pwrite(to, &buffer[written..count], at + written as u64)?;
    }
    Ok(count)
}

/// Whether the two places share the blocks of a file and its copy, found out with a file of our own: nothing is made in
/// the data folder, so its newest file is tried from there, and where it has none there is nothing to share.
pub(super) fn can_share(data: &Path, snapshot: &Path) -> bool {
    let Some(sample) = a_file_in(data, SAMPLE_DEPTH) else { return false };
    let probe = snapshot.join("probe");
    let Ok(copy) = create_anew(&probe) else { return false };
    let shared = ioctl_ficlone(copy.as_fd(), sample.as_fd()).is_ok();
    let _ = std::fs::remove_file(&probe);
    shared
}

/// A folder that has no file this deep is not worth a longer search: then room for a whole copy is asked for.
const SAMPLE_DEPTH: usize = 4;

fn a_file_in(folder: &Path, depth: usize) -> Option<File> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let kind = entry.file_type().ok()?;
        if kind.is_file() && entry.metadata().is_ok_and(|file| file.len() > 0) {
            return File::open(entry.path()).ok();
        }
        if kind.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.iter().filter(|_| depth > 0).find_map(|folder| a_file_in(folder, depth - 1))
}
