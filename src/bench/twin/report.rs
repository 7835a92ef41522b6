//! Sums over windows, and the tables made of them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Behaviour, Parameters};
use crate::bench::control::rig::CONTROLLED;
use crate::site::Role;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    pub(super) plant: &'static str,
    pub(super) parameters: Parameters,
    pub(super) behaviour: Behaviour,
    pub(super) role: Role,
    pub(super) minutes: u32,
}

/// Sums over windows.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sums {
    pub(super) n: f64,
    pub(super) twin: f64,
    pub(super) stays: f64,
    pub(super) told: f64,
    pub(super) within: [f64; 2],
    /// Where another future was tried: what chance makes of it, and "it stays as it is".
    pub(super) chance: [f64; 2],
    pub(super) moving: [f64; 3],
}

impl Sums {
    pub(super) fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.twin += other.twin;
        self.stays += other.stays;
        self.told += other.told;
        self.within.iter_mut().zip(other.within).for_each(|(a, b)| *a += b);
        self.chance.iter_mut().zip(other.chance).for_each(|(a, b)| *a += b);
        self.moving.iter_mut().zip(other.moving).for_each(|(a, b)| *a += b);
    }
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) sums: BTreeMap<Key, Sums>,
    pub(super) candidate: (f64, f64),
    pub(super) update: (f64, f64),
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub plant: &'static str,
    pub parameters: Parameters,
    pub behaviour: Behaviour,
    pub role: Role,
    pub minutes: u32,
    pub windows: u64,
    pub rmse: f64,
    pub rmse_persistence: f64,
    /// How much smaller the twin's error is, %.
    pub better_pct: f64,
    /// The same had it been told the load to come.
    pub told_better_pct: f64,
    /// The same of whoever knows the plant and its state, but not what chance will bring.
    pub possible_better_pct: Option<f64>,
    /// The same over windows in which a setpoint moves, from 15 min before to the horizon.
    pub moving_better_pct: Option<f64>,
    /// Share of errors within one and two of the standard deviations given, %.
    pub within_1_sigma_pct: f64,
    pub within_2_sigma_pct: f64,
}

/// Means of the relative errors over plants, at 15 min.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Summary {
    pub parameters: Parameters,
    pub behaviour: Behaviour,
    /// Of the one temperature of each plant that is controlled, the one whose stability `bench control` measures.
    pub controlled_better_pct: f64,
    pub controlled_told_better_pct: f64,
    pub controlled_possible_better_pct: f64,
    /// Of all temperatures that setpoints reach ([`REACHED`]).
    pub better_pct: f64,
    pub told_better_pct: f64,
    pub possible_better_pct: f64,
    pub moving_better_pct: f64,
    pub power_better_pct: f64,
    pub power_possible_better_pct: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub summary: Vec<Summary>,
    /// Time of one candidate, microseconds.
    pub candidate_us: f64,
    pub update_us: f64,
}

/// Temperatures that setpoints reach.
const REACHED: [Role; 7] = [
    Role::ItInlet,
    Role::Chws,
    Role::CrahSupply,
    Role::LiquidSupply,
    Role::FacilitySupply,
    Role::Bath,
    Role::ChipTemp,
];

fn reached(plant: &str, role: Role) -> bool {
    // Air inlets of the liquid plant follow the room, which no setpoint reaches.
    REACHED.contains(&role) && !(plant == "liquid" && role == Role::ItInlet)
}

