//! The machine: folders, programs, room.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::Finding;
use crate::{
    config::Settings,
    daemon::home::{Home, check_folder as check_home},
    error_chain::Chained,
    process::{descriptors, handle::find_keeper, lock::check_folder},
};

/// Looks at the machine.
pub fn check(settings: &Settings) -> Vec<Finding> {
    let holder = Home::holder(&settings.home);
    let running =
        holder.map_or_else(String::new, |holder| format!(", in use by vaultvisor pid {}", holder.pid));
    let home = home(&settings.home).map(|found| format!("{found}{running}"));
    let lock_dir = check_folder(&settings.lock_dir)
        .map(|()| settings.lock_dir.display().to_string())
        .map_err(|error| Chained(&error).to_string());
    let keeper =
        find_keeper().map(|path| path.display().to_string()).map_err(|error| Chained(&error).to_string());
    vec![
        Finding::of("home", home),
        Finding::of("lock folder", lock_dir),
        Finding::of("keeper", keeper),
        Finding::of("disk", disk(settings)),
        Finding::of("open files", open_files(settings.vaults.len(), descriptors::highest())),
    ]
}

fn home(path: &Path) -> Result<String, String> {
    if path.symlink_metadata().is_ok() {
        return check_home(path)
            .map(|()| path.display().to_string())
            .map_err(|error| Chained(&error).to_string());
    }
    let parent = nearest(path);
    match access(&parent, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(format!("{} will be made at the first run", path.display())),
        Err(error) => Err(format!(
            "{} is not there and cannot be made in {}: {}",
            path.display(),
            parent.display(),
            io::Error::from(error)
        )),
    }
}

/// The nearest folder that is there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// Room for the largest release that would be downloaded, on a filesystem that programs may be executed from.
fn disk(settings: &Settings) -> Result<String, String> {
    let folder = nearest(&settings.home);
    let place = folder.display();
    let room =
        statvfs(&folder).map_err(|error| format!("cannot look at {place}: {}", io::Error::from(error)))?;
    if room.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err(format!(
            "{place} is on a filesystem that is mounted noexec: no release could be executed"
        ));
    }
    if room.f_files > 0 && room.f_favail == 0 {
        return Err(format!("{place} has no room for further files (no inodes are free)"));
    }
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let needed = settings.max_artifact_bytes;
    let mib = |bytes: u64| bytes / (1024 * 1024);
    match free >= needed {
        true => Ok(format!("{} MiB are free in {place}", mib(free))),
        false => Err(format!(
            "{} MiB are free in {place}, and a release may have {} (max_artifact_bytes): free some room",
            mib(free),
            mib(needed)
        )),
    }
}

/// Whether so many vaults can be supervised with the limit that vaultvisor may raise its own to.
fn open_files(vaults: usize, highest: Option<u64>) -> Result<String, String> {
    let needed = descriptors::needed(vaults);
    match highest {
        Some(highest) if highest < needed => Err(format!(
            "at most {highest} may be open, and {vaults} vaults may need {needed}: raise the hard limit \
             (LimitNOFILE= in the unit, nofile in limits.conf)"
        )),
        Some(highest) => Ok(format!("{highest} may be open, {needed} may be needed")),
        None => Ok("without a limit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::Verdict,
        config::{Overrides, parse},
    };

    fn settings(home: &Path, max_artifact_bytes: u64) -> Settings {
        let json = serde_json::json!({
            "home": home, "lock_dir": home.join("lock"), "max_artifact_bytes": max_artifact_bytes,
            "networks": {"dev": {"endpoints": ["ws://x"], "release_urls": ["https://x/"]}},
            "vaults": {"v": {"network": "dev", "args": []}},
        });
        parse(&serde_json::from_value(json).expect("JSON"), &Overrides::default()).expect("valid")
    }

    fn verdict(findings: &[Finding], what: &str) -> Verdict {
        findings.iter().find(|finding| finding.what == what).expect("looked at").verdict
    }

    #[test]
    fn a_home_that_is_not_there_yet_is_looked_for_above_and_not_made() {
        let folder = tempfile::tempdir().expect("folder");
        let home = folder.path().join("a/b");
        let findings = check(&settings(&home, 1));
        assert_eq!(verdict(&findings, "home"), Verdict::Good);
        assert!(!home.exists());
        std::fs::write(folder.path().join("file"), "x").expect("file");
        let findings = check(&settings(&folder.path().join("file"), 1));
        assert_eq!(verdict(&findings, "home"), Verdict::Bad, "a file is no home");
    }

    #[test]
    fn a_limit_of_open_files_that_is_too_low_for_the_vaults_is_told_of() {
        assert!(open_files(1, Some(1024)).is_ok() && open_files(500, None).is_ok());
        let told = open_files(500, Some(1024)).expect_err("too low");
        assert!(told.contains("1024") && told.contains("LimitNOFILE"), "{told}");
    }

    #[test]
    fn a_disk_without_room_for_a_release_is_told_of() {
        let folder = tempfile::tempdir().expect("folder");
        assert_eq!(verdict(&check(&settings(folder.path(), 1)), "disk"), Verdict::Good);
        let most = 64 * 1024 * 1024 * 1024;
        let free = statvfs(folder.path()).expect("looked at");
        if free.f_bavail * free.f_frsize < most {
            assert_eq!(verdict(&check(&settings(folder.path(), most)), "disk"), Verdict::Bad);
        }
    }
}
