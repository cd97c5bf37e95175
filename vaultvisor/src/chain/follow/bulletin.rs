//! What is told of a network: to its vaults, to whoever asks for the status, and to the audit trail.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::SILENCE;
use crate::chain::{
    ChainStatus, ChainView, EndpointStatus, Note, NoteKind, agreement::Rule, source::in_words,
};

/// The audit trail is told of the same thing about the same source this often at most: it is for what somebody may
/// want to know in a year, and not for each time that a bad line breaks.
const NOTE_EVERY: Duration = Duration::from_secs(3600);

/// What is told of one source. A node's own words may be in it, of any length and of any characters; it is kept in
/// every vault's durable state and printed on terminals.
const MAX_PROBLEM_CHARS: usize = 500;

fn bounded(text: &str) -> String {
    let escaped = text.chars().flat_map(|c| {
        let (plain, escaped) =
            if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
        plain.into_iter().chain(escaped.into_iter().flatten())
    });
    escaped.take(MAX_PROBLEM_CHARS).collect()
}

/// Whether this is wrong still, and only the blocks and hashes that it tells of are others.
///
/// What was told first stays then: since which block that is, can be read from it, and with each further one every vault
/// would be told anew, would write it down and would log it.
fn goes_on(told: Option<&str>, problem: &str) -> bool {
    let has_digit = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    let words = |text| str::split(text, |c: char| !c.is_alphanumeric()).filter(move |word| !has_digit(word));
    told.is_some_and(|told| words(told).eq(words(problem)))
}

/// The newest that is known of a network, and what is wrong with it.
pub(super) struct Bulletin<'a> {
    network: String,
    status: &'a watch::Sender<ChainStatus>,
    notes: mpsc::Sender<Note>,
    /// When what was noted of which source.
    noted: BTreeMap<(NoteKind, usize), Instant>,
    rule: Rule,
    endpoints: Vec<EndpointStatus>,
    /// Why what enough sources say is not believed.
    doubt: Option<String>,
    /// The newest finalized block that is known: that was told of last as something newer.
    newest: Option<u64>,
    /// The newest one that was believed.
    believed: Option<u64>,
    /// When that grew, or we began, on both clocks.
    progress: (Instant, SystemTime),
}

impl<'a> Bulletin<'a> {
    pub(super) fn new(
        network: &str,
        rule: Rule,
        sources: &[String],
        known: Option<u64>,
        status: &'a watch::Sender<ChainStatus>,
        notes: mpsc::Sender<Note>,
    ) -> Self {
        let now = (Instant::now(), SystemTime::now());
        let endpoint = |address: &String| EndpointStatus {
            address: address.clone(),
            connected: false,
            finalized: None,
            problem: None,
            since: now.1,
        };
        Self {
            network: network.to_owned(),
            status,
            notes,
            noted: BTreeMap::new(),
            rule,
            endpoints: sources.iter().map(endpoint).collect(),
            doubt: None,
            newest: known,
            believed: known,
            progress: now,
        }
    }

    /// A source is connected and told of a finalized block. Answers whether that is a newer one than it told of before.
    pub(super) fn told(&mut self, source: usize, number: u64) -> bool {
        let endpoint = &mut self.endpoints[source];
        if !endpoint.connected {
            endpoint.connected = true;
            endpoint.since = SystemTime::now();
        }
        endpoint.finalized.replace(number) < Some(number)
    }

    /// A source failed.
    pub(super) fn lost(&mut self, source: usize, problem: String) {
        self.trouble(source, Some(problem));
        let endpoint = &mut self.endpoints[source];
        if endpoint.connected {
            endpoint.connected = false;
            endpoint.since = SystemTime::now();
        }
        self.publish(None);
    }

    /// What is wrong with a source that goes on; `None` if nothing is.
    pub(super) fn trouble(&mut self, source: usize, problem: Option<String>) {
        let problem = problem.map(|problem| bounded(&problem));
        let endpoint = &mut self.endpoints[source];
        let is_old = problem.as_ref().is_some_and(|problem| goes_on(endpoint.problem.as_deref(), problem));
        if !is_old && endpoint.problem != problem {
            endpoint.problem = problem;
            endpoint.since = SystemTime::now();
        }
    }

    /// What enough sources say is not believed.
    pub(super) fn doubt(&mut self, doubt: &str) {
        if !goes_on(self.doubt.as_deref(), doubt) {
            self.doubt = Some(bounded(doubt));
        }
        self.publish(None);
    }

    /// Whether a finalized block is a newer one than all that are known; it is known from now on.
    ///
    /// A number that is not believed says only that somebody goes on: what is believed later is never held against it,
    /// as anybody may tell of a block with any number.
    pub(super) fn is_progress(&mut self, number: u64, is_believed: bool) -> bool {
        let before = if is_believed { self.believed } else { self.newest };
        let is_newer = before < Some(number);
        if is_newer {
            self.newest = Some(number);
            if is_believed {
                self.believed = Some(number);
            }
            self.progress = (Instant::now(), SystemTime::now());
        }
        is_newer
    }

    /// Something newer is believed.
    pub(super) fn believe(&mut self, view: &ChainView) {
        tracing::debug!(
            network = self.network,
            endpoint = view.source,
            block = view.finalized.number,
            "finalized"
        );
        self.doubt = None;
        self.publish(Some(view));
    }

