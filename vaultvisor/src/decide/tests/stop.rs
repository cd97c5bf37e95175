use super::*;

#[test]
fn rule_10_shutdown_stops_the_vault_and_starts_nothing_any_more() {
    let mut driver = Driver::running(&one());
    assert_eq!(driver.step(Event::Shutdown), [Action::Stop]);
    assert_eq!(driver.step(Event::Shutdown), [], "asked twice it is stopped once");
    assert_eq!(driver.chain(&two()), []);
    assert_eq!(driver.ended(), []);
    assert_eq!(driver.state.process, Phase::Stopped { left: None });
}

#[test]
fn rule_10_shutdown_during_a_switch_stops_what_the_switch_started() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    assert_eq!(driver.step(Event::Shutdown), [Action::Stop], "what was not executed yet never is");
    let old_pid = driver.next_pid;
    assert_eq!(driver.ended(), [], "the old process ends as part of the switch");
    assert_eq!(driver.started(&two()), [Action::Stop], "it was too late to give up");
    driver.step(Event::Ended { pid: old_pid });
    assert!(!driver.state.is_stopped(), "the end of another process is not this one's");
    driver.ended();
    assert_eq!(driver.state.process, Phase::Stopped { left: None });
}

#[test]
fn rule_10_a_start_that_fails_during_shutdown_is_not_made_good() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.step(Event::Shutdown);
    let failed =
        Event::StartFailed { build: Build::from(&two()), reason: "no".into(), data: DataLeft::Untouched };
    assert_eq!(driver.step(failed), [Action::StopOwn], "whatever may be there of it");
    driver.step(Event::Cleared { left: None });
    assert_eq!(driver.state.process, Phase::Stopped { left: None });
}

#[test]
fn rule_10_a_vault_that_runs_although_it_is_blocked_is_stopped_too() {
    let own = || {
        let mut driver = Driver::running(&one());
        let reason = "keeper 7 has left no record of what it runs".to_owned();
        driver.recover(&all(), 1, Observed::NotProvable { lock_is_held: true, reason });
        assert_eq!(driver.step(Event::Shutdown), [Action::StopOwn]);
        assert_eq!(driver.step(Event::Shutdown), [], "asked twice it is stopped once");
        assert!(!driver.state.is_stopped());
        driver
    };
    let mut driver = own();
    assert_eq!(driver.step(Event::Cleared { left: None }), []);
    assert_eq!((driver.state.is_stopped(), driver.state.left_behind()), (true, None));
    assert!(!driver.reported(Severity::Error, "has not ended"));

    let mut driver = own();
    driver.step(Event::Cleared { left: Some("process 8, state D".into()) });
    assert_eq!((driver.state.is_stopped(), driver.state.left_behind()), (true, Some("process 8, state D")));
    assert_eq!(driver.state.name(), Name::Blocked);
    assert!(driver.reported(Severity::Error, "process 8, state D"));

    // Nobody answers.
    let mut driver = own();
    driver.tick();
    assert!(driver.state.left_behind().is_some_and(|left| left.contains("keeper 7")));
}

#[test]
fn rule_10_what_does_not_end_is_named_and_not_waited_for_for_ever() {
    for says in [true, false] {
        let mut driver = Driver::running(&one());
        let (pid, began) = (driver.next_pid, driver.now.moment);
        driver.step(Event::Shutdown);
        if says {
            driver.step(Event::NotEnded { pid, left: vec![77], what: "pid 77 in state D".into() });
        }
        let limit = driver.policy.grace + SHUTDOWN_OVERHEAD;
        assert_eq!(wake_at(&driver.state, began), Some(began.after(limit)));
        assert!(!driver.state.is_stopped());
        assert_eq!(driver.tick(), [], "nothing is started");
        let left = driver.state.left_behind().expect("it is said").to_owned();
        assert!(left.contains(if says { "pid 77 in state D" } else { "does not say why" }), "{left}");
        assert!(driver.reported(Severity::Error, &left));
        assert_eq!(wake_at(&driver.state, driver.now.moment), None);

        // The next vaultvisor finds it, and knows that its end is no failure.
        let (build, since) = (Build::from(&one()), began);
        driver.recover(&all(), 1, Observed::Runs { build, pid, since, told_to_end: false });
        driver.ended();
        assert_eq!(driver.problem(), "");
    }
}

