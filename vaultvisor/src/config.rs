//! The operator's configuration, read in three stages: JSON ([`mod@file`]), keys and types, then meaning.
//!
//! [`Settings`] is the result: every value in it is valid, so nothing after this module asks again.
//! All problems of a file are reported at once, each with its JSON path.

pub mod file;
pub mod networks;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    artifact::url::UrlTemplate, chain::records::DEFAULT_PALLET, process::StopSignal, release::GenesisHash,
};
use file::{Fields, Json, Node, Problem, Reader};

/// Where the locks of all vaults of a machine lie, whoever runs them.
pub const DEFAULT_LOCK_DIR: &str = "/run/lock/vaultvisor";
/// A client needs this long to write its state and close its connections; the bridges' own service files
/// give it no more.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(60);
/// Long enough for a client to find its wallet locked, its parachain unknown or its database too old, which
/// is how bad releases fail; short enough that two releases in a row do not pile up.
pub const DEFAULT_PROBATION: Duration = Duration::from_secs(60);
/// Nothing that an operator means is longer than a day.
const MAX_SECS: u64 = 86_400;

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder of everything durable.
    pub home: PathBuf,
    /// The folder of the machine-wide vault locks.
    pub lock_dir: PathBuf,
    /// The networks that vaults name, and others that the file defines.
    pub networks: BTreeMap<String, Network>,
    /// The vaults, by name.
    pub vaults: BTreeMap<String, Vault>,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name in the file.
    pub name: String,
    /// Websocket addresses of its RPC nodes, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// The chain that it must be; `None` pins the first one seen.
    pub genesis: Option<GenesisHash>,
    /// The name of `pallet-vault-release` in its runtime.
    pub pallet: String,
    /// Where its binaries are published, mirrors after the first.
    pub release_urls: Vec<UrlTemplate>,
}

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
    /// How long a new release must stay alive before the old one is removed.
    pub probation: Duration,
}

/// How a vault is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The signal.
    pub signal: StopSignal,
    /// SIGKILL after this long.
    pub grace: Duration,
}

/// Whose vault it is: what two vaults of one network may not have in common.
///
/// On the bridges a 32-byte account, normalised to 64 lower-case digits; on `dev` any plain name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(String);

impl Account {
    fn from_address(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(digits.to_ascii_lowercase()));
        }
        let account: subxt::utils::AccountId32 = text.parse().map_err(|_| {
            format!("found {text:?}, expected a 32-byte account: 64 hexadecimal digits or an SS58 address")
        })?;
        Ok(Self(hex::encode(account.0)))
    }

    fn from_name(text: &str) -> Result<Self, String> {
        if is_plain_name(text) { Ok(Self(text.to_owned())) } else { Err(plain_name_expected(text)) }
    }

    /// The normalised form, fit for a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len())
        && text.bytes().all(plain)
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

fn plain_name_expected(found: &str) -> String {
    let found: String = found.chars().take(80).collect();
    format!(
        "found {found:?}, expected 1 to 64 of 0-9 A-Z a-z . _ -, the first a letter or digit: it names a folder"
    )
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named and none is at the usual places.
    #[error(
        "there is no configuration: expected --config FILE, VAULTVISOR_CONFIG, ./vaultvisor.json or /etc/vaultvisor/vaultvisor.json"
    )]
    NotFound,
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not JSON.
    #[error("the configuration {} is not JSON", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's reason, with line and column.
        source: serde_json::Error,
    },
    /// The file has problems; all of them.
    #[error("the configuration {} has {} problem{}:{}", path.display(), problems.len(), if problems.len() == 1 { "" } else { "s" }, listed(problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Each with its JSON path.
        problems: Vec<Problem>,
    },
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Values from the environment that go before those of the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `VAULTVISOR_HOME`
    pub home: Option<PathBuf>,
}

impl Overrides {
    /// Reads this process's environment.
    pub fn from_environment() -> Self {
        Self { home: std::env::var_os("VAULTVISOR_HOME").filter(|home| !home.is_empty()).map(PathBuf::from) }
    }
}

/// The file to read: the one named, else the first that exists at the usual places.
pub fn locate(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let usual = ["vaultvisor.json", "/etc/vaultvisor/vaultvisor.json"];
    usual.iter().map(PathBuf::from).find(|path| path.exists()).ok_or(ConfigError::NotFound)
}

/// Reads and validates a configuration file.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Settings, ConfigError> {
    let text = std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let json: Json = serde_json::from_slice(&text)
        .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source })?;
    parse(&json, overrides).map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
}

