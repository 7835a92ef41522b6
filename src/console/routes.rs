//! What the server answers to: pages, and the API with its description.

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, middleware};
use serde_json::{Value, json};

use super::access::login::{self, Login};
use super::acts::{self, Draft, Wanted};
use super::openapi::{Documented, Operation};
use super::query::{self, Page, Window};
use super::replay::{self, Played, WhatIf};
use super::tape::Course;
use super::{Shared, access, assets, live, metrics, probes, refused, report, secured};
use crate::control::Answer;

const VIEWS: [&str; 7] = ["/", "/trends", "/decisions", "/decisions/{seq}", "/act", "/replay", "/reports"];

pub(super) fn router(shared: Shared) -> Router {
    let mut router = api(&shared).finish("/api/openapi.json");
    for view in VIEWS {
        router = router.route(view, get(assets::page));
    }
    router
        .route("/assets/{*name}", get(assets::asset))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "there is no such page") })
        .layer(DefaultBodyLimit::max(16 * 1024))
        .layer(middleware::from_fn_with_state(shared.clone(), access::admit))
        .layer(middleware::map_response(secured))
        .with_state(shared)
}

fn api(shared: &Shared) -> Documented {
    watching(replays(actions(records(Documented::new(), shared))))
}

/// What is and was.
fn records(mut api: Documented, shared: &Shared) -> Documented {
    let columns = &shared.followed.columns.names;
    let (window, page) = (api.query::<Window>(), api.query::<Page>());
    let (from, day) = (api.query::<live::From>(), api.query::<report::Asked>());
    let course = api.schema::<Course>();
    let about_site = with(&["version", "site", "plant", "signals", "setpoints", "rules", "columns"]);
    let a_series = json!({ "type": "object", "required": ["from", "to", "oldest", "newest", "course"],
        "properties": { "course": course } });
    let a_page = json!({ "type": "object", "required": ["items", "next"], "properties": {
        "items": { "type": "array", "items": with(&["seq", "time", "kind"]) },
        "next": { "type": ["integer", "null"], "description": "`before` of the next page" } } });
    let a_record = with(&["record", "item", "outcome", "run", "prompt"]);
    let a_report = with(&["site", "date", "from", "to", "over", "hours", "day", "saving"]);
    let series = Operation::new("series", "Each column's extremes and means over a window.", &a_series);
    let record = |id| Operation::new(id, "One record in full.", &a_record).refuses(&[400, 404, 503]);
    api.get(
        "/api/site",
        query::site,
        Operation::new("site", "What does not change while the agent runs.", &about_site),
    )
    .get(
        "/api/state",
        query::state,
        Operation::new(
            "state",
            "The live state; null before there is one.",
            &json!({ "type": ["object", "null"] }),
        ),
    )
    .get(
        "/api/headroom",
        query::headroom,
        Operation::new("headroom", "The IT load that each place could take now.", &with(&[])).refuses(&[503]),
    )
    .get(
        "/api/series",
        query::series,
        series.also(200, "", "text/csv", &json!({ "type": "string" })).query(window).among("names", columns),
    )
    .get(
        "/api/decisions",
        query::decisions,
        Operation::new("decisions", "Records, newest first, each with its outcome.", &a_page)
            .query(page)
            .refuses(&[503]),
    )
    .get("/api/decisions/{seq}", query::record, record("decision"))
    .get("/api/records/{seq}", query::record, record("record"))
    .get(
        "/api/live",
        live::live,
        Operation::plain("live", "Server-sent events: records, state, reset.", "text/event-stream")
            .query(from),
    )
    .get(
        "/api/report",
        report::report,
        Operation::new("report", "A day or a month, in the site's time zone.", &a_report)
            .query(day)
            .refuses(&[404, 503]),
    )
}

/// Who is there, and what they do.
fn actions(mut api: Documented) -> Documented {
    let (login, wanted, draft) = (api.schema::<Login>(), api.schema::<Wanted>(), api.schema::<Draft>());
    let answer = api.schema::<Answer>();
    let a_session = with(&["user", "login", "how_to_add"]);
    let understood = with(&["text", "until", "limits", "enforced", "meaning"]);
    api.get("/api/session", login::session, Operation::new("session", "Who one is.", &a_session).open())
        .post(
            "/api/login",
            login::login,
            Operation::new("login", "Opens a session, in a cookie.", &with(&["user"]))
                .open()
                .body(login)
                .refuses(&[401, 429, 503]),
        )
        .post(
            "/api/logout",
            login::logout,
            Operation::new("logout", "Closes the session.", &with(&[])).open(),
        )
        .post(
            "/api/acts",
            acts::act,
            Operation::new("act", "Does something, for a reason, in the name of who asks.", &answer)
                .body(wanted)
                .refuses(&[403, 409, 503]),
        )
        .post(
            "/api/directives/preview",
            acts::preview,
            Operation::new("preview", "How a directive would be understood. Changes nothing.", &understood)
                .body(draft)
                .refuses(&[403, 503]),
        )
}

/// What would have been.
fn replays(mut api: Documented) -> Documented {
    let (played, what_if) = (api.query::<Played>(), api.schema::<WhatIf>());
    let a_run = with(&["id", "wanted", "begun", "state", "error", "report"]);
    api.get(
        "/api/replay/sources",
        replay::sources,
        Operation::new(
            "replay_sources",
            "What can be replayed, and with what.",
            &with(&["recordings", "settings"]),
        ),
    )
    .get(
        "/api/replay/course",
        replay::course,
        Operation::new("replay_course", "Values and decisions of a recording.", &with(&["course", "steps"]))
            .query(played)
            .refuses(&[404, 409, 503]),
    )
    .get(
        "/api/replay/runs",
        replay::runs,
        Operation::new("replay_runs", "What-ifs, oldest first.", &with(&["runs"])),
    )
    .post(
        "/api/replay/runs",
        replay::begin,
        Operation::new(
            "replay_begin",
            "Decides a period again with other settings. Changes nothing in the plant.",
            &with(&["id"]),
        )
        .body(what_if)
        .also(202, "It is being made.", "application/json", &with(&["id"]))
        .refuses(&[403, 404, 409]),
    )
    .get(
        "/api/replay/runs/{id}",
        replay::one,
        Operation::new("replay_run", "One what-if with its report.", &a_run).refuses(&[400, 404]),
    )
    .post(
        "/api/replay/runs/{id}/stop",
        replay::stop,
        Operation::new("replay_stop", "Stops one that is being made.", &a_run).refuses(&[400, 403, 404]),
    )
}

/// For machines that watch.
fn watching(api: Documented) -> Documented {
    let text = "text/plain";
    let said = json!({ "type": "string" });
    let probe = |id, summary, why| Operation::plain(id, summary, text).open().also(503, why, text, &said);
    api.get(
        "/healthz",
        probes::health,
        probe("healthz", "The control loop turns.", "It hangs: the text says since when."),
    )
    .get(
        "/readyz",
        probes::ready,
        probe("readyz", "Frames arrive and the log can be written.", "Not ready: the text says why."),
    )
    .get("/metrics", metrics::metrics, Operation::plain("metrics", "Prometheus.", text).open())
}

/// An object that has these fields.
fn with(fields: &[&str]) -> Value {
    json!({ "type": "object", "required": fields })
}
