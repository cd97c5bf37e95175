//! Verified files of releases, kept by what they are and not by what they are called.
//!
//! ```text
//! <home>/store/sha256/<checksum>/vault   0555, there only after its hash matched and its bytes are on disk
//! <home>/store/partial/<checksum>        a download under way
//! <home>/store/added/<checksum>          the operator put it there, and no vault has needed it yet
//! ```
//!
//! A checksum that is in the store is proved; nothing else ever gets there. [`fetch`] brings files, by
//! [`transfer`]s into a `partial` file; [`downloads`] lets all who want a file share one. [`verify`] hashes them,
//! [`url`] says where they are published, and [`published`] whether what is there is what was stated. [`progress`]
//! tells people how far it is.

pub mod downloads;
pub mod executable;
pub mod fetch;
mod partial;
pub mod progress;
pub mod published;
#[cfg(test)]
mod scripted_server;
pub mod transfer;
pub mod url;
pub mod verify;

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::{
    crash_points,
    error_chain::Chained,
    journal::atomic_file::{sync, sync_folder},
    ownership::{self, NotOurs, Owner, create_anew, no_link},
    release::Checksum,
    room,
};

/// The name of every binary in the store. The process is named after it, and the clients' own pid-file
/// guards compare process names.
pub const BINARY_NAME: &str = "vault";

/// The content-addressed folder of one home.
#[derive(Debug, Clone)]
pub struct Store {
    files: PathBuf,
    partial: PathBuf,
    added: PathBuf,
}

/// Why the store could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {} in the artifact store{}", path.display(), room::remedy(source))]
pub struct StoreError {
    /// What was tried.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError { doing, path: path.to_owned(), source }
}

fn create_folder(path: &Path) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed("create", path))
}

impl Store {
    /// Opens the store of a home folder, creating its folders.
    pub fn open(home: &Path) -> Result<Self, StoreError> {
        let store = Self::at(home);
        create_folder(&store.files)?;
        create_folder(&store.partial)?;
        create_folder(&store.added)?;
        Ok(store)
    }

    /// The store of a home folder as it is, to look at.
    pub fn at(home: &Path) -> Self {
        let store = home.join("store");
        Self { files: store.join("sha256"), partial: store.join("partial"), added: store.join("added") }
    }

    /// The folder that holds, or would hold, a checksum's binary.
    pub fn folder(&self, checksum: Checksum) -> PathBuf {
        self.files.join(checksum.to_string())
    }

    /// The binary of a checksum.
    pub fn binary(&self, checksum: Checksum) -> PathBuf {
        self.folder(checksum).join(BINARY_NAME)
    }

    /// Where a download of a checksum is put until it is proved.
    fn partial(&self, checksum: Checksum) -> PathBuf {
        self.partial.join(checksum.to_string())
    }

    fn added(&self, checksum: Checksum) -> PathBuf {
        self.added.join(checksum.to_string())
    }

    /// Has a checksum's binary stay, which is there or will be, until a vault has needed it: on a machine without a
    /// network the operator brings a release before the chain states it.
    pub fn keep_until_needed(&self, checksum: Checksum) -> Result<(), StoreError> {
        let path = self.added(checksum);
        create_anew(&path).map_err(failed("create", &path))?;
        sync_folder(&self.added).map_err(failed("sync", &self.added))
    }

