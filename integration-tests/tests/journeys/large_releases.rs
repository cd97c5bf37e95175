//! Downloads of different sizes, by the real programs.

use std::fs::{self, File};

use integration_tests::{binaries, journey::Journey, operator::NETWORK, releases::Release};

const MIB: u64 = 1024 * 1024;
/// What a page cache, an allocator or a log line more may make of it; a sixteenth of the difference in size.
const SOME: u64 = 15 * MIB;

/// The test vault, made so long with zeros that nobody reads.
fn release_of(bytes: u64, version: &str) -> Release {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("vault");
    fs::copy(binaries::path("test-vault"), &path).expect("there is room for it");
    let file = File::options().write(true).open(&path).expect("it was copied");
    file.set_len(bytes).expect("there is room for it");
    drop(file);
    Release::of(&path, version)
}

#[tokio::test]
async fn a_download_takes_the_same_memory_whatever_its_size() {
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    let first = journey.release("1.0.0").await;
    let daemon = operator.run();
    operator.running(&first).await;

    let mut peaks = Vec::new();
    let mut idle = Vec::new();
    for (bytes, version) in [(16 * MIB, "2.0.0"), (256 * MIB, "3.0.0")] {
        let release = release_of(bytes, version);
        journey.server.offer(&release, NETWORK);
        daemon.forget_memory_peak();
        idle.push(daemon.memory_peak());
        journey.state(&release).await;
        operator.running(&release).await;
        peaks.push(daemon.memory_peak());
    }
    println!("idle {idle:?}, at the worst {peaks:?}");
    assert!(peaks[1] < idle[1] + SOME, "{idle:?} bytes before, {peaks:?} at the worst");
    assert!(peaks[1].abs_diff(peaks[0]) < SOME / 2, "{peaks:?} bytes");
}
