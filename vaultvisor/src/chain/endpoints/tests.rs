//! Both ways of following, against a node of our own over a real websocket.

mod fake_node;

use std::time::Instant;

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use self::fake_node::{FakeNode, Serves};
use super::*;
use crate::chain::{
    ChainStatus, SourceSettings, follow, read_once,
    records::{MAX_VALUE_BYTES, Records},
};

/// Far more than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn keys() -> Vec<StorageKey> {
    Records::default().keys()
}

fn settings(node: &FakeNode) -> SourceSettings {
    SourceSettings {
        network: "dev".to_owned(),
        endpoints: vec![node.url.clone()],
        light_client: None,
        genesis: None,
        records: Records::default(),
        agreement: std::num::NonZeroUsize::MIN,
        known: None,
    }
}

async fn connect(node: &FakeNode) -> Node {
    RpcConnector::default().connect(&node.url).await.expect("the node serves one of the two ways")
}

async fn news(source: &mut Node) -> News {
    timeout(PATIENCE, source.next()).await.expect("in time").expect("news")
}

/// The next finalized head.
async fn next(source: &mut Node) -> Head {
    loop {
        if news(source).await == News::Finalized {
            return timeout(PATIENCE, source.read_newest(&keys())).await.expect("in time").expect("a head");
        }
    }
}

/// The next that is said of the best block's runtime.
async fn best(source: &mut Node) -> Option<u32> {
    loop {
        if let News::BestRuntime(spec_version) = news(source).await {
            return spec_version;
        }
    }
}

fn is_modern(source: &Node) -> bool {
    matches!(source.following, Following::ChainHead(_))
}

#[tokio::test]
async fn modern_and_old_nodes_tell_the_same() {
    let mut heads = Vec::new();
    for serves in [Serves::MODERN, Serves::OLD] {
        let node = FakeNode::start(serves).await;
        node.finalize(3, 7, Some(b"one"));
        let mut source = connect(&node).await;
        assert_eq!(is_modern(&source), serves == Serves::MODERN);
        assert_eq!(source.genesis(), node.genesis());
        let first = next(&mut source).await;
        assert_eq!((first.block.number, first.spec_version), (3, 7));
        assert_eq!(first.values, [Some(b"one".to_vec()), None]);
        node.finalize(4, 8, None);
        let second = next(&mut source).await;
        assert_eq!((second.block.number, second.spec_version), (4, 8));
        assert_eq!(second.values, [None, None]);
        heads.push((first, second));
    }
    assert_eq!(heads[0], heads[1]);
}

#[tokio::test]
async fn a_node_that_serves_both_is_followed_the_modern_way_unless_told_otherwise() {
    let node = FakeNode::start(Serves::BOTH).await;
    assert!(is_modern(&connect(&node).await));
    let old = RpcConnector { legacy_only: true, ..RpcConnector::default() }
        .connect(&node.url)
        .await
        .expect("the node serves both");
    assert!(!is_modern(&old));
}