    /// Takes that back.
    pub fn keep_no_longer(&self, checksum: Checksum) -> Result<(), StoreError> {
        let path = self.added(checksum);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Whether a checksum's binary is there. Its bytes are proved again before each execution.
    pub fn contains(&self, checksum: Checksum) -> bool {
        self.binary(checksum).is_file()
    }

    /// All checksums that are there.
    pub fn checksums(&self) -> Result<Vec<Checksum>, StoreError> {
        let mut found = self.folders()?;
        found.retain(|checksum| self.contains(*checksum));
        Ok(found)
    }

    /// All checksums that have a folder, with or without a binary.
    fn folders(&self) -> Result<Vec<Checksum>, StoreError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.files).map_err(failed("list", &self.files))? {
            let name = entry.map_err(failed("list", &self.files))?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<Checksum>().ok()));
        }
        Ok(found)
    }

    /// Whether a checksum's binary is there, still has that checksum and is ours alone to change; another one is removed.
    fn holds_proved(&self, checksum: Checksum) -> Result<bool, StoreError> {
        let path = self.binary(checksum);
        let mut file = match self.open_ours(checksum) {
            Ok(file) => file,
            Err(NotOurs::Look { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(false);
            }
            Err(NotOurs::Look { path, source }) => return Err(StoreError { doing: "open", path, source }),
            Err(error) => {
                tracing::warn!("a stored file is not to be trusted, removing it: {}", Chained(&error));
                self.remove(checksum)?;
                return Ok(false);
            }
        };
        let found = verify::hash_to_end(&mut file).map_err(failed("read", &path))?;
        let is_proved = verify::proves(found, checksum);
        if !is_proved {
            tracing::warn!(path = %path.display(), expected = %checksum, %found, "a stored file has changed; removing it");
            self.remove(checksum)?;
        }
        Ok(is_proved)
    }

    fn open_ours(&self, checksum: Checksum) -> Result<File, NotOurs> {
        let path = self.binary(checksum);
        ownership::check_folder(&self.folder(checksum), Owner::OwnOrRoot)?;
        ownership::check_file(&path)?;
        let at = |source| NotOurs::Look { path: path.clone(), source };
        let file = no_link(OpenOptions::new().read(true)).open(&path).map_err(at)?;
        ownership::check_opened(&path, &file.metadata().map_err(at)?)?;
        Ok(file)
    }

    /// Makes a proved download visible. Its bytes are on disk before its name is, and the name before this
    /// returns.
    fn install(&self, checksum: Checksum, partial: &File) -> Result<(), StoreError> {
        let (from, folder, to) = (self.partial(checksum), self.folder(checksum), self.binary(checksum));
        let executable = fs::Permissions::from_mode(0o555);
        let reached = |step| crash_points::reached(format_args!("store, {checksum}: {step}"));
        reached("proved");
        partial.set_permissions(executable).map_err(failed("make executable", &from))?;
        sync(partial).map_err(failed("sync", &from))?;
        reached("synced");
        // A link there would have us install somewhere else.
        if fs::symlink_metadata(&folder).is_ok_and(|there| !there.is_dir()) {
            self.remove(checksum)?;
        }
        create_folder(&folder)?;
        reached("its folder made");
        fs::rename(&from, &to).map_err(failed("install", &to))?;
        reached("renamed");
        sync_folder(&folder).map_err(failed("sync", &folder))?;
        sync_folder(&self.files).map_err(failed("sync", &self.files))?;
        reached("installed");
        Ok(())
    }

    fn remove(&self, checksum: Checksum) -> Result<(), StoreError> {
        let folder = self.folder(checksum);
        crash_points::reached(format_args!("store, {checksum}: to be removed"));
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &folder)(error));
            }
            _ => {}
        }
        crash_points::reached(format_args!("store, {checksum}: removed"));
        Ok(())
    }

    /// Removes every binary that is not needed, and what is left of downloads of what is not needed, unless another
    /// process is at it; answers which binaries were removed. What was added stays until it has been needed.
    pub fn prune(&self, needed: &BTreeSet<Checksum>) -> Result<Vec<Checksum>, StoreError> {
        for checksum in needed {
            self.keep_no_longer(*checksum)?;
        }
        let mut removed = Vec::new();
        for checksum in self.checksums()? {
            // Looked for at the last moment: `vaultvisor add` may mark what lies there already.
            if !needed.contains(&checksum) && !self.added(checksum).exists() {
                self.remove(checksum)?;
                removed.push(checksum);
            }
        }
        for entry in fs::read_dir(&self.partial).map_err(failed("list", &self.partial))? {
            let path = entry.map_err(failed("list", &self.partial))?.path();
            let checksum = path.file_name().and_then(|name| name.to_str()?.parse::<Checksum>().ok());
            if !checksum.is_some_and(|checksum| needed.contains(&checksum)) {
                partial::remove_unused(&path).map_err(failed("remove", &path))?;
            }
        }
        self.remove_empty_folders(needed)?;
        Ok(removed)
    }

    /// Removes what a crash has left of an installation or a removal that it cut short.
    fn remove_empty_folders(&self, needed: &BTreeSet<Checksum>) -> Result<(), StoreError> {
        for checksum in self.folders()? {
            // Where there is a beginning somebody may be about to install it, in another process too.
            if needed.contains(&checksum) || self.partial(checksum).exists() {
                continue;
            }
            use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound};
            let folder = self.folder(checksum);
            match fs::remove_dir(&folder) {
                // It has a binary, which was judged before.
                Err(error) if matches!(error.kind(), DirectoryNotEmpty | NotADirectory | NotFound) => {}
                removed => removed.map_err(failed("remove", &folder))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// SHA-256 of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn store_with_abc() -> (tempfile::TempDir, Store, Checksum) {
        let home = tempfile::tempdir().expect("home");
        let store = Store::open(home.path()).expect("store");
        let checksum = ABC.parse().expect("checksum");
        let mut partial = File::create(store.partial(checksum)).expect("partial");
        partial.write_all(b"abc").expect("write");
        store.install(checksum, &partial).expect("install");
        (home, store, checksum)
    }

    #[test]
    fn an_installed_file_can_be_run_and_not_written() {
        let (_home, store, checksum) = store_with_abc();
        assert_eq!(store.checksums().expect("list"), [checksum]);
        let mode = fs::metadata(store.binary(checksum)).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o555);
        assert!(!store.partial(checksum).exists());
    }

    #[test]
    fn a_stored_file_that_changed_is_not_proved_and_is_removed() {
        let (_home, store, checksum) = store_with_abc();
        assert!(store.holds_proved(checksum).expect("good"));
        fs::remove_file(store.binary(checksum)).expect("remove");
        fs::write(store.binary(checksum), b"abd").expect("tamper");
        assert!(!store.holds_proved(checksum).expect("bad"));
        assert!(!store.folder(checksum).exists());
    }

    #[test]
    fn t21_a_stored_file_that_others_could_change_or_that_is_a_link_is_not_proved_and_is_removed() {
        fn set_mode(path: &Path, mode: u32) {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
        }
        let link: fn(&Store, Checksum) = |store, checksum| {
            let (binary, elsewhere) = (store.binary(checksum), store.files.join("elsewhere"));
            fs::rename(&binary, &elsewhere).expect("ours");
            std::os::unix::fs::symlink(elsewhere, binary).expect("link");
        };
        let linked_folder: fn(&Store, Checksum) = |store, checksum| {
            let (folder, elsewhere) = (store.folder(checksum), store.files.join("elsewhere"));
            fs::rename(&folder, &elsewhere).expect("ours");
            std::os::unix::fs::symlink(elsewhere, folder).expect("link");
        };
        for tamper in [
            link,
            linked_folder,
            |store, checksum| set_mode(&store.binary(checksum), 0o575),
            |store, checksum| set_mode(&store.folder(checksum), 0o770),
        ] {
            let (_home, store, checksum) = store_with_abc();
            tamper(&store, checksum);
            assert!(!store.holds_proved(checksum).expect("looked at"));
            assert!(fs::symlink_metadata(store.folder(checksum)).is_err(), "it is gone");
        }
    }

    #[test]
    fn t30_nothing_is_installed_through_a_link() {
        let (home, store, checksum) = store_with_abc();
        store.remove(checksum).expect("removed");
        let outside = home.path().join("outside");
        fs::create_dir(&outside).expect("folder");
        std::os::unix::fs::symlink(&outside, store.folder(checksum)).expect("link");
        std::os::unix::fs::symlink(outside.join("new"), store.added(checksum)).expect("link");
        let mut partial = File::create(store.partial(checksum)).expect("partial");
        partial.write_all(b"abc").expect("write");
        store.install(checksum, &partial).expect("install");
        store.keep_until_needed(checksum).expect("kept");
        assert!(store.holds_proved(checksum).expect("proved"));
        assert_eq!(fs::read_dir(&outside).expect("list").count(), 0);
    }

    #[test]
    fn prune_keeps_what_is_needed_and_downloads_under_way() {
        let (_home, store, checksum) = store_with_abc();
        let other = Checksum([1; 32]);
        fs::write(store.partial(other), b"half").expect("partial");
        fs::write(store.partial.join("stray"), b"x").expect("stray");
        let removed = store.prune(&[checksum, other].into()).expect("prune");
        assert!(removed.is_empty());
        assert!(store.contains(checksum) && store.partial(other).exists());
        assert!(!store.partial.join("stray").exists());
        assert_eq!(store.prune(&BTreeSet::new()).expect("prune"), [checksum]);
        assert!(!store.folder(checksum).exists() && !store.partial(other).exists());
    }

    #[test]
    fn what_a_crash_left_of_an_installation_or_a_removal_goes_when_it_is_not_needed() {
        let (_home, store, checksum) = store_with_abc();
        let (wanted, unwanted, at_work) = (Checksum([1; 32]), Checksum([2; 32]), Checksum([3; 32]));
        for folder in [wanted, unwanted, at_work] {
            create_folder(&store.folder(folder)).expect("begun");
        }
        let theirs = File::create(store.partial(at_work)).expect("another process installs it");
        theirs.lock().expect("as it does");
        assert_eq!(store.checksums().expect("list"), [checksum]);
        assert!(store.prune(&[checksum, wanted].into()).expect("prune").is_empty(), "no binary was removed");
        assert!(store.contains(checksum) && store.folder(wanted).exists() && store.folder(at_work).exists());
        assert!(!store.folder(unwanted).exists());
    }

    #[test]
    fn what_an_operator_added_stays_until_a_vault_has_needed_it() {
        let (_home, store, checksum) = store_with_abc();
        store.keep_until_needed(checksum).expect("kept");
        assert!(store.prune(&BTreeSet::new()).expect("prune").is_empty());
        assert!(store.prune(&[checksum].into()).expect("prune").is_empty());
        assert_eq!(store.prune(&BTreeSet::new()).expect("prune"), [checksum]);
        store.keep_until_needed(checksum).expect("kept");
        store.keep_no_longer(checksum).expect("not any more");
        store.keep_no_longer(checksum).expect("said twice");
        assert_eq!(fs::read_dir(&store.added).expect("list").count(), 0);
    }
}
