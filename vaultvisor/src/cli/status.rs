//! `vaultvisor status`

use std::io::{self, Write};

use super::{Failure, Global, run::settings};
use crate::status::{Status, VaultStatus};

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Print the status document instead of a summary
    #[arg(long)]
    pub json: bool,
}

/// Prints the status, from the durable state.
pub fn run(args: &StatusArgs, global: &Global) -> Result<(), Failure> {
    let status = Status::read(&settings(global)?)?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &status)?;
        writeln!(out)?;
        return Ok(());
    }
    match status.pid {
        Some(pid) => writeln!(out, "vaultvisor {} runs with pid {pid}", status.version)?,
        None => writeln!(out, "vaultvisor {} does not run", status.version)?,
    }
    for vault in &status.vaults {
        print_vault(&mut out, vault)?;
    }
    Ok(())
}

fn print_vault(out: &mut impl Write, vault: &VaultStatus) -> io::Result<()> {
    writeln!(out, "\n{} on {}: {}, {}", vault.name, vault.network, vault.state, vault.why)?;
    if let Some(running) = &vault.running {
        writeln!(out, "  running  {} ({}), pid {}", running.version, running.checksum, running.pid)?;
    }
    if let Some(target) = &vault.target {
        writeln!(out, "  target   {} ({})", target.version, target.checksum)?;
    }
    if let Some(pending) = &vault.pending {
        let when =
            pending.spec_version.map_or_else(String::new, |version| format!(" with runtime {version}"));
        writeln!(out, "  pending  {} ({}){when}", pending.version, pending.checksum)?;
    }
    for rejected in &vault.rejected {
        writeln!(out, "  rejected {} until {}: {}", rejected.version, rejected.retry_at, rejected.reason)?;
    }
    if let Some(chain) = &vault.chain {
        let (block, at, source) = (chain.finalized, chain.finalized_at, &chain.source);
        writeln!(out, "  chain    finalized block {block} at {at} from {source}")?;
    }
    if let Some(switch) = &vault.last_switch {
        let (from, to, at) = (&switch.from, &switch.to, switch.at);
        writeln!(out, "  switched from {from} to {to} at {at} in {:.1} ms", switch.downtime_ms)?;
    }
    if let Some(problem) = &vault.problem {
        writeln!(out, "  problem  {problem}")?;
    }
    Ok(())
}
