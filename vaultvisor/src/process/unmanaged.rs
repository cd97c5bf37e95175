//! Finding a vault that somebody started by hand, before ours is started beside it.
//!
//! Two signs, because neither is always there. A process whose arguments name the same key: the values of
//! `--keyfile`, `--keyname` and their like are what two vaults of one account have in common, and everybody
//! may read arguments. And the client's own pid file, `<tmp>/<runtime>_<account>.pid`, which names a process
//! called as the client is (`vault/src/process.rs` of the interbtc clients). Whoever may start processes here
//! can make both up; that blocks the vault, with a pid that is named, and starts nothing. So that nobody can keep down a
//! vault that has run, only the first start of a boot looks at what every user runs; see [`Whose`].

mod bounded;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::{
        ffi::OsStringExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    MARKER, ProcessId, adopt,
    id::{Stat, all_processes, is_gone},
    protocol::Place,
    search::{KEEPER_NAME, has_user, users},
};
use crate::artifact::BINARY_NAME;
use bounded::{At, Hanging, Position};

/// A look takes milliseconds, and a second or two where the machine swaps: what has not answered in this time hangs.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// Those of all vaults of this vaultvisor: each of them looks at the same processes.
static HANGING: Hanging = Hanging::none();

/// The arguments that choose a client's key.
const KEY_ARGS: [&str; 4] = ["--keyfile", "--keyname", "--keyring", "--keyuri"];
/// The one of them that names a file.
const KEY_FILE: &str = "--keyfile";
/// A pid and a newline.
const MAX_PID_FILE_BYTES: u64 = 64;
/// Digits of an account in a marker.
const ACCOUNT_DIGITS: usize = 64;

/// A vault that no vaultvisor started, or a process that could be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmanaged {
    /// Its process.
    pub pid: u32,
    /// How it was recognised, and what to do.
    pub why: String,
}

/// Whose processes are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's: before the first start of a boot, when anybody may have started a vault by hand.
    Everybodys,
    /// Those of these users only: once a vault of ours has run in this boot, one that was there before it would have been
    /// found then, and one that came later was started by somebody who could use the keys, or wants to do harm.
    Of(BTreeSet<u32>),
}

impl Whose {
    /// Those of our own user, of root and of the owner of the key file that these arguments name.
    pub fn trusted(args: &[String]) -> Self {
        let key_file = key_args(args.iter().map(OsString::from)).remove(KEY_FILE);
        let owner = key_file.and_then(|file| fs::metadata(file).ok()).map(|metadata| metadata.uid());
        Self::Of([0, rustix::process::getuid().as_raw()].into_iter().chain(owner).collect())
    }

    fn includes(&self, process: ProcessId) -> bool {
        match self {
            Self::Everybodys => true,
            // One whose user cannot be seen counts.
            Self::Of(ours) => {
                users(process).map_or(true, |theirs| theirs.iter().any(|user| ours.contains(user)))
            }
        }
    }
}

/// Looks for a vault that is in the way of a start at this place, at everybody's processes before the first one of a boot.
/// Waits for ten seconds at most: what cannot be looked at in that time is in the way.
pub fn in_the_way(place: &Place, args: &[String]) -> io::Result<Option<Unmanaged>> {
    let (place, args) = (place.clone(), args.to_owned());
    let looked = HANGING.look(LOOK_LIMIT, move |position| {
        let whose = if adopt::has_run(&place) { Whose::trusted(&args) } else { Whose::Everybodys };
        find_unmanaged(&args, &place.marker, &whose, position)
    });
    looked.unwrap_or_else(|at| unanswered(at, LOOK_LIMIT))
}

/// What is said of a look that hangs.
fn unanswered(at: At, limit: Duration) -> io::Result<Option<Unmanaged>> {
    let limit = limit.as_secs();
    let what = match at {
        At::Process(pid) => {
            let process = Stat::of(pid).ok().flatten();
            let process = process.map_or_else(|| format!("process {pid}"), |stat| stat.describe());
            let why = format!(
                "{process}: its arguments could not be read within {limit} s, so it cannot be seen whether it is a vault of \
                 this account that no vaultvisor started; see what it waits for, or end it"
            );
            return Ok(Some(Unmanaged { pid, why }));
        }
        At::KeyFile => "the key file that the arguments name, and the records of earlier runs,",
        At::PidFiles => "the pid files of clients in the folders of temporary files",
    };
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what} could not be read within {limit} s")))
}

