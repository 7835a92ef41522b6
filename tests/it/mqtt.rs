//! The MQTT source against a real mosquitto: shapes of message, outages, credentials, TLS, silence.

use std::path::Path;
use std::process::Command;

use isotherm::ingest::mqtt::{self, Events, MqttHandle, PublishError, SourceEvent};
use isotherm::ingest::{Origin, Reading};
use isotherm::site::Site;
use isotherm::units::Unit;
use jiff::Timestamp;
use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS};

use crate::peers::{Broker, PATIENCE, site, skip, soon};

const OPEN: &str = "allow_anonymous true";

/// A site whose broker table has `more` in it.
fn plant(port: u16, clock: &str, more: &str) -> Site {
    site(&format!(
        r#"
        name = "test"
        plant = "air"
        clock = "{clock}"
        setpoint = []
        [model]
        backend = "none"
        [[signal]]
        name = "inlet"
        unit = "degC"
        role = "it_inlet"
        source = {{ topic = "plant/frame" }}
        range = [5, 45]
        slew_per_min = 5
        [[signal]]
        name = "load"
        unit = "kW"
        source = {{ topic = "plant/frame" }}
        range = [0, 5000]
        slew_per_min = 500
        [[signal]]
        name = "rack"
        unit = "degC"
        source = {{ topic = "bms/rack", pointer = "/t" }}
        range = [5, 45]
        slew_per_min = 5
        [[signal]]
        name = "plain"
        unit = "degC"
        source = {{ topic = "plain", unit = "degF" }}
        range = [5, 45]
        slew_per_min = 5
        [mqtt]
        host = "127.0.0.1"
        port = {port}
        {more}
        "#
    ))
}

/// The next event that `pick` wants; others are passed over.
async fn until<T>(events: &mut Events, what: &str, pick: impl Fn(&SourceEvent) -> Option<T>) -> T {
    soon(what, async {
        loop {
            let event = events.recv().await.unwrap();
            if let Some(found) = pick(&event) {
                return found;
            }
        }
    })
    .await
}

async fn up(events: &mut Events) {
    until(events, "up", |e| matches!(e, SourceEvent::Up).then_some(())).await;
}

async fn down(events: &mut Events) -> String {
    until(events, "down", |e| if let SourceEvent::Down { why } = e { Some(why.clone()) } else { None }).await
}

async fn readings(events: &mut Events) -> (Option<Timestamp>, Vec<Reading>) {
    until(events, "readings", |e| {
        if let SourceEvent::Readings { time, readings } = e { Some((*time, readings.clone())) } else { None }
    })
    .await
}

async fn connected(broker: &Broker, clock: &str, more: &str) -> (MqttHandle, Events) {
    let (handle, mut events) = mqtt::connect(&plant(broker.port, clock, more)).unwrap();
    up(&mut events).await;
    (handle, events)
}

async fn say(publisher: &AsyncClient, topic: &str, retain: bool, payload: &str) {
    publisher.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
}

fn shape(readings: &[Reading]) -> Vec<(&str, f64, Unit)> {
    readings.iter().map(|r| (r.name.as_str(), r.value.get(), r.unit)).collect()
}

#[tokio::test]
async fn every_shape_of_message_arrives() {
    let Some(broker) = Broker::start("every_shape_of_message_arrives", OPEN).await else { return };
    let (_handle, mut events) = connected(&broker, "wall", "").await;
    let publisher = broker.publisher();
    say(&publisher, "plain", false, "77").await;
    let (time, got) = readings(&mut events).await;
    assert_eq!((time, shape(&got)), (None, vec![("plain", 77.0, Unit::DegF)]));
    assert_eq!(got[0].time, got[0].received);
    assert_eq!(got[0].origin, Origin::default());

    say(&publisher, "bms/rack", false, r#"{"t": 21.5, "more": "x"}"#).await;
    assert_eq!(shape(&readings(&mut events).await.1), [("rack", 21.5, Unit::DegC)]);

    // One frame is one event, with its own time, however long it is: rumqttc's default would end the
    // connection at 10 KiB.
    let padding = "x".repeat(50_000);
    let frame = format!(
        r#"{{"time":"2026-01-31T12:00:00Z","padding":"{padding}","signals":{{"inlet":24.5,
        "load":{{"value":900,"unit":"kW","quality":"suspect"}},"other":1}}}}"#
    );
    say(&publisher, "plant/frame", false, &frame).await;
    let (time, got) = readings(&mut events).await;
    assert_eq!(time, Some("2026-01-31T12:00:00Z".parse().unwrap()));
    assert_eq!(shape(&got), [("inlet", 24.5, Unit::DegC), ("load", 900.0, Unit::Kilowatt)]);
    assert!(got.iter().all(|r| Some(r.time) == time && r.origin.timed && r.received > r.time));
    assert!(!got[0].origin.flagged && got[1].origin.flagged);
}

