//! The calls by which governance states a release, and how several of them become one.
//!
//! Pure: typed calls in, bytes out, by the metadata of a chain. Arguments are given by name, so that a runtime
//! whose pallet takes others is noticed instead of getting values in the wrong places; and every encoding is
//! decoded and compared before anybody sees it.

use std::error::Error;

use subxt::{
    dynamic::Value,
    ext::{frame_decode, scale_value::Composite},
    metadata::Metadata,
    tx::DynamicPayload,
};

use super::{
    client_calls::ClientCall,
    decoded, explain,
    forecast::{Forecast, Limits, Refusal},
};
use crate::{
    chain::records::CLIENTS_INFO,
    release::{ArtifactName, Artifacts, Blake2Hash, Checksum, Version},
};

/// One call of `pallet-vault-release`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseCall {
    /// Puts a release in force, without artifacts.
    Set {
        /// The release tag.
        version: Version,
        /// SHA-256 of its binary.
        checksum: Checksum,
    },
    /// Has a release come into force with a runtime, without artifacts, in the place of a scheduled one.
    Schedule {
        /// The release tag.
        version: Version,
        /// SHA-256 of its binary.
        checksum: Checksum,
        /// The first runtime, by `spec_version`, that it is for.
        spec_version: u32,
    },
    /// Forgets what is scheduled.
    Cancel,
    /// Adds or replaces a file of the release, wherever that version stands.
    SetArtifact {
        /// The release tag.
        version: Version,
        /// The file's name.
        name: ArtifactName,
        /// The file's SHA-256.
        checksum: Checksum,
    },
    /// Removes a file of the release.
    RemoveArtifact {
        /// The release tag.
        version: Version,
        /// The file's name.
        name: ArtifactName,
    },
}

impl ReleaseCall {
    /// The call's name in the pallet.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Set { .. } => "set_vault_release",
            Self::Schedule { .. } => "schedule_vault_release",
            Self::Cancel => "cancel_scheduled_release",
            Self::SetArtifact { .. } => "set_release_artifact",
            Self::RemoveArtifact { .. } => "remove_release_artifact",
        }
    }

    /// A release with all its artifacts, in force at once or from a runtime on: the release first, since
    /// artifacts can only be added to one that stands.
    pub fn statement(
        version: &Version,
        checksum: Checksum,
        spec_version: Option<u32>,
        artifacts: &Artifacts,
    ) -> Vec<Self> {
        let release = match spec_version {
            None => Self::Set { version: version.clone(), checksum },
            Some(spec_version) => Self::Schedule { version: version.clone(), checksum, spec_version },
        };
        let artifact = |(name, checksum): (&ArtifactName, &Checksum)| Self::SetArtifact {
            version: version.clone(),
            name: name.clone(),
            checksum: *checksum,
        };
        std::iter::once(release).chain(artifacts.iter().map(artifact)).collect()
    }

    fn arguments(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &str| Value::from_bytes(text.as_bytes());
        match self {
            Self::Set { version, checksum } => {
                vec![("version", text(version.as_str())), ("binary_checksum", Value::from_bytes(checksum.0))]
            }
            Self::Schedule { version, checksum, spec_version } => vec![
                ("version", text(version.as_str())),
                ("binary_checksum", Value::from_bytes(checksum.0)),
                ("spec_version", Value::u128((*spec_version).into())),
            ],
            Self::Cancel => Vec::new(),
            Self::SetArtifact { version, name, checksum } => vec![
                ("version", text(version.as_str())),
                ("name", text(name.as_str())),
                ("checksum", Value::from_bytes(checksum.0)),
            ],
            Self::RemoveArtifact { version, name } => {
                vec![("version", text(version.as_str())), ("name", text(name.as_str()))]
            }
        }
    }
}

/// One step of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A call of the release pallet.
    Release(ReleaseCall),
    /// A call of `ClientsInfo`.
    Client(ClientCall),
    /// `System.authorize_upgrade`, or `ParachainSystem.authorize_upgrade` where the runtime is older than that: the
    /// runtime may be replaced by the code with this hash.
    AuthorizeUpgrade {
        /// BLAKE2-256 of the code.
        code_hash: Blake2Hash,
    },
}

/// What governance shall do, as one call: the step itself, or all steps or none in one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The release pallet's name in the runtime.
    pub pallet: String,
    /// The steps, at least one.
    pub steps: Vec<Step>,
    /// Whether the sudo key makes the call, in the place of governance.
    pub sudo: bool,
}

