//! Taking an account's lock, with the proof that nothing of the account runs.
//!
//! *Taken, and the record clean or of another boot* is the proof. Else `/proc` is searched: for the processes
//! that the record names, and for our marker. Found and ours (the same user, the same home): it has lost its
//! keeper and is ended first. Found and not ours: someone else holds the account. Not to be seen: nothing is
//! started.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    id::Processes,
    lock::{self, AccountLock, Record, Try},
    protocol::Place,
    records::{RecordError, RunRecord},
    search::{Scope, find_keeper, search},
    survivors::{Ending, Left, Progress},
};
use crate::defects;

/// A keeper that is just ending gives its lock up within this.
const TAKE_WAIT: Duration = Duration::from_secs(1);
/// Between two tries; short against what people notice, long against the cost of a system call.
const TAKE_POLL: Duration = Duration::from_millis(5);

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Someone else has it, or has left something that is not ours to end.
    #[error("held by {holder}")]
    Busy {
        /// `home=… uid=… keeper=… vault=…`
        holder: String,
    },
    /// A process of an earlier run of this account is still there, or it cannot be seen whether.
    #[error("{}", .0.what)]
    NotGone(Processes),
    /// The lock file or `/proc` cannot be used.
    #[error("cannot use the lock {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The record of the last run cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A claim under way.
#[derive(Debug)]
pub struct Claim<'a> {
    place: &'a Place,
    /// Until when a busy lock is tried again.
    busy_until: Instant,
    /// The lock, if it is taken and not proved yet.
    lock: Option<AccountLock>,
    ending: Option<Ending>,
}

/// Where a claim stands.
#[derive(Debug)]
pub enum Step {
    /// The lock is taken and nothing of the account runs.
    Proved(AccountLock),
    /// Not yet.
    Wait {
        /// When to go on.
        until: Instant,
        /// What of ours is being ended, for people; told once.
        ending: Option<String>,
    },
}

impl<'a> Claim<'a> {
    /// A claim that has not begun.
    pub fn new(place: &'a Place, now: Instant) -> Self {
        Self { place, busy_until: now + TAKE_WAIT, lock: None, ending: None }
    }

    /// Whether survivors of ours are being ended: what they print is ours to pass on.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Does what can be done now; to be called until it answers `Proved`.
    pub fn proceed(&mut self, now: Instant) -> Result<Step, ClaimError> {
        if let Some(mut ending) = self.ending.take() {
            match ending.proceed(now).map_err(|source| file(self.place, source))? {
                Progress::Wait { until, overdue: None } => {
                    self.ending = Some(ending);
                    return Ok(Step::Wait { until, ending: None });
                }
                Progress::Wait { overdue: Some(what), .. } => {
                    let tell = |what: &str| format!("an earlier run of this vault does not end: {what}");
                    return Err(ClaimError::NotGone(what.told(tell)));
                }
                Progress::Unproved { what, .. } => return Err(ClaimError::NotGone(what)),
                Progress::Gone => self.busy_until = now + TAKE_WAIT,
            }
            if let Some(lock) = self.lock.take() {
                return Ok(Step::Proved(lock));
            }
        }
        if let Some(other) = RunRecord::of_another_account(self.place)? {
            return Err(ClaimError::NotGone(other));
        }
        match AccountLock::try_take(&self.place.lock).map_err(|source| file(self.place, source))? {
            Try::Taken(lock, record) => match judge(self.place, record, now)? {
                None => Ok(Step::Proved(lock)),
                Some(survivors) => {
                    self.lock = Some(lock);
                    Ok(self.end(survivors, now))
                }
            },
            Try::Busy(_) if now < self.busy_until => Ok(Step::Wait { until: now + TAKE_POLL, ending: None }),
            Try::Busy(record) => {
                let unknown = || "someone who left no record".to_owned();
                let holder = record.as_ref().map_or_else(unknown, Record::holder);
                match judge_busy(self.place, record, now)? {
                    Some(survivors) => Ok(self.end(survivors, now)),
                    None => Err(ClaimError::Busy { holder }),
                }
            }
        }
    }

    fn end(&mut self, (ending, what): Survivors, now: Instant) -> Step {
        self.ending = Some(ending);
        Step::Wait { until: now, ending: Some(what) }
    }
}

