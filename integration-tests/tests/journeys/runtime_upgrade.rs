//! A release that waits for a runtime, and the upgrade that it waits for: a real `set_code` on the real chain.

use std::collections::BTreeMap;

use integration_tests::{
    dev_chain::{
        DevChain,
        state::{CurrentRelease, Event, PALLET, PendingRelease},
    },
    http,
    journey::{Journey, Source},
    ledger,
    operator::{NETWORK, VAULT, has_seen},
    orders::Order,
    releases::Release,
};
use subxt::ext::codec::Encode;

integration_tests::through! {
    a_vault_runs_on_through_the_upgrade_and_switches_when_its_release_comes_into_force: Node, OldNode;
    an_upgrade_that_moves_the_pallet_disturbs_nobody_and_later_releases_arrive: Node, OldNode;
}

/// The pallet's index in the first runtimes, and in the one that moved it.
const INDEX: u8 = 9;
const MOVED_INDEX: u8 = 42;

/// A journey on a chain that makes blocks on request only, with release 1.0.0 in force and final.
pub(super) async fn begin_by_hand(source: Source) -> (Journey, Release) {
    let journey = Journey::on_through(DevChain::start_manual().await, source).await;
    let release = Release::of_test_vault("1.0.0");
    journey.server.offer(&release, NETWORK);
    journey.publish(&release, &["--wait", "none"]).await.exited(0);
    let block = journey.chain.create_block(true).await;
    assert_eq!(journey.chain.current_release(&block).await, Some(current(&release, 1)));
    (journey, release)
}

/// Offers a release and has it scheduled for a runtime, in a block of its own that is final.
pub(super) async fn schedule(journey: &Journey, version: &str, spec_version: u32) -> Release {
    let release = Release::of_test_vault(version);
    journey.server.offer(&release, NETWORK);
    let spec_version_text = spec_version.to_string();
    journey.publish(&release, &["--wait", "none", "--schedule", &spec_version_text]).await.exited(0);
    let block = journey.chain.create_block(true).await;
    assert_eq!(journey.chain.pending_release(&block).await, Some(pending(&release, spec_version)));
    release
}

fn current(release: &Release, sequence: u64) -> CurrentRelease {
    let (version, checksum) = (release.version.clone(), release.checksum.clone());
    CurrentRelease { sequence, version, checksum, artifacts: BTreeMap::new() }
}

fn pending(release: &Release, spec_version: u32) -> PendingRelease {
    let (version, checksum) = (release.version.clone(), release.checksum.clone());
    PendingRelease { version, checksum, artifacts: BTreeMap::new(), spec_version }
}

/// What a promotion tells: the update, before any extrinsic of the block.
fn promotion_of(release: &Release, pallet_index: u8) -> Event {
    let checksum = hex::decode(&release.checksum).expect("checksums are hexadecimal digits");
    let checksum = <[u8; 32]>::try_from(checksum).expect("of 32 bytes");
    Event {
        pallet: PALLET.to_owned(),
        pallet_index,
        name: "VaultClientUpdate".to_owned(),
        fields: (release.version.as_bytes(), checksum).encode(),
        is_of_the_start: true,
    }
}

/// Makes the next block and looks whether it put this release in force, as the pallet with that index.
async fn next_block_promotes(chain: &DevChain, promoted: CurrentRelease, event: Event) {
    let block = chain.create_block(false).await;
    assert_eq!(chain.current_release(&block).await, Some(promoted.clone()));
    assert_eq!(chain.pending_release(&block).await, None);
    assert_eq!(chain.release_events(&block).await, [event]);

    let after = chain.create_block(false).await;
    assert_eq!(chain.current_release(&after).await, Some(promoted), "once is enough");
    assert_eq!(chain.release_events(&after).await, []);
}

/// Looks whether a block left both releases as they were, without a word.
async fn is_untouched(
    chain: &DevChain,
    block: &str,
    current: &CurrentRelease,
    pending: Option<&PendingRelease>,
) {
    assert_eq!(chain.current_release(block).await.as_ref(), Some(current));
    assert_eq!(chain.pending_release(block).await.as_ref(), pending);
    assert_eq!(chain.release_events(block).await, []);
}

