//! Rule 12, releases that change more than the binary.

use super::{
    super::{
        data::{Snapshot, Stage, Staging, Standing, Work},
        policy::MAX_SNAPSHOTS,
    },
    *,
};
use crate::migrate::snapshot::Stage as Reached;

const ARGS: Checksum = Checksum([0xa; 32]);
const STATE: Checksum = Checksum([0xb; 32]);

fn with(release: Release, artifacts: &[(&str, Checksum)]) -> Release {
    let artifacts =
        artifacts.iter().map(|(name, checksum)| (name.parse().expect("a name"), *checksum)).collect();
    Release { artifacts, ..release }
}

/// Migrates both arguments and data.
fn two_with_both() -> Release {
    with(two(), &[("args-migration", ARGS), ("state-migration", STATE)])
}

fn config(args: &[&str]) -> Arguments {
    Arguments::Config(args.iter().map(|arg| (*arg).to_owned()).collect())
}

impl Driver {
    /// A vault with a data folder that runs the first release, started with `--a`.
    fn with_data() -> Self {
        let mut driver = Self::new();
        driver.policy.data_dir = true;
        driver.policy.args = vec!["--a".to_owned()];
        driver.chain(&one());
        let expected = Launch { arguments: config(&["--a"]), ..launch(&one()) };
        assert_eq!(driver.fetched(&one()), [Action::Start(expected)], "nothing is there yet to be migrated");
        driver.started(&one());
        driver.tick();
        assert_eq!(driver.state.name(), Name::Running);
        driver.said.clear();
        driver
    }

    /// Takes a release up to where it is being made ready; answers what was asked for.
    fn staging(&mut self, release: &Release) -> Stage {
        assert_eq!(self.chain(release), [fetch(release)]);
        let actions = self.fetched(release);
        let [Action::PruneSnapshots { .. }, Action::Stage(stage)] = &actions[..] else {
            panic!("{actions:?}")
        };
        stage.clone()
    }

    fn staged(&mut self, release: &Release, arguments: Arguments, snapshot: u64) -> Vec<Action> {
        self.step(Event::Staged { to: release.binary_checksum, arguments, snapshot: Some(snapshot) })
    }

    /// With a release that migrated the data, on probation.
    fn on_migrated_data() -> Self {
        let mut driver = Self::with_data();
        driver.staging(&two_with_both());
        driver.staged(&two_with_both(), Arguments::Revision(1), 1);
        driver.switched(&two_with_both());
        assert_eq!(driver.state.name(), Name::Probation);
        driver
    }

    fn standing(&self) -> Option<Standing> {
        self.state.snapshots.last().map(|snapshot| snapshot.standing)
    }

    /// What an executor has noted on the disk.
    fn reached(&mut self, stage: Reached) {
        let Snapshot { id, from, to, .. } = self.state.snapshots.last().expect("one").clone();
        let record = SnapshotRecord {
            schema: SnapshotRecord::SCHEMA,
            id,
            from: Some(from),
            to,
            data_dir: None,
            begun_unix_secs: 0,
            stage,
        };
        self.records.retain(|record| record.id != id);
        self.records.push(record);
    }
}

/// The first release, started with what it had, on what is restored.
fn first(restore: Option<u64>) -> Action {
    Action::Start(Launch { arguments: config(&["--a"]), restore, ..launch(&one()) })
}

fn starts(mut actions: Vec<Action>) -> Vec<Action> {
    actions.retain(|action| matches!(action, Action::Start(_)));
    actions
}

fn files() -> Vec<Checksum> {
    let mut files = all();
    files.extend([ARGS, STATE]);
    files
}

#[test]
fn rule_12_everything_is_ready_before_anything_is_stopped() {
    let mut driver = Driver::with_data();
    let running = driver.state.running().cloned();
    let stage = driver.staging(&two_with_both());
    let (to, from) = (Build::from(&two_with_both()), Build::from(&one()));
    assert_eq!(
        stage,
        Stage { to: to.clone(), from: from.clone(), arguments: config(&["--a"]), snapshot: true }
    );
    assert_eq!(driver.state.running().cloned(), running, "it is not disturbed");
    let work = Some(Work { snapshot: 7, migration: Some(STATE) });
    let expected = Launch { build: to, arguments: Arguments::Revision(3), restore: None, work };
    assert_eq!(driver.staged(&two_with_both(), Arguments::Revision(3), 7), [Action::Switch { to: expected }]);
    assert_eq!(driver.standing(), Some(Standing::Begun));
    driver.switched(&two_with_both());
    assert_eq!(driver.standing(), Some(Standing::Migrated));
    let actions = driver.tick();
    assert!(actions.contains(&Action::PruneSnapshots { keep: vec![7] }), "{actions:?}");
    assert_eq!((driver.state.name(), driver.standing()), (Name::Running, Some(Standing::Plain)));
}

