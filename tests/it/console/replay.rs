//! The view Replay: a recorded period played in a browser, and a what-if beside it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::browser::Browser;
use super::{Client, add_users, address, with_console};
use crate::agent::{Rig, honest};
use crate::peers::soon;

const RECORDINGS: &str = "recordings = \"recordings\"";

/// A rig with some decisions behind it, and a folder with a trace, another site and something else.
async fn recorded(test: &str, console: &str) -> Option<Rig> {
    let mut rig = Rig::start(test, |t| with_console(&t, console)).await?;
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(24).await;
    let folder = rig.dir.path().join("recordings");
    std::fs::create_dir(&folder).unwrap();
    let row = |i: u32| {
        format!("2026-06-01T00:{:02}:{:02}Z,{},400\n", i / 4, i % 4 * 15, 21.0 + f64::from(i % 8) / 8.0)
    };
    let rows: String = (0..120).map(row).collect();
    std::fs::write(folder.join("june.csv"), format!("time,inlet,it_load\n{rows}")).unwrap();
    let site = std::fs::read_to_string(rig.dir.path().join("site.toml")).unwrap();
    std::fs::write(folder.join("trim.toml"), format!("controller = \"trim\"\n{site}")).unwrap();
    std::fs::write(folder.join("notes.txt"), "nothing to replay").unwrap();
    Some(rig)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_decided_again_beside_the_control_loop() {
    let Some(rig) = recorded("console replay api", RECORDINGS).await else { return };
    let client = Client::new(&address(&rig).await);
    let (_, sources) = client.json("/api/replay/sources").await;
    assert_eq!(sources["recordings"], json!(["june.csv"]), "{sources}");
    assert_eq!(sources["settings"], json!(["trim.toml"]), "{sources}");
    let (_, own) = client.json("/api/replay/course").await;
    let recorded = rig.bodies("decision");
    assert_eq!(own["steps"].as_array().unwrap().len(), recorded.len());
    assert_eq!(own["steps"][0]["setpoints"], recorded[0]["verdict"]["setpoints"]);
    assert_eq!(own["course"]["series"]["inlet"]["mean"][0], 22.0);
    let (_, june) = client.json("/api/replay/course?source=june.csv&from=2026-06-01T00:10:00Z").await;
    assert_eq!(june["from"], 1_780_272_600, "{june}");
    assert_eq!(june["steps"], json!([]));
    assert!(june["course"]["series"]["inlet"]["max"].as_array().unwrap().contains(&json!(21.875)));
    for outside in ["..%2Faudit.db", "notes.txt", "%2Fetc%2Fpasswd", "trim.toml"] {
        assert_eq!(client.json(&format!("/api/replay/course?source={outside}")).await.0, 404, "{outside}");
    }

    let times: Vec<&str> = recorded.iter().map(|d| d["asked_at"].as_str().unwrap()).collect();
    let mut wanted =
        json!({ "source": "log", "from": times[0], "to": times.last().unwrap(), "with": "trim.toml" });
    let (status, begun) = client.post("/api/replay/runs", &wanted).await;
    assert_eq!(status, 202, "{begun}");
    let done = until_done(&client, &begun["id"]).await;
    assert_eq!(done["state"], "done", "{done}");
    let steps = done["report"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), times.len(), "{done}");
    assert!(
        steps.iter().all(|s| s["by"] == "policy" && times.contains(&s["at"].as_str().unwrap())),
        "{done}"
    );
    assert_eq!(rig.bodies("decision").len(), times.len(), "the agent itself decided nothing");

    wanted["with"] = "june.csv".into();
    assert_eq!(client.post("/api/replay/runs", &wanted).await.0, 404, "a trace is no setting");
    wanted["with"] = json!(null);
    wanted["to"] = wanted["from"].clone();
    assert_eq!(client.post("/api/replay/runs", &wanted).await.0, 422);
}

