use super::*;
use crate::facts::example;

/// A hall whose inlet answers to its supply with a gain of 0.9, a dead time of 2 min and a time constant of 6
/// min, with a load that moves and noise that remembers itself.
fn recording(noise: f64) -> Vec<Frame> {
    let (dead, tau, gain) = (2.0, 6.0, 0.9);
    let supply = |minute: f64| if (30.0..60.0).contains(&minute) { 19.0 } else { 20.0 };
    let (mut state, mut wander, mut random) = (0.0, 0.0, 7u64);
    (0..480)
        .map(|i| {
            let minute = f64::from(i) / 4.0;
            state += (supply(minute - dead) - 20.0 - state) * (1.0 - (-0.25f64 / tau).exp());
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            wander = 0.9 * wander + noise * ((random >> 33) as f64 / f64::from(1u32 << 31) - 0.5);
            let load = 800.0 + 40.0 * (minute / 17.0).sin();
            let inlet = 24.0 + gain * state + 0.004 * (load - 800.0) + wander;
            let values = [("hall_a_inlet_max", inlet), ("it_load", load), ("crah_supply_sp", supply(minute))];
            example::frame(i64::from(i) * 15, &values)
        })
        .collect()
}

fn fitted(noise: f64, signal: &str) -> Answer {
    let moved = ["crah_supply_sp".parse().unwrap()];
    let found = answers(&example::site(), &recording(noise), &moved);
    found.into_iter().find(|a| a.signal.as_str() == signal).unwrap()
}

#[test]
fn gain_dead_time_and_time_constant_come_back_within_their_uncertainty() {
    for noise in [0.02, 0.1] {
        let a = fitted(noise, "hall_a_inlet_max");
        assert_eq!(a.seen, Seen::Clearly, "{a:?}");
        for (m, is, most_sd) in
            [(a.gain, 0.9, 0.3), (a.dead_time_min, 2.0, 2.0), (a.time_constant_min, 6.0, 4.0)]
        {
            let off = (m.value.get() - is).abs();
            assert!(off < 3.0 * m.sd.get().max(0.05), "{noise}: {a:?}");
            assert!(m.sd.get() < most_sd, "{noise}: {a:?}");
        }
    }
    let (quiet, loud) = (fitted(0.02, "hall_a_inlet_max"), fitted(0.1, "hall_a_inlet_max"));
    assert!(quiet.gain.sd < loud.gain.sd, "{quiet:?} {loud:?}");
}

#[test]
fn what_does_not_answer_is_said_not_to_and_what_is_drowned_is_unclear() {
    assert_eq!(fitted(0.02, "hall_b_inlet_max").seen, Seen::Nothing);
    assert_eq!(fitted(3.0, "hall_a_inlet_max").seen, Seen::Unclear);
}

#[test]
fn a_recording_that_is_too_short_says_nothing() {
    let moved = ["crah_supply_sp".parse().unwrap()];
    let frames = recording(0.1);
    assert!(answers(&example::site(), &frames[..8], &moved).is_empty());
    assert!(answers(&example::site(), &[], &moved).is_empty());
}
