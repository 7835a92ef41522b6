//! `isotherm init`: a first site file, by asking, by listening to a broker and by reading registers. Nothing
//! is written but the file, and nothing is published but, with consent, what asks Sparkplug nodes for their births.

mod ask;
mod draft;
mod guess;
mod listen;
mod registers;
mod scan;
mod write;

use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as ClapArgs;
use serde::Serialize;

use self::ask::Asker;
use self::draft::Drafted;
use self::listen::Broker;
use self::scan::Scan;
use self::write::{Draft, Scanned};
use crate::clock;
use crate::ingest::modbus::Bus;
use crate::ingest::mqtt::{self, Message, SurveyError};
use crate::site::{self, Device, Mqtt, Name, PlantKind, Setpoint, Signal, SiteError};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The file to write. One that is there already is left alone.
    #[arg(long, default_value = "site.toml")]
    out: PathBuf,
    /// Ask nothing: what no option says takes its default.
    #[arg(long)]
    yes: bool,
    /// Name of the site, as in topics and records.
    #[arg(long)]
    name: Option<Name>,
    #[arg(long, value_enum)]
    plant: Option<PlantKind>,
    /// Broker to listen to.
    #[arg(long, value_name = "HOST[:PORT]")]
    broker: Option<String>,
    #[arg(long)]
    username: Option<String>,
    /// Environment variable that holds the broker's password.
    #[arg(long, value_name = "VARIABLE", requires = "username")]
    password_env: Option<String>,
    /// Topics to listen to, wildcards allowed.
    #[arg(long = "topic", value_name = "FILTER", default_value = "#")]
    topics: Vec<String>,
    /// How long to listen, in seconds.
    #[arg(long, default_value_t = 30)]
    listen: u64,
    /// Ask Sparkplug nodes for their births, which say what their numbers mean and which the broker keeps none of:
    /// publishes one command to each that is heard.
    #[arg(long)]
    rebirth: bool,
    /// Registers to read: twice, in small blocks, and never written.
    #[arg(long = "scan", value_name = "NAME=HOST[:PORT][/UNIT]:TABLE:FROM-TO")]
    scans: Vec<Scan>,
    /// A signal in the words of the site file: 'name = "chws", unit = "degC", source = { … }, …'
    #[arg(long = "signal", value_name = "TOML")]
    signals: Vec<String>,
    /// A setpoint in the words of the site file: 'name = "chws_sp", register = { … }, min = 6, …'
    #[arg(long = "setpoint", value_name = "TOML")]
    setpoints: Vec<String>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Made {
    pub path: PathBuf,
    pub signals: usize,
    pub setpoints: usize,
    /// Registers that answered.
    pub registers: usize,
    /// Topics that carried no number.
    pub other_topics: Vec<String>,
    /// Sparkplug nodes that were heard without the births that explain them.
    pub unborn_nodes: Vec<String>,
    /// What the file lacks before it is accepted; also at its top.
    pub to_fill: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error("{path}: is there already; give another file with --out", path = path.display())]
    Exists { path: PathBuf },
    #[error("{path}: cannot write the site file: {source}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot ask: {0}")]
    Ask(#[from] io::Error),
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Broker(#[from] SurveyError),
    #[error("--scan: {0}. Nothing was written")]
    Device(String),
}

impl InitError {
    /// Whether it was a peer that failed, and not what was asked for.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Broker(SurveyError::Unreachable { .. }) | Self::Device(_))
    }
}

