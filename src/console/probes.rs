//! What machines that watch ask: is it alive, is it ready, how is it. Part of the console, and where
//! `telemetry.listen` says so served alone.

use std::net::SocketAddr;

use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, middleware};
use tokio::sync::watch;

use super::{ConsoleError, Room, Shared, bound, ended, metrics, patient, refused, secured};
use crate::service::{Beat, View};
use crate::site::Site;

/// All that probes see: the live state, and whether the control loop turns.
#[derive(Clone)]
pub(super) struct Probed {
    pub(super) view: watch::Receiver<View>,
    pub(super) pulse: watch::Receiver<Beat>,
}

impl FromRef<Shared> for Probed {
    fn from_ref(shared: &Shared) -> Self {
        Self { view: shared.view.clone(), pulse: shared.pulse.clone() }
    }
}

/// Alive: the control loop turns. This server beside it would answer without it, too.
pub(super) async fn health(State(probed): State<Probed>) -> (StatusCode, String) {
    match probed.pulse.borrow().trouble() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// Ready: the loop turns, frames arrive and the log can be written.
pub(super) async fn ready(State(probed): State<Probed>) -> (StatusCode, String) {
    let stuck = probed.pulse.borrow().trouble();
    let missing: Vec<String> = stuck.into_iter().chain(missing(&probed.view.borrow())).collect();
    if missing.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join("; ")))
    }
}

fn missing(view: &View) -> impl Iterator<Item = String> {
    let holds = |key: &str| view.get(key).and_then(View::as_bool).unwrap_or(false);
    let has_frame = view.get("frame").is_some_and(|f| !f.is_null());
    let begun = !view.is_null();
    let all = [
        (begun && !holds("audit_ok"), "the audit log cannot be written"),
        (begun && !holds("source_link"), "no frames arrive: the source is down or silent"),
        (!has_frame, "no frame has arrived yet"),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, why)| why.to_owned())
}

/// Serves them alone, in the background; `None` where the site asks for no such address.
pub(super) async fn serve(site: &Site, probed: Probed) -> Result<Option<SocketAddr>, ConsoleError> {
    let Some(listen) = &site.telemetry.listen else { return Ok(None) };
    let (listener, address) = bound("telemetry.listen", listen).await?;
    let router = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::metrics))
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz") })
        .layer(middleware::map_response(secured))
        .with_state(probed);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = patient(listener).acceptor(Room::new());
    tokio::spawn(async move { ended("what serves metrics", server.serve(service).await) });
    tracing::info!("metrics on http://{address}/metrics");
    Ok(Some(address))
}
