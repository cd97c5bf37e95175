//! Data folders that belong to somebody else and are ours to write: only root can make them, and act as another user.

use std::{
    os::unix::{fs::chown, process::CommandExt},
    process::{Command, Stdio},
};

use super::*;

/// Any user that owns nothing here, and its group.
const NOBODY: u32 = 65_534;
/// Tells the other user's run of a test in which folder to go on.
const FOLDER: &str = "VAULTVISOR_TEST_FOLDER";

fn go_on(_: Done) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").mode() & 0o7777
}

/// Has root prepare a data folder, and this test go on as another user, who is given it and a folder for the snapshot.
fn as_nobody(test: &str, prepare: impl FnOnce(&Path), go_on: impl FnOnce(&Path, &Path)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        return go_on(&folder.join("data"), &folder.join("snapshot"));
    }
    if !rustix::process::geteuid().is_root() {
        println!("NOT TRIED: to act as another user, this test needs to be run as root");
        return;
    }
    let site = Site::new();
    let above = fs::Permissions::from_mode(0o755);
    fs::set_permissions(site.folder.path(), above).expect("ours");
    chown(site.snapshot(), Some(NOBODY), Some(NOBODY)).expect("root may");
    give_to_group(&site.data(), 0o770);
    prepare(&site.data());
    // By this name, because the other user need not reach the folder that it lies in.
    let mut again = Command::new("/proc/self/exe");
    again.args(["--exact", "--nocapture", &format!("migrate::snapshot::tests::not_ours::{test}")]);
    again.env(FOLDER, site.folder.path()).uid(NOBODY).gid(NOBODY).current_dir("/").stdin(Stdio::null());
    let output = again.output().expect("our own program");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "as another user: {said}");
}

/// Root's, and its group's to write: so a folder is on a disk that an administrator made.
fn give_to_group(folder: &Path, mode: u32) {
    chown(folder, Some(0), Some(NOBODY)).expect("root may");
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).expect("root may");
}

#[test]
fn a_restore_goes_well_in_folders_that_are_ours_to_write_and_somebody_elses() {
    as_nobody(
        "a_restore_goes_well_in_folders_that_are_ours_to_write_and_somebody_elses",
        |data| {
            for (folder, mode) in [("kept", 0o2770), ("read-only to its owner", 0o570), ("gone", 0o570)] {
                fs::create_dir(data.join(folder)).expect("folder");
                fs::write(data.join(folder).join("root's"), "as it was").expect("file");
                give_to_group(&data.join(folder).join("root's"), 0o660);
                give_to_group(&data.join(folder), mode);
            }
        },
        |data, snapshot| {
            fs::write(data.join("log"), "as it was").expect("ours to write");
            fs::create_dir(data.join("own")).expect("ours to write");
            fs::write(data.join("own/file"), "as it was").expect("ours");
            take(data, snapshot, Pass::Second, false, &mut go_on).expect("taken");
            // As if it had come later: only its owner could open it up.
            let copy = snapshot.join("data/gone");
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).expect("ours");
            fs::remove_dir_all(&copy).expect("ours");

            fs::write(data.join("log"), "half").expect("ours to write");
            fs::write(data.join("kept/new"), "new").expect("ours to write");
            fs::write(data.join("read-only to its owner/root's"), "half").expect("ours to write");
            fs::write(data.join("own/file"), "half").expect("ours");
            fs::create_dir_all(data.join("new/below")).expect("ours to write");
            for closed in ["own", "new/below", "new"] {
                fs::set_permissions(data.join(closed), fs::Permissions::from_mode(0o000)).expect("ours");
            }
            fs::create_dir(data.join("new too")).expect("ours to write");
            fs::write(data.join("new too/file"), "new").expect("ours");
            // It can be opened, and nothing in it be looked at.
            fs::set_permissions(data.join("new too"), fs::Permissions::from_mode(0o600)).expect("ours");
            for _ in 0..2 {
                let done = restore(snapshot, data, &mut go_on).expect("restored");
                assert!(done.not_kept > 0, "times that only the owner may set: {done:?}");
                assert_eq!(fs::read(data.join("log")).expect("there"), b"as it was");
                assert_eq!(
                    fs::read(data.join("read-only to its owner/root's")).expect("there"),
                    b"as it was"
                );
                assert_eq!(fs::read(data.join("own/file")).expect("open again"), b"as it was");
                assert!(["kept/new", "gone", "new", "new too"].iter().all(|name| !data.join(name).exists()));
                let modes = ["", "kept", "read-only to its owner"].map(|folder| mode(&data.join(folder)));
                assert_eq!(modes, [0o770, 0o2770, 0o570], "nobody changed them");
            }
        },
    );
}

