//! Snapshots: what comes back is what was there, byte for byte, whatever happened in between.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::*;

mod mounts;
mod not_ours;

/// All that a file is, except for its number and its change time, which nobody can set.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    rdev: u64,
    /// Of files, and where links lead; as a checksum, so that a failure can be read.
    content: crate::release::Checksum,
    /// All names of the same file.
    names: Vec<PathBuf>,
    attribute: Vec<u8>,
}

fn see(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut inodes: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut paths = vec![root.to_owned()];
    while let Some(path) = paths.pop() {
        let metadata = fs::symlink_metadata(&path).expect("there");
        let name = path.strip_prefix(root).expect("below").to_owned();
        let mut content = Vec::new();
        if metadata.is_dir() {
            let mode = metadata.permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("ours");
            paths.extend(fs::read_dir(&path).expect("list").map(|entry| entry.expect("entry").path()));
            fs::set_permissions(&path, mode).expect("ours");
        } else if metadata.is_symlink() {
            content = fs::read_link(&path).expect("link").as_os_str().as_bytes().to_owned();
        } else if metadata.is_file() {
            content = fs::read(&path).expect("file");
        }
        if !metadata.is_dir() {
            inodes.entry(metadata.ino()).or_default().push(name.clone());
        }
        let mut attribute = vec![0; 64];
        let length = rustix::fs::lgetxattr(&path, "user.note", attribute.as_mut_slice()).unwrap_or(0);
        attribute.truncate(length);
        let (owner, modified) = ((metadata.uid(), metadata.gid()), (metadata.mtime(), metadata.mtime_nsec()));
        let (mode, rdev) = (metadata.mode(), metadata.rdev());
        let content = crate::release::Checksum(Sha256::digest(&content).into());
        let names = vec![metadata.ino().to_string().into()];
        seen.insert(name, Seen { mode, owner, modified, rdev, content, names, attribute });
    }
    for seen in seen.values_mut() {
        let inode: u64 = seen.names[0].to_str().and_then(|text| text.parse().ok()).expect("as written above");
        seen.names = inodes.get(&inode).cloned().unwrap_or_default();
        seen.names.sort();
    }
    seen
}

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("folder") };
        fs::create_dir(site.data()).expect("data");
        fs::create_dir(site.snapshot()).expect("snapshot");
        site
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn snapshot(&self) -> PathBuf {
        self.folder.path().join("snapshot")
    }

    fn take(&self, pass: Pass) -> Done {
        take(&self.data(), &self.snapshot(), pass, false, &mut |_| ControlFlow::Continue(())).expect("taken")
    }

    fn restore(&self) -> Done {
        restore(&self.snapshot(), &self.data(), &mut |_| ControlFlow::Continue(())).expect("restored")
    }

    /// One of everything that a data folder can hold, all of it old enough to be believed.
    fn fill(&self) {
        let data = self.data();
        fs::create_dir_all(data.join("db/empty")).expect("folders");
        fs::write(data.join("db/log"), vec![7; 300_000]).expect("file");
        fs::write(data.join("db/.vaultvisor-new-0"), "the name that we would take").expect("file");
        fs::write(data.join("empty"), "").expect("file");
        fs::hard_link(data.join("db/log"), data.join("second name")).expect("link");
        symlink("/etc/passwd", data.join("absolute")).expect("link");
        symlink("../nowhere", data.join("db/dangling")).expect("link");
        let sparse = File::create(data.join("sparse")).expect("file");
        sparse.write_all_at(b"far away", 16 << 20).expect("written");
        sparse.write_all_at(b"near", 4096).expect("written");
        rustix::fs::mknodat(rustix::fs::CWD, data.join("fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0)
            .expect("FIFO");
        drop(UnixListener::bind(data.join("socket")).expect("socket"));
        let attribute =
            rustix::fs::setxattr(data.join("empty"), "user.note", b"kept", rustix::fs::XattrFlags::empty());
        assert!(attribute.is_ok() || attribute == Err(rustix::io::Errno::OPNOTSUPP));
        fs::set_permissions(data.join("db/log"), fs::Permissions::from_mode(0o4640)).expect("mode");
        fs::set_permissions(data.join("db/empty"), fs::Permissions::from_mode(0o1500)).expect("mode");
        for (path, secs) in [("db/log", 1_000_000_001), ("sparse", 5), ("db/empty", 7), ("db", 9), ("", 11)] {
            let time = SystemTime::UNIX_EPOCH + Duration::new(secs, 123_456_789);
            File::open(data.join(path)).and_then(|file| file.set_modified(time)).expect("time");
        }
    }
}

#[test]
fn everything_comes_back_byte_for_byte_after_anything_was_done_to_it() {
    let site = Site::new();
    site.fill();
    let (data, before) = (site.data(), see(&site.data()));
    site.take(Pass::First);
    site.take(Pass::Second);
    assert_eq!(see(&site.snapshot().join("data")), before);

    fs::write(data.join("db/log"), "half").expect("write");
    fs::remove_file(data.join("second name")).expect("remove");
    fs::remove_file(data.join("absolute")).expect("remove");
    fs::create_dir(data.join("absolute")).expect("a folder in a link's place");
    fs::create_dir_all(data.join("new/below")).expect("new");
    fs::write(data.join("new/below/file"), "new").expect("new");
    fs::set_permissions(data.join("new"), fs::Permissions::from_mode(0o500)).expect("read-only");
    fs::remove_dir(data.join("db/empty")).expect("remove");
    fs::write(data.join("db/empty"), "a file in a folder's place").expect("write");
    fs::remove_file(data.join("fifo")).expect("remove");
    fs::rename(data.join("sparse"), data.join("elsewhere")).expect("rename");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).expect("read-only");
    site.restore();
    assert_eq!(see(&data), before);
    site.restore();
    assert_eq!(see(&data), before, "and again");
}

