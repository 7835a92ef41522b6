//! `isotherm check`: connects a new plant with nothing else. Reads every signal and setpoint once and
//! prints what arrived; writes nothing. As an acceptance test ([`accept`]) or as step tests ([`steps`]) it goes on
//! to write, where somebody consents.

mod accept;
mod hand;
mod protocol;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::clock::{self, Stopwatch};
use crate::doctor;
use crate::frame::{Assembler, Doubt, Frame, Quality, Sample};
use crate::ingest::modbus::{Bus, LinkCause, ModbusError, Poller, ReadFailure};
use crate::ingest::mqtt::{self, ConfigError, SourceEvent};
use crate::register;
use crate::site::{Clock, Name, Point, Site, Source};
use crate::units::{Finite, Unit};

pub use accept::{AcceptError, accept};
pub use protocol::{Protocol, Step, StepResult};
pub use steps::{Answer, Errors, Measured, Plan, Seen, StepProtocol, StepsError, steps};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Good,
    Found,
    Unreachable,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    pub site: Name,
    #[serde(serialize_with = "as_text")]
    pub time: Timestamp,
    pub rows: Vec<Row>,
    /// What could not be reached, and why.
    pub unreachable: Vec<String>,
    /// What else the site has to be told before it may act.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One signal or setpoint.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    pub kind: &'static str,
    pub name: Name,
    pub value: Option<Finite>,
    pub unit: Unit,
    pub quality: Quality,
    pub doubt: Option<Doubt>,
    pub age_s: Option<Finite>,
    pub source: String,
    /// Why there is no value, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// For an implausible two-register value: what it would be in the other orders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_orders: Vec<String>,
}

fn as_text<S: serde::Serializer>(t: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(t)
}

/// How long a topic may take to say something.
const PATIENCE: Duration = Duration::from_secs(10);

/// An error is one in the site file's way to the broker; what does not answer is in the report.
pub async fn examine(site: &Site) -> Result<Report, ConfigError> {
    Ok(look(site, &Bus::open(site)).await?.0)
}

/// The report, and the frame that it shows.
async fn look(site: &Site, bus: &Bus) -> Result<(Report, Frame), ConfigError> {
    let mut assembler = Assembler::new(site);
    let mut missed = Missed::default();
    let mut time = listen(site, &mut assembler, &mut missed).await?;
    let polled = Poller::new(site, bus.clone()).poll(time).await;
    assembler.take(&polled);
    for failure in &polled.failures {
        missed.add(&failure.name, on_device(site, failure));
    }
    if site.clock == Clock::Wall {
        time = clock::now();
    }
    let frame = assembler.snapshot(time);
    let warnings =
        doctor::unattended(site).into_iter().map(|f| format!("{}: {}", f.found, f.means)).collect();
    let mut report = Report {
        site: site.name.clone(),
        time,
        rows: rows(site, &frame, &missed),
        unreachable: missed.causes(),
        warnings,
    };
    explain_orders(site, bus, &mut report).await;
    Ok((report, frame))
}

/// What did not come, and why.
#[derive(Debug, Default)]
struct Missed {
    why: BTreeMap<Name, String>,
    /// Causes that concern no one value.
    others: Vec<String>,
}

impl Missed {
    fn add(&mut self, name: &Name, why: String) {
        self.why.entry(name.clone()).or_insert(why);
    }

    /// Each cause once, with all that it keeps away.
    fn causes(&self) -> Vec<String> {
        let mut by_cause: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, why) in &self.why {
            by_cause.entry(why).or_default().push(name.as_str());
        }
        let joined = by_cause.into_iter().map(|(why, names)| format!("{why}: {}", names.join(", ")));
        joined.chain(self.others.iter().cloned()).collect()
    }
}