/// What is to be ended first, and what it is, for people.
type Survivors = (Ending, String);

/// What the record in a lock that is ours proves: `None` that nothing runs.
fn judge(place: &Place, record: Option<Record>, now: Instant) -> Result<Option<Survivors>, ClaimError> {
    if !defects::RECORD_IS_HEEDED {
        return Ok(None);
    }
    let io = |source| file(place, source);
    let record = match record {
        Some(record) => Some(record),
        // A file that had to be created or that holds no record, perhaps because somebody removed the one of a vault
        // that runs. Of another user nothing but a keeper's arguments can be seen.
        None => match find_keeper(&place.marker).map_err(io)? {
            Some(holder) => return Err(ClaimError::Busy { holder }),
            // The last run of this home may still know.
            None => RunRecord::read_open(&place.folder)?.map(|run| run.lock),
        },
    };
    let Some(record) = record else {
        let found = search(&place.marker, &Scope::unrecorded()).map_err(io)?;
        return match found.marked.first() {
            Some(marked) => Err(ClaimError::Busy { holder: format!("{}, of no record", marked.named()) }),
            None if found.is_empty() => Ok(None),
            None => Err(ClaimError::NotGone(found.describe())),
        };
    };
    if !record.is_open().map_err(io)? {
        return Ok(None);
    }
    if !record.keeper.has_ended().map_err(io)? {
        // Its lock file was removed, and this is a new one.
        return Err(ClaimError::Busy { holder: record.holder() });
    }
    let (holder, is_ours) = (record.holder(), record.is_ours(place));
    let mut ending = Ending::new(place, record, now).map_err(io)?.under_lock();
    match ending.left().map_err(io)? {
        None => Ok(None),
        Some(Left::Recognised(left)) if is_ours => Ok(Some((ending, left.what))),
        Some(Left::Recognised(left)) => {
            // Without their states, which change: who asks again should hear the same again.
            let pids: Vec<String> = left.pids.iter().map(u32::to_string).collect();
            Err(ClaimError::Busy { holder: format!("{holder} (still there: {})", pids.join(", ")) })
        }
        Some(Left::Unproved(what)) => Err(ClaimError::NotGone(what)),
    }
}

/// Whether who holds a busy lock is a vault of ours that lost its keeper. What is left of one, but is not provably its own,
/// is not ended and not hidden behind the record of those that are gone: it is named.
fn judge_busy(place: &Place, record: Option<Record>, now: Instant) -> Result<Option<Survivors>, ClaimError> {
    let io = |source| file(place, source);
    let Some(record) = record.filter(|record| record.is_ours(place)) else { return Ok(None) };
    if !record.is_open().map_err(io)? || !record.keeper.has_ended().map_err(io)? {
        return Ok(None);
    }
    let mut ending = Ending::new(place, record, now).map_err(io)?;
    match ending.left().map_err(io)? {
        Some(Left::Recognised(left)) => Ok(Some((ending, left.what))),
        Some(Left::Unproved(what)) => Err(ClaimError::NotGone(what)),
        None => {
            let holders = lock::describe_holders(&place.lock).map_err(io)?;
            if holders.is_empty() { Ok(None) } else { Err(ClaimError::NotGone(holders)) }
        }
    }
}

