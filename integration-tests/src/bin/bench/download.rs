//! Rows 1 and 2: a release brought into the store, proved and durable, and the memory that it takes.
//!
//! `prefetch` also connects to the chain and reads what it states; its peers are told what to fetch.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use integration_tests::{binaries, journey::Journey, operator::NETWORK, releases::Release};

use crate::{
    peers,
    processes::{self, Finished},
    site::Bench,
    stats::Sample,
    table::{Line, Peer, Target},
};

const MIB: usize = 1024 * 1024;
const LARGE: usize = 256 * MIB;
const SMALL: usize = 16 * MIB;

pub(crate) async fn measure(bench: &Bench, rows: &[u8]) -> Vec<Line> {
    let journey = bench.journey(std::time::Duration::from_secs(1)).await;
    let mut lines = Vec::new();
    if rows.contains(&1) {
        println!("  row 1: downloads");
        lines.extend(throughput(bench, &journey).await);
    }
    if rows.contains(&2) {
        println!("  row 2: memory of downloads");
        lines.extend(memory(bench, &journey).await);
    }
    lines
}

/// A program that can be executed, and of that size: what is behind its last byte is never loaded.
fn release_of(bytes: usize, version: &str) -> Release {
    let mut program = fs::read(binaries::path("test-vault")).expect("it was built");
    // Numbers that do not repeat, so that nothing on the way can make them fewer.
    let mut state = bytes as u64 | 1;
    program.reserve(bytes.saturating_sub(program.len()) + size_of::<u64>());
    while program.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        program.extend_from_slice(&state.to_le_bytes());
    }
    program.truncate(bytes);
    Release::from_bytes(version, program)
}

async fn state(journey: &Journey, bytes: usize, version: &str) -> Release {
    let release = release_of(bytes, version);
    journey.server.offer(&release, NETWORK);
    journey.state(&release).await;
    release
}

fn prefetch(journey: &Journey) -> Finished {
    let mut command = journey.operator.vaultvisor_command();
    command.arg("prefetch").arg("--config").arg(journey.operator.config_path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    processes::run_to_its_end(command)
}

/// Takes a release out of the store again.
fn forget(journey: &Journey, release: &Release) {
    let folder = journey.operator.home().join("store/sha256").join(&release.checksum);
    assert!(folder.join("vault").is_file(), "prefetch has put it into the store");
    fs::remove_dir_all(folder).expect("the home is ours");
}

async fn throughput(bench: &Bench, journey: &Journey) -> Vec<Line> {
    let release = state(journey, if bench.is_quick { SMALL } else { LARGE }, "1.0.0").await;
    let size_mib = release.program.len() / MIB;
    let url = format!("http://{}/1.0.0/vault-{NETWORK}", journey.server.address());
    let place = journey.operator.folder().join("by-curl");
    let (mut ours, mut one_after_the_other, mut piped, mut durable) = (vec![], vec![], vec![], vec![]);
    for _ in 0..bench.repeat(9, 2) {
        ours.push(prefetch(journey).took.as_secs_f64());
        forget(journey, &release);
        if peers::find("curl").is_none() {
            continue;
        }
        one_after_the_other.push(timed(&place, || {
            finish(&mut [curl(&url).arg("--output").arg(&place)]);
            finish(&mut [Command::new("sha256sum").arg(&place)]);
        }));
        durable.push(timed(&place, || {
            finish(&mut [curl(&url).arg("--output").arg(&place)]);
            finish(&mut [Command::new("sha256sum").arg(&place)]);
            finish(&mut [Command::new("sync").arg(&place)]);
        }));
        piped.push(timed(&place, || {
            finish(&mut [&mut curl(&url), Command::new("tee").arg(&place), &mut Command::new("sha256sum")]);
        }));
    }
    let peer = |name: &str, values: &[f64]| Peer {
        name: name.to_owned(),
        figures: match values {
            [] => Err("not installed".to_owned()),
            values => Ok(Sample::of(values.iter().copied())),
        },
    };
    let line = |what: &str, peers, target| Line {
        row: 1,
        what: format!("{size_mib} MiB from loopback into the store: {what}"),
        unit: "s",
        ours: Sample::of(ours.iter().copied()),
        peers,
        target,
    };
    let one_after_the_other = peer("curl --output, then sha256sum", &one_after_the_other);
    vec![
        line("against one after the other", vec![one_after_the_other], Some(Target::Times(1.5))),
        line(
            "against others",
            vec![
                peer("curl | tee | sha256sum", &piped),
                peer("curl --output, sha256sum, sync: durable as ours is", &durable),
            ],
            None,
        ),
    ]
}

fn curl(url: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", url]);
    command
}

/// In seconds; what it left at that place is gone before the next one.
fn timed(place: &Path, run: impl FnOnce()) -> f64 {
    let began = Instant::now();
    run();
    let took = began.elapsed().as_secs_f64();
    fs::remove_file(place).expect("it was written");
    took
}

/// Runs these to their ends, each reading what the one before it prints.
fn finish(commands: &mut [&mut Command]) {
    let mut children = Vec::new();
    let mut input = Stdio::null();
    let last = commands.len() - 1;
    for (number, command) in commands.iter_mut().enumerate() {
        let output = if number == last { Stdio::null() } else { Stdio::piped() };
        let child = command.stdin(std::mem::replace(&mut input, Stdio::null())).stdout(output).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
        children.push(child);
    }
    for mut child in children {
        assert!(child.wait().expect("it is our child").success(), "{commands:?}");
    }
}

async fn memory(bench: &Bench, journey: &Journey) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut peaks = Vec::new();
    for (number, bytes) in [SMALL, LARGE].into_iter().enumerate() {
        let release = state(journey, bytes, &format!("2.0.{number}")).await;
        let (mut above, mut all) = (Vec::new(), Vec::new());
        for _ in 0..bench.repeat(5, 2) {
            let fetched = prefetch(journey).peak_kib / 1024.0;
            let there_already = prefetch(journey).peak_kib / 1024.0;
            forget(journey, &release);
            above.push(fetched - there_already);
            all.push(fetched);
        }
        lines.push(Line {
            row: 2,
            what: format!(
                "peak memory of prefetch with {} MiB, above that with the file in the store",
                bytes / MIB
            ),
            unit: "MiB",
            ours: Sample::of(above),
            peers: Vec::new(),
            target: Some(Target::MedianBelow(16.0)),
        });
        peaks.push((bytes / MIB, Sample::of(all)));
    }
    if let [(small, of_small), (large, of_large)] = &peaks[..] {
        lines.push(Line {
            row: 2,
            what: format!("peak memory of prefetch, resident, with {large} MiB"),
            unit: "MiB",
            ours: of_large.clone(),
            peers: vec![Peer::measured(&format!("the same with {small} MiB"), of_small.clone())],
            target: None,
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_hands_on_what_each_prints() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("copy");
        finish(&mut [
            Command::new("printf").arg("some words"),
            Command::new("tee").arg(&place),
            &mut Command::new("sha256sum"),
        ]);
        assert_eq!(fs::read(&place).unwrap(), b"some words");
    }
}
