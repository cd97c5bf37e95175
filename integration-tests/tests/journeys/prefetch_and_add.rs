//! Files that are in the store before a vault wants them: `prefetch` and `add`.

use integration_tests::{
    command,
    hostile_server::{HostileServer, Manner},
    journey::Journey,
    operator::NETWORK,
    releases::Release,
    wait,
};
use serde_json::json;

#[tokio::test]
async fn prefetch_brings_what_the_chain_states_and_has_scheduled_and_starts_nothing() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let nothing = operator.vaultvisor(&["prefetch"]).await.exited(0);
    assert!(nothing.stdout.contains("dev: no release is stated"), "{}", nothing.stdout);

    let first = journey.release("1.0.0").await;
    let pending = Release::of_test_vault("2.0.0");
    journey.server.offer(&pending, NETWORK);
    journey.publish(&pending, &["--schedule", "99"]).await.exited(0);

    let printed = operator.vaultvisor(&["prefetch"]).await.exited(0).stdout;
    let mut stored = [first.checksum.clone(), pending.checksum.clone()];
    for checksum in &stored {
        let path = operator.home().join("store/sha256").join(checksum).join("vault");
        let line = printed.lines().find(|line| line.contains(checksum)).expect("a line for each file");
        assert!(line.starts_with("ok ") && line.contains(path.to_str().expect("UTF-8")), "{line}");
    }
    stored.sort();
    assert_eq!(operator.stored(), stored);
    assert_eq!((operator.lives(), operator.processes()), (vec![], vec![]), "nothing was started");

    // A second time costs one look at the files, and so does the first start.
    operator.vaultvisor(&["prefetch"]).await.exited(0);
    let _daemon = operator.run();
    operator.running(&first).await;
    assert_eq!((journey.server.served("1.0.0").len(), journey.server.served("2.0.0").len()), (1, 1));
    // Beside a vaultvisor that runs it is in nobody's way.
    operator.vaultvisor(&["prefetch"]).await.exited(0);
    assert_eq!(operator.lives().len(), 1);
}

#[tokio::test]
async fn prefetch_says_by_its_exit_code_what_is_wrong() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = Release::of_test_vault("1.0.0");
    journey.state(&release).await;
    let missing = operator.vaultvisor(&["prefetch"]).await.exited(6);
    assert!(missing.stdout.contains("status 404"), "{}", missing.stdout);

    let text = Release::from_bytes("2.0.0", b"#!/bin/sh\n".to_vec());
    journey.server.offer(&text, NETWORK);
    journey.state(&text).await;
    let unfit = operator.vaultvisor(&["prefetch"]).await.exited(6);
    assert!(unfit.stdout.contains("it cannot run here: it is a script"), "{}", unfit.stdout);

    operator.set_endpoints(&["ws://127.0.0.1:1"], 1);
    let unreadable = operator.vaultvisor(&["prefetch"]).await.exited(5);
    assert!(unreadable.stdout.contains("cannot connect"), "{}", unreadable.stdout);
}

#[tokio::test]
async fn two_processes_that_want_one_file_take_turns_and_go_on_with_each_others_bytes() {
    const SOME_BYTES: usize = 1_000_000;
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let server = HostileServer::start().await;
    operator.configure(|config| config["networks"][NETWORK]["release_urls"] = json!([server.url_template()]));
    let release = Release::of_test_vault("1.0.0");
    server.offer(&release);
    server.answer("1.0.0", [Manner::StallAfter(SOME_BYTES), Manner::Whole]);
    journey.state(&release).await;
    let _daemon = operator.run();
    wait::until("the daemon's download to stall", async || match operator.partial().len() {
        1 if server.asked("1.0.0").len() == 1 => Ok(()),
        found => Err(format!("{found} downloads")),
    })
    .await;

    let waited = operator.vaultvisor(&["prefetch"]).await.exited(0);
    assert!(waited.stderr.contains("another process downloads it"), "{}", waited.stderr);
    operator.running(&release).await;
    // Whoever was the first to try again.
    let froms: Vec<_> = server.asked("1.0.0").iter().map(|asked| asked.from).collect();
    assert_eq!(froms, [None, Some(SOME_BYTES)]);
    assert_eq!((operator.partial(), operator.stored()), (vec![], vec![release.checksum]));
}

#[tokio::test]
async fn a_folder_of_this_machine_is_a_place_of_releases_too() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let release = Release::of_test_vault("1.0.0");
    let folder = operator.data().join("1.0.0");
    std::fs::create_dir(&folder).expect("the folder is ours");
    std::fs::write(folder.join("vault"), &release.program).expect("the folder is ours");
    let place = format!("file://{}/{{version}}/vault", operator.data().display());
    operator.configure(|config| config["networks"][NETWORK]["release_urls"] = json!([place]));
    journey.state(&release).await;
    let _daemon = operator.run();
    operator.running(&release).await;
    assert_eq!(journey.server.served("1.0.0"), [], "nobody else was asked");
}

