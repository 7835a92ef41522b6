//! Frames as JSON lines, as they go over MQTT and as step tests record them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::{Instant, TraceError, unit_of};
use crate::ingest::payload::{self, Malformed};
use crate::ingest::{Origin, Reading};
use crate::site::{Name, Site};
use crate::units::Finite;

/// Names the site does not have are left out: a trace may hold more than a site uses.
pub(super) fn read(
    path: &Path,
    site: &Site,
) -> Result<impl Iterator<Item = Result<(u64, Instant), TraceError>> + use<>, TraceError> {
    let file = std::fs::File::open(path)
        .map_err(|source| TraceError::Unreadable { path: path.to_owned(), source })?;
    let (path, site) = (path.to_owned(), site.clone());
    let lines = BufReader::new(file).lines().zip(1u64..);
    Ok(lines.filter_map(move |(line, number)| {
        let line = match line {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => line,
            Err(source) => return Some(Err(TraceError::Unreadable { path: path.clone(), source })),
        };
        let instant = instant(&line, &site);
        let located =
            instant.map_err(|problem| TraceError::Cell { path: path.clone(), line: number, problem });
        Some(located.map(|instant| (number, instant)))
    }))
}

fn instant(line: &str, site: &Site) -> Result<Instant, Malformed> {
    let expected = "a frame: {\"time\": …, \"signals\": {…}}";
    let json: Value = serde_json::from_str(line).map_err(|_| Malformed::new("line", expected, line))?;
    let frame = json.as_object().ok_or_else(|| Malformed::new("line", expected, line))?;
    let time = payload::time(frame)?.ok_or_else(|| Malformed::new("line", expected, line))?;
    let groups = ["signals", "setpoints"];
    if !groups.iter().any(|group| frame.get(*group).is_some_and(Value::is_object)) {
        let expected =
            "\"signals\" or \"setpoints\": {…}; for records of an audit log, replay the log itself";
        return Err(Malformed::new("line", expected, line));
    }
    let mut readings = Vec::new();
    for group in groups {
        for (name, value) in frame.get(group).and_then(Value::as_object).into_iter().flatten() {
            if let Ok(name) = name.parse::<Name>()
                && let Some(unit) = unit_of(site, &name)
                && let Some(told) = payload::told(&format!("/{group}/{name}"), value)?
            {
                if let Some(other) = told.unit.filter(|u| u.convert(Finite::ZERO, unit).is_none()) {
                    let (at, got) =
                        (format!("/{group}/{name}/unit"), format!("{other}, where the site has {unit}"));
                    return Err(Malformed::new(at, "a unit that can be converted to the site's", got));
                }
                readings.push(Reading {
                    name,
                    value: told.value,
                    unit: told.unit.unwrap_or(unit),
                    time: told.taken(time),
                    received: time,
                    origin: Origin { flagged: told.flagged, timed: true, ..Origin::default() },
                });
            }
        }
    }
    Ok((time, readings))
}

/// Names in a trace that the site does not have. Lines that are no frames have been complained of.
pub(super) fn ignored(path: &Path, site: &Site) -> Result<BTreeSet<String>, TraceError> {
    let unreadable = |source| TraceError::Unreadable { path: path.to_owned(), source };
    let mut names = BTreeSet::new();
    for line in BufReader::new(std::fs::File::open(path).map_err(unreadable)?).lines() {
        let frame: Value = serde_json::from_str(&line.map_err(unreadable)?).unwrap_or_default();
        let groups = ["signals", "setpoints"].into_iter().filter_map(|g| frame.get(g)?.as_object());
        let has = |name: &str| name.parse().is_ok_and(|name| unit_of(site, &name).is_some());
        names.extend(groups.flat_map(|g| g.keys()).filter(|n| !has(n)).cloned());
    }
    Ok(names)
}
