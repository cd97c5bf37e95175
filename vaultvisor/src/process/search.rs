//! Looking through `/proc` for what is left of a run that lost its keeper.
//!
//! Every process of a vault's carries our marker in its environment. Some environments may not be read:
//! those of other users, and those of processes of the same user's that made themselves private, as
//! `ssh-agent` and browsers do. Which of the private ones could be the vault's: [`Scope`], argued in
//! `docs/decisions/0005`.

use std::{fs, io, os::unix::fs::MetadataExt, time::Duration};

use super::{
    MARKER, ProcessId,
    id::{Processes, Stat, all_processes, is_gone},
    lock::Record,
};
use crate::artifact::BINARY_NAME;

/// The kernel keeps 15 characters of a process's name.
pub(super) const KEEPER_NAME: &str = "vaultvisor-keep";
/// A process that is just being executed has no environment for a moment: it is looked at this often, …
const EMPTY_TRIES: u32 = 20;
/// … this long apart.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);

/// Which processes could be left of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The user of the run: a vault cannot become another user.
    pub uid: u32,
    /// The run's keeper started then: what is older does not descend from it.
    pub since_ticks: u64,
    /// The run's audit session, if the kernel keeps one: an unprivileged process cannot leave it once it is set.
    pub audit_session: Option<u32>,
    /// Nothing is known of a run: of the private processes only those count that have a vault's name.
    pub vaults_only: bool,
}

impl Scope {
    /// Of the run that a record tells of.
    pub fn of(record: &Record) -> Self {
        Self {
            uid: record.uid,
            since_ticks: record.keeper.start_ticks,
            audit_session: record.audit_session,
            vaults_only: false,
        }
    }

    /// Of runs that nothing is recorded of.
    pub fn unrecorded() -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self { uid, since_ticks: 0, audit_session: None, vaults_only: true }
    }

    /// Whether a process whose environment may not be read could be of the run.
    fn could_be_ours(&self, stat: &Stat) -> bool {
        stat.id.start_ticks >= self.since_ticks
            && (!self.vaults_only || stat.name == BINARY_NAME)
            && !is_of_another_session(self.audit_session, || audit_session(&stat.id.pid.to_string()))
    }
}

/// Whether a process of this session is provably of none with that one. A session that was never set, as that of a
/// service, may be set by any process without a privilege, and is then another one: it tells nothing.
fn is_of_another_session(ours: Option<u32>, theirs: impl FnOnce() -> Option<u32>) -> bool {
    const NEVER_SET: u32 = u32::MAX;
    ours.filter(|ours| *ours != NEVER_SET).is_some_and(|ours| theirs().is_some_and(|theirs| theirs != ours))
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Processes with the marker.
    pub marked: Vec<Stat>,
    /// Processes that could have it, and whose environment may not be read.
    pub private: Vec<Stat>,
}

impl Found {
    /// Whether it proves that nothing is there.
    pub fn is_empty(&self) -> bool {
        self.marked.is_empty() && self.private.is_empty()
    }

    /// What was found, for people: a handful of it.
    pub fn describe(&self) -> Processes {
        let private = self.private.iter().map(|stat| {
            let process = stat.describe();
            let text = format!(
                "{process}, which could be the vault's: its environment may not be read; end it, or reboot"
            );
            (stat.id.pid, text)
        });
        Processes::of(self.marked.iter().map(Stat::described).chain(private))
    }
}

/// Searches twice: a process that forks and ends while the list is read can slip through one search.
pub fn search(marker: &str, scope: &Scope) -> io::Result<Found> {
    let found = search_once(marker, scope)?;
    if found.is_empty() { search_once(marker, scope) } else { Ok(found) }
}

fn search_once(marker: &str, scope: &Scope) -> io::Result<Found> {
    let wanted = format!("{MARKER}={marker}");
    let own = std::process::id();
    let all = all_processes()?;
    let mut found = Found::default();
    let mut to_look_at = Vec::new();
    for stat in &all {
        // A keeper has the marker too. One that has started something is named by the record; the others wait
        // for their turn as this one did, and have started nothing.
        let can_be_ours = stat.id.pid != own && !stat.is_kernel && stat.name != KEEPER_NAME;
        if can_be_ours && has_user(stat.id, scope.uid)? {
            to_look_at.push(stat);
        }
    }
    for looked in 0..=EMPTY_TRIES {
        let mut empty = Vec::new();
        for stat in to_look_at {
            match environment(stat.id.pid, &wanted)? {
                Environment::Marked => found.marked.push(stat.clone()),
                Environment::Other => {}
                Environment::Empty => empty.push(stat),
                Environment::Private => {
                    if scope.could_be_ours(stat) && !is_of_another_keeper(stat, &all, &wanted)? {
                        found.private.push(stat.clone());
                    }
                }
            }
        }
        // A process that has ended keeps its number and loses its environment.
        empty.retain(|stat| goes_on(stat));
        to_look_at = empty;
        if to_look_at.is_empty() || looked == EMPTY_TRIES {
            break;
        }
        std::thread::sleep(EMPTY_PAUSE);
    }
    // Those that are still what they were when they were looked at. One that has ended and waits for its parent
    // shows its environment to nobody.
    found.marked.retain(goes_on);
    found.private.retain(goes_on);
    Ok(found)
}

