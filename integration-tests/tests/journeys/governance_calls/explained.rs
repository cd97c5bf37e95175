//! Calls that Vaultvisor explains: by the chain that they are for, and by the files that they name.

use std::fs;

use codec::Encode;
use integration_tests::{
    command, dev_chain::DevChain, journey::Journey, operator::NETWORK, redis, releases::Release,
};
use runtime_mock::RuntimeCall;
use serde_json::{Value, json};
use sp_crypto_hashing::blake2_256;

use super::native::*;

/// Each step is foretold, made, and compared.
#[tokio::test]
async fn what_decode_foretells_is_what_the_chain_does() {
    let chain = DevChain::start_manual().await;
    chain.create_block(true).await;
    let long = "n".repeat(64);
    let full: Vec<RuntimeCall> =
        (0..16).map(|index| set_artifact("1.0.0", &format!("file-{index}"), index)).collect();
    let batch = |calls: Vec<RuntimeCall>| -> RuntimeCall { pallet_utility::Call::batch { calls }.into() };
    let force_batch =
        |calls: Vec<RuntimeCall>| -> RuntimeCall { pallet_utility::Call::force_batch { calls }.into() };
    // Each on what those before it left; `None` succeeds.
    let steps: Vec<(RuntimeCall, Option<&str>)> = vec![
        (cancel(), Some("NothingScheduled")),
        (set_artifact("1.0.0", "a", 1), Some("UnknownRelease")),
        (set("-1", 1), Some("InvalidVersion")),
        (set("1..0", 1), Some("InvalidVersion")),
        (set("1.0.0", 1), None),
        (set("1.0.0", 1), None),
        (schedule("1.0.0", 2, 2), Some("VersionInUse")),
        (schedule("1.1.0", 2, 1), Some("SpecVersionNotInFuture")),
        (schedule("1.0.0", 1, 2), None),
        (set("1.0.0", 3), Some("VersionInUse")),
        (set_artifact("1.0.0", "Upper", 1), Some("InvalidArtifactName")),
        (set_artifact("1.0.0", &long, 1), None),
        (set_artifact("1.0.0", &long, 2), None),
        (remove_artifact("1.0.0", "absent"), Some("UnknownArtifact")),
        (remove_artifact("1.0.0", &long), None),
        (batch_all(full), None),
        (set_artifact("1.0.0", "one-too-many", 1), Some("TooManyArtifacts")),
        (set_artifact("1.0.0", "file-3", 99), None),
        (schedule("1.1.0", 2, 9), None),
        (batch_all(vec![set("2.0.0", 5), cancel(), cancel()]), Some("NothingScheduled")),
        (batch(vec![set("2.0.0", 5), cancel(), cancel(), set("3.0.0", 5)]), Some("NothingScheduled")),
        (force_batch(vec![cancel(), set("4.0.0", 5), cancel()]), Some("NothingScheduled")),
        (
            batch_all(vec![batch(vec![cancel(), set("5.0.0", 5)]), sudo(cancel()), set("6.0.0", 6)]),
            Some("NothingScheduled"),
        ),
        (batch_all(vec![schedule("7.0.0", 7, 2), set_artifact("7.0.0", "a", 7), authorize(1)]), None),
    ];
    for (call, refusal) in steps {
        let foretold = decoded(&chain, &call).await;
        assert_eq!(foretold["would_succeed_now"], refusal.is_none(), "{call:?}: {foretold}");
        assert_eq!(foretold["before"], record_json(&chain).await, "{call:?}");
        let said = foretold["warnings"].to_string();
        assert!(refusal.is_none_or(|refusal| said.contains(refusal)), "{call:?}: {said}");
        execute(&chain, &call.encode()).await;
        assert_eq!(record_json(&chain).await, foretold["after"], "{call:?}");
    }
}

