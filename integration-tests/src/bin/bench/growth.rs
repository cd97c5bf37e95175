//! Row 7: what more networks, a longer history and more rejected releases cost. The peer is vaultvisor itself with the
//! least of them.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use integration_tests::{
    dev_chain::DevChain,
    journey::Journey,
    ledger::{self, Tail},
    operator::{NETWORK, Operator, VAULT},
    releases::Release,
    wait,
};
use serde_json::{Value, json};

use crate::{
    processes::{self, Memory},
    site::{self, Bench},
    start::stop,
    stats::Sample,
    table::{Line, Peer},
};

const BLOCK_TIME: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_secs(12);

pub(crate) async fn measure(bench: &Bench) -> Vec<Line> {
    let mut lines = networks(bench).await;
    let (journey, release) = with_one_rejection(bench).await;
    lines.extend(histories(bench, &journey, &release).await);
    lines.extend(rejections(bench, &journey, &release).await);
    lines
}

/// Vaultvisor's figure for the most, with the others as peers.
fn growth(what: &str, unit: &'static str, mut figures: Vec<(String, Sample)>) -> Line {
    let (most, ours) = figures.pop().expect("several sizes are measured");
    let peers = figures.iter().map(|(size, sample)| Peer::measured(&format!("with {size}"), sample.clone()));
    Line { row: 7, what: format!("{what}: {most}"), unit, ours, peers: peers.collect(), target: None }
}

