//! Vaults that lost their keeper: ended if they are ours, never doubled.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use rustix::process::Signal;
use vaultvisor::process::{
    ProcessId,
    adopt::{Observed, observe},
    handle::{Prepared, StartError, Task, VaultEvent},
    id::{Stat, all_processes},
    lock::{Cleanliness, look_at_record},
    protocol::{ExitStatus, Place, Spec},
};

use super::site::{FOREVER, Site, WAITING, has_ended, hold, keeper, kill, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_whose_keeper_is_killed_ends_and_that_is_seen() {
    let site = Site::new(&format!("trap 'echo asked; exit 3' INT; {WAITING}"));
    let mut vault = site.started().await;
    site.printed("up");
    let process = vault.vault;
    kill(site.record().keeper, Signal::KILL);
    let died = vault.next().await;
    assert!(matches!(died, Some(VaultEvent::Died { status: None, .. })), "{died:?}");
    assert!(has_ended(process));
    site.printed("asked");
    let ended = vault.next().await;
    assert!(matches!(ended, Some(VaultEvent::Ended { status: None, .. })), "{ended:?}");
    let again = site.started().await;
    again.stopper.stop();
    again.ended().await.expect("seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ignores_its_signal_is_killed_after_its_grace() {
    let mut site = Site::new(&format!("trap '' INT; {WAITING}"));
    site.spec.place.grace_ms = 500;
    let vault = site.started().await;
    site.printed("up");
    let process = vault.vault;
    kill(site.record().keeper, Signal::KILL);
    assert_eq!(vault.ended().await, None);
    assert!(has_ended(process));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_prints_without_its_keeper_is_kept_and_does_not_hold_it_up() {
    // More than the FIFO holds: without a reader it would wait for ever.
    let script = "trap 'head -c 3000000 /dev/zero | tr \"\\0\" x; echo; echo last words; exit' INT;";
    let mut site = Site::new(&format!("{script} {WAITING}"));
    site.spec.place.grace_ms = 20_000;
    let vault = site.started().await;
    site.printed("up");
    kill(site.record().keeper, Signal::KILL);
    assert_eq!(vault.ended().await, None);
    assert!(site.log().ends_with("x\nlast words\n"));
}

/// Gives up its descriptors, the lock among them, and starts a helper with a session of its own.
fn hiding() -> String {
    // In a subshell that is told by name what it holds: everything above standard error.
    let close = "for fd in 3 4 5 6 7 8 9; do eval \"exec $fd>&-\"; done 2>/dev/null";
    let helper = format!("trap \"\" INT TERM; {close}; echo child $$; {FOREVER}");
    format!("{close}; trap '' INT; setsid sh -c '{helper}' & {WAITING}")
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_what_gave_up_the_lock_and_lost_its_keeper_is_ended_before_anything_is_started() {
    let mut site = Site::new(&hiding());
    site.spec.place.grace_ms = 500;
    let vault = site.started().await;
    site.printed("up");
    let (main, helper) = (vault.vault, site.printed_process("child"));
    until("exit.json", || site.path("exit.json").exists());
    // Its vaultvisor goes first: nobody sees what comes then.
    drop(vault);
    kill(site.record().keeper, Signal::KILL);
    until("the keeper's end", || has_ended(site.record().keeper));
    assert!(!has_ended(main) && !has_ended(helper));
    site.set_script(WAITING);
    let next = site.started().await;
    assert!(has_ended(main) && has_ended(helper), "started beside an earlier one");
    next.stopper.stop();
    assert_eq!(next.ended().await.expect("seen").0, ExitStatus::Signal(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_one_that_holds_the_lock_and_lost_its_keeper_is_ended_too() {
    let mut site = Site::new(&format!("trap '' INT; {WAITING}"));
    site.spec.place.grace_ms = 500;
    let vault = site.started().await;
    site.printed("up");
    let main = vault.vault;
    drop(vault);
    kill(site.record().keeper, Signal::KILL);
    until("the keeper's end", || has_ended(site.record().keeper));
    site.set_script("echo next");
    site.started().await.ended().await.expect("seen");
    assert!(has_ended(main));
    site.printed("next");
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_after_a_migration_too_what_gave_up_the_lock_is_found_again() {
    let mut site = Site::new(&hiding());
    site.spec.place.grace_ms = 500;
    site.set_migration("#!/bin/sh\necho migrated >\"$1/format\"\n");
    let mut locked = site.prepared().await.expect("prepared").lock().await.expect("the lock");
    locked.carry_out(Task::Migrate).await.expect("migrated");
    assert_eq!(site.record().state, Cleanliness::Clean, "nothing of the migration is left");
    let vault = locked.start().await.expect("started");
    site.printed("up");
    let main = vault.vault;
    assert_eq!((site.record().state, site.record().vault), (Cleanliness::Dirty, Some(main)));
    let found = observe(&site.spec.place).await;
    assert!(matches!(&found, Observed::Runs(running) if running.run.pid == main.pid), "{found:?}");
    drop(vault);
    kill(site.record().keeper, Signal::KILL);
    until("the keeper's end", || has_ended(site.record().keeper));
    assert!(!has_ended(main));
    site.spec.work = Default::default();
    site.set_script(WAITING);
    let next = site.started().await;
    assert!(has_ended(main), "started beside an earlier one");
    next.stopper.stop();
    assert_eq!(next.ended().await.expect("seen").0, ExitStatus::Signal(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn t30_a_lock_folder_that_is_removed_meanwhile_is_made_again_and_hides_no_vault() {
    let mut site = Site::new(WAITING);
    let locks = site.path("locks");
    site.spec.place.lock = locks.join("account.lock");
    fs::create_dir(&locks).expect("new");
    let vault = site.started().await;
    site.printed("up");
    until("run.json", || site.path("run.json").exists());
    let (main, keeper) = (vault.vault, site.record().keeper);
    fs::remove_dir_all(&locks).expect("removed");
    let refused = site.prepared().await.expect("prepared").start().await;
    let Err(StartError::Busy { holder }) = refused else { panic!("{refused:?}") };
    assert!(holder.contains(&format!("keeper={} vault={}", keeper.pid, main.pid)), "{holder}");
    assert!(!has_ended(main));
    vault.stopper.stop();
    vault.ended().await.expect("seen");

    fs::remove_dir_all(&locks).expect("removed");
    let next = site.started().await;
    let mode = fs::metadata(&locks).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o700, "others could remove its locks: {mode:o}");
    assert_eq!(site.record().vault, Some(next.vault));
    next.stopper.stop();
    next.ended().await.expect("seen");

    // Not where others could put another one in its place.
    let open_to_all = site.path("open");
    fs::create_dir(&open_to_all).expect("new");
    fs::set_permissions(&open_to_all, fs::Permissions::from_mode(0o777)).expect("chmod");
    site.spec.place.lock = open_to_all.join("locks/account.lock");
    let refused = site.prepared().await.expect("prepared").start().await;
    let Err(StartError::NotGone(left)) = refused else { panic!("{refused:?}") };
    assert!(left.what.contains("the lock folder") && left.what.contains("chmod o-w"), "{left:?}");
    assert!(!open_to_all.join("locks").exists());
}

fn name_of(process: ProcessId) -> String {
    Stat::of(process.pid).expect("seen").expect("it is there").name
}

#[tokio::test(flavor = "multi_thread")]
async fn t04_who_still_holds_the_lock_of_a_run_that_is_gone_is_named_and_nothing_is_started_beside_it() {
    // It has the vault's descriptors, and not its environment.
    let site = Site::new(&format!("setsid env -i sh -c 'echo child $$; exec sleep 1000' & {WAITING}"));
    let vault = site.started().await;
    let (main, helper) = (vault.vault, site.printed_process("child"));
    site.printed("up");
    until("its execution", || name_of(helper) == "sleep");
    drop(vault);
    kill(site.record().keeper, Signal::KILL);
    until("the keeper's end", || has_ended(site.record().keeper));
    kill(main, Signal::KILL);
    until("the vault's end", || has_ended(main));
    let refused = site.prepared().await.expect("prepared").start().await;
    let refused = refused.map(|vault| panic!("started beside what holds the lock: {vault:?}"));
    let helper_lives = !has_ended(helper);
    kill(helper, Signal::KILL);
    let Err(StartError::NotGone(left)) = refused else { panic!("{refused:?}") };
    assert_eq!(left.pids, [helper.pid], "{left:?}");
    assert!(left.what.starts_with(&format!("process {} (sleep), state ", helper.pid)), "{left:?}");
    assert!(left.what.contains("holds the lock") && left.what.contains("end it"), "{left:?}");
    assert!(helper_lives, "what is not provably the vault's is not ended");
    until("its end", || has_ended(helper));
    let next = site.started().await;
    next.stopper.stop();
    next.ended().await.expect("seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_ours_is_not_touched() {
    let site = Site::new(&format!("trap '' INT; {WAITING}"));
    let vault = site.started().await;
    site.printed("up");
    let main = vault.vault;
    drop(vault);
    kill(site.record().keeper, Signal::KILL);
    until("the keeper's end", || has_ended(site.record().keeper));
    let place = Place { home: "/another/home".into(), ..site.spec.place.clone() };
    let spec = Spec { place, ..site.next_spec() };
    let prepared = Prepared::new(keeper(), &spec, &Default::default()).await.expect("prepared");
    let refused = prepared.start().await.expect_err("another home's vault");
    assert!(matches!(&refused, StartError::Busy { holder } if holder.contains("home=")), "{refused:?}");
    assert!(!has_ended(main));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_number_a_debugger_keeps_has_ended_and_does_not_block() {
    let mut site = Site::new(&hiding());
    site.spec.place.grace_ms = 100;
    let vault = site.started().await;
    site.printed("up");
    let (main, helper) = (vault.vault, site.printed_process("child"));
    // Stopped by its debugger, so that even SIGKILL does not make it go.
    let Some(held) = hold(helper) else { return };
    drop(vault);
    kill(site.record().keeper, Signal::KILL);
    until("the end of the main process", || {
        // Its grace is the new keeper's to watch.
        has_ended(site.record().keeper)
    });
    let started = site.prepared().await.expect("prepared").start().await;
    assert!(has_ended(main));
    // A debugged process that was killed has ended: what is left of it is its number.
    assert!(has_ended(helper));
    drop(held);
    let next = started.expect("nothing is left that could pay");
    next.stopper.stop();
    tokio::time::timeout(Duration::from_secs(30), next.ended()).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keeper_vault_and_helpers_nothing_is_in_the_way() {
    let site = Site::new(WAITING);
    let vault = site.started().await;
    site.printed("up");
    until("exit.json", || site.path("exit.json").exists());
    let (main, keeper) = (vault.vault, site.record().keeper);
    drop(vault);
    kill(keeper, Signal::KILL);
    until("both ends", || has_ended(keeper) && has_ended(main));
    let gone = observe(&site.spec.place).await;
    assert!(matches!(gone, Observed::Gone { run: Some(_), status: None, .. }), "{gone:?}");
    let next = site.started().await;
    next.stopper.stop();
    next.ended().await.expect("seen");
}

/// Every run says so when it finds another one that is alive, and then waits. Every second one ignores SIGINT,
/// every second gives up the lock.
const JEALOUS: &str = r#"
    if read -r before < pids && read -r name comm state rest < "/proc/$before/stat" && [ "$state" != Z ]
    then echo "two: $before and $$"; fi 2> /dev/null
    echo $$ > pids
    [ $(($$ % 2)) = 0 ] && trap '' INT
    [ $(($$ / 2 % 2)) = 0 ] && for fd in 3 4 5 6 7 8 9; do eval "exec $fd>&-"; done 2> /dev/null
    echo up
    while :; do sleep 0.02; done"#;

#[tokio::test(flavor = "multi_thread")]
async fn t01_keepers_killed_at_any_step_never_leave_two() {
    let mut site = Site::new("");
    site.set_script(&format!("cd {} && {JEALOUS}", site.folder.path().display()));
    site.spec.place.grace_ms = 100;
    let mut started = 0;
    for round in 1..=40 {
        let run_id = format!("run-{round}");
        let starting = tokio::spawn(site.prepared().await.expect("prepared").start());
        let record = || look_at_record(&site.spec.place.lock).ok().flatten();
        let recorded = || record().filter(|record| record.run_id == run_id);
        let written = |name| {
            std::fs::read_to_string(site.path(name)).is_ok_and(|text| text.contains(&format!("\"{run_id}\"")))
        };
        // Step by step through a start; what comes after the step in question comes to a different point each time.
        until("the step", || match round % 5 {
            1 => true,
            2 => recorded().is_some(),
            3 => recorded().is_some_and(|record| record.vault.is_some()),
            4 => written("run.json"),
            _ => written("exit.json"),
        });
        for stat in all_processes().expect("processes") {
            let cmdline = std::fs::read(format!("/proc/{}/cmdline", stat.id.pid)).unwrap_or_default();
            let is_of_this_site = String::from_utf8_lossy(&cmdline).contains(&site.spec.place.marker);
            if stat.name == "vaultvisor-keep" && is_of_this_site {
                kill(stat.id, Signal::KILL);
            }
        }
        // Its vaultvisor forgets it, as one that was killed too; a later one looks what there is.
        started += u32::from(starting.await.expect("no panic").is_ok());
        if round % 3 == 0
            && let Observed::Runs(vault) = observe(&site.spec.place).await
        {
            vault.ended().await;
        }
    }
    let last = site.started().await;
    until("its word", || site.log().ends_with("up\n"));
    last.stopper.stop();
    last.ended().await.expect("seen");
    assert!(!site.log().contains("two"), "{}", site.log());
    assert!(started > 0, "every one was killed before it started anything");
}
