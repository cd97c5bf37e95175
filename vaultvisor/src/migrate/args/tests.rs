//! The args-migration: what it is told, what is taken from it, and T27.

use super::*;
use crate::{error_chain::Chained, process::PASSED_ON};
use rustix::process::Pid;
use std::os::unix::fs::PermissionsExt;

struct Program {
    folder: tempfile::TempDir,
}

impl Program {
    fn new(script: &str) -> Self {
        let program = Self { folder: tempfile::tempdir().expect("folder") };
        fs::write(program.path(), script).expect("written");
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o555)).expect("mode");
        program
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    async fn run(&self, limit: Duration) -> Result<Vec<String>, ArgsError> {
        let (from, to) = ("1.0".parse().expect("version"), "2.0".parse().expect("version"));
        let args = ["--old".to_owned(), "ü \"\n".to_owned()];
        run(&self.path(), &Input { network: "dev", from_version: &from, to_version: &to, args: &args }, limit)
            .await
    }

    async fn refused(&self) -> String {
        let error = self.run(Duration::from_secs(60)).await.expect_err("refused");
        assert!(error.is_of_the_release(), "{error:?}");
        Chained(&error).to_string()
    }
}

#[tokio::test]
async fn it_is_told_who_it_is_for_and_what_it_prints_are_the_arguments() {
    let program = Program::new(
        "#!/bin/sh\nread -r line\nprintf '%s' \"$line\" >\"$(dirname \"$0\")/told\"\nprintf '[\"--new\", \"\\\\u0061\"]\\n'\n",
    );
    assert_eq!(program.run(Duration::from_secs(60)).await.expect("new ones"), ["--new", "a"]);
    let told = fs::read(program.folder.path().join("told")).expect("told");
    let told: serde_json::Value = serde_json::from_slice(&told).expect("JSON");
    let expected = serde_json::json!({
        "network": "dev", "from_version": "1.0", "to_version": "2.0", "args": ["--old", "ü \"\n"],
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn t27_one_that_fails_says_how_and_why() {
    let said = Program::new("#!/bin/sh\necho 'no such key' >&2\necho '[]'\nexit 3\n").refused().await;
    assert!(said.contains("exit status: 3") && said.contains("no such key"), "{said}");
    let said = Program::new("#!/bin/sh\nkill -9 $$\n").refused().await;
    assert!(said.contains("signal: 9"), "{said}");
    let said = Program::new("#!/nowhere\n").refused().await;
    assert!(said.contains("cannot be executed"), "{said}");
}

#[tokio::test]
async fn t27_one_that_hangs_is_killed_with_all_that_it_started() {
    let program = Program::new("#!/bin/sh\necho $$ >\"$(dirname \"$0\")/pid\"\nsleep 1000 &\nsleep 1000\n");
    // Long enough that it has written its number.
    let limit = Duration::from_secs(2);
    let hung = program.run(limit).await.expect_err("it hangs");
    assert!(
        matches!(hung, ArgsError::Program(ProgramError::TimedOut { .. })) && hung.is_of_the_release(),
        "{hung:?}"
    );
    let group = fs::read_to_string(program.folder.path().join("pid")).expect("it ran");
    let group = Pid::from_raw(group.trim().parse().expect("a number")).expect("a pid");
    for _ in 0..1000 {
        if rustix::process::test_kill_process_group(group).is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("something of it lives");
}

#[tokio::test]
async fn t27_garbage_is_refused_and_says_what_it_is() {
    for (printed, found) in [
        ("", "nothing"),
        ("--new", "something else"),
        ("{}", "something else"),
        ("[1]", "something else"),
        ("[\"a\"", "something else"),
        ("[\"a\"] [\"b\"]", "something else"),
        ("[\"\\\\u0000\"]", "NUL"),
    ] {
        let said = Program::new(&format!("#!/bin/sh\nprintf -- '{printed}'\n")).refused().await;
        assert!(said.contains(found), "{printed:?}: {said}");
    }
    let endless = Program::new("#!/bin/sh\nexec yes\n").refused().await;
    assert!(endless.contains("bytes"), "{endless}");
    let many =
        Program::new("#!/bin/sh\nprintf '[\"\"'; yes ',\"\"' | head -n 5000; printf ']'\n").refused().await;
    assert!(many.contains("5001 arguments"), "{many}");
}

#[tokio::test]
async fn it_sees_nothing_of_our_environment_that_it_should_not() {
    let program = Program::new("#!/bin/sh\nenv | cut -d= -f1 | sort >\"$(dirname \"$0\")/env\"\necho '[]'\n");
    program.run(Duration::from_secs(60)).await.expect("nothing");
    let seen = fs::read_to_string(program.folder.path().join("env")).expect("written");
    for name in seen.lines().filter(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)) {
        assert!(PASSED_ON.contains(&name), "{name} was passed on");
    }
}

#[test]
fn a_revision_is_never_overwritten_and_comes_back_as_it_was() {
    let folder = tempfile::tempdir().expect("folder");
    let revisions = Revisions::new(folder.path());
    let (first, second) = (vec!["--a".to_owned(), "ü\n".to_owned()], vec![]);
    assert_eq!(revisions.newest().expect("none"), 0);
    assert_eq!(revisions.store(&first).expect("stored"), 1);
    assert_eq!(revisions.store(&first).expect("the same"), 1);
    fs::write(folder.path().join("args/.new"), "left by a crash").expect("written");
    assert_eq!(revisions.store(&second).expect("stored"), 2);
    assert_eq!(revisions.store(&first).expect("stored"), 3);
    assert_eq!(revisions.load(1).expect("there"), first);
    assert_eq!(revisions.load(2).expect("there"), second);
    fs::remove_file(revisions.path(1)).expect("removed");
    assert!(revisions.load(1).expect_err("gone").to_string().contains("1.json"));
    assert_eq!(revisions.store(&second).expect("stored"), 4, "a number is not used again");
    fs::write(folder.path().join("args/7.json"), "{}").expect("written");
    assert!(revisions.load(7).is_err());
}

#[test]
fn the_longest_arguments_that_are_taken_are_kept_and_come_back() {
    let folder = tempfile::tempdir().expect("folder");
    let longest = vec!["\u{1}".repeat(MAX_ARGS_BYTES / 2 - 1), "\u{1}".repeat(MAX_ARGS_BYTES / 2 - 1)];
    let printed = serde_json::to_vec(&longest).expect("text");
    assert_eq!(parse(&printed).as_ref(), Ok(&longest));
    let revisions = Revisions::new(folder.path());
    let number = revisions.store(&longest).expect("stored");
    assert_eq!(revisions.load(number).expect("it is its own"), longest);
}

#[test]
fn what_a_program_printed_without_end_is_not_repeated_in_the_refusal() {
    let said = parse(format!("{:?}", "x".repeat(500_000)).as_bytes()).expect_err("a text is no array");
    assert!(said.len() < 1000 && said.contains("string \"xxx"), "{} bytes", said.len());
}

#[test]
fn what_a_crash_left_of_a_revision_is_taken_over_or_removed() {
    let folder = tempfile::tempdir().expect("folder");
    let revisions = Revisions::new(folder.path());
    let args = vec!["--new".to_owned()];
    let names = || -> Vec<_> {
        let entries = fs::read_dir(folder.path().join("args")).expect("there");
        entries.map(|entry| entry.expect("listed").file_name()).collect()
    };
    // Before it had its number.
    fs::create_dir(folder.path().join("args")).expect("folder");
    fs::write(revisions.new_path(), "half").expect("left");
    assert_eq!(revisions.store(&args).expect("stored"), 1);
    assert_eq!(names(), ["1.json"]);
    // And after.
    fs::hard_link(revisions.path(1), revisions.new_path()).expect("left");
    assert_eq!(revisions.store(&args).expect("the same"), 1);
    assert_eq!(names(), ["1.json"]);
}