async fn networks(bench: &Bench) -> Vec<Line> {
    let counts: &[usize] = if bench.is_quick { &[1, 2] } else { &[1, 4, 16] };
    let (mut memory, mut processor) = (Vec::new(), Vec::new());
    let mut chains = Vec::new();
    for count in counts {
        println!("  row 7: {count} networks");
        while chains.len() < *count {
            chains.push(DevChain::start_manual().await);
        }
        let mut operator = Operator::new(chains[0].url(), "http://127.0.0.1:9/{version}");
        operator.use_programs_of(bench.programs.path());
        operator.configure(|config| {
            let template = config["networks"][NETWORK].clone();
            let names: Vec<String> = (0..*count).map(|number| format!("dev-{number}")).collect();
            config["networks"] = json!({});
            for (name, chain) in names.iter().zip(&chains) {
                config["networks"][name] = template.clone();
                config["networks"][name]["endpoints"] = json!([chain.url()]);
            }
            site::set_vaults(config, &names, *count, &json!([]));
        });
        let daemon = operator.run();
        wait::until("every network to be followed", async || {
            let vaults = operator.status().await.vaults;
            let is_followed = |connected: Option<bool>| connected == Some(true);
            match vaults.iter().all(|vault| vault.chain.as_ref().is_some_and(|it| is_followed(it.connected)))
            {
                true => Ok(()),
                false => Err(format!("{vaults:#?}")),
            }
        })
        .await;
        // Each makes blocks, for what is read at a block is a part of what a network costs.
        let before = (processes::processor_time(&[daemon.pid()]), Instant::now());
        while before.1.elapsed() < SETTLE {
            for chain in &chains {
                chain.create_block(true).await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let used = processes::processor_time(&[daemon.pid()]).saturating_sub(before.0);
        let size = format!("{count} networks");
        let permille = used.as_secs_f64() / before.1.elapsed().as_secs_f64() * 1000.0;
        memory.push((size.clone(), Sample::one(Memory::of(&[daemon.pid()]).private_kib / 1024.0)));
        processor.push((size, Sample::one(permille)));
    }
    vec![
        growth("vaultvisor, private memory", "MiB", memory),
        growth("vaultvisor, a block every 2 s each", "1/1000 core", processor),
    ]
}

/// An operator whose vault runs and has rejected one release, with the daemon stopped.
async fn with_one_rejection(bench: &Bench) -> (Journey, Release) {
    let journey = bench.journey(BLOCK_TIME).await;
    let good = journey.release("1.0.0").await;
    let daemon = journey.operator.run();
    journey.operator.running(&good).await;
    let bad = Release::of(Path::new("/bin/false"), "2.0.0");
    journey.server.offer(&bad, NETWORK);
    journey.state(&bad).await;
    journey.operator.vault_where("a rejection", |vault| !vault.rejected.is_empty()).await;
    journey.operator.running(&good).await;
    // The chain goes back, so that a retry of the bad one does not come into the measurements.
    journey.state(&good).await;
    journey.operator.running(&good).await;
    stop(daemon).await;
    (journey, good)
}

async fn histories(bench: &Bench, journey: &Journey, release: &Release) -> Vec<Line> {
    let counts: &[usize] = if bench.is_quick { &[10, 10_000] } else { &[10, 10_000, 1_000_000] };
    let path = journey.operator.home().join("history.jsonl");
    let text = fs::read_to_string(&path).expect("a switch and a rejection are in the history");
    let line = text.lines().last().expect("one line at least").to_owned();
    let mut figures = Figures::default();
    for count in counts {
        println!("  row 7: {count} entries of history");
        write_history(&journey.operator.home(), &line, *count);
        figures.measure(bench, journey, release, &format!("{count} entries of history"), &["history"]).await;
    }
    write_history(&journey.operator.home(), &line, 1);
    figures.lines("vaultvisor history")
}

/// As vaultvisor itself leaves them: the newest in one file, and those before in another, once one is full.
fn write_history(home: &Path, line: &str, count: usize) {
    /// What `vaultvisor::history` lets a file grow to.
    const FULL_BYTES: usize = 4 * 1024 * 1024;

    let (current, old) = (home.join("history.jsonl"), home.join("history.jsonl.1"));
    // There may be none.
    let _ = fs::remove_file(&old);
    let in_a_file = FULL_BYTES.div_ceil(line.len() + 1);
    let write = |path: &Path, lines: usize| {
        let mut file = BufWriter::new(File::create(path).expect("the home is ours"));
        for _ in 0..lines {
            writeln!(file, "{line}").expect("there is room for it");
        }
        file.flush().expect("there is room for it");
    };
    if count >= in_a_file {
        write(&old, in_a_file);
    }
    write(&current, count % in_a_file);
}

async fn rejections(bench: &Bench, journey: &Journey, release: &Release) -> Vec<Line> {
    let path = journey.operator.home().join("vaults").join(VAULT).join("state.json");
    let original = fs::read_to_string(&path).expect("the vault has a state");
    let state: Value = serde_json::from_str(&original).expect("it is JSON");
    let mut figures = Figures::default();
    for count in [1, 500] {
        println!("  row 7: {count} rejected releases");
        let mut state = state.clone();
        let rejected = find_list(&mut state, "rejected").expect("it has the list of the rejected");
        let one = rejected.first().expect("one was rejected").to_string();
        let known = checksum_in(&one);
        *rejected = (0..count)
            .map(|number| {
                let other = format!("{number:064x}");
                serde_json::from_str(&one.replace(&known, &other)).expect("only a checksum was changed")
            })
            .collect();
        fs::write(&path, state.to_string()).expect("the home is ours");
        figures
            .measure(bench, journey, release, &format!("{count} rejected releases"), &["status", "--json"])
            .await;
    }
    fs::write(&path, original).expect("the home is ours");
    figures.lines("vaultvisor status")
}

fn find_list<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Vec<Value>> {
    let object = value.as_object_mut()?;
    if object.get(key).is_some_and(Value::is_array) {
        return object.get_mut(key)?.as_array_mut();
    }
    object.values_mut().find_map(|inner| find_list(inner, key))
}

/// The first word of 64 hexadecimal digits.
fn checksum_in(text: &str) -> String {
    let mut words = text.split(|character: char| !character.is_ascii_hexdigit());
    words.find(|word| word.len() == 64).expect("a rejection names a checksum").to_owned()
}

/// What is measured at each size.
#[derive(Default)]
struct Figures {
    start: Vec<(String, Sample)>,
    memory: Vec<(String, Sample)>,
    command: Vec<(String, Sample)>,
    command_peak: Vec<(String, Sample)>,
}

impl Figures {
    async fn measure(
        &mut self,
        bench: &Bench,
        journey: &Journey,
        release: &Release,
        size: &str,
        command: &[&str],
    ) {
        let mut ledger = Tail::of(&journey.operator.ledger_path());
        ledger.added();
        let (mut starts, mut memory, mut commands, mut peaks) = (vec![], vec![], vec![], vec![]);
        for _ in 0..bench.repeat(5, 1) {
            let began_ns = ledger::now_ns();
            let daemon = journey.operator.run();
            let entries = site::until_start(&mut ledger);
            starts.push((site::started_ns(&entries) - began_ns) as f64 / 1e6);
            journey.operator.running(release).await;
            for _ in 0..bench.repeat(3, 1) {
                let (took_ms, peak_mib) = run(&journey.operator, command);
                commands.push(took_ms);
                peaks.push(peak_mib);
            }
            memory.push(Memory::of(&[daemon.pid()]).private_kib / 1024.0);
            stop(daemon).await;
            ledger.added();
        }
        for (all, values) in [
            (&mut self.start, starts),
            (&mut self.memory, memory),
            (&mut self.command, commands),
            (&mut self.command_peak, peaks),
        ] {
            all.push((size.to_owned(), Sample::of(values)));
        }
    }

    fn lines(self, command: &str) -> Vec<Line> {
        vec![
            growth("start to the vault's first line", "ms", self.start),
            growth("vaultvisor, private memory", "MiB", self.memory),
            growth(command, "ms", self.command),
            growth(&format!("{command}, peak memory"), "MiB", self.command_peak),
        ]
    }
}

/// One command of Vaultvisor: how long it took in milliseconds, and the most memory that it had, in MiB.
fn run(operator: &Operator, args: &[&str]) -> (f64, f64) {
    let mut command = operator.vaultvisor_command();
    command.args(args).arg("--config").arg(operator.config_path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let finished = processes::run_to_its_end(command);
    (finished.took.as_secs_f64() * 1000.0, finished.peak_kib / 1024.0)
}
