//! `isotherm audit`: verify, list, show, export.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::log::named;
use super::{
    AuditError, Filter, Format, Kind, Log, Options, PublicKey, Report, export, read_checkpoints, verify,
};
use crate::envelope::Rule;
use crate::site::{self, SiteError};

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the chain, the signatures and the file, and name what does not hold
    Verify(Verify),
    /// List the newest records
    List(List),
    /// Show one record in full, and what came of it
    Show(Show),
    /// Copy the log into a folder for other programs
    Export(Export),
    /// Move old records into verified Parquet files; the log must not be in use
    #[cfg(feature = "parquet")]
    Archive(Archive),
}

#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
struct Source {
    /// The audit log; `verify` also takes the folder of an export
    #[arg(long, value_name = "LOG")]
    path: Option<PathBuf>,
    /// The site whose audit log it is
    #[arg(long, value_name = "FILE")]
    site: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
struct Verify {
    #[command(flatten)]
    source: Source,
    /// Checkpoints kept elsewhere: a file of JSON lines, or one such line itself
    #[arg(long, value_name = "CHECKPOINT")]
    against: Option<String>,
    /// The public key kept elsewhere: a file, or its 64 hex digits
    #[arg(long, value_name = "PUBKEY")]
    key: Option<String>,
    /// The folder of archived records: their chain is followed too
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct List {
    #[command(flatten)]
    source: Source,
    /// Only records of this kind
    #[arg(long)]
    kind: Option<Kind>,
    /// Only records from this time on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only records up to this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only decisions that this rule of the envelope had a say in, for example rate_limit
    #[arg(long, value_parser = named::<Rule>)]
    rule: Option<Rule>,
    /// The newest so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct Show {
    /// The record's number
    seq: u64,
    #[command(flatten)]
    source: Source,
    /// Print JSON on one line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, ClapArgs)]
struct Export {
    /// The folder to write to: a new one, which is made, or an empty one
    dir: PathBuf,
    #[command(flatten)]
    source: Source,
    /// What to write; all of them unless given
    #[arg(long, value_delimiter = ',')]
    format: Vec<Format>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

#[cfg(feature = "parquet")]
#[derive(Debug, ClapArgs)]
struct Archive {
    /// The folder to move them to; it is made
    dir: PathBuf,
    /// The site whose audit log it is
    #[arg(long, value_name = "FILE")]
    site: PathBuf,
    /// Records of so many days stay in the log
    #[arg(long, default_value_t = 90)]
    keep_days: u32,
    /// Print what was moved as JSON
    #[arg(long)]
    json: bool,
}

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error("--key {given:?} is neither a readable file with the 64 hex digits of a public key, nor those")]
    Key { given: String },
    #[error(
        "--key: that is the private key that signs this log, which nobody else should read: give the public one (`isotherm audit export` writes public-key.hex)"
    )]
    PrivateKey,
    #[error(
        "--against: none of the {given} checkpoints is of a record that is in the log: give newer ones, or the archive with --archive"
    )]
    Uncompared { given: usize },
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// Does what was asked. 0: good; 1: verification found something; 2: wrong usage, or nothing readable.
pub fn run(args: &Args, out: &mut impl Write) -> u8 {
    let done = match &args.command {
        Command::Verify(args) => run_verify(args, out),
        Command::List(args) => run_list(args, out),
        Command::Show(args) => run_show(args, out),
        Command::Export(args) => run_export(args, out),
        #[cfg(feature = "parquet")]
        Command::Archive(args) => run_archive(args, out),
    };
    match done {
        Ok(true) => 0,
        Ok(false) => 1,
        // Whoever reads has seen enough, as `head` does.
        Err(Failure::Print(e)) if e.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(e) => {
            eprintln!("isotherm audit: {e}");
            2
        }
    }
}

impl Source {
    fn log(&self) -> Result<PathBuf, Failure> {
        match (&self.path, &self.site) {
            (Some(path), _) => Ok(path.clone()),
            (None, Some(site)) => Ok(site::load(site)?.audit.path),
            (None, None) => Ok(site::Audit::default().path),
        }
    }
}

