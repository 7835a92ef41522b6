//! Where a value lives: an MQTT topic, or a register of a Modbus device.

use std::path::PathBuf;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::name::Name;
use super::pair;
use crate::sparkplug::NodeId;
use crate::units::{Finite, Unit};

/// The broker. A password comes from the environment or a file, never from here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    pub host: String,
    #[serde(default = "Mqtt::default_port")]
    pub port: u16,
    /// Defaults to `isotherm-SITE`.
    #[serde(default)]
    pub client_id: Option<String>,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password_env: Option<String>,
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    #[serde(default)]
    pub tls: Option<Tls>,
    /// A source that sends nothing for this long is reported, although the connection looks healthy. A topic whose
    /// values count for more than 2 min (`stale_after`) may be silent as long.
    #[serde(default = "Mqtt::default_watchdog")]
    #[schemars(with = "String")]
    pub watchdog: SignedDuration,
}

impl Mqtt {
    fn default_port() -> u16 {
        1883
    }
    pub(crate) fn default_watchdog() -> SignedDuration {
        SignedDuration::from_mins(2)
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM; the system's roots when absent.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    #[serde(default)]
    pub client_cert: Option<PathBuf>,
    #[serde(default)]
    pub client_key: Option<PathBuf>,
}

/// One Modbus unit.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    pub name: Name,
    /// A file that describes this make of device (see `profiles/`): it gives what is left out here, and the points that
    /// registers may name. Relative to the site file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<PathBuf>,
    pub host: String,
    #[serde(default = "Device::default_port")]
    pub port: u16,
    #[serde(default = "Device::default_unit")]
    pub unit: u8,
    #[serde(default)]
    pub framing: Framing,
    /// 0 when addresses here are those on the wire, 1 when they count from one as in many manuals.
    #[serde(default)]
    pub address_base: u16,
    #[serde(default = "Device::default_timeout")]
    #[schemars(with = "String")]
    pub timeout: SignedDuration,
    /// The largest block one request may read.
    #[serde(default = "Device::default_max_block")]
    pub max_block: u16,
    /// Unused registers that may be read along, to save a request.
    #[serde(default = "Device::default_gap")]
    pub max_gap: u16,
    #[serde(default)]
    #[schemars(with = "String")]
    pub inter_frame_delay: SignedDuration,
    /// The shortest pause before a lost connection is opened again.
    #[serde(default = "Device::default_reopen")]
    #[schemars(with = "String")]
    pub reopen_after: SignedDuration,
}

impl Device {
    /// The address on the wire of one that is written as in the device's manual; `None` below its base.
    #[must_use]
    pub fn wire_address(&self, address: u16) -> Option<u16> {
        address.checked_sub(self.address_base)
    }

    fn default_port() -> u16 {
        502
    }
    fn default_unit() -> u8 {
        1
    }
    fn default_timeout() -> SignedDuration {
        SignedDuration::from_secs(1)
    }
    fn default_max_block() -> u16 {
        100
    }
    fn default_gap() -> u16 {
        8
    }
    fn default_reopen() -> SignedDuration {
        SignedDuration::from_millis(500)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    #[default]
    Tcp,
    /// RTU frames on a TCP connection, as serial gateways send them.
    RtuOverTcp,
}

/// Where a signal's value comes from.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Source {
    Mqtt(Topic),
    Sparkplug(EdgeMetric),
    Modbus(Point),
}

/// By the key that only one of them has, so that a mistake in another key is told as what it is.
impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let said = Map::deserialize(deserializer)?;
        let read = if said.contains_key("topic") {
            Topic::deserialize(said).map(Self::Mqtt)
        } else if said.contains_key("sparkplug") {
            EdgeMetric::deserialize(said).map(Self::Sparkplug)
        } else if said.contains_key("device") {
            Point::deserialize(said).map(Self::Modbus)
        } else {
            return Err(D::Error::custom("expected a `topic`, a `sparkplug` node or a `device`"));
        };
        read.map_err(D::Error::custom)
    }
}

impl Source {
    /// Whether it takes the broker.
    #[must_use]
    pub fn is_by_broker(&self) -> bool {
        match self {
            Self::Mqtt(_) | Self::Sparkplug(_) => true,
            Self::Modbus(_) => false,
        }
    }

