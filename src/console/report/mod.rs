//! `/api/report`: one day or one month, from the audit log alone.

mod baseline;
mod days;
mod fit;
mod overrides;
mod sums;

use std::sync::PoisonError;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract::Query;
use super::query::from_log;
use super::tape::Tape;
use super::{Shared, refused};
use crate::audit::{AuditError, Kind, Log, Record};
use crate::site::Site;
use baseline::Periods;
use days::{Days, midnight};
use overrides::Overrides;
use sums::Sums;

#[derive(Deserialize, JsonSchema)]
pub(super) struct Asked {
    /// In the site's time zone; the newest in the log when absent.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    day: Option<Date>,
    /// A whole month instead, such as `2026-07`.
    #[schemars(regex(pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$"))]
    month: Option<String>,
}

/// What is reported on.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: Date,
    from: Timestamp,
    to: Timestamp,
    is_month: bool,
}

impl Span {
    fn new(asked: &Asked, newest: Option<Date>, zone: &TimeZone) -> Result<Self, (StatusCode, String)> {
        let bad = |e: jiff::Error| (StatusCode::BAD_REQUEST, format!("day or month: {e}"));
        let is_month = asked.month.is_some();
        let first = match &asked.month {
            Some(month) => {
                let first = format!("{month}-01").parse::<Date>();
                first.map_err(|_| {
                    (StatusCode::BAD_REQUEST, "month: expected one such as 2026-07".to_owned())
                })?
            }
            None => {
                asked.day.or(newest).ok_or((StatusCode::NOT_FOUND, "there is no frame yet".to_owned()))?
            }
        };
        let end = first.checked_add(if is_month { 1.month() } else { 1.day() }).map_err(bad)?;
        let begin = |date: Date| midnight(date, zone).map_err(bad);
        Ok(Self { first, from: begin(first)?, to: begin(end)?, is_month })
    }
}

pub(super) async fn report(State(shared): State<Shared>, Query(asked): Query<Asked>) -> Response {
    let newest =
        shared.view.borrow().get("time").and_then(|t| serde_json::from_value::<Timestamp>(t.clone()).ok());
    let zone = shared.setup().site.zone();
    let span = match Span::new(&asked, newest.map(|t| zone.to_datetime(t).date()), &zone) {
        Ok(span) => span,
        Err((status, why)) => return refused(status, why),
    };
    let Ok(turn) = shared.reading.clone().acquire_owned().await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
    };
    let copy = shared.clone();
    from_log(&shared, move |log: &Log| {
        // Until it is read, even if nobody waits for it any more.
        let _turn = turn;
        let Span { from, to, is_month, .. } = span;
        let setup = copy.setup();
        let site = &setup.site;
        let columns = &copy.followed.columns;
        let mut whole = Sums::new(site, columns, from, to);
        let mut days = is_month.then(|| Days::new(site, columns));
        let mut last = None;
        let first = log.seq_at(from)?;
        let mut overrides = Overrides::new(from..to);
        overrides.begin(log, first)?;
        // From the last frame before the period on: the step from it is partly within.
        for record in log.records(first.saturating_sub(2)) {
            let record: Record = record?;
            // A run's first record may be of the wall's clock, where frames have their own.
            let is_over = record.time >= to && record.kind == Kind::Frame;
            let is_within = (from..to).contains(&record.time);
            if record.time < to {
                overrides.record(&record);
            }
            if is_within {
                last = Some(record.time);
                if let Some(days) = &mut days {
                    days.turn(record.time);
                }
            }
            if record.kind == Kind::Frame {
                if let Some(row) = columns.read(&record.body) {
                    whole.frame(&row);
                    if let Some(days) = &mut days {
                        days.frame(&row);
                    }
                }
            } else if is_within {
                whole.other(&record);
                if let Some(days) = &mut days {
                    days.other(&record);
                }
            }
            if is_over {
                break;
            }
        }
        let days = days.map(Days::done).unwrap_or_default();
        let saving = saving(&copy, site, log, &Periods::new(site, from, to))?;
        let mut sums = whole.done();
        sums["overrides"] = overrides.done();
        Ok::<_, AuditError>(shown(site, &span, newest, last, &sums, &days, &saving))
    })
    .await
}

