//! The schema and the parser say the same, as far as a schema can.

use serde_json::{Map, Value, json};

use super::{
    super::{KEYS, Overrides, file::Keys, network, parse, vault},
    SCHEMA,
};

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("JSON")
}

/// The keywords that the schema uses, and no others: an unknown one fails the test instead of being passed
/// over.
struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn accepts(&self, schema: &Value, value: &Value) -> bool {
        let schema = schema.as_object().expect("a schema is an object");
        schema.iter().all(|(keyword, rule)| self.holds(schema, keyword, rule, value))
    }

    fn holds(&self, schema: &Map<String, Value>, keyword: &str, rule: &Value, value: &Value) -> bool {
        let length = |rule: &Value| usize::try_from(rule.as_u64().expect("a number")).expect("fits");
        let number = || value.as_f64();
        match keyword {
            "$schema" | "title" | "description" | "default" | "examples" | "$defs" | "then" => true,
            "$ref" => {
                let pointer = rule.as_str().and_then(|rule| rule.strip_prefix('#')).expect("local");
                self.accepts(self.root.pointer(pointer).expect("defined"), value)
            }
            "type" => match rule.as_str().expect("one type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("type {other}"),
            },
            "const" => value == rule,
            "enum" => rule.as_array().expect("list").contains(value),
            "pattern" => value.as_str().is_none_or(|text| {
                regex::Regex::new(rule.as_str().expect("text")).expect("regex").is_match(text)
            }),
            "minimum" => number().is_none_or(|value| value >= rule.as_f64().expect("number")),
            "maximum" => number().is_none_or(|value| value <= rule.as_f64().expect("number")),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() >= length(rule)),
            "minItems" => value.as_array().is_none_or(|items| items.len() >= length(rule)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() <= length(rule)),
            "uniqueItems" => value.as_array().is_none_or(|items| {
                items.iter().enumerate().all(|(index, item)| !items[..index].contains(item))
            }),
            "items" => value.as_array().is_none_or(|items| items.iter().all(|item| self.accepts(rule, item))),
            "minProperties" => value.as_object().is_none_or(|object| object.len() >= length(rule)),
            "required" => value.as_object().is_none_or(|object| {
                let mut names = rule.as_array().expect("list").iter();
                names.all(|name| object.contains_key(name.as_str().expect("name")))
            }),
            "properties" => value.as_object().is_none_or(|object| {
                let rules = rule.as_object().expect("object");
                object.iter().all(|(key, value)| rules.get(key).is_none_or(|rule| self.accepts(rule, value)))
            }),
            "propertyNames" => value
                .as_object()
                .is_none_or(|object| object.keys().all(|key| self.accepts(rule, &json!(key)))),
            "additionalProperties" => value.as_object().is_none_or(|object| {
                let named = schema.get("properties").and_then(Value::as_object);
                object.iter().filter(|(key, _)| named.is_none_or(|named| !named.contains_key(*key))).all(
                    |(_, value)| match rule {
                        Value::Bool(allowed) => *allowed,
                        rule => self.accepts(rule, value),
                    },
                )
            }),
            "dependentRequired" => value.as_object().is_none_or(|object| {
                let rules = rule.as_object().expect("object");
                rules.iter().filter(|(key, _)| object.contains_key(*key)).all(|(_, needed)| {
                    let needed = needed.as_array().expect("list");
                    needed.iter().all(|key| key.as_str().is_some_and(|key| object.contains_key(key)))
                })
            }),
            "anyOf" => rule.as_array().expect("list").iter().any(|rule| self.accepts(rule, value)),
            "not" => !self.accepts(rule, value),
            "if" => !self.accepts(rule, value) || self.accepts(&schema["then"], value),
            other => panic!("the schema uses the keyword {other}, which this test does not know"),
        }
    }
}

fn schema_accepts(document: &Value) -> bool {
    let schema = schema();
    Validator { root: &schema }.accepts(&schema, document)
}

fn parser_accepts(document: &Value) -> bool {
    let json = serde_json::from_value(document.clone()).expect("JSON");
    parse(&json, &Overrides::default()).is_ok()
}

