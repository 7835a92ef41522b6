use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Outgoing, Packet, Publish, QoS, SubAck,
    SubscribeFilter, SubscribeReasonCode,
};
use tokio::time::Instant;

use super::edge::Edges;
use super::queue::Sink;
use super::route::Routes;
use super::{ONLINE, SourceEvent};
use crate::clock;
use crate::ingest::backoff::Backoff;
use crate::ingest::{Origin, Reading};
use crate::site::{Clock, Mqtt, Name, Site};
use crate::sparkplug::NodeId;
use crate::sparkplug::host::{self, Heard, Node};

/// Requests of ours that may wait for the connection.
const REQUESTS: usize = 1024;
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that lasted this long was a good one: the next failure is a new one.
const GOOD_WHILE: Duration = Duration::from_secs(10);
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// What the connection's task and the watchdog share.
#[derive(Clone)]
pub(super) struct Session(Arc<Inner>);

struct Inner {
    options: MqttOptions,
    status_topic: Option<String>,
    routes: Routes,
    edges: Edges,
    /// Where jobs are announced.
    jobs: Option<String>,
    clock: Clock,
    watchdog: Duration,
    client: Arc<Mutex<Option<AsyncClient>>>,
    state: Mutex<State>,
    sink: Sink,
}

#[derive(Default)]
struct State {
    /// With `clock = "frames"`: the time of the last frame.
    frame_time: Option<Timestamp>,
    topics: BTreeMap<String, Topic>,
    /// Edge nodes, and the last reading of each signal that comes from one.
    nodes: BTreeMap<NodeId, Node>,
    told: BTreeMap<Name, Reading>,
    closing: bool,
}

#[derive(Default)]
struct Topic {
    /// It may be silent for as long, where the site says that its values count for longer than a usual watchdog waits.
    patience: Duration,
    /// When something live last came; when we connected, if nothing did.
    heard: Option<Instant>,
    reported_silent: bool,
    malformed: u64,
    complained: Option<Instant>,
}

