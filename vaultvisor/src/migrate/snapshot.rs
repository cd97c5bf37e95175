//! Snapshots of a vault's data folder, taken before a release may change it.
//!
//! ```text
//! <home>/vaults/<name>/snapshots/<id>/snapshot.json   what it is of, and what became of the data since
//! <home>/vaults/<name>/snapshots/<id>/manifest        what each file of the data folder looked like when it was copied
//! <home>/vaults/<name>/snapshots/<id>/data/           the copy
//! ```
//!
//! A snapshot is taken in two passes, so that the vault stands still for a short time only. The first copies
//! everything while the vault runs; what it catches in the middle of a change is wrong in the copy, and is known to
//! be by its identity in the manifest. The second, when the vault has ended, copies what has changed and
//! removes what is gone. A restore is the same in the other direction: what is still as the manifest says was not
//! touched, and everything else is brought back. Both can be repeated after a crash at any point.
//!
//! - `mirror`: making one folder equal to another; never through a link, never across a mount.
//! - `content`: the bytes of a file, shared with the copy where the filesystem can, without filling its holes.
//! - `meta`: mode, owner, times and extended attributes.
//! - `manifest`: identities, and what they prove.

mod content;
mod manifest;
mod meta;
mod mirror;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    ops::ControlFlow,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    crash_points,
    decide::state::Build,
    journal::atomic_file::{self, WriteError},
    room::{self, NoRoom},
};
use manifest::Manifest;
use mirror::{Judge, Mirror, remove_tree};

/// A record is a few hundred bytes.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// Why a snapshot was not taken or not restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system said no.
    #[error("cannot {doing} {}{}", path.display(), room::remedy(source))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The copy would not fit.
    #[error("cannot take a snapshot of {}", data.display())]
    NoRoom {
        /// The data folder.
        data: PathBuf,
        /// What is lacking where.
        source: NoRoom,
    },
    /// Folders in folders without an end.
    #[error("{} is more than {most} folders deep, which no vault's data is", path.display())]
    TooDeep {
        /// The first folder that is too deep.
        path: PathBuf,
        /// How deep is allowed.
        most: usize,
    },
    /// Another filesystem, or another folder, is mounted in the data folder.
    #[error(
        "{} is mounted or another filesystem, expected the data folder to be without: unmount it, or keep it elsewhere",
        path.display()
    )]
    MountPoint {
        /// Where.
        path: PathBuf,
    },
    /// The copy lies in what is copied.
    #[error("{} holds the snapshots themselves: the data folder and vaultvisor's home must lie apart", path.display())]
    Overlap {
        /// The data folder.
        path: PathBuf,
    },
    /// The configuration names another data folder than the one that was copied.
    #[error(
        "snapshot {id} is of {}, and data_dir is {} now: set it back, or make that a link to where the data is now",
        of.display(), now.as_ref().map_or("not set".into(), |now| now.to_string_lossy())
    )]
    OtherData {
        /// The snapshot.
        id: u64,
        /// What it is of.
        of: PathBuf,
        /// What is configured.
        now: Option<PathBuf>,
    },
    /// The manifest is not what was written.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The manifest.
        path: PathBuf,
    },
    /// Nobody wants it any more.
    #[error("it was given up")]
    GivenUp,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    move |source| SnapshotError::Io { doing, path: path.to_owned(), source }
}

/// What a pass has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Files, folders and links that were looked at.
    pub entries: u64,
    /// Those of them that were made anew.
    pub copied: u64,
    /// Bytes that are in the copies of those, holes not counted.
    pub bytes: u64,
    /// Things that could not be kept, such as an owner that only root may set; the newest is in the log.
    pub not_kept: u64,
}

/// Called between any two pieces of work, at least once for every few megabytes; breaking gives the pass up.
pub type Meanwhile<'a> = &'a mut dyn FnMut(Done) -> ControlFlow<()>;