/// Which device, where, and what it did. When it is tried again is no matter here.
fn on_device(site: &Site, failure: &ReadFailure) -> String {
    let place =
        site.device(&failure.device).map(|d| format!(" at {}:{}", d.host, d.port)).unwrap_or_default();
    let what = match &failure.error {
        ModbusError::Link { cause: LinkCause::Connect { kind, .. }, .. } => {
            format!("cannot connect ({kind})")
        }
        ModbusError::Link { cause, .. } => cause.to_string(),
        ModbusError::Tripped { .. } => "does not answer".to_owned(),
        error @ (ModbusError::Refused(_)
        | ModbusError::Timeout(_)
        | ModbusError::Mismatch
        | ModbusError::Decode(_)
        | ModbusError::UnknownDevice(_)) => error.to_string(),
    };
    format!("device \"{}\"{place}: {what}", failure.device)
}

/// Listens until every topic's signals have been heard, or patience ends. Returns control time.
async fn listen(
    site: &Site,
    assembler: &mut Assembler,
    missed: &mut Missed,
) -> Result<Timestamp, ConfigError> {
    let mut time = clock::now();
    let Some(broker) = &site.mqtt else { return Ok(time) };
    let (_handle, mut events) = mqtt::visit(site)?;
    let mut waiting: BTreeSet<&Name> =
        site.signals.iter().filter(|s| s.source.is_by_broker()).map(|s| &s.name).collect();
    let on = |topic: &str| {
        let on = site.signals.iter().filter(|s| s.source.topic().as_deref() == Some(topic));
        on.map(|s| &s.name).collect::<Vec<_>>()
    };
    let watch = Stopwatch::start();
    let mut down = None;
    while !waiting.is_empty() && watch.elapsed() < PATIENCE {
        let left = PATIENCE.saturating_sub(watch.elapsed());
        match tokio::time::timeout(left, events.recv()).await {
            Ok(Some(SourceEvent::Readings { time: stamped, readings })) => {
                for reading in readings {
                    waiting.remove(&reading.name);
                    assembler.push(&reading);
                }
                time = match (site.clock, stamped) {
                    (Clock::Frames, Some(t)) => t,
                    _ => clock::now(),
                };
            }
            Ok(Some(SourceEvent::Down { why })) => down = Some(why),
            Ok(Some(SourceEvent::Up)) => down = None,
            Ok(Some(SourceEvent::Malformed { topic, problem, .. })) => {
                missed.others.push(format!("topic {topic}: {problem}"));
            }
            Ok(Some(SourceEvent::Denied { topic })) => {
                let why = format!("topic {topic}: the broker does not allow the subscription");
                let names = on(&topic);
                if names.is_empty() {
                    missed.others.push(why.clone());
                }
                for name in names {
                    missed.add(name, why.clone());
                }
            }
            Ok(Some(
                SourceEvent::Silent { .. } | SourceEvent::Overrun { .. } | SourceEvent::Announced(_),
            )) => {}
            Ok(None) | Err(_) => break,
        }
    }
    let broker = format!("broker {}:{}", broker.host, broker.port);
    let why = down.map_or_else(
        || {
            let patience = PATIENCE.as_secs();
            format!("{broker} answers, but within {patience} s nothing came; check topic, pointer and access rights")
        },
        |why| format!("{broker}: {why}"),
    );
    for name in waiting {
        missed.add(name, why.clone());
    }
    Ok(time)
}

fn rows(site: &Site, frame: &Frame, missed: &Missed) -> Vec<Row> {
    let row = |kind, name: &Name, unit, source: String, sample: Option<&Sample>| {
        let missing = Sample::missing(unit);
        let s = sample.unwrap_or(&missing);
        Row {
            kind,
            name: name.clone(),
            value: s.value,
            unit,
            quality: s.quality,
            doubt: s.doubt,
            age_s: s.age_s,
            source,
            why: missed.why.get(name).filter(|_| s.value.is_none()).cloned(),
            other_orders: Vec::new(),
        }
    };
    let signals = site.signals.iter().map(|s| {
        let source = match &s.source {
            Source::Mqtt(t) => format!("mqtt {}", t.topic),
            Source::Sparkplug(e) => format!("sparkplug {} {}", e.sparkplug, e.metric),
            Source::Modbus(p) => place(p),
        };
        row("signal", &s.name, s.unit, source, frame.signals.get(&s.name))
    });
    let setpoints = site
        .setpoints
        .iter()
        .map(|s| row("setpoint", &s.name, s.unit, place(&s.register), frame.setpoints.get(&s.name)));
    signals.chain(setpoints).collect()
}

