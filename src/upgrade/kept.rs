//! The file beside the audit log in which accepted upgrades, and a trial under way, outlive a restart. The site
//! file stays what its engineer wrote.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Lineage, Upgrade};
use crate::durable;
use crate::site::Site;

/// What the site file says of model and prompts. When that changes, it is the site file that counts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Origin {
    path: Option<PathBuf>,
    sha256: Option<String>,
    url: Option<String>,
    name: Option<String>,
    prompts: Option<PathBuf>,
}

impl Origin {
    /// Of a site as its file has it. Paths are absolute: a start from another folder is no change.
    #[must_use]
    pub fn of(site: &Site) -> Self {
        let model = &site.model;
        let absolute =
            |path: &Option<PathBuf>| path.as_ref().map(|p| std::path::absolute(p).unwrap_or(p.clone()));
        Self {
            path: absolute(&model.path),
            sha256: model.sha256.clone(),
            url: model.url.clone(),
            name: model.name.clone(),
            prompts: absolute(&model.prompts),
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub origin: Origin,
    #[serde(default)]
    pub lineage: Option<Lineage>,
    #[serde(default)]
    pub trial: Option<Upgrade>,
}

impl Kept {
    /// Beside the audit log.
    #[must_use]
    pub fn path(site: &Site) -> PathBuf {
        site.audit.path.with_extension("upgrade.json")
    }

    /// What an earlier run left; nothing where the site file has changed since, or the file cannot be used:
    /// the text says so.
    #[must_use]
    pub fn read(site: &Site) -> (Self, Option<String>) {
        let path = Self::path(site);
        let origin = Origin::of(site);
        let none = Self { origin: origin.clone(), lineage: None, trial: None };
        let told =
            |why: String| format!("{}: {why}; the site file's model and prompts decide", path.display());
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return (none, None),
            Err(e) => return (none, Some(told(e.to_string()))),
        };
        let kept = match serde_json::from_slice::<Self>(&text) {
            Ok(kept) => kept,
            Err(e) => return (none, Some(told(format!("is not what was written there: {e}")))),
        };
        if kept.origin != origin {
            let why = "the site file's [model] was changed after this was accepted".to_owned();
            return (none, Some(told(why)));
        }
        if let Some(Err(e)) = kept.lineage.as_ref().map(|l| l.in_force.prompts()) {
            return (none, Some(told(e.to_string())));
        }
        (kept, None)
    }

    /// Whole or not at all, and on the disk. Nothing to keep: no file.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        if self.lineage.is_none() && self.trial.is_none() {
            return match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        durable::write(path, self)
    }
}
