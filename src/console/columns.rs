//! The columns that trends, reports and replays are made of: signals and setpoints by name, and what follows from
//! them; and the row of them that a frame is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::power::Power;
use crate::frame::{Frame, Quality};
use crate::site::{Role, Site};
use crate::units::{DegC, Finite, RelHumidity, dew_point};

/// The columns of the tape: signals and setpoints by name, and what follows from them.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    pub(super) it: Option<Power>,
    pub(super) cooling: Option<Power>,
    pub(super) facility: Option<Power>,
    dew: Option<Dew>,
}

/// Where the signals are that tell the dew point of the rooms.
#[derive(Clone, Debug)]
struct Dew {
    direct: Vec<usize>,
    air: Vec<usize>,
    humidity: Vec<usize>,
}

/// Facility power over IT power.
const PUE: &str = "pue";
/// The highest dew point of the rooms, where a setpoint has to stay above it.
const DEW_POINT: &str = "dew_point";
/// 1 while the agent has the plant.
const IN_CHARGE: &str = "in_charge";

#[derive(Deserialize)]
struct FrameBody {
    frame: Values,
    heartbeat: Option<u16>,
}

#[derive(Deserialize)]
struct Values {
    time: Timestamp,
    signals: BTreeMap<String, Value>,
    setpoints: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Value {
    value: Option<f32>,
    quality: Quality,
}

/// The good values of one frame, in the order of the columns.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Row {
    /// Seconds since 1970.
    pub(super) t: f64,
    pub(super) v: Vec<Option<f32>>,
}

impl Columns {
    pub(super) fn new(site: &Site) -> Self {
        let signals = site.signals.iter().map(|s| s.name.to_string());
        let setpoints = site.setpoints.iter().map(|s| s.name.to_string());
        let mut names: Vec<String> = signals.chain(setpoints).collect();
        let power = |role| Power::of(site, role);
        let (it, facility) = (power(Role::ItLoad), power(Role::FacilityPower));
        if facility.is_some() && it.is_some() {
            names.push(PUE.to_owned());
        }
        let dew = Dew::of(site);
        if dew.is_some() {
            names.push(DEW_POINT.to_owned());
        }
        names.push(IN_CHARGE.to_owned());
        Self { names, it, cooling: power(Role::CoolingPower), facility, dew }
    }

    pub(super) fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    pub(super) fn in_charge(&self) -> usize {
        self.names.len() - 1
    }

    /// What a frame's record says; `None` when it is not one.
    pub(super) fn read(&self, body: &str) -> Option<Row> {
        let body: FrameBody = serde_json::from_str(body).ok()?;
        let good = |name: &String| {
            let sample = body.frame.signals.get(name).or_else(|| body.frame.setpoints.get(name))?;
            sample.value.filter(|_| sample.quality == Quality::Good)
        };
        let in_charge = if body.heartbeat.is_some() { 1.0 } else { 0.0 };
        Some(self.row(body.frame.time, Some(in_charge), good))
    }

    /// A frame that was recorded by somebody else: nobody knows who had the plant.
    pub(super) fn of(&self, frame: &Frame) -> Row {
        let good = |name: &String| Some(frame.good(&name.parse().ok()?)?.get() as f32);
        self.row(frame.time, None, good)
    }

    fn row(&self, time: Timestamp, in_charge: Option<f32>, good: impl Fn(&String) -> Option<f32>) -> Row {
        let v = self.names.iter().map(good).collect();
        let mut row = Row { t: time.as_millisecond() as f64 / 1e3, v };
        let kw = |power: &Option<Power>| power.as_ref().and_then(|p| row.kw(p));
        let pue = kw(&self.facility).zip(kw(&self.it)).and_then(|(f, it)| (it > 0.0).then_some(f / it));
        let dew = self.dew.as_ref().and_then(|d| d.point(&row));
        // What follows from others stands after them, in this order.
        let mut last = row.v.iter_mut().rev();
        let derived = [
            Some(in_charge),
            self.dew.as_ref().map(|_| dew.map(|v| v as f32)),
            self.facility.as_ref().zip(self.it.as_ref()).map(|_| pue.map(|v| v as f32)),
        ];
        for value in derived.into_iter().flatten() {
            if let Some(cell) = last.next() {
                *cell = value;
            }
        }
        row
    }
}

