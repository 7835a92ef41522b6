//! The site file, with what is a guess marked as one.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::draft::{Drafted, Origin};
use super::listen::{At, Heard};
use super::registers::Register;
use super::scan::{Found, Scan};
use crate::site::{Device, Mqtt, Name, PlantKind, Role, Table};

/// Registers of a scan that are listed.
const MOST_LISTED: usize = 200;

/// Everything the file will say.
pub(super) struct Draft {
    pub(super) name: Name,
    pub(super) plant: PlantKind,
    pub(super) mqtt: Option<Mqtt>,
    pub(super) listened: Duration,
    pub(super) devices: Vec<Device>,
    pub(super) signals: Vec<Drafted>,
    pub(super) unborn_nodes: Vec<String>,
    /// As somebody wrote them, in the words of the site file.
    pub(super) given_signals: Vec<toml::Table>,
    pub(super) given_setpoints: Vec<toml::Table>,
    pub(super) scans: Vec<Scanned>,
}

/// What a range of registers held, before and after listening.
pub(super) struct Scanned {
    pub(super) scan: Scan,
    pub(super) first: Found,
    pub(super) second: Found,
}

const SETPOINT: &str = r#"# Nothing may be set yet. For each setpoint: take away the line `setpoint = []` above, and fill in
# [[setpoint]]
# name = "chws_sp"
# unit = "degC"
# role = "chws"
# register = { device = "DEVICE", address = 0, type = "int16", scale = 0.1 }
# min = 6              # FILL IN: the limits and the rate that the maker allows
# max = 16
# step = 0.5
# rate_per_min = 0.5
# safe = 7             # FILL IN: where the plant is known to be safe
# cools = "down"       # lower is colder
# The registers that hand control over, and show the plant that the agent lives:
# [link]
# enable = { device = "DEVICE", address = 0, type = "uint16" }
# heartbeat = { device = "DEVICE", address = 0, type = "uint16" }
"#;

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# A first site file, made by `isotherm init`. What says \"guess\" is one: look at each."
        )?;
        if self.mqtt.is_some() {
            writeln!(f, "# The broker was listened to for {} s.", self.listened.as_secs())?;
        }
        writeln!(f, "# Then: `isotherm check --site THIS_FILE`.\n")?;
        writeln!(f, "name = {}\nplant = \"{}\"", quoted(self.name.as_str()), self.plant.as_str())?;
        writeln!(f, "clock = \"wall\"\nmode = \"shadow\"      # decides and records, writes nothing")?;
        if self.signals.is_empty() && self.given_signals.is_empty() {
            writeln!(f, "signal = []")?;
        }
        if self.given_setpoints.is_empty() {
            writeln!(f, "setpoint = []")?;
        }
        if let Some(mqtt) = &self.mqtt {
            self.broker(f, mqtt)?;
        }
        for d in &self.devices {
            writeln!(f, "\n[[device]]\nname = {}\nhost = {}", quoted(d.name.as_str()), quoted(&d.host))?;
            writeln!(f, "port = {}\nunit = {}", d.port, d.unit)?;
        }
        writeln!(f, "\n# ---- what is measured ----")?;
        for node in &self.unborn_nodes {
            writeln!(
                f,
                "\n# Sparkplug node {node} was heard, but not its births, which say what it measures:"
            )?;
            writeln!(f, "# `isotherm init --rebirth` asks for them.")?;
        }
        for signal in self.signals.iter().filter(|s| s.heard().is_some()) {
            signal.fmt(f)?;
        }
        for table in &self.given_signals {
            entry(f, "signal", table)?;
        }
        self.registers(f)?;
        writeln!(f, "\n# ---- what may be set ----")?;
        if self.given_setpoints.is_empty() {
            f.write_str(SETPOINT)?;
        }
        for table in &self.given_setpoints {
            entry(f, "setpoint", table)?;
        }
        writeln!(
            f,
            "\n[model]\nbackend = \"none\"     # until `path` names a GGUF file, the fallback decides"
        )
    }
}