/// Asks what no option says on `out`, reads answers from `input`, looks around, and writes the file.
pub async fn run(args: &Args, input: impl BufRead, out: impl Write) -> Result<Made, InitError> {
    if args.out.exists() {
        return Err(InitError::Exists { path: args.out.clone() });
    }
    let mut asker = Asker::new(input, out, args.yes);
    let name = match &args.name {
        Some(name) => name.clone(),
        None => asker.parsed("Name of the site (a-z, 0-9, _ and -)", "site", str::parse::<Name>)?,
    };
    let plant = match args.plant {
        Some(plant) => plant,
        None => asker.parsed("Plant (air, liquid or immersion)", "air", |text| {
            <PlantKind as clap::ValueEnum>::from_str(text, true)
        })?,
    };
    let mqtt = broker(args, &mut asker)?;
    let scans = scans(args, &mut asker)?;
    let devices = devices(&scans)?;
    let bus = Bus::to(&devices);

    let mut scanned = Vec::new();
    for scan in scans {
        let first = scan::read(&bus, &scan).await;
        match &first.trouble {
            Some(trouble) if !first.answered => return Err(InitError::Device(trouble.clone())),
            Some(trouble) => asker.say(&format!("Not all could be read: {trouble}"))?,
            None => {}
        }
        scanned.push(Scanned { scan, first, second: scan::Found::default() });
    }
    let listened = Duration::from_secs(args.listen);
    let mut heard = Broker::new(clock::monotonic());
    if let Some(mqtt) = &mqtt {
        asker.say(&format!("Listening to {}:{} for {} s …", mqtt.host, mqtt.port, args.listen))?;
        let hear = |message: Message<'_>| {
            let unborn = heard.hear(message).filter(|_| args.rebirth)?;
            Some(unborn.rebirth_request(u64::try_from(clock::now().as_millisecond()).ok()?))
        };
        mqtt::survey(mqtt, &args.topics, listened, hear).await?;
    }
    for s in &mut scanned {
        s.second = scan::read(&bus, &s.scan).await;
    }
    let registers = scanned.iter().map(|s| s.first.words.len()).sum();
    let other_topics = heard.other.keys().cloned().collect();
    let unborn_nodes: Vec<String> =
        heard.unborn.iter().map(|id| format!("{}/{}", id.group, id.node)).collect();
    let mut given_setpoints = given::<Setpoint>("--setpoint", &args.setpoints)?;
    let given_signals = given::<Signal>("--signal", &args.signals)?;
    if registers > 0 && args.setpoints.is_empty() {
        given_setpoints = ask_setpoints(&scanned, &mut asker)?;
    }
    let given: Vec<&toml::Table> = given_signals.iter().chain(&given_setpoints).collect();
    let names = given.iter().filter_map(|t| t.get("name")?.as_str());
    let mut taken = names.map(str::to_owned).collect();
    let mut found = draft::of_broker(heard, &mut taken);
    found.extend(draft::of_registers(&scanned, listened, &given, &mut taken));
    let signals = chosen(found, &mut asker)?;
    let draft = Draft {
        name,
        plant,
        mqtt,
        listened,
        devices,
        signals,
        unborn_nodes: unborn_nodes.clone(),
        given_signals,
        given_setpoints,
        scans: scanned,
    };
    let signals = draft.signals.len() + draft.given_signals.len();
    let setpoints = draft.given_setpoints.len();
    let to_fill = save(&args.out, &draft.to_string())?;
    Ok(Made { path: args.out.clone(), signals, setpoints, registers, other_topics, unborn_nodes, to_fill })
}

fn broker<R: BufRead, W: Write>(args: &Args, asker: &mut Asker<R, W>) -> Result<Option<Mqtt>, InitError> {
    let peer = match &args.broker {
        Some(peer) => peer.clone(),
        None => asker.text("MQTT broker, HOST[:PORT] (nothing: none)", "")?,
    };
    if peer.is_empty() {
        return Ok(None);
    }
    let (host, port) = host_and_port(&peer, 1883).map_err(InitError::Usage)?;
    let username = match &args.username {
        Some(user) => Some(user.clone()),
        None if args.broker.is_some() => None,
        None => Some(asker.text("User name at the broker (nothing: none)", "")?).filter(|u| !u.is_empty()),
    };
    let password_env = match (&args.password_env, &username) {
        (Some(variable), _) => Some(variable.clone()),
        (None, Some(_)) if args.username.is_none() => {
            Some(asker.text("Environment variable with the password", "MQTT_PASSWORD")?)
        }
        (None, _) => None,
    };
    let text = format!("host = {}\nport = {port}", toml::Value::String(host));
    let mqtt = toml::from_str::<Mqtt>(&text).map_err(|e| InitError::Usage(e.to_string()))?;
    Ok(Some(Mqtt { username, password_env, ..mqtt }))
}

fn scans<R: BufRead, W: Write>(args: &Args, asker: &mut Asker<R, W>) -> Result<Vec<Scan>, InitError> {
    let mut scans = args.scans.clone();
    while args.scans.is_empty() {
        let question = "Registers to read, NAME=HOST[:PORT][/UNIT]:TABLE:FROM-TO (nothing: no more)";
        let answer = asker.parsed(question, "", |text| {
            if text.is_empty() { Ok(None) } else { text.parse::<Scan>().map(Some) }
        })?;
        match answer {
            Some(scan) => scans.push(scan),
            None => break,
        }
    }
    Ok(scans)
}

