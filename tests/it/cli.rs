//! The commands as people type them: exit codes, messages, and what a controls engineer sees first.

mod mistakes;
mod recordings;
mod sites;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::agent::Rig;
use crate::peers::lacks;

fn isotherm(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isotherm")).args(args).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped(plant: &str) -> String {
    root().join(format!("sites/{plant}.toml")).display().to_string()
}

#[test]
fn version_names_the_llama_build() {
    let output = isotherm(&["--version"]);
    let text = stdout(&output);
    assert!(text.contains(env!("CARGO_PKG_VERSION")) && text.contains("llama.cpp"), "{text}");
}

#[test]
fn a_missing_site_file_is_explained() {
    for command in ["run", "check", "doctor"] {
        let output = isotherm(&[command, "--site", "no-such-site.toml"]);
        assert_eq!(code(&output), 2, "{command}");
        let message = stderr(&output);
        assert!(message.contains("no-such-site.toml") && message.contains("--site"), "{command}: {message}");
    }
}

#[test]
fn an_unreachable_peer_is_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    // Ports that were free a moment ago.
    let free =
        || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    let text = text.replace("port = 1883", &format!("port = {}", free()));
    std::fs::write(&site, text.replace("port = 1502", &format!("port = {}", free()))).unwrap();
    let output = isotherm(&["check", "--site", site.to_str().unwrap(), "--json"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let problems = report["unreachable"].to_string();
    assert!(problems.contains("broker") && problems.contains("chws_sp"), "{problems}");
}

/// A console address that something else has is named, with the setting to change.
#[tokio::test]
async fn a_taken_console_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let edit = |t: String| t.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""));
    let Some(rig) = Rig::start_without_agent("console port", edit).await else { return };
    let (code, _, err) = rig.cli(&["run", "--site", "site.toml"]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("console.listen") && err.contains(&address), "{err}");
}

/// `check` alone: every signal's value, unit, age and quality, every setpoint's register; nothing written.
#[tokio::test]
async fn check_shows_a_new_plant_and_writes_nothing() {
    let edit = |t: String| {
        t.replace("clock = \"frames\"", "clock = \"wall\"").replace("mode = \"auto\"", "mode = \"shadow\"")
    };
    let Some(mut rig) = Rig::start_without_agent("check", edit).await else { return };
    rig.written().await;
    let feed = rig.feed();
    let (exit, out, err) = rig.cli(&["check", "--site", "site.toml", "--json"]).await;
    feed.abort();
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {err}"));
    let row =
        |name: &str| report["rows"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone();
    assert_eq!(exit, 0, "{report:#}");
    assert_eq!((&row("inlet")["value"], &row("inlet")["unit"]), (&22.0.into(), &"degC".into()));
    assert_eq!((&row("inlet")["quality"], &row("chws_sp")["kind"]), (&"good".into(), &"setpoint".into()));
    assert_eq!(row("chws_sp")["value"], 7.0, "the register as it is");
    assert!(row("inlet")["age_s"].as_f64().unwrap() < 10.0);
    assert_eq!(rig.written().await, Vec::<u64>::new());
}

#[test]
fn doctor_explains_the_machine() {
    let output = isotherm(&["doctor", "--json"]);
    let findings: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
    let topics =
        ["memory", "overcommit", "swap", "limits", "cgroup", "mlock", "oom", "killed first", "pressure"];
    for topic in ["cpu"].into_iter().chain(topics) {
        let finding = findings.iter().find(|f| f["topic"] == topic).unwrap_or_else(|| panic!("{topic}"));
        assert!(!finding["means"].as_str().unwrap().is_empty(), "{topic}");
    }
}

/// A model that is not the one the site names is found before it is loaded.
#[test]
fn doctor_finds_the_wrong_model_file() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    std::fs::write(dir.path().join("model.gguf"), b"not a model").unwrap();
    std::fs::write(&site, text.replace("../models/isotherm.gguf", "model.gguf")).unwrap();
    let output = isotherm(&["doctor", "--site", site.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("model.gguf"), "{}", stdout(&output));
}

/// The memory a model needs is worked out by the rule that admits it.
#[test]
fn doctor_says_when_a_model_does_not_fit() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/isotherm.gguf");
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    let here = format!("{}\"\nmemory_limit_mb = 40", model.display());
    let text = text.replace("../models/isotherm.gguf\"", &here);
    std::fs::write(&site, text).unwrap();
    let output = isotherm(&["doctor", "--site", site.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("memory_limit_mb allows 40 MB"), "{}", stdout(&output));
}

/// The model that comes with the source is the one its card and the sites name, and can do its work.
#[test]
fn the_shipped_model_is_the_one_named_and_answers() {
    let path = root().join("models/isotherm.gguf");
    let path = path.to_str().unwrap();
    let shown: Value =
        serde_json::from_str(&stdout(&isotherm(&["model", "inspect", path, "--json"]))).unwrap();
    let sha256 = shown["sha256"].as_str().unwrap();
    for file in ["models/README.md", "sites/air.toml", "sites/liquid.toml", "sites/immersion.toml"] {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(sha256), "{file} names another model than {sha256}");
    }
    let exam = isotherm(&["model", "eval", path, "--count", "2", "--json"]);
    let marks: Value = serde_json::from_str(&stdout(&exam)).unwrap();
    assert_eq!(marks["schema_valid"], serde_json::json!({ "yes": 2, "of": 2, "pct": 100.0 }), "{marks}");
}

