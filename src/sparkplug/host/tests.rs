use super::super::payload::Value;
use super::*;

fn metric(name: Option<&str>, alias: Option<u64>, value: f64) -> Metric {
    let metric = Metric::named(name.unwrap_or(""), Value::Double(value), 1000);
    Metric { name: name.map(str::to_owned), alias, ..metric }
}

fn bd_seq(n: u64) -> Metric {
    Metric::named(BD_SEQ, Value::Long(n), 1000)
}

fn say(
    node: &mut Node,
    now: Instant,
    kind: &str,
    device: Option<&str>,
    seq: Option<u64>,
    metrics: Vec<Metric>,
) -> Vec<Heard> {
    let payload = Payload { timestamp: Some(1000), metrics, seq };
    node.hear(&Topic { kind, device }, &payload.to_bytes(), now)
}

fn values(heard: &[Heard]) -> Vec<(String, f64)> {
    let value = |h: &Heard| match h {
        Heard::Value { metric, value } => Some((metric.name.clone(), value.value.get())),
        Heard::Dead { .. } | Heard::Gone { .. } | Heard::AskRebirth { .. } => None,
    };
    heard.iter().filter_map(value).collect()
}

fn asks(heard: &[Heard]) -> bool {
    heard.iter().any(|h| matches!(h, Heard::AskRebirth { .. }))
}

fn born(now: Instant) -> Node {
    let mut node = Node::default();
    say(&mut node, now, "NBIRTH", None, Some(0), vec![bd_seq(3), metric(Some("uptime"), Some(1), 5.0)]);
    let heard =
        say(&mut node, now, "DBIRTH", Some("ch1"), Some(1), vec![metric(Some("supply"), Some(2), 7.0)]);
    assert_eq!((values(&heard), asks(&heard)), (vec![("supply".to_owned(), 7.0)], false));
    node
}

#[tokio::test]
async fn a_number_means_what_the_birth_said() {
    let now = Instant::now();
    let mut node = born(now);
    let heard = say(&mut node, now, "DDATA", Some("ch1"), Some(2), vec![metric(None, Some(2), 7.5)]);
    assert_eq!(values(&heard), [("supply".to_owned(), 7.5)]);
    let heard = say(&mut node, now, "DDATA", Some("ch1"), Some(3), vec![metric(None, Some(9), 1.0)]);
    assert!(asks(&heard), "no birth has named it");
    assert_eq!(node.standing(now, Duration::from_secs(1)).count(), 2);
}

#[tokio::test]
async fn units_are_those_of_the_birth() {
    let now = Instant::now();
    let mut node = Node::default();
    let on = Metric::named("on", Value::Boolean(true), 1000);
    let supply = metric(Some("supply"), Some(2), 7.0).with_unit("°C");
    say(&mut node, now, "NBIRTH", None, Some(0), vec![bd_seq(3), on, supply, metric(Some("x"), None, 1.0)]);
    say(&mut node, now, "NDATA", None, Some(1), vec![metric(None, Some(2), 7.5)]);
    let unit = |name: &str| node.unit(&MetricId { device: None, name: name.to_owned() });
    assert_eq!((unit("on"), unit("supply"), unit("x")), (Some("flag"), Some("°C"), None));
}

#[tokio::test]
async fn what_was_missed_is_asked_for_and_not_too_often() {
    let now = Instant::now();
    let mut node = Node::default();
    let data = |node: &mut Node, now, seq| {
        say(node, now, "NDATA", None, Some(seq), vec![metric(Some("a"), None, 1.0)])
    };
    let heard = data(&mut node, now, 4);
    assert!(asks(&heard) && values(&heard).is_empty(), "data before any birth");
    assert!(!asks(&data(&mut node, now + Duration::from_secs(1), 5)), "asked a moment ago");
    assert!(asks(&data(&mut node, now + Duration::from_secs(6), 6)));
    let mut node = born(now);
    assert!(!asks(&data(&mut node, now, 2)));
    let gap = data(&mut node, now, 4);
    assert!(asks(&gap) && values(&gap).len() == 1, "3 was missed; what this one says is still true");
    let standing = node.standing(now, Duration::from_secs(1)).count();
    assert_eq!(standing, 1, "the other value may have changed in what was missed");
    let mut node = born(now);
    assert!(asks(&say(&mut node, now, "DDATA", Some("ch2"), Some(2), vec![metric(Some("x"), None, 1.0)])));
    let mut node = born(now);
    for seq in 2..=300 {
        assert!(!asks(&data(&mut node, now, seq % 256)), "{seq}");
    }
}