#[test]
fn a_mode_that_only_the_owner_may_set_is_counted_and_no_failure() {
    as_nobody(
        "a_mode_that_only_the_owner_may_set_is_counted_and_no_failure",
        |_| (),
        |data, snapshot| {
            take(data, snapshot, Pass::Second, false, &mut go_on).expect("taken");
            let same = restore(snapshot, data, &mut go_on).expect("restored").not_kept;
            fs::set_permissions(snapshot.join("data"), fs::Permissions::from_mode(0o700)).expect("ours");
            let other = restore(snapshot, data, &mut go_on).expect("restored").not_kept;
            assert_eq!((mode(data), other), (0o770, same + 1));
        },
    );
}

#[test]
fn the_lost_and_found_of_a_disk_is_the_disks_and_neither_copied_nor_removed() {
    as_nobody(
        "the_lost_and_found_of_a_disk_is_the_disks_and_neither_copied_nor_removed",
        |data| {
            // As `mkfs` leaves it in a mount point.
            fs::create_dir(data.join("lost+found")).expect("folder");
            fs::set_permissions(data.join("lost+found"), fs::Permissions::from_mode(0o700)).expect("root's");
        },
        |data, snapshot| {
            fs::write(data.join("log"), "as it was").expect("ours to write");
            fs::create_dir_all(data.join("db/lost+found")).expect("a folder of that name elsewhere");
            let extent = measure(data, &mut go_on).expect("measured");
            assert_eq!(extent.entries, 3, "the log, and two folders");
            for pass in [Pass::First, Pass::Second] {
                take(data, snapshot, pass, false, &mut go_on).expect("taken");
            }
            assert!(
                !snapshot.join("data/lost+found").exists() && snapshot.join("data/db/lost+found").exists()
            );
            fs::write(data.join("log"), "half").expect("ours to write");
            restore(snapshot, data, &mut go_on).expect("restored");
            assert_eq!(fs::read(data.join("log")).expect("there"), b"as it was");
            assert!(data.join("lost+found").exists() && data.join("db/lost+found").exists());
        },
    );
}

#[test]
fn what_a_check_of_the_disk_has_found_is_left_to_root() {
    if !rustix::process::geteuid().is_root() {
        println!("NOT TRIED: this test needs to be run as root");
        return;
    }
    let site = Site::new();
    fs::create_dir(site.data().join("lost+found")).expect("folder");
    site.take(Pass::Second);
    let found = site.data().join("lost+found/#12");
    fs::write(&found, "precious").expect("file");
    site.restore();
    assert_eq!(fs::read(found).expect("still there"), b"precious");
}

#[test]
fn a_folder_or_file_of_our_own_is_copied_whatever_it_is_called() {
    as_nobody(
        "a_folder_or_file_of_our_own_is_copied_whatever_it_is_called",
        |_| (),
        |data, snapshot| {
            let name = "lost+found";
            fs::create_dir(data.join(name)).expect("ours to write");
            fs::write(data.join(name).join("log"), "ours").expect("ours");
            take(data, snapshot, Pass::First, false, &mut go_on).expect("taken");
            assert_eq!(fs::read(snapshot.join("data").join(name).join("log")).expect("copied"), b"ours");
            fs::remove_dir_all(data.join(name)).expect("ours");
            fs::write(data.join(name), "a file").expect("ours");
            take(data, snapshot, Pass::Second, false, &mut go_on).expect("taken");
            assert_eq!(fs::read(snapshot.join("data").join(name)).expect("copied"), b"a file");
            fs::remove_file(data.join(name)).expect("ours");
            restore(snapshot, data, &mut go_on).expect("restored");
            assert_eq!(fs::read(data.join(name)).expect("back"), b"a file");
        },
    );
}
