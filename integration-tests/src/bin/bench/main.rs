//! `bench --programs FOLDER [--quick] [--rows 1,3] [--vaults 1,500] [--json FILE]`: how fast Vaultvisor is, and what it costs, beside
//! others that do a part of its work. `scripts/bench.sh` builds what it needs and runs it; `docs/performance.md` says
//! what came of it.
//!
//! - [`site`]: Vaultvisor as it is run here; [`peers`]: the others.
//! - One module a row, or for two that are one experiment: [`download`] (1 and 2), [`switches`] (3 and 4), [`idle`] (5), [`start`] (6),
//!   [`growth`] (7), [`fleet`] (8).
//! - [`processes`]: memory and processor time; [`stats`]: what several measurements say.
//! - [`facts`], [`table`]: what is printed.

mod cosmovisor;
mod download;
mod facts;
mod fleet;
mod growth;
mod idle;
mod peers;
mod processes;
mod site;
mod start;
mod stats;
mod switches;
mod table;

use std::{path::PathBuf, process::ExitCode};

use facts::Facts;
use site::Bench;
use table::Line;

const USAGE: &str = "usage: bench --programs FOLDER [--quick] [--rows 1,3] [--vaults 1,500] [--json FILE]";
const ROWS: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

#[derive(Debug)]
struct Options {
    bench: Bench,
    rows: Vec<u8>,
    json: Option<PathBuf>,
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut programs, mut is_quick, mut rows, mut json) = (None, false, ROWS.to_vec(), None);
    let mut vaults = None;
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{option} needs a value"));
        match option.as_str() {
            "--programs" => programs = Some(PathBuf::from(value()?)),
            "--quick" => is_quick = true,
            "--rows" => rows = value()?.split(',').map(row).collect::<Result<_, _>>()?,
            "--vaults" => vaults = Some(value()?.split(',').map(vaults_of).collect::<Result<_, _>>()?),
            "--json" => json = Some(PathBuf::from(value()?)),
            _ => return Err(format!("unknown option {option:?}")),
        }
    }
    let programs = programs.ok_or("--programs is needed: the folder of a release build")?;
    let vaults = vaults.unwrap_or_else(|| if is_quick { vec![1, 10] } else { vec![1, 10, 100, 500] });
    let bench = Bench::copying(&programs, is_quick, vaults);
    let bench = bench.map_err(|error| format!("--programs {}: {error}", programs.display()))?;
    Ok(Options { bench, rows, json })
}

fn vaults_of(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1000).contains(count));
    count.ok_or_else(|| format!("found {text:?}, expected a number of vaults from 1 to 1000"))
}

fn row(text: &str) -> Result<u8, String> {
    let row = text.parse().ok().filter(|row| ROWS.contains(row));
    row.ok_or_else(|| format!("there is no row {text:?}, expected some of {ROWS:?}"))
}

#[tokio::main]
async fn main() -> std::io::Result<ExitCode> {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            println!("{why}\n{USAGE}");
            return Ok(ExitCode::from(2));
        }
    };
    let Options { bench, rows, json } = options;
    let facts = Facts::gather(&std::env::temp_dir());
    facts.print();
    let lines = measure(&bench, &rows).await;
    table::print(&lines);
    if let Some(json) = json {
        table::write_json(&json, &facts, bench.is_quick, &lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(bench: &Bench, rows: &[u8]) -> Vec<Line> {
    let is_wanted = |row| rows.contains(&row);
    let mut lines = Vec::new();
    if is_wanted(1) || is_wanted(2) {
        lines.extend(download::measure(bench, rows).await);
    }
    if is_wanted(3) || is_wanted(4) {
        println!("  rows 3 and 4: switches");
        lines.extend(switches::measure(bench, rows).await);
    }
    if is_wanted(5) {
        lines.extend(idle::measure(bench).await);
    }
    if is_wanted(6) {
        println!("  row 6: starts");
        lines.extend(start::measure(bench).await);
    }
    if is_wanted(7) {
        lines.extend(growth::measure(bench).await);
    }
    if is_wanted(8) {
        println!("  row 8: many vaults");
        lines.extend(fleet::measure(bench).await);
    }
    lines
}
