//! What a file is besides its bytes: mode, owner, times and extended attributes.

use std::{
    ffi::{CString, OsStr},
    os::fd::BorrowedFd,
};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod, fchown,
        fgetxattr, flistxattr, flistxattr_query, fremovexattr, fsetxattr, fstat, futimens, utimensat,
    },
    io::Errno,
};

/// Linux allows an attribute 64 KiB, and a file's list of names as much.
const MAX_ATTRIBUTE_BYTES: usize = 64 * 1024;
/// The bits of a mode that can be set.
const MODE: u32 = 0o7777;
/// Our own user must reach what it copies into, and what it removes.
pub(super) const OWN: u32 = 0o700;

pub(super) fn times(stat: &Stat) -> Timestamps {
    let time = |secs, nanos: u32| Timespec { tv_sec: secs, tv_nsec: nanos.into() };
    Timestamps {
        last_access: time(stat.st_atime, narrow(stat.st_atime_nsec)),
        last_modification: time(stat.st_mtime, narrow(stat.st_mtime_nsec)),
    }
}

/// The type of a stat's nanoseconds differs between rustix's two backends.
fn narrow(nanoseconds: impl TryInto<u32>) -> u32 {
    nanoseconds.try_into().unwrap_or(0)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// Gives an open file or folder the attributes of another. Answers how many could not be kept because only its owner or
/// root may set them: what our group may write need not be ours.
pub(super) fn apply(
    from: Option<BorrowedFd<'_>>,
    stat: &Stat,
    to: BorrowedFd<'_>,
    found: &Stat,
) -> Result<u64, Errno> {
    let mut not_kept = 0;
    // The owner first: a change of it takes set-user-id bits away.
    if (stat.st_uid, stat.st_gid) != (found.st_uid, found.st_gid) {
        let (uid, gid) = owner(stat);
        not_kept += u64::from(!is_kept(fchown(to, uid, gid))?);
    }
    if let Some(from) = from {
        not_kept += copy_attributes(from, to)?;
    }
    // Another look: what was done so far may have changed the mode.
    if fstat(to)?.st_mode & MODE != stat.st_mode & MODE {
        not_kept += u64::from(!is_kept(fchmod(to, Mode::from_raw_mode(stat.st_mode & MODE)))?);
    }
    not_kept += u64::from(!is_kept(futimens(to, &times(stat)))?);
    Ok(not_kept)
}

/// Gives our user all rights in an open folder, where it may: a folder that is not ours may give them to our group.
pub(super) fn open_up(folder: BorrowedFd<'_>, found: &Stat) -> Result<(), Errno> {
    let mode = found.st_mode & MODE;
    if mode & OWN != OWN {
        is_kept(fchmod(folder, Mode::from_raw_mode(mode | OWN)))?;
    }
    Ok(())
}

/// The same for a folder that cannot be opened before. Not for a link, which would be followed.
pub(super) fn open_up_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    is_kept(chmodat(parent, name, Mode::from_raw_mode(OWN), AtFlags::empty())).map(|_| ())
}

/// The same for what cannot be opened: a link, a FIFO, a socket.
pub(super) fn apply_at(stat: &Stat, folder: BorrowedFd<'_>, name: &OsStr) -> Result<u64, Errno> {
    let (uid, gid) = owner(stat);
    let not_kept = u64::from(!is_kept(chownat(folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?);
    utimensat(folder, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(not_kept)
}

/// Whether it was done; being refused for want of privilege, or on a filesystem that has no such thing, is no failure.
fn is_kept(outcome: Result<(), Errno>) -> Result<bool, Errno> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NODATA) => Ok(false),
        Err(error) => Err(error),
    }
}

fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<u64, Errno> {
    let (wanted, found) = (attributes(from)?, attributes(to)?);
    let mut not_kept = 0;
    let mut value = vec![0; if wanted.is_empty() { 0 } else { MAX_ATTRIBUTE_BYTES }];
    for name in &wanted {
        match fgetxattr(from, name, value.as_mut_slice()) {
            Ok(length) => {
                not_kept += u64::from(!is_kept(fsetxattr(to, name, &value[..length], XattrFlags::empty()))?);
            }
            // Taken away meanwhile, or for root's eyes only.
            Err(Errno::NODATA) => {}
            Err(Errno::PERM | Errno::ACCESS) => not_kept += 1,
            Err(error) => return Err(error),
        }
    }
    for name in found.iter().filter(|name| !wanted.contains(name)) {
        not_kept += u64::from(!is_kept(fremovexattr(to, name))?);
    }
    Ok(not_kept)
}

fn attributes(file: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    match flistxattr_query(file) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    // As many as there can be: some may come between the question and the answer.
    let mut names = vec![0; MAX_ATTRIBUTE_BYTES];
    let length = flistxattr(file, names.as_mut_slice())?;
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    // Each is without a NUL by the way it was cut out.
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}
