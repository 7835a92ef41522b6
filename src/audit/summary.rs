//! One line about a record, for lists. Bodies are made elsewhere and change over the years: every
//! field is optional here, and a body without any known field is shown by its plain values.

use serde_json::Value;

use super::Kind;

/// Characters in a summary.
const WIDTH: usize = 200;

/// What a record says, on one line, without control characters.
#[must_use]
pub fn summary(kind: Kind, body: &str) -> String {
    let Ok(json) = serde_json::from_str::<Value>(body) else { return one_line(body) };
    let known = match kind {
        Kind::Decision => decision(&json),
        Kind::Candidate => candidate(&json),
        Kind::Outcome => outcome(&json),
        Kind::Frame => frame(&json),
        Kind::Operator => operator(&json),
        Kind::Event => event(&json),
        Kind::Start | Kind::Stop => None,
    };
    one_line(&known.unwrap_or_else(|| plain(&json)))
}

/// The columns of a decision that tables want. Empty text where there is nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Columns {
    pub(super) by: String,
    pub(super) setpoints: String,
    pub(super) rules: String,
    pub(super) emergency: String,
    pub(super) intervened: String,
    pub(super) confidence: String,
}

pub(super) fn columns(kind: Kind, body: &str) -> Columns {
    let json: Value = match kind {
        Kind::Decision => serde_json::from_str(body).unwrap_or_default(),
        Kind::Start
        | Kind::Frame
        | Kind::Candidate
        | Kind::Outcome
        | Kind::Operator
        | Kind::Event
        | Kind::Stop => Value::Null,
    };
    let verdict = &json["verdict"];
    Columns {
        by: scalar(&verdict["by"]).unwrap_or_default(),
        setpoints: pairs(&verdict["setpoints"]),
        rules: rules(verdict).join(" "),
        emergency: scalar(&verdict["emergency"]).unwrap_or_default(),
        intervened: scalar(&verdict["intervened"]).unwrap_or_default(),
        confidence: scalar(&json["confidence"]).unwrap_or_default(),
    }
}

/// Whether a decision's verdict names this rule.
pub(super) fn touched_by(body: &str, rule: &Value) -> bool {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    json["verdict"]["touched"].as_array().is_some_and(|all| all.iter().any(|t| t["rule"] == *rule))
}