/// How far a snapshot has come, and what became of the data since. Written durably before the step that it tells of,
/// so that after a crash it never says less than what may have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is being taken; the data is untouched.
    Begun,
    /// It is whole; the data is untouched, or only the releases themselves have changed it.
    Whole,
    /// A state migration may have changed the data; nothing was executed on it yet.
    Migrating,
    /// The state migration has ended well, and the new release may have been executed: it may have paid since.
    Lived,
    /// The data may be half restored.
    Restoring,
    /// The data is restored.
    Restored,
}

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// The form of this file.
    pub schema: u32,
    /// Its number, and its folder's name.
    pub id: u64,
    /// Whose data it holds.
    pub from: Option<Build>,
    /// What was to be started on the data next.
    pub to: Build,
    /// The data folder; unknown where an earlier version of ours has begun it.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    /// When it was begun, in seconds since 1970; for people.
    pub begun_unix_secs: u64,
    /// How far it has come.
    pub stage: Stage,
}

impl SnapshotRecord {
    /// The form that this version writes.
    pub const SCHEMA: u32 = 1;
}

/// The snapshots of one vault.
#[derive(Debug, Clone)]
pub struct Snapshots {
    folder: PathBuf,
}

impl Snapshots {
    /// Those in a vault's folder.
    pub fn new(vault_folder: &Path) -> Self {
        Self { folder: vault_folder.join("snapshots") }
    }

    /// The folder of one.
    pub fn path(&self, id: u64) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// All that are there, whole or not, in the order in which they were begun.
    pub fn ids(&self) -> Result<Vec<u64>, SnapshotError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &self.folder)(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed("list", &self.folder))?.file_name();
            ids.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Makes the folder of a new snapshot; its number was never used for one that is there.
    pub fn begin(
        &self,
        data: &Path,
        from: Option<&Build>,
        to: &Build,
        unix_secs: u64,
    ) -> Result<SnapshotRecord, SnapshotError> {
        let id = self.ids()?.last().map_or(1, |last| last + 1);
        let folder = self.path(id);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(failed("create", &folder))?;
        let record = SnapshotRecord {
            schema: SnapshotRecord::SCHEMA,
            id,
            from: from.cloned(),
            to: to.clone(),
            data_dir: Some(data.to_owned()),
            begun_unix_secs: unix_secs,
            stage: Stage::Begun,
        };
        self.write(&record).map_err(|error| failed("write", &error.path)(error.source))?;
        atomic_file::sync_folder(&self.folder).map_err(failed("sync", &self.folder))?;
        Ok(record)
    }

    /// Makes a record durable.
    pub fn write(&self, record: &SnapshotRecord) -> Result<(), WriteError> {
        let path = self.record_path(record.id);
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| WriteError { path: path.clone(), source: error.into() })?;
        atomic_file::replace(&path, &text)
    }

    /// What is known of a snapshot. One that cannot be read is an error and not absent: it may say that the data is
    /// half migrated.
    pub fn read(&self, id: u64) -> Result<Option<SnapshotRecord>, SnapshotError> {
        let path = self.record_path(id);
        let text = match fs::File::open(&path) {
            Ok(file) => {
                let mut text = String::new();
                io::Read::read_to_string(&mut io::Read::take(file, MAX_RECORD_BYTES), &mut text)
                    .map_err(failed("read", &path))?;
                text
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let record: SnapshotRecord =
            serde_json::from_str(&text).map_err(|error| failed("understand", &path)(error.into()))?;
        if record.schema == SnapshotRecord::SCHEMA && record.id == id {
            Ok(Some(record))
        } else {
            Err(SnapshotError::Damaged { path })
        }
    }

    /// Refuses a snapshot of another data folder than this: what is put back is all that is left there.
    pub fn is_of(&self, id: u64, data: Option<&Path>) -> Result<(), SnapshotError> {
        let Some(of) = self.read(id)?.and_then(|record| record.data_dir) else { return Ok(()) };
        if data.is_some_and(|data| is_same_folder(data, &of)) {
            Ok(())
        } else {
            Err(SnapshotError::OtherData { id, of, now: data.map(Path::to_owned) })
        }
    }

    /// What is known of all of them.
    pub fn records(&self) -> Result<Vec<SnapshotRecord>, SnapshotError> {
        let mut records = Vec::new();
        for id in self.ids()? {
            records.extend(self.read(id)?);
        }
        Ok(records)
    }

    fn record_path(&self, id: u64) -> PathBuf {
        self.path(id).join("snapshot.json")
    }

    /// Removes some.
    pub fn remove(&self, ids: &[u64]) -> Result<(), SnapshotError> {
        ids.iter().try_for_each(|id| {
            crash_points::reached(format_args!("snapshot {id}: to be removed"));
            remove_tree(&self.folder, id.to_string().as_ref())?;
            crash_points::reached(format_args!("snapshot {id}: removed"));
            Ok(())
        })
    }
}

/// Also by another name: data may be moved to a larger disk, and a link left in its place.
fn is_same_folder(one: &Path, other: &Path) -> bool {
    let inode = |path| fs::metadata(path).map(|folder| (folder.dev(), folder.ino()));
    one == other || matches!((inode(one), inode(other)), (Ok(one), Ok(other)) if one == other)
}

/// What there is to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes on the disk, holes and second names not counted.
    pub bytes: u64,
}

