//! The agent as an edge node: its births, what changes, and its death. It takes no commands but the one to
//! be born again: what may be written is asked for through the console or the control socket, by a person.

use std::collections::BTreeMap;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, LastWill, Packet, QoS};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::payload::{Metric, Payload, Value};
use super::{BD_SEQ, NodeId, REBIRTH};
use crate::clock;
use crate::ingest::mqtt::{ConfigError, client_options};
use crate::service::View;
use crate::site::{Mqtt, Site};
use crate::units::Unit;

/// Changes are gathered for so long.
const GATHER: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(5);
const FAREWELL: Duration = Duration::from_secs(2);
const REQUESTS: usize = 64;

/// The agent's place in the namespace; it dies with its handle, or properly with [`Handle::close`].
#[derive(Debug)]
pub struct Handle {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Says the death and goes.
    pub async fn close(mut self) {
        if let Some(stop) = self.stop.take()
            && stop.send(()).is_ok()
            && tokio::time::timeout(FAREWELL, &mut self.task).await.is_err()
        {
            tracing::warn!("the broker was not told the death of the edge node; it will say it by itself");
        }
        self.task.abort();
    }
}

/// Starts being an edge node; `None` where the site says nothing of Sparkplug, or has no broker.
pub fn start(site: &Site, view: watch::Receiver<View>) -> Result<Option<Handle>, ConfigError> {
    let (Some(settings), Some(mqtt)) = (&site.sparkplug, &site.mqtt) else { return Ok(None) };
    let node = settings.node.clone().unwrap_or_else(|| format!("isotherm-{}", site.name));
    let id = NodeId { group: settings.group.clone(), node };
    // Fails now rather than in the background.
    client_options(mqtt, String::new())?;
    let edge = Edge {
        client_id: format!("isotherm-{}-sparkplug", site.name),
        device: site.name.to_string(),
        measured: measured(site),
        mqtt: mqtt.clone(),
        // A restarted agent must not repeat the number of the life before.
        bd_seq: u8::try_from(clock::now().as_second().rem_euclid(256)).unwrap_or(0),
        seq: 0,
        shown: BTreeMap::new(),
        id,
        view,
    };
    let (stop, stopped) = oneshot::channel();
    Ok(Some(Handle { stop: Some(stop), task: tokio::spawn(edge.run(stopped)) }))
}

/// The metrics of the device, by where they are in the view.
fn measured(site: &Site) -> Vec<(String, String, Option<Unit>)> {
    let fixed = [
        ("Mode", "/mode"),
        ("In charge", "/in_charge"),
        ("Emergency", "/emergency"),
        ("Decisions", "/stats/decisions"),
        ("Writes", "/stats/writes"),
        ("Interventions", "/stats/interventions"),
    ];
    let fixed = fixed.map(|(name, at)| (name.to_owned(), at.to_owned(), None));
    let signals = site
        .signals
        .iter()
        .map(|s| (format!("Signals/{}", s.name), format!("/frame/signals/{}", s.name), Some(s.unit)));
    let setpoints = site
        .setpoints
        .iter()
        .map(|s| (format!("Setpoints/{}", s.name), format!("/frame/setpoints/{}", s.name), Some(s.unit)));
    fixed.into_iter().chain(signals).chain(setpoints).collect()
}

struct Edge {
    id: NodeId,
    device: String,
    client_id: String,
    mqtt: Mqtt,
    measured: Vec<(String, String, Option<Unit>)>,
    view: watch::Receiver<View>,
    bd_seq: u8,
    /// Of the next message.
    seq: u8,
    /// What was said last, by alias.
    shown: BTreeMap<u64, Option<Value>>,
}

