//! What calls would do to the record that a chain holds now: the pallet's own rules, without the chain.
//!
//! Pure. The rules are those of `pallet-vault-release`; journeys hold them against a real chain. Who may call is
//! not judged here: that is the runtime's choice, and governance's origin is not known before it acts.

use subxt::metadata::Metadata;

use super::calls::ReleaseCall;
use crate::{
    chain::{PendingRelease, records::Stated},
    release::{ArtifactName, Artifacts, Checksum, Release, Version},
};

/// The bounds that a runtime gave to the pallet; `None` where its metadata does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The longest version, in bytes.
    pub version_bytes: Option<u32>,
    /// The longest artifact name, in bytes.
    pub artifact_name_bytes: Option<u32>,
    /// The most artifacts that a release has.
    pub artifacts: Option<u32>,
}

impl Limits {
    /// The constants of the pallet of that name.
    pub fn of(metadata: &Metadata, pallet: &str) -> Self {
        let constant = |name| {
            let constant = metadata.pallet_by_name(pallet)?.constant_by_name(name)?;
            <[u8; 4]>::try_from(constant.value()).ok().map(u32::from_le_bytes)
        };
        Self {
            version_bytes: constant("MaxVersionLength"),
            artifact_name_bytes: constant("MaxArtifactNameLength"),
            artifacts: constant("MaxArtifacts"),
        }
    }

    /// Whether the runtime decodes the names in a call, which it does not when they are longer than its bounds.
    pub fn check_lengths(&self, call: &ReleaseCall) -> Result<(), Refusal> {
        let check = |what, text: &str, max: Option<u32>| match max {
            Some(max) if text.len() > max as usize => Err(Refusal::TooLong { what, length: text.len(), max }),
            _ => Ok(()),
        };
        let (version, name) = match call {
            ReleaseCall::Set { version, .. } | ReleaseCall::Schedule { version, .. } => (version, None),
            ReleaseCall::SetArtifact { version, name, .. }
            | ReleaseCall::RemoveArtifact { version, name } => (version, Some(name)),
            ReleaseCall::Cancel => return Ok(()),
        };
        check("version", version.as_str(), self.version_bytes)?;
        name.map_or(Ok(()), |name| check("artifact name", name.as_str(), self.artifact_name_bytes))
    }
}

/// The record and the runtime, as far as the pallet's rules look at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Both slots.
    pub stated: Stated,
    /// The runtime that runs.
    pub spec_version: u32,
    /// The pallet's bounds.
    pub limits: Limits,
}

/// Why the pallet would refuse a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no version.
    #[error("{found}")]
    InvalidVersion {
        /// What is wrong with it.
        found: String,
    },
    /// The bytes are no artifact name.
    #[error("{found}")]
    InvalidArtifactName {
        /// What is wrong with it.
        found: String,
    },
    /// Longer than the runtime decodes.
    #[error(
        "the {what} has {length} bytes, expected at most {max}: the runtime does not even decode the call"
    )]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length, in bytes.
        length: usize,
        /// The bound, in bytes.
        max: u32,
    },
    /// That runtime runs, or ran, already.
    #[error(
        "it is for spec version {asked}, expected one above the running {running}; to put it in force at once, set \
         it instead of scheduling it"
    )]
    SpecVersionNotInFuture {
        /// What was asked for.
        asked: u32,
        /// What runs.
        running: u32,
    },
    /// There is nothing to cancel.
    #[error("no release is scheduled")]
    NothingScheduled,
    /// No slot holds that version.
    #[error("{version:?} is neither in force nor scheduled; the chain holds {held}")]
    UnknownRelease {
        /// What was asked for.
        version: String,
        /// What there is.
        held: String,
    },
    /// The release has no such file.
    #[error("{version} has no file {name:?}")]
    UnknownArtifact {
        /// The release.
        version: String,
        /// What was asked for.
        name: String,
    },
    /// The bound on artifacts.
    #[error("{version} would have more than {max} files, which is the most that this runtime allows")]
    TooManyArtifacts {
        /// The release.
        version: String,
        /// The bound.
        max: u32,
    },
    /// The other slot holds the version, with another binary.
    #[error(
        "{version} is {slot} with checksum {held}, expected the same one here, found {asked}; give the other build \
         a version of its own{}", if *slot == "scheduled" { ", or cancel what is scheduled" } else { "" }
    )]
    VersionInUse {
        /// The version.
        version: Version,
        /// `in force` or `scheduled`.
        slot: &'static str,
        /// That slot's checksum.
        held: Checksum,
        /// What was asked for.
        asked: Checksum,
    },
}

