use super::{super::state::Rejection, *};

#[test]
fn rule_5_a_release_that_ends_on_probation_is_rejected_and_the_old_one_comes_back() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    assert_eq!(driver.ended(), [start(&one())]);
    assert_eq!(driver.state.name(), Name::RollingBack);
    driver.started(&one());
    assert_eq!((driver.state.name(), driver.build().clone()), (Name::Running, Build::from(&one())));
    assert_eq!(driver.state.rejected.len(), 1);
    assert!(
        driver.problem().contains("2.0") && driver.problem().contains("exit code 1"),
        "{}",
        driver.problem()
    );
    let before = driver.state.clone();
    assert_eq!(driver.chain(&two()), [], "the chain's repeating it is no news");
    assert_eq!(driver.state, before);
}

#[test]
fn rule_5_a_rejected_release_is_tried_again_on_schedule_only() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    for (attempt, retry) in (1..).zip(REJECTION_RETRIES.into_iter().chain([REJECTION_RETRIES[4]])) {
        driver.started(&two());
        driver.ended();
        driver.started(&one());
        assert_eq!(driver.state.rejected[0].attempts, attempt);
        let began = driver.now.moment;
        let mut actions = Vec::new();
        while actions.is_empty() {
            actions = driver.tick();
        }
        let waited = Duration::from_millis(driver.now.moment.0 - began.0);
        assert!(waited <= retry && waited >= retry.mul_f64(0.74), "try {attempt}: {waited:?} of {retry:?}");
        assert_eq!(actions, [fetch(&two())]);
        assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
    }
}

#[test]
fn rule_5_a_newer_statement_of_a_rejected_file_earns_one_immediate_retry() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    driver.ended();
    driver.started(&one());
    let again = Release { sequence: Some(3), ..two() };
    assert_eq!(driver.chain(&again), [fetch(&again)]);
    assert_eq!(driver.fetched(&again), [switch_to(&again)]);
    driver.started(&again);
    driver.ended();
    driver.started(&one());
    assert_eq!(driver.chain(&again), [], "one, not one for each block");
}

#[test]
fn rule_5_a_first_release_that_fails_is_not_rejected_because_nothing_is_behind_it() {
    let mut driver = Driver::new();
    driver.chain(&one());
    driver.fetched(&one());
    driver.started(&one());
    assert_eq!(driver.ended(), []);
    assert_eq!((driver.state.name(), driver.state.rejected.len()), (Name::Starting, 0));
    assert_eq!(driver.tick(), [start(&one())]);
}

#[test]
fn rule_5_so_many_rejections_are_kept_and_never_is_that_of_the_stated_release_dropped() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.ended();
    driver.started(&one());
    let of_two = driver.state.rejected[0].clone();
    // As many as there may be, all of them newer.
    for number in 100..100 + MAX_REJECTIONS - 1 {
        let checksum = Checksum([u8::try_from(number).expect("few"); 32]);
        let build = Build { checksum, ..of_two.build.clone() };
        driver.state.rejected.push(Rejection { build, ..of_two.clone() });
    }
    let second = driver.state.rejected[1].build.checksum;
    driver.command(override_with(&three()));
    driver.switched(&three());
    driver.ended();
    driver.started(&one());
    let is_kept = |checksum| driver.state.rejection_of(checksum).is_some();
    assert_eq!(driver.state.rejected.len(), MAX_REJECTIONS);
    assert!(is_kept(two().binary_checksum) && is_kept(three().binary_checksum) && !is_kept(second));
}

#[test]
fn rule_5_the_schedule_is_the_operators() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.policy.rejection_retries = vec![Duration::from_secs(7)];
    for _ in 0..3 {
        driver.ended();
        driver.started(&one());
        let (actions, waited) = driver.tick_until_action();
        assert!(waited <= Duration::from_secs(7), "{waited:?}");
        assert_eq!(actions, [fetch(&two())]);
        driver.fetched(&two());
        driver.switched(&two());
    }
}

#[test]
fn rule_5_a_statement_without_a_number_earns_a_retry_when_it_is_another_one() {
    let unnumbered = |release: Release| Release { sequence: None, ..release };
    let (first, second) = (unnumbered(one()), unnumbered(two()));
    let mut driver = Driver::on_trial(&first, &second);
    driver.ended();
    driver.started(&first);
    assert_eq!(driver.chain(&second), [], "the same one again");
    driver.chain(&first);
    assert_eq!(driver.chain(&second), [fetch(&second)]);
}

#[test]
fn rule_5_going_back_to_a_release_that_never_ran_under_the_present_runtime_is_loud() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.spec_version = 2;
    driver.chain(&two());
    driver.ended();
    assert!(
        driver.reported(Severity::Error, "never ran under the present runtime version 2"),
        "{:?}",
        driver.said
    );

    // The release that an upgrade brings, which fails at once: that the old one lived for a moment after the upgrade
    // proves nothing.
    let mut driver = Driver::running(&one());
    driver.pass(PROBATION);
    driver.pending = Some((two(), 2));
    driver.chain(&one());
    driver.fetched(&two());
    driver.spec_version = 2;
    driver.pending = None;
    assert_eq!(driver.chain(&two()), [switch_to(&two())]);
    driver.switched(&two());
    driver.ended();
    assert!(driver.reported(Severity::Error, "never ran under the present runtime version 2"));

    let mut driver = Driver::on_trial(&one(), &two());
    driver.ended();
    assert!(!driver.reported(Severity::Error, "never ran"));
    assert_eq!(driver.noted(), [Kind::Rejected, Kind::FellBack]);
}
