//! How a whole call would go on the chain as it is now, and what in it a voter must not overlook.
//!
//! Pure. Calls that are only stored or passed on, in a preimage or inside a call that we do not know, are judged as
//! if they were made at this place: that is what a voter asks about. Only what really ends a batch ends it here.

use super::{
    client_calls::ClientCall,
    explain::{Explained, Meaning, OnFailure, Outcome, Verdict},
    forecast::{Forecast, Refusal},
};
use crate::artifact::url::stated;

/// Whether the calls after it are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoesOn,
    Fails,
}

/// Fills in every call's outcome, and takes what they change into the forecast.
pub fn judge(call: &mut Explained<'_>, forecast: &mut Forecast) -> Verdict {
    run(call, forecast);
    let mut verdict = Verdict::Succeeds;
    call.walk(&mut |call| {
        let leaf = match &call.meaning {
            Meaning::Batch { .. } | Meaning::Sudo(_) | Meaning::WithWeight(_) => return,
            Meaning::NotePreimage { call: Ok(_), .. } => return,
            Meaning::DispatchAs { .. } => Verdict::Unknown,
            _ => match call.outcome {
                Outcome::Succeeds => Verdict::Succeeds,
                Outcome::Unknown => Verdict::Unknown,
                Outcome::Refused(_) | Outcome::NotReached | Outcome::Undone => Verdict::Fails,
            },
        };
        verdict = match (verdict, leaf) {
            (Verdict::Fails, _) | (_, Verdict::Fails) => Verdict::Fails,
            (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
            (Verdict::Succeeds, Verdict::Succeeds) => Verdict::Succeeds,
        };
    });
    verdict
}

fn run(call: &mut Explained<'_>, forecast: &mut Forecast) -> Flow {
    match &mut call.meaning {
        Meaning::Release(statement) => {
            let applied = statement.call.clone().and_then(|call| {
                forecast.limits.check_lengths(&call)?;
                forecast.apply(&call)
            });
            let flow = if applied.is_ok() { Flow::GoesOn } else { Flow::Fails };
            call.outcome = applied.map_or_else(Outcome::Refused, |()| Outcome::Succeeds);
            flow
        }
        // Root can always do these; whether the code will be taken is another question, at another time.
        Meaning::Client(_) | Meaning::AuthorizeUpgrade { .. } => {
            call.outcome = Outcome::Succeeds;
            Flow::GoesOn
        }
        Meaning::Batch { on_failure, calls } => batch(*on_failure, calls, forecast),
        Meaning::WithWeight(call) => run(call, forecast),
        // These succeed whatever becomes of the call inside.
        Meaning::Sudo(call)
        | Meaning::DispatchAs { call, .. }
        | Meaning::NotePreimage { call: Ok(call), .. } => {
            run(call, forecast);
            Flow::GoesOn
        }
        Meaning::Other { calls, .. } => {
            for call in calls {
                run(call, forecast);
            }
            Flow::GoesOn
        }
        Meaning::ReplaceCode { .. } | Meaning::NotePreimage { call: Err(_), .. } => Flow::GoesOn,
    }
}

fn batch(on_failure: OnFailure, calls: &mut [Explained<'_>], forecast: &mut Forecast) -> Flow {
    let before = forecast.clone();
    for index in 0..calls.len() {
        if run(&mut calls[index], forecast) == Flow::GoesOn || on_failure == OnFailure::Continue {
            continue;
        }
        for later in &mut calls[index + 1..] {
            mark(later, &|_| Outcome::NotReached);
        }
        if on_failure == OnFailure::Stop {
            return Flow::GoesOn;
        }
        *forecast = before;
        for earlier in &mut calls[..=index] {
            mark(earlier, &|outcome| match outcome {
                Outcome::Succeeds => Outcome::Undone,
                other => other,
            });
        }
        return Flow::Fails;
    }
    Flow::GoesOn
}

fn mark(call: &mut Explained<'_>, change: &impl Fn(Outcome) -> Outcome) {
    call.outcome = change(std::mem::take(&mut call.outcome));
    let calls = match &mut call.meaning {
        Meaning::Batch { calls, .. } | Meaning::Other { calls, .. } => calls.as_mut_slice(),
        Meaning::Sudo(call)
        | Meaning::WithWeight(call)
        | Meaning::DispatchAs { call, .. }
        | Meaning::NotePreimage { call: Ok(call), .. } => std::slice::from_mut(&mut **call),
        _ => &mut [],
    };
    for call in calls {
        mark(call, change);
    }
}

/// What somebody who has to decide about the call must not overlook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// It is not about vault releases.
    Other {
        /// The call.
        call: String,
    },
    /// It replaces the runtime at once.
    ReplacesCode {
        /// The call.
        call: String,
    },
    /// The chain will not check the new runtime.
    UncheckedUpgrade {
        /// The call.
        call: String,
    },
    /// The place that it names is none that a chain may name, so vaultvisors will not fetch from there.
    PlaceNotAllowed {
        /// The call.
        call: String,
        /// Why not.
        reason: String,
    },
    /// It acts as somebody else.
    ActsAs {
        /// The call.
        call: String,
    },
    /// The preimage is no call of this runtime.
    StrangePreimage {
        /// Why not.
        reason: String,
    },
    /// It would be refused.
    Refused {
        /// The call.
        call: String,
        /// Why.
        refusal: Refusal,
    },
}

/// Everything to point out, in the order in which it stands in the call; after [`judge`].
pub fn warnings(call: &Explained<'_>) -> Vec<Warning> {
    let mut found = Vec::new();
    call.walk(&mut |call| {
        let name = call.full_name();
        match &call.meaning {
            Meaning::Other { .. } => found.push(Warning::Other { call: name.clone() }),
            Meaning::ReplaceCode { .. } => found.push(Warning::ReplacesCode { call: name.clone() }),
            Meaning::AuthorizeUpgrade { checked: false, .. } => {
                found.push(Warning::UncheckedUpgrade { call: name.clone() });
            }
            Meaning::Client(ClientCall { uri: Some(uri), .. }) => {
                if let Err(error) = stated(uri) {
                    found.push(Warning::PlaceNotAllowed { call: name.clone(), reason: error.to_string() });
                }
            }
            Meaning::DispatchAs { .. } => found.push(Warning::ActsAs { call: name.clone() }),
            Meaning::NotePreimage { call: Err(error), .. } => {
                found.push(Warning::StrangePreimage { reason: error.to_string() });
            }
            _ => {}
        }
        if let Outcome::Refused(refusal) = &call.outcome {
            found.push(Warning::Refused { call: name, refusal: refusal.clone() });
        }
    });
    found
}

/// Whether everything in it is about releases, or about the runtime upgrade that a release goes with.
pub fn is_only_about_releases(call: &Explained<'_>) -> bool {
    let mut only = true;
    call.walk(&mut |call| {
        only &= !matches!(
            call.meaning,
            Meaning::Other { .. } | Meaning::ReplaceCode { .. } | Meaning::NotePreimage { call: Err(_), .. }
        );
    });
    only
}

#[cfg(test)]
mod tests;