/// Why a call cannot be made for a runtime.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The runtime has no such pallet.
    #[error(
        "the runtime has no pallet {pallet:?}; {}",
        match similar.as_slice() {
            [] => "no pallet of it has a call set_vault_release, so the chain does not state releases".to_owned(),
            names => format!("did you mean --pallet {}?", names.join(" or ")),
        }
    )]
    NoPallet {
        /// The name that was given.
        pallet: String,
        /// Pallets that have the call.
        similar: Vec<String>,
    },
    /// The pallet is another one, or an older one.
    #[error(
        "the pallet {pallet:?} of this runtime has no call {call}, expected pallet-vault-release 0.1 or newer; \
         check the name, or upgrade the runtime first"
    )]
    NoCall {
        /// The name that was given.
        pallet: String,
        /// The call that was expected.
        call: &'static str,
    },
    /// A call of a pallet beside ours is missing.
    #[error("the runtime has no call {call}, expected for {purpose}; {remedy}")]
    Missing {
        /// The call, with its pallet.
        call: &'static str,
        /// What it is for.
        purpose: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The call does not fit the runtime.
    #[error("the call cannot be built for this runtime; is {pallet:?} pallet-vault-release?")]
    Build {
        /// The pallet's name.
        pallet: String,
        /// What does not fit.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// What was built says something else than what was asked for.
    #[error(
        "the runtime would read this call as something else than what was asked for; its pallet {pallet:?} is not \
         the one that this vaultvisor knows"
    )]
    ReadsOtherwise {
        /// The pallet's name.
        pallet: String,
    },
    /// The pallet would refuse it, whatever else happens.
    #[error("{call} would be refused")]
    Refused {
        /// The call, with its pallet.
        call: String,
        /// Why.
        #[source]
        source: Box<Refusal>,
    },
}

impl Proposal {
    /// Encodes the call, after everything that the metadata can tell was checked.
    pub fn encode(&self, metadata: &Metadata) -> Result<Vec<u8>, CallError> {
        self.check(metadata)?;
        let bytes = encode(&self.payload(metadata), metadata).map_err(self.build_error())?;
        let call = decoded::decode_call(metadata, &bytes).map_err(self.build_error())?;
        if explain::explain(&call, &self.pallet).steps(self.sudo) == Some(self.steps.clone()) {
            Ok(bytes)
        } else {
            Err(CallError::ReadsOtherwise { pallet: self.pallet.clone() })
        }
    }

