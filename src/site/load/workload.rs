//! Where jobs are announced and put.

use std::collections::BTreeSet;

use super::check::Checker;
use super::spot::Spot;
use crate::site::{Site, Source};
use crate::units::Finite;

impl Checker {
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
        for (i, place) in w.places.iter().enumerate() {
            let of = Spot::entry("workload.place", i, &place.name);
            if !seen.insert(place.name.as_str()) {
                self.say(of.clone(), "is defined twice");
            }
            if place.capacity_kw <= Finite::ZERO {
                self.say(of.at("capacity_kw"), "expected more than 0 kW");
            }
        }
        for (i, signal) in site.signals.iter().enumerate() {
            if let Some(place) = signal.place.as_ref().filter(|p| !seen.contains(p.as_str())) {
                self.say(
                    Spot::entry("signal", i, &signal.name).at("place"),
                    format!("there is no [[workload.place]] named \"{place}\""),
                );
            }
        }
    }
}
