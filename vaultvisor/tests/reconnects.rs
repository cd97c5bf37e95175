//! All endpoints of a network are down for hours: vaultvisor keeps nothing of the attempts. Alone in its process, because
//! it is the process's memory that is looked at.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use vaultvisor::chain::{ChainStatus, SourceSettings, follow, records::Records};

/// Caches and thread stacks that were not needed before; some bytes for each of 2,000 attempts would be above it.
const FLAT_KIB: u64 = 512;

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(start_paused = true)]
async fn with_all_endpoints_down_memory_stays_flat() {
    // Takes each connection and closes it: no node that answers, and it can be counted.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    std::thread::spawn(move || {
        while listener.accept().is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    for agreement in [1, 2] {
        let settings = SourceSettings {
            network: "dev".to_owned(),
            endpoints: ["a", "b", "c"].map(|path| format!("ws://{address}/{path}")).to_vec(),
            light_client: None,
            genesis: None,
            records: Records::default(),
            agreement: NonZeroUsize::new(agreement).expect("not zero"),
            known: None,
        };
        let (status, seen) = watch::channel(ChainStatus::default());
        let (notes, mut noted) = mpsc::channel(1000);
        let began = Instant::now();
        let looks = async {
            sleep(Duration::from_secs(600)).await;
            let after_ten_minutes = resident_kib();
            sleep(Duration::from_secs(3 * 3600)).await;
            (after_ten_minutes, resident_kib())
        };
        let (before, after) = tokio::select! {
            looks = looks => looks,
            () = follow(settings, status, notes) => panic!("it ended"),
        };
        assert!(began.elapsed() >= Duration::from_secs(3 * 3600), "simulated time");
        assert!(after <= before + FLAT_KIB, "agreement {agreement}: {before} KiB, then {after} KiB");
        let status = seen.borrow().clone();
        assert!(!status.connected && status.endpoints.iter().all(|one| one.problem.is_some()), "{status:?}");
        let mut lines = Vec::new();
        while let Ok(note) = noted.try_recv() {
            lines.push(note.text);
        }
        assert!((1..=4).contains(&lines.len()), "that it is stale is told once an hour: {lines:?}");
        let attempts = attempts.swap(0, Ordering::Relaxed);
        assert!(attempts >= 1000, "{attempts} attempts: it proves nothing");
    }
}
