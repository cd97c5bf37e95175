//! Making one folder equal to another, by the least work that is provably enough.
//!
//! Every name is looked up below an open folder and never through a link, so nothing outside of the two folders is
//! read, changed or removed, whatever lies in them; nor is what is mounted in them, not even when it is removed. A file is never changed in place: it is made anew beside its name
//! and takes it by a rename, so that other names of the old one keep what they had until their own turn.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    ops::ControlFlow,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, chmodat, fdatasync, fstat, linkat, mkdirat,
        mknodat, open, openat, openat2, readlinkat, renameat, statat, symlinkat, unlinkat,
    },
    io::Errno,
};

use super::{
    Done, Extent, Meanwhile, SnapshotError, content,
    manifest::{Identity, Manifest},
    meta,
};

/// Two descriptors a level, of the thousand that a process usually has; no database makes a tree of this kind.
const MAX_DEPTH: usize = 256;
/// What ext4 makes in a mount point, closed to all but root, for what a check of the disk finds: of the disk and not of the
/// data. To copy it is refused, and to remove it would take from root what may be all that is left of a file.
const LOST_AND_FOUND: &str = "lost+found";
/// The kernel writes what was changed through a mapping to the disk within half a minute, and only a change after that
/// shows in the change time again. So a file that changed this lately is written out before it is looked at.
const MAPPED_CHANGES_SHOW_AFTER: Duration = Duration::from_secs(600);

/// By which side it is judged whether a file is still what the manifest says: the data folder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// The data folder is copied from.
    Source {
        /// Whether a vault changes it meanwhile.
        live: bool,
    },
    /// The data folder is copied to.
    Destination,
}

/// One run.
pub(super) struct Mirror<'a> {
    from: OwnedFd,
    to: OwnedFd,
    root: PathBuf,
    known: &'a Manifest,
    judge: Judge,
    meanwhile: Meanwhile<'a>,
    done: Done,
    manifest: Manifest,
    /// The first name of each file that has several, by inode; and in the destination the same path.
    names: HashMap<u64, PathBuf>,
    device: u64,
    destination: (u64, u64),
}

/// A place in both trees.
struct Place<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    /// A name that nothing has in either.
    new: &'a OsStr,
    name: &'a OsStr,
    path: PathBuf,
}

