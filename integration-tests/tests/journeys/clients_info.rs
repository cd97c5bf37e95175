//! Chains that keep their releases in `ClientsInfo`, as the live bridges do, and one that moves to our pallet. The dev
//! chain's runtime has no such pallet: its sudo key writes what that would have written.

use codec::Encode;
use integration_tests::{
    child::Signal,
    command,
    dev_chain::state,
    journey::{Journey, Source},
    ledger,
    operator::{NETWORK, Operator},
    releases::Release,
    wait,
};
use serde_json::{Value, json};
use sp_crypto_hashing::{blake2_128, twox_128};

integration_tests::through! {
    a_release_on_a_clients_info_chain_is_taken_over_exactly_as_one_of_our_own_pallet: Node, OldNode;
    where_the_chains_place_fails_or_may_not_be_named_the_mirrors_are_used: Node, OldNode;
    a_pending_release_is_fetched_ahead_and_switched_to_when_it_becomes_current: Node, OldNode;
    a_chain_that_moves_to_our_pallet_takes_its_vaults_along_and_never_back: Node, OldNode;
    t22_a_client_release_that_does_not_decode_is_reported_and_the_vault_runs_on: Node, OldNode;
}

/// The key of the vaults' current release on Interlay and Kintsugi.
const CURRENT_ON_THE_LIVE_CHAINS: &str = "3b0e622bcfd7dda4f6da9be5ed8ae5bd1d7989998d86d759f329cbf81eb547c02ef4768826937cb4716a12400a65799d147661756c74";

/// The pallet's `ClientRelease`, encoded by the codec that the runtimes use.
#[derive(Encode)]
struct ClientRelease {
    uri: Vec<u8>,
    checksum: [u8; 32],
}

fn key(item: &str) -> Vec<u8> {
    let name = b"vault".to_vec().encode();
    [&twox_128(b"ClientsInfo")[..], &twox_128(item.as_bytes()), &blake2_128(&name), &name].concat()
}

fn current() -> Vec<u8> {
    key("CurrentClientReleases")
}

fn value(release: &Release, uri: &str) -> Vec<u8> {
    let checksum = hex::decode(&release.checksum).expect("hexadecimal digits");
    ClientRelease { uri: uri.into(), checksum: checksum.try_into().expect("32 bytes") }.encode()
}

/// On a chain that has both records, as the bridges' networks do.
async fn begin(source: Source) -> Journey {
    let journey = Journey::through_a_changeable(source).await;
    journey
        .operator
        .configure(|config| config["networks"][NETWORK]["record"] = json!(["vault-release", "clients-info"]));
    journey
}

/// Where a release is published as GitHub would have it; nothing is there yet.
fn uri(journey: &Journey, version: &str) -> String {
    format!("http://{}/download/{version}/vault-{NETWORK}", journey.server.address())
}

/// Publishes a release and has the chain state it: final when this returns.
async fn release(journey: &Journey, version: &str) -> Release {
    let release = Release::of_test_vault(version);
    journey.server.offer_file(&format!("download/{version}"), NETWORK, &release.program);
    journey.write_storage(&[(current(), value(&release, &uri(journey, version)))]).await;
    release
}

fn requests(journey: &Journey, version: &str) -> usize {
    journey.server.served(&format!("download/{version}")).len()
}

async fn stored_is(operator: &Operator, release: &Release) {
    wait::until("the store to hold what runs only", async || match operator.stored() {
        stored if stored == [release.checksum.as_str()] => Ok(()),
        stored => Err(format!("{stored:?}")),
    })
    .await;
}

