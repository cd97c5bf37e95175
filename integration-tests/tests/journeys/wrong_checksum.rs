//! T09: other bytes at the URL than the chain states.

use integration_tests::{
    journey::{Journey, Source},
    operator::{NETWORK, Operator},
    releases::Release,
    wait,
};

integration_tests::through! {
    t09_one_wrong_bit_is_refused: Node, OldNode, LightClient;
}

/// Runs a first release, then has the chain state a second one while the server offers other bytes for it.
async fn is_refused(source: Source, tamper: impl FnOnce(&[u8]) -> Vec<u8>) {
    let journey = Journey::through(source).await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;
    let files_before = files_that_stay(operator);

    let stated = Release::of_test_vault("2.0.0");
    let offered = Release::from_bytes("2.0.0", tamper(&stated.program));
    journey.server.offer(&offered, NETWORK);
    journey.state(&stated).await;

    let names_both = |text: &str| text.contains(&stated.checksum) && text.contains(&offered.checksum);
    let vault = operator
        .vault_where("a problem that names the expected and the found checksum", |vault| {
            vault.problem.as_deref().is_some_and(names_both)
        })
        .await;

    assert_eq!(vault.running.as_ref(), Some(&before), "the vault is touched by nothing");
    assert_eq!(vault.state, "running");
    assert_eq!(vault.target.map(|target| target.checksum), Some(stated.checksum.clone()));
    assert_eq!(operator.stored(), [first.checksum.as_str()], "nothing of it may be left in the store");
    assert_eq!(files_that_stay(operator), files_before, "nothing of it may be left anywhere");
    assert_eq!(operator.lives().len(), 1);
    let log = daemon.stderr();
    assert!(log.lines().any(names_both), "stderr does not say why:\n{log}");

    // For those who ask by hand it has an exit code.
    let asked = operator.vaultvisor(&["prefetch"]).await.exited(6);
    assert!(asked.stdout.lines().any(names_both), "{}", asked.stdout);
    assert_eq!(files_that_stay(operator), files_before);

    // Whoever offers the right bytes afterwards is believed: the release was not given up.
    journey.server.offer(&stated, NETWORK);
    let after = operator.running(&stated).await;
    assert_ne!(after.pid, before.pid);
    let healed = operator.vault().await;
    assert_eq!(healed.problem, None, "it does not stand any more");
}

/// All files that are not rewritten or appended to in the normal course of things.
fn files_that_stay(operator: &Operator) -> Vec<std::path::PathBuf> {
    operator.files().into_iter().filter(|path| path.extension().is_none_or(|kind| kind != "json")).collect()
}

async fn t09_one_wrong_bit_is_refused(source: Source) {
    is_refused(source, |program| {
        let mut program = program.to_vec();
        let last = program.last_mut().expect("programs are not empty");
        *last ^= 1;
        program
    })
    .await;
}

#[tokio::test]
async fn t09_a_truncated_file_is_refused() {
    is_refused(Source::Node, |program| program[..program.len() / 2].to_vec()).await;
}

#[tokio::test]
async fn t09_a_longer_file_is_refused() {
    is_refused(Source::Node, |program| [program, b"\0"].concat()).await;
}

#[tokio::test]
async fn t09_an_empty_file_is_refused() {
    is_refused(Source::Node, |_| Vec::new()).await;
}

#[tokio::test]
async fn t09_a_first_release_of_other_bytes_never_runs() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let stated = Release::of_test_vault("1.0.0");
    let offered = Release::of_test_vault("1.0.0-other");
    journey.server.offer_file("1.0.0", NETWORK, &offered.program);
    journey.state(&stated).await;

    let daemon = operator.run();
    let vault = operator.vault_where("a problem", |vault| vault.problem.is_some()).await;
    let problem = vault.problem.expect("that is what was waited for");

    assert!(problem.contains(&stated.checksum) && problem.contains(&offered.checksum), "{problem}");
    assert_eq!(vault.running, None);
    assert_eq!(operator.lives(), []);
    assert_eq!(operator.stored(), Vec::<String>::new());
    wait::until("the refusal on stderr", async || match daemon.stderr() {
        log if log.contains(&offered.checksum) => Ok(()),
        log => Err(log),
    })
    .await;
}