    /// The best block's runtime.
    pub(super) fn best_runtime(&self, best: Option<u32>) {
        self.status.send_if_modified(|status| {
            let is_new = status.best_spec_version != best;
            status.best_spec_version = best;
            is_new
        });
    }

    /// Since when there was no newer finalized block, if that is too long ago.
    pub(super) fn stale_since(&self) -> Option<SystemTime> {
        (self.progress.0.elapsed() >= SILENCE).then_some(self.progress.1)
    }

    /// When it will be, unless something newer comes; `None` if it is.
    pub(super) fn stale_at(&self) -> Option<Instant> {
        self.stale_since().is_none().then_some(self.progress.0 + SILENCE)
    }

    /// Publishes what is known now.
    pub(super) fn publish(&mut self, view: Option<&ChainView>) {
        let problem = self.problem();
        if let (Some(problem), true) = (&problem, self.status.borrow().problem != problem) {
            tracing::warn!(network = self.network, "{problem}");
        }
        let stale_since = self.stale_since();
        if stale_since.is_some() {
            self.note(NoteKind::Stale, 0, self.standing_still());
        }
        self.status.send_modify(|status| {
            if let Some(view) = view {
                status.view = Some(view.clone());
                status.seen_at = Some(SystemTime::now());
            }
            status.connected = self.is_connected();
            status.problem = problem;
            status.stale_since = stale_since;
            status.endpoints.clone_from(&self.endpoints);
        });
    }

    /// Tells the audit trail, unless it was told of the same a short time ago.
    pub(super) fn note(&mut self, kind: NoteKind, source: usize, text: String) {
        let now = Instant::now();
        if self.noted.get(&(kind, source)).is_some_and(|at| now.duration_since(*at) < NOTE_EVERY) {
            return;
        }
        // Who does not take them for so long cannot write them either.
        if self.notes.try_send(Note { kind, text, finalized: self.newest }).is_ok() {
            self.noted.insert((kind, source), now);
        }
    }

    /// What was wrong with a source, and still is as far as anybody knows.
    pub(super) fn problem_of(&self, source: usize) -> Option<&str> {
        self.endpoints[source].problem.as_deref()
    }

    /// How a source is called in messages, with what is wrong with it.
    pub(super) fn of(&self, source: usize, problem: &str) -> String {
        format!("{}: {}", in_words(&self.endpoints[source].address), bounded(problem))
    }

    fn is_connected(&self) -> bool {
        match self.rule {
            Rule::Agreement(needed) => self.connected() >= needed,
            Rule::Decides(source) => self.endpoints[source].connected,
        }
    }

    fn connected(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.connected).count()
    }

    fn standing_still(&self) -> String {
        let newest = match self.newest {
            Some(newest) => format!("no newer finalized block than {newest}"),
            None => "no finalized block".to_owned(),
        };
        let agreed = match self.rule {
            Rule::Agreement(needed) if needed > 1 => format!(" that {needed} sources agree on"),
            _ => String::new(),
        };
        format!("{newest}{agreed} since {}", self.progress_at())
    }

    fn progress_at(&self) -> humantime::Rfc3339Timestamp {
        humantime::format_rfc3339_seconds(self.progress.1)
    }

    /// All that is wrong, in words that stay the same for as long as it is the same that is wrong.
    fn problem(&self) -> Option<String> {
        let (is_stale, is_connected) = (self.stale_since().is_some(), self.is_connected());
        let mut problems = Vec::new();
        if is_stale {
            problems.push(self.standing_still());
        }
        problems.extend(self.doubt.clone());
        // Who is not connected is of no interest as long as enough others are, and all is well with them.
        let of_interest = |endpoint: &EndpointStatus| endpoint.connected || is_stale || !is_connected;
        let mut of_endpoints: Vec<String> = Vec::new();
        for (source, endpoint) in self.endpoints.iter().enumerate() {
            if let Some(problem) = endpoint.problem.as_deref().filter(|_| of_interest(endpoint)) {
                of_endpoints.push(self.of(source, problem));
            }
        }
        if !is_connected && !of_endpoints.is_empty() {
            if let Rule::Agreement(needed) = self.rule
                && needed > 1
            {
                problems.push(format!(
                    "{needed} sources must agree, {} of {} are connected",
                    self.connected(),
                    self.endpoints.len()
                ));
            }
            if let Some(newest) = self.newest.filter(|_| !is_stale) {
                of_endpoints.push(format!("last finalized block {newest} at {}", self.progress_at()));
            }
        }
        problems.extend(of_endpoints);
        (!problems.is_empty()).then(|| problems.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_goes_on_when_it_is_told_of_another_block() {
        let lie = "it says that finalized block 128 is 0x01ab, but it is 0xcd: another fork, or a lie";
        let again = "it says that finalized block 129 is 0x99, but it is 0x7f3e: another fork, or a lie";
        assert!(goes_on(Some(lie), again));
        assert!(!goes_on(Some(lie), "it states something else than the others in finalized block 129"));
        assert!(!goes_on(Some("connection refused (os error 111)"), "connection reset (os error 104)"));
        assert!(!goes_on(None, lie), "it begins");
    }
}