/// Looks for a vault of this account (that of the marker, `<genesis>-<account>`) or with the key that these
/// arguments name. What a keeper keeps is not looked at here: that is for the lock to tell.
fn find_unmanaged(
    args: &[String],
    marker: &str,
    whose: &Whose,
    position: &Position,
) -> io::Result<Option<Unmanaged>> {
    let ours = key_args(args.iter().map(OsString::from));
    let processes = all_processes()?;
    let keepers: Vec<u32> =
        processes.iter().filter(|stat| stat.name == KEEPER_NAME).map(|stat| stat.id.pid).collect();
    for stat in &processes {
        let pid = stat.id.pid;
        let is_kept = keepers.contains(&pid) || keepers.contains(&stat.parent);
        // Whose they are first: what somebody else has made unreadable is not waited for.
        if pid == std::process::id() || is_kept || !whose.includes(stat.id) {
            continue;
        }
        position.is(At::Process(pid));
        let theirs = key_args(read_args(pid)?.into_iter());
        if has_same_key(&ours, &theirs, pid) && !is_managed(pid) {
            let names: Vec<&str> = ours.keys().copied().collect();
            return Ok(Some(found(stat, &format!("has the same {}", names.join(" and ")))));
        }
    }
    position.is(At::PidFiles);
    let account = marker.get(marker.len().saturating_sub(ACCOUNT_DIGITS)..).unwrap_or_default();
    let mut folders = vec![PathBuf::from("/tmp"), std::env::temp_dir()];
    folders.dedup();
    for folder in folders {
        for (path, pid) in pid_files(&folder, account) {
            let Some(stat) = processes.iter().find(|stat| stat.id.pid == pid) else { continue };
            let owner = fs::symlink_metadata(&path).map(|metadata| metadata.uid());
            let is_theirs = owner.is_ok_and(|owner| has_user(stat.id, owner).unwrap_or(true));
            let is_kept = keepers.contains(&stat.parent) || is_managed(pid);
            if stat.name == BINARY_NAME && is_theirs && !is_kept && whose.includes(stat.id) {
                return Ok(Some(found(stat, &format!("is named by {}", path.display()))));
            }
        }
    }
    Ok(None)
}

fn found(stat: &Stat, sign: &str) -> Unmanaged {
    let pid = stat.id.pid;
    let name: String = stat.name.chars().flat_map(char::escape_default).collect();
    let why = format!(
        "process {pid} ({name}) {sign}: it looks like a vault of this account that no vaultvisor started; \
         stop it first"
    );
    Unmanaged { pid, why }
}

/// The arguments of a process; none for one that has ended or is the kernel's.
fn read_args(pid: u32) -> io::Result<Vec<OsString>> {
    match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(text) => Ok(text.split(|byte| *byte == 0).map(|arg| OsString::from_vec(arg.to_vec())).collect()),
        Err(error) if is_gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The first of these arguments that chooses a key, if any does.
pub fn first_key_arg(args: &[String]) -> Option<&'static str> {
    let chooses = |arg: &String, name: &&str| {
        arg.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    args.iter().find_map(|arg| KEY_ARGS.into_iter().find(|name| chooses(arg, name)))
}

/// What arguments say of a key: `--name value` and `--name=value`.
fn key_args(args: impl Iterator<Item = OsString>) -> BTreeMap<&'static str, OsString> {
    let mut found = BTreeMap::new();
    let mut args = args;
    while let Some(arg) = args.next() {
        let bytes = arg.as_encoded_bytes();
        for name in KEY_ARGS {
            match bytes.strip_prefix(name.as_bytes()) {
                Some([]) => {
                    found.extend(args.next().map(|value| (name, value)));
                    break;
                }
                Some([b'=', value @ ..]) => {
                    found.insert(name, OsString::from_vec(value.to_vec()));
                    break;
                }
                _ => {}
            }
        }
    }
    found
}