    fn build_error<E: Error + Send + Sync + 'static>(&self) -> impl FnOnce(E) -> CallError {
        let pallet = self.pallet.clone();
        |source| CallError::Build { pallet, source: Box::new(source) }
    }

    /// The error of a call that the pallet would refuse.
    fn refused(&self, call: &ReleaseCall, source: Refusal) -> CallError {
        CallError::Refused { call: format!("{}.{}", self.pallet, call.name()), source: Box::new(source) }
    }

    /// Whether the pallet would take all of it on a chain that holds this; the first refusal if not.
    pub fn forecast(&self, mut forecast: Forecast) -> Result<(), CallError> {
        for call in self.release_calls() {
            forecast.apply(call).map_err(|refusal| self.refused(call, refusal))?;
        }
        Ok(())
    }

    fn release_calls(&self) -> impl Iterator<Item = &ReleaseCall> {
        self.steps.iter().filter_map(|step| match step {
            Step::Release(call) => Some(call),
            Step::Client(_) | Step::AuthorizeUpgrade { .. } => None,
        })
    }

    /// The call, for whoever encodes or signs it.
    pub fn payload(&self, metadata: &Metadata) -> DynamicPayload<Composite<()>> {
        let step = |step: &Step| match step {
            Step::Release(call) => payload(&self.pallet, call.name(), call.arguments()),
            Step::Client(call) => payload(CLIENTS_INFO, call.name(), call.arguments()),
            Step::AuthorizeUpgrade { code_hash } => {
                let code_hash = ("code_hash", Value::from_bytes(code_hash.0));
                match authorizes(metadata) {
                    Some(PARACHAIN_SYSTEM) => {
                        let check = ("check_version", Value::bool(true));
                        payload(PARACHAIN_SYSTEM, AUTHORIZE_UPGRADE, vec![code_hash, check])
                    }
                    _ => payload("System", AUTHORIZE_UPGRADE, vec![code_hash]),
                }
            }
        };
        let call = match self.steps.as_slice() {
            [only] => step(only),
            steps => {
                let calls = steps.iter().map(|one| step(one).into_value());
                payload("Utility", "batch_all", vec![("calls", Value::unnamed_composite(calls))])
            }
        };
        if self.sudo { payload("Sudo", "sudo", vec![("call", call.into_value())]) } else { call }
    }

    /// The calls by name, for messages: `Utility.batch_all of VaultRelease.set_vault_release and …`.
    pub fn names(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for step in &self.steps {
            let name = match step {
                Step::Release(call) => format!("{}.{}", self.pallet, call.name()),
                Step::Client(call) => format!("{CLIENTS_INFO}.{}", call.name()),
                Step::AuthorizeUpgrade { .. } => "System.authorize_upgrade".to_owned(),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let batch = if self.steps.len() > 1 { "Utility.batch_all of " } else { "" };
        format!("{batch}{}", names.join(" and "))
    }

    /// Whether the runtime has all the calls, and takes names of these lengths.
    fn check(&self, metadata: &Metadata) -> Result<(), CallError> {
        for call in self.release_calls() {
            check_pallet(metadata, &self.pallet, call.name())?;
            Limits::of(metadata, &self.pallet)
                .check_lengths(call)
                .map_err(|refusal| self.refused(call, refusal))?;
        }
        let has = |pallet, call| has_call(metadata, pallet, call);
        let missing = |call, purpose, remedy| Err(CallError::Missing { call, purpose, remedy });
        if self.steps.len() > 1 && !has("Utility", "batch_all") {
            return missing(
                "Utility.batch_all",
                "several calls that take effect together or not at all",
                "make the calls one by one",
            );
        }
        let client = self.steps.iter().find_map(|step| match step {
            Step::Client(call) => Some(call),
            _ => None,
        });
        if let Some(call) = client
            && !has(CLIENTS_INFO, call.name())
        {
            return missing(
                "ClientsInfo.set_current_client_release or set_pending_client_release",
                "the record clients-info",
                "leave --record out for a chain that has pallet-vault-release",
            );
        }
        let upgrade = self.steps.iter().any(|step| matches!(step, Step::AuthorizeUpgrade { .. }));
        if upgrade && authorizes(metadata).is_none() {
            return missing(
                "System.authorize_upgrade",
                "the runtime upgrade",
                "leave the upgrade out, and let governance decide on it in the way that this runtime has",
            );
        }
        if self.sudo && !has("Sudo", "sudo") {
            return missing(
                "Sudo.sudo",
                "a call by the sudo key",
                "on this chain governance has to make the call (`vaultvisor release call`)",
            );
        }
        Ok(())
    }
}

const PARACHAIN_SYSTEM: &str = "ParachainSystem";
const AUTHORIZE_UPGRADE: &str = "authorize_upgrade";

fn has_call(metadata: &Metadata, pallet: &str, call: &str) -> bool {
    metadata.pallet_by_name(pallet).is_some_and(|pallet| pallet.call_variant_by_name(call).is_some())
}

/// The pallet by which upgrades are authorized. The bridges' runtimes of 2023 have it in the parachain's own one.
fn authorizes(metadata: &Metadata) -> Option<&'static str> {
    ["System", PARACHAIN_SYSTEM].into_iter().find(|pallet| has_call(metadata, pallet, AUTHORIZE_UPGRADE))
}

/// Whether the runtime states releases in a way that we know: our pallet under that name, or `ClientsInfo`.
pub fn check_records(metadata: &Metadata, pallet: &str) -> Result<(), CallError> {
    if has_call(metadata, CLIENTS_INFO, "set_current_client_release") {
        return Ok(());
    }
    check_pallet(metadata, pallet, "set_vault_release")
}

/// Whether the runtime has our pallet under that name, with that call.
fn check_pallet(metadata: &Metadata, name: &str, call: &'static str) -> Result<(), CallError> {
    let is_ours = "set_vault_release";
    let Some(pallet) = metadata.pallet_by_name(name) else {
        let similar = metadata.pallets().filter(|pallet| pallet.call_variant_by_name(is_ours).is_some());
        let similar = similar.map(|pallet| pallet.name().escape_default().to_string()).collect();
        return Err(CallError::NoPallet { pallet: name.to_owned(), similar });
    };
    match pallet.call_variant_by_name(call) {
        Some(_) => Ok(()),
        None => Err(CallError::NoCall { pallet: name.to_owned(), call }),
    }
}

/// The call that puts these bytes on the chain as a preimage; `None` when the runtime has no pallet for it.
pub fn note_preimage(bytes: &[u8], metadata: &Metadata) -> Option<Vec<u8>> {
    encode(&payload("Preimage", "note_preimage", vec![("bytes", Value::from_bytes(bytes))]), metadata).ok()
}

fn payload(pallet: &str, call: &str, arguments: Vec<(&str, Value)>) -> DynamicPayload<Composite<()>> {
    subxt::dynamic::tx(pallet, call, Composite::named(arguments))
}

fn encode(
    payload: &DynamicPayload<Composite<()>>,
    metadata: &Metadata,
) -> Result<Vec<u8>, frame_decode::extrinsics::ExtrinsicEncodeError> {
    frame_decode::extrinsics::encode_call_data(
        payload.pallet_name(),
        payload.call_name(),
        payload.call_data(),
        metadata,
        metadata.types(),
    )
}

#[cfg(test)]
mod tests;
