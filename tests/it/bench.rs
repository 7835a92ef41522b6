//! The ingest bench runs and loses nothing. Its rates mean something in release builds alone.

use isotherm::bench::ingest::{self, BenchError};

use crate::peers::skip;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_at_two_thousand_messages_a_second() {
    let report = match ingest::run().await {
        Ok(report) => report,
        Err(e @ BenchError::NoBroker) => return skip("bench_ingest", &e.to_string()),
        Err(e) => panic!("{e}"),
    };
    assert_eq!((report.lost, report.sent, report.paced_per_s), (0, 10_000, 2_000));
    assert!(report.mqtt_readings_per_s > 0.0 && report.modbus_registers_per_s > 0.0, "{report:?}");
    let json = serde_json::to_value(&report).unwrap();
    for key in ["mqtt_readings_per_s", "modbus_registers_per_s", "lost"] {
        assert!(json[key].is_number(), "{key}");
    }
    println!("{json}");
}

#[cfg(feature = "demo")]
mod control {
    use std::path::Path;
    use std::process::Command;

    use serde_json::Value;

    const COLUMNS: [&str; 13] = [
        "cooling_kwh",
        "facility_kwh",
        "pue",
        "stability_k",
        "over_degh",
        "throttled_gpu_h",
        "tflop_h",
        "kwh_per_tflop_h",
        "travel",
        "interventions",
        "decide_p50_ms",
        "decide_p99_ms",
        "hard_limit_violations",
    ];

    fn bench(args: &[&str]) -> (i32, String, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_isotherm")).arg("bench").args(args).output().unwrap();
        let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    }

    fn run(out: &Path, more: &[&str]) -> Value {
        let dir = out.to_str().unwrap();
        let mut args =
            vec!["control", "--hours", "2", "--scenarios", "*summer-burst", "--out", dir, "--json"];
        args.extend(more);
        let (code, out, err) = bench(&args);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    }

