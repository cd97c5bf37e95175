//! One vault of the configuration, and how it is read.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Component, Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use url::Url;

use super::{
    account::{Account, is_plain_name, plain_name_expected},
    file::{Fields, Keys, Node, Reader},
    network::{Network, read_endpoints},
    networks,
};
use crate::{
    artifact::url::is_loopback,
    decide::policy,
    process::{StopSignal, unmanaged},
};

/// A client needs this long to write its state and close its connections; the bridges' own service files
/// give it no more.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(60);
/// Long enough for a client to find its wallet locked, its parachain unknown or its database too old, which
/// is how bad releases fail; short enough that two releases in a row do not pile up.
pub const DEFAULT_PROBATION: Duration = Duration::from_secs(60);
/// A day of a chatty client; together with the files that are kept far below what a small disk has.
pub const DEFAULT_LOG_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Rotated files beside the one that is written.
pub const DEFAULT_LOG_KEEP: u32 = 4;
/// A program that turns some words into others needs no second; one that looks something up over a network may.
pub const DEFAULT_ARGS_MIGRATION: Duration = Duration::from_secs(60);
/// A large database is rewritten in minutes. The vault stands still meanwhile, and an hour is what the bridges give one
/// before they punish it.
pub const DEFAULT_STATE_MIGRATION: Duration = Duration::from_secs(60 * 60);
/// The data from before the newest release: for whoever finds out too late that it was needed.
pub const DEFAULT_KEEP_SNAPSHOTS: u32 = 1;
/// What vaultvisor keeps in its home.
const OWN_FOLDERS: [&str; 3] = ["store", "networks", "vaults"];
/// Nothing that an operator means is longer than a day.
const MAX_SECS: u64 = 86_400;
/// A health URL is asked every 5 s, with 4 s for an answer: with less than this a vault could be judged by one question.
const LEAST_HEALTH_SECS: u64 = 10;
/// A file that is rotated more often than this holds nothing that can be read in one piece.
const LOG_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=64 * 1024 * 1024 * 1024;
/// A schedule longer than this is a mistake.
const MAX_RETRIES: usize = 32;

/// One supervised client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// Its name in the file, and of its folder.
    pub name: String,
    /// The network's name.
    pub network: String,
    /// Whose vault it is.
    pub account: Account,
    /// The client's arguments, passed on as they are.
    pub args: Vec<String>,
    /// Variables for the client's environment.
    pub env: BTreeMap<String, String>,
    /// How it is stopped.
    pub stop: Stop,
    /// How a new release proves itself.
    pub probation: Probation,
    /// How long a release that failed is left alone, after the first failure, the second and so on; the last
    /// one repeats.
    pub retries: Vec<Duration>,
    /// Where the client's output goes.
    pub logs: Logs,
    /// How many releases behind the one that proved itself stay in the store.
    pub keep_releases: u32,
    /// The folder with its data, if that is to be copied before another release is started on it.
    pub data: Option<Data>,
    /// How long a release's `args-migration` may take.
    pub args_migration: Duration,
    /// How long a release's `state-migration` may take.
    pub state_migration: Duration,
    /// The arguments with which a new release is executed once before anything is stopped for it, if it is.
    pub probe_args: Option<Vec<String>>,
}

/// A vault's data, and how it is treated when another release is started on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The folder.
    pub folder: PathBuf,
    /// Whether no copy is made before a release that does not migrate it.
    pub skip_snapshot: bool,
    /// How many copies stay once a release has proved itself.
    pub keep_snapshots: u32,
    /// Whether a copy may be put back behind a release that has lived on migrated data.
    pub restore_after_live: bool,
}

/// How a vault is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The signal.
    pub signal: StopSignal,
    /// SIGKILL after this long.
    pub grace: Duration,
}

/// How a new release proves itself before the old one is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probation {
    /// How long it must stay alive.
    pub length: Duration,
    /// What must answer 2xx, if anything.
    pub health_url: Option<HealthUrl>,
    /// How much longer than `length` that may take to answer for the first time.
    pub health_extension: Duration,
}

/// Where a vault says that it is well: `http` on this machine, or `https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthUrl(Url);

impl HealthUrl {
    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for HealthUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HealthUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected https:, or http: to this machine (127.0.0.1, [::1], localhost)";
        let url = Url::parse(text).map_err(|error| format!("found {text:?} ({error}), {expected}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "holds a user name or password: they would end up in logs, so they are refused".into()
            );
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            _ => Err(format!("found {text:?}, {expected}")),
        }
    }
}

/// Where a client's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// Into `log/vault.log` of the vault's folder, rotated by size.
    File {
        /// A file that has grown to this is rotated.
        max_bytes: u64,
        /// How many rotated files stay.
        keep: u32,
    },
    /// To systemd's journal.
    Journald,
    /// Where vaultvisor's own goes.
    Inherit,
}