/// How large a data folder is.
pub fn measure(data: &Path, meanwhile: Meanwhile<'_>) -> Result<Extent, SnapshotError> {
    mirror::measure(data, meanwhile)
}

/// Whether a copy of that much would fit below a folder, and something be left. Where the filesystem shares the
/// blocks of a file with its copy, only its folders need room.
pub fn check_room(data: &Path, snapshot: &Path, extent: Extent) -> Result<(), SnapshotError> {
    let bytes = if content::can_share(data, snapshot) { 0 } else { extent.bytes };
    room::check(snapshot, bytes, extent.entries)
        .map_err(|source| SnapshotError::NoRoom { data: data.to_owned(), source })
}

/// Which pass of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// While the vault runs: what vanishes or changes meanwhile is left for the second.
    First,
    /// When nothing runs.
    Second,
}

/// One pass over the data into a snapshot's folder. With `sync`, everything is on the disk when this returns.
pub fn take(
    data: &Path,
    snapshot: &Path,
    pass: Pass,
    sync: bool,
    meanwhile: Meanwhile<'_>,
) -> Result<Done, SnapshotError> {
    let copy = snapshot.join("data");
    match fs::DirBuilder::new().mode(0o700).create(&copy) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("create", &copy)(error));
        }
        _ => {}
    }
    let path = snapshot.join("manifest");
    // A damaged or missing one proves nothing of any file: then everything is copied.
    let known = Manifest::read(&path).unwrap_or_default();
    let mirror = Mirror::new(data, &copy, &known, Judge::Source { live: pass == Pass::First }, meanwhile)?;
    let (done, manifest) = mirror.run()?;
    if sync {
        sync_filesystem(&copy)?;
    }
    // After the files, so that it never tells of one that a power loss has taken.
    manifest.write(&path, sync).map_err(|error| failed("write", &path)(error))?;
    Ok(done)
}

/// Makes a taken snapshot durable that was not synced while the vault stood still.
pub fn sync(snapshot: &Path) -> Result<(), SnapshotError> {
    sync_filesystem(snapshot)
}

/// Brings the data back to what a whole snapshot holds, durably. To be repeated until it succeeds once it was begun.
pub fn restore(snapshot: &Path, data: &Path, meanwhile: Meanwhile<'_>) -> Result<Done, SnapshotError> {
    let (copy, path) = (snapshot.join("data"), snapshot.join("manifest"));
    let known = Manifest::read(&path).unwrap_or_default();
    mirror::refuse_mounts(data, &mut *meanwhile)?;
    let (done, _) = Mirror::new(&copy, data, &known, Judge::Destination, meanwhile)?.run()?;
    sync_filesystem(data)?;
    Ok(done)
}

/// Makes everything durable that was written to the filesystem of a path.
pub fn sync_filesystem(path: &Path) -> Result<(), SnapshotError> {
    let folder = fs::File::open(path).map_err(failed("open", path))?;
    rustix::fs::syncfs(&folder).map_err(|error| failed("sync", path)(error.into()))
}
