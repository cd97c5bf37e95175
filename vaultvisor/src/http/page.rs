//! The page for people: the whole status on one page, readable without scripts, in colour or without.

use std::fmt::{self, Display, Write};

use crate::{
    decide::state::Name,
    release::{Checksum, Version},
    status::{ChainSeen, Status, VaultStatus},
};

/// How often the page is loaded again: a switch is seen within it, and a page left open overnight costs nothing.
const REFRESH_SECS: u32 = 10;

const STYLE: &str = "\
:root { color-scheme: light dark; --line: #8884; --good: #18794e; --busy: #ad5700; --bad: #cd2b31 }
@media (prefers-color-scheme: dark) { :root { --good: #4cc38a; --busy: #f1a10d; --bad: #ff6369 } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.2rem; margin: 0 }
section { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0 }
dl { display: grid; grid-template-columns: 8rem 1fr; gap: .25rem 1rem; margin: .5rem 0 0 }
dt { opacity: .7 } dd { margin: 0; overflow-wrap: anywhere }
code { font-size: .85em }
.state { font-weight: 600 } .good { color: var(--good) } .busy { color: var(--busy) } .bad { color: var(--bad) }
.problem { color: var(--bad); font-weight: 600; white-space: pre-wrap }
footer { opacity: .7; font-size: .9rem }
@media (max-width: 34rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .5rem } }
";

/// The page that shows a status.
pub fn render(status: &Status) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, status);
    page
}

fn write_page(out: &mut String, status: &Status) -> fmt::Result {
    let summary = summary(status);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_SECS}\">\n\
         <title>{} – Vaultvisor</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Vaultvisor</h1>\n<p>{}</p>\n",
        Escaped(&summary),
        Escaped(&summary)
    )?;
    if let Some(problem) = &status.problem {
        writeln!(out, "<p class=\"problem\" role=\"alert\">{}</p>", Escaped(problem))?;
    }
    out.write_str("</header>\n<main>\n")?;
    status.vaults.iter().try_for_each(|vault| write_vault(out, vault))?;
    out.write_str("</main>\n<footer>\n<p>")?;
    write!(out, "Version {}", Escaped(&status.version))?;
    if let Some(pid) = status.pid {
        write!(out, ", process {pid}")?;
    }
    if let Some(started_at) = status.started_at {
        write!(out, ", since {started_at}")?;
    }
    writeln!(
        out,
        ". Times are UTC. The page is loaded again every {REFRESH_SECS} s.</p>\n\
         <p>For programs: <a href=\"/api/v1/status\">status</a>, <a href=\"/api/v1/history\">history</a>, \
         <a href=\"/metrics\">metrics</a>.</p>\n</footer>\n</body>\n</html>"
    )
}

/// What the tab of a browser shows.
fn summary(status: &Status) -> String {
    let running = status.vaults.iter().filter(|vault| vault.running.is_some()).count();
    let of_vaults = status.vaults.iter().filter_map(|vault| vault.problem.as_ref());
    let problems = of_vaults.chain(&status.problem).count();
    let run = format!("{running} of {} run", status.vaults.len());
    match problems {
        0 => run,
        1 => format!("{run}, 1 problem"),
        _ => format!("{run}, {problems} problems"),
    }
}

fn class(state: Name) -> &'static str {
    match state {
        Name::Running => "good",
        Name::Blocked => "bad",
        Name::Waiting
        | Name::Fetching
        | Name::Ready
        | Name::Switching
        | Name::Probation
        | Name::RollingBack
        | Name::Starting
        | Name::Held
        | Name::Stopped => "busy",
    }
}

