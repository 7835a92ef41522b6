//! A site as its controls engineer describes it in `site.toml`: what is measured, what may be set, and
//! the limits of both. Reading and checking the file is in [`load`]; a [`Site`] in hand has passed it.

mod load;
mod name;
pub mod source;
pub mod terms;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use load::{SiteError, load, parse, schema};
pub use name::{BadName, Name};
pub use source::{Device, Framing, Mqtt, Point, Source, Table, Tls, WordType};

use crate::units::{Finite, Kelvin, Unit};

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
    pub envelope: Envelope,
    #[serde(default)]
    pub model: Model,
    #[serde(default)]
    pub fallback: Fallback,
    #[serde(default)]
    pub audit: Audit,
    #[serde(default)]
    pub console: Console,
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

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
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

/// What a signal or setpoint means to the guard, the twin and the fallback.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Air entering IT equipment.
    ItInlet,
    /// Chilled-water supply.
    Chws,
    /// Chilled-water return.
    Chwr,
    /// Air leaving a CRAH.
    CrahSupply,
    /// Liquid sent to cold plates or tanks (CDU secondary supply).
    LiquidSupply,
    LiquidReturn,
    /// Dielectric fluid in a tank.
    Bath,
    /// Facility water on the primary side of an exchanger.
    FacilitySupply,
    FacilityReturn,
    /// The hottest chip reported.
    ChipTemp,
    ItLoad,
    RoomDryBulb,
    RoomHumidity,
    RoomDewPoint,
    OutdoorDryBulb,
    OutdoorWetBulb,
    Flow,
    DiffPressure,
    FanSpeed,
    PumpSpeed,
    ValvePosition,
    CoolingPower,
    FacilityPower,
    ChillersOn,
    /// An announced load to come, in kW.
    LoadAhead,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    pub name: Name,
    /// The unit of the value after scaling, and of every limit given here.
    pub unit: Unit,
    pub source: Source,
    /// Values outside are `suspect`: `[lowest, highest]`.
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
    /// Without a good value here no decision is taken.
    #[serde(default)]
    pub required: bool,
    /// The operating limits people hold this signal to, shown to the model and used by the outlook.
    #[serde(default)]
    pub band: Option<[Finite; 2]>,
}

/// Which way of moving a setpoint cools more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cools {
    /// A supply temperature: lower is colder.
    Down,
    /// A speed, pressure or valve: higher is colder.
    Up,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setpoint {
    pub name: Name,
    pub unit: Unit,
    #[serde(default)]
    pub role: Option<Role>,
    /// The register that is written and read back.
    pub register: Point,
    /// The register that shows the setpoint in force, where the plant has one.
    #[serde(default)]
    pub active: Option<Point>,
    /// The setpoint in force must come nearer to what was written at least this often until it arrives.
    #[serde(default = "defaults::follow_within")]
    #[schemars(with = "String")]
    pub follow_within: SignedDuration,
    /// Raw counts by which a device that rounds may show another value than was written.
    #[serde(default)]
    pub read_back_tolerance: u16,
    pub min: Finite,
    pub max: Finite,
    /// The model chooses multiples of this, counted from `min`.
    pub step: Finite,
    /// The fastest commanded change, in units a minute.
    pub rate_per_min: Finite,
    /// The shortest time between two changes.
    #[serde(default = "defaults::dwell")]
    #[schemars(with = "String")]
    pub dwell: SignedDuration,
    /// Where the plant is known to be safe.
    pub safe: Finite,
    pub cools: Cools,
    /// Moves smaller than this are not written; they add up until they are.
    #[serde(default)]
    pub deadband: Finite,
    /// Whether its liquid runs in the white space in pipes that sweat, so that the condensation floor holds.
    /// Liquid supply always does; facility water does unless told otherwise, where the room's dew point is
    /// measured; anything else only when told so.
    #[serde(default)]
    pub white_space: Option<bool>,
    /// Registers in EEPROM wear out: at most this many writes a day. `None`: volatile, no budget.
    #[serde(default)]
    pub writes_per_day: Option<u32>,
}

