//! Vault files of schema 2, from before releases could change more than the binary: what they say in the words of
//! schema 3.

use serde_json::{Error, Value, json};

use crate::decide::State;

/// Turns a file of schema 2 into one of schema 3: nothing was migrated, and every release was started with the
/// configuration's arguments.
pub(super) fn upgrade(mut file: Value) -> Result<Value, Error> {
    if let Some(state) = file.get_mut("state").and_then(Value::as_object_mut) {
        for added in ["arguments", "config_args", "staging", "snapshots"] {
            state.insert(added.to_owned(), serde_json::to_value(State::default())?[added].clone());
        }
        // Schema 2 knew main binaries only.
        let stated = match state.get("target") {
            Some(Value::Object(target)) => {
                // What a damaged file lacks is missed when the outcome is parsed.
                let of_target = |key| target.get(key).cloned().unwrap_or_default();
                let mut stated =
                    json!({ "version": of_target("version"), "checksum": of_target("binary_checksum") });
                if let (Some(uri), Some(stated)) = (target.get("uri"), stated.as_object_mut()) {
                    stated.insert("uri".to_owned(), uri.clone());
                }
                stated
            }
            _ => Value::Null,
        };
        state.insert("stated".to_owned(), stated);
    }
    Ok(file)
}
