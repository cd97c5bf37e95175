//! T11: a release server whose certificate nobody vouches for, or which is of another host.

use integration_tests::{
    child::Signal,
    journey::Journey,
    ledger,
    operator::{NETWORK, Operator, VAULT},
    releases::Release,
    status::VaultStatus,
    tls_server::{Authority, TlsServer},
    untouched::Untouched,
};
use serde_json::json;

fn fetch_from(operator: &Operator, server: &TlsServer) {
    operator.configure(|config| config["networks"][NETWORK]["release_urls"] = json!([server.url_template()]));
}

/// The status says this of the certificate, and nothing else has happened.
async fn is_said(operator: &Operator, before: &Untouched, server: &TlsServer, said: &str) {
    let url = server.url_template().replace("{version}", "2.0.0");
    let vault = operator
        .vault_where(&format!("{said:?} of {url}"), |vault| {
            vault.problem.as_deref().is_some_and(|problem| {
                [&format!("cannot download {url}"), "its certificate is not trusted", said]
                    .iter()
                    .all(|said| problem.contains(*said))
            })
        })
        .await;
    assert_eq!((vault.state.as_str(), vault.rejected.len()), ("running", 0));
    before.still(operator).await;
}

#[tokio::test]
async fn t11_a_server_that_is_not_trusted_or_of_another_host_is_told_apart_and_asked_again_until_it_is_trusted()
 {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let authority = Authority::new();
    let server = TlsServer::start(&authority, "IP:127.0.0.1").await;
    let elsewhere = TlsServer::start(&authority, "DNS:releases.example.org").await;
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    let before = Untouched::running(operator, &first).await;

    let second = Release::of_test_vault("2.0.0");
    server.offer(&second);
    elsewhere.offer(&second);
    fetch_from(operator, &server);
    operator.reload(&daemon).await;
    journey.state(&second).await;
    is_said(operator, &before, &server, "of no authority that this machine knows").await;
    // It is waited with for the next try, and then says the same.
    operator.vaultvisor(&["retry", VAULT]).await.exited(0);
    is_said(operator, &before, &server, "SSL_CERT_FILE").await;

    // Trusted as OpenSSL has it, by the environment of a start: the vault runs on meanwhile.
    daemon.signal(Signal::QUIT);
    assert_eq!(daemon.end().await.code(), Some(0));
    fetch_from(operator, &elsewhere);
    let trusting = operator.run_trusting(&authority.certificate());
    let is_adopted = |vault: &VaultStatus| vault.running.as_ref().is_some_and(|running| running.adopted);
    let adopted = operator.vault_where("the vault to be taken over", is_adopted).await.running;
    assert_eq!(adopted.map(|running| running.pid), Some(before.pid()));
    let vault = operator
        .vault_where("the other host's certificate to be told", |vault| {
            vault.problem.as_deref().is_some_and(|problem| problem.contains("because it is for another host"))
        })
        .await;
    assert_eq!((vault.state.as_str(), vault.rejected.len()), ("running", 0));

    fetch_from(operator, &server);
    operator.reload(&trusting).await;
    operator.vaultvisor(&["retry", VAULT]).await;
    operator.running(&second).await;
    let lives = operator.lives();
    assert_eq!((lives.len(), ledger::never_two(&lives)), (2, Ok(())));
}

#[tokio::test]
async fn a_machine_that_trusts_nobody_runs_its_vaults_and_says_why_no_https_is_possible() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let daemon = operator.run_trusting(&operator.folder().join("no-such-file"));
    operator.running(&release).await;
    assert!(daemon.stderr().contains("no https: is possible"), "{}", daemon.stderr());
}
