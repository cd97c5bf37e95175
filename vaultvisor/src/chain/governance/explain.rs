//! What a decoded call means: which of it is about vault releases, which of it we know otherwise, and which is
//! neither and must not pass unnoticed.
//!
//! Pure. Only calls whose arguments are exactly as expected count as known; everything else is
//! [`Meaning::Other`], with all its arguments and with the calls that they hold.

use super::{
    calls::{ReleaseCall, Step},
    client_calls::ClientCall,
    decoded::{Call, DecodeError, Decoded, Field},
    forecast::Refusal,
};
use crate::chain::records::CLIENTS_INFO;
use crate::release::{ArtifactName, Blake2Hash, Checksum, MAX_NAME_BYTES, Version};

/// A call and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained<'b> {
    /// The pallet's name in the runtime.
    pub pallet: &'b str,
    /// The call's name.
    pub name: &'b str,
    /// What it does.
    pub meaning: Meaning<'b>,
    /// How it would go now; see [`judge`](super::judge).
    pub outcome: Outcome,
}

/// What a call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning<'b> {
    /// States something about vault releases.
    Release(Statement),
    /// States the release of a client in `ClientsInfo`.
    Client(ClientCall),
    /// Allows the runtime to be replaced by the code with this hash.
    AuthorizeUpgrade {
        /// BLAKE2-256 of the code.
        code_hash: Blake2Hash,
        /// Whether the chain checks that it is a newer version of the same runtime.
        checked: bool,
    },
    /// Replaces the runtime by this code.
    ReplaceCode {
        /// How long the code is, in bytes.
        length: usize,
        /// Its BLAKE2-256.
        code_hash: Blake2Hash,
    },
    /// Several calls, one after the other.
    Batch {
        /// What happens when one fails.
        on_failure: OnFailure,
        /// The calls.
        calls: Vec<Explained<'b>>,
    },
    /// The call as the chain's root, by the sudo key.
    Sudo(Box<Explained<'b>>),
    /// The call, with a weight that its author chose.
    WithWeight(Box<Explained<'b>>),
    /// The call, as somebody else.
    DispatchAs {
        /// Who.
        origin: Decoded<'b>,
        /// The call.
        call: Box<Explained<'b>>,
    },
    /// Stores bytes on the chain, for a referendum to name them by their hash. Executes nothing.
    NotePreimage {
        /// How many bytes.
        length: usize,
        /// Their BLAKE2-256.
        hash: Blake2Hash,
        /// The call that they are, or why they are none.
        call: Result<Box<Explained<'b>>, DecodeError>,
    },
    /// Something that is not about vault releases.
    Other {
        /// Its arguments; where they hold a call, the number of that call in `calls`, from 1.
        fields: Vec<Field<'b>>,
        /// The calls inside.
        calls: Vec<Explained<'b>>,
    },
}

/// What happens to a batch when one of its calls fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// All are undone: `batch_all`.
    Undo,
    /// Those before it stand, those after it are not made: `batch`.
    Stop,
    /// The others are made all the same: `force_batch`.
    Continue,
}

/// A call of the release pallet, with the names as its bytes have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The call, or why the pallet would refuse these names.
    pub call: Result<ReleaseCall, Refusal>,
    /// The arguments as text, for people: escaped where they are not names.
    pub shown: Vec<(&'static str, String)>,
}

/// How a call would go on the chain as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It is not known: the call is not one of ours, or depends on more than the record.
    #[default]
    Unknown,
    /// It would succeed, if its origin may make it.
    Succeeds,
    /// It would be refused.
    Refused(Refusal),
    /// A call before it would fail, so it would not be made.
    NotReached,
    /// It would succeed, and be undone because another call of its batch fails.
    Undone,
}

/// Whether a whole call would succeed on the chain as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All of it, if its origin may make it.
    Succeeds,
    /// At least one part of it would be refused.
    Fails,
    /// It depends on more than the record.
    Unknown,
}

/// Explains a call of a runtime in which the release pallet has this name.
pub fn explain<'b>(call: &Call<'b>, release_pallet: &str) -> Explained<'b> {
    let meaning = known(call, release_pallet).unwrap_or_else(|| {
        let mut calls = Vec::new();
        let fields = without_calls(&call.fields, &mut calls);
        let calls = calls.into_iter().map(|call| explain(call, release_pallet)).collect();
        Meaning::Other { fields, calls }
    });
    Explained { pallet: call.pallet, name: call.name, meaning, outcome: Outcome::Unknown }
}