#[test]
fn schema_lists_exactly_the_configured_setpoints() {
    let output = isotherm(&["schema", "decision", "--site", &shipped("air")]);
    let schema: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let setpoints = schema.pointer("/properties/setpoints/properties").unwrap().as_object().unwrap();
    assert_eq!(setpoints.keys().collect::<Vec<_>>(), ["chws_sp", "crah_supply_sp", "chw_dp_sp"]);
    let order: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(order, ["assessment", "evidence", "setpoints", "rationale"], "observe, act, explain");
}

#[test]
fn replay_explains_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace.csv");
    std::fs::write(&trace, "time,chws\n2026-01-01T00:00:00Z,warm\n").unwrap();
    let path = trace.to_str().unwrap();
    let output = isotherm(&["replay", path, "--site", &shipped("air")]);
    assert_eq!(code(&output), 2);
    let message = stderr(&output);
    assert!(
        message.contains("trace.csv") && message.contains("chws") && message.contains("warm"),
        "{message}"
    );
    let output = isotherm(&["replay", path, "--verify"]);
    assert!(code(&output) == 2 && stderr(&output).contains("audit log"), "{}", stderr(&output));
}

/// A recorded day of another system, in shadow: a supercomputer's 25 cooling groups at 15 s.
#[test]
fn the_frontier_day_replays_in_shadow() {
    let data =
        std::env::var_os("ISOTHERM_SHARED_DATA").map_or_else(|| root().join("../shared/data"), Into::into);
    let trace = data.join("frontier_cdu_power/input_04-07-24.csv");
    if !trace.exists() {
        return lacks("the_frontier_day", "needs the recorded day; name its folder in ISOTHERM_SHARED_DATA");
    }
    let mapping = root().join("sites/frontier.mapping.toml");
    let args = [
        "replay",
        trace.to_str().unwrap(),
        "--site",
        &shipped("frontier"),
        "--mapping",
        mapping.to_str().unwrap(),
        "--json",
    ];
    let output = isotherm(&args);
    let report: Value =
        serde_json::from_str(&stdout(&output)).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)));
    assert_eq!(report["frames"], 5761, "{report}");
    assert_eq!(report["decisions"], 288, "one in five minutes: {report}");
}

/// What stands at the path of the control socket is nobody's to take but a socket's.
#[test]
fn a_control_socket_takes_no_other_files_place() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    let console = "\n[console]\nlisten = \"off\"\ncontrol_socket = \"notes.txt\"\n";
    std::fs::write(&site, text + console).unwrap();
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let output = isotherm(&["run", "--site", site.to_str().unwrap()]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("expected a path of its own for console.control_socket"),
        "{}",
        stderr(&output)
    );
    assert_eq!(std::fs::read_to_string(dir.path().join("notes.txt")).unwrap(), "mine");
}

/// A wrong folder reads as one, and gets no new log.
#[cfg(feature = "parquet")]
#[test]
fn archiving_needs_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    std::fs::copy(shipped("air"), &site).unwrap();
    let (site, old) = (site.to_str().unwrap(), dir.path().join("old"));
    let archive = |days: &str| {
        isotherm(&["audit", "archive", old.to_str().unwrap(), "--site", site, "--keep-days", days])
    };
    for days in ["90", "4294967295"] {
        let output = archive(days);
        assert_eq!(code(&output), 2, "{}", stderr(&output));
        assert!(stderr(&output).contains("isotherm-audit.db"), "{}", stderr(&output));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the site file alone");
}

/// What would end `run` at once is found before.
#[test]
fn doctor_finds_files_that_the_agent_would_not_start_with() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site.toml");
    let text = std::fs::read_to_string(shipped("air")).unwrap();
    let findings = |more: &str| {
        std::fs::write(&site, format!("{text}\n{more}\n")).unwrap();
        let output = isotherm(&["doctor", "--site", site.to_str().unwrap(), "--json"]);
        stdout(&output)
    };
    assert!(!findings("").contains("will not start"), "{}", findings(""));
    std::fs::write(dir.path().join("broken.db"), "no database").unwrap();
    for (more, expected) in [
        ("[audit]\npath = \"broken.db\"", "broken.db"),
        ("[audit]\npath = \"nowhere/audit.db\"", "nowhere"),
        ("[audit]\ncheckpoint_file = \"nowhere/checkpoints.jsonl\"", "audit.checkpoint_file"),
        ("[console]\ntls = { cert = \"none.pem\", key = \"none.key\" }", "none.pem"),
    ] {
        assert!(findings(more).contains(expected), "{more}: {}", findings(more));
    }
}
