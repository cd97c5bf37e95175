//! A restarted vaultvisor finds the vault of the one before, and takes it over.

use std::fs;

use rustix::process::Signal;
use vaultvisor::process::{
    ProcessId,
    adopt::{Observed, observe, stop_own},
    handle::{RunningVault, StartError, VaultEvent},
    id::Processes,
    lock::{Cleanliness, Record},
    protocol::{ExitStatus, Place, Spec},
};

use super::site::{FOREVER, Site, WAITING, has_ended, hold, kill, until};

impl Site {
    /// Starts a vault with a vaultvisor that is gone then.
    async fn abandoned(&self) -> ProcessId {
        let vault = self.started().await;
        self.printed("up");
        vault.vault
    }

    async fn observed(&self) -> Observed {
        observe(&self.spec.place).await
    }

    async fn adopted(&self) -> RunningVault {
        match self.observed().await {
            Observed::Runs(vault) => *vault,
            other => panic!("expected a vault to adopt, found {other:?}"),
        }
    }

    /// Has the record say that the vault runs a file which it does not run.
    fn record_another_file(&self) {
        until("exit.json", || self.path("exit.json").exists());
        let run = fs::read_to_string(self.path("run.json")).expect("run.json");
        let mut run: serde_json::Value = serde_json::from_str(&run).expect("JSON");
        run["binary"]["inode"] = 1.into();
        fs::write(self.path("run.json"), run.to_string()).expect("write");
    }

    fn write_record(&self, record: &Record) {
        fs::write(&self.spec.place.lock, serde_json::to_vec(record).expect("JSON")).expect("write");
    }
}

