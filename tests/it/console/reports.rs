//! Reports: what a saving is measured against, overrides, and paper.

use std::path::Path;

use isotherm::audit::Kind;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::browser::Browser;
use super::past::{Past, time};
use super::{Client, address, with_console};
use crate::agent::Rig;

/// The rig's site with what a saving takes, five minutes a sample.
fn metered(text: &str, report: &str) -> String {
    let signal = |name: &str, unit: &str, role: &str| {
        format!(
            "[[signal]]\nname = \"{name}\"\nunit = \"{unit}\"\nrole = \"{role}\"\nsource = {{ topic = \"t/frame\" }}\n\
             range = [-50, 2000]\nslew_per_min = 5000\n\n"
        )
    };
    let more = signal("cooling", "kW", "cooling_power") + &signal("wet_bulb", "degC", "outdoor_wet_bulb");
    with_console(text, "")
        .replacen("[link]", "[link]\nwatchdog = \"15min\"", 1)
        .replacen("[[setpoint]]", &format!("{more}[[setpoint]]"), 1)
        .replacen("sample = \"15s\"\ncadence = \"1min\"", "sample = \"5min\"\ncadence = \"10min\"", 1)
        + report
}

/// Cooling is a law of load and weather; the agent takes a tenth less.
fn values(at: Timestamp, in_charge: bool) -> Vec<(&'static str, f64)> {
    let turn = at.as_second() as f64 / 86_400.0 * std::f64::consts::TAU;
    let (it, wet) = (800.0 + 200.0 * turn.sin(), 15.0 - 5.0 * (2.0 * turn).sin());
    let cooling = (20.0 + 0.1 * it + 3.0 * wet) * if in_charge { 0.9 } else { 1.0 };
    vec![("inlet", 22.0), ("it_load", it), ("wet_bulb", wet), ("cooling", cooling), ("chws_sp", 7.0)]
}

const DAY: &str = "2026-06-30T00:00:00Z";

/// A baseline in March, ten days in June without the agent, and one with it.
fn record(rig: &Rig) {
    let mut past = Past::of(rig, time("2026-03-01T00:00:00Z"));
    let mut span = |from: &str, to: &str, in_charge: bool| {
        past.frames(time(from), time(to), in_charge, |at| values(at, in_charge));
    };
    span("2026-03-01T00:00:00Z", "2026-03-05T00:00:00Z", false);
    span("2026-06-20T00:00:00Z", DAY, false);
    let override_at = |past: &mut Past, at: &str, until: Value| {
        let act = json!({ "act": "override", "setpoint": "chws_sp", "value": 8.0, "until": until, "who": "ann",
            "why": "pump 2", "accepted": true, "answer": "held" });
        past.record(time(at), Kind::Operator, &act);
    };
    let mut past_day = |from: &str, to: &str| {
        past.frames(time(from), time(to), true, |at| values(at, true));
    };
    past_day(DAY, "2026-06-30T06:00:00Z");
    override_at(&mut past, "2026-06-30T06:00:00Z", json!("2026-06-30T07:00:00Z"));
    past.frames(time("2026-06-30T06:00:00Z"), time("2026-06-30T12:00:00Z"), true, |at| values(at, true));
    override_at(&mut past, "2026-06-30T12:00:00Z", Value::Null);
    past.frames(time("2026-06-30T12:00:00Z"), time("2026-06-30T13:30:00Z"), true, |at| values(at, true));
    let back = json!({ "act": "clear_override", "setpoint": "chws_sp", "who": "ann", "why": "done", "accepted": true, "answer": "back" });
    past.record(time("2026-06-30T13:30:00Z"), Kind::Operator, &back);
    past.frames(time("2026-06-30T13:30:00Z"), time("2026-07-01T11:55:00Z"), true, |at| values(at, true));
    past.close();
}

