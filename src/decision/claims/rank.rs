//! Rankings: what comes first among things of one kind.

use std::ops::Range;

use super::Claim;
use super::items::{Is, Rank};
use super::speech::{Scene, Speech, Topic};
use crate::facts::SignalFacts;
use crate::site::Name;
use crate::units::{Finite, Unit};

impl Speech<'_> {
    /// Rankings: narrows "hottest inlet" to the one it is, and checks "hall A is the hottest".
    pub(super) fn rankings(&mut self, scene: &mut Scene<'_>) {
        for at in 0..scene.clause.items.len() {
            let Some(Is::Rank(rank)) = scene.is(at).cloned() else { continue };
            // "The hottest inlet's margin" ranks by temperature, "the smallest margin" by margin.
            let by_margin = matches!(rank, Rank::Highest | Rank::Lowest | Rank::Worst);
            let margin = by_margin && scene.any(|is| *is == Is::Margin);
            let subjects =
                || (0..scene.topics.len()).filter(|n| scene.topics.get(*n).is_some_and(Option::is_some));
            let target = subjects().find(|n| *n > at).or_else(|| subjects().rfind(|n| *n < at));
            let group = match target.and_then(|n| scene.topics.get(n)?.as_ref()) {
                Some(topic) if has_own_ends(topic) => continue,
                Some(topic) => self.ranked_among(topic),
                None if margin => self
                    .facts
                    .signals
                    .iter()
                    .filter(|s| s.margin().is_some())
                    .map(|s| s.name.clone())
                    .collect(),
                None => match self.carry.as_ref().map(|(t, _)| t) {
                    Some(topic) if has_own_ends(topic) => continue,
                    Some(topic) => self.ranked_among(topic),
                    None => Vec::new(),
                },
            };
            let span = Self::span(scene, at, target.unwrap_or(at).max(at));
            let first = match self.first_of(&group, rank, margin) {
                Ok(first) => first,
                Err(why) => {
                    self.check(Claim::Ranking, span, Err(why));
                    continue;
                }
            };
            let named: Vec<Topic> = scene
                .topics
                .iter()
                .flatten()
                .chain(target.is_none().then_some(self.carry.as_ref().map(|(t, _)| t)).flatten())
                .cloned()
                .collect();
            let particular =
                |t: &&Topic| t.signals.len() < group.len() && t.signals.iter().all(|n| group.contains(n));
            let verdict = named.iter().filter(|t| !t.signals.is_empty()).find(particular).map(|t| {
                let right = t.signals.iter().any(|n| first.contains(n));
                let names = || first.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                if right { Ok(()) } else { Err(format!("that is {}", names())) }
            });
            let only = Topic { signals: first, setpoints: Vec::new() };
            if let Some(slot) = scene.topics.get_mut(target.unwrap_or(at)) {
                *slot = Some(only);
            }
            if let Some(verdict) = verdict {
                self.check(Claim::Ranking, whole(scene, span), verdict);
            }
        }
    }

    /// A group as it is named, or all of the role of the one that is named.
    fn ranked_among(&self, topic: &Topic) -> Vec<Name> {
        if topic.signals.len() > 1 {
            return topic.signals.clone();
        }
        let role = topic.signals.first().and_then(|n| self.facts.signal(n)).and_then(|s| s.role);
        match role {
            None => topic.signals.clone(),
            Some(role) => {
                self.facts.signals.iter().filter(|s| s.role == Some(role)).map(|s| s.name.clone()).collect()
            }
        }
    }

    /// Those of a group that come first, ties included.
    fn first_of(&self, group: &[Name], rank: Rank, margin: bool) -> Result<Vec<Name>, String> {
        let signals: Vec<&SignalFacts> = group.iter().filter_map(|n| self.facts.signal(n)).collect();
        let unit = signals.first().map(|s| s.unit);
        if signals.is_empty() || signals.iter().any(|s| Some(s.unit) != unit) && !margin {
            return Err("it is not said among what".to_owned());
        }
        if matches!(rank, Rank::Hottest | Rank::Coldest) && unit != Some(Unit::DegC) {
            return Err("only temperatures are hot or cold".to_owned());
        }
        let measure = |s: &&SignalFacts| if margin { s.margin().map(|(_, m)| m) } else { s.value };
        let values: Vec<(&SignalFacts, Finite)> =
            signals.iter().filter_map(|s| Some((*s, measure(s)?))).collect();
        let lowest = matches!((rank, margin), (Rank::Lowest | Rank::Coldest, _) | (Rank::Worst, true));
        let best = if lowest { values.iter().map(|v| v.1).min() } else { values.iter().map(|v| v.1).max() };
        let best = best.ok_or_else(|| "there is no good value among them".to_owned())?;
        Ok(values.into_iter().filter(|(_, v)| *v == best).map(|(s, _)| s.name.clone()).collect())
    }
}

/// The maximum of a setpoint is its limit, not a ranking.
fn has_own_ends(topic: &Topic) -> bool {
    !topic.setpoints.is_empty() && topic.signals.len() <= 1
}

/// From the start of the clause: what is ranked may stand before the ranking.
fn whole(scene: &Scene<'_>, span: Range<usize>) -> Range<usize> {
    let first = scene.clause.items.first().map_or(span.start, |i| i.span.start);
    first.min(span.start)..span.end
}