#[tokio::test]
async fn a_node_without_either_way_is_refused() {
    let node = FakeNode::start(Serves { chain_head: false, legacy: false, ..Serves::BOTH }).await;
    let Err(error) = RpcConnector::default().connect(&node.url).await else { panic!("connected") };
    assert!(matches!(error.problem, SourceProblem::NoMethods), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_hides_its_methods_is_taken_for_an_old_node() {
    let node = FakeNode::start(Serves { methods: false, ..Serves::OLD }).await;
    node.finalize(3, 7, Some(b"one"));
    assert_eq!(next(&mut connect(&node).await).await.block.number, 3);
}

#[tokio::test]
async fn a_stopped_modern_subscription_goes_on_with_the_legacy_methods() {
    let node = FakeNode::start(Serves::BOTH).await;
    let mut source = connect(&node).await;
    next(&mut source).await;
    node.stop_followers();
    node.finalize(5, 7, Some(b"two"));
    let head = next(&mut source).await;
    assert_eq!(head.block.number, 5);
    assert!(!is_modern(&source));
}

#[tokio::test]
async fn the_best_blocks_runtime_is_told_before_it_is_final() {
    for serves in [Serves::MODERN, Serves::OLD] {
        let node = FakeNode::start(serves).await;
        node.finalize(1, 7, Some(b"one"));
        let mut source = connect(&node).await;
        assert_eq!(next(&mut source).await.spec_version, 7);
        node.announce(2, 8);
        loop {
            match best(&mut source).await {
                Some(7) => {}
                found => break assert_eq!(found, Some(8), "{serves:?}"),
            }
        }
        node.finalize(2, 7, Some(b"two"));
        let head = next(&mut source).await;
        assert_eq!((head.block.number, head.spec_version), (2, 7), "{serves:?}: what is final decides");
    }
}

#[tokio::test]
async fn an_old_node_that_does_not_tell_of_the_best_block_is_followed_all_the_same() {
    let node = FakeNode::start(Serves { best: false, ..Serves::OLD }).await;
    node.finalize(1, 7, Some(b"one"));
    let mut source = connect(&node).await;
    assert_eq!(best(&mut source).await, None);
    assert_eq!(next(&mut source).await.block.number, 1);
}

#[tokio::test]
async fn an_older_finalized_block_is_read_by_its_number_in_every_way() {
    let keeping = RpcConnector { keep_finalized: 3, ..RpcConnector::default() };
    let none_kept = RpcConnector::default();
    // The oldest that can be read: what is kept for us, or with legacy methods anything.
    for (serves, connector, oldest) in [
        (Serves::MODERN, keeping, 5),
        (Serves::MODERN, none_kept, 8),
        (Serves::BOTH, none_kept, 1),
        (Serves::OLD, none_kept, 1),
    ] {
        let node = FakeNode::start(serves).await;
        let mut source = connector.connect(&node.url).await.expect("served");
        next(&mut source).await;
        let mut told = Vec::new();
        for number in 1..=8 {
            node.finalize(number, number as u32, Some(&release(number)));
            let head = next(&mut source).await;
            assert_eq!(head.block.number, number);
            told.push(head);
        }
        for head in told {
            let read = source.read_at(head.block.number, &keys()).await.expect("answers");
            let expected = (head.block.number >= oldest).then_some(head);
            assert_eq!(read, expected, "{serves:?}, {connector:?}");
        }
        assert_eq!(source.read_at(99, &keys()).await.expect("answers"), None);
    }
}

#[tokio::test]
async fn who_stops_waiting_for_news_loses_none() {
    for serves in [Serves::MODERN, Serves::OLD] {
        let node = FakeNode::start(serves).await;
        let mut source = connect(&node).await;
        for number in 1..=30 {
            node.finalize(number, 1, Some(b"x"));
            for micros in [0, 1, 10, 100, 1000] {
                let _ = timeout(Duration::from_micros(micros), source.next()).await;
            }
        }
        node.finalize(31, 1, Some(b"x"));
        while next(&mut source).await.block.number < 31 {}
        assert!(node.pinned() <= 2, "{} pinned", node.pinned());
    }
}

#[tokio::test]
async fn a_backlog_is_skipped_for_the_newest_block() {
    for serves in [Serves::MODERN, Serves::OLD] {
        let node = FakeNode::start(serves).await;
        let mut source = connect(&node).await;
        next(&mut source).await;
        for number in 1..=50 {
            node.finalize(number, 1, Some(b"x"));
        }
        let mut reads = 0;
        while next(&mut source).await.block.number < 50 {
            reads += 1;
        }
        assert!(reads < 25, "{reads} of 50 blocks were read");
    }
}

#[tokio::test]
async fn the_node_keeps_no_more_than_two_finalized_blocks_for_us() {
    let node = FakeNode::start(Serves::MODERN).await;
    let mut source = connect(&node).await;
    next(&mut source).await;
    for number in 1..=20 {
        node.finalize(number, 1, Some(b"x"));
        next(&mut source).await;
    }
    assert!(node.pinned() <= 2, "{} pinned", node.pinned());
}

#[tokio::test]
async fn a_message_that_is_longer_than_any_that_is_needed_ends_the_connection() {
    for serves in [Serves::MODERN, Serves::OLD] {
        let node = FakeNode::start(serves).await;
        // As long as a value may be, and longer: the latter is for others to judge.
        for bytes in [MAX_VALUE_BYTES, 4 * MAX_VALUE_BYTES] {
            node.finalize(3, 7, Some(&vec![1; bytes]));
            let head = next(&mut connect(&node).await).await;
            assert_eq!(head.values[0].as_ref().map(Vec::len), Some(bytes));
        }
        node.finalize(4, 7, Some(&vec![1; 600_000]));
        let mut source = connect(&node).await;
        assert_eq!(news(&mut source).await, News::Finalized);
        let read = timeout(PATIENCE, source.read_newest(&keys())).await.expect("in time");
        assert!(read.is_err(), "{read:?}");
    }
}

#[tokio::test]
async fn a_node_that_goes_away_is_an_error_at_once() {
    for serves in [Serves::MODERN, Serves::OLD] {
        let node = FakeNode::start(serves).await;
        let mut source = connect(&node).await;
        next(&mut source).await;
        drop(node);
        let gone = loop {
            match timeout(PATIENCE, source.next()).await.expect("at once") {
                Ok(News::BestRuntime(_)) => {}
                read => break read.expect_err("gone"),
            }
        };
        assert!(matches!(gone.problem, SourceProblem::Closed));
    }
}

#[tokio::test]
async fn nobody_there_and_no_websocket_are_told_apart() {
    for endpoint in ["http://127.0.0.1:1", "127.0.0.1:1", "", "ws://"] {
        let Err(error) = RpcConnector::default().connect(endpoint).await else { panic!("connected") };
        assert!(matches!(error.problem, SourceProblem::Address), "{endpoint}: {error:?}");
    }
    for endpoint in ["ws://127.0.0.1:1", "wss://127.0.0.1:1", "ws://[::1]:1"] {
        let Err(error) = RpcConnector::default().connect(endpoint).await else { panic!("connected") };
        assert!(matches!(error.problem, SourceProblem::Connect(_)), "{error:?}");
    }
}

/// The whole way: a release that is finalized is published to the vaults' tasks, quickly.
#[tokio::test]
async fn a_finalized_release_is_published_within_milliseconds() {
    for serves in [Serves::MODERN, Serves::OLD] {
        let node = FakeNode::start(serves).await;
        node.finalize(1, 1, None);
        let (sender, mut status) = watch::channel(ChainStatus::default());
        let task = tokio::spawn(follow(settings(&node), sender, mpsc::channel(1).0));
        let at = |number| {
            move |status: &ChainStatus| {
                status.view.as_ref().is_some_and(|view| view.finalized.number == number)
            }
        };
        timeout(PATIENCE, status.wait_for(at(1))).await.expect("in time").expect("task lives");
        let mut slowest = Duration::ZERO;
        for number in 2..=20 {
            let began = Instant::now();
            node.finalize(number, 1, Some(&release(number)));
            timeout(PATIENCE, status.wait_for(at(number))).await.expect("in time").expect("task lives");
            slowest = slowest.max(began.elapsed());
        }
        let view = status.borrow().view.clone().expect("a view");
        assert_eq!(view.current.expect("a release").sequence, Some(20));
        // Some milliseconds; the rest is for busy machines.
        assert!(slowest < Duration::from_secs(2), "{serves:?}: {slowest:?}");

        task.abort();
        drop(status);
        timeout(PATIENCE, node.left_alone()).await.expect("an aborted task leaves no connection behind");
    }
}

#[tokio::test]
async fn a_restarted_node_is_found_again_with_the_old_view_kept_meanwhile() {
    let node = FakeNode::start(Serves::OLD).await;
    node.finalize(1, 1, Some(&release(1)));
    let (sender, mut status) = watch::channel(ChainStatus::default());
    let task = tokio::spawn(follow(settings(&node), sender, mpsc::channel(1).0));
    timeout(PATIENCE, status.wait_for(|status| status.connected)).await.expect("in time").expect("lives");
    let port = node.port();
    drop(node);
    timeout(PATIENCE, status.wait_for(|status| !status.connected)).await.expect("in time").expect("lives");
    let meanwhile = status.borrow().clone();
    assert!(meanwhile.view.is_some() && meanwhile.problem.is_some(), "{meanwhile:?}");

    let node = FakeNode::start_at(port, Serves::OLD).await;
    node.finalize(2, 1, Some(&release(2)));
    let back = |status: &ChainStatus| {
        status.connected && status.view.as_ref().is_some_and(|view| view.finalized.number == 2)
    };
    timeout(PATIENCE, status.wait_for(back)).await.expect("in time").expect("lives");
    assert_eq!(status.borrow().problem, None);
    task.abort();
}

#[tokio::test]
async fn one_read_needs_no_loop() {
    for serves in [Serves::MODERN, Serves::OLD] {
        let node = FakeNode::start(serves).await;
        node.finalize(9, 3, Some(&release(4)));
        let view = read_once(&settings(&node), PATIENCE).await.expect("a view");
        assert_eq!((view.finalized.number, view.spec_version, view.genesis), (9, 3, node.genesis()));
        assert_eq!(view.current.expect("a release").sequence, Some(4));
        timeout(PATIENCE, node.left_alone()).await.expect("no connection stays");
    }
}

/// `CurrentRelease` with this sequence.
fn release(sequence: u64) -> Vec<u8> {
    let mut value = sequence.to_le_bytes().to_vec();
    value.extend([3 << 2, b'1', b'.', b'0']);
    value.extend([9; 32]);
    value.push(0);
    value
}
