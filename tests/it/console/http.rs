//! The API, and who may use it.

use std::process::Stdio;
use std::time::Duration;

use isotherm::console::users::Users;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{Client, PASSWORD, add_users, address, with_users};
use crate::agent::{Rig, honest};
use crate::peers::soon;

/// Frames until there is a decision.
const DECISION: u32 = 6;

async fn until(client: &Client, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    soon(what, async {
        loop {
            let (_, value) = client.json(path).await;
            if holds(&value) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_users_it_shows_and_does_nothing() {
    let Some(mut rig) = Rig::start("console without users", |t| t).await else { return };
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(DECISION).await;
    let client = Client::new(&address(&rig).await);

    let (_, site) = client.json("/api/site").await;
    assert_eq!(site["columns"], json!(["inlet", "it_load", "chws_sp", "in_charge"]));
    let (_, state) = client.json("/api/state").await;
    assert_eq!((&state["mode"], &state["in_charge"]), (&json!("auto"), &json!(true)));
    let page = until(&client, "/api/decisions", "a decision with its outcome", |p| {
        p["items"][0]["outcome"]["writes"][0]["result"] == "applied"
    })
    .await;
    let item = &page["items"][0];
    assert_eq!((&item["verdict"]["by"], &item["before"]["chws_sp"]), (&json!("model"), &json!(7.0)));
    let (_, none) = client.json("/api/decisions?unverified=true").await;
    assert_eq!(none["items"], json!([]));
    let (status, wrong) = client.json("/api/decisions?rule=nonsense").await;
    assert!(status == 400 && wrong["error"].as_str().unwrap().starts_with("rule: "), "{wrong}");

    let (_, shown) = client.json(&format!("/api/decisions/{}", item["seq"])).await;
    assert_eq!(shown["prompt"]["exact"], true, "{}", shown["prompt"]);
    assert_eq!(shown["record"]["body"]["decision"]["setpoints"]["chws_sp"], 7.5);
    assert_eq!(client.json("/api/decisions/99999").await.0, 404);

    let (_, series) = client.json("/api/series?names=inlet,in_charge").await;
    let inlet = series["course"]["series"]["inlet"]["max"].as_array().unwrap();
    assert!(inlet.len() >= 4 && inlet.iter().all(|v| *v == 22.0), "{series}");
    let csv = client.get("/api/series?format=csv").send().await.unwrap().text().await.unwrap();
    assert!(csv.starts_with("time,chws_sp_mean,chws_sp_min,chws_sp_max,"), "{csv}");

    let (_, report) = client.json("/api/report?day=2026-07-01").await;
    assert!(report["day"]["frames"].as_u64().unwrap() >= 6, "{report}");
    assert_eq!(report["day"]["decisions"]["by"]["model"], 1);
    assert_eq!(report["saving"]["stated"], false);

    let metrics = client.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("isotherm_decisions_total{site=\"test\"} 1\n"), "{metrics}");
    assert_eq!(client.json("/readyz").await.0, 200);

    let page = client.get("/").send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let (status, said) =
        client.post("/api/acts", &json!({"act": "mode", "mode": "shadow", "why": "x"})).await;
    assert_eq!(status, 403);
    assert!(said["error"].as_str().unwrap().contains("isotherm console user add"), "{said}");
    let rebound = client.get("/api/state").header("host", "plant.example").send().await.unwrap();
    assert_eq!(rebound.status(), 421, "another name for this machine is not this machine");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_do_what_their_role_allows_and_the_log_says_who() {
    let Some(mut rig) = Rig::start("console with users", |t| with_users(&t)).await else { return };
    rig.frames(2).await;
    let mut client = Client::new(&address(&rig).await);
    assert_eq!(client.json("/api/state").await.0, 200, "no users yet");
    add_users(&rig);
    assert_eq!(client.json("/api/state").await.0, 401, "from now on everyone logs in");
    assert_eq!(client.json("/api/live").await.0, 401);
    assert_eq!(client.login("ann", "wrong").await, 401);
    assert_eq!(client.login("eve", PASSWORD).await, 401);

    let hold = json!({"act": "override", "setpoint": "chws_sp", "value": 7.5, "until": null, "why": "works"});
    assert_eq!(client.login("vic", PASSWORD).await, 200);
    assert_eq!(client.json("/api/state").await.0, 200);
    let (status, said) = client.post("/api/acts", &hold).await;
    assert!(status == 403 && said["error"].as_str().unwrap().contains("operator"), "{said}");

    assert_eq!(client.login("ann", PASSWORD).await, 200);
    let csrf = std::mem::take(&mut client.csrf);
    assert_eq!(client.post("/api/acts", &hold).await.0, 403, "a forged request has the cookie alone");
    client.csrf = csrf;
    let (status, said) = client.post("/api/acts", &hold).await;
    assert_eq!((status, &said["accepted"]), (200, &json!(true)), "{said}");
    let (status, said) =
        client.post("/api/acts", &json!({"act": "approve", "decision": 1, "why": "good"})).await;
    assert!(status == 409 && said["error"].as_str().unwrap().contains("no decision waits"), "{said}");
    assert_eq!(client.post("/api/acts", &json!({"act": "mode", "mode": "shadow", "why": " "})).await.0, 400);
    let draft = json!({"text": "keep chilled water at or above 8 degC", "until": null});
    let (_, heard) = client.post("/api/directives/preview", &draft).await;
    assert_eq!(heard["limits"][0]["floor"], 8.0, "{heard}");
    let (_, state) = client.json("/api/state").await;
    assert_eq!(state["overrides"][0]["value"], 7.5, "{state}");
    assert_eq!(state["directives"], json!([]), "a draft changes nothing");

    let acts = rig.bodies("operator");
    let who: Vec<&str> = acts.iter().map(|a| a["who"].as_str().unwrap()).collect();
    assert_eq!(who, ["ann (operator, console)"; 2], "the viewer's never reached the agent");

    let path = rig.dir.path().join("users.toml");
    let mut users = Users::load(&path).unwrap();
    users.remove("ann").unwrap();
    users.save(&path).unwrap();
    assert_eq!(client.post("/api/acts", &hold).await.0, 401, "who is gone is out");
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(client.login("vic", "a guess").await);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429]);
}

/// Whoever opens connections without end takes the agent's descriptors: beyond some hundreds they are closed.
#[tokio::test(flavor = "multi_thread")]
async fn connections_without_end_leave_the_agent_some() {
    use tokio::io::AsyncReadExt as _;
    let Some(rig) = Rig::start("console connections", |t| with_users(&t)).await else { return };
    let base = address(&rig).await;
    let at = base.trim_start_matches("http://").to_owned();
    let mut open = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let mut connection = tokio::net::TcpStream::connect(&at).await.unwrap();
        open.spawn(async move {
            // An idle one would be closed after 10 s.
            tokio::time::timeout(Duration::from_secs(3), connection.read(&mut [0])).await.is_ok()
        });
    }
    let closed = open.join_all().await.into_iter().filter(|closed| *closed).count();
    assert_eq!(closed, 300 - 256);
    let client = Client::new(&base);
    let answers = async {
        while client.get("/healthz").send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("there is room again", answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_waits_until_somebody_has_seen_it() {
    let quick = |site: String| with_users(&site).replace("watchdog = \"10min\"", "watchdog = \"1s\"");
    let Some(mut rig) = Rig::start("console alarms", quick).await else { return };
    rig.frames(2).await;
    add_users(&rig);
    let mut client = Client::new(&address(&rig).await);
    assert_eq!(client.login("ann", PASSWORD).await, 200);
    let state =
        until(&client, "/api/state", "silence is an alarm", |s| s["alarms"][0]["event"] == "link_down").await;
    let alarm = state["alarms"][0]["seq"].as_u64().unwrap();
    let acknowledge = |alarm: u64| json!({"act": "acknowledge", "alarm": alarm, "why": "seen"});
    assert_eq!(client.post("/api/acts", &acknowledge(alarm + 1000)).await.0, 409);
    assert_eq!(client.post("/api/acts", &acknowledge(alarm)).await.0, 200);
    let (_, state) = client.json("/api/state").await;
    let left = state["alarms"].as_array().unwrap();
    assert!(left.iter().all(|a| a["seq"] != alarm), "{left:?}");
    rig.stop().await;
    let (code, out, err) = rig.cli(&["replay", "audit.db", "--verify", "--json"]).await;
    assert_eq!(code, 0, "acts from the console replay like others: {out}{err}");
}

#[tokio::test]
async fn users_are_added_on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users.toml").display().to_string();
    let run = async |args: &[&str], stdin: &str| {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_isotherm"))
            .args(args)
            .args(["--users", &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
        let out = child.wait_with_output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    };
    let add = ["console", "user", "add", "ann", "--role", "operator"];
    let (code, _, said) = run(&add, "short\n").await;
    assert!(code == 2 && said.contains("at least 10"), "{said}");
    assert_eq!(run(&add, "correct horse battery\n").await.0, 0);
    let (code, listed, _) = run(&["console", "user", "list"], "").await;
    assert!(code == 0 && listed.contains("ann") && listed.contains("operator"), "{listed}");
    assert_eq!(run(&["console", "user", "remove", "bob"], "").await.0, 2);
    assert_eq!(run(&["console", "user", "remove", "ann"], "").await.0, 0);
}
