//! What one input leads to, collected in order.

use super::Effect;
use super::record::{Body, Event, EventRecord};
use crate::envelope::SafeAction;

/// Effects being collected for one input.
pub(super) struct Effects<'a> {
    pub(super) list: Vec<Effect>,
    pub(super) next_seq: &'a mut u64,
}

impl Effects<'_> {
    /// Returns the record's sequence number.
    pub(super) fn record(&mut self, body: Body) -> u64 {
        let seq = *self.next_seq;
        *self.next_seq += 1;
        self.list.push(Effect::Record(body));
        seq
    }

    pub(super) fn event(&mut self, event: Event, detail: impl Into<String>) -> u64 {
        self.record(Body::Event(EventRecord::new(event, detail)))
    }

    /// An event that is itself the intent of a write. Returns its sequence number.
    pub(super) fn event_and_write(
        &mut self,
        event: Event,
        detail: impl Into<String>,
        action: SafeAction,
    ) -> u64 {
        let shown = serde_json::to_value(&action).ok().map(Box::new);
        let seq = self.record(Body::Event(EventRecord { action: shown, ..EventRecord::new(event, detail) }));
        if !action.is_empty() {
            self.list.push(Effect::Write { intent: seq, action });
        }
        seq
    }
}
