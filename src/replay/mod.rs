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
use std::fmt;
use std::fs::File;
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
    pub trace: PathBuf,
    /// The site file, or an audit log: the site of its last run, with the upgrades accepted in it.
    #[arg(long, required_unless_present = "verify", conflicts_with = "verify")]
    site: Option<PathBuf>,
    /// The log must come out the same, under the site that it holds itself.
    #[arg(long, conflicts_with_all = ["what_if", "mapping"])]
    pub verify: bool,
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
    /// Print as JSON.
    #[arg(long)]
    pub json: bool,
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
    /// `--verify`: records that were compared, or are of no run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// How a site fits the recording; with `--verify` it is the log's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// All that differs, the first of it included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differing: Vec<Difference>,
    /// `--steps`: every decision.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

/// What of a site is in a recording, and of a recording in the site.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Coverage {
    /// Signals and setpoints of the site that the recording has no value of.
    pub missing: Vec<Name>,
    /// Columns or names of the recording that are left out.
    pub ignored: Vec<String>,
    /// Decisions that moved nothing, while a required signal or a setpoint had no good value.
    pub holds: u64,
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
    #[error("the model does not load, so nothing would be compared with it: {why}")]
    NoModel { why: String },
    #[error("record {seq} ({kind}): {problem}")]
    Record { seq: u64, kind: &'static str, problem: String },
    #[error("{path}: {problem}", path = path.display())]
    Unsuitable { path: PathBuf, problem: String },
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Report, ReplayError> {
    File::open(&args.trace).map_err(|source| TraceError::Unreadable { path: args.trace.clone(), source })?;
    if args.verify {
        if !log::is_log(&args.trace) {
            return Err(ReplayError::Unsuitable {
                path: args.trace.clone(),
                problem: "--verify needs an audit log; a trace holds nothing to compare with".to_owned(),
            });
        }
        return verify::verify(&args.trace, args.infer);
    }
    if args.mapping.is_some() && log::is_log(&args.trace) {
        return Err(ReplayError::Unsuitable {
            path: args.trace.clone(),
            problem: "--mapping is for CSV and Parquet; an audit log has the site's own names: leave it out"
                .to_owned(),
        });
    }
    if args.background {
        give_way();
    }
    let path = args.site.as_deref().unwrap_or(Path::new("site.toml"));
    let mut site = site_of(path)?;
    if let Some(other) = &args.what_if {
        if !other.exists() {
            return Err(ReplayError::Unsuitable {
                path: other.clone(),
                problem: "is not there; --what-if takes a site file, an audit log, a GGUF model or a folder of prompts"
                    .to_owned(),
            });
        }
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

impl Report {
    fn differs(&mut self, difference: Difference) {
        self.first_difference.get_or_insert_with(|| difference.clone());
        self.differing.push(difference);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(records) = self.records {
            writeln!(f, "records         {records}")?;
        }
        writeln!(f, "frames          {}", self.frames)?;
        writeln!(f, "decisions       {}", self.decisions)?;
        writeln!(f, "identical       {}", self.identical)?;
        writeln!(f, "interventions   {}", self.interventions)?;
        writeln!(f, "fallbacks       {}", self.fallbacks)?;
        if self.uncompared > 0 {
            writeln!(f, "not compared    {}", self.uncompared)?;
        }
        if let Some(coverage) = &self.coverage {
            coverage.fmt(f)?;
        }
        for d in self.differing.iter().take(20) {
            let seq = d.seq.map_or(String::new(), |s| format!("record {s}, "));
            writeln!(f, "differs: {seq}{}\n  recorded {}\n  replayed {}", d.field, d.recorded, d.replayed)?;
        }
        Ok(())
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.holds > 0 {
            writeln!(f, "held            {}, for want of a required signal or of a setpoint", self.holds)?;
        }
        if !self.missing.is_empty() {
            let names: Vec<&str> = self.missing.iter().map(Name::as_str).collect();
            writeln!(f, "no value of     {}", names.join(", "))?;
        }
        if !self.ignored.is_empty() {
            writeln!(f, "left out        {}", self.ignored.join(", "))?;
        }
        Ok(())
    }
}