/// The keeper of an account that has started something, by its arguments, which everybody may read: who it is, in the
/// words of the operator contract. For where another user's lock file was removed and nothing else tells of the vault.
/// Who wants to can make such a process up, and thereby keep down a vault that nothing is recorded of.
pub fn find_keeper(marker: &str) -> io::Result<Option<String>> {
    let wanted = format!("--marker={marker}");
    let all = all_processes()?;
    for keeper in all.iter().filter(|stat| stat.name == KEEPER_NAME && stat.id.pid != std::process::id()) {
        let arguments = fs::read(format!("/proc/{}/cmdline", keeper.id.pid)).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0);
        let home = arguments.clone().find_map(|argument| argument.strip_prefix(b"--home="));
        // One that waits for its turn, as this one did, has started nothing.
        let vault = all.iter().find(|stat| stat.parent == keeper.id.pid);
        if let Some(vault) = vault.filter(|_| arguments.any(|argument| argument == wanted.as_bytes())) {
            let home = String::from_utf8_lossy(home.unwrap_or_default()).escape_default().to_string();
            let uid = fs::metadata(format!("/proc/{}", keeper.id.pid)).map(|process| process.uid());
            let uid = uid.map_or_else(|_| "unknown".to_owned(), |uid| uid.to_string());
            let (keeper, vault) = (keeper.id.pid, vault.id.pid);
            return Ok(Some(format!("home={home} uid={uid} keeper={keeper} vault={vault}")));
        }
    }
    Ok(None)
}

/// Whether a process is below the keeper of another account: whoever descends from one stays below it, and
/// nobody else gets there.
fn is_of_another_keeper(stat: &Stat, all: &[Stat], wanted: &str) -> io::Result<bool> {
    for above in ancestors(stat, all).filter(|above| above.name == KEEPER_NAME) {
        if matches!(environment(above.id.pid, wanted)?, Environment::Other) && goes_on(above) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The processes above one, as far as they are known.
fn ancestors<'a>(stat: &Stat, all: &'a [Stat]) -> impl Iterator<Item = &'a Stat> + use<'a> {
    let parent = |pid: u32| all.iter().find(|other| other.id.pid == pid);
    // The list is not of one moment, so it could hold a circle.
    std::iter::successors(parent(stat.parent), move |above| parent(above.parent)).take(all.len())
}

/// Whether a process has not ended, as far as that can be seen.
fn goes_on(stat: &Stat) -> bool {
    stat.id.has_ended().map_or(true, |ended| !ended)
}

/// What a process's environment says.
enum Environment {
    Marked,
    Other,
    /// There is none: it was cleared, or the process has ended or is just being executed.
    Empty,
    Private,
}

fn environment(pid: u32, wanted: &str) -> io::Result<Environment> {
    match fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) if environment.is_empty() => Ok(Environment::Empty),
        Ok(environment) => {
            let marked = environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
            Ok(if marked { Environment::Marked } else { Environment::Other })
        }
        Err(error) if is_gone(&error) => Ok(Environment::Other),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Environment::Private),
        Err(error) => Err(error),
    }
}

/// Whether one of a process's users is this one: the real, the effective or the saved.
pub(super) fn has_user(process: ProcessId, uid: u32) -> io::Result<bool> {
    Ok(users(process)?.contains(&uid))
}

