use super::*;

#[test]
fn rule_4_the_old_release_is_kept_until_the_new_one_has_proved_itself() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    assert_eq!(driver.started(&two()), [], "nothing is removed yet");
    assert_eq!(driver.state.name(), Name::Probation);
    assert!(driver.state.needed().contains(&one().binary_checksum));
    assert_eq!(driver.tick(), [Action::Prune { keep: vec![two().binary_checksum] }]);
    assert_eq!(
        driver.state.last_known_good,
        Some(Good { build: Build::from(&two()), spec_version: Some(1) })
    );
    let switch = driver.state.last_switch.expect("a switch");
    assert_eq!(
        (switch.from, switch.to, switch.downtime_us),
        (Build::from(&one()), Build::from(&two()), 2_000)
    );
}

impl Driver {
    pub(super) fn health(&mut self, ok: bool) -> Vec<Action> {
        let pid = self.next_pid;
        self.step(Event::Health { pid, ok, detail: "503".into() })
    }
}

#[test]
fn rule_4_a_vault_whose_main_process_has_ended_is_not_committed_while_its_leftovers_end() {
    let mut driver = Driver::on_trial(&one(), &two());
    let pid = driver.next_pid;
    driver.pass(PROBATION - Duration::from_millis(1));
    driver.step(Event::Died { pid, ending: Ending::Code(1) });
    driver.pass(Duration::from_secs(2));
    assert_eq!(driver.step(Event::Tick), []);
    assert_eq!(driver.state.last_known_good.as_ref().map(|good| &good.build), Some(&Build::from(&one())));
    assert_eq!(driver.step(Event::Ended { pid }), [start(&one())]);
}

#[test]
fn rule_4_a_restarted_vaultvisor_continues_the_probation_by_the_processs_start_time() {
    let mut driver = Driver::on_trial(&one(), &two());
    let (pid, since) = (driver.next_pid, driver.now.moment);
    let runs = |pid| Observed::Runs { build: Build::from(&two()), pid, since, told_to_end: false };
    driver.pass(Duration::from_secs(40));
    driver.recover(&all(), 1, runs(pid));
    assert_eq!(driver.state.name(), Name::Probation);
    assert!(driver.state.running().is_some_and(|running| running.adopted));
    let (_, waited) = driver.tick_until_action();
    assert_eq!((driver.state.name(), waited), (Name::Running, Duration::from_secs(20)));

    // Its start was never written down.
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let since = driver.now.moment;
    driver.pass(Duration::from_secs(40));
    driver.recover(
        &all(),
        1,
        Observed::Runs { build: Build::from(&two()), pid: 999, since, told_to_end: false },
    );
    let (_, waited) = driver.tick_until_action();
    assert_eq!((driver.state.name(), waited), (Name::Running, Duration::from_secs(20)));
}

#[test]
fn rule_4_three_reboots_in_one_probation_are_a_failure() {
    let mut driver = Driver::on_trial(&one(), &two());
    for reboot in 1..=MAX_TRIAL_REBOOTS {
        (driver, _) = driver.rebooted(&all());
        assert_eq!(driver.state.rejected.len(), usize::from(reboot == MAX_TRIAL_REBOOTS));
        let next = if reboot < MAX_TRIAL_REBOOTS { two() } else { one() };
        assert_eq!(driver.chain(&two()), [start(&next)]);
        driver.started(&next);
    }
    assert_eq!(driver.state.name(), Name::Running);
    assert!(driver.state.rejected[0].reason.contains("3 times"));
}

#[test]
fn rule_4_reboots_after_an_orderly_stop_are_not_counted() {
    let mut driver = Driver::on_trial(&one(), &two());
    for _ in 0..=MAX_TRIAL_REBOOTS {
        driver.step(Event::Shutdown);
        driver.ended();
        (driver, _) = driver.rebooted(&all());
        assert_eq!(driver.chain(&two()), [start(&two())]);
        driver.started(&two());
        assert_eq!(driver.state.name(), Name::Probation);
    }
}

#[test]
fn rule_4_a_release_is_kept_only_when_its_health_url_answers() {
    let mut driver = Driver::running(&one());
    driver.policy.health = true;
    driver.chain(&two());
    driver.fetched(&two());
    driver.switched(&two());
    assert_eq!(driver.state.probed(), Some(driver.next_pid));
    driver.health(true);
    assert_eq!(driver.state.name(), Name::Probation, "it must also live long enough");
    assert_eq!(driver.tick(), [Action::Prune { keep: vec![two().binary_checksum] }]);
    assert_eq!((driver.state.name(), driver.state.probed()), (Name::Running, None));
}

