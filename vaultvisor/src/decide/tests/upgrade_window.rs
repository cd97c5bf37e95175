use super::*;

impl Driver {
    /// The chain states `one`, and that `two` waits for a runtime.
    fn with_pending(spec_version: u32) -> Self {
        let mut driver = Self::running(&one());
        driver.pending = Some((two(), spec_version));
        assert_eq!(driver.chain(&one()), [fetch(&two())], "fetched as soon as it is seen");
        driver
    }
}

#[test]
fn rule_2_a_pending_release_is_fetched_ahead_and_switched_to_on_promotion_without_a_new_fetch() {
    let mut driver = Driver::with_pending(2);
    let pid = driver.state.running().map(|running| running.pid);
    assert_eq!(driver.fetched(&two()), [], "it is not in force yet");
    assert!(driver.state.is_stored(two().binary_checksum));
    assert!(driver.state.needed().contains(&two().binary_checksum));
    assert_eq!(driver.state.running().map(|running| running.pid), pid);
    driver.spec_version = 2;
    driver.pending = None;
    assert_eq!(driver.chain(&two()), [switch_to(&two())]);
}

#[test]
fn rule_2_a_download_under_way_goes_on_when_its_release_is_promoted() {
    let mut driver = Driver::with_pending(2);
    driver.pending = None;
    assert_eq!(driver.chain(&two()), []);
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
}

#[test]
fn rule_2_a_pending_release_that_cannot_be_fetched_disturbs_nothing_and_is_tried_again() {
    let mut driver = Driver::with_pending(2);
    driver.step(Event::FetchFailed {
        checksum: two().binary_checksum,
        reason: "404".into(),
        retry_after: None,
    });
    assert_eq!((driver.state.name(), driver.problem()), (Name::Running, "404"));
    assert_eq!(driver.tick(), [fetch(&two())]);
    driver.pending = None;
    driver.step(Event::FetchFailed {
        checksum: two().binary_checksum,
        reason: "404".into(),
        retry_after: None,
    });
    driver.chain(&one());
    assert_eq!(driver.problem(), "", "it is wanted no more");
    assert!(!driver.state.needed().contains(&two().binary_checksum));
}

#[test]
fn rule_2_an_exit_while_the_promotion_is_due_is_no_crash() {
    let mut driver = Driver::with_pending(2);
    driver.fetched(&two());
    driver.spec_version = 2;
    assert_eq!(driver.chain(&one()), []);
    assert!(driver.state.upgrade_window);
    for _ in 0..30 {
        assert_eq!(driver.ended(), []);
        let (actions, waited) = driver.tick_until_action();
        assert_eq!((actions, waited), (vec![start(&one())], WINDOW_RETRY));
        driver.started(&one());
        assert_eq!(driver.problem(), "", "nothing is counted");
    }
    assert_eq!(driver.state.running().map(|running| running.restarts), Some(0));
    driver.ended();
    driver.pending = None;
    assert_eq!(driver.chain(&two()), [start(&two())], "the promoted one waits for nothing");
    assert!(!driver.state.upgrade_window);
}

#[test]
fn rule_2_a_best_block_with_a_newer_runtime_opens_the_window_and_finality_closes_it() {
    let mut driver = Driver::running(&one());
    let see = |driver: &mut Driver, best| {
        driver.finalized += 1;
        let view = Some(Box::new(driver.view(Some(one()))));
        driver.step(Event::Chain { view, best_spec_version: Some(best), problem: None });
        driver.state.upgrade_window
    };
    assert!(!see(&mut driver, 1));
    assert!(see(&mut driver, 2));
    driver.ended();
    assert_eq!(driver.problem(), "");
    driver.spec_version = 2;
    assert!(!see(&mut driver, 2));
}

#[test]
fn rule_2_probation_stands_still_in_the_window_and_nothing_is_rejected() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.pass(Duration::from_secs(40));
    driver.pending = Some((three(), 2));
    driver.spec_version = 2;
    assert_eq!(driver.chain(&two()), [fetch(&three())]);
    driver.pass(Duration::from_secs(1000));
    driver.step(Event::Tick);
    assert_eq!(driver.state.name(), Name::Probation);
    driver.pending = None;
    driver.chain(&two());
    let (_, waited) = driver.tick_until_action();
    assert_eq!(waited, Duration::from_secs(20), "what was left");
    assert_eq!(driver.state.name(), Name::Running);

    let mut driver = Driver::on_trial(&one(), &two());
    driver.pending = Some((three(), 1));
    driver.chain(&two());
    driver.ended();
    assert_eq!((driver.state.rejected.len(), driver.state.name()), (0, Name::Starting));
    driver.tick();
    driver.started(&two());
    assert_eq!(driver.state.name(), Name::Probation);
}

#[test]
fn rule_2_a_release_that_is_never_promoted_does_not_excuse_exits_for_ever() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.pass(Duration::from_secs(40));
    driver.pending = Some((three(), 2));
    driver.spec_version = 2;
    let began = driver.now.moment;
    driver.chain(&two());
    assert_eq!(wake_at(&driver.state, began), Some(began.after(WINDOW_LIMIT)));
    driver.step(Event::FetchFailed {
        checksum: three().binary_checksum,
        reason: "404".into(),
        retry_after: None,
    });
    // Blocks come, and change nothing.
    driver.pass(Duration::from_secs(30 * 60));
    driver.chain(&two());
    assert!(
        driver
            .state
            .why(None, &|wait| wait.until.0.to_string())
            .contains(&began.after(WINDOW_LIMIT).0.to_string())
    );
    driver.pass(Duration::from_secs(30 * 60));
    driver.step(Event::Tick);
    assert!(!driver.state.upgrade_window);
    assert!(driver.reported(Severity::Warn, "counts again"));
    assert_eq!(driver.noted().iter().filter(|kind| **kind == Kind::Window).count(), 2);
    // What fails now gives way to what proved itself.
    assert_eq!(driver.ended(), [start(&one())]);
    assert_eq!(driver.state.rejected.len(), 1);

    // The next upgrade is another one.
    driver.started(&one());
    driver.pending = Some((three(), 3));
    driver.spec_version = 3;
    driver.chain(&two());
    assert!(driver.state.upgrade_window);
}

#[test]
fn rule_2_probation_goes_on_when_an_upgrade_has_taken_too_long() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.pass(Duration::from_secs(40));
    driver.pending = Some((three(), 1));
    driver.chain(&two());
    driver.fetched(&three());
    assert_eq!(driver.tick(), [], "an hour later");
    let (_, waited) = driver.tick_until_action();
    assert_eq!((driver.state.name(), waited), (Name::Running, Duration::from_secs(20)));
}

#[test]
fn rule_2_a_restarted_vaultvisor_gives_an_upgrade_no_more_time() {
    let mut driver = Driver::with_pending(2);
    driver.fetched(&two());
    driver.spec_version = 2;
    driver.chain(&one());
    let end = driver.now.moment.after(WINDOW_LIMIT);
    driver.pass(Duration::from_secs(30 * 60));
    let (pid, since) = (driver.next_pid, driver.now.moment);
    driver.recover(&all(), 1, Observed::Runs { build: Build::from(&one()), pid, since, told_to_end: false });
    driver.chain(&one());
    assert_eq!(driver.state.upgrade.as_ref().map(|upgrade| upgrade.excuses.until), Some(end));
    driver.pass(Duration::from_secs(30 * 60));
    driver.step(Event::Tick);
    driver.ended();
    assert_eq!(driver.state.name(), Name::Starting);
    assert!(driver.problem().contains("exit code 1"), "it counts: {}", driver.problem());
}
