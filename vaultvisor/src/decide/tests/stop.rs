use super::*;

#[test]
fn rule_10_shutdown_stops_the_vault_and_starts_nothing_any_more() {
    let mut driver = Driver::running(&one());
    assert_eq!(driver.step(Event::Shutdown), [Action::Stop]);
    assert_eq!(driver.step(Event::Shutdown), [], "asked twice it is stopped once");
    assert_eq!(driver.chain(&two()), []);
    assert_eq!(driver.ended(), []);
    assert_eq!(driver.state.process, Phase::Stopped);
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
    assert_ne!(driver.state.process, Phase::Stopped, "the end of another process is not this one's");
    driver.ended();
    assert_eq!(driver.state.process, Phase::Stopped);
}

#[test]
fn rule_10_a_start_that_fails_during_shutdown_is_not_made_good() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.step(Event::Shutdown);
    let failed =
        Event::StartFailed { build: Build::from(&two()), reason: "no".into(), data: DataLeft::Untouched };
    assert_eq!(driver.step(failed), []);
    assert_eq!(driver.state.process, Phase::Stopped);
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
    assert_eq!(driver.step(Event::NotEnded { pid, what }), []);
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
fn rule_10_a_vault_that_does_not_end_at_shutdown_is_waited_for() {
    let mut driver = Driver::running(&one());
    driver.step(Event::Shutdown);
    let pid = driver.next_pid;
    driver.step(Event::NotEnded { pid, what: "pid 77 in state D".into() });
    assert_eq!(driver.state.name(), Name::Blocked);
    driver.step(Event::Ended { pid });
    assert!(driver.state.is_stopped());
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
