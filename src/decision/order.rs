//! Under an order a reply begins with how it was read, and what was read binds the setpoints: for the schema, which
//! then leaves only values that keep it, and for the check of a reply that no schema held.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::claims::{Check, Claim};
use super::schema::{choices, literally, number};
use super::{Decision, MAX_ASSESSMENT};
use crate::directive::reading::{HEADING, HEADING_END, Reading, split_heading};
use crate::envelope::Limit;
use crate::facts::{Facts, SetpointFacts};
use crate::site::Name;
use crate::units::Finite;

/// A site's schema as it is while directives are in force: an alternative for each way to keep what they may mean.
/// Readings that leave the same values share one.
#[must_use]
pub fn schema_under(schema: &Value, facts: &Facts) -> Value {
    if facts.readings.is_empty() {
        return schema.clone();
    }
    let mut ways: Vec<(Value, Vec<&Reading>)> = Vec::new();
    for reading in &facts.readings {
        for limits in reading.ways(facts) {
            // What the guard enforces anyhow is not left to be proposed, whatever was read.
            let left = setpoints(schema, facts, &[limits, facts.sure.clone()].concat());
            match ways.iter_mut().find(|(known, _)| *known == left) {
                Some((_, readings)) => readings.push(reading),
                None => ways.push((left, vec![reading])),
            }
        }
    }
    let alternatives = ways.into_iter().map(|(setpoints, readings)| {
        let mut properties = schema["properties"].clone();
        properties["assessment"] = assessment(&readings);
        properties["evidence"] = json!({ "$ref": "#/$defs/evidence" });
        properties["setpoints"] = setpoints;
        json!({
            "type": "object",
            "properties": properties,
            "required": schema["required"],
            "additionalProperties": false,
        })
    });
    json!({
        "$schema": schema["$schema"],
        "title": schema["title"],
        "$defs": { "evidence": schema["properties"]["evidence"] },
        "anyOf": alternatives.collect::<Vec<_>>(),
    })
}

/// An assessment that begins with one of these readings.
pub(super) fn assessment(readings: &[&Reading]) -> Value {
    let said: Vec<String> = readings.iter().map(|r| literally(&r.to_string())).collect();
    let longest = readings.iter().map(|r| r.heading().len()).max().unwrap_or_default();
    let left = MAX_ASSESSMENT.saturating_sub(longest + 2).max(1);
    let pattern = format!("^{HEADING}({}){HEADING_END} [^\"\\\\\\n]{{1,{left}}}$", said.join("|"));
    json!({ "type": "string", "pattern": pattern })
}

/// The schema of the setpoints with the values that limits leave.
fn setpoints(schema: &Value, facts: &Facts, limits: &[Limit]) -> Value {
    let mut of_all = schema["properties"]["setpoints"].clone();
    for s in &facts.setpoints {
        let values: Vec<Value> = allowed(s, limits).into_iter().map(number).collect();
        of_all["properties"][s.name.as_str()]["enum"] = json!(values);
    }
    of_all
}

/// The values of a setpoint that keep all limits; where no step of it does, the one that comes closest.
fn allowed(s: &SetpointFacts, limits: &[Limit]) -> Vec<Finite> {
    let own: Vec<&Limit> = limits.iter().filter(|l| l.setpoint == s.name).collect();
    let past = |value: Finite| -> Finite {
        let apart = |from: Finite, by: f64| Finite::ZERO.max(from.plus(by));
        let each = own.iter().flat_map(|l| {
            let held = s.present.filter(|_| l.hold);
            [
                held.map(|p| apart(value, -p.get()).max(apart(p, -value.get()))),
                l.floor.map(|f| apart(f, -value.get())),
                l.ceiling.map(|c| apart(value, -c.get())),
            ]
        });
        each.flatten().max().unwrap_or(Finite::ZERO).rounded(6)
    };
    let all = choices(s.min, s.max, s.step);
    let least = all.iter().map(|v| past(*v)).min().unwrap_or(Finite::ZERO);
    all.into_iter().filter(|v| past(*v) == least).collect()
}