/// The keys of a vault.
pub(super) const KEYS: Keys = Keys {
    known: &[
        "network",
        "account",
        "endpoints",
        "args",
        "env",
        "stop",
        "probation",
        "retry_secs",
        "logs",
        "log_max_bytes",
        "log_keep",
        "keep_releases",
        "data_dir",
        "skip_snapshot",
        "keep_snapshots",
        "restore_after_live",
        "args_migration_secs",
        "state_migration_secs",
        "probe_args",
    ],
};
pub(super) const STOP_KEYS: Keys = Keys { known: &["signal", "grace_secs"] };
pub(super) const PROBATION_KEYS: Keys = Keys { known: &["secs", "health_url", "health_secs"] };

/// All vaults; `networks` gets the endpoints that they bring.
pub(super) fn read_all(
    reader: &mut Reader,
    root: &Fields<'_>,
    networks: &mut BTreeMap<String, Network>,
) -> BTreeMap<String, Vault> {
    let mut vaults = BTreeMap::new();
    let Some(node) = root.required("vaults", reader, "an object with at least one vault") else {
        return vaults;
    };
    let entries = reader.entries(node, "an object of vaults by name");
    if entries.is_empty() && node.is_object() {
        reader.problem(&node.path, "is empty, expected at least one vault");
    }
    // Which networks vaults name, and where.
    let mut used = Vec::new();
    let mut owners: BTreeMap<(String, Account), String> = BTreeMap::new();
    for (name, node) in entries {
        if !is_plain_name(name) {
            reader.problem(&node.path, plain_name_expected(name));
            continue;
        }
        let Some(vault) = read_one(reader, name, &node, networks, &mut used) else { continue };
        // Two names of one chain are one network.
        let genesis = networks.get(&vault.network).and_then(|network| network.genesis);
        let chain = genesis.map_or_else(|| vault.network.clone(), |genesis| genesis.to_string());
        if let Some(other) = owners.insert((chain, vault.account.clone()), name.to_owned()) {
            let what = format!(
                "has the account of vaults.{other} on the same network, expected another: two vaults of one account pay twice"
            );
            reader.problem(&node.path, what);
        }
        vaults.insert(name.to_owned(), vault);
    }
    check_sources(reader, &used, networks);
    vaults
}

/// Whether each network that a vault names has sources, and as many as must agree; when all vaults have brought theirs.
fn check_sources(reader: &mut Reader, used: &[(String, String)], networks: &BTreeMap<String, Network>) {
    let mut checked = Vec::new();
    for (place, name) in used {
        let Some(network) = networks.get(name) else { continue };
        let sources = network.endpoints.len();
        if network.light_client.is_some() {
            // It decides alone.
        } else if sources == 0 {
            let what = format!(
                "network {name:?} has no source, expected networks.{name}.endpoints or networks.{name}.light_client"
            );
            reader.problem(place, what);
        } else if network.agreement.get() > sources && !checked.contains(name) {
            let what = format!(
                "found {}, expected at most {sources}, the number of its endpoints, its vaults' own among them",
                network.agreement
            );
            reader.problem(&format!("networks.{name}.agreement"), what);
        }
        checked.push(name.clone());
    }
}

fn read_one(
    reader: &mut Reader,
    name: &str,
    node: &Node<'_>,
    networks: &mut BTreeMap<String, Network>,
    used: &mut Vec<(String, String)>,
) -> Option<Vault> {
    let fields = reader.fields(node, &KEYS);
    unite_endpoints(reader, &fields, networks);
    let network = fields.required("network", reader, "the name of a network").cloned().and_then(|node| {
        let name = read_network_name(reader, &node, networks)?;
        used.push((node.path.clone(), name.clone()));
        Some(name)
    });
    let account = read_account(reader, name, &fields, network.as_deref());
    let args = fields
        .required("args", reader, "the client's arguments, an array of strings")
        .cloned()
        .map(|node| read_args(reader, &node));
    let env = fields.get("env").map_or_else(BTreeMap::new, |node| read_env(reader, node));
    let stop = read_stop(reader, &fields);
    let probation = read_probation(reader, &fields);
    let retries = read_retries(reader, &fields);
    let logs = read_logs(reader, &fields);
    let keep_releases = fields.get("keep_releases").and_then(|node| reader.number(node, 0..=1000));
    let data = read_data(reader, &fields);
    let args_migration = read_secs(reader, &fields, "args_migration_secs", 1, DEFAULT_ARGS_MIGRATION);
    let state_migration = read_secs(reader, &fields, "state_migration_secs", 1, DEFAULT_STATE_MIGRATION);
    let probe_args = fields.get("probe_args").map(|node| read_probe_args(reader, node));
    Some(Vault {
        name: name.to_owned(),
        network: network?,
        account: account?,
        args: args?,
        env,
        stop,
        probation,
        retries,
        logs,
        keep_releases: keep_releases.and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        data,
        args_migration,
        state_migration,
        probe_args,
    })
}

