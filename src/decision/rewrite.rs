//! A second wording for a decision in which a claim does not hold.

use serde_json::json;

use super::{Claim, Decision, check, order, schema_keeping};
use crate::facts::Facts;
use crate::reason::Request;

/// The question that led to `decision`, under the site's own schema, with its setpoints kept by the schema, and what
/// it observed where that is true. The rationale then begins with what is done, as it is; why is left to say. A better
/// reason may be found for an action, another action may not: `None` where the setpoints do not keep the order as it
/// was read, which other reasons do not make true.
#[must_use]
pub fn rewrite(asked: Request, facts: &Facts, decision: &Decision, attempt: u32) -> Option<Request> {
    let observed = Decision { rationale: String::new(), ..decision.clone() };
    let claims = check(facts, &observed);
    if claims.checks.iter().any(|c| !c.holds && c.kind == Claim::Order) {
        return None;
    }
    let observed = claims.verified;
    let mut schema = schema_keeping(&asked.schema, decision, observed);
    if !observed && let Some((Ok(reading), _)) = order::read_as(facts, &decision.assessment) {
        schema["properties"]["assessment"] = order::assessment(&[reading]);
    }
    if let Some(pattern) = asked.account.as_ref().and_then(|a| a.rationale(&decision.setpoints)) {
        schema["properties"]["rationale"] = json!({ "type": "string", "pattern": format!("^{pattern}$") });
    }
    // The schema says what is done already, to servers too.
    Some(Request { schema, account: None, sampler: asked.sampler.varied(attempt), ..asked })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::decision::{Account, parse, schema};
    use crate::facts::example;
    use crate::reason::Sampler;
    use crate::site::Model;

    /// A question of the example site without a prompt.
    pub(in crate::decision) fn asked(facts: &Facts) -> Request {
        let model = Model::default();
        Request {
            prefix: String::new(),
            body: String::new(),
            schema: schema(&example::site()),
            account: Some(Account::new(facts)),
            sampler: Sampler::of(&model),
            deadline: model.deadline,
        }
    }

    fn rewritten(rationale: &str, chws: &str) -> (Value, Facts, Decision) {
        let facts = example::facts(&[]);
        let text = format!(
            r#"{{"assessment":"all is calm","evidence":[{{"signal":"chws","value":9.1,"trend":"steady"}}],"setpoints":{{"chws_sp":{chws},"crah_supply_sp":20,"chw_dp_sp":160}},"rationale":"{rationale}"}}"#
        );
        let decision = parse(&example::site(), &text).unwrap();
        (rewrite(asked(&facts), &facts, &decision, 1).unwrap().schema, facts, decision)
    }

    #[test]
    fn what_is_done_is_said_as_it_is() {
        let (schema, facts, decision) = rewritten("Raise chws_sp", "8.5");
        assert!(!check(&facts, &decision).verified);
        let said = "Raise chw_dp_sp to 160, lower chws_sp to 8.5";
        assert!(check(&facts, &Decision { rationale: format!("{said}."), ..decision }).verified);
        let pattern = schema["properties"]["rationale"]["pattern"].as_str().unwrap();
        assert!(pattern.starts_with("^Raise chw_dp_sp to 160\\, lower chws_sp to 8\\.5\\. "), "{pattern}");
    }

    #[cfg(feature = "llama")]
    #[test]
    fn the_constrainer_lets_the_reason_alone_be_chosen() {
        use crate::decision::MAX_RATIONALE;
        use crate::decision::schema::tests::constrained::allows;
        let said = "Raise chw_dp_sp to 160, lower chws_sp to 8.5";
        let (schema, _, decision) = rewritten("Raise chws_sp", "8.5");
        let reply = |rationale: &str| {
            let mut evidence = serde_json::to_value(&decision.evidence).unwrap();
            evidence[0]["value"] = json!(9.1);
            format!(
                r#"{{"assessment":"all is calm","evidence":{evidence},"setpoints":{{"chws_sp":8.5,"crah_supply_sp":20,"chw_dp_sp":160}},"rationale":"{rationale}"}}"#
            )
        };
        assert!(allows(schema.clone(), &reply(&format!("{said}. The inlet has only 0.9 K of margin."))));
        for other in ["Raise chws_sp to 8.5. It is so.", said, "It is so."] {
            assert!(!allows(schema.clone(), &reply(other)), "{other}");
        }
        let long = format!("{said}. {}", "x".repeat(MAX_RATIONALE));
        assert!(!allows(schema, &reply(&long)));
    }
}
