//! Writes the history for all vaults, one after the other, where it holds up nobody.

use std::{collections::VecDeque, path::Path, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    error_chain::Chained,
    history::{Record, Writer},
};

/// More records than this wait only while the disk takes nothing for hours; then the oldest are given up.
const MAX_WAITING: usize = 1000;
/// Vaults wait, briefly, when more than this is under way.
const QUEUE: usize = 64;
/// A disk that takes longer to make some lines durable is busy or hangs: no vault waits for it, as for one without room.
const TRY_LIMIT: Duration = Duration::from_secs(2);
/// Between two tries to write what could not be written, for want of room on the disk say.
const RETRY: Duration = Duration::from_secs(5);

/// Where records go.
#[derive(Debug, Clone)]
pub(super) struct Chronicle {
    sender: mpsc::Sender<Message>,
}

#[derive(Debug)]
struct Message {
    records: Vec<Record>,
    /// Told after the first try to make them durable.
    tried: Option<oneshot::Sender<()>>,
}

impl Chronicle {
    /// Opens the history of a home; the task ends, with everything written that can be, after the last clone.
    pub(super) fn open(home: &Path) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender }, tokio::spawn(write_all(Writer::new(home), receiver)))
    }

    /// Hands records over, to be written soon.
    pub(super) async fn add(&self, records: Vec<Record>) {
        self.send(Message { records, tried: None }).await;
    }

    /// Hands records over and waits until they are durable, or one try has shown that they cannot be now; for a short
    /// while at most.
    pub(super) async fn add_durably(&self, records: Vec<Record>) {
        if tokio::time::timeout(TRY_LIMIT, self.tried(records)).await.is_err() {
            tracing::error!("the disk of the home does not answer, so that the history is not written");
        }
    }

    /// Waits until everything that was handed over before is durable, or cannot be now, however long that takes.
    pub(super) async fn flush(&self) {
        self.tried(Vec::new()).await;
    }

    async fn tried(&self, records: Vec<Record>) {
        let (tried, answer) = oneshot::channel();
        self.send(Message { records, tried: Some(tried) }).await;
        // No answer means that the task is gone, after a panic of its own: a vault goes on without a history.
        let _ = answer.await;
    }

    async fn send(&self, message: Message) {
        if self.sender.send(message).await.is_err() {
            tracing::error!("the history is not written any more");
        }
    }
}

async fn write_all(mut writer: Writer, mut receiver: mpsc::Receiver<Message>) {
    let mut waiting: VecDeque<Record> = VecDeque::new();
    let mut failing = false;
    loop {
        let next = match failing {
            false => receiver.recv().await,
            // With something left over, time is a reason to try again too.
            true => match tokio::time::timeout(RETRY, receiver.recv()).await {
                Ok(next) => next,
                Err(_) => Some(Message { records: Vec::new(), tried: None }),
            },
        };
        let Some(mut message) = next else { break };
        let mut told: Vec<oneshot::Sender<()>> = message.tried.take().into_iter().collect();
        waiting.extend(message.records);
        while let Ok(mut message) = receiver.try_recv() {
            told.extend(message.tried.take());
            waiting.extend(message.records);
        }
        while waiting.len() > MAX_WAITING {
            waiting.pop_front();
        }
        let batch: Vec<Record> = waiting.iter().cloned().collect();
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = writer.append(&batch);
            (writer, outcome)
        });
        let Ok((back, outcome)) = outcome.await else { return };
        writer = back;
        match outcome {
            Ok(()) => {
                failing = false;
                waiting.clear();
            }
            Err(error) => {
                if !failing {
                    tracing::error!("{}; tried again until it can be", Chained(&error));
                }
                failing = true;
            }
        }
        for told in told {
            // Whoever asked may have been dropped.
            let _ = told.send(());
        }
    }
}

/// A history that is written when a test says so.
#[cfg(test)]
pub(super) struct HeldBack {
    writer: Writer,
    receiver: mpsc::Receiver<Message>,
}

#[cfg(test)]
impl HeldBack {
    pub(super) fn open(home: &Path) -> (Chronicle, Self) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Chronicle { sender }, Self { writer: Writer::new(home), receiver })
    }

    /// Waits until there is something to write.
    pub(super) async fn is_wanted(&self) {
        while self.receiver.is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Writes what there is, and all that comes.
    pub(super) fn go_on(self) {
        tokio::spawn(write_all(self.writer, self.receiver));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decide, history, status::Time};

    fn record(text: &str) -> Record {
        let kind = decide::Kind::Started;
        let (from, to, finalized, sequence, spec_version) = (None, None, None, None, None);
        let (text, downtime_us) = (text.into(), None);
        let entry = decide::Entry { kind, from, to, text, finalized, sequence, spec_version, downtime_us };
        Record { at: Time(1), vault: Some("v".into()), network: "dev".into(), entry }
    }

    fn texts(home: &Path) -> Vec<String> {
        let reading = history::read(home).expect("readable");
        reading.records.into_iter().map(|record| record.entry.text).collect()
    }

    #[tokio::test]
    async fn what_was_added_durably_is_there_and_the_rest_at_the_end() {
        let home = tempfile::tempdir().expect("home");
        let (chronicle, task) = Chronicle::open(home.path());
        chronicle.add(vec![record("a")]).await;
        chronicle.add_durably(vec![record("b")]).await;
        assert_eq!(texts(home.path()), ["a", "b"]);
        chronicle.clone().add(vec![record("c")]).await;
        drop(chronicle);
        task.await.expect("ends");
        assert_eq!(texts(home.path()), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_history_that_cannot_be_written_holds_up_nobody_and_is_made_up_for() {
        let folder = tempfile::tempdir().expect("folder");
        let home = folder.path().join("home");
        let (chronicle, task) = Chronicle::open(&home);
        chronicle.add_durably(vec![record("a")]).await;
        assert_eq!(texts(&home), Vec::<String>::new());
        std::fs::create_dir(&home).expect("room again");
        chronicle.add_durably(vec![record("b")]).await;
        assert_eq!(texts(&home), ["a", "b"]);
        drop(chronicle);
        task.await.expect("ends");
    }
}
