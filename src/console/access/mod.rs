//! Who may see and do what. Without users the console shows and does nothing, to this machine only; with
//! users everyone says who they are: people with a session or through a proxy that knows them, machines with
//! a token.

mod attempts;
pub(super) mod login;
mod proxy;
mod sessions;
pub mod users;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Shared, refused};
use crate::clock;
use crate::site::{Proxy, Site};
use attempts::Attempts;
use sessions::Sessions;
use users::{Role, Users, UsersError};

pub(super) const COOKIE: &str = "isotherm_session";
pub(super) const CSRF: &str = "x-csrf-token";
/// What is needed before anyone has logged in.
const OPEN: [&str; 3] = ["/api/session", "/api/login", "/api/logout"];
pub(super) const HOW_TO_ADD: &str = "name a file in the site file, such as `users = \"users.toml\"` under [console], and add someone with `isotherm console user add NAME --role operator --site FILE`";

pub(super) struct Access {
    users: Option<PathBuf>,
    proxy: Option<Proxy>,
    loopback: bool,
    /// Cookies are for TLS alone.
    secure: bool,
    /// What the tokens against forged requests are made of, for people that a proxy knows.
    secret: String,
    sessions: Mutex<Sessions>,
    attempts: Mutex<Attempts>,
    /// One hash at a time: each takes memory, and the guard process is to stay small.
    hashing: Arc<Semaphore>,
}

/// Somebody the console knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) role: Role,
    by: By,
}

/// How the console knows. What a browser sends by itself is not enough for an act: it also has to have read
/// the console's own page.
#[derive(Clone, PartialEq, Eq, Debug)]
enum By {
    Session { csrf: String },
    Proxy { csrf: String },
    Token,
}

impl Person {
    /// As the audit log names it.
    pub(super) fn signature(&self) -> String {
        format!("{} ({}, {})", self.name, self.role.as_str(), self.by())
    }

    fn by(&self) -> &'static str {
        match self.by {
            By::Session { .. } => "console",
            By::Proxy { .. } => "console by proxy",
            By::Token => "token",
        }
    }

    fn shown(&self) -> Value {
        let csrf = match &self.by {
            By::Session { csrf } | By::Proxy { csrf } => Some(csrf),
            By::Token => None,
        };
        json!({ "name": self.name, "role": self.role, "by": self.by(), "csrf": csrf })
    }
}

/// Who sent a request, as `admit` found.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) Option<Person>);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self(None)))
    }
}

/// Why somebody may not.
pub(super) struct Denied(StatusCode, String);

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let mut response = refused(self.0, self.1);
        if self.0 == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl Access {
    pub(super) fn new(site: &Site) -> Result<Self, getrandom::Error> {
        let console = &site.console;
        Ok(Self {
            users: console.users.clone(),
            proxy: console.proxy.clone(),
            loopback: console.is_loopback(),
            secure: console.tls.is_some(),
            secret: sessions::random()?,
            sessions: Mutex::new(Sessions::default()),
            attempts: Mutex::new(Attempts::default()),
            hashing: Arc::new(Semaphore::new(1)),
        })
    }

    /// The users by now: somebody may have been added or removed a moment ago.
    fn users(&self) -> Result<Users, UsersError> {
        let Some(path) = &self.users else { return Ok(Users::default()) };
        Users::load(path).inspect_err(|error| tracing::error!(%error, "nobody can log in"))
    }

    /// Whether everyone has to say who they are.
    pub(super) fn is_guarded(&self) -> bool {
        !self.loopback || self.proxy.is_some() || self.users.as_ref().is_some_and(|p| may_exist(p))
    }

    /// Who sent this. A token that is no good is not made up for by a cookie.
    fn person(&self, headers: &HeaderMap, peer: SocketAddr) -> Option<Person> {
        if let Some(given) = headers.get(header::AUTHORIZATION) {
            let (scheme, token) = given.to_str().ok()?.split_once(' ')?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return None;
            }
            let users = self.users().ok()?;
            let token = users.token(token.trim(), clock::now())?;
            return Some(Person { name: token.name.clone(), role: token.role, by: By::Token });
        }
        self.session(headers).or_else(|| self.proxied(headers, peer))
    }

    /// Who has logged in here, as the users' file has them now. Somebody who was removed, or has another
    /// password since, has to log in again.
    fn session(&self, headers: &HeaderMap) -> Option<Person> {
        let token = cookie(headers)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&token, clock::monotonic())?;
        let (name, password, csrf) = (session.user.clone(), session.password.clone(), session.csrf.clone());
        drop(sessions);
        let users = self.users().ok()?;
        let user = users.get(&name).filter(|user| crate::hex::sha256(user.hash.as_bytes()) == password);
        let Some(user) = user else {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).close(&token);
            return None;
        };
        Some(Person { name, role: user.role, by: By::Session { csrf } })
    }

    /// Whether whoever sent this may still see what they see.
    pub(super) fn lets_in(&self, headers: &HeaderMap, peer: SocketAddr) -> bool {
        !self.is_guarded() || self.person(headers, peer).is_some()
    }

    fn proxied(&self, headers: &HeaderMap, peer: SocketAddr) -> Option<Person> {
        let (name, role) = proxy::person(self.proxy.as_ref()?, headers, peer.ip())?;
        let csrf = crate::hex::sha256(format!("{}:{name}", self.secret).as_bytes());
        Some(Person { name, role, by: By::Proxy { csrf } })
    }

    /// Who may have this machine compute something that changes nothing in the plant: as who may act, and
    /// without users whoever is at this machine.
    pub(super) fn may_compute(&self, who: Who, headers: &HeaderMap) -> Result<(), Denied> {
        if !self.is_guarded() {
            return Ok(());
        }
        let person = self.actor(who, headers)?;
        if person.role >= Role::Operator {
            return Ok(());
        }
        let why = format!("this takes the role operator; you are {}", person.role.as_str());
        Err(Denied(StatusCode::FORBIDDEN, why))
    }

    /// Who may act: known by name, and where a browser sent it, from the console's own page.
    pub(super) fn actor(&self, who: Who, headers: &HeaderMap) -> Result<Person, Denied> {
        if !self.is_guarded() {
            return Err(Denied(
                StatusCode::FORBIDDEN,
                format!("nobody can act from the console yet: {HOW_TO_ADD}"),
            ));
        }
        let Some(person) = who.0 else { return Err(unknown()) };
        let expected = match &person.by {
            By::Session { csrf } | By::Proxy { csrf } => csrf,
            By::Token => return Ok(person),
        };
        let given = headers.get(CSRF).map(HeaderValue::as_bytes);
        if given != Some(expected.as_bytes()) {
            let why = "the request does not carry the session's token (x-csrf-token): reload the page";
            return Err(Denied(StatusCode::FORBIDDEN, why.to_owned()));
        }
        Ok(person)
    }
}

