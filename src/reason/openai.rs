//! A model behind an OpenAI-compatible server that holds replies to a JSON Schema.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Chosen, Completion, Failure, Request};
use crate::clock::Stopwatch;

/// Longest reply read from a server.
const MAX_REPLY: usize = 1 << 20;
/// How much of a server's complaint is shown.
const SHOWN: usize = 300;

/// A server, and the model on it.
#[derive(Debug)]
pub struct Server {
    client: reqwest::Client,
    /// Ends in `/chat/completions`.
    url: Url,
    model: String,
    key: Option<String>,
    /// Cleared when the server says that it does not know them.
    logprobs: AtomicBool,
}

impl Server {
    /// `url` goes up to and including `/v1`.
    pub fn new(url: &str, model: &str, key: Option<String>) -> Result<Self, Failure> {
        let failed = |why: String| Failure::Server { url: url.to_owned(), why };
        let endpoint = Url::parse(&format!("{}/chat/completions", url.trim_end_matches('/')))
            .map_err(|e| failed(format!("expected a URL such as http://host:8000/v1: {e}")))?;
        // Fails when the program already has one, which then stays.
        rustls::crypto::ring::default_provider().install_default().ok();
        // A prompt goes where the site file says, and nowhere else.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|e| failed(full(&e)))?;
        Ok(Self { client, url: endpoint, model: model.to_owned(), key, logprobs: AtomicBool::new(true) })
    }

    /// Asks once, within the request's deadline.
    pub async fn ask(&self, request: &Request) -> Result<Completion, Failure> {
        let deadline = Duration::try_from(request.deadline).unwrap_or(Duration::ZERO);
        let watch = Stopwatch::start();
        let exchange = self.exchange(request, watch);
        tokio::time::timeout(deadline, exchange).await.unwrap_or_else(|_| Err(Failure::late(deadline)))
    }

    async fn exchange(&self, request: &Request, watch: Stopwatch) -> Result<Completion, Failure> {
        let logprobs = self.logprobs.load(Ordering::Relaxed);
        let (mut status, mut body) = self.post(request, logprobs).await?;
        if logprobs && status.is_client_error() && contains(&body, "logprobs") {
            self.logprobs.store(false, Ordering::Relaxed);
            (status, body) = self.post(request, false).await?;
        }
        if !status.is_success() {
            let hint = match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => " (check api_key_env)",
                StatusCode::NOT_FOUND => " (check url and name)",
                _ => "",
            };
            return Err(self.failed(format!("answered {status}{hint}: {}", shown(&body))));
        }
        let reply: ChatReply = serde_json::from_slice(&body)
            .map_err(|e| self.failed(format!("expected a chat completion: {e}; found {}", shown(&body))))?;
        self.completion(reply, watch)
    }

    async fn post(&self, request: &Request, logprobs: bool) -> Result<(StatusCode, Vec<u8>), Failure> {
        let mut post = self.client.post(self.url.clone()).json(&self.question(request, logprobs));
        if let Some(key) = &self.key {
            post = post.bearer_auth(key);
        }
        let mut response = post.send().await.map_err(|e| self.failed(full(&e)))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failed(full(&e)))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_REPLY {
                return Err(self.failed(format!("expected a reply of at most {MAX_REPLY} bytes")));
            }
        }
        Ok((response.status(), body))
    }

    fn question(&self, request: &Request, logprobs: bool) -> Value {
        let mut question = json!({
            "model": self.model,
            "messages": [
                { "role": "system", "content": request.prefix },
                { "role": "user", "content": request.body },
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": { "name": "reply", "strict": true, "schema": request.schema },
            },
            "max_tokens": request.sampler.max_tokens,
            "temperature": request.sampler.temperature,
            "seed": request.sampler.seed,
        });
        if logprobs {
            question["logprobs"] = json!(true);
        }
        question
    }

    fn completion(&self, reply: ChatReply, watch: Stopwatch) -> Result<Completion, Failure> {
        let usage = reply.usage.unwrap_or_default();
        let choice = reply.choices.into_iter().next();
        let choice = choice.ok_or_else(|| self.failed("answered without any choice".to_owned()))?;
        match choice.finish_reason.as_deref() {
            Some("length") => return Err(Failure::Unfinished { tokens: usage.completion_tokens }),
            Some("stop") | None => {}
            Some(other) => return Err(self.failed(format!("stopped because of {other:?}"))),
        }
        let text = match (choice.message.content, choice.message.refusal) {
            (Some(text), _) => text,
            (None, Some(refusal)) => return Err(self.failed(format!("the model refused: {refusal}"))),
            (None, None) => return Err(self.failed("answered without content".to_owned())),
        };
        let reported = choice.logprobs.and_then(|l| l.content).unwrap_or_default();
        Ok(Completion {
            tokens: chosen(&reported, &text),
            text,
            prompt_tokens: usage.prompt_tokens,
            reused_tokens: usage.prompt_tokens_details.map_or(0, |d| d.cached_tokens),
            forced_tokens: 0,
            prefill_ms: 0.0,
            decode_ms: watch.millis(),
        })
    }

    fn failed(&self, why: String) -> Failure {
        Failure::Server { url: self.url.to_string(), why }
    }
}

/// The reported tokens that make up the text; none if they do not fit it. Servers also report tokens that
/// are no part of the text, such as a fence around it. The probability reported is that among all tokens,
/// which is at most that among the allowed ones.
fn chosen(reported: &[TokenLogprob], text: &str) -> Vec<Chosen> {
    let bytes = |t: &TokenLogprob| t.bytes.clone().unwrap_or_else(|| t.token.clone().into_bytes());
    let whole: Vec<u8> = reported.iter().flat_map(bytes).collect();
    let Some(start) = whole.windows(text.len().max(1)).position(|part| part == text.as_bytes()) else {
        return Vec::new();
    };
    let mut at = 0;
    let mut tokens = Vec::new();
    for token in reported {
        let length = bytes(token).len();
        if at >= start && at + length <= start + text.len() {
            let p = token.logprob.exp().clamp(0.0, 1.0) as f32;
            tokens.push(Chosen { id: token.id.unwrap_or(-1), bytes: length as u16, p });
        }
        at += length;
    }
    let fits = tokens.iter().map(|t| usize::from(t.bytes)).sum::<usize>() == text.len();
    if fits { tokens } else { Vec::new() }
}

fn contains(body: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(body).contains(word)
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(SHOWN).collect()
}

/// An error with its causes: the outer one alone says little more than that it failed.
fn full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[derive(Deserialize)]
struct ChatReply {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<TokenLogprob>>,
}

#[derive(Deserialize)]
struct TokenLogprob {
    token: String,
    logprob: f64,
    bytes: Option<Vec<u8>>,
    /// llama.cpp's server tells it; the protocol does not.
    id: Option<i32>,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: u32,
}