fn has_same_key(
    ours: &BTreeMap<&'static str, OsString>,
    theirs: &BTreeMap<&'static str, OsString>,
    pid: u32,
) -> bool {
    let same = |(name, value): (&&str, &OsString)| {
        theirs.get(*name).is_some_and(|other| {
            other == value || *name == KEY_FILE && is_same_file(value.as_ref(), other.as_ref(), pid)
        })
    };
    !ours.is_empty() && ours.iter().all(same)
}

/// Whether two paths name one file, the second as another process understands it.
fn is_same_file(ours: &Path, theirs: &Path, pid: u32) -> bool {
    let id = |path: &Path| path.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    let seen_by_them = Path::new("/proc").join(pid.to_string()).join("cwd").join(theirs);
    id(ours).is_some_and(|ours| id(&seen_by_them) == Some(ours))
}

/// Whether a vaultvisor started it, as far as its environment may be read.
fn is_managed(pid: u32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let ours =
        |variable: &[u8]| variable.strip_prefix(MARKER.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    environment.split(|byte| *byte == 0).any(ours)
}

/// The clients' pid files of an account, and the pids in them.
fn pid_files(folder: &Path, account: &str) -> Vec<(PathBuf, u32)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let named = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let address = name.to_str().and_then(|name| name.strip_suffix(".pid")?.rsplit_once('_'));
        let decoded = address.and_then(|(_, address)| address.parse::<subxt::utils::AccountId32>().ok());
        decoded.is_some_and(|decoded| hex::encode(decoded.0) == account)
    });
    named.filter_map(|entry| Some((entry.path(), read_pid(&entry.path())?))).collect()
}

