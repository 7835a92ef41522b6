//! `/api/report`: one day, from the audit log alone.

mod baseline;
mod day;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::json;

use super::query::from_log;
use super::{Shared, refused};
use crate::audit::{Kind, Log};
use day::Day;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// In the site's time zone; the newest in the log when absent.
    day: Option<Date>,
}

pub(super) async fn report(State(shared): State<Shared>, Query(asked): Query<Asked>) -> Response {
    let newest =
        shared.view.borrow().get("time").and_then(|t| serde_json::from_value::<Timestamp>(t.clone()).ok());
    let zone = shared.site.zone();
    let date = asked.day.or(newest.map(|t| zone.to_datetime(t).date()));
    let Some(date) = date else {
        return refused(StatusCode::NOT_FOUND, "there is no frame yet");
    };
    let begin = |date: Date| zone.to_timestamp(date.at(0, 0, 0, 0));
    let span = date.tomorrow().and_then(|next| Ok((begin(date)?, begin(next)?)));
    let (from, to) = match span {
        Ok(span) => span,
        Err(e) => return refused(StatusCode::BAD_REQUEST, format!("day: {e}")),
    };
    let copy = shared.clone();
    from_log(&shared, move |log: &Log| {
        let columns = &copy.followed.columns;
        let mut day = Day::new(&copy.site, columns);
        let mut last = None;
        for record in log.records(log.seq_at(from)?.saturating_sub(1)) {
            let record = record?;
            // A run's first record may be of the wall's clock, where frames have their own.
            if record.time >= to && record.kind == Kind::Frame {
                break;
            }
            if (from..to).contains(&record.time) {
                last = Some(record.time);
                match record.kind {
                    Kind::Frame => day.frame(columns.read(&record.body)),
                    Kind::Start
                    | Kind::Decision
                    | Kind::Outcome
                    | Kind::Operator
                    | Kind::Event
                    | Kind::Stop => day.other(&record),
                }
            }
        }
        let tape = copy.followed.tape.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let saving = baseline::saving(&copy.site, columns, &tape, from.as_second(), to.as_second());
        drop(tape);
        let whole = to.duration_since(from);
        Ok(json!({
            "site": copy.site.name,
            "date": date,
            "time_zone": copy.site.time_zone,
            "from": from,
            "to": to,
            "newest": last,
            "over": newest.is_some_and(|t| t >= to),
            "hours": whole.as_secs_f64() / 3600.0,
            "day": day.done(),
            "saving": saving,
        }))
    })
    .await
}
