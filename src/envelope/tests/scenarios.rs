//! What latches, what ends, and the links.

use std::collections::BTreeMap;

use super::*;
use crate::envelope::{Case, Guard, Limit, Memory, Rule};
use crate::frame::Doubt;

fn started(which: &str) -> (Site, Trial) {
    let site = site(which);
    let mut trial = Trial::new(&site);
    run(&mut trial, &calm(&site, &[]));
    (site, trial)
}

#[test]
fn an_emergency_lasts_until_all_that_was_hot_is_seen_cool() {
    let (site, mut t) = started("air");
    let at = |a, qb, b| {
        with(with(calm(&site, &[("chws_sp", 16.0)]), "inlet_a", Quality::Good, a), "inlet_b", qb, b)
    };
    assert!(!run(&mut t, &at(22.0, Quality::Good, 32.0)).emergency);
    let verdict = run(&mut t, &at(22.0, Quality::Good, 32.1));
    assert!(verdict.emergency && verdict.intervened && verdict.by == ProposedBy::Emergency);
    assert_eq!((t.held("chws_sp"), t.held("crah_sp"), t.held("dp_sp")), (Some(6.0), Some(16.0), Some(250.0)));
    assert!(run(&mut t, &at(22.0, Quality::Good, 27.1)).emergency, "above the recommended top");
    assert!(run(&mut t, &at(22.0, Quality::Suspect, 46.0)).emergency, "not believed is not cool");
    assert!(run(&mut t, &at(22.0, Quality::Missing, 0.0)).emergency);
    assert!(!run(&mut t, &at(22.0, Quality::Good, 27.0)).emergency, "hand-back");
}

#[test]
fn blindness_is_an_emergency_after_three_minutes_and_ends_with_sight() {
    let (site, mut t) = started("air");
    let dark = |after_s| {
        let step =
            with(with(calm(&site, &[]), "inlet_a", Quality::Suspect, 22.0), "inlet_b", Quality::Missing, 0.0);
        Step { after_s, ..step }
    };
    assert!(!run(&mut t, &dark(170)).emergency);
    assert!(run(&mut t, &dark(15)).emergency);
    assert!(!run(&mut t, &calm(&site, &[])).emergency);
    let mut fresh = Trial::new(&site);
    run(&mut fresh, &dark(0));
    assert!(
        !run(&mut fresh, &dark(1000)).emergency,
        "what was never seen is not lost; required inputs hold it"
    );
}

#[test]
fn an_old_reading_counts_at_its_worst() {
    let (site, mut t) = started("air");
    let mut step = calm(&site, &[]);
    let unit = step.signals["inlet_b"].unit;
    step.signals.insert(name("inlet_b"), sample(Quality::Stale, 24.0, 8.5, unit));
    assert!(run(&mut t, &step).emergency);
}

/// The first frame of a clock that jumped ahead must not stop time for good.
#[test]
fn a_clock_that_jumps_ahead_and_back_does_not_freeze_the_guard() {
    let (site, mut t) = started("air");
    run(&mut t, &Step { after_s: 30_000_000, ..calm(&site, &[]) });
    run(&mut t, &Step { after_s: -30_000_000, ..calm(&site, &[]) });
    let verdict = run(&mut t, &calm(&site, &[("chws_sp", 6.5)]));
    assert_eq!(verdict.action.writes().len(), 1);
}

/// A clock put back over midnight and right again gives no second budget for the day.
#[test]
fn a_days_writes_are_counted_through_a_clock_that_goes_back() {
    let (site, mut t) = started("immersion");
    let to_midnight = 86_400 - i32::try_from(t.now.as_second().rem_euclid(86_400)).unwrap();
    let mut slower = |after_s| {
        let step = Step { after_s, ..calm(&site, &[("pump_sp", 40.0)]) };
        run(&mut t, &step).action.writes().len()
    };
    let day = [to_midnight + 600, 5000, 5000].map(&mut slower);
    assert_eq!((day, slower(5000)), ([1; 3], 0), "three a day");
    assert_eq!((slower(-25_000), slower(5000)), (0, 1), "the day before");
    assert_eq!((slower(10_000), slower(5000)), (0, 0), "that day again");
    assert_eq!(slower(86_400), 1, "a new day");
}

