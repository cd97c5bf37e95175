//! Vault files of schema 1, as the first version wrote them: what they say in the words of schema 2.

use serde_json::{Error, Map, Value, json};

use crate::decide::State;

/// Turns a file of schema 1 into one of schema 2. What it lacks is as in a state that nothing has happened to;
/// what is wrong in it is found when the outcome is parsed.
pub(super) fn upgrade(mut file: Value) -> Result<Value, Error> {
    if let Some(state) = file.get_mut("state").and_then(Value::as_object_mut) {
        process(state);
        if let Some(good) = state.get_mut("last_known_good").and_then(Value::as_object_mut) {
            good.insert("spec_version".to_owned(), Value::Null);
        }
        let unproved = state.get("unproved").cloned().unwrap_or_default();
        let unproved = if unproved.is_null() { json!([]) } else { json!([unproved]) };
        state.insert("unproved".to_owned(), unproved);
        // Added since. The boot among them: its moments were of another clock, so none of them means anything now.
        for added in [
            "pending_fetch",
            "pending",
            "upgrade_window",
            "override_build",
            "hold",
            "previous",
            "last_run",
            "trial_reboots",
            "boot",
            "chain_heard",
        ] {
            state.insert(added.to_owned(), serde_json::to_value(State::default())?[added].clone());
        }
    }
    Ok(file)
}

fn process(state: &mut Map<String, Value>) {
    let Some(process) = state.get_mut("process").and_then(Value::as_object_mut) else { return };
    for running in ["from", "process"] {
        if let Some(running) = process.get_mut(running).and_then(Value::as_object_mut) {
            running.insert("adopted".to_owned(), json!(false));
            running.insert("told_to_end".to_owned(), json!(false));
        }
    }
    if let Some(probation) = process.get_mut("probation").filter(|probation| !probation.is_null()) {
        *probation = json!({
            "left": { "until": probation["wait"] },
            "answer": "none",
            "extended": false,
        });
    }
    match process.get("phase").and_then(Value::as_str) {
        Some("switching") => {
            let ended = process.remove("from_ended") == Some(json!(true));
            let old = if ended { json!({ "ended": "unknown" }) } else { json!("runs") };
            process.extend([
                ("attempt".to_owned(), json!(0)),
                ("reason".to_owned(), json!("release")),
                ("old".to_owned(), old),
                ("stuck".to_owned(), Value::Null),
            ]);
        }
        Some("stopping") => {
            process.insert("stuck".to_owned(), Value::Null);
        }
        _ => {}
    }
}
