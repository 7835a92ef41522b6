//! `isotherm replay` of what is no recording, or none of this site.

use std::fs;
use std::path::{Path, PathBuf};

use isotherm::audit::{Kind, Store};
use isotherm::site;
use serde_json::{Value, json, value::to_raw_value};

use super::{code, isotherm, shipped, stderr, stdout};

/// Runs `isotherm replay`: the exit code, and all that was said.
fn replay(args: &[&str]) -> (i32, String) {
    let output = isotherm(&[&["replay"], args].concat());
    (code(&output), stdout(&output) + &stderr(&output))
}

#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let (exit, said) = replay(args);
    assert_eq!(exit, 2, "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: {said:?} does not say {word:?}");
    }
}

/// A closed log with these records.
pub(super) fn log(dir: &Path, records: &[(Kind, Value)]) -> PathBuf {
    let config =
        site::Audit { path: dir.join("audit.db"), key: dir.join("audit.key"), ..site::Audit::default() };
    let at = "2026-01-31T12:00:00Z".parse().unwrap();
    let mut store = Store::open(&config, at).unwrap();
    for (kind, body) in records {
        store.append(at, *kind, &to_raw_value(body).unwrap()).unwrap();
    }
    store.close().unwrap();
    config.path
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

#[test]
fn what_cannot_be_read_is_said_first() {
    let site = &shipped("air");
    refused(&["nowhere.db", "--verify"], &["nowhere.db", "cannot read"]);
    refused(&["nowhere.csv", "--site", "nor-this.toml"], &["nowhere.csv", "cannot read"]);
    let dir = Folder::new();
    let trace = dir.file("t.csv", "time,it_load\n2026-01-31T12:00:00Z,900\n");
    refused(&[&trace, "--site", site, "--what-if", "nope"], &["nope", "--what-if", "GGUF"]);
    refused(&[&trace, "--verify", "--site", site], &["--verify", "--site"]);
}

#[test]
fn an_empty_recording_is_no_good_one() {
    let (dir, site) = (Folder::new(), &shipped("air"));
    let empty = log(dir.0.path(), &[]);
    let (exit, said) = replay(&[empty.to_str().unwrap(), "--verify"]);
    assert!(exit == 1 && said.contains("nothing was verified"), "{exit} {said}");
    refused(&[empty.to_str().unwrap(), "--site", site], &["audit.db", "has no frames"]);

    refused(&[&dir.file("e.jsonl", ""), "--site", site], &["e.jsonl", "has no frames"]);
    refused(&[&dir.file("e.csv", "time,it_load\n"), "--site", site], &["e.csv", "has no frames"]);
    let rows = "time,it_load\n2026-01-31T12:00:00Z,900\n2026-01-31T12:01:00Z,910\n";
    let trace = &dir.file("t.csv", rows);
    let there = ["it has 2 from 2026-01-31T12:00:00Z to 2026-01-31T12:01:00Z"];
    refused(&[trace, "--site", site, "--from", "2026-02-01T00:00:00Z"], &there);
    refused(&[trace, "--site", site, "--to", "2026-01-01T00:00:00Z"], &there);
    let (from, to) = ("2026-01-31T12:01:00Z", "2026-01-31T12:00:00Z");
    refused(&[trace, "--site", site, "--from", from, "--to", to], &there);
}

#[test]
fn a_recording_of_another_site_is_refused() {
    let dir = Folder::new();
    let sample = json!({"value": 31, "unit": "degC", "quality": "good", "age_s": 0, "worst": null});
    let frame = json!({"time": "2026-01-31T12:00:00Z", "signals": {"elsewhere": sample}, "setpoints": {}});
    let log = log(dir.0.path(), &[(Kind::Frame, json!({"frame": frame, "heartbeat": null}))]);
    let words = ["none of the site's signals and setpoints is in it"];
    refused(&[log.to_str().unwrap(), "--site", &shipped("air")], &words);
    let mapped = [log.to_str().unwrap(), "--site", &shipped("air"), "--mapping", "map.toml"];
    refused(&mapped, &["audit.db", "--mapping is for CSV and Parquet", "leave it out"]);
    let lines = dir.file("f.jsonl", "{\"time\":\"2026-01-31T12:00:00Z\",\"signals\":{\"elsewhere\":31}}\n");
    refused(&[&lines, "--site", &shipped("air")], &words);
}

/// What a site and a recording do not have of each other is in the report: what is decided without inputs is
/// no decision.
#[test]
fn a_report_says_what_the_recording_lacks() {
    let dir = Folder::new();
    let site = fs::read_to_string(shipped("air")).unwrap();
    let site = &dir.file("site.toml", &site.replace("[model]", "[model]\nbackend = \"none\""));
    let rows: Vec<String> = (0..20).map(|m| format!("2026-01-31T12:{m:02}:00Z,900,1\n")).collect();
    let csv = &dir.file("t.csv", &format!("time,it_load,door\n{}", rows.concat()));
    let (exit, said) = replay(&[csv, "--site", site, "--json"]);
    let report: Value = serde_json::from_str(&said[..=said.rfind("\n}").unwrap() + 1]).unwrap();
    assert_eq!(exit, 0, "{said}");
    let coverage = &report["coverage"];
    let missing = coverage["missing"].to_string();
    assert!(missing.contains("hall_a_inlet_max") && missing.contains("chws_sp"), "{coverage}");
    assert!(!missing.contains("it_load"), "{coverage}");
    assert_eq!(coverage["ignored"], json!(["door"]));
    assert!(report["decisions"].as_u64().unwrap() > 1, "{report}");
    assert_eq!(coverage["holds"], report["decisions"], "{report}");
    let (_, said) = replay(&[csv, "--site", site]);
    assert!(
        said.contains("for want of a required signal") && said.contains("left out        door"),
        "{said}"
    );

    let line = "{\"time\":\"2026-01-31T12:00:00Z\",\"signals\":{\"it_load\":900,\"door\":1}}\n";
    let (_, said) = replay(&[&dir.file("f.jsonl", line), "--site", site]);
    assert!(said.contains("left out        door"), "{said}");
}

#[test]
fn a_column_twice_and_a_unit_of_something_else_are_refused() {
    let (dir, site) = (Folder::new(), &shipped("air"));
    let twice = dir.file("t.csv", "time,it_load,it_load\n2026-01-31T12:00:00Z,900,800\n");
    refused(&[&twice, "--site", site], &["t.csv", "\"it_load\" is there twice"]);
    let two = dir.file("two.csv", "time,a,b\n2026-01-31T12:00:00Z,900,800\n");
    let columns = ["a", "b"].map(|c| format!("[[column]]\ncolumn = \"{c}\"\nsignal = \"it_load\"\n"));
    let mapping = dir.file("map.toml", &format!("[time]\ncolumn = \"time\"\n{}", columns.concat()));
    refused(&[&two, "--site", site, "--mapping", &mapping], &["map.toml", "it_load", "\"a\" and \"b\""]);
    let line = r#"{"time":"2026-01-31T12:00:00Z","signals":{"it_load":{"value":9,"unit":"degC"}}}"#;
    let frames = dir.file("f.jsonl", line);
    refused(&[&frames, "--site", site], &["f.jsonl:1", "/signals/it_load/unit", "degC", "kW"]);
}
