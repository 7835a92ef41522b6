//! Sixty signals at one hertz, after a day of it: what a browser makes of that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use isotherm::audit::{Kind, Store};
use isotherm::frame::{Frame, Quality, Sample};
use isotherm::units::{Finite, Unit};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::address;
use super::browser::Browser;
use crate::agent::Rig;

const SIGNALS: u32 = 60;
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The signals that the rig's site does not have yet.
fn names() -> Vec<String> {
    (2..SIGNALS).map(|i| format!("rack_{i}_inlet")).collect()
}

fn site(text: &str) -> String {
    let mut more = String::new();
    for name in names() {
        write!(
            more,
            "[[signal]]\nname = \"{name}\"\nunit = \"degC\"\nsource = {{ topic = \"t/frame\" }}\nrange = [5, 45]\n\
             slew_per_min = 100\n\n"
        )
        .unwrap();
    }
    text.replacen("[[setpoint]]", &format!("{more}[[setpoint]]"), 1)
        .replacen("sample = \"15s\"", "sample = \"1s\"", 1)
        .replacen("watchdog = \"3s\"", "watchdog = \"10min\"", 1)
}

/// All values of a moment: a slow wave, and a peak of one second every hour.
fn values(time: Timestamp) -> BTreeMap<String, f64> {
    let s = time.as_second();
    let wave = |i: usize| 22.0 + 2.0 * ((s as f64 / 3600.0) + i as f64).sin();
    let peak = if s % 3600 == 1800 { 3.0 } else { 0.0 };
    let racks = names().into_iter().enumerate().map(|(i, name)| (name, wave(i) + peak));
    racks.chain([("inlet".to_owned(), 22.0), ("it_load".to_owned(), 400.0)]).collect()
}

/// A day of frames in the log, as an agent would have left it.
fn record(rig: &Rig, until: Timestamp) {
    let site = isotherm::site::load(&rig.dir.path().join("site.toml")).unwrap();
    let first = until - SignedDuration::from_hours(24);
    let mut store = Store::open(&site.audit, first).unwrap();
    for i in 1..=86_400 {
        let time = first + SECOND * i;
        let sample = |value: f64, unit| Sample {
            value: Some(Finite::new(value).unwrap().rounded(2)),
            quality: Quality::Good,
            age_s: Some(Finite::ZERO),
            doubt: None,
            ..Sample::missing(unit)
        };
        let unit = |name: &str| if name == "it_load" { Unit::Kilowatt } else { Unit::DegC };
        let signals =
            values(time).into_iter().map(|(n, v)| (n.parse().unwrap(), sample(v, unit(&n)))).collect();
        let setpoints = [("chws_sp".parse().unwrap(), sample(7.0, Unit::DegC))].into();
        let frame =
            Frame { time, signals, setpoints, active: BTreeMap::new(), enable: None, jobs: Vec::new() };
        let body = json!({ "frame": frame, "heartbeat": null }).to_string();
        let body = serde_json::value::RawValue::from_string(body).unwrap();
        store.append(time, Kind::Frame, &body).unwrap();
        if i % 600 == 0 {
            store.commit().unwrap();
        }
    }
    store.close().unwrap();
}

/// What the page does from here on: gaps between frames of the screen, and tasks over 50 ms, in ms.
const WATCH: &str = "
    window.gaps = []; window.tasks = [];
    let last = performance.now();
    const tick = () => { const now = performance.now(); gaps.push(now - last); last = now; requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
    new PerformanceObserver(l => tasks.push(...l.getEntries().map(e => e.duration))).observe({ entryTypes: ['longtask'] });
    return 1";

/// Prints how long the page is busy; what it must do is drawn whatever the machine.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: a day of a site of 60 signals"]
async fn sixty_signals_at_one_hertz_stay_smooth_after_a_day() {
    let test = "sixty signals";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start_without_agent(test, |t| site(&t)).await else { return };
    let newest = "2026-07-01T12:00:00Z".parse().unwrap();
    record(&rig, newest);
    rig.restart().await;
    let base = address(&rig).await;
    browser.open(&base).await;
    // The past is read from the log while the agent runs.
    let fetch = "const done = arguments[arguments.length - 1];
        fetch('/api/series?from=2026-06-30T12:00:00Z&to=2026-07-01T12:00:00Z&points=1500').then(r => r.json()).then(done)";
    let rack = loop {
        let got = browser.run_async(fetch).await;
        let rack = got["course"]["series"]["rack_2_inlet"].clone();
        let points = rack["mean"].as_array().unwrap().len();
        assert!(points <= 1500, "{points}");
        if points >= 1400 {
            break rack;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let started = isotherm::clock::monotonic();
    browser.open(&format!("{base}/trends?span=86400")).await;
    browser.until("the charts are there", "document.querySelectorAll('.chart canvas').length > 0").await;
    println!(
        "24 h of {SIGNALS} signals are drawn {} ms after the page is asked for",
        started.elapsed().as_millis()
    );
    let highest = rack["max"].as_array().unwrap().iter().filter_map(Value::as_f64).fold(0.0, f64::max);
    assert!(highest > 26.5, "a peak of one second in a day is drawn: {highest}");

    browser.run(WATCH).await;
    for second in 0..30 {
        rig.send(SECOND, |time| {
            let signals: BTreeMap<_, _> = values(time)
                .into_iter()
                .map(|(n, v)| {
                    let unit = if n == "it_load" { "kW" } else { "degC" };
                    (n, json!({ "value": v, "unit": unit }))
                })
                .collect();
            json!({ "time": time, "signals": signals }).to_string()
        })
        .await;
        match second {
            8 => browser.press("6 h").await,
            16 => browser.press("1 h").await,
            24 => browser.press("24 h").await,
            _ => {}
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let busy = browser
        .run(
            "const gaps = window.gaps.sort((a, b) => a - b), at = q => Math.round(gaps[Math.floor(q * (gaps.length - 1))]);
             return { frames: gaps.length, p50: at(.5), p99: at(.99), longest: at(1), long_tasks: tasks.map(Math.round),
                      heap_mb: Math.round(performance.memory.usedJSHeapSize / 1e6) }",
        )
        .await;
    println!("30 s of live frames, three changes of range: {busy}");
    assert!(busy["frames"].as_u64().unwrap() > 30, "the page is alive: {busy}");
    assert_eq!(browser.errors().await, [""; 0]);
    println!("agent: {} MB at its peak", rig.peak_mb());
    browser.close().await;
}
