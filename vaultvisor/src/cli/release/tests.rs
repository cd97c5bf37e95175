//! What the command line takes and refuses, before any chain is asked.

use std::fs;

use clap::Parser;

use super::*;
use crate::{
    chain::{ChainView, FinalizedBlock, PendingRelease, records::RecordName},
    release::{GenesisHash, Release, StatedUri},
};

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: ReleaseCommand,
}

const SUM: &str = "1111111111111111111111111111111111111111111111111111111111111111";

fn parse(more: &[&str]) -> Result<Line, clap::Error> {
    let start = ["release", "publish", "--endpoint", "ws://127.0.0.1:1"];
    Line::try_parse_from(start.iter().chain(more))
}

#[test]
fn a_release_has_one_version_and_one_checksum() {
    assert!(parse(&["--version", "1.0.0", "--checksum", SUM, "--suri", "//Alice"]).is_ok());
    assert!(parse(&["--version", "1.0.0", "--binary", "vault", "--suri", "//Alice"]).is_ok());
    for wrong in [
        &["--version", "1.0.0"][..],
        &["--checksum", SUM],
        &["--version", "1.0.0", "--checksum", SUM, "--binary", "vault"],
        &["--version", "../1", "--checksum", SUM],
        &["--version", "1.0.0", "--checksum", "11"],
        &["--version", "1.0.0", "--checksum", SUM, "--timeout", "0"],
        &["--version", "1.0.0", "--checksum", SUM, "--wait", "later"],
        &["--version", "1.0.0", "--checksum", SUM, "--suri", "//Alice", "--suri-file", "key"],
        &["--version", "1.0.0", "--checksum", SUM, "--schedule", "soon"],
        &["--version", "1.0.0", "--schedule", "2"],
        &["--version", "1.0.0", "--checksum", SUM, "--artifact", "Upper=file"],
        &["--version", "1.0.0", "--checksum", SUM, "--artifact", "a"],
        &["--version", "1.0.0", "--checksum", SUM, "--artifact", "a="],
        &["--version", "1.0.0", "--checksum", SUM, "--artifact-checksum", "a=11"],
    ] {
        let error = parse(wrong).expect_err("refused");
        assert_eq!(error.exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn a_chain_is_named_in_one_way() {
    let parse = |more: &[&str]| Line::try_parse_from(["release", "show"].iter().chain(more));
    assert!(parse(&["--endpoint", "wss://a"]).is_ok());
    assert!(parse(&["--network", "dev"]).is_ok());
    assert!(parse(&["--endpoint", "wss://a", "--pallet", "Other"]).is_ok());
    assert!(parse(&[]).is_ok(), "the configuration's, if it has one only");
    for wrong in [
        &["--endpoint", "http://a"][..],
        &["--endpoint", "ws://a", "--network", "dev"],
        &["--network", "dev", "--pallet", "Other"],
        &["--pallet", "Other"],
    ] {
        assert_eq!(parse(wrong).expect_err("refused").exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn a_call_is_about_one_version_or_cancels() {
    let parse =
        |more: &[&str]| Line::try_parse_from(["release", "call", "--network", "dev"].iter().chain(more));
    let artifact = format!("a={SUM}");
    for good in [
        &["--version", "1", "--checksum", SUM][..],
        &["--version", "1", "--binary", "vault", "--schedule", "2"],
        &["--version", "1", "--checksum", SUM, "--artifact", "a=f", "--artifact-checksum", &artifact],
        &["--version", "1", "--artifact", "a=f", "--remove-artifact", "b", "--remove-artifact", "c"],
        &["--cancel"],
        &["--cancel", "--version", "1", "--checksum", SUM, "--sudo", "--json"],
        &["--cancel", "--with-upgrade", SUM],
        &["--version", "1", "--checksum", SUM, "--schedule", "2", "--with-upgrade-code", "wasm"],
    ] {
        assert!(parse(good).is_ok(), "{good:?} was refused: {}", parse(good).expect_err("refused"));
    }
    for wrong in [
        &[][..],
        &["--version", "1"],
        &["--checksum", SUM],
        &["--artifact", "a=f"],
        &["--remove-artifact", "a"],
        &["--cancel", "--artifact", "a=f"],
        &["--schedule", "2"],
        &["--version", "1", "--schedule", "2"],
        &["--version", "1", "--artifact", "a=f", "--schedule", "2"],
        &["--version", "1", "--checksum", SUM, "--binary", "vault"],
        &["--version", "1", "--checksum", SUM, "--remove-artifact", "a"],
        &["--version", "1", "--checksum", SUM, "--schedule", "2", "--cancel"],
        &["--with-upgrade", SUM],
        &["--cancel", "--with-upgrade", "12"],
        &["--cancel", "--with-upgrade", SUM, "--with-upgrade-code", "wasm"],
    ] {
        assert_eq!(parse(wrong).expect_err("refused").exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn published_files_are_looked_at_only_when_asked() {
    let parse = |more: &[&str]| {
        Line::try_parse_from(["release", "decode", "0x0902", "--network", "dev"].iter().chain(more))
    };
    assert!(parse(&[]).is_ok());
    assert!(parse(&["--check-files", "--release-url", "https://a/{version}"]).is_ok());
    for wrong in
        [&["--release-url", "https://a/{version}"][..], &["--check-files", "--release-url", "ftp://a"]]
    {
        assert_eq!(parse(wrong).expect_err("refused").exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn each_artifact_is_given_once_as_a_file_or_as_a_checksum() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("migration");
    fs::write(&path, "abc").expect("written");
    let named = |name: &str, value| Named { name: name.parse().expect("a name"), value };
    let checksum: Checksum = SUM.parse().expect("a checksum");
    let args = |files: Vec<&str>, sums: Vec<&str>| ArtifactArgs {
        artifact: files.into_iter().map(|name| named(name, path.clone())).collect(),
        artifact_checksum: sums
            .into_iter()
            .map(|name| Named { name: name.parse().expect("a name"), value: checksum })
            .collect(),
    };
    let artifacts = args(vec!["a"], vec!["b"]).artifacts().expect("two names");
    let shown: Vec<String> = artifacts.iter().map(|(name, sum)| format!("{name} {sum}")).collect();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(shown, [format!("a {abc}"), format!("b {SUM}")]);
    for twice in [args(vec!["a", "a"], vec![]), args(vec![], vec!["a", "a"]), args(vec!["a"], vec!["a"])] {
        assert!(matches!(twice.artifacts(), Err(InputError::Twice { .. })));
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let line = parse(&["--version", "1", "--checksum", SUM, "--suri", "//Someone"]).expect("fits");
    assert!(!format!("{line:?}").contains("Someone"));
}

#[test]
fn a_binary_is_hashed_and_a_folder_is_not_one() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("vault");
    fs::write(&path, "abc").expect("written");
    // The first example of FIPS 180-2.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(sha256_of(&path).expect("a file").to_string(), expected);
    assert!(matches!(sha256_of(folder.path()), Err(InputError::NotAFile { .. })));
    assert!(matches!(sha256_of(&folder.path().join("none")), Err(InputError::Unreadable { .. })));
}

#[test]
fn show_tells_everything_and_says_when_there_is_nothing() {
    let mut view = ChainView {
        source: "ws://a".to_owned(),
        genesis: GenesisHash([1; 32]),
        finalized: FinalizedBlock { number: 77, hash: [2; 32] },
        spec_version: 100,
        record: RecordName::VaultRelease,
        current: None,
        pending: None,
    };
    assert!(show::shown(&view, &Records::default()).contains("none stated"));
    let name = ArtifactName::from_bytes(b"args-migration").expect("a name");
    view.current = Some(Release {
        sequence: Some(3),
        version: "1.2.3".parse().expect("a version"),
        binary_checksum: Checksum([0x11; 32]),
        uri: None,
        artifacts: [(name, Checksum([0x22; 32]))].into(),
    });
    view.pending = Some(PendingRelease {
        version: "2.0.0".parse().expect("a version"),
        binary_checksum: Checksum([0x33; 32]),
        uri: None,
        artifacts: [("state-migration".parse().expect("a name"), Checksum([0x44; 32]))].into(),
        spec_version: Some(101),
    });
    let text = show::shown(&view, &Records::default());
    let pending_file = format!("artifact    {}  state-migration", "44".repeat(32));
    for expected in [
        "1.2.3",
        SUM,
        "sequence    3",
        "args-migration",
        "2.0.0",
        &pending_file,
        "waits for   spec version 101; 100 runs now",
        "77, 0x02",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    // Between the block that changes the code and the one that promotes.
    view.spec_version = 101;
    let text = show::shown(&view, &Records::default());
    assert!(text.contains("waits for   the next block"), "{text}");
}

#[test]
fn show_tells_the_client_and_the_place_and_escapes_what_a_chain_says() {
    let current = Release {
        sequence: None,
        version: "111111111111".parse().expect("a version"),
        binary_checksum: Checksum([0x11; 32]),
        uri: StatedUri::from_bytes(b"file:///\x1b[2J"),
        artifacts: Artifacts::new(),
    };
    let view = ChainView {
        source: "ws://a".to_owned(),
        genesis: GenesisHash([1; 32]),
        finalized: FinalizedBlock { number: 77, hash: [2; 32] },
        spec_version: 100,
        record: RecordName::ClientsInfo,
        current: Some(current),
        pending: None,
    };
    let text = show::shown(&view, &Records::default());
    for expected in ["clients-info (client vault)", r"file:///\u{1b}[2J  (not allowed", SUM] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    assert!(!text.contains("sequence") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn clients_info_takes_its_own_options_and_no_others() {
    let call = |more: &[&str]| {
        let start = ["release", "call", "--endpoint", "ws://127.0.0.1:1", "--record", "clients-info"];
        Line::try_parse_from(start.iter().chain(more)).is_ok()
    };
    assert!(call(&["--uri", "https://h/v", "--checksum", SUM]));
    assert!(call(&["--uri", "https://h/v", "--checksum", SUM, "--pending", "--client", "oracle"]));
    assert!(call(&["--version", "1", "--checksum", SUM, "--with-upgrade", SUM]));
    assert!(!call(&["--uri", "https://h/v"]), "no binary");
    assert!(!call(&["--checksum", SUM]), "no place and no version");
    assert!(!call(&["--pending", "--cancel"]));
    let start = ["release", "call", "--endpoint", "ws://127.0.0.1:1", "--record", "storage"];
    assert!(Line::try_parse_from(start.iter().chain(&["--version", "1", "--checksum", SUM])).is_err());
}

#[test]
fn without_a_name_the_only_network_that_is_supervised_is_meant() {
    let only = |vaults: serde_json::Value| {
        let json = serde_json::json!({
            "home": "/h", "networks": {"dev": {"endpoints": ["ws://x"]}, "other": {"endpoints": ["ws://y"]}},
            "vaults": vaults,
        });
        let json = serde_json::from_value(json).expect("JSON");
        let settings = config::parse(&json, &config::Overrides::default()).expect("valid");
        only_network(&settings, Path::new("/etc/v.json")).map_err(|error| error.to_string())
    };
    let vault = |network: &str, account: &str| serde_json::json!({"network": network, "args": [], "account": account});
    let (one, two) = ("11".repeat(32), "22".repeat(32));
    let one_network = serde_json::json!({"a": vault("dev", &one), "b": vault("dev", &two)});
    assert_eq!(only(one_network), Ok("dev".to_owned()), "built-in and unused ones do not count");
    let refused =
        only(serde_json::json!({"a": vault("dev", &one), "b": vault("other", &two)})).expect_err("two");
    assert!(refused.contains("/etc/v.json has vaults of dev, other; expected --network"), "{refused}");
}
