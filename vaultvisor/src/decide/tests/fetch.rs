use super::*;

#[test]
fn rule_1_the_file_is_fetched_while_the_old_vault_runs() {
    let mut driver = Driver::running(&one());
    let before = driver.state.running().cloned();
    assert_eq!(driver.chain(&two()), [fetch(&two())]);
    assert_eq!((driver.state.name(), driver.state.running().cloned()), (Name::Running, before));
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
    assert_eq!(driver.state.name(), Name::Switching);
}

#[test]
fn rule_1_a_refused_file_changes_nothing_and_says_why() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    let before = driver.state.running().cloned();
    let reason = "expected checksum a, found b".to_owned();
    assert_eq!(
        driver.step(Event::FetchFailed {
            checksum: two().binary_checksum,
            reason: reason.clone(),
            retry_after: None
        }),
        []
    );
    assert_eq!((driver.state.name(), driver.state.running().cloned()), (Name::Running, before));
    assert_eq!(driver.problem(), reason);
    assert_eq!(driver.state.rejected, [], "a fetch that fails is no rejection");
    assert_eq!(driver.tick(), [fetch(&two())], "and is tried again");
    driver.fetched(&two());
    assert_eq!(driver.problem(), "", "what stands no more is not shown");
}

#[test]
fn a_download_that_failed_is_tried_at_once_when_the_chain_names_another_place() {
    let named = |release: Release, uri: &str| Release {
        sequence: None,
        uri: StatedUri::from_bytes(uri.as_bytes()),
        ..release
    };
    let (wrong, right) = (named(two(), "https://a/wrong"), named(two(), "https://a/right"));
    let mut driver = Driver::running(&one());
    driver.chain(&wrong);
    let failed =
        Event::FetchFailed { checksum: two().binary_checksum, reason: "404".to_owned(), retry_after: None };
    assert_eq!(driver.step(failed.clone()), []);
    assert_eq!(driver.chain(&wrong), [], "the same statement is waited for");
    assert_eq!(driver.chain(&right), [fetch(&right)]);
    driver.step(failed);
    assert_eq!(driver.chain(&right), []);
}

#[test]
fn rule_8_another_place_for_the_running_file_never_restarts_the_vault() {
    let mut driver = Driver::running(&one());
    let before = driver.state.running().cloned();
    let moved = Release { sequence: Some(2), uri: StatedUri::from_bytes(b"https://b/one"), ..one() };
    assert_eq!(driver.chain(&moved), []);
    assert_eq!(driver.state.running().cloned(), before);
}

#[test]
fn rule_1_a_server_that_asks_to_be_left_alone_is_and_not_for_ever() {
    let fails = |retry_after| {
        let mut driver = Driver::running(&one());
        driver.chain(&two());
        let (checksum, reason) = (two().binary_checksum, "429".to_owned());
        assert_eq!(driver.step(Event::FetchFailed { checksum, reason, retry_after }), []);
        let (actions, waited) = driver.tick_until_action();
        assert_eq!((actions, driver.state.rejected.len()), (vec![fetch(&two())], 0));
        waited
    };
    assert!(fails(None) <= FETCH_BACKOFF_FIRST);
    let asked = Duration::from_secs(100);
    let waited = fails(Some(asked));
    assert!(waited > asked && waited <= asked + FETCH_BACKOFF_FIRST, "{waited:?}");
    for long in [RETRY_AFTER_MOST + asked, Duration::MAX] {
        let waited = fails(Some(long));
        assert!(waited <= RETRY_AFTER_MOST + FETCH_BACKOFF_FIRST, "{waited:?}");
    }
}

#[test]
fn rule_1_many_vaults_come_back_to_a_server_spread_over_the_whole_wait() {
    let waits: Vec<Duration> = (0..200)
        .map(|seed| {
            let mut driver = Driver::running(&one());
            driver.policy.seed = seed;
            driver.chain(&two());
            for _ in 0..12 {
                let (checksum, reason) = (two().binary_checksum, "500".to_owned());
                driver.step(Event::FetchFailed { checksum, reason, retry_after: None });
                driver.tick_until_action();
            }
            let (checksum, reason) = (two().binary_checksum, "500".to_owned());
            driver.step(Event::FetchFailed { checksum, reason, retry_after: None });
            driver.tick_until_action().1
        })
        .collect();
    for tenth in 0..10 {
        let part = FETCH_BACKOFF_MOST / 10;
        let within =
            waits.iter().filter(|wait| **wait >= part * tenth && **wait <= part * (tenth + 1)).count();
        assert!(within >= 5, "{within} of 200 come back in the tenth {tenth}");
    }
    assert!(waits.iter().all(|wait| *wait >= FETCH_BACKOFF_FIRST / 4), "never at once");
}

