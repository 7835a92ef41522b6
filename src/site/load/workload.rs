//! Where jobs are announced and put.

use std::collections::BTreeSet;

use super::check::Checker;
use crate::site::{Site, Source};
use crate::units::Finite;

impl Checker<'_> {
    pub(super) fn workload(&mut self, site: &Site) {
        let w = &site.workload;
        if let Some(topic) = &w.topic {
            if site.mqtt.is_none() {
                self.top(
                    "workload.topic",
                    "jobs are announced on a topic but there is no [mqtt] table: add host and port",
                );
            }
            if topic.is_empty() || topic.contains(['+', '#']) {
                self.top("workload.topic", "expected one topic, without the wildcards + and #");
            }
            if site.signals.iter().any(|s| matches!(&s.source, Source::Mqtt(t) if t.topic == *topic)) {
                self.top("workload.topic", "is a signal's topic too: announcements need one of their own");
            }
        }
        let mut seen = BTreeSet::new();
        for place in &w.places {
            let field = |key: &str| format!("workload.place \"{}\"{key}", place.name);
            if !seen.insert(place.name.as_str()) {
                self.at(place.name.as_str(), field(""), "is defined twice");
            }
            if place.capacity_kw <= Finite::ZERO {
                self.at(place.name.as_str(), field(": capacity_kw"), "expected more than 0 kW");
            }
        }
        for signal in &site.signals {
            if let Some(place) = signal.place.as_ref().filter(|p| !seen.contains(p.as_str())) {
                self.at(
                    signal.name.as_str(),
                    format!("signal \"{}\": place", signal.name),
                    format!("there is no [[workload.place]] named \"{place}\""),
                );
            }
        }
    }
}