#[test]
fn the_schema_names_the_keys_that_the_parser_reads() {
    let schema = schema();
    let objects: [(&str, Keys); 6] = [
        ("", KEYS),
        ("/$defs/network", network::KEYS),
        ("/$defs/network/properties/light_client", network::LIGHT_CLIENT_KEYS),
        ("/$defs/vault", vault::KEYS),
        ("/$defs/vault/properties/stop", vault::STOP_KEYS),
        ("/$defs/vault/properties/probation", vault::PROBATION_KEYS),
    ];
    for (place, keys) in objects {
        let object = schema.pointer(place).expect("there");
        let mut named: Vec<&str> =
            object["properties"].as_object().expect("object").keys().map(String::as_str).collect();
        let mut read = keys.known.to_vec();
        named.sort_unstable();
        read.sort_unstable();
        assert_eq!(named, read, "at {place:?}");
        assert_eq!(object["additionalProperties"], json!(false), "at {place:?}");
    }
}

/// A specification that a light client can start from.
fn chain_spec() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let peer = "/ip4/127.0.0.1/tcp/30333/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let spec = json!({ "name": "x", "id": "x", "bootNodes": [peer], "genesis": { "stateRootHash": format!("0x{}", "ab".repeat(32)) } });
    std::fs::write(file.path(), spec.to_string()).expect("the file is ours");
    file
}

fn base() -> Value {
    json!({
        "home": "/h", "lock_dir": "/l",
        "networks": {"dev": {"endpoints": ["ws://127.0.0.1:9944"], "release_urls": ["http://127.0.0.1/{version}"]}},
        "vaults": {"v": {"network": "dev", "args": ["--a", "b"]}}
    })
}

/// The base document with one value put at a place, or removed with `null`.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = base();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let object = document.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    if value.is_null() {
        object.remove(key);
    } else {
        object.insert(key.to_owned(), value);
    }
    document
}

#[test]
fn the_schema_and_the_parser_accept_the_same_documents() {
    let chain_spec = chain_spec();
    let accepted = [
        ("/networks/dev/light_client", json!({ "chain_spec": chain_spec.path() })),
        ("/home", json!("/var/lib/vaultvisor")),
        ("/http", json!("127.0.0.1:9616")),
        ("/http", json!("127.1.2.3:0")),
        ("/http", json!("[::1]:9616")),
        ("/http_allow_remote", json!(true)),
        ("/lock_dir", Value::Null),
        ("/startup_chain_wait_secs", json!(0)),
        ("/max_artifact_bytes", json!(1)),
        ("/networks/dev/agreement", json!(1)),
        ("/networks/dev/record", json!("vault-release")),
        ("/networks/dev/record", json!("clients-info")),
        ("/networks/dev/record", json!(["vault-release"])),
        ("/networks/dev/record", json!(["vault-release", "clients-info"])),
        ("/networks/dev/client", json!("oracle")),
        ("/networks/dev/pallet", json!("VaultRelease2")),
        ("/networks/dev/genesis", json!("ab".repeat(32))),
        ("/networks/dev/genesis", json!(format!("0x{}", "AB".repeat(32)))),
        ("/networks/dev/release_urls", json!(["https://x/{checksum}", "file:///srv/{checksum}"])),
        ("/networks/other", json!({})),
        ("/vaults/v/account", json!("alice")),
        ("/vaults/v/endpoints", json!(["wss://x"])),
        ("/vaults/v/args", json!([])),
        ("/vaults/v/env", json!({"RUST_LOG": "info", "ld_x": ""})),
        ("/vaults/v/stop", json!({})),
        ("/vaults/v/stop", json!({"signal": "SIGTERM", "grace_secs": 86400})),
        ("/vaults/v/probation", json!({"secs": 0, "health_url": "http://127.0.0.1:9615/metrics"})),
        ("/vaults/v/probation", json!({"health_url": "http://localhost/"})),
        ("/vaults/v/probation", json!({"health_url": "http://[::1]:1/x?y"})),
        ("/vaults/v/probation", json!({"health_url": "https://example.org"})),
        ("/vaults/v/probation", json!({"health_url": "https://example.org", "health_secs": 10})),
        ("/vaults/v/retry_secs", json!([1, 86400])),
        ("/vaults/v/logs", json!("file")),
        ("/vaults/v/logs", json!("journald")),
        ("/vaults/v/logs", json!("inherit")),
        ("/vaults/v/log_max_bytes", json!(65536)),
        ("/vaults/v/log_keep", json!(0)),
        ("/vaults/v/keep_releases", json!(1000)),
        ("/vaults/v/data_dir", json!("/d")),
        ("/vaults/v/data_dir", json!("/d/..e/")),
        ("/vaults/v/probe_args", json!(["--version"])),
        ("/vaults/v/probe_args", json!(["--keyfiles", "", "key"])),
        ("/vaults/v/args_migration_secs", json!(1)),
        ("/vaults/v/state_migration_secs", json!(86400)),
        (
            "/vaults/v",
            json!({
                "network": "dev", "args": [], "data_dir": "/d", "skip_snapshot": true, "keep_snapshots": 0,
                "restore_after_live": true,
            }),
        ),
    ];
    for (place, value) in accepted {
        let document = with(place, value.clone());
        assert!(parser_accepts(&document), "the parser refuses {value} at {place}");
        assert!(schema_accepts(&document), "the schema refuses {value} at {place}");
    }
}

