//! The result: an aligned table for people, and the same as JSON.

use std::{fs, path::Path};

use serde::Serialize;
use serde_json::{Value, json};

use crate::{facts::Facts, stats::Sample};

/// Whose figures the others are compared with.
pub(crate) const VAULTVISOR: &str = "vaultvisor";

/// What was measured, of everybody.
#[derive(Debug)]
pub(crate) struct Line {
    /// Which row of the bench.
    pub(crate) row: u8,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// Vaultvisor's figures.
    pub(crate) ours: Sample,
    pub(crate) peers: Vec<Peer>,
    pub(crate) target: Option<Target>,
}

/// Somebody else's figures for the same.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Or why there are none.
    pub(crate) figures: Result<Sample, String>,
}

impl Peer {
    pub(crate) fn measured(name: &str, values: Sample) -> Self {
        Self { name: name.to_owned(), figures: Ok(values) }
    }
}

/// What is promised.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    MedianBelow(f64),
    P99Below(f64),
    /// So many times better than each peer, by the medians.
    Times(f64),
}

#[derive(Debug, Serialize)]
struct Cells {
    row: u8,
    what: String,
    who: String,
    unit: &'static str,
    median: Option<f64>,
    p99: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    runs: usize,
    /// The peer's median by vaultvisor's: above 1, vaultvisor needs less.
    ratio: Option<f64>,
    note: Option<String>,
}

impl Line {
    fn cells(&self) -> Vec<Cells> {
        let cells = |who: &str, figures: &Result<Sample, String>, note: Option<String>| {
            let sample = figures.as_ref().ok();
            let ours = self.ours.median();
            let is_peer = who != VAULTVISOR;
            Cells {
                row: self.row,
                what: self.what.clone(),
                who: who.to_owned(),
                unit: self.unit,
                median: sample.map(Sample::median),
                p99: sample.map(|sample| sample.percentile(99)),
                min: sample.map(Sample::min),
                max: sample.map(Sample::max),
                runs: sample.map_or(0, Sample::count),
                ratio: sample.filter(|_| is_peer && ours > 0.0).map(|sample| sample.median() / ours),
                note: figures.as_ref().err().cloned().or(note),
            }
        };
        let ours = cells(VAULTVISOR, &Ok(self.ours.clone()), self.verdict());
        let peers = self.peers.iter().map(|peer| cells(&peer.name, &peer.figures, None));
        std::iter::once(ours).chain(peers).collect()
    }

    /// Whether the target is met; `None` without one.
    fn is_met(&self) -> Option<bool> {
        let measured = || self.peers.iter().filter_map(|peer| peer.figures.as_ref().ok());
        self.target.map(|target| match target {
            Target::MedianBelow(limit) => self.ours.median() < limit,
            Target::P99Below(limit) => self.ours.percentile(99) < limit,
            Target::Times(times) => measured().all(|peer| peer.median() >= times * self.ours.median()),
        })
    }

    fn verdict(&self) -> Option<String> {
        let met = if self.is_met()? { "met" } else { "MISSED" };
        let unit = self.unit;
        Some(match self.target? {
            Target::MedianBelow(limit) => format!("target {met}: median below {limit} {unit}"),
            Target::P99Below(limit) => format!("target {met}: p99 below {limit} {unit}"),
            Target::Times(times) => format!("target {met}: {times} times better than each peer"),
        })
    }
}

/// Prints all lines, what belongs together under one heading.
pub(crate) fn print(lines: &[Line]) {
    const HEAD: [&str; 7] = ["", "median", "p99", "min", "max", "runs", "ratio"];
    let mut last = None;
    for line in lines {
        if last != Some(line.row) {
            println!();
            last = Some(line.row);
        }
        let [_, median, p99, min, max, runs, ratio] = HEAD;
        println!(
            "{:<70}{median:>11}{p99:>11}{min:>11}{max:>11}{runs:>6}{ratio:>9}",
            format!("{}. {} [{}]", line.row, line.what, line.unit)
        );
        for cells in line.cells() {
            let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure);
            println!(
                "     {:<65}{:>11}{:>11}{:>11}{:>11}{:>6}{:>9}  {}",
                cells.who,
                number(cells.median),
                number(cells.p99),
                number(cells.min),
                number(cells.max),
                cells.runs,
                cells.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
                cells.note.unwrap_or_default(),
            );
        }
    }
}

/// Three significant digits, and none behind the point where they would say nothing.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Writes everything as JSON.
pub(crate) fn write_json(path: &Path, facts: &Facts, is_quick: bool, lines: &[Line]) -> std::io::Result<()> {
    let targets = |line: &Line| json!({ "row": line.row, "what": line.what, "target": line.target, "met": line.is_met() });
    let with_target = lines.iter().filter(|line| line.target.is_some()).map(targets);
    let all: Value = json!({
        "machine": facts,
        "quick": is_quick,
        "lines": lines.iter().flat_map(Line::cells).collect::<Vec<_>>(),
        "targets": with_target.collect::<Vec<_>>(),
    });
    fs::write(path, format!("{all:#}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(target: Target, ours: f64, peers: &[f64]) -> Line {
        let peers = peers.iter().map(|value| Peer::measured("peer", Sample::one(*value))).collect();
        Line {
            row: 1,
            what: "w".to_owned(),
            unit: "ms",
            ours: Sample::one(ours),
            peers,
            target: Some(target),
        }
    }

    #[test]
    fn a_target_is_met_by_figures_only() {
        assert_eq!(line(Target::MedianBelow(10.0), 9.9, &[]).is_met(), Some(true));
        assert_eq!(line(Target::MedianBelow(10.0), 10.0, &[]).is_met(), Some(false));
        assert_eq!(line(Target::P99Below(10.0), 11.0, &[]).is_met(), Some(false));
        assert_eq!(line(Target::Times(10.0), 1.0, &[10.0, 30.0]).is_met(), Some(true));
        assert_eq!(line(Target::Times(10.0), 1.0, &[9.0, 30.0]).is_met(), Some(false));
    }

    #[test]
    fn a_ratio_is_the_peers_figure_by_ours() {
        let cells = line(Target::Times(10.0), 2.0, &[5.0]).cells();
        assert_eq!((cells[0].ratio, cells[1].ratio), (None, Some(2.5)));
    }
}
