//! What the period would have taken without the agent, as IPMVP's regression models say it: hourly cooling power
//! on IT load and outdoor temperature, fitted to the hours in which the agent did not have the plant. A saving
//! is stated only with its uncertainty, and only where there is enough to fit; else it is said what is missing.

use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::super::columns::Columns;
use super::super::power::Power;
use super::super::tape::{HOUR, Tape};
use super::days::midnight;
use super::fit::{Hour, Lacking, MIN_HOURS, estimate};
use crate::site::{Role, Site};

/// An hour belongs to one side if it does for this share.
const SHARE: f64 = 0.95;
/// An hour with data for less than this share says too little.
const LEAST_KNOWN: f64 = 0.5;
fn method(hours: &str) -> String {
    format!(
        "Least squares of hourly mean cooling power on IT load and outdoor temperature over the hours of {hours} in which the agent did not have the plant (IPMVP option B, a baseline by regression). The interval is for 95 %, from the scatter of the fit with the hours' autocorrelation taken into account. Hours outside the range of the baseline, and hours with data for less than half of them, are left out; others count by what is known of them."
    )
}

/// The hours of a period, by what can be done with them.
#[derive(Clone, Debug, Default)]
struct Hours {
    all: usize,
    with: Vec<Hour>,
    without: Vec<Hour>,
    /// The plant changed hands within them.
    mixed: usize,
    /// With frames, but without good values for half of the hour.
    unknown: usize,
}

impl Hours {
    fn silent(&self) -> usize {
        self.all.saturating_sub(self.with.len() + self.without.len() + self.mixed + self.unknown)
    }
}

/// What a saving is measured against, and of what: both in seconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Periods {
    pub(super) baseline: Range<i64>,
    pub(super) reported: Range<i64>,
    /// The baseline in words.
    told: String,
}

impl Periods {
    pub(super) fn new(site: &Site, from: Timestamp, to: Timestamp) -> Self {
        // An hour counts in the period in which it begins: midnight may be at half past an hour of UTC.
        let hour = |t: Timestamp| t.as_second() + (-t.as_second()).rem_euclid(HOUR);
        let reported = hour(from)..hour(to);
        let set = &site.report.baseline;
        let midnight = |date: Date| midnight(date, &site.zone()).ok().map(hour);
        let fixed = set.from.zip(set.to).and_then(|(first, last)| {
            let baseline = midnight(first)?..midnight(last.tomorrow().ok()?)?;
            Some(Self {
                baseline,
                reported: reported.clone(),
                told: format!("the time from {first} to {last}"),
            })
        });
        fixed.unwrap_or_else(|| {
            let begin = reported.start - i64::from(set.days) * 24 * HOUR;
            Self { baseline: begin..reported.start, told: format!("the {} days before", set.days), reported }
        })
    }

    /// What has to be known of the past, in order of time and without a second twice.
    pub(super) fn spans(&self) -> Vec<Range<i64>> {
        let (mut a, mut b) = (self.baseline.clone(), self.reported.clone());
        if b.start < a.start {
            std::mem::swap(&mut a, &mut b);
        }
        if b.start > a.end {
            return vec![a, b];
        }
        a.end = a.end.max(b.end);
        vec![a]
    }
}

