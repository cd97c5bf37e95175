//! What a vault prints is kept within bounds, and never holds the vault up.

use std::{
    fs,
    io::Read,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
};

use vaultvisor::process::{
    MARKER,
    protocol::{ExitStatus, Output},
};

use super::site::{Site, keeper};

#[tokio::test(flavor = "multi_thread")]
async fn t29_a_flood_of_lines_is_bounded_and_its_end_is_kept() {
    let mut site = Site::new("seq 1 1000000; echo the end");
    site.spec.place.log_bytes = 200_000;
    site.spec.place.log_keep = 2;
    let (status, _) = site.started().await.ended().await.expect("seen");
    assert_eq!(status, ExitStatus::Code(0));
    assert!(site.log().ends_with("999999\n1000000\nthe end\n"));
    let kept: Vec<u64> = fs::read_dir(site.path("log"))
        .expect("logs")
        .map(|entry| entry.expect("entry").metadata().expect("metadata").len())
        .collect();
    // Three files, each at most twice its size, and what was in the FIFO when the vault ended; of 6.9 MB.
    assert!(kept.len() == 3 && kept.iter().sum::<u64>() < 3 * 400_000 + (1 << 20), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn t29_lines_without_end_do_not_block() {
    let mut site = Site::new("head -c 20000000 /dev/zero; exit 6");
    site.spec.place.log_bytes = 100_000;
    site.spec.place.log_keep = 1;
    assert_eq!(site.started().await.ended().await.expect("seen").0, ExitStatus::Code(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_kept_a_vault_runs_all_the_same() {
    let site = Site::new("head -c 3000000 /dev/zero; exit 6");
    fs::remove_dir(site.path("log")).expect("remove");
    assert_eq!(site.started().await.ended().await.expect("seen").0, ExitStatus::Code(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_run_goes_on_in_the_same_log() {
    let site = Site::new("echo a line");
    for _ in 0..3 {
        site.started().await.ended().await.expect("seen");
    }
    assert_eq!(site.log(), "a line\na line\na line\n");
}

#[test]
fn inherited_output_goes_to_vaultvisors_own_standard_error() {
    let mut site = Site::new("echo printed; echo problem >&2");
    site.spec.place.output = Output::Inherit;
    let (mut ours, theirs) = UnixStream::pair().expect("pair");
    let mut keeper = Command::new(keeper())
        .args(site.spec.to_args())
        .env(MARKER, &site.spec.place.marker)
        .stdin(OwnedFd::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .expect("a keeper");
    std::io::Write::write_all(&mut ours, b"LG").expect("commands");
    let (mut reports, mut output) = (String::new(), String::new());
    ours.read_to_string(&mut reports).expect("reports");
    keeper.stderr.take().expect("piped").read_to_string(&mut output).expect("output");
    assert!(keeper.wait().expect("wait").success());
    assert_eq!(output, "printed\nproblem\n", "{reports}");
    assert!(!site.spec.place.log().exists());
}
