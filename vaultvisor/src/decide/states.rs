//! The diagram of the states: which name may follow which, and why. The diagram in `docs/states.md` is printed from
//! it, and the tests and the simulator hold every decision to it.

use super::state::{
    Name::{
        self, Blocked, Fetching, Probation, Ready, RollingBack, Running, Starting, Stopped, Switching,
        Waiting,
    },
    State,
};

/// What a vaultvisor that has just started may begin with, and why. A hold is left out of this and of
/// [`TRANSITIONS`]: it hides the name, and changes nothing of it.
pub const BEGINNINGS: &[(Name, &str)] = &[
    (Waiting, "no release is known"),
    (Fetching, "its file is not there"),
    (Ready, "nothing runs"),
    (Running, "adopted"),
    (Probation, "adopted"),
    (Switching, "adopted, the operator chose another"),
    (Starting, "crashed meanwhile"),
    (RollingBack, "failed meanwhile"),
    (Blocked, "not provably gone"),
];

/// Every change of a state's name that one decision may bring about, with what it is.
pub const TRANSITIONS: &[(Name, Name, &str)] = &[
    (Waiting, Fetching, "a release is stated"),
    (Waiting, Ready, "a stored release is stated"),
    (Waiting, Starting, "a release can be started"),
    (Waiting, Blocked, "the data is of a release that failed"),
    (Waiting, Stopped, "shutdown"),
    (Fetching, Ready, "proved"),
    (Fetching, Starting, "proved, or last known good"),
    (Fetching, Waiting, "it cannot be executed here"),
    (Fetching, Blocked, "the data is of a release that failed"),
    (Fetching, Stopped, "shutdown"),
    (Ready, Fetching, "another release is stated"),
    (Ready, Waiting, "its arguments cannot be migrated"),
    (Ready, Starting, "chain heard, or waited for"),
    (Ready, Blocked, "the data is of a release that failed"),
    (Ready, Stopped, "shutdown"),
    (Starting, Probation, "a new release runs"),
    (Starting, Running, "last known good runs"),
    (Starting, RollingBack, "a new release does not start"),
    (Starting, Switching, "runs, and another release is ready"),
    (Starting, Blocked, "not provably gone, or failed on migrated data"),
    (Starting, Stopped, "shutdown"),
    (Probation, Running, "proved itself"),
    (Probation, Switching, "another release is ready"),
    (Probation, RollingBack, "failed"),
    (Probation, Starting, "failed, nothing to go back to"),
    (Probation, Stopped, "shutdown"),
    (Running, Switching, "a release is ready"),
    (Running, Starting, "crashed"),
    (Running, Stopped, "shutdown"),
    (Switching, Probation, "the new one runs"),
    (Switching, Running, "last known good runs"),
    (Switching, Starting, "not started, nothing to go back to"),
    (Switching, RollingBack, "the new one does not start"),
    (Switching, Blocked, "the old one does not end, or the data cannot be taken back"),
    (Switching, Stopped, "shutdown"),
    (RollingBack, Running, "last known good runs"),
    (RollingBack, Switching, "runs, and another release is ready"),
    (RollingBack, Probation, "last known good is damaged"),
    (RollingBack, Starting, "last known good does not start"),
    (RollingBack, Blocked, "not provably gone"),
    (RollingBack, Stopped, "shutdown"),
    (Blocked, Starting, "tried again"),
    (Blocked, Switching, "the old one has ended"),
    (Blocked, RollingBack, "the failed one has ended"),
    (Blocked, Running, "its successor is damaged"),
    (Blocked, Probation, "its successor is damaged"),
    (Blocked, Stopped, "shutdown"),
    (Stopped, Blocked, "it does not end"),
];

/// Whether one decision may lead from a state to the next; one that begins anew may lead to any beginning.
pub fn is_allowed(from: &State, to: &State, begins: bool) -> bool {
    let (from, to) = (from.name_without_hold(), to.name_without_hold());
    if begins {
        return BEGINNINGS.iter().any(|(beginning, _)| *beginning == to);
    }
    from == to || TRANSITIONS.iter().any(|(before, after, _)| (*before, *after) == (from, to))
}

/// The diagram in Mermaid's language.
pub fn diagram() -> String {
    let mut diagram = String::from("stateDiagram-v2\n");
    for (name, why) in BEGINNINGS {
        diagram.push_str(&format!("    [*] --> {name}: {why}\n"));
    }
    for (from, to, why) in TRANSITIONS {
        diagram.push_str(&format!("    {from} --> {to}: {why}\n"));
    }
    diagram
}
