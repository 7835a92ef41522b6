//! `isotherm check --steps` and `--accept --watchdog` against the simulated plant, behind a broker and a Modbus server:
//! as users run it, in lock step, so that hours of the plant take seconds.

use std::path::Path;
use std::process::Stdio;

use isotherm::audit::{Log, Options, verify};
use isotherm_sim::Scenario;
use isotherm_sim::serve::{self, Speed};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::peers::soon;

const AIR: &str = include_str!("../../sites/air.toml");
const LIQUID: &str = include_str!("../../sites/liquid.toml");
const IMMERSION: &str = include_str!("../../sites/immersion.toml");

/// Where the plant shows the setpoint in force.
const ACTIVE: [(&str, u16); 2] = [("chws_sp", 3), ("crah_supply_sp", 4)];

pub(crate) struct Plant {
    pub(crate) dir: tempfile::TempDir,
    plant: serve::Running,
}

impl Plant {
    /// The quiet air plant. `lockstep`: as fast as the test goes; else so many times real time.
    pub(crate) async fn start(speed: Option<f64>, edit: impl Fn(String) -> String) -> Self {
        Self::of("air", AIR, speed, edit).await
    }

    async fn of(plant: &str, site: &str, speed: Option<f64>, edit: impl Fn(String) -> String) -> Self {
        let mut options = serve::Options::new(Scenario::named(plant).unwrap());
        options.speed = speed.map_or(Speed::Max, Speed::Times);
        options.lockstep = speed.is_none().then(|| format!("isotherm/demo-{plant}/ack"));
        let plant = serve::start(options).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut text = site
            .replace("port = 1883", &format!("port = {}", plant.mqtt_port))
            .replace("port = 1502", &format!("port = {}", plant.modbus_port));
        let model = text.find("[model]").unwrap();
        text.truncate(model);
        text += "[model]\nbackend = \"none\"\n[audit]\npath = \"audit.db\"\nkey = \"audit.key\"\n";
        for (name, address) in ACTIVE {
            let line = format!("name = \"{name}\"\n");
            let active = format!(
                "{line}active = {{ device = \"plant\", table = \"input\", address = {address}, type = \"int16\", scale = 0.1 }}\n"
            );
            text = text.replacen(&line, &active, 1);
        }
        std::fs::write(dir.path().join("site.toml"), edit(text)).unwrap();
        Self { dir, plant }
    }

    /// Of its broker and its Modbus server.
    pub(crate) fn ports(&self) -> (u16, u16) {
        (self.plant.mqtt_port, self.plant.modbus_port)
    }

