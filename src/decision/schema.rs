//! The JSON Schema of one site's decisions. It is what constrains the model, so it holds only keywords that
//! llguidance implements, and those in the order in which the properties are to be generated.
//!
//! A setpoint is an `enum` of all its values, not a range with `multipleOf`: the enumeration counts steps
//! from the minimum whatever that is, gives every value exactly one spelling (a range admits `8.5`, `8.50`,
//! `8.500`, …), and also binds backends that ignore `minimum` and `maximum` of a number, as llama.cpp's own
//! grammar does. The range is stated beside it for readers.

use serde_json::{Map, Value, json};

use super::{Decision, MAX_ASSESSMENT, MAX_EVIDENCE, MAX_RATIONALE};
use crate::facts::needed_decimals;
use crate::site::{Setpoint, Site};
use crate::units::Finite;

#[must_use]
pub fn schema(site: &Site) -> Value {
    let signals: Vec<&str> = site.signals.iter().map(|s| s.name.as_str()).collect();
    let lowest = site.signals.iter().map(|s| s.range[0]).min().unwrap_or(Finite::ZERO);
    let highest = site.signals.iter().map(|s| s.range[1]).max().unwrap_or(Finite::ZERO);
    let setpoints: Map<String, Value> =
        site.setpoints.iter().map(|s| (s.name.to_string(), setpoint(s))).collect();
    let names: Vec<&str> = site.setpoints.iter().map(|s| s.name.as_str()).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("Decision for {}", site.name),
        "type": "object",
        "properties": {
            "assessment": { "type": "string", "minLength": 1, "maxLength": MAX_ASSESSMENT },
            "evidence": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_EVIDENCE,
                "items": {
                    "type": "object",
                    "properties": {
                        "signal": { "type": "string", "enum": signals },
                        "value": { "type": "number", "minimum": number(lowest), "maximum": number(highest) },
                        "trend": { "type": "string", "enum": ["rising", "falling", "steady"] },
                    },
                    "required": ["signal", "value", "trend"],
                    "additionalProperties": false,
                },
            },
            "setpoints": {
                "type": "object",
                "properties": setpoints,
                "required": names,
                "additionalProperties": false,
            },
            "rationale": { "type": "string", "minLength": 1, "maxLength": MAX_RATIONALE },
        },
        "required": ["assessment", "evidence", "setpoints", "rationale"],
        "additionalProperties": false,
    })
}

/// The same with a decision's setpoints fixed, and `observed` what it observed too: what is left to write is why.
pub(super) fn schema_keeping(schema: &Value, decision: &Decision, observed: bool) -> Value {
    let mut schema = schema.clone();
    let properties = &mut schema["properties"];
    for (name, value) in &decision.setpoints {
        properties["setpoints"]["properties"][name.as_str()]["enum"] = json!([number(*value)]);
    }
    if observed {
        properties["assessment"] = json!({ "const": decision.assessment });
        let evidence: Vec<Value> = decision
            .evidence
            .iter()
            .map(|e| json!({ "signal": e.signal, "value": number(e.value), "trend": e.trend }))
            .collect();
        properties["evidence"] = json!({ "const": evidence });
    }
    schema
}

fn setpoint(s: &Setpoint) -> Value {
    let values: Vec<Value> = choices(s.min, s.max, s.step).into_iter().map(number).collect();
    json!({
        "description": format!("{}, steps of {}", s.unit, s.step),
        "type": "number",
        "minimum": number(s.min),
        "maximum": number(s.max),
        "enum": values,
    })
}

/// Every value that the model may choose for a setpoint: steps counted from the minimum.
pub(super) fn choices(min: Finite, max: Finite, step: Finite) -> Vec<Finite> {
    let decimals = needed_decimals(min).max(needed_decimals(step));
    let count = ((max.get() - min.get()) / step.get() + 1e-6).floor();
    // The site's own check allows 2000 steps at most.
    (0..=count.clamp(0.0, 2000.0) as u32)
        .map(|i| min.plus(f64::from(i) * step.get()).rounded(decimals))
        .collect()
}

/// As a regular expression that matches nothing else.
pub(super) fn literally(text: &str) -> String {
    text.chars()
        .flat_map(|c| (!c.is_alphanumeric() && c != ' ' && c != '_').then_some('\\').into_iter().chain([c]))
        .collect()
}