/// A process's users; none when it is no more.
pub(super) fn users(process: ProcessId) -> io::Result<Vec<u32>> {
    let status = match fs::read(format!("/proc/{}/status", process.pid)) {
        Ok(status) => status,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let status = String::from_utf8_lossy(&status);
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    Ok(users.split_ascii_whitespace().filter_map(|user| user.parse().ok()).collect())
}

/// The audit session of a process (`self` or a pid), which everybody may read; `None` where the kernel keeps
/// none, or when the process is no more.
pub(super) fn audit_session(process: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/{process}/sessionid")).ok()?.trim().parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::{
        process::{Child, Command},
        sync::{PoisonError, RwLock, RwLockWriteGuard},
    };

    /// A process with a marker, ended with the test.
    struct Marked(Child);

    impl Marked {
        fn start(marker: &str) -> Self {
            let child = Command::new("sleep").arg("1000").env(MARKER, marker).spawn().expect("a process");
            Self(child)
        }
    }

    impl Drop for Marked {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// A process that nobody but root may look into, as `ssh-agent` is one: its file may not be read.
    pub(in crate::process) struct Private {
        child: Child,
        _alone: RwLockWriteGuard<'static, ()>,
    }

    /// Held for reading by tests of this program that a private process of another test's would disturb.
    pub(in crate::process) static NO_PRIVATE: RwLock<()> = RwLock::new(());

    impl Private {
        pub(in crate::process) fn start(folder: &std::path::Path) -> Self {
            let program = folder.join("private");
            fs::copy("/bin/sleep", &program).expect("copy");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o111);
            fs::set_permissions(&program, mode).expect("chmod");
            let alone = NO_PRIVATE.write().unwrap_or_else(PoisonError::into_inner);
            let child = Command::new(program).arg("1000").spawn().expect("a process");
            let private = Self { child, _alone: alone };
            let environment = format!("/proc/{}/environ", private.child.id());
            while fs::read(&environment).is_ok() {
                std::thread::yield_now();
            }
            private
        }

        pub(in crate::process) fn id(&self) -> ProcessId {
            ProcessId::of(self.child.id()).expect("not waited for")
        }
    }

    impl Drop for Private {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn stat(start_ticks: u64, name: &str) -> Stat {
        let id = ProcessId { pid: std::process::id(), start_ticks };
        Stat { id, name: name.into(), state: 'S', parent: 1, is_kernel: false }
    }

    #[test]
    fn a_marked_process_is_found_even_while_it_is_being_executed() {
        // `spawn` returns in the middle of the execution, a moment before there is an environment.
        for round in 0..20 {
            let marker = format!("search-a-{round}-{}", std::process::id());
            let marked = Marked::start(&marker);
            let found = search(&marker, &Scope::unrecorded()).expect("searched");
            assert_eq!(found.marked.len(), 1, "{found:?}");
            assert_eq!(found.marked[0].id.pid, marked.0.id());
            assert!(found.describe().what.contains("sleep"), "{found:?}");
        }
    }

    #[test]
    fn another_users_process_is_never_taken_for_ours() {
        let marker = format!("search-b-{}", std::process::id());
        let _marked = Marked::start(&marker);
        let scope = Scope { uid: u32::MAX - 7, ..Scope::unrecorded() };
        assert!(search(&marker, &scope).expect("searched").marked.is_empty());
    }

    #[test]
    fn a_private_process_counts_unless_it_is_older_or_of_another_session() {
        let own = audit_session("self");
        let scope = Scope { uid: 0, since_ticks: 10, audit_session: own, vaults_only: false };
        assert!(scope.could_be_ours(&stat(10, "ssh-agent")));
        assert!(!scope.could_be_ours(&stat(9, "ssh-agent")));
        if own.is_some() {
            // One that was set: 0 is never given to a login.
            let other = Scope { audit_session: Some(0), ..scope };
            assert!(!other.could_be_ours(&stat(10, "ssh-agent")));
        }
    }

    #[test]
    fn a_session_that_was_never_set_excludes_nobody_since_whoever_has_it_may_set_it() {
        let never_set = u32::MAX;
        for (ours, theirs, is_another) in [
            (Some(5), Some(19), true),
            // What was set cannot be unset.
            (Some(5), Some(never_set), true),
            (Some(5), Some(5), false),
            (Some(never_set), Some(19), false),
            (Some(never_set), Some(never_set), false),
            (None, Some(19), false),
            (Some(5), None, false),
        ] {
            assert_eq!(is_of_another_session(ours, || theirs), is_another, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn with_nothing_recorded_a_private_process_counts_only_by_a_vaults_name() {
        let scope = Scope::unrecorded();
        assert!(!scope.could_be_ours(&stat(10, "ssh-agent")));
        assert!(scope.could_be_ours(&stat(10, "vault")));
    }

    #[test]
    fn a_private_process_is_seen_as_one_that_could_be_ours() {
        // Nothing is private to root.
        if rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().expect("folder");
        let private = Private::start(folder.path());
        let scope =
            Scope { vaults_only: false, since_ticks: private.id().start_ticks, ..Scope::unrecorded() };
        let found = search("search-c", &scope).expect("searched");
        assert_eq!(found.private.iter().map(|stat| stat.id).collect::<Vec<_>>(), [private.id()]);
        assert!(found.describe().what.contains("end it, or reboot"), "{found:?}");
        let later = Scope { since_ticks: private.id().start_ticks + 1, ..scope };
        assert!(search("search-c", &later).expect("searched").is_empty());
        assert!(search("search-c", &Scope::unrecorded()).expect("searched").is_empty());
    }

    #[test]
    fn the_processes_above_one_are_followed_and_a_circle_ends() {
        let of = |pid, parent| Stat { id: ProcessId { pid, start_ticks: 1 }, parent, ..stat(1, "a") };
        let all = [of(1, 0), of(2, 1), of(3, 2), of(8, 9), of(9, 8)];
        let above = |process: &Stat| ancestors(process, &all).map(|stat| stat.id.pid).collect::<Vec<_>>();
        assert_eq!(above(&of(4, 3)), [3, 2, 1]);
        assert_eq!(above(&of(7, 8)).len(), all.len());
    }

    #[test]
    fn many_are_described_by_the_first_few() {
        let told = Processes::of((0..9).map(|number| (number, number.to_string())));
        assert_eq!((told.what.as_str(), told.pids.len()), ("0; 1; 2; 3; 4; and others", 5));
    }
}