#[tokio::test]
async fn a_birth_is_all_that_there_is() {
    let now = Instant::now();
    let mut node = born(now);
    let heard =
        say(&mut node, now, "DBIRTH", Some("ch1"), Some(2), vec![metric(Some("return"), Some(3), 12.0)]);
    let supply = MetricId { device: Some("ch1".to_owned()), name: "supply".to_owned() };
    assert!(heard.contains(&Heard::Gone { metric: supply }), "{heard:?}");
    let standing: Vec<&str> =
        node.standing(now, Duration::from_secs(1)).map(|(id, _)| id.name.as_str()).collect();
    assert_eq!(standing, ["uptime", "return"]);
    let heard = say(&mut node, now, "DDATA", Some("ch1"), Some(3), vec![metric(None, Some(2), 7.5)]);
    assert!(asks(&heard), "the old number names nothing any more");
}

#[tokio::test]
async fn a_request_that_is_lost_is_made_again() {
    let now = Instant::now();
    let mut node = born(now);
    let steady = |node: &mut Node, s, seq| {
        let at = now + Duration::from_secs(s);
        asks(&say(node, at, "NDATA", None, Some(seq), vec![metric(Some("uptime"), None, 1.0)]))
    };
    assert!(steady(&mut node, 1, 4), "2 and 3 were missed");
    assert!(!steady(&mut node, 2, 5));
    assert!(steady(&mut node, 7, 6), "no birth has come");
    say(&mut node, now + Duration::from_secs(8), "NBIRTH", None, Some(0), vec![bd_seq(3)]);
    assert!(!steady(&mut node, 20, 1));
}

#[tokio::test]
async fn only_the_death_of_this_life_counts() {
    let now = Instant::now();
    let mut node = born(now);
    assert_eq!(say(&mut node, now, "NDEATH", None, None, vec![bd_seq(2)]), [], "an older life's");
    assert_eq!(node.standing(now, Duration::from_secs(1)).count(), 2);
    assert_eq!(say(&mut node, now, "NDEATH", None, None, vec![bd_seq(3)]), [Heard::Dead { device: None }]);
    assert_eq!(node.standing(now, Duration::from_secs(1)).count(), 0);
    let mut node = born(now);
    say(&mut node, now, "DDEATH", Some("ch1"), Some(2), vec![]);
    assert_eq!(node.standing(now, Duration::from_secs(1)).count(), 1, "the node's own is still there");
    let heard = say(&mut node, now, "NDATA", None, Some(3), vec![metric(None, Some(2), 7.5)]);
    assert!(values(&heard).is_empty() && asks(&heard), "a dead device's number, in a message of its node");
    let mut node = born(now);
    assert_eq!(node.standing(now + Duration::from_secs(9), Duration::from_secs(5)).count(), 0, "silent");
    node.reconnected(now);
    assert_eq!(node.standing(now, Duration::from_secs(5)).count(), 0);
}

#[tokio::test]
async fn history_and_nothing_are_no_values() {
    let now = Instant::now();
    let mut node = born(now);
    let old = Metric { is_historical: Some(true), ..metric(None, Some(2), 1.0) };
    let none = metric(Some("uptime"), None, 0.0).without_value();
    assert_eq!(values(&say(&mut node, now, "DDATA", Some("ch1"), Some(2), vec![old])), []);
    assert_eq!(values(&say(&mut node, now, "NDATA", None, Some(3), vec![none])), []);
    let left: Vec<_> =
        node.standing(now, Duration::from_secs(1)).map(|(m, v)| (m.name.as_str(), v.value.get())).collect();
    assert_eq!(left, [("supply", 7.0)]);
}

#[test]
fn topics() {
    let (id, topic) = parse("spBv1.0/plant/DDATA/edge/ch1").unwrap();
    assert_eq!(
        (id.group.as_str(), id.node.as_str(), topic.kind, topic.device),
        ("plant", "edge", "DDATA", Some("ch1"))
    );
    assert!(parse("spBv1.0/plant/NBIRTH").is_none() && parse("a/b/c/d").is_none());
}
