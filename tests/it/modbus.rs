//! Modbus against a real server: every type and order, exceptions, silence, late replies, a closed port.

use std::fmt::Write;
use std::time::Duration;

use isotherm::actuate::Writer;
use isotherm::clock::Stopwatch;
use isotherm::envelope::Guard;
use isotherm::ingest::modbus::{Bus, Exception, LinkCause, ModbusError, Polled, Poller};
use isotherm::site::{Name, Site, Table};
use jiff::Timestamp;
use serde_json::json;

use crate::peers::{Plc, site, soon};

fn plant(port: u16, device: &str, signals: &str) -> Site {
    site(&format!(
        r#"
        name = "test"
        plant = "air"
        [model]
        backend = "none"
        [[device]]
        name = "plc"
        host = "127.0.0.1"
        port = {port}
        timeout = "400ms"
        reopen_after = "50ms"
        {device}
        [[signal]]
        name = "inlet"
        unit = "degC"
        role = "it_inlet"
        source = {{ device = "plc", address = 0, scale = 0.1 }}
        range = [5, 45]
        slew_per_min = 5
        {signals}
        [[setpoint]]
        name = "chws_sp"
        unit = "degC"
        register = {{ device = "plc", address = 40, scale = 0.1 }}
        active = {{ device = "plc", address = 41, scale = 0.1 }}
        min = 6
        max = 16
        step = 0.5
        rate_per_min = 0.5
        safe = 8
        cools = "down"
        "#
    ))
}

fn signal(name: &str, source: &str) -> String {
    format!(
        r#"
        [[signal]]
        name = "{name}"
        unit = "kW"
        source = {{ device = "plc", {source} }}
        range = [-1e9, 1e9]
        slew_per_min = 5
        "#
    )
}

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

fn value(polled: &Polled, signal: &str) -> Option<f64> {
    polled.readings.iter().find(|r| r.name == *signal).map(|r| r.value.get())
}

fn error(polled: &Polled, signal: &str) -> ModbusError {
    polled.failures.iter().find(|f| f.name == *signal).unwrap().error.clone()
}

async fn poll(poller: &mut Poller) -> Polled {
    soon("a poll", poller.poll(Timestamp::UNIX_EPOCH)).await
}

async fn start(test: &str, framer: &str, device: &str, signals: &str) -> Option<(Plc, Bus, Poller)> {
    let plc = Plc::start(test, framer).await?;
    let site = plant(plc.port, device, signals);
    let bus = Bus::open(&site);
    let poller = Poller::new(&site, bus.clone());
    Some((plc, bus, poller))
}

/// All types in all orders, all tables, over both framings, with the server's own idea of bytes.
#[tokio::test]
async fn every_type_order_and_table() {
    let mut signals = String::new();
    let orders = [("big", "big"), ("little", "big"), ("big", "little"), ("little", "little")];
    // (type, value, its big-endian words)
    let types: [(&str, f64, [u16; 2]); 3] = [
        ("int32", -70_000.0, [0xFFFE, 0xEE90]),
        ("uint32", 4_000_000_000.0, [0xEE6B, 0x2800]),
        ("float32", 123_456.0, [0x47F1, 0x2000]),
    ];
    let (mut words, mut expected) = (Vec::new(), Vec::new());
    for (i, (kind, number, [high, low])) in types.into_iter().enumerate() {
        for (j, (word_order, byte_order)) in orders.into_iter().enumerate() {
            let address = 10 + 2 * (4 * i + j);
            let source = format!(
                "address = {address}, type = \"{kind}\", word_order = \"{word_order}\", byte_order = \"{byte_order}\""
            );
            signals.write_str(&signal(&format!("{kind}-{j}"), &source)).unwrap();
            let swapped = |w: u16| if byte_order == "big" { w } else { w.swap_bytes() };
            let pair = if word_order == "big" { [high, low] } else { [low, high] };
            words.extend(pair.map(swapped));
            expected.push((format!("{kind}-{j}"), number));
        }
    }
    signals.push_str(&signal("negative", "address = 34, type = \"int16\", scale = 0.1"));
    signals.push_str(&signal("large", "address = 35, type = \"uint16\", offset = -5"));
    signals.push_str(&signal("input", "address = 7, table = \"input\", type = \"uint16\""));
    signals.push_str(&signal("coil", "address = 2, table = \"coil\", type = \"bit\""));
    signals.push_str(&signal("discrete", "address = 1, table = \"discrete\", type = \"bit\""));
    words.extend([0xFFFB, 0xFFFF]);
    for (name, number) in
        [("negative", -0.5), ("large", 65_530.0), ("input", 1007.0), ("coil", 1.0), ("discrete", 1.0)]
    {
        expected.push((name.to_owned(), number));
    }
    for (framer, device) in [("socket", ""), ("rtu", "framing = \"rtu-over-tcp\"")] {
        let Some((mut plc, _, mut poller)) =
            start("every_type_order_and_table", framer, device, &signals).await
        else {
            return;
        };
        plc.set(0, &[245]).await;
        plc.set(10, &words).await;
        plc.set(40, &[85, 90]).await;
        let polled = poll(&mut poller).await;
        assert_eq!(polled.failures, [], "{framer}");
        assert_eq!(value(&polled, "inlet"), Some(24.5));
        assert_eq!(value(&polled, "chws_sp"), Some(8.5));
        assert_eq!(polled.active[0].value.to_string(), "9", "the setpoint in force");
        for (signal, number) in &expected {
            assert_eq!(value(&polled, signal), Some(*number), "{framer} {signal}");
        }
        assert!(
            polled.readings.iter().all(|r| !r.origin.after_reconnect),
            "a first connection is no reconnect"
        );
        let log = plc.tell(json!({ "log": true })).await;
        assert!(log["log"].as_array().unwrap().len() <= 6, "read in blocks: {log}");
    }
}

