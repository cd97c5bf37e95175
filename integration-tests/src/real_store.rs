//! Debian's Redis with as much data as wanted, through an upgrade, and through one whose state migration ruins the data
//! and fails: that nothing is lost, and how long nothing runs.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;

use crate::{
    child::Signal,
    journey::Journey,
    operator::VAULT,
    redis::{self, Client},
    releases::Release,
    wait,
};

/// Values as large as those of a wallet's database are not, but few enough to be written and compared in seconds.
const VALUE_BYTES: usize = 256 * 1024;

/// Writes over the beginning of each file, adds one, and fails.
const RUINOUS: &str = "#!/bin/sh\nset -e\nfind \"$1\" -type f | while read -r file; do\n\
    dd if=/dev/zero of=\"$file\" bs=64k count=16 conv=notrunc status=none\ndone\necho x >\"$1/new\"\nexit 3\n";

/// Nothing here takes as long; it bounds what would hang. A gigabyte on a slow disk takes a minute.
const PATIENCE: Duration = Duration::from_secs(600);

/// Between two looks whether a process has ended or another listens: what the measurement is exact to.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Longer than a snapshot distrusts the times of files for.
const SETTLED_AFTER: Duration = Duration::from_secs(4);

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Bytes on the disk of the data folder.
    pub bytes: u64,
    /// Plain `cp -a` of that folder: the middle one of three, before, between and after the upgrades.
    pub copy: Duration,
    /// The same, until it is on the disk.
    pub copy_to_disk: Duration,
    /// An upgrade without a migration: from the end of the old process until the new one listens.
    pub upgrade: Duration,
    /// The same, as the status tells it: until the new one is executed.
    pub upgrade_by_status: Duration,
    /// An upgrade whose state migration fails: from the end of the process until it listens again, on restored data.
    pub failed_upgrade: Duration,
}

/// Changes one small value again and again, from the time that it is started until its Redis ends.
struct Writer {
    thread: JoinHandle<u64>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn start(port: u16, from: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut acknowledged = from;
            let Ok(mut client) = Client::connect(port) else { return acknowledged };
            while !is_over.load(Ordering::Relaxed) {
                let next = (acknowledged + 1).to_string();
                match client.command(&[b"SET", b"counter", next.as_bytes()]) {
                    Ok(_) => acknowledged += 1,
                    Err(_) => break,
                }
                std::thread::sleep(LOOK_EVERY);
            }
            acknowledged
        });
        Self { thread, stop }
    }

    /// The last that Redis has acknowledged.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

/// From the end of a process until somebody listens on its port again.
fn watch_outage(pid: u32, port: u16) -> JoinHandle<Duration> {
    std::thread::spawn(move || {
        let process = format!("/proc/{pid}");
        let limit = Instant::now() + PATIENCE;
        while Path::new(&process).exists() && Instant::now() < limit {
            std::thread::sleep(LOOK_EVERY);
        }
        let ended = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() && Instant::now() < limit {
            std::thread::sleep(LOOK_EVERY);
        }
        ended.elapsed()
    })
}

fn fill(port: u16, values: u64) -> io::Result<()> {
    let mut client = Client::connect(port)?;
    for number in 0..values {
        let key = format!("value-{number}");
        client.command(&[b"SET", key.as_bytes(), &redis::value(number, VALUE_BYTES)])?;
    }
    // Into one file that is not appended to, as databases keep what is old.
    client.command(&[b"BGREWRITEAOF"])?;
    let limit = Instant::now() + PATIENCE;
    loop {
        let told = client.command(&[b"INFO", b"persistence"])?.unwrap_or_default();
        let told = String::from_utf8_lossy(&told).into_owned();
        let is_over = |name: &str| told.contains(&format!("{name}:0"));
        if is_over("aof_rewrite_in_progress") && is_over("aof_rewrite_scheduled") {
            return Ok(());
        }
        if Instant::now() >= limit {
            return Err(io::Error::other(told));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until Redis has read its data, and looks whether every value is there, and the last acknowledged counter.
async fn holds_all(port: u16, values: u64, counter: u64) {
    wait::within(PATIENCE, "Redis to have read its data", async || match redis::ask(port, "PING")? {
        answer if answer == "+PONG" => Ok(()),
        answer => Err(answer),
    })
    .await;
    let check = move || -> io::Result<()> {
        let mut client = Client::connect(port)?;
        for number in 0..values {
            let key = format!("value-{number}");
            let found = client.command(&[b"GET", key.as_bytes()])?;
            assert!(
                found.is_some_and(|found| found == redis::value(number, VALUE_BYTES)),
                "{key} is another"
            );
        }
        let found = client.command(&[b"GET", b"counter"])?;
        let found = found.map(|found| String::from_utf8_lossy(&found).into_owned());
        let found: Option<u64> = found.and_then(|found| found.parse().ok());
        // One more may have been written and not acknowledged.
        assert!(
            found.is_some_and(|found| (counter..=counter + 1).contains(&found)),
            "{found:?}, not {counter}"
        );
        let size = client.command(&[b"DBSIZE"])?.unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&size), (values + 1).to_string());
        Ok(())
    };
    tokio::task::spawn_blocking(check).await.expect("no panic").expect("Redis answers");
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let status = command.status().expect("coreutils");
    assert!(status.success(), "{command:?}: {status}");
    began.elapsed()
}

/// Copies a folder beside itself by `cp -a`: how long that took, and how long until it was on the disk.
async fn copy_plainly(data: &Path) -> (Duration, Duration) {
    let (data, copy) = (data.to_owned(), data.with_file_name("copy"));
    let copying = tokio::task::spawn_blocking(move || {
        let copied = timed(Command::new("cp").arg("-a").arg(data).arg(&copy));
        let synced = timed(Command::new("sync").arg("-f").arg(&copy));
        fs::remove_dir_all(&copy).expect("it was made here");
        (copied, copied + synced)
    });
    copying.await.expect("no panic")
}

/// Waits until the data is older than what the times of files can tell apart, as most data of a vault is: what is younger
/// when a snapshot begins is copied twice.
async fn let_data_settle(data: &Path) {
    wait::within(PATIENCE, "the data to be some seconds old", async || {
        let newest = newest_change(data).expect("the folder is ours");
        match newest.elapsed() {
            Ok(age) if age >= SETTLED_AFTER => Ok(()),
            age => Err(format!("{age:?}")),
        }
    })
    .await;
}

fn newest_change(folder: &Path) -> io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let changed = match entry.metadata()? {
            metadata if metadata.is_dir() => newest_change(&entry.path())?,
            metadata => metadata.modified()?,
        };
        newest = newest.max(changed);
    }
    Ok(newest)
}

