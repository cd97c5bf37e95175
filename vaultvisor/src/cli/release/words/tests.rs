//! Words for everything, and nothing that a terminal would obey.

use codec::Encode;

use super::*;
use crate::chain::governance::{
    decoded::decode_call,
    explain::explain,
    test_runtime::{self as runtime, RuntimeCall, SystemCall, metadata},
};

fn told(call: &RuntimeCall) -> (String, Value) {
    let metadata = metadata();
    let bytes = call.encode();
    let decoded = decode_call(&metadata, &bytes).expect("a native call");
    let explained = explain(&decoded, "VaultRelease");
    (tree(&explained), tree_json(&explained))
}

#[test]
fn a_whole_proposal_reads_like_this() {
    let (text, _) = told(&runtime::sudo(runtime::batch_all(vec![
        runtime::schedule("1.16.0", 0x11, 2),
        runtime::set_artifact("1.16.0", "args-migration", 0x22),
        runtime::authorize(0x33),
        runtime::transfer(5),
    ])));
    let [one, two, three] = ["11", "22", "33"].map(|byte| byte.repeat(32));
    let expected = format!(
        "\
Sudo.sudo: as root, by the sudo key
   Utility.batch_all: all of these calls, or none
      1. VaultRelease.schedule_vault_release: schedules vault release 1.16.0 for runtime spec version 2
         version          1.16.0
         binary_checksum  {one}
         spec_version     2
      2. VaultRelease.set_release_artifact: states the file args-migration of vault release 1.16.0
         version   1.16.0
         name      args-migration
         checksum  {two}
      3. System.authorize_upgrade: allows anybody to replace the runtime by the code with this hash
         code_hash  0x{three}
      4. Balances.transfer_keep_alive: NOT ABOUT VAULT RELEASES
         dest   Id(0x{})
         value  5
",
        "ee".repeat(32)
    );
    assert_eq!(text, expected);
}

#[test]
fn programs_get_the_same_tree() {
    let (_, json) = told(&runtime::batch_all(vec![runtime::set("1.0", 0x11), runtime::transfer(5)]));
    assert_eq!(json["call"], "Utility.batch_all");
    let [set, transfer] = [&json["calls"][0], &json["calls"][1]];
    assert_eq!((&set["about_releases"], &transfer["about_releases"]), (&json!(true), &json!(false)));
    assert_eq!(set["arguments"]["version"], "1.0");
    assert_eq!(set["arguments"]["binary_checksum"], "11".repeat(32));
    assert_eq!(transfer["arguments"]["value"], "5");
}

#[test]
fn calls_inside_calls_that_we_do_not_know_have_numbers() {
    let proposal = runtime::Bounded::Lookup { hash: runtime::H256([1; 32]), len: 7 };
    let (text, _) = told(&RuntimeCall::Referenda(runtime::ReferendaCall::submit { proposal }));
    assert!(text.contains(&format!("Lookup(hash: 0x{}, len: 7)", "01".repeat(32))), "{text}");
    let proposal = runtime::Bounded::Inline(runtime::set("1.0", 0x11).encode());
    let (text, _) = told(&RuntimeCall::Referenda(runtime::ReferendaCall::submit { proposal }));
    assert!(text.contains("proposal  Inline(call 1 below)"), "{text}");
    assert!(text.contains("1. VaultRelease.set_vault_release: puts vault release 1.0 in force"), "{text}");
}

#[test]
fn hostile_bytes_are_escaped_and_long_ones_are_named_by_their_hash() {
    for hostile in ["\u{1b}[2J", "\r\n", "\u{202e}", "a\0b", "\u{9b}31m"] {
        let remark = RuntimeCall::System(SystemCall::remark { remark: hostile.into() });
        let statements = [
            runtime::set(hostile, 1),
            runtime::set_artifact("1.0", hostile, 1),
            runtime::remove_artifact(hostile, hostile),
        ];
        for call in statements.into_iter().chain([remark]) {
            let (text, json) = told(&call);
            assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text:?}");
            assert!(!json.to_string().contains(hostile), "{json}");
        }
    }
    let long = vec![b'x'; 64_000];
    let (text, _) = told(&RuntimeCall::System(SystemCall::remark { remark: long.clone() }));
    assert!(text.contains(&format!("64000 bytes, BLAKE2-256 {}", Blake2Hash::of(&long))), "{text}");
}

#[test]
fn long_names_do_not_flood_the_terminal() {
    let (text, _) = told(&runtime::set(&"x".repeat(64_000), 1));
    assert!(text.len() < 2_000, "{} bytes", text.len());
}
