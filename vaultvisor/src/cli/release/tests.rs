//! What the command line takes and refuses, before any chain is asked.

use std::{fs, os::unix::fs::PermissionsExt};

use clap::Parser;

use super::*;
use crate::{
    chain::FinalizedBlock,
    release::{ArtifactName, GenesisHash},
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

fn key_file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("key");
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
    (folder, path)
}

fn public(keypair: &Keypair) -> String {
    hex::encode(keypair.public_key().0)
}

const ALICE: &str = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";

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
    for wrong in [
        &[][..],
        &["--endpoint", "http://a"],
        &["--endpoint", "ws://a", "--network", "dev"],
        &["--network", "dev", "--pallet", "Other"],
    ] {
        assert_eq!(parse(wrong).expect_err("refused").exit_code(), 2, "{wrong:?}");
    }
}

#[test]
fn a_command_line_shows_only_development_keys() {
    let suri = |text: &str| signer(Some(Hidden(text.to_owned())), None);
    assert_eq!(public(&suri("//Alice").expect("a development key")), ALICE);
    let phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
    for secret in [phrase, &format!("{phrase}//Alice"), &format!("0x{SUM}"), "/Alice", ""] {
        let error = suri(secret).expect_err("refused").to_string();
        assert!(error.contains("--suri-file") && error.contains("VAULTVISOR_SURI"), "{error}");
        assert!(!error.contains("curtain") && !error.contains(SUM), "{error}");
    }
}

#[test]
fn a_key_file_is_trimmed_and_must_be_private() {
    let (_folder, path) = key_file("//Alice\n", 0o600);
    assert_eq!(public(&signer(None, Some(&path)).expect("a key")), ALICE);
    for mode in [0o644, 0o640, 0o604, 0o620] {
        let (_folder, path) = key_file("//Alice\n", mode);
        let error = signer(None, Some(&path)).expect_err("exposed").to_string();
        assert!(error.contains(&format!("{mode:o}")) && error.contains("chmod 600"), "{error}");
    }
}

#[test]
fn bad_secrets_are_refused_without_being_quoted() {
    for secret in ["abandon abandon secretword", "0x12", "", " \n", "0xnothexnothex//x///pass"] {
        let (_folder, path) = key_file(secret, 0o600);
        let error = signer(None, Some(&path)).expect_err("no key");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("does not hold a secret URI"), "{shown}");
        assert!(!shown.contains("secretword") && !shown.contains("nothex"), "{shown}");
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let line = parse(&["--version", "1", "--checksum", SUM, "--suri", "//Someone"]).expect("fits");
    assert!(!format!("{line:?}").contains("Someone"));
}

#[test]
fn a_binary_is_hashed_and_a_folder_is_not_one() {
    let (folder, path) = key_file("abc", 0o644);
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
        current: None,
        pending: None,
    };
    assert!(shown(&view, "vault-release", "VaultRelease").contains("none stated"));
    let name = ArtifactName::from_bytes(b"args-migration").expect("a name");
    view.current = Some(Release {
        sequence: Some(3),
        version: "1.2.3".parse().expect("a version"),
        binary_checksum: Checksum([0x11; 32]),
        artifacts: [(name, Checksum([0x22; 32]))].into(),
    });
    view.pending = Some(PendingRelease {
        version: "2.0.0".parse().expect("a version"),
        binary_checksum: Checksum([0x33; 32]),
        spec_version: Some(101),
    });
    let text = shown(&view, "vault-release", "VaultRelease");
    for expected in ["1.2.3", SUM, "sequence    3", "args-migration", "2.0.0", "spec version 101", "77, 0x02"]
    {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
}
