//! `isotherm doctor`: what will fail on this machine, before it does. Reads only.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::model;
use crate::reason::admission::{self, Need};
use crate::site::{Backend, Site};

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
    let mut findings = vec![cpu(), memory(), overcommit(), swap(), cgroup(), lockable(), oom(), pressure()];
    if let Some(site) = site {
        findings.push(model_file(site));
        findings.push(audit_disk(site));
    }
    findings
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|s| s.trim().to_owned())
}

fn meminfo_mb(key: &str) -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb / 1024)
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

fn memory() -> Finding {
    let (total, available) = (meminfo_mb("MemTotal"), meminfo_mb("MemAvailable"));
    match (total, available) {
        (Some(t), Some(a)) => {
            let level = if a < 400 { Level::Warn } else { Level::Ok };
            Finding::new(
                "memory",
                level,
                format!("{a} MB available of {t} MB"),
                "before a model is loaded, weights + cache + buffers are compared with what is available; too little is refused and the fallback controls",
            )
        }
        _ => Finding::new(
            "memory",
            Level::Warn,
            "/proc/meminfo is not readable",
            "the admission check before loading a model cannot work",
        ),
    }
}

fn overcommit() -> Finding {
    match read("/proc/sys/vm/overcommit_memory").as_deref() {
        Some("2") => Finding::new(
            "overcommit",
            Level::Warn,
            "vm.overcommit_memory = 2 (strict)",
            "mapping a model may be refused although memory is free; the refusal is handled, the fallback controls",
        ),
        Some(mode) => Finding::new(
            "overcommit",
            Level::Ok,
            format!("vm.overcommit_memory = {mode}"),
            "reserving succeeds, first use takes the page: a shortage shows later, as reclaim and then a kill",
        ),
        None => Finding::new("overcommit", Level::Warn, "unknown", "not Linux, or /proc is not mounted"),
    }
}

fn swap() -> Finding {
    match meminfo_mb("SwapTotal") {
        Some(0) => Finding::new(
            "swap",
            Level::Ok,
            "none",
            "under pressure the kernel drops file pages (the mapped model first), then kills; there is no slow middle",
        ),
        Some(mb) => Finding::new(
            "swap",
            Level::Ok,
            format!("{mb} MB"),
            "the guard asks to be locked in memory so that it never waits for swap",
        ),
        None => Finding::new("swap", Level::Warn, "unknown", "/proc/meminfo is not readable"),
    }
}

fn cgroup() -> Finding {
    let own = read("/proc/self/cgroup").unwrap_or_default();
    let v2 = own.lines().find_map(|l| l.strip_prefix("0::")).map(str::to_owned);
    let limit = v2.as_deref().and_then(|p| read(&format!("/sys/fs/cgroup{p}/memory.max")));
    match (v2, limit) {
        (Some(path), Some(max)) => Finding::new(
            "cgroup",
            Level::Ok,
            format!("v2 {path}, memory.max = {max}"),
            "a limit here kills inside the group: the reasoner first, by its oom_score_adj",
        ),
        (Some(path), None) => Finding::new(
            "cgroup",
            Level::Ok,
            format!("v2 {path}, no memory controller"),
            "the reasoner is limited by its address space instead (model.memory_limit_mb)",
        ),
        (None, _) => Finding::new(
            "cgroup",
            Level::Ok,
            "no v2 group",
            "the reasoner is limited by its address space instead (model.memory_limit_mb)",
        ),
    }
}

fn lockable() -> Finding {
    use rustix::mm::MlockAllFlags;
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Memlock).current;
    let locked = rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT).is_ok();
    let text = limit.map_or("unlimited".to_owned(), |bytes| format!("{} kB", bytes / 1024));
    if locked && limit.is_none_or(|bytes| bytes >= 64 * 1024 * 1024) {
        Finding::new("mlock", Level::Ok, text, "the guard can be locked in memory")
    } else {
        Finding::new(
            "mlock",
            Level::Warn,
            text,
            "the guard cannot be locked in memory and may be swapped out: raise LimitMEMLOCK to 64M",
        )
    }
}

fn oom() -> Finding {
    let own = read("/proc/self/oom_score_adj").unwrap_or_else(|| "unknown".to_owned());
    // Tried on this short-lived process: even root may lack the capability.
    if fs::write("/proc/self/oom_score_adj", "-900").is_ok() {
        Finding::new(
            "oom",
            Level::Ok,
            format!("oom_score_adj = {own}"),
            "the guard lowers its own score and the reasoner raises its: the kernel kills the model process, not the guard",
        )
    } else {
        Finding::new(
            "oom",
            Level::Warn,
            format!("oom_score_adj = {own}"),
            "without CAP_SYS_RESOURCE the guard cannot lower its own score; the reasoner still raises its, so it is chosen first",
        )
    }
}

fn pressure() -> Finding {
    match read("/proc/pressure/memory") {
        Some(text) => Finding::new(
            "pressure",
            Level::Ok,
            text.lines().next().unwrap_or("").to_owned(),
            "memory pressure can be seen before the kernel must act",
        ),
        None => Finding::new(
            "pressure",
            Level::Warn,
            "no /proc/pressure/memory",
            "kernel without PSI: only MemAvailable is watched",
        ),
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
    let folder = site.audit.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
