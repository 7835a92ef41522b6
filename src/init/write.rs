//! The site file, with what is a guess marked as one.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::guess::Guess;
use super::listen::{At, Heard};
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
    /// As somebody wrote them, in the words of the site file.
    pub(super) given_signals: Vec<toml::Table>,
    pub(super) given_setpoints: Vec<toml::Table>,
    pub(super) scans: Vec<Scanned>,
}

/// A signal that was heard.
pub(super) struct Drafted {
    pub(super) name: Name,
    pub(super) topic: String,
    pub(super) at: At,
    pub(super) heard: Heard,
    pub(super) guess: Guess,
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
        for signal in &self.signals {
            signal.fmt(f)?;
        }
        for table in &self.given_signals {
            entry(f, "signal", table)?;
        }
        for scanned in &self.scans {
            scanned.fmt(f)?;
        }
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
        let slowest = self.signals.iter().filter_map(|s| s.heard.every()).max().unwrap_or_default();
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

impl fmt::Display for Drafted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (heard, guess) = (&self.heard, &self.guess);
        let rate = match heard.every() {
            Some(every) => format!("every {:.1} s", every.as_secs_f64()),
            None => "too few to know how often".to_owned(),
        };
        let kept = if heard.retained > 0 { ", one of them kept by the broker" } else { "" };
        let (low, high) = (short(heard.seen.low), short(heard.seen.high));
        writeln!(f, "\n# heard: {} messages{kept}, {rate}, from {low} to {high}", heard.messages)?;
        writeln!(f, "[[signal]]\nname = {}", quoted(self.name.as_str()))?;
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
        let mut source = format!("topic = {}", quoted(&self.topic));
        if let At::Pointer(pointer) = &self.at {
            write!(source, ", pointer = {}", quoted(pointer))?;
        }
        if guess.wire != guess.unit {
            write!(source, ", unit = \"{}\"", guess.wire)?;
        }
        writeln!(f, "source = {{ {source} }}")?;
        let [low, high] = guess.range;
        writeln!(f, "range = [{low}, {high}]     # guess: what is plausible; it holds all that was heard")?;
        writeln!(f, "slew_per_min = {}     # guess: the fastest change that can be", guess.slew_per_min)?;
        match heard.every().map(|e| e.as_secs_f64() * 3.0).filter(|s| *s > 45.0) {
            Some(s) => writeln!(f, "stale_after = \"{}s\"     # guess: three messages missed", s.ceil()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Scanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scan { name, table, from, to, .. } = &self.scan;
        let table = word(*table);
        writeln!(
            f,
            "\n# Device {name}, {table} {from} to {to}, as on the wire; those that held 0 all the time are left out."
        )?;
        if let Some(trouble) = self.first.trouble.as_ref().or(self.second.trouble.as_ref()) {
            writeln!(f, "# Not all could be read: {trouble}")?;
        }
        let words = &self.first.words;
        let mut listed = 0;
        for (i, (address, raw)) in words.iter().enumerate() {
            let later = self.second.words.iter().find(|(a, _)| a == address).map(|(_, w)| *w);
            let changed = later.filter(|w| w != raw);
            if *raw == 0 && changed.is_none() {
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
