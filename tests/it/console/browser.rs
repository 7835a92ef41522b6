//! Headless Chromium, driven by the WebDriver protocol, which is JSON over HTTP.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::peers::{lacks, on_path, skip, soon};

pub(super) struct Browser {
    http: reqwest::Client,
    session: String,
    _driver: Child,
}

impl Browser {
    /// `None`, loudly, when there is no Chromium.
    pub(super) async fn start(test: &str) -> Option<Self> {
        let missing = "needs Chromium and its driver: scripts/setup test";
        if std::env::var_os("ISOTHERM_TEST_BROWSER").is_some_and(|none| none == "none") {
            lacks(test, missing);
            return None;
        }
        let Some(driver) = on_path("chromedriver") else {
            skip(test, missing);
            return None;
        };
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut driver =
            Command::new(driver).arg("--port=0").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = soon("chromedriver says its port", async {
            loop {
                let line = lines.next_line().await.unwrap().expect("chromedriver runs");
                if let Some((_, port)) = line.split_once("successfully on port ") {
                    return port.trim_end_matches('.').to_owned();
                }
            }
        })
        .await;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let http = reqwest::Client::new();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:loggingPrefs": { "browser": "ALL" }, "goog:chromeOptions": { "args": arguments },
        }}});
        let url = format!("http://127.0.0.1:{port}/session");
        let answer: Value = http.post(&url).json(&wanted).send().await.unwrap().json().await.unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        let browser = Self { http, session: format!("{url}/{id}"), _driver: driver };
        browser.look("light", 1440, 1000).await;
        Some(browser)
    }

    async fn ask(&self, path: &str, body: Option<Value>) -> Result<Value, String> {
        let url = format!("{}/{path}", self.session);
        let request = match body {
            Some(body) => self.http.post(url).json(&body),
            None => self.http.get(url),
        };
        let answer: Value = soon(path, request.send()).await.unwrap().json().await.unwrap();
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }

    /// Theme and size of the window.
    pub(super) async fn look(&self, theme: &str, width: u32, height: u32) {
        for (cmd, params) in [
            (
                "Emulation.setDeviceMetricsOverride",
                json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
            ),
            (
                "Emulation.setEmulatedMedia",
                json!({ "media": "", "features": [{ "name": "prefers-color-scheme", "value": theme },
                    { "name": "prefers-reduced-motion", "value": "reduce" }] }),
            ),
        ] {
            self.tell(cmd, &params).await;
        }
    }

    pub(super) async fn open(&self, url: &str) {
        self.ask("url", Some(json!({ "url": url }))).await.unwrap();
    }

    pub(super) async fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.ask("execute/sync", Some(body)).await.unwrap_or_else(|e| panic!("{script}: {e}"))
    }

    /// The same for a script that calls back.
    pub(super) async fn run_async(&self, script: &str) -> Value {
        self.ask("execute/async", Some(json!({ "script": script, "args": [] }))).await.unwrap()
    }

    /// Waits until an expression is true.
    pub(super) async fn until(&self, what: &str, expression: &str) {
        let waited = tokio::time::timeout(crate::peers::PATIENCE, async {
            while self.run(&format!("return !!({expression})")).await != true {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        if waited.await.is_err() {
            let page = self.run("return document.body.innerText").await;
            panic!("timed out: {what}\n{}\n{:?}", page.as_str().unwrap_or_default(), self.errors().await);
        }
    }

    /// Waits until the page says this.
    pub(super) async fn reads(&self, text: &str) {
        self.until(text, &format!("document.body.innerText.includes({})", json!(text))).await;
    }

    /// Clicks the button with this text, in an open dialog if there is one.
    pub(super) async fn press(&self, text: &str) {
        let find = format!(
            "const place = document.querySelector('dialog[open]') ?? document;
             return [...place.querySelectorAll('button, a')].find(b => b.innerText.trim().toLowerCase() === {} && !b.disabled)",
            json!(text.to_lowercase())
        );
        let element = soon(&format!("a button {text:?}"), async {
            loop {
                let found = self.run(&find).await;
                if let Some(id) = found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str) {
                    return id.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        self.ask(&format!("element/{element}/click"), Some(json!({}))).await.unwrap();
    }

    /// Types into the field with this selector.
    pub(super) async fn fill(&self, css: &str, text: &str) {
        self.until(css, &format!("document.querySelector({})", json!(css))).await;
        let found =
            self.ask("element", Some(json!({ "using": "css selector", "value": css }))).await.unwrap();
        let id =
            found.as_object().and_then(|o| o.values().next()).and_then(Value::as_str).unwrap().to_owned();
        self.ask(&format!("element/{id}/clear"), Some(json!({}))).await.unwrap();
        self.ask(&format!("element/{id}/value"), Some(json!({ "text": text }))).await.unwrap();
    }

    /// What the page has complained about since the last call.
    pub(super) async fn errors(&self) -> Vec<String> {
        let log = self.ask("se/log", Some(json!({ "type": "browser" }))).await.unwrap();
        let severe = log.as_array().unwrap().iter().filter(|l| l["level"] == "SEVERE");
        severe.map(|l| l["message"].to_string()).collect()
    }

    async fn tell(&self, cmd: &str, params: &Value) -> Value {
        self.ask("goog/cdp/execute", Some(json!({ "cmd": cmd, "params": params }))).await.unwrap()
    }

    /// What the page is on A4, as a PDF.
    pub(super) async fn print(&self) -> Vec<u8> {
        let paper = json!({ "paperWidth": 8.27, "paperHeight": 11.69, "printBackground": false });
        decode(self.tell("Page.printToPDF", &paper).await["data"].as_str().unwrap())
    }

    /// Shows the page as it is printed: as wide as A4 within its margins, by the style of paper.
    pub(super) async fn as_paper(&self, theme: &str) {
        self.look(theme, 718, 1000).await;
        let media =
            json!({ "media": "print", "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.tell("Emulation.setEmulatedMedia", &media).await;
    }

    pub(super) async fn screenshot(&self, path: &Path) {
        let picture = self.ask("screenshot", None).await.unwrap();
        std::fs::write(path, decode(picture.as_str().unwrap())).unwrap();
    }

    pub(super) async fn close(self) {
        self.http.delete(&self.session).send().await.unwrap();
    }
}

/// Base64, which WebDriver sends pictures in.
fn decode(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text
        .bytes()
        .filter_map(|b| DIGITS.iter().position(|d| *d == b))
        .map(|d| u32::try_from(d).unwrap())
        .collect();
    digits
        .chunks(4)
        .flat_map(|c| {
            let bits = c.iter().enumerate().fold(0, |n, (i, d)| n | d << (18 - 6 * i));
            bits.to_be_bytes()[1..c.len()].to_vec()
        })
        .collect()
}
