//! T20: disks that are full, read-only or not for programs, and too few file descriptors. Real filesystems of their own,
//! for which these journeys need root.

use integration_tests::{
    child::Child,
    journey::Journey,
    ledger,
    operator::{NETWORK, Operator},
    releases::Release,
    small_disk::SmallDisk,
    untouched::Untouched,
    wait,
};

/// Room for the reserve of 64 MiB, two releases and what a vault writes.
const SIZE: &str = "size=160m";

/// A vault whose home, or part of it, is on a disk of its own.
struct OnSmallDisk {
    // Detached before the folder that it is mounted on is removed.
    disk: SmallDisk,
    daemon: Child,
    before: Untouched,
    journey: Journey,
}

impl OnSmallDisk {
    async fn begin(part: &str, options: &str) -> Self {
        let journey = Journey::begin().await;
        let operator = &journey.operator;
        let disk = SmallDisk::mount(&operator.home().join(part), options);
        let good = journey.release("1.0.0").await;
        let daemon = operator.run();
        let before = Untouched::running(operator, &good).await;
        Self { disk, daemon, before, journey }
    }

    fn operator(&self) -> &Operator {
        &self.journey.operator
    }

    /// Has the chain state another release, and waits until what is in its way is said, with what to do.
    async fn cannot_have(&self, version: &str, said: &[&str]) -> Release {
        let next = self.journey.release(version).await;
        wait::until(&format!("{said:?}"), async || {
            let vault = self.operator().vault().await;
            let problem = vault.problem.unwrap_or_default();
            match said.iter().all(|said| problem.contains(said)) {
                true => Ok(()),
                false => Err(format!("{problem}\n{}", self.daemon.stderr())),
            }
        })
        .await;
        let vault = self.operator().vault().await;
        assert_eq!(vault.rejected, [], "a disk can have no release rejected");
        self.before.still(self.operator()).await;
        next
    }

    async fn goes_on(self, next: &Release) {
        let after = self.operator().running(next).await;
        assert_ne!(after.pid, self.before.pid());
        assert_eq!(ledger::never_two(&self.operator().lives()), Ok(()));
    }
}

#[tokio::test]
async fn t20_a_full_disk_is_reported_with_what_to_free_and_gone_on_from_when_there_is_room() {
    let vault = OnSmallDisk::begin("", SIZE).await;
    vault.disk.fill();
    let next = vault.cannot_have("2.0.0", &["free some"]).await;
    vault.disk.make_room();
    vault.goes_on(&next).await;
}

#[tokio::test]
async fn t20_a_disk_without_inodes_is_reported_with_what_to_free_and_gone_on_from_when_there_are_some() {
    let vault = OnSmallDisk::begin("", &format!("{SIZE},nr_inodes=200")).await;
    vault.disk.use_up_inodes();
    let next = vault.cannot_have("2.0.0", &["free some", "inodes"]).await;
    vault.disk.make_room();
    vault.goes_on(&next).await;
}

#[tokio::test]
async fn t20_a_read_only_store_is_reported_and_gone_on_from_when_it_can_be_written() {
    let vault = OnSmallDisk::begin("store", SIZE).await;
    vault.disk.remount("ro");
    let next = vault.cannot_have("2.0.0", &["read-only", "mount it read-write"]).await;
    vault.disk.remount("rw");
    vault.goes_on(&next).await;
}

#[tokio::test]
async fn t20_a_store_that_is_not_for_programs_is_found_out_before_the_old_release_is_stopped() {
    let vault = OnSmallDisk::begin("store", SIZE).await;
    vault.disk.remount("noexec");
    let next = Release::of_test_vault("2.0.0");
    vault.journey.server.offer(&next, NETWORK);
    vault.journey.state(&next).await;
    let told = vault
        .operator()
        .vault_where("what is wrong, and what to do", |vault| {
            vault
                .problem
                .as_ref()
                .is_some_and(|problem| problem.contains("mounted noexec; mount it with exec"))
        })
        .await;
    assert_eq!((told.state.as_str(), told.rejected.len()), ("running", 0));
    assert_eq!(told.running.map(|running| running.pid), Some(vault.before.pid()));
    assert_eq!(vault.operator().lives().len(), 1);
    vault.disk.remount("exec");
    vault.goes_on(&next).await;
}

#[tokio::test]
async fn t20_too_few_file_descriptors_are_reported_and_gone_on_from_when_there_are_enough() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let good = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = Untouched::running(operator, &good).await;

    let limit = daemon.limit_files(Some(0));
    let next = journey.release("2.0.0").await;
    wait::until("the log to say what to raise", async || match daemon.stderr() {
        log if log.contains("raise the limit of open files") => Ok(()),
        log => Err(log),
    })
    .await;
    daemon.limit_files(limit);
    before.still_runs(operator);
    let after = operator.running(&next).await;
    assert_ne!(after.pid, before.pid());
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}
