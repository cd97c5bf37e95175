use super::*;

#[test]
fn never_two_wins_over_always_one_when_the_old_vault_is_not_provably_gone() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let (build, reason, data) = (Build::from(&two()), "held by x".into(), DataLeft::Untouched);
    let held = Event::NotProvablyGone { build, lock_is_held: true, processes: vec![], reason, data };
    assert_eq!(driver.step(held), [], "nothing is started");
    assert_eq!(driver.state.name(), Name::Blocked);
    assert!(driver.problem().contains("held by x"));
    let began = driver.now.moment;
    assert_eq!(driver.tick(), [start(&two())], "and it is tried again");
    assert_eq!(driver.now.moment, began.after(BLOCKED_RETRY));
}

#[test]
fn a_new_release_that_cannot_be_prepared_leaves_the_old_process_untouched() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let before = driver.state.clone();
    let build = Build::from(&two());
    assert_eq!(driver.step(Event::NotPrepared { build, reason: "changed".into() }), []);
    let Phase::Switching { from, .. } = before.process else { panic!("a switch") };
    assert_eq!(driver.state.running(), Some(&from));
    assert_eq!(driver.state.rejected, []);
    assert_eq!(driver.tick(), [fetch(&two())], "its file is proved or fetched again");
}

#[test]
fn a_file_that_cannot_be_prepared_again_and_again_is_tried_ever_more_slowly() {
    // The release that proved itself is stated again while another is on probation, and its file is damaged.
    let mut driver = Driver::running(&one());
    driver.policy.probation = Duration::from_secs(100_000);
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    let back = Release { sequence: Some(3), ..one() };
    let mut actions = driver.chain(&back);
    let began = driver.now.moment;
    for _ in 0..6 {
        assert_eq!(actions, [switch_to(&back)]);
        let failed = Event::NotPrepared { build: Build::from(&back), reason: "damaged".into() };
        assert_eq!(driver.step(failed), [], "no pause");
        assert_eq!(driver.build(), &Build::from(&two()));
        assert_eq!(driver.tick(), [fetch(&back)]);
        actions = driver.fetched(&back);
    }
    let waited = driver.now.moment.0 - began.0;
    assert!(waited > 60_000, "six tries within {waited} ms");
}

#[test]
fn a_damaged_file_of_the_running_release_is_fetched_anew_also_after_a_restart() {
    let (mut driver, _) = Driver::running(&one()).rebooted(&[one().binary_checksum]);
    assert_eq!(driver.chain(&one()), [start(&one())]);
    let failed = Event::NotPrepared { build: Build::from(&one()), reason: "changed".into() };
    assert_eq!(driver.step(failed), []);
    assert_eq!(driver.state.rejected, [], "not the release's fault");
    let mut actions = Vec::new();
    while !actions.contains(&fetch(&one())) {
        actions = driver.tick();
        if actions == [start(&one())] {
            let failed = Event::NotPrepared { build: Build::from(&one()), reason: "changed".into() };
            driver.step(failed);
        }
    }
    driver.fetched(&one());
    assert_eq!(driver.state.unproved, []);
}

#[test]
fn a_damaged_file_behind_a_failed_release_is_fetched_anew() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    assert_eq!(driver.ended(), [start(&one())]);
    let failed = Event::NotPrepared { build: Build::from(&one()), reason: "gone".into() };
    assert_eq!(driver.step(failed), [fetch(&one())]);
    assert_eq!(driver.state.name(), Name::Starting);
    driver.fetched(&one());
    assert_eq!(driver.tick(), [start(&one())]);
}

#[test]
fn a_vault_that_ends_while_its_successor_cannot_be_prepared_is_started_again() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    assert_eq!(driver.ended(), [], "the switch answers");
    let failed = Event::NotPrepared { build: Build::from(&two()), reason: "no descriptors".into() };
    driver.step(failed);
    assert_eq!(driver.state.name(), Name::Starting, "and not `running` with a process that is gone");
    assert_eq!(driver.tick(), [start(&one())]);
}

#[test]
fn a_chain_problem_stands_until_the_chain_is_well_again() {
    let mut driver = Driver::running(&two());
    driver.chain(&one());
    let reported = driver.state.clone();
    driver.chain(&one());
    assert_eq!(driver.state, reported, "an unchanged problem is not written again with every block");
    driver.chain(&two());
    assert_eq!(driver.problem(), "");
}

#[test]
fn a_new_release_that_cannot_be_executed_is_rejected_and_the_old_one_comes_back() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let failed = Event::StartFailed {
        build: Build::from(&two()),
        reason: "Exec format error".into(),
        data: DataLeft::Untouched,
    };
    assert_eq!(driver.step(failed), [start(&one())]);
    assert_eq!(driver.state.rejected.len(), 1);
    assert!(driver.problem().contains("Exec format error"));
}

#[test]
fn rule_5_a_release_that_this_machine_could_not_execute_is_not_rejected_and_the_old_one_comes_back() {
    let hindered = |release: &Release| {
        let (build, reason) = (Build::from(release), "cannot fork".to_owned());
        Event::NotExecuted { build, reason, data: DataLeft::Untouched }
    };
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
    let mut waited = Vec::new();
    for _ in 0..4 {
        let pid = driver.next_pid;
        driver.step(Event::Died { pid, ending: Ending::Code(0) });
        driver.step(Event::Ended { pid });
        assert_eq!(driver.step(hindered(&two())), [start(&one())], "at once");
        assert!(driver.problem().contains("cannot fork"), "{}", driver.problem());
        driver.started(&one());
        assert_eq!((driver.state.name(), &driver.state.rejected), (Name::Running, &vec![]));
        let (actions, after) = driver.tick_until_action();
        assert_eq!(actions, [fetch(&two())], "it is tried again");
        waited.push(after);
        assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
    }
    assert!(
        waited.windows(2).all(|pair| pair[0] < pair[1]),
        "so that no vault is stopped again and again: {waited:?}"
    );

    // With nothing else to run it is started again, for as long as it takes.
    let mut driver = Driver::new();
    driver.chain(&one());
    assert_eq!(driver.fetched(&one()), [start(&one())]);
    for _ in 0..10 {
        assert_eq!(starts_of(driver.step(hindered(&one()))), []);
        let mut actions = Vec::new();
        while actions.is_empty() {
            actions = starts_of(driver.tick_until_action().0);
        }
        assert_eq!((actions, &driver.state.rejected), (vec![start(&one())], &vec![]));
    }
}

