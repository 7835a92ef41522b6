//! What drives a site, read from its frames by the roles in the site file, and how far the machines follow.
//!
//! ```text
//!  outdoor air ──> water (chilled or facility) ──> supply (air or liquid) ──> IT
//!                    ^ setpoint                      ^ setpoint
//! ```
//!
//! A supply follows its setpoint only down to where its valve is open: it then stands above the water by an
//! approach that grows with the heat (an exchanger's effectiveness is nearly constant at full flow). Water
//! without a chiller behind it stands above outdoor air in the same way. Such a [`Floor`] is learned while a
//! temperature is seen to rest above its setpoint, and taken back when it is seen lower than that.

use crate::frame::Frame;
use crate::site::{Cools, Name, PlantKind, Role, Setpoint, Site};
use crate::units::Finite;
use crate::units::Unit;

/// What a setpoint is to the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// A temperature next to the IT.
    Supply,
    /// A water temperature behind it.
    Water,
    /// A pressure: flow goes with its root.
    Pressure,
    /// A speed: flow goes with it.
    Speed,
}

fn part(s: &Setpoint) -> Part {
    match (s.role, s.unit, s.cools) {
        (Some(Role::Chws | Role::FacilitySupply), ..) => Part::Water,
        (_, Unit::DegC | Unit::DegF | Unit::Kelvin, Cools::Down) => Part::Supply,
        (_, Unit::KilopascalGauge | Unit::Bar, _) => Part::Pressure,
        _ => Part::Speed,
    }
}

/// Which names mean what.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) plant: PlantKind,
    pub(super) setpoints: Vec<(Name, Part)>,
    load: Vec<Name>,
    /// The outdoor temperature that the plant rejects its heat to.
    ambient: Vec<Name>,
    units: Vec<Name>,
    waters: Vec<Name>,
    supplies: Vec<Name>,
    inlets: Vec<Name>,
    valves: Vec<Name>,
}

/// The drivers at one time.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    /// In force, in the site's order.
    pub(super) setpoints: Vec<f64>,
    /// kW.
    pub(super) load: f64,
    pub(super) ambient: Option<f64>,
    /// Chillers running.
    pub(super) units: Option<f64>,
    pub(super) water: Option<f64>,
    supply: Option<f64>,
    inlet: Option<f64>,
    valve: Option<f64>,
}

impl Layout {
    pub(super) fn new(site: &Site) -> Self {
        let with = |roles: &[Role]| -> Vec<Name> {
            let signals = site.signals.iter().filter(|s| s.role.is_some_and(|r| roles.contains(&r)));
            signals.map(|s| s.name.clone()).collect()
        };
        // Towers see the wet bulb, dry coolers the dry bulb.
        let (first, second) = match site.plant {
            PlantKind::Air => (Role::OutdoorWetBulb, Role::OutdoorDryBulb),
            PlantKind::Liquid | PlantKind::Immersion => (Role::OutdoorDryBulb, Role::OutdoorWetBulb),
        };
        let ambient = Some(with(&[first])).filter(|n| !n.is_empty()).unwrap_or_else(|| with(&[second]));
        Self {
            plant: site.plant,
            setpoints: site.setpoints.iter().map(|s| (s.name.clone(), part(s))).collect(),
            load: with(&[Role::ItLoad]),
            ambient,
            units: with(&[Role::ChillersOn]),
            waters: with(&[Role::Chws, Role::FacilitySupply]),
            supplies: with(&[Role::CrahSupply, Role::LiquidSupply]),
            inlets: with(&[Role::ItInlet]),
            valves: with(&[Role::ValvePosition]),
        }
    }

