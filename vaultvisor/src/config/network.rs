//! One chain of the configuration, and how it is read.

use std::collections::BTreeMap;

use super::{
    account::{is_plain_name, plain_name_expected},
    file::{Fields, Keys, Node, Reader},
    networks,
};
use crate::{artifact::url::UrlTemplate, chain::records::DEFAULT_PALLET, release::GenesisHash};

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

/// The keys of a network.
pub(super) const KEYS: Keys = Keys {
    known: &["endpoints", "agreement", "record", "pallet", "genesis", "release_urls"],
    later: &["light_client"],
};

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
            genesis: None,
            pallet: DEFAULT_PALLET.to_owned(),
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
    if let Some(node) = fields.get("record") {
        read_record(reader, node);
    }
    if let Some(node) = fields.get("agreement") {
        read_agreement(reader, node);
    }
    if let Some(node) = fields.get("pallet")
        && let Some(pallet) = reader.text(node)
    {
        let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !pallet.is_empty() && pallet.chars().all(identifier) {
            network.pallet = pallet.to_owned();
        } else {
            let what = format!("found {pallet:?}, expected a pallet's name such as \"VaultRelease\"");
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

/// One endpoint is read at a time in this version: to accept more would promise what is not done.
fn read_agreement(reader: &mut Reader, node: &Node<'_>) {
    if let Some(found) = reader.number(node, 1..=100)
        && found != 1
    {
        let what = format!("found {found}, expected 1: more than one source is not in this version");
        reader.problem(&node.path, what);
    }
}

/// `"vault-release"`, or a list of records of which this version reads that one.
fn read_record(reader: &mut Reader, node: &Node<'_>) {
    let items = if node.as_text().is_some() {
        vec![node.clone()]
    } else {
        let items = reader.list(node, "a record or an array of them");
        if items.is_empty() && node.is_list() {
            reader.problem(&node.path, "is empty, expected \"vault-release\"");
        }
        items
    };
    for item in items {
        let Some(found) = reader.text(&item) else { continue };
        if found != "vault-release" {
            let what = match found {
                "clients-info" => {
                    "found \"clients-info\", expected \"vault-release\": others are not in this version"
                        .to_owned()
                }
                _ => {
                    format!("found {found:?}, expected \"vault-release\", the record that this version reads")
                }
            };
            reader.problem(&item.path, what);
        }
    }
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