/// A vault may bring endpoints of its own: its network then has all of them.
fn unite_endpoints(reader: &mut Reader, fields: &Fields<'_>, networks: &mut BTreeMap<String, Network>) {
    let Some(node) = fields.get("endpoints") else { return };
    let endpoints = read_endpoints(reader, node);
    let network = fields.get("network").and_then(Node::as_text).and_then(|name| networks.get_mut(name));
    if let Some(network) = network {
        for endpoint in endpoints {
            if !network.endpoints.contains(&endpoint) {
                network.endpoints.push(endpoint);
            }
        }
    }
}

fn read_network_name(
    reader: &mut Reader,
    node: &Node<'_>,
    networks: &BTreeMap<String, Network>,
) -> Option<String> {
    let name = reader.text(node)?;
    if !networks.contains_key(name) {
        let known: Vec<&str> = networks.keys().map(String::as_str).collect();
        let what = format!("found the unknown network {name:?}, expected one of: {}", known.join(", "));
        reader.problem(&node.path, what);
        return None;
    }
    Some(name.to_owned())
}

fn read_account(
    reader: &mut Reader,
    vault: &str,
    fields: &Fields<'_>,
    network: Option<&str>,
) -> Option<Account> {
    let on_dev = network == Some(networks::DEV);
    if on_dev && fields.get("account").is_none() {
        return Account::from_name(vault).ok();
    }
    let node = fields.required(
        "account",
        reader,
        "the vault's account: 64 hexadecimal digits or an SS58 address",
    )?;
    let text = reader.text(node)?;
    // On dev an address is one as elsewhere, and any other name will do.
    let account = match Account::from_address(text) {
        Err(_) if on_dev => Account::from_name(text),
        address => address,
    };
    account.map_err(|what| reader.problem(&node.path, what)).ok()
}

fn read_args(reader: &mut Reader, node: &Node<'_>) -> Vec<String> {
    let args = reader.texts(node);
    for (index, _) in args.iter().enumerate().filter(|(_, arg)| arg.contains('\0')) {
        reader.problem(&format!("{}[{index}]", node.path), "holds a NUL character, which no argument can");
    }
    args
}

/// A probe is executed beside the vault that runs, so it must be none: without any argument a client would start, and with
/// a key it would work for the same account.
fn read_probe_args(reader: &mut Reader, node: &Node<'_>) -> Vec<String> {
    let args = read_args(reader, node);
    if node.is_list() && args.is_empty() {
        let what =
            "is empty, expected arguments with which a client answers and ends, such as [\"--version\"]";
        reader.problem(&node.path, what);
    }
    if let Some(key) = unmanaged::first_key_arg(&args) {
        let what = format!(
            "names a key ({key}), expected arguments with which a client answers and ends: two vaults of one account pay twice"
        );
        reader.problem(&node.path, what);
    }
    args
}

/// Variables that would change what is executed, or belong to the service manager's talk with vaultvisor.
fn is_refused_variable(name: &str) -> bool {
    name.starts_with("LD_") || ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"].contains(&name)
}

fn read_env(reader: &mut Reader, node: &Node<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, node) in reader.entries(node, "an object of strings") {
        let Some(value) = reader.text(&node) else { continue };
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            reader
                .problem(&node.path, "is not an environment variable: expected a name without = and no NUL");
        } else if is_refused_variable(name) || name == crate::process::MARKER {
            reader.problem(
                &node.path,
                "is not passed to a vault: LD_*, NOTIFY_SOCKET, WATCHDOG_* and VAULTVISOR_RUN are refused",
            );
        } else {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    env
}

fn read_stop(reader: &mut Reader, fields: &Fields<'_>) -> Stop {
    let mut stop = Stop { signal: StopSignal::default(), grace: DEFAULT_GRACE };
    if let Some(node) = fields.get("stop") {
        let fields = reader.fields(node, &STOP_KEYS);
        if let Some(node) = fields.get("signal") {
            stop.signal = reader.parsed(node).unwrap_or_default();
        }
        stop.grace = read_secs(reader, &fields, "grace_secs", 1, DEFAULT_GRACE);
    }
    stop
}

fn read_probation(reader: &mut Reader, fields: &Fields<'_>) -> Probation {
    let (mut length, mut health_url, mut health_extension) = (DEFAULT_PROBATION, None, None);
    if let Some(node) = fields.get("probation") {
        let fields = reader.fields(node, &PROBATION_KEYS);
        length = read_secs(reader, &fields, "secs", 0, DEFAULT_PROBATION);
        health_url = fields.get("health_url").and_then(|node| reader.parsed(node));
        if let Some(node) = fields.get("health_secs") {
            health_extension = reader.number(node, LEAST_HEALTH_SECS..=MAX_SECS).map(Duration::from_secs);
            if fields.get("health_url").is_none() {
                reader.problem(&node.path, "has no effect without health_url; remove it");
            }
        }
    }
    let health_extension = health_extension.unwrap_or(length.max(policy::HEALTH_EXTENSION_LEAST));
    Probation { length, health_url, health_extension }
}

