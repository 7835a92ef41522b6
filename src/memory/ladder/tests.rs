use proptest::prelude::*;

use super::*;

const GB: u64 = 1_000_000_000;
const MB: u64 = 1_000_000;
/// What starting the reasoner takes.
const LOAD: u64 = 150 * MB;

fn ladder() -> Ladder {
    Ladder::new(site::Memory::default(), LOAD)
}

fn available(mb: u64) -> Reading {
    Reading { available: Some(mb * MB), ..Reading::default() }
}

fn pressed(pct: f64) -> Reading {
    Reading { available: Some(8 * GB), pressure: Finite::new(pct), group: None }
}

fn grouped(used_mb: u64, events: Events) -> Reading {
    let group = Some(Group { used: used_mb * MB, limit: Some(1000 * MB), events });
    Reading { available: Some(8 * GB), pressure: None, group }
}

/// A second at a time; the rungs passed, with the second at which each was taken.
fn run(ladder: &mut Ladder, from_s: u64, readings: &[Reading]) -> Vec<(u64, Rung)> {
    let seconds = (from_s..).zip(readings);
    seconds.filter_map(|(s, r)| Some((s, ladder.step(Duration::from_secs(s), r)?.to))).collect()
}

#[test]
fn each_shortage_leads_straight_to_its_rung() {
    for (reading, rung) in [
        (available(401), Rung::Full),
        (available(399), Rung::Short),
        (available(249), Rung::Small),
        (available(119), Rung::Parked),
        (pressed(9.9), Rung::Full),
        (pressed(10.0), Rung::Short),
        (pressed(25.0), Rung::Small),
        (pressed(50.0), Rung::Parked),
        (grouped(849, Events::default()), Rung::Full),
        (grouped(850, Events::default()), Rung::Short),
        (grouped(920, Events::default()), Rung::Small),
        (grouped(970, Events::default()), Rung::Parked),
        (Reading::default(), Rung::Full),
    ] {
        let mut ladder = ladder();
        ladder.step(Duration::ZERO, &reading);
        assert_eq!(ladder.rung(), rung, "{reading:?}");
    }
}

#[test]
fn what_the_group_counted_before_the_first_reading_is_history() {
    let old = Events { high: 5, max: 5, oom: 1, oom_kill: 1 };
    for (new, rung, event) in [
        (Events { high: 6, ..old }, Rung::Short, GroupEvent::High),
        (Events { max: 7, ..old }, Rung::Small, GroupEvent::Max),
        (Events { oom_kill: 2, ..old }, Rung::Parked, GroupEvent::OomKill),
    ] {
        let mut ladder = ladder();
        assert_eq!(ladder.step(Duration::ZERO, &grouped(0, old)), None);
        let change = ladder.step(Duration::from_secs(1), &grouped(0, new)).unwrap();
        assert_eq!(change.to, rung);
        let times = if event == GroupEvent::Max { 2 } else { 1 };
        assert_eq!(change.cause, Cause::Event { event, times });
        assert_eq!(ladder.step(Duration::from_secs(2), &grouped(0, new)), None, "counted once");
    }
}

#[test]
fn up_is_one_rung_at_a_time_each_after_a_calm_minute() {
    let mut ladder = ladder();
    let mut readings = vec![available(100)];
    readings.extend(vec![available(8000); 300]);
    assert_eq!(
        run(&mut ladder, 0, &readings),
        [(0, Rung::Parked), (61, Rung::Small), (122, Rung::Short), (183, Rung::Full)]
    );
}

#[test]
fn just_above_the_threshold_is_not_calm() {
    // 400 MB less is short; 480 is needed to come back.
    let mut ladder = ladder();
    ladder.step(Duration::ZERO, &available(399));
    assert_eq!(run(&mut ladder, 1, &vec![available(479); 600]), []);
    assert_eq!(run(&mut ladder, 601, &vec![available(480); 61]), [(661, Rung::Full)]);
}

