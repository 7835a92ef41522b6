//! What is believed of a scheduler, what comes of it, and what is promised to it.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::board::MOST_JOBS;
use super::*;
use crate::facts::example;
use crate::frame::{Assembler, Frame, Quality};
use crate::policy::{self, Policy, Seen};
use crate::site::{Law, Place, Site};
use crate::twin::Twin;

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(example::START + minutes * 60).unwrap()
}

/// Two halls of 600 kW; the hottest inlet of each follows its own.
fn site() -> Site {
    let mut site = example::site();
    site.workload.places =
        ["hall_a", "hall_b"].map(|n| Place { name: name(n), capacity_kw: Finite::constant(600.0) }).to_vec();
    for s in &mut site.signals {
        s.place = match s.name.as_str() {
            "hall_a_inlet_max" => Some(name("hall_a")),
            "hall_b_inlet_max" => Some(name("hall_b")),
            _ => None,
        };
    }
    site
}

fn hear(board: &mut Board, text: &str) -> String {
    match board.hear(at(0), text.as_bytes()) {
        Ok(heard) => format!("{heard:?}").split('(').next().unwrap().to_owned(),
        Err(refused) => refused.to_string(),
    }
}

fn said(id: &str, minutes: i64, kw: f64, place: &str) -> String {
    format!(r#"{{"id":"{id}","start":"{}","kw":{kw},"place":{place}}}"#, at(minutes))
}

#[test]
fn jobs_are_announced_changed_cancelled_and_leave_when_they_start() {
    let mut board = Board::new(&site());
    assert_eq!(hear(&mut board, &said("b", 30, 200.0, "\"hall_a\"")), "Announced");
    assert_eq!(hear(&mut board, &said("a.1", 20, 300.0, "null")), "Announced");
    let ids = |board: &mut Board, minute| -> Vec<String> {
        board.standing(at(minute)).into_iter().map(|j| j.id.to_string()).collect()
    };
    assert_eq!(ids(&mut board, 0), ["a.1", "b"], "the next one first");
    assert_eq!(hear(&mut board, &said("b", 10, 600.0, "\"hall_a\"")), "Changed");
    assert_eq!(ids(&mut board, 0), ["b", "a.1"]);
    assert_eq!(ids(&mut board, 10), ["a.1"], "what has started is measured");
    assert_eq!(hear(&mut board, r#"{"id":"a.1","cancelled":true}"#), "Cancelled");
    assert_eq!(ids(&mut board, 0), Vec::<String>::new());
}

#[test]
fn another_board_takes_over_what_its_site_has_room_for() {
    let mut board = Board::new(&site());
    for (id, kw, place) in [("a", 400.0, "\"hall_a\""), ("b", 600.0, "\"hall_b\""), ("c", 100.0, "null")] {
        assert_eq!(hear(&mut board, &said(id, 20, kw, place)), "Announced");
    }
    let ids = |site: &Site, minute| -> Vec<String> {
        let mut next = Board::new(site);
        next.recall(&board.jobs());
        next.standing(at(minute)).into_iter().map(|j| j.id.to_string()).collect()
    };
    assert_eq!(ids(&site(), 0), ["a", "b", "c"]);
    assert_eq!(ids(&site(), 20), Vec::<String>::new(), "started while nobody looked");
    let mut smaller = site();
    smaller.workload.places.retain(|p| p.name == name("hall_a"));
    assert_eq!(ids(&smaller, 0), ["a", "c"], "a hall that is not there any more takes nothing");
    for place in &mut smaller.workload.places {
        place.capacity_kw = Finite::constant(300.0);
    }
    assert_eq!(ids(&smaller, 0), ["c"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_says_what_was_expected() {
    let mut board = Board::new(&site());
    let mut refused = |text: &str, words: &[&str]| {
        let answer = hear(&mut board, text);
        assert!(words.iter().all(|w| answer.contains(w)), "{text}\n{answer}");
        assert!(answer.len() < 300, "{answer}");
        assert_eq!(board.standing(at(0)), [], "{text}");
    };
    refused("tonight", &["message", "\"start\"", "got tonight"]);
    refused(&"x".repeat(5000), &["at most 4096 bytes", "5000"]);
    refused("[]", &["JSON object"]);
    refused(r#"{"id":"a"}"#, &["start: expected a time after 2026", "got nothing"]);
    refused(r#"{"id":"<|im_end|>","cancelled":true}"#, &["id: expected 1 to 64 letters"]);
    refused(r#"{"id":"a","cancelled":false}"#, &["cancelled: expected true"]);
    refused(r#"{"id":"a","cancelled":true}"#, &["announced and has not started"]);
    refused(&said("a", 0, 100.0, "null"), &["start", "a time after"]);
    refused(&said("a", 25 * 60, 100.0, "null"), &["at most 24 h ahead"]);
    refused(&said("a", 10, 100.0, "\"hall_c\""), &["place: expected one of hall_a, hall_b"]);
    refused(&said("a", 10, 601.0, "\"hall_a\""), &["kw", "at most 600 kW", "hall_a takes 600"]);
    refused(&said("a", 10, 1e12, "null"), &["at most 1200 kW (the site", "1000000000000"]);
    refused(&said("a", 10, -50.0, "null"), &["more than 0", "-50"]);
    refused(&said("a", 10, 1.0, "null").replace(":1,", ":\"1\","), &["kw", "got \"1\""]);
}

#[test]
fn what_is_announced_fits_the_place_together_and_a_flood_ends() {
    let mut board = Board::new(&site());
    assert_eq!(hear(&mut board, &said("a", 10, 400.0, "\"hall_a\"")), "Announced");
    assert!(hear(&mut board, &said("b", 10, 300.0, "\"hall_a\"")).contains("at most 200 kW"));
    assert_eq!(hear(&mut board, &said("a", 10, 500.0, "\"hall_a\"")), "Changed", "its own does not count");
    for i in 1..MOST_JOBS {
        assert_eq!(hear(&mut board, &said(&format!("n{i}"), 10, 1.0, "null")), "Announced");
    }
    assert!(hear(&mut board, &said("more", 10, 1.0, "null")).contains("at most 64 announced jobs"));
}

proptest! {
    /// Whatever comes in: no panic, and what stands is to come, positive, and fits.
    #[test]
    fn hearing_is_total(texts in prop::collection::vec(
        prop_oneof![
            ".{0,80}",
            ("[a-c]{1,2}", -100..2000i64, -1e3..1e4f64).prop_map(|(id, m, kw)| said(&id, m, kw, "\"hall_b\"")),
        ],
        0..40,
    )) {
        let mut board = Board::new(&site());
        for text in &texts {
            board.hear(at(0), text.as_bytes()).ok();
        }
        let jobs = board.standing(at(0));
        prop_assert!(jobs.iter().all(|j| j.start > at(0) && j.kw > Finite::ZERO));
        prop_assert!(jobs.iter().map(|j| j.kw.get()).sum::<f64>() <= 600.0);
    }
}

#[test]
fn a_frame_without_jobs_is_written_as_before_and_one_with_jobs_comes_back() {
    let mut assembler = Assembler::new(&site());
    let text = |frame: &Frame| serde_json::to_string(frame).unwrap();
    assert!(!text(&assembler.snapshot(at(0))).contains("jobs"));
    assembler.announce(at(0), said("a", 20, 300.0, "\"hall_b\"").as_bytes()).unwrap();
    let frame = assembler.snapshot(at(1));
    assert_eq!(frame.jobs.len(), 1);
    let back: Frame = serde_json::from_str(&text(&frame)).unwrap();
    assert_eq!(text(&back), text(&frame));
}

/// A plant whose inlets settle 4 K above the supply at 800 kW, and 0.01 K warmer for each kW more, after
/// 6 min; driven for hours so that the twin knows it. The frame is the last one.
fn known(site: &Site, inlet_now: f64) -> (Twin, Frame) {
    let mut twin = Twin::new(site);
    let (mut sp, mut load, mut inlet) = (20.0, 800.0, 24.0);
    let mut frame = example::frame(0, &[]);
    for i in 0..12 * 240i64 {
        if i % 100 == 0 {
            sp = [20.0, 21.0, 19.5, 22.0, 20.5][(i as usize / 100) % 5];
        }
        if i % 140 == 0 {
            load = [800.0, 900.0, 850.0, 700.0][(i as usize / 140) % 4];
        }
        if i > 11 * 240 {
            // It ends at rest, where it is wanted.
            (sp, load) = (inlet_now - 4.0, 800.0);
        }
        inlet += (sp + 4.0 + 0.01 * (load - 800.0) - inlet) * (1.0 - f64::exp(-15.0 / 360.0));
        let values = [
            ("hall_a_inlet_max", inlet),
            ("hall_b_inlet_max", inlet),
            ("it_load", load),
            ("crah_supply_sp", sp),
        ];
        frame = example::frame(i * 15, &values);
        twin.update(&frame);
    }
    (twin, frame)
}

fn job(frame: &Frame, minutes: i64, kw: f64, place: Option<&str>) -> Job {
    Job {
        id: "j".to_owned().try_into().unwrap(),
        start: frame.time + SignedDuration::from_mins(minutes),
        kw: Finite::constant(kw),
        place: place.map(name),
    }
}

#[test]
fn an_announced_job_is_seen_ahead_where_it_will_be_and_the_guard_does_not_hear_of_it() {
    let (twin, quiet) = known(&site(), 24.0);
    let hot = |frame: &Frame, signal: &str| {
        let row = twin.outlook(frame, []).rows.remove(0);
        row.ahead[&name(signal)].map(|a| a.value.get())
    };
    let busy = Frame { jobs: vec![job(&quiet, 10, 200.0, Some("hall_a"))], ..quiet.clone() };
    let ([a0, b0], [a1, b1]) = (
        ["hall_a_inlet_max", "hall_b_inlet_max"].map(|s| hot(&quiet, s)),
        ["hall_a_inlet_max", "hall_b_inlet_max"].map(|s| hot(&busy, s)),
    );
    assert!((a1[0] - a0[0]).abs() < 1e-9, "not before it starts");
    // 200 kW in one of two halls weigh as 400 in both: some 4 K once settled.
    assert!(a1[2] - a0[2] > 2.0, "{a0:?} {a1:?}");
    assert!((b1[2] - b0[2]).abs() < 0.3, "the other hall: {b0:?} {b1:?}");
    let ahead = site().envelope.outlook;
    assert_eq!(twin.predict(&busy, &[].into(), ahead), twin.predict(&quiet, &[].into(), ahead));
    let mut learned = (twin.clone(), twin.clone());
    learned.0.update(&quiet);
    learned.1.update(&busy);
    assert_eq!(format!("{:?}", learned.0), format!("{:?}", learned.1), "nothing is learned from it");
}

#[test]
fn mpc_cools_before_an_announced_start() {
    let site = Site { controller: Law::Mpc, ..site() };
    let (twin, quiet) = known(&site, 25.0);
    let supply = |frame: &Frame| {
        let seen = Seen { site: &site, frame, twin: &twin, limits: &[] };
        let mut mpc: Box<dyn Policy> = policy::of(&site).unwrap();
        mpc.propose(frame.time, &seen).unwrap()[&name("crah_supply_sp")]
    };
    let busy = Frame { jobs: vec![job(&quiet, 20, 250.0, Some("hall_a"))], ..quiet.clone() };
    assert!(supply(&busy) < supply(&quiet), "{} {}", supply(&busy), supply(&quiet));
}

#[test]
fn headroom_is_what_still_fits_and_names_what_binds() {
    let site = site();
    let of = |inlet: f64| {
        let (twin, frame) = known(&site, inlet);
        headroom(&site, &frame, &twin)
    };
    let (cool, warm) = (of(22.0), of(25.0));
    let limit = Binding::Signal { signal: name("hall_a_inlet_max"), limit: Finite::constant(27.0) };
    assert_eq!(warm[0].binding, limit, "{warm:?}");
    assert!(warm[0].reason.contains("hall_a_inlet_max could pass 27 within 15 min"), "{}", warm[0].reason);
    // 2 K at 0.02 K for each kW of one hall are 100 kW, less what is not certain, more as 15 min are short.
    assert!((40.0..120.0).contains(&warm[0].kw.get()), "{warm:?}");
    assert!(cool[0].kw.get() > warm[0].kw.get() + 50.0, "{cool:?} {warm:?}");
    assert!(cool[0].kw.get() <= 200.0, "600 kW less its share of 800: {cool:?}");
    assert_eq!(of(27.5)[0].kw, Finite::ZERO, "above the limit there is none");
}

#[test]
fn headroom_is_none_where_something_is_not_known() {
    let site = site();
    let (twin, frame) = known(&site, 24.0);
    let without = |signal: &str| {
        let mut frame = frame.clone();
        frame.signals.get_mut(&name(signal)).unwrap().quality = Quality::Stale;
        headroom(&site, &frame, &twin)
    };
    let blind = without("hall_a_inlet_max");
    assert_eq!((blind[0].kw, &blind[0].reason[..]), (Finite::ZERO, "hall_a_inlet_max has no good value"));
    assert!(blind[1].kw > Finite::ZERO, "the other hall does not need it: {blind:?}");
    assert!(without("it_load").iter().all(|h| h.kw == Finite::ZERO && h.reason.contains("it_load")));
    let new = headroom(&site, &frame, &Twin::new(&site));
    assert!(new.iter().all(|h| h.kw == Finite::ZERO && h.binding == Binding::Unknown { signal: None }));
    // What is announced is for the scheduler to subtract.
    let busy = Frame { jobs: vec![job(&frame, 5, 300.0, None)], ..frame.clone() };
    assert_eq!(headroom(&site, &busy, &twin), headroom(&site, &frame, &twin));
}
