//! What is different in a record after a call, in words for whoever has to decide about it.
//!
//! Pure. Versions are compared here, by their numbers, for one remark to people and for nothing else: a chain and
//! vaultvisor take an older version like any other.

use crate::{
    chain::{PendingRelease, records::Stated},
    release::{Artifacts, Checksum, Release, Version},
};

/// What changes, one line each; none if nothing does.
pub fn changes(before: &Stated, after: &Stated, spec_version: u32) -> Vec<String> {
    let mut lines = Vec::new();
    current(&mut lines, before.current.as_ref(), after.current.as_ref());
    pending(&mut lines, before.pending.as_ref(), after.pending.as_ref(), spec_version);
    lines
}

fn current(lines: &mut Vec<String>, before: Option<&Release>, after: Option<&Release>) {
    let Some(after) = after else { return };
    if before == Some(after) {
        return;
    }
    let number = |release: Option<&Release>| match release.map(|release| release.sequence) {
        None => "none".to_owned(),
        Some(None) => "not counted".to_owned(),
        Some(Some(sequence)) => sequence.to_string(),
    };
    let statement = format!("statement {} → {}", number(before), number(Some(after)));
    match before {
        None => lines
            .push(format!("in force: nothing → {}, the chain's first release; {statement}", after.version)),
        Some(before) if before.version != after.version => {
            lines.push(format!("in force: {} → {}; {statement}", before.version, after.version));
            if looks_older(&after.version, &before.version) {
                lines.push(format!(
                    "by its numbers {} is older than {}; vaults would go back to it",
                    after.version, before.version
                ));
            }
        }
        Some(before) if before.binary_checksum != after.binary_checksum => {
            lines.push(format!("in force: {} again, with another binary; {statement}", after.version));
        }
        Some(before) if before.artifacts == after.artifacts => {
            lines.push(format!("in force: {} again, as it is; {statement}", after.version));
        }
        Some(_) => lines.push(format!("in force: {} with other files; {statement}", after.version)),
    }
    checksum(lines, before.map(|before| before.binary_checksum), after.binary_checksum);
    files(lines, before.map(|before| &before.artifacts), &after.artifacts);
}

fn pending(
    lines: &mut Vec<String>,
    before: Option<&PendingRelease>,
    after: Option<&PendingRelease>,
    running: u32,
) {
    let named = |release: &PendingRelease| match release.spec_version {
        Some(spec_version) => format!("{} for spec version {spec_version}", release.version),
        None => release.version.to_string(),
    };
    match (before, after) {
        (before, after) if before == after => {}
        (Some(before), None) => lines.push(format!("scheduled: {} → nothing", named(before))),
        (before, Some(after)) => {
            let was = before.map_or_else(|| "nothing".to_owned(), named);
            lines.push(format!("scheduled: {was} → {}; spec version {running} runs now", named(after)));
            checksum(lines, before.map(|before| before.binary_checksum), after.binary_checksum);
            files(lines, before.map(|before| &before.artifacts), &after.artifacts);
        }
        (None, None) => {}
    }
}

fn checksum(lines: &mut Vec<String>, before: Option<Checksum>, after: Checksum) {
    match before {
        Some(before) if before == after => lines.push(format!("  binary {after}, as before")),
        Some(before) => lines.push(format!("  binary {after}, before {before}")),
        None => lines.push(format!("  binary {after}")),
    }
}

fn files(lines: &mut Vec<String>, before: Option<&Artifacts>, after: &Artifacts) {
    let none = Artifacts::new();
    let before = before.unwrap_or(&none);
    for (name, checksum) in after {
        let was = match before.get(name) {
            Some(before) if before == checksum => ", as before".to_owned(),
            Some(before) => format!(", before {before}"),
            None => String::new(),
        };
        lines.push(format!("  file {name} {checksum}{was}"));
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        lines.push(format!("  file {name} gone"));
    }
}

/// Whether a person would call the version older: both are numbers with dots, behind the same text.
fn looks_older(version: &Version, than: &Version) -> bool {
    let parts = |version: &Version| {
        let text = version.as_str();
        let digits = text.find(|letter: char| letter.is_ascii_digit())?;
        let (prefix, numbers) = text.split_at(digits);
        let numbers: Option<Vec<u64>> = numbers.split('.').map(|number| number.parse().ok()).collect();
        Some((prefix.to_owned(), numbers?))
    };
    match (parts(version), parts(than)) {
        (Some((prefix, numbers)), Some((than_prefix, than))) => prefix == than_prefix && numbers < than,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
