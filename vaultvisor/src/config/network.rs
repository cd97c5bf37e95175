//! One chain of the configuration, and how it is read.

use std::{collections::BTreeMap, num::NonZeroUsize};

use super::{
    account::{is_plain_name, plain_name_expected},
    file::{Fields, Keys, Node, Reader},
    networks, path,
};
use crate::{
    artifact::url::UrlTemplate,
    chain::{
        light_client::SpecFiles,
        records::{MAX_CLIENT_BYTES, RecordName, Records},
    },
    error_chain::Chained,
    release::GenesisHash,
};

/// More sources than anybody has.
const MAX_AGREEMENT: u64 = 100;

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its name in the file.
    pub name: String,
    /// Websocket addresses of its RPC nodes, in the order in which they are tried.
    pub endpoints: Vec<String>,
    /// The chain specifications of a light client, which then decides alone.
    pub light_client: Option<SpecFiles>,
    /// The chain that it must be; `None` pins the first one seen.
    pub genesis: Option<GenesisHash>,
    /// Where its runtime keeps the release.
    pub records: Records,
    /// How many of its sources must state the same.
    pub agreement: NonZeroUsize,
    /// Where its binaries are published, mirrors after the first.
    pub release_urls: Vec<UrlTemplate>,
}

/// The keys of a network.
pub(super) const KEYS: Keys = Keys {
    known: &[
        "endpoints",
        "light_client",
        "agreement",
        "record",
        "pallet",
        "client",
        "genesis",
        "release_urls",
    ],
};

/// The keys of a light client.
pub(super) const LIGHT_CLIENT_KEYS: Keys = Keys { known: &["chain_spec", "relay_chain_spec"] };

/// The networks that vaults may name: the built-in ones, changed and added to by the file.
pub(super) fn read_all(reader: &mut Reader, root: &Fields<'_>) -> BTreeMap<String, Network> {
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
            light_client: None,
            genesis: None,
            records: Records::default(),
            agreement: NonZeroUsize::MIN,
            release_urls: Vec::new(),
        });
        read_one(reader, &node, network);
    }
    networks
}

fn read_one(reader: &mut Reader, node: &Node<'_>, network: &mut Network) {
    let fields = reader.fields(node, &KEYS);
    if let Some(node) = fields.get("endpoints") {
        network.endpoints = read_endpoints(reader, node);
    }
    if let Some(node) = fields.get("light_client") {
        network.light_client = read_light_client(reader, node);
    }
    if let Some(node) = fields.get("record") {
        let order = read_record(reader, node);
        // An empty order comes with a problem of its own.
        if let Some(records) = network.records.clone().with_order(order) {
            network.records = records;
        }
    }
    if let Some(node) = fields.get("agreement") {
        // Whether there are so many is known when the vaults have brought theirs.
        let agreement = reader.number(node, 1..=MAX_AGREEMENT);
        let agreement = agreement.and_then(|number| usize::try_from(number).ok()).and_then(NonZeroUsize::new);
        network.agreement = agreement.unwrap_or(network.agreement);
    }
    if let Some(node) = fields.get("pallet")
        && let Some(pallet) = reader.text(node)
    {
        let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !pallet.is_empty() && pallet.chars().all(identifier) {
            network.records.pallet = pallet.to_owned();
        } else {
            let what = format!("found {pallet:?}, expected a pallet's name such as \"VaultRelease\"");
            reader.problem(&node.path, what);
        }
    }
    if let Some(node) = fields.get("client")
        && let Some(client) = reader.text(node)
    {
        if (1..=MAX_CLIENT_BYTES).contains(&client.len()) && client.chars().all(|c| c.is_ascii_graphic()) {
            network.records.client = client.to_owned();
        } else {
            let what = format!(
                "found {client:?}, expected a client's name such as \"vault\": 1 to {MAX_CLIENT_BYTES} printable \
                 ASCII characters without blanks"
            );
            reader.problem(&node.path, what);
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

/// The specifications are read, too: a wrong one should be found now, and not when the chain is needed.
fn read_light_client(reader: &mut Reader, node: &Node<'_>) -> Option<SpecFiles> {
    let fields = reader.fields(node, &LIGHT_CLIENT_KEYS);
    if !node.is_object() {
        return None;
    }
    let chain = fields.required("chain_spec", reader, "the file of the chain's specification").cloned();
    let chain = chain.and_then(|node| Some((path(reader, &node)?, node)));
    let relay_chain = match fields.get("relay_chain_spec") {
        Some(node) => Some((path(reader, node)?, node)),
        None => None,
    };
    let (chain, chain_node) = chain?;
    let (relay_chain, relay_node) = relay_chain.unzip();
    SpecFiles::check(chain.clone(), relay_chain)
        .map_err(|error| {
            let node = relay_node.filter(|_| error.path != chain).unwrap_or(&chain_node);
            reader.problem(&node.path, Chained(&error).to_string());
        })
        .ok()
}

/// A record, or several in the order in which they count. Empty only where there was a problem.
fn read_record(reader: &mut Reader, node: &Node<'_>) -> Vec<RecordName> {
    const EXPECTED: &str = "\"vault-release\" or \"clients-info\"";
    let items = if node.as_text().is_some() {
        vec![node.clone()]
    } else {
        let items = reader.list(node, "a record or an array of them");
        if items.is_empty() && node.is_list() {
            reader.problem(&node.path, format!("is empty, expected {EXPECTED}"));
        }
        items
    };
    let mut order = Vec::new();
    for item in items {
        let Some(found) = reader.text(&item) else { continue };
        match RecordName::named(found) {
            None => reader.problem(&item.path, format!("found {found:?}, expected {EXPECTED}")),
            Some(record) if order.contains(&record) => {
                reader.problem(&item.path, format!("{found:?} is there twice"));
            }
            Some(record) => order.push(record),
        }
    }
    order
}

/// Websocket addresses, each once.
pub(super) fn read_endpoints(reader: &mut Reader, node: &Node<'_>) -> Vec<String> {
    let mut endpoints = Vec::new();
    for item in reader.list(node, "an array of websocket URLs") {
        let Some(text) = reader.text(&item) else { continue };
        // The URL parser takes more forms than a person means to write, such as `ws:host`.
        let valid = (text.starts_with("ws://") || text.starts_with("wss://"))
            && url::Url::parse(text).is_ok_and(|url| url.host().is_some());
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
