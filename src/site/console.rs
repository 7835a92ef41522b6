//! How the console is reached, and how it knows people who do not log in with it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::console::users::Role;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Loopback unless told otherwise; `off` serves nothing.
    pub listen: String,
    /// Unix socket on which `isotherm operator …` reaches the running agent.
    pub control_socket: PathBuf,
    /// Who may act, with password hashes: made by `isotherm console user add`, and tokens of machines by
    /// `isotherm console token create`. Without it the console shows and does nothing, to this machine only.
    pub users: Option<PathBuf>,
    /// Certificate and key; plain HTTP without them.
    pub tls: Option<ConsoleTls>,
    /// Beyond this machine without TLS: for a network of its own, behind a proxy that has TLS.
    pub plain_http: bool,
    /// A proxy in front that logs people in.
    pub proxy: Option<Proxy>,
    /// Folder of traces, logs, site files, models and prompts that the view Replay offers.
    pub recordings: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleTls {
    /// PEM file: the server's certificate, then those that signed it.
    pub cert: PathBuf,
    /// PEM file: the certificate's private key.
    pub key: PathBuf,
}

/// A proxy that has logged people in says in headers who they are. Whoever else sends these headers is not
/// believed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Where it connects from: addresses, or networks such as `10.1.2.0/24`.
    pub addresses: Vec<Network>,
    /// The header with the name.
    #[serde(default = "Proxy::default_user_header")]
    pub user_header: String,
    /// The header with the groups, separated by commas.
    #[serde(default = "Proxy::default_groups_header")]
    pub groups_header: String,
    /// What the members of a group may do; the highest counts.
    #[serde(default)]
    pub groups: BTreeMap<String, Role>,
    /// What everyone else may do; nothing when absent.
    #[serde(default)]
    pub role: Option<Role>,
}

impl Proxy {
    fn default_user_header() -> String {
        "x-forwarded-user".to_owned()
    }

    fn default_groups_header() -> String {
        "x-forwarded-groups".to_owned()
    }
}

/// An address or a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl Network {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    #[must_use]
    pub fn is_everyone(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let net = IpNet::from_str(&text).or_else(|_| IpAddr::from_str(&text).map(IpNet::from));
        net.map(Self).map_err(|_| {
            format!("{text:?} is no address: expected one such as \"10.1.2.3\", or a network such as \"10.1.2.0/24\"")
        })
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "An address, or a network such as `10.1.2.0/24`." })
    }
}

impl Console {
    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.listen.rsplit_once(':').map_or(self.listen.as_str(), |(host, _)| host);
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

impl Default for Console {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8455".to_owned(),
            control_socket: PathBuf::from("isotherm.sock"),
            users: None,
            tls: None,
            plain_http: false,
            proxy: None,
            recordings: None,
        }
    }
}
