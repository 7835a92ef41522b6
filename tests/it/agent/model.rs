//! A model server that says what a test wants it to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};

/// What the model server does with the next questions.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// This decision.
    Text(String),
    Status(u16),
    /// This decision, and the rest from then on.
    First(String, Box<Say>),
    /// Nothing, for longer than any deadline.
    Nothing,
}

/// What each model says, by its name; the rest says what "" does.
type Script = Arc<Mutex<BTreeMap<String, Say>>>;

/// An OpenAI-compatible server with one fixed answer for each model.
pub(crate) struct ModelServer {
    pub(crate) url: String,
    script: Script,
}

impl ModelServer {
    pub(crate) async fn start(say: Say) -> Self {
        let script = Arc::new(Mutex::new(BTreeMap::from([(String::new(), say)])));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router =
            axum::Router::new().route("/v1/chat/completions", post(answer)).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, script }
    }

    pub(crate) fn now_says(&self, say: Say) {
        self.model_says("", say);
    }

    pub(crate) fn model_says(&self, name: &str, say: Say) {
        self.script.lock().unwrap().insert(name.to_owned(), say);
    }
}

async fn answer(
    State(script): State<Script>,
    axum::Json(asked): axum::Json<Value>,
) -> Result<axum::Json<Value>, axum::http::StatusCode> {
    let say = {
        let mut script = script.lock().unwrap();
        let name = asked["model"].as_str().filter(|name| script.contains_key(*name)).unwrap_or_default();
        let say = script.get_mut(name).unwrap();
        let now = say.clone();
        if let Say::First(_, then) = &now {
            *say = (**then).clone();
        }
        now
    };
    match say {
        Say::Text(text) | Say::First(text, _) => Ok(axum::Json(json!({
            "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 100, "completion_tokens": 50 },
        }))),
        Say::Status(code) => Err(axum::http::StatusCode::from_u16(code).unwrap()),
        Say::Nothing => std::future::pending().await,
    }
}

/// A decision that is true of the frames [`Rig::frame`] sends: everything steady, chilled water to `chws`.
pub(crate) fn honest(chws: f64, direction: &str) -> Say {
    Say::Text(
        json!({
            "assessment": "The inlet is steady.",
            "evidence": [{ "signal": "inlet", "value": 22.0, "trend": "steady" }],
            "setpoints": { "chws_sp": chws },
            "rationale": format!("{direction} chws_sp."),
        })
        .to_string(),
    )
}