/// From what is known already, if that reaches back as far as the log or as far as it takes.
fn saving(shared: &Shared, site: &Site, log: &Log, periods: &Periods) -> Result<Value, AuditError> {
    let columns = &shared.followed.columns;
    let begins = begins(log)?;
    let spans = periods.spans();
    let wanted = spans.first().map_or(0, |s| s.start);
    let tape = shared.followed.tape.read().unwrap_or_else(PoisonError::into_inner);
    let reaches = |oldest: i64| oldest <= wanted || begins.is_some_and(|t| oldest <= t.as_second());
    // After a start it is read first.
    let all_read = *shared.followed.tail.borrow() > 0;
    if all_read && tape.span().is_some_and(|(oldest, _)| reaches(oldest)) {
        return Ok(baseline::saving(site, columns, &tape, periods, begins));
    }
    drop(tape);
    let mut tape = Tape::of_hours();
    for span in spans {
        let Ok(from) = Timestamp::from_second(span.start) else { continue };
        for record in log.records(log.seq_at(from)?.saturating_sub(1)) {
            let record: Record = record?;
            if record.kind != Kind::Frame {
                continue;
            }
            if record.time.as_second() >= span.end {
                break;
            }
            columns.read(&record.body).iter().for_each(|row| tape.push(row));
        }
    }
    Ok(baseline::saving(site, columns, &tape, periods, begins))
}

/// Time of the oldest frame.
fn begins(log: &Log) -> Result<Option<Timestamp>, AuditError> {
    for record in log.records(0) {
        let record = record?;
        if record.kind == Kind::Frame {
            return Ok(Some(record.time));
        }
    }
    Ok(None)
}

fn shown(
    site: &Site,
    span: &Span,
    newest: Option<Timestamp>,
    last: Option<Timestamp>,
    sums: &Value,
    days: &[Value],
    saving: &Value,
) -> Value {
    let name = if span.is_month { span.first.strftime("%Y-%m").to_string() } else { span.first.to_string() };
    json!({
        "site": site.name,
        "period": if span.is_month { "month" } else { "day" },
        "date": name,
        "time_zone": site.time_zone,
        "from": span.from,
        "to": span.to,
        "newest": last,
        "over": newest.is_some_and(|t| t >= span.to),
        "hours": span.to.duration_since(span.from).as_secs_f64() / 3600.0,
        "day": sums,
        "days": days,
        "saving": saving,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_goes_from_its_first_midnight_to_the_next() {
        let span = |day: Option<&str>, month: Option<&str>| {
            let asked = Asked { day: day.map(|d| d.parse().unwrap()), month: month.map(ToOwned::to_owned) };
            let newest = Some("2026-03-04".parse().unwrap());
            Span::new(&asked, newest, &TimeZone::fixed(jiff::tz::offset(2)))
                .map(|s| (s.from.to_string(), s.to.to_string(), s.is_month))
                .map_err(|(status, _)| status.as_u16())
        };
        let found = |from: &str, to: &str, is_month| Ok((from.to_owned(), to.to_owned(), is_month));
        assert_eq!(span(None, Some("2026-02")), found("2026-01-31T22:00:00Z", "2026-02-28T22:00:00Z", true));
        assert_eq!(span(None, None), found("2026-03-03T22:00:00Z", "2026-03-04T22:00:00Z", false));
        assert_eq!(
            span(Some("2026-02-28"), None),
            found("2026-02-27T22:00:00Z", "2026-02-28T22:00:00Z", false)
        );
        assert_eq!(span(None, Some("2026-2")), Err(400));
        assert_eq!(span(None, Some("9999-12")), Err(400));
    }
}
