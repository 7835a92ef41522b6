//! Frames out, acknowledgements in.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::plant::Plant;

/// User and password of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

pub(super) struct Config {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Option<Login>,
    pub(super) plant: &'static str,
    pub(super) about: String,
    pub(super) lockstep: Option<String>,
    pub(super) stopped: watch::Receiver<bool>,
}

/// How long to wait for the first connection.
const FIRST_CONNECT: Duration = Duration::from_secs(20);
/// In lock step, silence after which a warning is logged.
const SILENCE: Duration = Duration::from_secs(30);
/// In lock step, silence after which the frame is published again: before the first acknowledgement
/// (nobody may have been listening yet), and later (the frame may have been lost).
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_LATER: Duration = Duration::from_secs(10);
const LARGEST_PACKET: usize = 256 * 1024;

/// A frame: `{"time", "signals": {NAME: {"value", "unit", "quality"}}}`; a missing sample is left out.
pub(super) fn frame(plant: &Plant) -> Vec<u8> {
    let signals: Map<String, Value> = plant
        .sensors()
        .into_iter()
        .filter_map(|(spec, value)| {
            // Three decimals are more than any of these sensors has.
            let value = (value? * 1000.0).round() / 1000.0;
            let entry = json!({ "value": value, "unit": spec.unit, "quality": "good" });
            Some((spec.name.to_owned(), entry))
        })
        .collect();
    json!({ "time": plant.time().to_string(), "signals": signals }).to_string().into_bytes()
}

/// The connection as the pacer sees it.
pub(super) struct Link {
    client: AsyncClient,
    topic: String,
    jobs: String,
    connected: watch::Receiver<bool>,
    /// Latest acknowledged time; `None` without lock step.
    acked: Option<watch::Receiver<Timestamp>>,
    dropped: u64,
}

/// Connects, announces the simulation, and (in lock step) subscribes to the acknowledgements.
pub(super) async fn connect(config: Config) -> anyhow::Result<Link> {
    let id = format!("isotherm-sim-{}-{}", config.plant, std::process::id());
    let mut options = MqttOptions::new(id, &config.host, config.port);
    options.set_keep_alive(Duration::from_secs(10));
    options.set_max_packet_size(LARGEST_PACKET, LARGEST_PACKET);
    if let Some(login) = &config.login {
        options.set_credentials(&login.user, &login.password);
    }
    let (client, mut events) = AsyncClient::new(options, 64);
    // Otherwise a small packet waits for the acknowledgement of the one before: 40 ms a frame in lock step.
    events.network_options.set_tcp_nodelay(true);
    let (connected_tx, connected) = watch::channel(false);
    let (acked_tx, acked) = watch::channel(Timestamp::MIN);
    let mut link = Link {
        client: client.clone(),
        topic: format!("sim/{}/frame", config.plant),
        jobs: format!("sim/{}/jobs", config.plant),
        connected,
        acked: config.lockstep.is_some().then_some(acked),
        dropped: 0,
    };
    let at = format!("{}:{}", config.host, config.port);
    tokio::spawn(poll(events, client, config, connected_tx, acked_tx));
    timeout(FIRST_CONNECT, link.connected.wait_for(|up| *up))
        .await
        .with_context(|| format!("no MQTT broker answered at {at} within {FIRST_CONNECT:?}"))?
        .context("the MQTT task ended")?;
    Ok(link)
}

/// Drives the connection. Never awaits a request of its own: that would block the loop it drives.
async fn poll(
    mut events: EventLoop,
    client: AsyncClient,
    config: Config,
    connected: watch::Sender<bool>,
    acked: watch::Sender<Timestamp>,
) {
    let mut wait = Duration::from_millis(50);
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                wait = Duration::from_millis(50);
                let about = format!("sim/{}/about", config.plant);
                let greeting = client
                    .try_publish(about, QoS::AtLeastOnce, true, config.about.clone())
                    .and_then(|()| match &config.lockstep {
                        Some(topic) => client.try_subscribe(topic, QoS::AtLeastOnce),
                        None => Ok(()),
                    });
                if let Err(error) = greeting {
                    tracing::warn!(%error, "could not greet the broker");
                }
                if config.lockstep.is_none() {
                    connected.send_replace(true);
                }
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                connected.send_replace(true);
            }
            Ok(Event::Incoming(Packet::Publish(message))) => {
                if let Some(time) = ack_time(&message.payload) {
                    acked.send_if_modified(|latest| {
                        let newer = time > *latest;
                        *latest = time.max(*latest);
                        newer
                    });
                } else {
                    tracing::warn!(
                        topic = message.topic,
                        "acknowledgement ignored: expected {{\"time\": RFC 3339}}"
                    );
                }
            }
            Ok(_) => {}
            Err(error) => {
                connected.send_replace(false);
                if *config.stopped.borrow() {
                    return;
                }
                tracing::warn!(%error, "MQTT connection lost; trying again");
                sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(10));
            }
        }
    }
}

fn ack_time(payload: &[u8]) -> Option<Timestamp> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    value.get("time")?.as_str()?.parse().ok()
}

impl Link {
    /// Publishes a frame; in lock step, returns when it has been acknowledged. Without lock step a
    /// frame is lost while the broker is away, as a gateway without a buffer would lose it.
    pub(super) async fn publish(&mut self, frame: Vec<u8>, time: Timestamp) {
        if self.acked.is_some() {
            self.publish_until_acked(&frame, time).await;
        } else if *self.connected.borrow() {
            self.send(frame).await;
        } else {
            self.dropped += 1;
            if self.dropped.is_power_of_two() {
                tracing::warn!(frames = self.dropped, "frames lost: no broker");
            }
        }
    }

    /// Publishes what schedulers say of their jobs; lost while the broker is away.
    pub(super) async fn announce(&mut self, said: Vec<String>) {
        for message in said {
            if *self.connected.borrow()
                && let Err(error) = self.client.publish(&self.jobs, QoS::AtLeastOnce, false, message).await
            {
                tracing::warn!(%error, "a job was not announced");
            }
        }
    }

    async fn send(&mut self, frame: Vec<u8>) {
        if let Err(error) = self.client.publish(&self.topic, QoS::AtLeastOnce, false, frame).await {
            tracing::warn!(%error, "a frame was not published");
        }
    }

    async fn publish_until_acked(&mut self, frame: &[u8], time: Timestamp) {
        let Some(mut acked) = self.acked.clone() else {
            return;
        };
        let mut silent = Duration::ZERO;
        loop {
            let again = if *acked.borrow() == Timestamp::MIN { AGAIN_FIRST } else { AGAIN_LATER };
            if *self.connected.borrow() {
                self.send(frame.to_vec()).await;
            }
            let heard = async { acked.wait_for(|latest| *latest >= time).await.map(drop) };
            match timeout(again, heard).await {
                Ok(Ok(())) => return,
                // The MQTT task is gone: only stopping can follow.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => {
                    silent += again;
                    if silent >= SILENCE {
                        tracing::warn!(%time, "no acknowledgement for 30 s; still waiting");
                        silent = Duration::ZERO;
                    }
                }
            }
        }
    }

    /// Gives what is queued a moment to leave, then disconnects.
    pub(super) async fn finish(&mut self) {
        if *self.connected.borrow()
            && timeout(Duration::from_secs(1), self.client.disconnect()).await.is_err()
        {
            tracing::warn!("the broker took no goodbye");
        }
    }
}
