//! `isotherm bench control`: every controller on the same simulated plants, weather, work and faults, behind
//! the same guard. `docs/bench.md` says what is run and what the columns mean.

pub(super) mod asker;
pub(super) mod cases;
pub mod hindsight;
pub mod log;
pub(super) mod metrics;
mod plot;
mod report;
pub(super) mod rig;
mod store;
mod watch;
pub(super) mod wire;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use isotherm_sim::scenario::ScenarioError;

use crate::policy::rl::RlError;
use crate::prompt::PromptError;
use crate::reason::{Failure, StartError};
use crate::site::{CacheType, Law, Setpoint, Site, SiteError};
use crate::units::Finite;
use asker::Model;
use cases::Case;
pub use metrics::{Estimate, Metrics};
pub use report::{Report, Row, Summary};
use rig::Rig;
use store::{Line, Store};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Few scenarios and two seeds: minutes, for every change.
    #[arg(long)]
    quick: bool,
    /// Which controllers, by commas; those that need no model when absent.
    #[arg(long, value_delimiter = ',', value_parser = law)]
    controllers: Vec<Law>,
    /// Which scenarios, by commas; `*` stands for anything.
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<String>,
    /// Of which plants: air, liquid, immersion.
    #[arg(long, value_delimiter = ',')]
    plants: Vec<String>,
    /// How many seeds; each has its own weather, work and sensor errors. 5, or 2 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first of them. Results are of seeds from 1 on; what is tuned is tuned on others.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Simulated hours of a run.
    #[arg(long, default_value_t = 24.0, value_parser = crate::bench::hours, allow_negative_numbers = true)]
    hours: f64,
    /// Runs at a time; all cores when absent, and 8 where a model decides: it answers that many at once.
    #[arg(long)]
    jobs: Option<usize>,
    /// Folder for results, series and plots. Runs that are there already are not repeated.
    #[arg(long)]
    out: Option<PathBuf>,
    /// GGUF model of the controller `llm`.
    #[arg(long, default_value = "models/isotherm.gguf")]
    model: PathBuf,
    /// Number format of its cache.
    #[arg(long, value_enum, default_value_t)]
    cache: CacheType,
    /// Folder with policies of the controller `rl`, PLANT.json; those built in when absent.
    #[arg(long)]
    policies: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs at a time where a model decides: past this it gains little, and each has a cache of its own.
