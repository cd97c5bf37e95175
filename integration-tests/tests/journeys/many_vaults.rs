//! One vaultvisor with four vaults on two chains, and one with forty.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use integration_tests::{
    command,
    dev_chain::DevChain,
    journey::{Journey, Published},
    ledger::{self, Life},
    operator::{self, NETWORK, Operator},
    releases::Release,
    status::VaultStatus,
    wait,
};
use serde_json::json;

const OTHER_NETWORK: &str = "dev-other";
const HERE: [&str; 2] = ["here-1", "here-2"];
const THERE: [&str; 2] = ["there-1", "there-2"];

fn ledger_of(operator: &Operator, vault: &str) -> PathBuf {
    operator.data().join(format!("{vault}.jsonl"))
}

fn lives(operator: &Operator, vault: &str) -> Vec<Life> {
    ledger::lives(&ledger_of(operator, vault))
}

/// Two vaults on either chain in place of the one.
fn configure(operator: &Operator, other_chain: &DevChain, release_url: &str) {
    operator.configure(|config| {
        config["networks"][OTHER_NETWORK] =
            json!({ "endpoints": [other_chain.url()], "release_urls": [release_url] });
        let vault = |number: usize, name: &str, network: &str| {
            let account = format!("{number:064x}");
            let args = ["--ledger".to_owned(), ledger_of(operator, name).display().to_string()];
            json!({
                "network": network, "account": account, "args": args,
                "stop": { "grace_secs": 20 }, "probation": { "secs": 1 },
            })
        };
        let here = HERE.iter().map(|name| (*name, NETWORK));
        let there = THERE.iter().map(|name| (*name, OTHER_NETWORK));
        let vaults = here.chain(there).enumerate();
        config["vaults"] = vaults
            .map(|(index, (name, network))| (name.to_owned(), vault(index + 1, name, network)))
            .collect::<serde_json::Map<_, _>>()
            .into();
    });
}

async fn state_on(chain: &DevChain, release: &Release) {
    let publish = ["release", "publish", "--json", "--endpoint", chain.url(), "--suri", "//Alice"];
    let what = ["--version", &release.version, "--checksum", &release.checksum];
    let published: Published = command::vaultvisor(publish.iter().chain(&what)).await.exited(0).json();
    assert!(published.finalized, "{published:?}");
}

type Vaults = BTreeMap<String, VaultStatus>;

async fn vaults(operator: &Operator) -> Vaults {
    let vaults = operator.status().await.vaults;
    vaults.into_iter().map(|vault| (vault.name.clone(), vault)).collect()
}

/// Waits until each of these vaults runs that release, has kept it, and has rejected so many others.
async fn all_run(operator: &Operator, names: &[&str], release: &Release, rejected: usize) -> Vaults {
    let is_it = |vault: &VaultStatus| {
        let running = vault.running.as_ref();
        vault.state == "running"
            && vault.rejected.len() == rejected
            && running.is_some_and(|running| running.checksum == release.checksum)
    };
    wait::until(&format!("{names:?} to run {}", release.version), async || match vaults(operator).await {
        vaults if names.iter().all(|name| vaults.get(*name).is_some_and(is_it)) => Ok(vaults),
        vaults => Err(format!("{vaults:#?}")),
    })
    .await
}

fn pids(vaults: &Vaults, names: &[&str]) -> Vec<u32> {
    let pid = |name: &&str| vaults[*name].running.as_ref().expect("it runs").pid;
    names.iter().map(pid).collect()
}

