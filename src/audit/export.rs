//! Copies of a log for other programs. The JSON lines are complete: [`super::verify`] takes the folder
//! in place of the log. CSV and Parquet are for looking at.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::chain::Row;
use super::{AuditError, Hash, Log, Record, summary, time_text};

pub(super) const IDENTITY: &str = "identity.json";
pub(super) const CHECKPOINTS: &str = "checkpoints.jsonl";
pub(super) const RECORDS: &str = "records.jsonl";
const PUBLIC_KEY: &str = "public-key.hex";

/// What to write besides the identity, the public key and the checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// `records.jsonl`: whole records, to be verified.
    Jsonl,
    /// `records.csv`: seq, time, kind, summary and the main columns of decisions.
    Csv,
    /// `records.parquet`: whole records with typed columns.
    #[cfg(feature = "parquet")]
    Parquet,
}

/// What an export wrote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Exported {
    pub records: u64,
    pub files: Vec<PathBuf>,
}

/// One line of `records.jsonl`. The body is a string, so that any JSON reader gives back its exact
/// bytes; in the others a reader may change them.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    seq: i64,
    time: String,
    kind: String,
    previous: String,
    hash: String,
    body: String,
}

impl From<Record> for Line {
    fn from(record: Record) -> Self {
        Self {
            seq: record.seq as i64,
            time: time_text(record.time),
            kind: record.kind.to_string(),
            previous: record.previous.to_string(),
            hash: record.hash.to_string(),
            body: record.body,
        }
    }
}

impl From<Line> for Row {
    fn from(line: Line) -> Self {
        // A hash that is not hex stays as it is, and will not fit.
        let hash = |text: String| text.parse().map_or(text.into_bytes(), |h: Hash| h.as_bytes().to_vec());
        Self {
            seq: line.seq,
            time: line.time.into_bytes(),
            kind: line.kind.into_bytes(),
            previous: hash(line.previous),
            hash: hash(line.hash),
            body: line.body.into_bytes(),
        }
    }
}

/// Writes a log into a folder, which is made, or is empty. What was begun and cannot be ended is taken away:
/// half an export would look like one.
pub fn export(path: &Path, dir: &Path, formats: &[Format]) -> Result<Exported, AuditError> {
    let log = Log::open(path)?;
    // Records and checkpoints of one moment, also from a live log.
    let _snapshot = log.snapshot()?;
    let is_new = !dir.exists();
    fs::create_dir_all(dir).map_err(io(dir))?;
    if fs::read_dir(dir).map_err(io(dir))?.next().is_some() {
        return Err(AuditError::NotEmpty { path: dir.to_owned() });
    }
    let mut done = Exported { records: 0, files: Vec::new() };
    if let Err(e) = write_all(&log, dir, formats, &mut done) {
        // That it failed matters more than what may be left of it.
        done.files.iter().for_each(|file| fs::remove_file(file).unwrap_or_default());
        if is_new {
            fs::remove_dir(dir).unwrap_or_default();
        }
        return Err(e);
    }
    Ok(done)
}

fn write_all(log: &Log, dir: &Path, formats: &[Format], done: &mut Exported) -> Result<(), AuditError> {
    let identity = log.identity()?;
    let mut write = |name, write: &dyn Fn(&Path, File) -> Result<u64, AuditError>| {
        let path = dir.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(io(&path))?;
        done.files.push(path.clone());
        let records = write(&path, file)?;
        done.records = done.records.max(records);
        Ok::<(), AuditError>(())
    };
    write(PUBLIC_KEY, &|path, mut file| {
        writeln!(file, "{}", identity.public_key).map(|()| 0).map_err(io(path))
    })?;
    write(IDENTITY, &|path, file| lines(path, file, [Ok(&identity)]).map(|_| 0))?;
    let checkpoints = log.checkpoints()?;
    write(CHECKPOINTS, &|path, file| lines(path, file, checkpoints.iter().map(Ok)).map(|_| 0))?;
    for format in formats {
        match format {
            Format::Jsonl => {
                write(RECORDS, &|path, file| lines(path, file, log.records(0).map(|r| r.map(Line::from))))?;
            }
            Format::Csv => write("records.csv", &|path, file| csv(path, file, log))?,
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                write("records.parquet", &|path, file| super::parquet::write(path, file, log.records(0)))?;
            }
        }
    }
    Ok(())
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> AuditError + Copy {
    move |source| AuditError::Io { path: path.to_owned(), doing: "write the export", source }
}

/// How many lines were written.
fn lines<T: Serialize>(
    path: &Path,
    file: File,
    values: impl IntoIterator<Item = Result<T, AuditError>>,
) -> Result<u64, AuditError> {
    let mut out = BufWriter::new(file);
    let mut written = 0;
    for value in values {
        serde_json::to_writer(&mut out, &value?).map_err(|e| io(path)(e.into()))?;
        out.write_all(b"\n").map_err(io(path))?;
        written += 1;
    }
    out.flush().map_err(io(path))?;
    Ok(written)
}

fn csv(path: &Path, file: File, log: &Log) -> Result<u64, AuditError> {
    let failed = |e: csv::Error| io(path)(e.into());
    let mut out = csv::Writer::from_writer(file);
    let header = [
        "seq",
        "time",
        "kind",
        "summary",
        "by",
        "setpoints",
        "rules",
        "emergency",
        "intervened",
        "confidence",
        "previous",
        "hash",
    ];
    out.write_record(header).map_err(failed)?;
    let mut written = 0;
    for record in log.records(0) {
        let record = record?;
        let columns = summary::columns(record.kind, &record.body);
        out.write_record([
            &record.seq.to_string(),
            &time_text(record.time),
            record.kind.as_str(),
            &summary(record.kind, &record.body),
            &columns.by,
            &columns.setpoints,
            &columns.rules,
            &columns.emergency,
            &columns.intervened,
            &columns.confidence,
            &record.previous.to_string(),
            &record.hash.to_string(),
        ])
        .map_err(failed)?;
        written += 1;
    }
    out.flush().map_err(io(path))?;
    Ok(written)
}