async fn expect_end(vault: &mut RunningVault, expected: Option<ExitStatus>) {
    let died = vault.next().await;
    let Some(VaultEvent::Died { status, at_ns }) = died else { panic!("{died:?}") };
    assert_eq!(status, expected);
    assert_eq!(vault.next().await, Some(VaultEvent::Ended { status, at_ns }));
    assert_eq!(vault.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_survives_its_vaultvisor_and_the_next_one_watches_and_stops_it_as_its_own() {
    let site = Site::new(&format!("trap 'exit 5' INT; {WAITING}"));
    let process = site.abandoned().await;
    let mut vault = site.adopted().await;
    assert!(vault.adopted && !has_ended(process));
    assert_eq!((vault.vault, vault.run.pid), (process, process.pid));
    assert_eq!((vault.run.run_id.as_str(), vault.run.version.as_str()), ("run-1", "1.2.3"));
    assert_eq!(vault.run.checksum, site.spec.checksum);
    vault.stopper.stop();
    expect_end(&mut vault, Some(ExitStatus::Code(5))).await;
    assert!(has_ended(process));
    site.started().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_vault_was_started_when_it_was_started() {
    let site = Site::new(WAITING);
    let vault = site.started().await;
    let started_ns = vault.started_ns;
    drop(vault);
    assert_eq!(site.adopted().await.started_ns, started_ns);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_adopted_vault_is_reported_before_its_leftovers_are_ended() {
    let site = Site::new(&format!("setsid sh -c 'trap \"\" TERM; echo child $$; {FOREVER}' & {WAITING}"));
    let process = site.abandoned().await;
    let leftover = site.printed_process("child");
    let mut vault = site.adopted().await;
    kill(process, Signal::KILL);
    let died = vault.next().await;
    let alive = !has_ended(leftover);
    assert!(matches!(died, Some(VaultEvent::Died { status: Some(ExitStatus::Signal(9)), .. })), "{died:?}");
    assert!(alive, "reported only when everything had ended");
    assert!(matches!(vault.next().await, Some(VaultEvent::Ended { .. })));
    assert!(has_ended(leftover));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_vault_whose_stop_does_not_end_is_named_with_its_state() {
    let mut site = Site::new(WAITING);
    site.spec.place.grace_ms = 100;
    let process = site.abandoned().await;
    let Some(held) = hold(process) else { return };
    let mut vault = site.adopted().await;
    vault.stopper.stop();
    let mut events = Vec::new();
    let mut held = Some(held);
    while let Some(event) = vault.next().await {
        if let VaultEvent::NotEnded(Processes { what, .. }) = &event {
            assert!(what.starts_with(&format!("process {} (vault), state Z", process.pid)), "{what}");
            held = None;
        }
        events.push(event);
    }
    assert!(held.is_none(), "it was never named: {events:?}");
    assert!(matches!(events.last(), Some(VaultEvent::Ended { .. })), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_ended_meanwhile_left_its_exit_status() {
    let site = Site::new(&format!("trap 'exit 5' INT; {WAITING}"));
    let vault = site.started().await;
    site.printed("up");
    let (stopper, process) = (vault.stopper.clone(), vault.vault);
    drop(vault);
    stopper.stop();
    until("its end", || has_ended(process));
    let Observed::Gone { run: Some(run), status, told_to_end, .. } = site.observed().await else {
        panic!("not gone")
    };
    assert!(told_to_end, "it was stopped, and did not fail");
    assert_eq!((run.pid, run.run_id.as_str(), status), (process.pid, "run-1", Some(ExitStatus::Code(5))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_that_vaultvisor_heard_of_is_recorded_too() {
    // It may have been killed before it could write down what it heard.
    let site = Site::new("exit 4");
    site.started().await.ended().await.expect("seen");
    let gone = site.observed().await;
    let Observed::Gone { status, told_to_end, .. } = gone else { panic!("{gone:?}") };
    assert_eq!((status, told_to_end), (Some(ExitStatus::Code(4)), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_way_is_known_to_whoever_adopts_the_vault_also_without_room_for_records() {
    let site = Site::new(&format!("trap 'echo asked' INT; {WAITING}"));
    // As on a full disk: neither record can be made.
    for record in [".run.json.new", ".exit.json.new"] {
        fs::create_dir(site.path(record)).expect("in the way");
    }
    let vault = site.started().await;
    site.printed("up");
    let process = vault.vault;
    vault.stopper.stop();
    site.printed("asked");
    drop(vault);
    until("the stop to be noted", || site.record().told_to_end);
    let adopted = site.adopted().await;
    assert!(adopted.told_to_end() && adopted.vault == process);
    // It ends for another reason than the stop, which is a matter of milliseconds here.
    kill(process, Signal::KILL);
    until("its end", || site.record().state == Cleanliness::Clean);
    let gone = site.observed().await;
    let Observed::Gone { run: None, pid, told_to_end: true, .. } = gone else { panic!("{gone:?}") };
    assert_eq!(pid, Some(process.pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_ever_ran_and_after_a_reboot_there_is_nothing() {
    let site = Site::new(WAITING);
    assert!(matches!(site.observed().await, Observed::Nothing));
    assert!(!site.spec.place.lock.exists(), "looking makes no lock file");
    let process = site.abandoned().await;
    let mut record = site.record();
    record.boot_id = "another boot".into();
    let (keeper, vault) = (record.keeper, record.vault);
    site.write_record(&record);
    assert!(matches!(site.observed().await, Observed::Nothing));
    assert!(!has_ended(process));
    [Some(keeper), vault].into_iter().flatten().for_each(|process| kill(process, Signal::KILL));
}

#[tokio::test(flavor = "multi_thread")]
async fn t23_a_pid_that_another_program_has_by_now_is_neither_adopted_nor_touched() {
    let site = Site::new(WAITING);
    let process = site.abandoned().await;
    let record = site.record();
    // As if both had ended, and other programs had their numbers.
    let earlier = |process: ProcessId| ProcessId { start_ticks: process.start_ticks - 1, ..process };
    let reused = Record { keeper: earlier(record.keeper), vault: Some(earlier(process)), ..record.clone() };
    site.write_record(&reused);
    let gone = site.observed().await;
    assert!(matches!(gone, Observed::Gone { .. }), "{gone:?}");
    assert!(!has_ended(process) && !has_ended(record.keeper));
    [record.keeper, process].into_iter().for_each(|process| kill(process, Signal::KILL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_file_that_was_removed_or_damaged_does_not_hide_a_vault() {
    for damage in [
        |place: &Place| fs::remove_file(&place.lock).expect("remove"),
        |place: &Place| fs::write(&place.lock, b"{ not a record").expect("damage"),
        |place: &Place| fs::write(&place.lock, b"").expect("empty"),
    ] {
        let site = Site::new(WAITING);
        let process = site.abandoned().await;
        until("run.json", || site.path("run.json").exists());
        damage(&site.spec.place);
        let mut vault = site.adopted().await;
        assert_eq!(vault.vault, process);
        // And nothing is started beside it, even where a new lock file could be taken.
        assert!(site.prepared().await.expect("prepared").start().await.is_err());
        vault.stopper.stop();
        expect_end(&mut vault, Some(ExitStatus::Signal(2))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_run_record_a_vault_is_adopted_by_what_its_keeper_was_told() {
    for damage in [None, Some("{ \"schema\": 1")] {
        let site = Site::new(WAITING);
        let process = site.abandoned().await;
        until("exit.json", || site.path("exit.json").exists());
        match damage {
            None => fs::remove_file(site.path("run.json")).expect("remove"),
            Some(text) => fs::write(site.path("run.json"), text).expect("damage"),
        }
        let mut vault = site.adopted().await;
        assert_eq!((vault.vault, vault.run.version.as_str()), (process, "1.2.3"));
        assert_eq!(vault.run.checksum, site.spec.checksum);
        vault.stopper.stop();
        expect_end(&mut vault, Some(ExitStatus::Signal(2))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_vault_ended_that_was_renamed_while_it_ran_is_found_where_its_keeper_writes_it() {
    let site = Site::new(WAITING);
    let process = site.abandoned().await;
    until("exit.json", || site.path("exit.json").exists());
    // Another name in the configuration is another folder below the home.
    let renamed = site.path("renamed");
    fs::create_dir_all(renamed.join("log")).expect("new");
    let place = Place { folder: renamed, ..site.spec.place.clone() };
    let observed = observe(&place).await;
    let Observed::Runs(mut vault) = observed else { panic!("{observed:?}") };
    assert_eq!(vault.vault, process);
    kill(process, Signal::KILL);
    expect_end(&mut vault, Some(ExitStatus::Signal(9))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_runs_another_file_than_was_recorded_is_not_adopted() {
    let site = Site::new(WAITING);
    let process = site.abandoned().await;
    site.record_another_file();
    let observed = site.observed().await;
    let Observed::NotProvable { lock_is_held: true, reason } = observed else { panic!("{observed:?}") };
    assert!(reason.contains("expected it to run inode 1"), "{reason}");
    assert!(!has_ended(process));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_homes_vault_is_not_adopted_and_its_holder_is_named() {
    let site = Site::new(WAITING);
    site.abandoned().await;
    let other = Place { home: "/another/home".into(), ..site.spec.place.clone() };
    let observed = observe(&other).await;
    let Observed::NotProvable { lock_is_held: true, reason } = observed else { panic!("{observed:?}") };
    assert!(reason.starts_with(&format!("held by home={}", site.folder.path().display())), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_just_being_started_is_waited_for() {
    let site = Site::new(WAITING);
    let process = site.abandoned().await;
    let whole = site.record();
    // As it looks between the record of a start and the fork.
    site.write_record(&Record { vault: None, ..whole.clone() });
    let observing = tokio::spawn({
        let place = site.spec.place.clone();
        async move { observe(&place).await }
    });
    tokio::task::yield_now().await;
    assert!(!observing.is_finished());
    site.write_record(&whole);
    let observed = observing.await.expect("observed");
    assert!(matches!(&observed, Observed::Runs(vault) if vault.vault == process), "{observed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_started_nothing_leaves_nothing_to_adopt() {
    let site = Site::new(WAITING);
    let process = site.abandoned().await;
    let record = site.record();
    site.write_record(&Record { vault: None, state: Cleanliness::Clean, ..record.clone() });
    assert!(matches!(site.observed().await, Observed::Nothing));
    [record.keeper, process].into_iter().for_each(|process| kill(process, Signal::KILL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_lost_keeper_and_vaultvisor_is_seen_to_its_end() {
    let mut site = Site::new(&format!("trap 'echo asked' INT; {WAITING}"));
    site.spec.place.grace_ms = 1_000;
    let process = site.abandoned().await;
    until("exit.json", || site.path("exit.json").exists());
    kill(site.record().keeper, Signal::KILL);
    let mut vault = site.adopted().await;
    assert_eq!(vault.vault, process);
    expect_end(&mut vault, None).await;
    assert!(has_ended(process));
    site.printed("asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_of_the_account_that_was_configured_before_is_neither_adopted_nor_run_beside() {
    let site = Site::new(WAITING);
    let process = site.abandoned().await;
    until("exit.json", || site.path("exit.json").exists());
    // The account was changed while no vaultvisor ran: another lock and marker, the same folder.
    let mut other = Site::new(WAITING);
    let place = Place { lock: site.path("other.lock"), marker: "other".into(), ..site.spec.place.clone() };
    let observed = observe(&place).await;
    let Observed::NotProvable { lock_is_held: false, reason } = observed else { panic!("{observed:?}") };
    assert!(reason.contains(&format!("changed from {}", site.spec.place.marker)), "{reason}");
    assert!(reason.contains(&process.pid.to_string()), "{reason}");
    let binaries = other.spec.binary_folder.clone();
    other.spec = Spec { place: place.clone(), binary_folder: binaries, ..other.spec.clone() };
    let refused = other.prepared().await.expect("prepared").start().await;
    let Err(StartError::NotGone(left)) = refused else { panic!("{refused:?}") };
    assert!(left.pids.contains(&process.pid), "{left:?}");
    assert!(!has_ended(process));

    // Its own record of the run is not believed either, where the lock's record is of another account's keeper.
    fs::remove_file(site.path("run.json")).expect("remove");
    fs::copy(&site.spec.place.lock, &place.lock).expect("copy");
    let observed = observe(&place).await;
    assert!(
        matches!(observed, Observed::NotProvable { .. }),
        "its keeper was told another marker: {observed:?}"
    );
    fs::remove_file(&place.lock).expect("remove");

    // When it has ended, nothing is in the way.
    site.adopted().await.stopper.stop();
    until("its end", || site.record().state == Cleanliness::Clean);
    assert!(matches!(observe(&place).await, Observed::Nothing));
    other.started().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_cannot_be_taken_over_is_stopped_as_ones_own_and_anothers_is_left_alone() {
    let site = Site::new(&format!("trap 'exit 5' INT; {WAITING}"));
    let process = site.abandoned().await;
    site.record_another_file();
    let other = Place { home: "/another/home".into(), ..site.spec.place.clone() };
    assert_eq!(stop_own(&other).await, None);
    assert!(!has_ended(process), "it is not that home's");
    assert_eq!(stop_own(&site.spec.place).await, None);
    assert!(has_ended(process));
    let record = site.record();
    assert_eq!((record.state, record.told_to_end), (Cleanliness::Clean, true));

    // One that has lost its keeper too, and one that nobody can end.
    let mut site = Site::new(WAITING);
    site.spec.place.grace_ms = 200;
    let process = site.abandoned().await;
    kill(site.record().keeper, Signal::KILL);
    assert_eq!(stop_own(&site.spec.place).await, None);
    assert!(has_ended(process));
    let process = site.abandoned().await;
    let Some(held) = hold(process) else { return };
    let left = stop_own(&site.spec.place).await.expect("it does not end");
    assert!(left.pids.contains(&site.record().keeper.pid), "{left:?}");
    drop(held);
    until("its end", || has_ended(process));
}
