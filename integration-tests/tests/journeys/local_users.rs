//! T30: another user of the machine, who may write where nobody should, and plants links and files there.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use integration_tests::{
    child::{Child, Signal},
    command,
    journey::Journey,
    ledger,
    operator::{self, NETWORK, Operator, VAULT},
    other_user::{self, NOBODY},
    releases::Release,
    status::VaultStatus,
    tree,
    untouched::Untouched,
    wait,
};
use serde_json::json;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

/// A vault that ran, and vaultvisor stopped.
async fn stopped(journey: &Journey) -> Release {
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    Untouched::running(operator, &release).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(0));
    release
}

/// Vaultvisor refuses to start and says all of this, and has changed nothing where it could have.
async fn is_refused(operator: &Operator, places: &[&Path], said: &[&str]) {
    let see = || places.iter().map(|place| tree::see(place)).collect::<Vec<_>>();
    let before = see();
    let logs = tempfile::tempdir().expect("a temporary folder");
    let mut command = operator.vaultvisor_command();
    command.args(["run", "--config"]).arg(operator.config_path());
    let mut refused = Child::spawn("refused", command, logs.path());
    let (code, log) = (refused.end().await.code(), refused.stderr());
    assert_eq!(code, Some(2), "{said:?}: {log}");
    assert!(said.iter().all(|said| log.contains(said)), "not all of {said:?} is said: {log}");
    assert_eq!(see(), before, "{said:?}: something was changed");
}

/// Everything in a home that only Vaultvisor may have changed: the folders, and the files.
fn parts(home: &Path, release: &Release) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let vault = home.join("vaults").join(VAULT);
    let store = home.join("store");
    let network = fs::read_dir(home.join("networks")).expect("it was made");
    let network = network.flatten().map(|entry| entry.path()).find(|path| path.is_file());
    let program = store.join("sha256").join(&release.checksum);
    let folders = [
        home.to_owned(),
        store.clone(),
        store.join("sha256"),
        store.join("partial"),
        store.join("added"),
        home.join("networks"),
        home.join("vaults"),
        vault.join("log"),
        program.clone(),
        vault.clone(),
    ];
    let files = [
        program.join("vault"),
        network.expect("the chain was seen"),
        home.join("history.jsonl"),
        home.join("vaultvisor.lock"),
        vault.join("state.json"),
        vault.join("run.json"),
        vault.join("exit.json"),
        vault.join("log/vault.log"),
    ];
    (folders.into(), files.into())
}

#[tokio::test]
async fn t30_a_home_that_somebody_else_could_change_is_refused_at_start_with_what_to_do() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = stopped(&journey).await;
    let home = operator.home();
    let (folders, files) = parts(&home, &release);
    let outside = operator.folder().join("outside");

    for part in folders.iter().chain(&files) {
        let (name, metadata) =
            (part.to_str().expect("plain names"), fs::metadata(part).expect("it was made"));
        let mode = metadata.mode() & 0o7777;
        set_mode(part, mode | 0o002);
        let found = format!("found mode {:o}, expected {mode:o}", mode | 0o002);
        is_refused(operator, &[&home], &[name, "can be written by others", &found, "chmod"]).await;
        set_mode(part, mode);

        if other_user::can_be_tried() {
            other_user::owns(part);
            is_refused(operator, &[&home], &[name, "belongs to user 65534, expected 0", "chown"]).await;
            chown(part, Some(metadata.uid()), Some(metadata.gid())).expect("root may");
        }

        // The very same, by a link that leads out of the home: who made it could have it lead elsewhere.
        fs::rename(part, &outside).expect("ours");
        symlink(&outside, part).expect("ours");
        let places: &[&Path] = if part.is_dir() { &[&home, &outside] } else { &[&home] };
        is_refused(operator, places, &[name, "is a link, expected", "remove it"]).await;
        fs::remove_file(part).expect("the link");
        fs::rename(&outside, part).expect("ours");
    }
    for part in &folders {
        let mode = fs::metadata(part).expect("it is there").mode() & 0o7777;
        set_mode(part, mode | 0o020);
        is_refused(operator, &[&home], &[part.to_str().expect("plain names"), "chmod go-w"]).await;
        set_mode(part, mode);
    }
    // Who may rename the home's parent may put another home there.
    set_mode(operator.folder(), 0o777);
    is_refused(operator, &[&home], &[operator.folder().to_str().expect("plain"), "chmod +t"]).await;
    set_mode(operator.folder(), 0o1777);

    assert_eq!(operator.lives().len(), 1, "nothing was executed");
    let _daemon = operator.run();
    operator.running(&release).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