/// A NaN in a float register is an error with a name, and takes nothing else with it.
#[tokio::test]
async fn not_a_number_is_a_failure_not_a_value() {
    let signals = signal("power", "address = 10, type = \"float32\"");
    let Some((mut plc, _, mut poller)) = start("not_a_number", "socket", "", &signals).await else { return };
    plc.set(10, &[0x7FC0, 0]).await;
    let polled = poll(&mut poller).await;
    assert!(matches!(error(&polled, "power"), ModbusError::Decode(_)));
    assert_eq!(value(&polled, "power"), None);
    assert!(value(&polled, "inlet").is_some());
}

/// A block that reaches into registers the device does not have is asked again value by value, and stays
/// apart from then on.
#[tokio::test]
async fn a_missing_register_does_not_take_its_block_with_it() {
    let signals =
        [signal("last", "address = 99"), signal("gone", "address = 101"), signal("far", "address = 121")]
            .concat();
    let Some((mut plc, _, mut poller)) =
        start("a_missing_register", "socket", "max_gap = 100\nmax_block = 125", &signals).await
    else {
        return;
    };
    let polled = poll(&mut poller).await;
    assert_eq!((value(&polled, "last"), value(&polled, "far")), (Some(0.0), Some(7.0)));
    assert_eq!(error(&polled, "gone"), ModbusError::Refused(Exception::ILLEGAL_ADDRESS));
    plc.tell(json!({ "log": true })).await;
    let again = poll(&mut poller).await;
    assert_eq!((again.readings.len(), again.failures.len()), (polled.readings.len(), 1));
    let log = plc.tell(json!({ "log": true })).await;
    // Existing values only: what does not exist is refused before it is logged.
    assert_eq!(log["log"].as_array().unwrap().len(), again.readings.len() + again.active.len());
}

#[tokio::test]
async fn an_exception_is_not_silence() {
    let Some((mut plc, bus, _)) = start("an_exception", "socket", "", "").await else { return };
    let plc_name = name("plc");
    plc.tell(json!({ "refuse_once": 4 })).await;
    let refused = bus.read(&plc_name, Table::Holding, 0, 1).await;
    assert_eq!(refused, Err(ModbusError::Refused(Exception(4))));
    assert!(refused.unwrap_err().to_string().contains("device failure"));
    assert_eq!(bus.read(&plc_name, Table::Holding, 0, 1).await, Ok(vec![0]), "on the same connection");
}

/// The reply to the first question must not become the answer to the second. Over RTU framing there is
/// no transaction number to tell them apart: only dropping the socket helps.
#[tokio::test]
async fn a_late_reply_does_not_poison_the_next() {
    for (framer, device) in [("socket", ""), ("rtu", "framing = \"rtu-over-tcp\"")] {
        let Some((mut plc, bus, mut poller)) = start("a_late_reply", framer, device, "").await else {
            return;
        };
        plc.set(0, &[111, 222]).await;
        assert_eq!(value(&poll(&mut poller).await, "inlet"), Some(11.1));
        plc.tell(json!({ "delay_once": 0.6 })).await;
        let late = bus.read(&name("plc"), Table::Holding, 0, 1).await;
        assert_eq!(late, Err(ModbusError::Timeout(Duration::from_millis(400))), "{framer}");
        // Asked all the time, until well after the late reply has been sent.
        let watch = Stopwatch::start();
        while watch.elapsed() < Duration::from_millis(600) {
            assert_eq!(bus.read(&name("plc"), Table::Holding, 1, 1).await, Ok(vec![222]), "{framer}");
        }
        let polled = poll(&mut poller).await;
        assert!(polled.readings.iter().all(|r| r.origin.after_reconnect), "{framer}: {polled:?}");
        assert!(poll(&mut poller).await.readings.iter().all(|r| !r.origin.after_reconnect), "{framer}");
    }
}

