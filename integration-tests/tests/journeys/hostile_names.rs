//! T13: names that are no names. The runtime takes them for bytes; whoever makes a path, a URL or a line of a log of one
//! must not.

use codec::Encode as _;
use integration_tests::{
    dev_chain::state::{PALLET, key},
    journey::{Journey, Source},
    ledger,
    operator::NETWORK,
    releases::Release,
    untouched::Untouched,
};

const VERSION: &str = "1.0.0";
const ARTIFACT: &str = "notes";

/// The record of a release, with a name in it replaced: both are written with their length before them.
fn with(record: &[u8], name: &str, by: &[u8]) -> Vec<u8> {
    let (old, new) = (name.as_bytes().to_vec().encode(), by.to_vec().encode());
    let at = record.windows(old.len()).position(|window| window == old).expect("it has that name");
    [&record[..at], &new, &record[at + old.len()..]].concat()
}

#[tokio::test]
async fn t13_versions_and_artifacts_with_bad_names_are_refused_and_told_of_without_their_bytes() {
    let journey = Journey::through_a_changeable(Source::Node).await;
    let (operator, node) = (&journey.operator, journey.node());
    let first = Release::of_test_vault(VERSION);
    journey.server.offer(&first, NETWORK);
    let notes = format!("{ARTIFACT}={}", "ab".repeat(32));
    journey.publish(&first, &["--artifact-checksum", &notes]).await.exited(0);
    let daemon = operator.run();
    let before = Untouched::running(operator, &first).await;
    let asked = journey.server.served(VERSION).len();

    let current = key(PALLET, "CurrentRelease");
    let head = journey.chain.finalized_hash().await;
    let record = journey.chain.raw_storage(&current, &head).await.expect("it is stated");
    let long = vec![b'a'; 64 * 1024];
    let bad: [&[u8]; 8] = [
        b"../../../etc/cron.d/x",
        b"a/b",
        b"..",
        b"a\0b",
        b"\x1b[2J\x07",
        "2.0.0-\u{e9}\u{202e}".as_bytes(),
        b"",
        &long,
    ];
    for name in [VERSION, ARTIFACT] {
        for bad in bad {
            node.lie(&current, Some(&with(&record, name, bad)));
            let vault = operator.vault_where("what is wrong", |vault| vault.problem.is_some()).await;
            let problem = vault.problem.expect("that is what was waited for");
            assert!(problem.contains("something else than a release"), "{bad:?}: {problem}");
            assert!(problem.len() < 1000, "{} characters", problem.len());
            before.still(operator).await;
            let shown = operator.vaultvisor(&["status"]).await.exited(0).stdout;
            for said in [&problem, &daemon.stderr(), &shown] {
                let is_harmless = |c: char| c == '\n' || c.is_ascii() && !c.is_control();
                assert!(said.chars().all(is_harmless), "{bad:?} is not escaped in {said:?}");
            }
            node.be_honest();
            operator.vault_where("the record to be read again", |vault| vault.problem.is_none()).await;
        }
    }
    assert_eq!(journey.server.served(VERSION).len(), asked, "nobody asked for anything");

    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}