#[tokio::test]
async fn four_vaults_on_two_chains_each_follow_their_own_through_three_releases_one_of_them_bad() {
    let journey = Journey::begin().await;
    let other_chain = DevChain::start().await;
    let (operator, server) = (&journey.operator, &journey.server);
    configure(operator, &other_chain, &server.url_template());

    // One release for both chains: one download for all four.
    let first = Release::of_test_vault("1.0.0");
    for network in [NETWORK, OTHER_NETWORK] {
        server.offer(&first, network);
    }
    tokio::join!(journey.state(&first), state_on(&other_chain, &first));
    let daemon = operator.run();
    let everyone = [HERE, THERE].concat();
    let begun = all_run(operator, &everyone, &first, 0).await;
    assert_eq!(server.served("1.0.0").len(), 1, "each checksum is downloaded once");
    let mut distinct = pids(&begun, &everyone);
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 4);

    // A good one here; there nothing happens.
    let good = Release::of_test_vault("2.0.0");
    server.offer(&good, NETWORK);
    journey.state(&good).await;
    let updated = all_run(operator, &HERE, &good, 0).await;
    assert_eq!(
        pids(&updated, &THERE),
        pids(&begun, &THERE),
        "the other chain's vaults are touched by nothing"
    );

    // A bad one there; here nothing happens.
    let bad = Release::of(Path::new("/bin/false"), "2.0.0-bad");
    server.offer(&bad, OTHER_NETWORK);
    state_on(&other_chain, &bad).await;
    let fallen_back = all_run(operator, &THERE, &first, 1).await;
    assert_eq!(
        pids(&fallen_back, &HERE),
        pids(&updated, &HERE),
        "the other chain's vaults are touched by nothing"
    );
    for name in HERE {
        assert_eq!((&fallen_back[name].rejected[..], &fallen_back[name].problem), (&[][..], &None));
    }

    // And the one that repairs it.
    let repaired = Release::of_test_vault("3.0.0");
    server.offer(&repaired, OTHER_NETWORK);
    state_on(&other_chain, &repaired).await;
    let ended = all_run(operator, &THERE, &repaired, 1).await;
    assert_eq!(pids(&ended, &HERE), pids(&updated, &HERE), "the other chain's vaults are touched by nothing");

    assert_eq!(operator.status().await.pid, Some(daemon.pid()));
    for name in everyone {
        let lives = lives(operator, name);
        assert_eq!(ledger::never_two(&lives), Ok(()), "{name}");
        let releases: Vec<_> = lives.iter().filter_map(|life| life.release.as_deref()).collect();
        let expected =
            if HERE.contains(&name) { &["1.0.0", "2.0.0"][..] } else { &["1.0.0", "1.0.0", "3.0.0"] };
        assert_eq!(releases, expected, "{name}");
        assert!(operator::is_alive(lives[lives.len() - 1].pid));
    }
    for version in ["2.0.0", "2.0.0-bad", "3.0.0"] {
        assert_eq!(server.served(version).len(), 1, "each checksum is downloaded once: {version}");
    }
}

/// As many as go through a release within seconds; the bench does it with 500.
const MANY: usize = 40;

#[tokio::test]
async fn forty_vaults_go_through_one_release_each_and_keep_the_limits_that_vaultvisor_was_given() {
    /// Fewer than vaultvisor needs for so many vaults, and enough for what it needs without any.
    const GIVEN: u64 = 64;
    const HIGHEST: u64 = 4096;

    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let names: Vec<String> = (0..MANY).map(|number| format!("many-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    operator.configure(|config| {
        let vault = |(number, name): (usize, &&str)| {
            let ledger = ledger_of(operator, name);
            let vault = json!({
                "network": NETWORK, "account": format!("{:064x}", number + 1),
                "args": ["--quiet", "--ledger", ledger],
                "stop": { "grace_secs": 20 }, "probation": { "secs": 1 },
            });
            ((*name).to_owned(), vault)
        };
        config["vaults"] = names.iter().enumerate().map(vault).collect::<serde_json::Map<_, _>>().into();
    });
    let first = journey.release("1.0.0").await;
    let daemon = operator.run_with_open_files(GIVEN, HIGHEST);
    all_run(operator, &names, &first, 0).await;

    let second = journey.release("2.0.0").await;
    let updated = all_run(operator, &names, &second, 0).await;

    assert_eq!(operator.status().await.pid, Some(daemon.pid()));
    assert_eq!(operator::open_files_limit(daemon.pid()), (HIGHEST, HIGHEST));
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count();
    assert!(open as u64 > GIVEN, "{open} files are open: this limit would have been enough");
    for (name, pid) in names.iter().zip(pids(&updated, &names)) {
        let lives = lives(operator, name);
        assert_eq!(ledger::never_two(&lives), Ok(()), "{name}");
        let releases: Vec<_> = lives.iter().filter_map(|life| life.release.as_deref()).collect();
        assert_eq!(releases, ["1.0.0", "2.0.0"], "{name}");
        assert_eq!(operator::open_files_limit(pid), (GIVEN, HIGHEST), "{name}");
    }
    assert_eq!(journey.server.served("2.0.0").len(), 1, "one download for all");
}
