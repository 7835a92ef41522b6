//! Traces: CSV, Parquet and frames, a recorded day of a real plant, and errors that name the place.

use std::path::{Path, PathBuf};

use isotherm::ingest::Reading;
use isotherm::ingest::trace::{self, TraceError};
use isotherm::site::Site;
use isotherm::units::Unit;
use jiff::{SignedDuration, Timestamp};

use crate::peers::{lacks, site};

fn plant() -> Site {
    let signal = |name: &str, unit: &str, more: &str| {
        format!(
            "[[signal]]\nname = \"{name}\"\nunit = \"{unit}\"\nsource = {{ topic = \"t\" }}\n\
             range = [-50, 5000]\nslew_per_min = 5\n{more}\n"
        )
    };
    site(&format!(
        "name = \"test\"\nplant = \"liquid\"\nsetpoint = []\nmqtt = {{ host = \"localhost\" }}\n\
         model = {{ backend = \"none\" }}\n{}{}{}",
        signal("cdu_01_heat", "kW", ""),
        signal("outdoor_wetbulb", "degC", ""),
        signal("supply", "degC", "role = \"liquid_supply\"")
    ))
}

const MAPPING: &str = r#"
[time]
column = "time"
format = "seconds"
start = "2024-04-07T00:00:00Z"
[[column]]
column = "power[1]"
signal = "cdu_01_heat"
unit = "W"
[[column]]
column = "OA Wetbulb Temp"
signal = "outdoor_wetbulb"
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

type Rows = Vec<(Timestamp, Vec<Reading>)>;

fn read(path: &Path, mapping: Option<&Path>) -> Result<Rows, TraceError> {
    trace::open(path, mapping, &plant())?.collect()
}

fn shape(rows: &Rows) -> Vec<(String, Vec<(&str, f64)>)> {
    rows.iter()
        .map(|(time, readings)| {
            (time.to_string(), readings.iter().map(|r| (r.name.as_str(), r.value.get())).collect())
        })
        .collect()
}

#[test]
fn csv_with_a_mapping() {
    let dir = Folder::new();
    let mapping = dir.file("map.toml", MAPPING);
    let csv = dir.file(
        "day.csv",
        "time,power[1],other,OA Wetbulb Temp\n0.0,1013384.988,x,12.5\n15.0,,x,NaN\n30.5,1.5e6,x,12.7\n",
    );
    let rows = read(&csv, Some(&mapping)).unwrap();
    assert_eq!(
        shape(&rows),
        [
            ("2024-04-07T00:00:00Z".into(), vec![("cdu_01_heat", 1_013_384.988), ("outdoor_wetbulb", 12.5)]),
            ("2024-04-07T00:00:15Z".into(), vec![]),
            ("2024-04-07T00:00:30.5Z".into(), vec![("cdu_01_heat", 1.5e6), ("outdoor_wetbulb", 12.7)]),
        ]
    );
    let units: Vec<Unit> = rows[0].1.iter().map(|r| r.unit).collect();
    assert_eq!(units, [Unit::Watt, Unit::DegC]);
}

#[test]
fn csv_named_like_the_site_needs_no_mapping() {
    let dir = Folder::new();
    let csv = dir.file("t.csv", "time,supply,Notes\n2026-01-31T12:00:00+01:00,31.5,hm\n");
    let rows = read(&csv, None).unwrap();
    assert_eq!(shape(&rows), [("2026-01-31T11:00:00Z".into(), vec![("supply", 31.5)])]);
}

/// As the simulator and many others write it.
#[test]
fn a_header_may_say_the_unit() {
    let dir = Folder::new();
    let csv =
        dir.file("t.csv", "time,supply [degF],cdu_01_heat [W],Notes [x]\n2026-01-31T12:00:00Z,88,1500,hm\n");
    let rows = read(&csv, None).unwrap();
    let read_as: Vec<_> = rows[0].1.iter().map(|r| (r.name.as_str(), r.value.get(), r.unit)).collect();
    assert_eq!(read_as, [("supply", 88.0, Unit::DegF), ("cdu_01_heat", 1500.0, Unit::Watt)]);
    let csv = dir.file("t.csv", "time,supply [Celsius]\n2026-01-31T12:00:00Z,31\n");
    complains(read(&csv, None), &["t.csv:1", "supply [Celsius]", "[degC]"]);
    let csv = dir.file("t.csv", "time,supply [kW]\n2026-01-31T12:00:00Z,31\n");
    complains(read(&csv, None), &["t.csv", "supply [kW]", "cannot be expressed in degC"]);
}

