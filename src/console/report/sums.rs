//! Sums over the records of a day or a month.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::columns::{Columns, Row};
use super::super::feed;
use super::super::power::Power;
use crate::audit::{self, Kind, Record};
use crate::site::Site;
use crate::units::Unit;

/// Between two frames further apart than so many sample periods nothing is known, and nothing is counted.
const GAP_SAMPLES: f64 = 3.0;
/// The most acts and alarms that a page lists; all are counted.
const LISTED: usize = 200;

/// Energy of one kind of power, summed over the time for which both ends of a step are known.
struct Energy {
    key: &'static str,
    power: Power,
    kwh: f64,
    hours: f64,
}

/// Facility energy over IT energy, both of the time for which both are known: ratios of different hours mean
/// nothing.
struct Pue {
    facility: Power,
    it: Power,
    facility_kwh: f64,
    it_kwh: f64,
    hours: f64,
}

/// How a signal with a band kept to it.
struct Watched {
    name: String,
    unit: Unit,
    band: [f64; 2],
    place: usize,
    count: f64,
    mean: f64,
    /// Sum of squared distances from the mean.
    square: f64,
    min: f64,
    max: f64,
    /// Distance beyond the band times hours.
    over: f64,
    under: f64,
    hours_outside: f64,
}

impl Pue {
    fn ratio(&self) -> Option<f64> {
        (self.it_kwh > 0.0).then(|| self.facility_kwh / self.it_kwh)
    }
}

pub(super) struct Sums {
    /// The period, in seconds since 1970.
    bounds: Range<f64>,
    sample_s: f64,
    in_charge: usize,
    energies: Vec<Energy>,
    pue: Option<Pue>,
    watched: Vec<Watched>,
    last: Option<Row>,
    frames: u64,
    covered_h: f64,
    in_charge_h: f64,
    decisions: u64,
    by: BTreeMap<String, u64>,
    replaced: BTreeMap<String, u64>,
    rules: BTreeMap<String, u64>,
    interventions: u64,
    checked: u64,
    verified: u64,
    written: u64,
    not_confirmed: u64,
    acts: Vec<Value>,
    alarms: Vec<Value>,
    starts: u64,
}

impl Sums {
    /// Of a period that begins and ends at these times.
    pub(super) fn new(site: &Site, columns: &Columns, from: Timestamp, to: Timestamp) -> Self {
        let seconds = |t: Timestamp| t.as_millisecond() as f64 / 1e3;
        let powers =
            [("it_kwh", &columns.it), ("cooling_kwh", &columns.cooling), ("facility_kwh", &columns.facility)];
        let energies = powers
            .into_iter()
            .filter_map(|(key, power)| Some(Energy { key, power: power.clone()?, kwh: 0.0, hours: 0.0 }));
        let pue = columns.facility.clone().zip(columns.it.clone()).map(|(facility, it)| Pue {
            facility,
            it,
            facility_kwh: 0.0,
            it_kwh: 0.0,
            hours: 0.0,
        });
        let watched = site.signals.iter().filter_map(|s| {
            let [low, high] = s.band?;
            Some(Watched {
                name: s.name.to_string(),
                unit: s.unit,
                band: [low.get(), high.get()],
                place: columns.place(s.name.as_str())?,
                count: 0.0,
                mean: 0.0,
                square: 0.0,
                min: f64::INFINITY,
                max: f64::NEG_INFINITY,
                over: 0.0,
                under: 0.0,
                hours_outside: 0.0,
            })
        });
        Self {
            bounds: seconds(from)..seconds(to),
            sample_s: site.sample.as_secs_f64(),
            in_charge: columns.in_charge(),
            energies: energies.collect(),
            pue,
            watched: watched.collect(),
            last: None,
            frames: 0,
            covered_h: 0.0,
            in_charge_h: 0.0,
            decisions: 0,
            by: BTreeMap::new(),
            replaced: BTreeMap::new(),
            rules: BTreeMap::new(),
            interventions: 0,
            checked: 0,
            verified: 0,
            written: 0,
            not_confirmed: 0,
            acts: Vec::new(),
            alarms: Vec::new(),
            starts: 0,
        }
    }

    /// A frame in order of time. The last one before the period and the first one after it bring the parts of
    /// their steps that lie within.
    pub(super) fn frame(&mut self, row: &Row) {
        if let Some(last) = self.last.take() {
            self.step(&last, row);
        }
        self.last = Some(row.clone());
        if !self.bounds.contains(&row.t) {
            return;
        }
        self.frames += 1;
        for w in &mut self.watched {
            if let Some(v) = row.at(w.place) {
                w.count += 1.0;
                let before = v - w.mean;
                w.mean += before / w.count;
                w.square += before * (v - w.mean);
                w.min = w.min.min(v);
                w.max = w.max.max(v);
            }
        }
    }