/// The rules that touched a decision, each once, in the order in which they first did.
pub(crate) fn rules(verdict: &Value) -> Vec<&str> {
    let touched = verdict["touched"].as_array().into_iter().flatten();
    let mut rules = Vec::new();
    for rule in touched.filter_map(|t| t["rule"].as_str()) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

fn decision(json: &Value) -> Option<String> {
    let verdict = json.get("verdict")?;
    let by = scalar(&verdict["by"]).unwrap_or_else(|| "nobody".to_owned());
    let writes = verdict["action"].as_array().map_or(0, Vec::len);
    let moves = if writes == 0 { "hold".to_owned() } else { pairs(&verdict["setpoints"]) };
    let mut parts = vec![format!("{by}: {moves}")];
    if let Some(only @ ("shadow" | "advise")) = json["disposition"].as_str() {
        parts.push(format!("{only} only"));
    }
    if verdict["emergency"] == true {
        parts.push("emergency".to_owned());
    }
    let rules = rules(verdict);
    if !rules.is_empty() {
        let how = if verdict["intervened"] == true { "stopped by" } else { "shaped by" };
        parts.push(format!("{how} {}", rules.join(" ")));
    }
    if let Some(failure) = json.get("failure").filter(|f| !f.is_null()) {
        let why = scalar(failure).or_else(|| scalar(&failure["failure"])).unwrap_or_else(|| plain(failure));
        parts.push(format!("no answer: {why}"));
    }
    let rationale = json["decision"]["rationale"].as_str().map(|why| format!(" | {why}"));
    Some(parts.join(", ") + &rationale.unwrap_or_default())
}

fn candidate(json: &Value) -> Option<String> {
    let verdict = json.get("verdict")?;
    let would = match json["replaced"].as_str() {
        Some(why) => format!("nothing to use, {why}"),
        None => pairs(&verdict["setpoints"]),
    };
    let rules = rules(verdict);
    let stopped = verdict["intervened"] == true && !rules.is_empty();
    let rules = if stopped { format!(", stopped by {}", rules.join(" ")) } else { String::new() };
    let rationale = json["decision"]["rationale"].as_str().map(|why| format!(" | {why}")).unwrap_or_default();
    Some(format!("beside {}: {would}{rules}{rationale}", scalar(&json["beside"])?))
}

fn outcome(json: &Value) -> Option<String> {
    let writes = json.get("writes")?.as_array()?;
    let one = |write: &Value| {
        let result = &write["result"];
        // `"applied"`, or a reason with its details.
        let result =
            scalar(result).unwrap_or_else(|| match result.as_object().and_then(|r| r.iter().next()) {
                Some((reason, details)) => format!("{reason} {}", plain(details)),
                None => "?".to_owned(),
            });
        format!("{} {result}", target(write))
    };
    let writes = writes.iter().map(one).collect::<Vec<_>>().join(", ");
    let writes = if writes.is_empty() { "nothing written".to_owned() } else { writes };
    Some(format!("of {}: {writes}", scalar(&json["intent"])?))
}

/// `enable`, or the name of a setpoint.
fn target(write: &Value) -> String {
    match write["target"].as_object() {
        Some(named) => named.values().filter_map(scalar).collect(),
        None => scalar(&write["target"]).unwrap_or_default(),
    }
}

fn frame(json: &Value) -> Option<String> {
    let signals = json["frame"]["signals"].as_object()?;
    let bad: Vec<String> = signals
        .iter()
        .filter_map(|(name, s)| s["quality"].as_str().filter(|q| *q != "good").map(|q| format!("{name} {q}")))
        .collect();
    let tail = if bad.is_empty() { "all good".to_owned() } else { bad.join(", ") };
    Some(format!("{} signals, {tail}", signals.len()))
}

fn operator(json: &Value) -> Option<String> {
    let (who, act) = (scalar(json.get("who")?)?, scalar(json.get("act")?)?);
    let shown_elsewhere = ["who", "act", "why", "accepted", "answer"];
    let details = json.as_object().into_iter().flatten();
    let details = details.filter(|(k, _)| !shown_elsewhere.contains(&k.as_str()));
    let details: String = details.filter_map(|(_, v)| Some(format!(" {}", scalar(v)?))).collect();
    let refused = if json["accepted"] == false { ", refused" } else { "" };
    let why = scalar(&json["why"]).unwrap_or_default();
    let answer = scalar(&json["answer"]).map(|a| format!(": {a}")).unwrap_or_default();
    Some(format!("{who}: {act}{details} ({why}){refused}{answer}"))
}

fn event(json: &Value) -> Option<String> {
    let event = scalar(json.get("event")?)?;
    let detail = scalar(&json["detail"]).map(|d| format!(": {d}")).unwrap_or_default();
    let writes: Vec<String> = json["action"].as_array().into_iter().flatten().map(target).collect();
    let writes = if writes.is_empty() { String::new() } else { format!(" [{}]", writes.join(" ")) };
    Some(format!("{event}{detail}{writes}"))
}

fn pairs(json: &Value) -> String {
    let all = json.as_object().into_iter().flatten();
    all.filter_map(|(k, v)| Some(format!("{k} {}", scalar(v)?))).collect::<Vec<_>>().join(", ")
}

/// A value without parts, as text; `None` for null, arrays and objects.
fn scalar(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(json.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn plain(json: &Value) -> String {
    match json {
        Value::Object(fields) => fields
            .iter()
            .filter_map(|(k, v)| Some(format!("{k}={}", scalar(v)?)))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Null | Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            scalar(json).unwrap_or_else(|| json.to_string())
        }
    }
}

/// A model or an operator wrote some of this: no line breaks, no terminal escapes.
fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut out: String = text.chars().take(WIDTH).map(clean).collect();
    if text.chars().nth(WIDTH).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, body: &str, expect: &str) {
        assert_eq!(summary(kind, body), expect);
    }

    #[test]
    fn decisions_say_who_what_and_why() {
        let body = r#"{"id":1,"failure":null,"decision":{"rationale":"Lower\nnow."},"confidence":0.93,
            "verdict":{"by":"model","action":[{}],"setpoints":{"chws_sp":8.5,"crah_sp":20},
            "touched":[{"rule":"rate_limit"},{"rule":"deadband"},{"rule":"rate_limit"}],
            "emergency":false,"intervened":true}}"#;
        check(
            Kind::Decision,
            body,
            "model: chws_sp 8.5, crah_sp 20, stopped by rate_limit deadband | Lower now.",
        );
        assert_eq!(
            columns(Kind::Decision, body),
            Columns {
                by: "model".into(),
                setpoints: "chws_sp 8.5, crah_sp 20".into(),
                rules: "rate_limit deadband".into(),
                emergency: "false".into(),
                intervened: "true".into(),
                confidence: "0.93".into(),
            }
        );
        assert!(touched_by(body, &"deadband".into()) && !touched_by(body, &"dwell".into()));
        check(
            Kind::Decision,
            r#"{"failure":{"failure":"late","deadline_ms":9},"verdict":{"by":"nobody","action":[]}}"#,
            "nobody: hold, no answer: late",
        );
        check(
            Kind::Decision,
            r#"{"verdict":{"by":"fallback","action":[{}],"setpoints":{"a":1}},"disposition":"shadow"}"#,
            "fallback: a 1, shadow only",
        );
    }

    #[test]
    fn the_other_kinds_say_what_they_know() {
        check(
            Kind::Candidate,
            r#"{"beside":7,"verdict":{"setpoints":{"a":1},"touched":[{"rule":"outlook"}],"intervened":true}}"#,
            "beside 7: a 1, stopped by outlook",
        );
        check(
            Kind::Candidate,
            r#"{"beside":7,"replaced":"model_failed","verdict":null}"#,
            "beside 7: nothing to use, model_failed",
        );
        check(
            Kind::Outcome,
            r#"{"intent":7,"writes":[{"target":{"setpoint":"chws_sp"},"result":"applied"},
               {"target":"enable","result":{"link_failed":{"why":"timeout"}}}],"release_needed":true}"#,
            "of 7: chws_sp applied, enable link_failed why=timeout",
        );
        check(Kind::Outcome, r#"{"intent":7,"writes":[]}"#, "of 7: nothing written");
        check(
            Kind::Frame,
            r#"{"frame":{"signals":{"a":{"quality":"good"},"b":{"quality":"stale"}}},"heartbeat":3}"#,
            "2 signals, b stale",
        );
        check(
            Kind::Operator,
            r#"{"who":"ann","why":"works","act":"override","setpoint":"chws_sp","value":8,"until":null,
               "accepted":false,"answer":"outside 6 to 16"}"#,
            "ann: override chws_sp 8 (works), refused: outside 6 to 16",
        );
        check(
            Kind::Event,
            r#"{"event":"release","detail":"stopping","action":[{"target":"enable"}]}"#,
            "release: stopping [enable]",
        );
        check(Kind::Start, r#"{"run":"r1","site_config":{},"build":"x"}"#, "run=r1 build=x");
    }

    #[test]
    fn any_body_has_a_summary() {
        for kind in Kind::ALL {
            for body in ["", "null", "[1]", "{", "3", r#"{"verdict":3}"#, r#"{"writes":4,"signals":[]}"#] {
                assert!(!summary(kind, body).contains('\n'));
                assert_eq!(columns(kind, body).rules, "");
            }
        }
        check(Kind::Event, "\u{1b}[31mred\r\n", " [31mred  ");
        assert_eq!(summary(Kind::Event, &"é".repeat(500)).chars().count(), WIDTH + 1);
    }
}
