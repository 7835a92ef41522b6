//! Looks at a candidate before anything is started of it. Reads files, and so is not for the control loop.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Model, Templates, Version};
use crate::control::Setup;
use crate::model::{self, inspect::inspect};
use crate::prompt::Prompts;
use crate::reason::admission::{self, Need};
use crate::site::Backend;

/// What is proposed, as it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Candidate {
    /// A file or, for a server, a name; the present one when absent.
    pub model: Option<String>,
    /// The file must have this hash.
    pub sha256: Option<String>,
    /// A folder; the present prompts when absent.
    pub prompts: Option<PathBuf>,
}

/// Both versions as they were found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    pub from: Version,
    pub to: Version,
}

/// Names both versions by their hashes, or says what speaks against the candidate. `loaded`: the hash of the
/// file that decides now, where that is known.
pub fn examine(setup: &Setup, loaded: Option<String>, candidate: &Candidate) -> Result<Found, String> {
    let site = &setup.site.model;
    let (from, to) = match site.backend {
        Backend::None => return Err("the site runs without a model: there is nothing to upgrade".to_owned()),
        Backend::Openai => {
            if candidate.sha256.is_some() {
                return Err("the model is on a server, which says no SHA-256 of it".to_owned());
            }
            let served = |name: &String| Model::Served { name: name.clone() };
            let from = served(site.name.as_ref().ok_or("[model] name is missing")?);
            let to = candidate.model.as_ref().map_or_else(|| from.clone(), served);
            (from, to)
        }
        Backend::Local => {
            let path = site.path.clone().ok_or("[model] path is missing")?;
            let known = loaded.or_else(|| site.sha256.clone());
            let sha256 = match known {
                Some(sha256) => sha256.to_lowercase(),
                None => model::sha256(&path)
                    .map_err(|e| format!("the present model {} cannot be read: {e}", path.display()))?,
            };
            let from = Model::File { path, sha256 };
            let to = match &candidate.model {
                Some(path) => file(setup, Path::new(path), candidate.sha256.as_deref())?,
                None if candidate.sha256.is_some() => {
                    return Err("a SHA-256 is of a file: name it too".to_owned());
                }
                None => from.clone(),
            };
            (from, to)
        }
    };
    let present = Templates::of(&setup.prompts, site.prompts.clone());
    let proposed = match &candidate.prompts {
        Some(folder) if folder.is_relative() => return Err(not_absolute(folder)),
        Some(folder) => {
            let prompts = Prompts::load(Some(folder)).map_err(|e| e.to_string())?;
            Templates::of(&prompts, Some(folder.clone()))
        }
        None => present.clone(),
    };
    let same_model = match (&from, &to) {
        (Model::File { sha256: a, .. }, Model::File { sha256: b, .. }) => a == b,
        (a, b) => a == b,
    };
    if same_model && proposed.sha256 == present.sha256 {
        return Err("the candidate is what decides already: the same model with the same prompts".to_owned());
    }
    Ok(Found {
        from: Version { model: from, prompts: present },
        to: Version { model: to, prompts: proposed },
    })
}

/// A readable model of the right hash that there is room for, beside the one that is loaded.
fn file(setup: &Setup, path: &Path, expected: Option<&str>) -> Result<Model, String> {
    if path.is_relative() {
        return Err(not_absolute(path));
    }
    let found = inspect(path).map_err(|e| e.to_string())?;
    if let Some(expected) = expected.filter(|e| !e.eq_ignore_ascii_case(&found.sha256)) {
        return Err(format!("{}: expected SHA-256 {expected}, found {}", path.display(), found.sha256));
    }
    let model = &setup.site.model;
    let mut limits = admission::limits();
    limits.extend(model.memory_limit_mb.map(|mb| ("memory_limit_mb", mb.saturating_mul(1_000_000))));
    Need::of(&found, model.context, model.cache).check(&limits).map_err(|e| e.to_string())?;
    Ok(Model::File { path: path.to_owned(), sha256: found.sha256 })
}

fn not_absolute(path: &Path) -> String {
    format!("{}: expected an absolute path, since the agent has a folder of its own", path.display())
}
