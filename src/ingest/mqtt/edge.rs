//! Which metric of which edge node is which signal.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::ingest::payload::is_plausible;
use crate::ingest::{Origin, Reading};
use crate::site::{Name, Site, Source};
use crate::sparkplug::NodeId;
use crate::sparkplug::host::{MetricId, Sampled};
use crate::units::Unit;

/// The signals of a site that come from edge nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges(BTreeMap<NodeId, BTreeMap<MetricId, Vec<Wanted>>>);

#[derive(Clone, Debug)]
struct Wanted {
    name: Name,
    wire: Unit,
}

impl Edges {
    pub(super) fn new(site: &Site) -> Self {
        let mut edges = Self::default();
        for signal in &site.signals {
            let Source::Sparkplug(source) = &signal.source else { continue };
            let Some((node, device)) = source.node() else { continue };
            let metric = MetricId { device, name: source.metric.clone() };
            let wanted = Wanted { name: signal.name.clone(), wire: source.unit.unwrap_or(signal.unit) };
            edges.0.entry(node).or_default().entry(metric).or_default().push(wanted);
        }
        edges
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeId> {
        self.0.keys()
    }

    /// A value as readings of the signals that want it. `fresh`: it is as it was, and its node lives.
    pub(super) fn readings(
        &self,
        node: &NodeId,
        metric: &MetricId,
        value: &Sampled,
        received: Timestamp,
        fresh: bool,
    ) -> Vec<Reading> {
        let wanted = self.0.get(node).and_then(|metrics| metrics.get(metric));
        let said = value.time_ms.filter(|_| !fresh).and_then(|ms| i64::try_from(ms).ok());
        let time = said.and_then(|ms| Timestamp::from_millisecond(ms).ok()).filter(is_plausible);
        let reading = |w: &Wanted| Reading {
            name: w.name.clone(),
            value: value.value,
            unit: w.wire,
            time: time.unwrap_or(received),
            received,
            origin: Origin { flagged: value.flagged, timed: time.is_some(), ..Origin::default() },
        };
        wanted.into_iter().flatten().map(reading).collect()
    }

    /// The signals that want a metric.
    pub(super) fn names_of(&self, node: &NodeId, metric: &MetricId) -> Vec<&Name> {
        let wanted = self.0.get(node).and_then(|metrics| metrics.get(metric));
        wanted.into_iter().flatten().map(|w| &w.name).collect()
    }

    /// The signals of a node, or of one of its devices.
    pub(super) fn names(&self, node: &NodeId, device: Option<&str>) -> Vec<&Name> {
        let metrics = self.0.get(node).into_iter().flatten();
        let of = metrics.filter(|(id, _)| device.is_none() || id.device.as_deref() == device);
        of.flat_map(|(_, wanted)| wanted.iter().map(|w| &w.name)).collect()
    }
}
