//! Several sources that must agree, in paused time.

use std::sync::Arc;

use super::*;

/// A chain, and nodes of it that lag, lie, break and are silent.
#[derive(Clone)]
struct Nodes(Arc<Inner>);

struct Inner {
    chain: watch::Sender<Vec<Head>>,
    nodes: BTreeMap<&'static str, Manner>,
    attempts: Mutex<Vec<String>>,
    /// Questions about older blocks.
    asked: Mutex<usize>,
}

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// So many blocks behind the others.
    Behind(usize),
    /// Tells of each so-manyth block only.
    Skips(u64),
    /// Says that each block states statement 66.
    Lies,
    /// Says that of each block from this one on.
    LiesFrom(u64),
    /// Is of another chain.
    Elsewhere,
    /// Ends each connection after a second.
    Cuts,
    /// Takes connections and says nothing.
    Silent,
    /// Tells of its newest block, and never answers a question about an older one.
    NoAnswer,
    Down,
}
use Manner::*;

struct NodeConnection {
    nodes: Nodes,
    name: String,
    manner: Manner,
    chain: watch::Receiver<Vec<Head>>,
    told: Option<u64>,
    cut_at: Instant,
}

impl Nodes {
    fn new(nodes: &[(&'static str, Manner)]) -> Self {
        let inner = Inner {
            chain: watch::Sender::new(vec![head(0, 1, "1.0.0")]),
            nodes: nodes.iter().copied().collect(),
            attempts: Mutex::default(),
            asked: Mutex::default(),
        };
        Self(Arc::new(inner))
    }

    /// Finalizes the next block, which makes this statement.
    fn finalize(&self, sequence: u64) {
        self.0.chain.send_modify(|chain| {
            let number = chain.len() as u64;
            let mut block = head(number, sequence, &format!("{sequence}.0.0"));
            block.block.hash = [0; 32];
            block.block.hash[..8].copy_from_slice(&number.to_le_bytes());
            chain.push(block);
        });
    }

    fn attempts_at(&self, name: &str) -> usize {
        self.0.attempts.lock().expect("one thread").iter().filter(|attempt| *attempt == name).count()
    }

    fn asked(&self) -> usize {
        *self.0.asked.lock().expect("one thread")
    }
}

impl Connect for Nodes {
    type Source = NodeConnection;

    async fn connect(&self, name: &str) -> Result<NodeConnection, SourceError> {
        self.0.attempts.lock().expect("one thread").push(name.to_owned());
        let manner = self.0.nodes[name];
        if manner == Down {
            return Err(SourceProblem::Connect("refused".to_owned()).at(name));
        }
        Ok(NodeConnection {
            nodes: self.clone(),
            name: name.to_owned(),
            manner,
            chain: self.0.chain.subscribe(),
            told: None,
            cut_at: Instant::now() + secs(1),
        })
    }
}

impl NodeConnection {
    fn says(&self, mut head: Head) -> Head {
        let lies = match self.manner {
            Lies => true,
            LiesFrom(number) => head.block.number >= number,
            _ => false,
        };
        if lies {
            head.values = super::head(head.block.number, 66, "66.6.6").values;
        }
        head
    }

    /// The newest block that it would tell of.
    fn newest(&self) -> Option<Head> {
        let chain = self.chain.borrow();
        let newest = match self.manner {
            Behind(blocks) => chain.len().checked_sub(blocks + 1).map(|index| chain[index].clone()),
            Skips(every) => chain.iter().rev().find(|head| head.block.number % every == 0).cloned(),
            _ => chain.last().cloned(),
        };
        newest.map(|head| self.says(head))
    }
}

impl ReleaseSource for NodeConnection {
    fn genesis(&self) -> GenesisHash {
        if self.manner == Elsewhere { ELSEWHERE } else { HOME }
    }

    async fn next(&mut self) -> Result<News, SourceError> {
        loop {
            let newest = self.newest().map(|head| head.block.number).filter(|_| self.manner != Silent);
            if newest > self.told {
                return Ok(News::Finalized);
            }
            let cut_at = if self.manner == Cuts { self.cut_at } else { Instant::now() + secs(1_000_000) };
            tokio::select! {
                _ = self.chain.changed() => {}
                () = tokio::time::sleep_until(cut_at) => return Err(SourceProblem::Closed.at(&self.name)),
            }
        }
    }

    async fn read_newest(&mut self, _keys: &[StorageKey]) -> Result<Head, SourceError> {
        let head = self.newest().expect("told of");
        self.told = Some(head.block.number);
        Ok(head)
    }

    async fn read_at(&mut self, number: u64, _keys: &[StorageKey]) -> Result<Option<Head>, SourceError> {
        assert!(self.told >= Some(number), "asked about {number}, after {:?} was told of", self.told);
        *self.nodes.0.asked.lock().expect("one thread") += 1;
        if self.manner == NoAnswer {
            sleep(secs(10)).await;
            return Err(
                SourceProblem::NoAnswer { doing: "reading the release", after: secs(10) }.at(&self.name)
            );
        }
        let head = self.chain.borrow().get(number as usize).cloned();
        Ok(head.map(|head| self.says(head)))
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The status after so many blocks, six seconds apart, of which each states a newer release, and what was noted.
async fn follow_blocks(blocks: u64, agreement: usize, manners: &[Manner]) -> (Nodes, ChainStatus, Vec<Note>) {
    let names = &NAMES[..manners.len()];
    let nodes = Nodes::new(&names.iter().copied().zip(manners.iter().copied()).collect::<Vec<_>>());
    let settings = SourceSettings {
        agreement: NonZeroUsize::new(agreement).expect("not zero"),
        ..settings(names, None)
    };
    let (sender, receiver) = watch::channel(ChainStatus::default());
    let (notes_sender, mut notes) = mpsc::channel(1000);
    let chain = async {
        for sequence in 1..=blocks {
            sleep(secs(6)).await;
            nodes.finalize(sequence);
        }
        sleep(secs(2)).await;
    };
    tokio::select! {
        () = chain => {}
        () = follow_with(&nodes, settings, &sender, notes_sender) => panic!("it ended"),
    }
    let mut noted = Vec::new();
    while let Ok(note) = notes.try_recv() {
        noted.push(note);
    }
    let status = receiver.borrow().clone();
    (nodes, status, noted)
}

fn finalized(status: &ChainStatus) -> Option<u64> {
    status.view.as_ref().map(|view| view.finalized.number)
}

/// One read of nodes that have finalized one block with a statement, of which two must agree.
async fn read_of(manners: &[Manner]) -> Result<ChainView, ReadError> {
    let names = &NAMES[..manners.len()];
    let nodes = Nodes::new(&names.iter().copied().zip(manners.iter().copied()).collect::<Vec<_>>());
    nodes.finalize(1);
    let settings =
        SourceSettings { agreement: NonZeroUsize::new(2).expect("not zero"), ..settings(names, None) };
    read_agreed(&nodes, &settings, secs(20)).await
}

#[tokio::test(start_paused = true)]
async fn one_read_takes_what_enough_sources_say_and_not_the_first_answer() {
    let view = read_of(&[Lies, Honest, Honest]).await.expect("two agree");
    assert_eq!(view.source, "b, c");
    assert_eq!(view.current.expect("stated").version, "1.0.0".parse::<Version>().expect("a version"));

    let error = read_of(&[Lies, Honest, Down]).await.expect_err("no two agree").to_string();
    assert!(
        error.contains("no 2 of its sources said the same within 20 s; endpoint c: cannot connect"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn two_that_agree_are_believed_and_both_are_named() {
    let (nodes, status, notes) = follow_blocks(20, 2, &[Honest, Honest]).await;
    assert_eq!((finalized(&status), version(&status)), (Some(20), Some("20.0.0")));
    assert_eq!(status.view.expect("a view").source, "a, b");
    assert!(status.connected && status.problem.is_none(), "{:?}", status.problem);
    assert_eq!((notes, nodes.asked()), (vec![], 0), "nothing had to be asked");
}

#[tokio::test(start_paused = true)]
async fn two_of_three_agree_and_the_liar_is_reported_by_name_and_noted_once() {
    let (_, status, notes) = follow_blocks(20, 2, &[Honest, Lies, Honest]).await;
    assert_eq!((finalized(&status), version(&status)), (Some(20), Some("20.0.0")));
    assert!(status.connected);
    let problem = status.problem.expect("a problem");
    assert!(problem.starts_with("endpoint b: ") && problem.contains("not tell the truth"), "{problem}");
    assert!(status.endpoints[1].problem.is_some() && status.endpoints[0].problem.is_none());
    let kinds: Vec<NoteKind> = notes.iter().map(|note| note.kind).collect();
    assert_eq!(kinds, [NoteKind::Contradicted], "{notes:?}");
    assert!(notes[0].text.contains("endpoint b"), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_lags_and_one_that_skips_agree_all_the_same_as_high_as_both_are() {
    for (manners, expected) in [
        ([Honest, Behind(3), Down], 17),
        ([Skips(7), Skips(5), Down], 14),
        ([Skips(7), Behind(2), Honest], 18),
        ([Behind(30), Honest, Honest], 20),
    ] {
        let (_, status, notes) = follow_blocks(20, 2, &manners).await;
        assert_eq!(finalized(&status), Some(expected), "{manners:?}");
        assert_eq!(notes, [], "{manners:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_or_gone_or_answers_no_question_holds_up_nobody() {
    for bad in [Silent, Down, NoAnswer, Elsewhere, Cuts] {
        let (nodes, status, _) = follow_blocks(60, 2, &[bad, Behind(1), Honest]).await;
        // A source that cannot be asked is of no help, and no hindrance.
        assert!(finalized(&status) >= Some(59), "{bad:?}: {:?}", finalized(&status));
        assert!(status.connected, "{bad:?}");
        assert!(nodes.attempts_at("b") == 1 && nodes.attempts_at("c") == 1, "{bad:?}");
        assert!(nodes.attempts_at("a") < 60, "{bad:?}: {} attempts", nodes.attempts_at("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_cut_every_second_are_enough_to_agree() {
    let (nodes, status, notes) = follow_blocks(50, 2, &[Cuts, Cuts]).await;
    assert!(finalized(&status) >= Some(47), "{:?}", finalized(&status));
    assert_eq!(notes, [], "no line for each cut");
    assert!(nodes.attempts_at("a") < 80, "{} attempts in 5 minutes", nodes.attempts_at("a"));
}

#[tokio::test(start_paused = true)]
async fn without_enough_sources_nothing_is_believed_and_it_is_said_what_is_missing() {
    let (_, status, _) = follow_blocks(5, 2, &[Honest, Down, Elsewhere]).await;
    // Two chains with one node each: neither is believed.
    assert_eq!(status.view, None);
    let (_, status, _) = follow_blocks(5, 2, &[Honest, Down, Down]).await;
    assert!(status.view.is_none() && !status.connected);
    let problem = status.problem.expect("a problem");
    assert!(problem.contains("2 sources must agree, 1 of 3 are connected"), "{problem}");
    assert!(problem.contains("endpoint b: cannot connect"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_agrees_any_more_the_last_view_stays_and_is_called_stale() {
    let (_, status, notes) = follow_blocks(20, 2, &[Honest, LiesFrom(4)]).await;
    assert_eq!((finalized(&status), version(&status)), (Some(3), Some("3.0.0")), "one against one");
    assert!(status.connected && status.stale_since.is_some());
    let problem = status.problem.expect("a problem");
    let expected = "no newer finalized block than 3 that 2 sources agree on since 20";
    assert!(problem.starts_with(expected), "{problem}");
    assert!(problem.contains("a and b contradict each other about finalized block "), "{problem}");
    let kinds: Vec<NoteKind> = notes.iter().map(|note| note.kind).collect();
    assert_eq!(kinds, [NoteKind::Contradicted, NoteKind::Stale], "{notes:?}");

    let (_, status, _) = follow_blocks(20, 2, &[Honest, Lies]).await;
    assert_eq!(status.view, None);
    let problem = status.problem.expect("a problem");
    assert!(problem.starts_with("no finalized block that 2 sources agree on since 20"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn of_the_best_blocks_runtime_so_many_must_say_the_same_too() {
    let best = |spec_version| [Step::Head(head(1, 1, "1.0.0")), Step::Best(Some(spec_version))];
    for (said, expected) in [([9, 2, 2], Some(2)), ([9, 1, 1], Some(1)), ([9, 9, 1], Some(9))] {
        let script = Script::default()
            .connection("a", HOME, best(said[0]))
            .connection("b", HOME, best(said[1]))
            .connection("c", HOME, best(said[2]));
        let settings = SourceSettings {
            agreement: NonZeroUsize::new(2).expect("not zero"),
            ..settings(&["a", "b", "c"], None)
        };
        assert_eq!(after(secs(1), &script, settings).await.best_spec_version, expected, "{said:?}");
    }
}
