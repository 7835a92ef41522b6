//! A site as its controls engineer describes it in `site.toml`: what is measured, what may be set, and
//! the limits of both. Reading and checking the file is in [`load`]; a [`Site`] in hand has passed it.

mod console;
mod limits;
mod load;
mod name;
mod pair;
pub mod reload;
mod report;
mod role;
mod setpoint;
mod settings;
pub mod source;
pub mod terms;
mod twin;
mod workload;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use console::{Console, ConsoleTls, Network, Proxy};
pub use limits::{ChillerLimits, Envelope, Unverified};
pub use load::{SiteError, load, parse, schema};
pub use name::{BadName, Name};
pub use report::{Baseline, Report};
pub use role::Role;
pub use setpoint::{Cools, Setpoint};
pub use settings::{
    Audit, Backend, CacheType, Fallback, Law, Memory, Model, Resolution, Rl, Shortage, Telemetry,
};
pub use source::{Device, EdgeMetric, Framing, Mqtt, Point, Source, Sparkplug, Table, Tls, WordType};
pub use twin::{Response, Twin};
pub use workload::{Place, Workload};

use crate::units::{Finite, Unit};

/// A whole site. Relative paths are taken from the site file's own folder. Field order here is the order of
/// the published schema.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Used in topics (`isotherm/NAME/…`), records and the console.
    pub name: Name,
    /// What kind of plant this is; names the prompt's vocabulary and the fallback's strategy.
    pub plant: PlantKind,
    #[serde(default)]
    pub clock: Clock,
    /// IANA name of the zone in which times of day are read and shown, such as `Europe/Helsinki`.
    #[serde(default = "defaults::time_zone")]
    pub time_zone: String,
    /// The mode after start. Software that has not earned trust yet starts in `shadow`.
    #[serde(default)]
    pub mode: Mode,
    /// How often a frame is taken.
    #[serde(default = "defaults::sample")]
    #[schemars(with = "String")]
    pub sample: SignedDuration,
    /// How often a decision is made.
    #[serde(default = "defaults::cadence")]
    #[schemars(with = "String")]
    pub cadence: SignedDuration,
    #[serde(default)]
    pub mqtt: Option<Mqtt>,
    /// What the agent says of itself as an edge node; it reads from edge nodes without this.
    #[serde(default)]
    pub sparkplug: Option<Sparkplug>,
    #[serde(default, rename = "device")]
    pub devices: Vec<Device>,
    #[serde(rename = "signal")]
    pub signals: Vec<Signal>,
    #[serde(rename = "setpoint")]
    pub setpoints: Vec<Setpoint>,
    /// The registers that hand control over and prove that the agent lives.
    #[serde(default)]
    pub link: Link,
    #[serde(default)]
    pub workload: Workload,
    #[serde(default)]
    pub envelope: Envelope,
    #[serde(default)]
    pub twin: Twin,
    /// What decides at each cadence.
    #[serde(default)]
    pub controller: Law,
    #[serde(default)]
    pub resolution: Resolution,
    #[serde(default)]
    pub model: Model,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub rl: Rl,
    #[serde(default)]
    pub fallback: Fallback,
    #[serde(default)]
    pub audit: Audit,
    #[serde(default)]
    pub console: Console,
    #[serde(default)]
    pub report: Report,
    #[serde(default)]
    pub telemetry: Telemetry,
}

impl Site {
    #[must_use]
    pub fn signal(&self, name: &Name) -> Option<&Signal> {
        self.signals.iter().find(|s| s.name == *name)
    }

    #[must_use]
    pub fn setpoint(&self, name: &Name) -> Option<&Setpoint> {
        self.setpoints.iter().find(|s| s.name == *name)
    }

    #[must_use]
    pub fn device(&self, name: &Name) -> Option<&Device> {
        self.devices.iter().find(|d| d.name == *name)
    }

