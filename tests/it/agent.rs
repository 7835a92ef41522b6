//! The whole agent as its users run it, as a process of its own, between a real broker, a real Modbus
//! server and a model server that says what a test wants it to say.

mod model;
mod process;
mod site;

use std::path::PathBuf;
use std::time::Duration;

use isotherm::audit::{Log, Options, Record, verify};
use jiff::{SignedDuration, Timestamp};
use rumqttc::{AsyncClient, Event, Packet, QoS};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::sync::mpsc;

pub(crate) use model::{ModelServer, Say, honest};

use crate::peers::{Broker, Plc, skip, soon};
use site::site_text;

pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) broker: Broker,
    pub(crate) plc: Plc,
    pub(crate) model: ModelServer,
    agent: Option<Child>,
    publisher: AsyncClient,
    acks: mpsc::UnboundedReceiver<Timestamp>,
    now: Timestamp,
    /// Of the agent, beside the test's own.
    pub(crate) environment: Vec<(String, String)>,
}

pub(crate) const SAMPLE: SignedDuration = SignedDuration::from_secs(15);

impl Rig {
    /// `None`, loudly, when a peer is missing. `edit` changes the site file before the agent starts.
    pub(crate) async fn start(test: &str, edit: impl Fn(String) -> String) -> Option<Self> {
        let broker = Broker::start(test, "allow_anonymous true").await?;
        Self::between(test, broker, edit).await?.started().await
    }

    /// All but the agent.
    pub(crate) async fn start_without_agent(test: &str, edit: impl Fn(String) -> String) -> Option<Self> {
        let broker = Broker::start(test, "allow_anonymous true").await?;
        Self::between(test, broker, edit).await
    }

    async fn started(mut self) -> Option<Self> {
        self.restart().await;
        Some(self)
    }