const WITH_MODEL: usize = 8;

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("--policies: {0}")]
    Policy(#[from] RlError),
    #[error("a job of the bench's own is not taken: {0}")]
    Job(#[from] crate::workload::Refused),
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error("the model cannot be started: {0}")]
    Start(#[from] StartError),
    #[error("the model is not ready: {0}")]
    Model(Failure),
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Io(std::io::Error),
    #[error("{path}: {why}", path = path.display())]
    Plot { path: PathBuf, why: String },
    #[error("a run ended in a panic; its message is above")]
    Panic,
}

fn law(text: &str) -> Result<Law, String> {
    Law::ALL.into_iter().find(|l| l.as_str() == text).ok_or_else(|| {
        let known: Vec<&str> = Law::ALL.iter().map(|l| l.as_str()).collect();
        format!("expected one of {}", known.join(", "))
    })
}

/// One run to be made.
#[derive(Clone, Debug)]
struct Job {
    case: Case,
    law: Law,
    seed: u64,
    /// Names what the run depends on: equal keys, equal results.
    key: String,
}

/// Runs what is asked for and not there yet, and reports all of it.
pub fn run(args: &Args) -> Result<Report, BenchError> {
    let store = Store::open(args.out.as_deref())?;
    let jobs = jobs(args)?;
    let due: Vec<&Job> = jobs.iter().filter(|j| store.line(&j.key).is_none()).collect();
    let bar = bar(due.len());
    let store = Mutex::new(store);
    let asks = due.iter().any(|j| j.law == Law::Llm);
    let threads = threads(args.jobs.or(asks.then_some(WITH_MODEL)), due.len());
    let model = Model::new(threads)?;
    in_parallel(threads, due.len(), |index| {
        let Some(job) = due.get(index) else { return Ok(()) };
        let site = job.site(args)?;
        let scenario = job.case.scenario(rig::band(&site)?)?;
        let course = Rig::new(site, scenario, job.seed, None, &model)?.run(args.hours)?;
        let line = Line {
            key: job.key.clone(),
            plant: job.case.plant.to_owned(),
            scenario: job.case.scenario.to_owned(),
            controller: job.law,
            seed: job.seed,
            hours: args.hours,
            metrics: course.metrics,
            interventions_by: course.interventions_by,
        };
        bar.inc(1);
        let mut store = store.lock().map_err(|_| BenchError::Panic)?;
        // One seed's course is enough to look at.
        if job.seed == 1 {
            store.keep_series(job.case.scenario, job.law, &course.points)?;
        }
        store.append(line)
    })?;
    bar.finish_and_clear();
    let store = store.into_inner().map_err(|_| BenchError::Panic)?;
    let lines: Vec<&Line> = jobs.iter().filter_map(|j| store.line(&j.key)).collect();
    let report = Report::of(&lines);
    store.write("results.json", &serde_json::to_string_pretty(&report).unwrap_or_default())?;
    store.write("results.md", &report.markdown())?;
    if let Some(folder) = store.plots()? {
        plot::all(&store, &report, &jobs, &folder)?;
    }
    Ok(report)
}

fn jobs(args: &Args) -> Result<Vec<Job>, BenchError> {
    let quick: Vec<String> = cases::QUICK.map(ToOwned::to_owned).into();
    let patterns = if args.quick && args.scenarios.is_empty() { &quick } else { &args.scenarios };
    let cases = cases::select(&args.plants, patterns)?;
    let mut laws = args.controllers.clone();
    if laws.is_empty() {
        laws = Law::ALL.into_iter().filter(|l| *l != Law::Llm).collect();
    }
    let seeds = args.seeds.unwrap_or(if args.quick { 2 } else { 5 });
    let mut jobs = Vec::new();
    for seed in (args.first_seed..).zip(0..seeds).map(|(seed, _)| seed) {
        for case in &cases {
            for law in &laws {
                let mut job = Job { case: case.clone(), law: *law, seed, key: String::new() };
                job.key = job.key(args)?;
                jobs.push(job);
            }
        }
    }
    Ok(jobs)
}

impl Job {
    fn site(&self, args: &Args) -> Result<Site, BenchError> {
        if self.law != Law::Llm {
            return self.case.site_without_model(self.law, args.policies.as_deref());
        }
        let mut site = self.case.site()?;
        site.controller = self.law;
        site.model.path = Some(args.model.clone());
        site.model.sha256 = None;
        site.model.cache = args.cache;
        Ok(site)
    }

    fn key(&self, args: &Args) -> Result<String, BenchError> {
        let site = self.site(args)?;
        let program = std::env::current_exe().map_err(BenchError::Io)?;
        let model = site.model.path.as_deref().filter(|_| self.law == Law::Llm);
        let files: Vec<String> = [Some(program.as_path()), model].into_iter().flatten().map(stamp).collect();
        let what = format!("{files:?} {} {} {}", self.seed, args.hours, self.case.text(&site));
        Ok(crate::hex::sha256(what.as_bytes()))
    }
}

/// Length and time of a file: another build, another model.
fn stamp(path: &std::path::Path) -> String {
    std::fs::metadata(path).map(|m| format!("{} {:?}", m.len(), m.modified().ok())).unwrap_or_default()
}

/// The value so far up a setpoint's range, 0 to 1.
fn at_share(s: &Setpoint, share: f64) -> Finite {
    Finite::saturating(s.min.get() + share * s.span())
}

/// How many runs to make at a time.
pub(super) fn threads(asked: Option<usize>, runs: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.unwrap_or_else(cores).clamp(1, runs.max(1))
}

/// Calls `work` for every index below `count`, over threads; the first error ends it.
pub(super) fn in_parallel(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<(), BenchError> + Sync,
) -> Result<(), BenchError> {
    let next = AtomicUsize::new(0);
    let one = || -> Result<(), BenchError> {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(());
            }
            if let Err(e) = work(index) {
                next.store(count, Ordering::Relaxed);
                return Err(e);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        // Every thread is waited for, whatever became of the others.
        let ended: Vec<_> = workers.into_iter().map(|w| w.join().unwrap_or(Err(BenchError::Panic))).collect();
        ended.into_iter().collect()
    })
}

/// Runs done and time left, on stderr if that is a terminal.
fn bar(runs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {elapsed} gone, {eta} left");
    let bar = ProgressBar::new(runs as u64);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