impl Draft {
    fn broker(&self, f: &mut fmt::Formatter<'_>, mqtt: &Mqtt) -> fmt::Result {
        writeln!(f, "\n[mqtt]\nhost = {}\nport = {}", quoted(&mqtt.host), mqtt.port)?;
        if let Some(user) = &mqtt.username {
            writeln!(f, "username = {}", quoted(user))?;
        }
        if let Some(variable) = &mqtt.password_env {
            writeln!(f, "password_env = {}", quoted(variable))?;
        }
        // Nodes say only what changes, and are not slow by that.
        let topics = self.signals.iter().filter(|s| !s.is_metric());
        let slowest = topics.filter_map(|s| s.heard()?.every()).max().unwrap_or_default();
        if slowest * 3 > Duration::from_mins(2) {
            writeln!(
                f,
                "watchdog = \"{}s\"      # guess: three times the slowest topic",
                slowest.as_secs() * 3
            )?;
        }
        Ok(())
    }
}

impl Draft {
    /// Registers as signals, and what else the scans found.
    fn registers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origins = self.signals.iter().map(|s| &s.origin);
        let registers: Vec<&Register> = origins
            .filter_map(|origin| match origin {
                Origin::Register(register) => Some(register),
                Origin::Broker { .. } => None,
            })
            .collect();
        if !registers.is_empty() {
            writeln!(
                f,
                "\n# Registers that could hold something measured. Only the device's manual knows: give each its name, unit\n# and role, or take it away. `isotherm check` shows what they hold now."
            )?;
        }
        for signal in self.signals.iter().filter(|s| s.heard().is_none()) {
            write!(f, "{signal}")?;
        }
        for scanned in &self.scans {
            let of_scan =
                registers.iter().filter(|r| r.device == scanned.scan.name && r.table == scanned.scan.table);
            scanned.others(f, &of_scan.flat_map(|r| r.addresses()).collect())?;
        }
        Ok(())
    }
}

impl Drafted {
    fn is_metric(&self) -> bool {
        matches!(self.origin, Origin::Broker { at: At::Metric(_), .. })
    }

    /// What stands under `source`.
    fn source(&self) -> String {
        let source = match &self.origin {
            Origin::Broker { topic, at, .. } => match at {
                At::Plain | At::Frame(_) => format!("topic = {}", quoted(topic)),
                At::Pointer(pointer) => format!("topic = {}, pointer = {}", quoted(topic), quoted(pointer)),
                At::Metric(metric) => format!("sparkplug = {}, metric = {}", quoted(topic), quoted(metric)),
            },
            Origin::Register(r) => {
                let place = format!("device = {}, table = {}", quoted(r.device.as_str()), word(r.table));
                let scale = if r.in_tenths { ", scale = 0.1" } else { "" };
                format!("{place}, address = {}, type = {}{scale}", r.address, word(r.word_type))
            }
        };
        if self.guess.wire == self.guess.unit {
            source
        } else {
            format!("{source}, unit = \"{}\"", self.guess.wire)
        }
    }

    /// What was seen of it.
    fn seen(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Register(r) => {
                let [first, last] = &r.held;
                let later = if first == last { String::new() } else { format!(", later {last}") };
                writeln!(f, "\n# {} {} {} held {first}{later}", r.device, r.table.as_str(), r.address)
            }
            Origin::Broker { heard, .. } => {
                let rate = match heard.every() {
                    _ if self.is_metric() => "said when it changes".to_owned(),
                    Some(every) => format!("every {:.1} s", every.as_secs_f64()),
                    None => "too few to know how often".to_owned(),
                };
                let kept = if heard.retained > 0 { ", one of them kept by the broker" } else { "" };
                let (low, high) = (short(heard.seen.low), short(heard.seen.high));
                writeln!(f, "\n# heard: {} messages{kept}, {rate}, from {low} to {high}", heard.messages)
            }
        }
    }
}