    /// `None` unless every setpoint and the load are good.
    pub(super) fn read(&self, frame: &Frame) -> Option<Inputs> {
        let good = |n: &Name| frame.good(n).map(Finite::get);
        let mean = |names: &[Name]| {
            let values: Vec<f64> = names.iter().filter_map(good).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let in_force = |n: &Name| frame.in_force(n).map(Finite::get);
        Some(Inputs {
            setpoints: self.setpoints.iter().map(|(n, _)| in_force(n)).collect::<Option<_>>()?,
            load: self.load.iter().map(good).sum::<Option<f64>>()?,
            ambient: mean(&self.ambient),
            units: mean(&self.units).map(|n| n * self.units.len() as f64),
            water: mean(&self.waters),
            supply: mean(&self.supplies),
            inlet: mean(&self.inlets),
            valve: self.valves.iter().filter_map(good).max_by(f64::total_cmp),
        })
    }

    pub(super) fn of(&self, part: Part) -> impl Iterator<Item = usize> {
        self.setpoints.iter().enumerate().filter(move |(_, (_, p))| *p == part).map(|(i, _)| i)
    }

    /// Mean of one kind of temperature; `None` where nothing sets it.
    fn mean(&self, part: Part, at: &[f64]) -> Option<f64> {
        let (mut sum, mut n) = (0.0, 0.0);
        for i in self.of(part) {
            sum += at.get(i)?;
            n += 1.0;
        }
        (n > 0.0).then(|| sum / n)
    }
}

impl Inputs {
    /// Running means: `self` is the mean of `n` before `other`.
    pub(super) fn blend(&mut self, other: &Self, n: f64) {
        let add = |mean: &mut f64, value: f64| *mean += (value - *mean) / (n + 1.0);
        self.setpoints.iter_mut().zip(&other.setpoints).for_each(|(m, v)| add(m, *v));
        add(&mut self.load, other.load);
        let pairs = [
            (&mut self.ambient, other.ambient),
            (&mut self.units, other.units),
            (&mut self.water, other.water),
            (&mut self.supply, other.supply),
            (&mut self.inlet, other.inlet),
            (&mut self.valve, other.valve),
        ];
        for (mean, value) in pairs {
            match (mean, value) {
                (Some(mean), Some(value)) => add(mean, value),
                (mean, value) => *mean = value,
            }
        }
    }
}

/// A temperature's least distance above what cools it, K at the reference load.
#[derive(Clone, Debug)]
struct Floor {
    distance: Option<f64>,
    /// How long it has been starved, and after what time that counts.
    minutes: f64,
    patience: f64,
    /// Above its setpoint by more than this it is starved, K.
    starved_k: f64,
}

/// How fast a floor is learned, a minute.
const FLOOR_GAIN: f64 = 0.3;
/// A peak of load is forgotten over this time, and believed after so much of it, minutes.
const PEAK_MIN: f64 = 24.0 * 60.0;
const WATCHED_MIN: f64 = 180.0;
/// Exchangers keep at least about this distance at the reference load, K.
const LEAST_K: f64 = 1.0;
/// The same of a supply that nothing measures, as plate exchangers are sized.
const USUAL_K: f64 = 5.0;
/// Temperatures have come where setpoints and water were this long ago, minutes.
const SETTLING_MIN: f64 = 4.0;
/// Valves this far open pass all they can, %; below the other they have something left.
const VALVE_OPEN: f64 = 98.5;
const VALVE_FREE: f64 = 95.0;

impl Floor {
    /// `value` between its setpoint, now and lagged, and its source, both as lately.
    fn learn(&mut self, value: f64, setpoint: [f64; 2], source: [f64; 2], load: f64, minutes: f64) {
        let highest = |[a, b]: [f64; 2]| a.max(b);
        let starved = value > highest(setpoint) + self.starved_k;
        self.minutes = if starved { self.minutes + minutes } else { 0.0 };
        if self.minutes > self.patience {
            let distance = (value - source[1]) / load;
            let k = self.distance.get_or_insert(distance);
            *k += FLOOR_GAIN * (distance - *k);
        } else if !starved {
            // It got this near, so its floor is no higher.
            let distance = (value - source[0].min(source[1])) / load;
            self.distance = self.distance.map(|k| k.min(distance));
        }
    }

    fn raise(&self, setpoint: f64, source: f64, load: f64) -> f64 {
        self.distance.map_or(setpoint, |k| setpoint.max(source + k * load))
    }
}

/// What the setpoints lead to, given the limits of the machines.
#[derive(Clone, Debug)]
pub(super) struct Machines {
    supply: Floor,
    water: Floor,
    /// Setpoints, and the water's temperature, some minutes ago.
    lagged: Vec<f64>,
    lagged_water: Option<f64>,
    /// Where the supply is not measured: the inlet's distance above it, K at the reference load.
    inlet_above: Option<f64>,
    /// The reference load, kW.
    pub(super) load: f64,
    /// The most load there has been lately, kW, and for how many minutes it has been watched.
    most_load: f64,
    watched: f64,
}

/// Setpoints as the machines can follow them, and the other drivers.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    pub(super) at: Vec<f64>,
    /// Mean supply and water temperature; `None` where the site has none.
    pub(super) supply: Option<f64>,
    /// Mean supply temperature that is asked for, whether the machines can follow or not.
    pub(super) asked: Option<f64>,
    pub(super) water: Option<f64>,
    /// IT load over the reference load.
    pub(super) load: f64,
    pub(super) ambient: Option<f64>,
    pub(super) units: f64,
}