impl Dew {
    /// `None` where nothing measures it, or nothing has to stay above it.
    fn of(site: &Site) -> Option<Self> {
        let bound = site.setpoints.iter().any(|s| site.in_white_space(s));
        let places = |role| {
            let with_role = site.signals.iter().enumerate().filter(move |(_, s)| s.role == Some(role));
            with_role.map(|(i, _)| i).collect()
        };
        (bound && site.measures_dew_point()).then(|| Self {
            direct: places(Role::RoomDewPoint),
            air: places(Role::RoomDryBulb),
            humidity: places(Role::RoomHumidity),
        })
    }

    /// The highest that good values tell; `None` as soon as one of them is missing.
    fn point(&self, row: &Row) -> Option<f64> {
        let highest = |places: &[usize]| {
            let values: Option<Vec<f64>> = places.iter().map(|p| row.at(*p)).collect();
            Some(values?.into_iter().reduce(f64::max))
        };
        let (direct, air, humidity) = (highest(&self.direct)?, highest(&self.air)?, highest(&self.humidity)?);
        let derived = match air.zip(humidity) {
            Some((air, humidity)) => {
                let humidity = RelHumidity::new(Finite::new(humidity.clamp(1.0, 100.0))?)?;
                Some(dew_point(DegC::new(Finite::new(air)?), humidity)?.get().get())
            }
            None => None,
        };
        direct.into_iter().chain(derived).reduce(f64::max)
    }
}

impl Row {
    pub(super) fn at(&self, place: usize) -> Option<f64> {
        self.v.get(place).copied().flatten().map(f64::from)
    }

    pub(super) fn kw(&self, power: &Power) -> Option<f64> {
        power.kw(|place| self.at(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubtful_values_are_no_values() {
        let site = crate::site::shipped("air");
        let columns = Columns::new(&site);
        let body = r#"{"frame":{"time":"2026-01-01T00:00:00Z","signals":{
            "it_load":{"value":100.0,"unit":"kW","quality":"good"},
            "chws":{"value":7.0,"unit":"degC","quality":"suspect"},
            "facility_power":{"value":150.0,"unit":"kW","quality":"good"}},
            "setpoints":{"chws_sp":{"value":8.0,"unit":"degC","quality":"good"}}},"heartbeat":4}"#;
        let row = columns.read(body).unwrap();
        let at = |name| row.v[columns.place(name).unwrap()];
        assert_eq!((at("it_load"), at("chws"), at("chws_sp")), (Some(100.0), None, Some(8.0)));
        assert_eq!((at("pue"), at("in_charge")), (Some(1.5), Some(1.0)));
        assert_eq!(columns.read("{}"), None);
    }

    /// Frontier measures its load in 25 loops: the sum of 24 is not known to be the load.
    #[test]
    fn power_is_that_of_all_signals_of_its_role_or_unknown() {
        let site = crate::site::shipped("frontier");
        let columns = Columns::new(&site);
        let it = columns.it.as_ref().unwrap();
        let loops: Vec<usize> = it.places().collect();
        assert_eq!(loops.len(), 25);
        let mut row = Row { t: 0.0, v: vec![None; columns.names.len()] };
        for place in &loops {
            row.v[*place] = Some(100.0);
        }
        assert_eq!(row.kw(it), Some(2500.0));
        row.v[loops[24]] = None;
        assert_eq!(row.kw(it), None);
    }

    #[test]
    fn pue_is_over_the_load_of_all_loops() {
        let mut site = crate::site::shipped("air");
        let mut second = site.with_role(Role::ItLoad).next().unwrap().clone();
        second.name = "it_load_b".parse().unwrap();
        site.signals.push(second);
        let columns = Columns::new(&site);
        let good = |name: &String| match name.as_str() {
            "it_load" | "it_load_b" => Some(100.0),
            "facility_power" => Some(300.0),
            _ => None,
        };
        let row = columns.row(Timestamp::UNIX_EPOCH, None, good);
        assert_eq!(row.at(columns.place("pue").unwrap()), Some(1.5));
    }
}
