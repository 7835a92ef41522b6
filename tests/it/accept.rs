//! `isotherm check --accept` on the wire: what is written, in which order, and that it is written only where
//! somebody consented.

use serde_json::{Value, json};

use crate::agent::Rig;

const SECOND: &str = r#"
[[setpoint]]
name = "dp_sp"
unit = "kPa"
register = { device = "plc", address = 3 }
active = { device = "plc", address = 3 }
min = 80
max = 250
step = 10
rate_per_min = 5
safe = 200
cools = "up"

[envelope]
"#;

async fn rig(test: &str) -> Option<Rig> {
    let edit =
        |t: String| t.replace("clock = \"frames\"", "clock = \"wall\"").replacen("[envelope]", SECOND, 1);
    let mut rig = Rig::start_without_agent(test, edit).await?;
    rig.plc.set(2, &[82]).await;
    rig.plc.set(3, &[250]).await;
    rig.written().await;
    Some(rig)
}

/// `[address, words]` of every write frame since the last call.
async fn writes(rig: &mut Rig) -> Vec<Value> {
    let log = rig.plc.tell(json!({ "log": true })).await;
    let entries = log["log"].as_array().unwrap().clone();
    // The server answers a write by reading it back, which it logs without words.
    let is_write = |e: &&Value| (e[0] == 6 || e[0] == 16) && e[2] != json!([]);
    entries.iter().filter(is_write).map(|e| json!([e[1], e[2]])).collect()
}

async fn accept(rig: &Rig, more: &[&str]) -> (i32, Value, String) {
    let feed = rig.feed();
    let args = [&["check", "--site", "site.toml", "--accept", "--who", "ann", "--json"], more].concat();
    let (code, out, err) = rig.cli(&args).await;
    feed.abort();
    (code, serde_json::from_str(&out).unwrap_or_default(), err)
}

fn results(protocol: &Value) -> Vec<(String, String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let steps = protocol["steps"].as_array().unwrap();
    steps.iter().map(|s| (text(&s["what"]), text(&s["setpoint"]), text(&s["result"]))).collect()
}

/// Nobody answers at standard input, and nobody consents by an option: not one write frame.
#[tokio::test]
async fn without_consent_nothing_is_on_the_wire() {
    let Some(mut rig) = rig("accept without consent").await else { return };
    let (code, protocol, err) = accept(&rig, &[]).await;
    assert_eq!(code, 1, "nothing is accepted: {err}");
    assert!(err.contains("Type chws_sp to consent"), "{err}");
    assert_eq!(protocol["result"], "not_tested", "{protocol:#}");
    assert_eq!(rig.written().await, Vec::<u64>::new());
    assert!(!rig.audit_path().exists(), "nothing was to be recorded");
    let (code, _, err) = accept(&rig, &["--consent", "chws"]).await;
    assert!(code == 2 && err.contains("no such setpoint"), "{err}");
    assert_eq!(rig.written().await, Vec::<u64>::new());
}

#[tokio::test]
async fn one_setpoint_is_moved_by_one_step_and_back() {
    let Some(mut rig) = rig("accept one").await else { return };
    let (code, protocol, err) = accept(&rig, &["--consent", "chws_sp"]).await;
    assert_eq!(code, 0, "{err}{protocol:#}");
    let step = |what: &str, setpoint: &str, result: &str| (what.into(), setpoint.into(), result.into());
    assert_eq!(
        results(&protocol),
        [
            step("take control", "", "passed"),
            step("heartbeat", "", "passed"),
            step("heartbeat", "", "passed"),
            step("heartbeat", "", "passed"),
            step("step", "chws_sp", "passed"),
            step("restore", "chws_sp", "passed"),
            step("step", "dp_sp", "not_tested"),
            step("watchdog", "", "not_tested"),
            step("release", "", "passed"),
        ]
    );
    let step = &protocol["steps"][4];
    assert_eq!((&step["from"], &step["to"], &step["unit"]), (&8.2.into(), &7.5.into(), &"degC".into()));
    assert_eq!(
        writes(&mut rig).await,
        [
            json!([0, [1]]),
            json!([1, [1]]),
            json!([1, [2]]),
            json!([1, [3]]),
            json!([2, [75]]),
            json!([2, [82]]),
            json!([0, [0]])
        ]
    );
    // Each write's intent is in the log before it, and its end after; the log verifies.
    let events = rig.bodies("event");
    assert_eq!(events.len(), 14, "{events:#?}");
    let intended: Vec<_> = events.iter().filter_map(|e| e["action"][0]["address"].as_u64()).collect();
    assert_eq!(intended, [0, 1, 1, 1, 2, 2, 0]);
    assert!(
        events[9]["detail"].as_str().unwrap().contains("step chws_sp, by ann: as written"),
        "{events:#?}"
    );
    let (code, out, err) = rig.cli(&["replay", "audit.db", "--verify", "--json"]).await;
    assert_eq!(code, 0, "a replay passes over it: {out}{err}");
}

/// The printed protocol, with consent given at the terminal.
#[tokio::test]
async fn a_consent_typed_in_counts_and_the_protocol_can_be_printed() {
    use tokio::io::AsyncWriteExt;
    let Some(mut rig) = rig("accept asks").await else { return };
    let feed = rig.feed();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_isotherm"))
        .current_dir(rig.dir.path())
        .args(["check", "--site", "site.toml", "--accept", "--who", "ann"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"yes\ndp_sp\n").await.unwrap();
    let output = crate::peers::soon("the test ends", child.wait_with_output()).await.unwrap();
    feed.abort();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "carried out by ann",
        "step chws_sp",
        "not tested",
        "250 to 240 kPa",
        "in force after 0 s",
        "Result: not tested",
    ] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    let written = writes(&mut rig).await;
    assert!(written.contains(&json!([3, [240]])) && written.contains(&json!([3, [250]])), "{written:?}");
    assert!(!written.iter().any(|w| w[0] == 2), "yes is not the name of a setpoint: {written:?}");
}

/// A plant that refuses: what could have been moved is put back, control is released, and it is a failure.
#[tokio::test]
async fn a_refused_write_ends_in_release() {
    let Some(mut rig) = rig("accept refused").await else { return };
    rig.plc.tell(json!({ "refuse_writes": 4 })).await;
    let (code, protocol, err) = accept(&rig, &["--consent", "chws_sp"]).await;
    assert_eq!(code, 1, "{err}");
    assert_eq!(protocol["result"], "failed");
    let what: Vec<_> = results(&protocol).into_iter().map(|(what, _, result)| (what, result)).collect();
    assert_eq!(
        what,
        [("take control".into(), "failed".into()), ("release".into(), "failed".into())],
        "no step is tried on a plant that does not take control: {protocol:#}"
    );
    assert_eq!(rig.register(2).await, 82);
}

/// A running agent has the plant: it is not disturbed.
#[tokio::test]
async fn beside_a_running_agent_nothing_is_written() {
    let edit = |t: String| t.replace("mode = \"auto\"", "mode = \"shadow\"");
    let Some(mut rig) = Rig::start("accept beside an agent", edit).await else { return };
    rig.written().await;
    let feed = rig.feed();
    let (code, _, err) =
        rig.cli(&["check", "--site", "site.toml", "--accept", "--who", "ann", "--consent", "chws_sp"]).await;
    feed.abort();
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("nothing was written") && err.contains("is written by process"), "{err}");
    assert_eq!(rig.written().await, Vec::<u64>::new());
    rig.stop().await;
}