/// The meaning of a call that has exactly the arguments that we know.
fn known<'b>(call: &Call<'b>, release_pallet: &str) -> Option<Meaning<'b>> {
    let arguments: Vec<(&str, &Decoded<'b>)> =
        call.fields.iter().map(|field| (field.name.unwrap_or_default(), &field.value)).collect();
    if call.pallet == release_pallet {
        return statement(call.name, &arguments).map(Meaning::Release);
    }
    if call.pallet == CLIENTS_INFO {
        return ClientCall::read(call.name, &arguments).map(Meaning::Client);
    }
    let inner = |call: &Call<'b>| Box::new(explain(call, release_pallet));
    let batch = |calls: &[Decoded<'b>], on_failure| {
        let call = |item: &Decoded<'b>| match item {
            Decoded::Call(call) => Some(explain(call, release_pallet)),
            _ => None,
        };
        Some(Meaning::Batch { on_failure, calls: calls.iter().map(call).collect::<Option<_>>()? })
    };
    let authorize = |hash: &[u8], checked| {
        Some(Meaning::AuthorizeUpgrade { code_hash: Blake2Hash(hash.try_into().ok()?), checked })
    };
    match (call.pallet, call.name, arguments.as_slice()) {
        ("Utility", "batch_all", [("calls", Decoded::List(calls))]) => batch(calls, OnFailure::Undo),
        ("Utility", "batch", [("calls", Decoded::List(calls))]) => batch(calls, OnFailure::Stop),
        ("Utility", "force_batch", [("calls", Decoded::List(calls))]) => batch(calls, OnFailure::Continue),
        ("Utility", "with_weight", [("call", Decoded::Call(call)), ("weight", _)]) => {
            Some(Meaning::WithWeight(inner(call)))
        }
        ("Sudo", "sudo", [("call", Decoded::Call(call))])
        | ("Sudo", "sudo_unchecked_weight", [("call", Decoded::Call(call)), ("weight", _)]) => {
            Some(Meaning::Sudo(inner(call)))
        }
        ("Utility", "dispatch_as", [("as_origin", origin), ("call", Decoded::Call(call))])
        | ("Sudo", "sudo_as", [("who", origin), ("call", Decoded::Call(call))]) => {
            Some(Meaning::DispatchAs { origin: (*origin).clone(), call: inner(call) })
        }
        ("System", "authorize_upgrade", [("code_hash", Decoded::Bytes(hash))]) => authorize(hash, true),
        ("System", "authorize_upgrade_without_checks", [("code_hash", Decoded::Bytes(hash))]) => {
            authorize(hash, false)
        }
        (
            "ParachainSystem",
            "authorize_upgrade",
            [("code_hash", Decoded::Bytes(hash)), ("check_version", Decoded::Bool(checked))],
        ) => authorize(hash, *checked),
        (
            "System",
            "set_code" | "set_code_without_checks" | "apply_authorized_upgrade",
            [("code", Decoded::Bytes(code))],
        ) => Some(Meaning::ReplaceCode { length: code.len(), code_hash: Blake2Hash::of(code) }),
        ("Preimage", "note_preimage", [("bytes", Decoded::EncodedCall { bytes, call })]) => {
            Some(Meaning::NotePreimage {
                length: bytes.len(),
                hash: Blake2Hash::of(bytes),
                call: call.as_ref().map(|call| inner(call)).map_err(Clone::clone),
            })
        }
        _ => None,
    }
}

/// A call of the release pallet.
fn statement(call: &str, arguments: &[(&str, &Decoded<'_>)]) -> Option<Statement> {
    let version = |bytes: &[u8]| {
        Version::from_bytes(bytes).map_err(|error| Refusal::InvalidVersion { found: error.to_string() })
    };
    let name = |bytes: &[u8]| {
        ArtifactName::from_bytes(bytes)
            .map_err(|error| Refusal::InvalidArtifactName { found: error.to_string() })
    };
    let checksum = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok().map(Checksum);
    let tag = |bytes: &[u8]| ("version", shown_name(bytes));
    Some(match (call, arguments) {
        (
            "set_vault_release",
            [("version", Decoded::Bytes(tagged)), ("binary_checksum", Decoded::Bytes(binary))],
        ) => {
            let checksum = checksum(binary)?;
            Statement {
                call: version(tagged).map(|version| ReleaseCall::Set { version, checksum }),
                shown: vec![tag(tagged), ("binary_checksum", checksum.to_string())],
            }
        }
        (
            "schedule_vault_release",
            [
                ("version", Decoded::Bytes(tagged)),
                ("binary_checksum", Decoded::Bytes(binary)),
                ("spec_version", Decoded::Unsigned(spec_version)),
            ],
        ) => {
            let (checksum, spec_version) = (checksum(binary)?, u32::try_from(*spec_version).ok()?);
            Statement {
                call: version(tagged).map(|version| ReleaseCall::Schedule {
                    version,
                    checksum,
                    spec_version,
                }),
                shown: vec![
                    tag(tagged),
                    ("binary_checksum", checksum.to_string()),
                    ("spec_version", spec_version.to_string()),
                ],
            }
        }
        ("cancel_scheduled_release", []) => Statement { call: Ok(ReleaseCall::Cancel), shown: Vec::new() },
        (
            "set_release_artifact",
            [
                ("version", Decoded::Bytes(tagged)),
                ("name", Decoded::Bytes(named)),
                ("checksum", Decoded::Bytes(file)),
            ],
        ) => {
            let checksum = checksum(file)?;
            Statement {
                call: version(tagged).and_then(|version| {
                    Ok(ReleaseCall::SetArtifact { version, name: name(named)?, checksum })
                }),
                shown: vec![tag(tagged), ("name", shown_name(named)), ("checksum", checksum.to_string())],
            }
        }
        (
            "remove_release_artifact",
            [("version", Decoded::Bytes(tagged)), ("name", Decoded::Bytes(named))],
        ) => Statement {
            call: version(tagged)
                .and_then(|version| Ok(ReleaseCall::RemoveArtifact { version, name: name(named)? })),
            shown: vec![tag(tagged), ("name", shown_name(named))],
        },
        _ => return None,
    })
}

/// The bytes of a name as text; of those that are too long for any name, the beginning.
fn shown_name(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 64;
    match bytes.len() > MAX_NAME_BYTES {
        false => bytes.escape_ascii().to_string(),
        true => format!("{}... ({} bytes)", bytes[..SHOWN_BYTES].escape_ascii(), bytes.len()),
    }
}

/// The same fields with the number of each call that they hold in its place; the calls go into `calls`.
fn without_calls<'c, 'b>(fields: &'c [Field<'b>], calls: &mut Vec<&'c Call<'b>>) -> Vec<Field<'b>> {
    let field = |field: &'c Field<'b>| Field { name: field.name, value: without_call(&field.value, calls) };
    fields.iter().map(field).collect()
}

