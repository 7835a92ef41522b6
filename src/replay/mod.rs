//! Recorded data through the same stages. Two replays, named apart:
//!
//! - `--verify`: an audit log with its recorded model replies. Everything downstream of a reply must come
//!   out byte for byte. With `--infer` the model is asked again too, and its tokens are compared; equality
//!   is promised only for the same build, machine and thread count.
//! - `--what-if`: the log's frames, or a trace from another system, under another site, prompt or model, in
//!   shadow: what would have been decided, against what was.
//!
//! The console replays through here too: it draws what [`frames_of`] gives, and has a child process of this
//! program do what-ifs.

mod ahead;
mod log;
mod open_loop;
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

pub use log::is_log;
pub(crate) use log::version_from;
pub use open_loop::{Recording, frames_of};

use crate::audit::{AuditError, Kind, Log};
use crate::control::record::Replaced;
use crate::envelope::ProposedBy;
use crate::ingest::trace::TraceError;
use crate::memory::protect;
use crate::prompt::PromptError;
use crate::reason::StartError;
use crate::site::{self, Name, Site, SiteError};
use crate::units::Finite;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// An audit log, or a trace: frames as JSON lines, CSV or Parquet.
    trace: PathBuf,
    /// The site file, or an audit log: the site of its last run, with the upgrades accepted in it.
    #[arg(long, required_unless_present = "verify")]
    site: Option<PathBuf>,
    /// The log must come out the same; with the site it was recorded with.
    #[arg(long, conflicts_with = "what_if")]
    verify: bool,
    /// With --verify: ask the model again and compare its tokens.
    #[arg(long, requires = "verify")]
    infer: bool,
    /// Another site file, a GGUF model or a folder of prompts, to compare with what was recorded.
    #[arg(long)]
    what_if: Option<PathBuf>,
    /// For CSV and Parquet: which column is which signal.
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// Questions to the model at a time. With 1 the same build, machine and threads give the same tokens;
    /// with more, sums are taken in another order, and a close choice may fall otherwise.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    at_once: u32,
    #[command(flatten)]
    period: Period,
    /// Every decision that was made, too.
    #[arg(long, requires = "json", conflicts_with = "verify")]
    steps: bool,
    /// Gives way to everything else on the machine, in time and memory.
    #[arg(long, hide = true)]
    background: bool,
    #[arg(long)]
    json: bool,
}

/// Part of a recording.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Period {
    /// Only from here on, such as `2026-01-31T12:00:00Z`; history and twin begin with some hours before.
    #[arg(long, conflicts_with = "verify")]
    pub from: Option<Timestamp>,
    /// Only up to here.
    #[arg(long, conflicts_with = "verify")]
    pub to: Option<Timestamp>,
}

/// What a replay found.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    pub frames: u64,
    pub decisions: u64,
    /// Decisions that came out the same.
    pub identical: u64,
    pub first_difference: Option<Difference>,
    pub interventions: u64,
    pub fallbacks: u64,
    /// Decisions without anything to compare with.
    pub uncompared: u64,
    /// `--what-if` and `--infer`: every decision that differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differing: Vec<Difference>,
    /// `--steps`: every decision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// One decision of a replay.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Step {
    pub at: Timestamp,
    pub by: ProposedBy,
    pub setpoints: BTreeMap<Name, Finite>,
    pub intervened: bool,
    pub replaced: Option<Replaced>,
    pub rationale: Option<String>,
}

/// Where two runs part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// Record of the log, where there is one.
    pub seq: Option<u64>,
    /// Which part of the record.
    pub field: String,
    pub recorded: String,
    pub replayed: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error(transparent)]
    Prompt(#[from] PromptError),
    #[error(transparent)]
    Model(#[from] StartError),
    #[error("this program's own path: {0}; the reasoner is started from it")]
    Program(std::io::Error),
    #[error("record {seq} ({kind}): {problem}")]
    Record { seq: u64, kind: &'static str, problem: String },
    #[error("{path}: {problem}", path = path.display())]
    Unsuitable { path: PathBuf, problem: String },
}

/// Runs the command; the exit code.
#[must_use]
pub fn main(args: &Args) -> u8 {
    match run(args) {
        Ok(report) => {
            if args.json {
                match serde_json::to_string_pretty(&report) {
                    Ok(text) => println!("{text}"),
                    Err(e) => eprintln!("isotherm: {e}"),
                }
            } else {
                print(&report);
            }
            u8::from(args.verify && report.first_difference.is_some())
        }
        Err(e) => {
            eprintln!("isotherm: {e}");
            2
        }
    }
}

fn run(args: &Args) -> Result<Report, ReplayError> {
    if args.verify {
        if !log::is_log(&args.trace) {
            return Err(ReplayError::Unsuitable {
                path: args.trace.clone(),
                problem: "--verify needs an audit log; a trace holds nothing to compare with".to_owned(),
            });
        }
        return verify::verify(&args.trace, args.infer);
    }
    if args.background {
        give_way();
    }
    let path = args.site.as_deref().unwrap_or(Path::new("site.toml"));
    let mut site = site_of(path)?;
    if let Some(other) = &args.what_if {
        if other.is_dir() {
            site.model.prompts = Some(other.clone());
        } else if other.extension().is_some_and(|e| e == "gguf") {
            site.model.path = Some(other.clone());
            site.model.sha256 = None;
        } else {
            site = site_of(other)?;
        }
    }
    let recording = Recording { path: &args.trace, mapping: args.mapping.as_deref(), period: args.period };
    open_loop::replay(&recording, site, args.at_once, args.steps)
}

/// The guard's machine is the guard's: what runs beside it waits, and is the first to go.
fn give_way() {
    if let Err(error) = rustix::process::nice(10) {
        tracing::warn!(%error, "the replay runs at the priority of all else");
    }
    if let Err(error) = std::fs::write(protect::SCORE_FILE, "1000") {
        tracing::warn!(%error, "oom_score_adj stays as it is");
    }
}

fn site_of(path: &Path) -> Result<Site, ReplayError> {
    if !log::is_log(path) {
        return Ok(site::load(path)?);
    }
    let (mut start, mut upgrade) = (None, None);
    Log::open(path)?.back(&[Kind::Start, Kind::Event], None, |record| {
        if record.kind == Kind::Start {
            start = Some(record);
            return false;
        }
        if upgrade.is_none() {
            upgrade = log::version_from(&record);
        }
        true
    })?;
    let start = start.ok_or_else(|| ReplayError::Unsuitable {
        path: path.to_owned(),
        problem: "the log has no run, so no site".to_owned(),
    })?;
    let site = log::setup_of(&start)?.1.site.clone();
    Ok(upgrade.map_or_else(|| site.clone(), |version| version.applied_to(&site)))
}

fn print(report: &Report) {
    println!("frames          {}", report.frames);
    println!("decisions       {}", report.decisions);
    println!("identical       {}", report.identical);
    println!("interventions   {}", report.interventions);
    println!("fallbacks       {}", report.fallbacks);
    if report.uncompared > 0 {
        println!("not compared    {}", report.uncompared);
    }
    let differing = report.first_difference.iter().chain(report.differing.iter().skip(1));
    for d in differing.take(20) {
        let seq = d.seq.map_or(String::new(), |s| format!("record {s}, "));
        println!("differs: {seq}{}\n  recorded {}\n  replayed {}", d.field, d.recorded, d.replayed);
    }
}
