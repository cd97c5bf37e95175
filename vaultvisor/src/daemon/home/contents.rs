//! What vaultvisor and its keepers keep in a home: that nobody else could have changed it, or can.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::ownership::{NotOurs, Owner, check_file, check_folder};

/// The folders of which everything is ours. A home may hold other things too, such as the data of its vaults.
const FOLDERS: [&str; 3] = ["store", "networks", "vaults"];
/// The files beside them.
const FILES: [&str; 4] = ["vaultvisor.lock", "history.jsonl", "history.jsonl.1", "control.sock"];
/// A folder of copies of vaults' data, whose files have the modes and owners that they had there.
const COPIES: &str = "snapshots";

/// Looks at everything that is ours in a home.
pub(super) fn check(home: &Path) -> Result<(), NotOurs> {
    for name in FILES {
        unless_gone(check_file(&home.join(name)))?;
    }
    let mut folders: Vec<PathBuf> = FOLDERS.map(|name| home.join(name)).into();
    while let Some(folder) = folders.pop() {
        unless_gone(check_folder(&folder, Owner::OwnOrRoot))?;
        let at = |source| NotOurs::Look { path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(at)?,
        };
        let is_of_copies = folder.file_name().is_some_and(|name| name == COPIES);
        for entry in entries {
            let entry = entry.map_err(at)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(at)?);
            match kind.is_dir() {
                true if is_of_copies => unless_gone(check_folder(&path, Owner::OwnOrRoot))?,
                true => folders.push(path),
                false => unless_gone(check_file(&path))?,
            }
        }
    }
    Ok(())
}

/// A keeper that runs renames its records meanwhile.
fn unless_gone(checked: Result<(), NotOurs>) -> Result<(), NotOurs> {
    match checked {
        Err(NotOurs::Look { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        checked => checked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn t30_whatever_is_ours_in_a_home_is_looked_at_and_nothing_else() {
        let home = tempfile::tempdir().expect("home");
        let home = home.path();
        check(home).expect("nothing is there yet");
        let log = home.join("vaults/v/log");
        let copy = home.join("vaults/v/snapshots/1/data");
        for folder in [&log, &copy, &home.join("data")] {
            fs::create_dir_all(folder).expect("folder");
        }
        for (target, link) in [("/etc/passwd", copy.join("link")), ("/etc", home.join("data/link"))] {
            symlink(target, link).expect("link");
        }
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).expect("chmod");
        check(home).expect("what a vault's data holds is its own");

        symlink("/etc/passwd", log.join("vault.log.1")).expect("link");
        let refused = check(home).expect_err("a link").to_string();
        assert!(refused.contains("vault.log.1 is a link"), "{refused}");
        fs::remove_file(log.join("vault.log.1")).expect("remove");
        fs::set_permissions(&log, fs::Permissions::from_mode(0o770)).expect("chmod");
        let refused = check(home).expect_err("a group's").to_string();
        assert!(refused.contains("log can be written by others: found mode 770"), "{refused}");
    }
}
