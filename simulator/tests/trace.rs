//! Traces in files say what the sensors said.

use isotherm_sim::trace::Trace;
use isotherm_sim::{Plant, Scenario, plot};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

/// An hour in which one sensor is silent for half of it.
fn hour() -> Trace {
    let text =
        "base = \"air\"\n[[fault]]\nat_h = 0.5\nhours = 1\nwhat = { sensor_dropout = { signal = \"chws\" } }";
    let scenario = Scenario::parse("test", text).expect("a scenario");
    let mut plant = Plant::new(scenario, 1).expect("a plant");
    let mut trace = Trace::new(&plant);
    for _ in 0..240 {
        plant.step(15.0);
        trace.push(&plant);
    }
    trace
}

#[test]
fn csv_and_parquet_agree_and_keep_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, parquet) = (folder.path().join("t.csv"), folder.path().join("t.parquet"));
    let trace = hour();
    trace.write(&csv).unwrap();
    trace.write(&parquet).unwrap();

    let mut text = csv::Reader::from_path(&csv).unwrap();
    let chws = text.headers().unwrap().iter().position(|h| h == "chws [degC]").unwrap();
    let file = SerializedFileReader::new(std::fs::File::open(&parquet).unwrap()).unwrap();
    assert_eq!(file.metadata().file_metadata().num_rows(), 240);
    let mut gaps = 0;
    for (line, row) in text.records().zip(file.get_row_iter(None).unwrap()) {
        let (line, row) = (line.unwrap(), row.unwrap());
        let time: jiff::Timestamp = line[0].parse().unwrap();
        assert_eq!(row.get_timestamp_millis(0).unwrap(), time.as_millisecond());
        if let Ok(value) = line[chws].parse::<f64>() {
            assert!((row.get_double(chws).unwrap() - value).abs() < 1e-3);
        } else {
            gaps += 1;
            assert!(row.get_double(chws).is_err(), "a gap is null, not a number");
        }
    }
    assert!((119..=121).contains(&gaps), "{gaps} gaps in the second half hour");
    assert!(trace.write(&folder.path().join("t.xlsx")).is_err());
}

#[test]
fn the_picture_names_every_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.svg");
    let trace = hour();
    plot::svg(&trace, "An hour", &path).unwrap();
    let picture = std::fs::read_to_string(path).unwrap();
    for signal in trace.signals() {
        assert!(picture.contains(signal.name), "{}", signal.name);
    }
}
