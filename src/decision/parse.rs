//! Reads a reply without any leniency. The schema that constrained the model is not the safety check: a
//! reply is believed only after this.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::schema::choices;
use super::{Decision, Evidence, MAX_ASSESSMENT, MAX_EVIDENCE, MAX_RATIONALE, Trend};
use crate::site::{Name, Site};
use crate::units::Finite;

/// Why a reply is no decision of this site.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[error("{path}: expected {expected}, found {found}")]
pub struct Rejected {
    /// `$.setpoints.chws_sp`
    pub path: String,
    pub expected: String,
    pub found: String,
}

/// Reads a reply: exactly the fields and setpoints of the site, each value one of its steps.
pub fn parse(site: &Site, text: &str) -> Result<Decision, Rejected> {
    let root = At { path: "$".to_owned(), node: serde_json::from_str(text).map_err(|e| not_json(&e, text))? };
    let [assessment, evidence, setpoints, rationale] =
        root.fields(["assessment", "evidence", "setpoints", "rationale"])?;
    Ok(Decision {
        assessment: assessment.text(MAX_ASSESSMENT)?,
        evidence: evidence
            .items(MAX_EVIDENCE)?
            .iter()
            .map(|e| read_evidence(site, e))
            .collect::<Result<_, _>>()?,
        setpoints: read_setpoints(site, &setpoints)?,
        rationale: rationale.text(MAX_RATIONALE)?,
    })
}

fn not_json(error: &serde_json::Error, text: &str) -> Rejected {
    let shown: String = text.chars().take(60).collect();
    Rejected { path: "$".to_owned(), expected: format!("JSON ({error})"), found: format!("{shown:?}") }
}

fn read_evidence(site: &Site, at: &At) -> Result<Evidence, Rejected> {
    let [signal, value, trend] = at.fields(["signal", "value", "trend"])?;
    let name = signal.text(48)?;
    let known = site.signals.iter().find(|s| s.name == *name.as_str());
    let Some(known) = known else { return Err(signal.rejected("a signal of the site")) };
    let trend = match trend.text(16)?.as_str() {
        "rising" => Trend::Rising,
        "falling" => Trend::Falling,
        "steady" => Trend::Steady,
        _ => return Err(trend.rejected("\"rising\", \"falling\" or \"steady\"")),
    };
    Ok(Evidence { signal: known.name.clone(), value: value.number()?, trend })
}

fn read_setpoints(site: &Site, at: &At) -> Result<BTreeMap<Name, Finite>, Rejected> {
    let names: Vec<&str> = site.setpoints.iter().map(|s| s.name.as_str()).collect();
    let values = at.exactly(&names)?;
    let chosen = site.setpoints.iter().zip(values).map(|(setpoint, at)| {
        let given = at.number()?;
        let choice = choices(setpoint.min, setpoint.max, setpoint.step)
            .into_iter()
            .find(|c| (c.get() - given.get()).abs() < 1e-6);
        choice.map(|c| (setpoint.name.clone(), c)).ok_or_else(|| {
            at.rejected(&format!(
                "{} to {} {} in steps of {}",
                setpoint.min, setpoint.max, setpoint.unit, setpoint.step
            ))
        })
    });
    chosen.collect()
}

/// JSON that remembers a key given twice, which a map would silently merge.
#[derive(Clone, Debug)]
enum Node {
    Null,
    Bool(bool),
    Number(Finite),
    /// A number that no `Finite` can hold.
    Unbounded,
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// A node and where it is.
#[derive(Debug)]
struct At {
    path: String,
    node: Node,
}

impl At {
    fn rejected(&self, expected: &str) -> Rejected {
        Rejected { path: self.path.clone(), expected: expected.to_owned(), found: self.node.to_string() }
    }

    fn fields<const N: usize>(&self, names: [&str; N]) -> Result<[At; N], Rejected> {
        let found = self.exactly(&names)?;
        <[At; N]>::try_from(found).map_err(|_| self.rejected(&format!("the fields {}", names.join(", "))))
    }

    /// The values of an object that has exactly these keys, each once; in the order of `names`.
    fn exactly(&self, names: &[&str]) -> Result<Vec<At>, Rejected> {
        let Node::Object(entries) = &self.node else { return Err(self.rejected("an object")) };
        let mut seen = BTreeSet::new();
        for (key, _) in entries {
            let refuse = |expected: String| {
                let found = format!("{:?}", key.chars().take(60).collect::<String>());
                Err(Rejected { path: self.path.clone(), expected, found })
            };
            if !names.contains(&key.as_str()) {
                return refuse(format!("only the keys {}", names.join(", ")));
            }
            if !seen.insert(key) {
                return refuse("every key once".to_owned());
            }
        }
        let value = |name: &&str| {
            let node = entries.iter().find(|(key, _)| key == name).map(|(_, node)| node.clone());
            let path = format!("{}.{name}", self.path);
            node.map(|node| At { path: path.clone(), node }).ok_or_else(|| Rejected {
                path,
                expected: "a value".to_owned(),
                found: "nothing".to_owned(),
            })
        };
        names.iter().map(value).collect()
    }

    fn items(&self, most: usize) -> Result<Vec<At>, Rejected> {
        let Node::List(list) = &self.node else { return Err(self.rejected("a list")) };
        if !(1..=most).contains(&list.len()) {
            return Err(self.rejected(&format!("a list of 1 to {most}")));
        }
        let at = |(i, node): (usize, &Node)| At { path: format!("{}[{i}]", self.path), node: node.clone() };
        Ok(list.iter().enumerate().map(at).collect())
    }

