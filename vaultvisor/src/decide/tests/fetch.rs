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
