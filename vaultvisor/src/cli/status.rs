//! `vaultvisor status`

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use super::{
    Failure, Global,
    run::{home, settings},
};
use crate::{
    control::{self, ControlError, Reply, Request},
    error_chain::Chained,
    status::{Status, VaultStatus},
};

/// Fast enough to follow a switch, slow enough to read.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Print the status document instead of a summary
    #[arg(long)]
    pub json: bool,
    /// Print again whenever something has changed, until interrupted; with --json one document a line
    #[arg(long)]
    pub watch: bool,
}

/// Prints the status: the running daemon's, else the durable state's.
pub fn run(args: &StatusArgs, global: &Global) -> Result<(), Failure> {
    let home = home(global)?;
    let mut out = io::stdout().lock();
    if !args.watch {
        let status = status(&home, global)?;
        let printed = match args.json {
            true => serde_json::to_writer_pretty(&mut out, &status).map_err(io::Error::from),
            false => print(&mut out, &status),
        };
        let end = if args.json { "\n" } else { "" };
        return super::written(printed.and_then(|()| out.write_all(end.as_bytes())));
    }
    let is_terminal = out.is_terminal();
    let mut before = Vec::new();
    loop {
        let mut text = Vec::new();
        let status = status(&home, global)?;
        match args.json {
            true => serde_json::to_writer(&mut text, &status)?,
            false => print(&mut text, &status)?,
        }
        text.push(b'\n');
        if text != before {
            // To a terminal the newest is shown in the place of the one before: home, and clear.
            let clear: &[u8] = if is_terminal && !args.json { b"\x1b[H\x1b[2J" } else { b"" };
            let printed = out.write_all(clear).and_then(|()| out.write_all(&text)).and_then(|()| out.flush());
            if let Err(error) = printed {
                return super::written(Err(error));
            }
            before = text;
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

fn status(home: &Path, global: &Global) -> Result<Status, Failure> {
    match control::ask(home, &Request::Status) {
        Ok(Reply::Status(status)) => return Ok(*status),
        Ok(_) => tracing::warn!("the daemon gave no status; this is what is on disk"),
        Err(ControlError::NoDaemon { .. }) => {}
        Err(error) => tracing::warn!("{}; this is what is on disk", Chained(&error)),
    }
    Ok(Status::read(&settings(global)?))
}

fn print(out: &mut impl Write, status: &Status) -> io::Result<()> {
    match status.pid {
        Some(pid) => writeln!(out, "vaultvisor {} runs with pid {pid}", status.version)?,
        None => writeln!(out, "vaultvisor {} does not run", status.version)?,
    }
    if let Some(problem) = &status.problem {
        writeln!(out, "problem: {problem}")?;
    }
    status.vaults.iter().try_for_each(|vault| print_vault(out, vault))
}

fn print_vault(out: &mut impl Write, vault: &VaultStatus) -> io::Result<()> {
    writeln!(out, "\n{} on {}: {}, {}", vault.name, vault.network, vault.state, vault.why)?;
    if let Some(running) = &vault.running {
        let adopted = if running.adopted { ", adopted" } else { "" };
        let (version, checksum, pid) = (&running.version, running.checksum, running.pid);
        writeln!(out, "  running  {version} ({checksum}), pid {pid}{adopted}")?;
    }
    if let Some(target) = &vault.target {
        writeln!(out, "  target   {} ({})", target.version, target.checksum)?;
    }
    if let Some(chosen) = &vault.chosen {
        let (version, checksum) = (&chosen.version, chosen.checksum);
        writeln!(out, "  override {version} ({checksum}) until the chain's next statement")?;
    }
    if let Some(pending) = &vault.pending {
        let when =
            pending.spec_version.map_or_else(String::new, |version| format!(" with runtime {version}"));
        let fetched = if pending.fetched { ", fetched" } else { "" };
        writeln!(out, "  pending  {} ({}){when}{fetched}", pending.version, pending.checksum)?;
    }
    for rejected in &vault.rejected {
        writeln!(out, "  rejected {} until {}: {}", rejected.version, rejected.retry_at, rejected.reason)?;
    }
    if let Some(chain) = &vault.chain {
        let (block, at, source) = (chain.finalized, chain.finalized_at, &chain.source);
        let connected = if chain.connected == Some(false) { ", not connected" } else { "" };
        writeln!(out, "  chain    finalized block {block} at {at} from {source}{connected}")?;
    }
    if let Some(switch) = &vault.last_switch {
        let (from, to, at) = (&switch.from, &switch.to, switch.at);
        writeln!(out, "  switched from {from} to {to} at {at} in {:.1} ms", switch.downtime_ms)?;
    }
    if let Some(hold) = &vault.hold {
        let reason = hold.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        writeln!(out, "  held     since {}{reason}", hold.since)?;
    }
    if let Some(problem) = &vault.problem {
        writeln!(out, "  problem  {problem}")?;
    }
    if let Some(unseen) =
        vault.unseen_runtime.as_ref().filter(|unseen| vault.problem.as_ref() != Some(unseen))
    {
        writeln!(out, "  runtime  {unseen}")?;
    }
    Ok(())
}