fn place(p: &Point) -> String {
    format!("modbus {} {} {}", p.device, p.table.as_str(), p.address)
}

/// A value that makes no sense in two registers is usually a matter of order: shows all four.
async fn explain_orders(site: &Site, bus: &Bus, report: &mut Report) {
    use crate::site::source::Order::{Big, Little};
    for row in &mut report.rows {
        let Some(signal) = site.signal(&row.name) else { continue };
        let Source::Modbus(point) = &signal.source else { continue };
        let odd = matches!(row.doubt, Some(Doubt::OutOfRange | Doubt::WrongUnit));
        if point.word_type.registers() < 2 || !odd {
            continue;
        }
        let address = site.device(&point.device).and_then(|d| d.wire_address(point.address));
        let Some(address) = address else { continue };
        let count = point.word_type.registers();
        let Ok(words) = bus.read(&point.device, point.table, address, count).await else { continue };
        for (word_order, byte_order) in [(Big, Big), (Little, Big), (Big, Little), (Little, Little)] {
            let other = Point { word_order, byte_order, ..point.clone() };
            let text = match register::decode(&other, &words) {
                Ok(value) => value.to_string(),
                Err(e) => e.to_string(),
            };
            let (word, byte) = (word_order.as_str(), byte_order.as_str());
            row.other_orders.push(format!("word {word}, byte {byte}: {text}"));
        }
    }
}

impl Report {
    #[must_use]
    pub fn level(&self) -> Level {
        if !self.unreachable.is_empty() {
            Level::Unreachable
        } else if self.rows.iter().any(|r| r.quality != Quality::Good) {
            Level::Found
        } else {
            Level::Good
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}", self.site, self.time)?;
        for problem in &self.unreachable {
            writeln!(f, "unreachable: {problem}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        writeln!(
            f,
            "{:<9} {:<24} {:>10} {:<6} {:<8} {:>7}  source",
            "", "name", "value", "unit", "quality", "age s"
        )?;
        for r in &self.rows {
            let value =
                r.value.map_or("-".to_owned(), |v| format!("{:.*}", usize::from(r.unit.decimals()), v.get()));
            let age = r.age_s.map_or("-".to_owned(), |a| format!("{:.0}", a.get()));
            let quality = r.quality.as_str();
            writeln!(
                f,
                "{:<9} {:<24} {value:>10} {:<6} {quality:<8} {age:>7}  {}",
                r.kind,
                r.name,
                r.unit.as_str(),
                r.source
            )?;
            if let Some(why) = &r.why {
                writeln!(f, "{:<9} ^ {why}", "")?;
            } else if let Some(doubt) = r.doubt {
                writeln!(f, "{:<9} ^ {}", "", advice(doubt))?;
            }
            for other in &r.other_orders {
                writeln!(f, "{:<9}   {other}", "")?;
            }
        }
        Ok(())
    }
}

/// What a controls engineer looks at next.
fn advice(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::OutOfRange => "out of the plausible range: check scale, register, word order",
        Doubt::WrongUnit => "plausible only in another unit: set the source's unit (degF sent as degC?)",
        Doubt::Jump => "changed faster than slew_per_min allows",
        Doubt::Stuck => "has not changed for stuck_after: a dead sensor or a frozen gateway",
        Doubt::Disagrees => "far from the sensors of its twin_group",
        Doubt::Reconnect => "the first value after a reconnect: one more is needed",
        Doubt::Flagged => "the source itself marks it as not good",
        Doubt::Retained => "a retained message: how old it is cannot be known",
        Doubt::Clock => "time stamped in the future: check the source's clock",
        Doubt::TooOld => "older than stale_after",
        Doubt::NeverSeen => "nothing received: check topic or register, and access rights",
    }
}
