//! EnergyPlus weather files: hourly dry bulb and dew point of a year.
//!
//! Eight header lines, of which the first (LOCATION) has the time zone in its ninth field; then one
//! row per hour: month and day in fields 2 and 3, hour 1 to 24 in field 4 (values hold for the end of
//! that hour), dry bulb in field 7, dew point in field 8. See the EnergyPlus "Auxiliary Programs"
//! manual.

use std::path::Path;

use jiff::Timestamp;

use super::Outdoor;

const HEADER: usize = 8;
const HOURS: usize = 8760;
const YEAR_S: f64 = HOURS as f64 * 3600.0;

/// A year of hourly values, repeated for ever.
#[derive(Debug, Clone)]
pub(super) struct Epw {
    /// Dry bulb and dew point at the end of each hour of the year, local standard time.
    hours: Vec<(f64, f64)>,
    zone_h: f64,
}

impl Epw {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::parse(&text).map_err(|message| format!("{}:{message}", path.display()))
    }

    /// Errors start with the line number.
    fn parse(text: &str) -> Result<Self, String> {
        let location = text.lines().next().unwrap_or_default();
        if !location.starts_with("LOCATION") {
            return Err("1: expected a LOCATION header; is this an EPW file?".into());
        }
        let zone_h = number(location, 8).ok_or("1: expected the time zone in field 9")?;
        let mut hours = Vec::with_capacity(HOURS);
        for (index, line) in text.lines().enumerate().skip(HEADER) {
            let field = |at: usize, what: &str, low: f64, high: f64| {
                number(line, at).filter(|v| (low..=high).contains(v)).ok_or_else(|| {
                    format!("{}: expected {what} from {low} to {high} in field {}", index + 1, at + 1)
                })
            };
            // A leap day has no place in a year that repeats.
            let (month, day) = (field(1, "a month", 1.0, 12.0)?, field(2, "a day", 1.0, 31.0)?);
            if month < 2.5 && month > 1.5 && day > 28.5 {
                continue;
            }
            hours.push((field(6, "a dry bulb", -70.0, 70.0)?, field(7, "a dew point", -70.0, 70.0)?));
        }
        if hours.len() != HOURS {
            let last = text.lines().count();
            return Err(format!("{last}: expected {HOURS} hours, found {}", hours.len()));
        }
        Ok(Self { hours, zone_h })
    }

    /// Outdoor air, interpolated between hours.
    pub(super) fn outdoor(&self, time: Timestamp) -> Outdoor {
        let utc = jiff::tz::Offset::UTC.to_datetime(time);
        let day = f64::from(utc.date().day_of_year())
            - if utc.date().in_leap_year() && utc.date().day_of_year() > 59 { 2.0 } else { 1.0 };
        let second =
            f64::from(utc.hour()) * 3600.0 + f64::from(utc.minute()) * 60.0 + f64::from(utc.second());
        let local = (day * 86_400.0 + second + self.zone_h * 3600.0).rem_euclid(YEAR_S);
        // The first value holds at 01:00.
        let position = local / 3600.0 - 1.0;
        let before = position.floor().rem_euclid(HOURS as f64) as usize;
        let after = (before + 1) % HOURS;
        let part = position - position.floor();
        let (a, b) = (self.hours[before], self.hours[after]);
        Outdoor::new(a.0 + part * (b.0 - a.0), a.1 + part * (b.1 - a.1))
    }
}

fn number(line: &str, field: usize) -> Option<f64> {
    line.split(',').nth(field)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A year in which each hour's dry bulb tells its hour of the day, dew point 5 K below.
    fn file() -> String {
        let mut text = "LOCATION,Nowhere,-,-,-,-,50.0,8.0,1.0,100.0\n".to_owned();
        text.push_str(&"HEADER\n".repeat(7));
        for (month, days) in [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].iter().enumerate() {
            for day in 1..=*days {
                for hour in 1..=24 {
                    let t = f64::from(hour);
                    let row = [
                        "2020".to_owned(),
                        (month + 1).to_string(),
                        day.to_string(),
                        hour.to_string(),
                        "0,src".to_owned(),
                        format!("{t:.1}"),
                        format!("{:.1}", t - 5.0),
                        "70,101300\n".to_owned(),
                    ];
                    text.push_str(&row.join(","));
                }
            }
        }
        text
    }

    #[test]
    fn hours_are_local_and_interpolated() {
        let epw = Epw::parse(&file()).unwrap();
        let at = |s: &str| epw.outdoor(s.parse().unwrap());
        // 11:00 UTC is 12:00 local: the value of hour 12.
        let noon = at("2025-07-15T11:00:00Z");
        assert!((noon.dry_bulb - 12.0).abs() < 1e-9 && (noon.dew_point - 7.0).abs() < 1e-9);
        assert!((at("2025-07-15T11:30:00Z").dry_bulb - 12.5).abs() < 1e-9);
        // Across the end of the year, and on a leap day.
        assert!((at("2025-12-31T23:30:00Z").dry_bulb - 12.5).abs() < 1e-9);
        assert!((at("2024-02-29T11:00:00Z").dry_bulb - 12.0).abs() < 1e-9);
    }

    #[test]
    fn errors_name_line_and_field() {
        let broken = file().replacen(",12.0,7.0,", ",warm,7.0,", 1);
        let message = Epw::parse(&broken).unwrap_err();
        assert!(message.starts_with("20: expected a dry bulb"), "{message}");
        let short = file().lines().take(100).collect::<Vec<_>>().join("\n");
        assert!(Epw::parse(&short).unwrap_err().contains("expected 8760 hours, found 92"));
    }
}