async fn a_release_on_a_clients_info_chain_is_taken_over_exactly_as_one_of_our_own_pallet(source: Source) {
    assert_eq!(hex::encode(current()), CURRENT_ON_THE_LIVE_CHAINS);
    let journey = begin(source).await;
    let operator = &journey.operator;
    let first = release(&journey, "1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;
    assert_eq!(before.version, "1.0.0", "the tag in the URI");

    let second = release(&journey, "2.0.0").await;
    let after = operator.running(&second).await;

    assert_eq!((after.version.as_str(), after.restarts), ("2.0.0", 0));
    assert_ne!(after.pid, before.pid);
    let vault = operator.vault().await;
    let target = vault.target.expect("stated");
    assert_eq!(
        (target.version.as_str(), &target.checksum, target.sequence),
        ("2.0.0", &second.checksum, None)
    );
    assert_eq!((&vault.rejected[..], vault.problem), (&[][..], None));
    let lives = operator.lives_where("two lives", |lives| lives.len() == 2).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!(lives[0].signals, ["SIGINT"]);
    operator.history_with(&["stated", "started", "kept", "stated", "switching", "started", "kept"]).await;
    stored_is(operator, &second).await;
    assert_eq!(
        (requests(&journey, "1.0.0"), requests(&journey, "2.0.0")),
        (1, 1),
        "from the chain's own place"
    );
    assert_eq!(operator.status().await.pid, Some(daemon.pid()));

    let show = ["release", "show", "--json", "--endpoint", journey.chain.url()];
    let shown: Value = command::vaultvisor(show).await.exited(0).json();
    assert_eq!(shown["record"], "clients-info");
    assert_eq!(
        (&shown["current"]["version"], &shown["current"]["sequence"]),
        (&json!("2.0.0"), &Value::Null)
    );
    assert_eq!(shown["current"]["uri"], uri(&journey, "2.0.0"));
    assert_eq!(shown["pending"], Value::Null);
}

async fn where_the_chains_place_fails_or_may_not_be_named_the_mirrors_are_used(source: Source) {
    let journey = begin(source).await;
    let operator = &journey.operator;
    let daemon = operator.run();
    for (version, place) in [
        ("1.0.0", uri(&journey, "1.0.0")),
        ("2.0.0", "file:///etc/hostname".to_owned()),
        ("3.0.0", "http://example.org/vault".to_owned()),
        ("4.0.0", String::new()),
    ] {
        let release = Release::of_test_vault(version);
        // Only with a tag in the place is the version known; else the checksum's digits stand for it.
        let known_as = if version == "1.0.0" { version } else { &release.checksum[..12] };
        journey.server.offer_file(known_as, NETWORK, &release.program);
        journey.write_storage(&[(current(), value(&release, &place))]).await;
        let running = operator.running(&release).await;
        assert_eq!(running.version, known_as);
        assert_eq!(journey.server.served(known_as).len(), 1, "{version}: from the mirror");
        assert_eq!(operator.vault().await.problem, None, "{version}");
    }
    let log = daemon.stderr();
    assert!(log.contains("file:///etc/hostname") && log.contains("is not allowed"), "{log}");
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

async fn a_pending_release_is_fetched_ahead_and_switched_to_when_it_becomes_current(source: Source) {
    let journey = begin(source).await;
    let operator = &journey.operator;
    let first = release(&journey, "1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;

    let second = Release::of_test_vault("2.0.0");
    journey.server.offer_file("download/2.0.0", NETWORK, &second.program);
    let stated = value(&second, &uri(&journey, "2.0.0"));
    journey.write_storage(&[(key("PendingClientReleases"), stated.clone())]).await;
    let vault = operator
        .vault_where("the pending release to be fetched", |vault| {
            vault.pending.as_ref().is_some_and(|pending| pending.fetched)
        })
        .await;
    let pending = vault.pending.expect("that is what was waited for");
    assert_eq!((&pending.checksum, pending.spec_version), (&second.checksum, None));
    assert_eq!(vault.running.as_ref(), Some(&before), "and nothing else happens");

    journey.write_storage(&[(current(), stated)]).await;
    let after = operator.running(&second).await;
    assert_ne!(after.pid, before.pid);
    assert_eq!(requests(&journey, "2.0.0"), 1, "it was there already");
}

async fn a_chain_that_moves_to_our_pallet_takes_its_vaults_along_and_never_back(source: Source) {
    let journey = begin(source).await;
    let operator = &journey.operator;
    let first = release(&journey, "1.0.0").await;
    let mut daemon = operator.run();
    let before = operator.running(&first).await;

    let second = journey.release("2.0.0").await;
    let moved = operator.running(&second).await;
    assert_ne!(moved.pid, before.pid);
    assert_eq!(operator.vault().await.target.and_then(|target| target.sequence), Some(1));

    // What the old record says from now on is nobody's business, also for a vaultvisor that starts anew.
    release(&journey, "3.0.0").await;
    let is_unmoved = async || {
        journey.chain.reach_finalized(journey.chain.finalized_number().await + 3).await;
        let vault = operator.vault().await;
        assert_eq!(vault.running.map(|running| running.pid), Some(moved.pid));
        assert_eq!(vault.target.map(|target| target.version).as_deref(), Some("2.0.0"));
        assert_eq!(requests(&journey, "3.0.0"), 0, "not even looked at");
    };
    is_unmoved().await;
    daemon.signal(Signal::QUIT);
    daemon.end().await;
    // Nor for one whose node hides our pallet.
    journey.node().lie(&state::key(state::PALLET, "CurrentRelease"), None);
    let _daemon = operator.run();
    let told = |vault: &integration_tests::status::VaultStatus| {
        vault.problem.as_ref().is_some_and(|problem| problem.contains("states no release"))
    };
    operator.vault_where("the missing statement to be told", told).await;
    is_unmoved().await;

    journey.node().be_honest();
    let fourth = journey.release("4.0.0").await;
    operator.running(&fourth).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

async fn t22_a_client_release_that_does_not_decode_is_reported_and_the_vault_runs_on(source: Source) {
    let journey = begin(source).await;
    let operator = &journey.operator;
    let first = release(&journey, "1.0.0").await;
    let _daemon = operator.run();
    let before = operator.running(&first).await;

    let good = value(&first, &uri(&journey, "9.9.9"));
    for bad in [good[..good.len() - 1].to_vec(), [&good[..], &[0]].concat(), vec![0xff; 100]] {
        journey.write_storage(&[(current(), bad.clone())]).await;
        let expected = format!("storage key 0x{CURRENT_ON_THE_LIVE_CHAINS}, {} bytes", bad.len());
        let told = |vault: &integration_tests::status::VaultStatus| {
            vault.problem.as_ref().is_some_and(|problem| problem.contains(&expected))
        };
        let vault = operator.vault_where(&expected, told).await;
        assert_eq!(vault.running.as_ref(), Some(&before));
    }
    let second = release(&journey, "2.0.0").await;
    operator.running(&second).await;
    assert_eq!(operator.vault().await.problem, None);
}