/// `log_begins`: what was before is not known to anybody.
pub(super) fn saving(
    site: &Site,
    columns: &Columns,
    tape: &Tape,
    periods: &Periods,
    log_begins: Option<Timestamp>,
) -> Value {
    let method = method(&periods.told);
    let unstated = |why: String| json!({ "stated": false, "why": why, "method": method });
    let outdoor = site.with_role(Role::OutdoorWetBulb).chain(site.with_role(Role::OutdoorDryBulb)).next();
    let outdoor = outdoor.and_then(|s| columns.place(s.name.as_str()));
    let (Some(cooling), Some(it), Some(outdoor)) = (&columns.cooling, &columns.it, outdoor) else {
        return unstated("it takes signals for cooling power, IT load and an outdoor temperature".into());
    };
    let sort = |period: &Range<i64>| {
        let all = usize::try_from((period.end - period.start) / HOUR).unwrap_or(0);
        let mut hours = Hours { all, ..Hours::default() };
        for bucket in tape.hours(period.start, period.end) {
            let in_charge = bucket.mean(columns.in_charge()).unwrap_or(0.0);
            if in_charge < SHARE && in_charge > 1.0 - SHARE {
                hours.mixed += 1;
                continue;
            }
            let kw = |power: &Power| power.kw(|place| bucket.mean(place));
            let places = cooling.places().chain(it.places()).chain([outdoor]);
            let frames = places.map(|place| bucket.count(place)).min().unwrap_or(0);
            // With frames more often than usual it is at most all.
            let known = (f64::from(frames) * site.sample.as_secs_f64() / HOUR as f64).min(1.0);
            let values = (kw(it), bucket.mean(outdoor), kw(cooling));
            let (Some(it), Some(outdoor), Some(cooling_kw)) = values else {
                hours.unknown += 1;
                continue;
            };
            if known < LEAST_KNOWN {
                hours.unknown += 1;
                continue;
            }
            let side = if in_charge >= SHARE { &mut hours.with } else { &mut hours.without };
            side.push(Hour { terms: [1.0, it, outdoor], cooling_kw, known });
        }
        hours
    };
    let (base, reported) = (sort(&periods.baseline), sort(&periods.reported));
    let mut answer = match estimate(&base.without, &reported.with) {
        Ok(e) => json!({ "stated": true, "method": method, "kwh": e.kwh, "plus_minus_kwh": e.plus_minus,
            "percent": 100.0 * e.kwh / e.expected, "hours": e.hours, "left_out": e.left_out,
            "baseline_hours": base.without.len(), "baseline_rms_kw": e.rms }),
        Err(why) => unstated(match why {
            Lacking::Baseline => missing(site, periods, &base, log_begins),
            Lacking::Hours => format!(
                "of the {} hours reported on, the agent had the plant in none for which cooling power, IT load and outdoor temperature are known: {}",
                reported.all,
                told(&reported)
            ),
            Lacking::Likeness => {
                "no hour of the period, with the agent in charge, is like those of the baseline".to_owned()
            }
            Lacking::Change => "load and weather hardly changed in the hours without the agent".to_owned(),
        }),
    };
    let time = |t: i64| Timestamp::from_second(t).ok();
    answer["baseline"] = json!({ "told": periods.told, "from": time(periods.baseline.start),
        "to": time(periods.baseline.end), "hours": base.all, "without_agent": base.without.len(),
        "with_agent": base.with.len(), "changed_hands": base.mixed, "without_values": base.unknown,
        "without_frames": base.silent(), "log_begins": log_begins });
    answer
}

/// Why there is no baseline: what is missing, and since when.
fn missing(site: &Site, periods: &Periods, base: &Hours, log_begins: Option<Timestamp>) -> String {
    let begins = |t: &Timestamp| t.as_second() > periods.baseline.start;
    let since = log_begins
        .filter(begins)
        .map(|t| format!("; the log begins at {}", site.zone().to_datetime(t).strftime("%Y-%m-%d %H:%M")));
    format!(
        "a baseline takes {MIN_HOURS} hours without the agent, and there are {} in {}: of {} hours {}{}",
        base.without.len(),
        periods.told,
        base.all,
        told(base),
        since.unwrap_or_default()
    )
}

