//! What a configuration may say, and how each problem is told.

use super::{
    vault::{DEFAULT_GRACE, DEFAULT_LOG_KEEP, DEFAULT_LOG_MAX_BYTES, DEFAULT_PROBATION},
    *,
};
use crate::{chain::records::Records, process::StopSignal};

const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const ALICE_HEX: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

fn read(text: &str) -> Result<Settings, Vec<String>> {
    let json: Json = serde_json::from_str(text).expect("JSON");
    let read = parse(&json, &Overrides::default());
    read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn dev(vault: &str) -> String {
    format!(
        r#"{{"home": "/h", "lock_dir": "/l", "networks": {{"dev": {{
            "endpoints": ["ws://127.0.0.1:9944"], "release_urls": ["http://127.0.0.1/{{version}}"]}}}},
            "vaults": {{"v": {vault}}}}}"#
    )
}

#[test]
fn a_small_file_gets_the_documented_defaults() {
    let settings = read(&dev(r#"{"network": "dev", "args": ["--a", "b c"]}"#)).expect("valid");
    let vault = &settings.vaults["v"];
    assert_eq!(vault.account.as_str(), "v");
    assert_eq!(vault.args, ["--a", "b c"]);
    assert_eq!(vault.stop, Stop { signal: StopSignal::Int, grace: DEFAULT_GRACE });
    let health_extension = Duration::from_secs(60);
    let probation = Probation { length: DEFAULT_PROBATION, health_url: None, health_extension };
    assert_eq!(vault.probation, probation);
    assert_eq!(vault.logs, Logs::File { max_bytes: DEFAULT_LOG_MAX_BYTES, keep: DEFAULT_LOG_KEEP });
    assert_eq!(vault.retries, [60, 300, 900, 3600, 21_600].map(Duration::from_secs));
    assert_eq!((vault.keep_releases, settings.startup_chain_wait.as_secs()), (0, 10));
    assert_eq!(settings.max_artifact_bytes, 512 * 1024 * 1024);
    assert_eq!(settings.networks["dev"].records, Records::default());
}

#[test]
fn both_forms_of_an_account_are_one_account() {
    for form in [ALICE.to_owned(), ALICE_HEX.to_owned(), format!("0x{}", ALICE_HEX.to_uppercase())] {
        let vault = format!(r#"{{"network": "dev", "account": "{form}", "args": []}}"#);
        assert_eq!(read(&dev(&vault)).expect("valid").vaults["v"].account.as_str(), ALICE_HEX);
    }
}

#[test]
fn two_vaults_of_one_account_on_one_network_are_refused() {
    let text = dev(&format!(
        r#"{{"network": "dev", "account": "{ALICE}", "args": []}},
           "w": {{"network": "dev", "account": "{ALICE_HEX}", "args": []}}"#
    ));
    let problems = read(&text).expect_err("two");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("vaults.w: has the account of vaults.v"), "{problems:?}");
}

#[test]
fn all_problems_are_reported_at_once_each_with_its_path() {
    let text = r#"{
        "home": "relative", "hoem": 1,
        "networks": {"dev": {"endpoints": ["http://x", 3], "genesis": "0x12", "release_urls": ["ftp://x"]}},
        "vaults": {
            "a": {"network": "mars", "args": "x"},
            "b": {"network": "kintsugi", "args": [], "env": {"LD_PRELOAD": "x"}, "stop": {"signal": "SIGKILL", "grace_secs": 0}}
        }
    }"#;
    let problems = read(text).expect_err("many");
    for place in [
        "hoem:",
        "home:",
        "networks.dev.endpoints[0]:",
        "networks.dev.endpoints[1]:",
        "networks.dev.genesis:",
        "networks.dev.release_urls[0]:",
        "vaults.a.network:",
        "vaults.a.args:",
        "vaults.a.account:",
        "vaults.b.account:",
        "vaults.b.env.LD_PRELOAD:",
        "vaults.b.stop.signal:",
        "vaults.b.stop.grace_secs:",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(place)), "{place} not in {problems:#?}");
    }
}

