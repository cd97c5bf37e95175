//! What is answered to whom.

use std::sync::Mutex;

use http_body_util::BodyExt;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST};
use serde_json::Value;

use super::*;
use crate::history::Writer;

/// A daemon with a status and a history.
pub(super) struct Fake {
    pub(super) status: Status,
    counters: Counters,
    home: tempfile::TempDir,
    /// Who holds it keeps every status waiting, as a disk that hangs does.
    disk: Arc<Mutex<()>>,
}

impl Daemon for Fake {
    fn status(&self) -> Status {
        let _turn = self.disk.lock();
        self.status.clone()
    }
    fn counters(&self) -> &Counters {
        &self.counters
    }
    fn home(&self) -> &Path {
        self.home.path()
    }
}

const HOSTILE: &str = "<script>alert('&\"')</script>";

pub(super) fn fake() -> Fake {
    let checksum = "ab".repeat(32);
    let json = json!({
        "version": "0.1.0", "pid": 1, "started_at": "2026-01-02T03:04:05Z", "problem": null,
        "vaults": [{
            "name": "a", "network": "dev", "state": "probation", "why": HOSTILE, "since": null,
            "running": {"version": "1.16.0", "checksum": checksum, "pid": 4243, "restarts": 0, "adopted": true},
            "target": {"version": "1.16.0", "checksum": checksum, "sequence": 7},
            "override": {"version": "1.16.1", "checksum": checksum},
            "pending": {"version": "1.17.0", "checksum": checksum, "spec_version": 2, "fetched": false},
            "rejected": [{"checksum": checksum, "version": "1.15.0", "reason": HOSTILE, "attempts": 1,
                "retry_at": "2026-01-02T03:04:05Z"}],
            "chain": {"source": HOSTILE, "connected": false, "genesis": format!("0x{checksum}"),
                "finalized": 123, "finalized_at": "2026-01-02T03:04:05Z", "spec_version": 1, "stale_since": "2026-02-03T04:05:06Z",
                "endpoints": [{"address": "wss://second", "connected": false, "finalized": null,
                    "problem": HOSTILE, "since": "2026-01-02T03:04:05Z"}]},
            "last_switch": {"from": "1.15.9", "to": "1.16.0", "downtime_ms": 7.4, "at": "2026-01-02T03:04:05Z"},
            "problem": HOSTILE, "hold": {"reason": HOSTILE, "since": "2026-01-02T03:04:05Z"}
        }]
    });
    let status = serde_json::from_value(json).expect("a status");
    Fake {
        status,
        counters: Counters::default(),
        home: tempfile::tempdir().expect("home"),
        disk: Arc::default(),
    }
}

fn site(fake: Fake) -> Site<Fake> {
    Site::new(Arc::new(fake), true)
}

async fn ask(site: &Site<Fake>, method: Method, target: &str) -> (StatusCode, hyper::HeaderMap, String) {
    let request = Request::builder().method(method).uri(target).header(HOST, "127.0.0.1:9616");
    let answer = site.answer(&request.body(()).expect("a request")).await;
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.expect("in memory").to_bytes();
    (parts.status, parts.headers, String::from_utf8(bytes.into()).expect("UTF-8"))
}

async fn get(site: &Site<Fake>, target: &str) -> (StatusCode, String) {
    let (status, _, body) = ask(site, Method::GET, target).await;
    (status, body)
}