#[tokio::test]
async fn t30_a_lock_folder_that_somebody_else_could_change_is_refused_at_start_with_what_to_do() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    // As /run/lock is, and in it the default.
    let open = operator.folder().join("run-lock");
    fs::create_dir(&open).expect("ours");
    set_mode(&open, 0o1777);
    let lock_dir = open.join("vaultvisor");
    let set_lock_dir = |folder: &Path| operator.configure(|config| config["lock_dir"] = json!(folder));
    let name = lock_dir.to_str().expect("plain names");

    set_lock_dir(&open);
    let open_name = open.to_str().expect("plain names");
    is_refused(
        operator,
        &[&open],
        &["the lock folder", open_name, "found mode 1777, expected 1775", "chmod o-w"],
    )
    .await;
    set_lock_dir(&lock_dir);
    let victim = operator.folder().join("victim");
    fs::create_dir(&victim).expect("ours");
    if other_user::can_be_tried() {
        set_mode(operator.folder(), 0o755);
        other_user::does("mkdir", &[&lock_dir]);
        is_refused(operator, &[&open], &[name, "belongs to user 65534, expected 0", "chown"]).await;
        other_user::links(&victim, &lock_dir);
        is_refused(operator, &[&open, &victim], &[name, "is a link, expected a real folder", "remove it"])
            .await;
        other_user::does("rm", &[&lock_dir]);
    } else {
        symlink(&victim, &lock_dir).expect("ours");
        is_refused(operator, &[&open, &victim], &[name, "is a link, expected a real folder", "remove it"])
            .await;
        fs::remove_file(&lock_dir).expect("ours");
    }
    set_mode(&open, 0o777);
    is_refused(
        operator,
        &[&victim],
        &["the lock folder", open_name, "found mode 777, expected 775", "chmod +t"],
    )
    .await;
    set_mode(&open, 0o1777);

    assert_eq!(operator.lives().len(), 0, "nothing was executed");
    let _daemon = operator.run();
    operator.running(&release).await;
    assert_eq!(fs::metadata(&lock_dir).expect("it was made").mode() & 0o7777, 0o700);
}

