//! A plant on the network: frames on MQTT, registers on Modbus TCP, paced or in lock step.

mod broker;
mod modbus;
mod mqtt;

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::plant::{Plant, Totals};
use crate::scenario::Scenario;
pub use mqtt::Login;

/// Which broker frames go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    /// Started here, on this port of the loopback interface; 0 picks a free one. It has no stop: its
    /// threads live as long as the process.
    Embedded(u16),
    External {
        host: String,
        port: u16,
    },
}

/// Simulated seconds per second of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// As fast as the plant, the broker and (in lock step) the agent go.
    Max,
    Times(f64),
}

/// What to serve, and how.
#[derive(Debug, Clone)]
pub struct Options {
    pub scenario: Scenario,
    pub seed: u64,
    pub broker: Broker,
    pub login: Option<Login>,
    /// Address and port of the Modbus server; port 0 picks a free one.
    pub modbus_host: std::net::IpAddr,
    pub modbus_port: u16,
    pub speed: Speed,
    /// Topic of acknowledgements. After a frame of time t the plant stands still until a message
    /// `{"time": T}` with T >= t arrives there.
    pub lockstep: Option<String>,
    /// Stop after so many simulated hours; `None` runs until stopped.
    pub hours: Option<f64>,
}

impl Options {
    /// A shipped scenario on an embedded broker and free ports of the loopback interface, as fast as
    /// it goes, without lock step and without an end.
    pub fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            seed: 1,
            broker: Broker::Embedded(0),
            login: None,
            modbus_host: Ipv4Addr::LOCALHOST.into(),
            modbus_port: 0,
            speed: Speed::Max,
            lockstep: None,
            hours: None,
        }
    }
}

/// A plant being served. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    /// Port of the broker.
    pub mqtt_port: u16,
    /// Port of the Modbus server.
    pub modbus_port: u16,
    plant: Shared,
    stop: watch::Sender<bool>,
    pacer: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Plant>>);

impl Shared {
    /// A poisoned lock means that a step panicked; the registers still read as they were.
    fn lock(&self) -> MutexGuard<'_, Plant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Waits until the simulated hours have passed, or until stopped.
    pub async fn finished(&mut self) {
        if let Some(pacer) = self.pacer.take()
            && let Err(error) = pacer.await
        {
            tracing::error!(%error, "the plant's task ended badly");
        }
    }

    /// Sums so far.
    pub fn totals(&self) -> Totals {
        self.plant.lock().totals()
    }

    /// Simulated time.
    pub fn time(&self) -> jiff::Timestamp {
        self.plant.lock().time()
    }

    /// Stops: no more frames, the Modbus port closes. `finished` returns soon after.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts serving; returns once the broker accepts frames and the Modbus port is open. The plant
/// starts to move at once (in lock step: once the first frame is acknowledged).
pub async fn start(options: Options) -> anyhow::Result<Running> {
    let plant = Plant::new(options.scenario.clone(), options.seed)?;
    let name = plant.scenario().plant.name();
    let (stop, stopped) = watch::channel(false);
    let (host, mqtt_port) = match &options.broker {
        Broker::Embedded(port) => (Ipv4Addr::LOCALHOST.to_string(), broker::start(*port).await?),
        Broker::External { host, port } => (host.clone(), *port),
    };
    let about = about(&plant);
    let shared = Shared(Arc::new(Mutex::new(plant)));
    let link = mqtt::connect(mqtt::Config {
        host,
        port: mqtt_port,
        login: options.login.clone(),
        plant: name,
        about,
        lockstep: options.lockstep.clone(),
        stopped: stopped.clone(),
    })
    .await?;
    let gate = watch::Sender::new(true);
    let modbus_port = modbus::serve(
        (options.modbus_host, options.modbus_port).into(),
        shared.clone(),
        gate.subscribe(),
        stopped,
    )
    .await
    .context("starting the Modbus server")?;
    let pacer = Pacer { plant: shared.clone(), link, gate, stop: stop.clone(), options };
    Ok(Running { mqtt_port, modbus_port, plant: shared, stop, pacer: Some(tokio::spawn(pacer.run())) })
}

fn about(plant: &Plant) -> String {
    serde_json::json!({
        "simulation": true,
        "note": "This plant is simulated: no real equipment is behind these topics and registers.",
        "simulator": concat!("isotherm-sim ", env!("CARGO_PKG_VERSION")),
        "plant": plant.scenario().plant.name(),
        "scenario": plant.scenario().source,
        "about": plant.scenario().about,
        "start": plant.time().to_string(),
    })
    .to_string()
}

/// Moves the plant and publishes its frames.
struct Pacer {
    plant: Shared,
    link: mqtt::Link,
    /// True while the Modbus server is up.
    gate: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    options: Options,
}

impl Pacer {
    async fn run(mut self) {
        let mut stopped = self.stop.subscribe();
        tokio::select! {
            () = self.pace() => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        self.stop.send_replace(true);
        self.link.finish().await;
    }

    async fn pace(&mut self) {
        let sample_s = self.options.scenario.sample_s;
        let mut ticks = match self.options.speed {
            Speed::Max => None,
            Speed::Times(speed) => {
                let mut ticks = interval(Duration::from_secs_f64(sample_s / speed.max(1e-3)));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                Some(ticks)
            }
        };
        loop {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let (said, frame, time, fault, over) = {
                let mut plant = self.plant.lock();
                plant.step(sample_s);
                let over = self.options.hours.is_some_and(|h| plant.hours() > h - 1e-9);
                (plant.take_announcements(), mqtt::frame(&plant), plant.time(), plant.disturbance(), over)
            };
            self.gate.send_if_modified(|up| {
                let changed = *up == fault.modbus_out;
                *up = !fault.modbus_out;
                changed
            });
            if !fault.broker_out {
                self.link.announce(said).await;
                self.link.publish(frame, time).await;
            }
            if over {
                return;
            }
        }
    }
}
