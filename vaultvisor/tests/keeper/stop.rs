//! The end of a vault and of everything that it started.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use vaultvisor::process::{
    ProcessId,
    adopt::{Observed, observe},
    handle::{RunningVault, StartError, Task, VaultEvent},
    id::{Processes, Stat},
    protocol::ExitStatus,
};

use super::site::{FOREVER, Held, Site, WAITING, has_ended, hold, kill, until};

#[tokio::test(flavor = "multi_thread")]
async fn stop_asks_with_the_configured_signal_and_waits_for_the_end() {
    let site = Site::new(&format!("trap 'echo asked; exit 7' INT; {WAITING}"));
    let vault = site.started().await;
    site.printed("up");
    vault.stopper.stop();
    let (status, _) = vault.ended().await.expect("seen");
    assert_eq!(status, ExitStatus::Code(7));
    site.printed("asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_ignores_the_signal_is_killed_after_its_grace_and_not_before() {
    let mut site = Site::new(&format!("trap '' INT; {WAITING}"));
    site.spec.place.grace_ms = 300;
    let vault = site.started().await;
    site.printed("up");
    let asked = Instant::now();
    vault.stopper.stop();
    let (status, _) = vault.ended().await.expect("seen");
    assert_eq!(status, ExitStatus::Signal(9));
    assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_is_continued_so_that_it_can_end() {
    let site = Site::new(&format!("trap 'exit 3' INT; {WAITING}"));
    let vault = site.started().await;
    site.printed("up");
    kill(vault.vault, Signal::STOP);
    vault.stopper.stop();
    assert_eq!(vault.ended().await.expect("seen").0, ExitStatus::Code(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_waits_for_grandchildren_in_sessions_of_their_own() {
    let site =
        Site::new("setsid sh -c 'trap \"\" INT TERM; echo child $$; while :; do sleep 1; done' & wait");
    let vault = site.started().await;
    let grandchild = site.printed_process("child");
    vault.stopper.stop();
    vault.ended().await.expect("seen");
    assert!(has_ended(grandchild), "reported as ended while {grandchild:?} is alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_main_process_is_reported_before_its_leftovers_are_ended() {
    let site = Site::new(&format!("setsid sh -c 'trap \"\" INT TERM; echo child $$; {FOREVER}' & {FOREVER}"));
    let mut vault = site.started().await;
    let leftover = site.printed_process("child");
    kill(vault.vault, Signal::KILL);
    let died = vault.next().await;
    let alive = !has_ended(leftover);
    let Some(VaultEvent::Died { status, at_ns }) = died else { panic!("{died:?}") };
    assert_eq!(status, Some(ExitStatus::Signal(9)));
    assert!(alive, "reported only when everything had ended");
    assert_eq!(vault.next().await, Some(VaultEvent::Ended { status, at_ns }));
    assert!(has_ended(leftover));
    assert_eq!(vault.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crashed_vault_leaves_behind_is_asked_once_and_ended() {
    let helper = format!("trap \"echo asked\" TERM; echo child $$; {FOREVER}");
    let site = Site::new(&format!("setsid sh -c '{helper}' & {FOREVER}"));
    let vault = site.started().await;
    let leftover = site.printed_process("child");
    kill(vault.vault, Signal::KILL);
    let (status, _) = vault.ended().await.expect("seen");
    assert_eq!(status, ExitStatus::Signal(9));
    assert!(has_ended(leftover));
    assert_eq!(site.log().matches("asked").count(), 1, "{}", site.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leftover_that_forks_and_ends_all_the_time_does_not_outrun_its_end() {
    let mut site = Site::new("");
    // Each generation starts the next one and ends; none is there for longer than a few milliseconds.
    let generation = site.path("generation");
    std::fs::write(&generation, format!("trap '' TERM INT\n. {} &\n", generation.display())).expect("write");
    site.set_script(&format!("sh {} & echo up; {FOREVER}", generation.display()));
    let vault = site.started().await;
    site.printed("up");
    kill(vault.vault, Signal::KILL);
    vault.ended().await.expect("seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_does_not_end_names_pid_and_state_goes_on_and_tells_the_end() {
    let mut site = Site::new(WAITING);
    site.spec.place.grace_ms = 100;
    let mut vault = site.started().await;
    site.printed("up");
    let Some(held) = hold(vault.vault) else { return };
    let asked = Instant::now();
    vault.stopper.stop();
    let event = vault.next().await;
    let Some(VaultEvent::NotEnded(Processes { pids, what })) = event else { panic!("{event:?}") };
    assert_eq!(pids, [vault.vault.pid]);
    assert!(what.starts_with(&format!("process {} (vault), state Z", vault.vault.pid)), "{what}");
    assert!(asked.elapsed() >= Duration::from_millis(10_100), "{:?}", asked.elapsed());
    let refused = site.prepared().await.expect("prepared").start().await;
    assert!(matches!(refused, Err(StartError::Busy { .. })), "{refused:?}");
    drop(held);
    let died = vault.next().await;
    assert!(matches!(died, Some(VaultEvent::Died { status: Some(_), .. })), "{died:?}");
    let ended = vault.next().await;
    assert!(matches!(ended, Some(VaultEvent::Ended { status: Some(_), .. })), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_waits_for_what_does_not_go_takes_no_processor_time() {
    let mut site = Site::new(WAITING);
    site.set_migration(&format!("#!/bin/sh\nsetsid sh -c 'echo child $$; {FOREVER}' &\nexec sleep 1000\n"));
    let mut locked = site.prepared().await.expect("prepared").lock().await.expect("the lock");
    let migrating = tokio::spawn(async move { locked.carry_out(Task::Migrate).await });
    let child = site.printed_process("child");
    let keeper = site.record().keeper;
    // Once killed it stays, as if the kernel held it.
    let Some(held) = hold(child) else { return };
    kill(keeper, Signal::TERM);
    until("the end of what the migration started", || has_ended(child));
    let used = || {
        let times = fs::read_to_string(format!("/proc/{}/schedstat", keeper.pid)).expect("it waits");
        Duration::from_nanos(times.split(' ').next().expect("a time").parse().expect("nanoseconds"))
    };
    // Looked at for a second each: at first it looks for what else has to be killed.
    until("a second in which the keeper rests", || {
        let before = used();
        std::thread::sleep(Duration::from_secs(1));
        used() - before < Duration::from_millis(20)
    });
    assert!(child.exists() && !migrating.is_finished(), "it no longer waits");
    drop(held);
    let refused = migrating.await.expect("no panic").expect_err("it was given up").to_string();
    assert_eq!(refused, "the state-migration was given up");
}

/// What happens to a vault next, which it does soon.
async fn next_event(vault: &mut RunningVault) -> Option<VaultEvent> {
    tokio::time::timeout(Duration::from_secs(30), vault.next()).await.expect("nothing is heard of it")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_was_stopped_by_a_signal_goes_on_when_its_vault_is_to_be_stopped_or_has_ended() {
    let site = Site::new(&format!("trap 'exit 5' INT; {WAITING}"));
    for (to_be_stopped, expected) in [(true, ExitStatus::Code(5)), (false, ExitStatus::Signal(9))] {
        for adopted in [false, true] {
            let mut vault = site.started().await;
            until("exit.json", || site.path("exit.json").exists());
            let (process, keeper) = (vault.vault, site.record().keeper);
            kill(keeper, Signal::STOP);
            until("the keeper's stop", || state_of(keeper) == 'T');
            if adopted {
                drop(vault);
                let Observed::Runs(running) = observe(&site.spec.place).await else { panic!("not adopted") };
                vault = *running;
            }
            match to_be_stopped {
                true => vault.stopper.stop(),
                false => kill(process, Signal::KILL),
            }
            let died = next_event(&mut vault).await;
            assert!(
                matches!(died, Some(VaultEvent::Died { status: Some(status), .. }) if status == expected),
                "{died:?} of a vault that was {}adopted",
                if adopted { "" } else { "not " }
            );
            assert!(matches!(next_event(&mut vault).await, Some(VaultEvent::Ended { .. })));
            fs::remove_file(site.path("exit.json")).expect("remove");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_ends_under_a_keeper_that_does_not_go_on_is_seen_and_the_keeper_is_named() {
    for adopted in [false, true] {
        let site = Site::new(WAITING);
        let Some((mut vault, keeper, held)) = frozen(&site, adopted).await else { return };
        kill(vault.vault, Signal::KILL);
        let died = next_event(&mut vault).await;
        assert!(matches!(died, Some(VaultEvent::Died { status: None, .. })), "{died:?}");
        expect_named(&mut vault, keeper).await;
        // Its lock is held for as long: nothing is started beside it.
        assert!(site.prepared().await.expect("prepared").start().await.is_err());
        drop(held);
        kill(keeper, Signal::CONT);
        while !matches!(next_event(&mut vault).await, Some(VaultEvent::Ended { .. })) {}
        until("its end", || has_ended(keeper));
        assert_eq!(site.started().await.vault, site.record().vault.expect("it runs"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_its_keeper_does_not_carry_out_is_named_and_waited_for() {
    for adopted in [false, true] {
        let mut site = Site::new(WAITING);
        site.spec.place.grace_ms = 100;
        let Some((mut vault, keeper, held)) = frozen(&site, adopted).await else { return };
        vault.stopper.stop();
        expect_named(&mut vault, keeper).await;
        assert!(!has_ended(vault.vault), "nobody has told it");
        drop(held);
        kill(keeper, Signal::CONT);
        while !matches!(next_event(&mut vault).await, Some(VaultEvent::Ended { .. })) {}
        assert!(has_ended(vault.vault));
    }
}

/// A vault whose keeper is stopped by a debugger, as far as debugging is allowed here.
async fn frozen(site: &Site, adopted: bool) -> Option<(RunningVault, ProcessId, Held)> {
    let mut vault = site.started().await;
    until("exit.json", || site.path("exit.json").exists());
    if adopted {
        drop(vault);
        let Observed::Runs(running) = observe(&site.spec.place).await else { panic!("not adopted") };
        vault = *running;
    }
    let keeper = site.record().keeper;
    let held = hold(keeper)?;
    kill(keeper, Signal::STOP);
    until("the keeper's stop", || state_of(keeper) == 't');
    Some((vault, keeper, held))
}

async fn expect_named(vault: &mut RunningVault, keeper: ProcessId) {
    let named = next_event(vault).await;
    let Some(VaultEvent::NotEnded(Processes { pids, what })) = named else { panic!("{named:?}") };
    assert!(pids.contains(&keeper.pid), "{what}");
    let keeper = format!("process {} (vaultvisor-keep), state t (stopped by a debugger)", keeper.pid);
    assert!(what.contains(&keeper) && what.contains("does not answer"), "{what}");
}

fn state_of(process: ProcessId) -> char {
    Stat::of(process.pid).expect("seen").expect("it is there").state
}
