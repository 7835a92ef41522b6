//! Readers of a log that is being written.

use std::sync::atomic::{AtomicBool, Ordering};

use isotherm::audit::{Log, Store};

use super::{assert_verifies, at, config, decision, frame, put, records};

#[test]
fn a_live_log_is_read_and_verified_while_it_grows() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut store = Store::open(&config, at(0)).unwrap();
    let done = AtomicBool::new(false);
    let lengths = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut lengths = Vec::new();
            loop {
                let last = done.load(Ordering::Acquire);
                let report = assert_verifies(&config.path);
                let read = records(&config.path);
                assert!(read.windows(2).all(|w| w[1].previous == w[0].hash && w[1].seq == w[0].seq + 1));
                assert!(read.len() as u64 >= report.records);
                lengths.push(report.records);
                if last {
                    return lengths;
                }
            }
        });
        for step in 0..400 {
            put(&mut store, if step % 3 == 0 { decision(step) } else { frame(step) });
            if step % 4 == 0 {
                store.commit().unwrap();
            }
        }
        store.commit().unwrap();
        done.store(true, Ordering::Release);
        reader.join().unwrap()
    });
    assert!(lengths.is_sorted());
    assert_eq!(lengths.last(), Some(&400));
}

/// A reader in the middle of the log sees what comes after, and holds up nobody.
#[test]
fn records_are_followed_to_where_the_log_is() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut store = Store::open(&config, at(0)).unwrap();
    for step in 1..=100 {
        put(&mut store, frame(step));
    }
    store.commit().unwrap();
    let log = Log::open(&config.path).unwrap();
    let mut reading = log.records(0);
    assert_eq!(reading.next().unwrap().unwrap().seq, 1);
    for step in 101..=200 {
        put(&mut store, frame(step));
    }
    store.commit().unwrap();
    put(&mut store, frame(201));
    assert_eq!(reading.map(|r| r.unwrap().seq).collect::<Vec<_>>(), (2..=200).collect::<Vec<_>>());
    assert_eq!(log.records(198).map(|r| r.unwrap().seq).collect::<Vec<_>>(), [199, 200]);
}