#[test]
fn t18_a_download_that_newer_news_made_useless_is_given_up() {
    let mut driver = Driver::running(&one());
    assert_eq!(driver.chain(&two()), [fetch(&two())]);
    let keep = vec![one().binary_checksum, three().binary_checksum];
    assert_eq!(driver.chain(&three()), [fetch(&three()), Action::Prune { keep }]);
    assert_eq!(driver.state.name(), Name::Running);
}

fn unfit(release: &Release) -> Event {
    Event::Unfit { checksum: release.binary_checksum, reason: "a program for another machine".to_owned() }
}

#[test]
fn rule_1_a_release_that_this_machine_cannot_execute_is_rejected_and_nothing_is_stopped() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    let before = driver.state.running().cloned();
    assert_eq!(driver.step(unfit(&two())), []);
    assert_eq!((driver.state.name(), driver.state.running().cloned()), (Name::Running, before.clone()));
    assert_eq!((driver.state.rejected.len(), driver.noted()), (1, vec![Kind::Stated, Kind::Rejected]));
    assert!(
        driver.problem().contains("cannot run here: a program for another machine"),
        "{}",
        driver.problem()
    );
    assert_eq!(driver.chain(&two()), [], "the chain's repeating it is no news");

    // On its schedule, not on that of downloads; the machine may have what it lacked by then.
    let (actions, waited) = driver.tick_until_action();
    assert_eq!(actions, [fetch(&two())]);
    assert!(waited >= REJECTION_RETRIES[0].mul_f64(0.74), "{waited:?}");
    assert_eq!(driver.state.running().cloned(), before);
    assert_eq!(driver.fetched(&two()), [switch_to(&two())]);
}

#[test]
fn rule_1_a_first_release_that_cannot_run_here_is_looked_at_again_and_not_rejected() {
    let mut driver = Driver::new();
    driver.chain(&one());
    assert_eq!(driver.step(unfit(&one())), []);
    assert_eq!((driver.state.rejected.len(), driver.state.running()), (0, None));
    assert!(driver.problem().contains("cannot run here"), "{}", driver.problem());
    assert_eq!(driver.tick(), [fetch(&one())]);
    assert_eq!(driver.fetched(&one()), [start(&one())]);
}

#[test]
fn rule_1_a_pending_release_that_cannot_run_here_is_said_before_it_comes_into_force() {
    let mut driver = Driver::running(&one());
    driver.pending = Some((two(), 2));
    assert_eq!(driver.chain(&one()), [fetch(&two())]);
    assert_eq!(driver.step(unfit(&two())), []);
    assert!(driver.problem().contains("cannot run here"), "{}", driver.problem());
    assert_eq!(driver.state.rejected, [], "it may be replaced until then");

    // Its promotion is a statement: it is looked at at once, and is rejected now.
    driver.pending = None;
    driver.spec_version = 2;
    assert_eq!(driver.chain(&two()), [fetch(&two())]);
    assert_eq!(driver.step(unfit(&two())), []);
    assert_eq!((driver.state.name(), driver.state.rejected.len()), (Name::Running, 1));
}

#[test]
fn rule_7_what_never_ran_here_is_looked_at_again_before_it_is_switched_to() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    let running = driver.state.running().cloned().expect("a process");
    let observed =
        Observed::Runs { build: running.build, pid: running.pid, since: running.since, told_to_end: false };
    let keep = vec![one().binary_checksum, two().binary_checksum];
    assert_eq!(driver.recover(&all(), 1, observed), [Action::Prune { keep }, fetch(&two())]);
    assert_eq!(driver.step(unfit(&two())), []);
    assert_eq!(driver.state.rejected.len(), 1);
}
