//! Readings in, frames out: what each detector believes, and that nothing slips through.

use std::path::Path;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Assembler, Doubt, Frame, Quality, Sample};
use crate::ingest::{Origin, Reading};
use crate::site::{Name, Site};
use crate::units::{Finite, Unit};

const SITE: &str = r#"
name = "test"
plant = "air"
sample = "15s"
[mqtt]
host = "localhost"
[[device]]
name = "plc"
host = "localhost"
[model]
backend = "none"
[[signal]]
name = "chws"
unit = "degC"
role = "chws"
source = { topic = "t" }
range = [0, 60]
slew_per_min = 1
[[signal]]
name = "load"
unit = "kW"
source = { topic = "t" }
range = [0, 5000]
slew_per_min = 100
stuck_after = "10min"
[[signal]]
name = "inlet_a"
unit = "degC"
role = "it_inlet"
source = { topic = "t" }
range = [5, 45]
slew_per_min = 5
twin_group = "inlets"
[[signal]]
name = "inlet_b"
unit = "degC"
source = { topic = "t" }
range = [5, 45]
slew_per_min = 5
twin_group = "inlets"
[[signal]]
name = "inlet_c"
unit = "degC"
source = { topic = "t" }
range = [5, 45]
slew_per_min = 5
twin_group = "inlets"
[[setpoint]]
name = "chws_sp"
unit = "degC"
register = { device = "plc", address = 10, scale = 0.1 }
min = 6
max = 16
step = 0.5
rate_per_min = 0.5
safe = 8
cools = "down"
"#;

fn site() -> Site {
    crate::site::parse(SITE, Path::new("test.toml")).unwrap()
}

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

