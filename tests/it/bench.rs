//! The ingest bench runs and loses nothing. Its rates mean something in release builds alone.

use isotherm::bench::ingest::{self, BenchError};

use crate::peers::skip;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_at_two_thousand_messages_a_second() {
    let report = match ingest::run().await {
        Ok(report) => report,
        Err(e @ BenchError::NoBroker) => return skip("bench_ingest", &e.to_string()),
        Err(e) => panic!("{e}"),
    };
    assert_eq!((report.lost, report.sent, report.paced_per_s), (0, 10_000, 2_000));
    assert!(report.mqtt_readings_per_s > 0.0 && report.modbus_registers_per_s > 0.0, "{report:?}");
    let json = serde_json::to_value(&report).unwrap();
    for key in ["mqtt_readings_per_s", "modbus_registers_per_s", "lost"] {
        assert!(json[key].is_number(), "{key}");
    }
    println!("{json}");
}
