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
        driver.step(Event::FetchFailed { checksum: two().binary_checksum, reason: reason.clone() }),
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
    let failed = Event::FetchFailed { checksum: two().binary_checksum, reason: "404".to_owned() };
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