    /// From one frame to the next, as far as that is within the period: days share the step over their midnight.
    fn step(&mut self, last: &Row, row: &Row) {
        let seconds = row.t - last.t;
        let (from, to) = (last.t.max(self.bounds.start), row.t.min(self.bounds.end));
        if seconds <= 0.0 || seconds > GAP_SAMPLES * self.sample_s || to <= from {
            return;
        }
        let hours = (to - from) / 3600.0;
        let middle = (f64::midpoint(from, to) - last.t) / seconds;
        let kw = |power: &Power| {
            let (a, b) = last.kw(power).zip(row.kw(power))?;
            Some(a + (b - a) * middle)
        };
        self.covered_h += hours;
        self.in_charge_h += hours * last.at(self.in_charge).unwrap_or(0.0);
        for e in &mut self.energies {
            if let Some(kw) = kw(&e.power) {
                e.kwh += kw * hours;
                e.hours += hours;
            }
        }
        if let Some(p) = &mut self.pue
            && let Some((facility, it)) = kw(&p.facility).zip(kw(&p.it))
        {
            p.facility_kwh += facility * hours;
            p.it_kwh += it * hours;
            p.hours += hours;
        }
        for w in &mut self.watched {
            if let Some(v) = row.at(w.place) {
                let (under, over) = ((w.band[0] - v).max(0.0), (v - w.band[1]).max(0.0));
                w.under += under * hours;
                w.over += over * hours;
                w.hours_outside += if under + over > 0.0 { hours } else { 0.0 };
            }
        }
    }

    pub(super) fn other(&mut self, record: &Record) {
        let item = feed::item(record);
        match record.kind {
            Kind::Decision => self.decision(&item),
            Kind::Outcome => {
                let writes = item["writes"].as_array().into_iter().flatten();
                for write in writes.filter(|w| w["target"]["setpoint"].is_string()) {
                    match write["result"].as_str() {
                        Some("applied") => self.written += 1,
                        Some("skipped") => {}
                        _ => self.not_confirmed += 1,
                    }
                }
            }
            Kind::Operator => self.acts.push(item),
            Kind::Event => {
                if item["alarm"] == true {
                    self.alarms.push(item);
                }
            }
            Kind::Start => self.starts += 1,
            Kind::Frame | Kind::Candidate | Kind::Stop => {}
        }
    }

    fn decision(&mut self, item: &Value) {
        self.decisions += 1;
        let verdict = &item["verdict"];
        let count = |map: &mut BTreeMap<String, u64>, key: &Value| {
            if let Some(key) = key.as_str() {
                *map.entry(key.to_owned()).or_default() += 1;
            }
        };
        count(&mut self.by, &verdict["by"]);
        count(&mut self.replaced, &item["replaced"]);
        // Two setpoints held by one rule are one decision that it changed.
        for rule in audit::rules(verdict) {
            *self.rules.entry(rule.to_owned()).or_default() += 1;
        }
        self.interventions += u64::from(verdict["intervened"] == true);
        if let Some(verified) = item["claims"]["verified"].as_bool() {
            self.checked += 1;
            self.verified += u64::from(verified);
        }
    }

    pub(super) fn has_frames(&self) -> bool {
        self.frames > 0
    }

    /// One line of a table of days.
    pub(super) fn line(&self) -> Value {
        let energy: BTreeMap<&str, f64> =
            self.energies.iter().filter(|e| e.hours > 0.0).map(|e| (e.key, e.kwh)).collect();
        let pue = self.pue.as_ref().and_then(Pue::ratio);
        json!({ "energy": energy, "pue": pue, "covered_h": self.covered_h, "in_charge_h": self.in_charge_h,
            "outside_h": self.watched.iter().map(|w| w.hours_outside).fold(0.0, f64::max),
            "decisions": self.decisions, "interventions": self.interventions, "alarms": self.alarms.len() })
    }