#[test]
fn the_schema_and_the_parser_refuse_the_same_documents() {
    let refused = [
        ("/home", Value::Null),
        ("/home", json!("relative")),
        ("/home", json!(1)),
        ("/lock_dir", json!("x")),
        ("/hoem", json!("/h")),
        ("/http", json!("0.0.0.0:9616")),
        ("/http", json!("192.0.2.1:9616")),
        ("/http", json!("[::]:9616")),
        ("/http", json!("[2001:db8::1]:9616")),
        ("/http", json!("127.0.0.1")),
        ("/http", json!("localhost:9616")),
        ("/http", json!(9616)),
        ("/http_allow_remote", json!("yes")),
        ("/startup_chain_wait_secs", json!(3601)),
        ("/startup_chain_wait_secs", json!(1.5)),
        ("/max_artifact_bytes", json!(0)),
        ("/networks", json!([])),
        ("/networks/..", json!({})),
        ("/networks/dev/light_client", json!({})),
        ("/networks/dev/agreement", json!(0)),
        ("/networks/dev/agreement", json!(101)),
        ("/networks/dev/light_client", json!("/etc/chain.json")),
        ("/networks/dev/light_client", json!({"chain_spec": "chain.json"})),
        ("/networks/dev/light_client", json!({"chain_spec": "/etc/chain.json", "relay_chain_spec": 1})),
        ("/networks/dev/light_client", json!({"chain_spec": "/etc/chain.json", "checkpoint": "0x00"})),
        ("/networks/dev/record", json!("storage")),
        ("/networks/dev/record", json!([])),
        ("/networks/dev/record", json!(["vault-release", "vault-release"])),
        ("/networks/dev/client", json!("")),
        ("/networks/dev/client", json!("a b")),
        ("/networks/dev/client", json!("x".repeat(256))),
        ("/networks/dev/pallet", json!("")),
        ("/networks/dev/pallet", json!("a-b")),
        ("/networks/dev/genesis", json!("0x12")),
        ("/networks/dev/endpoints", json!(["http://x"])),
        ("/networks/dev/endpoints", json!(["ws://x", "ws://x"])),
        ("/networks/dev/endpoints", json!("ws://x")),
        ("/networks/dev/release_urls", json!(["ftp://x/"])),
        ("/networks/dev/release_urls", json!(["/srv/x"])),
        ("/vaults", Value::Null),
        ("/vaults", json!({})),
        ("/vaults/a b", json!({"network": "dev", "args": []})),
        ("/vaults/v", json!("x")),
        ("/vaults/v/network", Value::Null),
        ("/vaults/v/args", Value::Null),
        ("/vaults/v/args", json!("x")),
        ("/vaults/v/args", json!([1])),
        ("/vaults/v/args", json!(["\u{0}"])),
        ("/vaults/v/account", json!("")),
        ("/vaults/v/account", json!(7)),
        ("/vaults/v/env", json!({"LD_PRELOAD": "x"})),
        ("/vaults/v/env", json!({"NOTIFY_SOCKET": "x"})),
        ("/vaults/v/env", json!({"VAULTVISOR_RUN": "x"})),
        ("/vaults/v/env", json!({"a=b": "x"})),
        ("/vaults/v/env", json!({"A": 1})),
        ("/vaults/v/stop", json!({"signal": "SIGKILL"})),
        ("/vaults/v/stop", json!({"grace_secs": 0})),
        ("/vaults/v/stop", json!({"grace": 1})),
        ("/vaults/v/probation", json!({"secs": 86401})),
        ("/vaults/v/probation", json!({"health_secs": 60})),
        ("/vaults/v/probation", json!({"health_url": "https://example.org", "health_secs": 9})),
        ("/vaults/v/probation", json!({"health_url": "https://example.org", "health_secs": 86401})),
        ("/vaults/v/probation", json!({"health_url": "http://example.org/"})),
        ("/vaults/v/probation", json!({"health_url": "http://127.0.0.1.example.org/"})),
        ("/vaults/v/probation", json!({"health_url": "https://me:secret@example.org/"})),
        ("/vaults/v/probation", json!({"health_url": "file:///x"})),
        ("/vaults/v/retry_secs", json!([])),
        ("/vaults/v/retry_secs", json!([0])),
        ("/vaults/v/retry_secs", json!(60)),
        ("/vaults/v/logs", json!("syslog")),
        ("/vaults/v/log_max_bytes", json!(65535)),
        ("/vaults/v/log_keep", json!(1001)),
        ("/vaults/v/keep_releases", json!(-1)),
        ("/vaults/v/data_dir", json!("/")),
        ("/vaults/v/data_dir", json!("/./")),
        ("/vaults/v/data_dir", json!("/d/../e")),
        ("/vaults/v/data_dir", json!("d")),
        ("/vaults/v/skip_snapshot", json!(true)),
        ("/vaults/v/keep_snapshots", json!(1)),
        ("/vaults/v/restore_after_live", json!(false)),
        ("/vaults/v/args_migration_secs", json!(0)),
        ("/vaults/v/state_migration_secs", json!(86401)),
        ("/vaults/v/probe_args", json!([])),
        ("/vaults/v/probe_args", json!("--version")),
        ("/vaults/v/probe_args", json!(["--version", "--keyname", "x"])),
        ("/vaults/v/probe_args", json!(["--keyfile=/x"])),
    ];
    for (place, value) in refused {
        let document = with(place, value.clone());
        assert!(!parser_accepts(&document), "the parser accepts {value} at {place}");
        assert!(!schema_accepts(&document), "the schema accepts {value} at {place}");
    }
    for http in ["0.0.0.0:9616", "[::]:9616"] {
        let mut allowed = with("/http", json!(http));
        allowed["http_allow_remote"] = json!(true);
        assert!(parser_accepts(&allowed) && schema_accepts(&allowed), "{http}");
        allowed["http_allow_remote"] = json!(false);
        assert!(!parser_accepts(&allowed) && !schema_accepts(&allowed), "{http}");
    }
    let no_effect = json!({"network": "dev", "args": [], "logs": "journald", "log_keep": 1});
    assert!(!parser_accepts(&with("/vaults/v", no_effect.clone())));
    assert!(!schema_accepts(&with("/vaults/v", no_effect)));
}

