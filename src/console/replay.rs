//! The view Replay: what was recorded, to be played (`play`), and what-ifs to compare it with (`what_if`).

mod play;
mod what_if;

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Shared, refused};
use crate::replay::is_log;

pub(super) use play::{Played, course};
pub(super) use what_if::{Replays, WhatIf, begin, one, runs, stop};

/// The agent's own log, as a source.
const OWN: &str = "log";

/// What there is to replay, and to replay with.
#[derive(Debug, Default, Serialize)]
struct Shelf {
    recordings: Vec<String>,
    settings: Vec<String>,
}

impl Shelf {
    fn of(folder: Option<&Path>) -> Self {
        let mut shelf = Self::default();
        let entries = folder.and_then(|f| std::fs::read_dir(f).ok()).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') || name.ends_with(".mapping.toml") {
                continue;
            }
            match path.extension().and_then(|e| e.to_str()) {
                Some("jsonl" | "ndjson" | "csv" | "parquet") => shelf.recordings.push(name),
                Some("toml" | "gguf") => shelf.settings.push(name),
                _ if path.is_dir() => shelf.settings.push(name),
                _ if is_log(&path) => shelf.recordings.push(name),
                _ => {}
            }
        }
        shelf.recordings.sort();
        shelf.settings.sort();
        shelf
    }
}

pub(super) async fn sources(State(shared): State<Shared>) -> Json<Value> {
    let folder = shared.setup().site.console.recordings.clone();
    let shelf = tokio::task::spawn_blocking(move || Shelf::of(folder.as_deref())).await.unwrap_or_default();
    let span = shared.followed.tape.read().unwrap_or_else(PoisonError::into_inner).span();
    Json(json!({ "log": span.map(|(oldest, newest)| json!({ "oldest": oldest, "newest": newest })),
        "recordings": shelf.recordings, "settings": shelf.settings,
        "folder": shared.setup().site.console.recordings.is_some() }))
}

/// The path of a source; only what the folder lists has one.
fn source(shared: &Shared, name: &str) -> Option<PathBuf> {
    if name == OWN {
        return Some(shared.audit.clone());
    }
    let setup = shared.setup();
    let folder = setup.site.console.recordings.as_deref();
    let known = folder.filter(|f| Shelf::of(Some(f)).recordings.iter().any(|r| r == name));
    known.map(|folder| folder.join(name))
}

fn no_source(name: &str) -> Response {
    let why = format!("source: there is no recording {name:?}; /api/replay/sources lists them");
    refused(StatusCode::NOT_FOUND, why)
}

/// `NAME.mapping.toml` beside `NAME.csv`.
fn mapping(path: &Path) -> Option<PathBuf> {
    Some(path.with_extension("mapping.toml")).filter(|p| p.is_file())
}
