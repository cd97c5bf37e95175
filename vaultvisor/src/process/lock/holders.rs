//! Who holds a lock whose record names nobody that lives: whatever has the keeper's open file has inherited it.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use super::super::{
    id::{Processes, all_processes},
    search::KEEPER_NAME,
};

/// The processes that hold the lock at a path, as far as they may be looked into, with what to do. Not keepers: one that
/// takes the lock just now has written no record yet.
pub fn describe_holders(lock: &Path) -> io::Result<Processes> {
    let inode = fs::metadata(lock)?.ino();
    let all = all_processes()?;
    let holders = all.iter().filter(|stat| stat.name != KEEPER_NAME && holds(stat.id.pid, lock, inode));
    Ok(Processes::of(holders.map(|holder| {
        let (process, path) = (holder.describe(), lock.display());
        let text = format!(
            "{process}, holds the lock {path}, which it has from an earlier run of this vault; end it, or reboot"
        );
        (holder.id.pid, text)
    })))
}

/// Whether one of a process's descriptors has the lock. To have the file open is not to hold it.
fn holds(pid: u32, lock: &Path, inode: u64) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|descriptor| {
        // The link and not what it leads to, which may be on a filesystem that does not answer.
        let is_named_so = fs::read_link(descriptor.path()).is_ok_and(|to| to.file_name() == lock.file_name());
        let number = descriptor.file_name();
        is_named_so
            && fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.display()))
                .is_ok_and(|info| info.lines().any(|line| is_lock_of(line, inode)))
    })
}

/// Whether a line of a descriptor's `fdinfo` says that it holds an `flock` on this file, as
/// `lock: 1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF` does.
fn is_lock_of(line: &str, inode: u64) -> bool {
    let Some(lock) = line.strip_prefix("lock:") else { return false };
    let mut fields = lock.split_ascii_whitespace();
    let is_of_file =
        |field: &str| field.rsplit_once(':').is_some_and(|(_, number)| number.parse() == Ok(inode));
    fields.any(|field| field == "FLOCK") && fields.any(is_of_file)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{AccountLock, Try},
        *,
    };
    use std::process::{Child, Command, Stdio};

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn with_open(file: fs::File) -> Ended {
        Ended(Command::new("sleep").arg("1000").stdin(Stdio::from(file)).spawn().expect("a process"))
    }

    #[test]
    fn who_has_inherited_a_lock_is_named_and_who_only_has_its_file_open_is_not() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.lock");
        let Ok(Try::Taken(lock, None)) = AccountLock::try_take(&path) else { panic!("busy") };
        let heir = with_open(lock.file.try_clone().expect("cloned"));
        let _reader = with_open(fs::File::open(&path).expect("there"));
        drop(lock);
        assert!(matches!(AccountLock::try_take(&path), Ok(Try::Busy(None))));
        let found = describe_holders(&path).expect("seen");
        assert_eq!(found.pids, [heir.0.id()], "{found:?}");
        assert!(found.what.contains("(sleep), state ") && found.what.contains("end it"), "{found:?}");
        drop(heir);
        assert!(describe_holders(&path).expect("seen").is_empty());
    }

    #[test]
    fn a_lock_is_known_by_its_kind_and_file() {
        let line = "lock:\t1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF";
        assert!(is_lock_of(line, 1234));
        assert!(!is_lock_of(line, 234) && !is_lock_of(line, 4711) && !is_lock_of("ino:\t1234", 1234));
        assert!(!is_lock_of("lock:\t1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF", 1234));
    }
}
