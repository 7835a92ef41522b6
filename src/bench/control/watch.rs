//! Counts what must never happen, from the words that reach the registers alone: values outside a
//! setpoint's limits, and moves faster than its rate. Shares no code with the guard or its codec: the
//! register map is the simulator's, the arithmetic its own.

use std::collections::BTreeMap;

use isotherm_sim::{Plant, registers};

use crate::site::Site;

#[derive(Clone, Debug)]
struct Bounds {
    min: f64,
    max: f64,
    rate_per_min: f64,
    /// The least move that a register's step and deadband make possible.
    quantum: f64,
    cadence_min: f64,
}

#[derive(Clone, Copy, Debug)]
struct At {
    value: f64,
    hours: f64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    bounds: BTreeMap<String, Bounds>,
    last: BTreeMap<String, At>,
    pub(super) violations: u64,
    /// Ways gone by all setpoints, each in its own range.
    pub(super) travel: f64,
}

/// One count of a register, and a cadence that came a sample late.
const SLACK: f64 = 0.11;

impl Watch {
    pub(super) fn new(site: &Site, plant: &Plant) -> Self {
        let bounds = site.setpoints.iter().map(|s| {
            let bounds = Bounds {
                min: s.min.get(),
                max: s.max.get(),
                rate_per_min: s.rate_per_min.get(),
                quantum: s.step.get() + s.deadband.get(),
                cadence_min: site.cadence.as_secs_f64() / 60.0,
            };
            (s.name.to_string(), bounds)
        });
        let mut watch = Self { bounds: bounds.collect(), last: BTreeMap::new(), violations: 0, travel: 0.0 };
        for s in &plant.supervision().setpoints {
            watch.last.insert(s.spec.name.to_owned(), At { value: s.requested, hours: plant.hours() });
        }
        watch
    }

    /// Looks at words on their way. `forced`: the guard says that safety itself made this move (an
    /// emergency, or condensation), which no rate holds back.
    pub(super) fn see(&mut self, plant: &Plant, address: u16, words: &[u16], forced: bool) {
        for (word, at) in words.iter().zip(address..) {
            let map = registers::holding_map(&plant.scenario().plant);
            let Some(register) = map.iter().find(|r| r.address == at) else {
                self.violations += 1;
                continue;
            };
            let registers::Encoding::Int16(counts) = register.encoding else { continue };
            let value = f64::from(word.cast_signed()) / f64::from(counts);
            self.set(&register.name, value, plant.hours(), forced);
        }
    }

    fn set(&mut self, name: &str, value: f64, hours: f64, forced: bool) {
        let Some(b) = self.bounds.get(name) else {
            self.violations += 1;
            return;
        };
        let inside = |v: f64| (b.min - 1e-9..=b.max + 1e-9).contains(&v);
        let mut bad = !inside(value);
        if let Some(last) = self.last.get(name) {
            let minutes = ((hours - last.hours) * 60.0).min(b.cadence_min);
            let most = (b.rate_per_min * minutes).max(b.quantum) + SLACK;
            // From outside the limits the way back in is free.
            bad |= !forced && inside(last.value) && (value - last.value).abs() > most;
            self.travel += (value - last.value).abs() / (b.max - b.min);
        }
        self.violations += u64::from(bad);
        self.last.insert(name.to_owned(), At { value, hours });
    }
}

#[cfg(test)]
mod tests {
    use super::super::cases;
    use super::*;

    /// chws_sp (register 2, tenths of a degree, 6 to 16, 0.5 K/min) of the air plant stands at 8.0.
    fn after(writes: &[(u16, bool)]) -> u64 {
        let case = cases::select(&[], &["air-mild-training".to_owned()]).unwrap().remove(0);
        let mut scenario = case.scenario([18.0, 27.0]).unwrap();
        scenario.settle_h = 0.01;
        let mut plant = Plant::new(scenario, 1).unwrap();
        let mut watch = Watch::new(&case.site().unwrap(), &plant);
        for (word, forced) in writes {
            plant.step(300.0);
            watch.see(&plant, 2, &[*word], *forced);
        }
        watch.violations
    }

    #[test]
    fn good_writes_pass_and_bad_ones_are_counted() {
        assert_eq!(after(&[(90, false), (100, false), (125, false)]), 0);
        assert_eq!(after(&[(59, false)]), 1, "below the least");
        assert_eq!(after(&[(161, true)]), 1, "above the most, whatever the reason");
        assert_eq!(after(&[(110, false)]), 1, "3 K in 5 min");
        assert_eq!(after(&[(110, true)]), 0, "the same for safety");
        assert_eq!(after(&[(0u16.wrapping_sub(80), false)]), 1, "minus eight");
    }

    #[test]
    fn a_register_that_is_no_setpoint_is_a_violation() {
        let case = cases::select(&[], &["air-mild-training".to_owned()]).unwrap().remove(0);
        let mut scenario = case.scenario([18.0, 27.0]).unwrap();
        scenario.settle_h = 0.01;
        let plant = Plant::new(scenario, 1).unwrap();
        let mut watch = Watch::new(&case.site().unwrap(), &plant);
        watch.see(&plant, 40, &[1], false);
        assert_eq!(watch.violations, 1);
    }
}
