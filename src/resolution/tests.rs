use proptest::prelude::*;

use super::Progress::{Arrived, Settled, Underway};
use super::gauge::Shift;
use super::*;
use crate::facts::example;
use crate::units::Finite;

const START: i64 = example::START;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

/// Feeds one value each `every` seconds; when each change was noticed, and what it was.
fn feed(every: i64, unit: Unit, values: impl IntoIterator<Item = f64>) -> Vec<(i64, Shift)> {
    let mut gauge = Gauge::new(unit);
    let times = (0i64..).map(|i| i * every);
    let found = times.zip(values).filter_map(|(t, v)| Some((t, gauge.push(at(t), Finite::new(v)?)?)));
    found.collect()
}

/// Repeatable noise, near normal, of unit deviation.
fn noise(i: u32) -> f64 {
    let uniform = |k: u32| {
        let x = (f64::from(i * 12 + k) * 12.9898 + 4.1).sin() * 43758.5453;
        x - x.floor()
    };
    (0..12).map(uniform).sum::<f64>() - 6.0
}

fn step_at(count: u32, when: u32, from: f64, to: f64) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| if i < when { from } else { to })
}

#[test]
fn noise_is_hardly_ever_a_change_whatever_its_size() {
    for size in [1.0, 20.0, 80.0] {
        let found = feed(15, Unit::Kilowatt, (0..20_000).map(|i| 800.0 + size * noise(i)));
        assert!(found.len() <= 4, "in three and a half days of {size} kW: {found:?}");
    }
}

#[test]
fn a_step_is_a_change_at_its_second_sample_and_a_spike_is_none() {
    let found = feed(15, Unit::Kilowatt, step_at(300, 200, 500.0, 900.0));
    let from = Finite::constant(500.0);
    assert_eq!(found, [(201 * 15, Shift { from, to: Finite::constant(900.0) })]);
    let spike = (0..300).map(|i| if i == 200 { 900.0 } else { 500.0 });
    assert_eq!(feed(15, Unit::Kilowatt, spike), []);
    // A chiller that stops is one less.
    assert_eq!(feed(15, Unit::Count, step_at(300, 200, 2.0, 1.0)).len(), 1);
    // Two of the agent's own steps of half a kelvin do not startle it; three kelvins do.
    assert_eq!(feed(15, Unit::DegC, step_at(300, 200, 24.0, 25.0)), []);
    assert_eq!(feed(15, Unit::DegC, step_at(300, 200, 24.0, 27.0)).len(), 1);
}

#[test]
fn a_slow_ramp_is_noticed_again_and_again() {
    let ramp = (0..480).map(|i| 500.0 + 2.0 * f64::from(i));
    let found = feed(15, Unit::Kilowatt, ramp);
    assert!(found.len() >= 5, "{found:?}");
    let longest = found.windows(2).map(|w| w[1].0 - w[0].0).max().unwrap();
    assert!(longest < 900, "never calm in between: {longest} s");
}

#[test]
fn looking_more_often_is_not_more_nervous() {
    let shift = |every: i64| {
        let step = u32::try_from(3000 / every).unwrap();
        feed(every, Unit::Kilowatt, step_at(2 * step, step, 500.0, 550.0)).first().map(|(t, _)| *t - 3000)
    };
    let (often, rarely) = (shift(3).unwrap(), shift(15).unwrap());
    assert!((often - rarely).abs() <= 30, "{often} s and {rarely} s");
}

proptest! {
    /// Any step that stands out of noise and floor is found within two samples, up or down, wherever it starts.
    #[test]
    fn every_clear_step_is_found(level in 100.0..5000.0f64, share in 0.2..0.9f64, up in any::<bool>()) {
        let to = if up { level * (1.0 + share) } else { level * (1.0 - share) };
        let noisy = step_at(400, 300, level, to).zip(0..).map(|(v, i)| v + 0.005 * level * noise(i));
        let found = feed(15, Unit::Kilowatt, noisy);
        prop_assert_eq!(found.first().map(|(t, _)| *t), Some(301 * 15));
    }

    /// Whatever comes, at whatever times, neither level nor sums leave the numbers.
    #[test]
    fn a_gauge_is_total(values in prop::collection::vec((0i64..4000, -1e300..1e300f64), 1..60)) {
        let mut gauge = Gauge::new(Unit::DegC);
        for (time, value) in values {
            if let Some(shift) = gauge.push(at(time), Finite::new(value).unwrap()) {
                prop_assert!(shift.from.get().is_finite());
            }
        }
    }
}

fn pacer(adaptive: bool) -> Pacer {
    let mut site = example::site();
    site.resolution.adaptive = adaptive;
    Pacer::new(&site)
}

/// Runs frames of every 15 s; decisions come as far as `comes` says. Returns minutes of decisions with why, and what
/// was said.
fn run(
    pacer: &mut Pacer,
    minutes: std::ops::Range<i64>,
    load: impl Fn(i64) -> f64,
    comes: impl Fn(i64) -> Progress,
) -> (Vec<(i64, Due)>, Vec<String>) {
    let (mut decided, mut said) = (Vec::new(), Vec::new());
    for i in minutes.start * 4..minutes.end * 4 {
        let minute = i / 4;
        let frame = example::frame(i * 15, &[("it_load", load(minute))]);
        said.extend(pacer.observe(frame.time, &frame, true).map(|c| c.to_string()));
        if let Some(due) = pacer.due(frame.time) {
            pacer.decide(frame.time);
            decided.push((minute, due));
            said.extend(pacer.judged(comes(minute), true).map(|c| c.to_string()));
        }
    }
    (decided, said)
}

