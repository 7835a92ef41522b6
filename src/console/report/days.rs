//! The days of a month, one after the other.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::super::columns::{Columns, Row};
use super::sums::Sums;
use crate::audit::Record;
use crate::site::Site;

pub(super) fn midnight(date: Date, zone: &TimeZone) -> Result<Timestamp, jiff::Error> {
    zone.to_timestamp(date.at(0, 0, 0, 0))
}

pub(super) struct Days<'a> {
    site: &'a Site,
    columns: &'a Columns,
    zone: TimeZone,
    /// The newest, and before it the one that may still lack its part of the step over midnight.
    open: Vec<(Date, Sums)>,
    last: Option<Row>,
    lines: Vec<Value>,
}

impl<'a> Days<'a> {
    pub(super) fn new(site: &'a Site, columns: &'a Columns) -> Self {
        Self { site, columns, zone: site.zone(), open: Vec::new(), last: None, lines: Vec::new() }
    }

    /// Goes on with the day of this time, if it is another.
    pub(super) fn turn(&mut self, time: Timestamp) {
        let date = self.zone.to_datetime(time).date();
        if self.open.last().is_some_and(|(newest, _)| *newest >= date) {
            return;
        }
        let end = date.checked_add(1.day()).and_then(|end| midnight(end, &self.zone));
        // No day of a period whose end is known reaches beyond the calendar.
        let (Ok(from), Ok(to)) = (midnight(date, &self.zone), end) else { return };
        let mut sums = Sums::new(self.site, self.columns, from, to);
        if let Some(last) = &self.last {
            sums.frame(last);
        }
        if self.open.len() == 2 {
            self.close();
        }
        self.open.push((date, sums));
    }

    /// Every frame; those outside the month share a step with it.
    pub(super) fn frame(&mut self, row: &Row) {
        for (_, sums) in &mut self.open {
            sums.frame(row);
        }
        self.last = Some(row.clone());
    }

    pub(super) fn other(&mut self, record: &Record) {
        if let Some((_, sums)) = self.open.last_mut() {
            sums.other(record);
        }
    }

    /// The oldest that is open.
    fn close(&mut self) {
        let (date, sums) = self.open.remove(0);
        if sums.has_frames() {
            let mut line = sums.line();
            line["date"] = json!(date);
            self.lines.push(line);
        }
    }

    pub(super) fn done(mut self) -> Vec<Value> {
        while !self.open.is_empty() {
            self.close();
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the evening before a month until after its third day, in steps that go over every midnight.
    #[test]
    fn the_days_sum_to_the_month() {
        let mut site = crate::site::shipped("air");
        site.time_zone = "Europe/Berlin".to_owned();
        let columns = Columns::new(&site);
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, to) = (time("2026-06-30T22:00:00Z"), time("2026-07-03T22:00:00Z"));
        let mut whole = Sums::new(&site, &columns, from, to);
        let mut days = Days::new(&site, &columns);
        let begin = from.as_second() - 3605;
        for i in 0..(3 * 24 + 2) * 240 {
            let t = begin + i * 15;
            let mut v = vec![None; columns.names.len()];
            v[columns.place("it_load").unwrap()] = Some((i % 1000) as f32);
            v[columns.place("hall_a_inlet_max").unwrap()] = Some(30.0);
            v[columns.in_charge()] = Some(1.0);
            let row = Row { t: t as f64, v };
            if (from.as_second()..to.as_second()).contains(&t) {
                days.turn(Timestamp::from_second(t).unwrap());
            }
            days.frame(&row);
            whole.frame(&row);
        }
        let (lines, whole) = (days.done(), whole.line());
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0]["date"], "2026-07-01");
        let near = |found: f64, expected: &Value| {
            let expected = expected.as_f64().unwrap();
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        };
        for line in &lines {
            near(24.0, &line["covered_h"]);
            near(24.0, &line["outside_h"]);
        }
        let sum = |key: &str| lines.iter().map(|l| l.pointer(key).unwrap().as_f64().unwrap()).sum::<f64>();
        for key in ["/covered_h", "/in_charge_h", "/outside_h", "/energy/it_kwh"] {
            near(sum(key), whole.pointer(key).unwrap());
        }
    }
}
