//! The audit log from outside: files, processes, disks and other people's programs.

#[cfg(feature = "parquet")]
mod archive;
mod cli;
mod crash;
mod disk;
mod export;
mod independent;
mod live;
mod speed;
mod store;
mod tamper;

use std::path::{Path, PathBuf};

use isotherm::audit::{Appended, Kind, Log, Options, Record, Report, Store, verify};
use isotherm::site;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

/// Record times in these tests: 15 s apart, with a fraction now and then.
fn at(step: i64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    start + SignedDuration::from_millis(15_000 * step + step % 3)
}

fn config(dir: &Path) -> site::Audit {
    site::Audit {
        path: dir.join("audit.db"),
        key: dir.join("audit.key"),
        checkpoint_every: 8,
        ..site::Audit::default()
    }
}

fn frame(step: u64) -> (Kind, Box<RawValue>) {
    let chws = json!({"value": 7.1, "unit": "degC", "quality": "good"});
    let body = json!({"frame": {"signals": {"chws": chws}}, "heartbeat": step});
    (Kind::Frame, to_raw_value(&body).unwrap())
}

fn decision(id: u64) -> (Kind, Box<RawValue>) {
    let body = json!({
        "id": id, "cause": "cadence",
        "prompt": {"template": "v1", "text": "chws 7.1\nwarm side ä"},
        "decision": {"rationale": "Lower CHWS by 0.5 K."}, "confidence": 0.1 + 0.2,
        "verdict": {
            "by": "model", "action": [{"target": {"setpoint": "chws_sp"}, "device": "plc", "address": 3,
                                       "words": [85], "value": 8.5, "unit": "degC"}],
            "setpoints": {"chws_sp": 8.5}, "emergency": false, "intervened": true,
            "touched": [{"rule": "rate_limit", "setpoint": "chws_sp", "from": 8.0, "to": 8.5, "limit": 8.5,
                         "why": "0.5 K/min"}],
        },
        "disposition": "write",
    });
    (Kind::Decision, to_raw_value(&body).unwrap())
}

fn outcome(intent: u64) -> (Kind, Box<RawValue>) {
    let body = json!({"intent": intent, "writes": [
        {"target": {"setpoint": "chws_sp"}, "words": [85], "read_back": [85], "result": "applied"}]});
    (Kind::Outcome, to_raw_value(&body).unwrap())
}

fn other(kind: Kind, body: &serde_json::Value) -> (Kind, Box<RawValue>) {
    (kind, to_raw_value(body).unwrap())
}

fn put(store: &mut Store, (kind, body): (Kind, Box<RawValue>)) -> Appended {
    // The step only has to differ from record to record.
    let step = i64::try_from(body.get().len()).unwrap();
    store.append(at(step), kind, &body).unwrap()
}

/// A closed log: a start, then frames, decisions and their outcomes.
fn closed_log(dir: &Path, records: u64) -> PathBuf {
    let config = config(dir);
    let mut store = Store::open(&config, at(0)).unwrap();
    put(&mut store, other(Kind::Start, &json!({"run": "r1", "build": "0.1.0"})));
    for seq in 2..=records {
        let record = match seq % 5 {
            3 => decision(seq),
            4 => outcome(seq - 1),
            _ => frame(seq),
        };
        assert_eq!(put(&mut store, record).seq, seq);
        if seq % 5 == 3 {
            store.commit().unwrap();
        }
    }
    store.close().unwrap();
    config.path
}

fn verified(path: &Path) -> Report {
    verify(path, &Options::default()).unwrap()
}

#[track_caller]
fn assert_verifies(path: &Path) -> Report {
    let report = verified(path);
    assert!(report.ok, "{:#?}", report.problems);
    report
}

fn records(path: &Path) -> Vec<Record> {
    Log::open(path).unwrap().records(0).map(Result::unwrap).collect()
}
