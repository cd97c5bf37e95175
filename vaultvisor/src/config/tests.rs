//! What a configuration may say, and how each problem is told.

use super::*;

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
    assert_eq!(vault.probation, DEFAULT_PROBATION);
    assert_eq!(settings.networks["dev"].pallet, DEFAULT_PALLET);
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
fn what_this_version_does_not_do_is_refused_and_not_ignored() {
    let asked = |key: &str| read(&dev(&format!(r#"{{"network": "dev", "args": [], {key}}}"#)));
    for does in [r#""logs": "file""#, r#""keep_releases": 0"#] {
        assert!(asked(does).is_ok(), "{does} was refused");
    }
    for does_not in [r#""logs": "journald""#, r#""keep_releases": 2"#, r#""data_dir": "/d""#] {
        assert_eq!(asked(does_not).expect_err(does_not).len(), 1);
    }
}

#[test]
fn names_that_would_leave_their_folder_are_refused() {
    for name in ["..", "a/b", "", ".hidden"] {
        let text = dev(r#"{"network": "dev", "args": []}"#).replace("\"v\":", &format!("{name:?}:"));
        assert!(read(&text).is_err(), "{name:?} was taken");
    }
}