fn told(hours: &Hours) -> String {
    let parts = [
        (hours.silent(), "without frames"),
        (hours.without.len(), "without the agent"),
        (hours.with.len(), "with the agent in charge"),
        (hours.mixed, "in which the plant changed hands"),
        (hours.unknown, "without good values of cooling power, IT load or outdoor temperature"),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::super::columns::Row;
    use super::*;

    /// Ten days without the agent and a day with it, which takes a tenth less, in a zone where midnight is at so
    /// many minutes past an hour of UTC. `hours`: so much of the last day has data.
    fn day_of(minutes: i64, hours: f64, edit: impl Fn(&mut Site)) -> Value {
        let mut site = crate::site::shipped("air");
        site.sample = jiff::SignedDuration::from_mins(5);
        edit(&mut site);
        let columns = Columns::new(&site);
        let mut tape = Tape::new();
        let from = 10 * 24 * HOUR + minutes * 60;
        let end = from + (hours * HOUR as f64) as i64;
        for t in (0..end).step_by(300) {
            // Every day is like the others.
            let turn = t as f64 / (24 * HOUR) as f64 * std::f64::consts::TAU;
            let (it, wet) = (800.0 + 200.0 * turn.sin(), 15.0 - 5.0 * (2.0 * turn).sin());
            let with_agent = t >= from - from.rem_euclid(HOUR);
            let cooling = 100.0 * if with_agent { 0.9 } else { 1.0 };
            let mut v = vec![None; columns.names.len()];
            for (name, value) in [("it_load", it), ("outdoor_wetbulb", wet), ("cooling_power", cooling)] {
                columns.place(name).iter().for_each(|at| v[*at] = Some(value as f32));
            }
            v[columns.in_charge()] = Some(if with_agent { 1.0 } else { 0.0 });
            tape.push(&Row { t: t as f64, v });
        }
        let time = |t| Timestamp::from_second(t).unwrap();
        let periods = Periods::new(&site, time(from), time(from + 24 * HOUR));
        saving(&site, &columns, &tape, &periods, Some(time(0)))
    }

    #[test]
    fn a_saving_is_stated_wherever_midnight_is() {
        for minutes in [0, 30, 45] {
            let found = day_of(minutes, 25.0, |_| ());
            let near = |key: &str, expected: f64| {
                assert!((found[key].as_f64().unwrap() - expected).abs() < 1e-3, "{minutes}: {found}");
            };
            assert_eq!(found["stated"], true, "{minutes}: {found}");
            near("hours", 24.0);
            near("kwh", 240.0);
        }
    }

    #[test]
    fn part_of_an_hour_counts_as_part() {
        let found = day_of(0, 12.75, |_| ());
        assert!((found["kwh"].as_f64().unwrap() - 127.5).abs() < 1e-3, "{found}");
        let found = day_of(0, 12.25, |_| ());
        assert!((found["hours"].as_f64().unwrap() - 12.0).abs() < 1e-3, "too little of the last: {found}");
    }

    #[test]
    fn the_baseline_is_the_one_of_the_site_file() {
        let found = day_of(0, 25.0, |_| ());
        let of = |found: &Value| (found["baseline"]["hours"].clone(), found["baseline_hours"].clone());
        assert_eq!(of(&found), (json!(720), json!(240)), "{found}");
        let found = day_of(0, 25.0, |site| site.report.baseline.days = 4);
        assert_eq!(of(&found), (json!(96), json!(96)), "{found}");
        assert!(found["method"].as_str().unwrap().contains("the hours of the 4 days before"), "{found}");
        let found = day_of(0, 25.0, |site| {
            site.report.baseline.from = Some("1970-01-02".parse().unwrap());
            site.report.baseline.to = Some("1970-01-06".parse().unwrap());
        });
        assert_eq!(of(&found), (json!(120), json!(120)), "{found}");
        assert!(found["method"].as_str().unwrap().contains("1970-01-02 to 1970-01-06"), "{found}");
        assert!((found["kwh"].as_f64().unwrap() - 240.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn without_a_baseline_it_is_said_what_is_missing_and_since_when() {
        let found = day_of(0, 25.0, |site| {
            site.report.baseline.from = Some("1969-12-01".parse().unwrap());
            site.report.baseline.to = Some("1970-01-01".parse().unwrap());
        });
        assert_eq!(
            found["why"],
            "a baseline takes 48 hours without the agent, and there are 24 in the time from 1969-12-01 to 1970-01-01: of 768 hours 744 without frames, 24 without the agent; the log begins at 1970-01-01 00:00"
        );
        let found = day_of(0, 25.0, |site| site.signals.retain(|s| s.role != Some(Role::CoolingPower)));
        assert!(found["why"].as_str().unwrap().starts_with("it takes signals"), "{found}");
        let found = day_of(0, 0.0, |_| ());
        assert_eq!(
            found["why"],
            "of the 24 hours reported on, the agent had the plant in none for which cooling power, IT load and outdoor temperature are known: 24 without frames"
        );
    }
}