#[test]
fn rule_12_without_a_migration_there_is_a_snapshot_all_the_same_unless_it_is_to_be_skipped() {
    let mut driver = Driver::with_data();
    assert!(driver.staging(&two()).snapshot);
    let actions = driver.staged(&two(), config(&["--a"]), 1);
    let work = Some(Work { snapshot: 1, migration: None });
    let expected = Launch { arguments: config(&["--a"]), work, ..launch(&two()) };
    assert_eq!(actions, [Action::Switch { to: expected }]);
    driver.switched(&two());
    // It may have paid: the old one goes on with the data as it is.
    assert_eq!(driver.ended(), [first(None)]);

    let mut driver = Driver::with_data();
    driver.policy.skip_snapshot = true;
    driver.chain(&two());
    let expected = Launch { arguments: config(&["--a"]), ..launch(&two()) };
    assert_eq!(driver.fetched(&two()), [Action::Switch { to: expected }]);

    let mut driver = Driver::with_data();
    driver.policy.skip_snapshot = true;
    assert!(driver.staging(&two_with_both()).snapshot, "nothing else could bring migrated data back");
}

#[test]
fn t27_arguments_that_cannot_be_migrated_reject_the_release_and_stop_nothing() {
    let mut driver = Driver::with_data();
    let running = driver.state.running().cloned();
    let failed = |by_release| Event::StageFailed {
        to: two().binary_checksum,
        reason: "it printed garbage".to_owned(),
        by_release,
    };
    driver.staging(&two_with_both());
    assert_eq!(driver.step(failed(true)), []);
    assert_eq!((driver.state.running().cloned(), driver.state.rejected.len()), (running.clone(), 1));
    assert!(driver.problem().contains("garbage"), "{}", driver.problem());
    // On its schedule it is tried again.
    let (actions, _) = driver.tick_until_action();
    assert_eq!(actions, [fetch(&two_with_both())]);

    // What this machine lacks is nobody's fault.
    let mut driver = Driver::with_data();
    driver.staging(&two_with_both());
    assert_eq!(driver.step(failed(false)), []);
    assert_eq!((driver.state.running().cloned(), driver.state.rejected.len()), (running, 0));
    let (actions, waited) = driver.tick_until_action();
    assert!(matches!(actions[..], [Action::PruneSnapshots { .. }, Action::Stage(_)]), "{actions:?}");
    assert!(waited <= Duration::from_secs(2), "{waited:?}");
}

#[test]
fn t27_a_state_migration_that_fails_is_undone_before_the_old_release_comes_back() {
    let mut driver = Driver::with_data();
    driver.staging(&two_with_both());
    driver.staged(&two_with_both(), Arguments::Revision(1), 1);
    let pid = driver.next_pid;
    driver.step(Event::Died { pid, ending: Ending::Code(0) });
    driver.step(Event::Ended { pid });
    let (build, reason) = (Build::from(&two_with_both()), "exit code 1".to_owned());
    let failed = Event::StartFailed { build, reason, data: DataLeft::Changed };
    assert_eq!(driver.step(failed), [first(Some(1))]);
    assert_eq!(driver.state.rejected.len(), 1);
    // The disk is full: it waits, and nothing else is started.
    let (build, reason) = (Build::from(&one()), "no room".to_owned());
    assert_eq!(driver.step(Event::WorkFailed { build, reason, data: DataLeft::Changed }), []);
    let (actions, _) = driver.tick_until_action();
    assert_eq!(actions, [first(Some(1))]);
    driver.started(&one());
    assert_eq!((driver.state.name(), driver.standing()), (Name::Running, Some(Standing::Plain)));
    assert_eq!(driver.state.rejected.len(), 1, "the old one is not to blame");
    driver.ended();
    assert_eq!(driver.tick(), [first(None)], "what has lived is never restored again");
}