/// How a decision read its order, where an order in force can mean that, and the rest of its assessment.
pub(super) fn read_as<'a>(
    facts: &'a Facts,
    assessment: &'a str,
) -> Option<(Result<&'a Reading, &'a str>, &'a str)> {
    let (said, rest) = split_heading(assessment)?;
    let reading = facts.readings.iter().find(|r| r.to_string() == said);
    Some((reading.ok_or(said), rest))
}

/// The check of what a reply says of its order, and the text that is left to check.
pub(super) fn check<'a>(
    facts: &'a Facts,
    decision: &'a Decision,
    chosen: &BTreeMap<Name, Finite>,
) -> (Option<Check>, &'a str) {
    let Some((reading, rest)) = read_as(facts, &decision.assessment) else {
        return (None, &decision.assessment);
    };
    let (said, found) = match reading {
        Err(said) if facts.readings.is_empty() => (said.to_owned(), "no order is in force".to_owned()),
        Err(said) => (said.to_owned(), "no order in force can mean that".to_owned()),
        Ok(reading) => {
            let breaks = |limits: &Vec<Limit>| {
                facts.setpoints.iter().find(|s| {
                    chosen
                        .get(&s.name)
                        .is_some_and(|to| !allowed(s, limits).iter().any(|v| s.shown(*v) == *to))
                })
            };
            let ways = reading.ways(facts);
            let broken: Option<Vec<_>> = ways.iter().map(breaks).collect();
            let found = broken.and_then(|b| b.first().map(|s| format!("{} does not keep to that", s.name)));
            (reading.to_string(), found.unwrap_or_default())
        }
    };
    let claim = format!("{HEADING}{said}");
    (Some(Check { kind: Claim::Order, claim, holds: found.is_empty(), found }), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::rewrite::tests::asked;
    use crate::decision::{self, schema};
    use crate::directive;
    use crate::facts::example;

    /// The example site, whose setpoints are at 9, 20 and 150, under a directive.
    fn under(text: &str) -> Facts {
        let (site, now) = (example::site(), example::frame(0, &[]).time);
        let directive = directive::understand(&site, now, "eva", text, None).unwrap();
        example::facts(&[directive])
    }

    fn reply(assessment: &str, [chws, crah, dp]: [&str; 3]) -> String {
        format!(
            r#"{{"assessment":"{assessment}","evidence":[{{"signal":"chws","value":9.1,"trend":"steady"}}],"setpoints":{{"chws_sp":{chws},"crah_supply_sp":{crah},"chw_dp_sp":{dp}}},"rationale":"r"}}"#
        )
    }

    /// Whether the check lets it pass; the schema, where it is built, has to agree.
    fn passes(facts: &Facts, assessment: &str, setpoints: [&str; 3]) -> bool {
        let text = reply(assessment, setpoints);
        let decision = decision::parse(&example::site(), &text).unwrap();
        let checked = decision::check(facts, &decision).checks;
        let holds = checked.iter().filter(|c| c.kind == Claim::Order).all(|c| c.holds);
        #[cfg(feature = "llama")]
        {
            use crate::decision::schema::tests::constrained::allows;
            let schema = schema_under(&schema(&example::site()), facts);
            assert_eq!(allows(schema, &text), holds, "{text}");
        }
        holds
    }

    #[test]
    fn what_was_read_binds_what_is_set() {
        let facts = under("the chilled water is fine as it is, hands off, the 12 o'clock crew says");
        let check = |reading: &str, setpoints, expected| {
            let assessment = format!("Order: {reading}; all is calm");
            assert_eq!(passes(&facts, &assessment, setpoints), expected, "{reading} {setpoints:?}");
        };
        check("leave chws_sp", ["9", "22", "160"], true);
        check("leave chws_sp", ["9.5", "20", "150"], false);
        check("leave all", ["9", "20", "150"], true);
        check("leave all", ["9", "20", "160"], false);
        check("no colder", ["9.5", "20", "140"], true);
        check("no colder", ["8.5", "20", "150"], false);
        check("no colder", ["9", "20", "160"], false);
        check("no warmer", ["8.5", "20", "160"], true);
        check("no warmer", ["9", "20", "140"], false);
        check("floor 12 for chws_sp", ["12.5", "20", "150"], true);
        check("floor 12 for chws_sp", ["11.5", "20", "150"], false);
        check("value 12 for chws_sp", ["12", "20", "150"], true);
        check("one move each time", ["9.5", "20", "150"], true);
        check("one move each time", ["9.5", "21", "150"], false);
        check("nothing for the setpoints", ["6", "24", "200"], true);
        // 13 was not said, and 12 is no pressure that can be set.
        check("floor 13 for chws_sp", ["14", "20", "150"], false);
        check("floor 12 for chw_dp_sp", ["8", "20", "150"], false);
        check("do as you like", ["8", "20", "150"], false);
    }

    #[test]
    fn what_the_guards_reader_is_sure_of_is_not_read_again() {
        let facts = under("keep chilled water at or above 10");
        let names: Vec<String> = facts.readings.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["floor 10 for chws_sp"]);
        assert!(passes(&facts, "Order: floor 10 for chws_sp; calm", ["10", "20", "150"]));
        assert!(!passes(&facts, "Order: no colder; calm", ["10", "20", "150"]));
    }

    #[cfg(feature = "llama")]
    #[test]
    fn beside_another_order_the_guards_limits_stay() {
        use crate::decision::schema::tests::constrained::allows;
        let mut facts = under("leave the air alone, will you");
        facts.sure = under("keep chilled water at or above 10").sure;
        let schema = schema_under(&schema(&example::site()), &facts);
        let check = |setpoints, expected| {
            let text = reply("Order: leave crah_supply_sp; calm", setpoints);
            assert_eq!(allows(schema.clone(), &text), expected, "{setpoints:?}");
        };
        check(["10", "20", "150"], true);
        check(["9.5", "20", "150"], false);
        check(["10", "20.5", "150"], false);
    }

    #[test]
    fn what_breaks_its_own_order_is_not_given_other_reasons() {
        let facts = under("leave the air alone, will you");
        let again = |crah: &str| {
            let text = reply("Order: leave crah_supply_sp; calm", ["9", crah, "150"]).replace("9.1", "30");
            let decision = decision::parse(&example::site(), &text).unwrap();
            decision::rewrite(asked(&facts), &facts, &decision, 1)
        };
        let schema = again("20").unwrap().schema;
        let pattern = schema["properties"]["assessment"]["pattern"].as_str().unwrap();
        assert!(pattern.starts_with("^Order: (leave crah_supply_sp); "), "{pattern}");
        assert_eq!(again("20.5"), None);
    }

    #[test]
    fn a_text_of_many_numbers_has_few_readings() {
        let numbers: Vec<String> = (80..110).map(|n| n.to_string()).collect();
        let facts = under(&format!("pressures seen: {}", numbers.join(" ")));
        assert!(facts.readings.len() < 80, "{}", facts.readings.len());
        assert!(facts.readings.contains(&Reading::LeaveAll));
    }

    #[test]
    fn without_a_directive_there_is_no_reading() {
        let mut facts = under("hold");
        facts.readings.clear();
        let text = reply("Order: no colder; calm", ["8", "20", "150"]);
        let decision = decision::parse(&example::site(), &text).unwrap();
        let check = decision::check(&facts, &decision);
        assert_eq!(check.failing().map(|c| c.found.as_str()), Some("no order is in force"));
        let own = schema(&example::site());
        assert_eq!(schema_under(&own, &facts), own);
    }
}