#[tokio::test]
async fn a_scheduled_release_comes_into_force_in_the_first_block_that_the_new_runtime_executes() {
    let (journey, first) = begin_by_hand(Source::Node).await;
    let chain = &journey.chain;
    let second = schedule(&journey, "2.0.0", 2).await;
    let migration = ("args-migration", [7u8; 32]);
    chain.sudo(PALLET, "set_release_artifact", &(second.version.as_bytes(), migration.0, migration.1)).await;
    let named = chain.create_block(false).await;
    let artifacts = BTreeMap::from([(migration.0.to_owned(), hex::encode(migration.1))]);
    let waiting = PendingRelease { artifacts: artifacts.clone(), ..pending(&second, 2) };
    assert_eq!(chain.pending_release(&named).await.as_ref(), Some(&waiting));

    let changed = chain.upgrade_runtime(2).await;
    is_untouched(chain, &changed, &current(&first, 1), Some(&waiting)).await;

    let promoted = CurrentRelease { artifacts, ..current(&second, 2) };
    next_block_promotes(chain, promoted, promotion_of(&second, INDEX)).await;
}

#[tokio::test]
async fn a_cancelled_release_does_not_come_into_force() {
    let (journey, first) = begin_by_hand(Source::Node).await;
    let chain = &journey.chain;
    schedule(&journey, "2.0.0", 2).await;
    chain.sudo(PALLET, "cancel_scheduled_release", &()).await;
    let cancelled = chain.create_block(false).await;
    assert_eq!(chain.pending_release(&cancelled).await, None);

    let changed = chain.upgrade_runtime(2).await;
    let executed = chain.create_block(false).await;

    for block in [changed, executed] {
        is_untouched(chain, &block, &current(&first, 1), None).await;
    }
}

#[tokio::test]
async fn a_release_for_a_runtime_that_is_skipped_comes_into_force_with_the_one_after_it() {
    let (journey, first) = begin_by_hand(Source::Node).await;
    let chain = &journey.chain;
    let second = schedule(&journey, "2.0.0", 2).await;

    let changed = chain.upgrade_runtime(3).await;
    is_untouched(chain, &changed, &current(&first, 1), Some(&pending(&second, 2))).await;

    next_block_promotes(chain, current(&second, 2), promotion_of(&second, MOVED_INDEX)).await;
}

#[tokio::test]
async fn a_release_waits_through_the_runtimes_before_its_own() {
    let (journey, first) = begin_by_hand(Source::Node).await;
    let chain = &journey.chain;
    let second = schedule(&journey, "2.0.0", 3).await;

    let changed = chain.upgrade_runtime(2).await;
    let executed = chain.create_block(false).await;
    let changed_again = chain.upgrade_runtime(3).await;
    for block in [changed, executed, changed_again] {
        is_untouched(chain, &block, &current(&first, 1), Some(&pending(&second, 3))).await;
    }

    next_block_promotes(chain, current(&second, 2), promotion_of(&second, MOVED_INDEX)).await;
}

async fn a_vault_runs_on_through_the_upgrade_and_switches_when_its_release_comes_into_force(source: Source) {
    let (journey, first) = begin_by_hand(source).await;
    let (chain, operator) = (&journey.chain, &journey.operator);
    let daemon = operator.run();
    let before = operator.running(&first).await;
    let second = schedule(&journey, "2.0.0", 3).await;

    let changed = chain.upgrade_runtime(3).await;
    chain.finalize_block(&changed).await;
    has_seen(&daemon, chain.finalized_number().await).await;
    let vault = operator.vault().await;
    assert_eq!(vault.running.as_ref(), Some(&before), "the old runtime made this block");
    assert_eq!(vault.target.and_then(|target| target.sequence), Some(1));

    chain.create_block(true).await;
    let after = operator.running(&second).await;

    assert_ne!(after.pid, before.pid);
    assert_eq!(operator.status().await.pid, Some(daemon.pid()), "vaultvisor itself goes on");
    let lives = operator.lives_where("two lives", |lives| lives.len() == 2).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
    assert_eq!(lives[0].signals, ["SIGINT"]);
    let vault = operator.vault().await;
    assert_eq!(vault.target.and_then(|target| target.sequence), Some(2));
    assert_eq!(vault.problem, None);
}

