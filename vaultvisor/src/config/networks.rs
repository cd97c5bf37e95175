//! The networks that need no definition: the live bridges, their testnets, and the development chain.
//!
//! Genesis hashes are the chains' own (`chain_getBlockHash(0)`), so that an endpoint of another chain is
//! refused from the first connection on. Testnets are reset now and then and are pinned at first use.

use std::{collections::BTreeMap, num::NonZeroUsize};

use super::Network;
use crate::{
    artifact::url::UrlTemplate,
    chain::records::{RecordName, Records},
    release::GenesisHash,
};

/// The network of local development chains, where an account may be any name.
pub const DEV: &str = "dev";

struct BuiltIn {
    name: &'static str,
    genesis: Option<&'static str>,
    endpoints: &'static [&'static str],
    records: &'static [RecordName],
    /// The ends of the file names under which the binaries are published, in the order to try.
    binaries: &'static [&'static str],
}

const RELEASES: &str =
    "https://github.com/interlay/interbtc-clients/releases/download/{version}/vault-parachain-metadata-";

/// The bridges keep their releases in `ClientsInfo` today, and are read by our pallet from the moment they have it.
const BRIDGE: &[RecordName] = &[RecordName::VaultRelease, RecordName::ClientsInfo];

const BUILT_IN: [BuiltIn; 5] = [
    BuiltIn {
        name: "interlay",
        genesis: Some("0xbf88efe70e9e0e916416e8bed61f2b45717f517d7f3523e33c7b001e5ffcbc72"),
        endpoints: &["wss://api.interlay.io/parachain"],
        records: BRIDGE,
        binaries: &["interlay"],
    },
    BuiltIn {
        name: "kintsugi",
        genesis: Some("0x9af9a64e6e4da8e3073901c3ff0cc4c3aad9563786d89daf6ad820b6e14a0b8b"),
        endpoints: &["wss://api-kusama.interlay.io/parachain"],
        records: BRIDGE,
        binaries: &["kintsugi"],
    },
    BuiltIn {
        name: "interlay-testnet",
        genesis: None,
        endpoints: &[],
        records: BRIDGE,
        binaries: &["interlay-testnet", "interlay"],
    },
    BuiltIn {
        name: "kintsugi-testnet",
        genesis: None,
        endpoints: &[],
        records: BRIDGE,
        binaries: &["kintsugi-testnet", "kintsugi"],
    },
    BuiltIn { name: DEV, genesis: None, endpoints: &[], records: &[RecordName::VaultRelease], binaries: &[] },
];

/// The built-in networks by name, before the configuration changes them.
pub fn built_in() -> BTreeMap<String, Network> {
    let network = |built_in: &BuiltIn| {
        let template = |end: &&str| format!("{RELEASES}{end}").parse::<UrlTemplate>().ok();
        let network = Network {
            name: built_in.name.to_owned(),
            endpoints: built_in.endpoints.iter().map(ToString::to_string).collect(),
            light_client: None,
            genesis: built_in.genesis.and_then(|hash| hash.parse::<GenesisHash>().ok()),
            records: Records::new(built_in.records.to_vec()).unwrap_or_default(),
            agreement: NonZeroUsize::MIN,
            release_urls: built_in.binaries.iter().filter_map(template).collect(),
        };
        (built_in.name.to_owned(), network)
    };
    BUILT_IN.iter().map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_constant_parses() {
        for (built_in, (_, network)) in
            BUILT_IN.iter().map(|b| (b, built_in().remove_entry(b.name).expect("there")))
        {
            assert_eq!(network.genesis.map(|hash| hash.to_string()).as_deref(), built_in.genesis);
            assert_eq!(network.release_urls.len(), built_in.binaries.len());
            assert_eq!(network.records.order(), built_in.records);
        }
    }
}