async fn until_done(client: &Client, id: &serde_json::Value) -> serde_json::Value {
    soon("the what-if is made", async {
        loop {
            let (_, run) = client.json(&format!("/api/replay/runs/{id}")).await;
            if run["state"] != "running" {
                return run;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
}

/// It takes machine time, so it takes a role.
#[tokio::test(flavor = "multi_thread")]
async fn who_looks_does_not_compute() {
    let console = format!("{RECORDINGS}\nusers = \"users.toml\"");
    let Some(rig) = recorded("console replay roles", &console).await else { return };
    add_users(&rig);
    let mut client = Client::new(&address(&rig).await);
    assert_eq!(client.login("vic", super::PASSWORD).await, 200);
    assert_eq!(client.json("/api/replay/course").await.0, 200);
    let wanted = json!({ "source": "log", "from": "2026-07-01T12:00:00Z", "to": "2026-07-01T13:00:00Z", "with": null });
    assert_eq!(client.post("/api/replay/runs", &wanted).await.0, 403);
    assert_eq!(client.login("ann", super::PASSWORD).await, 200);
    let (status, begun) = client.post("/api/replay/runs", &wanted).await;
    assert_eq!(status, 202, "{begun}");
    let (status, again) = client.post("/api/replay/runs", &wanted).await;
    assert!(status == 409 && again["error"].as_str().unwrap().contains("another"), "{again}");
    let (_, stopped) = client.post(&format!("/api/replay/runs/{}/stop", begun["id"]), &json!({})).await;
    assert_eq!((&stopped["state"], &stopped["error"]), (&json!("failed"), &json!("stopped")), "{stopped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_played_and_compared() {
    let test = "console replay";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(rig) = recorded(test, RECORDINGS).await else { return };
    let base = address(&rig).await;
    let seq = rig.records().iter().find(|r| r.kind.as_str() == "decision").unwrap().seq;
    browser.open(&format!("{base}/decisions/{seq}")).await;
    browser.press("replay this").await;
    browser.until("the view", "location.pathname === '/replay'").await;
    browser.reads("as recorded at").await;
    browser.until("charts", "document.querySelectorAll('.chart canvas').length >= 3").await;
    browser.reads("by model").await;

    // Extremes are drawn as a band: a chart made anew is asked for its own.
    let watched = "const Real = window.uPlot; window.bands = 0;
        window.uPlot = new Proxy(Real, { construct(_, args) { window.bands += args[0].bands.length; return new Real(...args); } })";
    browser.run(watched).await;
    browser.run("document.querySelector('[aria-label^=\"Use the\"]').click()").await;
    browser.until("a band for each signal", "window.bands === 2").await;
    let live = "return document.querySelectorAll('.player output, .player [aria-live], .player [role=status]').length";
    assert_eq!(browser.run(live).await, 0, "what changes while it plays is not read out");

    // It plays on its own, and stops at the end.
    let at = "Number(document.querySelector('input[type=range]').value)";
    browser.run("document.querySelector('input[type=range]').focus()").await;
    let begun = browser.run(&format!("return {at}")).await.as_f64().unwrap();
    browser.run("const s = document.querySelector('[name=speed]'); s.value = '60'; s.dispatchEvent(new Event('change'))").await;
    browser.press("Play").await;
    browser.until("time goes on", &format!("{at} > {begun} + 30")).await;
    let moved = browser.run("return getComputedStyle(document.querySelector('.at')).left").await;
    assert_ne!(moved, "0px", "the line in the charts goes along");
    browser.until("the end", "document.querySelector('.player button').innerText === 'Play'").await;

    // Decided again by another controller, on the same chart.
    browser.run("document.querySelector('[name=with]').value = 'trim.toml'").await;
    browser.press("Decide again").await;
    browser.reads("what-if 1, trim.toml, against as recorded").await;
    browser.reads("by controller").await;
    let lines = browser.run("return [...document.querySelectorAll('.charts .chart')[0].querySelectorAll('li')].map(l => l.innerText)").await;
    assert_eq!(lines, json!(["in the plant", "as recorded", "what-if 1, trim.toml"]));
    let place = "const a = document.querySelector('.at'); return parseFloat(getComputedStyle(a).left) / a.parentElement.clientWidth";
    let place = browser.run(place).await.as_f64().unwrap();
    assert!(place > 0.9, "the end is at {place} of new charts too");
    // To be looked at, beside the pictures of the other views.
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    std::fs::create_dir_all(&out).unwrap();
    for (theme, width) in [("light", 1440), ("dark", 390)] {
        browser.look(theme, width, 1600).await;
        browser.screenshot(&out.join(format!("replay-compared-{theme}.png"))).await;
        let wider = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
        assert!(wider.as_i64().unwrap() <= 0, "at {width} px it scrolls sideways by {wider} px");
        if let Some(found) = super::pages::violations(&browser).await {
            assert_eq!(found, [""; 0], "{theme}");
        }
    }

    // A trace from elsewhere.
    browser.run("const s = document.querySelector('[name=source]'); s.value = 'june.csv'; s.dispatchEvent(new Event('change'))").await;
    browser
        .until("its own time", "document.querySelector('[name=from]').value.startsWith('2026-06-01T00:00')")
        .await;
    browser.reads("No decision yet at this time.").await;
    assert_eq!(browser.errors().await, [""; 0]);
    browser.close().await;
}
