//! `isotherm audit` as it is typed.

use std::fs;
use std::path::Path;

use clap::Parser;
use isotherm::audit::cli::{Args, run};
use serde_json::{Value, json};

use super::closed_log;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    audit: Args,
}

fn audit(args: &[&str]) -> (u8, String) {
    let cli = Cli::try_parse_from([&["audit"], args].concat()).unwrap_or_else(|e| panic!("{e}"));
    let mut out = Vec::new();
    let code = run(&cli.audit, &mut out);
    (code, String::from_utf8(out).unwrap())
}

fn json(args: &[&str]) -> (u8, Value) {
    let (code, text) = audit(&[args, &["--json"]].concat());
    (code, serde_json::from_str(&text).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn verify_says_good_broken_or_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let log = closed_log(dir.path(), 40);
    let log = text(&log);
    let (code, report) = json(&["verify", "--path", log]);
    assert_eq!(code, 0);
    for (field, expected) in [
        ("ok", json!(true)),
        ("records", json!(40)),
        ("first", json!(1)),
        ("last", json!(40)),
        ("checkpoints", json!(5)),
        ("problems", json!([])),
    ] {
        assert_eq!(report[field], expected, "{field}");
    }
    let key = report["public_key"].as_str().unwrap();
    assert_eq!(audit(&["verify", "--path", log, "--key", key]).0, 0);
    assert_eq!(audit(&["verify", "--path", log, "--key", &key.replace(&key[..4], "0000")]).0, 1);
    assert_eq!(audit(&["verify", "--path", log, "--key", "nonsense"]).0, 2);
    // Its private half is no other key, and is not printed as one.
    let private = dir.path().join("audit.key");
    assert_eq!(audit(&["verify", "--path", log, "--key", text(&private)]), (2, String::new()));
    assert_eq!(audit(&["verify", "--path", "/nowhere/at/all.db"]).0, 2);

    let out = dir.path().join("out");
    let (code, exported) = json(&["export", text(&out), "--path", log]);
    assert_eq!((code, &exported["records"]), (0, &json!(40)));
    let checkpoints = out.join("checkpoints.jsonl");
    super::tamper::raw(Path::new(log), |db| {
        db.execute_batch("DELETE FROM record WHERE seq = 40; DELETE FROM checkpoint WHERE seq = 40").unwrap();
    });
    assert_eq!(audit(&["verify", "--path", log]).0, 0);
    let (code, said) = audit(&["verify", "--path", log, "--against", text(&checkpoints)]);
    assert_eq!(code, 1);
    assert!(said.contains("record 40 is missing") && said.contains("NOT VERIFIED"), "{said}");
    let line = fs::read_to_string(&checkpoints).unwrap().lines().last().unwrap().to_owned();
    assert_eq!(audit(&["verify", "--path", log, "--against", &line]).0, 1);
    // The export was made before.
    let key = out.join("public-key.hex");
    assert_eq!(audit(&["verify", "--path", text(&out), "--against", &line, "--key", text(&key)]).0, 0);
}

#[test]
fn list_and_show_answer_questions() {
    let dir = tempfile::tempdir().unwrap();
    let log = closed_log(dir.path(), 40);
    let log = text(&log);
    let (code, said) = audit(&["list", "--path", log, "--kind", "decision", "--limit", "1"]);
    assert_eq!(code, 0);
    assert!(said.contains("38") && said.contains("decision"), "{said}");
    assert!(said.contains("chws_sp 8.5, stopped by rate_limit | Lower CHWS by 0.5 K."), "{said}");
    let (_, listed) = json(&["list", "--path", log, "--rule", "rate_limit", "--limit", "2"]);
    assert_eq!((listed[0]["seq"].as_u64(), listed[1]["seq"].as_u64()), (Some(33), Some(38)));

    let (code, shown) = json(&["show", "38", "--path", log]);
    assert_eq!((code, &shown["record"]["body"]["id"]), (0, &json!(38)));
    assert_eq!(shown["outcomes"][0]["body"]["intent"], 38);
    assert_eq!(audit(&["show", "99", "--path", log]).0, 2);
}

#[test]
fn wrong_usage_is_refused() {
    for wrong in [
        &["verify"][..],
        &["verify", "--path", "a", "--site", "b"],
        &["list", "--path", "a", "--kind", "opinion"],
        &["list", "--path", "a", "--rule", "no_such_rule"],
        &["list", "--path", "a", "--since", "yesterday"],
    ] {
        assert!(Cli::try_parse_from([&["audit"], wrong].concat()).is_err(), "{wrong:?}");
    }
    assert_eq!(audit(&["list", "--site", "/nowhere/site.toml"]).0, 2);
}

/// Checking against nothing is no check.
#[test]
fn what_a_log_is_checked_against_must_be_something() {
    let dir = tempfile::tempdir().unwrap();
    let log = closed_log(dir.path(), 40);
    let (log, out) = (text(&log), dir.path().join("out"));
    assert_eq!(json(&["export", text(&out), "--path", log]).0, 0);
    let checkpoints = out.join("checkpoints.jsonl");
    let against = ["verify", "--path", log, "--against", text(&checkpoints)];
    let (code, report) = json(&against);
    assert_eq!((code, &report["compared"]), (0, &json!(5)));
    assert!(audit(&against).1.contains("compared with 5 of 5 checkpoints kept elsewhere"));
    assert_eq!(json(&["verify", "--path", log]).1["compared"], 0);

    let (nothing, folder) = (dir.path().join("empty.jsonl"), dir.path().join("empty"));
    fs::write(&nothing, "\n").unwrap();
    fs::create_dir(&folder).unwrap();
    assert_eq!(audit(&["verify", "--path", log, "--against", text(&nothing)]), (2, String::new()));
    #[cfg(feature = "parquet")]
    assert_eq!(audit(&["verify", "--path", log, "--archive", text(&folder)]), (2, String::new()));
    assert_eq!(audit(&["verify", "--path", text(&folder)]), (2, String::new()));
}
