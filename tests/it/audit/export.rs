//! Exports say what the log says.

use std::fs;
use std::path::Path;

use isotherm::audit::{AuditError, Format, Kind, Options, What, export, summary, verify};

use super::tamper::raw;
use super::{assert_verifies, closed_log, records, verified};

fn exported(dir: &Path, formats: &[Format]) -> (std::path::PathBuf, std::path::PathBuf) {
    let path = closed_log(dir, 33);
    let out = dir.join("out");
    assert_eq!(export(&path, &out, formats).unwrap().records, 33);
    (path, out)
}

#[test]
fn json_lines_are_verified_like_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = exported(dir.path(), &[Format::Jsonl]);
    let (log, lines) = (assert_verifies(&path), assert_verifies(&out));
    assert_eq!(log, lines);
    let key = fs::read_to_string(out.join("public-key.hex")).unwrap().trim().parse().unwrap();
    assert_eq!(log.public_key, Some(key));
    let options = Options { public_key: Some(key), ..Options::default() };
    assert!(verify(&out, &options).unwrap().ok);

    let text = fs::read_to_string(out.join("records.jsonl")).unwrap();
    for (line, record) in text.lines().zip(records(&path)) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["body"], record.body);
        assert_eq!(line["hash"], record.hash.to_string());
    }
}

#[track_caller]
fn check(out: &Path, lines: &[String], what: What, seq: i64) {
    fs::write(out.join("records.jsonl"), lines.join("\n") + "\n").unwrap();
    let report = verified(out);
    assert_eq!(report.problem_count, 1, "{:#?}", report.problems);
    assert_eq!((report.problems[0].what, report.problems[0].seq), (what, Some(seq)), "{report:#?}");
}

#[test]
fn changed_lines_are_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_, out) = exported(dir.path(), &[Format::Jsonl]);
    let file = out.join("records.jsonl");
    let good: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = good.clone();
        change(&mut lines);
        lines
    };
    check(&out, &with(&|l| l[5] = l[5].replace("7.1", "7.2")), What::Altered, 6);
    check(&out, &with(&|l| l.swap(5, 6)), What::Reordered, 6);
    check(&out, &with(&|l| drop(l.remove(5))), What::Missing, 6);
    check(&out, &with(&|l| l.insert(9, l[5].clone())), What::Duplicate, 6);
    check(&out, &with(&|l| l.truncate(30)), What::Truncated, 31);
    fs::write(&file, with(&|l| l[5].truncate(40)).join("\n") + "\n").unwrap();
    let report = verified(&out);
    assert!(report.problems.iter().any(|p| p.message == "records.jsonl:6 is not readable"), "{report:#?}");
    fs::write(&file, good.join("\n") + "\n").unwrap();
    assert_verifies(&out);
}

#[test]
fn csv_says_what_the_log_says() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = exported(dir.path(), &[Format::Csv]);
    let mut csv = csv::Reader::from_path(out.join("records.csv")).unwrap();
    let header = csv.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|h| h == name).unwrap();
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    let log = records(&path);
    assert_eq!(rows.len(), log.len());
    for (row, record) in rows.iter().zip(&log) {
        assert_eq!(row[column("seq")].parse(), Ok(record.seq));
        assert_eq!(row[column("time")].parse::<jiff::Timestamp>().unwrap(), record.time);
        assert_eq!(&row[column("kind")], record.kind.as_str());
        assert_eq!(row[column("summary")], summary(record.kind, &record.body));
        assert_eq!(row[column("hash")].parse(), Ok(record.hash));
        assert_eq!(row[column("previous")].parse(), Ok(record.previous));
        let decision = record.kind == Kind::Decision;
        // 0.1 + 0.2, with all its digits.
        assert_eq!(&row[column("confidence")], if decision { "0.30000000000000004" } else { "" });
        assert_eq!(&row[column("rules")], if decision { "rate_limit" } else { "" });
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_says_what_the_log_says() {
    use isotherm::audit::Record;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;

    let dir = tempfile::tempdir().unwrap();
    let (path, out) = exported(dir.path(), &[Format::Parquet]);
    let file = fs::File::open(out.join("records.parquet")).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let read: Vec<Record> = rows
        .iter()
        .map(|row| Record {
            seq: row.get_long(0).unwrap().try_into().unwrap(),
            time: jiff::Timestamp::from_nanosecond(row.get_long(1).unwrap().into()).unwrap(),
            kind: serde_json::from_value(row.get_string(2).unwrap().as_str().into()).unwrap(),
            previous: row.get_string(3).unwrap().parse().unwrap(),
            hash: row.get_string(4).unwrap().parse().unwrap(),
            body: row.get_string(6).unwrap().clone(),
        })
        .collect();
    assert_eq!(read, records(&path));
    let first = &read[0];
    assert_eq!(rows[0].get_string(5).unwrap(), &summary(first.kind, &first.body));
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (path, out) = exported(dir.path(), &[Format::Jsonl]);
    let before = fs::read(out.join("records.jsonl")).unwrap();
    assert!(matches!(export(&path, &out, &[Format::Jsonl]), Err(AuditError::NotEmpty { .. })));
    assert_eq!(fs::read(out.join("records.jsonl")).unwrap(), before);
}

/// A log that cannot be read to its end leaves no half of an export, and can be tried again.
#[test]
fn an_export_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed_log(dir.path(), 33);
    raw(&path, |db| {
        db.execute_batch("UPDATE record SET time = 'noon' WHERE seq = 30").unwrap();
    });
    let (new, empty) = (dir.path().join("new"), dir.path().join("empty"));
    fs::create_dir(&empty).unwrap();
    for out in [&new, &new, &empty, &empty] {
        assert!(matches!(export(&path, out, &[Format::Jsonl]), Err(AuditError::Malformed { .. })));
    }
    assert!(!new.exists());
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
}