/// What no schema can say: it knows of no other entry, no built-in network and no checksum.
#[test]
fn only_the_parser_refuses_what_needs_more_than_one_value() {
    let chain_spec = chain_spec();
    let refused = [
        ("/networks/dev/light_client", json!({ "chain_spec": "/nowhere/chain.json" })),
        (
            "/networks/dev/light_client",
            json!({ "chain_spec": chain_spec.path(), "relay_chain_spec": chain_spec.path() }),
        ),
        ("/vaults/v/network", json!("mars")),
        ("/networks/dev/agreement", json!(2)),
        ("/vaults/w", json!({"network": "dev", "account": "v", "args": []})),
        ("/vaults/v/data_dir", json!("/h")),
        ("/vaults/v/data_dir", json!("/h/vaults/v/data")),
        ("/vaults/v/data_dir", json!("/h/store")),
        ("/vaults/v", json!({"network": "kintsugi", "args": []})),
        ("/networks/dev/release_urls", json!(["https://x/{unknown}"])),
        ("/networks/dev/release_urls", json!(["http://example.org/"])),
        ("/http", json!("127.0.0.1:65536")),
        ("/http", json!("127.0.0.256:1")),
    ];
    for (place, value) in refused {
        let document = with(place, value.clone());
        assert!(!parser_accepts(&document), "the parser accepts {value} at {place}");
        assert!(
            schema_accepts(&document),
            "the schema refuses {value} at {place}: move it to the list above"
        );
    }
}
