//! What Prometheus reads, and that it can.

use std::collections::BTreeSet;

use super::*;
use crate::{
    decide::{Entry, states::TRANSITIONS},
    status::Time,
};

fn record(vault: &str, kind: Kind, downtime_us: Option<u64>) -> Record {
    let (from, to, finalized, sequence, spec_version) = (None, None, None, None, None);
    let text = String::new();
    let entry = Entry { kind, from, to, text, finalized, sequence, spec_version, downtime_us };
    Record { at: Time(1), vault: Some(vault.to_owned()), network: "kintsugi".to_owned(), entry }
}

/// One vault that runs with everything that can be said of one, and one of which nothing is known.
fn status() -> Status {
    let (new, old) = ("ab".repeat(32), "cd".repeat(32));
    let json = serde_json::json!({
        "version": "0.1.0", "pid": 1, "started_at": "2026-01-02T03:04:05Z", "problem": null,
        "vaults": [{
            "name": "a", "network": "kintsugi", "state": "running", "why": "healthy", "since": null,
            "running": {"version": "1.16.0", "checksum": old, "pid": 2, "restarts": 0, "adopted": false},
            "target": {"version": "1.17.0", "checksum": new, "sequence": 7},
            "pending": null,
            "rejected": [
                {"checksum": new, "version": "1.17.0", "reason": "it ended", "attempts": 1,
                    "retry_at": "2126-01-02T03:04:05Z"},
                {"checksum": "ef".repeat(32), "version": "1.15.0", "reason": "remembered", "attempts": 1,
                    "retry_at": "2026-01-02T03:04:05Z"},
            ],
            "chain": {"source": "wss://a \"quoted\\\" name", "connected": true, "genesis": format!("0x{new}"),
                "finalized": 123, "finalized_at": "1970-01-01T00:01:40Z", "spec_version": 1, "endpoints": [
                    {"address": "wss://a \"quoted\\\" name", "connected": true, "finalized": 123,
                        "problem": null, "since": "2026-01-02T03:04:05Z"},
                    {"address": "wss://b", "connected": false, "finalized": null,
                        "problem": "gone", "since": "2026-01-02T03:04:05Z"},
                    {"address": "wss://never-tried", "connected": false, "finalized": null,
                        "problem": null, "since": "2026-01-02T03:04:05Z"},
                ]},
            "last_switch": null, "problem": "it\nended", "unseen_runtime": "see whether it works",
            "hold": null
        }, {
            "name": "b", "network": "kintsugi", "state": "rolling_back", "why": "", "since": null, "running": null,
            "target": null, "pending": null, "rejected": [], "chain": null, "last_switch": null,
            "problem": null, "hold": null
        }]
    });
    serde_json::from_value(json).expect("a status")
}

