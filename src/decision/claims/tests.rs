mod spoken;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::decision::{Decision, Evidence, Trend};
use crate::directive;
use crate::facts::{Facts, Shown, example};
use crate::history::History;
use crate::site::Name;
use crate::twin::{Ahead, Outlook, Row};
use crate::units::Finite;

use super::*;

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

fn ahead(values: [f64; 3]) -> [Ahead; 3] {
    values.map(|v| Ahead { value: Finite::constant(v), sigma: Finite::constant(0.2) })
}

/// A load step: the load went from 809 to 955 kW in 10 min, hall A's inlet follows, chws_sp at 9.0.
fn facts() -> Facts {
    static FACTS: LazyLock<Facts> = LazyLock::new(build);
    FACTS.clone()
}

fn build() -> Facts {
    let site = example::site();
    let mut history = History::new(&site);
    let at = |m: f64| {
        let load = 809.0 + 14.6 * (m - 110.0).max(0.0);
        let inlet = 25.2 + 0.06 * (m - 105.0).max(0.0);
        [("it_load", load), ("hall_a_inlet_max", inlet), ("outdoor_wetbulb", 18.0 - m / 40.0)]
    };
    for i in 0..=480 {
        history.push(&example::frame(i * 15, &at(i as f64 / 4.0)));
    }
    let frame = example::frame(7200, &at(120.0));
    let row = |moves: &[(&str, f64)], a: [f64; 3], power: [f64; 3]| Row {
        moves: moves.iter().map(|(n, v)| (name(n), Finite::constant(*v))).collect(),
        ahead: BTreeMap::from([
            (name("hall_a_inlet_max"), ahead(a)),
            (name("hall_b_inlet_max"), ahead([23.4, 23.5, 23.5])),
            (name("cooling_power"), ahead(power)),
        ]),
    };
    let outlook = Outlook {
        rows: vec![
            row(&[], [26.4, 26.7, 27.2], [212.0, 216.0, 220.0]),
            row(&[("chws_sp", 8.5)], [26.3, 26.4, 26.5], [214.0, 222.0, 231.0]),
            row(&[("chws_sp", 9.5)], [26.5, 27.1, 28.3], [210.0, 209.0, 207.0]),
        ],
        best: None,
        unidentified: Vec::new(),
    };
    let floor = directive::understand(&site, frame.time, "ann", "keep CHWS at or above 7 until 14:00", None);
    let shown = Shown {
        site: &site,
        now: frame.time,
        frame: &frame,
        history: &history,
        outlook: &outlook,
        directives: &[floor.unwrap()],
    };
    Facts::new(&shown)
}

/// Lowers the chilled water by one step, holds the rest.
fn decision(rationale: &str) -> Decision {
    let setpoints = [("chws_sp", 8.5), ("crah_supply_sp", 20.0), ("chw_dp_sp", 150.0)];
    Decision {
        assessment: "Load step".to_owned(),
        evidence: vec![Evidence {
            signal: name("hall_a_inlet_max"),
            value: Finite::constant(26.1),
            trend: Trend::Rising,
        }],
        setpoints: setpoints.into_iter().map(|(n, v)| (name(n), Finite::constant(v))).collect(),
        rationale: rationale.to_owned(),
    }
}

fn verdict(rationale: &str) -> Claims {
    check(&facts(), &decision(rationale))
}

