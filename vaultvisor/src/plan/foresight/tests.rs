//! What is foreseen, from states that the core itself has led to.

use super::*;
use crate::{
    chain::{ChainView, FinalizedBlock, records::RecordName},
    decide::{BootId, Moment, Observed, state::Name},
    release::{GenesisHash, Release},
};

const NOW: Now = Now { moment: Moment(1_000_000), unix_ms: 1_700_000_000_000 };
const MACHINE: Machine = Machine { next_revision: 1, next_snapshot: 1, in_the_way: None };
const ARGS: Checksum = Checksum([0xa; 32]);
const STATE: Checksum = Checksum([0xb; 32]);

fn release(sequence: u64, artifacts: &[(&str, Checksum)]) -> Release {
    Release {
        sequence: Some(sequence),
        version: format!("{sequence}.0").parse().expect("a version"),
        binary_checksum: Checksum([u8::try_from(sequence).expect("small"); 32]),
        uri: None,
        artifacts: artifacts.iter().map(|(name, file)| (name.parse().expect("a name"), *file)).collect(),
    }
}

/// Migrates both.
fn second() -> Release {
    release(2, &[("args-migration", ARGS), ("state-migration", STATE)])
}

fn stated(release: &Release) -> Event {
    let view = ChainView {
        source: "a node".to_owned(),
        genesis: GenesisHash([1; 32]),
        finalized: FinalizedBlock { number: 10 + release.sequence.unwrap_or(0), hash: [0; 32] },
        spec_version: 1,
        record: RecordName::VaultRelease,
        current: Some(release.clone()),
        pending: None,
    };
    Event::Chain { view: Some(Box::new(view)), best_spec_version: None, problem: None }
}

fn silent() -> Event {
    Event::Chain { view: None, best_spec_version: None, problem: Some("no node answers".to_owned()) }
}

fn recovered(stored: &[Checksum], observed: Observed) -> Event {
    let (stored, boot) = (stored.to_vec(), BootId("a boot".to_owned()));
    Event::Recovered { stored, boot, snapshots: Vec::new(), observed }
}

fn policy() -> Policy {
    Policy { data_dir: true, args: vec!["--old".to_owned()], ..Policy::default() }
}

fn config(policy: &Policy) -> Arguments {
    Arguments::Config(policy.args.clone())
}

/// A vault whose first release has proved itself and runs with this pid.
fn running(pid: u32) -> State {
    let first = release(1, &[]);
    let begun = foresee(
        State::default(),
        [recovered(&[], Observed::Nothing), stated(&first)],
        NOW,
        &policy(),
        &MACHINE,
    );
    let build = Build::from(&first);
    let started = Event::Started { build, pid, downtime: None };
    let mut state = begun.end;
    let later = Now { moment: NOW.moment.after(Duration::from_secs(61)), ..NOW };
    for (event, now) in [(started, NOW), (Event::Tick, later)] {
        state = decide(&state, &event, now, &policy()).next;
    }
    assert_eq!(state.name(), Name::Running);
    state
}

#[test]
fn a_first_release_is_fetched_and_started_with_the_words_of_the_operator() {
    let first = release(1, &[]);
    let build = Build::from(&first);
    let news = [recovered(&[], Observed::Nothing), stated(&first)];
    let foreseen = foresee(State::default(), news, NOW, &policy(), &MACHINE);
    let arguments = config(&policy());
    let expected = [
        Deed::Fetch { build: build.clone(), ahead: false },
        Deed::Start { build: build.clone(), arguments: arguments.clone() },
        Deed::Prove { build: build.clone(), otherwise: Otherwise::Again },
    ];
    assert_eq!(foreseen.deeds, expected);
    assert_eq!(foreseen.next_start, Some((build, arguments)));
}

#[test]
fn a_release_that_migrates_both_is_foreseen_step_by_step() {
    let (before, first, second) = (running(7), Build::from(&release(1, &[])), Build::from(&second()));
    for restore_after_live in [false, true] {
        let policy = Policy { restore_after_live, ..policy() };
        let foreseen = foresee(before.clone(), [stated(&self::second())], NOW, &policy, &MACHINE);
        let otherwise = if restore_after_live { Otherwise::Back(first.clone()) } else { Otherwise::Barred };
        let expected = [
            Deed::Fetch { build: second.clone(), ahead: false },
            Deed::MakeArguments { to: second.clone(), from: first.clone(), of: config(&policy) },
            Deed::CopyData { from: first.clone() },
            Deed::Stop { build: first.clone(), pid: 7 },
            Deed::CopyChanges,
            Deed::MigrateData { to: second.clone() },
            Deed::Start { build: second.clone(), arguments: Arguments::Revision(1) },
            Deed::Prove { build: second.clone(), otherwise },
        ];
        assert_eq!(foreseen.deeds, expected);
    }
}

