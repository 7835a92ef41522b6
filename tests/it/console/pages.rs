//! The pages, as people use them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::browser::Browser;
use super::limits::picture;
use super::{PASSWORD, add_users, address, with_users};
use crate::agent::{Rig, SAMPLE, honest};
use crate::peers::skip;

/// Frames until there is a decision.
const DECISION: u32 = 6;

/// Violations that axe-core finds on the page that is open; `None` when it was not fetched.
pub(super) async fn violations(browser: &Browser) -> Option<Vec<String>> {
    let axe = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/axe.min.js");
    let Ok(axe) = std::fs::read_to_string(axe) else {
        skip("accessibility", "needs .cache/axe.min.js: run scripts/setup test");
        return None;
    };
    browser.run(&format!("{axe}\nreturn 1")).await;
    let found = browser
        .run_async("const done = arguments[arguments.length - 1]; axe.run(document).then(r => done(r.violations), e => done([{ id: String(e), nodes: [] }]))")
        .await;
    let describe = |v: &Value| {
        let nodes: Vec<String> =
            v["nodes"].as_array().unwrap().iter().map(|n| n["html"].to_string()).collect();
        format!("{}: {} {}", v["id"], v["help"], nodes.join(" "))
    };
    Some(found.as_array().unwrap().iter().map(describe).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_opens_without_errors_and_is_accessible() {
    let test = "console views";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start(test, |t| with_users(&t)).await else { return };
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(DECISION).await;
    let base = address(&rig).await;
    let seq = rig.records().iter().find(|r| r.kind.as_str() == "decision").unwrap().seq;
    for (path, says) in [
        ("/".to_owned(), "Margins to limits"),
        ("/trends".to_owned(), "In this window"),
        ("/decisions".to_owned(), "every claim holds"),
        (format!("/decisions/{seq}"), "Exact prompt"),
        ("/act".to_owned(), "isotherm console user add"),
        ("/replay".to_owned(), "as recorded at"),
        ("/reports".to_owned(), "Stability and violations"),
        ("/reports?month=2026-07".to_owned(), "Day by day"),
    ] {
        for (theme, width) in [("light", 1440), ("dark", 390)] {
            browser.look(theme, width, 1000).await;
            browser.open(&format!("{base}{path}")).await;
            browser.reads(says).await;
            assert_eq!(browser.errors().await, [""; 0], "{path} {theme}");
            let wider = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(wider.as_i64().unwrap() <= 0, "{path} at {width} px scrolls sideways by {wider} px");
            if let Some(found) = violations(&browser).await {
                assert_eq!(found, [""; 0], "{path} {theme}");
            }
        }
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_new_limits_as_soon_as_they_are_in_force() {
    let test = "console reload";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start(test, |t| t).await else { return };
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(DECISION).await;
    browser.look("light", 1440, 1000).await;
    browser.open(&address(&rig).await).await;
    browser.reads("to 16.0").await;
    rig.edit("max = 16", "max = 7.5");
    rig.hang_up();
    browser.reads("to 7.5").await;
    assert_eq!(browser.errors().await, [""; 0]);
    browser.close().await;
}

/// The key, as WebDriver has it.
const ENTER: char = '\u{E007}';

async fn log_in(browser: &Browser, name: &str) {
    browser.press("Log in").await;
    browser.fill("dialog [name=name]", name).await;
    browser.fill("dialog [name=password]", &format!("{PASSWORD}{ENTER}")).await;
    browser
        .until("logged in", &format!("document.querySelector('#top').innerText.includes('{name} (')"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_release_approve_and_override_as_their_role_allows() {
    let test = "console acts";
    let advise = |t: String| with_users(&t).replacen("mode = \"auto\"", "mode = \"advise\"", 1);
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start(test, advise).await else { return };
    add_users(&rig);
    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(DECISION).await;
    let base = address(&rig).await;

    // A viewer sees everything and is refused.
    browser.open(&format!("{base}/act")).await;
    log_in(&browser, "vic").await;
    browser.reads("viewers look").await;
    browser.press("RELEASE").await;
    browser.press("RELEASE NOW").await;
    browser.reads("this takes the role operator; you are viewer").await;
    browser.press("Cancel").await;
    browser.press("vic (viewer)").await;

    // An operator approves what waits.
    log_in(&browser, "ann").await;
    browser.press("Approve").await;
    for theme in ["light", "dark"] {
        browser.look(theme, 1440, 1000).await;
        if let Some(found) = violations(&browser).await {
            assert_eq!(found, [""; 0], "logged in, with a dialog open, {theme}");
        }
    }
    browser.fill("dialog [name=why]", "looks right").await;
    browser.press("Approve").await;
    rig.until("the approved value is written", |r| {
        r.bodies("outcome")
            .iter()
            .any(|o| o["writes"].as_array().unwrap().iter().any(|w| w["target"]["setpoint"] == "chws_sp"))
    })
    .await;
    assert_eq!(rig.register(2).await, 75);
    // More than the site starts in takes an engineer.
    browser.press("auto").await;
    browser.fill("dialog [name=why]", "trusted").await;
    browser.press("Change to auto").await;
    browser.reads("this takes the role engineer").await;
    browser.press("Cancel").await;
    browser.press("ann (operator)").await;

    log_in(&browser, "eva").await;
    browser.press("auto").await;
    browser.fill("dialog [name=why]", "commissioned").await;
    browser.press("Change to auto").await;
    browser.until("mode auto", "document.querySelector('.mode').classList.contains('auto')").await;
    rig.frames(2).await;
    browser.fill("[name=value]", "8").await;
    browser.fill("form[aria-label='Override a setpoint'] [name=why]", "works on pump 2").await;
    browser.press("Override").await;
    browser.reads("held at 8.0\u{a0}°C").await;
    browser.fill("textarea", "keep chilled water at or above 7 degC").await;
    browser.reads("enforced by the guard until withdrawn: chws_sp at least 7").await;
    browser.fill("form[aria-label='Give a directive'] [name=why]", "from the shift lead").await;
    browser.press("Give directive").await;
    for (button, why) in [("Withdraw", "no longer"), ("Give back", "pump 2 is done")] {
        browser.press(button).await;
        browser.fill("dialog [name=why]", &format!("{why}{ENTER}")).await;
        browser.until("the dialog has closed", "!document.querySelector('dialog[open]')").await;
    }
    browser.press("RELEASE").await;
    // Enter does what the form is for.
    browser.fill("dialog [name=why]", &format!("taken over by hand{ENTER}")).await;
    browser.until("released", "document.querySelector('.mode').classList.contains('manual')").await;
    // Whoever comes to the screen next sees who did it, and why.
    browser.reads("the agent only records by eva (engineer, console) since").await;
    browser.reads("(taken over by hand)").await;
    browser.press("Now").await;
    browser.reads("the whole plant released by eva (engineer, console) since").await;
    picture(&browser, "released").await;
    assert_eq!(browser.errors().await.iter().filter(|e| !e.contains("403")).count(), 0);
    browser.close().await;

    let acts = rig.bodies("operator");
    let told: Vec<String> = acts
        .iter()
        .map(|a| format!("{} {} {}", a["who"].as_str().unwrap(), a["act"].as_str().unwrap(), a["accepted"]))
        .collect();
    assert_eq!(
        told,
        [
            "ann (operator, console) approve true",
            "eva (engineer, console) mode true",
            "eva (engineer, console) override true",
            "eva (engineer, console) directive true",
            "eva (engineer, console) withdraw_directive true",
            "eva (engineer, console) clear_override true",
            "eva (engineer, console) mode true",
        ]
    );
    assert_eq!(rig.register(0).await, 0, "the plant has itself again");
}

#[tokio::test(flavor = "multi_thread")]
async fn power_is_that_of_all_signals_of_its_role() {
    let test = "console power";
    let more = ["it_load_b", "facility"].map(|name| {
        let role = if name == "facility" { "facility_power" } else { "it_load" };
        format!(
            "[[signal]]\nname = \"{name}\"\nunit = \"kW\"\nrole = \"{role}\"\nsource = {{ topic = \"t/frame\" }}\n\
             range = [0, 2000]\nslew_per_min = 5000\n\n"
        )
    });
    let site =
        |t: String| with_users(&t).replacen("[[setpoint]]", &format!("{}[[setpoint]]", more.concat()), 1);
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start(test, site).await else { return };
    for _ in 0..DECISION {
        rig.send(SAMPLE, |time| {
            let kw = |value: f64| json!({ "value": value, "unit": "kW" });
            json!({ "time": time, "signals": { "inlet": { "value": 22.0, "unit": "degC" },
                "it_load": kw(400.0), "it_load_b": kw(100.0), "facility": kw(750.0) } })
            .to_string()
        })
        .await;
        rig.acknowledged().await;
    }
    let base = address(&rig).await;
    browser.open(&base).await;
    browser.reads("2 signals together").await;
    let figures = "return [...document.querySelectorAll('.kpi .v')].map(v => v.innerText).join()";
    let figures = browser.run(figures).await;
    let figures = figures.as_str().unwrap();
    assert!(figures.contains("1.500") && figures.contains("500") && !figures.contains("400"), "{figures}");
    for page in ["day=2026-07-01", "month=2026-07"] {
        browser.open(&format!("{base}/reports?{page}")).await;
        browser.reads("1.500").await;
    }
    assert_eq!(browser.errors().await, [""; 0]);
    browser.close().await;
}

/// On a page without alarms or margins of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_and_an_emergency_are_announced_once_on_every_page() {
    let test = "console announcements";
    let Some(browser) = Browser::start(test).await else { return };
    let quick = |t: String| with_users(&t).replace("watchdog = \"10min\"", "watchdog = \"1s\"");
    let Some(mut rig) = Rig::start(test, quick).await else { return };
    rig.frames(2).await;
    browser.open(&format!("{}/reports", address(&rig).await)).await;
    let said = |text: &str| {
        format!(
            "[...document.querySelectorAll('.chips [role=alert]')].some(e => e.textContent.includes('{text}'))"
        )
    };
    browser.until("silence is announced", &said("New alarm: link down")).await;
    let watch = "window.again = 0;
        const seen = new MutationObserver(l => { window.again += l.length; });
        document.querySelectorAll('.chips [role=alert]').forEach(e => seen.observe(e, { childList: true, characterData: true, subtree: true }))";
    browser.run(watch).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(browser.run("return window.again").await, 0, "headers drawn since say nothing again");
    assert_eq!(browser.run(&format!("return {}", said("EMERGENCY"))).await, false);
    rig.frame(40.0).await;
    browser.until("the emergency is announced", &said("EMERGENCY")).await;
    assert_eq!(browser.run("return document.querySelectorAll('main [role=alert]').length").await, 0);
    browser.close().await;
}

/// A network between browser and agent that can fail.
struct Wire {
    address: String,
    cut: Arc<AtomicBool>,
}

impl Wire {
    async fn to(agent: &str) -> Self {
        let agent = agent.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let cut = Arc::new(AtomicBool::new(false));
        let is_cut = cut.clone();
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (agent, is_cut) = (agent.clone(), is_cut.clone());
                tokio::spawn(async move {
                    let failed = async {
                        while !is_cut.load(Ordering::Relaxed) {
                            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        }
                    };
                    let works = async {
                        let mut far = TcpStream::connect(agent).await.unwrap();
                        tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
                    };
                    tokio::select! { () = failed => {} () = works => {} }
                });
            }
        });
        Self { address, cut }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_lost_the_agent_misses_nothing() {
    let test = "console reconnect";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start(test, |t| with_users(&t)).await else { return };
    rig.frames(DECISION).await;
    let wire = Wire::to(&address(&rig).await).await;
    let decisions = |rig: &Rig| -> Vec<u64> {
        rig.records().iter().filter(|r| r.kind.as_str() == "decision").map(|r| r.seq).rev().collect()
    };
    browser.open(&format!("{}/decisions", wire.address)).await;
    browser.reads(&format!("#{}", decisions(&rig)[0])).await;
    browser.run("window.sameDocument = true").await;
    wire.cut.store(true, Ordering::Relaxed);
    browser.reads("not connected").await;
    rig.frames(3 * DECISION).await;
    wire.cut.store(false, Ordering::Relaxed);
    let newest = decisions(&rig);
    assert!(newest.len() >= 3);
    browser.reads(&format!("#{}", newest[0])).await;
    let shown = browser
        .run("return [...document.querySelectorAll('.feed a')].map(a => Number(a.innerText.slice(1)))")
        .await;
    assert_eq!(shown, serde_json::json!(newest), "in order and without gaps");
    assert_eq!(browser.run("return window.sameDocument === true").await, true, "and without a reload");
    browser.until("connected", "!document.body.innerText.includes('not connected')").await;
    browser.close().await;
}