fn starts_of(mut actions: Vec<Action>) -> Vec<Action> {
    actions.retain(|action| matches!(action, Action::Start(_)));
    actions
}

#[test]
fn a_wait_that_is_over_is_never_left_behind() {
    // Otherwise the vault's task would spin: every tick must move the next wake-up forward or end it.
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    for _ in 0..200 {
        let actions = match wake_at(&driver.state, driver.now.moment) {
            Some(_) => driver.tick(),
            None => driver.ended(),
        };
        let answers: Vec<Event> = actions.iter().filter_map(failing_answer).collect();
        for answer in answers {
            driver.step(answer);
        }
        if let Some(wake) = wake_at(&driver.state, driver.now.moment) {
            assert!(wake > driver.now.moment, "{:?}", driver.state);
        }
    }
}

fn failing_answer(action: &Action) -> Option<Event> {
    let reason = "no".to_owned();
    match action {
        Action::Fetch(build) => {
            Some(Event::FetchFailed { checksum: build.checksum, reason, retry_after: None })
        }
        Action::Start(launch) | Action::Switch { to: launch } => {
            let (build, data) = (launch.build.clone(), DataLeft::Untouched);
            Some(Event::StartFailed { build, reason, data })
        }
        _ => None,
    }
}

#[test]
fn the_diagram_in_the_docs_is_that_of_the_code() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/states.md");
    let text = std::fs::read_to_string(path).expect("docs/states.md");
    let block = text.split("```mermaid\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(block, Some(states::diagram().as_str()), "put the right side into docs/states.md");
}

/// Found by the simulator.
#[test]
fn a_file_that_cannot_be_prepared_gives_way_to_what_proved_itself() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.pending = Some((three(), 1));
    driver.chain(&two());
    driver.ended();
    driver.pending = None;
    assert_eq!(driver.tick(), [start(&two())], "in a runtime upgrade an exit is no failure");
    let build = Build::from(&two());
    assert_eq!(driver.step(Event::NotPrepared { build, reason: "damaged".into() }), [start(&one())]);
    assert_eq!(driver.state.rejected, []);
}

/// Found by the simulator: on a full disk a switch waited for its record, and its old process ended meanwhile.
#[test]
fn a_switch_whose_old_process_has_ended_by_itself_has_nothing_to_wait_for() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    assert!(!driver.state.gives_up_nothing());
    driver.ended();
    assert!(driver.state.gives_up_nothing());
}

/// Found by the simulator.
#[test]
fn a_start_that_waits_for_its_file_is_made_as_soon_as_that_is_proved() {
    let mut driver = Driver::running(&one());
    for _ in 0..10 {
        driver.ended();
        assert_eq!(driver.tick(), [start(&one())]);
        driver.started(&one());
    }
    driver.ended();
    assert_eq!(driver.tick(), [start(&one())]);
    driver.step(Event::NotPrepared { build: Build::from(&one()), reason: "damaged".into() });
    assert_eq!(driver.tick(), [fetch(&one())]);
    assert_eq!(driver.fetched(&one()), [start(&one())], "five minutes earlier");
}

/// Found by the simulator: what is not written must be nothing but the same switch going on.
#[test]
fn a_switch_that_follows_on_another_is_written_before_it() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    let died = Event::Died { pid: driver.next_pid, ending: Ending::Code(0) };
    let before = driver.state.clone();
    driver.step(died.clone());
    assert!(is_within_switch(&before, &died, &driver.state));
    driver.chain(&three());
    driver.fetched(&three());
    let before = driver.state.clone();
    let started = Event::Started { build: Build::from(&two()), pid: 500, downtime: None };
    assert_eq!(driver.step(started.clone()), [switch_to(&three())]);
    assert!(!is_within_switch(&before, &started, &driver.state));
    let boot = boot(1);
    let recovered =
        Event::Recovered { stored: all(), boot, snapshots: Vec::new(), observed: Observed::Nothing };
    assert!(!is_within_switch(&before, &recovered, &before));
}

#[test]
fn the_history_tells_how_long_a_switch_took_and_nothing_like_it_of_other_starts() {
    let downtimes = |driver: &mut Driver| -> Vec<u64> {
        let said = std::mem::take(&mut driver.said);
        let entries = said.into_iter().filter_map(|action| match action {
            Action::History(entry) => entry.downtime_us,
            _ => None,
        });
        entries.collect()
    };
    let mut driver = Driver::new();
    driver.chain(&one());
    driver.fetched(&one());
    driver.started(&one());
    assert_eq!(downtimes(&mut driver), [0; 0], "nothing ran before");
    driver.tick();
    driver.chain(&two());
    driver.fetched(&two());
    driver.switched(&two());
    assert_eq!(downtimes(&mut driver), [2000]);
    driver.command(Command::Restart);
    driver.switched(&two());
    assert_eq!(downtimes(&mut driver), [0; 0], "the same release");
}