/// Validates a configuration that is already JSON.
pub fn parse(json: &Json, overrides: &Overrides) -> Result<Settings, Vec<Problem>> {
    let mut reader = Reader::default();
    let root = reader.fields(&Node::root(json), &["home", "lock_dir", "networks", "vaults"]);

    let home = match &overrides.home {
        Some(home) => absolute(&mut reader, "VAULTVISOR_HOME", home),
        None => root
            .required("home", &mut reader, "the folder for everything that vaultvisor keeps")
            .cloned()
            .and_then(|node| path(&mut reader, &node)),
    };
    let lock_dir = match root.get("lock_dir") {
        Some(node) => path(&mut reader, node),
        None => Some(PathBuf::from(DEFAULT_LOCK_DIR)),
    };
    let mut networks = read_networks(&mut reader, &root);
    let vaults = read_vaults(&mut reader, &root, &mut networks);

    match (home, lock_dir) {
        (Some(home), Some(lock_dir)) if reader.problems.is_empty() => {
            Ok(Settings { home, lock_dir, networks, vaults })
        }
        _ => Err(reader.problems),
    }
}

fn path(reader: &mut Reader, node: &Node<'_>) -> Option<PathBuf> {
    let text = reader.text(node)?;
    absolute(reader, &node.path, Path::new(text))
}

fn absolute(reader: &mut Reader, place: &str, path: &Path) -> Option<PathBuf> {
    if path.is_absolute() {
        return Some(path.to_owned());
    }
    reader.problem(place, format!("found {path:?}, expected an absolute path"));
    None
}

fn read_networks(reader: &mut Reader, root: &Fields<'_>) -> BTreeMap<String, Network> {
    let mut networks = networks::built_in();
    let Some(node) = root.get("networks") else { return networks };
    for (name, node) in reader.entries(node, "an object of networks by name") {
        if !is_plain_name(name) {
            reader.problem(&node.path, plain_name_expected(name));
            continue;
        }
        let network = networks.entry(name.to_owned()).or_insert_with(|| Network {
            name: name.to_owned(),
            endpoints: Vec::new(),
            genesis: None,
            pallet: DEFAULT_PALLET.to_owned(),
            release_urls: Vec::new(),
        });
        let fields = reader.fields(&node, &NETWORK_KEYS);
        if let Some(node) = fields.get("endpoints") {
            network.endpoints = read_endpoints(reader, node);
        }
        if let Some(node) = fields.get("record") {
            read_record(reader, node);
        }
        if let Some(node) = fields.get("agreement") {
            reader.number(node, 1..=1);
        }
        if let Some(node) = fields.get("pallet")
            && let Some(pallet) = reader.text(node)
        {
            let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !pallet.is_empty() && pallet.chars().all(identifier) {
                network.pallet = pallet.to_owned();
            } else {
                reader.problem(
                    &node.path,
                    format!("found {pallet:?}, expected a pallet's name such as \"VaultRelease\""),
                );
            }
        }
        if let Some(node) = fields.get("genesis") {
            network.genesis = reader.parsed::<GenesisHash>(node).or(network.genesis);
        }
        if let Some(node) = fields.get("release_urls") {
            let items = reader.list(node, "an array of URLs");
            network.release_urls = items.iter().filter_map(|item| reader.parsed(item)).collect();
        }
    }
    networks
}

/// Keys of the contract whose only value so far is what this version does anyway; a value that asks for more
/// is refused, because a promise that is not kept is worse than none.
fn only(reader: &mut Reader, fields: &Fields<'_>, key: &str, value: &str) {
    if let Some(node) = fields.get(key)
        && let Some(found) = reader.text(node)
        && found != value
    {
        reader.problem(
            &node.path,
            format!("found {found:?}, expected {value:?}, the only one of this version"),
        );
    }
}

/// `"vault-release"`, or a list of records of which this version reads that one.
fn read_record(reader: &mut Reader, node: &Node<'_>) {
    let items = if node.as_text().is_some() {
        vec![node.clone()]
    } else {
        reader.list(node, "a record or an array of them")
    };
    for item in items {
        let Some(found) = reader.text(&item) else { continue };
        if found != "vault-release" {
            let what =
                format!("found {found:?}, expected \"vault-release\", the record that this version reads");
            reader.problem(&item.path, what);
        }
    }
}

fn read_endpoints(reader: &mut Reader, node: &Node<'_>) -> Vec<String> {
    let mut endpoints = Vec::new();
    for item in reader.list(node, "an array of websocket URLs") {
        let Some(text) = reader.text(&item) else { continue };
        let valid = url::Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "ws" | "wss") && url.host().is_some());
        if !valid {
            reader
                .problem(&item.path, format!("found {text:?}, expected a websocket URL: ws://… or wss://…"));
        } else if endpoints.iter().any(|known| known == text) {
            reader.problem(&item.path, format!("{text:?} is there twice"));
        } else {
            endpoints.push(text.to_owned());
        }
    }
    endpoints
}

