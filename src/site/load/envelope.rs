//! `[envelope]`: limits that people can have meant.

use std::collections::BTreeMap;

use super::check::Checker;
use super::spot::Spot;
use super::within::{DAY, HOUR, MINUTE, SECOND};
use crate::site::{Envelope, Name, Role, Site};
use crate::units::{Finite, Kelvin, Unit};

/// The allowable inlet of the widest class of IT equipment, ASHRAE TC 9.9's A4.
const WIDEST_INLET: [f64; 2] = [5.0, 45.0];

impl Checker {
    pub(super) fn envelope(&mut self, site: &Site) {
        let e = &site.envelope;
        let envelope = Spot::key("envelope");
        self.inlet(&envelope, e);
        // A limit that is left out is in its range.
        let or = |value: Option<Finite>, lowest: f64| value.map_or(lowest, Finite::get);
        self.numbers(
            &envelope,
            "degC",
            &[
                (
                    "liquid_allowable",
                    or(e.liquid_allowable, 10.0),
                    10.0,
                    80.0,
                    "liquid that cools IT is no colder than a room's dew point and no hotter than its chips",
                ),
                (
                    "chip_allowable",
                    or(e.chip_allowable, 40.0),
                    40.0,
                    130.0,
                    "chips throttle near 100 degC, and below 40 degC none has to be saved",
                ),
            ],
        );
        self.numbers(
            &envelope,
            "K",
            &[
                (
                    "dew_margin",
                    e.dew_margin.get().get(),
                    2.0,
                    15.0,
                    "at least 2 K above the dew point, or pipes sweat; with more than 15 K nothing is cooled",
                ),
                (
                    "min_approach",
                    or(e.min_approach.map(Kelvin::get), 0.0),
                    0.0,
                    20.0,
                    "an exchanger's liquid leaves it no colder than its facility water comes",
                ),
                (
                    "inlet_ramp_15min",
                    e.inlet_ramp_15min.get().get(),
                    0.1,
                    20.0,
                    "TC 9.9 allows 5 K in 15 min and 20 K in an hour",
                ),
            ],
        );
        self.numbers(
            &envelope,
            "K or units",
            &[(
                "twin_tolerance",
                e.twin_tolerance.get(),
                0.01,
                1000.0,
                "sensors never agree to the last digit",
            )],
        );
        self.numbers(
            &envelope,
            "% of the range",
            &[
                ("warming_pct_5min", e.warming_pct_5min.get(), 0.01, 100.0, "0 would never move a setpoint"),
                ("cooling_pct_5min", e.cooling_pct_5min.get(), 0.01, 100.0, "0 would never move a setpoint"),
            ],
        );
        self.times(
            &envelope,
            &[
                (
                    "manual_hold",
                    e.manual_hold,
                    MINUTE,
                    DAY * 7,
                    "the agent would fight whoever is at the panel",
                ),
                ("twin_for", e.twin_for, SECOND, HOUR, "sensors that disagree for long are not both right"),
            ],
        );
        self.chillers(e);
        if !(5..=30).contains(&e.outlook.as_mins()) {
            let wrong = format!("expected 5min to 30min, as far as the twin looks, got {:#}", e.outlook);
            self.say(envelope.at("outlook"), wrong);
        }
        if !(0.0..=1.0).contains(&e.min_confidence.get()) {
            self.say(envelope.at("min_confidence"), "expected a probability from 0 to 1");
        }
        let flows = [Unit::LitrePerMinute, Unit::CubicMetrePerHour];
        self.minima(site, &envelope.at("min_flow"), &e.min_flow, flows);
        let pressures = [Unit::KilopascalGauge, Unit::Bar];
        self.minima(site, &envelope.at("min_diff_pressure"), &e.min_diff_pressure, pressures);
        self.seen(site);
    }

    fn inlet(&mut self, envelope: &Spot, e: &Envelope) {
        for (key, [low, high]) in
            [("inlet_recommended", e.inlet_recommended), ("inlet_allowable", e.inlet_allowable)]
        {
            if low >= high {
                self.say(envelope.at(key), format!("expected [lowest, highest], got [{low}, {high}]"));
            }
            let [least, most] = WIDEST_INLET;
            let why = "no IT equipment is made for more (ASHRAE TC 9.9, class A4)";
            self.numbers(
                envelope,
                "degC",
                &[(key, low.get(), least, most, why), (key, high.get(), least, most, why)],
            );
        }
        let [lowest, highest] = e.inlet_allowable;
        if lowest > e.inlet_recommended[0] || highest < e.inlet_recommended[1] {
            self.say(envelope.at("inlet_allowable"), "expected a band that contains inlet_recommended");
        }
        let least = e.inlet_recommended[0];
        self.numbers(
            envelope,
            "degC",
            &[
                (
                    "no_warming_at",
                    e.no_warming_at.get(),
                    least.get(),
                    highest.get(),
                    "from the lowest recommended to the highest allowable inlet; outside, the rule would hold always or never",
                ),
                (
                    "cool_at",
                    e.cool_at.get(),
                    e.no_warming_at.get(),
                    highest.get(),
                    "from no_warming_at to the highest allowable inlet, above which everything cools already",
                ),
            ],
        );
    }

    fn chillers(&mut self, e: &Envelope) {
        let chiller = Spot::key("envelope.chiller");
        let why = "compressors wear out by starting; their own limits win";
        self.times(
            &chiller,
            &[
                ("min_run", e.chiller.min_run, MINUTE, HOUR * 6, why),
                ("min_off", e.chiller.min_off, MINUTE, HOUR * 6, why),
            ],
        );
        let starts = f64::from(e.chiller.max_starts_per_hour);
        self.numbers(&chiller, "an hour", &[("max_starts_per_hour", starts, 1.0, 60.0, why)]);
    }

    /// Signals that measure what is limited, and limits that they can fall below and come up to again.
    fn minima(&mut self, site: &Site, of: &Spot, minima: &BTreeMap<Name, Finite>, units: [Unit; 2]) {
        for (name, least) in minima {
            let of = of.at(name.as_str());
            let Some(signal) = site.signal(name) else {
                self.say(of, format!("there is no signal \"{name}\""));
                continue;
            };
            if !units.contains(&signal.unit) {
                let [a, b] = units;
                self.say(of, format!("is a signal in {}: expected one in {a} or {b}", signal.unit));
            } else if *least <= Finite::ZERO || *least >= signal.range[1] {
                let most = signal.range[1];
                self.say(
                    of,
                    format!("expected more than 0 and less than {most} {}, the end of the signal's range, got {least}", signal.unit),
                );
            }
        }
    }

    /// The rules need to see how warm the IT is, and the dew point of what could sweat.
    fn seen(&mut self, site: &Site) {
        let wet = site.setpoints.iter().enumerate().find(|(_, s)| site.in_white_space(s));
        if let Some((i, s)) = wet.filter(|_| !site.measures_dew_point()) {
            self.say(
                Spot::entry("setpoint", i, &s.name).at("role"),
                "liquid in the white space needs the room's dew point: add a signal with role room_dew_point, or both room_humidity and room_dry_bulb",
            );
        }
        let has = |role| site.with_role(role).next().is_some();
        if ![Role::ItInlet, Role::LiquidSupply, Role::Bath, Role::ChipTemp].into_iter().any(has) {
            self.say(
                Spot::key("signal.role"),
                "no signal says how warm the IT is: give at least one the role it_inlet, liquid_supply, bath or chip_temp",
            );
        }
    }
}