/// As [`Memory`] goes through a file.
fn restarted(site: &Site, t: &mut Trial) {
    let file = serde_json::to_string(&t.memory.lasting()).unwrap();
    t.memory = Memory::lasted(site, serde_json::from_str(&file).unwrap());
}

#[test]
fn a_restart_is_no_second_budget_ends_no_wait_and_no_emergency() {
    let (site, mut t) = started("immersion");
    let slower = |t: &mut Trial, after_s| {
        let step = Step { after_s, ..calm(&site, &[("pump_sp", 40.0)]) };
        run(t, &step).action.writes().len()
    };
    let to_midnight = 86_400 - i32::try_from(t.now.as_second().rem_euclid(86_400)).unwrap();
    assert_eq!(slower(&mut t, to_midnight + 600), 1);
    restarted(&site, &mut t);
    assert_eq!([10, 5000, 5000, 5000].map(|s| slower(&mut t, s)), [0, 1, 1, 0], "dwell, and three a day");
    restarted(&site, &mut t);
    assert_eq!(slower(&mut t, 5000), 0);

    let (site, mut t) = started("air");
    let at = |inlet| with(calm(&site, &[]), "inlet_b", Quality::Good, inlet);
    assert!(run(&mut t, &at(33.0)).emergency);
    restarted(&site, &mut t);
    assert!(run(&mut t, &at(28.0)).emergency, "cool is cooler than that");
    assert!(!run(&mut t, &at(27.0)).emergency);
}

/// What nobody measures any more will not be seen cooler; what nobody sees yet is no reason to end an emergency.
#[test]
fn an_emergency_outlives_a_restart_as_long_as_its_reason() {
    let (site, mut t) = started("air");
    assert!(run(&mut t, &with(calm(&site, &[]), "inlet_b", Quality::Good, 33.0)).emergency);
    let mut less = site.clone();
    less.signals.retain(|s| s.name != *"inlet_b");
    let mut frame = t.advance(&calm(&site, &[]));
    frame.signals.remove("inlet_b");
    let left = Memory::lasted(&less, t.memory.lasting());
    assert_eq!(Guard::new(&less).observe(&left, t.now, &frame).emergency(), None);

    let (site, mut t) = started("air");
    let dark =
        with(with(calm(&site, &[]), "inlet_a", Quality::Suspect, 22.0), "inlet_b", Quality::Missing, 0.0);
    assert!(run(&mut t, &dark).emergency);
    restarted(&site, &mut t);
    assert!(run(&mut t, &dark).emergency, "still blind");
    assert!(!run(&mut t, &calm(&site, &[])).emergency);
}

/// Neither dew point nor the present value known: an emergency must not write the warmest value.
#[test]
fn nothing_is_warmed_for_want_of_knowledge() {
    let site = site("liquid");
    let mut t = Trial::new(&site);
    let mut step = with(with(calm(&site, &[]), "chip", Quality::Good, 95.0), "dew", Quality::Missing, 0.0);
    step.unread.insert(name("supply_sp"), Quality::Missing);
    assert!(run(&mut t, &step).emergency);
    assert_eq!(t.held("supply_sp").map(f64::round), Some(25.0));
    assert_eq!(t.held("pump_sp"), Some(100.0));
}