#[test]
fn an_account_is_required_on_every_network_but_dev() {
    let text = r#"{"home": "/h", "vaults": {"v": {"network": "kintsugi", "args": []}}}"#;
    let problems = read(text).expect_err("no account");
    assert!(
        problems.iter().any(|problem| problem.starts_with("vaults.v.account: is missing")),
        "{problems:?}"
    );
}

#[test]
fn a_vaults_own_endpoints_are_united_with_its_networks() {
    let vault = r#"{"network": "dev", "args": [], "endpoints": ["ws://b", "ws://127.0.0.1:9944"]}"#;
    let settings = read(&dev(vault)).expect("valid");
    assert_eq!(settings.networks["dev"].endpoints, ["ws://127.0.0.1:9944", "ws://b"]);
}

#[test]
fn a_light_client_is_a_source_and_its_specifications_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = |id: &str, more: &str| {
        let path = folder.path().join(format!("{id}.json"));
        let peer = "/ip4/127.0.0.1/tcp/30333/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        let root = "ab".repeat(32);
        let text = format!(
            r#"{{"name": "x", "id": "{id}", "bootNodes": ["{peer}"], "genesis": {{"stateRootHash": "0x{root}"}}{more}}}"#
        );
        std::fs::write(&path, text).expect("the folder is ours");
        path.to_str().expect("UTF-8").to_owned()
    };
    let relay = spec("kusama", "");
    let para = spec("kintsugi", r#", "relay_chain": "kusama", "para_id": 2092"#);
    let other = spec("karura", r#", "relay_chain": "kusama", "para_id": 2000"#);
    let network = |light_client: &str| {
        format!(
            r#"{{"home": "/h", "networks": {{"dev": {{"light_client": {light_client},
                "release_urls": ["http://127.0.0.1/"]}}}}, "vaults": {{"v": {{"network": "dev", "args": []}}}}}}"#
        )
    };
    let read = |light_client: &str| read(&network(light_client));

    let settings = read(&format!(r#"{{"chain_spec": "{relay}"}}"#)).expect("a source");
    assert!(settings.networks["dev"].endpoints.is_empty());
    assert!(settings.networks["dev"].light_client.is_some());
    read(&format!(r#"{{"chain_spec": "{para}", "relay_chain_spec": "{relay}"}}"#)).expect("a parachain");

    let there = "networks.dev.light_client";
    for (light_client, place, what) in [
        ("{}".to_owned(), ".chain_spec: is missing", "chain's specification"),
        (r#"{"chain_spec": "kusama.json"}"#.to_owned(), ".chain_spec: ", "an absolute path"),
        (
            r#"{"chain_spec": "/none.json"}"#.to_owned(),
            ".chain_spec: /none.json: cannot be read: ",
            "No such file",
        ),
        (format!(r#"{{"chain_spec": "{para}"}}"#), ".chain_spec: ", "expected relay_chain_spec"),
        (
            format!(r#"{{"chain_spec": "{para}", "relay_chain_spec": "{other}"}}"#),
            ".relay_chain_spec: ",
            "expected a relay chain",
        ),
        (format!(r#"{{"chain_spec": "{relay}", "relay": 1}}"#), ".relay: unknown key", "relay_chain_spec"),
    ] {
        let problems = read(&light_client).expect_err(&light_client);
        // Without a source the vault has a problem of its own.
        let problem = problems.iter().find(|problem| problem.starts_with(&format!("{there}{place}")));
        assert!(problem.is_some_and(|problem| problem.contains(what)), "{light_client}: {problems:#?}");
    }
}

#[test]
fn a_late_answer_is_waited_for_as_long_as_a_probation_but_at_least_a_minute() {
    for (secs, expected) in [(5, 60), (60, 60), (600, 600)] {
        let probation = format!(r#"{{"secs": {secs}, "health_url": "https://example.org"}}"#);
        let vault = format!(r#"{{"network": "dev", "args": [], "probation": {probation}}}"#);
        let settings = read(&dev(&vault)).expect("valid");
        assert_eq!(settings.vaults["v"].probation.health_extension, Duration::from_secs(expected));
    }
}

#[test]
fn every_key_of_a_vault_has_its_effect() {
    let vault = r#"{"network": "dev", "args": [],
        "probation": {"secs": 5, "health_url": "http://127.0.0.1:9615/metrics", "health_secs": 30},
        "stop": {"signal": "SIGTERM", "grace_secs": 7}, "retry_secs": [1, 2],
        "logs": "file", "log_max_bytes": 65536, "log_keep": 0, "keep_releases": 3,
        "data_dir": "/d", "skip_snapshot": true, "keep_snapshots": 4, "restore_after_live": true,
        "args_migration_secs": 8, "state_migration_secs": 9, "probe_args": ["--version"]}"#;
    let settings = read(&dev(vault)).expect("valid");
    let vault = &settings.vaults["v"];
    let health_url = vault.probation.health_url.as_ref().expect("there").to_string();
    assert_eq!((vault.probation.length.as_secs(), health_url.as_str()), (5, "http://127.0.0.1:9615/metrics"));
    assert_eq!(vault.probation.health_extension, Duration::from_secs(30));
    assert_eq!(vault.stop, Stop { signal: StopSignal::Term, grace: Duration::from_secs(7) });
    assert_eq!(vault.retries, [1, 2].map(Duration::from_secs));
    assert_eq!(vault.logs, Logs::File { max_bytes: 65_536, keep: 0 });
    assert_eq!(vault.keep_releases, 3);
    let folder = "/d".into();
    let data = Data { folder, skip_snapshot: true, keep_snapshots: 4, restore_after_live: true };
    assert_eq!(vault.data, Some(data));
    assert_eq!((vault.args_migration.as_secs(), vault.state_migration.as_secs()), (8, 9));
    assert_eq!(vault.probe_args, Some(vec!["--version".to_owned()]));
}

#[test]
fn a_data_folder_belongs_to_one_vault_and_lies_apart_from_the_home() {
    let vaults = |a: &str, b: &str| {
        format!(
            r#"{{"home": "/var/h", "networks": {{"dev": {{"endpoints": ["ws://x"], "release_urls": ["https://x/"]}}}},
                "vaults": {{"a": {{"network": "dev", "args": [], "data_dir": "{a}"}},
                            "b": {{"network": "dev", "args": [], "data_dir": "{b}"}}}}}}"#
        )
    };
    read(&vaults("/d/a", "/d/ab")).expect("apart");
    read(&vaults("/var/h/data", "/d")).expect("a folder of its own in the home");
    for (a, b, place) in [
        ("/d", "/d", "vaults.b.data_dir"),
        ("/d", "/d/b", "vaults.b.data_dir"),
        ("/d/a", "/d", "vaults.b.data_dir"),
        ("/var", "/d", "vaults.a.data_dir"),
        ("/var/h", "/d", "vaults.a.data_dir"),
        ("/d", "/var/h/vaults/b", "vaults.b.data_dir"),
    ] {
        let problems = read(&vaults(a, b)).expect_err(place);
        assert!(problems.iter().any(|problem| problem.starts_with(place)), "{a} {b}: {problems:?}");
    }
}

#[test]
fn http_is_served_on_loopback_unless_others_are_allowed_and_the_environment_goes_before_the_file() {
    let file = |keys: &str| {
        let text = dev(r#"{"network": "dev", "args": []}"#).replacen('{', &format!("{{{keys}"), 1);
        serde_json::from_str::<Json>(&text).expect("JSON")
    };
    let read = |keys: &str, variable: Option<&str>| {
        let overrides = Overrides { http: variable.map(Into::into), ..Overrides::default() };
        let settings = parse(&file(keys), &overrides);
        settings.map(|settings| settings.http).map_err(|problems| problems[0].to_string())
    };
    let at = |address: &str, allow_remote| {
        Ok(Some(Http { address: address.parse().expect("an address"), allow_remote }))
    };
    assert_eq!(read("", None), Ok(None));
    assert_eq!(read(r#""http": "127.0.0.1:9616","#, None), at("127.0.0.1:9616", false));
    assert_eq!(read(r#""http": "127.0.0.1:9616","#, Some("[::1]:1")), at("[::1]:1", false));
    assert_eq!(read("", Some("127.0.0.1:1")), at("127.0.0.1:1", false));
    let remote = r#""http": "0.0.0.0:9616", "http_allow_remote": true,"#;
    assert_eq!(read(remote, None), at("0.0.0.0:9616", true));
    for (keys, variable, place) in [
        (r#""http": "0.0.0.0:9616","#, None, "http: found 0.0.0.0:9616"),
        // What goes before it makes it no better.
        (r#""http": "0.0.0.0:9616","#, Some("127.0.0.1:1"), "http: found 0.0.0.0:9616"),
        ("", Some("0.0.0.0:1"), "VAULTVISOR_HTTP: found 0.0.0.0:1"),
        ("", Some("9616"), "VAULTVISOR_HTTP: found \"9616\", expected an IP address and a port"),
    ] {
        let problem = read(keys, variable).expect_err(place);
        assert!(problem.starts_with(place), "{problem}");
    }
}

#[test]
fn values_that_have_no_effect_or_no_meaning_are_refused() {
    for (key, place) in [
        (r#""logs": "syslog""#, "vaults.v.logs:"),
        (r#""logs": "journald", "log_keep": 3"#, "vaults.v.log_keep:"),
        (r#""log_max_bytes": 1"#, "vaults.v.log_max_bytes:"),
        (r#""probe_args": []"#, "vaults.v.probe_args:"),
        (r#""probe_args": ["run", "--keyfile=/x"]"#, "vaults.v.probe_args: names a key (--keyfile)"),
        (r#""keep_releases": -1"#, "vaults.v.keep_releases:"),
        (r#""retry_secs": []"#, "vaults.v.retry_secs:"),
        (r#""retry_secs": [0]"#, "vaults.v.retry_secs[0]:"),
        (r#""probation": {"health_url": "http://example.org/"}"#, "vaults.v.probation.health_url:"),
        (r#""probation": {"health_url": "file:///x"}"#, "vaults.v.probation.health_url:"),
        (r#""probation": {"health_secs": 30}"#, "vaults.v.probation.health_secs:"),
        (r#""probation": {"health_url": "https://h/", "health_secs": 9}"#, "vaults.v.probation.health_secs:"),
        (r#""probation": {"health_url": "https://me:secret@h/"}"#, "vaults.v.probation.health_url:"),
    ] {
        let problems = read(&dev(&format!(r#"{{"network": "dev", "args": [], {key}}}"#))).expect_err(key);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(place) && !problems[0].contains("secret"), "{problems:?}");
    }
}

#[test]
fn two_names_of_one_chain_are_one_network() {
    let genesis = "0x9af9a64e6e4da8e3073901c3ff0cc4c3aad9563786d89daf6ad820b6e14a0b8b";
    let text = format!(
        r#"{{"home": "/h", "networks": {{"again": {{"genesis": "{genesis}", "endpoints": ["wss://x"],
            "release_urls": ["https://x/"]}}}},
            "vaults": {{"v": {{"network": "kintsugi", "account": "{ALICE}", "args": []}},
                        "w": {{"network": "again", "account": "{ALICE_HEX}", "args": []}}}}}}"#
    );
    let problems = read(&text).expect_err("two");
    assert!(problems[0].starts_with("vaults.w: has the account of vaults.v"), "{problems:?}");
}

#[test]
fn names_that_would_leave_their_folder_are_refused() {
    for name in ["..", "a/b", "", ".hidden"] {
        let text = dev(r#"{"network": "dev", "args": []}"#).replace("\"v\":", &format!("{name:?}:"));
        assert!(read(&text).is_err(), "{name:?} was taken");
    }
}

/// One vault of network `dev` for each list of endpoints, over those of the network.
fn united(network: &str, agreement: u32, vaults: &[&str]) -> Result<Settings, Vec<String>> {
    let vaults: Vec<String> = vaults
        .iter()
        .enumerate()
        .map(|(n, endpoints)| {
            format!(r#""v{n}": {{"network": "dev", "args": [], "endpoints": [{endpoints}]}}"#)
        })
        .collect();
    read(&format!(
        r#"{{"home": "/h", "networks": {{"dev": {{"endpoints": [{network}], "agreement": {agreement},
            "release_urls": ["https://x/"]}}}}, "vaults": {{{}}}}}"#,
        vaults.join(", ")
    ))
}

#[test]
fn endpoints_of_the_network_and_of_its_vaults_are_united_and_as_many_may_have_to_agree() {
    for (network, vaults, expected) in [
        (r#""ws://a", "ws://b""#, &[""][..], &["ws://a", "ws://b"][..]),
        ("", &[r#""ws://a""#, r#""ws://b""#], &["ws://a", "ws://b"]),
        (r#""ws://a""#, &["", r#""ws://b", "ws://a""#], &["ws://a", "ws://b"]),
        // Whichever vault brings them, in whatever order the vaults are written.
        ("", &["", r#""ws://a", "ws://b""#], &["ws://a", "ws://b"]),
    ] {
        let settings = united(network, 2, vaults).expect("two sources");
        let dev = &settings.networks["dev"];
        assert_eq!(dev.endpoints, expected);
        assert_eq!(dev.agreement.get(), 2);
        let problems = united(network, 3, vaults).expect_err("two are not three");
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("networks.dev.agreement: found 3, expected at most 2"),
            "{problems:?}"
        );
    }
    let problems = united("", 1, &["", ""]).expect_err("no source");
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("vaults.v0.network: network \"dev\" has no source"), "{problems:?}");
}

#[test]
fn the_home_is_read_whatever_else_is_wrong() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("vaultvisor.json");
    let home = |text: &str, overrides: &Overrides| {
        std::fs::write(&path, text).expect("written");
        super::home(&path, overrides)
    };
    let wrong_elsewhere = r#"{"home": "/var/h", "hme": 1, "vaults": {"v": {"network": "nowhere"}}}"#;
    assert_eq!(home(wrong_elsewhere, &Overrides::default()).expect("a home"), Path::new("/var/h"));
    let elsewhere = Overrides { home: Some("/srv/h".into()), http: None };
    assert_eq!(home(wrong_elsewhere, &elsewhere).expect("a home"), Path::new("/srv/h"));

    for (text, found) in [
        (r#"{"hme": "/var/h", "vaults": 1}"#, "home"),
        (r#"{"home": "relative"}"#, "expected an absolute path"),
        ("[1", "is not JSON"),
    ] {
        let refused = home(text, &Overrides::default()).expect_err(text).to_string();
        assert!(
            refused.contains(found) && !refused.contains("hme") && !refused.contains("vaults"),
            "{refused}"
        );
    }
}

#[test]
fn a_network_without_release_urls_runs_what_was_added_by_hand() {
    let json = |network: &str| {
        serde_json::from_str(&format!(
            r#"{{"home": "/var/h", "networks": {{"dev": {{"endpoints": ["ws://x"]}}}},
            "vaults": {{"v": {{"network": "{network}", "args": []}}}}}}"#
        ))
        .expect("JSON")
    };
    let settings = parse(&json("dev"), &Overrides::default()).expect("valid");
    assert!(settings.networks["dev"].release_urls.is_empty());
}
