//! `isotherm demo`: a simulated plant behind an embedded broker and a Modbus server, in lock step with an
//! agent that does not know that it is one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use isotherm::bench::hours;
use isotherm::clock::Stopwatch;
use isotherm::memory::kernel;
use isotherm::site::{self, Backend, Law, Site};
use isotherm::{audit, service};
use isotherm_sim::{Scenario, serve};

use super::{Done, Failed, runtime, usage};

#[derive(clap::Args)]
pub(super) struct Args {
    #[arg(long, value_enum, default_value = "air")]
    plant: Plant,
    /// What happens: a scenario of the simulator by name, or a file. The plant's quiet one when absent.
    #[arg(long)]
    scenario: Option<String>,
    /// Simulated hours.
    #[arg(long, default_value_t = 2.0, value_parser = hours, allow_negative_numbers = true)]
    hours: f64,
    /// Times real time, or `max`: as fast as the model answers.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// No console and no progress on the terminal.
    #[arg(long)]
    headless: bool,
    /// Address of the console; port 0 picks a free one.
    #[arg(long, conflicts_with = "headless")]
    listen: Option<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What decides; all but `llm` need no model.
    #[arg(long, value_enum, default_value = "llm")]
    controller: Law,
    /// GGUF model; the one that comes with the source when absent.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Where the audit log goes; a new folder under the temporary folder when absent.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Plant {
    Air,
    Liquid,
    Immersion,
}

#[derive(Clone, Copy, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.parse::<f64>() {
            _ if s == "max" => Ok(Self::Max),
            Ok(x) if x > 0.0 && x.is_finite() => Ok(Self::Times(x)),
            Ok(_) | Err(_) => Err(format!("expected \"max\" or a factor above 0 such as 60, got {s:?}")),
        }
    }
}

impl Plant {
    fn name(self) -> &'static str {
        match self {
            Self::Air => "air",
            Self::Liquid => "liquid",
            Self::Immersion => "immersion",
        }
    }

    fn site(self) -> &'static str {
        match self {
            Self::Air => include_str!("../../sites/air.toml"),
            Self::Liquid => include_str!("../../sites/liquid.toml"),
            Self::Immersion => include_str!("../../sites/immersion.toml"),
        }
    }
}

/// Loading the model, on a slow machine.
const MODEL_WAIT: Duration = Duration::from_mins(2);

/// The shipped site for this plant, with the demo's ports and folders filled in.
fn site_for(args: &Args, dir: &Path, mqtt_port: u16, modbus_port: u16) -> Result<Site, Failed> {
    let mut site = site::parse(args.plant.site(), Path::new("site.toml")).map_err(usage)?;
    if let Some(mqtt) = &mut site.mqtt {
        mqtt.port = mqtt_port;
    }
    for device in &mut site.devices {
        device.port = modbus_port;
    }
    site.audit.path = dir.join("audit.db");
    site.audit.key = dir.join("audit.key");
    site.audit.checkpoint_file = Some(dir.join("checkpoints.jsonl"));
    site.console.control_socket = dir.join("isotherm.sock");
    site.console.users = Some(dir.join("users.toml"));
    if let Some(listen) = &args.listen {
        site.console.listen.clone_from(listen);
    }
    if args.headless {
        "off".clone_into(&mut site.console.listen);
    }
    site.controller = args.controller;
    if args.controller != Law::Llm {
        // Nothing would ask it.
        site.model.backend = Backend::None;
        return Ok(site);
    }
    let model = match (&args.model, &site.model.path) {
        (Some(path), _) => {
            site.model.sha256 = None;
            Some(path.clone())
        }
        // Site files name it from their own folder.
        (None, Some(path)) => Some(path.strip_prefix("..").unwrap_or(path).to_owned()),
        (None, None) => None,
    };
    match model {
        Some(path) if path.exists() => site.model.path = Some(path),
        Some(path) => {
            let path = path.display();
            return Err(Failed::Usage(format!(
                "{path}: no model file. It comes with the source; or give --model FILE"
            )));
        }
        None => site.model.backend = Backend::None,
    }
    Ok(site)
}

pub(super) fn run(args: &Args) -> Done {
    let scenario = scenario(args)?;
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| std::env::temp_dir().join(format!("isotherm-demo-{}", std::process::id())));
    std::fs::create_dir_all(&dir)
        .map_err(|e| usage(format!("--dir {}: cannot make this folder: {e}; give another", dir.display())))?;
    let report = runtime()?.block_on(play(args, scenario, &dir))?;
    if args.json {
        return println!("{}", serde_json::to_string(&report).map_err(usage)?);
    }
    print(&report)
}

/// The site is the plant's: on another plant it would wait for its signals for ever.
fn scenario(args: &Args) -> Result<Scenario, Failed> {
    let plant = args.plant.name();
    let name = args.scenario.as_deref().unwrap_or(plant);
    let scenario = Scenario::named(name).map_err(usage)?;
    let of = scenario.plant.name();
    if of == plant {
        return Ok(scenario);
    }
    Err(Failed::Usage(format!("scenario {name} is of plant {of}, --plant says {plant}: give --plant {of}")))
}