#[test]
fn rule_12_data_is_never_put_back_behind_a_release_that_has_lived_on_it() {
    let mut driver = Driver::on_migrated_data();
    assert_eq!(driver.ended(), [], "nothing is started");
    assert_eq!(driver.state.name(), Name::Blocked);
    let why = driver.state.why(None, &|_| "then".to_owned());
    for way_out in ["vaultvisor retry", "restore_after_live"] {
        assert!(why.contains(way_out), "{way_out} is not in: {why}");
    }
    assert_eq!(driver.state.rejected.len(), 1);

    // One way out: the operator tries it again on its own data.
    let again = Launch { arguments: Arguments::Revision(1), ..launch(&two_with_both()) };
    let (accepted, actions) = driver.command(Command::Retry);
    assert_eq!((accepted, starts(actions)), (true, vec![Action::Start(again.clone())]));
    driver.started(&two_with_both());
    driver.ended();
    assert_eq!(driver.state.name(), Name::Blocked);
    // So does the schedule.
    let (actions, waited) = driver.tick_until_action();
    assert_eq!(actions, [fetch(&two_with_both())]);
    assert!(waited >= Duration::from_secs(200), "{waited:?}");
    assert_eq!(driver.fetched(&two_with_both()), [Action::Start(again)]);
    driver.started(&two_with_both());
    driver.ended();

    // The other: the operator knows that nothing was paid.
    driver.policy.restore_after_live = true;
    assert_eq!(driver.step(Event::Tick), [first(Some(1))]);
    driver.started(&one());
    assert_eq!((driver.state.name(), driver.standing()), (Name::Running, Some(Standing::Plain)));
}

#[test]
fn rule_12_data_is_never_put_back_behind_a_release_that_was_started_and_not_heard_of() {
    let begun = |allowed: bool| {
        let mut driver = Driver::with_data();
        driver.policy.restore_after_live = allowed;
        driver.staging(&two_with_both());
        driver.staged(&two_with_both(), Arguments::Revision(1), 1);
        let pid = driver.next_pid;
        driver.step(Event::Ended { pid });
        driver
    };
    let unheard = |release: &Release| {
        let (build, reason) = (Build::from(release), "its keeper was silent".to_owned());
        Event::StartFailed { build, reason, data: DataLeft::Lived }
    };
    let mut driver = begun(false);
    assert_eq!(driver.step(unheard(&two_with_both())), [], "nothing is started");
    assert_eq!((driver.state.name(), driver.standing()), (Name::Blocked, Some(Standing::Migrated)));
    let why = driver.state.why(None, &|_| "then".to_owned());
    for way_out in ["vaultvisor retry", "restore_after_live"] {
        assert!(why.contains(way_out), "{way_out} is not in: {why}");
    }
    assert!(driver.reported(Severity::Error, "its keeper was silent"));

    // Its keeper does not even end: that is waited for, and then it is started again on its own data.
    let mut driver = begun(false);
    driver.step(Event::NotProvablyGone {
        build: Build::from(&two_with_both()),
        lock_is_held: false,
        processes: vec![9],
        reason: "keeper 9 is silent".to_owned(),
        data: DataLeft::Lived,
    });
    assert_eq!(driver.standing(), Some(Standing::Migrated));
    let (actions, _) = driver.tick_until_action();
    let again = Launch { arguments: Arguments::Revision(1), ..launch(&two_with_both()) };
    assert_eq!(starts(actions), [Action::Start(again)]);

    // Nor a second time behind the old one, which was not heard of after a restore.
    let mut driver = begun(true);
    assert_eq!(driver.step(unheard(&two_with_both())), [first(Some(1))], "the operator has allowed it");
    assert_eq!(driver.step(unheard(&one())), []);
    assert_eq!(driver.standing(), Some(Standing::Plain));
    let (actions, _) = driver.tick_until_action();
    assert_eq!(starts(actions), [first(None)]);
}

