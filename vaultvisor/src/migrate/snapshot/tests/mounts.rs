//! What is mounted in a data folder or in a copy: only root can mount.

use std::process::Command;

use super::*;

/// Something mounted over a folder. Dropped: detached.
struct Mounted {
    folder: PathBuf,
}

impl Mounted {
    /// A filesystem of its own.
    fn tmpfs(folder: &Path) -> Self {
        Self::mount(folder, &["-t", "tmpfs", "-o", "size=1m,mode=0500", "tmpfs"])
    }

    /// Another folder of the same filesystem, which looks no different to a look at its device.
    fn bound(folder: &Path, to: &Path) -> Self {
        Self::mount(folder, &["--bind", to.to_str().expect("plain")])
    }

    fn mount(folder: &Path, what: &[&str]) -> Self {
        fs::create_dir_all(folder).expect("ours");
        let output = Command::new("mount").args(what).arg(folder).output().expect("mount");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}(this test needs root with the right to mount)");
        Self { folder: folder.to_owned() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let detached = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        if !detached.is_ok_and(|status| status.success()) {
            println!("---- {} is still mounted", self.folder.display());
        }
    }
}

/// A folder with something precious, of another filesystem and of the same, mounted at a place in turn.
fn each_mounted(site: &Site, at: &Path, try_it: impl Fn(&str)) {
    if !rustix::process::geteuid().is_root() {
        println!("NOT TRIED: to mount something, this test needs to be run as root");
        return;
    }
    let elsewhere = site.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("ours");
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o500)).expect("ours");
    for kind in ["tmpfs", "bind"] {
        let mounted = if kind == "bind" { Mounted::bound(at, &elsewhere) } else { Mounted::tmpfs(at) };
        fs::write(at.join("precious"), "precious").expect("root may");
        let before = see(at);
        try_it(kind);
        assert_eq!(see(at), before, "{kind}: what is mounted was changed");
        drop(mounted);
    }
}

fn go_on(_: Done) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn is_refused<T: std::fmt::Debug>(outcome: Result<T, SnapshotError>, at: &Path, kind: &str) {
    match outcome {
        Err(SnapshotError::MountPoint { path }) => assert_eq!(path, at, "{kind}"),
        other => panic!("{kind}: {other:?}"),
    }
}

#[test]
fn what_was_mounted_since_is_not_emptied_by_a_restore_which_changes_nothing_at_all() {
    let site = Site::new();
    site.fill();
    site.take(Pass::Second);
    let data = site.data();
    fs::write(data.join("db/log"), "half").expect("write");
    fs::write(data.join("an early name"), "not in the snapshot").expect("write");
    fs::create_dir_all(data.join("new/below")).expect("folders");
    fs::write(data.join("new/an early name"), "not in the snapshot").expect("write");
    // In the place of what is to be removed, below that, and in the place of what is to be restored.
    for at in ["mounted", "new/below/mounted", "db/empty"] {
        let at = data.join(at);
        each_mounted(&site, &at, |kind| {
            let before = see(&data);
            is_refused(restore(&site.snapshot(), &data, &mut go_on), &at, kind);
            assert_eq!(see(&data), before, "{kind}");
        });
        let _ = fs::remove_dir_all(site.folder.path().join("elsewhere"));
    }
}

#[test]
fn what_is_mounted_in_the_data_is_refused_before_anything_is_copied() {
    let site = Site::new();
    site.fill();
    let at = site.data().join("db/mounted");
    each_mounted(&site, &at, |kind| {
        is_refused(measure(&site.data(), &mut go_on), &at, kind);
        is_refused(take(&site.data(), &site.snapshot(), Pass::First, false, &mut go_on), &at, kind);
        assert!(!site.snapshot().join("data/db/mounted/precious").exists(), "{kind}");
    });
}

#[test]
fn what_is_mounted_in_a_snapshot_is_not_emptied_when_that_is_removed() {
    let site = Site::new();
    let snapshots = Snapshots::new(site.folder.path());
    let at = snapshots.path(1).join("data/mounted");
    each_mounted(&site, &at, |kind| is_refused(snapshots.remove(&[1]), &at, kind));
}
