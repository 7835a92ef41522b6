//! Records as the console lists them: what a person looks at first, without prompts and tokens.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::columns::{Columns, Row};
use super::tape::Tape;
use crate::audit::{AuditError, Kind, Log, Record};
use crate::control::record::Event;

/// Fields of a decision's record that its line in the list shows. The rest is behind its link.
const SHOWN: [&str; 11] = [
    "cause",
    "mode",
    "asked_at",
    "failure",
    "rejected",
    "decision",
    "claims",
    "confidence",
    "replaced",
    "verdict",
    "disposition",
];

/// One record as the console lists it.
pub(super) fn item(record: &Record) -> Value {
    let mut body: Value = serde_json::from_str(&record.body).unwrap_or_default();
    if record.kind == Kind::Decision && body.is_object() {
        body = decision(&mut body);
    }
    // The whole site, all prompts and replies are in the record, not in the list.
    let long: &[&str] = match record.kind {
        Kind::Start => &["site_config", "prompt_files", "upgrades"],
        Kind::Candidate => &["prompt", "sampler", "unverified", "completion"],
        Kind::Operator => &["found"],
        Kind::Event => &["upgrade"],
        Kind::Frame | Kind::Decision | Kind::Outcome | Kind::Stop => &[],
    };
    for long in long {
        body.as_object_mut().and_then(|b| b.remove(*long));
    }
    let mut out = json!({ "seq": record.seq, "time": record.time, "kind": record.kind });
    if let (Some(out), Value::Object(body)) = (out.as_object_mut(), body) {
        out.extend(body);
    }
    if record.kind == Kind::Event {
        let event = serde_json::from_value::<Event>(out["event"].clone());
        out["alarm"] = json!(event.is_ok_and(Event::is_alarm));
    }
    out
}

fn decision(body: &mut Value) -> Value {
    let mut out = Map::new();
    for key in SHOWN {
        out.insert(key.to_owned(), body[key].take());
    }
    let before = body["frame"]["setpoints"].as_object().into_iter().flatten();
    let before: Map<String, Value> = before.map(|(name, s)| (name.clone(), s["value"].clone())).collect();
    out.insert("before".to_owned(), Value::Object(before));
    let took = |part: &str| body["completion"][part].as_f64();
    let ms = took("prefill_ms").zip(took("decode_ms")).map(|(a, b)| a + b);
    out.insert("model_ms".to_owned(), json!(ms));
    out.insert("prompt_template".to_owned(), body["prompt"]["template"].take());
    out.insert("prompt_sha256".to_owned(), body["prompt"]["sha256"].take());
    Value::Object(out)
}

/// Something for the live stream, ready to be sent.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) seq: u64,
    /// JSON.
    pub(super) text: String,
}

/// Records kept in memory for the live stream; those before are read from the log again.
const RING: usize = 1024;
/// How far back trends begin after a restart: a month, and the 30 days before it that its report's baseline
/// is taken from.
const REACH: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 62);

/// What has been read of the log.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) columns: Columns,
    pub(super) tape: RwLock<Tape>,
    ring: RwLock<VecDeque<Arc<Live>>>,
    /// The newest record that has been read.
    pub(super) tail: watch::Sender<u64>,
}

impl Followed {
    pub(super) fn new(columns: Columns) -> Self {
        Self {
            columns,
            tape: RwLock::new(Tape::new()),
            ring: RwLock::new(VecDeque::new()),
            tail: watch::Sender::new(0),
        }
    }

    /// A record as it goes over the live stream: frames as a row of numbers, others as the list shows them.
    fn live(record: &Record, row: Option<&Row>) -> Live {
        let text = if record.kind == Kind::Frame {
            match row {
                Some(row) => json!({ "seq": record.seq, "kind": "frame", "t": row.t, "v": row.v }),
                None => json!({ "seq": record.seq, "kind": "frame" }),
            }
        } else {
            item(record)
        };
        Live { seq: record.seq, text: text.to_string() }
    }

