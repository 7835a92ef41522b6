//! Inside and outside: "within limits", "outside its band".

use super::{Against, Is, Op, Prep, Said, Scene, Speech, Topic};
use crate::decision::claims::Claim;
use crate::facts::{BoundKind, SignalFacts};
use crate::prose::Number;
use crate::units::Finite;

impl Speech<'_> {
    /// "within limits", "outside its band", "within 1 K of the limit", "within 18 to 27".
    pub(super) fn inside(&mut self, scene: &mut Scene<'_>, at: usize, inside: bool) {
        let right = if scene.is(at + 1) == Some(&Is::Prep(Prep::Of)) { at + 2 } else { at + 1 };
        let (end, kind) = match scene.is(right) {
            Some(Is::Limit(_, kind)) => (right, *kind),
            Some(Is::Number(n)) if n.as_minutes().is_none() => {
                let number = *n;
                let of =
                    [right + 1, right + 2].into_iter().find(|n| matches!(scene.is(*n), Some(Is::Limit(..))));
                if let Some(end) = of.filter(|_| inside) {
                    scene.used.insert(right);
                    let result = self.near_limit(scene, at, right, number);
                    let span = Self::span(scene, at, end);
                    return self.check(Claim::Comparison, span, result);
                }
                let second =
                    [right + 1, right + 2].into_iter().find(|n| scene.is(*n).is_some_and(Is::is_amount));
                scene.bounds.insert(right);
                scene.bounds.extend(second);
                (second.unwrap_or(right), None)
            }
            _ => return,
        };
        let result = self.in_band(scene, at, end, kind, inside);
        let span = Self::span(scene, at, end);
        self.check(Claim::Comparison, span, result);
    }

    fn near_limit(&self, scene: &Scene<'_>, at: usize, right: usize, number: Number) -> Result<(), String> {
        let carried = self.carry.as_ref().map(|(t, _)| t);
        let topic = scene.topic_before(at).or(carried).ok_or_else(|| "it is not said what".to_owned())?;
        let said = Said { op: Op::AtMost, against: &Against::Number(number), margin: true };
        self.compare_signals(scene, [at, right], topic, said)
    }

    fn in_band(
        &self,
        scene: &Scene<'_>,
        at: usize,
        end: usize,
        kind: Option<BoundKind>,
        inside: bool,
    ) -> Result<(), String> {
        let carried = self.carry.as_ref().map(|(t, _)| t);
        let bounded = || Topic {
            signals: self
                .facts
                .signals
                .iter()
                .filter(|s| s.operating().next().is_some())
                .map(|s| s.name.clone())
                .collect(),
            setpoints: Vec::new(),
        };
        let topic = scene
            .topic_before(at)
            .or_else(|| scene.topic_after(end))
            .or(carried)
            .cloned()
            .unwrap_or_else(bounded);
        if topic.signals.is_empty() {
            // The schema keeps setpoints inside their limits.
            return if inside { Ok(()) } else { Err("setpoints are always inside their limits".to_owned()) };
        }
        let kind = kind.unwrap_or(BoundKind::Operating);
        let readings = self.readings(scene, &[at, end], &topic, inside)?;
        let mut found = String::new();
        for reading in &readings {
            let outside: Vec<String> =
                self.signals(&topic).filter_map(|s| out_of(s, reading.get(&s.name), kind)).collect();
            if outside.is_empty() == inside {
                return Ok(());
            }
            found = outside.join(", ");
        }
        Err(if inside { found } else { "all are inside".to_owned() })
    }
}

/// What of a signal is outside; `None` when all is inside, or nothing limits it.
fn out_of(s: &SignalFacts, values: Option<&Vec<Finite>>, kind: BoundKind) -> Option<String> {
    let Some(values) = values.filter(|v| !v.is_empty()) else {
        return Some(format!("{} has no value", s.name));
    };
    let mut bounds = s.bounds.iter().filter(|b| b.kind == kind).peekable();
    if bounds.peek().is_none() {
        return Some(format!("{} has no such limit", s.name));
    }
    bounds.find_map(|b| {
        let value = values.iter().find(|v| b.margin(**v) < Finite::ZERO)?;
        Some(format!("{} at {value} passes {}", s.name, b.value))
    })
}