fn write_vault(out: &mut String, vault: &VaultStatus) -> fmt::Result {
    let (name, network, why) = (Escaped(&vault.name), Escaped(&vault.network), Escaped(&vault.why));
    writeln!(out, "<section>\n<h2>{name}</h2>")?;
    let (class, state) = (class(vault.state), vault.state);
    writeln!(out, "<p><span class=\"state {class}\">{state}</span> on {network}: {why}</p>")?;
    if let Some(problem) = &vault.problem {
        writeln!(out, "<p class=\"problem\" role=\"alert\">{}</p>", Escaped(problem))?;
    }
    if let Some(unseen) =
        vault.unseen_runtime.as_ref().filter(|unseen| vault.problem.as_ref() != Some(unseen))
    {
        writeln!(out, "<p class=\"problem\" role=\"alert\">{}</p>", Escaped(unseen))?;
    }
    out.write_str("<dl>\n")?;
    match &vault.running {
        Some(running) => {
            let (pid, restarts) = (running.pid, running.restarts);
            let adopted = if running.adopted { ", adopted" } else { "" };
            let release = Release(&running.version, running.checksum);
            item(out, "Runs", format_args!("{release}, process {pid}{adopted}, restarts {restarts}"))?;
        }
        None => item(out, "Runs", "no process")?,
    }
    if let Some(target) = &vault.target {
        item(out, "Chain states", Release(&target.version, target.checksum))?;
    }
    if let Some(chosen) = &vault.chosen {
        let release = Release(&chosen.version, chosen.checksum);
        item(out, "Override", format_args!("{release} until the chain’s next statement"))?;
    }
    if let Some(pending) = &vault.pending {
        let release = Release(&pending.version, pending.checksum);
        let fetched = if pending.fetched { "fetched" } else { "not fetched yet" };
        match pending.spec_version {
            Some(runtime) => {
                item(out, "Pending", format_args!("{release} with runtime {runtime}, {fetched}"))?
            }
            None => item(out, "Pending", format_args!("{release}, {fetched}"))?,
        }
    }
    for rejected in &vault.rejected {
        let release = Release(&rejected.version, rejected.checksum);
        let (attempts, retry_at, reason) = (rejected.attempts, rejected.retry_at, Escaped(&rejected.reason));
        let what = format_args!("{release}: {reason}; failed {attempts} times, tried again at {retry_at}");
        item(out, "Rejected", what)?;
    }
    if let Some(chain) = &vault.chain {
        write_chain(out, chain)?;
    }
    if let Some(switch) = &vault.last_switch {
        let (from, to) = (switch.from.to_string(), switch.to.to_string());
        let (from, to, ms, at) = (Escaped(&from), Escaped(&to), switch.downtime_ms, switch.at);
        item(out, "Last switch", format_args!("from {from} to {to} at {at}, {ms:.1} ms without a process"))?;
    }
    if let Some(hold) = &vault.hold {
        let reason = hold.reason.as_deref().unwrap_or("no reason given");
        item(out, "Held", format_args!("since {}: {}", hold.since, Escaped(reason)))?;
    }
    out.write_str("</dl>\n</section>\n")
}

fn write_chain(out: &mut String, chain: &ChainSeen) -> fmt::Result {
    let connected = match chain.connected {
        Some(true) => "connected",
        Some(false) => "not connected",
        None => "not known whether connected",
    };
    let (block, at, source, runtime) =
        (chain.finalized, chain.finalized_at, Escaped(&chain.source), chain.spec_version);
    item(out, "Finalized", format_args!("block {block} at {at}, runtime {runtime}"))?;
    if let Some(since) = chain.stale_since {
        item(out, "Stale", format_args!("no newer finalized block since {since}"))?;
    }
    item(out, "Source", format_args!("{source}, {connected}"))?;
    chain.endpoints.iter().try_for_each(|endpoint| {
        let (address, since) = (Escaped(&endpoint.address), endpoint.since);
        match (&endpoint.problem, endpoint.connected) {
            (Some(problem), _) => {
                item(out, "Endpoint", format_args!("{address}: {}, since {since}", Escaped(problem)))
            }
            (None, true) => item(out, "Endpoint", format_args!("{address}: connected since {since}")),
            // In reserve: nothing is known of it.
            (None, false) => item(out, "Endpoint", format_args!("{address}: not used")),
        }
    })
}

/// What is written here is escaped already.
fn item(out: &mut String, name: &str, value: impl Display) -> fmt::Result {
    writeln!(out, "<dt>{name}</dt><dd>{value}</dd>")
}

/// A release: its version, and its whole checksum, for that is what is compared.
struct Release<'a>(&'a Version, Checksum);

impl Display for Release<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(version, checksum) = self;
        let version = version.to_string();
        write!(f, "{} <code>{checksum}</code>", Escaped(&version))
    }
}

/// Text as HTML, in an element or an attribute: names come from the configuration, reasons from servers and clients.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
