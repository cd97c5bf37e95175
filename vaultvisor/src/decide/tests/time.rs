use super::*;

#[test]
fn rule_11_a_stored_wait_is_never_longer_than_its_own_length() {
    let mut driver = Driver::running(&one());
    driver.chain(&two());
    driver.fetched(&two());
    driver.started(&two());
    driver.ended();
    // Another boot, whose clock began anew.
    driver.pass(Duration::from_secs(10));
    let (mut driver, _) = driver.rebooted(&all());
    let wait = driver.state.rejected[0].wait;
    let length = Duration::from_millis(wait.length_ms);
    assert!(length <= REJECTION_RETRIES[0]);
    assert_eq!(wait.until, driver.now.moment.after(length), "neither longer nor over at once");

    // The same boot, with a clock that means nothing.
    driver.state.rejected[0].wait.until = Moment(u64::MAX);
    let boots = driver.boots();
    driver.recover(&all(), boots, Observed::Nothing);
    assert!(driver.state.rejected[0].wait.until <= driver.now.moment.after(length));
}

#[test]
fn rule_11_an_immediate_retry_is_still_one_after_a_reboot() {
    let mut driver = Driver::on_trial(&one(), &two());
    driver.ended();
    driver.started(&one());
    driver.command(Command::Retry);
    let (mut driver, actions) = driver.rebooted(&all());
    assert_eq!(actions, [fetch(&two())], "whether it can be executed is found out before");
    assert_eq!(driver.fetched(&two()), []);
    assert_eq!(driver.chain(&two()), [start(&two())]);
}

#[test]
fn rule_11_when_a_wait_is_over_does_not_depend_on_when_that_is_asked() {
    // The second of the one clock begins 300 ms after that of the other.
    let now = |passed_ms: u64| Now {
        moment: Moment(5_000_300 + passed_ms),
        unix_ms: 1_700_000_000_000 + passed_ms,
    };
    let wait = Wait::start(now(0).moment, Duration::from_millis(9_500));
    for passed_ms in 0..=20_000 {
        assert_eq!(wait.over_at_unix_secs(now(passed_ms)), 1_700_000_010, "{passed_ms}");
    }
    let for_ever = Wait::start(Moment(0), Duration::MAX).over_at_unix_secs(now(0));
    assert_eq!(for_ever, (u64::MAX - 5_000_300).div_ceil(1000), "far away, and no overflow");
}
