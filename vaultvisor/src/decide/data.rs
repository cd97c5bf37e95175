//! What a release finds when it is started besides its binary: arguments and data, and what was made of them for it.

use serde::{Deserialize, Serialize};

use super::{state::Build, time::Wait};
use crate::release::{Artifacts, Checksum};

/// The programs of a release that change what it finds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Migrations {
    /// Makes the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Checksum>,
    /// Changes the data folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Checksum>,
}

impl Migrations {
    /// The name of the artifact that makes arguments.
    pub const ARGS: &str = "args-migration";
    /// The name of the artifact that changes the data.
    pub const STATE: &str = "state-migration";

    /// Those among a release's files.
    pub fn among(artifacts: &Artifacts) -> Self {
        let named = |wanted: &str| {
            artifacts.iter().find(|(name, _)| name.as_str() == wanted).map(|(_, checksum)| *checksum)
        };
        Self { args: named(Self::ARGS), state: named(Self::STATE) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Their files.
    pub fn files(&self) -> impl Iterator<Item = Checksum> {
        self.named().map(|(_, checksum)| checksum)
    }

    /// Their files by the names of the artifacts.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Checksum)> {
        let named = [(Self::ARGS, self.args), (Self::STATE, self.state)];
        named.into_iter().filter_map(|(name, checksum)| Some((name, checksum?)))
    }
}

/// What a release is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arguments {
    /// The operator's own words.
    Config(Vec<String>),
    /// What a migration made of them, by the number of the file that holds it.
    Revision(u32),
}

/// The arguments of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgumentsOf {
    /// The release's binary.
    pub checksum: Checksum,
    /// What it is always started with.
    pub arguments: Arguments,
    /// What the configuration's arguments were when it was last started other than on the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Vec<String>>,
}

/// What is to be made ready, while the old release runs, before another can take its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The other release.
    pub to: Build,
    /// Whose arguments and data there are.
    pub from: Build,
    /// What its arguments are made of.
    pub arguments: Arguments,
    /// Whether the data is copied first.
    pub snapshot: bool,
}

/// Where that stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "staging", rename_all = "snake_case")]
pub enum Staging {
    /// Nothing has to be made ready.
    #[default]
    Idle,
    /// It is under way.
    Staging {
        /// What.
        stage: Stage,
        /// How many tries failed before.
        attempt: u32,
    },
    /// The machine failed, and it is tried again.
    Failed {
        /// What.
        stage: Stage,
        /// How many tries failed.
        attempt: u32,
        /// When.
        wait: Wait,
    },
    /// It is ready.
    Staged {
        /// What.
        stage: Stage,
        /// What the release will be started with.
        arguments: Arguments,
        /// The snapshot whose first pass is done.
        snapshot: Option<u64>,
        /// How many tries to use it failed.
        attempt: u32,
    },
}

impl Staging {
    /// What it is about.
    pub fn stage(&self) -> Option<&Stage> {
        match self {
            Self::Idle => None,
            Self::Staging { stage, .. } | Self::Failed { stage, .. } | Self::Staged { stage, .. } => {
                Some(stage)
            }
        }
    }

    pub(super) fn attempt(&self) -> u32 {
        match self {
            Self::Idle => 0,
            Self::Staging { attempt, .. } | Self::Failed { attempt, .. } | Self::Staged { attempt, .. } => {
                *attempt
            }
        }
    }
}

/// What the data is, relative to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Only releases have changed it since, each on its own: any may be started on it.
    Plain,
    /// A start is under way that may migrate it.
    Begun,
    /// A migration may have left it half done, or a restore: nothing is started before it is restored.
    Restore,
    /// It is the new release's, which may have lived on it: the old one cannot be started on it, and to restore it
    /// would have the old one forget what was paid since.
    Migrated,
}

/// A copy of the data from before a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its number.
    pub id: u64,
    /// Whose data it holds.
    pub from: Build,
    /// What was to be started next.
    pub to: Build,
    /// Whether that migrates the data.
    pub migrates: bool,
    /// What the data is by now.
    pub standing: Standing,
}

/// What is done to the data between the end of the old process and the execution of the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The snapshot that is brought up to date.
    pub snapshot: u64,
    /// The migration that is run then.
    pub migration: Option<Checksum>,
}

/// How a release is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What.
    pub build: Build,
    /// With what.
    pub arguments: Arguments,
    /// The snapshot that is restored first.
    pub restore: Option<u64>,
    /// What is done to the data first; never together with a restore.
    pub work: Option<Work>,
}

/// What a start that failed has left of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataLeft {
    /// As it was before.
    Untouched,
    /// A migration or a restore may have changed it, and nothing was executed on it.
    Changed,
    /// What was to be started may have been executed on it, though nobody heard so: nothing may be put back.
    Lived,
}
