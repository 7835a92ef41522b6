//! The page, in the binary: an air-gapped site loads nothing from elsewhere.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::extract::Path;
use super::refused;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! assets {
    ($($name:literal $kind:expr;)*) => {
        &[$(($name, $kind, include_str!(concat!("assets/", $name)))),*]
    };
}

const ASSETS: &[(&str, &str, &str)] = assets! {
    "app.css" STYLE;
    "app.js" SCRIPT;
    "act.js" SCRIPT;
    "chartlimits.js" SCRIPT;
    "charts.js" SCRIPT;
    "decision.js" SCRIPT;
    "decisions.js" SCRIPT;
    "dom.js" SCRIPT;
    "held.js" SCRIPT;
    "limits.js" SCRIPT;
    "now.js" SCRIPT;
    "plant.js" SCRIPT;
    "replay.js" SCRIPT;
    "reports.js" SCRIPT;
    "store.js" SCRIPT;
    "text.js" SCRIPT;
    "theme.js" SCRIPT;
    "trends.js" SCRIPT;
    "icon.svg" "image/svg+xml";
    "vendor/uPlot.iife.min.js" SCRIPT;
    "vendor/uPlot.min.css" STYLE;
    "vendor/uPlot.LICENSE" "text/plain; charset=utf-8";
};

/// Every view is this page; its script reads the address.
pub(super) async fn page() -> Response {
    body("text/html; charset=utf-8", include_str!("assets/index.html"))
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(n, _, _)| *n == name) {
        Some((_, kind, text)) => body(kind, text),
        None => refused(StatusCode::NOT_FOUND, format!("there is no asset {name:?}")),
    }
}

fn body(kind: &'static str, text: &'static str) -> Response {
    // After an upgrade of the agent the page must not be the old one.
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}