/// With `clock = "frames"` the frames' time is the only one there is: an untimed value belongs to the
/// latest frame, and has no time before the first.
#[tokio::test]
async fn frames_are_the_clock() {
    let Some(broker) = Broker::start("frames_are_the_clock", OPEN).await else { return };
    let (_handle, mut events) = connected(&broker, "frames", "").await;
    let publisher = broker.publisher();
    say(&publisher, "plain", false, "70").await;
    say(&publisher, "plant/frame", false, r#"{"time":"2020-01-01T00:00:00Z","signals":{"inlet":24.5}}"#)
        .await;
    say(&publisher, "plain", false, "71").await;
    let noon: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let (time, got) = readings(&mut events).await;
    assert_eq!((time, shape(&got)), (Some(noon), vec![("inlet", 24.5, Unit::DegC)]));
    assert_eq!(got[0].received, noon);
    let (time, got) = readings(&mut events).await;
    assert_eq!((time, got[0].time, got[0].value.get().round() as i64), (None, noon, 71));
}

#[tokio::test]
async fn retained_messages_are_marked_and_do_not_move_the_clock() {
    let Some(broker) = Broker::start("retained_messages", OPEN).await else { return };
    let publisher = broker.publisher();
    let frame = r#"{"time":"2026-01-31T12:00:00Z","signals":{"inlet":24.5}}"#;
    say(&publisher, "plant/frame", true, frame).await;
    // Retained before we come: a client of its own sees it first.
    let (other, mut connection) = broker.client("other");
    other.subscribe("plant/frame", QoS::AtLeastOnce).await.unwrap();
    soon("the message is retained", next_message(&mut connection)).await;
    let (_handle, mut events) = connected(&broker, "wall", "").await;
    let (time, got) = readings(&mut events).await;
    assert_eq!((time, got[0].origin.retained), (None, true));
    say(&publisher, "plant/frame", true, frame).await;
    let (time, got) = readings(&mut events).await;
    assert_eq!(
        (time.is_some(), got[0].origin.retained),
        (true, false),
        "live, although it is to be retained"
    );
}

async fn next_message(connection: &mut EventLoop) -> (String, String, bool) {
    loop {
        if let Event::Incoming(Packet::Publish(p)) = connection.poll().await.unwrap() {
            return (p.topic.clone(), String::from_utf8(p.payload.to_vec()).unwrap(), p.retain);
        }
    }
}

#[tokio::test]
async fn a_broker_that_comes_back_is_subscribed_to_again() {
    let Some(mut broker) = Broker::start("a_broker_that_comes_back", OPEN).await else { return };
    let (handle, mut events) = connected(&broker, "wall", "").await;
    for round in 0..2 {
        let publisher = broker.publisher();
        say(&publisher, "plain", false, "70").await;
        assert_eq!(shape(&readings(&mut events).await.1), [("plain", 70.0, Unit::DegF)], "round {round}");
        broker.stop().await;
        assert!(!down(&mut events).await.is_empty());
        assert_eq!(handle.publish("x", b"1".to_vec(), false), Err(PublishError::NotConnected));
        broker.restart().await;
        up(&mut events).await;
    }
    let publisher = broker.publisher();
    say(&publisher, "plain", false, "71").await;
    assert_eq!(shape(&readings(&mut events).await.1), [("plain", 71.0, Unit::DegF)]);
}

#[tokio::test]
async fn nobody_there_is_said_once_and_retried() {
    let Some(mut broker) = Broker::start("nobody_there", OPEN).await else { return };
    broker.stop().await;
    let (_handle, mut events) = mqtt::connect(&plant(broker.port, "wall", "")).unwrap();
    let why = down(&mut events).await;
    assert!(why.contains("refused"), "{why}");
    broker.restart().await;
    assert_eq!(soon("up", events.recv()).await, Some(SourceEvent::Up), "no second Down for the same cause");
}

#[tokio::test]
async fn connected_but_silent_is_reported_for_each_topic() {
    let Some(broker) = Broker::start("connected_but_silent", OPEN).await else { return };
    let (_handle, mut events) = connected(&broker, "wall", "watchdog = \"400ms\"").await;
    let publisher = broker.publisher();
    // One topic is kept alive, so only the others fall silent.
    let alive = tokio::spawn(async move {
        loop {
            say(&publisher, "plain", false, "70").await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
    let silent = |e: &SourceEvent| {
        if let SourceEvent::Silent { topic } = e { Some(topic.clone()) } else { None }
    };
    let mut topics =
        [until(&mut events, "one silent", silent).await, until(&mut events, "two silent", silent).await];
    topics.sort();
    assert_eq!(topics, ["bms/rack", "plant/frame"]);
    alive.abort();
    assert_eq!(until(&mut events, "the third", silent).await, "plain", "and each is reported once");
}

#[tokio::test]
async fn what_is_not_understood_is_counted_and_reported_once_a_minute() {
    let Some(broker) = Broker::start("what_is_not_understood", OPEN).await else { return };
    let (_handle, mut events) = connected(&broker, "wall", "").await;
    let publisher = broker.publisher();
    for payload in ["warm", "NaN", "1e999", "{}"] {
        say(&publisher, "plain", false, payload).await;
    }
    say(&publisher, "plain", false, "70").await;
    let first = soon("the complaint", events.recv()).await.unwrap();
    let SourceEvent::Malformed { topic, problem, count } = first else { panic!("{first:?}") };
    assert_eq!((topic.as_str(), count), ("plain", 1));
    assert!(problem.to_string().contains("expected a number"), "{problem}");
    let next = soon("the good one", events.recv()).await.unwrap();
    assert!(matches!(next, SourceEvent::Readings { .. }), "none of the bad ones is a number: {next:?}");
}

/// The retained status topic says whether we are there: also when we are killed.
#[tokio::test]
async fn status_is_online_then_offline() {
    let Some(broker) = Broker::start("status", OPEN).await else { return };
    let (watcher, mut connection) = broker.client("watcher");
    watcher.subscribe("isotherm/test/status", QoS::AtLeastOnce).await.unwrap();
    let status = async |connection: &mut EventLoop| soon("status", next_message(connection)).await.1;

    let (handle, events) = connected(&broker, "wall", "").await;
    assert_eq!(status(&mut connection).await, "online");
    soon("goodbye", handle.close()).await;
    assert_eq!(status(&mut connection).await, "offline");
    drop(events);

    let (handle, _events) = connected(&broker, "wall", "").await;
    assert_eq!(status(&mut connection).await, "online");
    drop(handle);
    assert_eq!(status(&mut connection).await, "offline", "the broker says it for us");
}

#[tokio::test]
async fn publishing_never_waits() {
    let Some(broker) = Broker::start("publishing_never_waits", OPEN).await else { return };
    let (handle, _events) = connected(&broker, "wall", "").await;
    let (watcher, mut connection) = broker.client("watcher");
    watcher.subscribe("isotherm/test/decision", QoS::AtLeastOnce).await.unwrap();
    soon("subscribed", async {
        while !matches!(connection.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    })
    .await;
    handle.publish("isotherm/test/decision", b"{\"a\":1}".to_vec(), false).unwrap();
    let (_, payload, retained) = soon("the decision", next_message(&mut connection)).await;
    assert_eq!((payload.as_str(), retained), ("{\"a\":1}", false));
    let huge = handle.publish("t", vec![b'x'; 2 << 20], false);
    assert!(matches!(huge, Err(PublishError::TooLarge { .. })), "and the connection survives: {huge:?}");
    assert_eq!(handle.publish("a/#", Vec::new(), false), Err(PublishError::NotTaken));
    // Far more than the connection takes at once: some are refused, none blocks.
    let refused = (0..5000).filter(|_| handle.publish("t", b"1".to_vec(), false).is_err()).count();
    assert!(refused > 0);
}

#[tokio::test]
async fn credentials_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let passwords = dir.path().join("passwords");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["agent", "s3cret"])
        .output();
    if !made.is_ok_and(|o| o.status.success()) {
        skip("credentials", "needs mosquitto_passwd on the PATH");
        return;
    }
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let settings = "allow_anonymous false\npassword_file DIR/passwords";
    let secrets = format!("username = \"agent\"\npassword_file = \"{}\"", secret.display());
    let Some(broker) = Broker::start_in("credentials", settings, dir).await else { return };
    drop(connected(&broker, "wall", &secrets).await);

    let (_handle, mut events) = mqtt::connect(&plant(broker.port, "wall", "username = \"agent\"")).unwrap();
    let why = down(&mut events).await;
    assert!(why.contains("NotAuthorized"), "{why}");

    let missing =
        plant(broker.port, "wall", "username = \"agent\"\npassword_env = \"ISOTHERM_NO_SUCH_VARIABLE\"");
    let error = mqtt::connect(&missing).unwrap_err().to_string();
    assert!(error.contains("password_env") && error.contains("ISOTHERM_NO_SUCH_VARIABLE"), "{error}");
    let missing = plant(broker.port, "wall", "username = \"agent\"\npassword_file = \"/no/such/file\"");
    let error = mqtt::connect(&missing).unwrap_err().to_string();
    assert!(error.contains("password_file") && error.contains("/no/such/file"), "{error}");
}

/// A topic the access list forbids is reported, the others work.
#[tokio::test]
async fn a_denied_topic_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("acl"), "topic readwrite plain\ntopic readwrite isotherm/#\n").unwrap();
    let settings = "allow_anonymous true\nacl_file DIR/acl";
    let Some(broker) = Broker::start_in("a_denied_topic", settings, dir).await else { return };
    let (_handle, mut events) = mqtt::connect(&plant(broker.port, "wall", "watchdog = \"300ms\"")).unwrap();
    // Brokers may say so at once, or grant the subscription and never deliver: then the silence is
    // reported instead.
    let denied = until(&mut events, "denied or silent", |e| match e {
        SourceEvent::Denied { topic } | SourceEvent::Silent { topic } if topic != "plain" => {
            Some(topic.clone())
        }
        SourceEvent::Denied { .. }
        | SourceEvent::Silent { .. }
        | SourceEvent::Up
        | SourceEvent::Down { .. }
        | SourceEvent::Readings { .. }
        | SourceEvent::Announced(_)
        | SourceEvent::Malformed { .. }
        | SourceEvent::Overrun { .. } => None,
    })
    .await;
    assert!(["bms/rack", "plant/frame"].contains(&denied.as_str()), "{denied}");
}

/// Runs openssl; false when there is none.
fn openssl(dir: &Path, arguments: &str) -> bool {
    let output = Command::new("openssl").current_dir(dir).args(arguments.split_whitespace()).output();
    output.is_ok_and(|o| {
        assert!(o.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&o.stderr));
        true
    })
}

