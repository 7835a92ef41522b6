//! Web page and HTTP API over live state and audit log. Reads go to the log's read-only connection and to
//! what has been read of it; acts go to the controller, as those of the control socket do.

mod access;
mod acts;
mod assets;
mod columns;
mod extract;
mod feed;
mod limits;
mod live;
mod metrics;
mod openapi;
mod power;
mod probes;
mod query;
mod raw;
mod replay;
mod report;
mod room;
mod routes;
mod tape;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

use access::Access;
pub use access::users;
use feed::Followed;
use replay::Replays;
use room::Room;
pub use tls::TlsError;

use crate::audit::Log;
use crate::control::Setup;
use crate::service::socket::Call;
use crate::service::{Beat, View};

/// The page needs nothing but what this server sends, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Between two looks at the log, while it grows.
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Clone)]
struct Shared {
    /// Site and prompts in force.
    setup: watch::Receiver<Arc<Setup>>,
    view: watch::Receiver<View>,
    pulse: watch::Receiver<Beat>,
    audit: PathBuf,
    followed: Arc<Followed>,
    access: Arc<Access>,
    replays: Arc<Replays>,
    /// One long look at the log at a time.
    reading: Arc<Semaphore>,
    calls: mpsc::Sender<Call>,
}

impl Shared {
    fn setup(&self) -> Arc<Setup> {
        self.setup.borrow().clone()
    }
}

/// A connection that asks nothing for so long is closed.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Nor one that asks nothing more. A live stream is one answer for as long as it lasts.
const NEXT_REQUEST: Duration = Duration::from_secs(75);

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error("{key} {address}: {source}")]
    Listen { key: &'static str, address: String, source: std::io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the console has no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// Starts serving in the background; `console.listen = "off"` serves no console. Returns its address.
pub async fn serve(
    in_force: watch::Receiver<Arc<Setup>>,
    view: watch::Receiver<View>,
    pulse: watch::Receiver<Beat>,
    calls: mpsc::Sender<Call>,
) -> Result<Option<SocketAddr>, ConsoleError> {
    let setup = in_force.borrow().clone();
    let site = &setup.site;
    probes::serve(site, probes::Probed { view: view.clone(), pulse: pulse.clone() }).await?;
    if site.console.listen == "off" {
        return Ok(None);
    }
    let tls = site.console.tls.as_ref().map(tls::load).transpose()?;
    let (listener, address) = bound("console.listen", &site.console.listen).await?;
    let shared = Shared {
        followed: Arc::new(Followed::new(columns::Columns::new(site))),
        access: Arc::new(Access::new(site)?),
        replays: Arc::default(),
        reading: Arc::new(Semaphore::new(1)),
        audit: site.audit.path.clone(),
        setup: in_force,
        view: view.clone(),
        pulse,
        calls,
    };
    tokio::spawn(follow(shared.followed.clone(), shared.audit.clone(), view));
    let server = patient(listener);
    let service = routes::router(shared).into_make_service_with_connect_info::<SocketAddr>();
    let scheme = if let (Some(config), Some(files)) = (tls, site.console.tls.clone()) {
        let config = RustlsConfig::from_config(config);
        tokio::spawn(tls::renew(files, config.clone()));
        let server = server.acceptor(RustlsAcceptor::new(config).acceptor(Room::new()));
        tokio::spawn(async move { ended("the console", server.serve(service).await) });
        "https"
    } else {
        let server = server.acceptor(Room::new());
        tokio::spawn(async move { ended("the console", server.serve(service).await) });
        "http"
    };
    tracing::info!("console on {scheme}://{address}/");
    Ok(Some(address))
}

/// What `key` in the site file tells to listen on, and where that is.
async fn bound(key: &'static str, listen: &str) -> Result<(TcpListener, SocketAddr), ConsoleError> {
    let taken = |source| ConsoleError::Listen { key, address: listen.to_owned(), source };
    let listener = TcpListener::bind(listen).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    Ok((listener, address))
}

/// Waits only so long for requests.
fn patient(listener: TcpListener) -> axum_server::Server<SocketAddr> {
    let mut server =
        axum_server::Server::<SocketAddr>::from_listener(listener).first_request_timeout(FIRST_REQUEST);
    server.http_builder().http1().header_read_timeout(NEXT_REQUEST);
    server.http_builder().http2().keep_alive_interval(NEXT_REQUEST);
    server
}

fn ended(what: &str, served: std::io::Result<()>) {
    if let Err(error) = served {
        tracing::error!(%error, "{what} ended");
    }
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

async fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A refusal that says why.
fn refused(status: StatusCode, why: impl std::fmt::Display) -> Response {
    (status, Json(json!({ "error": why.to_string() }))).into_response()
}
