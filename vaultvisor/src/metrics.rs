//! What Prometheus is told: the present status as gauges, and counters of what happened since the daemon started.
//!
//! The counters are drawn from the entries of the history, each of which names one outcome, so that both cannot tell
//! different stories. The text is written here and not by a library: nearly all of it is the status document at the
//! moment of the request, for which a registry of live values would only be a second copy to keep true.
//!
//! The format is version 0.0.4 of Prometheus' text exposition format.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    decide::{Kind, state::Name},
    history::Record,
    status::{ChainSeen, Status, VaultStatus},
};

/// The value of `Content-Type` for [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The upper bounds of the buckets of a switch's downtime, in microseconds: a plain switch takes a few milliseconds, one
/// with a migration or a vault that ends slowly takes up to minutes.
const BUCKETS_US: [u64; 14] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
];

/// What happened since the daemon started. It outlives the tasks of vaults.
#[derive(Debug, Default)]
pub struct Counters {
    /// By the name of the vault.
    vaults: Mutex<BTreeMap<String, VaultCounters>>,
    /// Bytes, by the name of the network.
    downloads: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

#[derive(Debug, Clone, Default)]
struct VaultCounters {
    kept: u64,
    rejected: u64,
    restarts: u64,
    downtime: Histogram,
}

#[derive(Debug, Clone, Default)]
struct Histogram {
    /// How many were in each bucket and in none below it.
    buckets: [u64; BUCKETS_US.len()],
    count: u64,
    sum_us: u64,
}

impl Histogram {
    fn observe(&mut self, value_us: u64) {
        if let Some(bucket) = BUCKETS_US.iter().position(|bound| value_us <= *bound) {
            self.buckets[bucket] += 1;
        }
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(value_us);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts are changed by single additions; a panic leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counters {
    /// Counts what an entry of the history says.
    pub fn count(&self, record: &Record) {
        let Some(vault) = record.vault.clone() else { return };
        let mut vaults = locked(&self.vaults);
        let vault = vaults.entry(vault).or_default();
        match record.entry.kind {
            Kind::Kept => vault.kept += 1,
            Kind::Rejected => vault.rejected += 1,
            Kind::Crashed => vault.restarts += 1,
            _ => {}
        }
        if let Some(downtime_us) = record.entry.downtime_us {
            vault.downtime.observe(downtime_us);
        }
    }

    /// The bytes that were downloaded for a network: to be added to as they come.
    pub fn downloads(&self, network: &str) -> Arc<AtomicU64> {
        locked(&self.downloads).entry(network.to_owned()).or_default().clone()
    }
}

/// The text of all metrics.
pub fn render(status: &Status, counters: &Counters) -> String {
    let mut text = Text(String::new());
    text.family("vaultvisor_build_info", GAUGE, "The version of the running vaultvisor; always 1.");
    text.sample("vaultvisor_build_info", &[("version", &status.version)], 1);
    text.family(
        "vaultvisor_problem",
        GAUGE,
        "Whether something is wrong that concerns more than one vault, such as a refused configuration.",
    );
    text.sample("vaultvisor_problem", &[], u8::from(status.problem.is_some()));
    vaults(&mut text, &status.vaults);
    happened(&mut text, &status.vaults, counters);
    networks(&mut text, &status.vaults, counters);
    text.0
}

/// What each vault does now.
fn vaults(text: &mut Text, vaults: &[VaultStatus]) {
    text.family("vaultvisor_vault_up", GAUGE, "Whether the vault's process runs.");
    for vault in vaults {
        text.sample("vaultvisor_vault_up", &labels(vault), u8::from(vault.running.is_some()));
    }
    text.family("vaultvisor_vault_state", GAUGE, "1 for the state that the vault is in, 0 for all others.");
    for vault in vaults {
        for state in Name::ALL {
            let name = state.to_string();
            let labels = [&labels(vault)[..], &[("state", name.as_str())]].concat();
            text.sample("vaultvisor_vault_state", &labels, u8::from(vault.state == state));
        }
    }
    text.family(
        "vaultvisor_vault_problem",
        GAUGE,
        "Whether something went wrong with the vault and still stands; the status says what.",
    );
    for vault in vaults {
        text.sample("vaultvisor_vault_problem", &labels(vault), u8::from(vault.problem.is_some()));
    }
    text.family(
        "vaultvisor_vault_unseen_runtime",
        GAUGE,
        "Whether a release runs that was gone back to and was never seen healthy under the present runtime.",
    );
    for vault in vaults {
        let unseen = u8::from(vault.unseen_runtime.is_some());
        text.sample("vaultvisor_vault_unseen_runtime", &labels(vault), unseen);
    }
    text.family("vaultvisor_release_info", GAUGE, "The release that the vault's process is of; always 1.");
    for vault in vaults {
        let Some(running) = &vault.running else { continue };
        let (version, checksum) = (running.version.to_string(), running.checksum.to_string());
        let release: [(&str, &str); 2] = [("version", &version), ("checksum", &checksum)];
        text.sample("vaultvisor_release_info", &[&labels(vault)[..], &release].concat(), 1);
    }
    text.family(
        "vaultvisor_target_info",
        GAUGE,
        "The release that the chain states for the vault; always 1.",
    );
    for vault in vaults {
        let Some(target) = &vault.target else { continue };
        let (version, checksum) = (target.version.to_string(), target.checksum.to_string());
        let release: [(&str, &str); 2] = [("version", &version), ("checksum", &checksum)];
        text.sample("vaultvisor_target_info", &[&labels(vault)[..], &release].concat(), 1);
    }
    text.family(
        "vaultvisor_rejections",
        GAUGE,
        "How many releases are rejected now and wait to be tried again.",
    );
    // Others are remembered, and nobody waits for them: a release that came after them has proved itself.
    let now = crate::daemon::now().unix_secs();
    for vault in vaults {
        let waiting = vault.rejected.iter().filter(|rejected| rejected.retry_at.0 > now).count();
        text.sample("vaultvisor_rejections", &labels(vault), waiting);
    }
}

/// What happened to each vault since the daemon started. One that nothing happened to has zeros, so that its first event
/// is an increase.
fn happened(text: &mut Text, vaults: &[VaultStatus], counters: &Counters) {
    let counted = locked(&counters.vaults).clone();
    let none = VaultCounters::default();
    let of = |vault: &VaultStatus| counted.get(&vault.name).unwrap_or(&none);
    text.family(
        "vaultvisor_updates_total",
        COUNTER,
        "Releases that were tried: kept after their probation, or rejected.",
    );
    for vault in vaults {
        for (outcome, count) in [("kept", of(vault).kept), ("rejected", of(vault).rejected)] {
            let labels = [&labels(vault)[..], &[("outcome", outcome)]].concat();
            text.sample("vaultvisor_updates_total", &labels, count);
        }
    }
    text.family(
        "vaultvisor_restarts_total",
        COUNTER,
        "How often the vault ended by itself or did not start, and was started again; not during runtime upgrades.",
    );
    for vault in vaults {
        text.sample("vaultvisor_restarts_total", &labels(vault), of(vault).restarts);
    }
    text.family(
        "vaultvisor_switch_downtime_seconds",
        "histogram",
        "From the end of a vault's old release to the start of its new one.",
    );
    for vault in vaults {
        let Histogram { buckets, count, sum_us } = &of(vault).downtime;
        let mut below = 0;
        for (bound_us, in_bucket) in BUCKETS_US.iter().zip(buckets) {
            below += in_bucket;
            let bound = seconds(*bound_us).to_string();
            let labels = [&labels(vault)[..], &[("le", bound.as_str())]].concat();
            text.sample("vaultvisor_switch_downtime_seconds_bucket", &labels, below);
        }
        let labels = labels(vault);
        let all = [&labels[..], &[("le", "+Inf")]].concat();
        text.sample("vaultvisor_switch_downtime_seconds_bucket", &all, count);
        text.sample("vaultvisor_switch_downtime_seconds_sum", &labels, seconds(*sum_us));
        text.sample("vaultvisor_switch_downtime_seconds_count", &labels, count);
    }
}

/// What is known of each network.
fn networks(text: &mut Text, vaults: &[VaultStatus], counters: &Counters) {
    let mut networks: BTreeMap<&str, Option<&ChainSeen>> = BTreeMap::new();
    for vault in vaults {
        let known = networks.entry(&vault.network).or_default();
        *known = known.or(vault.chain.as_ref());
    }
    let seen = || networks.iter().filter_map(|(name, chain)| chain.map(|chain| (*name, chain)));
    text.family("vaultvisor_chain_finalized_number", GAUGE, "The newest finalized block that is known.");
    for (network, chain) in seen() {
        text.sample("vaultvisor_chain_finalized_number", &[("network", network)], chain.finalized);
    }
    text.family(
        "vaultvisor_chain_last_update_timestamp_seconds",
        GAUGE,
        "When that block became known, in seconds since 1970.",
    );
    for (network, chain) in seen() {
        let labels = [("network", network)];
        text.sample("vaultvisor_chain_last_update_timestamp_seconds", &labels, chain.finalized_at.0);
    }
    text.family(
        "vaultvisor_chain_endpoint_up",
        GAUGE,
        "Whether a source of the chain's state is connected; none for one that nobody had to try.",
    );
    for (network, chain) in seen() {
        for endpoint in chain.endpoints.iter().filter(|one| one.connected || one.problem.is_some()) {
            let labels = [("network", network), ("endpoint", endpoint.address.as_str())];
            text.sample("vaultvisor_chain_endpoint_up", &labels, u8::from(endpoint.connected));
        }
    }
    text.family("vaultvisor_download_bytes_total", COUNTER, "Bytes of release files that were downloaded.");
    for network in networks.keys() {
        let bytes = counters.downloads(network).load(Ordering::Relaxed);
        text.sample("vaultvisor_download_bytes_total", &[("network", network)], bytes);
    }
}

fn labels(vault: &VaultStatus) -> [(&str, &str); 2] {
    [("vault", &vault.name), ("network", &vault.network)]
}

/// Exact as far as a double is: that is what Prometheus keeps.
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.line(format_args!("{name}{} {value}", Labels(labels)));
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

/// `{name="value",…}`, with the three characters escaped that the format asks for; nothing without labels.
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = '{';
        for (name, value) in self.0 {
            write!(f, "{before}{name}=\"")?;
            for character in value.chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    other => f.write_char(other)?,
                }
            }
            f.write_char('"')?;
            before = ',';
        }
        if self.0.is_empty() { Ok(()) } else { f.write_char('}') }
    }
}

#[cfg(test)]
mod tests;