    #[test]
    fn every_controller_runs_and_reports_its_columns() {
        let dir = tempfile::tempdir().unwrap();
        let report = run(dir.path(), &["--seeds", "2"]);
        let rows = report["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 3 * 5, "three plants, five controllers");
        for row in rows {
            for column in COLUMNS {
                let cell = &row[column];
                assert!(cell["mean"].is_number() && cell["ci95"].is_number(), "{column}: {row}");
            }
            assert!(row["verified_pct"].is_null(), "no rationale, nothing verified: {row}");
            assert_eq!(row["seeds"], 2);
            assert_eq!(row["hard_limit_violations"]["mean"], 0.0, "{row}");
            assert!(row["decisions"]["mean"].as_f64() >= Some(22.0), "one each 5 min for 2 h: {row}");
        }
        let travel = |law: &str| -> f64 {
            let of = rows.iter().filter(|r| r["controller"] == law);
            of.map(|r| r["travel"]["mean"].as_f64().unwrap()).sum()
        };
        assert!(travel("fixed") < 1e-9);
        for law in ["trim", "pid", "mpc", "rl"] {
            assert!(travel(law) > 0.1, "{law}");
        }
        let saved = report["summary"].as_array().unwrap();
        let of_fixed = saved.iter().find(|s| s["controller"] == "fixed" && s["plants"] == "all").unwrap();
        assert_eq!(of_fixed["cooling_saving_pct"]["mean"], 0.0);
        for file in ["results.md", "results.json", "plots/air-summer-burst.svg", "plots/energy-stability.svg"]
        {
            assert!(dir.path().join(file).metadata().unwrap().len() > 500, "{file}");
        }
    }

    #[test]
    fn what_is_there_is_not_run_again_and_equal_runs_are_equal() {
        let dir = tempfile::tempdir().unwrap();
        let few = ["--plants", "air", "--controllers", "pid", "--seeds", "2", "--jobs", "1"];
        let first = run(dir.path(), &few);
        let runs = dir.path().join("runs.jsonl");
        let text = std::fs::read_to_string(&runs).unwrap();
        assert_eq!(text.lines().count(), 2);
        // One kept with another number, one lost half-way through its line: the first is believed, the
        // second run again, with the result that it had.
        let (kept, lost) = text.trim_end().split_once('\n').unwrap();
        let mut marked: Value = serde_json::from_str(kept).unwrap();
        marked["cooling_kwh"] = 1.0.into();
        std::fs::write(&runs, format!("{marked}\n{}", &lost[..lost.len() / 2])).unwrap();
        let second = run(dir.path(), &few);
        let cooling = |r: &Value| r["rows"][0]["cooling_kwh"]["mean"].as_f64().unwrap();
        let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["cooling_kwh"].as_f64().unwrap();
        assert!((cooling(&first) - f64::midpoint(of(kept), of(lost))).abs() < 1e-9);
        assert!((cooling(&second) - f64::midpoint(1.0, of(lost))).abs() < 1e-9, "{second}");
    }

    #[test]
    fn hindsight_finds_less_than_the_commissioned_setpoints_cost() {
        let args = [
            "hindsight",
            "--hours",
            "1",
            "--parts",
            "2",
            "--scenarios",
            "immersion-mild-inference",
            "--json",
        ];
        let (code, out, err) = bench(&args);
        assert_eq!(code, 0, "{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        let row = &report["rows"][0];
        let spent = |who: &str| row[who]["cooling_kwh"].as_f64().unwrap();
        assert!(spent("any") <= spent("safe") && spent("safe") < spent("fixed"), "{row}");
        let over = |who: &str| row[who]["over_degh"].as_f64().unwrap();
        assert!(over("safe") <= over("fixed") + 0.01, "{row}");
        let plan = row["safe"]["plan"].as_array().unwrap();
        assert!(plan.len() == 2 && plan.iter().all(|part| part.as_array().unwrap().len() == 3), "{row}");
    }

    #[test]
    fn wrong_arguments_are_explained() {
        for (args, expected) in [
            (["control", "--controllers", "magic"], "expected one of llm, fixed, trim, pid"),
            (["control", "--scenarios", "mars-*"], "there are air-summer-training"),
            (["control", "--plants", "steam"], "expected air, liquid or immersion"),
            (["control", "--hours", "0"], "expected more than 0"),
            (["control", "--policies", "no/such/folder"], "no/such/folder/air.json"),
            (["hindsight", "--parts", "0"], "0 is not in 1..=24"),
        ] {
            let (code, _, err) = bench(&args);
            assert!(code == 2 && err.contains(expected), "{code}: {err}");
        }
    }

    #[test]
    fn a_log_has_what_was_seen_done_and_what_came_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().to_str().unwrap();
        let log =
            ["log", "--hours", "2", "--seeds", "1", "--scenarios", "liquid-mild-training", "--out", out];
        let (code, printed, err) = bench(&log);
        assert_eq!(code, 0, "{err}");
        let mut table = csv::Reader::from_path(dir.path().join("liquid.csv")).unwrap();
        let header = table.headers().unwrap().clone();
        let column = |name: &str| header.iter().position(|h| h == name).unwrap_or_else(|| panic!("{name}"));
        let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert_eq!(printed.trim(), format!("{} rows", rows.len()));
        let behaviours: std::collections::BTreeSet<&str> =
            rows.iter().map(|r| r.get(column("behaviour")).unwrap()).collect();
        assert_eq!(behaviours.len(), 9, "{behaviours:?}");
        let number = |row: &csv::StringRecord, name: &str| row[column(name)].parse::<f64>().unwrap();
        let (mut moved, mut followed) = (0, 0);
        for pair in rows.windows(2) {
            let [row, next] = pair else { continue };
            if row[column("behaviour")] != next[column("behaviour")] {
                continue;
            }
            assert!((number(row, "next_cdu_supply") - number(next, "cdu_supply")).abs() < 1e-9);
            assert!(number(row, "facility_kw") > number(row, "cooling_kw"));
            let (before, action) = (number(row, "cdu_supply_sp"), number(row, "action_cdu_supply_sp"));
            moved += u32::from((before - action).abs() > 0.01);
            followed += u32::from((number(next, "cdu_supply_sp") - action).abs() < 0.01);
        }
        assert!(moved > 10, "{moved}");
        assert!(followed > 150, "an action is where the setpoint then is: {followed}");
        let again = tempfile::tempdir().unwrap();
        let mut args = log;
        args[8] = again.path().to_str().unwrap();
        assert_eq!(bench(&args).0, 0);
        let read = |d: &Path| std::fs::read(d.join("liquid.csv")).unwrap();
        assert!(read(dir.path()) == read(again.path()), "the same seed gives the same log");
    }
}
