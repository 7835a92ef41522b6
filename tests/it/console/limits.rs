//! Limits, wherever values are: beside the present one, and on the charts of the past.

use std::path::Path;

use serde_json::{Value, json};

use super::browser::Browser;
use super::pages::violations;
use super::past::{PRESENT, Past, time};
use super::{Client, PASSWORD, add_users, address, with_console, with_users};
use crate::agent::{Rig, SAMPLE, honest};
use crate::peers::soon;

/// Frames until there is a decision.
const DECISION: u32 = 6;

/// The rig's site as a liquid one: its setpoint is that of the liquid, with room air and facility water measured.
fn liquid(text: &str) -> String {
    let signal = |name: &str, unit: &str, role: &str| {
        format!(
            "[[signal]]\nname = \"{name}\"\nunit = \"{unit}\"\nrole = \"{role}\"\nsource = {{ topic = \"t/frame\" }}\n\
             range = [0, 100]\nslew_per_min = 5000\n\n"
        )
    };
    let more = [
        ("supply", "degC", "liquid_supply"),
        ("facility", "degC", "facility_supply"),
        ("room", "degC", "room_dry_bulb"),
        ("room_rh", "%RH", "room_humidity"),
    ]
    .map(|(name, unit, role)| signal(name, unit, role));
    text.replacen("[[setpoint]]", &format!("{}[[setpoint]]", more.concat()), 1)
        .replacen("plant = \"air\"", "plant = \"liquid\"", 1)
        .replacen("role = \"chws\"", "role = \"liquid_supply\"", 1)
        .replacen("[envelope]", "[envelope]\nmin_approach = 2\nliquid_allowable = 30", 1)
}

async fn send(rig: &mut Rig) {
    rig.send(SAMPLE, |time| {
        let value = |value: f64, unit: &str| json!({ "value": value, "unit": unit });
        json!({ "time": time, "signals": { "inlet": value(22.0, "degC"), "it_load": value(400.0, "kW"),
            "supply": value(12.0, "degC"), "facility": value(4.0, "degC"), "room": value(24.0, "degC"),
            "room_rh": value(20.0, "%RH") } })
        .to_string()
    })
    .await;
    rig.acknowledged().await;
}

