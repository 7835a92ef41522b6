//! What happens beside an agent, or around one run of it, and must not cost it the plant.

use crate::agent::Rig;
use crate::outages::verifies_by_replay;

/// Adds to the site file, before its tables.
fn with(text: &str, more: &str) -> String {
    text.replacen("[envelope]", &format!("{more}\n[envelope]"), 1)
}

#[tokio::test]
async fn a_check_beside_a_running_agent_disturbs_nothing() {
    let Some(mut rig) = Rig::start("check beside", |t| t).await else { return };
    rig.frames(2).await;
    assert_eq!(rig.register(0).await, 1);
    // Nobody sends frames meanwhile, so it finds something.
    let (code, table, _) = rig.cli(&["check", "--site", "site.toml"]).await;
    assert!(code == 3 && table.contains("chws_sp"), "{code}: {table}");
    assert!(!rig.log().contains("broker lost"), "{}", rig.log());
    rig.stop().await;
}

#[tokio::test]
async fn a_dead_meter_is_not_the_plant() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let meter = format!(
        r#"
[[device]]
name = "meter"
host = "127.0.0.1"
port = {closed}
timeout = "200ms"
reopen_after = "50ms"

[[signal]]
name = "cooling_power"
unit = "kW"
role = "cooling_power"
source = {{ device = "meter", address = 7 }}
range = [0, 1000]
slew_per_min = 500
"#
    );
    let Some(mut rig) = Rig::start("dead meter", |t| with(&t, &meter)).await else { return };
    rig.frames(5).await;
    assert_eq!(rig.events(), ["take_control"]);
    assert_eq!(rig.register(0).await, 1);
    rig.stop().await;
    verifies_by_replay(&rig).await;
}

#[tokio::test]
async fn a_slow_topic_that_no_decision_needs_is_not_the_source() {
    let slow = r#"
[[signal]]
name = "outdoor"
unit = "degC"
role = "outdoor_dry_bulb"
source = { topic = "t/weather" }
range = [-30, 50]
slew_per_min = 5
stale_after = "30s"
"#;
    let edit = |t: String| {
        with(&t, slow).replace("clock = \"frames\"", "clock = \"wall\"").replace("\"15s\"", "\"1s\"")
    };
    let Some(mut rig) = Rig::start_without_agent("slow topic", edit).await else { return };
    let feed = rig.feed();
    rig.start_agent();
    rig.until("silence is noticed", |r| r.log().contains("the topic is silent")).await;
    rig.until("the plant is taken", |r| r.events().contains(&"take_control".to_owned())).await;
    let events = rig.events();
    assert!(!events.contains(&"link_down".to_owned()), "{events:?}");
    feed.abort();
    rig.stop().await;
}

/// Whatever ends a run, an operator's word outlives it.
#[tokio::test]
async fn a_restart_keeps_what_operators_set() {
    let Some(mut rig) = Rig::start("restart", |t| t).await else { return };
    rig.frames(2).await;
    let who = ["operator", "--socket", "agent.sock", "--who", "ann", "--why", "test"];
    for what in [&["direct", "keep chws_sp at or above 7 degC"][..], &["mode", "manual"]] {
        let (code, answer, _) = rig.cli(&[&who[..], what].concat()).await;
        assert_eq!(code, 0, "{answer}");
    }
    rig.frames(1).await;
    rig.end(rustix::process::Signal::KILL).await;
    rig.restart().await;
    rig.frames(3).await;
    assert!(rig.events().ends_with(&["standing_resumed".to_owned()]), "{:?}", rig.events());
    assert_eq!(rig.register(0).await, 0, "manual: not taken without a command");
    let (_, state, _) = rig.cli(&[&who[..], &["state"]].concat()).await;
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["mode"], "manual");
    assert_eq!(state["directives"][0]["enforced"], true, "{state}");
    rig.stop().await;
    verifies_by_replay(&rig).await;
}
