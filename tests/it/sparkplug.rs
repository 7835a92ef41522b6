//! Sparkplug B against a peer that nobody here wrote: an edge node that is read, and a host that reads us.

use std::path::Path;
use std::process::Stdio;

use isotherm::ingest::Reading;
use isotherm::ingest::mqtt::{self, SourceEvent};
use isotherm::site::Site;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::agent::{Rig, honest};
use crate::peers::{Broker, python_with, site, soon};

/// The peer of `tests/peers/sparkplug_peer.py`.
pub(crate) struct Peer {
    child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    pub(crate) async fn start(test: &str, args: &[&str]) -> Option<Self> {
        let mut child = Command::new(python_with(test, "pysparkplug")?)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/sparkplug_peer.py"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut peer = Self { child, orders, said };
        peer.until("the peer is connected", |m| m["connected"] == true).await;
        Some(peer)
    }

    /// The next thing it says that is looked for.
    pub(crate) async fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        soon(what, async {
            loop {
                let line = self.said.next_line().await.unwrap().unwrap();
                let message: Value = serde_json::from_str(&line).unwrap();
                if is(&message) {
                    return message;
                }
            }
        })
        .await
    }

    pub(crate) async fn tell(&mut self, order: Value) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn is_asked_for_births(&mut self) {
        self.until("the node is asked for its births", |m| m["command"] == "rebirth").await;
    }
}

fn edge_site(port: u16) -> Site {
    site(&format!(
        r#"
        name = "test"
        plant = "liquid"
        setpoint = []
        mqtt = {{ host = "127.0.0.1", port = {port}, watchdog = "4s" }}
        model = {{ backend = "none" }}
        [[signal]]
        name = "supply"
        unit = "degC"
        role = "liquid_supply"
        source = {{ sparkplug = "dc/edge/cdu1", metric = "Supply/Temp", unit = "degF" }}
        range = [5, 60]
        slew_per_min = 5
        [[signal]]
        name = "pump"
        unit = "%"
        source = {{ sparkplug = "dc/edge", metric = "Pump" }}
        range = [0, 100]
        slew_per_min = 100
    "#
    ))
}

async fn reading(events: &mut mqtt::Events, what: &str, is: impl Fn(&Reading) -> bool) -> Reading {
    soon(what, async {
        loop {
            if let SourceEvent::Readings { readings, .. } = events.recv().await.unwrap()
                && let Some(found) = readings.into_iter().find(&is)
            {
                return found;
            }
        }
    })
    .await
}

/// Births, data by number alone, an unknown number, deaths of now and of before.
#[tokio::test]
async fn an_edge_node_is_read_from_birth_to_death() {
    let test = "sparkplug host";
    let Some(broker) = Broker::start(test, "allow_anonymous true").await else { return };
    let Some(mut peer) = Peer::start(test, &["node", &broker.port.to_string(), "dc", "edge"]).await else {
        return;
    };
    let (_handle, mut events) = mqtt::connect(&edge_site(broker.port)).unwrap();
    peer.is_asked_for_births().await;
    let births = async |peer: &mut Peer| {
        peer.tell(json!({ "nbirth": [["Pump", 1, "INT16", 40]], "seq": 0 })).await;
        peer.tell(json!({ "dbirth": "cdu1", "metrics": [["Supply/Temp", 2, "FLOAT", 77.0]], "seq": 1 }))
            .await;
    };
    births(&mut peer).await;
    let pump = reading(&mut events, "the node's own metric", |r| r.name == *"pump").await;
    assert!((pump.value.get() - 40.0).abs() < 1e-9 && pump.origin.timed && !pump.origin.flagged, "{pump:?}");
    let supply = reading(&mut events, "the device's metric", |r| r.name == *"supply").await;
    assert_eq!((supply.value.get(), supply.unit.as_str()), (77.0, "degF"));

    peer.tell(json!({ "ddata": "cdu1", "metrics": [[null, 2, "FLOAT", 78.5]], "seq": 2 })).await;
    let is = |v: f64| move |r: &Reading| r.name == *"supply" && (r.value.get() - v).abs() < 1e-9;
    reading(&mut events, "data by number", is(78.5)).await;
    // Nothing more is said; the value stays a live one, because its node lives.
    let again = reading(&mut events, "unchanged, and alive", |r| is(78.5)(r) && !r.origin.timed).await;
    assert!(!again.origin.flagged);

    peer.tell(json!({ "ddata": "cdu1", "metrics": [[null, 99, "FLOAT", 1.0]], "seq": 3 })).await;
    peer.is_asked_for_births().await;
    births(&mut peer).await;
    reading(&mut events, "born again", |r| is(77.0)(r) && r.origin.timed).await;

    // An older life's death, said late: nothing changes. The data after it is taken.
    peer.tell(json!({ "ndeath": 6 })).await;
    peer.tell(json!({ "ddata": "cdu1", "metrics": [[null, 2, "FLOAT", 79.0]], "seq": 2 })).await;
    let alive = reading(&mut events, "data after an old death", |r| is(79.0)(r) || r.origin.flagged).await;
    assert!(!alive.origin.flagged, "{alive:?}");
    // A message is missing: what this one says is true, and the births are asked for.
    peer.tell(json!({ "ddata": "cdu1", "metrics": [[null, 2, "FLOAT", 80.0]], "seq": 9 })).await;
    reading(&mut events, "data after a gap", is(80.0)).await;
    peer.is_asked_for_births().await;

    peer.child.kill().await.unwrap();
    let dead = reading(&mut events, "the broker says the death", |r| r.origin.flagged).await;
    assert!(["supply", "pump"].contains(&dead.name.as_str()));
}