fn read_retries(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Duration> {
    let Some(node) = fields.get("retry_secs") else { return policy::REJECTION_RETRIES.to_vec() };
    let items = reader.list(node, "an array of seconds");
    if node.is_list() && !(1..=MAX_RETRIES).contains(&items.len()) {
        let what = format!("found {} items, expected 1 to {MAX_RETRIES}", items.len());
        reader.problem(&node.path, what);
    }
    items.iter().filter_map(|item| reader.number(item, 1..=MAX_SECS)).map(Duration::from_secs).collect()
}

fn read_logs(reader: &mut Reader, fields: &Fields<'_>) -> Logs {
    let max_bytes = fields.get("log_max_bytes").and_then(|node| reader.number(node, LOG_BYTES));
    let keep = fields.get("log_keep").and_then(|node| reader.number(node, 0..=1000));
    let file = Logs::File {
        max_bytes: max_bytes.unwrap_or(DEFAULT_LOG_MAX_BYTES),
        keep: keep.and_then(|keep| u32::try_from(keep).ok()).unwrap_or(DEFAULT_LOG_KEEP),
    };
    let Some(node) = fields.get("logs") else { return file };
    let Some(found) = reader.text(node) else { return file };
    let logs = match found {
        "file" => return file,
        "journald" => Logs::Journald,
        "inherit" => Logs::Inherit,
        _ => {
            let what = format!("found {found:?}, expected one of: file, journald, inherit");
            reader.problem(&node.path, what);
            return file;
        }
    };
    for key in ["log_max_bytes", "log_keep"] {
        if let Some(node) = fields.get(key) {
            reader.problem(&node.path, format!("has no effect with \"logs\": {found:?}; remove it"));
        }
    }
    logs
}

fn read_data(reader: &mut Reader, fields: &Fields<'_>) -> Option<Data> {
    let skip_snapshot = fields.get("skip_snapshot").and_then(|node| reader.flag(node));
    let keep = fields.get("keep_snapshots").and_then(|node| reader.number(node, 0..=1000));
    let restore_after_live = fields.get("restore_after_live").and_then(|node| reader.flag(node));
    let Some(node) = fields.get("data_dir") else {
        for key in ["skip_snapshot", "keep_snapshots", "restore_after_live"] {
            if let Some(node) = fields.get(key) {
                reader.problem(&node.path, "has no effect without data_dir; remove it");
            }
        }
        return None;
    };
    let folder = super::path(reader, node)?;
    if folder.components().any(|part| matches!(part, Component::ParentDir)) || folder.parent().is_none() {
        let what = format!("found {folder:?}, expected the vault's own folder, without \"..\"");
        reader.problem(&node.path, what);
        return None;
    }
    Some(Data {
        folder,
        skip_snapshot: skip_snapshot.unwrap_or(false),
        keep_snapshots: keep.and_then(|keep| u32::try_from(keep).ok()).unwrap_or(DEFAULT_KEEP_SNAPSHOTS),
        restore_after_live: restore_after_live.unwrap_or(false),
    })
}

/// A data folder belongs to one vault, and lies apart from what vaultvisor itself keeps.
pub(super) fn check_data(reader: &mut Reader, home: &Path, vaults: &BTreeMap<String, Vault>) {
    let overlap = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    let folders: Vec<(&String, &Path)> = vaults
        .iter()
        .filter_map(|(name, vault)| Some((name, vault.data.as_ref()?.folder.as_path())))
        .collect();
    for (index, (name, folder)) in folders.iter().enumerate() {
        let place = format!("vaults.{name}.data_dir");
        if home.starts_with(folder) || OWN_FOLDERS.iter().any(|own| overlap(&home.join(own), folder)) {
            let what =
                format!("found {folder:?}, expected a folder apart from what vaultvisor keeps in {home:?}");
            reader.problem(&place, what);
        }
        if let Some((other, _)) = folders[..index].iter().find(|(_, other)| overlap(folder, other)) {
            reader.problem(&place, format!("overlaps vaults.{other}.data_dir, expected a folder of its own"));
        }
    }
}

fn read_secs(reader: &mut Reader, fields: &Fields<'_>, key: &str, least: u64, default: Duration) -> Duration {
    let secs = fields.get(key).and_then(|node| reader.number(node, least..=MAX_SECS));
    secs.map_or(default, Duration::from_secs)
}