/// What a demo ends with.
#[derive(Debug, serde::Serialize)]
struct Report {
    plant: &'static str,
    simulated: bool,
    hours: f64,
    wall_s: f64,
    decisions: u64,
    writes: u64,
    interventions: u64,
    fallbacks: u64,
    emergencies: u64,
    failed_writes: u64,
    /// Of the replies whose claims were checked; `null` if none was.
    verified_pct: Option<f64>,
    cooling_kwh: f64,
    facility_kwh: f64,
    it_kwh: f64,
    pue: f64,
    over_degh: f64,
    /// Memory of this process (agent, plant and broker) that is its own, at the end of each simulated day.
    own_mb_by_day: Vec<f64>,
    audit: AuditReport,
}

#[derive(Debug, serde::Serialize)]
struct AuditReport {
    path: PathBuf,
    records: u64,
    verified: bool,
}

async fn play(args: &Args, scenario: Scenario, dir: &Path) -> Result<Report, Failed> {
    let watch = Stopwatch::start();
    let mut options = serve::Options::new(scenario);
    options.seed = args.seed;
    options.speed = match args.speed {
        Speed::Max => serve::Speed::Max,
        Speed::Times(x) => serve::Speed::Times(x),
    };
    options.lockstep = Some(format!("isotherm/demo-{}/ack", args.plant.name()));
    let plant = Arc::new(serve::start(options).await.map_err(usage)?);
    let site = site_for(args, dir, plant.mqtt_port, plant.modbus_port)?;
    let days = Arc::default();
    let stop = hours_over(plant.clone(), args.hours, !args.headless, Arc::clone(&days));
    let options = service::Options { wait_for_model: MODEL_WAIT, simulated: true, site_file: None };
    let ended = service::run(site, options, stop).await.map_err(usage)?;
    // The agent has released the plant by now: its Modbus server may go.
    plant.stop();
    let (totals, stats) = (plant.totals(), ended.stats);
    let log = audit::verify(&ended.audit, &audit::Options::default()).map_err(usage)?;
    Ok(Report {
        plant: args.plant.name(),
        simulated: true,
        hours: totals.hours,
        wall_s: watch.elapsed().as_secs_f64(),
        decisions: stats.decisions,
        writes: stats.writes,
        interventions: stats.interventions,
        fallbacks: stats.fallbacks,
        emergencies: stats.emergencies,
        failed_writes: stats.failed_writes,
        verified_pct: stats.verified_pct(),
        cooling_kwh: totals.cooling_kwh,
        facility_kwh: totals.facility_kwh,
        it_kwh: totals.it_kwh,
        pue: totals.pue(),
        over_degh: totals.over_degh,
        own_mb_by_day: days.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        audit: AuditReport { path: ended.audit, records: log.records, verified: log.ok },
    })
}

/// Resolves when the plant has lived its hours, or at Ctrl-C. The plant ends nothing by itself, so that it
/// can still be released.
async fn hours_over(
    plant: Arc<serve::Running>,
    hours: f64,
    show: bool,
    own_mb_by_day: Arc<Mutex<Vec<f64>>>,
) -> String {
    let began = plant.time();
    let mut shown = Stopwatch::start();
    let lived = async {
        loop {
            let done = plant.time().duration_since(began).as_secs_f64() / 3600.0;
            if show && shown.elapsed() > Duration::from_secs(1) {
                eprint!("\rSIMULATED PLANT  {done:6.2} of {hours} h ");
                shown = Stopwatch::start();
            }
            note_day(done, &own_mb_by_day);
            if done >= hours {
                return "the simulated hours are over".to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        why = lived => why,
        why = service::stop_or_hang_up() => why,
    }
}

fn note_day(hours: f64, own_mb_by_day: &Mutex<Vec<f64>>) {
    let mut days = own_mb_by_day.lock().unwrap_or_else(PoisonError::into_inner);
    if hours >= 24.0 * (days.len() + 1) as f64 {
        let bytes = kernel::bytes_in(Path::new("/proc/self/status"), "RssAnon").ok().flatten();
        days.push(bytes.unwrap_or(0) as f64 / 1e6);
    }
}

fn print(r: &Report) -> Done {
    println!("\nSIMULATED PLANT: {} for {:.1} h, in {:.0} s", r.plant, r.hours, r.wall_s)?;
    println!("decisions        {:>10}   by the fallback {}", r.decisions, r.fallbacks)?;
    println!("register writes  {:>10}   not confirmed {}", r.writes, r.failed_writes)?;
    println!("interventions    {:>10}   emergencies {}", r.interventions, r.emergencies)?;
    match r.verified_pct {
        Some(pct) => println!("true rationales  {pct:>9.0}%")?,
        None => println!("true rationales         none to check")?,
    }
    println!(
        "cooling energy   {:>10.1} kWh   IT {:.1} kWh, facility {:.1} kWh, PUE {:.3}",
        r.cooling_kwh, r.it_kwh, r.facility_kwh, r.pue
    )?;
    println!("too warm         {:>10.2} K h", r.over_degh)?;
    let verdict = if r.audit.verified { "verified" } else { "DOES NOT VERIFY" };
    println!("audit            {:>10} records, {verdict}: {}", r.audit.records, r.audit.path.display())?;
    println!("\nisotherm audit list --path {0}\nisotherm replay {0} --verify", r.audit.path.display())
}
