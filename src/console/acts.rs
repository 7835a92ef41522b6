//! The acting side of the HTTP API: the same acts as `isotherm operator`, by people who have logged in
//! and machines with a token.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::access::Who;
use super::extract;
use super::{Shared, refused};
use crate::control::{Act, What};
use crate::directive;
use crate::service::socket::Call;

/// An act without who: that is whoever asks.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Wanted {
    /// For the audit log.
    #[schemars(length(max = MAX_WHY), regex(pattern = r"\S"))]
    why: String,
    #[serde(flatten)]
    what: What,
}

/// The longest reason.
const MAX_WHY: usize = 500;

pub(super) async fn act(
    State(shared): State<Shared>,
    who: Who,
    headers: HeaderMap,
    extract::Json(wanted): extract::Json<Wanted>,
) -> Response {
    let person = match shared.access.actor(who, &headers) {
        Ok(person) => person,
        Err(denied) => return denied.into_response(),
    };
    if let Err(why) = person.role.may(&wanted.what, shared.setup().site.mode) {
        tracing::warn!(who = person.signature(), act = ?wanted.what, why, "an act was refused");
        return refused(StatusCode::FORBIDDEN, why);
    }
    if wanted.why.trim().is_empty() || wanted.why.chars().count() > MAX_WHY {
        return refused(
            StatusCode::BAD_REQUEST,
            format!("why: every act needs a reason, of at most {MAX_WHY} characters"),
        );
    }
    let act = Act { who: person.signature(), why: wanted.why.trim().to_owned(), what: wanted.what };
    match Call::send(&shared.calls, act).await {
        Ok(answer) if answer.accepted => Json(answer).into_response(),
        Ok(answer) => refused(StatusCode::CONFLICT, answer.answer),
        Err(why) => refused(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct Draft {
    text: String,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    until: Option<Timestamp>,
}

/// How a directive would be understood. Changes nothing.
pub(super) async fn preview(
    State(shared): State<Shared>,
    who: Who,
    headers: HeaderMap,
    extract::Json(draft): extract::Json<Draft>,
) -> Response {
    if let Err(denied) = shared.access.actor(who, &headers) {
        return denied.into_response();
    }
    let time = shared.view.borrow().get("time").cloned().unwrap_or_default();
    let Ok(now) = serde_json::from_value::<Timestamp>(time) else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the agent has no time yet");
    };
    match directive::understand(&shared.setup().site, now, "", &draft.text, draft.until) {
        Ok(d) => Json(json!({ "text": d.text, "until": d.until, "limits": d.limits,
            "enforced": !d.limits.is_empty(), "meaning": d.meaning() }))
        .into_response(),
        Err(e) => refused(StatusCode::UNPROCESSABLE_ENTITY, e),
    }
}
