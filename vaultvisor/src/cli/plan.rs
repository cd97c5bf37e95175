//! `vaultvisor plan`

use std::io::{self, Write};

use super::{Failure, Global, release::show_deadline, run::settings};
use crate::plan::{Plan, VaultPlan, plan};

/// Options of `plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Print the plan as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Prints what would happen now.
pub async fn run(args: &PlanArgs, global: &Global) -> Result<(), Failure> {
    let settings = settings(global)?;
    let plan = plan(&settings, show_deadline).await;
    let mut out = io::stdout().lock();
    let printed = match args.json {
        true => serde_json::to_writer_pretty(&mut out, &plan)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
        false => print(&mut out, &plan),
    };
    super::written(printed)
}

fn print(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    match plan.pid {
        Some(pid) => {
            writeln!(out, "vaultvisor runs with pid {pid}; what it would do now, if each step goes well:")?
        }
        None => writeln!(out, "what `vaultvisor run` would do now, if each step goes well:")?,
    }
    for vault in &plan.vaults {
        let mut text = Vec::new();
        print_vault(&mut text, vault)?;
        // One line each, whatever a node or a server said.
        let text = String::from_utf8_lossy(&text);
        let printable = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
        write!(out, "{}", text.chars().map(printable).collect::<String>())?;
    }
    Ok(())
}

fn print_vault(out: &mut impl Write, vault: &VaultPlan) -> io::Result<()> {
    writeln!(out, "\n{} on {}: {}, {}", vault.name, vault.network, vault.state, vault.why)?;
    if let Some(running) = &vault.running {
        writeln!(out, "  running  {} ({}), pid {}", running.version, running.checksum, running.pid)?;
    }
    if let Some(chain) = &vault.chain {
        let (block, runtime, source) = (chain.finalized, chain.spec_version, &chain.source);
        writeln!(out, "  chain    finalized block {block}, runtime {runtime}, from {source}")?;
    }
    if let Some(problem) = &vault.chain_problem {
        writeln!(out, "  chain    {problem}")?;
    }
    if let Some(target) = &vault.target {
        writeln!(out, "  target   {} ({})", target.version, target.checksum)?;
    }
    for (index, step) in vault.steps.iter().enumerate() {
        writeln!(out, "  {:>6}.  {}", index + 1, step.text)?;
    }
    if vault.steps.is_empty() {
        writeln!(out, "  nothing is to be done")?;
    }
    for then in &vault.then {
        writeln!(out, "  then     {then}")?;
    }
    if let Some(args) = &vault.args {
        writeln!(out, "  args     {}", args.text)?;
        if let Some(words) = args.next_start.as_ref().and_then(|next| next.words.as_ref()) {
            writeln!(out, "           {words:?}")?;
        }
    }
    for rejected in &vault.rejected {
        writeln!(out, "  rejected {} until {}: {}", rejected.version, rejected.retry_at, rejected.reason)?;
    }
    for warning in &vault.warnings {
        writeln!(out, "  warning  {warning}")?;
    }
    Ok(())
}
