//! Who may see and do what. Without users the console shows and does nothing, to this machine only; with
//! users everyone logs in.

mod attempts;
mod sessions;
pub mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{Shared, refused};
use crate::clock;
use crate::site::Site;
use attempts::Attempts;
use sessions::Sessions;
use users::{Role, Users};

const COOKIE: &str = "isotherm_session";
const CSRF: &str = "x-csrf-token";
/// What is needed before anyone has logged in.
const OPEN: [&str; 3] = ["/api/session", "/api/login", "/api/logout"];
pub(super) const HOW_TO_ADD: &str = "name a file in the site file, such as `users = \"users.toml\"` under [console], and add someone with `isotherm console user add NAME --role operator --site FILE`";

pub(super) struct Access {
    users: Option<PathBuf>,
    loopback: bool,
    sessions: Mutex<Sessions>,
    attempts: Mutex<Attempts>,
    /// One hash at a time: each takes memory, and the guard process is to stay small.
    hashing: Semaphore,
}

/// Somebody who has logged in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) role: Role,
    csrf: String,
}

/// Why somebody may not.
pub(super) struct Denied(StatusCode, String);

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        refused(self.0, self.1)
    }
}

impl Access {
    pub(super) fn new(site: &Site) -> Self {
        Self {
            users: site.console.users.clone(),
            loopback: site.console.is_loopback(),
            sessions: Mutex::new(Sessions::default()),
            attempts: Mutex::new(Attempts::default()),
            hashing: Semaphore::new(1),
        }
    }

    /// The users by now: somebody may have been added or removed a moment ago.
    fn users(&self) -> Users {
        let Some(path) = &self.users else { return Users::default() };
        Users::load(path).unwrap_or_else(|error| {
            tracing::error!(%error, "nobody can log in");
            Users::default()
        })
    }

    /// Whether everyone has to log in.
    fn is_guarded(&self) -> bool {
        !self.loopback || self.users.as_ref().is_some_and(|p| p.exists())
    }

    /// Who sent this, as the users' file has them now.
    fn person(&self, headers: &HeaderMap) -> Option<Person> {
        let token = token(headers)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&token, clock::monotonic())?;
        let (name, csrf) = (session.user.clone(), session.csrf.clone());
        drop(sessions);
        let role = self.users().get(&name)?.role;
        Some(Person { name, role, csrf })
    }

    /// Who may act: logged in, and the request comes from the console's own page.
    pub(super) fn actor(&self, headers: &HeaderMap) -> Result<Person, Denied> {
        if !self.is_guarded() {
            return Err(Denied(
                StatusCode::FORBIDDEN,
                format!("nobody can act from the console yet: {HOW_TO_ADD}"),
            ));
        }
        let Some(person) = self.person(headers) else {
            return Err(Denied(StatusCode::UNAUTHORIZED, "log in first".to_owned()));
        };
        let given = headers.get(CSRF).map(HeaderValue::as_bytes);
        if given != Some(person.csrf.as_bytes()) {
            let why = "the request does not carry the session's token (x-csrf-token): reload the page";
            return Err(Denied(StatusCode::FORBIDDEN, why.to_owned()));
        }
        Ok(person)
    }
}

/// Lets a request in, or says what is missing.
pub(super) async fn admit(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let access = &shared.access;
    let path = request.uri().path();
    if access.is_guarded() {
        let needs_login = path.starts_with("/api/") && !OPEN.contains(&path);
        if needs_login && access.person(request.headers()).is_none() {
            return refused(StatusCode::UNAUTHORIZED, "log in first");
        }
    } else if !is_local_name(request.headers(), request.uri()) {
        // A page from elsewhere can have its own name resolve to this machine, and read what it likes.
        return refused(
            StatusCode::MISDIRECTED_REQUEST,
            "expected localhost or a loopback address in the address line: without users only this machine is served",
        );
    }
    next.run(request).await
}

fn is_local_name(headers: &HeaderMap, uri: &Uri) -> bool {
    let host =
        headers.get(header::HOST).and_then(|h| h.to_str().ok()).or(uri.authority().map(Authority::as_str));
    let Some(authority) = host.and_then(|h| h.parse::<Authority>().ok()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn token(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let pairs = cookies.flat_map(|c| c.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned()).next()
}

/// Who one is, and whether anyone could be somebody.
pub(super) async fn session(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let access = &shared.access;
    Json(json!({
        "user": access.person(&headers),
        "login": access.is_guarded(),
        "how_to_add": HOW_TO_ADD,
    }))
    .into_response()
}

#[derive(Deserialize)]
pub(super) struct Login {
    name: String,
    password: String,
}

pub(super) async fn login(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Json(login): Json<Login>,
) -> Response {
    let access = &shared.access;
    let now = clock::monotonic();
    let wait =
        access.attempts.lock().unwrap_or_else(PoisonError::into_inner).wait(peer.ip(), &login.name, now);
    if let Some(wait) = wait {
        let seconds = wait.as_secs() + 1;
        let body = json!({ "error": format!("too many attempts: wait {seconds} s") });
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], Json(body))
            .into_response();
    }
    let users = access.users();
    let name = login.name.clone();
    let Ok(_turn) = access.hashing.acquire().await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
    };
    let checked = tokio::task::spawn_blocking(move || {
        let user = users.get(&login.name);
        users::verify(user, &login.password).then(|| user.map(|u| u.role)).flatten()
    });
    let role = checked.await.unwrap_or_default();
    let mut attempts = access.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(role) = role else {
        attempts.failed(peer.ip(), &name, now);
        tracing::warn!(user = %name.escape_debug(), from = %peer.ip(), "login refused");
        return refused(StatusCode::UNAUTHORIZED, "name or password is wrong");
    };
    attempts.succeeded(peer.ip(), &name);
    drop(attempts);
    let opened = access.sessions.lock().unwrap_or_else(PoisonError::into_inner).open(&name, now);
    match opened {
        Ok((token, csrf)) => {
            tracing::info!(user = %name, role = role.as_str(), from = %peer.ip(), "logged in");
            let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
            let person = Person { name, role, csrf };
            ([(header::SET_COOKIE, cookie)], Json(json!({ "user": person }))).into_response()
        }
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, format!("no random numbers: {e}")),
    }
}

pub(super) async fn logout(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(token) = token(&headers) {
        shared.access.sessions.lock().unwrap_or_else(PoisonError::into_inner).close(&token);
    }
    let cookie = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Json(json!({}))).into_response()
}
