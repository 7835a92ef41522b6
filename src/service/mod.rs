//! The tokio shell around the controller: it reads clocks, carries inputs in and effects out, and owns
//! every connection. No rule of control lives here.

#[cfg(feature = "parquet")]
mod archive;
mod broken;
mod engines;
mod memory;
mod notify;
mod pulse;
mod shell;
pub mod socket;
mod stats;
mod telemetry;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

pub use memory::protect;
pub use pulse::Beat;
pub use stats::Stats;

use crate::audit;
use crate::clock;
use crate::console::ConsoleError;
use crate::control::{RunHeader, Setup};
use crate::ingest::modbus::Bus;
use crate::ingest::mqtt::{self, ConfigError, Events, SourceEvent};
use crate::memory::Reading;
use crate::memory::kernel::Kernel;
use crate::prompt::{PromptError, Prompts};
use crate::reason::{self, StartError};
use crate::site::Site;
use crate::upgrade::{Kept, Lineage};
use crate::{decision, hex, sparkplug};
use engines::Engines;
use pulse::Pulse;
use shell::{Parts, Shell};

/// What a console or an operator's query sees: the live state as JSON.
pub type View = serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    #[error(transparent)]
    Mqtt(#[from] ConfigError),
    #[error(transparent)]
    Model(#[from] StartError),
    #[error("this program's own path: {0}; the reasoner is started from it")]
    Program(std::io::Error),
    #[error("console.control_socket {path}: {source}", path = path.display())]
    Socket { path: std::path::PathBuf, source: std::io::Error },
    #[error("telemetry.otlp: {0}")]
    Telemetry(String),
    #[error(transparent)]
    Console(#[from] ConsoleError),
    #[error("{0}; the plant was released and the audit log says so")]
    Broken(String),
}

/// How a run differs between service, demo and tests.
#[derive(Clone, Debug)]
pub struct Options {
    /// Wait this long for the model before the first frame is handled; zero starts on the fallback.
    pub wait_for_model: Duration,
    /// A run made of simulated plant: shown wherever a person looks.
    pub simulated: bool,
    /// Where the site came from, to be read again at SIGHUP.
    pub site_file: Option<PathBuf>,
}

/// What a run leaves behind.
#[derive(Clone, Debug)]
pub struct Ended {
    pub stats: Stats,
    pub audit: std::path::PathBuf,
}

/// Runs until `stop` resolves, then releases the plant and closes the log. A panic in the loop ends in a
/// release too.
pub async fn run(
    site: Site,
    options: Options,
    stop: impl Future<Output = String> + Send + 'static,
) -> Result<Ended, ServiceError> {
    let (copy, simulated) = (site.clone(), options.simulated);
    match tokio::spawn(operate(site, options, stop)).await {
        Ok(ended) => ended,
        Err(broken) => {
            let why = format!("the control loop broke: {broken}");
            tracing::error!(%why, "releasing the plant");
            broken::release(&copy, &why, simulated).await;
            Err(ServiceError::Broken(why))
        }
    }
}

async fn operate(
    site: Site,
    options: Options,
    stop: impl Future<Output = String>,
) -> Result<Ended, ServiceError> {
    let (kept, upgrade_void) = Kept::read(&site);
    let prompts = match &kept.lineage {
        Some(lineage) => lineage.in_force.prompts()?,
        None => Prompts::load(site.model.prompts.as_deref())?,
    };
    let site = kept.lineage.as_ref().map_or_else(|| site.clone(), |l| l.in_force.applied_to(&site));
    let schema = decision::schema(&site);
    let setup = Arc::new(Setup { site, prompts, schema });
    let site = &setup.site;
    let store = audit::Store::open(&site.audit, clock::now())?;

    // Before any peer is met: a second agent that is started by mistake ends here.
    let (view_tx, view) = watch::channel(View::Null);
    let (calls_tx, mut calls) = mpsc::channel(16);
    let socket_path = site.console.control_socket.clone();
    socket::listen(&socket_path, calls_tx.clone(), view.clone())
        .map_err(|source| ServiceError::Socket { path: socket_path.clone(), source })?;
    let (in_force, followed) = watch::channel(setup.clone());
    let pulse = Pulse::starting(options.wait_for_model);
    crate::console::serve(followed, view.clone(), pulse.listen(), calls_tx).await?;

    let program = std::env::current_exe().map_err(ServiceError::Program)?;
    // Before the groups are split: what is watched is the one that bounds the whole agent.
    let kernel = Kernel::here();
    let (answer, mut replies) = mpsc::channel(2);
    let (tell, mut news) = mpsc::channel(16);
    let engines = Engines::start(site, program, answer, tell)?;
    if !options.wait_for_model.is_zero()
        && let Err(why) = engines.deciding().ready(options.wait_for_model).await
    {
        tracing::warn!(%why, "the model is not ready; the fallback decides until it is");
    }
    let watch = engines.orders().map(|orders| memory::Watch::new(site, orders));
    let mut readings = watch.is_some().then(|| memory::readings(kernel, site.memory.sample.unsigned_abs()));

    let bus = (!site.devices.is_empty()).then(|| Bus::open(site));
    let (mqtt, mut events) = match site.mqtt.as_ref().map(|_| mqtt::connect(site)).transpose()? {
        Some((handle, events)) => (Some(handle), Some(events)),
        None => (None, None),
    };

    // It makes a client that must not be made on this thread.
    let traced = setup.clone();
    let telemetry = tokio::task::spawn_blocking(move || telemetry::Telemetry::start(&traced.site))
        .await
        .map_err(|e| ServiceError::Telemetry(e.to_string()))?
        .map_err(ServiceError::Telemetry)?;
    let edge = sparkplug::node::start(site, view.clone())?;
    let mut shell = Shell::new(Parts {
        in_force,
        store,
        bus,
        mqtt,
        engines,
        kept,
        memory: watch,
        view: view_tx,
        simulated: options.simulated,
        telemetry,
    });
    // A run without a site file has nothing to read again, and ends when its terminal does.
    let mut hang_up = options.site_file.as_ref().map(|path| (path.clone(), hang_ups()));
    shell.begin(upgrade_void).await;
    notify::ready(site.name.as_str());
    let mut archived = archiving(site);
    let mut watchdog = notify::Watchdog::start();

    let mut tick = ticker(shell.tick_period());
    pulse.beat(shell.tick_period());
    tokio::pin!(stop);
    let why = loop {
        tokio::select! {
            why = &mut stop => break why,
            Some(event) = next(&mut events) => shell.on_source(event).await,
            Some((number, result)) = replies.recv() => shell.on_reply(number, result).await,
            Some(call) = calls.recv() => shell.on_call(call).await,
            Some(news) = news.recv() => shell.on_news(news).await,
            Some(reading) = next_reading(&mut readings) => shell.on_memory(&reading).await,
            archived = next_archived(&mut archived) => shell.on_archived(archived).await,
            path = hung_up(&mut hang_up) => shell.on_reload(&path).await,
            () = watchdog.beat() => {}
            _ = tick.tick() => shell.on_tick().await,
        }
        pulse.beat(shell.tick_period());
        if tick.period() != shell.tick_period() {
            tick = ticker(shell.tick_period());
            // The next one after a period, not now.
            tick.reset();
        }
    };
    notify::stopping(&why);
    let stats = Box::pin(shell.stop(why)).await;
    if let Some(edge) = edge {
        edge.close().await;
    }
    if let Err(e) = std::fs::remove_file(&socket_path) {
        tracing::debug!(error = %e, "control socket");
    }
    Ok(Ended { stats, audit: site.audit.path.clone() })
}

/// The same for what runs at somebody's terminal: that it was closed is a reason, too.
pub async fn stop_or_hang_up() -> String {
    let mut hang_up = hang_ups();
    tokio::select! {
        why = stop_signal() => why,
        _ = hang_up.recv() => "SIGHUP".to_owned(),
    }
}

/// Resolves with the reason when the process is asked to end, which it hears from the call on: who is asked while it
/// starts ends in order, too. To be called within a runtime, as signals are heard there.
pub fn stop_signal() -> impl Future<Output = String> {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = signal(SignalKind::terminate())
        .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
    async {
        match heard {
            Ok((mut terminate, mut interrupt)) => tokio::select! {
                _ = terminate.recv() => "SIGTERM".to_owned(),
                _ = interrupt.recv() => "Ctrl-C".to_owned(),
            },
            Err(e) => format!("no signal handler: {e}"),
        }
    }
}

/// One for each SIGHUP, which from now on no longer ends the process.
fn hang_ups() -> mpsc::Receiver<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (tx, rx) = mpsc::channel(1);
    match signal(SignalKind::hangup()) {
        Ok(mut hang_up) => {
            tokio::spawn(async move {
                while hang_up.recv().await.is_some() {
                    if tx.send(()).await.is_err() {
                        return;
                    }
                }
            });
        }
        Err(error) => tracing::warn!(%error, "SIGHUP will not be heard: the site file is read at start only"),
    }
    rx
}

type Archives = Option<mpsc::Receiver<audit::Archived>>;

#[cfg(feature = "parquet")]
fn archiving(site: &Site) -> Archives {
    archive::start(&site.audit)
}

/// The site's checks have refused one that archives.
#[cfg(not(feature = "parquet"))]
fn archiving(_site: &Site) -> Archives {
    None
}

/// The next archive; for ever away where nothing is archived.
async fn next_archived(archived: &mut Archives) -> audit::Archived {
    if let Some(rx) = archived
        && let Some(archived) = rx.recv().await
    {
        return archived;
    }
    std::future::pending().await
}

/// The file to read again, at the next SIGHUP.
async fn hung_up(hang_up: &mut Option<(PathBuf, mpsc::Receiver<()>)>) -> PathBuf {
    if let Some((path, signals)) = hang_up
        && signals.recv().await.is_some()
    {
        return path.clone();
    }
    std::future::pending().await
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

async fn next(events: &mut Option<Events>) -> Option<SourceEvent> {
    match events {
        Some(rx) => rx.recv().await,
        None => std::future::pending().await,
    }
}

async fn next_reading(readings: &mut Option<mpsc::Receiver<Reading>>) -> Option<Reading> {
    match readings {
        Some(rx) => rx.recv().await,
        None => std::future::pending().await,
    }
}

type Question = (u64, Box<reason::Request>);
type Reply = (u64, Result<reason::Completion, reason::Failure>);

/// Who runs what, for the first record.
fn header(setup: &Setup, facts: &serde_json::Value, upgrades: Option<&Lineage>, now: Timestamp) -> RunHeader {
    RunHeader {
        run: format!("{}-{}", setup.site.name, now.as_microsecond()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: reason::build_info(),
        site: setup.site.name.to_string(),
        site_sha256: setup.site.sha256(),
        site_config: setup.site.recorded(),
        prompt_template: setup.prompts.template().to_owned(),
        prompt_sha256: setup.prompts.sha256().to_owned(),
        prompt_files: setup.prompts.files().clone(),
        schema_sha256: hex::sha256(setup.schema.to_string().as_bytes()),
        model: facts.clone(),
        sampler: reason::Sampler::of(&setup.site.model),
        upgrades: upgrades.cloned().map(Box::new),
    }
}
