//! Several sources must agree, or a light client decides: all are followed at once.
//!
//! Each member has a connection of its own, with its own waits after failures, and says what its newest finalized block
//! is. The chair hands that to the [`Council`], which decides, and asks members about blocks of others. A member that is
//! slow, silent or gone holds up nobody but itself.

use std::convert::Infallible;

use futures::future::{Either, join_all, pending};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    HELD, SILENCE,
    backoff::backoff,
    belief::{Belief, Doubt},
    bulletin::Bulletin,
    check_genesis,
};
use crate::{
    chain::{
        NoteKind,
        agreement::{Agreed, Council, Rule, Statement},
        records::{MAX_VALUE_BYTES, StorageKey},
        source::{Connect, Head, News, ReleaseSource, SourceError, SourceProblem},
    },
    error_chain::Chained,
    release::GenesisHash,
};

/// A member waits when so much of what was said has not been heard yet; the chair needs microseconds for each.
const QUEUE: usize = 16;

/// What the chair wants of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Wanted {
    /// The chain that they must be of, once that is known.
    genesis: Option<GenesisHash>,
    /// The blocks that each is asked about.
    numbers: Vec<Vec<u64>>,
}

/// What a member says.
enum Said {
    Newest(Statement),
    At(u64, Option<Statement>),
    BestRuntime(Option<u32>),
    Lost(SourceProblem),
}

/// Who listens to the members.
pub(super) struct Chair<'a> {
    pub(super) sources: Vec<String>,
    pub(super) keys: Vec<StorageKey>,
    pub(super) genesis: Option<GenesisHash>,
    pub(super) belief: Belief,
    pub(super) bulletin: Bulletin<'a>,
    pub(super) rule: Rule,
}

impl Chair<'_> {
    pub(super) async fn run(self, connector: &impl Connect) -> Infallible {
        let (said_sender, mut said) = mpsc::channel(QUEUE);
        let sources = self.sources.clone();
        let keys = self.keys.clone();
        let wanted =
            watch::Sender::new(Wanted { genesis: self.genesis, numbers: vec![Vec::new(); sources.len()] });
        let members = join_all(sources.iter().enumerate().map(|(number, name)| {
            Member { number, name, keys: &keys, wanted: wanted.subscribe(), said: said_sender.clone() }
                .attend(connector)
        }));
        let preside = self.preside(&mut said, &wanted);
        tokio::select! {
            never = preside => never,
            _ = members => pending().await,
        }
    }

    async fn preside(
        mut self,
        said: &mut mpsc::Receiver<(usize, Said)>,
        wanted: &watch::Sender<Wanted>,
    ) -> Infallible {
        let mut council = Council::new(self.rule, self.sources.len());
        let mut best = vec![None; self.sources.len()];
        loop {
            let stale = match self.bulletin.stale_at() {
                Some(at) => Either::Left(sleep_until(at)),
                None => Either::Right(pending()),
            };
            let next = tokio::select! {
                next = said.recv() => next,
                () = stale => {
                    self.nothing_new(&council);
                    continue;
                }
            };
            // The members live as long as we do.
            let Some((member, what)) = next else { return pending().await };
            let (goes_on, agreed) = match what {
                Said::Newest(statement) => {
                    let is_newer = self.bulletin.told(member, statement.head.block.number);
                    (is_newer, council.newest(member, statement))
                }
                Said::At(number, statement) => (true, council.answer(member, number, statement)),
                Said::BestRuntime(spec_version) => {
                    best[member] = spec_version;
                    self.bulletin.best_runtime(best_runtime(self.rule, &best));
                    continue;
                }
                Said::Lost(problem) => {
                    if let SourceProblem::WrongGenesis { .. } = problem {
                        let text = self.bulletin.of(member, &problem.to_string());
                        self.bulletin.note(NoteKind::Contradicted, member, text);
                    }
                    self.bulletin.lost(member, Chained(&problem).to_string());
                    continue;
                }
            };
            self.compare(&council, goes_on.then_some(member));
            match agreed {
                Some(agreed) => self.take(&agreed),
                None => self.nothing_new(&council),
            }
            wanted.send_if_modified(|wanted| {
                let numbers = (0..self.sources.len()).map(|member| council.wanted(member)).collect();
                let new = Wanted { genesis: self.genesis, numbers };
                let is_new = *wanted != new;
                *wanted = new;
                is_new
            });
        }
    }

    /// What is wrong with those who say something else; and nothing is wrong with one that is well.
    fn compare(&mut self, council: &Council, well: Option<usize>) {
        for member in 0..self.sources.len() {
            match council.contradiction(member) {
                Some(contradiction) => {
                    let text = self.bulletin.of(member, contradiction);
                    self.bulletin.note(NoteKind::Contradicted, member, text);
                    self.bulletin.trouble(member, Some(contradiction.to_owned()));
                }
                None if Some(member) == well => self.bulletin.trouble(member, None),
                None => {}
            }
        }
    }

    /// Nothing more is agreed on. If that has been so for long, it may be because they contradict each other; before, one who
    /// decides between them may just not have been heard.
    fn nothing_new(&mut self, council: &Council) {
        let Some((number, members)) = council.split().filter(|_| self.bulletin.stale_since().is_some())
        else {
            return self.bulletin.publish(None);
        };
        let names: Vec<&str> = members.iter().map(|member| self.sources[*member].as_str()).collect();
        let text = format!(
            "{} contradict each other about finalized block {number}, and nothing newer is believed before enough agree: \
             one of them is on another fork, or lies",
            names.join(" and ")
        );
        self.bulletin.note(NoteKind::Contradicted, members[0], text.clone());
        self.bulletin.doubt(&text);
    }

    fn take(&mut self, agreed: &Agreed) {
        let Agreed { statement: said, members } = agreed;
        let number = said.head.block.number;
        // Who says the same as a light client adds nothing to it.
        let members = match self.rule {
            Rule::Agreement(_) => members.as_slice(),
            Rule::Decides(_) => &members[..1],
        };
        let names: Vec<&str> = members.iter().map(|member| self.sources[*member].as_str()).collect();
        match self.belief.take(&names.join(", "), said.genesis, &said.head) {
            Ok(view) => {
                self.genesis = Some(said.genesis);
                let view = view.clone();
                self.bulletin.is_progress(number, true);
                self.bulletin.believe(&view);
            }
            Err(doubt) => {
                let text = format!("{}: {}; ignored", names.join(", "), doubt.text());
                match doubt {
                    Doubt::Contradicts(_) => {
                        self.bulletin.note(NoteKind::Contradicted, members[0], text.clone());
                    }
                    Doubt::Unreadable(_) => drop(self.bulletin.is_progress(number, false)),
                    Doubt::Lags(_) => {}
                }
                self.bulletin.doubt(&text);
            }
        }
    }
}

