//! The console: its HTTP API, its live stream, and its pages in a real browser.

mod access;
mod browser;
mod filters;
mod health;
mod http;
mod limits;
mod live;
mod openapi;
mod pages;
mod past;
#[cfg(feature = "demo")]
mod pictures;
mod replay;
mod reports;
mod smooth;

use isotherm::console::users::{Role, Users};
use serde_json::{Value, json};

use crate::agent::Rig;
use crate::peers::soon;

const PASSWORD: &str = "correct horse battery";

/// Where the rig's console listens, from its log.
pub(crate) async fn address(rig: &Rig) -> String {
    soon("the console listens", async {
        loop {
            if let Some(address) = console_in(&rig.log()) {
                return address;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

fn console_in(log: &str) -> Option<String> {
    let at = log.rsplit_once("console on ")?.1;
    let (scheme, rest) = at.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split('/').next()?))
}

/// The site of a rig with more under `[console]`, and a source that may rest while others are busy.
fn with_console(site: &str, more: &str) -> String {
    let socket = "control_socket = \"agent.sock\"";
    site.replacen(socket, &format!("{socket}\n{more}"), 1).replacen(
        "watchdog = \"3s\"",
        "watchdog = \"10min\"",
        1,
    )
}

/// The same with a file of users.
fn with_users(site: &str) -> String {
    with_console(site, "users = \"users.toml\"")
}

/// One of each role.
fn add_users(rig: &Rig) {
    let mut users = Users::default();
    users.set("vic", Role::Viewer, PASSWORD).unwrap();
    users.set("ann", Role::Operator, PASSWORD).unwrap();
    users.set("eva", Role::Engineer, PASSWORD).unwrap();
    users.save(&rig.dir.path().join("users.toml")).unwrap();
}

/// An HTTP client as a browser is one: with a cookie and the session's token.
struct Client {
    http: reqwest::Client,
    base: String,
    cookie: String,
    csrf: String,
}

impl Client {
    fn new(base: &str) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (base, cookie, csrf) = (base.to_owned(), String::new(), String::new());
        Self { http: reqwest::Client::new(), base, cookie, csrf }
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).header("cookie", &self.cookie)
    }

    /// Status and JSON.
    async fn json(&self, path: &str) -> (u16, Value) {
        answer(self.get(path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        answer(request.header("x-csrf-token", &self.csrf).json(body)).await
    }

    async fn login(&mut self, name: &str, password: &str) -> u16 {
        let body = json!({ "name": name, "password": password });
        let response = self.http.post(format!("{}/api/login", self.base)).json(&body).send().await.unwrap();
        let status = response.status().as_u16();
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
            let session: Value = response.json().await.unwrap();
            session["user"]["csrf"].as_str().unwrap().clone_into(&mut self.csrf);
        }
        status
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = soon("the console answers", request.send()).await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}
