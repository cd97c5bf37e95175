//! The loops against scripted sources, in paused time.

mod agreement;
mod known;

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroUsize,
    sync::Mutex,
};

use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    chain::{
        FinalizedBlock, Known, NoteKind,
        records::{RecordName, Records},
    },
    release::Version,
};

const HOME: GenesisHash = GenesisHash([1; 32]);
const ELSEWHERE: GenesisHash = GenesisHash([2; 32]);

/// What a scripted connection does, one step for each read.
#[derive(Clone)]
enum Step {
    Head(Head),
    Best(Option<u32>),
    /// An error in a node's own words.
    Refuse(String),
    /// A head after some time.
    After(Duration, Head),
    Fail,
}

/// The chain that a connection is to, and what it does.
type Connection = (GenesisHash, Vec<Step>);

/// Connections in the order in which they are made, by endpoint; none left is a refused connection.
#[derive(Default)]
struct Script {
    connections: Mutex<BTreeMap<&'static str, VecDeque<Connection>>>,
    attempts: Mutex<Vec<(String, Instant)>>,
}

struct Scripted {
    endpoint: String,
    genesis: GenesisHash,
    steps: VecDeque<Step>,
    newest: Option<Head>,
}

impl Script {
    fn connection(self, endpoint: &'static str, genesis: GenesisHash, steps: impl Into<Vec<Step>>) -> Self {
        self.connections
            .lock()
            .expect("one thread")
            .entry(endpoint)
            .or_default()
            .push_back((genesis, steps.into()));
        self
    }

    fn attempts(&self) -> Vec<(String, Instant)> {
        self.attempts.lock().expect("one thread").clone()
    }

    fn attempted(&self) -> Vec<String> {
        self.attempts().into_iter().map(|(endpoint, _)| endpoint).collect()
    }
}

impl Connect for Script {
    type Source = Scripted;

    async fn connect(&self, endpoint: &str) -> Result<Scripted, SourceError> {
        self.attempts.lock().expect("one thread").push((endpoint.to_owned(), Instant::now()));
        let next =
            self.connections.lock().expect("one thread").get_mut(endpoint).and_then(VecDeque::pop_front);
        match next {
            Some((genesis, steps)) => {
                Ok(Scripted { endpoint: endpoint.to_owned(), genesis, steps: steps.into(), newest: None })
            }
            None => Err(SourceProblem::Connect("refused".to_owned()).at(endpoint)),
        }
    }
}

impl ReleaseSource for Scripted {
    fn genesis(&self) -> GenesisHash {
        self.genesis
    }

    async fn read_newest(&mut self, _keys: &[StorageKey]) -> Result<Head, SourceError> {
        Ok(self.newest.clone().expect("told of"))
    }

    async fn read_at(&mut self, _number: u64, _keys: &[StorageKey]) -> Result<Option<Head>, SourceError> {
        Ok(None)
    }

    async fn next(&mut self) -> Result<News, SourceError> {
        match self.steps.pop_front() {
            Some(Step::Head(head)) => {
                self.newest = Some(head);
                Ok(News::Finalized)
            }
            Some(Step::Best(spec_version)) => Ok(News::BestRuntime(spec_version)),
            Some(Step::After(time, head)) => {
                sleep(time).await;
                self.newest = Some(head);
                Ok(News::Finalized)
            }
            Some(Step::Refuse(reason)) => {
                Err(SourceProblem::Call { doing: "reading the release", reason }.at(&self.endpoint))
            }
            Some(Step::Fail) => Err(SourceProblem::Closed.at(&self.endpoint)),
            None => std::future::pending().await,
        }
    }
}

/// A block that states `version` as statement number `sequence`.
fn head(number: u64, sequence: u64, version: &str) -> Head {
    let mut value = sequence.to_le_bytes().to_vec();
    value.push((version.len() as u8) << 2);
    value.extend(version.as_bytes());
    value.extend([sequence as u8; 32]);
    value.push(0);
    Head {
        block: FinalizedBlock { number, hash: [number as u8; 32] },
        spec_version: 1,
        values: vec![Some(value), None],
    }
}

fn with_value(mut head: Head, current: Option<Vec<u8>>) -> Head {
    head.values[0] = current;
    head
}

