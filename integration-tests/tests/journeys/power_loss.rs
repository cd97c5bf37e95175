//! T05: power is lost, and with it every write that was not synced.

use std::{collections::BTreeMap, fs, path::PathBuf};

use futures::{StreamExt as _, stream};
use integration_tests::{
    child::{Child, Signal},
    command,
    journey::Journey,
    operator::{self, Operator, VAULT},
    power::{Disk, Image, Loss, put, traced},
    releases::Release,
};

/// How many recoveries run beside one another.
const AT_ONCE: usize = 3;

/// Another boot than this one, which the machine that comes up again has.
const OTHER_BOOT: &str = "00000000-0000-4000-8000-000000000000";

/// What is left after each call, each once, with the number of the call.
fn losses(before: Disk, trace: &str) -> BTreeMap<Image, (usize, Loss)> {
    let mut images = BTreeMap::new();
    let mut disk = before;
    for (number, line) in trace.lines().enumerate() {
        if disk.take(line) {
            for loss in [Loss::Everything, Loss::Contents] {
                images.entry(disk.after(loss)).or_insert((number, loss));
            }
        }
    }
    images
}

/// As a machine that comes up again has it: of another boot.
fn of_another_boot(mut image: Image) -> Image {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux has it");
    for (path, (_, content)) in &mut image {
        if path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl")
            && let Some(content) = content
        {
            let text = String::from_utf8(std::mem::take(content)).expect("what we write is UTF-8");
            *content = text.replace(boot.trim(), OTHER_BOOT).into_bytes();
        }
    }
    image
}

/// Vaultvisor starts on what is left, and must get to the release that the chain states, by itself.
async fn recovers(journey: &Journey, image: Image, what: &str, release: &Release) {
    println!("power lost {what}");
    let operator = Operator::new(journey.chain.url(), &journey.server.url_template());
    operator.configure(|own| {
        // Several recover beside one another on one machine, which would be two vaults of one account.
        own["vaults"][VAULT]["account"] = format!("power-lost-{what}").replace([' ', ','], "-").into();
    });
    fs::create_dir_all(operator.home()).expect("ours");
    put(&of_another_boot(image), &operator.home());
    let _daemon = operator.run();
    operator.running(release).await;
    let vault = operator.vault().await;
    assert_eq!((vault.problem, vault.rejected.len()), (None, 0), "power lost {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t05_after_a_power_loss_at_any_call_of_a_start_and_a_switch_it_recovers_by_itself() {
    let journey = Journey::begin().await;
    let owner = &journey.operator;
    let first = journey.release("1.0.0").await;
    let mut daemon = owner.run();
    owner.running(&first).await;
    daemon.signal(Signal::TERM);
    daemon.end().await;
    let before = Disk::of(&owner.home());

    // A start with the old release, because the new one is not here yet, and the switch to it.
    let second = journey.release("2.0.0").await;
    let mut run = command::vaultvisor_command();
    run.args(["run", "--config"]).arg(owner.config_path());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace");
    let mut tracer = Child::spawn("traced", traced(&run, &trace), folder.path());
    owner.running(&second).await;
    let daemon = owner.status().await.pid.expect("it runs");
    operator::signal(daemon, Signal::TERM);
    tracer.end().await;

    let trace = fs::read_to_string(&trace).expect("it was written");
    let losses = losses(before, &trace);
    assert!(losses.len() > 20, "only {} different disks: was anything traced?", losses.len());
    let names_a_release =
        |image: &Image| image.keys().any(|path| path.ends_with(PathBuf::from("state.json")));
    assert!(losses.keys().all(names_a_release), "the old state is never gone");
    println!("{} different disks", losses.len());
    let recoveries = losses.into_iter().map(|(image, (call, loss))| {
        let (journey, second) = (&journey, &second);
        async move { recovers(journey, image, &format!("after call {call}, {loss:?}"), second).await }
    });
    stream::iter(recoveries).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}