impl Setpoint {
    /// The end of the range that cools most.
    #[must_use]
    pub fn coldest(&self) -> Finite {
        match self.cools {
            Cools::Down => self.min,
            Cools::Up => self.max,
        }
    }
}

/// Registers by which the plant knows that the agent is in charge and alive.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Written 1 to take control and 0 to release it.
    #[serde(default)]
    pub enable: Option<Point>,
    /// Written with a rising counter at every frame while the agent is in charge.
    #[serde(default)]
    pub heartbeat: Option<Point>,
}

/// Limits that belong to the site rather than to one setpoint. Defaults and their sources: `docs/envelope.md`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Envelope {
    /// IT inlet, recommended band.
    pub inlet_recommended: [Finite; 2],
    /// IT inlet, allowable band: above the upper end is an emergency.
    pub inlet_allowable: [Finite; 2],
    /// No warming at or above this worst valid inlet.
    pub no_warming_at: Finite,
    /// In an air plant, at or above this worst valid inlet: where nobody has made a setpoint colder within a
    /// cadence, the guard does, a step a cadence.
    pub cool_at: Finite,
    /// Liquid-cooled or tank: above this supply or bath temperature is an emergency.
    pub liquid_allowable: Option<Finite>,
    /// Chip temperature that is an emergency.
    pub chip_allowable: Option<Finite>,
    /// Liquid in the white space stays this far above the room's dew point. Never less than 2 K.
    pub dew_margin: Kelvin,
    /// The fastest inlet change, K in 15 min, that the outlook may show.
    pub inlet_ramp_15min: Kelvin,
    /// The lowest flow, by flow signal.
    pub min_flow: BTreeMap<Name, Finite>,
    /// The lowest differential pressure, by signal.
    pub min_diff_pressure: BTreeMap<Name, Finite>,
    /// Smallest difference between liquid supply and facility supply an exchanger can hold.
    pub min_approach: Option<Kelvin>,
    /// How far ahead the outlook must stay inside limits.
    #[schemars(with = "String")]
    pub outlook: SignedDuration,
    pub chiller: ChillerLimits,
    /// The fastest way towards warmer, in percent of a setpoint's range each 5 min; the setpoint's own
    /// rate limit holds beside it.
    pub warming_pct_5min: Finite,
    /// The same towards colder.
    pub cooling_pct_5min: Finite,
    /// A setpoint changed at the plant itself is left alone for this long.
    #[schemars(with = "String")]
    pub manual_hold: SignedDuration,
    /// Twins further apart than this, K or units, for `twin_for`, are left out.
    pub twin_tolerance: Finite,
    #[schemars(with = "String")]
    pub twin_for: SignedDuration,
    /// What happens to an action whose rationale did not verify.
    pub unverified: Unverified,
    /// Below this measured confidence the fallback's action is taken; 0 turns the rule off.
    pub min_confidence: Finite,
}

/// Anti-short-cycle: the maker's limits win over these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChillerLimits {
    #[schemars(with = "String")]
    pub min_run: SignedDuration,
    #[schemars(with = "String")]
    pub min_off: SignedDuration,
    pub max_starts_per_hour: u32,
}

