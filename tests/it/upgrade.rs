//! Another model or other prompts for a running agent: tried beside what decides, accepted, kept, taken back.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::agent::{Rig, Say, honest};
use crate::memory::{local, nothing_was_missed, small_model};
use crate::outages::{DECISION, HEARTBEAT, verifies_by_replay};
use crate::peers::soon;

async fn upgrade(rig: &Rig, args: &[&str]) -> (i32, String) {
    let all =
        [&["upgrade"], args, &["--site", "site.toml", "--who", "ann", "--why", "a better one"]].concat();
    let (code, out, err) = rig.cli(&all).await;
    (code, format!("{out}{err}"))
}

async fn status(rig: &Rig) -> Value {
    let (code, out, err) = rig.cli(&["upgrade", "status", "--json", "--site", "site.toml"]).await;
    assert_eq!(code, 0, "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

/// An act that is refused, for this reason.
async fn refused(rig: &Rig, args: &[&str], why: &str) {
    let (code, said) = upgrade(rig, args).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(why), "{why}: {said}");
}

async fn accepted(rig: &Rig, args: &[&str]) {
    let (code, said) = upgrade(rig, args).await;
    assert_eq!(code, 0, "{said}");
}

async fn until_event(rig: &Rig, event: &str) {
    rig.until(event, |r| r.events().iter().any(|e| e == event)).await;
}

fn event(rig: &Rig, event: &str) -> Value {
    rig.bodies("event").into_iter().rfind(|e| e["event"] == event).unwrap()
}

/// Frames until so many decisions of the candidate are recorded; slowly, since nobody waits for it.
async fn until_compared(rig: &mut Rig, count: usize) {
    for _ in 0..2000 {
        if rig.bodies("candidate").len() >= count {
            return;
        }
        rig.frames(DECISION).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the candidate does not answer: {}", rig.log());
}

/// Same frames, same guard, other words: none of it reaches a register before it is accepted. Then it decides
/// without control being given up for a moment, and after a restart; and what decided before comes back.
#[tokio::test]
async fn a_candidate_is_tried_accepted_kept_and_taken_back() {
    let Some(mut rig) = Rig::start("upgrade", |t| t).await else { return };
    rig.model.model_says("other", honest(8.0, "Raise"));
    rig.frames(2 * DECISION).await;
    refused(&rig, &["accept"], "propose one first").await;
    refused(&rig, &["revert"], "nothing was upgraded").await;
    refused(&rig, &["propose", "--model", "scripted"], "decides already").await;
    let (code, _) = upgrade(&rig, &["propose"]).await;
    assert_eq!(code, 2, "a candidate is a model or prompts");

    accepted(&rig, &["propose", "--model", "other", "--shadow", "10min"]).await;
    until_event(&rig, "upgrade_shadow").await;
    refused(&rig, &["propose", "--model", "third"], "tried already").await;
    refused(&rig, &["accept"], "--early").await;
    until_compared(&mut rig, 3).await;
    let now = status(&rig).await;
    let tally = &now["candidate"]["tally"];
    assert_eq!(tally["agreement_pct"], 0.0, "{now}");
    assert_eq!(tally["candidate"]["verified_pct"], 100.0, "{now}");
    assert!(tally["mean_apart"]["chws_sp"].as_f64().unwrap() > 0.0, "{now}");
    let (_, told) = upgrade(&rig, &["status"]).await;
    assert!(told.contains("agreement   0.0 %") && told.contains("model other"), "{told}");
    let metrics = rig.http("/metrics").await;
    assert!(metrics.contains("isotherm_candidate{site=\"test\"} 1"), "{metrics}");

    rig.frames(10 * DECISION).await;
    until_event(&rig, "upgrade_due").await;
    assert_eq!(rig.register(2).await, 70, "what the candidate would do is not done");
    for record in rig.bodies("candidate") {
        assert!(record["verdict"].get("action").is_none() && record.get("disposition").is_none(), "{record}");
        assert!(record["verdict"]["setpoints"]["chws_sp"].as_f64().unwrap() > 7.0, "{record}");
        let beside = record["beside"].as_u64().unwrap();
        let decided = rig.records().into_iter().find(|r| r.seq == beside).unwrap();
        let decided: Value = serde_json::from_str(&decided.body).unwrap();
        assert_eq!(decided["asked_at"], record["asked_at"]);
        assert_eq!(decided["prompt"]["text"], record["prompt"]["text"], "the same facts");
    }

    accepted(&rig, &["accept"]).await;
    until_event(&rig, "upgrade_accepted").await;
    rig.frames(4 * DECISION).await;
    assert_eq!(rig.register(2).await, 80, "{}", rig.log());
    let step = event(&rig, "upgrade_accepted");
    assert_eq!(step["upgrade"]["from"]["model"]["served"]["name"], "scripted");
    assert_eq!(step["upgrade"]["to"]["model"]["served"]["name"], "other");
    assert_eq!(step["upgrade"]["to"]["prompts"]["sha256"].as_str().unwrap().len(), 64);
    assert!(step["upgrade"]["who"].as_str().unwrap().starts_with("ann (uid "), "{step}");
    assert!(step["upgrade"]["tally"]["compared"].as_u64().unwrap() >= 3);
    let events = rig.events();
    assert!(!events.iter().any(|e| e == "release"), "control was given up: {events:?}");
    nothing_was_missed(&mut rig).await;
    rig.stop().await;
    let (code, out, err) =
        rig.cli(&["replay", "audit.db", "--site", "audit.db", "--what-if", "audit.db", "--json"]).await;
    assert_eq!(code, 0, "{out}{err}");
    verifies_by_replay(&rig).await;

    rig.restart().await;
    rig.model.now_says(honest(7.0, "Lower"));
    rig.model.model_says("other", honest(8.0, "Hold"));
    rig.frames(2 * DECISION).await;
    let start = rig.bodies("start").pop().unwrap();
    assert_eq!(start["site_config"]["model"]["name"], "other");
    assert_eq!(start["upgrades"]["before"][0]["model"]["served"]["name"], "scripted");
    assert_eq!(rig.register(2).await, 80);

    accepted(&rig, &["revert"]).await;
    until_event(&rig, "upgrade_reverted").await;
    rig.frames(6 * DECISION).await;
    assert_eq!(rig.register(2).await, 70, "{}", rig.log());
    assert_eq!(status(&rig).await, json!({ "candidate": null, "in_force": null, "before": null }));
    assert!(!rig.dir.path().join("audit.upgrade.json").exists(), "nothing is left to keep");
    rig.audited_writes(HEARTBEAT).await;
    rig.stop().await;
    verifies_by_replay(&rig).await;
}

/// Prompts alone; a trial that a restart interrupts goes on; and a site file that says something else of the
/// model counts.
#[tokio::test]
async fn a_trial_of_prompts_outlives_a_restart_and_the_site_file_has_the_last_word() {
    let Some(mut rig) = Rig::start("upgrade prompts", |t| t).await else { return };
    let folder = rig.dir.path().join("prompts");
    std::fs::create_dir(&folder).unwrap();
    let text = include_str!("../../prompts/decide.txt");
    let write = |text: &str| std::fs::write(folder.join("decide.txt"), text).unwrap();
    rig.frames(DECISION).await;
    write("no name");
    refused(&rig, &["propose", "--prompts", "prompts"], "expected a first line").await;
    let (first, rest) = text.split_once("=== body ===\n").unwrap();
    write(&format!("{first}=== body ===\n{{{{ nonsense }}}}\n{rest}"));
    refused(&rig, &["propose", "--prompts", "prompts"], "`nonsense` is undefined").await;
    write(&format!("{first}=== body ===\nBe brief.\n{rest}"));
    accepted(&rig, &["propose", "--prompts", "prompts", "--shadow", "24h"]).await;
    until_event(&rig, "upgrade_shadow").await;
    until_compared(&mut rig, 2).await;
    let records = rig.bodies("candidate");
    assert!(records[0]["prompt"]["text"].as_str().unwrap().starts_with("Be brief."), "{}", records[0]);
    let before = status(&rig).await["candidate"].clone();
    assert_eq!(before["tally"]["agreement_pct"], 100.0);
    rig.stop().await;

    // What was read is what is tried.
    write("no name");
    rig.restart().await;
    until_event(&rig, "upgrade_resumed").await;
    rig.until("it is loaded again", |r| r.events().iter().filter(|e| *e == "upgrade_shadow").count() == 2)
        .await;
    let after = status(&rig).await["candidate"].clone();
    assert_eq!(before["until"], after["until"]);
    assert!(after["tally"]["compared"].as_u64().unwrap() >= before["tally"]["compared"].as_u64().unwrap());
    accepted(&rig, &["accept", "--early"]).await;
    until_event(&rig, "upgrade_accepted").await;
    rig.frames(DECISION).await;
    let decided = rig.bodies("decision").pop().unwrap();
    assert!(decided["prompt"]["text"].as_str().unwrap().starts_with("Be brief."), "{decided}");
    let state: Value = serde_json::from_str(&rig.http("/api/state").await).unwrap();
    assert_eq!(state["prompt"]["sha256"], decided["prompt"]["template_sha256"]);

    // Limits can still be changed beside it.
    let site = rig.dir.path().join("site.toml");
    let edit = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&site).unwrap();
        assert!(text.contains(from));
        std::fs::write(&site, text.replacen(from, to, 1)).unwrap();
    };
    edit("max = 16", "max = 15");
    rig.hang_up();
    until_event(&rig, "reload").await;
    rig.stop().await;
    verifies_by_replay(&rig).await;

    edit("name = \"scripted\"", "name = \"chosen\"");
    rig.restart().await;
    until_event(&rig, "upgrade_abandoned").await;
    assert!(event(&rig, "upgrade_abandoned")["detail"].as_str().unwrap().contains("[model] was changed"));
    let start = rig.bodies("start").pop().unwrap();
    assert_eq!(start["site_config"]["model"]["name"], "chosen");
    assert!(start.get("upgrades").is_none());
    rig.stop().await;
    verifies_by_replay(&rig).await;
}

