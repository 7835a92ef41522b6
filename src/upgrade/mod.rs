//! Another model or other prompts for a site that is in operation: what a version is, what was found out about a
//! candidate beside the one that decides, and the file in which accepted upgrades outlive a restart.
//!
//! ```text
//!            loaded               accepted                loaded anew, between two decisions
//!  Loading ─────────▶ Shadow ───────────────▶ Installing ───────────────────────▶ in force
//!     └───────────────────┴───────────────────────┴──▶ given up: withdrawn, lost, memory short
//! ```
//!
//! The steps are the controller's (`control::upgrade`), the processes the service's (`service::engines`).

mod examine;
mod kept;
mod tally;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use examine::{Candidate, Found, examine};
pub use kept::{Kept, Origin};
pub use tally::{Side, Tally, Turn};

use crate::prompt::{PromptError, Prompts};
use crate::site::Site;

/// Minutes of control time that a candidate is tried, where nobody says otherwise.
pub const SHADOW_MIN: u32 = 24 * 60;

/// A model and the prompts it is asked with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    pub model: Model,
    pub prompts: Templates,
}

/// Which model it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "UpgradeModel")]
pub enum Model {
    /// A GGUF file, loaded only if it still has this hash.
    File { path: PathBuf, sha256: String },
    /// A model of the site's server, by the name it has there.
    Served { name: String },
}

/// Prompts as they were read: what becomes of their folder later changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Templates {
    /// `None`: the built-in ones.
    pub folder: Option<PathBuf>,
    pub template: String,
    pub sha256: String,
    pub files: BTreeMap<String, String>,
}

impl Templates {
    #[must_use]
    pub fn of(prompts: &Prompts, folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            template: prompts.template().to_owned(),
            sha256: prompts.sha256().to_owned(),
            files: prompts.files().clone(),
        }
    }
}

impl Version {
    /// The site as this version has it.
    #[must_use]
    pub fn applied_to(&self, site: &Site) -> Site {
        let mut site = site.clone();
        match &self.model {
            Model::File { path, sha256 } => {
                site.model.path = Some(path.clone());
                site.model.sha256 = Some(sha256.clone());
            }
            Model::Served { name } => site.model.name = Some(name.clone()),
        }
        site.model.prompts.clone_from(&self.prompts.folder);
        site
    }

    pub fn prompts(&self) -> Result<Prompts, PromptError> {
        Prompts::from_files(self.prompts.files.clone())
    }

    /// Without the text of the prompts.
    #[must_use]
    pub fn shown(&self) -> Value {
        let Templates { folder, template, sha256, .. } = &self.prompts;
        json!({ "model": self.model,
            "prompts": { "folder": folder, "template": template, "sha256": sha256 } })
    }

    /// In words, beside `other`: what is the same in both is left out.
    fn told_beside(&self, other: &Self) -> String {
        let short = |sha256: &str| sha256.chars().take(12).collect::<String>();
        let model = (self.model != other.model).then(|| match &self.model {
            Model::File { sha256, .. } => format!("model {}", short(sha256)),
            Model::Served { name } => format!("model {name}"),
        });
        let prompts = (self.prompts.sha256 != other.prompts.sha256)
            .then(|| format!("prompt {} {}", self.prompts.template, short(&self.prompts.sha256)));
        model.into_iter().chain(prompts).collect::<Vec<_>>().join(", ")
    }
}

/// One step from a version to another, and what was found out before it was taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Upgrade {
    pub from: Version,
    pub to: Version,
    /// Who wanted it; of an accepted one, who accepted it.
    pub who: String,
    pub why: String,
    pub shadow_min: u32,
    /// Of the trial; it begins when the candidate is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    #[serde(default, skip_serializing_if = "Tally::is_empty")]
    pub tally: Tally,
    /// It decides as soon as it is loaded for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
}

impl Upgrade {
    /// `model A -> model B`
    #[must_use]
    pub fn told(&self) -> String {
        format!("{} -> {}", self.from.told_beside(&self.to), self.to.told_beside(&self.from))
    }
}

/// When a candidate is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    #[schemars(with = "String")]
    pub since: Timestamp,
    #[schemars(with = "String")]
    pub until: Timestamp,
}

/// Accepted upgrades.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Lineage {
    pub in_force: Version,
    /// What it replaced, and that before; the first is the site file's own.
    pub before: Vec<Version>,
}

impl Lineage {
    /// After an upgrade was accepted.
    #[must_use]
    pub fn extended(now: Option<&Self>, from: Version, to: Version) -> Self {
        let mut before = now.map_or_else(Vec::new, |l| l.before.clone());
        before.push(from);
        Self { in_force: to, before }
    }

    /// One step back: what is in force then, and what remains of the lineage.
    #[must_use]
    pub fn back(&self) -> Option<(Version, Option<Self>)> {
        let (last, rest) = self.before.split_last()?;
        let remains = (!rest.is_empty()).then(|| Self { in_force: last.clone(), before: rest.to_vec() });
        Some((last.clone(), remains))
    }
}