fn finite(v: f64) -> Finite {
    Finite::new(v).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

fn reading(signal: &str, value: f64, unit: Unit, time: i64) -> Reading {
    Reading {
        name: name(signal),
        value: finite(value),
        unit,
        time: at(time),
        received: at(time),
        origin: Origin::default(),
    }
}

/// An assembler, and one call that feeds `chws` a value and returns its sample.
struct Bench(Assembler);

impl Bench {
    fn new() -> Self {
        Self(Assembler::new(&site()))
    }

    fn take(&mut self, r: &Reading) -> Sample {
        self.0.push(r);
        self.look(r.name.as_str(), r.received)
    }

    fn look(&mut self, signal: &str, now: Timestamp) -> Sample {
        let frame = self.0.snapshot(now);
        frame.signals.get(&name(signal)).or_else(|| frame.setpoints.get(&name(signal))).unwrap().clone()
    }

    fn chws(&mut self, value: f64, time: i64) -> (Quality, Option<Doubt>) {
        let s = self.take(&reading("chws", value, Unit::DegC, time));
        assert_eq!(s.value, Some(finite(value)), "the last value is shown whatever its quality");
        (s.quality, s.doubt)
    }
}

const GOOD: (Quality, Option<Doubt>) = (Quality::Good, None);

fn suspect(doubt: Doubt) -> (Quality, Option<Doubt>) {
    (Quality::Suspect, Some(doubt))
}

#[test]
fn what_never_came_is_missing() {
    let s = Bench::new().look("chws", at(0));
    assert_eq!((s.value, s.quality, s.doubt), (None, Quality::Missing, Some(Doubt::NeverSeen)));
    assert_eq!((s.worst, s.age_s), (None, None));
}

#[test]
fn an_old_value_is_stale_and_its_worst_case_widens() {
    let mut b = Bench::new();
    assert_eq!(b.chws(10.0, 0), GOOD);
    assert_eq!(b.look("chws", at(45)).quality, Quality::Good);
    let s = b.look("chws", at(120));
    assert_eq!((s.quality, s.doubt, s.age_s), (Quality::Stale, Some(Doubt::TooOld), Some(finite(120.0))));
    let worst = s.worst.unwrap();
    assert_eq!((worst.low, worst.high), (finite(8.0), finite(12.0)), "1 K a minute for two minutes");
}

#[test]
fn age_counts_from_the_source_not_from_the_arrival() {
    let mut b = Bench::new();
    let late = Reading { received: at(100), ..reading("chws", 10.0, Unit::DegC, 0) };
    assert_eq!(b.take(&late).doubt, Some(Doubt::TooOld));
}

#[test]
fn out_of_range_and_wrong_unit_are_told_apart() {
    let mut b = Bench::new();
    assert_eq!(b.chws(-3.0, 0), suspect(Doubt::OutOfRange));
    assert_eq!(b.chws(77.0, 15), suspect(Doubt::WrongUnit), "77 degF is 25 degC");
    let kw = b.take(&reading("load", 900_000.0, Unit::Kilowatt, 0));
    assert_eq!((kw.quality, kw.doubt), suspect(Doubt::WrongUnit), "900,000 W are 900 kW");
    let ok = b.take(&reading("load", 900_000.0, Unit::Watt, 15));
    assert_eq!((ok.quality, ok.value), (Quality::Good, Some(finite(900.0))), "declared units are converted");
}

#[test]
fn a_unit_that_changes_within_the_range_is_never_accepted_as_a_new_level() {
    let mut b = Bench::new();
    for i in 0..4 {
        assert_eq!(b.chws(10.0, i * 15), GOOD);
    }
    // 50 degF is 10 degC; the range would allow 50 degC, and after 40 min so would the slew limit.
    for i in 4..400 {
        assert_eq!(b.chws(50.0, i * 15), suspect(Doubt::WrongUnit));
    }
    assert_eq!(b.chws(10.2, 400 * 15), GOOD, "and when the unit is right again, it is believed at once");
}

#[test]
fn a_jump_is_suspect_until_it_comes_back() {
    let mut b = Bench::new();
    assert_eq!(b.chws(10.0, 0), GOOD);
    assert_eq!(b.chws(10.9, 15), GOOD, "within a minute's slew: noise");
    assert_eq!(b.chws(18.0, 30), suspect(Doubt::Jump));
    let worst = b.look("chws", at(30)).worst.unwrap();
    assert_eq!(worst.high, finite(18.0), "it may be true");
    assert!(worst.low < finite(10.9));
    assert_eq!(b.chws(11.0, 45), GOOD);
}

#[test]
fn a_jump_that_holds_is_the_new_level() {
    let mut b = Bench::new();
    assert_eq!(b.chws(10.0, 0), GOOD);
    for t in [15, 30, 45, 60] {
        assert_eq!(b.chws(18.0, t), suspect(Doubt::Jump));
    }
    assert_eq!(b.chws(18.1, 75), GOOD, "five readings over a minute agree");
    assert_eq!(b.chws(10.0, 90), suspect(Doubt::Jump), "and the way back is a jump too");
}

#[test]
fn noise_that_jumps_about_never_becomes_a_level() {
    let mut b = Bench::new();
    assert_eq!(b.chws(10.0, 0), GOOD);
    for i in 1..40 {
        let value = if i % 2 == 0 { 55.0 } else { 30.0 };
        assert_eq!(b.chws(value, i * 15).0, Quality::Suspect);
    }
}

#[test]
fn a_value_that_never_moves_is_stuck() {
    let mut b = Bench::new();
    let mut load = |t: i64, v: f64| b.take(&reading("load", v, Unit::Kilowatt, t)).doubt;
    for t in 0..10 {
        assert_eq!(load(t * 60, 700.0), None);
    }
    assert_eq!(load(600, 700.0), Some(Doubt::Stuck));
    assert_eq!(load(660, 700.5), None, "moving again");
}

#[test]
fn retained_is_never_fresh_and_never_replaces_live() {
    let mut b = Bench::new();
    let mut retained = reading("chws", 10.0, Unit::DegC, 0);
    retained.origin.retained = true;
    let s = b.take(&retained);
    assert_eq!((s.quality, s.doubt, s.age_s), (Quality::Stale, Some(Doubt::Retained), None));
    assert_eq!(s.worst.map(|w| (w.low, w.high)), Some((finite(0.0), finite(60.0))));
    // Live, and stamped a little earlier than the retained one arrived.
    let live = Reading { received: at(1), ..reading("chws", 11.0, Unit::DegC, -2) };
    assert_eq!(b.take(&live).quality, Quality::Good);
    let again = Reading { time: at(20), received: at(20), ..retained };
    assert_eq!(b.take(&again).value, Some(finite(11.0)));
}

#[test]
fn backfilled_readings_change_nothing() {
    let mut b = Bench::new();
    assert_eq!(b.chws(10.0, 100), GOOD);
    let old = Reading { received: at(101), ..reading("chws", 9.0, Unit::DegC, 50) };
    assert_eq!(b.take(&old).value, Some(finite(10.0)));
}

#[test]
fn the_first_value_after_a_reconnect_and_flagged_values_are_suspect() {
    let mut b = Bench::new();
    let mut r = reading("chws", 10.0, Unit::DegC, 0);
    r.origin.after_reconnect = true;
    assert_eq!(b.take(&r).doubt, Some(Doubt::Reconnect));
    assert_eq!(b.chws(10.0, 15), GOOD);
    let mut r = reading("chws", 10.0, Unit::DegC, 30);
    r.origin.flagged = true;
    assert_eq!(b.take(&r).doubt, Some(Doubt::Flagged));
}

#[test]
fn time_stamps_from_the_future_are_suspect() {
    let mut b = Bench::new();
    assert_eq!(b.chws(10.0, 0), GOOD);
    let ahead = Reading { received: at(15), ..reading("chws", 10.0, Unit::DegC, 3600) };
    let s = b.take(&ahead);
    assert_eq!((s.quality, s.doubt, s.age_s), (Quality::Suspect, Some(Doubt::Clock), None));
    assert_eq!(b.chws(10.0, 30), GOOD, "the source's clock was put right: it is not locked out");
}

#[test]
fn our_own_clock_may_go_back() {
    let mut b = Bench::new();
    assert_eq!(b.chws(10.0, 0), GOOD);
    assert_eq!(b.look("chws", at(-3600)).doubt, Some(Doubt::Clock));
    assert_eq!(b.chws(12.0, -3590), GOOD, "a new start, with nothing to jump from");
}

#[test]
fn setpoints_may_jump_but_not_leave_their_range() {
    let mut b = Bench::new();
    let mut sp = |v: f64, t: i64| {
        let s = b.take(&reading("chws_sp", v, Unit::DegC, t));
        (s.quality, s.doubt, s.worst.map(|w| (w.low, w.high)))
    };
    let exactly = |v: f64| Some((finite(v), finite(v)));
    assert_eq!(sp(6.0, 0), (Quality::Good, None, exactly(6.0)));
    assert_eq!(sp(16.0, 1), (Quality::Good, None, exactly(16.0)));
    assert_eq!(sp(7.0, 1), (Quality::Good, None, exactly(7.0)), "read back again at the same frame time");
    assert_eq!(sp(20.0, 2).1, Some(Doubt::OutOfRange));
    assert_eq!(b.look("chws_sp", at(60)).quality, Quality::Suspect);
}

fn inlets(assembler: &mut Assembler, values: [Option<f64>; 3], time: i64) -> [Quality; 3] {
    let names = ["inlet_a", "inlet_b", "inlet_c"];
    for (n, v) in names.iter().zip(values) {
        if let Some(v) = v {
            assembler.push(&reading(n, v, Unit::DegC, time));
        }
    }
    let frame = assembler.snapshot(at(time));
    names.map(|n| frame.signals[&name(n)].quality)
}

#[test]
fn a_twin_that_disagrees_is_left_out_after_a_while() {
    use Quality::{Good, Suspect};
    let mut a = Assembler::new(&site());
    assert_eq!(inlets(&mut a, [Some(22.0), Some(22.4), Some(24.0)], 0), [Good; 3]);
    assert_eq!(inlets(&mut a, [Some(22.0), Some(22.4), Some(24.0)], 15), [Good; 3]);
    assert_eq!(inlets(&mut a, [Some(22.0), Some(22.4), Some(24.0)], 30), [Good, Good, Suspect]);
    assert_eq!(inlets(&mut a, [Some(22.0), Some(22.4), Some(23.0)], 45), [Good; 3], "back among its fellows");
}

#[test]
fn fewer_than_two_valid_twins_are_none() {
    use Quality::{Good, Missing, Stale, Suspect};
    let mut a = Assembler::new(&site());
    assert_eq!(
        inlets(&mut a, [Some(22.0), None, None], 0),
        [Suspect, Missing, Missing],
        "none to compare with"
    );
    assert_eq!(inlets(&mut a, [Some(22.0), Some(23.5), None], 15), [Good, Good, Missing]);
    assert_eq!(
        inlets(&mut a, [Some(22.0), Some(23.5), None], 45),
        [Suspect, Suspect, Missing],
        "two that disagree: which is right?"
    );
    assert_eq!(inlets(&mut a, [Some(22.0), None, None], 120), [Suspect, Stale, Missing]);
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let names =
        prop::sample::select(vec!["chws", "load", "inlet_a", "inlet_b", "inlet_c", "chws_sp", "unknown"]);
    let units = prop::sample::select(vec![Unit::DegC, Unit::DegF, Unit::Kilowatt, Unit::Watt, Unit::Flag]);
    let value =
        prop_oneof![4 => 0.0..60.0f64, 1 => prop::num::f64::NORMAL, 1 => Just(f64::MAX), 1 => Just(f64::MIN)];
    let time = || {
        prop_oneof![
            6 => -300..300i64,
            1 => Just(-1_700_000_000 - 377_000_000_000),
            1 => Just(-1_700_000_000 + 253_000_000_000),
        ]
    };
    (names, value, units, time(), time(), any::<[bool; 4]>()).prop_map(|(n, v, unit, t, r, flags)| Reading {
        name: name(n),
        value: finite(v),
        unit,
        time: at(t),
        received: at(r),
        origin: Origin {
            retained: flags[0] && flags[1],
            after_reconnect: flags[1] && flags[2],
            flagged: flags[2] && flags[3],
            timed: flags[3],
        },
    })
}

/// What a frame promises to everything further down the path.
fn check(frame: &Frame, site: &Site) {
    for signal in &site.signals {
        let sample = &frame.signals[&signal.name];
        assert_eq!(sample.value.is_none(), sample.quality == Quality::Missing);
        assert_eq!(sample.doubt.is_none(), sample.quality == Quality::Good);
        assert_eq!(sample.worst.is_none(), sample.value.is_none());
        assert_eq!(sample.unit, signal.unit);
        assert!(sample.worst.is_none_or(|w| w.low <= w.high));
        if sample.quality == Quality::Good {
            let value = sample.value.unwrap();
            let worst = sample.worst.unwrap();
            assert!(value >= signal.range[0] && value <= signal.range[1]);
            assert!(worst.low <= value && value <= worst.high);
            let age = sample.age_s.unwrap().get();
            assert!(age <= signal.stale_after.as_secs_f64(), "good at {age} s");
        }
    }
    for setpoint in &site.setpoints {
        let sample = &frame.setpoints[&setpoint.name];
        if let Some(value) = sample.good() {
            assert!(value.get() >= setpoint.min.get() - 0.25 && value.get() <= setpoint.max.get() + 0.25);
        }
    }
}

proptest! {
    /// Whatever comes in, in whatever order of time: no panic, no NaN, and what is good is in range,
    /// fresh, and inside its own worst case.
    #[test]
    fn a_good_sample_is_always_good(
        events in prop::collection::vec((any_reading(), -300..300i64), 0..60)
    ) {
        let site = site();
        let mut assembler = Assembler::new(&site);
        for (reading, now) in events {
            assembler.push(&reading);
            check(&assembler.snapshot(at(now)), &site);
            check(&assembler.snapshot(reading.received), &site);
        }
    }

    /// The same readings give the same frames: replay depends on it.
    #[test]
    fn assembling_is_deterministic(events in prop::collection::vec(any_reading(), 0..40)) {
        let site = site();
        let run = || {
            let mut assembler = Assembler::new(&site);
            events
                .iter()
                .map(|r| {
                    assembler.push(r);
                    assembler.snapshot(r.received)
                })
                .collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }

    /// A signal that keeps to its limits is never doubted.
    #[test]
    fn honest_sensors_are_believed(steps in prop::collection::vec(-0.99..0.99f64, 1..80)) {
        let mut b = Bench::new();
        let mut value: f64 = 30.0;
        for (i, step) in steps.into_iter().enumerate() {
            value = (value + step).clamp(1.0, 59.0);
            let time = 15 * i64::try_from(i).unwrap();
            prop_assert_eq!(b.chws(value, time), GOOD);
        }
    }
}