    pub(super) fn done(mut self) -> Value {
        let energy: BTreeMap<&str, Value> = self
            .energies
            .iter()
            .filter(|e| e.hours > 0.0)
            .map(|e| (e.key, json!({ "kwh": e.kwh, "hours": e.hours })))
            .collect();
        let watched: Vec<Value> = self
            .watched
            .iter()
            .filter(|w| w.count > 0.0)
            .map(|w| {
                json!({ "signal": w.name, "unit": w.unit, "band": w.band, "mean": w.mean,
                    "rms": (w.square / w.count).sqrt(), "min": w.min, "max": w.max, "over": w.over,
                    "under": w.under, "hours_outside": w.hours_outside })
            })
            .collect();
        let (acts, alarms) = (self.acts.len(), self.alarms.len());
        self.acts.truncate(LISTED);
        self.alarms.truncate(LISTED);
        json!({
            "frames": self.frames,
            "covered_h": self.covered_h,
            "in_charge_h": self.in_charge_h,
            "starts": self.starts,
            "energy": energy,
            "pue": self.pue.as_ref().and_then(|p| Some(json!({ "ratio": p.ratio()?, "hours": p.hours }))),
            "watched": watched,
            "decisions": { "count": self.decisions, "by": self.by, "replaced": self.replaced,
                "interventions": self.interventions, "rules": self.rules,
                "checked": self.checked, "verified": self.verified },
            "writes": { "applied": self.written, "not_confirmed": self.not_confirmed },
            "acts": { "count": acts, "listed": self.acts },
            "alarms": { "count": alarms, "listed": self.alarms },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        crate::site::shipped("air")
    }

    /// An hour at 100 kW, a gap of an hour, and an hour at 200 kW, half of it a kelvin too warm.
    #[test]
    fn energy_and_violations_are_those_of_the_time_that_is_known() {
        let site = site();
        let columns = Columns::new(&site);
        let mut sums = sums_of(&site, &columns);
        for (begin, kw, warm) in [(0, 100.0, 27.0), (7200, 200.0, 28.0)] {
            for i in 0..=240 {
                let mut v = vec![None; columns.names.len()];
                v[columns.place("it_load").unwrap()] = Some(kw);
                let inlet = if i <= 120 { 25.0 } else { warm };
                v[columns.place("hall_a_inlet_max").unwrap()] = Some(inlet);
                v[columns.in_charge()] = Some(if begin == 0 { 1.0 } else { 0.0 });
                sums.frame(&Row { t: f64::from(begin + i * 15), v });
            }
        }
        let done = sums.done();
        let near = |v: &Value, expected: f64| {
            assert!((v.as_f64().unwrap() - expected).abs() < 1e-6, "{v} instead of {expected}");
        };
        near(&done["energy"]["it_kwh"]["kwh"], 300.0);
        near(&done["covered_h"], 2.0);
        near(&done["in_charge_h"], 1.0);
        assert!(done["energy"].get("cooling_kwh").is_none(), "unknown is not 0");
        let inlet = &done["watched"][0];
        assert_eq!(inlet["signal"], "hall_a_inlet_max");
        near(&inlet["over"], 0.5);
        near(&inlet["hours_outside"], 0.5);
        near(&inlet["under"], 0.0);
        near(&inlet["max"], 28.0);
    }

    fn sums_of(site: &Site, columns: &Columns) -> Sums {
        Sums::new(site, columns, Timestamp::UNIX_EPOCH, "1970-01-02T00:00:00Z".parse().unwrap())
    }

    /// Two hours, in the second of which the facility's meter is silent while the load is another.
    #[test]
    fn pue_is_of_the_time_for_which_both_powers_are_known() {
        let site = site();
        let columns = Columns::new(&site);
        let mut sums = sums_of(&site, &columns);
        for i in 0..=480_u16 {
            let mut v = vec![None; columns.names.len()];
            let first = i <= 240;
            v[columns.place("it_load").unwrap()] = Some(if first { 100.0 } else { 300.0 });
            v[columns.place("facility_power").unwrap()] = first.then_some(150.0);
            sums.frame(&Row { t: f64::from(i) * 15.0, v });
        }
        assert!((sums.line()["pue"].as_f64().unwrap() - 1.5).abs() < 1e-9, "{}", sums.line());
        let done = sums.done();
        assert!((done["pue"]["ratio"].as_f64().unwrap() - 1.5).abs() < 1e-9, "{}", done["pue"]);
        assert!((done["pue"]["hours"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{}", done["pue"]);
    }

    #[test]
    fn it_energy_is_that_of_all_loops() {
        let mut site = site();
        let mut second = site.with_role(crate::site::Role::ItLoad).next().unwrap().clone();
        second.name = "it_load_b".parse().unwrap();
        site.signals.push(second);
        let columns = Columns::new(&site);
        let mut sums = sums_of(&site, &columns);
        for i in 0..=240_u16 {
            let mut v = vec![None; columns.names.len()];
            v[columns.place("it_load").unwrap()] = Some(100.0);
            v[columns.place("it_load_b").unwrap()] = Some(50.0);
            sums.frame(&Row { t: f64::from(i) * 15.0, v });
        }
        assert!((sums.line()["energy"]["it_kwh"].as_f64().unwrap() - 150.0).abs() < 1e-9, "{}", sums.line());
    }
}