#[track_caller]
fn hold(rationales: &[&str]) {
    let wrong = rationales.iter().filter_map(|r| {
        let claims = verdict(r);
        (!claims.verified).then(|| format!("{r:?}: {:?}", claims.failing()))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "should hold:\n{}", wrong.join("\n"));
}

/// Each fails, for a claim of this kind among others.
#[track_caller]
fn fail(rationales: &[&str], kind: Claim) {
    let wrong = rationales.iter().filter_map(|r| {
        let claims = verdict(r);
        let failing = claims.checks.iter().any(|c| !c.holds && c.kind == kind);
        (!failing).then(|| format!("{r:?}: {:?}", claims.checks))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "should fail as {kind:?}:\n{}", wrong.join("\n"));
}

#[test]
fn the_world_of_these_tests_is_as_described() {
    let facts = facts();
    let inlet = facts.signal(&name("hall_a_inlet_max")).unwrap();
    assert_eq!((inlet.value, inlet.trend), (Some(Finite::constant(26.1)), Trend::Rising));
    let load = facts.signal(&name("it_load")).unwrap();
    assert_eq!((load.value, load.trend), (Some(Finite::constant(955.0)), Trend::Rising));
    assert_eq!(load.changes[&10].delta(), Finite::constant(146.0));
    assert_eq!(facts.signal(&name("outdoor_wetbulb")).unwrap().trend, Trend::Falling);
    assert_eq!(facts.setpoint(&name("chws_sp")).unwrap().present, Some(Finite::constant(9.0)));
}

#[test]
fn the_contract_s_own_example() {
    hold(&["IT load up 18 % in 10 min, hottest inlet 26.1 and rising"]);
    hold(&["Lower CHWS by 0.5 K now because the inlet margin falls under 1 K within 15 min at this load."]);
}

#[test]
fn evidence() {
    let with = |signal: &str, value: f64, trend| {
        let mut d = decision("Hold the rest.");
        d.evidence = vec![Evidence { signal: name(signal), value: Finite::constant(value), trend }];
        d.setpoints.insert(name("chws_sp"), Finite::constant(9.0));
        check(&facts(), &d).verified
    };
    assert!(with("hall_a_inlet_max", 26.1, Trend::Rising));
    assert!(with("hall_a_inlet_max", 26.14, Trend::Rising));
    assert!(!with("hall_a_inlet_max", 26.2, Trend::Rising));
    assert!(!with("hall_a_inlet_max", 26.1, Trend::Steady));
    assert!(with("it_load", 955.0, Trend::Rising));
    assert!(with("outdoor_wetbulb", 15.0, Trend::Falling));
    assert!(!with("nothing", 1.0, Trend::Steady));
    let mut unseen = facts();
    unseen.signals[0].value = None;
    assert!(!check(&unseen, &decision("")).verified);
}

#[test]
fn moves_of_setpoints() {
    hold(&[
        "Lower CHWS.",
        "Lower chws_sp by 0.5 K.",
        "Lower CHWS by 0.5 K to 8.5 degC.",
        "Lower CHWS from 9.0 to 8.5.",
        "Lower CHWS 0.5 K.",
        "Lower CHWS by one step.",
        "CHWS lowered to 8.5, CRAH supply held at 20.",
        "chws_sp 9.0 -> 8.5",
        "Chilled water setpoint down 0.5 K.",
        "Reduce chilled water supply to 8.5, hold the rest.",
        "More cooling: CHWS to 8.5.",
        "Hold CRAH supply and pump pressure.",
        "Lower CHWS, hold CRAH supply at 20 and pump pressure at 150 kPa.",
        "No change to CRAH supply.",
        "Keep CRAH supply steady at 20 degC.",
        "Cool more.",
        "Lower.",
        "CHWS moves by -0.5 K.",
        "Lower CHWS, still above the floor of 7.",
        "The operator wants it no warmer.",
        "Order: no warmer; inlet 26.1.",
        "No less cooling was asked for.",
        "No colder CRAH supply.",
        "Inlet no warmer than 27.",
    ]);
    fail(
        &[
            "No colder.",
            "Order: no colder; inlet 26.1.",
            "No more cooling was asked for.",
            "No colder CHWS.",
            "The inlet gets no warmer.",
            "Raise CHWS.",
            "Hold CHWS.",
            "Lower CRAH supply.",
            "Lower CHWS and CRAH supply.",
            "Raise pump pressure.",
            "Lower CHWS, raise pump pressure.",
            "CHWS raised.",
            "Hold all setpoints.",
            "No change.",
            "Less cooling.",
            "Raise.",
            "Lower the inlet.",
            "Increase chilled water setpoint.",
            "Chilled water setpoint up.",
            "Lower CRAH supply, hold the rest.",
            "Warmer chws_sp.",
        ],
        Claim::Move,
    );
}

#[test]
fn numbers_must_be_facts_of_what_they_are_said_of() {
    hold(&[
        "Inlet 26.1.",
        "Inlet at 26.1 °C.",
        "hall_b_inlet_max is 23.4, hall_a_inlet_max is 26.1",
        "Inlet margin 0.9 K.",
        "0.9 K margin at the hottest inlet.",
        "IT load 955 kW, up 146 kW in 10 min.",
        "IT load rose 18 % in 10 min.",
        "IT load +18 % in 10 min.",
        "Inlet 26.1 against its limit of 27.",
        "Inlet limit 27, allowable 32.",
        "Inlet reaches 27.2 in 30 min.",
        "Within 15 min the inlet would reach 26.7.",
        "With CHWS at 8.5 the inlet rises to 26.5 in 30 min.",
        "Fan 62 %, humidity 45 %.",
        "Cooling power 210 kW, 220 kW in 30 min.",
        "Wet bulb 15.0 and falling.",
        "Inlet up 0.6 K in 10 min.",
        "Inlet was 25.5 10 min ago.",
        "GPU 66 C under its limit of 95.",
        "Setpoint rate is 0.5 K/min.",
        "The operator wants at least 7: CHWS goes to 8.5.",
        "Operator floor 7 until 14:00.",
        "At 12:00 IT load is 955.",
        "Pump pressure stays at 150 kPa, its maximum is 250.",
        "Inlet 26.10.",
        "Smallest margin 0.9 K.",
        "IT load 0.955 MW.",
        "GPU at 66, 29 K below its limit.",
        "Inlet (26.1) is rising.",
        "Inlets 23.4 and 26.1.",
        "Inlet is 26.1 degC, limit 27 degC, so 0.9 K of margin.",
        "Pump pressure 151 kPa against setpoint 150.",
        "Load jumped 146 kW.",
        "Lower CHWS now, 0.5 K.",
        "hall A inlet is at 26.1.",
        "Inlet margin .9 K.",
    ]);
    fail(
        &[
            "Inlet 26.2.",
            "Inlet 27.",
            "Inlet 26.1 K.",
            "Inlet 26.1 %.",
            "hall_a_inlet_max is 23.4, hall_b_inlet_max is 26.1",
            "hall_a_inlet_max 23.4 hall_b_inlet_max 26.1",
            "Hottest inlet 23.4.",
            "Inlet margin 1.9 K.",
            "IT load 956 kW.",
            "IT load up 19 % in 10 min.",
            "IT load up 18 % in 5 min.",
            "IT load down 18 % in 10 min.",
            "IT load -18 % in 10 min.",
            "Inlet limit 28.",
            "Inlet reaches 26.1 in 30 min.",
            "Inlet reaches 27.2 in 15 min.",
            "Lower CHWS by 1.0 K.",
            "Lower CHWS by 0.5 kPa.",
            "Lower CHWS to 9.0.",
            "Lower CHWS from 8.5.",
            "Lower CHWS by two steps.",
            "Hold CRAH supply at 21.",
            "Raise by 0.5 K.",
            "26.1",
            "Inlet 261.",
            "Wet bulb -15.0.",
            "Setpoint rate is 0.6 K/min.",
            "Lower CHWS by +0.5 K.",
            "The operator wants at least 10.",
            "Saves 15 %.",
            "The inlet has 3 sensors.",
            "Inlet up 0.7 K in 10 min.",
            "Fan 63 %.",
            "GPU at 66, 30 K below its limit.",
            "hall B inlet is 26.1.",
            "Inlet 0.9 K.",
            "Lower CHWS now, 1.0 K.",
            "PUE 1.2.",
            "Load at 95 % of 1000.",
            "Hottest inlet: 23.4.",
            "Inlet 1.9 K below limit.",
            "CHWS 9.0 and steady.",
            "Inlet up 0.6 K in 30 min.",
        ],
        Claim::Number,
    );
    fail(&["Inlet rose in 12 min."], Claim::Duration);
    fail(&["Until 15:00 hold CRAH supply."], Claim::Time);
}

#[test]
fn what_cannot_be_read_fails() {
    fail(
        &[
            "Inlet 26.1.2.",
            "Half a degree lower.",
            "IT load doubled.",
            "Inlet not rising.",
            "Do not lower CHWS.",
            "No need to raise CHWS.",
            "IT load up 1,146 kW.",
            "Rising.",
            "Inlet ½ K over.",
            "hall_9 is warm",
            "Inlet 2x.",
            "Inlet exceeds.",
        ],
        Claim::Unclear,
    );
}

#[test]
fn trends() {
    hold(&[
        "IT load rising.",
        "Inlet hall_a_inlet_max rising, hall_b_inlet_max steady.",
        "Hottest inlet is climbing.",
        "Rising IT load.",
        "Higher load.",
        "Wet bulb down.",
        "CHWR steady and fan flat.",
        "Hottest inlet margin shrinking.",
        "IT load rising over the last 10 min.",
        "Hold CRAH supply while CHWR is stable.",
        "Increased load.",
        "Inlet 26.1 and rising.",
        "Inlet 23.4 and steady.",
    ]);
    fail(
        &[
            "IT load falling.",
            "IT load steady.",
            "Inlets rising.",
            "hall_b_inlet_max rising.",
            "CHWR rising.",
            "Wet bulb up.",
            "Falling load.",
            "Hottest inlet cooler.",
            "Hottest inlet margin growing.",
            "IT load falling over the last 10 min.",
            "Load held.",
            "The inlet is cooling.",
            "Inlet 23.4 and rising.",
            "hall_a_inlet_max falls in 30 min, hold CRAH supply.",
            "Inlet falls to 26.5 in 30 min.",
        ],
        Claim::Trend,
    );
}

#[test]
fn rankings() {
    hold(&[
        "hall_a_inlet_max is the hottest inlet.",
        "The hottest inlet is hall_a_inlet_max.",
        "hall_b_inlet_max is the coolest.",
        "Worst inlet 26.1.",
        "hall_a_inlet_max has the smallest margin.",
    ]);
    fail(
        &[
            "hall_b_inlet_max is the hottest inlet.",
            "The hottest inlet is hall_b_inlet_max.",
            "hall_a_inlet_max is the coolest.",
            "hall_b_inlet_max has the smallest margin.",
            "Hottest inlet 26.1 in hall B.",
            "Hottest load.",
        ],
        Claim::Ranking,
    );
}

#[test]
fn comparisons() {
    hold(&[
        "Inlet above 26.",
        "Inlets below 27.",
        "All inlets within limits.",
        "Within limits.",
        "Inlet exceeds 27 within 30 min.",
        "Inlet below its limit.",
        "Inlet margin under 1 K.",
        "Hottest inlet within 1 K of its limit.",
        "Keep the inlet below 27 for 30 min.",
        "IT load over 950 kW.",
        "IT load above 900 kW.",
        "CHWR above CHWS.",
        "CHWS at least 7.",
        "CHWS setpoint below 9.",
        "Inlet <= 27.",
        "Margin of the hottest inlet below 1 K.",
    ]);
    fail(
        &[
            "Inlet above 27.",
            "Inlets below 26.",
            "Inlets outside limits.",
            "Inlet above 20.",
            "Inlet above 25.9.",
            "Inlet above its limit.",
            "Inlet margin above 1 K.",
            "Inlet exceeds 27 within 15 min.",
            "IT load over 960 kW.",
            "IT load under 900 kW.",
            "IT load above 500 kW.",
            "CHWS above CHWR.",
            "CHWS setpoint above 9.",
            "hall_b_inlet_max above 26.",
            "Above 26.",
            "Inlets within limits for 60 min.",
            "Inlet no warmer than 28.",
        ],
        Claim::Comparison,
    );
}

#[test]
fn both_texts_are_checked_and_the_failing_claim_is_named() {
    let mut d = decision("Lower CHWS by 0.5 K.");
    d.assessment = "Hottest inlet 24.0".to_owned();
    let claims = check(&facts(), &d);
    let failing = claims.failing().unwrap();
    assert_eq!((failing.kind, failing.claim.as_str()), (Claim::Number, "24.0"));
    assert!(failing.found.contains("hall_a_inlet_max is 26.1"), "{}", failing.found);
}