/// 27 degC at an inlet: whoever decides has a cadence to cool, then the guard does, a step a cadence.
#[test]
fn a_warm_inlet_is_cooled_when_nobody_else_does() {
    let (site, mut t) = started("air");
    let mut panel = calm(&site, &[]);
    panel.panel.insert(name("chws_sp"), finite(10.0));
    run(&mut t, &panel);
    run(&mut t, &Step { after_s: 3600, ..calm(&site, &[]) });
    let warm = |after_s, proposed: &[(&str, f64)]| Step {
        after_s,
        ..with(calm(&site, proposed), "inlet_b", Quality::Good, 27.0)
    };
    assert!(run(&mut t, &warm(15, &[])).action.is_empty(), "the model is asked first");
    assert!(run(&mut t, &warm(200, &[("chws_sp", 10.5)])).action.is_empty());
    let verdict = run(&mut t, &warm(70, &[("chws_sp", 10.5)]));
    assert!(verdict.intervened && verdict.touched.iter().any(|x| x.rule == Rule::Cool));
    assert_eq!(t.held("chws_sp"), Some(9.5));
    run(&mut t, &warm(60, &[]));
    assert_eq!(t.held("chws_sp"), Some(9.5), "a step a cadence");
    let limit = Limit { setpoint: name("chws_sp"), floor: None, ceiling: None, hold: true, until: None };
    run(&mut t, &Step { limits: vec![limit], ..warm(240, &[]) });
    assert_eq!(t.held("chws_sp"), Some(9.5), "an operator's word comes first");
    let verdict = run(&mut t, &warm(300, &[("chws_sp", 9.0)]));
    assert!(verdict.touched.iter().all(|x| x.rule != Rule::Cool || x.setpoint != Some(name("chws_sp"))));
    assert_eq!(t.held("chws_sp"), Some(9.0));
    assert!(!run(&mut t, &calm(&site, &[])).touched.iter().any(|x| x.rule == Rule::Cool));
    let floor = Limit {
        setpoint: name("chws_sp"),
        floor: Some(finite(8.88)),
        ceiling: None,
        hold: false,
        until: None,
    };
    for after_s in [15, 300] {
        run(&mut t, &Step { limits: vec![floor.clone()], ..warm(after_s, &[("chws_sp", 6.0)]) });
    }
    assert_eq!(t.held("chws_sp"), Some(8.9), "to the operator's floor, though that is inside the deadband");
}

/// Walking to where the proposal wants to go is no intervention, a faster rate than the site allows is one.
#[test]
fn pace_is_no_intervention() {
    let (site, mut t) = started("air");
    run(&mut t, &Step { after_s: 1200, ..calm(&site, &[]) });
    let verdict = run(&mut t, &calm(&site, &[("chws_sp", 8.5)]));
    let rules: Vec<Rule> = verdict.touched.iter().map(|x| x.rule).collect();
    assert!(rules.contains(&Rule::Pace) && !verdict.intervened, "{verdict:#?}");
    assert!(!verdict.action.is_empty());
    let verdict = run(&mut t, &calm(&site, &[("chws_sp", 12.0)]));
    assert!(verdict.intervened && verdict.touched.iter().any(|x| x.rule == Rule::RateLimit));
}

/// Acknowledged, not applied: the register holds what was written, the plant goes on with something else.
#[test]
fn a_plant_that_does_not_follow_is_noticed_and_not_warmed() {
    let (site, mut t) = started("air");
    let at = |after_s, active: f64, wish: f64| Step {
        after_s,
        active: [(name("chws_sp"), finite(active))].into(),
        ..calm(&site, &[("chws_sp", wish)])
    };
    run(&mut t, &calm(&site, &[("chws_sp", 6.5)]));
    // It ramps: nearer each time, however slowly.
    for i in 0..20u32 {
        run(&mut t, &at(60, 16.0 - f64::from(i) * 0.1, 6.5));
        assert!(!t.memory.is_stuck(&name("chws_sp")));
    }
    run(&mut t, &at(290, 14.1, 6.5));
    assert!(t.memory.new_laggards().is_empty());
    run(&mut t, &at(15, 14.1, 6.5));
    assert_eq!(t.memory.new_laggards(), [name("chws_sp")]);
    let verdict = run(&mut t, &at(600, 14.1, 8.0));
    assert!(verdict.action.is_empty() && verdict.touched.iter().any(|x| x.rule == Rule::NotFollowing));
    assert!(t.memory.new_laggards().is_empty(), "said once");
    run(&mut t, &at(600, 14.1, 6.0));
    assert_eq!(t.held("chws_sp"), Some(6.0), "colder is allowed, and does not end it");
    assert!(t.memory.is_stuck(&name("chws_sp")));
    run(&mut t, &calm(&site, &[]));
    assert!(!t.memory.is_stuck(&name("chws_sp")), "arrived");
}

