//! `isotherm doctor`: what will fail on this machine, before it does. Reads only.

mod files;
mod memory;

use std::fs;

use serde::Serialize;

use crate::durable::folder_of;
use crate::model;
use crate::reason::admission::{self, Need};
use crate::site::{Backend, Mode, Site};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    pub topic: &'static str,
    pub level: Level,
    pub found: String,
    /// What follows from it, or what to do.
    pub means: String,
}

impl Finding {
    fn new(topic: &'static str, level: Level, found: impl Into<String>, means: impl Into<String>) -> Self {
        Self { topic, level, found: found.into(), means: means.into() }
    }
}

/// Looks at the machine and, if given, at what the site needs of it.
#[must_use]
pub fn examine(site: Option<&Site>) -> Vec<Finding> {
    let mut findings = vec![cpu()];
    findings.extend(memory::examine(site));
    if let Some(site) = site {
        findings.push(model_file(site));
        findings.push(audit_disk(site));
        findings.extend(files::examine(site));
        findings.extend(unattended(site));
    }
    findings
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|s| s.trim().to_owned())
}

fn cpu() -> Finding {
    let flags = read("/proc/cpuinfo").unwrap_or_default();
    let flags = flags.lines().find(|l| l.starts_with("flags") || l.starts_with("Features")).unwrap_or("");
    let vector: Vec<&str> = ["avx512_vnni", "avx512f", "avx_vnni", "avx2", "fma", "f16c", "asimd", "i8mm"]
        .into_iter()
        .filter(|f| flags.split_whitespace().any(|w| w == *f))
        .collect();
    let used = crate::reason::build_info();
    let unused = crate::reason::unused_cpu_features();
    if unused.is_empty() {
        Finding::new(
            "cpu",
            Level::Ok,
            format!("{}; build: {used}", vector.join(" ")),
            "the build uses this CPU's features",
        )
    } else {
        Finding::new(
            "cpu",
            Level::Warn,
            format!("not used: {}; build: {used}", unused.join(" ")),
            "a portable build on a CPU with vector instructions: the model runs about four times slower than a build made on this machine",
        )
    }
}

fn model_file(site: &Site) -> Finding {
    let Backend::Local = site.model.backend else {
        return Finding::new(
            "model",
            Level::Ok,
            "no local model",
            "the backend is a server, or the fallback alone",
        );
    };
    let Some(path) = site.model.path.as_deref() else {
        return Finding::new("model", Level::Fail, "no path", "give model.path");
    };
    match model::inspect::inspect(path) {
        Err(e) => Finding::new("model", Level::Fail, e.to_string(), "the fallback would control alone"),
        Ok(facts) => {
            if let Some(expected) = &site.model.sha256
                && !expected.eq_ignore_ascii_case(&facts.sha256)
            {
                return Finding::new(
                    "model",
                    Level::Fail,
                    format!("{} has SHA-256 {}", path.display(), facts.sha256),
                    format!("the site expects {expected}: the file is another model, or damaged"),
                );
            }
            let need = Need::of(&facts, site.model.context, site.model.cache);
            let mut limits = admission::limits();
            limits.extend(
                site.model.memory_limit_mb.map(|mb| ("memory_limit_mb", mb.saturating_mul(1_000_000))),
            );
            let found = format!(
                "{}, {} MB, SHA-256 {}",
                facts.architecture,
                facts.file_bytes / 1_000_000,
                facts.sha256
            );
            match need.check(&limits) {
                Err(e) => Finding::new("model", Level::Fail, found, e.to_string()),
                Ok(()) if facts.needs_training => Finding::new(
                    "model",
                    Level::Warn,
                    found,
                    "its attention was compressed and not trained since, so its replies are not to be relied on: train it, or use another model",
                ),
                Ok(()) => Finding::new(
                    "model",
                    Level::Ok,
                    found,
                    format!(
                        "needs about {} MB with a context of {} tokens, which there is room for",
                        need.total().div_ceil(1_000_000),
                        site.model.context
                    ),
                ),
            }
        }
    }
}

fn audit_disk(site: &Site) -> Finding {
    let folder = folder_of(&site.audit.path);
    match rustix::fs::statvfs(folder) {
        Ok(stat) => {
            let mb = stat.f_bavail * stat.f_frsize / 1_000_000;
            let level = if mb < 500 { Level::Warn } else { Level::Ok };
            Finding::new(
                "audit disk",
                level,
                format!("{mb} MB free at {}", folder.display()),
                "a full disk stops the agent's writes (what cannot be audited is not done); cooling goes on by the plant",
            )
        }
        Err(e) => Finding::new(
            "audit disk",
            Level::Fail,
            format!("{}: {e}", folder.display()),
            "create the folder of audit.path",
        ),
    }
}

/// A plant that is written to, but cannot tell when nobody writes any more.
#[must_use]
pub fn unattended(site: &Site) -> Option<Finding> {
    let writes = matches!(site.mode, Mode::Auto | Mode::Advise) && !site.setpoints.is_empty();
    let found = match (&site.link.enable, &site.link.heartbeat) {
        _ if !writes => return None,
        (Some(_), Some(_)) => return None,
        (None, _) => "no [link] enable and heartbeat",
        (Some(_), None) => "no [link] heartbeat",
    };
    Some(Finding::new(
        "hand-back",
        Level::Warn,
        found,
        "after a crash or a power cut of the agent nothing gives the plant back to its own controller: the last setpoints stay. Name registers that the plant's watchdog looks at",
    ))
}
