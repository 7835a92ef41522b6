//! Adaptive resolution in the whole agent: few decisions in calm, one at once when something changes, and a log
//! that replays.

use serde_json::Value;

use crate::agent::Rig;

#[tokio::test]
async fn a_step_is_decided_at_once_calm_decides_rarely_and_the_log_replays() {
    let edit = |text: String| {
        let adaptive =
            "[resolution]\nadaptive = true\nfastest = \"30s\"\nslowest = \"8min\"\nsettle = \"5min\"\n";
        format!("controller = \"fixed\"\n{text}\n{adaptive}")
    };
    let Some(mut rig) = Rig::start("resolution", edit).await else { return };
    rig.frames(88).await;
    let causes =
        |rig: &Rig| -> Vec<Value> { rig.bodies("decision").iter().map(|d| d["cause"].clone()).collect() };
    let calm = causes(&rig);
    assert!((3..=6).contains(&calm.len()), "22 min in steps of 1, 2, 4 and 8: {calm:?}");
    assert!(calm.iter().all(|c| c == "cadence"), "{calm:?}");
    for _ in 0..3 {
        rig.frame(25.0).await;
    }
    let stepped = causes(&rig);
    assert_eq!(
        (stepped.len(), &stepped[calm.len()]),
        (calm.len() + 1, &Value::from("change")),
        "{stepped:?}"
    );
    rig.stop().await;

    let said: Vec<String> = rig
        .bodies("event")
        .iter()
        .filter(|e| e["event"] == "resolution")
        .map(|e| e["detail"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said[0], "decisions every 1m -> 2m; calm, and nothing had to be moved");
    let last = said.last().unwrap();
    assert!(
        last.starts_with("decisions every 8m -> 1m; the next decision at once; inlet 22 -> 25 degC"),
        "{last}"
    );

    let (code, out, err) = rig.cli(&["replay", "audit.db", "--verify", "--json"]).await;
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    assert_eq!((code, &report["first_difference"]), (0, &Value::Null), "{out}{err}");
}
