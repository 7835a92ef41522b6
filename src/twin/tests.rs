use proptest::prelude::*;

use super::*;
use crate::facts::example;

const AHEAD: SignedDuration = SignedDuration::from_mins(30);

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

/// A first-order plant: the hall follows supply air and load with a lag of 12 min.
struct Plant {
    inlet: f64,
}

impl Plant {
    const LAG_S: f64 = 720.0;

    fn rest(crah_sp: f64, load: f64) -> f64 {
        crah_sp + 4.0 + 0.004 * (load - 800.0)
    }

    fn advance(&mut self, crah_sp: f64, load: f64, seconds: f64) {
        self.inlet += (Self::rest(crah_sp, load) - self.inlet) * (1.0 - (-seconds / Self::LAG_S).exp());
    }
}

/// `hours` with the supply setpoint and the load moved now and then.
fn excited(hours: u32) -> (Twin, Plant, f64, f64, i64) {
    let mut twin = Twin::new(&example::site());
    let mut plant = Plant { inlet: 24.0 };
    let (mut sp, mut load) = (20.0, 800.0);
    let mut at = 0;
    for i in 0..hours * 240 {
        if i % 100 == 0 {
            sp = [20.0, 21.0, 19.5, 22.0, 20.5][(i as usize / 100) % 5];
        }
        if i % 140 == 0 {
            load = [800.0, 1000.0, 900.0, 700.0][(i as usize / 140) % 4];
        }
        at = i64::from(i) * 15;
        plant.advance(sp, load, 15.0);
        let wobble = 0.03 * (f64::from(i) * 1.7).sin();
        let values = [("hall_a_inlet_max", plant.inlet + wobble), ("it_load", load), ("crah_supply_sp", sp)];
        twin.update(&example::frame(at, &values));
    }
    (twin, plant, sp, load, at)
}

#[test]
fn a_first_order_plant_is_identified_and_predicted_better_than_it_stays() {
    let (twin, mut plant, sp, load, at) = excited(12);
    let inlet = name("hall_a_inlet_max");
    let frame =
        example::frame(at, &[("hall_a_inlet_max", plant.inlet), ("it_load", load), ("crah_supply_sp", sp)]);
    let to = Finite::constant(sp + 1.0);
    let row = twin.row(&frame, BTreeMap::from([(name("crah_supply_sp"), to)])).unwrap();
    let start = plant.inlet;
    for (minutes, ahead) in [5.0, 10.0, 15.0].into_iter().zip(row.ahead[&inlet]) {
        plant.advance(to.get(), load, minutes * 60.0);
        let error = (ahead.value.get() - plant.inlet).abs();
        assert!(error < ahead.sigma.get(), "predicted {ahead:?}, came {}", plant.inlet);
        assert!(error < 0.5 * (plant.inlet - start).abs(), "no better than persistence");
        assert!(ahead.sigma.get() < 0.6);
    }
    let outlook = twin.outlook(&frame, []);
    assert!(outlook.rows[0].moves.is_empty(), "hold comes first");
    assert!(!outlook.unidentified.contains(&inlet));
    let worst = twin.predict(&frame, &BTreeMap::from([(name("crah_supply_sp"), to)]), AHEAD)[&inlet];
    assert!(worst.high.value.get() > start + 0.5 && worst.ramp_15min.get() > 0.3, "{worst:?}");
}

/// What is not known, beyond the errors there are anyhow, of what a kelvin more of supply air does in half an
/// hour.
fn unsure(twin: &Twin, frame: &Frame) -> f64 {
    let sigma = |moves: &[(&str, f64)]| {
        let moves = moves.iter().map(|(n, v)| (name(n), Finite::constant(*v))).collect();
        twin.row(frame, moves).unwrap().ahead[&name("hall_a_inlet_max")][2].sigma.get()
    };
    let now = frame.good(&name("crah_supply_sp")).unwrap().get();
    (sigma(&[("crah_supply_sp", now + 1.0)]).powi(2) - sigma(&[]).powi(2)).max(0.0).sqrt()
}

#[test]
fn without_excitation_a_move_is_a_guess_and_says_so() {
    let mut still = Twin::new(&example::site());
    for i in 0..2880 {
        still.update(&example::frame(i * 15, &[("hall_a_inlet_max", 24.0 + 0.02 * (i as f64).sin())]));
    }
    let here = example::frame(2880 * 15, &[("hall_a_inlet_max", 24.0)]);
    let (tried, ..) = excited(12);
    assert!(
        unsure(&still, &here) > 1.5 * unsure(&tried, &here),
        "{} {}",
        unsure(&still, &here),
        unsure(&tried, &here)
    );
}

#[test]
fn it_starts_from_what_the_site_has_measured() {
    let risen = |gain: Option<f64>| {
        let mut site = example::site();
        site.twin.responses.extend(gain.map(|gain| crate::site::Response {
            setpoint: name("crah_supply_sp"),
            signal: name("hall_a_inlet_max"),
            gain: Finite::constant(gain),
            gain_sd: Finite::constant(0.02),
            dead_time: jiff::SignedDuration::from_secs(30),
            time_constant: jiff::SignedDuration::from_mins(3),
        }));
        let mut twin = Twin::new(&site);
        (0..60).for_each(|i| twin.update(&example::frame(i * 15, &[])));
        let here = example::frame(60 * 15, &[]);
        let now = here.good(&name("crah_supply_sp")).unwrap();
        let ahead = |by: f64| {
            let moves = BTreeMap::from([(name("crah_supply_sp"), now.plus(by))]);
            twin.row(&here, moves).unwrap().ahead[&name("hall_a_inlet_max")][2].value.get()
        };
        ahead(1.0) - ahead(0.0)
    };
    for gain in [0.4, 1.3] {
        assert!((risen(Some(gain)) - gain).abs() < 0.05, "{gain}: {}", risen(Some(gain)));
    }
    assert!((risen(None) - 1.0).abs() < 0.15, "the first guess: {}", risen(None));
}

#[test]
fn new_or_blind_it_says_nothing() {
    let mut twin = Twin::new(&example::site());
    let frame = example::frame(0, &[]);
    assert!(twin.outlook(&frame, []).rows.is_empty());
    twin.update(&frame);
    assert!(twin.predict(&frame, &BTreeMap::new(), AHEAD).is_empty());
    let (mut twin, ..) = excited(12);
    let mut blind = example::frame(12 * 3600, &[]);
    blind.signals.remove("it_load");
    twin.update(&blind);
    assert!(twin.outlook(&blind, []).rows.is_empty());
}

proptest! {
    // Each case is hours of frames.
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Bounded inputs, however wild, never make it panic or predict without bounds.
    #[test]
    fn bounded_inputs_give_bounded_predictions(
        values in prop::collection::vec((5.0..45.0f64, 0.0..20000.0f64, 16.0..25.0f64), 300..900),
    ) {
        let mut twin = Twin::new(&example::site());
        for (i, (inlet, load, sp)) in values.iter().enumerate() {
            let frame = example::frame(
                i as i64 * 60,
                &[("hall_a_inlet_max", *inlet), ("it_load", *load), ("crah_supply_sp", *sp)],
            );
            twin.update(&frame);
            for row in twin.outlook(&frame, []).rows {
                for ahead in row.ahead.values().flatten() {
                    prop_assert!(ahead.value.get().abs() < 25_000.0 && ahead.sigma.get() >= 0.0);
                }
            }
        }
    }
}