/// Fills a Redis with so many values, takes it through both upgrades, and compares the data after each.
///
/// # Panics
/// If anything is lost, or is not as it should be.
pub async fn through_a_failed_upgrade(megabytes: u64) -> Measured {
    let values = megabytes * 1024 * 1024 / VALUE_BYTES as u64;
    let journey = Journey::begin().await;
    let operator = &journey.operator;
    journey.find_by_checksum();
    let releases = ["7.0.0", "7.0.1", "7.0.2"].map(|version| Release::of(&redis::program(), version));
    let [first, second, third] = &releases;
    let (port, data) = (redis::free_port(), operator.data());
    let args = redis::args(port, &data);
    operator.configure(|config| {
        config["vaults"][VAULT]["args"] = json!(args);
        config["vaults"][VAULT]["data_dir"] = json!(data);
        // It writes out all of its data before it ends.
        config["vaults"][VAULT]["stop"]["grace_secs"] = json!(PATIENCE.as_secs());
    });
    journey.release_with(first, &[]).await;
    let mut daemon = operator.run();
    let before = operator.running(first).await;
    wait::until("redis to listen", async || redis::ask(port, "PING")).await;
    tokio::task::spawn_blocking(move || fill(port, values)).await.expect("no panic").expect("Redis takes it");

    let mut copies = vec![copy_plainly(&data).await];
    let_data_settle(&data).await;
    // While it is written to.
    let writer = Writer::start(port, 0);
    let outage = watch_outage(before.pid, port);
    journey.release_with(second, &[]).await;
    let running = wait::within(PATIENCE, "the upgrade", async || {
        let vault = operator.vault().await;
        let is_it = vault.running.as_ref().is_some_and(|running| running.checksum == second.checksum);
        if is_it && vault.state == "running" { Ok(vault) } else { Err(format!("{vault:?}")) }
    })
    .await;
    let upgrade = outage.join().expect("no panic");
    let downtime_ms = running.last_switch.and_then(|switch| switch.downtime_ms).expect("it was a switch");
    let counter = writer.end();
    holds_all(port, values, counter).await;

    let before = running.running.expect("it runs");
    copies.push(copy_plainly(&data).await);
    let writer = Writer::start(port, counter);
    let outage = watch_outage(before.pid, port);
    journey.release_with(third, &[("state-migration", RUINOUS)]).await;
    let back = wait::within(PATIENCE, "the way back", async || {
        let vault = operator.vault().await;
        let is_it = vault.running.as_ref().is_some_and(|running| running.checksum == second.checksum);
        if is_it && !vault.rejected.is_empty() && vault.state == "running" {
            Ok(vault)
        } else {
            Err(format!("{vault:?}"))
        }
    })
    .await;
    let failed_upgrade = outage.join().expect("no panic");
    assert!(back.rejected[0].reason.contains("exit code 3"), "{:?}", back.rejected);
    let counter = writer.end();
    holds_all(port, values, counter).await;
    assert!(!data.join("new").exists(), "what the migration added is gone");

    daemon.signal(Signal::TERM);
    daemon.end().await;
    copies.push(copy_plainly(&data).await);
    copies.sort();
    let (copy, copy_to_disk) = copies[1];
    Measured {
        bytes: size_of(&data).expect("the folder is ours"),
        copy,
        copy_to_disk,
        upgrade,
        upgrade_by_status: Duration::from_secs_f64(downtime_ms / 1000.0),
        failed_upgrade,
    }
}

fn size_of(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size_of(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
