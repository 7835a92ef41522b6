//! Reads and checks a site file. Every complaint names the file, the line, the field, what was expected
//! and what to do; all complaints come at once.

mod check;
mod console;
mod envelope;
mod operations;
mod paths;
mod peers;
mod profile;
mod registers;
mod resolution;
mod settings;
mod spot;
#[cfg(test)]
mod tests;
mod twin;
mod within;
mod workload;

use std::fmt;
use std::path::{Path, PathBuf};

use check::Checker;
use paths::paths;
use serde::Deserialize;
use spot::{Lines, Spot};
use toml::de::{DeTable, Deserializer};

use super::{Backend, Law, Site};
use crate::policy::rl;

/// Why a site file was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error("{path}: cannot read the site file: {source}. Give the path of a site.toml with --site", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: {message}", path = path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("{}", list(path, problems))]
    Invalid { path: PathBuf, problems: Vec<Problem> },
}

/// One thing wrong in a site file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// 1-based line of the field, or of the entry or table that lacks it.
    pub line: Option<usize>,
    /// `signal "chws": range`
    pub field: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn list(path: &Path, problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|p| match p.line {
            Some(line) => format!("{}:{line}: {p}", path.display()),
            None => format!("{}: {p}", path.display()),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Reads, parses and checks a site file. Relative paths in it are taken from the file's own folder.
pub fn load(path: &Path) -> Result<Site, SiteError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| SiteError::Unreadable { path: path.to_owned(), source })?;
    let mut site = parse(&text, path)?;
    let base = path.parent().unwrap_or(Path::new("."));
    for (_, path) in paths(&mut site) {
        if path.is_relative() {
            *path = base.join(&*path);
        }
    }
    if site.controller == Law::Rl {
        rl::attach(&mut site).map_err(|e| SiteError::Invalid {
            path: path.to_owned(),
            problems: vec![Problem { line: None, field: "rl.policy".to_owned(), message: e.to_string() }],
        })?;
    }
    Ok(site)
}

/// Parses and checks a site's text; `path` is for messages, and where the paths of device profiles start.
pub fn parse(text: &str, path: &Path) -> Result<Site, SiteError> {
    let syntax = |e: toml::de::Error| SiteError::Syntax { path: path.to_owned(), message: e.to_string() };
    let invalid = |found: Vec<(Spot, String)>| {
        let lines = Lines::of(text);
        let located = |(spot, message): (Spot, String)| {
            let line = lines.find(&spot);
            Problem { line, field: spot.into_field(), message }
        };
        SiteError::Invalid { path: path.to_owned(), problems: found.into_iter().map(located).collect() }
    };
    let mut table = DeTable::parse(text).map_err(syntax)?;
    let profiles = profile::Texts::of(table.get_ref(), path.parent().unwrap_or(Path::new(".")));
    let problems = profiles.fill(table.get_mut());
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    let mut site = Site::deserialize(Deserializer::from(table)).map_err(|mut e| {
        e.set_input(Some(text));
        syntax(e)
    })?;
    if site.controller != Law::Llm {
        // Nothing would ask it.
        site.model.backend = Backend::None;
    }
    let problems = Checker::default().run(&site);
    if problems.is_empty() { Ok(site) } else { Err(invalid(problems)) }
}

/// The JSON Schema of `site.toml`, as published in `schemas/`.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Site).to_value()
}