/// A candidate whose server is gone again and again is given up; what decides does not notice.
#[tokio::test]
async fn a_candidate_that_does_not_answer_is_given_up() {
    let Some(mut rig) = Rig::start("upgrade lost", |t| t).await else { return };
    rig.model.model_says("other", Say::Status(500));
    rig.frames(DECISION).await;
    accepted(&rig, &["propose", "--model", "other"]).await;
    until_event(&rig, "upgrade_shadow").await;
    until_compared(&mut rig, 3).await;
    until_event(&rig, "upgrade_abandoned").await;
    let told = event(&rig, "upgrade_abandoned");
    assert!(told["detail"].as_str().unwrap().contains("3 times in a row"), "{told}");
    assert_eq!(told["upgrade"]["tally"]["candidate"]["usable"], 0);
    rig.frames(DECISION).await;
    let decided = rig.bodies("decision").pop().unwrap();
    assert_eq!(decided["verdict"]["by"], "model");
    refused(&rig, &["accept"], "propose one first").await;
    rig.stop().await;
    nothing_was_missed(&mut rig).await;
    verifies_by_replay(&rig).await;
}

/// The same model with a byte more behind its weights: another file that loads and answers in the same way.
fn other_file(model: &Path, folder: &Path) -> std::path::PathBuf {
    let mut bytes = std::fs::read(model).unwrap();
    bytes.push(0);
    let path = folder.join("other.gguf");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn nice(pid: Pid) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
    // Behind the name in brackets: state is the first, nice the seventeenth.
    stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap()
}