    fn text(&self, most: usize) -> Result<String, Rejected> {
        let Node::Text(text) = &self.node else { return Err(self.rejected("text")) };
        if text.chars().any(char::is_control) {
            return Err(self.rejected("text without control characters"));
        }
        if !(1..=most).contains(&text.chars().count()) {
            return Err(self.rejected(&format!("text of 1 to {most} characters")));
        }
        Ok(text.clone())
    }

    fn number(&self) -> Result<Finite, Rejected> {
        if let Node::Number(n) = self.node { Ok(n) } else { Err(self.rejected("a number")) }
    }
}

/// For people: short, whatever it is.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => b.fmt(f),
            Self::Number(n) => n.fmt(f),
            Self::Unbounded => f.write_str("a number too large"),
            Self::Text(t) if t.chars().count() > 60 => {
                write!(
                    f,
                    "{} characters starting {:?}",
                    t.chars().count(),
                    t.chars().take(40).collect::<String>()
                )
            }
            Self::Text(t) => write!(f, "{t:?}"),
            Self::List(l) => write!(f, "a list of {}", l.len()),
            Self::Object(o) => write!(f, "an object of {} keys", o.len()),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Node;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }
            fn visit_bool<E>(self, b: bool) -> Result<Node, E> {
                Ok(Node::Bool(b))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Node, E> {
                Ok(Finite::new(v).map_or(Node::Unbounded, Node::Number))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Node, E> {
                Ok(Finite::new(v as f64).map_or(Node::Unbounded, Node::Number))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Node, E> {
                Ok(Finite::new(v as f64).map_or(Node::Unbounded, Node::Number))
            }
            fn visit_str<E>(self, v: &str) -> Result<Node, E> {
                Ok(Node::Text(v.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(node) = seq.next_element()? {
                    list.push(node);
                }
                Ok(Node::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Object(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::facts::example;

    const GOOD: &str = r#"{"assessment":"Load steady","evidence":[{"signal":"it_load","value":800,"trend":"steady"}],"setpoints":{"chws_sp":9.5,"crah_supply_sp":20,"chw_dp_sp":150},"rationale":"Raise CHWS by 0.5 K."}"#;

    #[test]
    fn a_good_reply_is_read() {
        let decision = parse(&example::site(), GOOD).unwrap();
        assert_eq!(decision.setpoints["chws_sp"], Finite::constant(9.5));
        let again = serde_json::to_string(&decision).unwrap();
        assert_eq!(parse(&example::site(), &again).unwrap(), decision);
    }

    #[test]
    fn anything_else_is_rejected_with_its_place() {
        let check = |from: &str, to: &str, path: &str, found: &str| {
            assert!(GOOD.contains(from), "{from}");
            let rejected = parse(&example::site(), &GOOD.replacen(from, to, 1)).unwrap_err();
            assert_eq!((rejected.path.as_str(), rejected.found.as_str()), (path, found), "{rejected}");
        };
        check("9.5", "9.3", "$.setpoints.chws_sp", "9.3");
        check("9.5", "5.5", "$.setpoints.chws_sp", "5.5");
        check("9.5", "\"9.5\"", "$.setpoints.chws_sp", "\"9.5\"");
        check("9.5", "null", "$.setpoints.chws_sp", "null");
        check("\"chw_dp_sp\":150", "\"chws_sp\":9.5", "$.setpoints", "\"chws_sp\"");
        check(",\"chw_dp_sp\":150", "", "$.setpoints.chw_dp_sp", "nothing");
        check("\"chw_dp_sp\"", "\"fan_sp\"", "$.setpoints", "\"fan_sp\"");
        check("\"signal\":\"it_load\"", "\"signal\":\"chws_sp\"", "$.evidence[0].signal", "\"chws_sp\"");
        check("\"steady\"}", "\"up\"}", "$.evidence[0].trend", "\"up\"");
        check(
            "[{\"signal\":\"it_load\",\"value\":800,\"trend\":\"steady\"}]",
            "[]",
            "$.evidence",
            "a list of 0",
        );
        check("\"Load steady\"", "\"\"", "$.assessment", "\"\"");
        check("{\"assessment\"", "{\"x\":1,\"assessment\"", "$", "\"x\"");
        check("\"rationale\":", "\"assessment\":", "$", "\"assessment\"");
        check("Load steady", "a\\nb", "$.assessment", "\"a\\nb\"");
        assert_eq!(parse(&example::site(), &format!("{GOOD} {{}}")).unwrap_err().path, "$");
        assert!(parse(&example::site(), "Sure! Here it is").unwrap_err().expected.starts_with("JSON"));
    }

    proptest! {
        /// Never a panic, and whatever is accepted has exactly the site's setpoints at their steps.
        #[test]
        fn bytes_of_any_kind(at in 0usize..240, with in "\\PC{0,6}") {
            let site = example::site();
            let at = (0..=at.min(GOOD.len())).rev().find(|i| GOOD.is_char_boundary(*i)).unwrap();
            let text = format!("{}{with}{}", &GOOD[..at], &GOOD[at..]);
            if let Ok(decision) = parse(&site, &text) {
                prop_assert_eq!(decision.setpoints.len(), site.setpoints.len());
                for s in &site.setpoints {
                    let v = decision.setpoints[&s.name];
                    prop_assert!(v >= s.min && v <= s.max && choices(s.min, s.max, s.step).contains(&v));
                }
            }
        }
    }
}
