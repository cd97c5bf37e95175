//! What was known of the chain before vaultvisor was started again.

use super::*;

fn settings_knowing(known: Known) -> SourceSettings {
    SourceSettings { known: Some(known), ..settings(&["a"], Some(HOME)) }
}

/// Block 10 states release 3.
fn known() -> Known {
    let finalized = FinalizedBlock { number: 10, hash: [10; 32] };
    Known { genesis: HOME, finalized, sequence: Some(3), stated: true }
}

#[tokio::test(start_paused = true)]
async fn t14_what_is_older_than_before_the_restart_is_ignored_and_reported() {
    let mut fork = head(10, 3, "3.0.0");
    fork.block.hash = [0xff; 32];
    for (news, expected) in [
        (head(9, 3, "3.0.0"), "finalized block 9 after 10"),
        (head(11, 2, "2.0.0"), "statement 2 after 3"),
        (with_value(head(11, 0, "x"), None), "states no release"),
        (fork, "two finalized forks"),
    ] {
        let script = Script::default().connection("a", HOME, [Step::Head(news)]);
        let status = after(secs(1), &script, settings_knowing(known())).await;
        assert!(status.view.is_none(), "{expected}");
        let problem = status.problem.expect("a problem");
        assert!(problem.contains("endpoint a: ") && problem.contains(expected), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn t14_one_read_too_believes_nothing_older_than_what_was_known_and_asks_the_next_endpoint() {
    let lags = || Script::default().connection("a", HOME, [Step::Head(head(9, 2, "2.0.0"))]);
    let both = SourceSettings { known: Some(known()), ..settings(&["a", "b"], Some(HOME)) };
    let good = [Step::Head(head(12, 3, "3.0.0"))];
    let view = read_first(&lags().connection("b", HOME, good), &both).await.expect("b is believed");
    assert_eq!((view.source.as_str(), view.finalized.number), ("b", 12));

    let garbage = [Step::Head(with_value(head(12, 0, "x"), Some(vec![1, 2, 3])))];
    let refused =
        read_first(&lags().connection("b", HOME, garbage), &both).await.expect_err("nobody is left");
    let text = refused.to_string();
    for expected in ["endpoint a: finalized block 9 after 10", "endpoint b: block 12: "] {
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_from_where_it_was_is_believed() {
    for news in [head(10, 3, "3.0.0"), head(11, 3, "3.0.0"), head(11, 4, "2.0.0")] {
        let script = Script::default().connection("a", HOME, [Step::Head(news.clone())]);
        let status = after(secs(1), &script, settings_knowing(known())).await;
        assert_eq!(status.view.expect("believed").finalized, news.block);
        assert_eq!(status.problem, None);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_known_of_another_chain_says_nothing_of_this_one() {
    let script = Script::default().connection("a", HOME, [Step::Head(head(1, 1, "1.0.0"))]);
    let other = Known { genesis: ELSEWHERE, ..known() };
    let status = after(secs(1), &script, settings_knowing(other)).await;
    assert_eq!(version(&status), Some("1.0.0"));
}

#[tokio::test(start_paused = true)]
async fn where_statements_are_not_counted_a_lower_block_is_still_ignored() {
    let uncounted = Known { sequence: None, ..known() };
    let steps = [Step::Head(head(9, 1, "1.0.0")), Step::Head(head(12, 1, "1.0.0"))];
    let script = Script::default().connection("a", HOME, steps[..1].to_vec());
    assert!(after(secs(1), &script, settings_knowing(uncounted)).await.view.is_none());
    let script = Script::default().connection("a", HOME, steps);
    assert_eq!(version(&after(secs(1), &script, settings_knowing(uncounted)).await), Some("1.0.0"));
}
