//! The status over HTTP: what people, programs, Prometheus and probes are told, and that no vault depends on it.

use std::net::TcpListener;

use integration_tests::{
    http,
    journey::Journey,
    ledger,
    operator::{NETWORK, VAULT},
    status::Status,
    wait,
};
use serde_json::Value;

#[tokio::test]
async fn page_api_metrics_and_probes_tell_of_an_update() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let address = operator.serve_http();
    let daemon = operator.run();

    // Alive, and not ready: no release is known.
    assert_eq!(http::get(address, "/healthz").await.status, 200);
    let unready = http::get(address, "/readyz").await;
    assert_eq!(unready.status, 503);
    assert!(unready.body.starts_with(&format!("{VAULT} is waiting: ")), "{unready:?}");

    let first = journey.release("1.0.0").await;
    operator.running(&first).await;
    assert_eq!(http::get(address, "/readyz").await.status, 200);
    let second = journey.release("2.0.0").await;
    let running = operator.running(&second).await;

    let told: Status = http::get(address, "/api/v1/status").await.json();
    assert_eq!(told.pid, Some(daemon.pid()));
    assert_eq!(told.vaults[0].running.as_ref(), Some(&running));
    let of_command = operator.vault().await;
    assert_eq!(told.vaults[0].last_switch, of_command.last_switch);

    operator.history_with(&["kept", "kept"]).await;
    let metrics = http::get(address, "/metrics").await;
    let of_vault = format!("vault=\"{VAULT}\",network=\"{NETWORK}\"");
    assert_eq!(metrics.metric(&format!("vaultvisor_vault_up{{{of_vault}}}")), 1.0);
    assert_eq!(metrics.metric(&format!("vaultvisor_vault_state{{{of_vault},state=\"running\"}}")), 1.0);
    let release = format!("version=\"2.0.0\",checksum=\"{}\"", second.checksum);
    assert_eq!(metrics.metric(&format!("vaultvisor_release_info{{{of_vault},{release}}}")), 1.0);
    assert_eq!(metrics.metric(&format!("vaultvisor_updates_total{{{of_vault},outcome=\"kept\"}}")), 2.0);
    assert_eq!(metrics.metric(&format!("vaultvisor_updates_total{{{of_vault},outcome=\"rejected\"}}")), 0.0);
    assert_eq!(metrics.metric(&format!("vaultvisor_restarts_total{{{of_vault}}}")), 0.0);
    let downtime = "vaultvisor_switch_downtime_seconds";
    assert_eq!(
        metrics.metric(&format!("{downtime}_count{{{of_vault}}}")),
        1.0,
        "the first start is no switch"
    );
    let seconds = metrics.metric(&format!("{downtime}_sum{{{of_vault}}}"));
    let last_switch = of_command.last_switch.expect("there was one");
    // Both are printed from whole microseconds, in units that a binary fraction cannot always hold.
    let microseconds = |value: f64, of_a: f64| (value * of_a).round() as u64;
    assert_eq!(
        Some(microseconds(seconds, 1e6)),
        last_switch.downtime_ms.map(|downtime| microseconds(downtime, 1e3)),
        "one and the same switch"
    );
    let downloaded = metrics.metric(&format!("vaultvisor_download_bytes_total{{network=\"{NETWORK}\"}}"));
    assert_eq!(downloaded, (first.program.len() + second.program.len()) as f64);
    let finalized = metrics.metric(&format!("vaultvisor_chain_finalized_number{{network=\"{NETWORK}\"}}"));
    assert!(finalized > 0.0 && finalized <= journey.chain.finalized_number().await as f64, "{finalized}");
    let endpoint = format!("network=\"{NETWORK}\",endpoint=\"{}\"", journey.chain.url());
    assert_eq!(metrics.metric(&format!("vaultvisor_chain_endpoint_up{{{endpoint}}}")), 1.0);

    let history: Vec<Value> =
        http::get(address, &format!("/api/v1/history?vault={VAULT}&limit=1000")).await.json();
    let kinds: Vec<&str> = history.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds, operator.history().await, "the same as the command prints");
    let page = http::get(address, "/").await;
    for told in ["running", "2.0.0", &second.checksum, &running.pid.to_string(), VAULT] {
        assert!(page.body.contains(told), "{told} is not on the page\n{}", page.body);
    }
}

#[tokio::test]
async fn a_port_that_another_program_has_keeps_no_vault_down_and_is_taken_when_it_is_free() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let address = operator.serve_http();
    let other = TcpListener::bind(address).expect("the port is free");
    let release = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&release).await;
    let problem = operator.status().await.problem.expect("it is said");
    assert!(problem.contains(&address.to_string()), "{problem}");

    drop(other);
    assert_eq!(http::get(address, "/readyz").await.status, 200);
    assert_eq!(operator.status().await.problem, None);

    // Another address is not moved to while vaultvisor runs, and that is said.
    let elsewhere = operator.serve_http();
    operator.reload(&daemon).await;
    let problem = operator.status().await.problem.expect("it is said");
    assert!(problem.contains("http") && problem.contains("needs a restart"), "{problem}");
    assert_eq!(http::get(address, "/healthz").await.status, 200);
    assert_eq!(http::try_get(elsewhere, "/healthz").await, None);
    assert_eq!(operator.vault().await.running.map(|running| running.pid), Some(before.pid));
    assert_eq!(operator.lives().len(), 1);
}

#[tokio::test]
async fn a_restarted_vaultvisor_serves_on_the_same_port_at_once() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let address = operator.serve_http();
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    operator.running(&release).await;
    // A connection that the server closed first lingers in the kernel.
    assert_eq!(http::get(address, "/healthz").await.status, 200);
    daemon.signal(integration_tests::child::Signal::QUIT);
    assert_eq!(daemon.end().await.code(), Some(0));
    assert_eq!(http::try_get(address, "/healthz").await, None, "it ends with the daemon");

    let _daemon = operator.run();
    assert_eq!(http::get(address, "/healthz").await.status, 200);
    wait::until("the vault to be taken over", async || {
        let ready = http::get(address, "/readyz").await;
        if ready.status == 200 { Ok(()) } else { Err(ready.body) }
    })
    .await;
    assert_eq!(operator.status().await.problem, None);
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
    assert_eq!(operator.lives().len(), 1);
}