#[test]
fn a_name_the_site_lacks_is_recorded() {
    let (site, mut t) = started("air");
    let verdict = run(&mut t, &calm(&site, &[("chws", 6.5)]));
    let touch = &verdict.touched[0];
    assert_eq!((touch.rule, &touch.setpoint), (Rule::UnknownSetpoint, &Some(name("chws"))));
    assert_eq!(touch.from, Some(finite(6.5)));
}

#[test]
fn facility_water_in_the_room_stays_above_the_dew_point() {
    let (site, mut t) = started("liquid");
    let wet = with(calm(&site, &[]), "dew", Quality::Good, 19.0);
    run(&mut t, &wet);
    assert!(t.held("facility_sp").unwrap() >= 22.0);
    let mut dry = site.clone();
    let facility = dry.setpoints.iter_mut().find(|s| s.name == *"facility_sp").unwrap();
    facility.white_space = Some(false);
    let mut t = Trial::new(&dry);
    run(&mut t, &calm(&dry, &[]));
    run(&mut t, &wet);
    assert_eq!(t.held("facility_sp"), Some(20.0), "pipes elsewhere");
}

#[test]
fn a_directive_out_of_reach_is_approached() {
    let (site, mut t) = started("air");
    let hold = Limit {
        setpoint: name("crah_sp"),
        floor: Some(finite(22.0)),
        ceiling: None,
        hold: false,
        until: None,
    };
    for _ in 0..60 {
        run(&mut t, &Step { after_s: 307, limits: vec![hold.clone()], ..calm(&site, &[]) });
    }
    assert!(t.held("crah_sp").unwrap() >= 21.99);
}

#[test]
fn the_outlook_takes_moves_back() {
    let (site, mut t) = started("air");
    for _ in 0..3 {
        run(&mut t, &calm(&site, &[]));
    }
    let hot = Step { outlook_gain: finite(20.0), after_s: 1500, ..calm(&site, &[("chws_sp", 8.0)]) };
    let verdict = run(&mut t, &hot);
    assert!(verdict.action.is_empty() && verdict.touched.iter().any(|x| x.rule == Rule::Outlook));
    let fine = Step { outlook_gain: Finite::ZERO, ..hot };
    assert_eq!(run(&mut t, &fine).action.writes().len(), 1);
}

/// A read-back from before our write says nothing about the panel.
#[test]
fn a_read_back_older_than_the_write_is_no_change_at_the_panel() {
    let (site, mut t) = started("air");
    run(&mut t, &calm(&site, &[("chws_sp", 6.5)]));
    let mut frame = t.advance(&Step { after_s: 15, ..calm(&site, &[]) });
    let sample = frame.setpoints.get_mut("chws_sp").unwrap();
    (sample.value, sample.age_s) = (Some(finite(7.0)), Some(finite(20.0)));
    let before = t.guard.observe(&t.memory, t.now, &frame);
    assert!(before.new_manual_holds().is_empty());
    frame.setpoints.get_mut("chws_sp").unwrap().age_s = Some(finite(1.0));
    assert_eq!(t.guard.observe(&t.memory, t.now, &frame).new_manual_holds(), [name("chws_sp")]);
}

#[test]
fn link_actions_touch_link_registers_alone() {
    for site in sites() {
        let guard = Guard::new(&site);
        let base = site.devices[0].address_base;
        let all = [guard.take_control(), guard.release(), guard.heartbeat(7), guard.heartbeat(u16::MAX)];
        let seen: Vec<_> = all
            .iter()
            .flat_map(super::super::action::SafeAction::writes)
            .map(|w| (w.address() + base, w.words()))
            .collect();
        let one = |v| super::super::Words::One([v]);
        assert_eq!(seen, [(100, one(1)), (100, one(0)), (101, one(7)), (101, one(32_767))]);
    }
}