impl Session {
    pub(super) fn new(
        site: &Site,
        options: MqttOptions,
        status_topic: Option<String>,
        client: Arc<Mutex<Option<AsyncClient>>>,
        sink: Sink,
    ) -> Self {
        let (routes, edges) = (Routes::new(site), Edges::new(site));
        let watched = routes.topics().cloned().chain(edges.nodes().map(NodeId::filter));
        let patience = |topic: &str| {
            let own = site.signals.iter().filter(|s| s.source.topic().as_deref() == Some(topic));
            let counts = own.map(|s| s.stale_after.unsigned_abs()).max();
            counts.filter(|longest| *longest > Mqtt::default_watchdog().unsigned_abs()).unwrap_or_default()
        };
        let topics =
            watched.map(|t| (t.clone(), Topic { patience: patience(&t), ..Topic::default() })).collect();
        let nodes = edges.nodes().map(|id| (id.clone(), Node::default())).collect();
        Self(Arc::new(Inner {
            options,
            status_topic,
            routes,
            edges,
            jobs: site.workload.topic.clone(),
            clock: site.clock,
            watchdog: site.mqtt.as_ref().map(|m| m.watchdog.unsigned_abs()).unwrap_or_default(),
            client,
            state: Mutex::new(State { topics, nodes, ..State::default() }),
            sink,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_client(&self, client: Option<AsyncClient>) {
        *self.0.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// Connects, again and again, until told goodbye.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(SHORTEST_PAUSE, LONGEST_PAUSE);
        let mut reported = None;
        loop {
            let (client, mut connection) = AsyncClient::new(self.0.options.clone(), REQUESTS);
            connection.network_options.set_tcp_nodelay(true);
            let started = clock::monotonic();
            let mut connected = false;
            let error = self.hold(&client, &mut connection, &mut connected).await;
            self.set_client(None);
            if self.state().closing {
                return;
            }
            let why = error.to_string();
            if connected || reported.as_ref() != Some(&why) {
                tracing::warn!(%why, "the broker is not connected");
                self.0.sink.push(SourceEvent::Down { why: why.clone() });
                reported = Some(why);
            }
            if connected && clock::monotonic() - started >= GOOD_WHILE {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Drives one connection for as long as it lasts. Nothing in here waits for anything but the network:
    /// requests are only ever put into the client's own queue, which is new and has room.
    async fn hold(
        &self,
        client: &AsyncClient,
        connection: &mut EventLoop,
        connected: &mut bool,
    ) -> ConnectionError {
        loop {
            match connection.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    *connected = true;
                    self.connected(client);
                }
                Ok(Event::Incoming(Packet::SubAck(ack))) => self.subscribed(&ack),
                Ok(Event::Incoming(Packet::Publish(message))) => self.message(&message),
                Ok(Event::Outgoing(Outgoing::Disconnect)) => self.state().closing = true,
                Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
                Err(error) => return error,
            }
        }
    }

    /// On every connection: the broker keeps nothing of the one before.
    fn connected(&self, client: &AsyncClient) {
        let now = clock::monotonic();
        for topic in self.state().topics.values_mut() {
            topic.heard = Some(now);
            topic.reported_silent = false;
        }
        let filters: Vec<_> = self.topics().map(|t| SubscribeFilter::new(t, QoS::AtLeastOnce)).collect();
        let nothing_to_wait_for = filters.is_empty();
        let subscribed = nothing_to_wait_for || client.try_subscribe_many(filters).is_ok();
        let status = self.0.status_topic.as_deref();
        let said =
            status.is_none_or(|topic| client.try_publish(topic, QoS::AtLeastOnce, true, ONLINE).is_ok());
        if !subscribed || !said {
            // The queue is new, so this cannot be; if it is, the silence will be noticed.
            tracing::error!("the broker's connection took no requests");
        }
        self.set_client(Some(client.clone()));
        // Births are not kept by the broker, and an unchanged value is not said again.
        for id in self.0.edges.nodes() {
            if let Some(node) = self.state().nodes.get_mut(id) {
                node.reconnected(now);
            }
            ask_for_births(client, id);
        }
        if nothing_to_wait_for {
            self.0.sink.push(SourceEvent::Up);
        }
    }

    fn subscribed(&self, ack: &SubAck) {
        for (topic, code) in self.topics().zip(&ack.return_codes) {
            if *code == SubscribeReasonCode::Failure {
                tracing::error!(topic, "the broker does not let us subscribe: check its access list");
                self.0.sink.push(SourceEvent::Denied { topic: topic.clone() });
            }
        }
        tracing::info!("connected to the broker and subscribed");
        self.0.sink.push(SourceEvent::Up);
    }

    /// In the order in which they are subscribed.
    fn topics(&self) -> impl Iterator<Item = String> {
        let edges = self.0.edges.nodes().map(NodeId::filter);
        self.0.routes.topics().chain(&self.0.jobs).cloned().chain(edges)
    }

    /// A message of an edge node.
    fn edge(&self, id: &NodeId, topic: &host::Topic<'_>, payload: &[u8]) {
        let now = clock::monotonic();
        let mut state = self.state();
        let State { nodes, told, topics, frame_time, .. } = &mut *state;
        let Some(node) = nodes.get_mut(id) else { return };
        let received = match self.0.clock {
            Clock::Wall => Some(clock::now()),
            Clock::Frames => *frame_time,
        };
        if let Some(watched) = topics.get_mut(&id.filter()) {
            watched.heard = Some(now);
            watched.reported_silent = false;
        }
        let mut readings = Vec::new();
        let mut asks = None;
        for heard in node.hear(topic, payload, now) {
            match (heard, received) {
                (Heard::AskRebirth { why }, _) => asks = Some(why),
                (Heard::Value { metric, value }, Some(received)) => {
                    let new = self.0.edges.readings(id, &metric, &value, received, false);
                    told.extend(new.iter().map(|r| (r.name.clone(), r.clone())));
                    readings.extend(new);
                }
                (Heard::Dead { device }, Some(received)) => {
                    let names = self.0.edges.names(id, device.as_deref());
                    readings.extend(disbelieved(told, &names, received));
                }
                (Heard::Gone { metric }, Some(received)) => {
                    let names = self.0.edges.names_of(id, &metric);
                    readings.extend(disbelieved(told, &names, received));
                }
                // Frames are the clock, and none has come yet.
                (Heard::Value { .. } | Heard::Dead { .. } | Heard::Gone { .. }, None) => {}
            }
        }
        drop(state);
        if let Some(why) = asks {
            tracing::info!(group = id.group, node = id.node, why, "an edge node is asked for its births");
            let client = self.0.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(client) = client {
                ask_for_births(&client, id);
            }
        }
        if !readings.is_empty() {
            self.0.sink.push(SourceEvent::Readings { time: None, readings });
        }
    }

    /// Nodes say what changes: what has not changed is still so, while its node lives.
    fn keep_alive(&self, state: &State, now: Instant) {
        if self.0.clock != Clock::Wall {
            return;
        }
        let received = clock::now();
        let standing = |(id, node): (&NodeId, &Node)| {
            let values = node.standing(now, self.0.watchdog);
            values
                .flat_map(|(metric, value)| self.0.edges.readings(id, metric, value, received, true))
                .collect::<Vec<_>>()
        };
        let readings: Vec<Reading> = state.nodes.iter().flat_map(standing).collect();
        if !readings.is_empty() {
            self.0.sink.push(SourceEvent::Readings { time: None, readings });
        }
    }

    fn message(&self, message: &Publish) {
        if self.0.jobs.as_ref() == Some(&message.topic) {
            if message.retain {
                tracing::warn!(
                    topic = message.topic,
                    "a kept announcement is not used: announce jobs without retain"
                );
            } else {
                self.0.sink.push(SourceEvent::Announced(message.payload.to_vec()));
            }
            return;
        }
        if let Some((id, topic)) = host::parse(&message.topic) {
            // A kept message is of some earlier life.
            if !message.retain {
                self.edge(&id, &topic, &message.payload);
            }
            return;
        }
        let mut understood = self.0.routes.read(&message.topic, &message.payload);
        let now = clock::monotonic();
        let mut state = self.state();
        let frame_time = understood.time.filter(|_| !message.retain);
        if frame_time.is_some() {
            state.frame_time = frame_time;
        }
        let received = match self.0.clock {
            Clock::Wall => Some(clock::now()),
            Clock::Frames => state.frame_time,
        };
        if let Some(topic) = state.topics.get_mut(&message.topic) {
            if !message.retain {
                topic.heard = Some(now);
                topic.reported_silent = false;
            }
            if let Some(problem) = understood.malformed.pop() {
                topic.malformed += 1;
                let count = topic.malformed;
                if topic.complained.is_none_or(|at| now - at >= COMPLAIN_EVERY) {
                    topic.complained = Some(now);
                    tracing::warn!(topic = message.topic, %problem, count, "a message was not understood");
                    let topic = message.topic.clone();
                    self.0.sink.push(SourceEvent::Malformed { topic, problem, count });
                }
            }
        }
        drop(state);
        // Frames are the clock, and none has come yet: there is no time at which this could be.
        let Some(received) = received else { return };
        let readings: Vec<Reading> = understood
            .values
            .into_iter()
            .map(|(name, told, unit)| Reading {
                name,
                value: told.value,
                unit,
                time: told.taken(understood.time.unwrap_or(received)),
                received,
                origin: Origin {
                    retained: message.retain,
                    after_reconnect: false,
                    flagged: told.flagged,
                    timed: understood.time.is_some(),
                },
            })
            .collect();
        if frame_time.is_some() || !readings.is_empty() {
            self.0.sink.push(SourceEvent::Readings { time: frame_time, readings });
        }
    }

    /// Connected is not the same as alive: reports each topic that has fallen silent, once.
    pub(super) async fn watch(self) {
        let limit = self.0.watchdog;
        let mut tick =
            tokio::time::interval((limit / 4).clamp(Duration::from_millis(50), Duration::from_secs(5)));
        loop {
            tick.tick().await;
            let now = clock::monotonic();
            let client = self.0.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut state = self.state();
            if state.closing {
                return;
            }
            // Without a connection the silence has its reason, and that has been reported.
            let Some(client) = client else { continue };
            self.keep_alive(&state, now);
            for (id, node) in &mut state.nodes {
                if node.asks_again(now) {
                    ask_for_births(&client, id);
                }
            }
            for (name, topic) in &mut state.topics {
                let limit = limit.max(topic.patience);
                let silent = topic.heard.is_some_and(|at| now - at > limit);
                if silent && !topic.reported_silent {
                    topic.reported_silent = true;
                    tracing::warn!(topic = name, "connected, but nothing comes on this topic");
                    self.0.sink.push(SourceEvent::Silent { topic: name.clone() });
                }
            }
        }
    }
}

/// The last readings of signals again, as not to be believed any more.
fn disbelieved(told: &mut BTreeMap<Name, Reading>, names: &[&Name], received: Timestamp) -> Vec<Reading> {
    let mut again = Vec::new();
    for name in names {
        let Some(last) = told.get_mut(*name) else { continue };
        last.origin.flagged = true;
        again.push(Reading { time: received, received, ..last.clone() });
    }
    again
}

fn ask_for_births(client: &AsyncClient, id: &NodeId) {
    let now_ms = u64::try_from(clock::now().as_millisecond()).unwrap_or(0);
    let (topic, payload) = id.rebirth_request(now_ms);
    if client.try_publish(topic, QoS::AtLeastOnce, false, payload).is_err() {
        tracing::warn!(
            group = id.group,
            node = id.node,
            "the broker's connection took no request for births"
        );
    }
}
