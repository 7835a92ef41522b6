//! What physics says each prediction depends on: regressors with priors.
//!
//! Temperatures follow the supply next to them with gain one, and rise with the heat over the flow. Cooling
//! power is a sum of terms that physics gives a shape and a sign, not a size: heat times lift (chillers), heat
//! over the distance between supply and water (pumps and valves that open), the cube of the air that a dry
//! cooler needs, the fans of servers and halls that speed up in warm air, units that run, and the heat that
//! comes out of the water itself while it is being made colder. `docs/twin.md` has the formulas and sources.

use super::drive::{Conditions, Layout, Part};
use super::estimate::Prior;
use crate::site::{PlantKind, Role};

/// A quantity made of the conditions, near one in size.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Feature {
    One,
    /// A supply or water temperature as the machines can follow it, K.
    At(usize),
    Load,
    /// Heat over flow: load times the reference flow over that at this pump setpoint.
    HeatPerFlow(usize, Part),
    /// Outdoor temperature, 10 K.
    Ambient,
    /// Load times what is left of outdoor temperature plus so many kelvins above the water, 10 K.
    Lift(f64),
    /// Load over the distance between the supply that is asked for and the water.
    Thin,
    /// Pump power at a pressure (times the flow that is asked for) or a speed (its cube).
    Pump(usize, Part),
    /// Air that a dry cooler needs, to the first and to the third power.
    Air,
    AirCubed,
    /// Load times the supply's excess over where server fans speed up.
    Warm,
    Units,
}

/// Server fans speed up when supply air is above about this, degC: inlets at 25 are one or two kelvins warmer.
const WARM_ABOVE: f64 = 23.5;
const WARM_K: f64 = 4.0;
/// Usual distances: of supply above water, of water above outdoor air, K.
const THIN_K: f64 = 8.0;
const AIR_K: f64 = 6.0;

impl Feature {
    /// The setpoint that it is a matter of, if it is one's alone.
    pub(super) fn setpoint(self) -> Option<usize> {
        match self {
            Self::At(i) | Self::HeatPerFlow(i, _) | Self::Pump(i, _) => Some(i),
            Self::One
            | Self::Load
            | Self::Ambient
            | Self::Lift(_)
            | Self::Thin
            | Self::Air
            | Self::AirCubed
            | Self::Warm
            | Self::Units => None,
        }
    }

    /// By how much it rises for each unit of a setpoint, where `c` is the reference.
    pub(super) fn slope(self, setpoint: usize, c: &Conditions) -> f64 {
        let at = |share: f64| {
            let mut moved = c.clone();
            let by = 0.01 * c.at.get(setpoint).copied().unwrap_or(1.0).abs().max(0.1);
            moved.at.iter_mut().skip(setpoint).take(1).for_each(|v| *v += share * by);
            (self.of(&moved, &c.at), 2.0 * by)
        };
        let ((high, span), (low, _)) = (at(1.0), at(-1.0));
        (high - low) / span
    }

    /// `reference`: setpoints at which flows count as one.
    pub(super) fn of(self, c: &Conditions, reference: &[f64]) -> f64 {
        let relative = |i: usize| {
            let (at, reference) = (c.at.get(i).copied().unwrap_or(1.0), reference.get(i).copied());
            (at / reference.unwrap_or(1.0).max(1e-6)).clamp(0.1, 10.0)
        };
        // A supply that is asked for and does not come has its valve wide open all the same.
        let thin = || match (c.asked, c.water) {
            (Some(s), Some(w)) => c.load * THIN_K / (s - w).clamp(2.0, 3.0 * THIN_K),
            _ => c.load,
        };
        let air = || match (c.water, c.ambient) {
            (Some(w), Some(a)) => c.load * AIR_K / (w - a).max(1.5),
            _ => c.load,
        };
        match self {
            Self::One => 1.0,
            Self::At(i) => c.at.get(i).copied().unwrap_or(0.0),
            Self::Load => c.load,
            Self::HeatPerFlow(i, Part::Pressure) => c.load / relative(i).sqrt(),
            Self::HeatPerFlow(i, _) => c.load / relative(i),
            Self::Ambient => c.ambient.unwrap_or(0.0) / 10.0,
            Self::Lift(k) => match (c.ambient, c.water) {
                (Some(a), Some(w)) => c.load * (a + k - w).max(0.0) / 10.0,
                _ => c.load,
            },
            Self::Thin => thin(),
            Self::Pump(i, Part::Pressure) => relative(i) * thin().min(3.0),
            Self::Pump(i, _) => relative(i).powi(3),
            Self::Air => air().min(3.0) / 3.0,
            Self::AirCubed => air().min(1.5).powi(3) / 3.4,
            Self::Warm => c.load * (c.supply.unwrap_or(0.0) - WARM_ABOVE).max(0.0) / WARM_K,
            Self::Units => c.units,
        }
    }
}

