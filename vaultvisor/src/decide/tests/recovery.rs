use super::*;

#[test]
fn rule_7_without_the_chain_the_last_known_good_release_is_started_after_a_bounded_wait() {
    let stored = [one().binary_checksum];
    let (mut driver, actions) = Driver::running(&one()).rebooted(&stored);
    assert_eq!((actions, driver.state.name()), (vec![], Name::Ready));
    let began = driver.now.moment;
    assert_eq!(driver.tick(), [start(&one())]);
    assert_eq!(driver.now.moment, began.after(STARTUP_CHAIN_WAIT));
}

#[test]
fn rule_7_a_release_stated_while_away_is_fetched_beside_the_last_known_good_one() {
    let (mut driver, _) = Driver::running(&one()).rebooted(&[one().binary_checksum]);
    let actions = driver.chain(&two());
    assert_eq!(actions, [fetch(&two()), start(&one())]);
    driver.started(&one());
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
}

#[test]
fn rule_7_a_first_release_is_not_started_before_the_chain_named_it_and_it_is_proved() {
    let mut driver = Driver::new();
    assert_eq!(driver.tick(), [], "there is nothing to start");
    assert_eq!(driver.state.name(), Name::Waiting);
    assert_eq!(driver.chain(&one()), [fetch(&one())]);
    assert_eq!(driver.state.name(), Name::Fetching);
}

fn prune(keep: &Release) -> Action {
    Action::Prune { keep: vec![keep.binary_checksum] }
}

fn ended(release: &Release, pid: u32, ending: Ending) -> Observed {
    Observed::Ended { build: Some(Build::from(release)), pid, ending, told_to_end: false }
}

fn runs(release: &Release, pid: u32, since: Moment) -> Observed {
    Observed::Runs { build: Build::from(release), pid, since, told_to_end: false }
}

#[test]
fn rule_7_a_running_vault_is_adopted_and_left_alone() {
    let mut driver = Driver::running(&one());
    let (pid, since) = (driver.next_pid, driver.state.running().expect("a process").since);
    assert_eq!(driver.recover(&all(), 1, runs(&one(), pid, since)), [prune(&one())]);
    assert_eq!(driver.state.name(), Name::Running);
    assert_eq!(wake_at(&driver.state, driver.now.moment), None, "the chain is not waited for");
    assert_eq!(driver.chain(&one()), []);
    assert_eq!(driver.chain(&two()), [switch_to(&two())].map(|_| fetch(&two())));
}

#[test]
fn rule_7_what_a_crash_kept_from_being_removed_goes_when_what_proved_itself_is_taken_over() {
    let mut driver = Driver::on_trial(&one(), &two());
    let (pid, since) = (driver.next_pid, driver.state.running().expect("a process").since);
    // On probation there is a way back still.
    assert_eq!(driver.recover(&all(), 1, runs(&two(), pid, since)), []);
    driver.chain(&two());
    assert_eq!(driver.tick(), [prune(&two())]);
    // Vaultvisor died before it had begun with that.
    assert_eq!(driver.recover(&all(), 1, runs(&two(), pid, since)), [prune(&two())]);
}

#[test]
fn rule_7_what_was_stated_before_is_not_switched_to_without_the_chain() {
    let mut driver = Driver::running(&one());
    let (pid, since) = (driver.next_pid, driver.state.running().expect("a process").since);
    driver.chain(&two());
    driver.recover(&all(), 1, runs(&one(), pid, since));
    assert_eq!(driver.fetched(&two()), []);
    driver.pass(Duration::from_secs(1_000));
    assert_eq!(driver.step(Event::Tick), []);
    assert_eq!(driver.chain(&two()), [switch_to(&two())]);
}

#[test]
fn rule_7_a_vault_that_crashed_meanwhile_is_started_again_with_backoff() {
    for observed in [Observed::Nothing, ended(&one(), 101, Ending::Signal(11))] {
        let mut driver = Driver::running(&one());
        assert_eq!(driver.recover(&all(), 1, observed), []);
        assert_eq!(driver.state.name(), Name::Starting);
        assert_eq!(driver.tick(), [start(&one())]);
    }
}

#[test]
fn rule_7_a_release_that_failed_its_probation_meanwhile_is_rejected() {
    let mut driver = Driver::on_trial(&one(), &two());
    let ended = ended(&two(), 102, Ending::Code(3));
    assert_eq!(driver.recover(&all(), 1, ended), [start(&one())]);
    assert!(driver.state.rejected[0].reason.contains("exit code 3"));
}

