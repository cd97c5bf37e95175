//! What a snapshot and a restore cost, of Debian's Redis with real data: `snapshot-bench [MEGABYTES]`; for
//! `scripts/snapshot-bench.sh`, which prints the machine too.

use std::process::ExitCode;

use integration_tests::real_store::{Measured, through_a_failed_upgrade};

#[tokio::main]
async fn main() -> ExitCode {
    let megabytes = std::env::args().nth(1).map_or(Some(1024), |text| text.parse().ok());
    let Some(megabytes) = megabytes.filter(|megabytes| *megabytes > 0) else {
        println!("usage: snapshot-bench [MEGABYTES]");
        return ExitCode::from(2);
    };
    let Measured { bytes, copy, copy_to_disk, upgrade, upgrade_by_status, failed_upgrade } =
        through_a_failed_upgrade(megabytes).await;
    println!("data                                     {:>9.1} MB", bytes as f64 / 1e6);
    let line = |what: &str, time: std::time::Duration| {
        let ms = time.as_secs_f64() * 1000.0;
        let ratio = time.as_secs_f64() / copy.as_secs_f64();
        println!("{what:<40} {ms:>9.1} ms  {ratio:>7.3} of cp -a");
    };
    line("cp -a of the folder", copy);
    line("  until it is on the disk", copy_to_disk);
    line("upgrade: nothing listens for", upgrade);
    line("  nothing runs for, as status says", upgrade_by_status);
    line("failed migration and restore", failed_upgrade);
    println!("nothing was lost: every value and the last acknowledged write were there after each");
    ExitCode::SUCCESS
}