#[test]
fn rule_3_nothing_is_started_before_what_the_vault_started_is_gone() {
    let mut driver = Driver::running(&one());
    let pid = driver.next_pid;
    assert_eq!(driver.step(Event::Died { pid, ending: Ending::Signal(9) }), []);
    assert_eq!(driver.state.running(), None);
    assert_eq!(wake_at(&driver.state, driver.now.moment), None, "no time starts it");
    driver.pass(Duration::from_secs(100));
    assert_eq!(driver.step(Event::Tick), []);
    driver.step(Event::Ended { pid });
    assert_eq!(driver.tick(), [start(&one())]);
}

#[test]
fn rule_3_a_vault_that_does_not_end_is_named_and_waited_for() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let pid = driver.next_pid;
    let what = "pid 77 in state D".to_owned();
    assert_eq!(driver.step(Event::NotEnded { pid, left: vec![77], what }), []);
    assert_eq!(driver.state.name(), Name::Blocked);
    assert!(driver.problem().contains("pid 77 in state D"));
    assert!(driver.state.why(None, &|_| String::new()).contains("pid 77 in state D"));
    assert!(driver.reported(Severity::Error, "pid 77"));
    driver.step(Event::Died { pid, ending: Ending::Signal(9) });
    assert_eq!(driver.state.name(), Name::Blocked, "not before all of it is gone");
    assert_eq!(driver.step(Event::Ended { pid }), []);
    assert_eq!((driver.state.name(), driver.problem()), (Name::Switching, ""), "the switch goes on");
    driver.started(&two());
    assert_eq!(driver.state.name(), Name::Probation);
}

#[test]
fn rule_3_what_is_left_is_told_once_and_again_only_when_it_is_something_else() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let pid = driver.next_pid;
    driver.said.clear();
    let mut not_ended = |left: u32, state: char| {
        let what = format!("pid {left} in state {state}");
        driver.step(Event::NotEnded { pid, left: vec![left], what: what.clone() });
        assert!(driver.problem().contains(&what), "the newest state is known: {}", driver.problem());
        driver.noted().len()
    };
    assert_eq!((not_ended(77, 'R'), not_ended(77, 'D'), not_ended(77, 'R')), (1, 1, 1));
    assert_eq!(not_ended(78, 'R'), 2);
    let alarms = driver.said.iter().filter(|said| matches!(said, Action::Report { .. })).count();
    assert_eq!(alarms, 2);

    // The same where it is in the way of a start.
    let mut driver = Driver::running(&one());
    driver.ended();
    driver.said.clear();
    for (processes, state) in [(vec![77], 'R'), (vec![77], 'D'), (vec![77, 78], 'D')] {
        driver.tick();
        let (build, reason) = (Build::from(&one()), format!("{processes:?} in state {state}"));
        let data = DataLeft::Untouched;
        driver.step(Event::NotProvablyGone { build, lock_is_held: false, processes, reason, data });
    }
    assert_eq!(driver.noted(), [Kind::Blocked, Kind::Blocked]);
    assert!(driver.state.why(None, &|_| String::new()).contains("[77, 78] in state D"));
}

#[test]
fn rule_10_a_vault_that_does_not_end_at_shutdown_is_waited_for() {
    let mut driver = Driver::running(&one());
    driver.step(Event::Shutdown);
    let pid = driver.next_pid;
    driver.step(Event::NotEnded { pid, left: vec![77], what: "pid 77 in state D".into() });
    assert_eq!(driver.state.name(), Name::Blocked);
    driver.step(Event::Ended { pid });
    assert_eq!((driver.state.is_stopped(), driver.state.left_behind()), (true, None));
}

#[test]
fn rule_10_a_vault_that_dies_by_itself_during_shutdown_is_not_started_again() {
    let mut driver = Driver::running(&one());
    let pid = driver.next_pid;
    driver.step(Event::Died { pid, ending: Ending::Code(1) });
    assert_eq!(driver.step(Event::Shutdown), []);
    assert!(!driver.state.is_stopped(), "something of it may be left");
    driver.step(Event::Ended { pid });
    assert!(driver.state.is_stopped());
}