impl Machines {
    pub(super) fn new(inputs: &Inputs) -> Self {
        // A chiller or a dry cooler gets time to start before its water counts as starved.
        let water = Floor { distance: None, minutes: 0.0, patience: 8.0, starved_k: 1.2 };
        let least = if inputs.supply.is_some() || inputs.valve.is_some() { LEAST_K } else { USUAL_K };
        let supply = Floor { distance: Some(least), minutes: 0.0, patience: 3.0, starved_k: 0.7 };
        Self {
            supply,
            water,
            lagged: inputs.setpoints.clone(),
            lagged_water: inputs.water,
            inlet_above: None,
            load: inputs.load.abs().max(1.0),
            most_load: inputs.load,
            watched: 0.0,
        }
    }

    pub(super) fn settle(&mut self, inputs: &Inputs) {
        self.lagged.clone_from(&inputs.setpoints);
        self.lagged_water = inputs.water;
    }

    /// The most load there has been lately, kW, once it has been watched for long enough.
    pub(super) fn most_load(&self) -> Option<f64> {
        (self.watched >= WATCHED_MIN).then_some(self.most_load)
    }

    pub(super) fn learn(&mut self, layout: &Layout, inputs: &Inputs, minutes: f64) {
        self.watched += minutes;
        let forgotten = 1.0 - (-minutes / PEAK_MIN).exp();
        self.most_load = (self.most_load + forgotten * (inputs.load - self.most_load)).max(inputs.load);
        let pass = 1.0 - (-minutes / SETTLING_MIN).exp();
        for (lag, now) in self.lagged.iter_mut().zip(&inputs.setpoints) {
            *lag += pass * (now - *lag);
        }
        let load = (inputs.load / self.load).max(0.1);
        let setpoint = |part| Some([layout.mean(part, &inputs.setpoints)?, layout.mean(part, &self.lagged)?]);
        let (water_sp, supply_sp) = (setpoint(Part::Water), setpoint(Part::Supply));
        if let (Some(water), Some(before)) = (inputs.water, self.lagged_water) {
            self.lagged_water = Some(before + pass * (water - before));
        } else {
            self.lagged_water = inputs.water;
        }
        if let (Some(sp), Some(water), Some(ambient)) = (water_sp, inputs.water, inputs.ambient)
            && layout.plant != PlantKind::Air
        {
            self.water.learn(water, sp, [ambient; 2], load, minutes);
        }
        let source = inputs.water.zip(self.lagged_water).map(|(a, b)| [a, b]).or(water_sp);
        let Some(sp) = supply_sp else { return };
        let supply = inputs.supply.or_else(|| {
            let (inlet, valve) = (inputs.inlet?, inputs.valve?);
            if valve < VALVE_FREE {
                let above = (inlet - sp[1]) / load;
                let mean = self.inlet_above.get_or_insert(above);
                *mean += 0.02 * (above - *mean);
                return Some(sp[1]);
            }
            (valve > VALVE_OPEN).then_some(inlet - self.inlet_above? * load)
        });
        if let (Some(supply), Some(source)) = (supply, source) {
            self.supply.learn(supply, sp, source, load, minutes);
        }
    }

    /// The conditions that `setpoints` lead to, with the other drivers as given. `water`: measured or
    /// predicted, where it is.
    pub(super) fn follow(
        &self,
        layout: &Layout,
        setpoints: &[f64],
        inputs: &Inputs,
        load: f64,
        water: Option<f64>,
        c: &mut Conditions,
    ) {
        c.at.clear();
        c.at.extend_from_slice(setpoints);
        c.load = load / self.load;
        c.ambient = inputs.ambient;
        c.units = inputs.units.unwrap_or(0.0);
        if let Some(ambient) = inputs.ambient {
            for i in layout.of(Part::Water) {
                c.at[i] = self.water.raise(c.at[i], ambient, c.load);
            }
        }
        c.asked = layout.mean(Part::Supply, setpoints).or(inputs.supply);
        c.water = water.or_else(|| layout.mean(Part::Water, &c.at)).or(inputs.water);
        if let Some(water) = c.water {
            for i in layout.of(Part::Supply) {
                c.at[i] = self.supply.raise(c.at[i], water, c.load);
            }
        }
        c.supply = layout.mean(Part::Supply, &c.at).or(inputs.supply);
    }
}