const NETWORK_KEYS: [&str; 6] = ["endpoints", "agreement", "record", "pallet", "genesis", "release_urls"];
const VAULT_KEYS: [&str; 9] =
    ["network", "account", "endpoints", "args", "env", "stop", "probation", "logs", "keep_releases"];

fn read_vaults(
    reader: &mut Reader,
    root: &Fields<'_>,
    networks: &mut BTreeMap<String, Network>,
) -> BTreeMap<String, Vault> {
    let mut vaults = BTreeMap::new();
    let Some(node) = root.required("vaults", reader, "an object with at least one vault") else {
        return vaults;
    };
    let entries = reader.entries(node, "an object of vaults by name");
    if entries.is_empty() {
        reader.problem(&node.path, "is empty, expected at least one vault");
    }
    let mut owners: BTreeMap<(String, Account), String> = BTreeMap::new();
    for (name, node) in entries {
        if !is_plain_name(name) {
            reader.problem(&node.path, plain_name_expected(name));
            continue;
        }
        let Some(vault) = read_vault(reader, name, &node, networks) else { continue };
        let owner = (vault.network.clone(), vault.account.clone());
        if let Some(other) = owners.insert(owner, name.to_owned()) {
            let what = format!(
                "has the account of vaults.{other} on the same network, expected another: two vaults of one account pay twice"
            );
            reader.problem(&node.path, what);
        }
        vaults.insert(name.to_owned(), vault);
    }
    vaults
}

fn read_vault(
    reader: &mut Reader,
    name: &str,
    node: &Node<'_>,
    networks: &mut BTreeMap<String, Network>,
) -> Option<Vault> {
    let fields = reader.fields(node, &VAULT_KEYS);
    unite_endpoints(reader, &fields, networks);
    only(reader, &fields, "logs", "file");
    if let Some(node) = fields.get("keep_releases") {
        reader.number(node, 0..=0);
    }
    let network = fields
        .required("network", reader, "the name of a network")
        .cloned()
        .and_then(|node| read_network_name(reader, &node, networks));
    let account = read_account(reader, name, &fields, network.as_deref());
    let args = fields
        .required("args", reader, "the client's arguments, an array of strings")
        .cloned()
        .map(|node| read_args(reader, &node));
    let env = fields.get("env").map_or_else(BTreeMap::new, |node| read_env(reader, node));
    let stop = read_stop(reader, &fields);
    let probation = fields.get("probation").map_or(DEFAULT_PROBATION, |node| {
        let fields = reader.fields(node, &["secs"]);
        read_secs(reader, &fields, "secs", 0, DEFAULT_PROBATION)
    });
    Some(Vault {
        name: name.to_owned(),
        network: network?,
        account: account?,
        args: args?,
        env,
        stop,
        probation,
    })
}

/// A vault may bring endpoints of its own: its network then has all of them.
fn unite_endpoints(reader: &mut Reader, fields: &Fields<'_>, networks: &mut BTreeMap<String, Network>) {
    let Some(node) = fields.get("endpoints") else { return };
    let endpoints = read_endpoints(reader, node);
    let network = fields.get("network").and_then(Node::as_text).and_then(|name| networks.get_mut(name));
    if let Some(network) = network {
        let new = endpoints
            .into_iter()
            .filter(|endpoint| !network.endpoints.contains(endpoint))
            .collect::<Vec<_>>();
        network.endpoints.extend(new);
    }
}

fn read_network_name(
    reader: &mut Reader,
    node: &Node<'_>,
    networks: &BTreeMap<String, Network>,
) -> Option<String> {
    let name = reader.text(node)?;
    let Some(network) = networks.get(name) else {
        let known: Vec<&str> = networks.keys().map(String::as_str).collect();
        let what = format!("found the unknown network {name:?}, expected one of: {}", known.join(", "));
        reader.problem(&node.path, what);
        return None;
    };
    if network.endpoints.is_empty() {
        let what = format!("network {name:?} has no source, expected networks.{name}.endpoints");
        reader.problem(&node.path, what);
    }
    if network.release_urls.is_empty() {
        let what = format!("network {name:?} has no release URL, expected networks.{name}.release_urls");
        reader.problem(&node.path, what);
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
        return Some(Account(vault.to_owned()));
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
        let fields = reader.fields(node, &["signal", "grace_secs"]);
        if let Some(node) = fields.get("signal") {
            stop.signal = reader.parsed(node).unwrap_or_default();
        }
        stop.grace = read_secs(reader, &fields, "grace_secs", 1, DEFAULT_GRACE);
    }
    stop
}

fn read_secs(reader: &mut Reader, fields: &Fields<'_>, key: &str, least: u64, default: Duration) -> Duration {
    let secs = fields.get(key).and_then(|node| reader.number(node, least..=MAX_SECS));
    secs.map_or(default, Duration::from_secs)
}

#[cfg(test)]
mod tests;