/// A file that cannot be looked at is not one that is not there: that would let everyone in.
fn may_exist(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

fn unknown() -> Denied {
    Denied(StatusCode::UNAUTHORIZED, "log in first, or send a token that is in force".to_owned())
}

/// Lets a request in, or says what is missing.
pub(super) async fn admit(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = &shared.access;
    if access.is_guarded() {
        let person = access.person(request.headers(), peer);
        let path = request.uri().path();
        if person.is_none() && path.starts_with("/api/") && !OPEN.contains(&path) {
            return unknown().into_response();
        }
        request.extensions_mut().insert(Who(person));
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

/// The session's token.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let pairs = cookies.flat_map(|c| c.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned()).next()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse";

    /// With a user, and the folder that the file of users is in.
    pub(in crate::console) fn access() -> (tempfile::TempDir, Access) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/sites/air.toml")).unwrap();
        let mut site = crate::site::parse(&text, Path::new("site.toml")).unwrap();
        site.console.users = Some(path.clone());
        let mut users = Users::default();
        users.set("ann", Role::Operator, PASSWORD).unwrap();
        users.save(&path).unwrap();
        (dir, Access::new(&site).unwrap())
    }

    pub(in crate::console) fn logged_in(access: &Access) -> HeaderMap {
        let users = access.users().unwrap();
        let mut sessions = access.sessions.lock().unwrap();
        let (token, _) = sessions.open(users.get("ann").unwrap(), clock::monotonic()).unwrap();
        HeaderMap::from_iter([(header::COOKIE, format!("{COOKIE}={token}").parse().unwrap())])
    }

    #[test]
    fn a_session_ends_with_the_password_it_was_opened_with() {
        let (_dir, access) = access();
        let path = access.users.clone().unwrap();
        let save = |change: &dyn Fn(&mut Users)| {
            let mut users = Users::load(&path).unwrap();
            change(&mut users);
            users.save(&path).unwrap();
        };
        let peer = ([127, 0, 0, 1], 1).into();
        let old = logged_in(&access);
        assert!(access.lets_in(&old, peer));
        save(&|users| users.set("ann", Role::Operator, "battery staple").unwrap());
        assert!(!access.lets_in(&old, peer), "the password was changed");

        let old = logged_in(&access);
        save(&|users| users.remove("ann").unwrap());
        assert!(!access.lets_in(&old, peer), "she was removed");
        save(&|users| users.set("ann", Role::Operator, "battery staple").unwrap());
        assert!(!access.lets_in(&old, peer), "she was removed, and is somebody new");
        assert!(access.lets_in(&logged_in(&access), peer));
    }

    #[test]
    fn a_file_of_users_that_cannot_be_looked_at_lets_nobody_in() {
        let (dir, mut access) = access();
        // A file for a folder stands in for a folder that is closed: root may look into those.
        access.users = Some(dir.path().join("users.toml").join("users.toml"));
        assert!(access.loopback && access.is_guarded());
        assert!(access.users().is_err());
    }
}
