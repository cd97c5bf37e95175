//! One source is enough: one connection at a time.
//!
//! The sources are tried in their order, each failure moves on to the next, and after a round in which all failed the
//! loop waits. Nothing polls: between two finalized blocks the task sleeps.

use std::{convert::Infallible, num::NonZeroU32};

use tokio::time::{Instant, sleep, timeout_at};

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
        records::StorageKey,
        source::{Connect, News, ReleaseSource, SourceError, SourceProblem},
    },
    error_chain::Chained,
    release::GenesisHash,
};

pub(super) struct Follower<'a> {
    pub(super) sources: Vec<String>,
    pub(super) keys: Vec<StorageKey>,
    pub(super) genesis: Option<GenesisHash>,
    pub(super) belief: Belief,
    pub(super) bulletin: Bulletin<'a>,
    /// Who was believed last.
    pub(super) source: Option<usize>,
}

impl Follower<'_> {
    pub(super) async fn run(mut self, connector: &impl Connect) -> Infallible {
        let Some(count) = NonZeroU32::new(self.sources.len() as u32) else {
            self.bulletin.doubt("no source is configured for this network");
            return std::future::pending().await;
        };
        let mut failed: u32 = 0;
        for source in (0..self.sources.len()).cycle() {
            let began = Instant::now();
            let Err(SourceError { problem, .. }) = self.listen(connector, source).await;
            if let SourceProblem::NotTrue(_) | SourceProblem::WrongGenesis { .. } = problem {
                let text = self.bulletin.of(source, &problem.to_string());
                self.bulletin.note(NoteKind::Contradicted, source, text);
            }
            self.bulletin.lost(source, Chained(&problem).to_string());
            if began.elapsed() >= HELD {
                failed = 0;
            }
            failed = failed.saturating_add(1);
            if failed % count == 0 {
                sleep(backoff(failed / count)).await;
            }
        }
        std::future::pending().await
    }

    /// Connects to a source and takes in what it says until that fails.
    async fn listen(&mut self, connector: &impl Connect, source: usize) -> Result<Infallible, SourceError> {
        let name = self.sources[source].clone();
        let mut connection = connector.connect(&name).await?;
        let genesis = connection.genesis();
        check_genesis(self.genesis, genesis).map_err(|problem| problem.at(&name))?;
        // A node that only repeats what is known, that catches up, or that nobody believes, is as good as silent:
        // another one may be ahead.
        let mut silent_at = Instant::now() + SILENCE;
        let mut doubted = None;
        loop {
            let Ok(news) = timeout_at(silent_at, connection.next()).await else {
                let silent = SourceProblem::Silent { after: SILENCE };
                return Err(doubted.map_or(silent, SourceProblem::NotTrue).at(&name));
            };
            let head = match news? {
                News::Finalized => connection.read_newest(&self.keys).await?,
                News::BestRuntime(best) => {
                    self.bulletin.best_runtime(best);
                    continue;
                }
            };
            self.bulletin.told(source, head.block.number);
            let taken = self.belief.take(&name, genesis, &head).cloned();
            let is_only_one = self.sources.len() == 1;
            let moves = is_only_one || matches!(taken, Ok(_) | Err(Doubt::Unreadable(_)));
            let moves = moves && self.bulletin.is_progress(head.block.number, taken.is_ok());
            // Where there is no other, there is nobody else to ask.
            if moves && (is_only_one || taken.is_ok()) {
                silent_at = Instant::now() + SILENCE;
            }
            match taken {
                Ok(view) => {
                    doubted = None;
                    self.genesis = Some(genesis);
                    if self.bulletin.stale_since().is_none() {
                        self.bulletin.trouble(source, None);
                    }
                    self.bulletin.believe(&view);
                    self.note_fail_over(source);
                }
                Err(Doubt::Contradicts(reason)) if !is_only_one => {
                    return Err(SourceProblem::NotTrue(reason).at(&name));
                }
                Err(doubt) => {
                    let reason = doubt.text().to_owned();
                    if let Doubt::Contradicts(_) = doubt {
                        let text = self.bulletin.of(source, &reason);
                        self.bulletin.note(NoteKind::Contradicted, source, text);
                    }
                    doubted = Some(reason.clone());
                    self.bulletin.trouble(source, Some(reason));
                    self.bulletin.publish(None);
                }
            }
        }
    }

    fn note_fail_over(&mut self, source: usize) {
        if let Some(before) = self.source.replace(source).filter(|before| *before != source) {
            let (now, before_name) = (&self.sources[source], &self.sources[before]);
            let why = self.bulletin.problem_of(before).unwrap_or("it ended");
            let text = format!("{now} is read now instead of {before_name}: {why}");
            self.bulletin.note(NoteKind::FailedOver, source, text);
        }
    }
}
