//! Plants and sites of all kinds: the shipped ones with their parameters, names, limits, sensors, weather
//! and work changed by chance.

use std::collections::BTreeMap;
use std::path::Path;

use crate::ingest::{Origin, Reading};
use crate::site::{self, Name, Site};
use crate::units::{Finite, Unit};
use anyhow::{Context, Result, anyhow, ensure};
use isotherm_sim::scenario::SHIPPED;
use isotherm_sim::{Plant, Scenario};
use jiff::Timestamp;
use toml::{Table, Value};

use super::dice::Dice;

const AIR: &str = include_str!("../../sites/air.toml");
const LIQUID: &str = include_str!("../../sites/liquid.toml");
const IMMERSION: &str = include_str!("../../sites/immersion.toml");
/// Draws of impossible parameters are drawn again, so often at most.
const DRAWS: usize = 40;

/// A plant and the site that looks at it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) site: Site,
    pub(super) plant: Plant,
    /// From the plant's names to the site's.
    names: BTreeMap<String, Name>,
}

impl World {
    /// A world of its own for every seed.
    pub(super) fn draw(seed: u64, dice: &mut Dice) -> Result<Self> {
        let (kind, text) =
            *dice.pick(&[("air", AIR), ("liquid", LIQUID), ("immersion", IMMERSION)]).context("no plants")?;
        let mut last = anyhow!("no draw");
        for _ in 0..DRAWS {
            match Self::attempt(kind, text, seed, dice) {
                Ok(world) => return Ok(world),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn attempt(kind: &str, text: &str, seed: u64, dice: &mut Dice) -> Result<Self> {
        let (site, names) = draw_site(text, dice)?;
        let scenario = draw_scenario(kind, dice)?;
        Ok(Self { site, plant: Plant::new(scenario, seed)?, names })
    }

    /// What the site sees now.
    pub(super) fn readings(&self, now: Timestamp) -> Vec<Reading> {
        let reading = |name: &str, unit: Unit, value: f64, timed: bool| {
            Some(Reading {
                name: self.names.get(name)?.clone(),
                value: Finite::new(value)?,
                unit,
                time: now,
                received: now,
                origin: Origin { timed, ..Origin::default() },
            })
        };
        let sensors = self.plant.sensors().into_iter();
        let signals = sensors.filter_map(|(spec, v)| reading(spec.name, spec.unit.parse().ok()?, v?, true));
        let settings = self.plant.supervision().setpoints.iter();
        let setpoints =
            settings.filter_map(|s| reading(s.spec.name, s.spec.unit.parse().ok()?, s.requested, false));
        signals.chain(setpoints).collect()
    }

    /// Sets a setpoint by the site's name for it.
    pub(super) fn command(&mut self, setpoint: &Name, to: f64) -> Result<()> {
        let own = self.names.iter().find(|(_, n)| *n == setpoint).map(|(own, _)| own.clone());
        let own = own.with_context(|| format!("no setpoint {setpoint}"))?;
        self.plant.command(&own, to).map_err(|e| anyhow!("{e}"))
    }
}

/// The site's text with names, limits and what there is changed; and the names.
fn draw_site(text: &str, dice: &mut Dice) -> Result<(Site, BTreeMap<String, Name>)> {
    let mut table: Table = text.parse()?;
    let mut names = BTreeMap::new();
    let hall = *dice.pick(&["hall", "room", "dh", "zone", "pod", "bay"]).context("no words")?;
    let style = dice.below(3);
    let mut rename = |own: &str, dice: &mut Dice| -> Result<String> {
        let new = if dice.often(0.6) { spelled(own, hall, style) } else { own.to_owned() };
        names.insert(own.to_owned(), new.parse::<Name>().map_err(|e| anyhow!("{e}"))?);
        Ok(new)
    };
    let signals = table.get_mut("signal").and_then(Value::as_array_mut).context("no signals")?;
    signals.retain(|s| {
        let required = s.get("required").and_then(Value::as_bool) == Some(true);
        let role = s.get("role").and_then(Value::as_str).unwrap_or_default();
        let kept = matches!(role, "it_inlet" | "liquid_supply" | "bath" | "it_load" | "cooling_power");
        required || kept || !dice.often(0.3)
    });
    for s in signals.iter_mut() {
        let own = s.get("name").and_then(Value::as_str).context("a signal without a name")?.to_owned();
        let new = rename(&own, dice)?;
        let Some(s) = s.as_table_mut() else { continue };
        s.insert("name".to_owned(), Value::String(new));
        if let Some(Value::Array(band)) = s.get_mut("band") {
            let by = (dice.between(-1.0, 1.0) * 2.0).round() / 2.0;
            if let Some(top) = band.get_mut(1)
                && let Some(was) = top.as_float().or_else(|| top.as_integer().map(|i| i as f64))
            {
                *top = Value::Float(was + by);
            }
        }
    }
    let setpoints = table.get_mut("setpoint").and_then(Value::as_array_mut).context("no setpoints")?;
    while setpoints.len() > 1 && dice.often(0.2) {
        setpoints.remove(dice.below(setpoints.len()));
    }
    for s in setpoints.iter_mut() {
        let own = s.get("name").and_then(Value::as_str).context("a setpoint without a name")?.to_owned();
        let new = rename(&own, dice)?;
        let Some(s) = s.as_table_mut() else { continue };
        s.insert("name".to_owned(), Value::String(new));
        // A narrower range, in whole steps.
        let number =
            |v: Option<&Value>| v.and_then(|v| v.as_float().or_else(|| v.as_integer().map(|i| i as f64)));
        let (min, max, step) = (number(s.get("min")), number(s.get("max")), number(s.get("step")));
        if let (Some(min), Some(max), Some(step)) = (min, max, step) {
            let cut = (dice.between(0.0, 0.15) * (max - min) / step).round() * step;
            s.insert("max".to_owned(), Value::Float(max - cut));
        }
    }
    table.remove("link");
    if let Some(Value::Table(envelope)) = table.get_mut("envelope") {
        // Limits that name signals.
        envelope.retain(|key, _| !matches!(key, "min_flow" | "min_diff_pressure"));
    }
    table.remove("model");
    table.insert("controller".to_owned(), Value::String("mpc".to_owned()));
    let text = toml::to_string(&table)?;
    let site = site::parse(&text, Path::new("drawn site"))?;
    Ok((site, names))
}

/// Another way to write a name.
fn spelled(own: &str, hall: &str, style: usize) -> String {
    let short = |name: &str| {
        let pairs = [
            ("hall_a", format!("{hall}_1")),
            ("hall_b", format!("{hall}_2")),
            ("inlet_max", "in_hot".to_owned()),
            ("outdoor_", "oa_".to_owned()),
            ("facility_supply", "fws".to_owned()),
            ("cdu_supply", "tcs_supply".to_owned()),
            ("cooling_power", "cool_kw".to_owned()),
            ("it_load", "it_kw".to_owned()),
            ("drycooler", "dc".to_owned()),
            ("gpu_temp_max", "gpu_hot".to_owned()),
            ("crah", "ahu".to_owned()),
            ("bath_a", "tank_1".to_owned()),
            ("bath_b", "tank_2".to_owned()),
        ];
        pairs.iter().fold(name.to_owned(), |text, (from, to)| text.replace(from, to))
    };
    let ending = |name: String, new: &str| match name.strip_suffix("_sp") {
        Some(stem) => format!("{stem}{new}"),
        None => name,
    };
    match style {
        0 => ending(own.replace("hall", hall), "_setpoint"),
        1 => short(own),
        _ => ending(short(own), "_set").replace("_max", "_top"),
    }
}

/// A plant's scenario: parameters up to 40 % off, any season, weather and work.
fn draw_scenario(kind: &str, dice: &mut Dice) -> Result<Scenario> {
    let (_, base) =
        SHIPPED.iter().find(|(n, _)| *n == kind).with_context(|| format!("no scenario {kind}"))?;
    let mut table: Table = base.parse()?;
    if let Some(plant) = table.get_mut("plant") {
        alter(plant, false, dice);
    }
    let (month, day, hour) = (1 + dice.below(12), 1 + dice.below(28), dice.below(24));
    table.insert("start".to_owned(), Value::String(format!("2025-{month:02}-{day:02}T{hour:02}:00:00Z")));
    if let Some(Value::Table(weather)) = table.get_mut("weather") {
        weather.insert("mean".to_owned(), Value::Float(dice.between(3.0, 22.0)));
        weather.insert("seasonal".to_owned(), Value::Float(dice.between(3.0, 14.0)));
    }
    if let Some(Value::Array(list)) = table.get_mut("workload") {
        for work in list.iter_mut() {
            *work = Value::Table(draw_work(dice));
        }
    }
    let scenario = Scenario::parse(kind, &toml::to_string(&table)?)?;
    ensure!(scenario.settle_h >= 0.0, "no time to settle");
    Ok(scenario)
}

fn draw_work(dice: &mut Dice) -> Table {
    let mut work = Table::new();
    let mut put =
        |key: &str, value: f64| work.insert(key.to_owned(), Value::Float((value * 1e3).round() / 1e3));
    if dice.often(0.5) {
        put("compute", 1.0);
        put("exchange", dice.between(0.6, 0.9));
        put("checkpoint", dice.between(0.2, 0.5));
        put("between", dice.between(0.05, 0.3));
        put("step_s", dice.between(4.0, 12.0));
        put("exchange_s", 2.0);
        put("checkpoint_every_min", dice.between(20.0, 90.0));
        put("checkpoint_s", dice.between(30.0, 150.0));
        put("job_h", dice.between(0.7, 6.0));
        put("gap_h", dice.between(0.2, 1.5));
        work.insert("kind".to_owned(), Value::String("training".to_owned()));
    } else {
        put("night", dice.between(0.15, 0.5));
        put("day", dice.between(0.5, 0.95));
        put("busiest_h", dice.between(9.0, 20.0));
        put("bursts_per_h", dice.between(0.3, 3.0));
        put("burst_height", dice.between(0.05, 0.4));
        put("burst_decay_min", dice.between(4.0, 30.0));
        work.insert("kind".to_owned(), Value::String("inference".to_owned()));
    }
    work
}

/// Conductances, capacities, masses, flows and rated powers; not limits, counts and control settings.
fn alter(value: &mut Value, physical: bool, dice: &mut Dice) {
    const KEYS: [&str; 10] = [
        "ua",
        "rated_kw",
        "rated_kg_s",
        "air_kg",
        "coil_kv",
        "package_k_w",
        "sink_k_w",
        "merkel_c",
        "bypass",
        "recirculation",
    ];
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let physical =
                    KEYS.contains(&key.as_str()) || key.ends_with("_kj_k") || key.ends_with("_pump_kw");
                alter(value, physical, dice);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|v| alter(v, physical, dice)),
        Value::Float(number) if physical => *number *= dice.between(0.6, 1.4),
        Value::Integer(number) if physical => *value = Value::Float(*number as f64 * dice.between(0.6, 1.4)),
        Value::Float(_) | Value::Integer(_) | Value::String(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}