/// A feature as a model sees it: lagged, or what it has moved beyond its lag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Regressor {
    pub(super) feature: Feature,
    /// Minutes; 0 for at once.
    pub(super) lag: f64,
    pub(super) surge: bool,
}

/// What is predicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Temperature(Role),
    Load,
    CoolingPower,
    /// Facility power beyond cooling power.
    OtherPower,
    /// Facility power where cooling power is not measured.
    FacilityPower,
}

/// Lags and how an effect is shared among them.
type Lags<'a> = &'a [(f64, f64)];
const QUICK: Lags<'static> = &[(1.0, 0.4), (4.0, 0.4), (12.0, 0.2)];
const CHIP: Lags<'static> = &[(0.5, 0.7), (3.0, 0.2), (12.0, 0.1)];
const SLOW: Lags<'static> = &[(3.0, 0.3), (10.0, 0.4), (30.0, 0.3)];
const WEAK: Lags<'static> = &[(4.0, 0.5), (20.0, 0.5)];
const POWER: Lags<'static> = &[(3.0, 1.0)];

#[derive(Default)]
struct Build {
    regressors: Vec<(Regressor, Prior)>,
}

impl Build {
    fn add(&mut self, feature: Feature, (mean, sd): (f64, f64), sign: f64, lags: Lags<'_>) {
        let each = 1.0 / (lags.len() as f64).sqrt();
        for (lag, share) in lags {
            let mean = mean * share;
            let prior = Prior { mean, sd: (sd * each).max(0.3 * mean.abs()), sign };
            self.regressors.push((Regressor { feature, lag: *lag, surge: false }, prior));
        }
    }

    fn surge(&mut self, feature: Feature, (mean, sd): (f64, f64), sign: f64, lag: f64) {
        self.regressors.push((Regressor { feature, lag, surge: true }, Prior { mean, sd, sign }));
    }
}

/// The regressors of a target with their priors: kelvins for temperatures, tenths of the reference load for
/// powers.
pub(super) fn regressors(target: Target, layout: &Layout) -> Vec<(Regressor, Prior)> {
    let mut b = Build::default();
    match target {
        Target::Temperature(role) => temperature(&mut b, role, layout),
        Target::Load => {
            b.add(Feature::One, (0.0, 3.0), 0.0, &[(0.0, 1.0)]);
            let n = layout.of(Part::Supply).count().max(1) as f64;
            // Leakage: some 0.1 % a kelvin. Server fans in warm air: some percent over a few kelvins.
            for i in layout.of(Part::Supply) {
                b.add(Feature::At(i), (0.01 / n, 0.005), 1.0, POWER);
            }
            if layout.plant == PlantKind::Air {
                b.add(Feature::Warm, (0.3, 0.15), 1.0, POWER);
            }
        }
        Target::CoolingPower => cooling(&mut b, layout),
        Target::OtherPower => {
            b.add(Feature::One, (0.0, 3.0), 0.0, &[(0.0, 1.0)]);
            b.add(Feature::Load, (10.5, 1.0), 1.0, &[(0.0, 1.0)]);
        }
        Target::FacilityPower => {
            b.add(Feature::Load, (10.5, 2.0), 1.0, &[(0.0, 1.0)]);
            cooling(&mut b, layout);
        }
    }
    b.regressors
}

