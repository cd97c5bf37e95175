use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const PEER: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

/// Like the specification of a relay chain with its checkpoint left away.
fn relay_chain() -> Value {
    json!({
        "name": "Relay", "id": "relay", "chainType": "Live",
        "bootNodes": [format!("/dns/node.example.org/tcp/30333/p2p/{PEER}")],
        "telemetryEndpoints": null, "protocolId": "rel", "properties": { "tokenDecimals": 12 },
        "codeSubstitutes": {}, "genesis": { "stateRootHash": format!("0x{}", "ab".repeat(32)) },
    })
}

/// Like that of a parachain as its own node prints it.
fn parachain() -> Value {
    let mut spec = relay_chain();
    spec["id"] = json!("para");
    spec["relay_chain"] = json!("relay");
    spec["para_id"] = json!(2092);
    spec["genesis"] = json!({ "raw": { "top": { "0x01": "0x02" }, "childrenDefault": {} } });
    spec
}

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("the folder is ours");
    path
}

fn check(chain: &Value, relay_chain: Option<&Value>) -> Result<SpecFiles, SpecError> {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = file(&folder, "chain.json", chain.to_string());
    let relay_chain = relay_chain.map(|spec| file(&folder, "relay.json", spec.to_string()));
    SpecFiles::check(chain, relay_chain)
}

fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

#[test]
fn a_chain_and_a_parachain_with_its_relay_chain_are_taken() {
    check(&relay_chain(), None).expect("a chain of its own");
    check(&parachain(), Some(&relay_chain())).expect("a parachain");
    let mut newer = parachain();
    let fields = newer.as_object_mut().expect("an object");
    for (old, new) in [("relay_chain", "relayChain"), ("para_id", "paraId")] {
        let value = fields.remove(old).expect("there");
        fields.insert(new.to_owned(), value);
    }
    check(&newer, Some(&relay_chain())).expect("the other spelling");
}

#[test]
fn a_parachain_needs_its_own_relay_chain_and_others_none() {
    let refused = |chain: &Value, relay: Option<&Value>| check(chain, relay).expect_err("does not fit");
    let missing = refused(&parachain(), None);
    assert!(matches!(&missing.problem, SpecProblem::NoRelayChain { relay_chain } if relay_chain == "relay"));
    assert!(missing.path.ends_with("chain.json"));

    let needless = refused(&relay_chain(), Some(&relay_chain()));
    assert!(matches!(needless.problem, SpecProblem::NoParachain));
    assert!(needless.path.ends_with("relay.json"));

    let other = refused(&parachain(), Some(&with(relay_chain(), "id", json!("mars"))));
    assert!(matches!(&other.problem, SpecProblem::OtherRelayChain { expected, found }
        if expected == "relay" && found == "mars"));
    assert!(other.path.ends_with("relay.json"));

    let nested = refused(&parachain(), Some(&with(parachain(), "id", json!("relay"))));
    assert!(matches!(nested.problem, SpecProblem::NotARelayChain));
}

#[test]
fn at_least_one_boot_node_must_be_within_reach() {
    let reachable = [
        format!("/ip4/127.0.0.1/tcp/30333/p2p/{PEER}"),
        format!("/ip6/::1/tcp/30333/p2p/{PEER}"),
        format!("/dns4/a.example/tcp/30333/p2p/{PEER}"),
        format!("/dns/a.example/tcp/30333/ws/p2p/{PEER}"),
    ];
    let unreachable = [
        format!("/dns/a.example/tcp/443/wss/p2p/{PEER}"),
        format!("/ip4/127.0.0.1/udp/30333/quic/p2p/{PEER}"),
        "/ip4/127.0.0.1/tcp/30333".to_owned(),
        "ws://127.0.0.1:9944".to_owned(),
        String::new(),
    ];
    for address in &reachable {
        let nodes = json!([unreachable[0], address]);
        check(&with(relay_chain(), "bootNodes", nodes), None).expect(address);
    }
    let refused = |nodes: Value| {
        let found = check(&with(relay_chain(), "bootNodes", nodes), None).expect_err("nobody to talk to");
        let SpecProblem::NoBootNode { found } = found.problem else { panic!("{found:?}") };
        found
    };
    assert_eq!(refused(json!([])), 0);
    assert_eq!(refused(json!(unreachable)), unreachable.len());
}

#[test]
fn what_is_no_raw_specification_is_refused_with_the_reason() {
    let refused = |spec: Value| check(&spec, None).expect_err("not a specification").problem;
    assert!(matches!(refused(json!([])), SpecProblem::Shape(_)));
    assert!(matches!(refused(json!({ "id": "x" })), SpecProblem::Shape(_)));
    assert!(matches!(refused(with(relay_chain(), "bootNodes", json!("x"))), SpecProblem::Shape(_)));
    let plain = json!({ "runtimeGenesis": { "code": "0x", "patch": {} } });
    assert!(matches!(refused(with(relay_chain(), "genesis", plain)), SpecProblem::NotRaw));
    let children = json!({ "raw": { "top": {}, "childrenDefault": { "0x00": {} } } });
    assert!(matches!(refused(with(relay_chain(), "genesis", children)), SpecProblem::ChildTries));
    // What only the light client's own parser knows.
    let short = json!({ "stateRootHash": "0xab" });
    assert!(matches!(refused(with(relay_chain(), "genesis", short)), SpecProblem::Refused(_)));
    let checkpoint = json!({ "finalizedBlockHeader": "0x00" });
    assert!(matches!(refused(with(relay_chain(), "lightSyncState", checkpoint)), SpecProblem::Refused(_)));
}

#[test]
fn files_that_are_missing_broken_or_huge_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |path| SpecFiles::check(path, None).expect_err("no specification").problem;
    assert!(matches!(refused(folder.path().join("none.json")), SpecProblem::Read(_)));
    assert!(matches!(refused(folder.path().to_owned()), SpecProblem::Read(_)));
    assert!(matches!(refused(file(&folder, "binary.json", [0xff; 9])), SpecProblem::Read(_)));
    assert!(matches!(refused(file(&folder, "broken.json", "{")), SpecProblem::Shape(_)));
    let huge = file(&folder, "huge.json", "");
    File::options().write(true).open(&huge).and_then(|it| it.set_len(MAX_BYTES + 1)).expect("sparse");
    assert!(matches!(refused(huge), SpecProblem::TooLarge));
}

#[test]
fn a_changed_file_is_another_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(&folder, "chain.json", relay_chain().to_string());
    let before = SpecFiles::check(path.clone(), None).expect("a specification");
    assert_eq!(SpecFiles::check(path.clone(), None).expect("the same"), before);
    file(&folder, "chain.json", with(relay_chain(), "name", json!("Other")).to_string());
    assert_ne!(SpecFiles::check(path, None).expect("a specification"), before);
}
