//! A chain specification for the light client: a file of the operator's, which a library reads after us.

use vaultvisor::chain::light_client::SpecFiles;

use super::{home::Home, is_refused};

/// The specification of some relay chain.
const RELAY: &str = r#"{"name": "Relay", "id": "relay", "bootNodes": ["/dns/node.example.org/tcp/30333/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"],
    "genesis": {"stateRootHash": "0xabababababababababababababababababababababababababababababababab"}}"#;

/// It is taken, alone or with its relay chain, or refused with the file's name.
pub fn holds(data: &[u8]) {
    thread_local!(static HOME: Home = Home::new());
    HOME.with(|home| {
        home.write("chain.json", data);
        home.write("relay.json", RELAY.as_bytes());
        let (chain, relay) = (home.path().join("chain.json"), home.path().join("relay.json"));
        let alone = SpecFiles::check(chain.clone(), None);
        let as_parachain = SpecFiles::check(chain.clone(), Some(relay));
        assert!(alone.is_err() || as_parachain.is_err(), "a chain has a relay chain or none");
        let as_relay_chain = SpecFiles::check(chain.clone(), Some(chain));
        for outcome in [alone, as_parachain, as_relay_chain] {
            if let Err(error) = outcome {
                is_refused(&error, ".json");
            }
        }
    });
}