/// What the guard has passed, written to a real server and read back from it.
#[tokio::test]
async fn the_writer_writes_and_reads_back() {
    let Some(mut plc) = Plc::start("the_writer_writes", "socket").await else { return };
    let link = "[link]\nenable = { device = \"plc\", address = 50, type = \"uint16\" }\n\
                heartbeat = { device = \"plc\", address = 51, type = \"uint32\" }";
    let site = plant(plc.port, "", link);
    let (guard, bus) = (Guard::new(&site), Bus::open(&site));
    let writer = Writer::new(bus.clone(), &site);

    let outcome = soon("a write", writer.apply(&guard.take_control())).await;
    assert!(!outcome.release_needed, "{}", outcome.trouble());
    assert_eq!(bus.read(&name("plc"), Table::Holding, 50, 1).await, Ok(vec![1]));
    writer.beat(&guard.heartbeat(7)).await.unwrap();
    assert_eq!(bus.read(&name("plc"), Table::Holding, 51, 2).await, Ok(vec![0, 7]));

    plc.tell(json!({ "refuse_once": 4 })).await;
    let outcome = soon("a refused write", writer.apply(&guard.release())).await;
    assert!(outcome.release_needed);
    assert!(outcome.trouble().contains("device failure"), "{}", outcome.trouble());
    assert_eq!(bus.read(&name("plc"), Table::Holding, 50, 1).await, Ok(vec![1]), "and not repeated");
}

/// Unit 9 says nothing; unit 2 sits behind the same gateway.
#[tokio::test]
async fn a_dead_unit_does_not_stall_the_others() {
    let other = r#"
        [[device]]
        name = "dead"
        host = "127.0.0.1"
        port = PORT
        unit = 9
        timeout = "400ms"
        reopen_after = "50ms"
    "#;
    let Some(plc) = Plc::start("a_dead_unit", "socket").await else { return };
    let device = format!("unit = 2\n{}", other.replace("PORT", &plc.port.to_string()));
    let bus = Bus::open(&plant(plc.port, &device, ""));
    let (alive, dead) = (name("plc"), name("dead"));
    for _ in 0..2 {
        let silent = bus.read(&dead, Table::Holding, 0, 1).await;
        assert_eq!(silent, Err(ModbusError::Timeout(Duration::from_millis(400))));
    }
    // Its breaker is open: from now on it costs nothing.
    let watch = Stopwatch::start();
    for _ in 0..50 {
        assert!(matches!(bus.read(&dead, Table::Holding, 0, 1).await, Err(ModbusError::Tripped { .. })));
        assert_eq!(bus.read(&alive, Table::Holding, 0, 1).await, Ok(vec![222]));
    }
    assert!(watch.elapsed() < Duration::from_secs(3), "50 rounds took {:?}", watch.elapsed());
}

/// The server goes away and comes back: failures say what is wrong, polling goes on by itself, and the
/// first values afterwards are marked.
#[tokio::test]
async fn an_outage_is_survived() {
    let Some((mut plc, bus, mut poller)) = start("an_outage", "socket", "", "").await else { return };
    plc.set(0, &[250]).await;
    assert_eq!(value(&poll(&mut poller).await, "inlet"), Some(25.0));
    plc.tell(json!({ "stop": true })).await;
    let polled = poll(&mut poller).await;
    assert_eq!((polled.readings.len(), polled.failures.len()), (0, 3));
    let failure = error(&polled, "inlet");
    assert!(matches!(failure, ModbusError::Link { cause: LinkCause::Connect { .. }, .. }), "{failure}");
    assert!(failure.is_silence() && failure.to_string().contains("connection refused"), "{failure}");
    // While the pause lasts nothing is tried, so failing is quick.
    assert!(matches!(
        bus.read(&name("plc"), Table::Holding, 0, 1).await,
        Err(ModbusError::Link { cause: LinkCause::Connect { .. }, .. })
    ));
    plc.tell(json!({ "start": true })).await;
    let back = soon("the link comes back", async {
        loop {
            let polled = poll(&mut poller).await;
            if !polled.readings.is_empty() {
                return polled;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(back.readings.iter().all(|r| r.origin.after_reconnect));
    assert!(poll(&mut poller).await.readings.iter().all(|r| !r.origin.after_reconnect));
}
