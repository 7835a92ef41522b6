//! `isotherm bench ingest`: how much comes in, and whether any of it is lost, with a real mosquitto and a
//! Modbus TCP server in this process.
//!
//! Frames are published by a client in this process too, so both ends and the broker share the machine's
//! cores: the rate is a lower bound of what the agent takes alone.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rumqttc::{AsyncClient, MqttOptions, QoS};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};

use crate::clock::{self, Stopwatch};
use crate::frame::Assembler;
use crate::ingest::modbus::{Bus, Poller, ReadFailure};
use crate::ingest::mqtt::{self, ConfigError, Events, SourceEvent};
use crate::site::{self, Site, SiteError};

/// Signals in one frame, as in the examples of `sites/`.
const SIGNALS: u64 = 20;
/// The rate at which nothing may be lost.
const PACE_PER_S: u64 = 2_000;
const PACED_FOR: Duration = Duration::from_secs(5);
const RATE_FOR: Duration = Duration::from_secs(5);
/// Frames under way at most when measuring the rate: below what mosquitto queues for a client (1,000).
const WINDOW: u64 = 400;
/// Two-register values polled from the Modbus server.
const VALUES: u16 = 1_000;
const POLL_FOR: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(5);
const TOPIC: &str = "bench/frame";

/// The measured numbers.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// Readings that went through broker, parser, queue and frame assembler.
    pub mqtt_readings_per_s: f64,
    pub mqtt_messages_per_s: f64,
    pub signals_per_message: u64,
    pub modbus_registers_per_s: f64,
    /// Messages lost at the paced rate.
    pub lost: u64,
    pub sent: u64,
    pub paced_per_s: u64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("needs the mosquitto broker on the PATH: apt-get install mosquitto")]
    NoBroker,
    #[error("cannot start {program}: {source}", program = program.display())]
    Start { program: PathBuf, source: std::io::Error },
    #[error("mosquitto ended at once, or does not listen on port {0}")]
    NotListening(u16),
    #[error("no port to listen on: {0}")]
    Port(#[from] std::io::Error),
    #[error("the source stopped: {0:?}")]
    Stopped(Option<SourceEvent>),
    #[error("the publisher lost its connection")]
    Publisher,
    #[error(transparent)]
    Mqtt(#[from] ConfigError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Read(#[from] ReadFailure),
}

pub async fn run() -> Result<Report, BenchError> {
    let broker = Broker::start().await?;
    let site = mqtt_site(broker.port)?;
    let (handle, events) = mqtt::connect(&site)?;
    let mut intake = Intake { events, assembler: Assembler::new(&site), arrived: Arc::default() };
    intake.until_up().await?;
    let publisher = broker.publisher();
    let (sent, lost) = paced(&publisher, &mut intake).await?;
    let messages_per_s = as_fast_as_possible(&publisher, &mut intake, sent).await?;
    handle.close().await;
    Ok(Report {
        mqtt_readings_per_s: messages_per_s * SIGNALS as f64,
        mqtt_messages_per_s: messages_per_s,
        signals_per_message: SIGNALS,
        modbus_registers_per_s: registers_per_s().await?,
        lost,
        sent,
        paced_per_s: PACE_PER_S,
    })
}

/// The receiving side: what the service does with readings, short of deciding.
struct Intake {
    events: Events,
    assembler: Assembler,
    /// Frames arrived.
    arrived: Arc<AtomicU64>,
}

impl Intake {
    async fn until_up(&mut self) -> Result<(), BenchError> {
        match timeout(PATIENCE, self.events.recv()).await {
            Ok(Some(SourceEvent::Up)) => Ok(()),
            Ok(other) => Err(BenchError::Stopped(other)),
            Err(_) => Err(BenchError::Stopped(None)),
        }
    }

    /// Takes frames until `wanted` have arrived in all, or none has come for a while.
    async fn take(&mut self, wanted: u64) -> Result<(), BenchError> {
        while self.arrived.load(Ordering::Relaxed) < wanted {
            match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(SourceEvent::Readings { readings, .. })) => {
                    for reading in &readings {
                        self.assembler.push(reading);
                    }
                    self.arrived.fetch_add(1, Ordering::Relaxed);
                }
                // Counted as lost by not arriving.
                Ok(Some(SourceEvent::Overrun { .. })) => {}
                Ok(other) => return Err(BenchError::Stopped(other)),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

/// Frame number `n`, a second after the one before.
fn frame(n: u64) -> String {
    let seconds = i64::try_from(n).unwrap_or(i64::MAX);
    let time =
        Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    let values: Vec<String> = (0..SIGNALS).map(|i| format!("\"s{i}\":{}.{}", 20 + i % 5, n % 10)).collect();
    format!("{{\"time\":\"{time}\",\"signals\":{{{}}}}}", values.join(","))
}

/// Publishes at the fixed rate; returns frames sent and lost.
async fn paced(publisher: &AsyncClient, intake: &mut Intake) -> Result<(u64, u64), BenchError> {
    let total = PACE_PER_S * PACED_FOR.as_secs();
    let client = publisher.clone();
    let sender = tokio::spawn(async move {
        let start = clock::monotonic();
        for n in 0..total {
            tokio::time::sleep_until(start + Duration::from_secs(n) / u32::try_from(PACE_PER_S).unwrap_or(1))
                .await;
            client.publish(TOPIC, QoS::AtLeastOnce, false, frame(n)).await?;
        }
        Ok::<(), rumqttc::ClientError>(())
    });
    intake.take(total).await?;
    sender.await.ok().and_then(Result::ok).ok_or(BenchError::Publisher)?;
    Ok((total, total - intake.arrived.load(Ordering::Relaxed)))
}

/// Publishes with a window of frames under way; returns frames a second.
async fn as_fast_as_possible(
    publisher: &AsyncClient,
    intake: &mut Intake,
    from: u64,
) -> Result<f64, BenchError> {
    let before = intake.arrived.load(Ordering::Relaxed);
    let (client, arrived) = (publisher.clone(), intake.arrived.clone());
    let sender = tokio::spawn(async move {
        let watch = Stopwatch::start();
        let mut n = 0;
        while watch.elapsed() < RATE_FOR {
            if n - (arrived.load(Ordering::Relaxed) - before) >= WINDOW {
                tokio::task::yield_now().await;
                continue;
            }
            client.publish(TOPIC, QoS::AtLeastOnce, false, frame(from + n)).await?;
            n += 1;
        }
        Ok::<u64, rumqttc::ClientError>(n)
    });
    let watch = Stopwatch::start();
    while !sender.is_finished() {
        let next = intake.arrived.load(Ordering::Relaxed) + 1;
        intake.take(next).await?;
    }
    let sent = sender.await.ok().and_then(Result::ok).ok_or(BenchError::Publisher)?;
    intake.take(before + sent).await?;
    let frames = intake.arrived.load(Ordering::Relaxed) - before;
    Ok(frames as f64 / watch.elapsed().as_secs_f64())
}

async fn registers_per_s() -> Result<f64, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let site = modbus_site(listener.local_addr()?.port())?;
    let server = tokio::spawn(async move {
        let service = |_: SocketAddr| Ok(Some(Registers));
        let connected = |stream: TcpStream, peer| async move { accept_tcp_connection(stream, peer, service) };
        let ended = Server::new(listener)
            .serve(&connected, |error| tracing::debug!(%error, "Modbus server connection"))
            .await;
        tracing::debug!(?ended, "Modbus server");
    });
    let mut poller = Poller::new(&site, Bus::open(&site));
    let (watch, mut polls) = (Stopwatch::start(), 0u32);
    while watch.elapsed() < POLL_FOR {
        let polled = poller.poll(Timestamp::UNIX_EPOCH).await;
        if let Some(failure) = polled.failures.into_iter().next() {
            return Err(failure.into());
        }
        polls += 1;
    }
    let seconds = watch.elapsed().as_secs_f64();
    server.abort();
    Ok(f64::from(polls) * 2.0 * f64::from(VALUES) / seconds)
}

/// Holding registers that hold their own addresses.
struct Registers;

impl tokio_modbus::server::Service for Registers {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = std::future::Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        std::future::ready(if let Request::ReadHoldingRegisters(from, count) = request {
            Ok(Response::ReadHoldingRegisters((0..count).map(|i| from.wrapping_add(i)).collect()))
        } else {
            Err(ExceptionCode::IllegalFunction)
        })
    }
}

const SITE_HEAD: &str = r#"
name = "bench"
plant = "air"
setpoint = []
model = { backend = "none" }
"#;

fn signal(name: &str, source: &str, role: &str) -> String {
    format!(
        "[[signal]]\nname = \"{name}\"\nunit = \"degC\"\nsource = {{ {source} }}\n\
         range = [-1e6, 1e6]\nslew_per_min = 1e6\n{role}\n"
    )
}

fn parse(text: &str) -> Result<Site, SiteError> {
    site::parse(text, Path::new("bench"))
}

fn role(index: u64) -> &'static str {
    if index == 0 { "role = \"it_inlet\"" } else { "" }
}