#[test]
fn holes_stay_holes_in_the_copy_and_in_what_is_restored() {
    let site = Site::new();
    site.fill();
    site.take(Pass::Second);
    fs::remove_file(site.data().join("sparse")).expect("remove");
    site.restore();
    for root in [site.snapshot().join("data"), site.data()] {
        let metadata = fs::metadata(root.join("sparse")).expect("there");
        assert!(
            metadata.len() > 16 << 20 && metadata.blocks() * 512 < 1 << 20,
            "{} blocks",
            metadata.blocks()
        );
    }
}

/// Waits until a change would show in the times of what is there. They are the kernel's, so there is no simulated time.
fn let_times_be_sure(site: &Site) {
    let path = site.data();
    let newest = || {
        fs::read_dir(&path).expect("list").map(|entry| entry.expect("entry").metadata().expect("m").ctime())
    };
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    while newest().max().unwrap_or(0) + 3 > i64::try_from(now()).expect("before the end of time") {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_second_pass_copies_what_has_changed_and_removes_what_is_gone() {
    let site = Site::new();
    let data = site.data();
    for name in ["same", "grown", "gone", "touched"] {
        fs::write(data.join(name), vec![1; 100_000]).expect("file");
    }
    let_times_be_sure(&site);
    let first = site.take(Pass::First);
    assert_eq!((first.entries, first.copied, first.bytes), (4, 4, 400_000));
    let inode = |name: &str| fs::metadata(site.snapshot().join("data").join(name)).expect("copied").ino();
    let before = inode("same");

    fs::remove_file(data.join("gone")).expect("remove");
    fs::write(data.join("grown"), vec![2; 200_000]).expect("write");
    // The same size, and its time set back: only the change time tells.
    let time = fs::metadata(data.join("touched")).expect("there").modified().expect("time");
    let touched = File::options().write(true).open(data.join("touched")).expect("open");
    touched.write_all_at(&[9], 50_000).expect("write");
    touched.set_modified(time).expect("time");
    let second = site.take(Pass::Second);
    assert_eq!((second.entries, second.copied, second.bytes), (3, 2, 300_000));
    assert_eq!(inode("same"), before, "it was not touched");
    assert_eq!(see(&site.snapshot().join("data")), see(&data));
}

#[test]
fn a_file_that_had_just_changed_when_its_copy_began_is_copied_again_however_long_that_took() {
    let site = Site::new();
    fs::write(site.data().join("log"), vec![1; 100_000]).expect("file");
    let first = take(&site.data(), &site.snapshot(), Pass::First, false, &mut |done| {
        if done.bytes > 0 {
            let_times_be_sure(&site);
        }
        ControlFlow::Continue(())
    });
    assert_eq!(first.expect("taken").copied, 1);
    assert_eq!(site.take(Pass::Second).copied, 1, "a change in the same tick of the clock would not show");
    assert_eq!(site.take(Pass::Second).copied, 0, "it would by now");
}

#[test]
fn a_restore_touches_only_what_was_changed() {
    let site = Site::new();
    let data = site.data();
    for name in ["same", "changed"] {
        fs::write(data.join(name), vec![1; 100_000]).expect("file");
    }
    let_times_be_sure(&site);
    site.take(Pass::Second);
    let (before, inode) = (see(&data), fs::metadata(data.join("same")).expect("there").ino());
    fs::write(data.join("changed"), "x").expect("write");
    assert_eq!(site.restore().copied, 1);
    assert_eq!((see(&data), fs::metadata(data.join("same")).expect("there").ino()), (before, inode));
}

#[test]
fn a_restore_that_was_cut_anywhere_is_finished_by_the_next() {
    let site = Site::new();
    site.fill();
    let (data, before) = (site.data(), see(&site.data()));
    site.take(Pass::Second);
    let mut cuts = 0;
    for pieces in 0.. {
        for name in ["db/log", "empty", "new"] {
            fs::write(data.join(name), vec![3; 1000]).expect("write");
        }
        let _ = fs::remove_file(data.join("sparse"));
        let mut left = pieces;
        let cut = restore(&site.snapshot(), &data, &mut |_| {
            left -= 1;
            if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match cut {
            Ok(_) => break,
            Err(SnapshotError::GivenUp) => cuts += 1,
            Err(error) => panic!("{error:?}"),
        }
        site.restore();
        assert_eq!(see(&data), before, "after a cut at piece {pieces}");
    }
    assert!(cuts > 5, "only {cuts} places to cut it");
}

#[test]
fn a_lost_manifest_costs_time_and_nothing_else() {
    let site = Site::new();
    site.fill();
    let before = see(&site.data());
    site.take(Pass::First);
    fs::write(site.snapshot().join("manifest"), "garbage").expect("write");
    site.take(Pass::Second);
    fs::remove_file(site.snapshot().join("manifest")).expect("remove");
    fs::write(site.data().join("db/log"), "changed").expect("write");
    site.restore();
    assert_eq!(see(&site.data()), before);
}

#[test]
fn what_changes_under_the_first_pass_is_right_after_the_second() {
    let site = Site::new();
    let data = site.data();
    for number in 0..200 {
        fs::write(data.join(number.to_string()), vec![0; 5000]).expect("file");
    }
    let mut pieces = 0;
    let pass = take(&data, &site.snapshot(), Pass::First, false, &mut |_| {
        // Some are gone when their turn comes, some change after it.
        pieces += 1;
        let _ = fs::remove_file(data.join((pieces * 7 % 200).to_string()));
        let other = data.join((pieces * 3 % 200).to_string());
        if other.exists() {
            fs::write(&other, vec![pieces as u8; 5000 + pieces]).expect("write");
        }
        fs::write(data.join(format!("new-{pieces}")), "new").expect("write");
        ControlFlow::Continue(())
    });
    pass.expect("a first pass bears it");
    site.take(Pass::Second);
    assert_eq!(see(&site.snapshot().join("data")), see(&data));
}

#[test]
fn a_data_folder_that_holds_the_snapshot_is_refused() {
    let site = Site::new();
    let snapshot = site.data().join("home/snapshot");
    fs::create_dir_all(&snapshot).expect("folder");
    let refused = take(&site.data(), &snapshot, Pass::First, false, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(SnapshotError::Overlap { .. })), "{refused:?}");
}

#[test]
fn a_folder_that_is_swapped_for_a_link_is_never_followed() {
    let site = Site::new();
    let outside = site.folder.path().join("outside");
    fs::create_dir(&outside).expect("folder");
    fs::write(outside.join("precious"), "precious").expect("file");
    fs::create_dir(site.data().join("inside")).expect("folder");
    fs::write(site.data().join("inside/file"), "x").expect("file");
    site.take(Pass::Second);
    fs::remove_file(site.data().join("inside/file")).expect("remove");
    fs::remove_dir(site.data().join("inside")).expect("remove");
    symlink(&outside, site.data().join("inside")).expect("link");
    site.restore();
    assert!(fs::symlink_metadata(site.data().join("inside")).expect("there").is_dir());
    let left: Vec<_> =
        fs::read_dir(&outside).expect("list").map(|entry| entry.expect("entry").file_name()).collect();
    assert_eq!(left, ["precious"]);
}

#[test]
fn what_would_not_fit_is_refused_before_it_is_begun() {
    let site = Site::new();
    site.fill();
    let extent = measure(&site.data(), &mut |_| ControlFlow::Continue(())).expect("measured");
    assert!(extent.entries == 11 && (300_000..2_000_000).contains(&extent.bytes), "{extent:?}");
    check_room(&site.data(), &site.snapshot(), extent).expect("it fits");
    let sharing = content::can_share(&site.data(), &site.snapshot());
    let counts = rustix::fs::statvfs(site.folder.path()).expect("seen").f_files > 0;
    let huge = Extent { bytes: u64::MAX, ..extent };
    let many = Extent { entries: u64::MAX, ..extent };
    for (extent, unit, is_limited) in [(huge, "bytes", !sharing), (many, "inodes", counts)] {
        let refused = check_room(&site.data(), &site.snapshot(), extent);
        assert_eq!(refused.is_err(), is_limited, "{refused:?}");
        let Err(error) = refused else { continue };
        let said = crate::error_chain::Chained(&error).to_string();
        let (data, snapshot) = (site.data(), site.snapshot());
        for expected in [&*data.to_string_lossy(), &snapshot.to_string_lossy(), unit, "free some"] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }
    assert_eq!(fs::read_dir(site.snapshot()).expect("list").count(), 0, "nothing was made");
}

#[test]
fn snapshots_are_numbered_recorded_and_removed() {
    let site = Site::new();
    site.fill();
    let snapshots = Snapshots::new(site.folder.path());
    let build = |version: &str| Build {
        version: version.parse().expect("version"),
        checksum: crate::release::Checksum([1; 32]),
        uri: None,
        migrations: Default::default(),
    };
    assert_eq!(snapshots.ids().expect("none"), Vec::<u64>::new());
    let first = snapshots.begin(&site.data(), None, &build("1.0"), 7).expect("begun");
    let second = snapshots.begin(&site.data(), Some(&build("1.0")), &build("2.0"), 8).expect("begun");
    assert_eq!((first.id, second.id), (1, 2));
    let later = SnapshotRecord { stage: Stage::Migrating, ..second };
    snapshots.write(&later).expect("written");
    assert_eq!(snapshots.read(2).expect("read"), Some(later));
    assert_eq!(snapshots.read(3).expect("read"), None);
    take(&site.data(), &snapshots.path(1), Pass::Second, true, &mut |_| ControlFlow::Continue(()))
        .expect("taken");
    snapshots.remove(&[1]).expect("removed");
    assert_eq!(snapshots.ids().expect("ids"), [2]);
    assert_eq!(snapshots.begin(&site.data(), None, &build("3.0"), 9).expect("begun").id, 3);
    fs::write(snapshots.path(2).join("snapshot.json"), "{").expect("damage");
    assert!(snapshots.read(2).is_err(), "damaged is not absent");
}

#[test]
fn a_snapshot_is_of_the_folder_that_was_copied_by_whatever_name() {
    let site = Site::new();
    let data = site.data();
    let snapshots = Snapshots::new(&site.folder.path().join("vault"));
    let to = Build {
        version: "1.0".parse().expect("version"),
        checksum: crate::release::Checksum([1; 32]),
        uri: None,
        migrations: Default::default(),
    };
    let record = snapshots.begin(&data, None, &to, 7).expect("begun");
    snapshots.is_of(1, Some(&data)).expect("the same");
    let moved = site.folder.path().join("moved");
    for now in [None, Some(moved.as_path()), Some(&site.snapshot())] {
        let refused = snapshots.is_of(1, now).expect_err("another").to_string();
        let found = now.map_or("not set".into(), Path::to_string_lossy);
        for said in [data.to_str().expect("plain"), &found, "set it back"] {
            assert!(refused.contains(said), "{said}: {refused}");
        }
    }
    fs::rename(&data, &moved).expect("move");
    snapshots.is_of(1, Some(&moved)).expect_err("nobody says that it is the same");
    symlink(&moved, &data).expect("link");
    snapshots.is_of(1, Some(&moved)).expect("a link says so");

    // As a version wrote it that did not note the folder.
    let mut old = serde_json::to_value(&record).expect("JSON");
    old.as_object_mut().expect("object").remove("data_dir").expect("it is noted");
    fs::write(snapshots.path(1).join("snapshot.json"), old.to_string()).expect("write");
    snapshots.is_of(1, None).expect("nothing is known of it");
}

#[test]
fn a_disk_that_is_full_or_fails_is_told_with_what_helps() {
    let refused = failed("create", Path::new("/home/copy"))(io::Error::from_raw_os_error(libc::ENOSPC));
    assert!(refused.to_string().contains("/home/copy; free some room"), "{refused}");
}
