//! Calls that Vaultvisor makes: what it encodes, and what the chain then does.

use std::{collections::BTreeMap, fs};

use codec::{DecodeAll, Encode};
use integration_tests::{
    command::{self, Finished},
    dev_chain::{DevChain, state::PendingRelease},
    journey::{Journey, Published},
    releases::Release,
    wait,
};
use runtime_mock::RuntimeCall;
use serde_json::{Value, json};
use sp_crypto_hashing::blake2_256;
use subxt_rpcs::client::rpc_params;

use super::native::*;

#[tokio::test]
async fn a_release_is_published_with_all_its_files_in_one_call() {
    let journey = Journey::begin().await;
    let chain = &journey.chain;
    let release = Release::of_test_vault("1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let migration = folder.path().join("migration");
    fs::write(&migration, "abc").unwrap();
    let by_file = format!("args-migration={}", migration.display());
    let by_checksum = format!("state-migration={}", sum(7));
    let files = ["--artifact", &by_file, "--artifact-checksum", &by_checksum];
    let expected = BTreeMap::from([
        // The first example of FIPS 180-2.
        (
            "args-migration".to_owned(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        ),
        ("state-migration".to_owned(), sum(7)),
    ]);

    let now = journey.publish(&release, &files).await.exited(0);
    let block = now.json::<Published>().block.expect("it waited");
    let hash = chain.block_hash(block).await;
    let current = chain.current_release(&hash).await.expect("it was published");
    assert_eq!((current.version.as_str(), &current.checksum), ("1.0.0", &release.checksum));
    assert_eq!(current.artifacts, expected);
    assert_eq!(chain.transactions_in(&hash).await, 1, "all of it is one transaction");
    let json: Value = now.json();
    assert_eq!(json["artifacts"], json!(expected));
    assert_eq!((&json["spec_version"], &json["finalized"]), (&Value::Null, &json!(true)));

    let later = Release::of_test_vault("1.1.0");
    let scheduled = journey.publish(&later, &[&files[..], &["--schedule", "2"]].concat()).await.exited(0);
    let block = scheduled.json::<Published>().block.expect("it waited");
    let hash = chain.block_hash(block).await;
    let pending = chain.pending_release(&hash).await.expect("it was scheduled");
    assert_eq!((pending.version.as_str(), &pending.checksum), ("1.1.0", &later.checksum));
    assert_eq!((pending.spec_version, &pending.artifacts), (2, &expected));
    assert_eq!(chain.current_release(&hash).await, Some(current), "the release in force stays");
    assert_eq!(scheduled.json::<Value>()["spec_version"], 2);

    let show = ["release", "show", "--endpoint", chain.url()];
    let shown: Value = command::vaultvisor(show.iter().chain(&["--json"])).await.exited(0).json();
    assert_eq!(shown["pending"]["artifacts"], json!(expected));
    assert_eq!(shown["pending"]["spec_version"], 2);
    assert_eq!(shown["current"]["artifacts"], json!(expected));
    let shown = command::vaultvisor(show).await.exited(0).stdout;
    assert!(shown.contains("waits for   spec version 2; 1 runs now"), "{shown}");
    assert_eq!(shown.matches("args-migration").count(), 2, "{shown}");
}

#[tokio::test]
async fn printed_calls_are_those_that_the_runtime_itself_encodes() {
    let chain = DevChain::start().await;
    let (one, two) = (sum(1), sum(2));
    let [a, b] =
        [("args-migration", &two), ("state-migration", &one)].map(|(name, sum)| format!("{name}={sum}"));
    let release = ["--version", "1.16.0", "--checksum", &one];
    let files = ["--artifact-checksum", &b, "--artifact-checksum", &a];
    let code = sum(3);
    let on_1_16 = ["--version", "1.16.0"];
    let release_files =
        || vec![set_artifact("1.16.0", "args-migration", 2), set_artifact("1.16.0", "state-migration", 1)];
    let with =
        |first: RuntimeCall, more: Vec<RuntimeCall>| batch_all(std::iter::once(first).chain(more).collect());
    let cases: Vec<(Vec<&str>, RuntimeCall)> = vec![
        (release.to_vec(), set("1.16.0", 1)),
        ([&release[..], &["--schedule", "2"]].concat(), schedule("1.16.0", 1, 2)),
        (vec!["--cancel"], cancel()),
        ([&on_1_16[..], &["--artifact-checksum", &a]].concat(), set_artifact("1.16.0", "args-migration", 2)),
        ([&on_1_16[..], &["--remove-artifact", "x"]].concat(), remove_artifact("1.16.0", "x")),
        ([&release[..], &files].concat(), with(set("1.16.0", 1), release_files())),
        (
            [&release[..], &files, &["--schedule", "7", "--with-upgrade", &code]].concat(),
            with(schedule("1.16.0", 1, 7), [release_files(), vec![authorize(3)]].concat()),
        ),
        (["--cancel", "--sudo"].to_vec(), sudo(cancel())),
        (
            [&["--cancel"], &release[..], &["--with-upgrade", &code, "--sudo"]].concat(),
            sudo(batch_all(vec![cancel(), set("1.16.0", 1), authorize(3)])),
        ),
        (
            [&on_1_16[..], &["--remove-artifact", "x", "--remove-artifact", "y", "--artifact-checksum", &a]]
                .concat(),
            batch_all(vec![
                remove_artifact("1.16.0", "x"),
                remove_artifact("1.16.0", "y"),
                set_artifact("1.16.0", "args-migration", 2),
            ]),
        ),
    ];
    for (options, native) in cases {
        let printed: Value = call(&chain, &[&options[..], &["--json"]].concat()).await.exited(0).json();
        let bytes = bytes_of(&printed["call"]);
        let decoded = RuntimeCall::decode_all(&mut &bytes[..]).expect("the runtime decodes all of it");
        assert_eq!(decoded, native, "{options:?}");

        let encoded = native.encode();
        let hash = format!("0x{}", hex::encode(blake2_256(&encoded)));
        assert_eq!((&printed["hash"], &printed["length"]), (&json!(hash), &json!(encoded.len())));
        assert_eq!(printed["preimage"]["hash"], hash);
        assert_eq!(printed["lookup"], json!({ "hash": hash, "len": encoded.len() }));
        let noted = bytes_of(&printed["preimage"]["note"]);
        assert_eq!(RuntimeCall::decode_all(&mut &noted[..]), Ok(note(encoded.clone())));

        let told = call(&chain, &options).await.exited(0).stdout;
        assert!(told.contains(&hash) && told.contains(&hex::encode(&encoded)), "{told}");
    }
    assert_eq!(record(&chain).await, (None, None), "printing a call changes nothing");
}

#[tokio::test]
async fn a_printed_call_can_hash_files_itself() {
    let chain = DevChain::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (binary, code) = (file("vault", b"abc"), file("runtime.wasm", b"\0asm"));
    let migration = format!("args-migration={}", file("migration", b""));
    let options = ["--version", "1.0.0", "--binary", &binary, "--schedule", "2", "--artifact", &migration];
    let upgrade = ["--with-upgrade-code", &code, "--json"];
    let printed: Value = call(&chain, &[&options[..], &upgrade].concat()).await.exited(0).json();
    let sha256 = |hex: &str| <[u8; 32]>::try_from(hex::decode(hex).unwrap()).unwrap();
    let native = batch_all(vec![
        ReleaseCall::schedule_vault_release {
            version: text("1.0.0"),
            binary_checksum: sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            spec_version: 2,
        }
        .into(),
        ReleaseCall::set_release_artifact {
            version: text("1.0.0"),
            name: text("args-migration"),
            checksum: sha256("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        }
        .into(),
        frame_system::Call::authorize_upgrade { code_hash: blake2_256(b"\0asm").into() }.into(),
    ]);
    assert_eq!(bytes_of(&printed["call"]), native.encode());
}

#[tokio::test]
async fn a_printed_call_does_what_it_says_when_the_chain_makes_it() {
    let chain = DevChain::start_manual().await;
    let (one, code) = (sum(1), sum(3));
    let file = format!("args-migration={}", sum(2));
    let release = ["--version", "1.16.0", "--checksum", &one, "--artifact-checksum", &file, "--json"];
    let upgrade = ["--schedule", "2", "--with-upgrade", &code];
    let printed: Value = call(&chain, &[&release[..], &upgrade].concat()).await.exited(0).json();
    assert_eq!(printed["would_succeed_now"], true);
    execute(&chain, &bytes_of(&printed["call"])).await;

    let pending = PendingRelease {
        version: "1.16.0".to_owned(),
        checksum: one.clone(),
        artifacts: artifacts(&[("args-migration", 2)]),
        spec_version: 2,
    };
    assert_eq!(record(&chain).await, (None, Some(pending)));
    let authorized = chain.storage("System", "AuthorizedUpgrade", &chain.best_hash().await).await;
    assert_eq!(authorized, Some([&[3; 32][..], &[1]].concat()), "the code's hash, to be checked");

    let edit = ["--version", "1.16.0", "--remove-artifact", "args-migration", "--json"];
    let printed: Value = call(&chain, &edit).await.exited(0).json();
    execute(&chain, &bytes_of(&printed["call"])).await;
    let (_, pending) = record(&chain).await;
    assert_eq!(pending.expect("still scheduled").artifacts, artifacts(&[]));

    let both = ["--cancel", "--version", "1.17.0", "--checksum", &one, "--json"];
    let printed: Value = call(&chain, &both).await.exited(0).json();
    execute(&chain, &bytes_of(&printed["call"])).await;
    let (current, pending) = record(&chain).await;
    assert_eq!(current.map(|release| (release.version, release.sequence)), Some(("1.17.0".to_owned(), 1)));
    assert_eq!(pending, None);
}

#[tokio::test]
async fn a_refused_release_is_never_submitted() {
    let chain = DevChain::start_manual().await;
    execute(&chain, &set("1.0.0", 1).encode()).await;
    execute(&chain, &schedule("2.0.0", 2, 5).encode()).await;
    let before = record(&chain).await;
    let (one, two, three) = (sum(1), sum(2), sum(3));
    let long = "1".repeat(65);
    let long_file = format!("{long}={one}");
    let many: Vec<String> = (0..17).map(|index| format!("file-{index}={one}")).collect();
    let many: Vec<&str> = many.iter().flat_map(|file| ["--artifact-checksum", file.as_str()]).collect();
    let file = format!("a={one}");
    let cases: Vec<(Vec<&str>, i32, Vec<&str>)> = vec![
        (
            vec!["--version", "3.0.0", "--checksum", &three, "--schedule", "1"],
            1,
            vec!["spec version 1", "above"],
        ),
        (vec!["--version", "3.0.0", "--checksum", &three, "--schedule", "0"], 1, vec!["running 1"]),
        (vec!["--version", "1.0.0", "--checksum", &two, "--schedule", "5"], 1, vec!["1.0.0", &one, &two]),
        (vec!["--version", "2.0.0", "--checksum", &one], 1, vec!["2.0.0", &one, &two, "cancel"]),
        (vec!["--version", &long, "--checksum", &one], 1, vec!["65 bytes", "64"]),
        (
            vec!["--version", "3.0.0", "--checksum", &one, "--artifact-checksum", &long_file],
            1,
            vec!["65 bytes"],
        ),
        ([&["--version", "3.0.0", "--checksum", &one], &many[..]].concat(), 1, vec!["more than 16 files"]),
        (
            vec!["--version", "3.0.0", "--checksum", &one, "--pallet", "Vaults"],
            1,
            vec!["\"Vaults\"", "--pallet VaultRelease"],
        ),
        (
            vec![
                "--version",
                "3.0.0",
                "--checksum",
                &one,
                "--artifact-checksum",
                &file,
                "--artifact-checksum",
                &file,
            ],
            2,
            vec!["a is given twice"],
        ),
    ];
    for (options, code, said) in cases {
        let refused = publish(&chain, &[&options[..], &["--wait", "none"]].concat()).await.exited(code);
        assert_eq!(refused.stdout, "");
        assert!(code == 2 || refused.stderr.contains("nothing was submitted"), "{}", refused.stderr);
        for word in said {
            assert!(refused.stderr.contains(word), "{word:?} is not said: {}", refused.stderr);
        }
    }
    let block = chain.create_block(true).await;
    assert_eq!(chain.transactions_in(&block).await, 0, "something was submitted");
    assert_eq!(record(&chain).await, before);

    // A call that no chain would take is not even printed; one that this chain might take later is, with a warning.
    let past = ["--version", "3.0.0", "--checksum", &one, "--schedule", "1"];
    let refused = call(&chain, &past).await.exited(1);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("expected one above"), "{}", refused.stderr);
    let later = ["--version", "9.0.0", "--artifact-checksum", &file, "--json"];
    let printed: Value = call(&chain, &later).await.exited(0).json();
    assert_eq!(printed["would_succeed_now"], false);
    assert!(printed["refusals"].to_string().contains("UnknownRelease"), "{printed}");
}

/// Publishes with these options while the pool holds one more transaction, before or after it, and makes a block of
/// both.
async fn publish_beside(chain: &DevChain, other: &RuntimeCall, is_first: bool, options: &[&str]) -> Finished {
    let pool_has = async |count: usize| {
        wait::until("the transaction pool", async || {
            let pool: Vec<Value> = chain.request("author_pendingExtrinsics", rpc_params![]).await;
            if pool.len() == count { Ok(()) } else { Err(format!("{} transactions", pool.len())) }
        })
        .await;
    };
    let seal = async {
        if is_first {
            pool_has(2).await;
        } else {
            pool_has(1).await;
            submit(chain, &other.encode()).await;
        }
        chain.create_block(true).await;
    };
    if is_first {
        submit(chain, &other.encode()).await;
    }
    tokio::join!(publish(chain, options), seal).0
}

#[tokio::test]
async fn a_release_that_is_refused_in_its_block_is_a_failure_and_named() {
    let chain = DevChain::start_manual().await;
    execute(&chain, &set("0.9.0", 9).encode()).await;
    let (one, file) = (sum(1), format!("a={}", sum(2)));
    let options = ["--version", "1.0.0", "--checksum", &one, "--artifact-checksum", &file];
    let refused = publish_beside(&chain, &schedule("1.0.0", 7, 2), true, &options).await.exited(1);
    assert_eq!(refused.stdout, "");
    for said in ["set_vault_release", "set_release_artifact", "VaultRelease::VersionInUse", "unchanged"] {
        assert!(refused.stderr.contains(said), "{said:?} is not said: {}", refused.stderr);
    }
    let (current, _) = record(&chain).await;
    assert_eq!(current.map(|release| release.version).as_deref(), Some("0.9.0"));
}

#[tokio::test]
async fn a_release_that_is_overwritten_in_its_block_is_not_called_published() {
    let chain = DevChain::start_manual().await;
    let options = ["--version", "1.0.0", "--checksum", &sum(1)];
    let overwritten = publish_beside(&chain, &set("2.0.0", 2), false, &options).await.exited(1);
    assert_eq!(overwritten.stdout, "");
    for said in ["expected the chain to state 1.0.0", "found 2.0.0", &sum(2)] {
        assert!(overwritten.stderr.contains(said), "{said:?} is not said: {}", overwritten.stderr);
    }
}
