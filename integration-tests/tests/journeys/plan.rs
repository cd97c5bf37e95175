//! An operator asks what would happen, and nothing happens.

use integration_tests::{
    child::Signal,
    journey::Journey,
    ledger,
    operator::{NETWORK, Operator, VAULT},
    orders::Order,
    redis,
    tree::see,
};
use serde_json::{Value, json};

use crate::migrations::{ARGS_MIGRATION, STATE_MIGRATION, release_with, with_data};

/// What `plan --json` says of the vault.
async fn plan(operator: &Operator) -> Value {
    let plan: Value = operator.vaultvisor(&["plan", "--json"]).await.exited(0).json();
    plan["vaults"][0].clone()
}

/// The kinds of a plan's steps.
fn deeds(plan: &Value) -> Vec<&str> {
    let steps = plan["steps"].as_array().expect("a list").iter();
    steps.map(|step| step["do"].as_str().expect("a word")).collect()
}

/// The text of a plan's step of this kind.
fn text<'a>(plan: &'a Value, deed: &str) -> &'a str {
    let steps = plan["steps"].as_array().expect("a list");
    let step = steps.iter().find(|step| step["do"] == deed).unwrap_or_else(|| panic!("no {deed}: {plan:#}"));
    step["text"].as_str().expect("words")
}

#[tokio::test]
async fn a_plan_says_what_a_run_will_do_and_changes_nothing() {
    let journey = with_data().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let empty = see(&operator.home());
    let begin = plan(operator).await;
    assert_eq!(deeds(&begin), ["fetch", "start", "prove"], "{begin:#}");
    assert_eq!(begin["steps"][1]["checksum"], first.checksum);
    assert_eq!(begin["args"]["next_start"]["from"], "config");
    assert_eq!(see(&operator.home()), empty, "not even a folder was made");

    // Left running by a vaultvisor that was told to leave it.
    let mut daemon = operator.run();
    let running = operator.running(&first).await;
    daemon.signal(Signal::QUIT);
    daemon.end().await;
    let files = [("args-migration", ARGS_MIGRATION), ("state-migration", STATE_MIGRATION)];
    let second = release_with(&journey, "2.0.0", &files).await;
    let (home, data) = (see(&operator.home()), see(&operator.data()));
    let upgrade = plan(operator).await;
    let expected = [
        "adopt",
        "fetch",
        "migrate_args",
        "copy_data",
        "stop",
        "copy_changes",
        "migrate_data",
        "start",
        "prove",
    ];
    assert_eq!(deeds(&upgrade), expected, "{upgrade:#}");
    assert_eq!(upgrade["running"]["pid"], running.pid);
    assert_eq!(
        (&upgrade["target"]["version"], &upgrade["steps"][7]["checksum"]),
        (&json!("2.0.0"), &json!(second.checksum))
    );
    assert!(text(&upgrade, "stop").contains(&format!("pid {}", running.pid)));
    assert!(text(&upgrade, "fetch").contains(
        &journey.server.url_template().replace("{version}", "2.0.0").replace("{network}", NETWORK)
    ));
    assert!(text(&upgrade, "prove").contains("blocked"), "there would be no way back: {upgrade:#}");
    assert_eq!(upgrade["args"]["next_start"]["from"], "migration");
    let told = operator.vaultvisor(&["plan"]).await.exited(0).stdout;
    assert!(told.contains("run the state-migration of 2.0.0"), "{told}");

    assert_eq!(see(&operator.home()), home, "byte for byte");
    assert_eq!(see(&operator.data()), data);
    assert_eq!(journey.server.served("2.0.0"), [], "nothing was fetched");
    assert_eq!(operator.lives().len(), 1, "and nobody disturbed");

    // What was foretold comes true.
    let _daemon = operator.run();
    operator.running(&second).await;
    assert_eq!(ledger::never_two(&operator.lives()), Ok(()));
    let after = plan(operator).await;
    assert_eq!(deeds(&after), Vec::<&str>::new(), "{after:#}");
}

#[tokio::test]
async fn a_plan_says_which_args_win_and_they_do() {
    let journey = with_data().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    operator.running(&first).await;
    let second = release_with(&journey, "2.0.0", &[("args-migration", ARGS_MIGRATION)]).await;
    operator.running(&second).await;

    let unedited = plan(operator).await;
    let args = &unedited["args"];
    assert_eq!((&args["edited"], &args["next_start"]["revision"]), (&json!(false), &json!(1)), "{args:#}");
    let words = args["next_start"]["words"].as_array().expect("they are known");
    assert!(words.contains(&json!("--new")), "{args:#}");

    operator.configure(|config| {
        config["vaults"][VAULT]["args"].as_array_mut().expect("a list").push(json!("--mine"));
    });
    let edited = plan(operator).await;
    let args = &edited["args"];
    assert_eq!((&args["edited"], &args["next_start"]["from"]), (&json!(true), &json!("config")), "{args:#}");
    assert!(args["text"].as_str().expect("words").contains("win over args/1.json"), "{args:#}");
    assert_eq!(deeds(&edited), Vec::<&str>::new(), "an edit alone restarts nothing");
    assert_eq!(operator.lives().len(), 2);

    // And so it is.
    operator.reload(&daemon).await;
    operator.vaultvisor(&["restart", VAULT]).await.exited(0);
    let lives = operator.lives_where("the third life", |lives| lives.len() == 3).await;
    assert_eq!(json!(lives[2].args), args["next_start"]["words"]);
}

#[tokio::test]
async fn a_plan_tells_of_holds_of_rejections_with_their_times_and_of_a_chain_out_of_reach() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    operator.obey_orders();
    let first = journey.release("1.0.0").await;
    let mut daemon = operator.run();
    operator.running(&first).await;
    operator.orders().give(Order::Refuse, "2.0.0");
    let second = journey.release("2.0.0").await;
    let rejected = operator
        .vault_where("the rejection", |vault| !vault.rejected.is_empty() && vault.state == "running")
        .await;
    let waits = plan(operator).await;
    assert_eq!(deeds(&waits), Vec::<&str>::new(), "{waits:#}");
    assert_eq!(waits["rejected"][0]["checksum"], second.checksum);
    let then = waits["then"].to_string();
    assert!(then.contains(&format!("vaultvisor retry {VAULT}")), "{then}");
    assert_eq!(rejected.rejected.len(), 1);

    operator.vaultvisor(&["hold", VAULT, "--reason", "audit"]).await.exited(0);
    let third = journey.release("3.0.0").await;
    operator
        .vault_where("the third to be known", |vault| {
            vault.target.as_ref().is_some_and(|target| target.checksum == third.checksum)
        })
        .await;
    let held = plan(operator).await;
    assert!(!deeds(&held).contains(&"stop"), "{held:#}");
    assert!(held["then"].to_string().contains("held (audit)"), "{held:#}");

    // Without a daemon, and without a chain: what proved itself is started.
    operator.vaultvisor(&["resume", VAULT]).await.exited(0);
    operator.running(&third).await;
    daemon.signal(Signal::TERM);
    daemon.end().await;
    let nobody = format!("ws://127.0.0.1:{}", redis::free_port());
    operator.set_endpoints(&[&nobody], 1);
    let before = see(&operator.home());
    let alone = plan(operator).await;
    assert_eq!(deeds(&alone), ["wait", "start"], "{alone:#}");
    assert_eq!(alone["steps"][1]["checksum"], third.checksum);
    assert!(alone["chain_problem"].as_str().is_some_and(|problem| problem.contains(&nobody)), "{alone:#}");
    assert_eq!(see(&operator.home()), before);
}