impl Refusal {
    /// The pallet's name for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidVersion { .. } => "InvalidVersion",
            Self::InvalidArtifactName { .. } => "InvalidArtifactName",
            Self::TooLong { .. } => "TooLong",
            Self::SpecVersionNotInFuture { .. } => "SpecVersionNotInFuture",
            Self::NothingScheduled => "NothingScheduled",
            Self::UnknownRelease { .. } => "UnknownRelease",
            Self::UnknownArtifact { .. } => "UnknownArtifact",
            Self::TooManyArtifacts { .. } => "TooManyArtifacts",
            Self::VersionInUse { .. } => "VersionInUse",
        }
    }

    /// Whether it stays refused whatever else happens on the chain: runtime versions only grow, and what cannot be
    /// named now cannot be named later.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::InvalidVersion { .. }
                | Self::InvalidArtifactName { .. }
                | Self::TooLong { .. }
                | Self::SpecVersionNotInFuture { .. }
        )
    }
}

impl Forecast {
    /// What the call would do; refused, nothing changes.
    pub fn apply(&mut self, call: &ReleaseCall) -> Result<(), Refusal> {
        match call {
            ReleaseCall::Set { version, checksum } => self.set(version, *checksum),
            ReleaseCall::Schedule { version, checksum, spec_version } => {
                self.schedule(version, *checksum, *spec_version)
            }
            ReleaseCall::Cancel => match self.stated.pending.take() {
                Some(_) => Ok(()),
                None => Err(Refusal::NothingScheduled),
            },
            ReleaseCall::SetArtifact { version, name, checksum } => {
                self.set_artifact(version, name, *checksum)
            }
            ReleaseCall::RemoveArtifact { version, name } => self.remove_artifact(version, name),
        }
    }

    fn set(&mut self, version: &Version, checksum: Checksum) -> Result<(), Refusal> {
        if let Some(pending) = &self.stated.pending {
            let held = (&pending.version, pending.binary_checksum);
            ensure_same_binary((version, checksum), held, "scheduled")?;
        }
        let made = self.stated.current.as_ref().map_or(Some(0), |release| release.sequence);
        self.stated.current = Some(Release {
            sequence: made.map(|made| made.saturating_add(1)),
            version: version.clone(),
            binary_checksum: checksum,
            uri: None,
            artifacts: Artifacts::new(),
        });
        Ok(())
    }

    fn schedule(&mut self, version: &Version, checksum: Checksum, spec_version: u32) -> Result<(), Refusal> {
        if spec_version <= self.spec_version {
            return Err(Refusal::SpecVersionNotInFuture { asked: spec_version, running: self.spec_version });
        }
        if let Some(current) = &self.stated.current {
            let held = (&current.version, current.binary_checksum);
            ensure_same_binary((version, checksum), held, "in force")?;
        }
        self.stated.pending = Some(PendingRelease {
            version: version.clone(),
            binary_checksum: checksum,
            uri: None,
            artifacts: Artifacts::new(),
            spec_version: Some(spec_version),
        });
        Ok(())
    }

    fn set_artifact(
        &mut self,
        version: &Version,
        name: &ArtifactName,
        checksum: Checksum,
    ) -> Result<(), Refusal> {
        let limit = self.limits.artifacts;
        self.edit(version, |artifacts| {
            artifacts.insert(name.clone(), checksum);
            match limit {
                Some(max) if artifacts.len() > max as usize => {
                    Err(Refusal::TooManyArtifacts { version: version.to_string(), max })
                }
                _ => Ok(true),
            }
        })
        .map(drop)
    }

    fn remove_artifact(&mut self, version: &Version, name: &ArtifactName) -> Result<(), Refusal> {
        if self.edit(version, |artifacts| Ok(artifacts.remove(name).is_some()))? {
            return Ok(());
        }
        Err(Refusal::UnknownArtifact { version: version.to_string(), name: name.to_string() })
    }

    /// Edits each slot that holds the version, or none; says whether any was changed.
    fn edit(
        &mut self,
        version: &Version,
        edit: impl Fn(&mut Artifacts) -> Result<bool, Refusal>,
    ) -> Result<bool, Refusal> {
        let mut after = self.stated.clone();
        let current = after.current.as_mut().filter(|release| release.version == *version);
        let pending = after.pending.as_mut().filter(|release| release.version == *version);
        if current.is_none() && pending.is_none() {
            return Err(self.unknown_release(version.to_string()));
        }
        let mut edited = false;
        if let Some(release) = current
            && edit(&mut release.artifacts)?
        {
            release.sequence = release.sequence.map(|sequence| sequence.saturating_add(1));
            edited = true;
        }
        if let Some(release) = pending {
            edited |= edit(&mut release.artifacts)?;
        }
        self.stated = after;
        Ok(edited)
    }

    fn unknown_release(&self, version: String) -> Refusal {
        let current = self.stated.current.as_ref().map(|release| release.version.to_string());
        let pending = self.stated.pending.as_ref().map(|release| format!("{} (scheduled)", release.version));
        let held: Vec<String> = current.into_iter().chain(pending).collect();
        let held = if held.is_empty() { "no release".to_owned() } else { held.join(" and ") };
        Refusal::UnknownRelease { version, held }
    }
}

fn ensure_same_binary(
    (version, asked): (&Version, Checksum),
    (held_version, held): (&Version, Checksum),
    slot: &'static str,
) -> Result<(), Refusal> {
    if version == held_version && asked != held {
        return Err(Refusal::VersionInUse { version: version.clone(), slot, held, asked });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
