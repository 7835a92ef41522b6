//! How often operators took setpoints into their own hands in a period, and for how long.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::audit::{AuditError, Kind, Log, Record};

/// A setpoint that is held: since when, and when that ends by itself.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: Timestamp,
    until: Option<Timestamp>,
}

#[derive(Clone, Copy, Default, Debug)]
struct Sum {
    count: u64,
    hours: f64,
}

pub(super) struct Overrides {
    bounds: Range<Timestamp>,
    held: BTreeMap<String, Held>,
    sums: BTreeMap<String, Sum>,
    /// Setpoints that were changed at the plant itself.
    by_hand: u64,
    /// Of the latest record.
    last: Option<Timestamp>,
}

impl Overrides {
    pub(super) fn new(bounds: Range<Timestamp>) -> Self {
        Self { bounds, held: BTreeMap::new(), sums: BTreeMap::new(), by_hand: 0, last: None }
    }

    /// What is in force when the record with this number comes: it was given before.
    pub(super) fn begin(&mut self, log: &Log, first: u64) -> Result<(), AuditError> {
        let newest = |kind| {
            let mut found = 0;
            let seq = &mut found;
            log.back(&[kind], Some(first), |record| {
                *seq = record.seq;
                false
            })
            .map(|()| found)
        };
        let start = newest(Kind::Start)?;
        if newest(Kind::Stop)? > start {
            return Ok(());
        }
        // A run takes up what was standing with its first records.
        for record in log.records(start).take(8) {
            let record = record?;
            if record.seq < first && record.kind == Kind::Event {
                self.record(&record);
            }
        }
        let mut acts = Vec::new();
        log.back(&[Kind::Operator], Some(first), |record| {
            let is_of_run = record.seq > start;
            acts.extend(is_of_run.then_some(record));
            is_of_run
        })?;
        for act in acts.iter().rev() {
            self.record(act);
        }
        Ok(())
    }

    /// Any record, in order. Of those before the period only what they leave in force counts.
    pub(super) fn record(&mut self, record: &Record) {
        let time = record.time;
        match record.kind {
            Kind::Operator => self.act(time, &serde_json::from_str(&record.body).unwrap_or_default()),
            Kind::Event => self.event(time, &serde_json::from_str(&record.body).unwrap_or_default()),
            // A run that ended without a word held nothing after its last record.
            Kind::Start => self.end(self.last.unwrap_or(self.bounds.start)),
            Kind::Stop => self.end(time),
            Kind::Frame | Kind::Decision | Kind::Outcome | Kind::Candidate => {}
        }
        self.last = Some(time);
    }

    fn act(&mut self, time: Timestamp, act: &Value) {
        let Some(setpoint) = act["setpoint"].as_str().filter(|_| act["accepted"] == true) else { return };
        match act["act"].as_str() {
            Some("override") => {
                self.give_back(setpoint, time);
                self.held.insert(setpoint.to_owned(), Held { since: time, until: until(act) });
                if self.bounds.contains(&time) {
                    self.sums.entry(setpoint.to_owned()).or_default().count += 1;
                }
            }
            Some("clear_override") => self.give_back(setpoint, time),
            _ => {}
        }
    }

    fn event(&mut self, time: Timestamp, event: &Value) {
        match event["event"].as_str() {
            Some("manual_hold") => self.by_hand += u64::from(self.bounds.contains(&time)),
            Some("standing_resumed") => {
                self.end(time);
                for (name, held) in event["standing"]["overrides"].as_object().into_iter().flatten() {
                    self.held.insert(name.clone(), Held { since: time, until: until(held) });
                }
            }
            _ => {}
        }
    }

    /// As far as it lies within the period, counts the time that a setpoint was held.
    fn give_back(&mut self, setpoint: &str, time: Timestamp) {
        let Some(held) = self.held.remove(setpoint) else { return };
        let from = held.since.max(self.bounds.start);
        let to = held.until.map_or(time, |until| until.min(time)).min(self.bounds.end);
        let hours = to.duration_since(from).as_secs_f64() / 3600.0;
        if hours > 0.0 {
            self.sums.entry(setpoint.to_owned()).or_default().hours += hours;
        }
    }

