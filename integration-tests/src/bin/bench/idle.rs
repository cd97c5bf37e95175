//! Row 5: what supervising costs while nothing happens, with ever more vaults.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use integration_tests::{operator::NETWORK, releases::Release};
use serde_json::json;

use crate::{
    peers::{KINDS, Kind, Service, Site},
    processes::{self, Memory},
    site::{self, Bench, IDLE_ARGS, IDLE_PROGRAM},
    stats::Sample,
    table::{Line, Peer, Target},
};

/// As slow as a live chain: what a block costs is part of being idle.
const BLOCK_TIME: Duration = Duration::from_secs(6);
/// What was needed for the start only has gone by then: an idle thread of the runtime ends after 10 s.
const SETTLE: Duration = Duration::from_secs(12);
/// For all 500 of them to start, on two cores that others use as well.
const START: Duration = Duration::from_secs(400);

/// What supervising so many costs.
#[derive(Debug)]
struct Cost {
    memory: Memory,
    /// Of one core.
    processor_permille: f64,
}

impl Cost {
    fn measure(bench: &Bench, folder: &Path) -> Self {
        std::thread::sleep(SETTLE);
        let pids = processes::supervising(folder);
        let (stretch, before) = (Duration::from_secs(if bench.is_quick { 6 } else { 15 }), Instant::now());
        let used = processes::processor_time(&pids);
        std::thread::sleep(stretch);
        let used = processes::processor_time(&pids).saturating_sub(used);
        let processor_permille = used.as_secs_f64() / before.elapsed().as_secs_f64() * 1000.0;
        Self { memory: Memory::of(&pids), processor_permille }
    }
}

/// What vaultvisor costs, taken apart.
struct Ours {
    all: Cost,
    daemon: Memory,
    keeper: Memory,
}

pub(crate) async fn measure(bench: &Bench) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut daemons = Vec::new();
    for count in &bench.vaults {
        println!("  row 5: {count} vaults");
        let ours = vaultvisor(bench, *count).await;
        let peers: Vec<(Kind, Result<Cost, String>)> =
            KINDS.into_iter().map(|kind| (kind, peer(bench, kind, *count))).collect();
        lines.extend(compared(*count, &ours.all, &peers));
        if *count >= 10 {
            lines.push(single(
                format!("a keeper, mean of {count}, private"),
                "KiB",
                ours.keeper.private_kib / *count as f64,
                Target::MedianBelow(1024.0),
            ));
        }
        if *count == 1 {
            let target = Target::MedianBelow(20.0);
            lines.push(single(
                "vaultvisor alone, 1 vault, private".into(),
                "MiB",
                mib(ours.daemon.private_kib),
                target,
            ));
        }
        daemons.push((*count, ours.daemon.private_kib));
    }
    if let [(least, little), .., (most, much)] = daemons[..] {
        lines.push(single(
            format!("vaultvisor for each vault beyond {least}, of {most}, private"),
            "KiB",
            (much - little) / (most - least) as f64,
            Target::MedianBelow(100.0),
        ));
    }
    lines.push(light_client(bench).await);
    lines
}

fn mib(kib: f64) -> f64 {
    kib / 1024.0
}

fn single(what: String, unit: &'static str, value: f64, target: Target) -> Line {
    Line { row: 5, what, unit, ours: Sample::one(value), peers: Vec::new(), target: Some(target) }
}

/// The lines in which everybody is compared.
fn compared(count: usize, ours: &Cost, peers: &[(Kind, Result<Cost, String>)]) -> [Line; 3] {
    let line = |what: &str, unit, figure: fn(&Cost) -> f64, target| Line {
        row: 5,
        what: format!("idle, {count} vaults: {what}"),
        unit,
        ours: Sample::one(figure(ours)),
        peers: peers
            .iter()
            .map(|(kind, cost)| Peer {
                name: kind.name().to_owned(),
                figures: cost.as_ref().map(|cost| Sample::one(figure(cost))).map_err(Clone::clone),
            })
            .collect(),
        target,
    };
    [
        line("private memory, all supervisors", "MiB", |cost| mib(cost.memory.private_kib), None),
        line("resident memory, all supervisors", "MiB", |cost| mib(cost.memory.resident_kib), None),
        line(
            "processor",
            "1/1000 core",
            |cost| cost.processor_permille,
            // One tick of the kernel's clock in the stretch, and its rounding.
            (count == 1).then_some(Target::MedianBelow(1.0)),
        ),
    ]
}

async fn vaultvisor(bench: &Bench, count: usize) -> Ours {
    let journey = bench.journey(BLOCK_TIME).await;
    let release = Release::of(Path::new(IDLE_PROGRAM), "1.0.0");
    journey.server.offer(&release, NETWORK);
    journey.operator.configure(|config| {
        site::set_vaults(config, &[NETWORK.to_owned()], count, &json!(IDLE_ARGS));
    });
    journey.state(&release).await;
    let daemon = journey.operator.run();
    site::all_run(&journey, &release, START).await;
    let all = Cost::measure(bench, journey.operator.folder());
    let keepers: Vec<u32> = processes::supervising(journey.operator.folder())
        .into_iter()
        .filter(|pid| *pid != daemon.pid())
        .collect();
    assert_eq!(keepers.len(), count, "each vault has a keeper, and nothing else supervises");
    Ours { all, daemon: Memory::of(&[daemon.pid()]), keeper: Memory::of(&keepers) }
}

fn peer(bench: &Bench, kind: Kind, count: usize) -> Result<Cost, String> {
    kind.is_installed()?;
    let program = std::fs::read(IDLE_PROGRAM).expect("it is part of every system");
    let args: Vec<String> = IDLE_ARGS.map(str::to_owned).to_vec();
    let site = Site::new(kind, &program, |_| {
        (0..count).map(|number| Service { name: site::name_of(number), args: args.clone() }).collect()
    });
    let _running = site.start();
    let began = Instant::now();
    let children = || processes::supervised(site.folder());
    while children() < count {
        assert!(began.elapsed() < START, "{}: only {} of {count} started", kind.name(), children());
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(Cost::measure(bench, site.folder()))
}

async fn light_client(bench: &Bench) -> Line {
    let journey = bench.journey(BLOCK_TIME).await;
    let release = Release::of(Path::new(IDLE_PROGRAM), "1.0.0");
    journey.server.offer(&release, NETWORK);
    journey
        .operator
        .configure(|config| site::set_vaults(config, &[NETWORK.to_owned()], 1, &json!(IDLE_ARGS)));
    journey.operator.read_by_light_client(&journey.chain.spec().await);
    journey.state(&release).await;
    let daemon = journey.operator.run();
    site::all_run(&journey, &release, START).await;
    std::thread::sleep(SETTLE);
    let private = mib(Memory::of(&[daemon.pid()]).private_kib);
    let target = Target::MedianBelow(45.0);
    single("vaultvisor alone, 1 vault by the light client, private".into(), "MiB", private, target)
}
