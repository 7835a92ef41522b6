//! What the model is shown. A template lays out the [`Facts`]; this module fills it and says exactly which
//! template and text it was.
//!
//! The prefix depends on the site alone. The body begins with the past, oldest first, so that most of a new
//! prompt equals the one before; what changes every time comes last. Numbers are what costs: the default
//! model's tokenizer splits every digit, so values have the decimals of their unit and no more.

mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};

use crate::facts::Facts;
pub use crate::facts::Shown;
use crate::hex;

/// The file that holds the template, built in and in a prompt folder.
const FILE: &str = "decide.txt";
const BUILT_IN: &str = include_str!("../../prompts/decide.txt");
/// The line between what never changes for a site and the rest.
const BODY: &str = "=== body ===\n";

/// Templates, read once.
#[derive(Clone, Debug)]
pub struct Prompts {
    /// `decide@1`, from the template's first line.
    template: String,
    sha256: String,
    prefix: String,
    body: String,
    files: BTreeMap<String, String>,
}

/// One rendered prompt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Prompt {
    pub prefix: String,
    pub body: String,
    /// Name and version of the template.
    pub template: String,
    pub template_sha256: String,
    /// Of prefix and body.
    pub sha256: String,
}

#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    #[error("{path}: cannot read the prompt template: {source}. model.prompts names a folder with {FILE}", path = path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: expected a first line that begins with {{#- NAME@VERSION, for example {{#- decide@1 -#}}", path = path.display())]
    Unnamed { path: PathBuf },
    #[error("{path}: expected a line \"=== body ===\" between the part that never changes for a site and the rest", path = path.display())]
    NoBody { path: PathBuf },
    #[error("{path}: {why}", path = path.display())]
    Template { path: PathBuf, why: String },
    #[error("prompt template {template}: {why}")]
    Render { template: String, why: String },
}

impl Prompts {
    /// The built-in template, or that of a folder.
    pub fn load(folder: Option<&Path>) -> Result<Self, PromptError> {
        match folder {
            None => Self::parse(Path::new("prompts").join(FILE), BUILT_IN),
            Some(folder) => {
                let path = folder.join(FILE);
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| PromptError::Unreadable { path: path.clone(), source })?;
                Self::parse(path, &text)
            }
        }
    }

    /// The templates of a record, by file name.
    pub fn from_files(mut files: BTreeMap<String, String>) -> Result<Self, PromptError> {
        let path = PathBuf::from(FILE);
        match files.remove(FILE) {
            Some(text) => Self::parse(path, &text),
            None => Err(PromptError::Unreadable { path, source: std::io::ErrorKind::NotFound.into() }),
        }
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, PromptError> {
        let text = text.replace("\r\n", "\n");
        let template = text.strip_prefix("{#- ").and_then(|t| t.split([' ', ':', '\n']).next());
        let Some(template) =
            template.filter(|t| t.split_once('@').is_some_and(|(n, v)| !n.is_empty() && !v.is_empty()))
        else {
            return Err(PromptError::Unnamed { path });
        };
        let Some((prefix, body)) = text.split_once(BODY) else { return Err(PromptError::NoBody { path }) };
        for part in [prefix, body] {
            let why = environment().template_from_str(part).err().map(|e| describe(&e));
            if let Some(why) = why {
                return Err(PromptError::Template { path, why });
            }
        }
        let (template, prefix, body) = (template.to_owned(), prefix.to_owned(), body.to_owned());
        let sha256 = hash(&[FILE, "\0", &text]);
        Ok(Self { template, sha256, prefix, body, files: BTreeMap::from([(FILE.to_owned(), text)]) })
    }

    /// `decide@1`
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Over all files, names included.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The files by name, for the record.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    /// Fills the template. It fails only for a template of the site's own that uses what does not exist.
    pub fn render(&self, shown: &Shown<'_>, facts: &Facts) -> Result<Prompt, PromptError> {
        self.render_within(shown, facts, shown.site.model.history_tokens)
    }

    /// The same with another budget for the past than the site's.
    pub fn render_within(
        &self,
        shown: &Shown<'_>,
        facts: &Facts,
        history_tokens: u32,
    ) -> Result<Prompt, PromptError> {
        let view = view::View::new(shown, facts, history_tokens);
        let fill = |source: &str| {
            environment()
                .render_str(source, Serde(&view))
                .map_err(|e| PromptError::Render { template: self.template.clone(), why: describe(&e) })
        };
        let (prefix, body) = (fill(&self.prefix)?, fill(&self.body)?);
        let sha256 = hash(&[&prefix, &body]);
        Ok(Prompt {
            prefix,
            body,
            template: self.template.clone(),
            template_sha256: self.sha256.clone(),
            sha256,
        })
    }
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    // Its messages name what is wrong in release builds too.
    env.set_debug(true);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    let layout =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    // The delimiters are minijinja's own, which it accepts.
    env.set_syntax(layout.unwrap_or_default());
    env
}

fn describe(error: &minijinja::Error) -> String {
    let line = error.line().map_or(String::new(), |n| format!("line {n}: "));
    format!("{line}{}", error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned))
}

/// SHA-256 of the parts, in lower-case hex.
fn hash(parts: &[&str]) -> String {
    hex::sha256(parts.concat().as_bytes())
}

#[cfg(test)]
mod tests;