fn run_verify(args: &Verify, out: &mut impl Write) -> Result<bool, Failure> {
    let path = args.source.log()?;
    let against = match args.against.as_deref() {
        None => Vec::new(),
        Some(line) if line.trim_start().starts_with('{') => {
            super::verify::parse_checkpoints(line, Path::new("--against"))?
        }
        Some(file) => read_checkpoints(Path::new(file))?,
    };
    let public_key = args.key.as_deref().map(|given| public_key(given, &path)).transpose()?;
    let given = against.len();
    let options = Options { against, public_key, archive: args.archive.clone() };
    let report = verify(&path, &options)?;
    if report.ok && given > 0 && report.compared == 0 {
        return Err(Failure::Uncompared { given });
    }
    if args.json {
        json(out, &report)?;
    } else {
        describe(out, &path, given, &report)?;
    }
    Ok(report.ok)
}

fn public_key(given: &str, log: &Path) -> Result<PublicKey, Failure> {
    let text = std::fs::read_to_string(given).unwrap_or_else(|_| given.to_owned());
    // Both keys have 64 hex digits, and what is taken for a public one is printed.
    let own = Log::open(log).and_then(|log| log.identity()).map(|i| i.public_key).ok();
    if own.is_some() && super::key::public_of(text.trim()) == own {
        return Err(Failure::PrivateKey);
    }
    text.trim().parse().map_err(|_| Failure::Key { given: given.to_owned() })
}

fn describe(out: &mut impl Write, path: &Path, given: usize, report: &Report) -> io::Result<()> {
    let range = match (report.first, report.last) {
        (Some(first), Some(last)) => format!(" ({first} to {last})"),
        _ => String::new(),
    };
    writeln!(
        out,
        "{}: {} records{range}, {} checkpoints, {} records after the last one",
        path.display(),
        report.records,
        report.checkpoints,
        report.unsigned
    )?;
    if given > 0 {
        writeln!(out, "compared with {} of {given} checkpoints kept elsewhere", report.compared)?;
    }
    if report.not_compared > 0 {
        writeln!(out, "NOT compared with {}: their records are archived", report.not_compared)?;
    }
    if let Some(to) = report.archived {
        writeln!(out, "records 1 to {to} are archived: give their folder with --archive to check them too")?;
    }
    if let (Some(key), false) = (report.public_key, report.key_given) {
        writeln!(out, "signatures checked with the log's own key {key}; compare it, or give --key")?;
    }
    for problem in &report.problems {
        writeln!(out, "  {problem}")?;
    }
    if report.ok {
        writeln!(out, "verified: the chain and all signatures hold")
    } else {
        writeln!(out, "NOT VERIFIED: {} problems", report.problem_count)
    }
}

fn run_list(args: &List, out: &mut impl Write) -> Result<bool, Failure> {
    let List { kind, since, until, rule, limit, .. } = *args;
    let listed = Log::open(&args.source.log()?)?.list(&Filter { kind, since, until, rule, limit })?;
    if args.json {
        json(out, &listed)?;
    } else {
        for line in listed {
            writeln!(out, "{:>8}  {:.0}  {:<8}  {}", line.seq, line.time, line.kind, line.summary)?;
        }
    }
    Ok(true)
}

fn run_show(args: &Show, out: &mut impl Write) -> Result<bool, Failure> {
    let shown = Log::open(&args.source.log()?)?.show(args.seq)?;
    if args.json {
        json(out, &shown)?;
    } else {
        let text = serde_json::to_value(&shown).and_then(|v| serde_json::to_string_pretty(&v));
        writeln!(out, "{}", text.map_err(io::Error::from)?)?;
    }
    Ok(true)
}

fn run_export(args: &Export, out: &mut impl Write) -> Result<bool, Failure> {
    let formats =
        if args.format.is_empty() { <Format as clap::ValueEnum>::value_variants() } else { &args.format };
    let exported = export(&args.source.log()?, &args.dir, formats)?;
    if args.json {
        json(out, &exported)?;
    } else {
        writeln!(out, "{} records in", exported.records)?;
        for file in &exported.files {
            writeln!(out, "  {}", file.display())?;
        }
    }
    Ok(true)
}

#[cfg(feature = "parquet")]
fn run_archive(args: &Archive, out: &mut impl Write) -> Result<bool, Failure> {
    let config = site::load(&args.site)?.audit;
    let now = crate::clock::now();
    let before = super::days_before(now, args.keep_days);
    // Opening it to write would make a log where there is none.
    Log::open(&config.path)?;
    let archived = super::archive_closed(&config, &args.dir, before, now)?;
    match &archived {
        _ if args.json => json(out, &archived)?,
        Some(a) => {
            writeln!(out, "records {} to {} are in {}", a.from, a.to, args.dir.join(&a.file).display())?;
        }
        None => writeln!(out, "no signed record is older than {} days", args.keep_days)?,
    }
    Ok(true)
}

fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}
