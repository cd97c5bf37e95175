//! What files looked like when they were copied, and what that proves of them later.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::Stat;

use crate::ownership::create_anew;

/// A change within this of an earlier one need not show in the times of a file: the clock of a filesystem has steps of
/// milliseconds on Linux's own, and of up to two seconds on foreign ones.
const TIMES_ARE_SURE_AFTER_SECS: i128 = 2;

/// What a file looks like from outside. Nobody can change a file's content or attributes and leave all of it as it
/// was, because the change time is the kernel's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    inode: u64,
    mode: u32,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            mode: stat.st_mode,
            size: stat.st_size,
            modified: (stat.st_mtime, narrow(stat.st_mtime_nsec)),
            changed: (stat.st_ctime, narrow(stat.st_ctime_nsec)),
        }
    }

    /// Whether a change after this look, which was then, would show in another identity.
    pub(super) fn is_sure(&self, looked_at: SystemTime) -> bool {
        let since = looked_at.duration_since(SystemTime::UNIX_EPOCH);
        let looked_at = since.map_or(0, |since| i128::from(since.as_secs()));
        i128::from(self.changed.0) + TIMES_ARE_SURE_AFTER_SECS < looked_at
    }
}

/// The type of a stat's nanoseconds differs between rustix's two backends.
fn narrow(nanoseconds: impl TryInto<i64>) -> i64 {
    nanoseconds.try_into().unwrap_or(i64::MAX)
}

/// The identities of what was copied, by path below the data folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest(HashMap<PathBuf, Identity>);

impl Manifest {
    pub(super) fn insert(&mut self, path: &Path, identity: Identity) {
        self.0.insert(path.to_owned(), identity);
    }

    /// Whether a file is as it was when it was copied.
    pub(super) fn knows(&self, path: &Path, identity: Identity) -> bool {
        self.0.get(path) == Some(&identity)
    }

    /// One line for each file; its path is the last field, with `\` and line ends escaped.
    pub(super) fn write(&self, path: &Path, sync: bool) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = BufWriter::new(create_anew(&new)?);
        for (path, identity) in &self.0 {
            let Identity { inode, mode, size, modified, changed } = identity;
            write!(file, "{inode} {mode} {size} {} {} {} {} ", modified.0, modified.1, changed.0, changed.1)?;
            for byte in path.as_os_str().as_bytes() {
                match byte {
                    b'\n' => file.write_all(b"\\n")?,
                    b'\\' => file.write_all(b"\\\\")?,
                    byte => file.write_all(&[*byte])?,
                }
            }
            file.write_all(b"\n")?;
        }
        let file = file.into_inner().map_err(|error| error.into_error())?;
        if sync {
            file.sync_all()?;
        }
        std::fs::rename(&new, path)
    }

    /// `None` when it is not there or not whole lines of ours.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let mut file = BufReader::new(File::open(path).ok()?);
        let (mut known, mut line) = (HashMap::new(), Vec::new());
        loop {
            line.clear();
            if file.read_until(b'\n', &mut line).ok()? == 0 {
                return Some(Self(known));
            }
            let (path, identity) = parse(line.strip_suffix(b"\n")?)?;
            known.insert(path, identity);
        }
    }
}

fn parse(line: &[u8]) -> Option<(PathBuf, Identity)> {
    let mut fields = line.splitn(8, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse::<i128>().ok();
    let identity = Identity {
        inode: number()?.try_into().ok()?,
        mode: number()?.try_into().ok()?,
        size: number()?.try_into().ok()?,
        modified: (number()?.try_into().ok()?, number()?.try_into().ok()?),
        changed: (number()?.try_into().ok()?, number()?.try_into().ok()?),
    };
    let (mut path, mut escaped) = (Vec::new(), false);
    for byte in fields.next()? {
        match (escaped, byte) {
            (true, b'n') => path.push(b'\n'),
            (true, b'\\') => path.push(b'\\'),
            (true, _) => return None,
            (false, b'\\') => {}
            (false, byte) => path.push(*byte),
        }
        escaped = !escaped && *byte == b'\\';
    }
    (!escaped).then(|| (PathBuf::from(OsString::from_vec(path)), identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn identity(changed: i64) -> Identity {
        Identity { inode: 1, mode: 0o100_644, size: 2, modified: (-3, 4), changed: (changed, 6) }
    }

    #[test]
    fn a_manifest_comes_back_with_every_name_that_a_file_can_have() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("manifest");
        let mut manifest = Manifest::default();
        let odd = OsString::from_vec(b"a b\nc\\n\xff".to_vec());
        for (name, changed) in [(OsString::from("plain/file"), 5), (odd, 7)] {
            manifest.insert(Path::new(&name), identity(changed));
        }
        manifest.write(&path, true).expect("written");
        assert_eq!(Manifest::read(&path), Some(manifest));
    }

    #[test]
    fn a_manifest_that_is_cut_or_garbled_proves_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("manifest");
        assert_eq!(Manifest::read(&path), None);
        for bad in
            ["1 2 3 4 5 6 7 a", "1 2 3 4 5 6 a\n", "x 2 3 4 5 6 7 a\n", "1 2 3 4 5 6 7 a\\\n", "\0\0\n"]
        {
            std::fs::write(&path, bad).expect("written");
            assert_eq!(Manifest::read(&path), None, "{bad:?} was believed");
        }
    }

    #[test]
    fn a_file_that_has_just_changed_may_change_again_unseen() {
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        assert!(!identity(100).is_sure(at(99)), "a clock that was set back");
        assert!(!identity(100).is_sure(at(100)) && !identity(100).is_sure(at(102)));
        assert!(identity(100).is_sure(at(103)));
    }
}