#[test]
fn every_metric_of_the_contract_is_there_with_its_labels() {
    let counters = Counters::default();
    for (kind, downtime_us) in
        [(Kind::Started, Some(7_400)), (Kind::Kept, None), (Kind::Rejected, None), (Kind::Crashed, None)]
    {
        counters.count(&record("a", kind, downtime_us));
    }
    counters.count(&record("a", Kind::Started, Some(3_600_000_000)));
    counters.downloads("kintsugi").fetch_add(42, Ordering::Relaxed);
    let text = render(&status(), &counters);
    let (new, old) = ("ab".repeat(32), "cd".repeat(32));
    for line in [
        r#"vaultvisor_build_info{version="0.1.0"} 1"#,
        "vaultvisor_problem 0",
        r#"vaultvisor_vault_up{vault="a",network="kintsugi"} 1"#,
        r#"vaultvisor_vault_up{vault="b",network="kintsugi"} 0"#,
        r#"vaultvisor_vault_state{vault="a",network="kintsugi",state="running"} 1"#,
        r#"vaultvisor_vault_state{vault="a",network="kintsugi",state="blocked"} 0"#,
        r#"vaultvisor_vault_state{vault="b",network="kintsugi",state="rolling_back"} 1"#,
        r#"vaultvisor_vault_problem{vault="a",network="kintsugi"} 1"#,
        r#"vaultvisor_vault_unseen_runtime{vault="a",network="kintsugi"} 1"#,
        r#"vaultvisor_vault_unseen_runtime{vault="b",network="kintsugi"} 0"#,
        &format!(
            r#"vaultvisor_release_info{{vault="a",network="kintsugi",version="1.16.0",checksum="{old}"}} 1"#
        ),
        &format!(
            r#"vaultvisor_target_info{{vault="a",network="kintsugi",version="1.17.0",checksum="{new}"}} 1"#
        ),
        r#"vaultvisor_rejections{vault="a",network="kintsugi"} 1"#,
        r#"vaultvisor_updates_total{vault="a",network="kintsugi",outcome="kept"} 1"#,
        r#"vaultvisor_updates_total{vault="a",network="kintsugi",outcome="rejected"} 1"#,
        r#"vaultvisor_updates_total{vault="b",network="kintsugi",outcome="kept"} 0"#,
        r#"vaultvisor_restarts_total{vault="a",network="kintsugi"} 1"#,
        r#"vaultvisor_switch_downtime_seconds_bucket{vault="a",network="kintsugi",le="0.005"} 0"#,
        r#"vaultvisor_switch_downtime_seconds_bucket{vault="a",network="kintsugi",le="0.01"} 1"#,
        r#"vaultvisor_switch_downtime_seconds_bucket{vault="a",network="kintsugi",le="600"} 1"#,
        r#"vaultvisor_switch_downtime_seconds_bucket{vault="a",network="kintsugi",le="+Inf"} 2"#,
        r#"vaultvisor_switch_downtime_seconds_sum{vault="a",network="kintsugi"} 3600.0074"#,
        r#"vaultvisor_switch_downtime_seconds_count{vault="a",network="kintsugi"} 2"#,
        r#"vaultvisor_chain_finalized_number{network="kintsugi"} 123"#,
        r#"vaultvisor_chain_last_update_timestamp_seconds{network="kintsugi"} 100"#,
        r#"vaultvisor_chain_endpoint_up{network="kintsugi",endpoint="wss://a \"quoted\\\" name"} 1"#,
        r#"vaultvisor_chain_endpoint_up{network="kintsugi",endpoint="wss://b"} 0"#,
        r#"vaultvisor_download_bytes_total{network="kintsugi"} 42"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// The rules of the format that a reader may rely on.
#[test]
fn the_text_can_be_parsed_whatever_names_and_sources_hold() {
    let mut status = status();
    let hostile = "a\"} 1\nvaultvisor_vault_up{vault=\"x\\";
    status.version = hostile.to_owned();
    status.vaults[0].chain.as_mut().expect("there").source = hostile.to_owned();
    let text = render(&status, &Counters::default());
    let sample = regex::Regex::new(
        r#"^([a-z_]+)(\{[a-z_]+="([^"\\]|\\["\\n])*"(,[a-z_]+="([^"\\]|\\["\\n])*")*\})? [0-9.]+$"#,
    )
    .expect("regex");
    let (mut family, mut families, mut series) = (String::new(), BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("name and type");
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(families.insert(name.to_owned()), "declared twice: {line}");
            family = name.to_owned();
        } else if !line.starts_with("# HELP ") {
            let found = sample.captures(line).unwrap_or_else(|| panic!("not a sample: {line}"));
            let name = found[1].trim_end_matches("_bucket").trim_end_matches("_sum");
            let name = if families.contains(name) { name } else { name.trim_end_matches("_count") };
            assert_eq!(name, family, "samples come behind their family: {line}");
            let (labelled, _) = line.rsplit_once(' ').expect("matched");
            assert!(series.insert(labelled.to_owned()), "there twice: {line}");
        }
    }
    assert!(text.ends_with('\n'));
}

#[test]
fn a_vault_is_in_exactly_one_of_all_states() {
    for (before, after, _) in TRANSITIONS {
        assert!(Name::ALL.contains(before) && Name::ALL.contains(after), "{before} or {after} is missing");
    }
    let text = render(&status(), &Counters::default());
    let of_a = text.lines().filter(|line| line.starts_with(r#"vaultvisor_vault_state{vault="a","#));
    let values: Vec<&str> = of_a.filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(values.len(), Name::ALL.len());
    assert_eq!(values.iter().filter(|value| **value == "1").count(), 1);
}

/// What is promised to operators, and what their alerts ask for, is there under that name.
#[test]
fn the_documented_metrics_are_the_ones_that_are_there() {
    let text = render(&status(), &Counters::default());
    let names = |text: &str, prefix: &str| -> BTreeSet<String> {
        let name = regex::Regex::new(&format!("{prefix}(vaultvisor_[a-z_]+)")).expect("regex");
        name.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let there = names(&text, "# TYPE ");
    let document = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
        std::fs::read_to_string(path).expect("a page of the documentation")
    };
    assert_eq!(names(&document("operators.md"), r"\n\| `"), there);
    let asked = names(&document("prometheus-alerts.yml"), "");
    assert!(asked.is_subset(&there), "{asked:?}");
}
