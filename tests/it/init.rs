//! `isotherm init` against a real broker and a real Modbus server.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use isotherm::site::{self, Role, Source};
use isotherm::units::{Finite, Unit};
use rumqttc::QoS;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::peers::{Broker, Plc, soon};

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

/// By options alone: the file is accepted as it is, guesses are marked, and no register was written.
#[tokio::test]
async fn listens_scans_and_writes_a_file_that_is_accepted() {
    let test = "init";
    let Some(broker) = Broker::start(test, "allow_anonymous true").await else { return };
    let Some(mut plc) = Plc::start(test, "socket").await else { return };
    plc.set(2, &[70]).await;
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
    feed.abort();
    let text = std::fs::read_to_string(dir.path().join("site.toml")).unwrap_or_default();
    assert_eq!(output.status.code(), Some(0), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&made["signals"], &made["setpoints"], &made["registers"]),
        (&4.into(), &1.into(), &110.into())
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
    assert!(text.contains("#     120: 7 "), "registers behind a hole are found: {text}");

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
