//! A real filesystem of its own for one folder, small enough to be filled and free to be mounted as a test wants it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted tmpfs. Dropped: detached, whoever still uses it.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts an empty one over a folder, with these options, such as `size=128m` and `nr_inodes=100`.
    ///
    /// # Panics
    /// Without the right to mount: these journeys are root's.
    pub fn mount(folder: &Path, options: &str) -> Self {
        let folder = folder.to_owned();
        fs::create_dir_all(&folder).expect("the folder is ours");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("mode=0700,{options}"), "tmpfs"])
            .arg(&folder));
        Self { folder }
    }

    /// Mounts it again with these options, such as `ro` or `noexec`, and everything on it as it is.
    pub fn remount(&self, options: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.folder));
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("somebody-elses")
    }

    /// Has a program of somebody else take all the room that is left, to the last byte.
    pub fn fill(&self) {
        fs::create_dir_all(self.filler()).expect("the disk is ours");
        let mut file = File::create(self.filler().join("data")).expect("the disk is ours");
        let chunk = vec![0; 64 * 1024];
        loop {
            match file.write(&chunk) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return,
                Err(error) => panic!("cannot fill {}: {error}", self.folder.display()),
            }
        }
    }

    /// Has it make files until no further one can be made.
    pub fn use_up_inodes(&self) {
        fs::create_dir_all(self.filler()).expect("the disk is ours");
        for number in 0_u32.. {
            match File::create(self.filler().join(number.to_string())) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return,
                Err(error) => panic!("cannot fill {}: {error}", self.folder.display()),
            }
        }
    }

    /// Has it remove all that again.
    pub fn make_room(&self) {
        fs::remove_dir_all(self.filler()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a vault that a failed test left behind may run from it.
        let detached = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        if !detached.is_ok_and(|status| status.success()) {
            println!("---- {} is still mounted", self.folder.display());
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {said}(this journey needs a small filesystem of its own, and so to be run as root with the right to mount)"
    );
}
