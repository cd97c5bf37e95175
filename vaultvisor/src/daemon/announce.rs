//! What the chain's events tell of the releases that it states, for the history. Nothing waits for it, and nothing is
//! decided by it.

use std::time::{Duration, SystemTime};

use tokio::{sync::mpsc, time::sleep};

use super::{chronicle::Chronicle, unix_secs};
use crate::{
    chain::{
        ChainView,
        annotation::{Announcement, Search, find},
        records::Records,
    },
    decide::{Entry, Kind},
    error_chain::Chained,
    history::Record,
    journal::NetworkRecord,
    release::Release,
    status::Time,
};

/// Governance states a release now and then; of more than these at once the rest goes without annotation.
const QUEUE: usize = 4;

/// How long after a statement was seen it is looked for. In these seconds its vaults may be switched, and nothing shall
/// compete with that for the processor and the line.
const AFTER: Duration = Duration::from_secs(3);

/// A statement that is to be looked for.
struct Wanted {
    search: Search,
    release: Release,
    spec_version: u32,
}

/// Notices new statements of one network.
pub(super) struct Announcer {
    records: Records,
    /// The nodes that can be asked.
    endpoints: Vec<String>,
    /// The newest statement, and the newest finalized block that was seen; `None` before the first.
    seen: Option<(Option<Release>, u64)>,
    /// Where a vaultvisor before this one had come, and the number of the statement there.
    known: Option<(u64, Option<u64>)>,
    queue: mpsc::Sender<Wanted>,
}

/// What an [`Announcer`] noticed, until it is in the history.
pub(super) struct Announcements {
    network: String,
    queue: mpsc::Receiver<Wanted>,
    chronicle: Chronicle,
}

/// The two ends of one network's announcements.
pub(super) fn announcements(
    network: &str,
    records: Records,
    endpoints: Vec<String>,
    known: Option<&NetworkRecord>,
    chronicle: Chronicle,
) -> (Announcer, Announcements) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let known = known.map(|known| (known.finalized.number, known.sequence));
    (
        Announcer { records, endpoints, seen: None, known, queue: sender },
        Announcements { network: network.to_owned(), queue: receiver, chronicle },
    )
}

impl Announcer {
    /// Takes in what is believed now.
    pub(super) fn saw(&mut self, view: &ChainView) {
        let before = self.stated_after(view);
        self.seen = Some((view.current.clone(), view.finalized.number));
        let (Some(before), Some(release)) = (before, &view.current) else { return };
        if let Some(search) = Search::of(view, &self.records, &self.endpoints, before) {
            let wanted = Wanted { search, release: release.clone(), spec_version: view.spec_version };
            // Full: it goes without.
            let _ = self.queue.try_send(wanted);
        }
    }

    /// A block that did not have the statement yet; `None` if it is not new, or was there when nobody knew of the
    /// chain.
    fn stated_after(&self, view: &ChainView) -> Option<u64> {
        match (&self.seen, &self.known) {
            (Some((stated, block)), _) => (*stated != view.current).then_some(*block),
            (None, Some((block, sequence))) => {
                let found = view.current.as_ref().and_then(|release| release.sequence);
                (found > *sequence).then_some(*block)
            }
            (None, None) => None,
        }
    }
}

impl Announcements {
    /// Looks for each, one after the other, until the announcer is gone.
    pub(super) async fn write(mut self) {
        while let Some(Wanted { search, release, spec_version }) = self.queue.recv().await {
            sleep(AFTER).await;
            match find(&search).await {
                Ok(announcement) => {
                    tracing::info!(network = self.network, "release {}: {announcement}", release.version);
                    self.chronicle.add(vec![self.line(&announcement, &release, spec_version)]).await;
                }
                Err(error) => tracing::info!(
                    network = self.network,
                    "where release {} was stated is not known: {}",
                    release.version,
                    Chained(&error)
                ),
            }
        }
    }

    fn line(&self, announcement: &Announcement, release: &Release, spec_version: u32) -> Record {
        let entry = Entry {
            kind: Kind::Announced,
            from: None,
            to: Some(release.into()),
            text: announcement.to_string(),
            finalized: Some(announcement.block.number),
            sequence: release.sequence,
            spec_version: Some(spec_version),
            downtime_us: None,
        };
        let at = Time(unix_secs(SystemTime::now()));
        Record { at, vault: None, network: self.network.clone(), entry }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::{FinalizedBlock, records::RecordName},
        release::{Artifacts, Checksum, GenesisHash},
    };

    fn view(block: u64, sequence: Option<u64>) -> ChainView {
        let release = |sequence: u64| Release {
            sequence: Some(sequence),
            version: "1.0".parse().expect("a version"),
            binary_checksum: Checksum([sequence as u8; 32]),
            uri: None,
            artifacts: Artifacts::new(),
        };
        ChainView {
            source: "ws://a".to_owned(),
            genesis: GenesisHash([1; 32]),
            finalized: FinalizedBlock { number: block, hash: [2; 32] },
            spec_version: 1,
            record: RecordName::VaultRelease,
            current: sequence.map(release),
            pending: None,
        }
    }

    /// Which of these views an announcer wants to know more about.
    fn wanted(known: Option<(u64, Option<u64>)>, views: &[ChainView]) -> Vec<u64> {
        let (queue, mut receiver) = mpsc::channel(views.len());
        let endpoints = vec!["ws://a".to_owned()];
        let mut announcer = Announcer { records: Records::default(), endpoints, seen: None, known, queue };
        let mut wanted = Vec::new();
        for view in views {
            announcer.saw(view);
            if receiver.try_recv().is_ok() {
                wanted.push(view.finalized.number);
            }
        }
        wanted
    }

    #[test]
    fn each_new_statement_is_looked_for_once_and_an_old_one_never() {
        let views = [(5, Some(1)), (6, Some(1)), (9, Some(2)), (10, Some(2)), (12, None), (15, Some(3))]
            .map(|(block, sequence)| view(block, sequence));
        assert_eq!(wanted(None, &views), [9, 15], "what was there at first may be years old");
        assert_eq!(wanted(Some((3, Some(1))), &views), [9, 15]);
        assert_eq!(wanted(Some((3, None)), &views), [5, 9, 15], "stated while nobody listened");
    }
}
