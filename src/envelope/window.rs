use super::verdict::{Rule, Touch};
use crate::site::Name;
use crate::units::Finite;

/// The values that one setpoint may take, and the one it would take now.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) low: Finite,
    pub(super) high: Finite,
    /// The proposal as far as the rules so far let it come.
    pub(super) value: Finite,
    /// The bounds before the first rule that had nothing in common with those before it.
    outer: Option<(Finite, Finite)>,
}

impl Window {
    pub(super) fn new(low: Finite, high: Finite, proposed: Finite) -> Self {
        Self { low, high, value: proposed, outer: None }
    }

    /// The rules so far must hold wherever the setpoint is now: if it is outside, all of the window is open
    /// to a register value, whatever later rules leave of it.
    pub(super) fn insist(&mut self, current: Finite) {
        if current < self.low || current > self.high {
            self.outer.get_or_insert((self.low, self.high));
        }
    }

    /// Where a register value may lie: in the window; and where that has shrunk to an edge between two
    /// register values, anywhere that the rules before it allow, so that a register's coarseness neither
    /// keeps a setpoint out of its limits nor stops it on its way to where a later rule wants it.
    pub(super) fn bounds(&self) -> impl Iterator<Item = (Finite, Finite)> {
        std::iter::once((self.low, self.high)).chain(self.outer)
    }

    /// Narrows to the part inside `[low, high]`; where they have nothing in common, to the edge that is
    /// nearest, because an earlier rule is not given up for a later one. Says so if the value moved.
    pub(super) fn narrow(
        &mut self,
        rule: Rule,
        setpoint: &Name,
        low: Finite,
        high: Finite,
        why: &str,
        touched: &mut Vec<Touch>,
    ) {
        let before = (self.low, self.high);
        let (low, high) = if high < self.low {
            self.outer.get_or_insert(before);
            (self.low, self.low)
        } else if low > self.high {
            self.outer.get_or_insert(before);
            (self.high, self.high)
        } else {
            (self.low.max(low), self.high.min(high))
        };
        if low == high && before.0 < before.1 {
            // One number, which the register may not be able to hold.
            self.outer.get_or_insert(before);
        }
        self.low = low;
        self.high = high;
        let to = self.value.max(low).min(high);
        if to != self.value {
            let limit = if to == low { low } else { high };
            touched.push(Touch {
                rule,
                setpoint: Some(setpoint.clone()),
                from: Some(self.value),
                to: Some(to),
                limit: Some(limit),
                why: why.to_owned(),
            });
            self.value = to;
        }
    }

    /// Moves the value without narrowing, staying inside.
    pub(super) fn adjust(
        &mut self,
        rule: Rule,
        setpoint: &Name,
        to: Finite,
        limit: Option<Finite>,
        why: &str,
        touched: &mut Vec<Touch>,
    ) {
        let to = to.max(self.low).min(self.high);
        if to != self.value {
            touched.push(Touch {
                rule,
                setpoint: Some(setpoint.clone()),
                from: Some(self.value),
                to: Some(to),
                limit,
                why: why.to_owned(),
            });
            self.value = to;
        }
    }
}