#[tokio::test]
async fn t30_nothing_is_written_through_links_that_another_user_has_planted() {
    if !other_user::can_be_tried() {
        return;
    }
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    Untouched::running(operator, &first).await;
    let home = operator.home();
    let vault = home.join("vaults").join(VAULT);
    let store = home.join("store");

    // What is somebody else's, out of the home and not to be changed. Everybody can get there.
    let victims = operator.folder().join("victims");
    fs::create_dir(&victims).expect("ours");
    let file = victims.join("file");
    fs::write(&file, "precious").expect("ours");
    set_mode(operator.folder(), 0o755);

    // Whoever looks after the folders has opened all of them, while vaultvisor runs.
    let (folders, _) = parts(&home, &first);
    folders.iter().for_each(|folder| set_mode(folder, 0o777));
    let second = Release::of_test_vault("2.0.0");
    let genesis = &journey.chain.ready().genesis;
    let genesis = genesis.strip_prefix("0x").unwrap_or(genesis);
    for (target, place) in [
        (&file, store.join("partial").join(&second.checksum)),
        (&victims, store.join("sha256").join(&second.checksum)),
        (&file, home.join("networks").join(format!(".{genesis}.json.new"))),
        (&file, home.join("history.jsonl.1")),
        (&file, home.join(".control.sock.new")),
        (&file, vault.join("state.json")),
        (&file, vault.join(".state.json.new")),
        (&file, vault.join(".run.json.new")),
        (&file, vault.join(".exit.json.new")),
        (&file, vault.join("log/vault.log")),
        (&file, vault.join("log/vault.log.1")),
    ] {
        other_user::links(target, &place);
    }
    let before = tree::see(&victims);

    // Everything is written meanwhile, and nothing of it there.
    journey.server.offer(&second, NETWORK);
    journey.state(&second).await;
    operator.running(&second).await;
    operator.history_with(&["kept", "kept"]).await;
    assert_eq!(tree::see(&victims), before);
    let program = store.join("sha256").join(&second.checksum);
    for ours in [&program, &program.join("vault"), &vault.join("state.json"), &vault.join("run.json")] {
        let metadata = fs::symlink_metadata(ours).expect("it was written");
        assert!(!metadata.is_symlink() && metadata.uid() == 0, "{} is not ours", ours.display());
    }
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end().await.code(), Some(0));
    assert_eq!(tree::see(&victims), before);

    // At the next start it is said what is open, and then what lies there and whose it is, until nothing is left.
    is_refused(operator, &[&home, &victims], &["can be written by others", "found mode 777"]).await;
    // The old release is gone meanwhile.
    let folders: Vec<_> = folders.into_iter().filter(|folder| folder.exists()).collect();
    folders.iter().for_each(|folder| set_mode(folder, 0o700));
    for planted in [home.join("history.jsonl.1"), vault.join("log/vault.log"), vault.join("log/vault.log.1")]
    {
        let is_a_link = fs::symlink_metadata(&planted).is_ok_and(|metadata| metadata.is_symlink());
        assert!(is_a_link, "{} is another", planted.display());
    }
    is_refused(operator, &[&home, &victims], &["is a link, expected a file", "remove it"]).await;
    for planted in tree_links(&home) {
        fs::remove_file(planted).expect("ours");
    }
    let _daemon = operator.run();
    operator.running(&second).await;
    assert_eq!(tree::see(&victims), before);
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

/// Every link below a folder.
fn tree_links(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).expect("ours").flatten().map(|entry| entry.path()) {
        if path.is_symlink() {
            found.push(path);
        } else if path.is_dir() {
            found.extend(tree_links(&path));
        }
    }
    found
}

fn lock_file(operator: &Operator) -> PathBuf {
    let folder = fs::read_dir(operator.folder().join("lock")).expect("it is there");
    let locks: Vec<PathBuf> = folder.flatten().map(|entry| entry.path()).collect();
    assert_eq!(locks.len(), 1, "{locks:?}");
    locks.into_iter().next().expect("one")
}

#[tokio::test]
async fn t30_a_link_in_the_place_of_a_lock_blocks_and_is_named_and_is_not_written_through() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = stopped(&journey).await;
    let (lock, victim) = (lock_file(operator), operator.folder().join("victim"));
    fs::write(&victim, "precious").expect("ours");
    fs::remove_file(&lock).expect("ours");
    symlink(&victim, &lock).expect("ours");

    let mut daemon = operator.run();
    assert_eq!(daemon.end().await.code(), Some(4), "it is not provable that nothing runs");
    let said = format!("cannot use the lock {}: it is a link", lock.display());
    assert!(daemon.stderr().contains(&said), "{}", daemon.stderr());
    assert_eq!(fs::read(&victim).expect("ours"), b"precious");
    assert_eq!(operator.lives().len(), 1, "nothing was executed");

    fs::remove_file(&lock).expect("the link");
    let _daemon = operator.run();
    operator.running(&release).await;
    assert_eq!(fs::read(&victim).expect("ours"), b"precious");
}

#[tokio::test]
async fn t30_a_lock_file_that_was_removed_and_made_again_lets_no_second_vault_in() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&release).await;

    for made_again in [false, true] {
        let lock = lock_file(operator);
        fs::remove_file(&lock).expect("ours");
        if made_again {
            fs::write(&lock, b"").expect("ours");
        }
        let home = operator.home();
        operator.configure(|config| config["home"] = json!(home.with_file_name("other-home")));
        let mut second = operator.run();
        assert_eq!(second.end().await.code(), Some(3));
        let holder = format!("held by home={}", home.display());
        assert!(second.stderr().contains(&holder), "{holder:?}: {}", second.stderr());
        assert!(second.stderr().contains(&format!("vault={}", before.pid)), "{}", second.stderr());
        operator.configure(|config| config["home"] = json!(home));
    }

    // The one that runs it is known to its own vaultvisor's successor, whatever the lock's file says.
    daemon.signal(Signal::KILL);
    drop(daemon);
    let mut next = operator.run();
    let is_adopted = |vault: &VaultStatus| vault.running.as_ref().is_some_and(|running| running.adopted);
    let adopted = operator.vault_where("the vault to be taken over", is_adopted).await.running;
    assert_eq!(adopted.map(|running| running.pid), Some(before.pid));
    assert_eq!(operator.lives().len(), 1);

    // And the switch to another release finds its way back to one lock.
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    next.signal(Signal::TERM);
    assert_eq!(next.end().await.code(), Some(0));
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
}

