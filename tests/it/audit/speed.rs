//! How fast the log is. Prints; the numbers depend on the disk.

use isotherm::audit::{Kind, Store};
use isotherm::clock::Stopwatch;
use serde_json::json;

use super::{assert_verifies, at, config, other, put};

#[test]
#[ignore = "a measurement: cargo test --test it audit::speed -- --ignored --nocapture"]
fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let config = isotherm::site::Audit { checkpoint_every: 256, ..config(dir.path()) };
    let mut store = Store::open(&config, at(0)).unwrap();
    for bytes in [500, 10_000] {
        let (kind, body) = other(Kind::Frame, &json!({"text": "x".repeat(bytes)}));
        let mut millis: Vec<f64> = (0..500)
            .map(|_| {
                let watch = Stopwatch::start();
                store.append(at(1), kind, &body).unwrap();
                store.commit().unwrap();
                watch.millis()
            })
            .collect();
        millis.sort_by(f64::total_cmp);
        println!(
            "{bytes} byte bodies: {:.0} durable appends/s, p50 {:.2} ms, p99 {:.2} ms",
            500.0 * 1e3 / millis.iter().sum::<f64>(),
            millis[250],
            millis[495]
        );
        let watch = Stopwatch::start();
        for _ in 0..10_000 {
            store.append(at(1), kind, &body).unwrap();
        }
        println!("{bytes} byte bodies: {:.0} buffered appends/s", 10_000.0 * 1e3 / watch.millis());
        store.commit().unwrap();
    }
    put(&mut store, other(Kind::Stop, &json!({})));
    store.close().unwrap();
    let watch = Stopwatch::start();
    let records = assert_verifies(&config.path).records;
    println!("verify: {:.0} records/s", records as f64 * 1e3 / watch.millis());
}