    /// The topic, or the filter of topics, that it comes by.
    #[must_use]
    pub fn topic(&self) -> Option<String> {
        match self {
            Self::Mqtt(topic) => Some(topic.topic.clone()),
            Self::Sparkplug(metric) => metric.node().map(|(id, _)| id.filter()),
            Self::Modbus(_) => None,
        }
    }
}

/// A metric of a Sparkplug B edge node, or of a device behind one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgeMetric {
    /// `GROUP/NODE`, or `GROUP/NODE/DEVICE`.
    pub sparkplug: String,
    /// Its name at birth.
    pub metric: String,
    /// The unit on the wire, where it differs from the signal's.
    #[serde(default)]
    pub unit: Option<Unit>,
}

impl EdgeMetric {
    /// The node and, where there is one, the device; `None` when `sparkplug` is not an address.
    #[must_use]
    pub fn node(&self) -> Option<(NodeId, Option<String>)> {
        let parts: Vec<&str> = self.sparkplug.split('/').collect();
        let sound = parts.iter().all(|p| !p.is_empty() && !p.contains(['+', '#']));
        let id = |group: &str, node: &str| NodeId { group: group.to_owned(), node: node.to_owned() };
        match parts.as_slice() {
            [group, node] if sound => Some((id(group, node), None)),
            [group, node, device] if sound => Some((id(group, node), Some((*device).to_owned()))),
            _ => None,
        }
    }
}

/// The agent as a Sparkplug B edge node of its own, on the site's broker.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sparkplug {
    pub group: String,
    /// Defaults to `isotherm-SITE`.
    #[serde(default)]
    pub node: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// No wildcards: a value has one origin.
    pub topic: String,
    /// JSON pointer to the number in the payload; without it the payload is a plain number, or a frame
    /// that has the signal's name.
    #[serde(default)]
    pub pointer: Option<String>,
    /// The unit on the wire, where it differs from the signal's.
    #[serde(default)]
    pub unit: Option<Unit>,
}

/// A register or bit, and how to read a number from it: `value = raw * scale + offset`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = address_or_point)]
pub struct Point {
    pub device: Name,
    /// What the profile of the device calls it: the profile gives what is left out here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    #[serde(default)]
    pub table: Table,
    pub address: u16,
    #[serde(default, rename = "type")]
    pub word_type: WordType,
    #[serde(default = "Point::default_scale")]
    pub scale: Finite,
    #[serde(default)]
    pub offset: Finite,
    #[serde(default)]
    pub word_order: Order,
    #[serde(default)]
    pub byte_order: Order,
    /// The unit on the wire, where it differs from the signal's.
    #[serde(default)]
    pub unit: Option<Unit>,
    /// What the device takes, in the unit on the wire: a setpoint's range lies within it.
    #[serde(default, deserialize_with = "pair::two_or_none", skip_serializing_if = "Option::is_none")]
    pub takes: Option<[Finite; 2]>,
}

/// In a site file a point of a profile stands for an address.
fn address_or_point(schema: &mut Schema) {
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|field| field != "address");
    }
    let either = json!([{ "required": ["address"] }, { "required": ["point"] }]);
    schema.insert("anyOf".to_owned(), either);
}

impl Point {
    fn default_scale() -> Finite {
        Finite::constant(1.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    #[default]
    Holding,
    Input,
    Coil,
    Discrete,
}

impl Table {
    /// As it is written in the site file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holding => "holding",
            Self::Input => "input",
            Self::Coil => "coil",
            Self::Discrete => "discrete",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WordType {
    #[default]
    Int16,
    Uint16,
    Int32,
    Uint32,
    Float32,
    /// A coil or discrete input.
    Bit,
}

impl WordType {
    /// Registers it occupies.
    #[must_use]
    pub fn registers(self) -> u16 {
        match self {
            Self::Int16 | Self::Uint16 | Self::Bit => 1,
            Self::Int32 | Self::Uint32 | Self::Float32 => 2,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Most significant first, as the Modbus specification has it.
    #[default]
    Big,
    Little,
}

impl Order {
    /// As it is written in the site file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Big => "big",
            Self::Little => "little",
        }
    }
}
