//! A vault's `state.json`, of this schema and of those before it.

use std::path::Path;

use vaultvisor::{
    decide::{
        BootId, Command, Ending, Event, Moment, Now, Observed, Policy, State, decide, state::Build, wake_at,
    },
    journal::{self, Recorded},
    release::{Artifacts, Checksum, Release},
};

use super::{home::Home, is_refused};

const NAME: &str = "state.json";

/// What is read is written and read again as the same, is shown, and is a state that `decide` goes on from; all else is
/// refused with the file's name.
pub fn holds(data: &[u8]) {
    let recorded = match journal::decode(Path::new(NAME), data) {
        Ok(recorded) => recorded,
        Err(error) => return is_refused(&error, NAME),
    };
    comes_back(&recorded);
    goes_on(&recorded.state);
    thread_local!(static HOME: Home = Home::new());
    HOME.with(|home| {
        home.write("vaults/a/state.json", data);
        home.is_shown();
    });
}

fn comes_back(recorded: &Recorded) {
    let text = journal::encode(recorded).expect("every state can be written");
    let again = journal::decode(Path::new(NAME), &text).expect("what is written is read");
    assert_eq!((&again.state, again.since_unix_secs), (&recorded.state, recorded.since_unix_secs));
    assert_eq!(journal::encode(&again).expect("written"), text);
}

/// A new vaultvisor takes it over, in the same boot and in another, whatever it finds of the vault, and ends it.
fn goes_on(state: &State) {
    let policy = Policy { data_dir: true, health: true, ..Policy::default() };
    let build = state.last_run.as_ref().map(|run| run.build.clone()).unwrap_or_else(some_build);
    let pid = state.last_run.as_ref().map_or(7, |run| run.pid);
    let found = [
        Observed::Nothing,
        Observed::Runs { build: build.clone(), pid, since: Moment(5), told_to_end: false },
        Observed::Ended { build: Some(build), pid, ending: Ending::Code(1), told_to_end: false },
        Observed::NotProvable { lock_is_held: true, reason: "somebody has it".to_owned() },
    ];
    let boots = [state.boot.clone().unwrap_or(BootId("b".to_owned())), BootId("another".to_owned())];
    for observed in found {
        for boot in &boots {
            let recovered = Event::Recovered {
                stored: state.needed(),
                boot: boot.clone(),
                snapshots: Vec::new(),
                observed: observed.clone(),
            };
            lives_on(state, recovered, &policy);
        }
    }
}

fn lives_on(state: &State, recovered: Event, policy: &Policy) {
    let chain = Event::Chain { view: None, best_spec_version: Some(u32::MAX), problem: None };
    let died = |state: &State| state.running().map(|running| running.pid);
    let mut now = Now { moment: Moment(60_000), unix_ms: 1_700_000_000_000 };
    let mut state = decide(state, &recovered, now, policy).next;
    for step in 0..6 {
        let event = match (step, died(&state)) {
            (0, _) => chain.clone(),
            (3, _) => Event::Operator(Command::Retry),
            (4, Some(pid)) => Event::Died { pid, ending: Ending::Unknown },
            (5, _) => Event::Shutdown,
            _ => Event::Tick,
        };
        now.moment = wake_at(&state, now.moment).unwrap_or(now.moment);
        state = decide(&state, &event, now, policy).next;
    }
    comes_back(&Recorded { state, since_unix_secs: now.unix_secs() });
}

fn some_build() -> Build {
    Build::from(&Release {
        sequence: None,
        version: "1.0".parse().expect("a version"),
        binary_checksum: Checksum([1; 32]),
        uri: None,
        artifacts: Artifacts::new(),
    })
}
