//! One chain's task: follows it, and makes what was seen durable before any vault hears of it.
//!
//! The pin of a chain must be on disk before a first vault is started on it, because the vault's lock is
//! named after it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::{announce::announcements, chronicle::Chronicle, unix_secs};
use crate::{
    chain::{
        ChainStatus, Known, Note, NoteKind, SourceSettings, follow::follow,
        light_client::LightClientConnector,
    },
    config::Network,
    decide::{Entry, Kind},
    error_chain::Chained,
    history::Record,
    journal::{NetworkJournal, NetworkRecord},
    status::Time,
};

/// How much of finality's progress a crash may forget. Writing it with every block would cost a sync every
/// few seconds for as long as vaultvisor lives.
const PROGRESS_EVERY: Duration = Duration::from_secs(300);

/// A note is rare, and who writes them is quick.
const NOTE_QUEUE: usize = 16;

/// Starts the task of a network; its vaults watch what is published, also across a task's end and the next
/// one's start.
pub(super) fn spawn(
    network: Network,
    known: Option<NetworkRecord>,
    journal: NetworkJournal,
    published: Arc<watch::Sender<ChainStatus>>,
    chronicle: Chronicle,
) -> AbortHandle {
    let mut records = network.records;
    if let Some(record) = known.as_ref().and_then(|known| known.record) {
        records.saw(record);
    }
    let (mut announcer, announcements) = announcements(
        &network.name,
        records.clone(),
        network.endpoints.clone(),
        known.as_ref(),
        chronicle.clone(),
    );
    let settings = SourceSettings {
        network: network.name.clone(),
        endpoints: network.endpoints,
        light_client: network
            .light_client
            .map(|specs| LightClientConnector::keeping(&network.name, specs, journal.folder())),
        genesis: network.genesis.or(known.as_ref().map(|record| record.genesis)),
        records,
        agreement: network.agreement,
        known: known.as_ref().map(Known::of),
    };
    let (notes, mut noted) = mpsc::channel(NOTE_QUEUE);
    let name = network.name.clone();
    let (seen, mut seen_receiver) = watch::channel(ChainStatus::default());
    let mut recorded = known;
    let task = tokio::spawn(async move {
        let record = async {
            while seen_receiver.changed().await.is_ok() {
                let mut status = seen_receiver.borrow_and_update().clone();
                if let Err(problem) = record_news(&network.name, &status, &mut recorded, &journal).await {
                    tracing::error!(network = network.name, "{problem}");
                    // What could not be made durable is not acted on.
                    status.view = published.borrow().view.clone();
                    status.problem = Some(problem);
                }
                if let Some(view) = &status.view {
                    announcer.saw(view);
                }
                published.send_replace(status);
            }
        };
        let write = async {
            while let Some(note) = noted.recv().await {
                chronicle.add(vec![line(&name, note)]).await;
            }
        };
        tokio::join!(follow(settings, seen, notes), record, write, announcements.write());
    });
    task.abort_handle()
}

fn line(network: &str, Note { kind, text, finalized }: Note) -> Record {
    let kind = match kind {
        NoteKind::FailedOver => Kind::FailedOver,
        NoteKind::Stale => Kind::Stale,
        NoteKind::Contradicted => Kind::Contradicted,
    };
    let (from, to, sequence, spec_version, downtime_us) = (None, None, None, None, None);
    let entry = Entry { kind, from, to, text, finalized, sequence, spec_version, downtime_us };
    let at = Time(unix_secs(SystemTime::now()));
    Record { at, vault: None, network: network.to_owned(), entry }
}

async fn record_news(
    network: &str,
    status: &ChainStatus,
    recorded: &mut Option<NetworkRecord>,
    journal: &NetworkJournal,
) -> Result<(), String> {
    let Some(view) = &status.view else { return Ok(()) };
    let record = NetworkRecord::of(network, view, unix_secs(SystemTime::now()));
    let is_news = recorded.as_ref().is_none_or(|old| {
        let age_secs = record.seen_unix_secs.abs_diff(old.seen_unix_secs);
        record.brings_news_after(old) || age_secs >= PROGRESS_EVERY.as_secs()
    });
    if is_news {
        // A slow disk holds up this network, and not the vaults of others.
        let (journal, new) = (journal.clone(), record.clone());
        match tokio::task::spawn_blocking(move || journal.store(&new)).await {
            Ok(stored) => stored.map_err(|error| Chained(&error).to_string())?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        *recorded = Some(record);
    }
    Ok(())
}
