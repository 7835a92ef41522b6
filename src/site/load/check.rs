//! What a site file must say to make sense.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::spot::Spot;
use super::within::{DAY, MILLISECOND, SECOND};
use crate::register;
use crate::site::source::{Source, Table, WordType};
use crate::site::terms::role_units;
use crate::site::{Clock, Cools, Role, Setpoint, Signal, Site};
use crate::units::{Finite, Unit};

#[derive(Default)]
pub(super) struct Checker {
    problems: Vec<(Spot, String)>,
}

impl Checker {
    pub(super) fn run(mut self, site: &Site) -> Vec<(Spot, String)> {
        self.whole(site);
        self.names(site);
        self.peers(site);
        for (i, signal) in site.signals.iter().enumerate() {
            self.signal(site, &Spot::entry("signal", i, &signal.name), signal);
        }
        for (i, setpoint) in site.setpoints.iter().enumerate() {
            self.setpoint(site, &Spot::entry("setpoint", i, &setpoint.name), setpoint);
        }
        self.registers(site);
        self.workload(site);
        self.envelope(site);
        self.twin(site);
        self.model(site);
        self.memory(site);
        self.fallback(site);
        self.resolution(site);
        self.console(site);
        self.operations(site);
        self.problems
    }

    pub(super) fn say(&mut self, spot: Spot, problem: impl Into<String>) {
        self.problems.push((spot, problem.into()));
    }

    /// The same of a field that is no entry's.
    pub(super) fn top(&mut self, key: &str, problem: impl Into<String>) {
        self.say(Spot::key(key), problem);
    }

    fn whole(&mut self, site: &Site) {
        if site.sample < SignedDuration::from_millis(100) || site.sample > SignedDuration::from_hours(1) {
            self.top("sample", "expected a period from 100 ms to 1 h, for example \"15s\"");
        }
        if jiff::tz::TimeZone::get(&site.time_zone).is_err() {
            self.top("time_zone", "is not in this machine's time zone database: expected an IANA name such as \"Europe/Helsinki\", or \"UTC\"");
        }
        if site.cadence < site.sample {
            self.top("cadence", "expected at least one sample period; a decision needs a new frame");
        } else if site.cadence < SECOND || site.cadence > DAY {
            self.top("cadence", "expected 1 s to 24 h: a plant is decided for at least once a day");
        }
        if site.signals.is_empty() {
            self.top("signal", "expected at least one [[signal]]: without measurements nothing is decided");
        }
        let needs_mqtt = site.sparkplug.is_some() || site.signals.iter().any(|s| s.source.is_by_broker());
        if needs_mqtt && site.mqtt.is_none() {
            self.top("mqtt", "there are topics or Sparkplug but there is no [mqtt] table: add host and port");
        }
        if let Some(s) = &site.sparkplug {
            let parts = [Some(&s.group), s.node.as_ref()].into_iter().flatten();
            if parts.into_iter().any(|p| p.is_empty() || p.contains(['/', '+', '#'])) {
                self.top("sparkplug.group", "expected group and node without '/', '+' and '#'");
            }
        }
        if site.clock == Clock::Frames && !site.signals.iter().any(|s| matches!(s.source, Source::Mqtt(_))) {
            self.top("clock", "\"frames\" takes the time from frames on MQTT, but no signal comes from a topic: use \"wall\"");
        }
        if site.link.watchdog < site.sample || site.link.watchdog > SignedDuration::from_hours(1) {
            self.top("link.watchdog", "expected at least one sample period, which is how often the heartbeat comes, and at most 1 h");
        }
        if site.link.heartbeat.is_some() && site.link.enable.is_none() {
            self.top(
                "link.heartbeat",
                "a heartbeat without link.enable cannot be released: name the register that hands control over",
            );
        }
    }

    fn names(&mut self, site: &Site) {
        let signals = site.signals.iter().enumerate().map(|(i, s)| ("signal", i, &s.name));
        let setpoints = site.setpoints.iter().enumerate().map(|(i, s)| ("setpoint", i, &s.name));
        let mut seen = BTreeSet::new();
        for (table, i, name) in signals.chain(setpoints) {
            if !seen.insert(name) {
                self.say(
                    Spot::entry(table, i, name).at("name"),
                    "is used twice: signals and setpoints share one set of names",
                );
            }
        }
        let mut devices = BTreeSet::new();
        for (i, device) in site.devices.iter().enumerate() {
            if !devices.insert(&device.name) {
                self.say(Spot::entry("device", i, &device.name), "is defined twice");
            }
        }
    }

    fn signal(&mut self, site: &Site, of: &Spot, s: &Signal) {
        let [low, high] = s.range;
        if low >= high {
            self.say(of.at("range"), format!("expected [lowest, highest], got [{low}, {high}]"));
        }
        if s.slew_per_min <= Finite::ZERO {
            self.say(of.at("slew_per_min"), format!("expected more than 0, got {}", s.slew_per_min));
        }
        if let Some([a, b]) = s.band
            && (a >= b || a < low || b > high)
        {
            self.say(of.at("band"), format!("expected two rising values inside range [{low}, {high}]"));
        }
        self.times(
            of,
            &[
                ("stale_after", s.stale_after, MILLISECOND * 100, DAY, "every value ages, and none for ever"),
                (
                    "stuck_after",
                    s.stuck_after.unwrap_or(site.sample),
                    site.sample,
                    DAY * 30,
                    "sooner than a sample period every value rests",
                ),
            ],
        );
        self.unit(of, s.role, s.unit);
        match &s.source {
            Source::Mqtt(t) => {
                if t.topic.is_empty() || t.topic.contains(['#', '+']) {
                    self.say(of.at("source.topic"), "expected one topic without wildcards");
                }
                if t.pointer.as_deref().is_some_and(|p| !p.starts_with('/')) {
                    self.say(
                        of.at("source.pointer"),
                        "expected a JSON pointer such as \"/signals/chws/value\"",
                    );
                }
                self.convertible(of.at("source.unit"), t.unit, s.unit);
            }
            Source::Sparkplug(e) => {
                if e.node().is_none() {
                    self.say(of.at("source.sparkplug"), "expected GROUP/NODE or GROUP/NODE/DEVICE");
                }
                self.convertible(of.at("source.unit"), e.unit, s.unit);
            }
            Source::Modbus(p) => self.point(site, &of.at("source"), p, s.unit),
        }
    }