#[test]
fn without_it_every_cadence_is_a_decision() {
    let load = |m: i64| if m < 60 { 500.0 } else { 900.0 };
    let (decided, said) = run(&mut pacer(false), 0..120, load, |_| Settled);
    let expected: Vec<_> = (1..24).map(|i| (i * 5, Due::Interval)).collect();
    assert_eq!((decided, said), (expected, Vec::new()));
}

#[test]
fn calm_stretches_a_step_decides_at_once_and_both_say_why() {
    let mut pacer = pacer(true);
    let load = |m: i64| if m < 240 { 500.0 } else { 900.0 };
    let (decided, said) = run(&mut pacer, 0..240, load, |_| Settled);
    let calm: Vec<_> = [5, 15, 35, 65, 95, 125, 155, 185, 215].map(|m| (m, Due::Interval)).into();
    assert_eq!(decided, calm);
    assert_eq!(said.len(), 3, "5 -> 10 -> 20 -> 30 min: {said:?}");
    let (decided, said) = run(&mut pacer, 240..300, load, |_| Settled);
    assert_eq!(decided.first(), Some(&(240, Due::Change)), "{decided:?}");
    assert!(decided.iter().filter(|(m, _)| *m <= 255).count() >= 3, "a cadence apart until it settles");
    assert_eq!(said[0], "decisions every 30m -> 5m; the next decision at once; it_load 500 -> 900 kW");
    assert!(pacer.pace().decide > SignedDuration::from_mins(5), "calm again");
}

#[test]
fn a_plant_on_the_move_is_looked_at_every_cadence() {
    let (decided, _) = run(&mut pacer(true), 0..120, |_| 500.0, |m| if m < 60 { Underway } else { Settled });
    let early = decided.iter().filter(|(m, _)| *m <= 60).count();
    assert!(early == 12 && decided.len() < 17, "{decided:?}");
}

#[test]
fn a_move_that_arrives_leaves_calm_as_it_is_and_a_walk_ends_it() {
    let mut pacer = pacer(true);
    let (decided, _) = run(&mut pacer, 0..156, |_| 500.0, |m| if m == 35 { Arrived } else { Settled });
    let minutes: Vec<i64> = decided.iter().map(|(m, _)| *m).collect();
    assert_eq!(minutes, [5, 15, 35, 55, 85, 115, 145], "5 -> 10 -> 20, 20 -> 30 min");
    let (decided, _) = run(&mut pacer, 156..230, |_| 500.0, |_| Underway);
    let minutes: Vec<i64> = decided.iter().map(|(m, _)| *m).collect();
    assert_eq!(minutes[..5], [175, 190, 197, 202, 207], "30 -> 15 -> 7.5 -> 5 min");
}

#[test]
fn a_change_that_asks_for_nothing_leaves_the_calm_of_before() {
    let load = |m: i64| if m < 240 { 500.0 } else { 550.0 };
    let after = |came: Progress| {
        let mut pacer = pacer(true);
        run(&mut pacer, 0..240, load, |_| Settled);
        let (decided, said) = run(&mut pacer, 240..300, load, |_| came);
        assert_eq!(decided.first(), Some(&(240, Due::Change)), "{decided:?}");
        (decided.iter().map(|(m, _)| *m).collect::<Vec<_>>(), said)
    };
    let (minutes, said) = after(Settled);
    assert_eq!(minutes, [240, 245, 250, 280]);
    assert_eq!(said.last().unwrap(), "decisions every 5m -> 30m; nothing has changed for 15m");
    let (minutes, _) = after(Arrived);
    assert!(minutes.windows(2).all(|w| w[1] - w[0] == 5), "something had to be done: {minutes:?}");
}

#[test]
fn blindness_is_never_calm() {
    let mut pacer = pacer(true);
    run(&mut pacer, 0..240, |_| 500.0, |_| Settled);
    let before = pacer.next().unwrap();
    let frame = example::frame(240 * 60, &[]);
    let change = pacer.observe(frame.time, &frame, false).unwrap();
    assert!(change.why.contains("missing") && !change.at_once, "{change}");
    assert!(pacer.next().unwrap() < before);
    pacer.decide(frame.time);
    assert_eq!(pacer.judged(Settled, false), None);
    assert_eq!(pacer.next(), Some(frame.time + SignedDuration::from_mins(5)));
}

#[test]
fn no_decision_sooner_than_the_fastest() {
    let mut site = example::site();
    site.resolution.adaptive = true;
    site.resolution.fastest = SignedDuration::from_mins(4);
    let load = |m: i64| if m < 66 { 500.0 } else { 900.0 };
    let (decided, _) = run(&mut Pacer::new(&site), 0..120, load, |_| Settled);
    assert!(decided.contains(&(65, Due::Interval)) && decided.contains(&(69, Due::Change)), "{decided:?}");
}

proptest! {
    /// Whatever the load does and whatever comes of decisions, they are between the bounds.
    #[test]
    fn decisions_keep_between_the_bounds(loads in prop::collection::vec(300.0..1000.0f64, 40), moves in any::<u64>()) {
        let load = |m: i64| loads[usize::try_from(m / 9).unwrap() % loads.len()];
        let (decided, _) = run(&mut pacer(true), 0..360, load, |m| {
            [Settled, Arrived, Underway, Settled][usize::try_from(moves >> (m % 62) & 3).unwrap()]
        });
        for w in decided.windows(2) {
            let gap = w[1].0 - w[0].0;
            prop_assert!((1..=30).contains(&gap), "{:?}", w);
        }
    }
}
