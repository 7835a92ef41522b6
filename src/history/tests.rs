use proptest::prelude::*;

use super::*;
use crate::facts::example;

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

/// `hours` of frames every 15 s in which `f` gives the hottest inlet by minute.
fn run(hours: u32, f: impl Fn(f64) -> f64) -> History {
    let mut history = History::new(&example::site());
    for i in 0..hours * 240 {
        let frame = example::frame(i64::from(i) * 15, &[("hall_a_inlet_max", f(f64::from(i) / 4.0))]);
        history.push(&frame);
    }
    history
}

#[test]
fn changes_are_those_of_the_shown_values() {
    let inlet = name("hall_a_inlet_max");
    let history = run(2, |m| 20.0 + 0.1 * m);
    let change = history.change(&inlet, 10).unwrap();
    assert!((change.delta().get() - 1.0).abs() < 0.11, "{change:?}");
    assert_eq!(history.trend(&inlet), Trend::Rising);
    assert_eq!(history.trend(&name("it_load")), Trend::Steady);
    assert_eq!(history.change(&inlet, 300), None);
}

#[test]
fn a_minute_s_peak_survives_hours_of_calm() {
    let history = run(6, |m| if (100.0..101.0).contains(&m) { 31.0 } else { 24.0 });
    let rows = history.rows(&[name("hall_a_inlet_max")], 8);
    assert!(rows.len() <= 8);
    let highest = rows.iter().filter_map(|r| r.cells[0]).map(|c| c.max).max().unwrap();
    assert_eq!(highest, Finite::constant(31.0));
    assert!(rows.iter().filter_map(|r| r.cells[0]?.peak()).any(|p| p == Finite::constant(31.0)));
}

#[test]
fn rows_are_fine_where_it_moved_and_coarse_where_it_was_calm() {
    let history = run(6, |m| if m < 340.0 { 24.0 } else { 24.0 + 0.1 * (m - 340.0) });
    let rows = history.rows(&[name("hall_a_inlet_max")], 20);
    let (first, last) = (rows.first().unwrap(), rows.last().unwrap());
    assert_eq!(first.minutes, 60);
    assert!(last.minutes <= 5, "{last:?}");
    assert!(rows.windows(2).all(|w| w[0].from < w[1].from), "oldest first");
}

#[test]
fn memory_is_bounded_and_old_frames_change_nothing() {
    let mut history = run(26, |_| 24.0);
    let before = history.rows(&[name("hall_a_inlet_max")], 12);
    history.push(&example::frame(0, &[("hall_a_inlet_max", 40.0)]));
    assert_eq!(history.rows(&[name("hall_a_inlet_max")], 12), before);
    let (_, series) = &history.series[&name("hall_a_inlet_max")];
    assert!(series.oldest().unwrap() >= 2 * 3600 - 300);
}

proptest! {
    /// Whatever a signal does, the rows hold its extremes of the stretch they cover and keep the budget.
    #[test]
    fn rows_lose_no_extreme(values in prop::collection::vec(0.0..50.0f64, 30..400), count in 3usize..30) {
        let mut history = History::new(&example::site());
        for (i, v) in values.iter().enumerate() {
            history.push(&example::frame(i as i64 * 60, &[("hall_a_inlet_max", *v)]));
        }
        let rows = history.rows(&[name("hall_a_inlet_max")], count);
        prop_assert!(rows.len() <= count);
        let from = rows[0].from.as_second() - example::START;
        let covered = values.iter().enumerate().filter(|(i, _)| *i as i64 * 60 >= from).map(|(_, v)| *v);
        let shown = |v: f64| Finite::constant(v).rounded(1);
        let cells: Vec<Cell> = rows.iter().filter_map(|r| r.cells[0]).collect();
        prop_assert_eq!(cells.iter().map(|c| c.max).max().unwrap(), shown(covered.clone().fold(0.0, f64::max)));
        prop_assert_eq!(cells.iter().map(|c| c.min).min().unwrap(), shown(covered.fold(99.0, f64::min)));
    }
}