#[test]
fn rule_12_only_copies_that_the_data_depends_on_can_be_too_many() {
    let copies = |first: Standing| -> Vec<Snapshot> {
        let from = Build::from(&one());
        let to = Build { checksum: Checksum([9; 32]), ..Build::from(&two()) };
        let copy = |id| Snapshot {
            id,
            from: from.clone(),
            to: to.clone(),
            migrates: id == 1,
            standing: if id == 1 { first } else { Standing::Plain },
        };
        (1..=MAX_SNAPSHOTS as u64 + 1).map(copy).collect()
    };
    let mut driver = Driver::with_data();
    driver.state.snapshots = copies(Standing::Plain);
    driver.staging(&two_with_both());
    assert_eq!(driver.state.snapshots.len(), driver.policy.keep_snapshots, "the rest has made room");

    let mut driver = Driver::with_data();
    driver.state.snapshots = copies(Standing::Migrated);
    let before = driver.state.snapshots.clone();
    driver.chain(&two_with_both());
    let asked = driver.fetched(&two_with_both());
    assert!(!asked.iter().any(|action| matches!(action, Action::Stage(_))), "{asked:?}");
    assert!(driver.problem().contains("releases in a row have failed"), "{}", driver.problem());
    assert_eq!(driver.state.snapshots, before);
}

#[test]
fn rule_12_who_says_so_before_has_the_data_restored_at_once() {
    let mut driver = Driver::on_migrated_data();
    driver.policy.restore_after_live = true;
    assert_eq!(driver.ended(), [first(Some(1))]);
    assert!(driver.reported(Severity::Error, "restore_after_live"));
}

#[test]
fn rule_12_a_newer_release_may_repair_the_data_and_the_older_one_may_not_touch_it() {
    let mut driver = Driver::on_migrated_data();
    driver.ended();
    let back = Release { sequence: Some(3), ..one() };
    assert_eq!(driver.chain(&back), [], "governance goes back, and the data does not");
    assert_eq!(driver.state.name(), Name::Blocked);
    let repair = with(Release { sequence: Some(4), ..three() }, &[("state-migration", STATE)]);
    let stage = driver.staging(&repair);
    assert_eq!(stage.from, Build::from(&two_with_both()));
    let actions = driver.staged(&repair, Arguments::Revision(1), 2);
    let work = Some(Work { snapshot: 2, migration: Some(STATE) });
    let expected = Launch { arguments: Arguments::Revision(1), work, ..launch(&repair) };
    assert_eq!(actions, [Action::Start(expected)]);
    // It fails before it lived: the data is the second one's again, and that is all that may run.
    let (build, reason) = (Build::from(&repair), "exit code 1".to_owned());
    let actions = driver.step(Event::StartFailed { build, reason, data: DataLeft::Changed });
    let second = Launch { arguments: Arguments::Revision(1), restore: Some(2), ..launch(&two_with_both()) };
    let second = Launch { build: Build::from(&two_with_both()), ..second };
    assert_eq!(actions, [Action::Start(second)]);
}

#[test]
fn rule_12_the_first_of_several_releases_that_failed_in_a_row_may_not_touch_the_data_either() {
    let mut driver = Driver::on_migrated_data();
    driver.ended();
    let third = with(Release { sequence: Some(3), ..three() }, &[("state-migration", STATE)]);
    driver.staging(&third);
    driver.staged(&third, Arguments::Revision(1), 2);
    driver.started(&third);
    driver.ended();
    assert_eq!((driver.state.name(), driver.standing()), (Name::Blocked, Some(Standing::Migrated)));
    let back = Release { sequence: Some(4), ..one() };
    assert_eq!(driver.chain(&back), [], "its data is two migrations ago");
    assert_eq!(driver.state.name(), Name::Blocked);
}

#[test]
fn rule_12_what_bars_the_way_is_tried_again_on_schedule_whatever_else_is_stated_or_held() {
    let again = Launch { arguments: Arguments::Revision(1), ..launch(&two_with_both()) };
    let mut driver = Driver::on_migrated_data();
    driver.ended();
    assert_eq!(driver.chain(&three()), [fetch(&three())], "which is nowhere to be had");
    let until = driver.state.rejected[0].wait.until;
    assert_eq!(driver.tick_until_action().0, [Action::Start(again.clone())]);
    assert_eq!(driver.now.moment, until);

    let mut driver = Driver::on_migrated_data();
    driver.ended();
    driver.command(Command::Hold { reason: None });
    assert_eq!(driver.tick_until_action().0, [fetch(&two_with_both())], "whether they are still whole");
    assert_eq!(driver.fetched(&two_with_both()), [Action::Start(again)]);
}

