//! What of a site may change while its agent runs: limits. Everything else is what the agent is connected
//! to, has learned or has been started with, and takes a restart.

use serde_json::Value;

use super::Site;

/// Fields of a setpoint that are limits.
const SETPOINT: [&str; 10] = [
    "min",
    "max",
    "step",
    "rate_per_min",
    "dwell",
    "safe",
    "deadband",
    "writes_per_day",
    "follow_within",
    "white_space",
];
/// Fields of `[envelope]` that judge sensors, not setpoints.
const ENVELOPE_OF_SENSORS: [&str; 2] = ["twin_tolerance", "twin_for"];

/// The difference between two sites, each change on one line for people.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Limits, which can be taken over at once.
    pub limits: Vec<String>,
    /// What only a restart can change.
    pub others: Vec<String>,
}

/// Compares what runs with what was read anew. The mode is left out: it is the operators' once a run has
/// begun.
#[must_use]
pub fn difference(running: &Site, read: &Site) -> Difference {
    let mut found = Difference::default();
    let as_json = |site: &Site| {
        let mut json = site.recorded();
        if let Some(fields) = json.as_object_mut() {
            fields.remove("mode");
        }
        json
    };
    compare(&mut Vec::new(), &as_json(running), &as_json(read), running, &mut found);
    found
}

fn compare<'a>(path: &mut Vec<&'a str>, old: &'a Value, new: &'a Value, site: &Site, found: &mut Difference) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                path.push(key);
                let of = |map: &'a serde_json::Map<String, Value>| map.get(key).unwrap_or(&Value::Null);
                compare(path, of(a), of(b), site, found);
                path.pop();
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() && a.iter().all(Value::is_object) => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                // An entry is known by its name; one that is named anew is another one.
                let name = a.get("name").and_then(Value::as_str).unwrap_or("?");
                path.push(name);
                if a.get("name") == b.get("name") {
                    compare(path, a, b, site, found);
                } else {
                    found.others.push(format!("{}: entry {} is another one", path.join(" "), i + 1));
                }
                path.pop();
            }
        }
        _ if old == new => {}
        _ => {
            let line = format!("{}: {old} -> {new}", path.join(" "));
            if is_limit(path, site) { found.limits.push(line) } else { found.others.push(line) }
        }
    }
}

fn is_limit(path: &[&str], site: &Site) -> bool {
    match path {
        ["envelope", field, ..] => !ENVELOPE_OF_SENSORS.contains(field),
        ["setpoint", name, field] => {
            site.setpoints.iter().any(|s| s.name == **name) && SETPOINT.contains(field)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Finite;

    fn edited(edit: impl Fn(&mut Site)) -> Difference {
        let site = crate::facts::example::site();
        let mut other = site.clone();
        edit(&mut other);
        difference(&site, &other)
    }

    #[test]
    fn limits_can_change_and_nothing_else_can() {
        let limits = edited(|s| {
            s.envelope.no_warming_at = Finite::constant(25.0);
            s.setpoints[0].max = Finite::constant(12.0);
            s.mode = crate::site::Mode::Auto;
        });
        assert_eq!(limits.others, Vec::<String>::new());
        assert_eq!(limits.limits.len(), 2, "{limits:?}");
        assert!(limits.limits.iter().any(|l| l.contains("no_warming_at: 26.0 -> 25.0")), "{limits:?}");
        let edits: [fn(&mut Site); 7] = [
            |s| s.signals[0].slew_per_min = Finite::constant(1.0),
            |s| s.setpoints[0].register.address += 7,
            |s| s.setpoints[0].name = "other".parse().unwrap(),
            |s| s.setpoints.truncate(1),
            |s| s.envelope.twin_tolerance = Finite::constant(3.0),
            |s| s.audit.checkpoint_every = 1,
            |s| s.devices[0].port = 1,
        ];
        for edit in edits {
            let found = edited(edit);
            assert!(found.limits.is_empty() && !found.others.is_empty(), "{found:?}");
        }
        assert_eq!(edited(|_| ()), Difference::default());
    }
}
