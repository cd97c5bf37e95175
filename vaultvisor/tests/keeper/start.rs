//! What is executed, with what, and when nothing is.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use sha2::{Digest, Sha256};
use vaultvisor::{
    process::{
        MARKER, ProcessId,
        handle::{Locked, Prepared, StartError, Task},
        protocol::{ExitStatus, PROTOCOL},
    },
    release::Checksum,
};

use super::site::{Site, WAITING, keeper, kill, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_is_dropped_before_go_has_started_nothing() {
    let site = Site::new("echo ran");
    drop(site.prepared().await.expect("prepared"));
    // The lock would be busy if the keeper had gone on; a second one that runs to its end is the proof.
    let (status, _) = site.started().await.ended().await.expect("seen");
    assert_eq!((status, site.printed("ran").matches("ran").count()), (ExitStatus::Code(0), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_gets_its_arguments_a_small_environment_and_the_name_of_its_file() {
    let mut site = Site::new(r#"printf '<%s>' "$@"; echo; env; cat /proc/$$/comm; echo end"#);
    site.spec.args.extend(["name", "a b", "", "--", "--lock=x", "ü\n"].map(String::from));
    site.started().await.ended().await.expect("seen");
    let printed = site.printed("end");
    assert!(printed.starts_with("<a b><><--><--lock=x><ü\n>\n"), "{printed}");
    assert!(printed.contains("GIVEN=a value\n") && printed.ends_with("vault\nend\n"), "{printed}");
    assert!(printed.contains(&format!("{MARKER}={}\n", site.spec.place.marker)), "{printed}");
    for line in printed.lines().skip(2) {
        let Some((name, _)) = line.split_once('=') else { continue };
        let allowed = ["PATH", "HOME", "USER", "LANG", "TZ", "GIVEN", MARKER, "PWD", "OLDPWD", "SHLVL", "_"];
        assert!(allowed.contains(&name), "{name} was passed on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_inherits_its_lock_and_nothing_that_others_left_open() {
    let site = Site::new("for fd in /proc/$$/fd/*; do readlink $fd; done; echo end");
    // Not close-on-exec, as a shell's redirections are.
    let left_open = rustix::io::dup(fs::File::create(site.path("left-open")).expect("file")).expect("dup");
    site.started().await.ended().await.expect("seen");
    drop(left_open);
    let printed = site.printed("end");
    assert!(printed.contains("account.lock"), "{printed}");
    // The three standard ones, the lock, and at most one of the shell's own.
    let open: Vec<&str> =
        printed.lines().filter(|line| line.starts_with('/') && !line.ends_with("/fd")).collect();
    assert!(
        open.iter().all(|path| ["null", "output.fifo", "account.lock"].iter().any(|end| path.ends_with(end))),
        "{open:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_keeper_of_an_account_starts_nothing_and_names_the_first() {
    let site = Site::new(WAITING);
    let vault = site.started().await;
    let refused = site.prepared().await.expect("prepared").start().await.expect_err("a second vault");
    let StartError::Busy { holder } = refused else { panic!("{refused:?}") };
    assert!(holder.contains(&format!("vault={}", vault.vault.pid)), "{holder}");
    assert!(holder.contains(&format!("home={}", site.folder.path().display())), "{holder}");
    vault.stopper.stop();
    vault.ended().await.expect("seen");
    let again = site.started().await;
    again.stopper.stop();
    again.ended().await.expect("seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_is_not_the_one_of_its_checksum_is_refused() {
    let site = Site::new("echo ran");
    let mut other = fs::read("/bin/dash").expect("dash");
    *other.last_mut().expect("a byte") ^= 1;
    fs::remove_file(site.path("store/vault")).expect("remove");
    fs::write(site.path("store/vault"), other).expect("tamper");
    let refused = site.prepared().await.expect_err("other bytes").to_string();
    assert!(refused.contains(&format!("expected checksum {}", site.spec.checksum)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_is_replaced_after_it_was_proved_is_not_executed() {
    for tamper in [
        |path: &Path| {
            fs::remove_file(path).expect("remove");
            fs::copy("/bin/true", path).expect("replace");
        },
        |path: &Path| {
            fs::remove_file(path).expect("remove");
            std::os::unix::fs::symlink("/bin/true", path).expect("link");
        },
        |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
            fs::OpenOptions::new().append(true).open(path).and_then(|file| file.set_len(100)).expect("cut");
        },
    ] {
        let site = Site::new("echo ran");
        let prepared = site.prepared().await.expect("prepared");
        tamper(&site.path("store/vault"));
        let refused = prepared.start().await.expect_err("a changed file");
        assert!(
            matches!(&refused, StartError::Hindered(why) if why.contains("changed or replaced")),
            "{refused:?}"
        );
    }
}

/// Both are too late for whoever only hashes: nobody can tell that they will not change it again.
#[tokio::test(flavor = "multi_thread")]
async fn t21_a_binary_that_others_could_change_after_its_hash_was_taken_is_not_executed() {
    for part in ["store", "store/vault"] {
        for mode in [0o575, 0o557] {
            let site = Site::new("echo ran");
            fs::set_permissions(site.path(part), fs::Permissions::from_mode(mode)).expect("chmod");
            let refused = site.prepared().await.expect_err("anybody could").to_string();
            assert!(
                refused.contains(&format!("{part} can be written by others: found mode {mode:o}")),
                "{refused}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t21_another_users_binary_is_not_executed_although_its_bytes_are_right() {
    if !rustix::process::geteuid().is_root() {
        println!("not root: no other user can be tried");
        return;
    }
    for part in ["store", "store/vault"] {
        let site = Site::new("echo ran");
        std::os::unix::fs::chown(site.path(part), Some(65_534), None).expect("chown");
        let refused = site.prepared().await.expect_err("its owner could change it").to_string();
        assert!(refused.contains("belongs to user 65534, expected 0"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t30_under_a_lock_whose_file_was_removed_or_replaced_meanwhile_nothing_is_executed() {
    for replaced in [false, true] {
        let site = Site::new("echo ran");
        let locked = site.prepared().await.expect("prepared").lock().await.expect("locked");
        fs::remove_file(&site.spec.place.lock).expect("remove");
        if replaced {
            fs::write(&site.spec.place.lock, b"").expect("another");
        }
        let refused = locked.start().await.expect_err("another could have the other lock");
        let StartError::NotGone(left) = refused else { panic!("{refused:?}") };
        assert!(left.what.contains("removed or replaced"), "{left:?}");
        assert_eq!(site.log(), "");
        // Nothing of it stands in the way of the next one.
        site.started().await.ended().await.expect("seen");
        assert_eq!(site.printed("ran"), "ran\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_executed_is_reported_and_the_lock_is_free_again() {
    let mut site = Site::new("");
    let text = b"\x7fELF but not really";
    fs::remove_file(site.path("store/vault")).expect("remove");
    fs::write(site.path("store/vault"), text).expect("write");
    fs::set_permissions(site.path("store/vault"), fs::Permissions::from_mode(0o555)).expect("chmod");
    site.spec.checksum = Checksum(Sha256::digest(text).into());
    for _ in 0..2 {
        let refused = site.prepared().await.expect("prepared").start().await.expect_err("not a program");
        assert!(
            matches!(&refused, StartError::Failed(why) if why.contains("Exec format error")),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_this_machine_lacks_at_a_start_or_a_migration_is_no_fault_of_the_release() {
    let mut site = Site::new("echo ran");
    site.set_migration("#!/bin/sh\necho migrated\n");
    for migrates in [false, true] {
        let mut locked = locked_by(keeper(), &site).await;
        let pid = Pid::from_raw(keeper_of(&site).pid.cast_signed());
        // It can open nothing more, and still watch the two that it does.
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(3), maximum: Some(3) }).expect("a lower limit");
        let refused = match migrates {
            false => locked.start().await.expect_err("no pipe to be had"),
            true => locked.carry_out(Task::Migrate).await.expect_err("no folder to be opened"),
        };
        let what = "Too many open files";
        assert!(matches!(&refused, StartError::Hindered(why) if why.contains(what)), "{refused:?}");
    }
    assert_eq!(site.log(), "");
    site.started().await.ended().await.expect("seen");
    assert_eq!(site.printed("ran"), "ran\n", "nothing of it stands in the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_and_a_vaultvisor_of_two_versions_refuse_each_other_and_say_what_to_do() {
    // A keeper that was installed over the one of a vaultvisor that still runs.
    let mut site = Site::new(WAITING);
    site.spec.protocol = PROTOCOL + 1;
    let refused = site.prepared().await.expect_err("another protocol").to_string();
    let (own, other) = (format!("keeper speaks protocol {PROTOCOL}"), format!("vaultvisor {}", PROTOCOL + 1));
    assert!(refused.contains(&own) && refused.contains(&other) && refused.contains("SIGQUIT"), "{refused}");

    // And one that is older than this vaultvisor.
    let site = Site::new(WAITING);
    for said in
        [r#"{"report": "ready", "warning": null}"#, r#"{"report": "ready", "protocol": 99, "warning": null}"#]
    {
        let keeper = site.path("old-keeper");
        let script = format!("#!/bin/dash\necho '{said}' >&0\nread command\n");
        fs::write(&keeper, script).expect("write");
        fs::set_permissions(&keeper, fs::Permissions::from_mode(0o755)).expect("chmod");
        let refused = Prepared::new(&keeper, &site.next_spec(), &Default::default()).await;
        let refused = refused.expect_err("another protocol").to_string();
        assert!(refused.contains("install both programs"), "{refused}");
    }
    assert!(!site.spec.place.lock.exists(), "nothing was begun");
}

/// Without a word and without a process of its own: dash can lose a signal while it starts one.
const SILENT: &str = "read never";

/// A keeper that does as it is told up to the lock, and then this; and that when it is told to end.
fn keeper_that(site: &Site, does: &str, at_its_end: &str) -> PathBuf {
    let keeper = site.path("keeper");
    let text = format!(
        r#"#!/bin/dash
say() {{ echo "{{\"report\": \"$1\"$2}}" >&0; }}
hear() {{ dd bs=1 count=1 >/dev/null 2>&1; }}
end() {{ {at_its_end}; exit; }}
trap end TERM
say ready ', "protocol": {PROTOCOL}, "warning": null'
hear
say locked
{does}
"#
    );
    fs::write(&keeper, text).expect("write");
    fs::set_permissions(&keeper, fs::Permissions::from_mode(0o755)).expect("chmod");
    keeper
}

async fn locked_by(keeper: &Path, site: &Site) -> Locked {
    let prepared = Prepared::new(keeper, &site.next_spec(), &Default::default()).await.expect("prepared");
    prepared.lock().await.expect("locked")
}

/// The keeper of a site, by its arguments.
fn keeper_of(site: &Site) -> ProcessId {
    let lock = format!("--lock={}", site.spec.place.lock.display());
    let names =
        fs::read_dir("/proc").expect("/proc").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut pids = names.filter_map(|name| name.parse().ok());
    let is_it = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| arguments.contains(&lock))
    };
    pids.find(is_it).and_then(ProcessId::of).expect("a keeper")
}

/// What becomes of a start whose keeper says nothing for longer than is waited.
async fn after_a_long_silence(locked: Locked) -> StartError {
    let silence = async {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(31)).await;
        tokio::time::resume();
    };
    let (started, ()) = tokio::join!(biased; locked.start(), silence);
    started.expect_err("nothing was said in time")
}

const SAY_STARTED: &str = r#"say started ', "vault": {"pid": 2, "start_ticks": 1}, "at_ns": 1'; say died ', "status": {"code": 0}, "at_ns": 2'"#;

#[tokio::test]
async fn t27_a_keeper_that_was_told_to_execute_and_does_not_say_that_it_did_not_may_have() {
    for does in [
        "hear; exit 0",
        "hear; kill -9 $$",
        "hear; say locked; read never",
        "hear; echo garbage >&0; read never",
    ] {
        let site = Site::new("");
        let locked = locked_by(&keeper_that(&site, does, ":"), &site).await;
        let unheard = locked.start().await.expect_err("it says nothing of it");
        assert!(matches!(unheard, StartError::MayHaveLived { keeper: None, .. }), "{does}: {unheard:?}");
    }
    for late in [":", SAY_STARTED] {
        let site = Site::new("");
        let keeper = keeper_that(&site, SILENT, late);
        let unheard = after_a_long_silence(locked_by(&keeper, &site).await).await;
        assert!(matches!(unheard, StartError::MayHaveLived { keeper: None, .. }), "{late}: {unheard:?}");
    }
}

#[tokio::test]
async fn t27_a_keeper_that_says_too_late_that_it_has_executed_nothing_is_believed() {
    let site = Site::new("");
    let late = r#"say failed ', "reason": "no such program"'"#;
    let refusing = keeper_that(&site, SILENT, late);
    let refused = after_a_long_silence(locked_by(&refusing, &site).await).await;
    assert!(matches!(&refused, StartError::Failed(why) if why == "no such program"), "{refused:?}");

    // The real one says so when it is told to end before it has got to it.
    let site = Site::new("echo ran");
    let locked = locked_by(keeper(), &site).await;
    let keeper = keeper_of(&site);
    // It goes on when it is told to end, and finds that beside what it was told before.
    kill(keeper, Signal::STOP);
    until("it stands still", || {
        let status = fs::read_to_string(format!("/proc/{}/status", keeper.pid)).expect("it is there");
        status.contains("State:\tT")
    });
    let refused = after_a_long_silence(locked).await;
    assert!(
        matches!(&refused, StartError::Hindered(why) if why.contains("before it had executed")),
        "{refused:?}"
    );
    assert_eq!(site.log(), "");
}