#[test]
fn rule_12_a_release_that_never_answers_on_migrated_data_is_not_waited_for_by_its_repair() {
    let mut driver = Driver::with_data();
    driver.policy.health = true;
    driver.staging(&two_with_both());
    driver.staged(&two_with_both(), Arguments::Revision(1), 1);
    driver.switched(&two_with_both());
    let repair = with(Release { sequence: Some(3), ..three() }, &[("state-migration", STATE)]);
    driver.health(false);
    driver.chain(&repair);
    assert_eq!(driver.fetched(&repair), [], "it may still answer");
    driver.tick();
    assert_eq!(driver.state.staging, Staging::Idle, "it is waited for a while more");
    let (actions, _) = driver.tick_until_action();
    assert!(driver.problem().contains("left running"), "{}", driver.problem());
    let [Action::PruneSnapshots { .. }, Action::Stage(stage)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((&stage.from, &stage.to), (&Build::from(&two_with_both()), &Build::from(&repair)));
    let actions = driver.staged(&repair, Arguments::Revision(1), 2);
    assert!(
        matches!(&actions[..], [Action::Switch { to }] if to.build == Build::from(&repair)),
        "{actions:?}"
    );
}

#[test]
fn rule_12_news_waits_until_migrated_data_has_proved_itself() {
    let mut driver = Driver::on_migrated_data();
    driver.chain(&three());
    assert_eq!(driver.fetched(&three()), [], "a fallback from there would have nowhere to go");
    assert_eq!(driver.state.name(), Name::Probation);
    let actions = driver.tick();
    assert!(actions.iter().any(|action| matches!(action, Action::Stage(_))), "{actions:?}");
}

#[test]
fn rule_12_a_crash_at_any_step_of_the_work_is_finished_or_undone() {
    // What the disk says of the work when vaultvisor, keeper and machine are gone, and what is started then.
    let old = || first(None);
    let new = || Action::Start(Launch { arguments: Arguments::Revision(1), ..launch(&two_with_both()) });
    for (reached, expected, standing) in [
        (Reached::Begun, old(), None),
        (Reached::Whole, old(), Some(Standing::Plain)),
        (Reached::Migrating, first(Some(1)), Some(Standing::Restore)),
        (Reached::Restoring, first(Some(1)), Some(Standing::Restore)),
        (Reached::Lived, new(), Some(Standing::Migrated)),
    ] {
        for new_boot in [false, true] {
            let mut driver = Driver::with_data();
            driver.staging(&two_with_both());
            driver.staged(&two_with_both(), Arguments::Revision(1), 1);
            driver.reached(reached);
            let mut actions = driver.recover(&files(), 1 + u32::from(new_boot), Observed::Nothing);
            assert_eq!(driver.standing(), standing, "{reached:?}");
            if actions.iter().all(|action| !matches!(action, Action::Start(_))) {
                actions.extend(driver.tick());
            }
            assert_eq!(starts(actions), std::slice::from_ref(&expected), "{reached:?}, new boot: {new_boot}");
        }
    }
}

#[test]
fn rule_12_a_restore_that_was_finished_is_not_done_again() {
    let mut driver = Driver::with_data();
    driver.staging(&two_with_both());
    driver.staged(&two_with_both(), Arguments::Revision(1), 1);
    let (build, reason) = (Build::from(&two_with_both()), "exit code 1".to_owned());
    let pid = driver.next_pid;
    driver.step(Event::Ended { pid });
    driver.step(Event::StartFailed { build, reason, data: DataLeft::Changed });
    // The old one was executed on it, and the machine went down before anybody heard.
    driver.reached(Reached::Restored);
    driver.recover(&files(), 2, Observed::Nothing);
    assert_eq!(driver.standing(), Some(Standing::Plain));
    assert_eq!(driver.tick(), [first(None)]);
}

#[test]
fn rule_12_work_that_the_state_knows_nothing_of_is_found_on_the_disk() {
    // The disk was full when the switch was decided.
    let mut driver = Driver::with_data();
    let (from, to) = (Some(Build::from(&one())), Build::from(&two_with_both()));
    driver.records = vec![SnapshotRecord {
        schema: 1,
        id: 4,
        from,
        to,
        data_dir: None,
        begun_unix_secs: 0,
        stage: Reached::Migrating,
    }];
    driver.recover(&files(), 1, Observed::Nothing);
    assert_eq!(driver.standing(), Some(Standing::Restore));
}

#[test]
fn rule_12_a_snapshot_that_cannot_be_finished_brings_the_old_release_back_and_rejects_nothing() {
    let mut driver = Driver::with_data();
    driver.staging(&two_with_both());
    driver.staged(&two_with_both(), Arguments::Revision(1), 1);
    let pid = driver.next_pid;
    driver.step(Event::Ended { pid });
    let (build, reason) = (Build::from(&two_with_both()), "no room".to_owned());
    let actions = driver.step(Event::WorkFailed { build, reason, data: DataLeft::Untouched });
    assert_eq!(starts(actions), [first(None)], "at once");
    assert_eq!((driver.state.rejected.len(), driver.standing()), (0, None));
    assert!(matches!(driver.state.staging, Staging::Failed { .. }), "{:?}", driver.state.staging);
    driver.started(&one());
    assert_eq!(
        driver.fetched(&two_with_both()),
        [],
        "it waits, so that a full disk stops no vault again and again"
    );
    let (actions, _) = driver.tick_until_action();
    assert!(matches!(actions[..], [Action::PruneSnapshots { .. }, Action::Stage(_)]), "{actions:?}");
}

#[test]
fn rule_12_each_release_is_started_with_its_own_arguments() {
    let two = with(two(), &[("args-migration", ARGS)]);
    let mut driver = Driver::with_data();
    driver.policy.data_dir = false;
    let stage = |driver: &mut Driver| {
        driver.chain(&two);
        let actions = driver.fetched(&two);
        assert!(matches!(actions[..], [Action::Stage(_)]), "{actions:?}");
        let staged =
            Event::Staged { to: two.binary_checksum, arguments: Arguments::Revision(1), snapshot: None };
        driver.step(staged)
    };
    let second = Launch { arguments: Arguments::Revision(1), ..launch(&two) };
    assert_eq!(stage(&mut driver), [Action::Switch { to: second.clone() }]);
    driver.switched(&two);
    assert_eq!(driver.ended(), [first(None)], "the way back has what it had");
    driver.started(&one());

    let mut driver = Driver::with_data();
    driver.policy.data_dir = false;
    stage(&mut driver);
    driver.switched(&two);
    driver.tick();
    driver.ended();
    assert_eq!(driver.tick(), [Action::Start(second)], "a crash changes nothing of it");
}

#[test]
fn rule_12_an_edit_of_the_configuration_goes_through_a_migration_or_goes_before_it() {
    let two = with(two(), &[("args-migration", ARGS)]);
    // Before the switch it is an edit for the old release, and is migrated with the rest.
    let mut driver = Driver::with_data();
    driver.policy.data_dir = false;
    driver.policy.args = vec!["--b".to_owned()];
    driver.chain(&two);
    let actions = driver.fetched(&two);
    let [Action::Stage(stage)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(stage.arguments, config(&["--b"]));
    // A later one still has it made anew.
    driver.policy.args = vec!["--c".to_owned()];
    let staged = |number| Event::Staged {
        to: two.binary_checksum,
        arguments: Arguments::Revision(number),
        snapshot: None,
    };
    let actions = driver.step(staged(1));
    let [Action::Stage(stage)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(stage.arguments, config(&["--c"]));
    let second = Launch { arguments: Arguments::Revision(2), ..launch(&two) };
    assert_eq!(driver.step(staged(2)), [Action::Switch { to: second }]);
    driver.switched(&two);
    driver.tick();

    // After it, it is meant for the release that runs: used as it is, at the next start and not before.
    driver.policy.args = vec!["--d".to_owned()];
    assert_eq!(driver.step(Event::Tick), []);
    let edited = Launch { arguments: config(&["--d"]), ..launch(&two) };
    assert_eq!(driver.command(Command::Restart), (true, vec![Action::Switch { to: edited }]));
    assert!(driver.reported(Severity::Warn, "args/2.json"));
}

#[test]
fn rule_12_an_edit_for_the_new_release_is_not_given_to_the_old_one_on_the_way_back() {
    let mut driver = Driver::with_data();
    driver.policy.data_dir = false;
    driver.chain(&two());
    driver.fetched(&two());
    driver.switched(&two());
    driver.policy.args = vec!["--for-two".to_owned()];
    assert_eq!(driver.ended(), [first(None)]);
    driver.started(&one());
    // It is not forgotten either.
    let edited = Launch { arguments: config(&["--for-two"]), ..launch(&one()) };
    assert_eq!(driver.command(Command::Restart), (true, vec![Action::Switch { to: edited }]));
}

#[test]
fn rule_12_an_edit_that_the_failed_release_was_started_with_is_still_news_to_the_old_one() {
    let mut driver = Driver::with_data();
    driver.policy.data_dir = false;
    // It waits for the next start, and that is the new release's.
    driver.policy.args = vec!["--edited".to_owned()];
    driver.chain(&two());
    let edited = |release: &Release| Launch { arguments: config(&["--edited"]), ..launch(release) };
    assert_eq!(driver.fetched(&two()), [Action::Switch { to: edited(&two()) }]);
    driver.switched(&two());
    assert_eq!(driver.ended(), [first(None)], "with what it ran with before");
    driver.started(&one());
    assert_eq!(driver.command(Command::Restart), (true, vec![Action::Switch { to: edited(&one()) }]));
    assert!(driver.reported(Severity::Warn, "args were edited"));
    driver.switched(&one());
    driver.said.clear();
    assert_eq!(driver.command(Command::Restart), (true, vec![Action::Switch { to: edited(&one()) }]));
    assert!(!driver.reported(Severity::Warn, "args were edited"), "once");
}

#[test]
fn rule_12_a_release_that_migrates_data_waits_for_a_data_folder_to_be_named() {
    let mut driver = Driver::running(&one());
    driver.chain(&two_with_both());
    assert_eq!(driver.fetched(&two_with_both()), []);
    assert!(driver.problem().contains("data_dir"), "{}", driver.problem());
    assert_eq!(driver.state.name(), Name::Running);
    driver.policy.data_dir = true;
    let actions = driver.step(Event::Tick);
    assert!(matches!(actions[..], [Action::PruneSnapshots { .. }, Action::Stage(_)]), "{actions:?}");
    assert_eq!(driver.problem(), "");
}

#[test]
fn rule_12_only_the_file_for_this_machine_counts_and_a_release_without_one_is_refused() {
    const ARM: &str = "aarch64-unknown-linux-gnu";
    let arm = Checksum([0xaa; 32]);
    let four = |release: Release| {
        with(
            release,
            &[
                ("binary-aarch64-unknown-linux-gnu", arm),
                ("binary-riscv64gc-unknown-linux-gnu", Checksum([0xcc; 32])),
                ("binary-x86_64-unknown-linux-musl", Checksum([0xdd; 32])),
            ],
        )
    };
    let mut driver = Driver::running(&one());
    assert_eq!(driver.chain(&four(two())), [fetch(&two())], "the main one is for this machine");

    let mut driver = Driver::new();
    driver.policy.target = ARM.to_owned();
    let actions = driver.chain(&four(one()));
    let [Action::Fetch(build)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((build.checksum, driver.state.needed()), (arm, vec![arm]));
    let here = Release { binary_checksum: arm, ..one() };
    driver.step(Event::Fetched(arm));
    driver.started(&here);
    driver.tick();
    let running = driver.state.running().cloned();
    assert_eq!(driver.chain(&two()), []);
    assert_eq!(driver.state.running().cloned(), running);
    assert!(driver.problem().contains("binary-aarch64"), "{}", driver.problem());
    driver.ended();
    let (actions, _) = driver.tick_until_action();
    assert!(matches!(&actions[..], [Action::Start(launch)] if launch.build.checksum == arm), "{actions:?}");
    driver.chain(&four(Release { sequence: Some(3), ..two() }));
    assert!(!driver.problem().contains("binary-aarch64"), "{}", driver.problem());
}

#[test]
fn rule_12_going_back_to_what_never_ran_under_the_present_runtime_is_said_until_it_has_lasted() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.spec_version = 2;
    driver.chain(&two());
    driver.ended();
    driver.started(&one());
    let said = |driver: &Driver| {
        driver.state.problems.iter().any(|problem| problem.concern == state::Concern::Runtime)
    };
    assert!(said(&driver) && driver.noted().contains(&Kind::Unseen));
    driver.chain(&two());
    assert!(said(&driver), "that it lives is not that it does its work");
    driver.pass(HEALTHY_STRETCH);
    driver.step(Event::Tick);
    assert!(!said(&driver));
    driver.chain(&two());
    assert_eq!(driver.state.last_known_good.as_ref().and_then(|good| good.spec_version), Some(2));
}
