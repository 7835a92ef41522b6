//! What a site file must say to make sense.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::Problem;
use crate::register;
use crate::site::source::{Source, Table, WordType};
use crate::site::terms::role_units;
use crate::site::{Backend, Clock, Role, Setpoint, Signal, Site};
use crate::units::{Finite, Unit};

pub(super) struct Checker<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, problems: Vec::new() }
    }

    pub(super) fn run(mut self, site: &Site) -> Vec<Problem> {
        self.whole(site);
        self.names(site);
        for signal in &site.signals {
            self.signal(site, signal);
        }
        for setpoint in &site.setpoints {
            self.setpoint(site, setpoint);
        }
        self.registers(site);
        self.workload(site);
        self.envelope(site);
        self.twin(site);
        self.model(site);
        self.memory(site);
        self.resolution(site);
        self.console(site);
        self.operations(site);
        self.problems
    }

    pub(super) fn at(&mut self, name: &str, field: String, problem: impl Into<String>) {
        let line = self.text.lines().position(|l| is_name_line(l, name)).map(|i| i + 1);
        self.problems.push(Problem { line, field, message: problem.into() });
    }

    pub(super) fn top(&mut self, key: &str, problem: impl Into<String>) {
        let last = key.rsplit('.').next().unwrap_or(key);
        let line = self
            .text
            .lines()
            .position(|l| l.trim_start().strip_prefix(last).is_some_and(|r| r.trim_start().starts_with('=')))
            .map(|i| i + 1);
        self.problems.push(Problem { line, field: key.to_owned(), message: problem.into() });
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
        let mut seen = BTreeSet::new();
        for name in site.signals.iter().map(|s| &s.name).chain(site.setpoints.iter().map(|s| &s.name)) {
            if !seen.insert(name.as_str()) {
                self.at(
                    name.as_str(),
                    format!("name {name:?}", name = name.as_str()),
                    "is used twice: signals and setpoints share one set of names",
                );
            }
        }
        let mut devices = BTreeSet::new();
        for device in &site.devices {
            if !devices.insert(device.name.as_str()) {
                self.at(device.name.as_str(), format!("device \"{}\"", device.name), "is defined twice");
            }
            if device.max_block == 0 || device.max_block > 125 {
                self.at(
                    device.name.as_str(),
                    format!("device \"{}\": max_block", device.name),
                    "expected 1 to 125 registers (the Modbus limit for one read)",
                );
            }
        }
    }

    fn signal(&mut self, site: &Site, s: &Signal) {
        let name = s.name.as_str();
        let field = |f: &str| format!("signal \"{name}\": {f}");
        let [low, high] = s.range;
        if low >= high {
            self.at(name, field("range"), format!("expected [lowest, highest], got [{low}, {high}]"));
        }
        if s.slew_per_min <= Finite::ZERO {
            self.at(name, field("slew_per_min"), format!("expected more than 0, got {}", s.slew_per_min));
        }
        if let Some([a, b]) = s.band
            && (a >= b || a < low || b > high)
        {
            self.at(name, field("band"), format!("expected two rising values inside range [{low}, {high}]"));
        }
        self.unit(name, field("unit"), s.role, s.unit);
        match &s.source {
            Source::Mqtt(t) => {
                if t.topic.is_empty() || t.topic.contains(['#', '+']) {
                    self.at(name, field("source.topic"), "expected one topic without wildcards");
                }
                if t.pointer.as_deref().is_some_and(|p| !p.starts_with('/')) {
                    self.at(
                        name,
                        field("source.pointer"),
                        "expected a JSON pointer such as \"/signals/chws/value\"",
                    );
                }
                self.convertible(name, &field("source.unit"), t.unit, s.unit);
            }
            Source::Sparkplug(e) => {
                if e.node().is_none() {
                    self.at(name, field("source.sparkplug"), "expected GROUP/NODE or GROUP/NODE/DEVICE");
                }
                self.convertible(name, &field("source.unit"), e.unit, s.unit);
            }
            Source::Modbus(p) => self.point(site, name, &field("source"), p, s.unit),
        }
    }

    /// The rules compare all that has one role, so it has to be in one unit.
    fn unit(&mut self, name: &str, field: String, role: Option<Role>, unit: Unit) {
        if let Some(expected) = role.and_then(role_units)
            && !expected.contains(&unit)
        {
            let list = expected.iter().map(|u| u.as_str()).collect::<Vec<_>>().join(" or ");
            self.at(name, field, format!("is {unit}, but this role is measured in {list}"));
        }
    }

    fn setpoint(&mut self, site: &Site, s: &Setpoint) {
        let name = s.name.as_str();
        let field = |f: &str| format!("setpoint \"{name}\": {f}");
        self.unit(name, field("unit"), s.role, s.unit);
        if s.min >= s.max {
            self.at(name, field("min"), format!("expected min below max, got {} and {}", s.min, s.max));
        }
        if s.safe < s.min || s.safe > s.max {
            self.at(
                name,
                field("safe"),
                format!("expected a value from {} to {}, got {}", s.min, s.max, s.safe),
            );
        }
        let span = s.max.get() - s.min.get();
        if s.step <= Finite::ZERO || s.step.get() > span {
            self.at(name, field("step"), format!("expected more than 0 and at most max - min ({span})"));
        } else if span / s.step.get() > 2000.0 {
            self.at(
                name,
                field("step"),
                format!(
                    "expected at most 2000 steps from min to max; a step of {} gives {:.0}",
                    s.step,
                    span / s.step.get()
                ),
            );
        }
        if s.rate_per_min <= Finite::ZERO {
            self.at(name, field("rate_per_min"), "expected more than 0");
        }
        if s.deadband < Finite::ZERO || s.deadband.get() > span {
            self.at(name, field("deadband"), format!("expected 0 to max - min ({span})"));
        }
        if s.white_space == Some(false) && s.role == Some(Role::LiquidSupply) {
            self.at(name, field("white_space"), "liquid supply always runs in the white space: leave it out");
        }
        if s.white_space == Some(true) && s.unit != Unit::DegC {
            self.at(name, field("white_space"), "only a temperature can be held above the dew point");
        }
        if s.register.table != Table::Holding {
            self.at(name, field("register.table"), "a setpoint is written: expected \"holding\"");
        }
        if s.register.word_type == WordType::Bit {
            self.at(
                name,
                field("register.type"),
                "a setpoint is a number: expected int16, uint16, int32, uint32 or float32",
            );
        }
        if matches!(s.role, Some(Role::Chws)) && (s.min.get() < 4.0 || s.max.get() > 30.0) {
            self.at(
                name,
                field("min/max"),
                format!(
                    "chilled water from {} to {} is outside 4 to 30 degC: check the limits",
                    s.min, s.max
                ),
            );
        }
        self.point(site, name, &field("register"), &s.register, s.unit);
        for (label, value) in [("min", s.min), ("max", s.max), ("safe", s.safe)] {
            if register::encode(&s.register, s.unit, value).is_err() {
                self.at(
                    name,
                    field(label),
                    format!("{value} does not fit the register's type with scale {}", s.register.scale),
                );
            }
        }
        let float = s.register.word_type == WordType::Float32;
        if s.read_back_tolerance > if float { 0 } else { 10 } {
            self.at(name, field("read_back_tolerance"), "expected 0 to 10 raw counts, and 0 for a float32");
        }
        if s.follow_within <= SignedDuration::ZERO {
            self.at(name, field("follow_within"), "expected more than 0");
        }
        if let Some(active) = &s.active {
            self.point(site, name, &field("active"), active, s.unit);
        }
    }

    fn envelope(&mut self, site: &Site) {
        let e = &site.envelope;
        for (key, [low, high]) in
            [("inlet_recommended", e.inlet_recommended), ("inlet_allowable", e.inlet_allowable)]
        {
            if low >= high {
                self.top(
                    &format!("envelope.{key}"),
                    format!("expected [lowest, highest], got [{low}, {high}]"),
                );
            }
        }
        if e.inlet_allowable[0] > e.inlet_recommended[0] || e.inlet_allowable[1] < e.inlet_recommended[1] {
            self.top("envelope.inlet_allowable", "expected a band that contains inlet_recommended");
        }
        if e.cool_at < e.no_warming_at {
            self.top("envelope.cool_at", format!("expected at least no_warming_at, {}", e.no_warming_at));
        }
        if e.dew_margin.get().get() < 2.0 {
            self.top(
                "envelope.dew_margin",
                format!("expected at least 2 K above the dew point, got {}", e.dew_margin.get()),
            );
        }
        for (key, percent) in
            [("warming_pct_5min", e.warming_pct_5min), ("cooling_pct_5min", e.cooling_pct_5min)]
        {
            if percent <= Finite::ZERO {
                self.top(
                    &format!("envelope.{key}"),
                    format!("expected more than 0 % of the range, got {percent}"),
                );
            }
        }
        if !(0.0..=1.0).contains(&e.min_confidence.get()) {
            self.top("envelope.min_confidence", "expected a probability from 0 to 1");
        }
        let minima = e.min_flow.keys().chain(e.min_diff_pressure.keys());
        for name in minima {
            if site.signal(name).is_none() {
                self.top("envelope.min_flow", format!("there is no signal \"{name}\""));
            }
        }
        let has = |role| site.with_role(role).next().is_some();
        let wet = site.setpoints.iter().find(|s| site.in_white_space(s));
        if let Some(s) = wet.filter(|_| !site.measures_dew_point()) {
            self.at(
                s.name.as_str(),
                format!("setpoint \"{}\": role", s.name),
                "liquid in the white space needs the room's dew point: add a signal with role room_dew_point, or both room_humidity and room_dry_bulb",
            );
        }
        if ![Role::ItInlet, Role::LiquidSupply, Role::Bath, Role::ChipTemp].into_iter().any(has) {
            self.top(
                "signal.role",
                "no signal says how warm the IT is: give at least one the role it_inlet, liquid_supply, bath or chip_temp",
            );
        }
    }

    fn model(&mut self, site: &Site) {
        let m = &site.model;
        if m.backend == Backend::Openai && (m.url.is_none() || m.name.is_none()) {
            self.top("model.url", "backend \"openai\" needs url (up to /v1) and name");
        }
        if m.backend == Backend::Local && m.path.is_none() {
            self.top("model.path", "backend \"local\" needs the path of a GGUF file; use backend = \"none\" to run on the fallback alone");
        }
        if m.sha256.as_deref().is_some_and(|s| s.len() != 64 || !s.bytes().all(|b| b.is_ascii_hexdigit())) {
            self.top("model.sha256", "expected 64 hexadecimal digits, as printed by sha256sum");
        }
        if m.context < 512 || m.max_tokens < 64 || m.max_tokens >= m.context {
            self.top(
                "model.context",
                "expected a context of at least 512 tokens and max_tokens from 64 to below it",
            );
        }
        if m.deadline > site.cadence || m.deadline <= SignedDuration::ZERO {
            self.top(
                "model.deadline",
                "expected more than 0 and at most one cadence: a decision older than that is dropped",
            );
        }
    }

    fn memory(&mut self, site: &Site) {
        let m = &site.memory;
        let [a, b, c] = [m.short, m.small, m.parked];
        if a.available_mb < b.available_mb || b.available_mb < c.available_mb {
            self.top(
                "memory.available_mb",
                "expected no more from one rung to the next: short, small, parked",
            );
        }
        for (key, [a, b, c]) in [
            ("memory.pressure_pct", [a, b, c].map(|s| s.pressure_pct)),
            ("memory.group_pct", [a, b, c].map(|s| s.group_pct)),
        ] {
            if a > b || b > c || a <= Finite::ZERO || c.get() > 100.0 {
                self.top(key, "expected percentages above 0 that do not fall from one rung to the next: short, small, parked");
            }
        }
        if !(0.0..100.0).contains(&m.margin_pct.get()) {
            self.top("memory.margin_pct", format!("expected 0 to below 100 %, got {}", m.margin_pct));
        }
        if m.sample < SignedDuration::from_millis(100) || m.hold < m.sample {
            self.top("memory.sample", "expected at least 100 ms, and a hold of at least one sample");
        }
        if m.small_context <= site.model.max_tokens {
            self.top(
                "memory.small_context",
                format!(
                    "expected more than model.max_tokens, {}: the reply alone would fill it",
                    site.model.max_tokens
                ),
            );
        }
    }
}

/// `name = "NAME"`, in a table of its own or inline.
fn is_name_line(line: &str, name: &str) -> bool {
    let value = line.trim_start_matches(['{', ' ', '\t']).strip_prefix("name").map(str::trim_start);
    value.and_then(|v| v.strip_prefix('=')).is_some_and(|v| {
        let v = v.trim_start();
        let quote = v.chars().next().unwrap_or('"');
        v.trim_start_matches(quote).strip_prefix(name).is_some_and(|rest| rest.starts_with(quote))
    })
}