/// A line of an exported log has a time, and was a frame without values once.
#[test]
fn a_record_is_no_frame() {
    let dir = Folder::new();
    let record = r#"{"seq":1,"time":"2026-01-31T12:00:00Z","kind":"frame","body":"{}"}"#;
    let file = dir.file("records.jsonl", record);
    complains(read(&file, None), &["records.jsonl:1", "\"signals\" or \"setpoints\"", "the log itself"]);
}

#[test]
fn a_pattern_of_time() {
    let dir = Folder::new();
    let mapping = dir.file(
        "map.toml",
        "[time]\ncolumn = \"when\"\nformat = \"%d.%m.%Y %H:%M\"\n[[column]]\ncolumn = \"t\"\nsignal = \"supply\"\n",
    );
    let csv = dir.file("t.csv", "when,t\n31.01.2026 12:00,31.5\n");
    assert_eq!(read(&csv, Some(&mapping)).unwrap()[0].0.to_string(), "2026-01-31T12:00:00Z");
}

/// One helper for every complaint: the message must hold each of the words.
#[track_caller]
fn complains(result: Result<Rows, TraceError>, words: &[&str]) {
    let message = result.unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn errors_name_file_line_column_and_what_was_expected() {
    let dir = Folder::new();
    let map = dir.file("map.toml", MAPPING);
    let csv = |rows: &str| dir.file("bad.csv", &format!("time,power[1],OA Wetbulb Temp\n{rows}"));
    complains(
        read(&csv("0,1,2\n15,high,2\n"), Some(&map)),
        &["bad.csv:3", "power[1]", "expected a number", "high"],
    );
    complains(read(&csv("noon,1,2\n"), Some(&map)), &["bad.csv:2", "\"time\"", "seconds", "noon"]);
    complains(read(&csv("15,1,2\n0,1,2\n"), Some(&map)), &["bad.csv:3", "rising order"]);
    complains(read(&csv("0,inf,2\n"), Some(&map)), &["bad.csv:2", "expected a number"]);
    complains(read(&csv("0,1\n"), Some(&map)), &["bad.csv", "2"]);
    complains(read(&csv("0,1,2\n"), None), &["no column is named like a signal"]);
    complains(
        read(&dir.file("x.csv", "t,power[1],OA Wetbulb Temp\n"), Some(&map)),
        &["no column \"time\"", "there are: t, power[1]"],
    );
    let unknown = dir.file("unknown.toml", &MAPPING.replace("cdu_01_heat", "cdu_99"));
    complains(read(&csv("0,1,2\n"), Some(&unknown)), &["unknown.toml", "cdu_99", "power[1]"]);
    let unit = dir.file("unit.toml", &MAPPING.replace("\"W\"", "\"degC\""));
    complains(read(&csv("0,1,2\n"), Some(&unit)), &["unit.toml", "degC cannot be expressed in kW"]);
    let typo = dir.file("typo.toml", &MAPPING.replace("[time]", "[tim]"));
    complains(read(&csv("0,1,2\n"), Some(&typo)), &["typo.toml", "tim"]);
    complains(read(&dir.file("trace.xlsx", ""), None), &["trace.xlsx", ".jsonl", ".csv"]);
    complains(read(Path::new("/nowhere/at/all.csv"), None), &["/nowhere/at/all.csv", "cannot read"]);
    let frames =
        dir.file("f.jsonl", "\n{\"time\":\"2026-01-31T12:00:00Z\",\"signals\":{\"supply\":\"warm\"}}\n");
    complains(read(&frames, None), &["f.jsonl:2", "/signals/supply", "expected a number", "warm"]);
}

#[test]
fn frames_as_they_go_over_mqtt_and_as_they_are_recorded() {
    let dir = Folder::new();
    let path = dir.file(
        "f.jsonl",
        r#"{"time":"2026-01-31T12:00:00Z","signals":{"supply":31.5,"cdu_01_heat":{"value":900000,"unit":"W"},"elsewhere":1}}

{"time":"2026-01-31T12:01:00Z","signals":{"supply":{"value":31.0,"unit":"degC","quality":"stale","age_s":60.0,"doubt":"too_old"},"cdu_01_heat":{"value":null,"unit":"kW","quality":"missing"},"outdoor_wetbulb":{"value":99,"unit":"degC","quality":"suspect","age_s":0}},"setpoints":{}}
"#,
    );
    let rows = read(&path, None).unwrap();
    assert_eq!(
        shape(&rows),
        [
            ("2026-01-31T12:00:00Z".into(), vec![("supply", 31.5), ("cdu_01_heat", 900_000.0)]),
            ("2026-01-31T12:01:00Z".into(), vec![("supply", 31.0), ("outdoor_wetbulb", 99.0)]),
        ]
    );
    let [supply, wetbulb] = &rows[1].1[..] else { panic!("two readings") };
    assert_eq!(rows[1].0.duration_since(supply.time), SignedDuration::from_mins(1), "it was a minute old");
    assert!(!supply.origin.flagged, "its age says it all");
    assert!(wetbulb.origin.flagged);
}

/// The recorded day of a real plant: 5,760 rows of 15 s, 25 coolant distribution units.
#[test]
fn a_recorded_day() {
    let shared = std::env::var_os("ISOTHERM_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let csv = shared.join("frontier_cdu_power/input_04-07-24.csv");
    if !csv.is_file() {
        lacks("a_recorded_day", "needs frontier_cdu_power/ in the folder that ISOTHERM_SHARED_DATA names");
        return;
    }
    let dir = Folder::new();
    let rows = read(&csv, Some(&dir.file("map.toml", MAPPING))).unwrap();
    let text = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(rows.len(), text.lines().count() - 1, "every row");
    assert_eq!(rows[0].0.to_string(), "2024-04-07T00:00:00Z");
    assert!(rows.iter().all(|(_, readings)| readings.len() == 2));
    let first = text.lines().nth(1).unwrap().split(',').nth(1).unwrap();
    assert_eq!(Some(rows[0].1[0].value.get()), first.parse().ok());
}

#[cfg(feature = "parquet")]
mod parquet_files {
    use std::fs::File;
    use std::sync::Arc;

    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    /// Three rows: a time stamp, a power with a gap, a supply temperature, and a text.
    fn write(path: &Path, time: &str, stamps: &[i64], powers: &[f64], levels: &[i16]) {
        let schema = format!(
            "message day {{ required int64 time{time}; optional double power; \
             required double supply; required binary note (UTF8); }}"
        );
        let schema = Arc::new(parse_message_type(&schema).unwrap());
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(stamps, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(powers, Some(levels), None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<DoubleType>().write_batch(&[31.0, 31.5, 32.0], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let notes = [ByteArray::from("a"), ByteArray::from("b"), ByteArray::from("c")];
        column.typed::<ByteArrayType>().write_batch(&notes, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }

    const MAP: &str = "[time]\ncolumn = \"time\"\nformat = \"nanoseconds\"\n[[column]]\ncolumn = \"power\"\nsignal = \"cdu_01_heat\"\n\
         [[column]]\ncolumn = \"supply\"\nsignal = \"supply\"\n";

    #[test]
    fn by_its_own_time_type_and_by_a_number() {
        let dir = Folder::new();
        let path = dir.file("day.parquet", "");
        let expected = [
            ("2026-01-31T12:00:00Z".to_owned(), vec![("cdu_01_heat", 1.0), ("supply", 31.0)]),
            ("2026-01-31T12:00:15Z".to_owned(), vec![("supply", 31.5)]),
            ("2026-01-31T12:00:30Z".to_owned(), vec![("cdu_01_heat", 3.0), ("supply", 32.0)]),
        ];
        let start: i64 = 1_769_860_800;
        let map = dir.file("map.toml", MAP);
        for (kind, per_second) in
            [(" (TIMESTAMP_MILLIS)", 1_000), (" (TIMESTAMP_MICROS)", 1_000_000), ("", 1_000_000_000)]
        {
            let stamps = [0, 15, 30].map(|s| (start + s) * per_second);
            write(&path, kind, &stamps, &[1.0, 3.0], &[1, 0, 1]);
            assert_eq!(shape(&read(&path, Some(&map)).unwrap()), expected, "{kind}");
        }
    }

    #[test]
    fn errors_name_the_row() {
        let dir = Folder::new();
        let path = dir.file("day.parquet", "");
        write(&path, "", &[0, 1, 2], &[1.0, 3.0], &[1, 0, 1]);
        let map = dir.file("map.toml", &MAP.replace("column = \"supply\"", "column = \"note\""));
        complains(read(&path, Some(&map)), &["day.parquet:1", "note", "expected a number", "a"]);
        complains(read(&dir.file("not.parquet", "csv,after,all"), Some(&map)), &["not.parquet"]);
    }
}
