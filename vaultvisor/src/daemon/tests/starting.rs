//! Starts under a keeper that does as it is told up to the execution.

use tokio::sync::{mpsc, watch};

use super::{super::executor::Executor, *};
use crate::{
    decide::{
        Action, Event,
        data::{Arguments, DataLeft, Launch, Stage, Work},
        state::Build,
    },
    migrate::snapshot::{Snapshots, Stage as Reached},
    process::protocol::PROTOCOL,
    release::GenesisHash,
};

const MIGRATION: Checksum = Checksum([0xb; 32]);
/// Far beyond what a start takes; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

fn build(version: &str, checksum: u8) -> Build {
    let version = version.parse().expect("a version");
    Build { version, checksum: Checksum([checksum; 32]), uri: None, migrations: Default::default() }
}

/// Of what the snapshots are.
const DATA: &str = "/no/such/data";

/// Starts a release with work on its data, under a keeper that answers `G` with this: what is told of it, and how far
/// the snapshot's record says that it has come.
async fn start(answer: &str, of: impl FnOnce(u64) -> Launch) -> (Event, Reached) {
    start_on(Some(DATA), answer, of).await
}

/// The same where this is the data folder by now.
async fn start_on(data_dir: Option<&str>, answer: &str, of: impl FnOnce(u64) -> Launch) -> (Event, Reached) {
    let home = tempfile::tempdir().expect("home");
    let keeper = home.path().join("keeper");
    let script = format!(
        r#"#!/bin/dash
say() {{ echo "{{\"report\": \"$1\"$2}}" >&0; }}
say ready ', "protocol": {PROTOCOL}, "warning": null'
while :; do
    case "$(dd bs=1 count=1 2>/dev/null)" in
        L) say locked;;
        S | M | R) say worked ', "copied": 0, "bytes": 0, "not_kept": 0';;
        G) {answer}; exit;;
        *) exit;;
    esac
done
"#
    );
    fs::write(&keeper, script).expect("write");
    fs::set_permissions(&keeper, fs::Permissions::from_mode(0o755)).expect("chmod");
    let shared = Arc::new(Shared { keeper, ..parts(home.path(), Chronicle::open(home.path()).0) });
    let data_dir = data_dir.map_or(String::new(), |folder| format!(r#", "data_dir": "{folder}""#));
    let vault = format!(r#""a": {{"network": "dev", "args": []{data_dir}}}"#);
    let configured = configured(home.path(), &vault);
    let snapshots = Snapshots::new(&home::create_vault_folder(home.path(), "a").expect("folder"));
    let id = snapshots.begin(DATA.as_ref(), Some(&build("1.0.0", 1)), &build("2.0.0", 2), 0);
    let id = id.expect("begun").id;
    let (sender, mut events) = mpsc::channel(1);
    let (_configured, receiver) = watch::channel(configured);
    let executor = Executor::new(shared, receiver, Some(GenesisHash([9; 32])), sender);
    executor.carry_out(Action::Start(of(id)));
    let told = tokio::time::timeout(DEADLINE, events.recv()).await.expect("in time").expect("told");
    let reached = snapshots.read(id).expect("readable").expect("there").stage;
    (told, reached)
}

fn migrates(id: u64) -> Launch {
    let work = Some(Work { snapshot: id, migration: Some(MIGRATION) });
    Launch { build: build("2.0.0", 2), arguments: Arguments::Config(Vec::new()), restore: None, work }
}

fn restores(id: u64) -> Launch {
    Launch { build: build("1.0.0", 1), restore: Some(id), work: None, ..migrates(id) }
}

#[tokio::test]
async fn what_this_machine_lacks_at_an_execution_rejects_nobody_and_is_undone() {
    let lacks = r#"say failed ', "reason": "no process left", "by_machine": true'"#;
    for launch in [migrates, restores] {
        let expected = launch(1).build;
        let (told, _) = start(lacks, launch).await;
        let Event::NotExecuted { build, reason, data: DataLeft::Changed } = &told else { panic!("{told:?}") };
        assert_eq!((build, reason.as_str()), (&expected, "no process left"));
    }
}

#[tokio::test]
async fn t27_only_a_keeper_that_says_it_has_executed_nothing_has_data_restored() {
    let refuses = r#"say failed ', "reason": "no such program"'"#;
    for (answer, expected) in
        [(refuses, DataLeft::Changed), (":", DataLeft::Lived), ("kill -9 $$", DataLeft::Lived)]
    {
        for (launch, at_least) in
            [(migrates as fn(u64) -> Launch, Reached::Lived), (restores, Reached::Restored)]
        {
            let (told, reached) = start(answer, launch).await;
            let Event::StartFailed { data, .. } = &told else { panic!("{answer}: {told:?}") };
            assert_eq!((*data, reached), (expected, at_least), "{answer}: {told:?}");
        }
    }
}

#[tokio::test]
async fn what_is_being_made_ready_is_given_up_when_nobody_is_left_to_use_it() {
    let home = tempfile::tempdir().expect("home");
    let data = tempfile::tempdir().expect("data");
    fs::write(data.path().join("keys"), "1 2 3").expect("write");
    let vault = format!(r#""a": {{"network": "dev", "args": [], "data_dir": "{}"}}"#, data.path().display());
    home::create_vault_folder(home.path(), "a").expect("folder");
    let (to, from) = (build("2.0.0", 2), build("1.0.0", 1));
    let stage = Stage { to, from, arguments: Arguments::Config(Vec::new()), snapshot: true };
    for ends in [false, true] {
        let (sender, mut events) = mpsc::channel(1);
        let (_configured, receiver) = watch::channel(configured(home.path(), &vault));
        let executor = Executor::new(shared(home.path()), receiver, None, sender);
        executor.carry_out(Action::Stage(stage.clone()));
        let executor = (!ends).then_some(executor);
        let told = tokio::time::timeout(DEADLINE, events.recv()).await.expect("in time").expect("told");
        match ends {
            false => assert!(matches!(told, Event::Staged { snapshot: Some(1), .. }), "{told:?}"),
            true => assert!(matches!(told, Event::StageFailed { by_release: false, .. }), "{told:?}"),
        }
        drop(executor);
    }
    let snapshots = Snapshots::new(&home::vault_folder(home.path(), "a"));
    assert_eq!(snapshots.ids().expect("readable"), [1], "nothing of it is left");
}

#[tokio::test]
async fn a_folder_that_data_dir_was_changed_to_is_not_made_equal_to_the_snapshot_of_another() {
    for now in [Some("/no/such/other"), None] {
        for launch in [migrates as fn(u64) -> Launch, restores] {
            let (told, reached) = start_on(now, "exit", launch).await;
            let Event::WorkFailed { data, reason, .. } = &told else { panic!("{now:?}: {told:?}") };
            assert_eq!((*data, reached), (DataLeft::Untouched, Reached::Begun), "{now:?}: {told:?}");
            let said = [DATA, now.unwrap_or("not set"), "set it back"];
            assert!(said.iter().all(|said| reason.contains(said)), "{reason}");
        }
    }
}