/// A host finds the agent's births, follows what changes, asks for births again, and hears of the death.
#[tokio::test]
async fn the_agent_is_an_edge_node() {
    let test = "sparkplug node";
    let edit = |t: String| format!("{t}\n[sparkplug]\ngroup = \"dc\"\n");
    let Some(mut rig) = Rig::start_without_agent(test, edit).await else { return };
    let Some(mut host) = Peer::start(test, &["host", &rig.broker.port.to_string(), "dc"]).await else {
        return;
    };
    rig.restart().await;
    let birth = host.until("the node's birth", |m| m["type"] == "NBIRTH").await;
    assert_eq!((&birth["node"], &birth["seq"]), (&"isotherm-test".into(), &0.into()));
    let of = |message: &Value, name: &str| {
        let all = message["metrics"].as_array().unwrap();
        all.iter().find(|m| m[0] == name).unwrap_or_else(|| panic!("{name}: {message}")).clone()
    };
    let bd_seq = of(&birth, "bdSeq")[3].clone();
    let device = host.until("the device's birth", |m| m["type"] == "DBIRTH").await;
    assert_eq!((&device["device"], &device["seq"]), (&"test".into(), &1.into()));
    assert_eq!(of(&device, "Mode")[3], "auto");
    assert!(of(&device, "Setpoints/chws_sp")[1].is_u64(), "a number for later: {device}");

    rig.model.now_says(honest(7.5, "Raise"));
    rig.frames(12).await;
    let changed = |m: &Value| {
        m["type"] == "DDATA"
            && m["metrics"].as_array().unwrap().iter().any(|m| m[0] == "Setpoints/chws_sp" && m[3] == 7.5)
    };
    let data = host.until("the setpoint's new value", changed).await;
    assert!(data["seq"].as_u64().unwrap() > 1, "{data}");

    host.tell(json!({ "rebirth": "isotherm-test" })).await;
    let again = host.until("born again", |m| m["type"] == "NBIRTH").await;
    assert_eq!((&again["seq"], &of(&again, "bdSeq")[3]), (&0.into(), &bd_seq), "the same life");
    let device = host.until("its device too", |m| m["type"] == "DBIRTH").await;
    assert_eq!(of(&device, "Setpoints/chws_sp")[3], 7.5);

    rig.end(rustix::process::Signal::KILL).await;
    let death = host.until("the broker says the death", |m| m["type"] == "NDEATH").await;
    assert_eq!(of(&death, "bdSeq")[3], bd_seq);

    rig.restart().await;
    let birth = host.until("a new life", |m| m["type"] == "NBIRTH").await;
    let next = of(&birth, "bdSeq")[3].clone();
    rig.stop().await;
    let death = host.until("its own goodbye", |m| m["type"] == "NDEATH").await;
    assert_eq!(of(&death, "bdSeq")[3], next);
}