impl Default for ChillerLimits {
    fn default() -> Self {
        Self {
            min_run: SignedDuration::from_mins(15),
            min_off: SignedDuration::from_mins(10),
            max_starts_per_hour: 3,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unverified {
    /// Keep the present setpoints.
    #[default]
    Hold,
    /// Let the fallback act.
    Fallback,
    /// Act all the same; the record says so.
    Accept,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            inlet_recommended: [Finite::constant(18.0), Finite::constant(27.0)],
            inlet_allowable: [Finite::constant(15.0), Finite::constant(32.0)],
            no_warming_at: Finite::constant(26.0),
            cool_at: Finite::constant(27.0),
            liquid_allowable: None,
            chip_allowable: None,
            dew_margin: Kelvin::new(Finite::constant(3.0)),
            inlet_ramp_15min: Kelvin::new(Finite::constant(5.0)),
            min_flow: BTreeMap::new(),
            min_diff_pressure: BTreeMap::new(),
            min_approach: None,
            outlook: SignedDuration::from_mins(30),
            chiller: ChillerLimits::default(),
            warming_pct_5min: Finite::constant(2.0),
            cooling_pct_5min: Finite::constant(7.0),
            manual_hold: SignedDuration::from_mins(30),
            twin_tolerance: Finite::constant(1.0),
            twin_for: SignedDuration::from_secs(30),
            unverified: Unverified::default(),
            min_confidence: Finite::ZERO,
        }
    }
}

/// Where proposals come from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    pub backend: Backend,
    /// GGUF file of the local backend.
    pub path: Option<PathBuf>,
    /// Refuse any other file: lower-case hex.
    pub sha256: Option<String>,
    /// Server of the `openai` backend, up to and including `/v1`.
    pub url: Option<String>,
    /// Model name the server knows.
    pub name: Option<String>,
    /// Environment variable that holds the server's key.
    pub api_key_env: Option<String>,
    pub context: u32,
    pub max_tokens: u32,
    /// 0: all cores, at most 8.
    pub threads: u32,
    /// 0 is greedy.
    pub temperature: Finite,
    pub seed: u32,
    /// A reply later than this is not used.
    #[schemars(with = "String")]
    pub deadline: SignedDuration,
    /// Address-space limit of the reasoner process, MB.
    pub memory_limit_mb: Option<u64>,
    /// Prompt folder; the built-in prompts when absent.
    pub prompts: Option<PathBuf>,
    /// Tokens the rendered history may take.
    pub history_tokens: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// llama.cpp in a child process.
    #[default]
    Local,
    /// An OpenAI-compatible server with JSON-schema output.
    Openai,
    /// No model: the fallback decides.
    None,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            path: None,
            sha256: None,
            url: None,
            name: None,
            api_key_env: None,
            context: 2048,
            max_tokens: 400,
            threads: 0,
            temperature: Finite::ZERO,
            seed: 1,
            deadline: SignedDuration::from_secs(20),
            memory_limit_mb: None,
            prompts: None,
            history_tokens: 220,
        }
    }
}

/// Trim and respond after Guideline 36-2021's chilled-water plant reset.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// The reset starts moving after this.
    #[schemars(with = "String")]
    pub delay: SignedDuration,
    #[schemars(with = "String")]
    pub step: SignedDuration,
    pub ignored_requests: u32,
    /// Percent of the reset a step without requests takes away.
    pub trim: Finite,
    /// Percent a request adds.
    pub respond: Finite,
    /// Percent a step may add at most.
    pub respond_max: Finite,
}

impl Default for Fallback {
    fn default() -> Self {
        Self {
            delay: SignedDuration::from_mins(15),
            step: SignedDuration::from_mins(5),
            ignored_requests: 2,
            trim: Finite::constant(2.0),
            respond: Finite::constant(3.0),
            respond_max: Finite::constant(7.0),
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    pub path: PathBuf,
    /// Ed25519 key that signs checkpoints; made on first use, readable by its owner alone.
    pub key: PathBuf,
    /// A signed checkpoint after this many records.
    pub checkpoint_every: u32,
    /// Checkpoints are also appended here, which should be another disk or machine.
    pub checkpoint_file: Option<PathBuf>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            path: PathBuf::from("isotherm-audit.db"),
            key: PathBuf::from("isotherm-audit.key"),
            checkpoint_every: 256,
            checkpoint_file: None,
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Loopback unless told otherwise; `off` serves nothing.
    pub listen: String,
    /// Unix socket on which `isotherm operator …` reaches the running agent.
    pub control_socket: PathBuf,
}

impl Default for Console {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8455".to_owned(), control_socket: PathBuf::from("isotherm.sock") }
    }
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