fn temperature(b: &mut Build, role: Role, layout: &Layout) {
    b.add(Feature::One, (0.0, 5.0), 0.0, &[(0.0, 1.0)]);
    let supplies: Vec<usize> = layout.of(Part::Supply).collect();
    let waters: Vec<usize> = layout.of(Part::Water).collect();
    let (share_s, share_w) = (1.0 / supplies.len().max(1) as f64, 1.0 / waters.len().max(1) as f64);
    let of_water = matches!(role, Role::Chws | Role::FacilitySupply);
    let of_supply = matches!(role, Role::CrahSupply | Role::LiquidSupply);
    // Air inlets of a liquid-cooled plant follow the room, not the liquid.
    let beside = role == Role::ItInlet && layout.plant != PlantKind::Air;
    for &i in &supplies {
        match () {
            () if of_water => b.add(Feature::At(i), (0.0, 0.05), 0.0, WEAK),
            () if beside => b.add(Feature::At(i), (0.0, 0.05), 1.0, WEAK),
            () if of_supply => b.add(Feature::At(i), (share_s, 0.3), 1.0, QUICK),
            () if role == Role::Bath => b.add(Feature::At(i), (share_s, 0.4), 1.0, SLOW),
            () => b.add(Feature::At(i), (share_s, 0.4), 1.0, QUICK),
        }
    }
    for &i in &waters {
        match () {
            () if of_water => b.add(Feature::At(i), (share_w, 0.3), 1.0, QUICK),
            () if supplies.is_empty() && !beside => b.add(Feature::At(i), (0.8 * share_w, 0.5), 1.0, QUICK),
            () => b.add(Feature::At(i), (0.0, 0.08), 1.0, WEAK),
        }
    }
    if of_water {
        b.add(Feature::Load, (0.0, 0.5), 0.0, WEAK);
        b.add(Feature::Ambient, (0.0, 0.5), 0.0, WEAK);
        return;
    }
    let (rise, lags) = if role == Role::ChipTemp {
        ((25.0, 15.0), CHIP)
    } else if matches!(role, Role::Bath | Role::LiquidReturn) {
        ((8.0, 5.0), SLOW)
    } else if of_supply || beside {
        ((0.3, 1.0), WEAK)
    } else {
        ((1.0, 2.0), WEAK)
    };
    // What leaves a bath has taken up all the heat, and a pump's speed is the flow that takes it.
    let carried = matches!(role, Role::Bath | Role::LiquidReturn) && layout.of(Part::Speed).next().is_some();
    let straight = if carried { (0.1 * rise.0, 0.25 * rise.0) } else { rise };
    b.add(Feature::Load, straight, if of_supply { 0.0 } else { 1.0 }, lags);
    if beside {
        return b.add(Feature::Ambient, (0.0, 1.0), 0.0, WEAK);
    }
    for part in [Part::Pressure, Part::Speed] {
        for i in layout.of(part) {
            // A pressure behind valves that hold a temperature changes little.
            let (share, sd) = match part {
                Part::Speed if carried => (0.9, 0.5),
                Part::Speed => (0.5, 0.2),
                Part::Pressure | Part::Supply | Part::Water => (0.05, 0.2),
            };
            let effect = if of_supply { (0.0, 0.2) } else { (rise.0 * share, rise.0 * sd) };
            b.add(Feature::HeatPerFlow(i, part), effect, 1.0, if carried { lags } else { WEAK });
        }
    }
}

fn cooling(b: &mut Build, layout: &Layout) {
    b.add(Feature::One, (0.0, 2.0), 0.0, &[(0.0, 1.0)]);
    let n = |part| layout.of(part).count().max(1) as f64;
    if layout.plant == PlantKind::Air {
        // 10 K of lift cost 0.06 to 0.07 of the heat: Carnot's share at about 55 %.
        for k in [-4.0, 3.0, 10.0] {
            b.add(Feature::Lift(k), (0.22, 0.08), 1.0, POWER);
        }
        b.add(Feature::Load, (0.6, 0.6), 1.0, POWER);
        b.add(Feature::Warm, (0.15, 0.25), 1.0, POWER);
        b.add(Feature::Units, (0.15, 0.15), 1.0, POWER);
    } else {
        for k in [1.0, 5.0, 10.0] {
            b.add(Feature::Lift(k), (0.15, 0.1), 1.0, POWER);
        }
        b.add(Feature::Load, (0.2, 0.3), 1.0, POWER);
        b.add(Feature::Air, (0.1, 0.05), 1.0, POWER);
        b.add(Feature::AirCubed, (0.2, 0.1), 1.0, POWER);
        b.add(Feature::Units, (0.3, 0.4), 1.0, POWER);
    }
    b.add(Feature::Thin, (0.06, 0.06), 1.0, POWER);
    for part in [Part::Pressure, Part::Speed] {
        for i in layout.of(part) {
            b.add(Feature::Pump(i, part), (0.15 / n(part), 0.15), 1.0, POWER);
        }
    }
    // Water made colder gives its own heat to the machines: half an hour's load for some kelvins.
    for i in layout.of(Part::Water) {
        b.surge(Feature::At(i), (-0.08 / n(Part::Water), 0.1), -1.0, 10.0);
    }
    for i in layout.of(Part::Supply) {
        b.surge(Feature::At(i), (-0.02 / n(Part::Supply), 0.05), -1.0, 10.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_what_cannot_come_opens_the_valve_and_costs() {
        // The exchanger keeps 3 K over water of 22 degC, whatever is asked for.
        let cost = |asked: f64| {
            let supply = Some(asked.max(25.0));
            let c = Conditions {
                asked: Some(asked),
                supply,
                water: Some(22.0),
                load: 1.0,
                ..Conditions::default()
            };
            Feature::Thin.of(&c, &[])
        };
        assert!(cost(24.0) > 1.3 * cost(25.0) && cost(25.0) > 1.3 * cost(28.0));
        assert!(cost(24.0) <= cost(10.0) && cost(10.0) < 5.0, "a valve is open at most");
    }
}