/// One device for each name; two scans of one name must mean one device.
fn devices(scans: &[Scan]) -> Result<Vec<Device>, InitError> {
    let mut devices: Vec<Device> = Vec::new();
    for scan in scans {
        let device = scan.device().map_err(InitError::Usage)?;
        match devices.iter().find(|d| d.name == device.name) {
            None => devices.push(device),
            Some(known) if *known == device => {}
            Some(_) => {
                return Err(InitError::Usage(format!("--scan: device {} has two addresses", device.name)));
            }
        }
    }
    Ok(devices)
}

fn chosen<R: BufRead, W: Write>(
    signals: Vec<Drafted>,
    asker: &mut Asker<R, W>,
) -> Result<Vec<Drafted>, InitError> {
    if signals.is_empty() {
        return Ok(signals);
    }
    for s in &signals {
        let (from, was) = s.shown();
        asker.say(&format!("  {:<32} {was} {:<6} {from}", s.name, s.guess.wire))?;
    }
    if asker.agrees(&format!("Take all {} values as signals", signals.len()))? {
        return Ok(signals);
    }
    let mut kept = Vec::new();
    for signal in signals {
        if asker.agrees(&format!("{} from {}", signal.name, signal.shown().0))? {
            kept.push(signal);
        }
    }
    Ok(kept)
}

/// Entries in the words of the site file, checked to be ones.
fn given<T: serde::de::DeserializeOwned>(
    option: &str,
    texts: &[String],
) -> Result<Vec<toml::Table>, InitError> {
    texts
        .iter()
        .map(|text| entry::<T>(text).map_err(|e| InitError::Usage(format!("{option} {text:?}: {e}"))))
        .collect()
}

fn entry<T: serde::de::DeserializeOwned>(text: &str) -> Result<toml::Table, String> {
    let whole: toml::Table =
        format!("entry = {{ {text} }}").parse().map_err(|e: toml::de::Error| e.to_string())?;
    let table = whole.get("entry").and_then(toml::Value::as_table).ok_or("expected KEY = VALUE, …")?;
    T::deserialize(table.clone()).map_err(|e: toml::de::Error| e.to_string())?;
    Ok(table.clone())
}

fn ask_setpoints<R: BufRead, W: Write>(
    scanned: &[Scanned],
    asker: &mut Asker<R, W>,
) -> Result<Vec<toml::Table>, InitError> {
    let mut setpoints = Vec::new();
    let device = scanned.first().map_or("plant", |s| s.scan.name.as_str());
    asker.say(&format!(
        "Setpoints, each on one line in the words of the site file, such as\n  name = \"chws_sp\", unit = \"degC\", \
         role = \"chws\", register = {{ device = \"{device}\", address = 2, scale = 0.1 }}, min = 6, max = 16, \
         step = 0.5, rate_per_min = 0.5, safe = 7, cools = \"down\""
    ))?;
    while let Some(table) = asker.parsed("Setpoint (nothing: no more)", "", |text| {
        if text.is_empty() { Ok(None) } else { entry::<Setpoint>(text).map(Some) }
    })? {
        setpoints.push(table);
    }
    Ok(setpoints)
}

/// Writes the file, with what it still lacks at its top.
fn save(path: &Path, text: &str) -> Result<Vec<String>, InitError> {
    let to_fill = match site::parse(text, path) {
        Ok(_) => Vec::new(),
        Err(SiteError::Invalid { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        Err(e) => vec![e.to_string()],
    };
    let missing = to_fill.iter().flat_map(|problem| problem.lines());
    let missing: Vec<String> = missing.map(|line| format!("# FILL IN: {line}\n")).collect();
    let whole = missing.concat() + text;
    let failed = |source| InitError::Write { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(whole.as_bytes()).map_err(failed)?;
    Ok(to_fill)
}

/// `HOST[:PORT]`, the host in brackets where it has colons itself.
fn host_and_port(peer: &str, usual: u16) -> Result<(String, u16), String> {
    let bad = |why: &str| format!("{peer:?}: {why}; expected HOST[:PORT]");
    let (host, port) = match peer.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            (host, port.parse().map_err(|_| bad("the port is not a number"))?)
        }
        _ => (peer, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(bad("no host")) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_gives_is_checked_and_kept() {
        let text =
            "name = \"x\", unit = \"degC\", source = { topic = \"a\" }, range = [0, 1], slew_per_min = 1";
        assert_eq!(entry::<Signal>(text).unwrap().len(), 5);
        assert!(entry::<Signal>("name = \"x\"").unwrap_err().contains("missing field"));
        assert!(entry::<Setpoint>("]").is_err());
    }
}