pub(super) fn report(found: &Found) -> Report {
    let root = |sum: f64, n: f64| (sum / n.max(1.0)).sqrt();
    let better = |twin: f64, stays: f64| 100.0 * (1.0 - (twin / stays.max(1e-12)).sqrt());
    let rows: Vec<Row> = found
        .sums
        .iter()
        .map(|(k, s)| Row {
            plant: k.plant,
            parameters: k.parameters,
            behaviour: k.behaviour,
            role: k.role,
            minutes: k.minutes,
            windows: s.n as u64,
            rmse: root(s.twin, s.n),
            rmse_persistence: root(s.stays, s.n),
            better_pct: better(s.twin, s.stays),
            told_better_pct: better(s.told, s.stays),
            possible_better_pct: (s.chance[1] > 0.0).then(|| better(s.chance[0], s.chance[1])),
            moving_better_pct: (s.moving[0] > 0.0).then(|| better(s.moving[1], s.moving[2])),
            within_1_sigma_pct: 100.0 * s.within[0] / s.n,
            within_2_sigma_pct: 100.0 * s.within[1] / s.n,
        })
        .collect();
    let mut summary = Vec::new();
    for parameters in [Parameters::Shipped, Parameters::Changed] {
        for behaviour in [Behaviour::Steps, Behaviour::Trim] {
            let at_15 = || {
                rows.iter().filter(move |r| {
                    r.minutes == 15 && r.parameters == parameters && r.behaviour == behaviour
                })
            };
            let temperatures = || at_15().filter(|r| reached(r.plant, r.role));
            let has = |plant: &str, role: Role| at_15().any(|r| r.plant == plant && r.role == role);
            let controlled = || {
                at_15().filter(|r| Some(r.role) == CONTROLLED.into_iter().find(|role| has(r.plant, *role)))
            };
            let powers = || at_15().filter(|r| matches!(r.role, Role::CoolingPower | Role::FacilityPower));
            summary.push(Summary {
                parameters,
                behaviour,
                controlled_better_pct: mean(controlled().map(|r| r.better_pct)),
                controlled_told_better_pct: mean(controlled().map(|r| r.told_better_pct)),
                controlled_possible_better_pct: mean(controlled().filter_map(|r| r.possible_better_pct)),
                better_pct: mean(temperatures().map(|r| r.better_pct)),
                told_better_pct: mean(temperatures().map(|r| r.told_better_pct)),
                possible_better_pct: mean(temperatures().filter_map(|r| r.possible_better_pct)),
                moving_better_pct: mean(temperatures().filter_map(|r| r.moving_better_pct)),
                power_better_pct: mean(powers().map(|r| r.better_pct)),
                power_possible_better_pct: mean(powers().filter_map(|r| r.possible_better_pct)),
            });
        }
    }
    let us = |(seconds, n): (f64, f64)| 1e6 * seconds / n.max(1.0);
    Report { rows, summary, candidate_us: us(found.candidate), update_us: us(found.update) }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(s, n), v| (s + v, n + 1.0));
    if n > 0.0 { sum / n } else { 0.0 }
}

impl Report {
    /// Tables for people and documents.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut lines = vec![
            "| parameters | behaviour | the controlled temperature better at 15 min, % | had the load been told, % | possible, % | all temperatures better, % | had the load been told, % | possible, % | while setpoints move, % | powers better, % | possible, % |"
                .to_owned(),
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |".to_owned(),
        ];
        lines.extend(self.summary.iter().map(|s| {
            let names = [word(&s.parameters), word(&s.behaviour)].join(" | ");
            let numbers = [
                s.controlled_better_pct,
                s.controlled_told_better_pct,
                s.controlled_possible_better_pct,
                s.better_pct,
                s.told_better_pct,
                s.possible_better_pct,
                s.moving_better_pct,
                s.power_better_pct,
                s.power_possible_better_pct,
            ];
            format!("| {names} | {} |", numbers.map(|x| format!("{x:.1}")).join(" | "))
        }));
        lines.push(String::new());
        lines.push(
            "| plant | parameters | behaviour | role | min | RMSE | persistence | better, % | told, % | possible, % | moving, % | in 1 sigma, % | in 2 sigma, % |"
                .to_owned(),
        );
        lines.push(
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |".to_owned(),
        );
        lines.extend(self.rows.iter().map(|r| {
            let names = [word(&r.parameters), word(&r.behaviour), word(&r.role)].join(" | ");
            let shown = |pct: Option<f64>| pct.map_or("-".to_owned(), |p| format!("{p:.0}"));
            let [possible, moving] = [r.possible_better_pct, r.moving_better_pct].map(shown);
            let Row { plant, minutes, rmse, rmse_persistence, better_pct, told_better_pct, .. } = r;
            let [one, two] = [r.within_1_sigma_pct, r.within_2_sigma_pct];
            format!(
                "| {plant} | {names} | {minutes} | {rmse:.2} | {rmse_persistence:.2} | {better_pct:.0} | {told_better_pct:.0} | {possible} | {moving} | {one:.0} | {two:.0} |"
            )
        }));
        lines.push(format!(
            "\nOne candidate takes {:.1} us, one frame to learn from {:.1} us.\n",
            self.candidate_us, self.update_us
        ));
        lines.join("\n")
    }
}

/// As in JSON.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}