async fn started(test: &str, report: &str) -> Option<Rig> {
    let mut rig = Rig::start_without_agent(test, |t| metered(&t, report)).await?;
    record(&rig);
    rig.restart().await;
    Some(rig)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saving_is_measured_against_the_baseline_of_the_site_file() {
    for (report, told, hours) in [
        ("", "the 30 days before", 240),
        ("\n[report]\nbaseline = { days = 4 }\n", "the 4 days before", 96),
        // Older than what the console keeps in memory: it is read from the log.
        (
            "\n[report]\nbaseline = { from = \"2026-03-01\", to = \"2026-03-04\" }\n",
            "the time from 2026-03-01 to 2026-03-04",
            96,
        ),
    ] {
        let Some(rig) = started("console baseline", report).await else { return };
        let client = Client::new(&address(&rig).await);
        let (_, found) = client.json("/api/report?day=2026-06-30").await;
        let saving = &found["saving"];
        assert_eq!(saving["stated"], true, "{saving}");
        assert_eq!(
            (&saving["baseline"]["told"], &saving["baseline_hours"]),
            (&json!(told), &json!(hours)),
            "{saving}"
        );
        assert!(saving["method"].as_str().unwrap().contains(told), "{saving}");
        let near = |key: &str, expected: f64, within: f64| {
            let found = saving[key].as_f64().unwrap();
            assert!((found - expected).abs() < within, "{key} {found} instead of {expected}");
        };
        near("percent", 10.0, 0.1);
        near("hours", 24.0, 1e-6);
        assert!(saving["plus_minus_kwh"].as_f64().unwrap() >= 0.0);

        let overrides = &found["day"]["overrides"];
        assert_eq!(overrides["count"], 2, "{overrides}");
        assert!((overrides["hours"].as_f64().unwrap() - 2.5).abs() < 1e-9, "{overrides}");
        // The day before had none, and is measured by what was before it.
        let (_, other) = client.json("/api/report?day=2026-06-20").await;
        assert_eq!(other["day"]["overrides"]["count"], 0);
        let why = other["saving"]["why"].as_str().unwrap_or_default();
        match hours {
            240 => assert_eq!(
                why,
                "a baseline takes 48 hours without the agent, and there are 0 in the 30 days before: of 720 hours 720 without frames"
            ),
            96 if told.ends_with("before") => {
                assert!(why.contains("of 96 hours 96 without frames"), "{why}");
            }
            _ => assert!(
                why.starts_with("of the 24 hours reported on, the agent had the plant in none"),
                "{why}"
            ),
        }
        assert_eq!(other["saving"]["stated"], false);
        // Since when: the log knows nothing before March.
        let (_, first) = client.json("/api/report?day=2026-03-02").await;
        let why = first["saving"]["why"].as_str().unwrap();
        if hours == 240 {
            assert!(
                why.ends_with("696 without frames, 24 without the agent; the log begins at 2026-03-01 00:00"),
                "{why}"
            );
        }
    }
}

#[tokio::test]
async fn a_baseline_that_nobody_can_have_meant_is_refused() {
    let Some(rig) = Rig::start_without_agent("console baseline refused", |t| t).await else { return };
    let text = std::fs::read_to_string(rig.dir.path().join("site.toml")).unwrap();
    for (baseline, says) in [
        ("{ days = 1 }", "report.baseline.days: expected 2 to 366, got 1"),
        ("{ from = \"2026-03-01\" }", "report.baseline.from: expected from and to together"),
        (
            "{ from = \"2026-03-02\", to = \"2026-03-01\" }",
            "report.baseline.to: 2026-03-01 is before 2026-03-02",
        ),
        ("{ from = \"2026-03-01\", to = \"2026-03-01\" }", "report.baseline.to: expected 2 to 366 days"),
        ("{ from = \"2026-02-30\", to = \"2026-03-01\" }", "'day' for `2026-02` is invalid"),
    ] {
        let text = format!("{text}\n[report]\nbaseline = {baseline}\n");
        let error = isotherm::site::parse(&text, Path::new("site.toml")).unwrap_err().to_string();
        assert!(error.contains(says), "{baseline}: {error}");
    }
}

/// A4, as a person prints it: nothing wider than the page, and nothing to press on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_report_prints_whole() {
    let test = "console print";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(rig) = started(test, "").await else { return };
    let base = address(&rig).await;
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    std::fs::create_dir_all(&out).unwrap();
    for (name, query, says) in [
        ("day", "day=2026-06-30", "2, in force for 2 h 30 min (chws sp: 2, 2 h 30 min)"),
        ("month", "month=2026-06", "Day by day"),
    ] {
        for theme in ["light", "dark"] {
            browser.look(theme, 1440, 1000).await;
            browser.open(&format!("{base}/reports?{query}")).await;
            browser.reads(says).await;
            browser.screenshot(&out.join(format!("report-{name}-{theme}.png"))).await;
            let pdf = browser.print().await;
            std::fs::write(out.join(format!("report-{name}-{theme}.pdf")), &pdf).unwrap();
            assert!(pdf.starts_with(b"%PDF-") && pdf.len() > 20_000, "{} bytes", pdf.len());
            browser.as_paper(theme).await;
            browser.screenshot(&out.join(format!("report-{name}-{theme}-paper.png"))).await;
            let cut = browser
                .run(
                    "const box = document.querySelector('.report').getBoundingClientRect();
                     return [...document.querySelectorAll('.report *')].filter(e => e.getBoundingClientRect().right > box.right + 1 || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible').map(e => e.outerHTML.slice(0, 80))",
                )
                .await;
            assert_eq!(cut, json!([]), "{name} {theme} is cut off");
            let controls = browser
                .run(
                    "return [...document.querySelectorAll('button, input, select, textarea, nav, .top')].filter(e => e.checkVisibility()).map(e => e.outerHTML.slice(0, 80))",
                )
                .await;
            assert_eq!(controls, json!([]), "{name} {theme}");
            let colours = browser
                .run("return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color].join()")
                .await;
            assert_eq!(colours, "rgb(255, 255, 255),rgb(0, 0, 0)", "{name} {theme}: paper is white");
        }
    }
    assert_eq!(browser.errors().await, [""; 0]);
    browser.close().await;
}
