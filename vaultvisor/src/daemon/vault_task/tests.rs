use super::*;
use crate::{
    daemon::tests::{A, configured, shared},
    decide::Command,
};

#[tokio::test]
async fn a_state_whose_disk_does_not_answer_is_waited_for_by_no_vault_and_never_written_over_by_an_older_one()
{
    let home = tempfile::tempdir().expect("home");
    let folder = super::super::home::create_vault_folder(home.path(), "a").expect("folder");
    let (_chain, chain) = watch::channel(ChainStatus::default());
    let (_configured, configured) = watch::channel(configured(home.path(), A));
    let (_goal, goal) = watch::channel(Goal::Supervise);
    let (_orders, orders) = mpsc::channel(1);
    let (live, _live) = watch::channel(Live { recorded: Recorded::default(), trouble: None });
    let (progress, _progress) = watch::channel(Progress::Undecided);
    let channels = Channels { chain, configured, goal, orders, live, progress };
    let journal = VaultJournal::new(&folder);
    let shared = shared(home.path());
    let mut task = VaultTask::new(shared, journal.clone(), Recorded::default(), Vec::new(), None, channels);

    // An earlier write hangs.
    let (thawed, frozen) = std::sync::mpsc::channel();
    let older = journal.clone();
    task.writing = Some(tokio::task::spawn_blocking(move || {
        let _ = frozen.recv();
        older.store(&Recorded::default())
    }));
    let hold = Event::Operator(Command::Hold { reason: Some("audit".into()) });
    tokio::time::timeout(Duration::from_secs(20), task.step(&hold)).await.expect("in time");
    assert!(task.unwritten && journal.load().expect("readable").is_none(), "nothing overtakes it");
    let trouble = task.channels.live.borrow().trouble.clone().expect("it is said");
    assert!(trouble.contains("does not answer"), "{trouble}");

    thawed.send(()).expect("it waits");
    while task.unwritten {
        tokio::task::yield_now().await;
        task.write_again().await;
    }
    let hold = journal.load().expect("readable").expect("written").state.hold.expect("held");
    assert_eq!(hold.reason.as_deref(), Some("audit"));
}