/// With model files and processes: the candidate has one of its own that gives way, is given up when it is killed
/// again and again, and is loaded anew, with all that a deciding model has, when it is accepted.
#[tokio::test]
async fn a_candidate_has_a_process_of_its_own() {
    let test = "upgrade processes";
    let folder = tempfile::tempdir().unwrap();
    let Some(model) = small_model(test, folder.path()) else { return };
    // Frames pause while a model is loaded, and a busy machine takes its time.
    let edit = |site: String| {
        let site = local(&site, &model, "");
        site.replace("deadline = \"2s\"", "deadline = \"20s\"")
            .replace("watchdog = \"3s\"", "watchdog = \"10min\"")
    };
    let Some(mut rig) = Rig::start(test, edit).await else { return };
    let deciding = rig.until_reasoner_is_ready().await;
    rig.frames(DECISION).await;
    let broken = folder.path().join("broken.gguf");
    std::fs::write(&broken, "no model").unwrap();
    refused(&rig, &["propose", "--model", broken.to_str().unwrap()], "broken.gguf").await;
    let other = other_file(&model, folder.path());
    let path = other.to_str().unwrap();
    refused(&rig, &["propose", "--model", path, "--sha256", "00"], "expected SHA-256 00, found").await;

    accepted(&rig, &["propose", "--model", path]).await;
    rig.until_at_last("it is tried", |r| r.events().iter().any(|e| e == "upgrade_shadow")).await;
    let beside = |rig: &Rig| rig.reasoners().into_iter().find(|pid| *pid != deciding);
    for _ in 0..400 {
        if rig.events().iter().any(|e| e == "upgrade_abandoned") {
            break;
        }
        if let Some(pid) = beside(&rig) {
            kill_process(pid, Signal::KILL).ok();
        }
        rig.frames(DECISION).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_event(&rig, "upgrade_abandoned").await;
    rig.until("its process is gone", |r| r.reasoners() == [deciding]).await;

    accepted(&rig, &["propose", "--model", path]).await;
    let twice = |r: &Rig| r.events().iter().filter(|e| *e == "upgrade_shadow").count() == 2;
    rig.until_at_last("it is loaded", twice).await;
    let candidate = beside(&rig).unwrap();
    assert_eq!((nice(deciding), nice(candidate)), (0, 19));
    let compared = rig.bodies("candidate").len();
    until_compared(&mut rig, compared + 2).await;
    accepted(&rig, &["accept", "--early"]).await;
    for _ in 0..2000 {
        // Decisions go on while it is loaded.
        rig.frames(1).await;
        if rig.events().iter().any(|e| e == "upgrade_accepted") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let step = event(&rig, "upgrade_accepted");
    let sha256 =
        |version: &str| step["upgrade"][version]["model"]["file"]["sha256"].as_str().unwrap().to_owned();
    assert_ne!(sha256("from"), sha256("to"));
    assert_eq!(step["model"]["sha256"], sha256("to"), "what the process itself says");
    rig.until("one process is left", |r| r.reasoners().len() == 1).await;
    let now = rig.reasoner().unwrap();
    assert!(now != deciding && now != candidate && nice(now) == 0);
    rig.frames(2 * DECISION).await;
    rig.stop().await;
    nothing_was_missed(&mut rig).await;
    verifies_by_replay(&rig).await;

    // Another file in its place is not the one that was accepted.
    std::fs::write(&other, std::fs::read(&model).unwrap()).unwrap();
    rig.restart().await;
    rig.until("it is refused", |r| r.log().contains("is not the one the site allows")).await;
    rig.frames(2 * DECISION).await;
    accepted(&rig, &["revert"]).await;
    let back = rig.until_reasoner_is_ready().await;
    let told = async {
        loop {
            let state: Value = serde_json::from_str(&rig.http("/api/state").await).unwrap();
            if !state["model"].is_null() {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let state = soon("the view follows the process", told).await;
    assert_eq!(state["model"]["pid"], back.as_raw_nonzero().get());
    assert_eq!(state["model"]["sha256"], sha256("from"));
    rig.stop().await;
    verifies_by_replay(&rig).await;
}
