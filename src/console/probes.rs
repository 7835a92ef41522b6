//! What machines that watch ask: is it alive, is it ready, how is it. Part of the console, and where
//! `telemetry.listen` says so served alone.

use std::net::SocketAddr;

use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, middleware};
use tokio::sync::watch;

use super::{ConsoleError, Room, Shared, bound, ended, metrics, patient, refused, secured};
use crate::service::View;
use crate::site::Site;

/// The live state, which is all that probes see.
pub(super) type Probed = watch::Receiver<View>;

impl FromRef<Shared> for Probed {
    fn from_ref(shared: &Shared) -> Self {
        shared.view.clone()
    }
}

pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// Ready: frames arrive and the log can be written.
pub(super) async fn ready(State(view): State<Probed>) -> (StatusCode, &'static str) {
    let view = view.borrow();
    let holds = |key: &str| view.get(key).and_then(View::as_bool).unwrap_or(false);
    if holds("audit_ok") && holds("source_link") && view.get("frame").is_some_and(|f| !f.is_null()) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

/// Serves them alone, in the background; `None` where the site asks for no such address.
pub(super) async fn serve(site: &Site, view: Probed) -> Result<Option<SocketAddr>, ConsoleError> {
    let Some(listen) = &site.telemetry.listen else { return Ok(None) };
    let (listener, address) = bound("telemetry.listen", listen).await?;
    let router = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz") })
        .layer(middleware::map_response(secured))
        .with_state(view);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = patient(listener).acceptor(Room::new());
    tokio::spawn(async move { ended("what serves metrics", server.serve(service).await) });
    tracing::info!("metrics on http://{address}/metrics");
    Ok(Some(address))
}
