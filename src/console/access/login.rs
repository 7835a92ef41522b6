//! Logging in with name and password, and out.

use std::net::SocketAddr;
use std::sync::PoisonError;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::super::{Shared, extract, refused};
use super::{By, COOKIE, Denied, HOW_TO_ADD, Person, Who, cookie, users};
use crate::clock;

/// Who one is, and whether anyone could be somebody.
pub(in crate::console) async fn session(State(shared): State<Shared>, who: Who) -> Response {
    Json(json!({
        "user": who.0.map(|person| person.shown()),
        "login": shared.access.is_guarded(),
        "how_to_add": HOW_TO_ADD,
    }))
    .into_response()
}

#[derive(Deserialize, JsonSchema)]
pub(in crate::console) struct Login {
    name: String,
    password: String,
}

pub(in crate::console) async fn login(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    extract::Json(login): extract::Json<Login>,
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
        return Denied(StatusCode::UNAUTHORIZED, "name or password is wrong".to_owned()).into_response();
    };
    attempts.succeeded(peer.ip(), &name);
    drop(attempts);
    let opened = access.sessions.lock().unwrap_or_else(PoisonError::into_inner).open(&name, now);
    match opened {
        Ok((token, csrf)) => {
            tracing::info!(user = %name, role = role.as_str(), from = %peer.ip(), "logged in");
            let secure = if access.secure { "; Secure" } else { "" };
            let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/{secure}");
            let person = Person { name, role, by: By::Session { csrf } };
            ([(header::SET_COOKIE, cookie)], Json(json!({ "user": person.shown() }))).into_response()
        }
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, format!("no random numbers: {e}")),
    }
}

pub(in crate::console) async fn logout(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(token) = cookie(&headers) {
        shared.access.sessions.lock().unwrap_or_else(PoisonError::into_inner).close(&token);
    }
    let cookie = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Json(json!({}))).into_response()
}