#[tokio::test]
async fn voters_read_what_changes_and_what_is_not_about_releases() {
    let chain = DevChain::start_manual().await;
    execute(&chain, &set("1.15.0", 1).encode()).await;
    let proposal = batch_all(vec![set("1.16.0", 2), set_artifact("1.16.0", "args-migration", 3)]);

    let ours = decoded(&chain, &proposal).await;
    assert_eq!((&ours["only_about_releases"], &ours["warnings"]), (&json!(true), &json!([])));
    let changes = ours["changes"].to_string();
    assert!(changes.contains("in force: 1.15.0 → 1.16.0; statement 1 → 3"), "{changes}");
    let hash = format!("0x{}", hex::encode(blake2_256(&proposal.encode())));
    assert_eq!(ours["hash"], hash);

    let told = decode(&chain, &hex_of(&proposal), &[]).await.exited(0).stdout;
    for expected in [
        "puts vault release 1.16.0 in force at once",
        "states the file args-migration of vault release 1.16.0",
        &sum(2),
        &sum(3),
        &hash,
        "in force: 1.15.0 → 1.16.0",
        "it would succeed",
    ] {
        assert!(told.contains(expected), "{expected:?} is missing:\n{told}");
    }
    assert!(!told.contains("ATTENTION"), "{told}");

    // The same with something beside it, however it is packed.
    for foreign in [
        batch_all(vec![proposal.clone(), transfer(1_000_000)]),
        sudo(batch_all(vec![batch_all(vec![transfer(1_000_000)])])),
        note(batch_all(vec![proposal.clone(), transfer(1_000_000)]).encode()),
        frame_system::Call::set_storage { items: vec![(vec![1], vec![2])] }.into(),
    ] {
        let json = decoded(&chain, &foreign).await;
        assert_eq!(json["only_about_releases"], false, "{json}");
        assert_ne!(json["warnings"], json!([]), "{json}");
        let told = decode(&chain, &hex_of(&foreign), &[]).await.exited(0).stdout;
        assert!(told.contains("ATTENTION") && told.contains("NOT ABOUT VAULT RELEASES"), "{told}");
    }
    let code: RuntimeCall = frame_system::Call::set_code { code: vec![7; 4096] }.into();
    let told = decode(&chain, &hex_of(&code), &[]).await.exited(0).stdout;
    let code_hash = format!("4096 bytes, BLAKE2-256 0x{}", hex::encode(blake2_256(&[7; 4096])));
    assert!(told.contains("REPLACES THE RUNTIME") && told.contains(&code_hash), "{told}");

    let back = decoded(&chain, &set("1.14.0", 3)).await;
    assert!(back["changes"].to_string().contains("1.14.0 is older than 1.15.0"), "{back}");
}

#[tokio::test]
async fn published_files_are_compared_when_asked() {
    let journey = Journey::begin().await;
    let (operator, server, chain) = (&journey.operator, &journey.server, &journey.chain);
    let release = Release::of_test_vault("1.0.0");
    let native: RuntimeCall = ReleaseCall::schedule_vault_release {
        version: text("1.0.0"),
        binary_checksum: hex::decode(&release.checksum).unwrap().try_into().unwrap(),
        spec_version: 2,
    }
    .into();
    let hex = hex_of(&native);
    let decode = async |options: &[&str]| {
        let fixed = ["release", "decode", &hex, "--network", NETWORK, "--json"];
        operator.vaultvisor(&[&fixed[..], options].concat()).await
    };

    let unasked: Value = decode(&[]).await.exited(0).json();
    assert_eq!(unasked["files"], Value::Null);
    assert_eq!(server.served("1.0.0"), [], "nothing is downloaded unless asked");

    let missing = decode(&["--check-files"]).await.exited(1);
    assert_eq!(missing.json::<Value>()["files"][0]["result"], "nothing");

    server.offer(&release, NETWORK);
    let equal: Value = decode(&["--check-files"]).await.exited(0).json();
    assert_eq!(equal["files"][0]["result"], "equal");
    assert_eq!(equal["files"][0]["found"], release.checksum);

    let tampered = Release::from_bytes("1.0.0", [&release.program[..], b"!"].concat());
    server.offer(&tampered, NETWORK);
    let other = decode(&["--check-files"]).await.exited(6);
    let file = &other.json::<Value>()["files"][0];
    assert_eq!((&file["expected"], &file["found"]), (&json!(release.checksum), &json!(tampered.checksum)));
    assert_eq!(operator.files(), Vec::<std::path::PathBuf>::new(), "nothing is kept");

    // The operator's own places, and a chain that no configuration names.
    let template = server.url_template().replace("{network}", NETWORK);
    let elsewhere = ["--check-files", "--release-url", &template];
    self::decode(chain, &hex, &elsewhere).await.exited(6);
    self::decode(chain, &hex, &["--check-files"]).await.exited(2);
    let unnamed = ["--check-files", "--release-url", &server.url_template()];
    self::decode(chain, &hex, &unnamed).await.exited(2);
}

