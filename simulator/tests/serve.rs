//! A served plant over real sockets.

use std::time::Duration;

use isotherm_sim::Scenario;
use isotherm_sim::serve::{self, Options};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::Value;
use tokio::time::timeout;
use tokio_modbus::client::tcp;
use tokio_modbus::prelude::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn client(port: u16, id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_max_packet_size(256 * 1024, 256 * 1024);
    AsyncClient::new(options, 16)
}

/// The next message, driving the connection meanwhile.
async fn next(events: &mut EventLoop) -> (String, bool, Value) {
    let wait = async {
        loop {
            if let Event::Incoming(Packet::Publish(p)) = events.poll().await.expect("the broker") {
                let value = serde_json::from_slice(&p.payload).expect("JSON");
                return (p.topic, p.retain, value);
            }
        }
    };
    timeout(PATIENCE, wait).await.expect("a message in time")
}

fn lockstep_of(scenario: Scenario, hours: f64) -> Options {
    Options { lockstep: Some("test/ack".into()), hours: Some(hours), ..Options::new(scenario) }
}

fn lockstep(hours: f64) -> Options {
    lockstep_of(Scenario::shipped("air").expect("it ships"), hours)
}

async fn acknowledge(client: &AsyncClient, time: jiff::Timestamp) {
    let ack = format!("{{\"time\":\"{time}\"}}");
    client.publish("test/ack", QoS::AtLeastOnce, false, ack).await.expect("the broker");
}

fn time_of(value: &Value) -> jiff::Timestamp {
    value["time"].as_str().expect("a time").parse().expect("RFC 3339")
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_step_waits_for_every_acknowledgement() {
    let mut running = serve::start(lockstep(0.05)).await.unwrap();
    let (client, mut events) = client(running.mqtt_port, "lockstep");
    client.subscribe("sim/air/#", QoS::AtLeastOnce).await.unwrap();
    let mut times = Vec::new();
    let mut about = false;
    while times.len() < 12 {
        let (topic, retained, value) = next(&mut events).await;
        if topic == "sim/air/about" {
            about = true;
            assert!(retained && value["simulation"] == true, "{value}");
            continue;
        }
        let time = time_of(&value);
        if times.last() == Some(&time) {
            continue; // the first frame is repeated until someone listens
        }
        times.push(time);
        // It stands still until the acknowledgement.
        assert_eq!(running.time(), time);
        let inlet = &value["signals"]["hall_a_inlet_max"];
        assert_eq!(inlet["unit"], "degC");
        assert!((15.0..30.0).contains(&inlet["value"].as_f64().unwrap()), "{inlet}");
        acknowledge(&client, time).await;
    }
    assert!(about, "the retained note that this is a simulation");
    assert!(times.windows(2).all(|w| w[1].duration_since(w[0]).as_secs() == 15));
    let finish = async {
        tokio::select! {
            () = running.finished() => {}
            () = async { while events.poll().await.is_ok() {} } => {}
        }
    };
    timeout(PATIENCE, finish).await.expect("the end in time");
    assert!((running.totals().hours - 0.05).abs() < 1e-6);
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_read_write_and_refuse() {
    let running = serve::start(lockstep(1.0)).await.unwrap();
    let address = ([127, 0, 0, 1], running.modbus_port).into();
    let mut bus = tcp::connect_slave(address, Slave(1)).await.unwrap();

    // chws_sp 8.0, crah_supply_sp 20.0, chw_dp_sp 120.
    assert_eq!(bus.read_holding_registers(0, 5).await.unwrap().unwrap(), [0, 0, 80, 200, 120]);
    bus.write_single_register(2, 95).await.unwrap().unwrap();
    assert_eq!(bus.read_holding_registers(2, 1).await.unwrap().unwrap(), [95]);
    // Written, but not in force: remote is not enabled.
    assert_eq!(bus.read_input_registers(3, 1).await.unwrap().unwrap(), [80]);

    let refused = |r: Result<Result<(), ExceptionCode>, tokio_modbus::Error>| r.unwrap().unwrap_err();
    let out_of_range = bus.write_single_register(2, 300).await;
    assert_eq!(refused(out_of_range), ExceptionCode::IllegalDataValue);
    let negative = bus.write_single_register(2, (-5_i16) as u16).await;
    assert_eq!(refused(negative), ExceptionCode::IllegalDataValue);
    for nowhere in [5, u16::MAX] {
        let refusal = bus.write_single_register(nowhere, 1).await;
        assert_eq!(refused(refusal), ExceptionCode::IllegalDataAddress, "{nowhere}");
    }
    // A block is written whole or not at all.
    let block = bus.write_multiple_registers(2, &[90, 9999]).await;
    assert_eq!(refused(block), ExceptionCode::IllegalDataValue);
    assert_eq!(bus.read_holding_registers(2, 2).await.unwrap().unwrap(), [95, 200]);
    assert_eq!(running.totals().writes_seen, 1);

    bus.set_slave(Slave(9));
    assert_eq!(
        bus.read_input_registers(0, 1).await.unwrap().unwrap_err(),
        ExceptionCode::GatewayTargetDevice
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_plant_in_one_process_has_its_own_ports() {
    let a = serve::start(lockstep(1.0)).await.unwrap();
    let b = serve::start(lockstep(1.0)).await.unwrap();
    assert_ne!(a.mqtt_port, b.mqtt_port);
    assert_ne!(a.modbus_port, b.modbus_port);
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_cut_the_links_and_end() {
    let text = "base = \"air\"
        [[fault]]
        at_h = 0.0125        # 45 s
        hours = 0.0166       # 60 s
        what = \"broker_outage\"
        [[fault]]
        at_h = 0.05          # 180 s
        hours = 0.0166
        what = \"modbus_outage\"";
    let scenario = Scenario::parse("outages", text).unwrap();
    let start = scenario.start;
    let running = serve::start(lockstep_of(scenario, 0.1)).await.unwrap();
    let (client, mut events) = client(running.mqtt_port, "outages");
    client.subscribe("sim/air/frame", QoS::AtLeastOnce).await.unwrap();
    let address = ([127, 0, 0, 1], running.modbus_port).into();
    let mut seconds: Vec<i64> = Vec::new();
    let mut bus = tcp::connect_slave(address, Slave(1)).await.unwrap();
    while seconds.last() != Some(&345) {
        let (_, _, value) = next(&mut events).await;
        let time = time_of(&value);
        let second = time.duration_since(start).as_secs();
        if seconds.last() == Some(&second) {
            continue;
        }
        seconds.push(second);
        if second == 195 {
            // The open connection is cut, and a new one is refused.
            let cut = async { while bus.read_input_registers(0, 1).await.is_ok() {} };
            timeout(PATIENCE, cut).await.expect("the connection to be cut");
            assert!(tcp::connect_slave(address, Slave(1)).await.is_err());
        }
        acknowledge(&client, time).await;
    }
    let expected: Vec<i64> = (1..=23).map(|n| 15 * n).filter(|s| !(45..105).contains(s)).collect();
    assert_eq!(seconds, expected);
    let back = async {
        loop {
            if let Ok(mut bus) = tcp::connect_slave(address, Slave(1)).await {
                return bus.read_input_registers(0, 1).await;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, back).await.expect("Modbus again").unwrap().unwrap();
}