#[tokio::test]
async fn each_page_has_its_type_and_is_of_this_moment() {
    let site = site(fake());
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/api/v1/status", "application/json"),
        ("/api/v1/history", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
    ] {
        let (status, headers, body) = ask(&site, Method::GET, path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers[CONTENT_TYPE], content_type, "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(!body.is_empty(), "{path}");
        assert_eq!(ask(&site, Method::HEAD, path).await.0, StatusCode::OK, "{path}");
    }
    let document: Status =
        serde_json::from_str(&get(&site, "/api/v1/status").await.1).expect("the status document");
    assert_eq!(document.vaults[0].name, "a");
}

#[tokio::test]
async fn nothing_but_reading_is_possible_and_nothing_else_is_there() {
    let site = site(fake());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE] {
        let (status, headers, _) = ask(&site, method.clone(), "/api/v1/status").await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(headers[ALLOW], "GET, HEAD");
    }
    for path in ["/x", "/metrics/", "//", "/../etc/passwd", "/api/v1/hold", "/api/v1/status/", "/%2e%2e"] {
        assert_eq!(get(&site, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_reads_nothing_unless_others_are_allowed() {
    let foreign = || {
        let request = Request::builder().uri("/api/v1/status").header(HOST, "evil.example:9616");
        request.body(()).expect("a request")
    };
    let local = Site::new(Arc::new(fake()), true).answer(&foreign()).await;
    assert_eq!(local.status(), StatusCode::MISDIRECTED_REQUEST);
    let body = local.into_body().collect().await.expect("in memory").to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains("4243"), "it tells nothing of the vaults");
    let open = Site::new(Arc::new(fake()), false).answer(&foreign()).await;
    assert_eq!(open.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_page_tells_everything_and_escapes_what_others_wrote() {
    let (_, page) = get(&site(fake()), "/").await;
    assert!(!page.contains("<script"), "{page}");
    let escaped = "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;";
    assert_eq!(page.matches(escaped).count(), 6, "why, reason, source, endpoint, problem, hold\n{page}");
    let checksum = "ab".repeat(32);
    for told in [
        "wss://second",
        "2026-02-03",
        "probation",
        "4243",
        "adopted",
        "1.16.1",
        "1.17.0",
        "1.15.0",
        "1.15.9",
        "7.4 ms",
        "block 123",
        &checksum,
    ] {
        assert!(page.contains(told), "{told} is not told\n{page}");
    }
    assert!(page.contains("<title>1 of 1 run, 1 problem – Vaultvisor</title>"), "{page}");
    // Self-contained: it loads nothing, from here or elsewhere.
    for loads in ["src=", "<link", "url(", "@import"] {
        assert!(!page.contains(loads), "{loads}");
    }
}

#[tokio::test]
async fn ready_means_that_every_vault_runs_or_is_stopped_on_purpose() {
    let with = |state, runs: bool| {
        let mut fake = fake();
        fake.status.vaults[0].state = state;
        fake.status.vaults[0].running.take_if(|_| !runs);
        site(fake)
    };
    for (state, runs, expected) in [
        (Name::Running, true, StatusCode::OK),
        (Name::Held, true, StatusCode::OK),
        (Name::Stopped, false, StatusCode::OK),
        (Name::Blocked, false, StatusCode::SERVICE_UNAVAILABLE),
        (Name::Waiting, false, StatusCode::SERVICE_UNAVAILABLE),
        (Name::Held, false, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let site = with(state, runs);
        let (status, body) = get(&site, "/readyz").await;
        assert_eq!(status, expected, "{state}");
        assert_eq!(body.starts_with("a is "), expected != StatusCode::OK, "{body}");
        assert_eq!(get(&site, "/healthz").await.0, StatusCode::OK, "alive is not ready");
    }
}

#[tokio::test]
async fn the_history_is_bounded_and_garbage_in_its_query_is_refused() {
    let fake = fake();
    let mut writer = Writer::new(fake.home.path());
    let write = |writer: &mut Writer, vault: &str, text: &str, count: usize| {
        let line = json!({"at": "2026-01-02T03:04:05Z", "vault": vault, "network": "dev", "kind": "kept",
            "from": null, "to": null, "text": text, "finalized": 1, "sequence": 1, "spec_version": 1});
        let record: Record = serde_json::from_value(line).expect("a record");
        writer.append(&vec![record; count]).expect("written");
    };
    write(&mut writer, "b", "first", 1);
    write(&mut writer, "a", &"x".repeat(2000), 1100);
    write(&mut writer, "b", "last", 1);
    let site = site(fake);
    let texts = async |query: &str| -> Vec<String> {
        let (status, body) = get(&site, &format!("/api/v1/history{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {body}");
        assert!(body.len() <= MAX_HISTORY_BYTES + 3, "{query}: {} bytes", body.len());
        let entries: Vec<Value> = serde_json::from_str(&body).expect("an array");
        entries.into_iter().filter_map(|entry| Some(entry["text"].as_str()?.to_owned())).collect()
    };
    assert_eq!(texts("").await.len(), DEFAULT_ENTRIES);
    assert_eq!(texts("?vault=b").await, ["first", "last"]);
    assert_eq!(texts("?vault=b&limit=1").await, ["last"]);
    assert_eq!(texts("?vault=%62").await.len(), 2);
    assert_eq!(texts("?vault=nobody").await, [""; 0]);
    let most = texts("?limit=1000").await;
    assert!(most.len() > 400 && most.len() < 1000, "as many as fit: {}", most.len());
    assert_eq!(most.last().map(String::as_str), Some("last"));
    for query in [
        "?limit=0",
        "?limit=1001",
        "?limit=-1",
        "?limit=x",
        "?limit=",
        "?limit=1&limit=2",
        "?x=1",
        "?&vault=a&vault=b",
    ] {
        let (status, body) = get(&site, &format!("/api/v1/history{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {body}");
        let refusal: Value = serde_json::from_str(&body).expect("JSON");
        assert!(refusal["error"].is_string(), "{body}");
    }
}

/// On a runtime of one thread: what a disk that hangs kept from going on would be everything.
#[tokio::test]
#[expect(clippy::await_holding_lock, reason = "who waits for it is what this is about, and no task does")]
async fn a_disk_that_hangs_holds_up_two_threads_and_no_task() {
    let fake = fake();
    let disk = fake.disk.clone();
    let site = Arc::new(site(fake));
    let hangs = disk.lock().expect("no panic");
    let ask_in_vain = || {
        let site = site.clone();
        tokio::spawn(async move { get(&site, "/").await })
    };
    let waiting: Vec<_> = (0..40).map(|_| ask_in_vain()).collect();
    while site.makers.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&site, "/healthz").await.0, StatusCode::OK);
    // Given up, they leave no more threads behind than there are turns.
    for client in &waiting {
        client.abort();
    }
    for client in waiting {
        assert!(client.await.is_err_and(|error| error.is_cancelled()));
    }
    assert_eq!(site.makers.available_permits(), 0, "the work of the first goes on");
    drop(hangs);
    assert_eq!(get(&site, "/").await.0, StatusCode::OK);
}