#[test]
fn rule_4_a_late_answer_is_waited_for_as_long_again() {
    let mut driver = Driver::running(&one());
    driver.policy.health = true;
    driver.chain(&two());
    driver.fetched(&two());
    driver.switched(&two());
    driver.health(false);
    assert_eq!(driver.tick(), []);
    assert!(driver.reported(Severity::Warn, "has not answered its health URL"));
    driver.pass(driver.policy.health_extension - Duration::from_secs(1));
    driver.health(false);
    assert_eq!(driver.state.name(), Name::Probation);
    assert_eq!(driver.health(true), [Action::Prune { keep: vec![two().binary_checksum] }]);
}

#[test]
fn rule_4_a_release_that_never_answers_its_health_url_failed() {
    let mut driver = Driver::running(&one());
    driver.policy.health = true;
    driver.policy.health_extension = Duration::from_secs(30);
    driver.chain(&two());
    driver.fetched(&two());
    driver.switched(&two());
    driver.health(false);
    driver.tick();
    let (actions, waited) = driver.tick_until_action();
    assert_eq!((actions, waited), (vec![switch_to(&one())], Duration::from_secs(30)));
    assert_eq!(driver.state.name(), Name::RollingBack);
    assert!(driver.state.rejected[0].reason.contains("503"), "{}", driver.state.rejected[0].reason);
    driver.switched(&one());
    assert_eq!((driver.state.name(), driver.build()), (Name::Running, &Build::from(&one())));
}

#[test]
fn rule_4_a_first_release_that_never_answers_is_left_running_because_nothing_is_behind_it() {
    let mut driver = Driver::new();
    driver.policy.health = true;
    driver.chain(&one());
    driver.fetched(&one());
    driver.started(&one());
    for _ in 0..10 {
        driver.health(false);
        assert_eq!(driver.tick(), []);
    }
    assert!(driver.problem().contains("left running"), "{}", driver.problem());
    driver.health(true);
    assert_eq!((driver.state.name(), driver.problem()), (Name::Running, ""));
}

#[test]
fn rule_4_as_many_old_releases_are_kept_as_the_policy_says() {
    let mut driver = Driver::running(&one());
    driver.policy.keep_releases = 1;
    for release in [two(), three()] {
        driver.chain(&release);
        driver.fetched(&release);
        driver.switched(&release);
        driver.tick();
    }
    assert_eq!(driver.state.previous, [Build::from(&two())]);
    assert_eq!(driver.state.needed(), [three().binary_checksum, two().binary_checksum]);
}

#[test]
fn rule_4_the_runtime_that_a_release_proved_itself_under_is_kept_with_it() {
    let mut driver = Driver::running(&one());
    let spec_version =
        |driver: &Driver| driver.state.last_known_good.as_ref().and_then(|good| good.spec_version);
    assert_eq!(spec_version(&driver), Some(1));
    driver.spec_version = 5;
    driver.chain(&one());
    driver.pass(PROBATION - Duration::from_secs(1));
    driver.chain(&one());
    assert_eq!(spec_version(&driver), Some(1), "that it lives now is not that it does its work");
    driver.pass(Duration::from_secs(1));
    driver.chain(&one());
    assert_eq!(spec_version(&driver), Some(5), "it has lived under that for as long as a new release must");

    // One that began after the upgrade has to live as long.
    driver.spec_version = 6;
    driver.chain(&one());
    driver.pass(PROBATION);
    driver.ended();
    driver.tick();
    driver.started(&one());
    driver.chain(&one());
    assert_eq!(spec_version(&driver), Some(5));
    driver.pass(PROBATION);
    driver.chain(&one());
    assert_eq!(spec_version(&driver), Some(6));
}

/// Found by the simulator.
#[test]
fn rule_4_one_failure_is_counted_once_although_vaultvisor_is_killed_on_the_way_back() {
    let mut driver = Driver::running(&one());
    driver.policy.health = true;
    driver.chain(&two());
    driver.fetched(&two());
    driver.switched(&two());
    driver.tick();
    assert_eq!(driver.tick(), [switch_to(&one())]);
    let (pid, since) = (driver.next_pid, driver.now.moment);
    driver.recover(&all(), 1, Observed::Runs { build: Build::from(&two()), pid, since, told_to_end: false });
    assert_eq!(driver.state.rejected[0].attempts, 1);
    driver.step(Event::Died { pid, ending: Ending::Signal(2) });
    assert_eq!(driver.step(Event::Ended { pid }), [start(&one())]);
    assert_eq!(driver.state.rejected[0].attempts, 1);
}