/// A certificate authority of our own, a server for 127.0.0.1, and a client.
pub(crate) fn certificates(dir: &Path) -> bool {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(dir.join("server.ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    openssl(dir, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=Test-CA"))
        && ["server", "client"].iter().all(|who| {
            openssl(dir, &format!("req {key} -keyout {who}.key -out {who}.csr -subj /CN={who}"))
                && openssl(
                    dir,
                    &format!(
                        "x509 -req -in {who}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out {who}.pem \
                         -days 2 -extfile {who}.ext"
                    ),
                )
        })
}

#[tokio::test]
async fn tls_with_our_own_authority_and_a_client_certificate() {
    let dir = tempfile::tempdir().unwrap();
    if !certificates(dir.path()) {
        skip("tls", "needs openssl on the PATH");
        return;
    }
    let at = |file: &str| dir.path().join(file).display().to_string();
    let full = format!(
        "tls = {{ ca_file = \"{}\", client_cert = \"{}\", client_key = \"{}\" }}",
        at("ca.pem"),
        at("client.pem"),
        at("client.key")
    );
    let anonymous = format!("tls = {{ ca_file = \"{}\" }}", at("ca.pem"));
    let stranger = format!(
        "tls = {{ ca_file = \"{0}\", client_cert = \"{0}\", client_key = \"{0}\" }}",
        at("server.ext")
    );
    let settings = "allow_anonymous true\ncafile DIR/ca.pem\ncertfile DIR/server.pem\nkeyfile DIR/server.key\nrequire_certificate true";
    let Some(broker) = Broker::start_in("tls", settings, dir).await else { return };

    let (handle, mut events) = connected(&broker, "wall", &full).await;
    handle.publish("plain", b"70".to_vec(), false).unwrap();
    assert_eq!(shape(&readings(&mut events).await.1), [("plain", 70.0, Unit::DegF)], "there and back");

    for (what, more) in [
        ("without a client certificate", anonymous.as_str()),
        ("without TLS", ""),
        ("with the system's roots", "tls = {}"),
    ] {
        let site = plant(broker.port, "wall", &format!("client_id = \"other\"\n{more}"));
        match mqtt::connect(&site) {
            Ok((_handle, mut events)) => {
                let first = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap();
                assert!(matches!(first, Some(SourceEvent::Down { .. })), "{what}: {first:?}");
            }
            // A machine without root certificates is told so.
            Err(e) => assert!(e.to_string().contains("ca_file"), "{what}: {e}"),
        }
    }
    let error = mqtt::connect(&plant(broker.port, "wall", &stranger)).unwrap_err().to_string();
    assert!(error.contains("tls") && error.contains("server.ext"), "{error}");
}