    /// Publishes frames of the present time until aborted.
    pub(crate) fn feed(&self) -> tokio::task::JoinHandle<()> {
        let publisher = self.publisher.clone();
        tokio::spawn(async move {
            loop {
                let frame = frame_text(isotherm::clock::now(), 22.0);
                publisher.publish("t/frame", QoS::AtLeastOnce, false, frame).await.unwrap();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    }

    /// The same with a broker that wants TLS and a password of the agent; the rig has a door of its own.
    pub(crate) async fn start_secured(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let at = |file: &str| dir.path().join(file).display().to_string();
        let passwords = std::process::Command::new("mosquitto_passwd")
            .args(["-b", "-c", &at("passwords"), "agent", "s3cret"])
            .output();
        if !passwords.is_ok_and(|o| o.status.success()) || !crate::mqtt::certificates(dir.path()) {
            skip(test, "needs mosquitto_passwd and openssl on the PATH");
            return None;
        }
        std::fs::write(at("secret"), "s3cret\n").unwrap();
        let secure = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "allow_anonymous true\npassword_file DIR/passwords\nlistener {secure} 127.0.0.1\ncafile DIR/ca.pem\ncertfile DIR/server.pem\nkeyfile DIR/server.key"
        );
        let mqtt = format!(
            "port = {secure}\nusername = \"agent\"\npassword_file = \"{}\"\ntls = {{ ca_file = \"{}\" }}",
            at("secret"),
            at("ca.pem")
        );
        let broker = Broker::start_in(test, &settings, dir).await?;
        let plain = format!("port = {}", broker.port);
        Self::between(test, broker, |t| t.replacen(&plain, &mqtt, 1)).await?.started().await
    }

    async fn between(test: &str, broker: Broker, edit: impl Fn(String) -> String) -> Option<Self> {
        let mut plc = Plc::start(test, "socket").await?;
        plc.set(2, &[70]).await;
        let model = ModelServer::start(honest(7.0, "Hold")).await;
        let dir = tempfile::tempdir().unwrap();
        let text = edit(site_text(broker.port, plc.port, &model.url));
        std::fs::write(dir.path().join("site.toml"), text).unwrap();
        let agent = None;
        let (publisher, acks) = connect(&broker);
        let now = "2026-07-01T12:00:00Z".parse().unwrap();
        Some(Self { dir, broker, plc, model, agent, publisher, acks, now, environment: Vec::new() })
    }

    /// Sends frames until the agent acknowledges one: before that it is not subscribed yet.
    pub(crate) async fn listen_again(&mut self) {
        soon("the agent listens", async {
            loop {
                self.publish(22.0).await;
                if tokio::time::timeout(Duration::from_millis(300), self.acks.recv()).await.is_ok() {
                    return;
                }
            }
        })
        .await;
    }

    async fn publish(&mut self, inlet: f64) {
        self.send(SAMPLE, |now| frame_text(now, inlet)).await;
    }

    /// A frame of the test's own, so long after the last one.
    pub(crate) async fn send(&mut self, later: SignedDuration, frame: impl Fn(Timestamp) -> String) {
        self.now += later;
        self.publisher.publish("t/frame", QoS::AtLeastOnce, false, frame(self.now)).await.unwrap();
    }

    /// One frame, and waits until the agent has dealt with it.
    pub(crate) async fn frame(&mut self, inlet: f64) {
        self.publish(inlet).await;
        self.acknowledged().await;
    }

    /// Waits until the agent has dealt with the last frame.
    pub(crate) async fn acknowledged(&mut self) {
        soon("the frame is acknowledged", async { while self.acks.recv().await.unwrap() < self.now {} })
            .await;
    }

    pub(crate) async fn frames(&mut self, count: u32) {
        for _ in 0..count {
            self.frame(22.0).await;
        }
    }

    /// One frame that nobody may acknowledge.
    pub(crate) async fn frame_unanswered(&mut self, inlet: f64) {
        self.publish(inlet).await;
    }

    pub(crate) fn audit_path(&self) -> PathBuf {
        self.dir.path().join("audit.db")
    }

    /// All records, after checking that the log verifies.
    pub(crate) fn records(&self) -> Vec<Record> {
        let report = verify(&self.audit_path(), &Options::default()).unwrap();
        assert!(report.ok, "{report:?}");
        Log::open(&self.audit_path()).unwrap().records(0).map(Result::unwrap).collect()
    }

    pub(crate) fn bodies(&self, kind: &str) -> Vec<Value> {
        let of_kind = self.records().into_iter().filter(|r| r.kind.as_str() == kind);
        of_kind.map(|r| serde_json::from_str(&r.body).unwrap()).collect()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.bodies("event").iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the log has what is looked for.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        soon(what, self.holding(holds)).await;
    }

    /// What a model of the lowest priority does: it gets only what other tests leave of the machine.
    pub(crate) async fn until_at_last(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let held = tokio::time::timeout(Duration::from_mins(4), self.holding(holds)).await;
        assert!(held.is_ok(), "timed out: {what}: {}", self.log());
    }

    async fn holding(&self, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What each register was written since the last call, in order. Every word that reached a setpoint or
    /// the enable register must stand in the log.
    pub(crate) async fn audited_writes(&mut self, heartbeat: u64) -> Vec<(u64, Value)> {
        let intended: Vec<Value> = self
            .records()
            .iter()
            .filter_map(|r| {
                let body: Value = serde_json::from_str(&r.body).unwrap();
                let action = body.pointer("/verdict/action").or(body.get("action")).cloned();
                action.filter(Value::is_array)
            })
            .flat_map(|a| a.as_array().unwrap().clone())
            .collect();
        let log = self.plc.tell(json!({ "log": true })).await;
        let mut writes = Vec::new();
        for entry in log["log"].as_array().unwrap() {
            let [function, address, words] = [&entry[0], &entry[1], &entry[2]];
            // The server answers a write by reading it back, which it logs without words.
            if !(function == 6 || function == 16) || words == &json!([]) {
                continue;
            }
            if address != heartbeat {
                let stands = intended.iter().any(|w| w["address"] == *address && w["words"] == *words);
                assert!(stands, "register {address} got {words}, which the log does not have");
            }
            writes.push((address.as_u64().unwrap(), words.clone()));
        }
        writes
    }

    /// Addresses of the registers written since the last call.
    pub(crate) async fn written(&mut self) -> Vec<u64> {
        let log = self.plc.tell(json!({ "log": true })).await;
        let entries = log["log"].as_array().unwrap().clone();
        entries.iter().filter(|e| e[0] == 6 || e[0] == 16).map(|e| e[1].as_u64().unwrap()).collect()
    }

    pub(crate) async fn register(&self, address: u16) -> u16 {
        let site = isotherm::site::load(&self.dir.path().join("site.toml")).unwrap();
        let bus = isotherm::ingest::modbus::Bus::open(&site);
        let device = "plc".parse().unwrap();
        bus.read(&device, isotherm::site::Table::Holding, address, 1).await.unwrap()[0]
    }

    /// Writes something else into the site file.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let path = self.dir.path().join("site.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    /// What the agent answers on the address that it named last.
    pub(crate) async fn http(&self, path: &str) -> String {
        let log = self.log();
        let peer = log.rsplit(" on http://").next().unwrap().split('/').next().unwrap();
        let url = format!("http://{peer}{path}");
        rustls::crypto::ring::default_provider().install_default().ok();
        reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }
}

pub(crate) fn frame_text(time: Timestamp, inlet: f64) -> String {
    json!({ "time": time, "signals": {
        "inlet": { "value": inlet, "unit": "degC" }, "it_load": { "value": 400.0, "unit": "kW" },
    }})
    .to_string()
}

fn connect(broker: &Broker) -> (AsyncClient, mpsc::UnboundedReceiver<Timestamp>) {
    let (client, mut connection) = broker.client("rig");
    let (tx, rx) = mpsc::unbounded_channel();
    let subscriber = client.clone();
    tokio::spawn(async move {
        loop {
            match connection.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    subscriber.subscribe("isotherm/test/ack", QoS::AtLeastOnce).await.unwrap();
                }
                Ok(Event::Incoming(Packet::Publish(p))) => {
                    let ack: Value = serde_json::from_slice(&p.payload).unwrap();
                    tx.send(serde_json::from_value(ack["time"].clone()).unwrap()).ok();
                }
                Ok(_) => {}
                // The broker is stopped and started again by some tests.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    (client, rx)
}
