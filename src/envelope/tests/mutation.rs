//! The oracle can fail: verdicts made wrong on purpose are found out, each for its own reason.

use super::*;
use crate::envelope::action::SafeWrite;
use crate::envelope::{Case, Target, Words};
use crate::register;

/// What the oracle says of a verdict that writes `value` to `setpoint`, where the guard's own is right.
fn accused(site: &Site, before: &[Step], step: &Step, setpoint: &str, value: f64) -> String {
    let s = site.setpoint(&name(setpoint)).unwrap();
    let words = register::encode(&s.register, s.unit, finite(value)).unwrap();
    let write = SafeWrite {
        target: Target::Setpoint(s.name.clone()),
        device: s.register.device.clone(),
        address: site.device(&s.register.device).unwrap().wire_address(s.register.address).unwrap(),
        words,
        value: finite(value),
        unit: s.unit,
    };
    doctored(site, before, step, |v| {
        v.action.writes.retain(|w| *w.target() != write.target);
        v.action.writes.push(write.clone());
        v.setpoints.insert(s.name.clone(), finite(value));
    })
}

fn doctored(site: &Site, before: &[Step], step: &Step, wrongly: impl Fn(&mut Verdict)) -> String {
    let mut trial = Trial::new(site);
    for step in before {
        run(&mut trial, step);
    }
    run(&mut trial.clone(), step);
    let frame = trial.advance(step);
    let memory = trial.guard.observe(&trial.memory, trial.now, &frame);
    assert!(trial.oracle.observe(trial.now, &frame, &memory).is_empty());
    let case = Case {
        now: trial.now,
        decided_at: trial.now,
        frame: &frame,
        memory: &memory,
        limits: &step.limits,
        foresight: &|_| [].into(),
        proposal: &step.proposal,
    };
    let mut verdict = trial.guard.judge(&case);
    wrongly(&mut verdict);
    trial.oracle.check(&case, &verdict).join("\n")
}

#[track_caller]
fn says(accusation: &str, what: &str) {
    assert!(accusation.contains(what), "expected {what:?} in {accusation:?}");
}

#[test]
fn values_that_no_rule_allows() {
    let (air, liquid) = (site("air"), site("liquid"));
    let (a, l) = (calm(&air, &[]), calm(&liquid, &[]));
    says(&accused(&air, std::slice::from_ref(&a), &a, "chws_sp", 16.1), "outside 6 to 16");
    says(&accused(&air, std::slice::from_ref(&a), &a, "chws_sp", 8.0), "faster than");
    says(
        &accused(
            &liquid,
            std::slice::from_ref(&l),
            &with(l.clone(), "dew", Quality::Good, 21.0),
            "supply_sp",
            22.0,
        ),
        "condensation",
    );
    says(
        &accused(
            &liquid,
            std::slice::from_ref(&l),
            &with(l.clone(), "dew", Quality::Missing, 0.0),
            "supply_sp",
            24.0,
        ),
        "condensation",
    );
    let warm = with(a.clone(), "inlet_b", Quality::Good, 26.0);
    says(&accused(&air, std::slice::from_ref(&a), &warm, "chws_sp", 7.5), "warm inlet");
    let blind = with(a.clone(), "inlet_a", Quality::Suspect, 22.0);
    says(&accused(&air, std::slice::from_ref(&a), &blind, "chws_sp", 6.5), "required signal");
    let dry = with(a.clone(), "flow", Quality::Good, 400.0);
    says(&accused(&air, std::slice::from_ref(&a), &dry, "dp_sp", 190.0), "too little flow");
    says(&accused(&air, std::slice::from_ref(&a), &dry, "chws_sp", 7.5), "too little flow");
    let wet = with(l.clone(), "dew", Quality::Good, 14.0);
    says(&accused(&liquid, std::slice::from_ref(&l), &wet, "facility_sp", 16.0), "condensation");
    let near = with(l.clone(), "facility", Quality::Good, 24.0);
    says(&accused(&liquid, std::slice::from_ref(&l), &near, "supply_sp", 24.5), "exchanger can hold");
    let started = with(a.clone(), "chillers", Quality::Good, 3.0);
    says(&accused(&air, std::slice::from_ref(&a), &started, "chws_sp", 7.5), "chiller");
    says(&accused(&air, std::slice::from_ref(&a), &a, "chws_sp", 7.2), "deadband");
    let late = Step { decided_s_ago: 301, ..a.clone() };
    assert!(accused(&air, std::slice::from_ref(&a), &late, "chws_sp", 6.5).is_empty(), "judged as of now");
}

