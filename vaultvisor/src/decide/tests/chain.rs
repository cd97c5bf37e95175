use super::*;

#[test]
fn rule_8_old_news_is_ignored_and_reported() {
    let mut driver = Driver::running(&two());
    let running = driver.state.running().cloned();
    assert_eq!(driver.chain(&one()), [], "a lower sequence");
    assert!(driver.problem().contains("release 1") && driver.problem().contains("release 2"));

    driver.finalized = 3;
    let view = driver.view(Some(release(9, "9.0")));
    assert_eq!(driver.see(view), [], "an older block");
    assert!(driver.problem().contains("block 3"), "{}", driver.problem());

    driver.finalized = 1_000;
    let view = ChainView { genesis: GenesisHash([8; 32]), ..driver.view(Some(release(9, "9.0"))) };
    assert_eq!(driver.see(view), [], "another chain");
    assert!(driver.problem().contains("another chain"), "{}", driver.problem());
    assert_eq!((driver.state.running().cloned(), &driver.state.target), (running, &Some(two())));
}

#[test]
fn rule_8_governance_may_go_back_to_an_older_version() {
    let mut driver = Driver::running(&two());
    let back = Release { sequence: Some(3), ..one() };
    assert_eq!(driver.chain(&back), [fetch(&back)]);
}

#[test]
fn rule_8_a_statement_of_the_running_file_never_restarts_the_vault() {
    let mut driver = Driver::running(&one());
    let pid = driver.state.running().map(|running| running.pid);
    let renamed = Release { sequence: Some(2), version: "1.0-again".parse().expect("version"), ..one() };
    assert_eq!(driver.chain(&renamed), []);
    assert_eq!(driver.state.running().map(|running| running.pid), pid);
}

#[test]
fn rule_8_newer_news_during_a_fetch_or_a_switch_wins_and_nothing_overlaps() {
    let mut driver = Driver::running(&one());
    let three = release(3, "3.0");
    driver.chain(&two());
    let keep = vec![one().binary_checksum, three.binary_checksum];
    let prune = Action::Prune { keep };
    assert_eq!(driver.chain(&three), [fetch(&three), prune.clone()], "the older file is wanted no more");
    assert_eq!(driver.fetched(&two()), [prune], "it came all the same");
    assert_eq!(driver.fetched(&three), [switch_to(&three)]);

    let four = release(4, "4.0");
    assert_eq!(driver.chain(&four), [fetch(&four)]);
    assert_eq!(driver.fetched(&four), [], "one switch at a time");
    assert_eq!(driver.started(&three), [switch_to(&four)], "taken up as soon as it is safe");
}

#[test]
fn rule_8_a_chain_that_states_nothing_any_more_leaves_the_vault_alone() {
    let mut driver = Driver::running(&one());
    driver.finalized += 1;
    let view = driver.view(None);
    assert_eq!(driver.see(view), []);
    assert_eq!(driver.state.name(), Name::Running);
    assert!(driver.problem().contains("states no release"), "{}", driver.problem());
}