fn without_call<'c, 'b>(value: &'c Decoded<'b>, calls: &mut Vec<&'c Call<'b>>) -> Decoded<'b> {
    match value {
        Decoded::Call(call) | Decoded::EncodedCall { call: Ok(call), .. } => {
            calls.push(call);
            Decoded::CallNumber(calls.len())
        }
        Decoded::EncodedCall { bytes, call: Err(_) } => Decoded::Bytes(bytes),
        Decoded::Record(fields) => Decoded::Record(without_calls(fields, calls)),
        Decoded::Variant { name, fields } => Decoded::Variant { name, fields: without_calls(fields, calls) },
        Decoded::List(items) => Decoded::List(items.iter().map(|item| without_call(item, calls)).collect()),
        plain => plain.clone(),
    }
}

impl<'b> Explained<'b> {
    /// The call's name with its pallet's.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.pallet, self.name)
    }

    /// The calls inside, one level down.
    pub fn calls(&self) -> &[Explained<'b>] {
        match &self.meaning {
            Meaning::Batch { calls, .. } | Meaning::Other { calls, .. } => calls,
            Meaning::Sudo(call) | Meaning::WithWeight(call) | Meaning::DispatchAs { call, .. } => {
                std::slice::from_ref(call)
            }
            Meaning::NotePreimage { call: Ok(call), .. } => std::slice::from_ref(call),
            _ => &[],
        }
    }

    /// This call and all inside, in the order in which they stand.
    pub fn walk<'e>(&'e self, visit: &mut impl FnMut(&'e Explained<'b>)) {
        visit(self);
        for call in self.calls() {
            call.walk(visit);
        }
    }

    /// The calls about releases that have good names, in the order in which they stand.
    pub fn release_calls(&self) -> Vec<&ReleaseCall> {
        let mut found = Vec::new();
        self.walk(&mut |call| {
            if let Meaning::Release(Statement { call: Ok(call), .. }) = &call.meaning {
                found.push(call);
            }
        });
        found
    }

    /// The calls about releases of clients in `ClientsInfo`, in the order in which they stand.
    pub fn client_calls(&self) -> Vec<&ClientCall> {
        let mut found = Vec::new();
        self.walk(&mut |call| {
            if let Meaning::Client(call) = &call.meaning {
                found.push(call);
            }
        });
        found
    }

    /// The steps of a proposal that this is; `None` if it is anything else.
    pub fn steps(&self, sudo: bool) -> Option<Vec<Step>> {
        let call = match &self.meaning {
            Meaning::Sudo(call) if sudo => call,
            _ if sudo => return None,
            _ => self,
        };
        let step = |call: &Explained<'b>| match &call.meaning {
            Meaning::Release(Statement { call: Ok(call), .. }) => Some(Step::Release(call.clone())),
            Meaning::Client(call) => Some(Step::Client(call.clone())),
            Meaning::AuthorizeUpgrade { code_hash, checked: true } => {
                Some(Step::AuthorizeUpgrade { code_hash: *code_hash })
            }
            _ => None,
        };
        match &call.meaning {
            Meaning::Batch { on_failure: OnFailure::Undo, calls } => calls.iter().map(step).collect(),
            _ => Some(vec![step(call)?]),
        }
    }
}