/// Whoever had control in between may have moved setpoints: that is no change at the panel.
#[test]
fn taking_control_forgets_what_was_written() {
    let (site, mut t) = started("air");
    run(&mut t, &calm(&site, &[("chws_sp", 6.5)]));
    let mut step = calm(&site, &[]);
    step.panel.insert(name("chws_sp"), finite(9.0));
    let frame = t.advance(&step);
    let before = t.memory.clone();
    for (handed, held) in [(Some(t.now), true), (None, false)] {
        let memory = t.guard.observe(&before.handed(handed), t.now, &frame);
        assert!(memory.new_manual_holds().is_empty());
        // What is found is what a change is seen against, from when it is the agent's.
        let seen = t.guard.observe(&memory, t.now + jiff::SignedDuration::from_secs(15), &frame);
        step.panel.insert(name("chws_sp"), finite(9.5));
        let mut later = t.clone();
        let changed = later.advance(&step);
        let holds = later.guard.observe(&seen, later.now, &changed).new_manual_holds().to_vec();
        assert_eq!(holds == [name("chws_sp")], held, "{holds:?}");
    }
    assert_eq!(t.guard.observe(&before, t.now, &frame).new_manual_holds(), [name("chws_sp")]);
}

/// A register that was read and shows what cannot be is not where our last write left it.
#[test]
fn a_register_that_shows_what_cannot_be_is_ours_no_more() {
    let (site, mut t) = started("air");
    run(&mut t, &calm(&site, &[("chws_sp", 6.5)]));
    let mut frame = t.advance(&calm(&site, &[]));
    let shown = frame.setpoints.get_mut("chws_sp").unwrap();
    (shown.value, shown.quality, shown.doubt) =
        (Some(finite(17.0)), Quality::Suspect, Some(Doubt::OutOfRange));
    let memory = t.guard.observe(&t.memory, t.now, &frame);
    assert_eq!(memory.new_manual_holds(), [name("chws_sp")]);
    let wanted = proposal(&[("chws_sp", 7.0)]);
    let verdict = t.guard.judge(&Case {
        now: t.now,
        decided_at: t.now,
        frame: &frame,
        memory: &memory,
        limits: &[],
        foresight: &|_| BTreeMap::new(),
        proposal: &wanted,
    });
    assert!(verdict.action.is_empty(), "{verdict:?}");
}

/// 18.1 degC is no float32, and 25.3 degC no tenth of a degF: what is nearest is written.
#[test]
fn an_operators_number_that_a_register_cannot_hold_is_come_near_to() {
    for (which, setpoint, to) in [("air", "crah_sp", 18.1), ("liquid", "supply_sp", 25.3)] {
        let (site, mut t) = started(which);
        let exactly = Some(finite(to));
        let limit =
            Limit { setpoint: name(setpoint), floor: exactly, ceiling: exactly, hold: false, until: None };
        for _ in 0..3 {
            run(&mut t, &Step { after_s: 1500, limits: vec![limit.clone()], ..calm(&site, &[]) });
        }
        let held = t.held(setpoint).unwrap();
        assert!((held - to).abs() < 0.06, "{setpoint}: {held}");
    }
}

/// One sensor that is not believed takes away none of what the others prove.
#[test]
fn a_wet_room_raises_the_liquid_though_one_of_its_sensors_is_lost() {
    let (site, mut t) = started("liquid");
    let mut wet = with(with(calm(&site, &[]), "dew", Quality::Suspect, 9.0), "humidity", Quality::Good, 80.0);
    wet.panel.insert(name("supply_sp"), finite(20.0));
    run(&mut t, &wet);
    let held = t.held("supply_sp").unwrap();
    assert!(held > 23.2, "{held}");
}

/// Two plant rooms count their own chillers: nothing starts while both counts stay.
#[test]
fn chillers_are_counted_over_all_signals_that_count_some() {
    let (mut site, t) = started("air");
    let mut other = site.signals.iter().find(|s| s.name == *"chillers").unwrap().clone();
    other.name = name("chillers_b");
    site.signals.push(other);
    let guard = Guard::new(&site);
    let mut memory = Memory::new(&site);
    let mut step = calm(&site, &[]);
    step.signals.insert(name("chillers_b"), sample(Quality::Good, 1.0, 0.0, Unit::Count));
    let mut t = t;
    for _ in 0..5 {
        let frame = t.advance(&step);
        memory = guard.observe(&memory, t.now, &frame);
    }
    assert!(memory.chillers.started.is_empty() && memory.chillers.stopped_at.is_none());
}