/// A whole number without a decimal point, which is also how it is shown to the model.
pub(super) fn number(value: Finite) -> Value {
    let whole = value.get().round();
    if (whole - value.get()).abs() < 1e-9 && whole.abs() < 1e15 { json!(whole as i64) } else { json!(value) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::facts::example;

    #[test]
    fn fields_come_in_the_order_of_thought_and_setpoints_are_exactly_the_configured() {
        let schema = schema(&example::site());
        let keys: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["assessment", "evidence", "setpoints", "rationale"]);
        assert_eq!(
            schema["properties"]["setpoints"]["required"],
            json!(["chws_sp", "crah_supply_sp", "chw_dp_sp"])
        );
        let chws = &schema["properties"]["setpoints"]["properties"]["chws_sp"]["enum"];
        assert_eq!(chws.as_array().unwrap().len(), 21);
        assert_eq!((&chws[0], &chws[1], &chws[20]), (&json!(6), &json!(6.5), &json!(16)));
    }

    #[test]
    fn steps_are_counted_from_the_minimum() {
        let mut s = example::site().setpoints[0].clone();
        s.min = Finite::constant(6.1);
        s.step = Finite::constant(0.2);
        let values = choices(s.min, s.max, s.step);
        assert_eq!(values[..3], [6.1, 6.3, 6.5].map(Finite::constant));
        assert_eq!(values.last(), Some(&Finite::constant(15.9)));
    }

    /// The constrainer itself, byte by byte: what it accepts and refuses.
    #[cfg(feature = "llama")]
    pub(in crate::decision) mod constrained {
        use super::*;
        use llguidance::api::TopLevelGrammar;
        use llguidance::toktrie::ApproximateTokEnv;
        use llguidance::{Matcher, ParserFactory};

        fn accepts(text: &str) -> bool {
            allows(schema(&example::site()), text)
        }

        pub(in crate::decision) fn allows(mut schema: Value, text: &str) -> bool {
            schema["x-guidance"] = json!({ "whitespace_flexible": false });
            let grammar = TopLevelGrammar::from_json_schema(schema);
            let env = ApproximateTokEnv::single_byte_env();
            let factory = ParserFactory::new_simple(&env).unwrap();
            let mut matcher = Matcher::new(factory.create_parser(grammar));
            assert!(!matcher.is_error(), "{:?}", matcher.get_error());
            let tokens: Vec<u32> = text.bytes().map(u32::from).collect();
            matcher.validate_tokens(&tokens).unwrap() == tokens.len()
        }

        fn reply(setpoints: &str) -> String {
            format!(
                "{{\"assessment\":\"a\",\"evidence\":[{{\"signal\":\"chws\",\"value\":9.1,\"trend\":\"steady\"}}],\"setpoints\":{setpoints},\"rationale\":\"r\"}}"
            )
        }

        #[test]
        fn what_is_kept_leaves_the_reasons_alone_open() {
            let site = example::site();
            let text = |a: &str, value: &str, chws: &str, r: &str| {
                reply(&format!("{{\"chws_sp\":{chws},\"crah_supply_sp\":20,\"chw_dp_sp\":150}}"))
                    .replace("\"a\"", &format!("\"{a}\""))
                    .replace("9.1", value)
                    .replace("\"r\"", &format!("\"{r}\""))
            };
            let before = crate::decision::parse(&site, &text("a", "9.1", "8.5", "r")).unwrap();
            for observed in [true, false] {
                let check = |what: &str, a, value, chws, r, expected| {
                    let schema = schema_keeping(&schema(&site), &before, observed);
                    assert_eq!(allows(schema, &text(a, value, chws, r)), expected, "{what}, {observed}");
                };
                check("the same", "a", "9.1", "8.5", "r", true);
                check("another reason", "a", "9.1", "8.5", "since it is so", true);
                check("another action", "a", "9.1", "9", "r", false);
                check("another assessment", "b", "9.1", "8.5", "r", !observed);
                check("other evidence", "a", "9.2", "8.5", "r", !observed);
            }
        }

        #[test]
        fn only_choices_in_their_one_spelling() {
            let check = |chws: &str, expected| {
                let text = reply(&format!("{{\"chws_sp\":{chws},\"crah_supply_sp\":20,\"chw_dp_sp\":150}}"));
                assert_eq!(accepts(&text), expected, "{chws}");
            };
            for good in ["6", "8.5", "16"] {
                check(good, true);
            }
            for bad in ["5.5", "16.5", "8.3", "8.50", "8.0", "-8", "8e0", "\"8\"", "null"] {
                check(bad, false);
            }
            assert!(!accepts(&reply("{\"chws_sp\":8,\"chw_dp_sp\":150,\"crah_supply_sp\":20}")), "order");
            assert!(!accepts(&reply("{\"chws_sp\":8,\"crah_supply_sp\":20}")), "all of them");
        }
    }
}