#[test]
fn moves_at_the_wrong_time() {
    let air = site("air");
    let a = calm(&air, &[]);
    let moved = calm(&air, &[("chws_sp", 6.5)]);
    let soon = Step { after_s: 120, ..a.clone() };
    says(&accused(&air, &[a.clone(), moved.clone()], &soon, "chws_sp", 6.0), "dwell");
    let mut panel = a.clone();
    panel.panel.insert(name("chws_sp"), finite(9.0));
    says(&accused(&air, &[a.clone(), moved, panel], &a, "chws_sp", 8.5), "manual hold");
    let behind = Step { active: [(name("chws_sp"), finite(12.0))].into(), ..a.clone() };
    let high = Step { panel: [(name("chws_sp"), finite(8.0))].into(), ..a.clone() };
    let cooled = Step { after_s: 1200, ..calm(&air, &[("chws_sp", 7.5)]) };
    let stuck = [high, a.clone(), cooled, behind.clone(), behind.clone()];
    says(&accused(&air, &stuck, &behind, "chws_sp", 8.0), "does not follow");
    let limit = |floor: f64| crate::envelope::Limit {
        setpoint: name("chws_sp"),
        floor: Some(finite(floor)),
        ceiling: None,
        hold: false,
        until: None,
    };
    let floor = Step { limits: vec![limit(6.8)], ..a.clone() };
    says(&accused(&air, std::slice::from_ref(&a), &floor, "chws_sp", 6.5), "operator's");
    let immersion = site("immersion");
    let i = calm(&immersion, &[]);
    let up = |v| Step { after_s: 7200, ..calm(&immersion, &[("pump_sp", v)]) };
    let spent = [i.clone(), up(75.0), up(68.0), up(61.0)];
    let later = Step { after_s: 7200, ..i };
    says(&accused(&immersion, &spent, &later, "pump_sp", 54.0), "budget");
}

#[test]
fn what_is_left_undone_or_unsaid() {
    let air = site("air");
    let warm = with(calm(&air, &[("chws_sp", 9.0), ("nowhere", 1.0)]), "inlet_b", Quality::Good, 27.0);
    let start = calm(&air, &[]);
    let mut out = start.clone();
    out.panel.insert(name("chws_sp"), finite(10.0));
    let later = Step { after_s: 3600, ..start };
    let before = [out, later.clone(), Step { after_s: 15, ..with(later, "inlet_b", Quality::Good, 27.0) }];
    says(&doctored(&air, &before, &warm, |v| v.action.writes.clear()), "too warm for a cadence");
    says(&accused(&air, &before, &warm, "chws_sp", 9.9), "too warm for a cadence");
    says(&doctored(&air, &before, &warm, |v| v.touched.clear()), "without a word");
    assert!(doctored(&air, &before, &warm, |_| ()).is_empty());
}

#[test]
fn an_emergency_that_is_not_answered() {
    let air = site("air");
    let a = calm(&air, &[]);
    let hot = with(a.clone(), "inlet_b", Quality::Good, 33.0);
    says(&accused(&air, std::slice::from_ref(&a), &hot, "chws_sp", 9.0), "warmer in an emergency");
    says(
        &doctored(&air, std::slice::from_ref(&a), &hot, |v| v.action.writes.clear()),
        "an emergency, and not at",
    );
    says(&doctored(&air, std::slice::from_ref(&a), &hot, |v| v.emergency = false), "does not say");
    let mut out = a.clone();
    out.panel.insert(name("chws_sp"), finite(17.0));
    says(&doctored(&air, &[a], &out, |v| v.action.writes.clear()), "must not leave");
}

#[test]
fn writes_in_the_wrong_form() {
    let air = site("air");
    let a = calm(&air, &[]);
    let cool = calm(&air, &[("chws_sp", 6.5)]);
    let wrong = |f: fn(&mut SafeWrite)| {
        doctored(&air, std::slice::from_ref(&a), &cool, |v| v.action.writes.iter_mut().for_each(f))
    };
    assert!(wrong(|_| ()).is_empty());
    says(&wrong(|w| w.address += 1), "goes to");
    says(&wrong(|w| w.words = Words::Two([0, 65])), "wrong type");
    says(&wrong(|w| w.words = Words::One([66])), "differ");
    says(&wrong(|w| w.target = Target::Enable), "not a setpoint");
    says(&wrong(|w| w.target = Target::Setpoint(name("other"))), "there is no setpoint");
    says(
        &doctored(&air, std::slice::from_ref(&a), &cool, |v| v.action.writes.extend(v.action.writes.clone())),
        "twice",
    );
    says(&accused(&air, std::slice::from_ref(&a), &a, "chws_sp", 7.0), "what the register holds");
}