fn settings(endpoints: &[&str], genesis: Option<GenesisHash>) -> SourceSettings {
    SourceSettings {
        network: "dev".to_owned(),
        endpoints: endpoints.iter().map(ToString::to_string).collect(),
        light_client: None,
        genesis,
        records: Records::default(),
        agreement: NonZeroUsize::MIN,
        known: None,
    }
}

/// Lets the loop run for `time` of paused time; what it had published then, and noted until then.
async fn after_with_notes(
    time: Duration,
    script: &Script,
    settings: SourceSettings,
) -> (ChainStatus, Vec<Note>) {
    let (sender, receiver) = watch::channel(ChainStatus::default());
    let (notes_sender, mut notes) = mpsc::channel(1000);
    timeout(time, follow_with(script, settings, &sender, notes_sender))
        .await
        .expect_err("runs until it is dropped");
    let mut noted = Vec::new();
    while let Ok(note) = notes.try_recv() {
        noted.push(note);
    }
    (receiver.borrow().clone(), noted)
}

/// Lets the loop run for `time` of paused time; what it had published then.
async fn after(time: Duration, script: &Script, settings: SourceSettings) -> ChainStatus {
    after_with_notes(time, script, settings).await.0
}

fn version(status: &ChainStatus) -> Option<&str> {
    status.view.as_ref()?.current.as_ref().map(|release| release.version.as_str())
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[tokio::test(start_paused = true)]
async fn what_a_block_states_is_published() {
    let script = Script::default().connection("a", HOME, [Step::Head(head(5, 1, "1.0.0"))]);
    let status = after(secs(1), &script, settings(&["a"], Some(HOME))).await;
    let view = status.view.as_ref().expect("a view");
    assert_eq!((view.source.as_str(), view.genesis, view.finalized.number), ("a", HOME, 5));
    assert_eq!(version(&status), Some("1.0.0"));
    assert!(status.connected && status.problem.is_none() && status.seen_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_best_blocks_runtime_is_published_without_a_newer_finalized_block_and_is_never_a_release() {
    let steps = [Step::Best(Some(1)), Step::Head(head(5, 1, "1.0.0")), Step::Best(Some(2))];
    let script = Script::default().connection("a", HOME, steps.clone());
    let status = after(secs(1), &script, settings(&["a"], Some(HOME))).await;
    assert_eq!(status.best_spec_version, Some(2));
    let view = status.view.as_ref().expect("a view");
    assert_eq!((view.finalized.number, view.spec_version, version(&status)), (5, 1, Some("1.0.0")));

    // It keeps nobody from being taken for silent, and stays until another source says otherwise.
    let script = Script::default().connection("a", HOME, steps.clone());
    let status = after(SILENCE + secs(1), &script, settings(&["a", "b"], Some(HOME))).await;
    assert_eq!(script.attempted()[..2], ["a", "b"]);
    assert_eq!((status.connected, status.best_spec_version), (false, Some(2)));
    let script = Script::default().connection("a", HOME, steps).connection("b", HOME, [Step::Best(None)]);
    let status = after(SILENCE + secs(1), &script, settings(&["a", "b"], Some(HOME))).await;
    assert_eq!(status.best_spec_version, None);
}

#[tokio::test(start_paused = true)]
async fn a_block_without_a_release_is_a_view_and_no_problem() {
    let script = Script::default().connection("a", HOME, [Step::Head(with_value(head(5, 1, "1"), None))]);
    let status = after(secs(1), &script, settings(&["a"], None)).await;
    assert_eq!(status.view.expect("a view").current, None);
    assert_eq!(status.problem, None);
}

#[tokio::test(start_paused = true)]
async fn another_chain_is_refused_and_the_next_endpoint_used() {
    let script = Script::default().connection("a", ELSEWHERE, [Step::Head(head(9, 9, "9.9.9"))]).connection(
        "b",
        HOME,
        [Step::Head(head(5, 1, "1.0.0"))],
    );
    let status = after(secs(0), &script, settings(&["a", "b"], Some(HOME))).await;
    assert_eq!(version(&status), Some("1.0.0"));
}

#[tokio::test(start_paused = true)]
async fn another_chain_alone_is_a_problem_and_never_a_view() {
    let script = Script::default().connection("a", ELSEWHERE, [Step::Head(head(9, 9, "9.9.9"))]);
    let status = after(Duration::from_millis(1), &script, settings(&["a"], Some(HOME))).await;
    assert!(status.view.is_none() && !status.connected);
    let problem = status.problem.expect("a problem");
    assert!(problem.contains(&HOME.to_string()) && problem.contains(&ELSEWHERE.to_string()), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn the_first_genesis_seen_holds_for_the_life_of_the_task() {
    let script = Script::default()
        .connection("a", HOME, [Step::Head(head(5, 1, "1.0.0")), Step::Fail])
        .connection("b", ELSEWHERE, [Step::Head(head(9, 9, "9.9.9"))]);
    let status = after(Duration::from_millis(1), &script, settings(&["a", "b"], None)).await;
    assert_eq!(version(&status), Some("1.0.0"));
    assert!(status.problem.expect("a problem").contains("another chain"));
    assert_eq!(script.attempted(), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn old_news_is_reported_and_changes_nothing() {
    let good = head(5, 3, "3.0.0");
    let mut fork = head(5, 4, "6.6.6");
    fork.block.hash = [0xff; 32];
    let old_news: [(Head, &str); 6] = [
        (head(4, 2, "2.0.0"), "finalized block 4 after 5"),
        (fork, "two finalized forks"),
        (head(6, 2, "2.0.0"), "statement 2 after 3"),
        (head(6, 3, "3.0.1"), "statement 3 is 3.0.1 now, but was 3.0.0"),
        (with_value(head(6, 0, "x"), None), "states no release, but 3.0.0"),
        (with_value(head(6, 0, "x"), Some(vec![1, 2, 3])), "(storage key 0x"),
    ];
    for (news, expected) in old_news {
        let script =
            Script::default().connection("a", HOME, [Step::Head(good.clone()), Step::Head(news.clone())]);
        let status = after(secs(1), &script, settings(&["a"], Some(HOME))).await;
        assert_eq!(version(&status), Some("3.0.0"), "{expected}");
        assert_eq!(status.view.expect("kept").finalized.number, 5, "{expected}");
        let problem = status.problem.expect("a problem");
        assert!(problem.contains(expected), "{problem}");

        // The next good block clears it.
        let steps = [Step::Head(good.clone()), Step::Head(news), Step::Head(head(7, 4, "4.0.0"))];
        let script = Script::default().connection("a", HOME, steps);
        let status = after(secs(1), &script, settings(&["a"], Some(HOME))).await;
        assert_eq!((version(&status), status.problem.as_deref()), (Some("4.0.0"), None), "{expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn going_back_to_an_older_version_is_news() {
    let steps = [Step::Head(head(5, 3, "3.0.0")), Step::Head(head(6, 4, "2.0.0"))];
    let script = Script::default().connection("a", HOME, steps);
    let status = after(secs(1), &script, settings(&["a"], Some(HOME))).await;
    assert_eq!(version(&status), Some("2.0.0"));
    assert_eq!(status.problem, None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_keeps_the_view_and_says_so() {
    let script = Script::default().connection("a", HOME, [Step::Head(head(5, 1, "1.0.0")), Step::Fail]);
    let status = after(secs(3), &script, settings(&["a"], None)).await;
    assert_eq!(version(&status), Some("1.0.0"));
    assert!(!status.connected);
    let problem = status.problem.expect("a problem");
    assert!(problem.contains("refused") && problem.contains("last finalized block 5"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up_for_the_next_endpoint() {
    let script = Script::default().connection("a", HOME, [Step::Head(head(5, 1, "1.0.0"))]).connection(
        "b",
        HOME,
        [Step::Head(head(9, 2, "2.0.0"))],
    );
    let before = after(SILENCE - secs(1), &script, settings(&["a", "b"], None)).await;
    assert_eq!(version(&before), Some("1.0.0"));
    assert_eq!(script.attempted(), ["a"]);

    let script = Script::default().connection("a", HOME, [Step::Head(head(5, 1, "1.0.0"))]).connection(
        "b",
        HOME,
        [Step::Head(head(9, 2, "2.0.0"))],
    );
    let status = after(SILENCE + secs(1), &script, settings(&["a", "b"], None)).await;
    assert_eq!(version(&status), Some("2.0.0"));
    assert!(status.connected && status.problem.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_repeats_one_block_counts_as_silent() {
    let repeats = vec![Step::After(secs(20), head(5, 1, "1.0.0")); 5];
    let script = Script::default().connection("a", HOME, repeats);
    after(secs(20) + SILENCE + secs(1), &script, settings(&["a", "b"], None)).await;
    assert_eq!(script.attempted()[..2], ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_catches_up_is_left_for_one_that_is_ahead() {
    let behind: Vec<Step> = (1..100).map(|n| Step::After(secs(10), head(n, 1, "1.0.0"))).collect();
    let script = Script::default()
        .connection("a", HOME, [Step::Head(head(200, 2, "2.0.0")), Step::Fail])
        .connection("b", HOME, behind)
        .connection("a", HOME, [Step::Head(head(210, 3, "3.0.0"))]);
    let status = after(SILENCE + secs(5), &script, settings(&["a", "b"], None)).await;
    assert_eq!(script.attempted(), ["a", "b", "a"]);
    assert_eq!(version(&status), Some("3.0.0"));
}

#[tokio::test(start_paused = true)]
async fn t15_a_block_number_that_nobody_believes_makes_no_chain_stale() {
    let far = with_value(head(1_000_000_000_000, 0, "x"), Some(vec![1, 2, 3]));
    let good: Vec<Step> = (271..311).map(|n| Step::After(secs(10), head(n, 2, "2.0.0"))).collect();
    let script = Script::default().connection("bad", HOME, [Step::Head(far)]).connection("good", HOME, good);
    let status = after(SILENCE + secs(395), &script, settings(&["bad", "good"], Some(HOME))).await;
    assert_eq!(script.attempted(), ["bad", "good"], "the good one is not taken for silent");
    assert_eq!(status.view.as_ref().expect("a view").finalized.number, 309);
    assert_eq!((status.problem, status.stale_since), (None, None));
}

#[tokio::test(start_paused = true)]
async fn finality_that_stands_still_everywhere_is_a_problem_though_connected() {
    let stuck = || [Step::Head(head(5, 1, "1.0.0"))];
    let script = Script::default().connection("a", HOME, stuck()).connection("a", HOME, stuck());
    let status = after(SILENCE + secs(5), &script, settings(&["a"], None)).await;
    assert_eq!(script.attempts().len(), 2);
    assert!(status.connected);
    assert_eq!(version(&status), Some("1.0.0"));
    let problem = status.problem.expect("a problem");
    assert!(problem.starts_with("no newer finalized block than 5 since 20"), "{problem}");
    assert!(status.stale_since.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_chain_that_stands_still_does_not_change_and_is_noted_once() {
    let stuck: Vec<Step> = vec![Step::Head(head(5, 1, "1.0.0"))];
    let mut script = Script::default();
    for _ in 0..100 {
        script = script.connection("a", HOME, stuck.clone()).connection("b", HOME, stuck.clone());
    }
    let (sender, mut receiver) = watch::channel(ChainStatus::default());
    let (notes, mut noted) = mpsc::channel(100);
    let mut problems = Vec::new();
    let watch = async {
        while receiver.changed().await.is_ok() {
            let problem = receiver.borrow_and_update().problem.clone();
            if problems.last() != Some(&problem) {
                problems.push(problem);
            }
        }
    };
    let follow = follow_with(&script, settings(&["a", "b"], None), &sender, notes);
    let _ = timeout(secs(3000), futures::future::join(follow, watch)).await;
    assert!(problems.len() <= 5, "{problems:#?}");
    let last = problems.pop().flatten().expect("a problem");
    assert!(last.contains("no newer finalized block than 5 since"), "{last}");
    let mut kinds = Vec::new();
    while let Ok(note) = noted.try_recv() {
        kinds.push(note.kind);
    }
    kinds.sort_unstable();
    assert_eq!(kinds, [NoteKind::FailedOver, NoteKind::FailedOver, NoteKind::Stale]);
}

#[tokio::test(start_paused = true)]
async fn a_liar_is_left_at_once_where_there_is_another_and_noted_once() {
    let mut script = Script::default().connection("a", HOME, [Step::Head(head(5, 3, "3.0.0")), Step::Fail]);
    for number in 6..26 {
        let lie = [Step::Head(head(number, 2, "2.0.0"))];
        script = script.connection("b", HOME, lie).connection(
            "a",
            HOME,
            [Step::Head(head(number, 3, "3.0.0")), Step::Fail],
        );
    }
    let start = Instant::now();
    let (status, notes) = after_with_notes(secs(30), &script, settings(&["a", "b"], None)).await;
    assert_eq!(version(&status), Some("3.0.0"));
    assert!(script.attempts()[..3].iter().all(|(_, at)| at.duration_since(start) <= secs(1)));
    let contradicted = notes.iter().filter(|note| note.kind == NoteKind::Contradicted);
    let texts: Vec<&str> = contradicted.map(|note| note.text.as_str()).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("endpoint b: statement 2 after 3"), "{texts:?}");
    let liar = status.endpoints.iter().find(|endpoint| endpoint.address == "b").expect("there");
    assert!(!liar.connected && liar.problem.as_ref().expect("said").contains("statement 2 after 3"));
}

#[tokio::test(start_paused = true)]
async fn t13_a_nodes_own_words_are_kept_short_and_without_control_characters() {
    let words = format!("\u{1b}[2Jno\n{}", "x".repeat(1_000_000));
    for agreement in [1, 2] {
        let script = Script::default().connection("a", HOME, [Step::Refuse(words.clone())]);
        let settings = SourceSettings {
            agreement: NonZeroUsize::new(agreement).expect("not zero"),
            ..settings(&["a", "b"], None)
        };
        let status = after(Duration::from_millis(1), &script, settings).await;
        for text in [status.problem, status.endpoints[0].problem.clone()] {
            let text = text.expect("a problem");
            assert!(text.chars().count() < 2000 && !text.chars().any(char::is_control), "{text}");
            assert!(text.contains("[2Jno\\n"), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_has_a_status_of_its_own() {
    let script = Script::default().connection("b", HOME, [Step::Head(head(7, 1, "1.0.0"))]);
    let (status, notes) = after_with_notes(secs(1), &script, settings(&["a", "b", "c"], None)).await;
    let seen: Vec<(&str, bool, Option<u64>, bool)> = status
        .endpoints
        .iter()
        .map(|one| (one.address.as_str(), one.connected, one.finalized, one.problem.is_some()))
        .collect();
    assert_eq!(seen, [("a", false, None, true), ("b", true, Some(7), false), ("c", false, None, false)]);
    assert_eq!(status.problem, None, "one is enough");
    assert_eq!(notes, [], "nothing was read before");
}

#[tokio::test(start_paused = true)]
async fn with_all_endpoints_down_for_ten_minutes_the_attempts_follow_the_backoff() {
    for agreement in [1, 2] {
        let script = Script::default();
        let settings = SourceSettings {
            agreement: NonZeroUsize::new(agreement).expect("not zero"),
            ..settings(&["a", "b", "c"], None)
        };
        let (status, notes) = after_with_notes(secs(600), &script, settings).await;
        for endpoint in ["a", "b", "c"] {
            let times: Vec<Instant> = script
                .attempts()
                .into_iter()
                .filter_map(|(name, at)| (name == endpoint).then_some(at))
                .collect();
            // Waits of 1, 2, 4, 8 and then 15 s, each up to half shorter.
            assert!((40..=85).contains(&times.len()), "{} attempts", times.len());
            for (round, pair) in times.windows(2).enumerate() {
                let full = Duration::from_secs(1 << round.min(4)).min(secs(15));
                let waited = pair[1] - pair[0];
                // A millisecond for the timer.
                let bounds = full / 2..=full + Duration::from_millis(2);
                assert!(bounds.contains(&waited), "{endpoint}, round {round}: {waited:?}");
            }
        }
        assert!(!status.connected && status.endpoints.iter().all(|one| one.problem.is_some()));
        let kinds: Vec<NoteKind> = notes.iter().map(|note| note.kind).collect();
        assert_eq!(kinds, [NoteKind::Stale], "no line for each attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn every_endpoint_is_tried_before_the_loop_waits() {
    let script = Script::default();
    let start = Instant::now();
    after(Duration::from_millis(400), &script, settings(&["a", "b", "c"], None)).await;
    assert_eq!(script.attempted(), ["a", "b", "c"]);
    assert!(script.attempts().iter().all(|(_, at)| *at == start));
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_fail_after_one_block_do_not_spin() {
    let flapping = |number| [Step::Head(head(number, 1, "1.0.0")), Step::Fail];
    let mut script = Script::default();
    for round in 0..1000 {
        script =
            script.connection("a", HOME, flapping(2 * round)).connection("b", HOME, flapping(2 * round + 1));
    }
    after(secs(600), &script, settings(&["a", "b"], None)).await;
    assert!(script.attempts().len() < 200, "{} connections in 10 minutes", script.attempts().len());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_held_starts_the_waits_from_the_beginning() {
    let long = [Step::Head(head(1, 1, "1")), Step::After(secs(50), head(2, 1, "1")), Step::Fail];
    let mut script = Script::default();
    for _ in 0..5 {
        script = script.connection("a", HOME, [Step::Fail]);
    }
    let script = script.connection("a", HOME, long);
    after(secs(200), &script, settings(&["a"], None)).await;
    let attempts = script.attempts();
    let (held_from, next) = (attempts[5].1, attempts[6].1);
    assert!(next - held_from <= secs(51), "waited {:?}", next - held_from);
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_when_nobody_listens() {
    let (sender, receiver) = watch::channel(ChainStatus::default());
    drop(receiver);
    let (notes, _) = mpsc::channel(1);
    follow_with(&Script::default(), settings(&["a"], None), &sender, notes).await;
}

#[tokio::test(start_paused = true)]
async fn one_read_takes_the_first_endpoint_that_answers_and_names_all_that_did_not() {
    let script = Script::default().connection("b", ELSEWHERE, [Step::Head(head(9, 9, "9.9.9"))]).connection(
        "c",
        HOME,
        [Step::Head(head(5, 1, "1.0.0"))],
    );
    let view = read_first(&script, &settings(&["a", "b", "c"], Some(HOME))).await.expect("c answers");
    assert_eq!(view.source, "c");
    assert_eq!(view.current.expect("stated").version, "1.0.0".parse::<Version>().expect("a version"));

    let error = read_first(&script, &settings(&["a", "b"], Some(HOME))).await.expect_err("nobody left");
    let text = error.to_string();
    assert!(text.contains("endpoint a: cannot connect") && text.contains("endpoint b: "), "{text}");
}

/// A release of `ClientsInfo` whose checksum is that byte, and the values of both records with it.
fn with_clients_info(head: Head, checksum: u8) -> Head {
    let theirs = [&[0][..], &[checksum; 32]].concat();
    Head { values: [head.values, vec![Some(theirs), None]].concat(), ..head }
}

#[tokio::test(start_paused = true)]
async fn a_chain_moves_to_vault_release_while_it_is_followed_and_never_back() {
    let both = || SourceSettings {
        records: Records::new(RecordName::ALL.to_vec()).expect("two"),
        ..settings(&["a"], Some(HOME))
    };
    let before = with_clients_info(with_value(head(5, 0, "x"), None), 0xab);
    let moved = with_clients_info(head(6, 1, "2.0.0"), 0xab);
    let hidden = with_clients_info(with_value(head(7, 0, "x"), None), 0xab);
    let steps = [before, moved, hidden];
    for (seen, version_then, record, problem) in [
        (1, "abababababab", RecordName::ClientsInfo, None),
        (2, "2.0.0", RecordName::VaultRelease, None),
        (3, "2.0.0", RecordName::VaultRelease, Some("states no release, but 2.0.0")),
    ] {
        let steps: Vec<Step> = steps[..seen].iter().cloned().map(Step::Head).collect();
        let script = Script::default().connection("a", HOME, steps);
        let status = after(secs(1), &script, both()).await;
        assert_eq!(version(&status), Some(version_then));
        assert_eq!(status.view.expect("a view").record, record);
        let told = status.problem.unwrap_or_default();
        assert!(problem.map_or(told.is_empty(), |problem| told.contains(problem)), "{told}");
    }
    // What was seen before a restart counts as well.
    let mut settings = both();
    settings.records.saw(RecordName::VaultRelease);
    let script = Script::default().connection("a", HOME, [Step::Head(steps[2].clone())]);
    let status = after(secs(1), &script, settings).await;
    assert_eq!(status.view.expect("a view").current, None);
}
