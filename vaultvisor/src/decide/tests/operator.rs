use super::*;

const HOLD: Command = Command::Hold { reason: None };

#[test]
fn rule_9_hold_freezes_decisions() {
    let mut driver = Driver::running(&one());
    assert_eq!(driver.command(HOLD), (true, vec![]));
    assert_eq!(driver.state.name(), Name::Held);
    assert_eq!(driver.chain(&two()), [fetch(&two())], "what changes nothing goes on");
    assert_eq!(driver.fetched(&two()), []);
    driver.pass(Duration::from_secs(100_000));
    assert_eq!(driver.step(Event::Tick), []);
    assert_eq!(driver.build(), &Build::from(&one()));
    assert!(driver.state.why(None, &|_| String::new()).contains("held by the operator"));
    assert_eq!(driver.command(Command::Resume), (true, vec![switch_to(&two())]));
    assert_eq!(driver.command(Command::Resume), (false, vec![]), "it is not held any more");
}

#[test]
fn rule_9_hold_does_not_freeze_supervision() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.command(HOLD);
    driver.fetched(&two());
    driver.ended();
    assert_eq!(driver.state.name(), Name::Held);
    assert_eq!(driver.tick(), [start(&one())], "and not the newer one");
    driver.started(&one());

    let (mut driver, _) = driver.rebooted(&all());
    assert_eq!(driver.chain(&two()), [start(&one())], "nor after a reboot");
}

#[test]
fn rule_9_a_running_switch_finishes_first() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.command(HOLD);
    assert_eq!(driver.state.name(), Name::Switching);
    driver.switched(&two());
    assert_eq!((driver.state.name(), driver.build()), (Name::Held, &Build::from(&two())));
    assert_eq!(driver.ended(), [start(&one())], "its probation is part of it");
    assert_eq!(driver.state.name(), Name::RollingBack);
}

#[test]
fn rule_9_a_held_vault_runs_on_probation_again_after_a_reboot_if_it_ran_before() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.command(HOLD);
    let (mut driver, _) = driver.rebooted(&all());
    assert_eq!(driver.tick(), [start(&two())]);
}

#[test]
fn rule_9_override_runs_one_release_until_the_chains_next_statement() {
    let mut driver = Driver::running(&one());
    assert_eq!(driver.command(override_with(&three())), (true, vec![switch_to(&three())]));
    assert!(driver.state.needed().contains(&three().binary_checksum));
    driver.switched(&three());
    driver.tick();
    assert_eq!(driver.chain(&one()), [], "the same statement again");
    assert_eq!(driver.build(), &Build::from(&three()));
    assert_eq!(driver.chain(&two()), [fetch(&two())]);
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
    assert_eq!(driver.state.override_build, None);
}

#[test]
fn rule_9_override_goes_before_a_hold_and_a_rejection() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.ended();
    driver.started(&one());
    driver.command(HOLD);
    assert_eq!(driver.command(override_with(&two())), (true, vec![switch_to(&two())]));
    driver.switched(&two());
    assert_eq!(driver.ended(), [start(&one())], "and is rejected again when it fails");
    driver.started(&one());
    assert_eq!(driver.build(), &Build::from(&one()));
}

#[test]
fn rule_9_override_needs_no_chain() {
    let (mut driver, _) = Driver::running(&one()).rebooted(&all());
    assert_eq!(driver.tick(), [start(&one())]);
    driver.started(&one());
    assert_eq!(driver.command(override_with(&two())), (true, vec![switch_to(&two())]));
}

#[test]
fn rule_9_retry_tries_a_rejected_release_once_at_once() {
    let mut driver = Driver::on_trial(&one(), &two());
    assert_eq!(driver.command(Command::Retry), (false, vec![]));
    driver.ended();
    driver.started(&one());
    assert_eq!(driver.command(Command::Retry), (true, vec![fetch(&two())]));
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
    driver.switched(&two());
    driver.ended();
    driver.started(&one());
    assert_eq!(driver.state.rejected[0].attempts, 2);
    driver.step(Event::Tick);
    assert_eq!(driver.build(), &Build::from(&one()), "once");
}

#[test]
fn rule_9_retry_ends_every_wait() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.step(Event::FetchFailed {
        checksum: two().binary_checksum,
        reason: "404".into(),
        retry_after: None,
    });
    assert_eq!(driver.command(Command::Retry), (true, vec![fetch(&two())]));
    driver.ended();
    assert_eq!(driver.command(Command::Retry), (true, vec![start(&one())]));
    let build = Build::from(&one());
    driver.step(Event::NotProvablyGone {
        build,
        lock_is_held: false,
        processes: vec![],
        reason: "x".into(),
        data: DataLeft::Untouched,
    });
    assert_eq!(driver.command(Command::Retry), (true, vec![start(&one())]));
}

#[test]
fn rule_9_restart_counts_as_no_crash() {
    let mut driver = Driver::on_trial(&one(), &two());
    assert_eq!(driver.command(Command::Restart), (true, vec![switch_to(&two())]));
    assert_eq!(driver.command(Command::Restart), (false, vec![]), "one at a time");
    let before = driver.state.last_switch.clone();
    driver.switched(&two());
    assert_eq!((driver.state.rejected.len(), driver.problem()), (0, ""));
    assert_eq!((driver.state.name(), &driver.state.last_switch), (Name::Probation, &before));
    assert_eq!(driver.state.running().map(|running| running.restarts), Some(0));

    driver.tick();
    driver.ended();
    assert_eq!(driver.command(Command::Restart), (true, vec![start(&two())]), "no need to wait");
}

#[test]
fn rule_9_nothing_is_taken_on_while_vaultvisor_ends() {
    let mut driver = Driver::running(&one());
    driver.step(Event::Shutdown);
    for command in [HOLD, Command::Resume, override_with(&two()), Command::Retry, Command::Restart] {
        assert_eq!(driver.command(command), (false, vec![]));
    }
    assert_eq!(driver.state.hold, None);
}