#[test]
fn what_runs_is_taken_over_and_nothing_is_foreseen_of_a_statement_that_is_no_news() {
    let (state, build) = (running(7), Build::from(&release(1, &[])));
    let runs = Observed::Runs { build: build.clone(), pid: 7, since: Moment(2_000_000), told_to_end: false };
    let news = [recovered(&[build.checksum], runs), stated(&release(1, &[]))];
    let foreseen = foresee(state, news, NOW, &policy(), &MACHINE);
    assert_eq!(foreseen.deeds, [Deed::Adopt { build: build.clone(), pid: 7 }]);
    assert_eq!(foreseen.next_start, Some((build, config(&policy()))));
}

#[test]
fn a_hold_has_files_fetched_and_nothing_switched_to() {
    let mut state = running(7);
    let hold = Event::Operator(Command::Hold { reason: None });
    state = decide(&state, &hold, NOW, &policy()).next;
    let foreseen = foresee(state, [stated(&second())], NOW, &policy(), &MACHINE);
    let build = Build::from(&second());
    assert_eq!(foreseen.deeds, [Deed::Fetch { build, ahead: false }]);
    assert!(foreseen.end.hold.is_some());
}

#[test]
fn a_rejected_release_is_not_sat_out() {
    let mut state = running(7);
    let build = Build::from(&second());
    for event in [
        stated(&second()),
        Event::Fetched(build.checksum),
        Event::StageFailed { to: build.checksum, reason: "garbage".to_owned(), by_release: true },
    ] {
        state = decide(&state, &event, NOW, &policy()).next;
    }
    let foreseen = foresee(state, [stated(&second())], NOW, &policy(), &MACHINE);
    assert_eq!(foreseen.deeds, []);
    assert_eq!(foreseen.end.rejected.len(), 1);
    assert_eq!(foreseen.next_start.map(|(next, _)| next), Some(Build::from(&release(1, &[]))));
}

#[test]
fn without_the_chain_it_is_waited_for_and_then_what_proved_itself_is_started() {
    let (state, build) = (running(7), Build::from(&release(1, &[])));
    let news = [recovered(&[build.checksum], Observed::Nothing), silent()];
    // Of another boot: it went down with the machine.
    let news = news.map(|event| match event {
        Event::Recovered { stored, snapshots, observed, .. } => {
            Event::Recovered { stored, boot: BootId("the next".to_owned()), snapshots, observed }
        }
        event => event,
    });
    let foreseen = foresee(state, news, NOW, &policy(), &MACHINE);
    let [Deed::Wait { wait, why: Waiting::Chain }, start] = &foreseen.deeds[..] else {
        panic!("{:?}", foreseen.deeds);
    };
    assert_eq!(wait.length_ms, 10_000);
    assert_eq!(*start, Deed::Start { build, arguments: config(&policy()) });
}

#[test]
fn somebody_elses_vault_is_in_the_way_of_the_first_start() {
    let in_the_way = Some((42, "process 42 has the same --keyname".to_owned()));
    let machine = Machine { in_the_way, ..MACHINE };
    let news = [recovered(&[], Observed::Nothing), stated(&release(1, &[]))];
    let foreseen = foresee(State::default(), news, NOW, &policy(), &machine);
    assert!(!foreseen.deeds.iter().any(|deed| matches!(deed, Deed::Start { .. })), "{:?}", foreseen.deeds);
    assert!(foreseen.end.blocked().is_some_and(|(_, reason)| reason.contains("process 42")));
    assert_eq!(foreseen.next_start, None);
}

#[test]
fn an_edit_wins_over_what_a_migration_made_at_the_next_start() {
    let migrated = foresee(running(7), [stated(&second())], NOW, &policy(), &MACHINE).end;
    let machine = Machine { next_revision: 2, next_snapshot: 2, in_the_way: None };
    let next = |policy: &Policy| {
        let foreseen = foresee(migrated.clone(), [stated(&second())], NOW, policy, &machine);
        (foreseen.next_start.map(|(_, arguments)| arguments), foreseen.warnings)
    };
    let (unedited, warnings) = next(&policy());
    assert_eq!(unedited, Some(Arguments::Revision(1)));
    assert_eq!(warnings, Vec::<String>::new());
    let edit = Policy { args: vec!["--mine".to_owned()], ..policy() };
    let (edited, warnings) = next(&edit);
    assert_eq!(edited, Some(config(&edit)));
    assert!(warnings.iter().any(|warning| warning.contains("args/1.json")), "{warnings:?}");
}