    fn end(&mut self, time: Timestamp) {
        for setpoint in self.held.keys().cloned().collect::<Vec<_>>() {
            self.give_back(&setpoint, time);
        }
    }

    pub(super) fn done(mut self) -> Value {
        if let Some(last) = self.last {
            self.end(last);
        }
        let setpoints: Vec<Value> = self
            .sums
            .iter()
            .map(|(name, s)| json!({ "setpoint": name, "count": s.count, "hours": s.hours }))
            .collect();
        let (count, hours) = self.sums.values().fold((0, 0.0), |(n, h), s| (n + s.count, h + s.hours));
        json!({ "count": count, "hours": hours, "setpoints": setpoints, "changed_at_the_plant": self.by_hand })
    }
}

fn until(of: &Value) -> Option<Timestamp> {
    serde_json::from_value(of["until"].clone()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(86_400 + minute * 60).unwrap()
    }

    fn record(minute: i64, kind: Kind, body: &Value) -> Record {
        let hash = crate::audit::Hash::new([0; 32]);
        Record { seq: 1, time: at(minute), kind, previous: hash, hash, body: body.to_string() }
    }

    fn held(minute: i64, setpoint: &str, until: Option<i64>) -> Record {
        let body = json!({ "act": "override", "setpoint": setpoint, "value": 7.0,
            "until": until.map(at), "accepted": true });
        record(minute, Kind::Operator, &body)
    }

    fn given_back(minute: i64, setpoint: &str) -> Record {
        let body = json!({ "act": "clear_override", "setpoint": setpoint, "accepted": true });
        record(minute, Kind::Operator, &body)
    }

    fn told(records: &[Record], last: i64) -> Vec<String> {
        let mut overrides = Overrides::new(at(0)..at(24 * 60));
        for record in records {
            overrides.record(record);
        }
        overrides.record(&record(last, Kind::Frame, &json!({})));
        let done = overrides.done();
        let line =
            |s: &Value| format!("{} {} {:.2}", s["setpoint"], s["count"], s["hours"].as_f64().unwrap());
        let total = format!("{} {:.2}", done["count"], done["hours"].as_f64().unwrap());
        done["setpoints"].as_array().unwrap().iter().map(line).chain([total]).collect()
    }

    #[test]
    fn what_is_held_counts_until_it_is_given_back_or_runs_out() {
        let records = [
            held(60, "a", None),
            given_back(90, "a"),
            held(100, "b", Some(130)),
            // Held anew: the first ends where the second begins.
            held(200, "a", Some(400)),
            held(260, "a", None),
        ];
        assert_eq!(told(&records, 320), ["\"a\" 3 2.50", "\"b\" 1 0.50", "4 3.00"]);
        let mut refused = held(10, "a", None);
        refused.body = refused.body.replace("true", "false");
        assert_eq!(told(&[refused], 100), ["0 0.00"]);
    }

    #[test]
    fn what_was_given_before_counts_from_midnight_and_what_lasts_to_the_next() {
        assert_eq!(told(&[held(-120, "a", None)], 24 * 60 + 90), ["\"a\" 0 24.00", "0 24.00"]);
    }

    #[test]
    fn nothing_is_held_between_two_runs() {
        let standing = json!({ "event": "standing_resumed",
            "standing": { "overrides": { "a": { "value": 7.0, "until": null } } } });
        let run = [
            held(60, "a", None),
            record(120, Kind::Stop, &json!({ "why": "SIGTERM" })),
            record(300, Kind::Start, &json!({})),
            record(300, Kind::Event, &standing),
        ];
        assert_eq!(told(&run, 330), ["\"a\" 1 1.50", "1 1.50"]);
        let crashed = [
            held(60, "a", None),
            record(90, Kind::Decision, &json!({})),
            record(300, Kind::Start, &json!({})),
        ];
        assert_eq!(told(&crashed, 330), ["\"a\" 1 0.50", "1 0.50"]);
    }
}
