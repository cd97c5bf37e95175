//! The networks: sources, what they state, where the release is, and what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use url::Url;

use super::{Finding, Verdict};
use crate::{
    artifact::{
        transfer::{Limits, Transfer},
        url::{BINARY_FOR, TARGET},
    },
    chain::{
        ChainView, SourceSettings,
        check::{NetworkReport, SourceReport},
        records::{RecordName, Records},
    },
    config::Network,
    daemon::places::files,
    decide::state::Build,
    error_chain::Chained,
    release::{GenesisHash, Release},
};

/// A finalized block that is older than this is no news: bridge chains finalize every 6 to 20 seconds.
const MAX_AGE: Duration = Duration::from_secs(300);

/// A block cannot be from the future by more than clocks differ that are set by anybody.
const MAX_AHEAD: Duration = Duration::from_secs(60);

/// Looks at a network; answers which chain it is too, if a source can be read.
pub async fn check(
    network: &Network,
    source: &SourceSettings,
    max_artifact_bytes: u64,
) -> (Vec<Finding>, Option<GenesisHash>) {
    let name = &network.name;
    let mut findings = Vec::new();
    // Where only `clients-info` is read, every statement comes with a place of its own.
    if network.release_urls.is_empty() && network.records.order() != [RecordName::ClientsInfo] {
        let what = format!(
            "there is none: every file has to be there already, by `vaultvisor add`, or expected networks.{name}.release_urls"
        );
        findings.push(Finding::doubtful(format!("{name}, release URLs"), what));
    }
    let NetworkReport { sources, agreement } = crate::chain::check::check(source).await;
    let now_ms = unix_ms();
    for (address, told) in &sources {
        let found = told.as_ref().map_err(Clone::clone).and_then(|report| in_words(report, now_ms));
        findings.push(Finding::of(format!("{name}, {address}"), found));
    }
    findings.extend(agreement.map(|agreement| Finding::of(format!("{name}, agreement"), agreement)));
    let newest = sources.iter().filter_map(|(_, told)| told.as_ref().ok());
    let newest = match &source.light_client {
        Some(_) => sources.first().and_then(|(_, told)| told.as_ref().ok()),
        None => newest.max_by_key(|report| report.view.finalized.number),
    };
    let Some(SourceReport { view, made_unix_ms }) = newest else { return (findings, None) };
    findings.extend(made_unix_ms.map(|made| Finding::of(format!("clock, by {name}"), clock(made, now_ms))));
    findings.push(match &view.current {
        Some(release) => Finding::of(format!("{name}, record"), Ok(stated(view, release))),
        None => Finding::doubtful(
            format!("{name}, record"),
            format!(
                "no release is stated yet at block {} ({}): no vault would be started; if one should be, see whether these \
                 are the names in this runtime",
                view.finalized.number,
                looked_under(&network.records)
            ),
        ),
    });
    // What is scheduled is nothing that a run would need now.
    let pending =
        view.pending.as_ref().map(|pending| (pending.release(), "scheduled release", Verdict::Doubtful));
    for (release, what, at_worst) in
        view.current.clone().map(|current| (current, "release", Verdict::Bad)).into_iter().chain(pending)
    {
        let mut found = of_release(network, &release, what, max_artifact_bytes).await;
        for finding in &mut found {
            finding.verdict = finding.verdict.min(at_worst);
        }
        findings.extend(found);
    }
    (findings, Some(view.genesis))
}

/// The names that the records have in the configuration, which a typo makes the chain silent under.
fn looked_under(records: &Records) -> String {
    let names = records.order().iter().map(|record| match record {
        RecordName::VaultRelease => format!("pallet {}", records.pallet),
        RecordName::ClientsInfo => format!("client {}", records.client),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

fn stated(view: &ChainView, release: &Release) -> String {
    let sequence = release.sequence.map_or_else(String::new, |sequence| format!(", statement {sequence}"));
    format!("{}: {} ({}){sequence}", view.record, release.version, release.binary_checksum)
}

fn in_words(report: &SourceReport, now_ms: u64) -> Result<String, String> {
    let SourceReport { view, made_unix_ms } = report;
    let (block, genesis, runtime) = (view.finalized.number, view.genesis, view.spec_version);
    let said = format!("genesis {genesis}, finalized block {block}, runtime {runtime}");
    let Some(age) = made_unix_ms.map(|made| Duration::from_millis(now_ms.saturating_sub(made))) else {
        return Ok(said);
    };
    match age <= MAX_AGE {
        true => Ok(format!("{said}, made {} s ago", age.as_secs())),
        false => Err(format!(
            "{said}, made {} s ago, expected at most {} s: the node or the chain stands still, or this machine's clock is ahead",
            age.as_secs(),
            MAX_AGE.as_secs()
        )),
    }
}

/// Whether this machine's clock fits the newest block. That one is old, or none is, is told of each source.
fn clock(made_ms: u64, now_ms: u64) -> Result<String, String> {
    let ahead = Duration::from_millis(made_ms.saturating_sub(now_ms));
    match ahead <= MAX_AHEAD {
        true => Ok("not behind the chain's".to_owned()),
        false => Err(format!("{} s behind the chain's: set it, by NTP say", ahead.as_secs())),
    }
}

/// Whether every file of a release is anywhere. A mirror may miss one as long as another place has it.
async fn of_release(
    network: &Network,
    release: &Release,
    what: &str,
    max_artifact_bytes: u64,
) -> Vec<Finding> {
    let what = format!("{}, {what}", network.name);
    let Some(build) = Build::of(release, TARGET) else {
        let version = &release.version;
        let reason =
            format!("{version} has no binary for this machine, expected an artifact {BINARY_FOR}{TARGET}");
        return vec![Finding::of(what, Err(reason))];
    };
    let transfer = match Transfer::new(Limits { max_bytes: max_artifact_bytes, ..Limits::default() }) {
        Ok(transfer) => transfer,
        Err(error) => return vec![Finding::of(what, Err(Chained(&error).to_string()))],
    };
    let mut findings = Vec::new();
    for file in files(network, &build) {
        let what = file.name.map_or_else(|| what.clone(), |name| format!("{what}, {name}"));
        match file.urls {
            Ok(urls) => findings.extend(places(&transfer, &urls, &what).await),
            Err(reason) => findings.push(Finding::of(what, Err(reason))),
        }
    }
    findings
}

async fn places(transfer: &Transfer, urls: &[Url], what: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for url in urls {
        let found = transfer.probe(url).await;
        let found = found.map(|length| match length {
            Some(length) => format!("{url} has {length} bytes"),
            None => format!("{url} is there"),
        });
        findings.push(Finding::of(what, found.map_err(|error| Chained(&error).to_string())));
    }
    if findings.iter().any(|finding| finding.verdict == Verdict::Good) {
        for finding in findings.iter_mut().filter(|finding| finding.verdict == Verdict::Bad) {
            finding.verdict = Verdict::Doubtful;
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_the_chain_is_told_of() {
        let second = 1000;
        assert!(clock(1000 * second, 1000 * second).is_ok());
        assert!(clock(1059 * second, 1000 * second).is_ok());
        assert!(clock(1061 * second, 1000 * second).expect_err("behind").contains("61 s behind"));
        assert!(clock(0, u64::MAX).is_ok(), "an old block is the source's trouble");
    }
}
