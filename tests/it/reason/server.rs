//! A server of the OpenAI kind in place of the process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use isotherm::reason::{Failure, Server};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{cores, decision, is_multiple, object, request};
use crate::peers::python_with;

/// A server of the OpenAI kind: llama.cpp's own, from the PyPI package `xllamacpp`.
struct PythonServer {
    child: Child,
    url: String,
}

impl PythonServer {
    fn start(model: &Path) -> Option<Self> {
        let python = python_with("reason::server", "xllamacpp")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/openai_server.py");
        let mut child = Command::new(&python)
            .arg(script)
            .arg(model)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Some(Self { child, url: format!("{}/v1", address.trim()) })
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn a_real_server_answers_within_the_schema() {
    let Some(cores) = cores().await else { return };
    let Some(peer) = PythonServer::start(&cores.model) else { return };
    let server = Server::new(&peer.url, "default", None).unwrap();
    let schema = object(&json!({
        "assessment": { "type": "string", "maxLength": 40 },
        "setpoints": object(&json!({ "pump_speed": { "type": "integer", "minimum": 30, "maximum": 100 } })),
    }));
    let first = server.ask(&request("Inlet 26.1 and rising.", schema.clone())).await.unwrap();
    let reply: Value = serde_json::from_str(&first.text).unwrap();
    assert!(is_multiple(&reply["setpoints"]["pump_speed"], 30.0, 100.0, 1.0), "{reply}");
    assert!(first.prompt_tokens > 100, "{first:?}");
    assert!(!first.tokens.is_empty(), "it reports log-probabilities");
    let bytes: usize = first.tokens.iter().map(|t| usize::from(t.bytes)).sum();
    assert_eq!(bytes, first.text.len());

    let mut hurried = request("Inlet 26.1 and rising.", schema.clone());
    hurried.deadline = SignedDuration::from_millis(1);
    assert_eq!(server.ask(&hurried).await, Err(Failure::Late { deadline_ms: 1 }));
    let mut short = request("Inlet 26.1 and rising.", schema);
    short.sampler.max_tokens = 5;
    assert_eq!(server.ask(&short).await, Err(Failure::Unfinished { tokens: 5 }));
}

/// Answers every request with `replies` in turn, and keeps what was asked.
async fn canned(replies: Vec<(u16, String)>) -> (String, std::sync::Arc<std::sync::Mutex<Vec<Value>>>) {
    use axum::Json;
    use axum::http::StatusCode;
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = asked.clone();
    let app = axum::Router::new().route(
        "/v1/chat/completions",
        axum::routing::post(async move |Json(question): Json<Value>| {
            let mut seen = seen.lock().unwrap();
            let (status, reply) = replies[seen.len().min(replies.len() - 1)].clone();
            seen.push(question);
            (StatusCode::from_u16(status).unwrap(), reply)
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

fn chat(content: &Value, finish: &str) -> String {
    json!({ "choices": [{ "message": { "content": content }, "finish_reason": finish }] }).to_string()
}

#[tokio::test]
async fn a_server_that_fails_says_how() {
    for (status, reply, expected) in [
        (401, "no key".to_owned(), "check api_key_env"),
        (404, "no such model".to_owned(), "check url and name"),
        (503, "loading".to_owned(), "503"),
        (200, "<html>a proxy's login page".to_owned(), "expected a chat completion"),
        (200, json!({ "choices": [] }).to_string(), "without any choice"),
        (200, chat(&Value::Null, "stop"), "without content"),
        (200, chat(&json!("{}"), "content_filter"), "content_filter"),
    ] {
        let (url, _) = canned(vec![(status, reply)]).await;
        let answer = Server::new(&url, "m", None).unwrap().ask(&request("", decision())).await;
        let Err(Failure::Server { why, .. }) = answer else { panic!("{answer:?}") };
        assert!(why.contains(expected), "{why:?} for {status}");
    }
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let answer =
        Server::new(&format!("http://{closed}/v1"), "m", None).unwrap().ask(&request("", decision())).await;
    let Err(Failure::Server { why, .. }) = answer else { panic!("{answer:?}") };
    assert!(why.contains("refused"), "{why}");
    assert!(matches!(Server::new("not a url", "m", None), Err(Failure::Server { .. })));
}

#[tokio::test]
async fn log_probabilities_are_given_up_where_they_are_not_known() {
    let refusal = json!({ "error": { "message": "unknown parameter: logprobs" } }).to_string();
    let reply = chat(&json!("{}"), "stop");
    let (url, asked) = canned(vec![(400, refusal), (200, reply)]).await;
    let server = Server::new(&url, "m", None).unwrap();
    for _ in 0..2 {
        let answer = server.ask(&request("", decision())).await.unwrap();
        assert_eq!((answer.text.as_str(), answer.tokens.len()), ("{}", 0));
    }
    let asked = asked.lock().unwrap();
    let with: Vec<bool> = asked.iter().map(|q| q.get("logprobs").is_some()).collect();
    assert_eq!(with, [true, false, false]);
    assert_eq!(asked[0]["response_format"]["json_schema"]["schema"], decision());
}