#[tokio::test]
async fn going_back_to_a_release_that_never_ran_under_the_new_runtime_is_loud() {
    let (journey, first) = begin_by_hand(Source::Node).await;
    let (chain, operator) = (&journey.chain, &journey.operator);
    operator.obey_orders();
    let address = operator.serve_http();
    let daemon = operator.run();
    operator.running(&first).await;
    let unseen = format!("vaultvisor_vault_unseen_runtime{{vault=\"{VAULT}\",network=\"{NETWORK}\"}}");
    assert_eq!(http::get(address, "/metrics").await.metric(&unseen), 0.0);

    operator.orders().give(Order::Refuse, "2.0.0");
    let second = schedule(&journey, "2.0.0", 2).await;
    operator
        .vault_where("the second to be fetched", |vault| {
            vault
                .pending
                .as_ref()
                .is_some_and(|pending| pending.checksum == second.checksum && pending.fetched)
        })
        .await;
    // The block that changes the code and the one that puts the release in force are final together.
    chain.upgrade_runtime(2).await;
    chain.create_block(true).await;
    let vault = operator
        .vault_where("the return to the first", |vault| {
            !vault.rejected.is_empty() && vault.state == "running"
        })
        .await;

    assert_eq!(vault.running.map(|running| running.checksum), Some(first.checksum));
    let said = "never ran under the present runtime version 2";
    assert!(vault.unseen_runtime.is_some_and(|unseen| unseen.contains(said) && unseen.contains("1.0.0")));
    assert_eq!(http::get(address, "/metrics").await.metric(&unseen), 1.0);
    assert!(daemon.stderr().lines().any(|line| line.contains("ERROR") && line.contains(said)));
    assert!(operator.vaultvisor(&["status"]).await.exited(0).stdout.contains(said));
    assert!(http::get(address, "/").await.body.contains(said));
    assert!(operator.history().await.iter().any(|kind| kind == "unseen"), "{:?}", operator.history().await);
}

async fn an_upgrade_that_moves_the_pallet_disturbs_nobody_and_later_releases_arrive(source: Source) {
    let journey = Journey::through(source).await;
    let (chain, operator) = (&journey.chain, &journey.operator);
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;

    chain.upgrade_runtime(3).await;
    // The block that changed the code, and some that the new one executed.
    has_seen(&daemon, chain.best_number().await + 2).await;
    let vault = operator.vault().await;

    assert_eq!(vault.running.as_ref(), Some(&before), "the vault is touched by nothing");
    assert_eq!((vault.state.as_str(), vault.problem), ("running", None));
    assert_eq!(operator.status().await.pid, Some(daemon.pid()));
    assert_eq!(operator.lives().len(), 1);
    assert_eq!(journey.server.served("1.0.0").len(), 1);

    let second = Release::of_test_vault("2.0.0");
    journey.server.offer(&second, NETWORK);
    let published = journey.state(&second).await;
    let block = chain.block_hash(published.block.expect("it waited for the block")).await;
    let stated = Event { is_of_the_start: false, ..promotion_of(&second, MOVED_INDEX) };
    assert_eq!(chain.release_events(&block).await, [stated], "the pallet has moved");
    let after = operator.running(&second).await;

    assert_ne!(after.pid, before.pid);
    assert_eq!(operator.status().await.pid, Some(daemon.pid()), "and no restart for that either");
    let lives = operator.lives_where("two lives", |lives| lives.len() == 2).await;
    assert_eq!(ledger::never_two(&lives), Ok(()));
}