    /// The rules compare all that has one role, so it has to be in one unit.
    fn unit(&mut self, of: &Spot, role: Option<Role>, unit: Unit) {
        if let Some(expected) = role.and_then(role_units)
            && !expected.contains(&unit)
        {
            let list = expected.iter().map(|u| u.as_str()).collect::<Vec<_>>().join(" or ");
            self.say(of.at("unit"), format!("is {unit}, but this role is measured in {list}"));
        }
    }

    fn setpoint(&mut self, site: &Site, of: &Spot, s: &Setpoint) {
        self.unit(of, s.role, s.unit);
        if s.min >= s.max {
            self.say(of.at("min"), format!("expected min below max, got {} and {}", s.min, s.max));
        }
        if s.safe < s.min || s.safe > s.max {
            self.say(of.at("safe"), format!("expected a value from {} to {}, got {}", s.min, s.max, s.safe));
        }
        let span = s.span();
        if s.step <= Finite::ZERO || s.step.get() > span {
            self.say(of.at("step"), format!("expected more than 0 and at most max - min ({span})"));
        } else if span / s.step.get() > 2000.0 {
            self.say(
                of.at("step"),
                format!(
                    "expected at most 2000 steps from min to max; a step of {} gives {:.0}",
                    s.step,
                    span / s.step.get()
                ),
            );
        }
        if let Some(count) = s.count().filter(|count| count.get() > s.step.get() * (1.0 + 1e-9)) {
            self.say(
                of.at("step"),
                format!("expected at least {count} {}, which is one count of the register", s.unit),
            );
        }
        if s.rate_per_min <= Finite::ZERO {
            self.say(of.at("rate_per_min"), "expected more than 0");
        }
        if s.deadband < Finite::ZERO || s.deadband.get() > span {
            self.say(of.at("deadband"), format!("expected 0 to max - min ({span})"));
        }
        let colder_downwards = [Role::Chws, Role::FacilitySupply, Role::CrahSupply, Role::LiquidSupply];
        let colder_upwards = [Role::PumpSpeed, Role::FanSpeed, Role::DiffPressure, Role::Flow];
        let cools = match s.role {
            Some(role) if colder_downwards.contains(&role) => Some((Cools::Down, "down")),
            Some(role) if colder_upwards.contains(&role) => Some((Cools::Up, "up")),
            _ => None,
        };
        if let Some((_, word)) = cools.filter(|(way, _)| *way != s.cools) {
            self.say(
                of.at("cools"),
                format!("with this role more cooling is {word}wards, and full cooling goes there: expected \"{word}\""),
            );
        }
        if s.white_space == Some(false) && s.role == Some(Role::LiquidSupply) {
            self.say(of.at("white_space"), "liquid supply always runs in the white space: leave it out");
        }
        if s.white_space == Some(true) && s.unit != Unit::DegC {
            self.say(of.at("white_space"), "only a temperature can be held above the dew point");
        }
        if s.register.table != Table::Holding {
            self.say(of.at("register.table"), "a setpoint is written: expected \"holding\"");
        }
        if s.register.word_type == WordType::Bit {
            self.say(
                of.at("register.type"),
                "a setpoint is a number: expected int16, uint16, int32, uint32 or float32",
            );
        }
        if matches!(s.role, Some(Role::Chws)) && (s.min.get() < 4.0 || s.max.get() > 30.0) {
            self.say(
                of.at("min/max"),
                format!(
                    "chilled water from {} to {} is outside 4 to 30 degC: check the limits",
                    s.min, s.max
                ),
            );
        }
        self.point(site, &of.at("register"), &s.register, s.unit);
        self.taken(of, s);
        for (label, value) in [("min", s.min), ("max", s.max), ("safe", s.safe)] {
            if register::encode(&s.register, s.unit, value).is_err() {
                self.say(
                    of.at(label),
                    format!("{value} does not fit the register's type with scale {}", s.register.scale),
                );
            }
        }
        let float = s.register.word_type == WordType::Float32;
        if s.read_back_tolerance > if float { 0 } else { 10 } {
            self.say(of.at("read_back_tolerance"), "expected 0 to 10 raw counts, and 0 for a float32");
        }
        self.times(
            of,
            &[
                ("dwell", s.dwell, SignedDuration::ZERO, DAY, "the shortest time between two changes"),
                (
                    "follow_within",
                    s.follow_within,
                    SECOND,
                    DAY,
                    "a plant takes time to follow, and not for ever",
                ),
            ],
        );
        if let Some(active) = &s.active {
            self.point(site, &of.at("active"), active, s.unit);
        }
    }
}
