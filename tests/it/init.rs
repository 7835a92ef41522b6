//! `isotherm init` against a real broker and a real Modbus server.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use isotherm::site::{self, Role, Source, WordType};
use isotherm::units::{Finite, Unit};
use rumqttc::QoS;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::peers::{Broker, Plc, soon};
use crate::sparkplug::Peer;

fn isotherm(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_isotherm"));
    command.current_dir(dir).args(args).kill_on_drop(true);
    command
}

/// Publishes what a small site's gateways would, until aborted.
fn gateways(broker: &Broker) -> tokio::task::JoinHandle<()> {
    let publisher = broker.publisher();
    tokio::spawn(async move {
        for i in 0u32.. {
            let warm = f64::from(i % 5) / 10.0;
            let messages = [
                ("dc1/hall-a/inlet_temp", format!("{:.1}", 22.0 + warm)),
                (
                    "dc1/hall-a/crah1",
                    json!({ "ts": i, "supplyAirTemp": 64.0 + warm, "fan": { "speed": 55 } }).to_string(),
                ),
                ("dc1/power", json!({ "it_load": { "value": 400_000.0, "unit": "W" } }).to_string()),
                ("dc1/door", "open".to_owned()),
                ("isotherm/other/ack", "7".to_owned()),
            ];
            for (topic, payload) in messages {
                publisher.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

const SETPOINT: &str = "name = \"chws_sp\", unit = \"degC\", role = \"chws\", \
    register = { device = \"plc\", address = 2, scale = 0.1 }, min = 6, max = 16, step = 0.5, \
    rate_per_min = 0.5, safe = 7, cools = \"down\"";

/// A plant with a Sparkplug gateway that was there before: its births come when they are asked for, and only then.
#[tokio::test]
async fn edge_nodes_tell_what_they_measure() {
    let test = "init sparkplug";
    let Some(broker) = Broker::start(test, "allow_anonymous true").await else { return };
    let Some(mut node) = Peer::start(test, &["node", &broker.port.to_string(), "dc", "edge"]).await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let peer = format!("127.0.0.1:{}", broker.port);
    let listen = |file: &'static str, more: &[&str]| {
        let args = [
            "init", "--yes", "--name", "dc", "--plant", "liquid", "--broker", &peer, "--listen", "6",
            "--json",
        ];
        let output = isotherm(dir.path(), &[&args[..], &["--out", file], more].concat()).output();
        let path = dir.path().join(file);
        async move {
            let output = soon("init ends", output).await.unwrap();
            let made: Value = serde_json::from_slice(&output.stdout).unwrap();
            (output.status.code(), made, std::fs::read_to_string(path).unwrap())
        }
    };
    let births = [
        json!({ "nbirth": [["Pump/Speed", 1, "INT16", 40, "%"], ["Pump/On", 5, "BOOLEAN", true]], "seq": 0 }),
        json!({ "dbirth": "cdu1", "seq": 1, "metrics":
            [["Liquid Supply/Temp", 2, "FLOAT", 77.0, "°F"], ["Heat", 3, "DOUBLE", 612.0, "kW"], ["Model", 4, "STRING", "x"]] }),
    ];
    let Some(mut other) = Peer::start(test, &["host", &broker.port.to_string(), "dc"]).await else { return };
    for birth in &births {
        node.tell(birth.clone()).await;
    }
    other.until("births that only others have heard", |m| m["type"] == "DBIRTH").await;
    let changes = async |node: &mut Peer, from: u64, count: u32| {
        for i in 0..count {
            tokio::time::sleep(Duration::from_millis(700)).await;
            let temp = 78.0 + f64::from(i);
            node.tell(
                json!({ "ddata": "cdu1", "metrics": [[null, 2, "FLOAT", temp]], "seq": from + u64::from(i) }),
            )
            .await;
        }
    };

    // Nobody asks: numbers without names are no signals, and the file says whose.
    let (done, ()) = tokio::join!(listen("first.toml", &[]), changes(&mut node, 2, 3));
    let (code, made, text) = done;
    assert_eq!(
        (code, &made["signals"], &made["unborn_nodes"]),
        (Some(1), &0.into(), &json!(["dc/edge"])),
        "{text}"
    );
    assert!(text.contains("# Sparkplug node dc/edge was heard, but not its births"), "{text}");

    let asked = async {
        changes(&mut node, 5, 1).await;
        node.is_asked_for_births().await;
        for birth in births {
            node.tell(birth).await;
        }
        changes(&mut node, 2, 3).await;
    };
    let (done, ()) = tokio::join!(listen("second.toml", &["--rebirth"]), asked);
    let (code, made, text) = done;
    assert_eq!((code, &made["signals"], &made["unborn_nodes"]), (Some(0), &4.into(), &json!([])), "{text}");
    let site = site::load(&dir.path().join("second.toml")).unwrap();
    let signal = |name: &str| site.signal(&name.parse().unwrap()).unwrap_or_else(|| panic!("{name}: {text}"));
    let supply = signal("edge_cdu1_liquid_supply_temp");
    let Source::Sparkplug(source) = &supply.source else { panic!("{text}") };
    assert_eq!((source.sparkplug.as_str(), source.metric.as_str()), ("dc/edge/cdu1", "Liquid Supply/Temp"));
    assert_eq!(
        (supply.unit, source.unit),
        (Unit::DegC, Some(Unit::DegF)),
        "what is too warm is told by its unit"
    );
    assert_eq!((signal("edge_pump_speed").unit, signal("edge_pump_on").unit), (Unit::Percent, Unit::Flag));
    assert_eq!(signal("edge_cdu1_heat").unit, Unit::Kilowatt);
    let block = text.split("\n\n").find(|b| b.contains("edge_cdu1_liquid_supply_temp")).unwrap();
    assert!(
        block.contains("said when it changes, from 77 to 80") && block.contains("unit = \"degC\"\n"),
        "{block}"
    );
}

/// By options alone: the file is accepted as it is, guesses are marked, and no register was written.
#[tokio::test]
async fn listens_scans_and_writes_a_file_that_is_accepted() {
    let test = "init";
    let Some(broker) = Broker::start(test, "allow_anonymous true").await else { return };
    let Some(mut plc) = Plc::start(test, "socket").await else { return };
    plc.set(2, &[70]).await;
    let [a, b, c, d] = 31.5f32.to_be_bytes();
    let [high, low] = [[a, b], [c, d]].map(u16::from_be_bytes);
    plc.set(30, &[215, 0xFFFF, 9000, high, low]).await;
    plc.tell(json!({ "log": true })).await;
    let feed = gateways(&broker);
    let dir = tempfile::tempdir().unwrap();
    let (peer, scan) =
        (format!("127.0.0.1:{}", broker.port), format!("plc=127.0.0.1:{}/1:holding:0-129", plc.port));
    let args = [
        "init",
        "--yes",
        "--name",
        "dc1",
        "--plant",
        "air",
        "--broker",
        &peer,
        "--listen",
        "2",
        "--scan",
        &scan,
        "--setpoint",
        SETPOINT,
        "--json",
    ];
    let output = soon("init ends", isotherm(dir.path(), &args).output()).await.unwrap();
    let text = std::fs::read_to_string(dir.path().join("site.toml")).unwrap_or_default();
    assert_eq!(output.status.code(), Some(0), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&made["signals"], &made["setpoints"], &made["registers"]),
        (&16.into(), &1.into(), &110.into()),
        "four from the broker, and twelve registers"
    );
    assert_eq!(made["other_topics"], json!(["dc1/door"]));

    let site = site::load(&dir.path().join("site.toml")).unwrap();
    let inlet = site.signal(&"hall_a_inlet_temp".parse().unwrap()).unwrap();
    assert_eq!((inlet.unit, inlet.role, inlet.required), (Unit::DegC, Some(Role::ItInlet), true));
    let Source::Mqtt(supply) = &site.signal(&"hall_a_crah1_supply_air_temp".parse().unwrap()).unwrap().source
    else {
        panic!("{text}")
    };
    assert_eq!(
        (supply.pointer.as_deref(), supply.unit),
        (Some("/supplyAirTemp"), Some(Unit::DegF)),
        "no supply air has 64 degC"
    );
    let load = site.with_role(Role::ItLoad).next().unwrap();
    assert_eq!((load.unit, load.range[0]), (Unit::Kilowatt, Finite::ZERO));
    assert_eq!(site.mode, site::Mode::Shadow, "a new site writes nothing");
    let block = text.split("\n\n").find(|b| b.contains("hall_a_inlet_temp")).unwrap();
    assert!(block.contains("# guess: \"inlet\" in its name") && block.contains(", every 0."), "{block}");
    let stated = text.split("\n\n").find(|b| b.contains("power_it_load")).unwrap();
    assert!(stated.contains("unit = \"kW\"\n"), "the source said the unit: {stated}");
    assert!(text.contains("#       2: 70 (int16 70, tenths 7)"), "{text}");
    let register = |name: &str| match &site.signal(&name.parse().unwrap()).unwrap().source {
        Source::Modbus(point) => (point.address, point.word_type, point.scale.get().to_string()),
        other @ (Source::Mqtt(_) | Source::Sparkplug(_)) => panic!("{name}: {other:?}"),
    };
    assert_eq!(register("plc_holding_30"), (30, WordType::Int16, "0.1".to_owned()));
    assert_eq!(register("plc_holding_33"), (33, WordType::Float32, "1".to_owned()));
    assert_eq!(register("plc_holding_120").0, 120, "registers behind a hole are found");
    let tenths = text.split("\n\n").find(|b| b.contains("plc_holding_30")).unwrap();
    assert!(tenths.contains("holding 30 held 215\n") && tenths.matches("# guess").count() == 5, "{tenths}");
    assert!(
        text.contains("#      32: 9000 ") && !text.contains("#      30: 215"),
        "what could be anything stays a remark"
    );
    // What they hold now is one command away.
    let check =
        soon("check ends", isotherm(dir.path(), &["check", "--site", "site.toml"]).output()).await.unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    feed.abort();
    assert!(said.lines().any(|l| l.contains("plc_holding_33") && l.contains("31.5")), "{said}");

    let log = plc.tell(json!({ "log": true })).await;
    let functions: Vec<u64> = log["log"].as_array().unwrap().iter().map(|e| e[0].as_u64().unwrap()).collect();
    assert!(functions.len() > 5 && functions.iter().all(|f| *f == 3), "only reads: {functions:?}");

    // A second run leaves the file alone.
    let again = isotherm(dir.path(), &["init", "--yes"]).output().await.unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
}

/// Asked for everything: answers on standard input, questions on standard error; what the site lacks stands
/// at the top of the file.
#[tokio::test]
async fn asks_for_what_no_option_says() {
    let Some(broker) = Broker::start("init asks", "allow_anonymous true").await else { return };
    let feed = gateways(&broker);
    let dir = tempfile::tempdir().unwrap();
    let mut child = isotherm(dir.path(), &["init", "--listen", "1", "--out", "new.toml"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A wrong plant is asked for again; no user, no registers; of four values only the load.
    let answers = format!("hall-b\ngas\nair\n127.0.0.1:{}\n\n\nn\nn\nn\nn\ny\n", broker.port);
    child.stdin.take().unwrap().write_all(answers.as_bytes()).await.unwrap();
    let output = soon("init ends", child.wait_with_output()).await.unwrap();
    feed.abort();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let text = std::fs::read_to_string(dir.path().join("new.toml")).unwrap_or_default();
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("Name of the site") && err.contains("Take all 4 values"), "{err}");
    assert!(text.contains("name = \"hall-b\"") && text.contains("power_it_load"), "{text}");
    assert!(!text.contains("inlet_temp"), "{text}");
    assert!(text.starts_with("# FILL IN: signal.role: no signal says how warm the IT is"), "{text}");
    let problems = site::parse(&text, Path::new("new.toml")).unwrap_err().to_string();
    assert_eq!(problems.lines().count(), 1, "nothing else is missing: {problems}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = isotherm(dir.path(), &["init", "--yes", "--broker", &free]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!dir.path().join("site.toml").exists());
}