    fn spawn(&self, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_isotherm"))
            .current_dir(self.dir.path())
            .args(["check", "--site", "site.toml", "--who", "ann", "--json"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn check(&self, args: &[&str]) -> (i32, Value, String) {
        ended(self.spawn(args)).await
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.dir.path().join(file)
    }

    fn events(&self) -> Vec<Value> {
        let path = self.path("audit.db");
        assert!(verify(&path, &Options::default()).unwrap().ok);
        let records = Log::open(&path).unwrap().records(0).map(Result::unwrap).collect::<Vec<_>>();
        records.iter().map(|r| serde_json::from_str(&r.body).unwrap()).collect()
    }

    /// What the plant's register of a setpoint holds, counts.
    async fn register(&self, address: u16) -> u16 {
        let site = isotherm::site::load(&self.path("site.toml")).unwrap();
        let bus = isotherm::ingest::modbus::Bus::open(&site);
        let device = "plant".parse().unwrap();
        bus.read(&device, isotherm::site::Table::Holding, address, 1).await.unwrap()[0]
    }
}

async fn ended(child: Child) -> (i32, Value, String) {
    // Hours of the plant, with a debug build on a busy machine.
    let ended = tokio::time::timeout(std::time::Duration::from_mins(4), child.wait_with_output());
    let output = ended.await.expect("the test ends").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    (output.status.code().unwrap(), serde_json::from_str(&out).unwrap_or_default(), err)
}

fn whats(protocol: &Value) -> Vec<(&str, &str)> {
    let steps = protocol["steps"].as_array().unwrap().iter();
    steps.map(|s| (s["what"].as_str().unwrap(), s["setpoint"].as_str().unwrap_or_default())).collect()
}

/// The whole way: steps, protocol, and a site file that the twin starts from.
#[tokio::test(flavor = "multi_thread")]
async fn the_twin_starts_from_what_step_tests_found() {
    let plant = Plant::start(None, |t| t).await;
    let before = [plant.register(2).await, plant.register(3).await, plant.register(4).await];
    let args = ["--steps", "2", "--hold", "30min", "--consent", "chws_sp", "--consent", "crah_supply_sp"];
    let (code, protocol, err) = plant.check(&args).await;
    assert_eq!(code, 0, "{err}{protocol:#}");
    let moves = |name| {
        let all = whats(&protocol).into_iter().filter(|(_, s)| *s == name).map(|(what, _)| what.to_owned());
        all.collect::<Vec<_>>()
    };
    assert_eq!(whats(&protocol)[..2], [("take control", ""), ("heartbeat", "")], "{protocol:#}");
    assert_eq!(moves("chws_sp"), ["away", "away", "back", "back"], "{protocol:#}");
    assert_eq!(moves("crah_supply_sp"), ["away", "away", "back", "back"]);
    assert_eq!(moves("chw_dp_sp"), ["step"], "not tested: no consent");
    let after = [plant.register(2).await, plant.register(3).await, plant.register(4).await];
    assert_eq!(before, after, "everything is back");
    assert_eq!(plant.register(0).await, 0, "released");

    // Water follows its setpoint, inlets the air's: one to one, within minutes.
    let answer = |setpoint: &str, signal: &str| {
        let all = protocol["answers"].as_array().unwrap();
        all.iter().find(|a| a["setpoint"] == setpoint && a["signal"] == signal).unwrap()
    };
    for (setpoint, signal) in [("chws_sp", "chws"), ("crah_supply_sp", "hall_a_inlet_max")] {
        let a = answer(setpoint, signal);
        assert_eq!(a["seen"], "clearly", "{a:#}");
        let gain = a["gain"]["value"].as_f64().unwrap();
        assert!((gain - 1.0).abs() < 0.35, "{a:#}");
        let delay = |of: &str| a[of]["value"].as_f64().unwrap();
        let delay = delay("dead_time_min") + delay("time_constant_min");
        assert!((0.3..30.0).contains(&delay), "{a:#}");
    }
    assert_ne!(answer("crah_supply_sp", "chws")["seen"], "clearly");
    let sum = |of: &str| -> f64 {
        let all = protocol["errors"].as_array().unwrap().iter();
        all.filter_map(|e| e[of][1].as_f64()).sum()
    };
    assert!(sum("after") <= 1.05 * sum("before") && sum("before") > 0.0, "{:#}", protocol["errors"]);

    // Every write's intent is in the log, and what it led to; frames are where the protocol says.
    let intended = plant.events().iter().filter(|e| e["action"].is_array()).count();
    assert_eq!(intended, 1 + 1 + 8 + 1, "control, the heartbeat, the moves, release");
    let recorded = std::fs::read_to_string(plant.path("steps.jsonl")).unwrap();
    assert_eq!(recorded.lines().count() as u64, protocol["recording"]["frames"].as_u64().unwrap());
    let sha256 = protocol["recording"]["sha256"].as_str().unwrap();
    assert!(plant.events().iter().any(|e| e["detail"].as_str().unwrap().contains(sha256)));

    // The lines are for the site file, which is taken with them.
    let lines = protocol["changes"].as_array().unwrap().iter();
    let lines = lines.filter(|c| c["mark"] != "goes").map(|c| c["line"].as_str().unwrap());
    let twin = lines.collect::<Vec<_>>().join("\n");
    let text = std::fs::read_to_string(plant.path("site.toml")).unwrap();
    let site = isotherm::site::parse(&format!("{text}\n{twin}\n"), Path::new("site.toml")).unwrap();
    assert!(site.twin.responses.len() >= 2, "{twin}");
    let wrong = twin.replace("\"hall_a_inlet_max\"", "\"hall_rh\"");
    let message = isotherm::site::parse(&format!("{text}\n{wrong}\n"), Path::new("site.toml")).unwrap_err();
    assert!(message.to_string().contains("temperature that the twin predicts"), "{message}");

    // A recording is never written over.
    let (code, _, err) = plant.check(&args).await;
    assert!(code == 2 && err.contains("steps.jsonl") && err.contains("--record"), "{err}");
}

/// The other plants: a supply's step comes back out of what it cools, within the hour.
#[tokio::test(flavor = "multi_thread")]
async fn liquid_and_immersion_plants_answer_as_physics_says() {
    for (plant, site, setpoint, signal) in [
        ("liquid", LIQUID, "cdu_supply_sp", "cdu_supply"),
        ("immersion", IMMERSION, "fluid_supply_sp", "bath_a_temp"),
    ] {
        let plant = Plant::of(plant, site, None, |t| t).await;
        let args = ["--steps", "2", "--hold", "40min", "--consent", setpoint];
        let (code, protocol, err) = plant.check(&args).await;
        assert_eq!(code, 0, "{err}{protocol:#}");
        let answers = protocol["answers"].as_array().unwrap();
        let a = answers.iter().find(|a| a["setpoint"] == setpoint && a["signal"] == signal).unwrap();
        assert_eq!(a["seen"], "clearly", "{a:#}");
        let gain = a["gain"]["value"].as_f64().unwrap();
        assert!((gain - 1.0).abs() < 0.35, "{a:#}");
        assert_eq!(plant.register(0).await, 0, "released");
    }
}

/// Ctrl-C with a setpoint away: it is put back, control is released, and both are in the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_restores_and_releases() {
    let plant = Plant::start(Some(60.0), |t| t).await;
    let before = plant.register(2).await;
    let child = plant.spawn(&["--steps", "--hold", "5min", "--consent", "chws_sp"]);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    soon("the setpoint moves", async {
        while plant.register(2).await == before {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, protocol, err) = ended(child).await;
    assert_eq!(code, 1, "{err}");
    assert!(protocol["stopped"].as_str().unwrap().contains("interrupted: Ctrl-C"), "{protocol:#}");
    assert_eq!(
        whats(&protocol)[2..5],
        [("away", "chws_sp"), ("restore", "chws_sp"), ("release", "")],
        "{protocol:#}"
    );
    assert_eq!((plant.register(2).await, plant.register(0).await), (before, 0));
    let said = plant.events().iter().map(|e| e["detail"].to_string()).collect::<String>();
    assert!(said.contains("restore chws_sp, by ann: as written") && said.contains("stopped"), "{said}");
}

/// Limits that are too near, and a signal that is not believed: nothing is moved, and the reason is said.
#[tokio::test(flavor = "multi_thread")]
async fn near_a_limit_nothing_is_moved() {
    let plant = Plant::start(None, |t| t).await;
    let before = plant.register(2).await;
    let args = ["--steps", "--hold", "2min", "--margin", "9", "--consent", "chws_sp"];
    let (code, protocol, err) = plant.check(&args).await;
    assert_eq!(code, 1, "{err}");
    assert!(protocol["stopped"].as_str().unwrap().contains("less than 9 K from its limit"), "{protocol:#}");
    assert!(!whats(&protocol).contains(&("away", "chws_sp")), "{protocol:#}");
    assert_eq!((plant.register(2).await, plant.register(0).await), (before, 0));
    // Nobody answers at standard input.
    let (code, _, err) = plant.check(&["--steps", "--record", "other.jsonl"]).await;
    assert!(code == 2 && err.contains("no consent: nothing was written"), "{err}");
    assert!(!plant.path("other.jsonl").exists());
}

/// The heartbeat stops, and the plant takes its own setpoints back. Ten times as fast as a real one.
#[tokio::test(flavor = "multi_thread")]
async fn the_plants_watchdog_is_shown() {
    let edit = |t: String| t.replace("[link]", "[link]\nwatchdog = \"18s\"");
    let plant = Plant::start(Some(10.0), edit).await;
    let before = plant.register(2).await;
    let (code, protocol, err) = plant.check(&["--accept", "--watchdog", "--consent", "chws_sp"]).await;
    assert_eq!(code, 0, "{err}{protocol:#}");
    let shown = protocol["steps"].as_array().unwrap().iter().find(|s| s["what"] == "watchdog").unwrap();
    assert_eq!(shown["result"], "passed", "{protocol:#}");
    assert!(shown["detail"].as_str().unwrap().contains("after the last heartbeat"), "{shown:#}");
    let all = whats(&protocol);
    assert_eq!(all[all.len() - 2..], [("restore", "chws_sp"), ("release", "")], "{protocol:#}");
    assert_eq!((plant.register(2).await, plant.register(0).await), (before, 0));
}