    /// As runs record it: everything that was understood, defaults included.
    #[must_use]
    pub fn recorded(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Of the site as it is recorded, lower-case hex.
    #[must_use]
    pub fn sha256(&self) -> String {
        crate::hex::sha256(self.recorded().to_string().as_bytes())
    }

    /// Whether a device has a register that the agent writes.
    #[must_use]
    pub fn is_written_to(&self, device: &Name) -> bool {
        let setpoints = self.setpoints.iter().map(|s| &s.register);
        let mut written = setpoints.chain(&self.link.enable).chain(&self.link.heartbeat);
        written.any(|point| point.device == *device)
    }

    /// Whether the condensation floor holds for a setpoint.
    #[must_use]
    pub fn in_white_space(&self, setpoint: &Setpoint) -> bool {
        setpoint.white_space.unwrap_or(match setpoint.role {
            Some(Role::LiquidSupply) => true,
            Some(Role::FacilitySupply) => self.measures_dew_point(),
            _ => false,
        })
    }

    /// Whether the signals tell the room's dew point.
    #[must_use]
    pub fn measures_dew_point(&self) -> bool {
        let has = |role| self.with_role(role).next().is_some();
        has(Role::RoomDewPoint) || (has(Role::RoomHumidity) && has(Role::RoomDryBulb))
    }

    /// The zone of times of day; UTC where the machine does not know the name.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        TimeZone::get(&self.time_zone).unwrap_or(TimeZone::UTC)
    }

    /// The signals that play `role`, in file order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Signal> {
        self.signals.iter().filter(move |s| s.role == Some(role))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PlantKind {
    Air,
    Liquid,
    Immersion,
}

impl PlantKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Air => "air",
            Self::Liquid => "liquid",
            Self::Immersion => "immersion",
        }
    }
}

/// Which clock control time follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// The time stamps of the frames: a simulated day or a trace runs as fast as the model answers.
    Frames,
    #[default]
    Wall,
}

/// Who acts on the plant.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decide, guard and record; write nothing.
    #[default]
    Shadow,
    /// An operator approves or rejects each action; unanswered ones expire.
    Advise,
    /// Guarded actions are written.
    Auto,
    /// An operator has taken over; the agent only records.
    Manual,
}

impl Mode {
    pub const ALL: [Self; 4] = [Self::Shadow, Self::Advise, Self::Auto, Self::Manual];

    /// As it is written in the site file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Advise => "advise",
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    pub name: Name,
    /// The unit of the value after scaling, and of every limit given here.
    pub unit: Unit,
    pub source: Source,
    /// Values outside are `suspect`: `[lowest, highest]`.
    #[serde(deserialize_with = "pair::two")]
    pub range: [Finite; 2],
    /// The fastest change that is physically possible, in units a minute: faster is `suspect`, and an
    /// old value counts as this much worse for every minute of its age.
    pub slew_per_min: Finite,
    #[serde(default = "defaults::stale_after")]
    #[schemars(with = "String")]
    pub stale_after: SignedDuration,
    /// Unchanged to the last digit for this long means `stuck`. Off when absent: some values do rest.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub stuck_after: Option<SignedDuration>,
    #[serde(default)]
    pub role: Option<Role>,
    /// Sensors in one group measure the same thing: one that disagrees is left out.
    #[serde(default)]
    pub twin_group: Option<Name>,
    /// The hall or cabinet whose load it follows, one of `[[workload.place]]`; none: it follows them all.
    #[serde(default)]
    pub place: Option<Name>,
    /// Without a good value here no decision is taken.
    #[serde(default)]
    pub required: bool,
    /// The operating limits people hold this signal to, shown to the model and used by the outlook.
    #[serde(default, deserialize_with = "pair::two_or_none")]
    pub band: Option<[Finite; 2]>,
}

/// Registers by which the plant knows that the agent is in charge and alive.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Written 1 to take control and 0 to release it.
    pub enable: Option<Point>,
    /// Written with a rising counter at every frame while the agent is in charge.
    pub heartbeat: Option<Point>,
    /// After so long without a new heartbeat the plant takes its local setpoints; what the acceptance test
    /// holds it to.
    #[schemars(with = "String")]
    pub watchdog: SignedDuration,
}

impl Default for Link {
    fn default() -> Self {
        Self { enable: None, heartbeat: None, watchdog: SignedDuration::from_mins(3) }
    }
}

/// One of `sites/`, by its file's stem, for tests.
#[cfg(test)]
pub(crate) fn shipped(stem: &str) -> Site {
    load(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sites").join(stem).with_extension("toml"))
        .unwrap()
}

mod defaults {
    use jiff::SignedDuration;

    pub(super) fn time_zone() -> String {
        "UTC".to_owned()
    }
    pub(super) fn sample() -> SignedDuration {
        SignedDuration::from_secs(15)
    }
    pub(super) fn cadence() -> SignedDuration {
        SignedDuration::from_mins(5)
    }
    pub(super) fn stale_after() -> SignedDuration {
        SignedDuration::from_secs(45)
    }
    pub(super) fn follow_within() -> SignedDuration {
        SignedDuration::from_mins(5)
    }
    pub(super) fn dwell() -> SignedDuration {
        SignedDuration::from_mins(5)
    }
}