    /// The numbers of a frame.
    fn row(&self, record: &Record) -> Option<Row> {
        (record.kind == Kind::Frame).then(|| self.columns.read(&record.body)).flatten()
    }

    /// Reads what the log has got since the last time.
    pub(super) fn pull(&self, log: &Log) -> Result<(), AuditError> {
        let mut seq = *self.tail.borrow();
        if seq == 0 {
            seq = begin(log)?;
        }
        for record in log.records(seq) {
            let record = record?;
            seq = record.seq;
            let row = self.row(&record);
            if let Some(row) = &row {
                self.tape.write().unwrap_or_else(PoisonError::into_inner).push(row);
            }
            let live = Arc::new(Self::live(&record, row.as_ref()));
            let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
            if ring.len() == RING {
                ring.pop_front();
            }
            ring.push_back(live);
        }
        self.tail.send_replace(seq);
        Ok(())
    }

    /// What came after a record, oldest first, at most `limit`; `None` when memory does not reach back that
    /// far and the log has to be read.
    pub(super) fn recent(&self, after: u64, limit: usize) -> Option<Vec<Arc<Live>>> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let first = ring.front().map_or(u64::MAX, |l| l.seq);
        if after + 1 < first {
            return None;
        }
        let at = ring.partition_point(|l| l.seq <= after);
        Some(ring.iter().skip(at).take(limit).cloned().collect())
    }

    /// The same, from the log.
    pub(super) fn reread(&self, log: &Log, after: u64, limit: usize) -> Result<Vec<Arc<Live>>, AuditError> {
        let live = |record: Record| Arc::new(Self::live(&record, self.row(&record).as_ref()));
        log.records(after).take(limit).map(|r| r.map(live)).collect()
    }
}

/// The record before the first one to read.
fn begin(log: &Log) -> Result<u64, AuditError> {
    let mut newest = None;
    log.back(&[Kind::Frame], None, |record| {
        newest = Some(record.time);
        false
    })?;
    match newest.and_then(|t| t.checked_sub(REACH).ok()) {
        Some(from) => Ok(log.seq_at(from)?.saturating_sub(1)),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, body: &Value) -> Record {
        let hash = crate::audit::Hash::new([0; 32]);
        let time = "2026-01-01T00:00:00Z".parse().unwrap();
        Record { seq: 7, time, kind, previous: hash, hash, body: body.to_string() }
    }

    #[test]
    fn a_decision_is_listed_without_its_prompt() {
        let body = json!({"cause": "cadence", "frame": {"setpoints": {"chws_sp": {"value": 7.0}}},
            "prompt": {"template": "decide@2", "sha256": "ab", "text": "long"},
            "completion": {"tokens": [1, 2], "prefill_ms": 10.0, "decode_ms": 5.5},
            "verdict": {"by": "model"}});
        let item = item(&record(Kind::Decision, &body));
        assert_eq!(item["seq"], 7);
        assert_eq!(item["before"], json!({"chws_sp": 7.0}));
        assert_eq!(item["model_ms"], 15.5);
        assert_eq!(item["prompt_template"], "decide@2");
        assert!(!item.to_string().contains("long") && item.get("completion").is_none());
    }

    /// The pages mark what the agent itself takes for an alarm.
    #[test]
    fn an_event_says_whether_it_is_an_alarm() {
        let alarm = |event: &str| item(&record(Kind::Event, &json!({ "event": event })))["alarm"] == true;
        for event in ["manual_hold", "not_following", "broken", "clock_backwards", "orphans", "link_down"] {
            assert!(alarm(event), "{event}");
        }
        for event in ["link_up", "release", "nonsense"] {
            assert!(!alarm(event), "{event}");
        }
    }

    #[test]
    fn any_body_can_be_listed() {
        for kind in [
            Kind::Decision,
            Kind::Candidate,
            Kind::Start,
            Kind::Event,
            Kind::Operator,
            Kind::Outcome,
            Kind::Stop,
        ] {
            for body in [json!(null), json!([1]), json!({}), json!({"verdict": 3})] {
                assert_eq!(item(&record(kind, &body))["seq"], 7);
            }
        }
    }
}