#[tokio::test]
async fn downloads_go_through_the_proxy_that_the_environment_names_and_never_those_from_this_machine() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let proxy = HostileServer::start().await;
    let release = Release::of_test_vault("1.0.0");
    journey.state(&release).await;
    let prefetch = async |place: &str, except: &str| {
        operator.configure(|config| config["networks"][NETWORK]["release_urls"] = json!([place]));
        let mut command = command::vaultvisor_command();
        command.arg("prefetch").arg("--config").arg(operator.config_path());
        let address = format!("http://{}", proxy.address());
        command.env("https_proxy", &address).env("http_proxy", &address).env("no_proxy", except);
        command::run(command).await
    };
    let place = "https://releases.invalid/{version}";
    let refused = prefetch(place, "").await.exited(1);
    assert_eq!(proxy.asked_for(), ["releases.invalid:443"], "{}", refused.stdout);
    let unknown = prefetch(place, "other.invalid,releases.invalid").await.exited(1);
    assert!(unknown.stdout.contains("dns error"), "{}", unknown.stdout);
    journey.server.offer(&release, NETWORK);
    prefetch(&journey.server.url_template(), "").await.exited(0);
    assert_eq!(proxy.asked_for().len(), 1);
}

#[tokio::test]
async fn an_added_file_stays_until_the_chain_states_it_and_is_never_downloaded() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    // As a machine without a network has it: the file of a release that nobody serves, not even stated yet.
    let third = Release::of_test_vault("3.0.0");
    let file = operator.data().join("vault-3.0.0");
    std::fs::write(&file, &third.program).expect("the folder is ours");
    let first = journey.release("1.0.0").await;
    let _daemon = operator.run();
    operator.running(&first).await;

    let printed = operator.vaultvisor(&["add", file.to_str().expect("UTF-8")]).await.exited(0).stdout;
    assert!(printed.starts_with(&third.checksum), "{printed}");
    let second = journey.release("2.0.0").await;
    operator.running(&second).await;
    let mut stored = [second.checksum.clone(), third.checksum.clone()];
    stored.sort();
    wait::until("the first release to be removed, and nothing else", async || match operator.stored() {
        found if found == stored => Ok(()),
        found => Err(format!("{found:?}")),
    })
    .await;

    journey.state(&third).await;
    operator.running(&third).await;
    assert_eq!(journey.server.served("3.0.0"), [], "it is in the store already");
    // It is a release like any other by now.
    let fourth = journey.release("4.0.0").await;
    operator.running(&fourth).await;
    wait::until("the store to hold the new release only", async || match operator.stored() {
        stored if stored == [fourth.checksum.as_str()] => Ok(()),
        stored => Err(format!("{stored:?}")),
    })
    .await;
}

#[tokio::test]
async fn what_is_no_file_or_too_large_is_not_added_and_what_cannot_run_is_pointed_out() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let data = operator.data();
    let add = async |name: &str| {
        let path = data.join(name);
        operator.vaultvisor(&["add", path.to_str().expect("UTF-8")]).await
    };
    add("nothing-there").await.exited(1);
    std::fs::create_dir(data.join("folder")).expect("the folder is ours");
    let folder = add("folder").await.exited(6);
    assert!(folder.stderr.contains("not a regular file"), "{}", folder.stderr);
    std::fs::write(data.join("script"), b"#!/bin/sh\n").expect("the folder is ours");
    let script = add("script").await.exited(0);
    assert!(script.stderr.contains("no vault can run it here: it is a script"), "{}", script.stderr);
    let stored = operator.stored();

    operator.configure(|config| config["max_artifact_bytes"] = json!(10));
    std::fs::write(data.join("large"), b"eleven bytes").expect("the folder is ours");
    let large = add("large").await.exited(6);
    assert!(large.stderr.contains("larger than the limit of 10 bytes"), "{}", large.stderr);
    assert_eq!((operator.stored(), stored.len()), (stored, 1), "nothing was left of it");
}

#[tokio::test]
async fn a_person_sees_a_bar_and_a_log_gets_lines() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    journey.release("1.0.0").await;
    let mut terminal = std::process::Command::new("script");
    let config = operator.config_path();
    let vaultvisor = command::vaultvisor_command();
    let program = vaultvisor.get_program().to_str().expect("UTF-8");
    let line = format!("{program} prefetch --config {}", config.display());
    terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("TERM", "xterm");
    let seen = command::run(command::without_configuration(terminal)).await.exited(0);
    let bar = |text: &str| text.contains("vault-dev [") && text.contains("MiB/s");
    assert!(bar(&seen.stdout), "{}", seen.stdout);

    journey.release("2.0.0").await;
    let logged = operator.vaultvisor(&["prefetch"]).await.exited(0);
    assert!(!bar(&logged.stderr) && logged.stderr.contains("fetching"), "{}", logged.stderr);
}
