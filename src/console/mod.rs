//! Web page and HTTP API over live state and audit log. Read-only: acts go through the control socket.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::watch;

use crate::audit::{AuditError, Filter, Kind, Log};
use crate::service::View;
use crate::site::Site;

#[derive(Clone)]
struct Shared {
    view: watch::Receiver<View>,
    audit: PathBuf,
}

/// Starts serving in the background; `console.listen = "off"` serves nothing. Returns the address.
pub async fn serve(site: &Site, view: watch::Receiver<View>) -> std::io::Result<Option<SocketAddr>> {
    if site.console.listen == "off" {
        return Ok(None);
    }
    let listener = tokio::net::TcpListener::bind(&site.console.listen).await?;
    let address = listener.local_addr()?;
    let shared = Shared { view, audit: site.audit.path.clone() };
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router(shared)).await {
            tracing::error!(%error, "the console ended");
        }
    });
    tracing::info!("console on http://{address}/");
    Ok(Some(address))
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/api/state", get(state))
        .route("/api/decisions", get(decisions))
        .route("/api/records/{seq}", get(record))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(shared)
}

async fn page() -> Response {
    // Everything the page needs is in it: an air-gapped site loads nothing from elsewhere.
    let policy =
        "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(include_str!("page.html"))).into_response()
}

async fn state(State(shared): State<Shared>) -> Json<View> {
    Json(shared.view.borrow().clone())
}

/// Ready: frames arrive and the log can be written.
async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    let view = shared.view.borrow();
    let holds = |key: &str| view.get(key).and_then(View::as_bool).unwrap_or(false);
    if holds("audit_ok") && holds("source_link") && view.get("frame").is_some_and(|f| !f.is_null()) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default = "Page::default_limit")]
    limit: u32,
}

impl Page {
    fn default_limit() -> u32 {
        50
    }
}

/// The newest decisions, as the audit log lists them.
async fn decisions(State(shared): State<Shared>, Query(page): Query<Page>) -> Response {
    let filter = Filter {
        kind: Some(Kind::Decision),
        since: None,
        until: None,
        rule: None,
        limit: usize::try_from(page.limit.min(500)).unwrap_or(500),
    };
    blocking(move || Log::open(&shared.audit)?.list(&filter)).await
}

/// One record of the audit log, a decision with its outcome.
async fn record(State(shared): State<Shared>, Path(seq): Path<u64>) -> Response {
    blocking(move || Log::open(&shared.audit)?.show(seq)).await
}

async fn blocking<T, F>(query: F) -> Response
where
    T: serde::Serialize + Send + 'static,
    F: FnOnce() -> Result<T, AuditError> + Send + 'static,
{
    match tokio::task::spawn_blocking(query).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(e)) => (StatusCode::NOT_FOUND, format!("{e}\n")).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")).into_response(),
    }
}