fn at(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> SnapshotError + use<> {
    let path = path.to_owned();
    move |error| match error {
        Errno::XDEV => SnapshotError::MountPoint { path },
        error => SnapshotError::Io { doing, path, source: error.into() },
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// A folder that is named by the configuration: a link there is the operator's own.
fn open_root(path: &Path) -> Result<OwnedFd, SnapshotError> {
    open(path, folder_flags(), Mode::empty()).map_err(at("open", path))
}

/// Opens a folder below another; never through a link, and with [`Errno::XDEV`] where another filesystem begins or
/// something is mounted. The latter need not show by its device: it may be another folder of the same filesystem.
fn open_folder(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = folder_flags() | OFlags::NOFOLLOW;
    let opened = match openat2(parent, name, flags, Mode::empty(), ResolveFlags::NO_XDEV) {
        // Before Linux 5.6, or kept from us by a container that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        opened => opened,
    }?;
    // Subvolumes are other filesystems without a mount.
    if fstat(&opened)?.st_dev == fstat(parent)?.st_dev { Ok(opened) } else { Err(Errno::XDEV) }
}

/// The same for a folder that is changed or removed: with all rights of our user, as far as it may give them. What is
/// mounted there is not touched, since that is found out before the rights.
fn open_up(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let opened = match open_folder(parent, name) {
        Err(Errno::ACCESS) => {
            meta::open_up_at(parent, name)?;
            open_folder(parent, name)
        }
        opened => opened,
    }?;
    meta::open_up(opened.as_fd(), &fstat(&opened)?)?;
    Ok(opened)
}

fn names_in(folder: BorrowedFd<'_>) -> Result<BTreeSet<OsString>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.insert(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// The names in a folder of the data or of its copy, this deep below the first.
fn names_of_data(folder: BorrowedFd<'_>, depth: usize) -> Result<BTreeSet<OsString>, Errno> {
    let mut names = names_in(folder)?;
    if depth == 0
        && names.contains(OsStr::new(LOST_AND_FOUND))
        && look(folder, LOST_AND_FOUND.as_ref())?.is_some_and(|found| is_the_disks(&found))
    {
        names.remove(OsStr::new(LOST_AND_FOUND));
    }
    Ok(names)
}

/// Whether a folder of that name is root's, or another's: a client that is not root's and makes one owns it.
fn is_the_disks(found: &Stat) -> bool {
    let own = rustix::process::geteuid();
    kind(found) == FileType::Directory && (own.is_root() || found.st_uid != own.as_raw())
}

fn look(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl<'a> Mirror<'a> {
    pub(super) fn new(
        from: &Path,
        to: &Path,
        known: &'a Manifest,
        judge: Judge,
        meanwhile: Meanwhile<'a>,
    ) -> Result<Self, SnapshotError> {
        let (source, destination) = (open_root(from)?, open_root(to)?);
        let stat = fstat(&source).map_err(at("look at", from))?;
        let found = fstat(&destination).map_err(at("look at", to))?;
        meta::open_up(destination.as_fd(), &found).map_err(at("open up", to))?;
        let root = match judge {
            Judge::Source { .. } => from,
            Judge::Destination => to,
        };
        Ok(Self {
            from: source,
            to: destination,
            root: root.to_owned(),
            known,
            judge,
            meanwhile,
            done: Done::default(),
            manifest: Manifest::default(),
            names: HashMap::new(),
            device: stat.st_dev,
            destination: (found.st_dev, found.st_ino),
        })
    }

    /// Answers what was done, and what the data folder looks like where it was the source.
    pub(super) fn run(mut self) -> Result<(Done, Manifest), SnapshotError> {
        let (from, to) = (self.from.try_clone(), self.to.try_clone());
        let root = self.root.clone();
        let again = |source| SnapshotError::Io { doing: "open", path: root.clone(), source };
        let (from, to) = (from.map_err(again)?, to.map_err(again)?);
        self.folder(from.as_fd(), to.as_fd(), Path::new(""), 0)?;
        Ok((self.done, self.manifest))
    }

    fn at(&self, doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> SnapshotError + use<> {
        at(doing, &self.root.join(path))
    }

    fn is_live(&self) -> bool {
        self.judge == Judge::Source { live: true }
    }

    fn go_on(&mut self) -> Result<(), SnapshotError> {
        match (self.meanwhile)(self.done) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(SnapshotError::GivenUp),
        }
    }

    fn folder(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        path: &Path,
        depth: usize,
    ) -> Result<(), SnapshotError> {
        if depth > MAX_DEPTH {
            return Err(SnapshotError::TooDeep { path: self.root.join(path), most: MAX_DEPTH });
        }
        let stat = fstat(from).map_err(self.at("look at", path))?;
        if (stat.st_dev, stat.st_ino) == self.destination {
            return Err(SnapshotError::Overlap { path: self.root.clone() });
        }
        let found = fstat(to).map_err(self.at("look at", path))?;
        let wanted = names_of_data(from, depth).map_err(self.at("list", path))?;
        for name in names_of_data(to, depth).map_err(self.at("list", path))?.difference(&wanted) {
            remove_entry(to, name, &self.root.join(path), depth)?;
            self.go_on()?;
        }
        let new = (0..).map(|number| OsString::from(format!(".vaultvisor-new-{number}")));
        let new = new.into_iter().find(|name| !wanted.contains(name)).unwrap_or_default();
        for name in &wanted {
            let place = Place { from, to, new: &new, name, path: path.join(name) };
            self.entry(&place, depth)?;
            self.done.entries += 1;
            self.go_on()?;
        }
        // Last, since what was done in the folder has changed its times.
        let stat = fstat(from).map_err(self.at("look at", path))?;
        self.done.not_kept +=
            meta::apply(Some(from), &stat, to, &found).map_err(self.at("set the attributes of", path))?;
        Ok(())
    }

    fn entry(&mut self, place: &Place<'_>, depth: usize) -> Result<(), SnapshotError> {
        let path = &place.path;
        // Before the look: whatever changes a file while it is copied does that later.
        let looked_at = SystemTime::now();
        let stat = match look(place.from, place.name).map_err(self.at("look at", path))? {
            Some(stat) => stat,
            None if self.is_live() => return Ok(()),
            None => return Err(self.at("look at", path)(Errno::NOENT)),
        };
        if stat.st_dev != self.device {
            return Err(SnapshotError::MountPoint { path: self.root.join(path) });
        }
        let found = look(place.to, place.name).map_err(self.at("look at", path))?;
        if kind(&stat) == FileType::Directory {
            return self.subfolder(place, found.as_ref(), depth);
        }
        let of_data = match self.judge {
            Judge::Source { .. } => Some(&stat),
            Judge::Destination => found.as_ref(),
        };
        let is_as_known = of_data.is_some_and(|stat| self.known.knows(path, Identity::of(stat)));
        if is_as_known && found.as_ref().is_some_and(|found| kind(found) == kind(&stat)) {
            self.remember(path, &stat, &stat, looked_at);
            return Ok(());
        }
        if found.as_ref().is_some_and(|found| kind(found) == FileType::Directory) {
            // A rename would not take its place.
            remove_entry(place.to, place.name, &self.root.join(path), depth)?;
        }
        if let Some(first) = self.names.get(&stat.st_ino).filter(|_| stat.st_nlink > 1) {
            linkat(&self.to, first, place.to, place.new, AtFlags::empty()).map_err(self.at("link", path))?;
            // A rename between two names of one file does nothing at all.
            if found.is_some_and(|found| kind(&found) != FileType::Directory) {
                unlinkat(place.to, place.name, AtFlags::empty()).map_err(self.at("remove", path))?;
            }
            self.take_the_name(place)?;
            self.remember(path, &stat, &stat, looked_at);
            return Ok(());
        }
        let copied = match kind(&stat) {
            FileType::RegularFile => self.file(place)?,
            FileType::Symlink => self.link(place, &stat)?,
            _ => self.special(place, &stat)?,
        };
        if let Some(copied) = copied {
            self.take_the_name(place)?;
            self.done.copied += 1;
            self.remember(path, &stat, &copied, looked_at);
        }
        Ok(())
    }

    fn take_the_name(&self, place: &Place<'_>) -> Result<(), SnapshotError> {
        renameat(place.to, place.new, place.to, place.name).map_err(self.at("put in place", &place.path))
    }

    /// Notes what is right in the destination. `copied` is what the source was like when it was copied, and `looked_at` no
    /// later than that: a large file is copied for longer than its times need to be sure, and may change meanwhile.
    fn remember(&mut self, path: &Path, stat: &Stat, copied: &Stat, looked_at: SystemTime) {
        if stat.st_nlink > 1 {
            self.names.entry(stat.st_ino).or_insert_with(|| path.to_owned());
        }
        if let Judge::Source { .. } = self.judge {
            let identity = Identity::of(copied);
            if self.known.knows(path, identity) || identity.is_sure(looked_at) {
                self.manifest.insert(path, identity);
            }
        }
    }

    fn subfolder(
        &mut self,
        place: &Place<'_>,
        found: Option<&Stat>,
        depth: usize,
    ) -> Result<(), SnapshotError> {
        let path = &place.path;
        if found.is_none_or(|found| kind(found) != FileType::Directory) {
            if found.is_some() {
                unlinkat(place.to, place.name, AtFlags::empty()).map_err(self.at("remove", path))?;
            }
            let mode = Mode::from_raw_mode(meta::OWN);
            mkdirat(place.to, place.name, mode).map_err(self.at("create", path))?;
            self.done.copied += 1;
        }
        let from = match open_folder(place.from, place.name) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if self.is_live() => return Ok(()),
            opened => opened.map_err(self.at("open", path))?,
        };
        let to = open_up(place.to, place.name).map_err(self.at("open", path))?;
        self.folder(from.as_fd(), to.as_fd(), path, depth + 1)
    }

    /// Answers what was copied; `None` when it is gone, as things are while a vault runs.
    fn file(&mut self, place: &Place<'_>) -> Result<Option<Stat>, SnapshotError> {
        let path = &place.path;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = match openat(place.from, place.name, flags | OFlags::NOATIME, Mode::empty()) {
            // Only the owner may read without a trace.
            Err(Errno::PERM) => openat(place.from, place.name, flags, Mode::empty()),
            opened => opened,
        };
        let from = match from {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) if self.is_live() => return Ok(None),
            opened => opened.map_err(self.at("open", path))?,
        };
        let mut stat = fstat(&from).map_err(self.at("look at", path))?;
        if kind(&stat) != FileType::RegularFile {
            return Ok(None);
        }
        if self.is_live() && changed_within(&stat, MAPPED_CHANGES_SHOW_AFTER) {
            fdatasync(&from).map_err(self.at("sync", path))?;
            stat = fstat(&from).map_err(self.at("look at", path))?;
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = openat(place.to, place.new, flags, Mode::from_raw_mode(0o600));
        let to = to.map_err(self.at("create", path))?;
        let Self { done, meanwhile, .. } = self;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let before = done.bytes;
        let copied = content::copy(from.as_fd(), to.as_fd(), size, &mut |bytes| {
            done.bytes += bytes;
            meanwhile(*done)
        });
        match copied.map_err(|error| super::failed("copy", &self.root.join(path))(error))? {
            ControlFlow::Continue(bytes) => self.done.bytes = before + bytes,
            ControlFlow::Break(()) => return Err(SnapshotError::GivenUp),
        }
        let made = fstat(&to).map_err(self.at("look at", path))?;
        let not_kept = meta::apply(Some(from.as_fd()), &stat, to.as_fd(), &made);
        self.done.not_kept += not_kept.map_err(self.at("set the attributes of", path))?;
        Ok(Some(stat))
    }

    fn link(&mut self, place: &Place<'_>, stat: &Stat) -> Result<Option<Stat>, SnapshotError> {
        let path = &place.path;
        let target = match readlinkat(place.from, place.name, Vec::new()) {
            Err(Errno::NOENT | Errno::INVAL) if self.is_live() => return Ok(None),
            target => OsString::from_vec(target.map_err(self.at("read", path))?.into_bytes()),
        };
        symlinkat(&target, place.to, place.new).map_err(self.at("create", path))?;
        let not_kept = meta::apply_at(stat, place.to, place.new);
        self.done.not_kept += not_kept.map_err(self.at("set the attributes of", path))?;
        Ok(Some(*stat))
    }

    /// A FIFO or a socket, which is made again as it was, without anybody at its ends; or a device, which only root can
    /// make and no vault has.
    fn special(&mut self, place: &Place<'_>, stat: &Stat) -> Result<Option<Stat>, SnapshotError> {
        let path = &place.path;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        match mknodat(place.to, place.new, kind(stat), mode, stat.st_rdev) {
            Err(Errno::PERM) => {
                tracing::warn!(path = %self.root.join(path).display(), "a device is left out of the snapshot");
                self.done.not_kept += 1;
                return Ok(None);
            }
            made => made.map_err(self.at("create", path))?,
        }
        // Past the umask.
        chmodat(place.to, place.new, mode, AtFlags::empty()).map_err(self.at("set the mode of", path))?;
        let not_kept = meta::apply_at(stat, place.to, place.new);
        self.done.not_kept += not_kept.map_err(self.at("set the attributes of", path))?;
        Ok(Some(*stat))
    }
}

fn changed_within(stat: &Stat, time: Duration) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    u64::try_from(stat.st_ctime).unwrap_or(0).saturating_add(time.as_secs()) > now
}

/// Removes a file, or a folder with all that is in it.
fn remove_entry(
    folder: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    depth: usize,
) -> Result<(), SnapshotError> {
    let at = |doing| at(doing, &path.join(name));
    let Some(stat) = look(folder, name).map_err(at("look at"))? else { return Ok(()) };
    if kind(&stat) != FileType::Directory {
        return unlinkat(folder, name, AtFlags::empty()).map_err(at("remove"));
    }
    if depth > MAX_DEPTH {
        return Err(SnapshotError::TooDeep { path: path.join(name), most: MAX_DEPTH });
    }
    let inner = open_up(folder, name).map_err(at("open"))?;
    for entry in names_in(inner.as_fd()).map_err(at("list"))? {
        remove_entry(inner.as_fd(), &entry, &path.join(name), depth + 1)?;
    }
    unlinkat(folder, name, AtFlags::REMOVEDIR).map_err(at("remove"))
}

/// Removes a folder below another, with all that is in it.
pub(super) fn remove_tree(folder: &Path, name: &OsStr) -> Result<(), SnapshotError> {
    remove_entry(open_root(folder)?.as_fd(), name, folder, 0)
}

pub(super) fn measure(data: &Path, meanwhile: Meanwhile<'_>) -> Result<Extent, SnapshotError> {
    walk(data, false, meanwhile)
}

/// Refuses a folder in which something is mounted, before anything in it is changed. What our user must open up first is
/// looked at only when it is restored.
pub(super) fn refuse_mounts(data: &Path, meanwhile: Meanwhile<'_>) -> Result<(), SnapshotError> {
    walk(data, true, meanwhile).map(|_| ())
}

fn walk(data: &Path, passes_by_closed: bool, meanwhile: Meanwhile<'_>) -> Result<Extent, SnapshotError> {
    let mut measured =
        Measured { extent: Extent::default(), seen: BTreeSet::new(), passes_by_closed, meanwhile };
    measured.folder(open_root(data)?.as_fd(), data, 0)?;
    Ok(measured.extent)
}

struct Measured<'a> {
    extent: Extent,
    /// Files with several names that were counted.
    seen: BTreeSet<u64>,
    /// Whether a folder that cannot be opened or looked into is no failure.
    passes_by_closed: bool,
    meanwhile: Meanwhile<'a>,
}

impl Measured<'_> {
    fn folder(&mut self, folder: BorrowedFd<'_>, path: &Path, depth: usize) -> Result<(), SnapshotError> {
        const BLOCK_BYTES: u64 = 512;
        if depth > MAX_DEPTH {
            return Err(SnapshotError::TooDeep { path: path.to_owned(), most: MAX_DEPTH });
        }
        let names = match names_of_data(folder, depth) {
            Err(Errno::ACCESS) if self.passes_by_closed => return Ok(()),
            names => names.map_err(at("list", path))?,
        };
        for name in names {
            // What is gone by now needs no room.
            let Some(stat) = look(folder, &name).map_err(at("look at", path))? else { continue };
            self.extent.entries += 1;
            if (self.meanwhile)(Done { entries: self.extent.entries, ..Done::default() }).is_break() {
                return Err(SnapshotError::GivenUp);
            }
            if kind(&stat) == FileType::Directory {
                match open_folder(folder, &name) {
                    Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(Errno::ACCESS) if self.passes_by_closed => {}
                    opened => {
                        let inner = path.join(&name);
                        let opened = opened.map_err(at("open", &inner))?;
                        self.folder(opened.as_fd(), &inner, depth + 1)?;
                    }
                }
            } else if stat.st_nlink <= 1 || self.seen.insert(stat.st_ino) {
                self.extent.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK_BYTES;
            }
        }
        Ok(())
    }
}