impl Edge {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        // There is nothing to be born with before the first frame.
        tokio::select! {
            seen = self.view.wait_for(|view| !view.is_null()) => if seen.is_err() { return },
            _ = &mut stopped => return,
        }
        loop {
            self.bd_seq = self.bd_seq.wrapping_add(1);
            if self.live(&mut stopped).await {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = &mut stopped => return,
            }
        }
    }

    /// One connection. True: it was ended properly.
    async fn live(&mut self, stopped: &mut oneshot::Receiver<()>) -> bool {
        let Ok(mut options) = client_options(&self.mqtt, self.client_id.clone()) else { return false };
        let death = self.death().to_bytes();
        options.set_last_will(LastWill::new(self.id.topic("NDEATH"), death, QoS::AtLeastOnce, false));
        let (client, mut connection) = AsyncClient::new(options, REQUESTS);
        let (tx, mut packets) = mpsc::channel(16);
        // The connection is driven by a task that does nothing else.
        let driver = tokio::spawn(async move {
            loop {
                match connection.poll().await {
                    Ok(Event::Incoming(packet)) => {
                        if let Packet::ConnAck(_) | Packet::Publish(_) = packet
                            && tx.send(packet).await.is_err()
                        {
                            return;
                        }
                    }
                    Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return,
                    Ok(Event::Outgoing(_)) => {}
                    Err(error) => {
                        tracing::debug!(%error, "the edge node is not connected");
                        return;
                    }
                }
            }
        });
        let mut born = false;
        let mut gather = tokio::time::interval(GATHER);
        loop {
            tokio::select! {
                packet = packets.recv() => match packet {
                    Some(Packet::ConnAck(_)) => {
                        let commands = self.id.topic("NCMD");
                        born = client.try_subscribe(commands, QoS::AtLeastOnce).is_ok() && self.births(&client);
                    }
                    Some(Packet::Publish(p)) if asks_for_births(&p.payload) => born = self.births(&client),
                    Some(_) => {}
                    None => return false,
                },
                _ = gather.tick(), if born => self.changes(&client),
                _ = &mut *stopped => {
                    let death = self.death().to_bytes();
                    let said = client.try_publish(self.id.topic("NDEATH"), QoS::AtLeastOnce, false, death).is_ok();
                    if said && client.try_disconnect().is_ok() && driver.await.is_err() {
                        tracing::debug!("the edge node's connection broke at its end");
                    }
                    return true;
                }
            }
        }
    }

    fn death(&self) -> Payload {
        let bd_seq = Metric::named(BD_SEQ, Value::Long(self.bd_seq.into()), now_ms());
        Payload { timestamp: Some(now_ms()), metrics: vec![bd_seq], seq: None }
    }

    /// Says all of it, with names and numbers. Whether the connection took it.
    fn births(&mut self, client: &AsyncClient) -> bool {
        self.seq = 0;
        let now = now_ms();
        let node = vec![
            Metric::named(BD_SEQ, Value::Long(self.bd_seq.into()), now),
            Metric::named(REBIRTH, Value::Boolean(false), now),
            Metric::named("Properties/Version", Value::Text(env!("CARGO_PKG_VERSION").to_owned()), now),
        ];
        self.shown = self.values();
        let device = self.measured.iter().zip(1..).map(|((name, _, unit), alias)| {
            let value = self.shown.get(&alias).cloned().flatten();
            let empty = value.is_none();
            let metric = Metric::named(name, value.unwrap_or(Value::Double(0.0)), now);
            let metric = Metric { alias: Some(alias), ..metric };
            let metric = unit.map_or(metric.clone(), |unit| metric.with_unit(unit.as_str()));
            if empty { metric.without_value() } else { metric }
        });
        let device = device.collect();
        self.say(client, self.id.topic("NBIRTH"), node)
            && self.say(client, format!("{}/{}", self.id.topic("DBIRTH"), self.device), device)
    }

    /// Says what is not as it was said last.
    fn changes(&mut self, client: &AsyncClient) {
        let now = now_ms();
        let values = self.values();
        let changed: Vec<Metric> = values
            .iter()
            .filter(|(alias, value)| self.shown.get(*alias) != Some(*value))
            .map(|(alias, value)| {
                let metric = Metric::named("", value.clone().unwrap_or(Value::Double(0.0)), now);
                let metric = Metric { name: None, alias: Some(*alias), ..metric };
                if value.is_none() { metric.without_value() } else { metric }
            })
            .collect();
        if !changed.is_empty()
            && self.say(client, format!("{}/{}", self.id.topic("DDATA"), self.device), changed)
        {
            self.shown = values;
        }
    }

    fn say(&mut self, client: &AsyncClient, topic: String, metrics: Vec<Metric>) -> bool {
        let payload = Payload { timestamp: Some(now_ms()), metrics, seq: Some(self.seq.into()) };
        let said = client.try_publish(topic, QoS::AtMostOnce, false, payload.to_bytes()).is_ok();
        if said {
            self.seq = self.seq.wrapping_add(1);
        }
        said
    }

    /// Good values only: what is not believed here is nothing to tell others.
    fn values(&self) -> BTreeMap<u64, Option<Value>> {
        let view = self.view.borrow();
        let value = |(_, at, unit): &(String, String, Option<Unit>)| {
            let found = view.pointer(at)?;
            if unit.is_some() {
                return found["value"].as_f64().filter(|_| found["quality"] == "good").map(Value::Double);
            }
            let text = || found.as_str().map(|t| Value::Text(t.to_owned()));
            found.as_bool().map(Value::Boolean).or_else(|| found.as_u64().map(Value::Long)).or_else(text)
        };
        (1..).zip(self.measured.iter().map(value)).collect()
    }
}

fn asks_for_births(payload: &[u8]) -> bool {
    let payload = Payload::read(payload).ok();
    payload.is_some_and(|p| p.metric(REBIRTH).is_some_and(|m| m.value == Some(Value::Boolean(true))))
}

fn now_ms() -> u64 {
    u64::try_from(clock::now().as_millisecond()).unwrap_or(0)
}