#[tokio::test]
async fn t13_hostile_calls_are_refused_and_nothing_of_them_reaches_the_terminal() {
    let chain = DevChain::start().await;
    let deep = format!("0x{}0902", "070004".repeat(10_000));
    let trailing = format!("{}00", hex_of(&cancel()));
    let cut = hex_of(&set("1.0.0", 1)).trim_end_matches("01").to_owned();
    let long = format!("0x{}", "ab".repeat(32_000));
    let huge_claim = "0x0702feffffff";
    for hostile in ["0x", "zz", "\u{1b}[2J", "0x0", &deep, &trailing, &cut, &long, huge_claim] {
        let refused = decode(&chain, hostile, &[]).await.exited(2);
        assert_eq!(refused.stdout, "");
        assert!(refused.stderr.len() < 1_000, "{}", refused.stderr);
        assert!(!refused.stderr.contains('\u{1b}'), "{}", refused.stderr);
    }
    // Calls that decode, with what a terminal would obey in them.
    let version = "\u{1b}]0;owned\u{7}\u{202e}";
    let native: Vec<RuntimeCall> = vec![
        set(version, 1),
        remove_artifact(version, "\r\n\u{1b}[1A"),
        frame_system::Call::remark { remark: version.into() }.into(),
    ];
    for call in native {
        let told = decode(&chain, &hex_of(&call), &[]).await.exited(0).stdout;
        let is_plain = |letter: char| letter == '\n' || letter == '→' || (' '..='~').contains(&letter);
        assert!(told.chars().all(is_plain), "{told:?}");
    }
    // Longer than a command line may be.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.hex");
    let long: RuntimeCall = frame_system::Call::remark { remark: vec![b'x'; 200_000] }.into();
    fs::write(&path, hex_of(&long)).unwrap();
    let told = decode(&chain, &format!("@{}", path.display()), &[]).await.exited(0).stdout;
    assert!(told.contains("200000 bytes, BLAKE2-256") && told.len() < 2_000, "{told}");
    decode(&chain, "@/nonexistent/call", &[]).await.exited(2);
    // Standard input is empty here.
    decode(&chain, "-", &[]).await.exited(2);
}

#[tokio::test]
async fn a_chain_out_of_reach_makes_and_explains_no_call() {
    let endpoint = format!("ws://127.0.0.1:{}", redis::free_port());
    let one = sum(1);
    let made = vec!["release", "call", "--version", "1.0.0", "--checksum", &one, "--endpoint", &endpoint];
    let explained = vec!["release", "decode", "0x0902", "--endpoint", &endpoint];
    for line in [made, explained] {
        let failed = command::vaultvisor(&line).await.exited(5);
        assert!(failed.stderr.contains(&endpoint) && failed.stdout.is_empty(), "{}", failed.stderr);
    }
}
