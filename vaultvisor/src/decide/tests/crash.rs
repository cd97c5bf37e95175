use super::*;

#[test]
fn rule_6_a_crashed_vault_is_started_again_ever_more_slowly_and_never_given_up() {
    let mut driver = Driver::running(&one());
    let mut waits = Vec::new();
    for crash in 1..=20 {
        assert_eq!(driver.ended(), []);
        let began = driver.now.moment;
        assert_eq!(driver.tick(), [start(&one())]);
        waits.push(driver.now.moment.0 - began.0);
        driver.started(&one());
        assert_eq!(driver.problem().contains("crash loop"), crash >= CRASH_LOOP, "{}", driver.problem());
    }
    assert!((750..=1000).contains(&waits[0]), "{waits:?}");
    assert!(waits[19] > 200_000 && waits[19] <= 300_000, "{waits:?}");
    driver.pass(HEALTHY_STRETCH);
    driver.step(Event::Tick);
    assert_eq!(driver.problem(), "", "a healthy stretch ends the report");
    driver.ended();
    assert!(matches!(driver.state.process, Phase::Starting { attempt: 1, .. }), "and the count");
}

#[test]
fn rule_6_a_newer_release_that_is_ready_is_started_instead_of_the_crashed_one() {
    let mut driver = Driver::running(&one());
    driver.ended();
    driver.chain(&two());
    assert_eq!(driver.fetched(&two()), [start(&two())], "it is not to blame, and waits for nothing");
}