#[test]
fn one_bad_reading_begins_the_wait_anew() {
    let mut ladder = ladder();
    ladder.step(Duration::ZERO, &available(399));
    let mut readings = vec![available(8000); 50];
    readings.push(available(470));
    readings.extend([available(8000); 62]);
    assert_eq!(run(&mut ladder, 1, &readings), [(112, Rung::Full)]);
}

#[test]
fn what_the_model_itself_would_take_counts_against_starting_it_again() {
    // Clear of `parked` (120 MB and its margin, 144) only if the model's 150 MB fit in too.
    let mut ladder = ladder();
    ladder.step(Duration::ZERO, &available(100));
    assert_eq!(run(&mut ladder, 1, &vec![available(293); 600]), []);
    assert_eq!(run(&mut ladder, 601, &vec![available(294); 61]), [(661, Rung::Small)]);
}

#[test]
fn relapses_double_the_wait_up_to_a_bound_and_quiet_resets_it() {
    let mut ladder = ladder();
    let mut at = 0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(ladder.step(Duration::from_secs(at), &available(399)).unwrap().to, Rung::Short);
        let (rose, _) = run(&mut ladder, at + 1, &vec![available(8000); 4000])[0];
        waits.push(rose - at - 1);
        at = rose + 1;
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 1920, 1920]);
    at += 2 * 1920;
    ladder.step(Duration::from_secs(at), &available(399)).unwrap();
    assert_eq!(run(&mut ladder, at + 1, &vec![available(8000); 100])[0].0, at + 61);
}

#[test]
fn a_change_says_why_with_numbers() {
    let mut ladder = ladder();
    let reading = Reading { pressure: Finite::new(12.5), ..available(200) };
    let told = ladder.step(Duration::ZERO, &reading).unwrap().to_string();
    assert_eq!(told, "full -> small: 200 MB available, below 250; available 200 MB; pressure 12.5 %");
}

#[test]
fn a_change_is_recorded_to_the_last_digit() {
    let change = ladder().step(Duration::ZERO, &grouped(971, Events::default())).unwrap();
    let text = serde_json::to_string(&change).unwrap();
    assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let pct = prop_oneof![Just(0.0), 0.0..100.0];
    let mb = prop_oneof![0u64..600, Just(8000)];
    (mb, pct, 0u64..1100, 0u64..3).prop_map(|(mb, pct, used, more)| Reading {
        pressure: Finite::new(pct),
        ..Reading { available: Some(mb * MB), ..grouped(used, Events { high: more, ..Events::default() }) }
    })
}

proptest! {
    /// Never up by more than one rung or before its time, never left below what a reading asks for.
    #[test]
    fn down_at_once_and_up_slowly(readings in proptest::collection::vec((any_reading(), 1u64..50), 1..200)) {
        let settings = site::Memory::default();
        let mut ladder = ladder();
        let (mut at, mut last_change) = (0, None);
        for (reading, gap) in readings {
            at += gap;
            let before = ladder.rung();
            let change = ladder.step(Duration::from_secs(at), &reading);
            prop_assert_eq!(change.map_or(before, |c| c.to), ladder.rung());
            if let Some(c) = change {
                prop_assert_eq!(c.from, before);
                prop_assert_ne!(c.to, before);
                if c.to < before {
                    prop_assert_eq!(c.to, before.up());
                    prop_assert!(last_change.is_some_and(|t| at - t >= settings.hold.unsigned_abs().as_secs()));
                }
                last_change = Some(at);
            }
            let least = [settings.short, settings.small, settings.parked];
            let asked = least.iter().filter(|s| reading.available.unwrap() / MB < s.available_mb).count();
            let rungs = [Rung::Full, Rung::Short, Rung::Small, Rung::Parked];
            prop_assert!(ladder.rung() >= rungs[asked]);
        }
    }
}