fn read_pid(path: &Path) -> Option<u32> {
    // Others may have put it there: never through a link, and never waiting for it.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let mut text = String::new();
    file.take(MAX_PID_FILE_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{find_unmanaged as find_unmanaged_at, *};
    use std::process::{Child, Command};

    fn find_unmanaged(args: &[String], marker: &str, whose: &Whose) -> io::Result<Option<Unmanaged>> {
        find_unmanaged_at(args, marker, whose, &Position::at_beginning())
    }

    /// A process called `vault`, as one that somebody started by hand.
    struct Stranger(Child);

    impl Stranger {
        fn start(folder: &Path, args: &[&str], marker: Option<&str>) -> Self {
            let program = folder.join(BINARY_NAME);
            if !program.exists() {
                std::os::unix::fs::symlink("/bin/dash", &program).expect("link");
            }
            let mut command = Command::new(program);
            command.args(["-c", "read wait"]).arg("vault").args(args).current_dir(folder);
            command.stdin(std::process::Stdio::piped());
            if let Some(marker) = marker {
                command.env(MARKER, marker);
            }
            let child = command.spawn().expect("a process");
            while fs::read(format!("/proc/{}/environ", child.id())).expect("it runs").is_empty() {
                std::thread::yield_now();
            }
            Self(child)
        }
    }

    impl Drop for Stranger {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn args(keyfile: &Path, keyname: &str) -> Vec<String> {
        vec!["--keyfile".into(), keyfile.display().to_string(), format!("--keyname={keyname}"), "--x".into()]
    }

    #[test]
    fn t02_a_process_with_the_same_key_is_found_however_its_arguments_are_written() {
        let folder = tempfile::tempdir().expect("folder");
        let keyfile = folder.path().join("keys.json");
        fs::write(&keyfile, b"{}").expect("keys");
        let name = format!("key-{}", folder.path().display());
        assert_eq!(
            find_unmanaged(&args(&keyfile, &name), "g-a", &Whose::Everybodys).expect("searched"),
            None
        );
        // The keyfile relative to where it was started, and the name as a word of its own.
        let stranger = Stranger::start(folder.path(), &["--keyname", &name, "--keyfile=keys.json"], None);
        let found = find_unmanaged(&args(&keyfile, &name), "g-a", &Whose::Everybodys)
            .expect("searched")
            .expect("found");
        assert_eq!(found.pid, stranger.0.id());
        assert!(found.why.contains("--keyfile and --keyname"), "{}", found.why);
    }

    #[test]
    fn another_key_in_the_same_file_and_what_a_vaultvisor_started_are_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let keyfile = folder.path().join("keys.json");
        fs::write(&keyfile, b"{}").expect("keys");
        let _other = Stranger::start(folder.path(), &["--keyfile=keys.json", "--keyname=other"], None);
        let _managed = Stranger::start(folder.path(), &["--keyfile=keys.json", "--keyname=ours"], Some("m"));
        assert_eq!(
            find_unmanaged(&args(&keyfile, "ours"), "g-a", &Whose::Everybodys).expect("searched"),
            None
        );
        assert_eq!(find_unmanaged(&["--no-key".into()], "g-a", &Whose::Everybodys).expect("searched"), None);
    }

    #[test]
    fn t02_a_process_that_its_pid_file_names_is_found_by_its_account() {
        let folder = tempfile::tempdir().expect("folder");
        let account = sp_crypto_hashing::blake2_256(folder.path().as_os_str().as_encoded_bytes());
        let marker = format!("genesis-{}", hex::encode(account));
        let address = subxt::utils::AccountId32(account);
        let path = std::env::temp_dir().join(format!("kintsugi-parachain_{address}.pid"));
        let stranger = Stranger::start(folder.path(), &[], None);
        fs::write(&path, format!("{}\n", stranger.0.id())).expect("pid file");
        let found = find_unmanaged(&[], &marker, &Whose::Everybodys);
        let of_another = find_unmanaged(&[], "genesis-alice", &Whose::Everybodys);
        fs::write(&path, format!("{}\n", std::process::id())).expect("pid file");
        let of_another_program = find_unmanaged(&[], &marker, &Whose::Everybodys);
        fs::remove_file(&path).expect("remove");
        assert_eq!(found.expect("searched").expect("found").pid, stranger.0.id());
        assert_eq!(of_another.expect("searched"), None);
        assert_eq!(of_another_program.expect("searched"), None, "the pid was used again");
    }

    #[test]
    fn t02_once_a_vault_has_run_only_those_who_could_use_its_keys_can_be_in_its_way() {
        let folder = tempfile::tempdir().expect("folder");
        let keyfile = folder.path().join("keys.json");
        fs::write(&keyfile, b"{}").expect("keys");
        let name = format!("key-{}", folder.path().display());
        let stranger = Stranger::start(folder.path(), &["--keyname", &name, "--keyfile=keys.json"], None);
        let args = args(&keyfile, &name);
        let found = |whose| {
            let found = find_unmanaged(&args, "g-a", &whose).expect("searched");
            found.map(|unmanaged| unmanaged.pid)
        };
        let own = rustix::process::getuid().as_raw();
        assert_eq!(found(Whose::Of(BTreeSet::from([own]))), Some(stranger.0.id()));
        assert_eq!(found(Whose::Of(BTreeSet::from([u32::MAX - 7]))), None, "another user's");
        assert_eq!(found(Whose::Everybodys), Some(stranger.0.id()));

        // Our own user's, root's, and those of whoever owns the keys.
        assert_eq!(Whose::trusted(&[]), Whose::Of(BTreeSet::from([0, own])));
        let of_init = vec!["--keyfile=/proc/1/status".to_owned()];
        let owner = fs::metadata("/proc/1/status").expect("there").uid();
        assert_eq!(Whose::trusted(&of_init), Whose::Of(BTreeSet::from([0, own, owner])));
        assert_eq!(Whose::trusted(&args), Whose::Of(BTreeSet::from([0, own])));
    }

    #[test]
    fn t02_what_does_not_answer_is_in_the_way_and_is_named_with_its_state() {
        let own = std::process::id();
        let found = unanswered(At::Process(own), Duration::from_secs(10)).expect("a process").expect("named");
        assert_eq!(found.pid, own);
        assert!(found.why.starts_with(&format!("process {own} (")), "{}", found.why);
        assert!(found.why.contains("arguments could not be read within 10 s"), "{}", found.why);
        for at in [At::KeyFile, At::PidFiles] {
            let said = unanswered(at, Duration::from_secs(10)).expect_err("no process").to_string();
            assert!(said.ends_with("could not be read within 10 s"), "{said}");
        }
    }
}