/// The best block's runtime, by the word of as many as must agree on anything.
fn best_runtime(rule: Rule, best: &[Option<u32>]) -> Option<u32> {
    match rule {
        Rule::Agreement(needed) => {
            let mut known: Vec<u32> = best.iter().filter_map(|best| *best).collect();
            known.sort_unstable_by(|one, other| other.cmp(one));
            known.get(needed.saturating_sub(1)).copied()
        }
        Rule::Decides(member) => best[member],
    }
}

/// One source that is followed beside others.
struct Member<'a> {
    number: usize,
    name: &'a str,
    keys: &'a [StorageKey],
    wanted: watch::Receiver<Wanted>,
    said: mpsc::Sender<(usize, Said)>,
}

impl Member<'_> {
    async fn attend(mut self, connector: &impl Connect) -> Infallible {
        let mut failed: u32 = 0;
        loop {
            let began = Instant::now();
            let Err(SourceError { problem, .. }) = self.speak(connector).await;
            self.say(Said::Lost(problem)).await;
            if began.elapsed() >= HELD {
                failed = 0;
            }
            failed = failed.saturating_add(1);
            sleep(backoff(failed)).await;
        }
    }

    /// Connects, and says what there is to say until that fails.
    async fn speak(&mut self, connector: &impl Connect) -> Result<Infallible, SourceError> {
        let mut connection = connector.connect(self.name).await?;
        let genesis = connection.genesis();
        let mut newest = None;
        let mut silent_at = Instant::now() + SILENCE;
        loop {
            let asked = {
                let wanted = self.wanted.borrow_and_update();
                check_genesis(wanted.genesis, genesis).map_err(|problem| problem.at(self.name))?;
                wanted.numbers[self.number].iter().find(|number| newest >= Some(**number)).copied()
            };
            if let Some(number) = asked {
                let head = connection.read_at(number, self.keys).await?;
                let statement = head.map(|head| statement(genesis, head));
                self.answered(number, statement).await;
                continue;
            }
            let news = tokio::select! {
                news = timeout_at(silent_at, connection.next()) => {
                    news.unwrap_or_else(|_| Err(SourceProblem::Silent { after: SILENCE }.at(self.name)))?
                }
                // Its sender lives as long as we do.
                _ = self.wanted.changed() => continue,
            };
            match news {
                News::BestRuntime(spec_version) => self.say(Said::BestRuntime(spec_version)).await,
                News::Finalized => {
                    let head = connection.read_newest(self.keys).await?;
                    if newest < Some(head.block.number) {
                        newest = Some(head.block.number);
                        silent_at = Instant::now() + SILENCE;
                    }
                    self.say(Said::Newest(statement(genesis, head))).await;
                }
            }
        }
    }

    /// Answers, and waits until that was heard, so that it is not asked the same again.
    async fn answered(&mut self, number: u64, statement: Option<Statement>) {
        self.say(Said::At(number, statement)).await;
        let is_heard = |wanted: &Wanted| !wanted.numbers[self.number].contains(&number);
        // Its sender lives as long as we do.
        let _ = self.wanted.wait_for(is_heard).await;
    }

    async fn say(&self, what: Said) {
        // Who does not listen any more has dropped us too.
        let _ = self.said.send((self.number, what)).await;
    }
}

/// What a member read. Of values that no record can have, only so much is kept as shows it.
fn statement(genesis: GenesisHash, mut head: Head) -> Statement {
    for value in head.values.iter_mut().flatten() {
        value.truncate(MAX_VALUE_BYTES + 1);
        value.shrink_to_fit();
    }
    Statement { genesis, head }
}
