//! A second wording for a decision in which a claim does not hold.

use super::{Decision, check, schema_keeping};
use crate::facts::Facts;
use crate::reason::Request;

/// The question that led to `decision`, with its setpoints kept by the schema, and what it observed where that is
/// true. A better reason may be found for an action, another action may not.
#[must_use]
pub fn rewrite(asked: Request, facts: &Facts, decision: &Decision, attempt: u32) -> Request {
    let observed = Decision { rationale: String::new(), ..decision.clone() };
    let schema = schema_keeping(&asked.schema, decision, check(facts, &observed).verified);
    Request { schema, sampler: asked.sampler.varied(attempt), ..asked }
}