/// Another user with a vaultvisor of their own, of the same account.
struct Neighbour<'a> {
    operator: &'a Operator,
    config: PathBuf,
}

impl<'a> Neighbour<'a> {
    fn of(operator: &'a Operator) -> Self {
        operator.install("");
        set_mode(operator.folder(), 0o755);
        let home = operator.folder().join("neighbours-home");
        fs::create_dir(&home).expect("ours");
        set_mode(&home, 0o700);
        other_user::owns(&home);
        // A vault of theirs would tell of its life as well.
        set_mode(&operator.ledger_path(), 0o666);
        let text = fs::read_to_string(operator.config_path()).expect("it was written");
        let mut config: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        config["home"] = json!(home);
        let path = operator.folder().join("neighbour.json");
        fs::write(&path, config.to_string()).expect("ours");
        Self { operator, config: path }
    }

    /// Their vaultvisor starts, and is told that the account is taken.
    async fn is_told(&self, holder: &str) {
        let program = self.operator.installed("vaultvisor");
        let mut command = command::without_configuration(std::process::Command::new(program));
        command.args(["run", "--verbose", "--config"]).arg(&self.config);
        other_user::by_nobody(&mut command).env("HOME", "/");
        let mut refused = Child::spawn("neighbour", command, self.operator.folder());
        let (code, log) = (refused.end().await.code(), refused.stderr());
        assert_eq!(code, Some(3), "{log}");
        assert!(log.contains(holder), "{holder:?} is not said: {log}");
    }
}

#[tokio::test]
async fn t30_users_who_share_a_lock_folder_run_one_vault_of_an_account_whatever_one_does_to_the_locks_file() {
    if !other_user::can_be_tried() {
        return;
    }
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    // As the design has it: shared by a group, each file with its group.
    let lock_dir = operator.folder().join("lock");
    chown(&lock_dir, Some(0), Some(NOBODY)).expect("root may");
    set_mode(&lock_dir, 0o2770);
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    let before = operator.running(&first).await;
    let lock = lock_file(operator);
    let metadata = fs::metadata(&lock).expect("it is held");
    assert_eq!((metadata.mode() & 0o777, metadata.gid()), (0o660, NOBODY));

    let neighbour = Neighbour::of(operator);
    let holder = format!("held by home={} uid=0 keeper=", operator.home().display());
    neighbour.is_told(&holder).await;
    // The file gone, and then one of theirs in its place: the record is gone, and the keeper is still seen.
    other_user::does("rm", &["-f".as_ref(), &lock]);
    neighbour.is_told(&holder).await;
    other_user::does("rm", &["-f".as_ref(), &lock]);
    other_user::does("touch", &[&lock]);
    neighbour.is_told(&holder).await;
    assert_eq!(operator.running(&first).await, before);
    assert_eq!(operator.lives().len(), 1);

    // Meanwhile the vault is switched, under the file that lies there now.
    let second = journey.release("2.0.0").await;
    let after = operator.running(&second).await;
    assert_ne!(after.pid, before.pid);
    neighbour.is_told(&holder).await;
    assert!(operator::is_alive(after.pid) && operator::is_alive(daemon.pid()));
    assert_eq!(operator.lives().len(), 2);
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
    wait::until("the lock to say who holds it", async || {
        let record = fs::read_to_string(&lock).unwrap_or_default();
        if record.contains(&format!("\"pid\":{}", after.pid)) { Ok(()) } else { Err(record) }
    })
    .await;
}
