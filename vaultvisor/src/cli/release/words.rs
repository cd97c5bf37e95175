//! An explained call in words and as JSON.
//!
//! Pure. Names and values come from a call, and from metadata, that nobody vouches for: what is not printable ASCII
//! is escaped here, and long byte strings are named by length and hash.

use serde_json::{Value, json};

use crate::{
    chain::governance::{
        calls::ReleaseCall,
        decoded::{Decoded, Field},
        explain::{Explained, Meaning, OnFailure, Outcome, Statement},
        judge::Warning,
    },
    release::{Blake2Hash, StatedUri},
};

/// Byte strings up to this length are printed in full; accounts and hashes have 32.
const SHOWN_BYTES: usize = 256;

/// How far each level of a call stands to the right of the one around it.
const INDENT: &str = "   ";

/// A call and all inside, one line or more each.
pub(super) fn tree(call: &Explained<'_>) -> String {
    let mut text = String::new();
    add(&mut text, call, "", "");
    text
}

fn add(text: &mut String, call: &Explained<'_>, indent: &str, number: &str) {
    *text += &format!("{indent}{number}{}: {}\n", escaped(&call.full_name()), sentence(call));
    let below = format!("{indent}{INDENT}");
    let details = details(call);
    let width = details.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in details {
        *text += &format!("{below}{name:width$}  {value}\n");
    }
    if let Some(outcome) = outcome(&call.outcome) {
        *text += &format!("{below}! {outcome}\n");
    }
    match call.calls() {
        [only] if !matches!(call.meaning, Meaning::Other { .. } | Meaning::Batch { .. }) => {
            add(text, only, &below, "");
        }
        calls => {
            for (index, inner) in calls.iter().enumerate() {
                add(text, inner, &below, &format!("{}. ", index + 1));
            }
        }
    }
}

/// What a call does, in one line.
fn sentence(call: &Explained<'_>) -> String {
    match &call.meaning {
        Meaning::Release(Statement { call: Ok(call), .. }) => match call {
            ReleaseCall::Set { version, .. } => format!("puts vault release {version} in force at once"),
            ReleaseCall::Schedule { version, spec_version, .. } => {
                format!("schedules vault release {version} for runtime spec version {spec_version}")
            }
            ReleaseCall::Cancel => "forgets the scheduled vault release".to_owned(),
            ReleaseCall::SetArtifact { version, name, .. } => {
                format!("states the file {name} of vault release {version}")
            }
            ReleaseCall::RemoveArtifact { version, name } => {
                format!("removes the file {name} from vault release {version}")
            }
        },
        Meaning::Release(Statement { call: Err(_), .. }) => {
            "a statement about vault releases that the chain would not take".to_owned()
        }
        Meaning::Client(call) => {
            let (client, version) = (escaped(&call.client), call.version());
            match call.pending {
                false => format!("puts release {version} of the client {client} in force at once"),
                true => format!(
                    "puts release {version} of the client {client} in force with the next runtime upgrade"
                ),
            }
        }
        Meaning::AuthorizeUpgrade { checked: true, .. } => {
            "allows anybody to replace the runtime by the code with this hash".to_owned()
        }
        Meaning::AuthorizeUpgrade { checked: false, .. } => {
            "allows anybody to replace the runtime by the code with this hash, WITHOUT the chain's checks"
                .to_owned()
        }
        Meaning::ReplaceCode { .. } => "REPLACES THE RUNTIME by this code".to_owned(),
        Meaning::Batch { on_failure: OnFailure::Undo, .. } => "all of these calls, or none".to_owned(),
        Meaning::Batch { on_failure: OnFailure::Stop, .. } => {
            "these calls up to the first that fails; those before it stand".to_owned()
        }
        Meaning::Batch { on_failure: OnFailure::Continue, .. } => {
            "each of these calls, whatever becomes of the others".to_owned()
        }
        Meaning::Sudo(_) => "as root, by the sudo key".to_owned(),
        Meaning::WithWeight(_) => "this call, with a weight of its author's choice".to_owned(),
        Meaning::DispatchAs { .. } => "this call, AS SOMEBODY ELSE".to_owned(),
        Meaning::NotePreimage { call: Ok(_), .. } => {
            "stores this call on the chain, for a referendum to name it by its hash; does not make it"
                .to_owned()
        }
        Meaning::NotePreimage { call: Err(_), .. } => {
            "stores bytes on the chain that are NO CALL of this runtime".to_owned()
        }
        Meaning::Other { calls, .. } if calls.is_empty() => "NOT ABOUT VAULT RELEASES".to_owned(),
        Meaning::Other { .. } => "NOT ABOUT VAULT RELEASES by itself; it holds the calls below".to_owned(),
    }
}

/// What a call has besides its sentence.
fn details(call: &Explained<'_>) -> Vec<(String, String)> {
    let line = |name: &str, value: String| (name.to_owned(), value);
    match &call.meaning {
        // Everything in the order of the call, with the words of the pallet.
        Meaning::Release(statement) => {
            statement.shown.iter().map(|(name, value)| line(name, value.clone())).collect()
        }
        Meaning::Client(call) => vec![
            line("client_name", escaped(&call.client)),
            line("uri", escaped(call.uri.as_ref().map_or("", StatedUri::as_str))),
            line("checksum", call.checksum.to_string()),
        ],
        Meaning::AuthorizeUpgrade { code_hash, .. } => vec![line("code_hash", code_hash.to_string())],
        Meaning::ReplaceCode { length, code_hash } => {
            vec![line("code", format!("{length} bytes, BLAKE2-256 {code_hash}"))]
        }
        Meaning::DispatchAs { origin, .. } => vec![line("as", value(origin))],
        Meaning::NotePreimage { length, hash, call } => {
            let bytes = line("bytes", format!("{length}, BLAKE2-256 {hash}"));
            let problem = call.as_ref().err().map(|error| line("problem", error.to_string()));
            std::iter::once(bytes).chain(problem).collect()
        }
        Meaning::Other { fields, .. } => {
            let named = |field: &Field<'_>| line(&name_of(field), value(&field.value));
            fields.iter().map(named).collect()
        }
        Meaning::Batch { .. } | Meaning::Sudo(_) | Meaning::WithWeight(_) => Vec::new(),
    }
}

