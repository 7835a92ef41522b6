//! Sparkplug B on MQTT: reading from edge nodes ([`host`]), and being one ([`node`]).
//!
//! An edge node says once, at birth, what it measures; afterwards only what changes, by number and not by
//! name. So values are worth nothing without the birth before them, an unchanged value is a live one for as
//! long as its node lives, and a node's death takes all of its values with it.

pub mod host;
pub mod node;
mod payload;

pub use payload::{Metric, Payload, Value};

/// The namespace of every topic.
pub const NAMESPACE: &str = "spBv1.0";
/// The metric that asks a node for its births again.
const REBIRTH: &str = "Node Control/Rebirth";
/// Pairs a birth with the death that the broker says for it.
const BD_SEQ: &str = "bdSeq";

/// An edge node's address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId {
    pub group: String,
    pub node: String,
}

impl NodeId {
    fn topic(&self, kind: &str) -> String {
        format!("{NAMESPACE}/{}/{kind}/{}", self.group, self.node)
    }

    /// Everything that the node and its devices say.
    #[must_use]
    pub fn filter(&self) -> String {
        format!("{NAMESPACE}/{}/+/{}/#", self.group, self.node)
    }

    /// What asks the node for its births, and where.
    #[must_use]
    pub fn rebirth_request(&self, now_ms: u64) -> (String, Vec<u8>) {
        let rebirth = Metric::named(REBIRTH, Value::Boolean(true), now_ms);
        let payload = Payload { timestamp: Some(now_ms), metrics: vec![rebirth], seq: None };
        (self.topic("NCMD"), payload.to_bytes())
    }
}
