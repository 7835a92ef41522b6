//! Web page and HTTP API over live state and audit log. Reads go to the log's read-only connection and to
//! what has been read of it; acts go to the controller, as those of the control socket do.

mod access;
mod acts;
mod assets;
mod feed;
mod live;
mod metrics;
mod query;
mod report;
mod tape;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use access::Access;
pub use access::users;
use feed::Followed;

use crate::audit::Log;
use crate::control::Setup;
use crate::service::View;
use crate::service::socket::Call;
use crate::site::Site;

/// The page needs nothing but what this server sends, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Between two looks at the log, while it grows.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Clone)]
struct Shared {
    site: Arc<Site>,
    /// Template and hash.
    prompt: Arc<Value>,
    view: watch::Receiver<View>,
    audit: PathBuf,
    followed: Arc<Followed>,
    access: Arc<Access>,
    calls: mpsc::Sender<Call>,
}

/// Starts serving in the background; `console.listen = "off"` serves nothing. Returns the address.
pub async fn serve(
    setup: &Setup,
    view: watch::Receiver<View>,
    calls: mpsc::Sender<Call>,
) -> std::io::Result<Option<SocketAddr>> {
    let site = &setup.site;
    if site.console.listen == "off" {
        return Ok(None);
    }
    let listener = tokio::net::TcpListener::bind(&site.console.listen).await?;
    let address = listener.local_addr()?;
    let prompt = json!({ "template": setup.prompts.template(), "sha256": setup.prompts.sha256() });
    let shared = Shared {
        prompt: Arc::new(prompt),
        followed: Arc::new(Followed::new(tape::Columns::new(site))),
        access: Arc::new(Access::new(site)),
        audit: site.audit.path.clone(),
        site: Arc::new(site.clone()),
        view: view.clone(),
        calls,
    };
    tokio::spawn(follow(shared.followed.clone(), shared.audit.clone(), view));
    tokio::spawn(async move {
        let router = router(shared).into_make_service_with_connect_info::<SocketAddr>();
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the console ended");
        }
    });
    tracing::info!("console on http://{address}/");
    Ok(Some(address))
}

/// Reads what the log gets, on a thread where it holds up nothing.
async fn follow(followed: Arc<Followed>, audit: PathBuf, mut view: watch::Receiver<View>) {
    let mut log = None;
    loop {
        let (reader, path, opened) = (followed.clone(), audit.clone(), log.take());
        let pulled = tokio::task::spawn_blocking(move || {
            let log = match opened {
                Some(log) => log,
                None => Log::open(&path)?,
            };
            reader.pull(&log).map(|()| log)
        });
        match pulled.await {
            Ok(Ok(reader)) => log = Some(reader),
            Ok(Err(error)) => tracing::warn!(%error, "the console cannot read the audit log"),
            Err(error) => tracing::error!(%error, "the console's reader of the audit log broke"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
        if view.changed().await.is_err() {
            return;
        }
    }
}

fn router(shared: Shared) -> Router {
    let mut router = Router::new();
    for view in ["/", "/trends", "/decisions", "/decisions/{seq}", "/act", "/reports"] {
        router = router.route(view, get(assets::page));
    }
    router
        .route("/assets/{*name}", get(assets::asset))
        .route("/api/site", get(query::site))
        .route("/api/state", get(query::state))
        .route("/api/headroom", get(query::headroom))
        .route("/api/series", get(query::series))
        .route("/api/decisions", get(query::decisions))
        .route("/api/decisions/{seq}", get(query::record))
        .route("/api/records/{seq}", get(query::record))
        .route("/api/live", get(live::live))
        .route("/api/report", get(report::report))
        .route("/api/session", get(access::session))
        .route("/api/login", post(access::login))
        .route("/api/logout", post(access::logout))
        .route("/api/acts", post(acts::act))
        .route("/api/directives/preview", post(acts::preview))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(16 * 1024))
        .layer(middleware::from_fn_with_state(shared.clone(), access::admit))
        .layer(middleware::map_response(secured))
        .with_state(shared)
}

async fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
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

/// A refusal that says why.
fn refused(status: StatusCode, why: impl std::fmt::Display) -> Response {
    (status, Json(json!({ "error": why.to_string() }))).into_response()
}