/// What stands in a call's way; `None` if nothing does.
fn outcome(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Succeeds | Outcome::Unknown => None,
        Outcome::Refused(refusal) => Some(format!("would be refused now ({}): {refusal}", refusal.name())),
        Outcome::NotReached => Some("would not be made: a call before it fails".to_owned()),
        Outcome::Undone => Some("would be undone: another call of the batch fails".to_owned()),
    }
}

/// A warning as a sentence.
pub(super) fn warning(warning: &Warning) -> String {
    match warning {
        Warning::Other { call } => {
            format!("{} is not about vault releases; judge it by itself", escaped(call))
        }
        Warning::ReplacesCode { call } => format!("{} replaces the runtime itself", escaped(call)),
        Warning::UncheckedUpgrade { call } => {
            format!("{} lets the runtime be replaced without the chain's checks", escaped(call))
        }
        Warning::PlaceNotAllowed { call, reason } => {
            format!(
                "{}: {reason}; vaultvisors will use the release URLs of their configuration",
                escaped(call)
            )
        }
        Warning::ActsAs { call } => format!("{} acts as somebody else", escaped(call)),
        Warning::StrangePreimage { reason } => {
            format!("the preimage is no call of this runtime, so nobody can say what it does: {reason}")
        }
        Warning::Refused { call, refusal } => {
            format!("{} would be refused now ({}): {refusal}", escaped(call), refusal.name())
        }
    }
}

/// A call and all inside, for programs.
pub(super) fn tree_json(call: &Explained<'_>) -> Value {
    let arguments: serde_json::Map<String, Value> =
        details(call).into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    let (outcome, refusal) = match &call.outcome {
        Outcome::Unknown => (None, None),
        Outcome::Succeeds => (Some("succeeds"), None),
        Outcome::Refused(refusal) => {
            (Some("refused"), Some(json!({ "error": refusal.name(), "why": refusal.to_string() })))
        }
        Outcome::NotReached => (Some("not_reached"), None),
        Outcome::Undone => (Some("undone"), None),
    };
    json!({
        "call": escaped(&call.full_name()),
        "does": sentence(call),
        "about_releases": matches!(call.meaning, Meaning::Release(_) | Meaning::Client(_)),
        "arguments": arguments,
        "outcome": outcome,
        "refusal": refusal,
        "calls": call.calls().iter().map(tree_json).collect::<Vec<_>>(),
    })
}

fn name_of(field: &Field<'_>) -> String {
    field.name.map_or_else(|| "-".to_owned(), escaped)
}

/// A value on one line.
fn value(decoded: &Decoded<'_>) -> String {
    match decoded {
        Decoded::Unsigned(number) => number.to_string(),
        Decoded::Signed(number) => number.to_string(),
        Decoded::Bool(truth) => truth.to_string(),
        Decoded::Char(letter) => format!("'{}'", letter.escape_default()),
        Decoded::Text(text) => match text.len() {
            ..=SHOWN_BYTES => format!("\"{}\"", escaped(text)),
            length => named_by_hash(length, text.as_bytes()),
        },
        Decoded::Bytes(bytes) => self::bytes(bytes),
        Decoded::Record(fields) => format!("({})", list(fields)),
        Decoded::List(items) => format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(", ")),
        Decoded::Variant { name, fields } if fields.is_empty() => escaped(name),
        Decoded::Variant { name, fields } => format!("{}({})", escaped(name), list(fields)),
        Decoded::CallNumber(number) => format!("call {number} below"),
        // Explanations have calls in a place of their own.
        Decoded::Call(call) => format!("{}.{}", escaped(call.pallet), escaped(call.name)),
        Decoded::EncodedCall { bytes, .. } => self::bytes(bytes),
    }
}

fn list(fields: &[Field<'_>]) -> String {
    let field = |field: &Field<'_>| match field.name {
        Some(_) => format!("{}: {}", name_of(field), value(&field.value)),
        None => value(&field.value),
    };
    fields.iter().map(field).collect::<Vec<_>>().join(", ")
}

fn bytes(bytes: &[u8]) -> String {
    if bytes.len() > SHOWN_BYTES {
        return named_by_hash(bytes.len(), bytes);
    }
    let is_text = !bytes.is_empty() && bytes.iter().all(|byte| (b' '..=b'~').contains(byte));
    let text = if is_text { format!(" (\"{}\")", bytes.escape_ascii()) } else { String::new() };
    format!("0x{}{text}", hex::encode(bytes))
}

fn named_by_hash(length: usize, bytes: &[u8]) -> String {
    format!("{length} bytes, BLAKE2-256 {}", Blake2Hash::of(bytes))
}

/// Text of anybody's as it can be printed on a terminal.
fn escaped(text: &str) -> String {
    text.escape_default().to_string()
}

#[cfg(test)]
mod tests;