fn mqtt_site(port: u16) -> Result<Site, SiteError> {
    let signals: String =
        (0..SIGNALS).map(|i| signal(&format!("s{i}"), &format!("topic = \"{TOPIC}\""), role(i))).collect();
    parse(&format!(
        "{SITE_HEAD}clock = \"frames\"\nmqtt = {{ host = \"127.0.0.1\", port = {port}, watchdog = \"1h\" }}\n{signals}"
    ))
}

fn modbus_site(port: u16) -> Result<Site, SiteError> {
    let source = |i| format!("device = \"plc\", address = {}, type = \"int32\"", 2 * i);
    let signals: String =
        (0..VALUES).map(|i| signal(&format!("r{i}"), &source(i), role(u64::from(i)))).collect();
    parse(&format!(
        "{SITE_HEAD}[[device]]\nname = \"plc\"\nhost = \"127.0.0.1\"\nport = {port}\nmax_block = 125\n{signals}"
    ))
}

/// A mosquitto of our own, in its local-only mode; it ends with this value.
struct Broker {
    _child: Child,
    port: u16,
}

impl Broker {
    async fn start() -> Result<Self, BenchError> {
        let program = mosquitto().ok_or(BenchError::NoBroker)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(&program)
            .args(["-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| BenchError::Start { program, source })?;
        let watch = Stopwatch::start();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if watch.elapsed() > PATIENCE {
                return Err(BenchError::NotListening(port));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { _child: child, port })
    }

    fn publisher(&self) -> AsyncClient {
        let mut options = MqttOptions::new("bench-publisher", "127.0.0.1", self.port);
        options.set_inflight(WINDOW as u16);
        let (client, mut connection) = AsyncClient::new(options, 100);
        tokio::spawn(async move {
            while let Ok(event) = connection.poll().await {
                tracing::trace!(?event, "publisher");
            }
        });
        client
    }
}

fn mosquitto() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join("mosquitto")).find(|p| p.is_file())
}