pub(super) async fn picture(browser: &Browser, name: &str) {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    std::fs::create_dir_all(&out).unwrap();
    for (look, theme, width, height) in
        [("light", "light", 1440, 1500), ("dark", "dark", 1440, 1500), ("phone", "light", 390, 1700)]
    {
        browser.look(theme, width, height).await;
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        browser.screenshot(&out.join(format!("{name}-{look}.png"))).await;
        if let Some(found) = violations(browser).await {
            assert_eq!(found, [""; 0], "{name} {look}");
        }
        let wider = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
        assert!(wider.as_i64().unwrap() <= 0, "{name} {look} scrolls sideways by {wider} px");
    }
    browser.look("light", 1440, 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn margins_are_told_to_every_limit_and_who_holds_what() {
    let test = "console margins";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start(test, |t| liquid(&with_users(&t))).await else { return };
    add_users(&rig);
    rig.model.now_says(honest(7.5, "Raise"));
    for _ in 0..DECISION {
        send(&mut rig).await;
    }
    let base = address(&rig).await;
    let mut client = Client::new(&base);
    assert_eq!(client.login("ann", PASSWORD).await, 200);
    let (_, state) = client.json("/api/state").await;
    let floor = |name: &str, rule: &str| {
        let all = state["floors"].as_array().unwrap();
        let found = all.iter().find(|f| f["name"] == name && f["rule"] == rule).unwrap();
        found["limit"].as_f64().unwrap()
    };
    for name in ["supply", "chws_sp"] {
        // 24 °C at 20 % has its dew point at -0.35 °C; the margin is 3 K.
        assert!((floor(name, "condensation") - 2.65).abs() < 0.02, "{state}");
        assert!((floor(name, "approach") - 6.0).abs() < 1e-9, "{state}");
    }

    browser.open(&base).await;
    browser.press("Log in").await;
    browser.fill("dialog [name=name]", "ann").await;
    browser.fill("dialog [name=password]", &format!("{PASSWORD}\u{E007}")).await;
    let row = |name: &str, says: &str| {
        format!(
            "[...document.querySelectorAll('.margins tr')].some(r => r.cells[0].innerText.includes('{name}') && r.innerText.includes('{says}'))"
        )
    };
    for (name, says) in [
        ("supply", "6.0 K to 6.0 approach"),
        ("supply", "K to 2.7 dew point"),
        ("supply", "18.0 K to 30.0 allowable"),
        ("inlet", "4.0 K to 18.0 recommended"),
        ("inlet", "7.0 K to 15.0 allowable"),
    ] {
        browser.until(&format!("{name}: {says}"), &row(name, says)).await;
    }

    // An operator holds the setpoint for half an hour, then somebody turns it at the plant.
    let now = time(client.json("/api/state").await.1["time"].as_str().unwrap());
    let until = now + jiff::SignedDuration::from_mins(30);
    let hold =
        json!({ "act": "override", "setpoint": "chws_sp", "value": 9.0, "until": until, "why": "pump 2" });
    assert_eq!(client.post("/api/acts", &hold).await.0, 200);
    browser.reads("held at 9.0\u{a0}°C by ann (operator, console) since").await;
    browser.reads("30 min left, until").await;
    browser.reads("(pump 2)").await;
    for _ in 0..12 {
        send(&mut rig).await;
    }
    browser.reads("27 min left, until").await;
    rig.plc.set(2, &[120]).await;
    soon("the agent sees it", async {
        loop {
            send(&mut rig).await;
            if client.json("/api/state").await.1["manual_holds"][0]["setpoint"] == "chws_sp" {
                return;
            }
        }
    })
    .await;
    browser.reads("changed at the plant itself at").await;
    browser.reads("left alone, ").await;
    browser.reads("1 held at the plant").await;
    assert_eq!(browser.errors().await, [""; 0]);
    picture(&browser, "held").await;
    browser.close().await;
    rig.stop().await;
    let (code, out, err) = rig.cli(&["replay", "audit.db", "--verify", "--json"]).await;
    assert_eq!(code, 0, "who holds something is in no record that differs: {out}{err}");
}

/// The rig is started again while something is held: who held it is known after that, too.
#[tokio::test(flavor = "multi_thread")]
async fn who_holds_what_outlives_a_restart() {
    let Some(mut rig) = Rig::start("console holds", |t| with_users(&t)).await else { return };
    add_users(&rig);
    rig.frames(2).await;
    let mut client = Client::new(&address(&rig).await);
    assert_eq!(client.login("ann", PASSWORD).await, 200);
    let hold =
        json!({ "act": "override", "setpoint": "chws_sp", "value": 7.5, "until": null, "why": "pump 2" });
    assert_eq!(client.post("/api/acts", &hold).await.0, 200);
    let release = json!({ "act": "mode", "mode": "manual", "why": "pump 1 too" });
    assert_eq!(client.post("/api/acts", &release).await.0, 200);
    let told = |state: &Value| {
        let hold = ["who", "why", "from", "until"].map(|key| state["overrides"][0][key].clone());
        let mode = ["who", "why", "from"].map(|key| state["mode_given"][key].clone());
        (hold, mode)
    };
    let before = told(&client.json("/api/state").await.1);
    let by = |why: &str| [json!("ann (operator, console)"), json!(why)];
    assert_eq!((&before.0[..2], &before.1[..2]), (&by("pump 2")[..], &by("pump 1 too")[..]));
    rig.stop().await;
    rig.restart().await;
    let mut client = Client::new(&address(&rig).await);
    assert_eq!(client.login("ann", PASSWORD).await, 200);
    assert_eq!(told(&client.json("/api/state").await.1), before);
}

/// Two days at a sample each 15 s, with a peak of one sample, and one decision long before the newest 300 records.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_window_has_its_samples_its_limits_and_its_decisions() {
    let test = "console old window";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start_without_agent(test, |t| liquid(&with_console(&t, ""))).await else {
        return;
    };
    let (begin, peak) = (time("2026-06-29T12:00:00Z"), time("2026-06-29T20:00:15Z"));
    let mut past = Past::of(&rig, begin);
    let values = |at| {
        let inlet = if at == peak { 29.5 } else { 22.0 };
        vec![
            ("inlet", inlet),
            ("it_load", 400.0),
            ("supply", 12.0),
            ("facility", 4.0),
            ("room", 24.0),
            ("room_rh", 20.0),
            ("chws_sp", 7.0),
        ]
    };
    past.frames(begin, peak, false, values);
    let decision =
        past.decision(peak, "Old but not forgotten", &json!({ "verdict": { "intervened": true } }));
    past.frames(peak, time(PRESENT), false, values);
    for _ in 0..320 {
        past.record(
            time("2026-07-01T11:59:45Z"),
            isotherm::audit::Kind::Event,
            &json!({ "event": "link_up", "detail": "x" }),
        );
    }
    past.close();
    rig.restart().await;
    let base = address(&rig).await;
    let client = Client::new(&base);
    soon("the past is read", async {
        // It is read from its beginning on: at the newest sample all of it is there.
        while client.json("/api/series?names=inlet&points=10").await.1["newest"].as_i64()
            < Some(time(PRESENT).as_second() - 60)
        {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;

    let hour = "from=2026-06-29T19:30:00Z&to=2026-06-29T20:30:00Z";
    let (_, raw) = client.json(&format!("/api/series?names=inlet,dew_point&{hour}&points=1000")).await;
    let course = &raw["course"];
    let times = course["t"].as_array().unwrap();
    assert_eq!((course["bucket_s"].as_i64(), times.len()), (Some(1), 241), "every sample: {course}");
    let at = times.iter().position(|t| *t == peak.as_second()).unwrap();
    let inlet = &course["series"]["inlet"];
    assert_eq!(
        (&inlet["max"][at], &inlet["min"][at], &inlet["max"][at - 1]),
        (&json!(29.5), &json!(29.5), &json!(22.0))
    );
    let dew = course["series"]["dew_point"]["mean"][0].as_f64().unwrap();
    assert!((dew + 0.35).abs() < 0.02, "{dew}");
    for points in [10, 200, 5000] {
        let (_, all) = client.json(&format!("/api/series?names=inlet&points={points}")).await;
        let highest = all["course"]["series"]["inlet"]["max"].as_array().unwrap();
        assert!(highest.iter().any(|v| *v == 29.5), "the peak is kept with {points} points");
    }

    browser.look("light", 1440, 1000).await;
    browser
        .open(&format!("{base}/trends?from={}&to={}", peak.as_second() - 1800, peak.as_second() + 1800))
        .await;
    browser.reads("one point a sample").await;
    browser.reads("Old but not forgotten").await;
    browser.reads(&format!("#{decision}")).await;
    browser.reads("1 changed by the guard").await;
    browser.reads("Limits, °C: recommended 18.0, recommended 27.0, allowable 15.0, allowable 32.0").await;
    browser.reads("chws sp min 6.0, chws sp max 16.0, dew point + 3.0 K, facility water + 2.0 K").await;
    // Lines in the colour of what must not be passed, on the canvas itself.
    let red = "const chart = [...document.querySelectorAll('.chart')].find(c => c.ariaLabel.startsWith('TITLE')).querySelector('canvas');
        const wanted = getComputedStyle(document.documentElement).getPropertyValue('--bad').trim().match(/[0-9a-f]{2}/g).map(x => parseInt(x, 16));
        const { width, height } = chart, data = chart.getContext('2d').getImageData(0, 0, width, height).data;
        let rows = 0;
        for (let y = 0; y < height; y++) {
          let hits = 0;
          for (let x = 0; x < width; x++) { const i = 4 * (y * width + x); if (data[i + 3] > 100 && wanted.every((c, k) => Math.abs(data[i + k] - c) < 40)) hits++; }
          if (hits > width / 3) rows++;
        }
        return rows";
    for (title, least) in [("Air", 2), ("Water", 3)] {
        let rows = browser.run(&red.replace("TITLE", title)).await;
        assert!(rows.as_u64().unwrap() >= least, "{title}: {rows} rows of the chart are red");
    }
    picture(&browser, "old-window").await;
    // Measured values alone: 29.5 is the highest by then, and 32 is out of sight.
    browser.press("Limits in sight").await;
    browser
        .until(
            "the limits have left the chart",
            &format!("(() => {{ {} }})() === 0", red.replace("TITLE", "Air")),
        )
        .await;
    browser.press("1 changed by the guard").await;
    browser.until("the decisions of the window", "location.search.includes('intervened=1') && document.querySelectorAll('.feed > li').length === 1").await;
    assert_eq!(browser.errors().await, [""; 0]);
    browser.close().await;
}
