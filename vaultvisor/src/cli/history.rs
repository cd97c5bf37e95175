//! `vaultvisor history`

use std::io::{self, Write};

use super::{Failure, Global, run::home};
use crate::history::{self, Record};

/// Options of `history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// Print each entry as one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Only the entries of this vault, also of one that is not in the configuration any more
    #[arg(long, value_name = "V")]
    pub vault: Option<String>,
}

/// Prints the history, oldest first; with and without a daemon.
pub fn run(args: &HistoryArgs, global: &Global) -> Result<(), Failure> {
    let reading = history::read(&home(global)?)?;
    if reading.damaged > 0 {
        tracing::warn!(lines = reading.damaged, "passed over lines that cannot be read, torn by a crash say");
    }
    let wanted = |record: &&Record| args.vault.is_none() || record.vault == args.vault;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = reading.records.iter().filter(wanted).try_for_each(|record| {
        if args.json {
            serde_json::to_writer(&mut out, record)?;
            return writeln!(out);
        }
        let entry = &record.entry;
        let block = entry.finalized.map_or_else(String::new, |block| format!(" (block {block})"));
        let whose = record.vault.as_ref().unwrap_or(&record.network);
        writeln!(out, "{} {whose} {}{block}", record.at, entry.text)
    });
    super::written(printed.and_then(|()| out.flush()))
}