fn file(place: &Place, source: io::Error) -> ClaimError {
    ClaimError::File { path: place.lock.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::super::{
        MARKER, ProcessId, StopSignal,
        lock::{Cleanliness, tests::record},
        protocol::Output,
        search::tests::{NO_PRIVATE, Private},
    };
    use super::*;
    use std::{
        os::unix::process::CommandExt,
        path::Path,
        process::{Child, Command},
    };

    fn place(folder: &Path) -> Place {
        Place {
            lock: folder.join("a.lock"),
            marker: format!("claim-{}", folder.display()),
            home: folder.to_owned(),
            folder: folder.to_owned(),
            stop_signal: StopSignal::Int,
            grace_ms: 10_000,
            output: Output::File,
            log_bytes: Output::DEFAULT_LOG_BYTES,
            log_keep: 1,
        }
    }

    fn claim(place: &Place) -> Result<AccountLock, ClaimError> {
        let _undisturbed = NO_PRIVATE.read();
        claim_beside_private_ones(place)
    }

    fn claim_beside_private_ones(place: &Place) -> Result<AccountLock, ClaimError> {
        let mut claim = Claim::new(place, Instant::now());
        loop {
            match claim.proceed(Instant::now())? {
                Step::Proved(lock) => return Ok(lock),
                Step::Wait { until, .. } => {
                    std::thread::sleep(until.saturating_duration_since(Instant::now()));
                }
            }
        }
    }

    /// A process that stands for a vault without a keeper. Its parent reaps it as `init` would.
    struct Survivor(Child);

    impl Survivor {
        fn start(marker: &str) -> Self {
            let child = Command::new("sleep").arg("1000").env(MARKER, marker).process_group(0).spawn();
            let child = child.expect("a process");
            let environment = format!("/proc/{}/environ", child.id());
            while std::fs::read(&environment).expect("it runs").is_empty() {
                std::thread::yield_now();
            }
            Self(child)
        }

        fn id(&self) -> ProcessId {
            ProcessId::of(self.0.id()).expect("not waited for")
        }
    }

    impl Drop for Survivor {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn write(place: &Place, record: &Record) {
        let Ok(Try::Taken(lock, _)) = AccountLock::try_take(&place.lock) else { panic!("busy") };
        lock.write(record).expect("write");
    }

    #[test]
    fn a_clean_record_or_one_of_another_boot_is_proof() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let own = ProcessId::of(std::process::id());
        let clean = Record { vault: own, ..record(&place.home, Cleanliness::Clean) };
        let dirty = record(&place.home, Cleanliness::Dirty);
        let other_boot = Record { vault: own, boot_id: "other".into(), ..dirty };
        for proof in [clean, other_boot] {
            write(&place, &proof);
            claim(&place).expect("nothing runs");
        }
        assert!(own.is_some_and(ProcessId::exists));
    }

    #[test]
    fn what_is_ours_and_lost_its_keeper_is_ended_first() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let (main, helper) = (Survivor::start(&place.marker), Survivor::start(&place.marker));
        let keeper = ProcessId { pid: u32::MAX, start_ticks: main.id().start_ticks };
        let dirty = record(&place.home, Cleanliness::Dirty);
        write(&place, &Record { vault: Some(main.id()), keeper, ..dirty });
        let place = Place { grace_ms: 200, ..place };
        claim(&place).expect("after their end");
        for survivor in [main, helper] {
            assert!(survivor.id().has_ended().expect("seen"));
        }
    }

    #[test]
    fn t30_a_lock_file_that_is_replaced_meanwhile_does_not_tell_whether_a_survivor_has_ended() {
        let folder = tempfile::tempdir().expect("folder");
        let place = Place { grace_ms: 200, ..place(folder.path()) };
        let survivor = Survivor::start(&place.marker);
        let keeper = ProcessId { pid: u32::MAX, start_ticks: survivor.id().start_ticks };
        let dirty = record(&place.home, Cleanliness::Dirty);
        write(&place, &Record { vault: Some(survivor.id()), keeper, ..dirty });
        let _undisturbed = NO_PRIVATE.read();
        let mut claim = Claim::new(&place, Instant::now());
        assert!(matches!(claim.proceed(Instant::now()), Ok(Step::Wait { ending: Some(_), .. })));

        std::fs::remove_file(&place.lock).expect("remove");
        write(&place, &Record { run_id: "another".into(), ..record(&place.home, Cleanliness::Clean) });
        loop {
            match claim.proceed(Instant::now()).expect("it ends") {
                Step::Proved(lock) => break assert!(!lock.is_at_its_path()),
                Step::Wait { until, .. } => {
                    std::thread::sleep(until.saturating_duration_since(Instant::now()));
                }
            }
        }
        assert!(survivor.id().has_ended().expect("seen"), "it lives, and the next one was let in");
    }

    #[test]
    fn what_is_not_ours_is_not_touched_and_holds_the_account() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let other = Survivor::start(&place.marker);
        write(
            &place,
            &Record { vault: Some(other.id()), ..record("/another/home".as_ref(), Cleanliness::Dirty) },
        );
        let refused = claim(&place).expect_err("another home's");
        assert!(matches!(&refused, ClaimError::Busy { holder } if holder.contains("home=/another/home")));
        assert!(!other.id().has_ended().expect("seen"));
    }

    #[test]
    fn a_marked_process_without_any_record_holds_the_account() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let other = Survivor::start(&place.marker);
        let refused = claim(&place).expect_err("nobody knows whose it is").to_string();
        assert!(refused.contains(&format!("process {}", other.0.id())), "{refused}");
        assert!(!other.id().has_ended().expect("seen"));
    }

    #[test]
    fn a_pid_of_the_record_that_another_program_has_by_now_is_not_touched() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let other = Survivor::start("not ours");
        let before = ProcessId { start_ticks: other.id().start_ticks - 1, ..other.id() };
        let dirty = record(&place.home, Cleanliness::Dirty);
        write(&place, &Record { vault: Some(before), keeper: before, ..dirty });
        claim(&place).expect("nothing of ours is there");
        assert!(!other.id().has_ended().expect("seen"));
    }

    #[test]
    fn a_living_keeper_holds_its_account_even_when_its_lock_file_was_removed() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let keeper = Survivor::start("its environment does not matter");
        let lock = Record { keeper: keeper.id(), ..record(&place.home, Cleanliness::Dirty) };
        let run = RunRecord::for_tests(lock);
        run.write(&place.folder).expect("run.json");
        let refused = claim(&place).expect_err("its keeper lives");
        assert!(matches!(refused, ClaimError::Busy { .. }), "{refused:?}");
    }

    #[test]
    fn what_could_be_ours_blocks_and_is_named_and_what_is_older_does_not() {
        // Nothing is private to root.
        if rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let private = Private::start(folder.path());
        for (later, is_proof) in [(0, false), (1, true)] {
            let keeper = ProcessId { pid: u32::MAX, start_ticks: private.id().start_ticks + later };
            write(&place, &Record { keeper, ..record(&place.home, Cleanliness::Dirty) });
            match claim_beside_private_ones(&place) {
                Ok(_) => assert!(is_proof),
                Err(ClaimError::NotGone(left)) => {
                    assert!(!is_proof && left.pids == [private.id().pid], "{left:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(!private.id().has_ended().expect("seen"));
    }

    #[test]
    fn a_damaged_run_record_is_not_taken_for_none() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        std::fs::write(place.folder.join("run.json"), b"{").expect("write");
        let refused = claim(&place).expect_err("it could tell of a vault").to_string();
        assert!(refused.contains("run.json is damaged"), "{refused}");
    }

    /// Another user's keeper and vault: nothing of them can be read but the keeper's arguments.
    #[test]
    fn a_keeper_of_the_account_is_found_by_its_arguments_when_nothing_else_tells_of_it() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        let program = folder.path().join("vaultvisor-keeper");
        std::os::unix::fs::symlink("/bin/dash", &program).expect("link");
        let start = |script: &str, marker: &str| {
            let mut command = Command::new(&program);
            command.args(["-c", script, "keeper", &format!("--marker={marker}"), "--home=/another/home"]);
            Survivor(command.process_group(0).spawn().expect("a process"))
        };
        let _waiting = start("read turn < /dev/zero", &place.marker);
        let other = start("sleep 1000 & wait", "of another account");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !has_child(&other) {
            assert!(Instant::now() < deadline, "no child");
        }
        claim(&place).expect("neither holds the account");

        std::fs::remove_file(&place.lock).expect("remove");
        // Not even an earlier run of this home, of which nothing is left, says that there is none.
        let earlier = RunRecord::for_tests(record(&place.home, Cleanliness::Dirty));
        earlier.write(&place.folder).expect("run.json");
        let holder = start("sleep 1000 & wait", &place.marker);
        while !has_child(&holder) {
            assert!(Instant::now() < deadline, "no child");
        }
        let refused = claim(&place).expect_err("it has started a vault").to_string();
        let expected = format!(
            "held by home=/another/home uid={} keeper={} vault=",
            rustix::process::getuid().as_raw(),
            holder.0.id()
        );
        assert!(refused.starts_with(&expected), "{refused}");
        for keeper in [other, holder] {
            // Their children would stay.
            rustix::process::kill_process_group(
                rustix::process::Pid::from_child(&keeper.0),
                rustix::process::Signal::KILL,
            )
            .expect("kill");
        }
    }

    fn has_child(parent: &Survivor) -> bool {
        let all = super::super::id::all_processes().expect("seen");
        all.iter().any(|stat| stat.parent == parent.0.id())
    }
}
