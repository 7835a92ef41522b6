//! Logging in with name and password, and out.

use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::super::{Shared, extract, refused};
use super::users::{self, User};
use super::{Access, By, COOKIE, Denied, HOW_TO_ADD, Person, Who, cookie};
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
    let from = peer.ip();
    if let Err(refusal) = may_try(access, from, &login.name) {
        return refusal.into_response();
    }
    let Ok(turn) = access.hashing.clone().acquire_owned().await else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping");
    };
    let asked = shared.clone();
    let checked = tokio::task::spawn_blocking(move || {
        // Until it is hashed, even if nobody waits for it any more.
        let _turn = turn;
        check(&asked.access, from, &login)
    });
    let user = match checked.await {
        Ok(Ok(user)) => user,
        Ok(Err(refusal)) => return refusal.into_response(),
        Err(e) => return refused(StatusCode::INTERNAL_SERVER_ERROR, e),
    };
    let opened =
        access.sessions.lock().unwrap_or_else(PoisonError::into_inner).open(&user, clock::monotonic());
    match opened {
        Ok((token, csrf)) => {
            tracing::info!(user = %user.name, role = user.role.as_str(), %from, "logged in");
            let secure = if access.secure { "; Secure" } else { "" };
            let cookie = format!("{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/{secure}");
            let person = Person { name: user.name, role: user.role, by: By::Session { csrf } };
            ([(header::SET_COOKIE, cookie)], Json(json!({ "user": person.shown() }))).into_response()
        }
        Err(e) => refused(StatusCode::SERVICE_UNAVAILABLE, format!("no random numbers: {e}")),
    }
}

/// Why somebody is not logged in.
#[derive(Debug)]
enum Refusal {
    TooMany(Duration),
    Wrong,
    /// The file of users cannot be read.
    NoUsers,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::TooMany(wait) => {
                let seconds = wait.as_secs() + 1;
                let body = json!({ "error": format!("too many attempts: wait {seconds} s") });
                let headers = [(header::RETRY_AFTER, seconds.to_string())];
                (StatusCode::TOO_MANY_REQUESTS, headers, Json(body)).into_response()
            }
            Self::Wrong => {
                Denied(StatusCode::UNAUTHORIZED, "name or password is wrong".to_owned()).into_response()
            }
            Self::NoUsers => refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "nobody can log in: the agent cannot read its file of users; its log says why",
            ),
        }
    }
}

fn may_try(access: &Access, from: IpAddr, name: &str) -> Result<(), Refusal> {
    let attempts = access.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    attempts.wait(from, name, clock::monotonic()).map_or(Ok(()), |wait| Err(Refusal::TooMany(wait)))
}

/// Whose password this is. Every try counts, whether or not anybody waits for the answer.
fn check(access: &Access, from: IpAddr, login: &Login) -> Result<User, Refusal> {
    // Others may have failed while this one waited for its turn.
    may_try(access, from, &login.name)?;
    let users = access.users().map_err(|_| Refusal::NoUsers)?;
    let user = users.get(&login.name);
    let is_right = users::verify(user, &login.password);
    let mut attempts = access.attempts.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(user) = user.filter(|_| is_right) {
        attempts.succeeded(from, &login.name);
        return Ok(user.clone());
    }
    attempts.failed(from, &login.name, clock::monotonic());
    tracing::warn!(user = %login.name.escape_debug(), %from, "login refused");
    Err(Refusal::Wrong)
}

pub(in crate::console) async fn logout(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(token) = cookie(&headers) {
        shared.access.sessions.lock().unwrap_or_else(PoisonError::into_inner).close(&token);
    }
    let cookie = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0");
    ([(header::SET_COOKIE, cookie)], Json(json!({}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::super::tests::access;
    use super::*;

    /// Those that came before the first failure was counted wait like those after it, and nobody has to hear
    /// the answer for a try to count.
    #[test]
    fn tries_in_line_are_counted_before_they_are_hashed() {
        let (_dir, access) = access();
        let from = [10, 0, 0, 1].into();
        let login = |password: &str| Login { name: "ann".to_owned(), password: password.to_owned() };
        assert!(check(&access, from, &login("correct horse")).is_ok());
        for _ in 0..5 {
            assert!(may_try(&access, from, "ann").is_ok());
            assert!(matches!(check(&access, from, &login("wrong")), Err(Refusal::Wrong)));
        }
        let late = check(&access, from, &login("correct horse"));
        assert!(matches!(late, Err(Refusal::TooMany(_))), "{late:?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_a_wrong_password() {
        let (dir, access) = access();
        std::fs::write(dir.path().join("users.toml"), "no users").unwrap();
        let login = Login { name: "ann".to_owned(), password: "correct horse".to_owned() };
        let refusal = check(&access, [10, 0, 0, 1].into(), &login).unwrap_err();
        assert!(matches!(refusal, Refusal::NoUsers), "{refusal:?}");
        assert_eq!(refusal.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
