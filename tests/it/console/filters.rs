//! The filters of the view Decisions: each shows what fits and leaves out the rest.

use isotherm::audit::Kind;
use serde_json::{Value, json};

use super::browser::Browser;
use super::past::{PRESENT, Past, time};
use super::{Client, address, with_console};
use crate::agent::Rig;

fn seqs(page: &Value) -> Vec<u64> {
    let mut seqs: Vec<u64> =
        page["items"].as_array().unwrap().iter().map(|i| i["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    seqs
}

/// Every record of the view, by its number, and which filters it fits.
fn record(rig: &Rig) -> Vec<(u64, Vec<&'static str>)> {
    let mut past = Past::of(rig, time("2026-06-29T00:00:00Z"));
    let touched = json!([{ "rule": "rate_limit", "setpoint": "chws_sp", "from": 9.0, "to": 7.5, "limit": 7.5, "why": "fast" }]);
    let old = time("2026-06-29T10:00:00Z");
    let new = time("2026-06-30T10:00:00Z");
    let values = [("inlet", 22.0), ("chws_sp", 7.0)];
    past.frame(old, &values, true);
    let mut all = vec![
        (past.decision(old, "plain", &json!({})), vec!["by=model", "to"]),
        (
            past.decision(old, "fast", &json!({ "verdict": { "touched": touched, "intervened": true } })),
            vec!["by=model", "rule=rate_limit", "intervened", "to"],
        ),
        (
            past.decision(
                old,
                "late",
                &json!({ "decision": null, "claims": null, "replaced": "model_failed", "verdict": { "by": "fallback" } }),
            ),
            vec!["by=fallback", "replaced", "to"],
        ),
    ];
    past.frame(new, &values, true);
    all.push((
        past.decision(
            new,
            "wrong",
            &json!({ "claims": { "verified": false }, "replaced": "claims_unverified", "verdict": { "by": "nobody" } }),
        ),
        vec!["by=nobody", "unverified", "replaced", "from"],
    ));
    let act = json!({ "act": "mode", "mode": "auto", "who": "eva", "why": "x", "accepted": true, "answer": "mode auto" });
    all.push((past.record(new, Kind::Operator, &act), vec!["what=operator"]));
    let event = json!({ "event": "link_up", "detail": "source: frames arrive" });
    all.push((past.record(new, Kind::Event, &event), vec!["what=event"]));
    past.close();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_shows_what_fits_and_leaves_out_the_rest() {
    let test = "console filters";
    let Some(browser) = Browser::start(test).await else { return };
    let Some(mut rig) = Rig::start_without_agent(test, |t| with_console(&t, "")).await else { return };
    let all = record(&rig);
    rig.restart().await;
    let base = address(&rig).await;
    let client = Client::new(&base);
    // In the API the same under its own names, and older than what the new run adds.
    let (between_old, between_new) = (time("2026-06-29T23:00:00Z"), time(PRESENT));
    for (filter, query, page) in [
        ("by=model", "by=model", "by=model"),
        ("by=fallback", "by=fallback", "by=fallback"),
        ("by=nobody", "by=nobody", "by=nobody"),
        ("rule=rate_limit", "rule=rate_limit", "rule=rate_limit"),
        ("intervened", "intervened=true", "intervened=1"),
        ("unverified", "unverified=true", "unverified=1"),
        ("replaced", "replaced=true", "replaced=1"),
        ("what=operator", "kinds=operator", "what=operator"),
        ("what=event", "kinds=event", "what=event"),
        ("from", "since=2026-06-29T23:00:00Z", "from=1782774000"),
        ("to", "until=2026-06-29T23:00:00Z", "to=1782774000"),
    ] {
        let fits: Vec<u64> = all.iter().filter(|(_, f)| f.contains(&filter)).map(|(seq, _)| *seq).collect();
        assert!(!fits.is_empty() && fits.len() < all.len(), "{filter} tells something apart");
        let until = if filter == "to" { String::new() } else { format!("&until={between_new}") };
        let (status, found) = client.json(&format!("/api/decisions?{query}{until}")).await;
        assert_eq!((status, seqs(&found)), (200, fits.clone()), "{filter}");

        let until = if filter == "to" { "" } else { "&to=1782907199" };
        browser.open(&format!("{base}/decisions?{page}{until}")).await;
        browser.until(filter, "document.querySelectorAll('.feed > li').length > 0").await;
        let shown = "return [...document.querySelectorAll('.feed .when a')].map(a => Number(a.innerText.slice(1))).sort((a, b) => a - b)";
        assert_eq!(browser.run(shown).await, json!(fits), "{filter} in the page");
    }
    assert!(between_old < between_new);
    assert_eq!(browser.errors().await, [""; 0]);
    browser.close().await;
}

/// As a person does it: the field takes the site's time, and the address keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_asked_for_in_the_page() {
    let test = "console dates";
    let Some(browser) = Browser::start(test).await else { return };
    let helsinki =
        |t: String| with_console(&t, "").replacen("clock =", "time_zone = \"Europe/Helsinki\"\nclock =", 1);
    let Some(mut rig) = Rig::start_without_agent(test, helsinki).await else { return };
    let all = record(&rig);
    rig.restart().await;
    browser.open(&format!("{}/decisions", address(&rig).await)).await;
    browser.reads(&format!("#{}", all[0].0)).await;
    browser.reads("From, Europe/Helsinki").await;
    let set = |name: &str, value: &str| {
        format!(
            "const field = document.querySelector('.filters [name={name}]'); field.value = '{value}';
             field.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        )
    };
    let shown = |count: usize| {
        format!(
            "document.querySelectorAll('.feed > li').length === {count} && !document.body.innerText.includes('Reading')"
        )
    };
    // 10:00 in UTC is 13:00 there.
    browser.run(&set("to", "2026-06-29T13:00:00")).await;
    browser.until("the three of the first day", &shown(3)).await;
    browser.run(&set("to", "2026-06-29T12:59:59")).await;
    browser.reads("Nothing that fits.").await;
    browser.run(&set("to", "")).await;
    browser.run(&set("from", "2026-06-30T13:00:00")).await;
    browser.until("those of the second day on", &format!("[...document.querySelectorAll('.feed a')].every(a => Number(a.innerText.slice(1)) >= {}) && document.querySelectorAll('.feed > li').length > 0", all[3].0)).await;
    let address = browser.run("return location.search").await;
    assert_eq!(address, "?from=1782813600");
    let field = browser.run("return document.querySelector('.filters [name=from]').value").await;
    assert!(field.as_str().unwrap().starts_with("2026-06-30T13:00"), "{field}");
    browser.close().await;
}