#[test]
fn rule_7_a_release_that_was_started_and_failed_before_anyone_wrote_it_down_is_rejected() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let ended = ended(&two(), 500, Ending::Code(3));
    assert_eq!(driver.recover(&all(), 1, ended), [start(&one())]);
}

#[test]
fn rule_7_an_end_that_was_judged_already_is_not_judged_again() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    // The old one's end belongs to the switch.
    let ended = ended(&one(), driver.next_pid, Ending::Code(3));
    assert_eq!(driver.recover(&all(), 1, ended.clone()), []);
    assert_eq!(driver.state.problems, []);
    assert_eq!(driver.chain(&two()), [start(&two())], "the switch is finished");
    // And a start that never happened is no second crash.
    let before = driver.state.clone();
    driver.recover(&all(), 1, ended);
    assert_eq!((driver.state.problems.len(), driver.state.rejected.len()), (0, before.rejected.len()));
}

#[test]
fn rule_7_a_vault_that_was_being_stopped_and_ends_after_all_did_not_fail() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.chain(&three());
    driver.fetched(&three());
    let (pid, since) = (driver.next_pid, driver.now.moment);
    driver.recover(&all(), 1, runs(&two(), pid, since));
    assert_eq!(driver.state.name(), Name::Probation);
    driver.step(Event::Died { pid, ending: Ending::Signal(2) });
    driver.step(Event::Ended { pid });
    assert_eq!(driver.state.rejected, []);
    assert_ne!(driver.state.process, Phase::Waiting, "and something is started in its place");
}

#[test]
fn rule_7_what_cannot_be_proved_gone_blocks() {
    let mut driver = Driver::new();
    let observed = Observed::NotProvable { lock_is_held: true, reason: "held by x".into() };
    assert_eq!(driver.recover(&[], 1, observed.clone()), []);
    assert_eq!((driver.state.name(), driver.state.blocked()), (Name::Blocked, Some((true, "held by x"))));
    assert_eq!(driver.chain(&one()), [fetch(&one())]);
    driver.pass(BLOCKED_RETRY);
    assert_eq!(driver.fetched(&one()), [start(&one())], "the start proves it anew");

    let mut driver = Driver::running(&one());
    driver.recover(&all(), 1, observed);
    assert_eq!(driver.tick(), [start(&one())]);
}

#[test]
fn rule_7_a_last_known_good_release_that_is_gone_is_fetched_again() {
    let (driver, actions) = Driver::running(&one()).rebooted(&[]);
    assert!(driver.reported(Severity::Error, "not in the store any more"));
    assert_eq!(actions, [fetch(&one())]);
}

/// The disk was full, so nothing of the stop was written, and vaultvisor was killed during it. The keeper knows.
#[test]
fn rule_7_a_stop_that_could_not_be_recorded_is_no_failure_because_its_keeper_was_told() {
    // It ended meanwhile, and where there was no room its run was not recorded either.
    for build in [Some(Build::from(&two())), None] {
        let mut driver = Driver::on_trial(&one(), &two());
        let (pid, ending) = (driver.next_pid, Ending::Signal(2));
        let ended = Observed::Ended { build, pid, ending, told_to_end: true };
        assert_eq!(driver.recover(&all(), 1, ended), [start(&two())], "at once");
        assert_eq!((driver.state.rejected.len(), driver.problem()), (0, ""));
    }

    // Its start was not written down either.
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let (build, ending) = (Some(Build::from(&two())), Ending::Signal(2));
    driver.recover(&all(), 1, Observed::Ended { build, pid: 500, ending, told_to_end: true });
    assert_eq!(driver.state.rejected, []);

    // It is still ending.
    let mut driver = Driver::on_trial(&one(), &two());
    let (pid, since) = (driver.next_pid, driver.now.moment);
    let build = Build::from(&two());
    driver.recover(&all(), 1, Observed::Runs { build, pid, since, told_to_end: true });
    driver.ended();
    assert_eq!((driver.state.rejected.len(), driver.state.name()), (0, Name::Starting));
}

#[test]
fn rule_7_an_end_of_which_only_the_pid_is_known_is_that_of_the_process_that_had_it() {
    let mut driver = Driver::on_trial(&one(), &two());
    let (pid, ending) = (driver.next_pid, Ending::Code(3));
    driver.recover(&all(), 1, Observed::Ended { build: None, pid, ending, told_to_end: false });
    assert!(driver.state.rejected[0].reason.contains("exit code 3"));
}