impl fmt::Display for Drafted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guess = &self.guess;
        self.seen(f)?;
        let renamed =
            if self.heard().is_some() { "" } else { "     # guess: what the manual calls it is better" };
        writeln!(f, "[[signal]]\nname = {}{renamed}", quoted(self.name.as_str()))?;
        match &guess.why {
            Some(why) => writeln!(f, "unit = \"{}\"          # guess: {why}", guess.unit)?,
            None => writeln!(f, "unit = \"{}\"", guess.unit)?,
        }
        if let Some((role, term)) = guess.role {
            writeln!(f, "role = {}          # guess: {term:?} in its name", word(role))?;
            if matches!(role, Role::ItInlet | Role::LiquidSupply | Role::Bath) {
                writeln!(f, "required = true     # guess: nothing is decided without it")?;
            }
        }
        let read = if self.heard().is_some() { "" } else { "     # guess: type and scale" };
        writeln!(f, "source = {{ {} }}{read}", self.source())?;
        let [low, high] = guess.range;
        writeln!(f, "range = [{low}, {high}]     # guess: what is plausible; it holds all that was seen")?;
        writeln!(f, "slew_per_min = {}     # guess: the fastest change that can be", guess.slew_per_min)?;
        // An unchanged metric is a live one for as long as its node lives.
        let every = self.heard().and_then(Heard::every).filter(|_| !self.is_metric());
        match every.map(|e| e.as_secs_f64() * 3.0).filter(|s| *s > 45.0) {
            Some(s) => writeln!(f, "stale_after = \"{}s\"     # guess: three messages missed", s.ceil()),
            None => Ok(()),
        }
    }
}

impl Scanned {
    /// Registers that are not among the signals.
    fn others(&self, f: &mut fmt::Formatter<'_>, signals: &BTreeSet<u16>) -> fmt::Result {
        let Scan { name, table, from, to, .. } = &self.scan;
        writeln!(
            f,
            "\n# Device {name}, {} {from} to {to}, as on the wire; left out are those above, and those that held 0 all the time.",
            table.as_str()
        )?;
        if let Some(trouble) = self.first.trouble.as_ref().or(self.second.trouble.as_ref()) {
            writeln!(f, "# Not all could be read: {trouble}")?;
        }
        let words = &self.first.words;
        let mut listed = 0;
        for (i, (address, raw)) in words.iter().enumerate() {
            let later = self.second.words.iter().find(|(a, _)| a == address).map(|(_, w)| *w);
            let changed = later.filter(|w| w != raw);
            if signals.contains(address) || (*raw == 0 && changed.is_none()) {
                continue;
            }
            listed += 1;
            if listed > MOST_LISTED {
                return writeln!(f, "#   … and more");
            }
            write!(f, "#   {address:>5}: {raw}")?;
            if matches!(self.scan.table, Table::Holding | Table::Input) {
                write!(
                    f,
                    " (int16 {}, tenths {})",
                    raw.cast_signed(),
                    short(f64::from(raw.cast_signed()) / 10.0)
                )?;
                let next = words.get(i + 1).filter(|(a, _)| *a == address.wrapping_add(1));
                let float = next.map(|(_, low)| f32::from_bits((u32::from(*raw) << 16) | u32::from(*low)));
                if let Some(v) = float.filter(|v| (1e-3..1e6).contains(&v.abs())) {
                    write!(f, ", float32 with the next {}", short(f64::from(v)))?;
                }
            }
            if let Some(later) = changed {
                write!(f, ", later {later}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// One entry of an array of tables, its own tables inline.
fn entry(f: &mut fmt::Formatter<'_>, kind: &str, table: &toml::Table) -> fmt::Result {
    writeln!(f, "\n[[{kind}]]")?;
    for (key, value) in table {
        writeln!(f, "{key} = {value}")?;
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A value of the site file that is one word, in quotes.
fn word(value: impl serde::Serialize) -> String {
    toml::Value::try_from(value).map_or_else(|e| e.to_string(), |v| v.to_string())
}

/// For people: at most four digits after the point.
fn short(v: f64) -> String {
    let text = format!("{v:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
